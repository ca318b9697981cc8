//! Measures the bus's transport beside its rivals, each in processes of its own, all in the same
//! run. `cargo run --release -p fedmsg-benches --bin bus -- --help`

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod ours;
mod raw;
mod run;

use clap::Parser;
use fedmsg_bench_worker::{Job, Role};
use run::{Contender, Programs, Result};
use std::collections::BTreeMap;

/// Measures the bus's transport beside its rivals.
#[derive(Parser)]
struct Arguments {
    /// Fewer and shorter rounds.
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
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    subscribers: Vec<usize>,
    /// Only these sizes of bodies, in bytes.
    #[arg(long, value_delimiter = ',', default_value = "200,2048")]
    sizes: Vec<usize>,
}

const fn contender(publisher: &'static str, subscriber: &'static str) -> Contender {
    Contender {
        publisher,
        subscriber,
    }
}

const THROUGHPUT: [Contender; 7] = [
    contender("ours", "ours"),
    contender("ours", "libzmq"),
    contender("libzmq", "libzmq"),
    contender("ours", "discard"),
    contender("libzmq", "discard"),
    contender("bare 64 KiB", "bare"),
    contender("bare 256 KiB", "bare"),
];

fn main() -> Result<()> {
    let last = std::env::args().next_back().unwrap_or_default();
    if last.starts_with('{') {
        work(&Job::mine());
        return Ok(());
    }
    let arguments = Arguments::parse();
    let programs = Programs::build()?;
    let rounds = arguments
        .rounds
        .unwrap_or(if arguments.quick { 1 } else { 3 });
    let millis = arguments
        .millis
        .unwrap_or(if arguments.quick { 300 } else { 1000 });
    for &size in &arguments.sizes {
        for &subscribers in &arguments.subscribers {
            let mut all: BTreeMap<usize, Vec<BTreeMap<&str, f64>>> = BTreeMap::new();
            for _ in 0..rounds {
                for (n, &who) in THROUGHPUT.iter().enumerate() {
                    let name = format!("{} > {}", who.publisher, who.subscriber);
                    if arguments.only.is_empty()
                        || arguments.only.iter().any(|part| name.contains(part))
                    {
                        match run::throughput(&programs, who, size, subscribers, millis) {
                            Ok(one) => all.entry(n).or_default().push(one),
                            Err(error) => eprintln!("{name}: {error}"),
                        }
                    }
                }
            }
            println!("{size} B to {subscribers}");
            for (n, rounds) in all {
                let who = THROUGHPUT[n];
                let median = |key| {
                    let mut values = Vec::from_iter(rounds.iter().map(|round| round[key]));
                    values.sort_by(f64::total_cmp);
                    values[values.len() / 2]
                };
                println!(
                    "  {:>12} > {:<8} {:8.3} M/s  ns per delivery: publisher {:4.0} + {:4.0} kernel, subscribers {:4.0} + {:4.0} kernel; {:.1} MB",
                    who.publisher,
                    who.subscriber,
                    median("rate") / 1e6,
                    median("publisher user"),
                    median("publisher kernel"),
                    median("subscriber user"),
                    median("subscriber kernel"),
                    median("memory") / 1e6,
                );
            }
        }
    }
    Ok(())
}

fn work(job: &Job) {
    match (job.contender.as_str(), job.role) {
        ("ours", Role::Publish) => ours::publish(job),
        ("ours", Role::Subscribe) => ours::subscribe(job),
        ("bare 64 KiB", Role::Publish) => raw::write(job, 64 << 10),
        ("bare 256 KiB", Role::Publish) => raw::write(job, 256 << 10),
        ("discard", Role::Subscribe) => raw::discard(job, true),
        ("bare", Role::Subscribe) => raw::discard(job, false),
        _ => panic!("nothing to do for {job:?}"),
    }
}
