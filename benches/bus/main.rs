//! Measures the bus's transport beside its rivals, each in processes of its own, all in the same
//! run. `cargo run --release -p fedmsg-benches --bin bus -- --help`

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::float_cmp
)]

mod ours;
mod python;
mod raw;
mod report;
mod run;
mod typed;

use clap::{Parser, ValueEnum};
use fedmsg_bench_worker::{Job, Role};
use report::Report;
use run::{Contender, Measured, PYTHON, Programs, Result};
use std::{collections::BTreeMap, fs, path::Path};

/// Measures the bus's transport beside its rivals, and writes docs/speed-bus.md if nothing is left
/// out.
#[derive(Parser)]
struct Arguments {
    /// Only these.
    scenarios: Vec<Scenario>,
    /// One short round of each.
    #[arg(long)]
    quick: bool,
    /// Rounds; every figure is the median of theirs.
    #[arg(long)]
    rounds: Option<usize>,
    /// Milliseconds of publishing in one round.
    #[arg(long)]
    millis: Option<u64>,
    /// Only contenders whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these numbers of subscribers.
    #[arg(long, value_delimiter = ',')]
    subscribers: Vec<usize>,
    /// Only these sizes of bodies, in bytes.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Deliveries per second, nothing lost.
    Throughput,
    /// Of single messages, at steady rates.
    Latency,
    /// One of many subscribers is stopped.
    Stopped,
    /// Many subscribers and prefixes.
    Many,
    /// Typed messages from publish to tail, beside Python fedmsg.
    EndToEnd,
}

const fn contender(publisher: &'static str, subscriber: &'static str) -> Contender {
    Contender {
        publisher,
        subscriber,
    }
}

const SUBSCRIBERS: [usize; 3] = [1, 8, 64];
const SIZES: [usize; 2] = [200, 2048];
const RATES: [u64; 2] = [1000, 10_000];
/// Messages per second, 0 for as many as go, and size, at which one subscriber of 64 is stopped.
const STOPPED: [(u64, usize); 2] = [(0, 200), (2000, 2048)];

const THROUGHPUT: [Contender; 12] = [
    contender("ours", "ours"),
    contender("ours", "libzmq"),
    contender("libzmq", "libzmq"),
    contender("omq", "omq"),
    contender("omq 2", "omq 2"),
    contender("zmq.rs", "zmq.rs"),
    contender("ours", "discard"),
    contender("libzmq", "discard"),
    contender("omq", "discard"),
    contender("omq 2", "discard"),
    contender("bare, 64 KiB", "bare, 64 KiB"),
    contender("bare, 256 KiB", "bare, 256 KiB"),
];
const LATENCY: [Contender; 4] = [
    contender("ours", "ours"),
    contender("libzmq", "libzmq"),
    contender("omq", "omq"),
    contender("omq 2", "omq 2"),
];

fn main() -> Result<()> {
    let last = std::env::args().next_back().unwrap_or_default();
    if last.starts_with('{') {
        work(&Job::mine());
        return Ok(());
    }
    let arguments = Arguments::parse();
    let run = Run {
        programs: Programs::build()?,
        arguments,
    };
    let mut report = Report::default();
    run.throughput(&mut report);
    run.latency(&mut report);
    run.stopped(&mut report);
    run.many(&mut report);
    run.end_to_end(&mut report);
    let text = report.to_string();
    print!("{text}");
    if run.is_whole() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/speed-bus.md");
        fs::write(docs, text)?;
    }
    Ok(())
}

/// What this process is for, if it was started by another.
fn work(job: &Job) {
    match (job.contender.as_str(), job.role) {
        ("ours", Role::Publish) => ours::publish(job),
        ("ours", Role::Subscribe) => ours::subscribe(job),
        ("bare, 64 KiB", Role::Publish) => raw::write(job, 64 << 10),
        ("bare, 256 KiB", Role::Publish) => raw::write(job, 256 << 10),
        ("discard", Role::Subscribe) => raw::discard(job, 64 << 10, true),
        ("bare, 64 KiB", Role::Subscribe) => raw::discard(job, 64 << 10, false),
        ("bare, 256 KiB", Role::Subscribe) => raw::discard(job, 256 << 10, false),
        ("typed" | "value", Role::Publish) => typed::publish(job),
        ("typed" | "value", Role::Subscribe) => typed::subscribe(job),
        _ => panic!("nothing to do for {job:?}"),
    }
}

struct Run {
    programs: Programs,
    arguments: Arguments,
}

impl Run {
    fn is_whole(&self) -> bool {
        let Arguments {
            scenarios,
            quick,
            rounds: _,
            millis: _,
            only,
            subscribers,
            sizes,
        } = &self.arguments;
        scenarios.is_empty()
            && !quick
            && only.is_empty()
            && subscribers.is_empty()
            && sizes.is_empty()
    }

    fn has(&self, scenario: Scenario) -> bool {
        let scenarios = &self.arguments.scenarios;
        scenarios.is_empty() || scenarios.contains(&scenario)
    }

    fn subscribers(&self) -> Vec<usize> {
        some_of(&self.arguments.subscribers, &SUBSCRIBERS)
    }

    fn millis(&self, default: u64) -> u64 {
        let default = if self.arguments.quick { 300 } else { default };
        self.arguments.millis.unwrap_or(default)
    }

    /// Runs `one` with every contender in turn, that many rounds; medians, for those that got
    /// through all of them.
    fn rounds(
        &self,
        rounds: usize,
        contenders: &[Contender],
        mut one: impl FnMut(Contender) -> Result<Measured>,
    ) -> Vec<(Contender, Measured)> {
        let rounds = if self.arguments.quick { 1 } else { rounds };
        let mut all = Vec::from_iter(contenders.iter().filter_map(|&who| {
            let only = &self.arguments.only;
            let chosen = only.is_empty() || only.iter().any(|part| who.to_string().contains(part));
            chosen.then(|| (who, BTreeMap::<_, Vec<f64>>::new()))
        }));
        for _ in 0..self.arguments.rounds.unwrap_or(rounds) {
            all.retain_mut(|(who, figures)| match one(*who) {
                Ok(measured) => {
                    for (key, value) in measured {
                        figures.entry(key).or_default().push(value);
                    }
                    true
                }
                Err(error) => {
                    eprintln!("{who}: {error}");
                    false
                }
            });
        }
        let medians = all.into_iter().map(|(who, figures)| {
            let medians = figures.into_iter().map(|(key, mut values)| {
                values.sort_by(f64::total_cmp);
                (key, values[values.len() / 2])
            });
            (who, medians.collect())
        });
        medians.collect()
    }

    fn throughput(&self, report: &mut Report) {
        if !self.has(Scenario::Throughput) {
            return;
        }
        for size in some_of(&self.arguments.sizes, &SIZES) {
            for subscribers in self.subscribers() {
                let millis = self.millis(600);
                let measured = self.rounds(3, &THROUGHPUT, |who| {
                    run::throughput(&self.programs, who, size, subscribers, millis)
                });
                report.throughput.push((size, subscribers, measured));
            }
        }
    }

    fn latency(&self, report: &mut Report) {
        if !self.has(Scenario::Latency) {
            return;
        }
        for rate in RATES {
            for subscribers in self.subscribers() {
                let millis = self.millis(1500);
                let measured = self.rounds(3, &LATENCY, |who| {
                    run::latency(&self.programs, who, rate, subscribers, millis)
                });
                report.latency.push((rate, subscribers, measured));
            }
        }
    }

    fn stopped(&self, report: &mut Report) {
        if !self.has(Scenario::Stopped) {
            return;
        }
        for load in STOPPED {
            let millis = self.millis(1500);
            let measured = self.rounds(3, &LATENCY, |who| {
                run::stopped(&self.programs, who, 64, load, millis)
            });
            report.stopped.push((load, measured));
        }
    }

    fn many(&self, report: &mut Report) {
        if !self.has(Scenario::Many) {
            return;
        }
        let publishers = ["ours", "libzmq", "omq", "omq 2"].map(|who| contender(who, "discard"));
        let millis = self.millis(1000);
        report.many = self.rounds(3, &publishers, |who| {
            run::many(&self.programs, who.publisher, millis)
        });
    }

    fn end_to_end(&self, report: &mut Report) {
        if !self.has(Scenario::EndToEnd) {
            return;
        }
        let contenders = ["typed", "value", PYTHON].map(|who| contender(who, who));
        let millis = self.millis(1500);
        report.end_to_end = self.rounds(5, &contenders, |who| {
            run::end_to_end(&self.programs, who, millis)
        });
    }
}

fn some_of<T: Copy>(chosen: &[T], all: &[T]) -> Vec<T> {
    if chosen.is_empty() { all } else { chosen }.to_vec()
}
