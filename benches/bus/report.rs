//! The measurements as text: `docs/speed-bus.md`.

use crate::run::{Contender, Measured, PYTHON};
use std::fmt;

type Rows = Vec<(Contender, Measured)>;

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Report {
    /// By size of the body and number of subscribers.
    pub(crate) throughput: Vec<(usize, usize, Rows)>,
    /// By messages per second and number of subscribers.
    pub(crate) latency: Vec<(u64, usize, Rows)>,
    /// By messages per second (0: as many as go) and size of the body.
    pub(crate) stopped: Vec<((u64, usize), Rows)>,
    pub(crate) many: Rows,
    pub(crate) end_to_end: Rows,
}

const HEAD: &str = "# Speed of the bus

Written by `cargo run --release -p fedmsg-benches --bin bus`. Publisher and subscribers are processes
of their own that talk TCP over loopback; every message is counted and its order checked. All
contenders of a table took turns, round by round, in one run on one machine of 2 cores; figures are
medians over the rounds. The machine is noisy: compare within a table, and take no figure for your
machine's.

Ours waits for its subscribers (`WhenFull::Block`, high-water mark 2000) where nothing may be lost.
Beside it: libzmq 4.3.5 through its C API (`XPUB_NODROP`, high-water mark 1000), omq-tokio 0.33
(`omq`: a blocking socket over one I/O thread; `omq 2`: async sockets on two workers; `xpub_nodrop`),
zeromq 0.7 (zmq.rs; it cannot wait for subscribers and is throttled instead). The bare loop writes
and reads the same bytes in pieces of 64 or 256 KiB and does nothing else: what the kernel gives.
";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        if !self.throughput.is_empty() {
            self.write_throughput(f)?;
        }
        if !self.latency.is_empty() {
            self.write_latency(f)?;
        }
        if !self.stopped.is_empty() {
            self.write_stopped(f)?;
        }
        if !self.many.is_empty() {
            self.write_many(f)?;
        }
        if !self.end_to_end.is_empty() {
            self.write_end_to_end(f)?;
        }
        Ok(())
    }
}

impl Report {
    fn write_throughput(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n## Throughput\n\nDeliveries per second in millions, nothing lost; in parentheses how \
             many times as fast fedmsg is.\n"
        )?;
        self.throughput_table(f, Contender::reads, "fedmsg → fedmsg")?;
        writeln!(
            f,
            "\nThe publisher alone, to peers that shake hands, subscribe and discard, and the bare \
             loop; in parentheses how many times as fast fedmsg is.\n"
        )?;
        self.throughput_table(f, |who| !who.reads(), "fedmsg → discarding peers")?;
        writeln!(
            f,
            "\nWhat a delivery costs, in nanoseconds of processor time, program + kernel, and the \
             publisher's memory.\n\n\
             | | | publisher | subscriber | MB |\n|---|---|---:|---:|---:|"
        )?;
        for (size, subscribers, rows) in &self.throughput {
            for (who, of) in rows {
                writeln!(
                    f,
                    "| {} to {subscribers} | {who} | {:.0} + {:.0} | {:.0} + {:.0} | {:.1} |",
                    bytes(*size),
                    of["publisher user"],
                    of["publisher kernel"],
                    of["subscriber user"],
                    of["subscriber kernel"],
                    of["memory"] / 1e6,
                )?;
            }
        }
        writeln!(f)?;
        for (size, subscribers, rows) in &self.throughput {
            write_bound(f, *size, *subscribers, rows)?;
        }
        Ok(())
    }

    /// One column for each size and number of subscribers.
    fn throughput_table(
        &self,
        f: &mut fmt::Formatter<'_>,
        among: impl Fn(Contender) -> bool,
        ours: &str,
    ) -> fmt::Result {
        write!(f, "| |")?;
        for (size, subscribers, _) in &self.throughput {
            write!(f, " {} to {subscribers} |", bytes(*size))?;
        }
        writeln!(f, "\n|---|{}", "---:|".repeat(self.throughput.len()))?;
        for who in contenders(self.throughput.iter().map(|(_, _, rows)| rows), &among) {
            write!(f, "| {who} |")?;
            for (_, _, rows) in &self.throughput {
                let base = rows.iter().find(|(who, _)| who.to_string() == ours);
                match (find(rows, who), base) {
                    (Some(of), Some((base, _))) if who == *base => {
                        write!(f, " **{:.2}** |", of["rate"] / 1e6)?;
                    }
                    (Some(of), Some((_, base))) => write!(
                        f,
                        " {:.2} ({:.2}) |",
                        of["rate"] / 1e6,
                        base["rate"] / of["rate"]
                    )?,
                    (Some(of), None) => write!(f, " {:.2} |", of["rate"] / 1e6)?,
                    (None, _) => write!(f, " – |")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn write_latency(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n## Latency\n\nFrom before sending to having received, 200 B, p50 / p99 / p99.9 in µs; \
             in parentheses the p50 and p99 as parts of libzmq's.\n"
        )?;
        write!(f, "| |")?;
        for (rate, subscribers, _) in &self.latency {
            write!(f, " {rate} per s to {subscribers} |")?;
        }
        writeln!(f, "\n|---|{}", "---:|".repeat(self.latency.len()))?;
        for who in contenders(self.latency.iter().map(|(_, _, rows)| rows), |_| true) {
            write!(f, "| {who} |")?;
            for (_, _, rows) in &self.latency {
                let Some(of) = find(rows, who) else {
                    write!(f, " – |")?;
                    continue;
                };
                let micros = |key| of[key] / 1000.0;
                let (p50, p99, p999) = (micros("p50"), micros("p99"), micros("p99.9"));
                write!(f, " {p50:.0} / {p99:.0} / {p999:.0}")?;
                let libzmq = rows.iter().find(|(who, _)| who.publisher == "libzmq");
                if let Some((base, libzmq)) = libzmq
                    && who != *base
                {
                    let part = |key| of[key] / libzmq[key];
                    write!(f, " ({:.2}, {:.2})", part("p50"), part("p99"))?;
                }
                write!(f, " |")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn write_stopped(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n## One subscriber of 64 stopped\n\nIts process gets SIGSTOP, and SIGCONT later. \
             The publisher keeps at most 4,000 messages for it and drops others. What the other 63 \
             get, before → meanwhile, and what they lose; what the one lost, and what the \
             publisher's monitor counted.\n\n\
             | at | | deliveries per s, millions | p99, µs | publisher, MB | others lost | it lost | \
             monitor | goes on |\n|---|---|---:|---:|---:|---:|---:|---:|---|"
        )?;
        for ((rate, size), rows) in &self.stopped {
            let at = match rate {
                0 => format!("{}, full speed", bytes(*size)),
                rate => format!("{}, {rate} per s", bytes(*size)),
            };
            for (who, of) in rows {
                let times = match rate {
                    0 => "–".to_owned(),
                    _ => change(of["p99 before"] / 1e3, of["p99 during"] / 1e3, 0),
                };
                writeln!(
                    f,
                    "| {at} | {who} | {} | {times} | {:.1} → {:.1} | {:.0} | {:.0} | {} | {} |",
                    change(of["rate before"] / 1e6, of["rate during"] / 1e6, 2),
                    of["memory before"] / 1e6,
                    of["memory during"] / 1e6,
                    of["others lost"],
                    of["lost"],
                    match who.publisher {
                        "ours" => format!("{:.0}", of["dropped"]),
                        _ => "–".to_owned(),
                    },
                    match of["behind"] {
                        0.0 => "up to date".to_owned(),
                        behind => format!("{behind:.0} missing"),
                    },
                )?;
            }
        }
        Ok(())
    }

    fn write_many(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n## 1,000 subscribers\n\n100 of them want 100 of 10,000 topics each, the others none of \
             these; they discard. Every message is wanted by one. Memory is the publisher's: for each \
             connection with its subscriptions, and in all after the run. Then what a publish costs \
             that nobody wants: until it returns, and of all the process's threads.\n\n\
             | | messages per s, millions | KB per subscriber | MB in all | unwanted, ns | all threads, \
             ns |\n|---|---:|---:|---:|---:|---:|"
        )?;
        let ours = self.many.iter().find(|(who, _)| who.publisher == "ours");
        for (who, of) in &self.many {
            let ratio = match ours {
                Some((base, ours)) if who != base => {
                    format!(" ({:.2})", ours["rate"] / of["rate"])
                }
                _ => String::new(),
            };
            writeln!(
                f,
                "| {who} | {:.2}{ratio} | {:.1} | {:.1} | {:.0} | {:.0} |",
                of["rate"] / 1e6,
                of["memory each"] / 1e3,
                of["memory"] / 1e6,
                of["unwanted"],
                of["unwanted, all threads"],
            )?;
        }
        Ok(())
    }

    fn write_end_to_end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n## From publish to tail\n\nTyped values published through the bus, unsigned, by one \
             thread, and parsed by a tail in another process. Python fedmsg publishes a dictionary \
             and is throttled to what its tail keeps up with, as it loses messages otherwise.\n\n\
             | | messages per s | bytes of JSON | × Python |\n|---|---:|---:|---:|"
        )?;
        let python = self
            .end_to_end
            .iter()
            .find(|(who, _)| who.publisher == PYTHON);
        for (who, of) in &self.end_to_end {
            let times = match python {
                Some((_, python)) => format!("{:.1}", of["rate"] / python["rate"]),
                None => "–".to_owned(),
            };
            writeln!(
                f,
                "| {who} | {:.0} | {:.0} | {times} |",
                of["rate"], of["size"]
            )?;
        }
        Ok(())
    }
}

/// Names what bounds ours in one cell, by what each part of it costs.
fn write_bound(
    f: &mut fmt::Formatter<'_>,
    size: usize,
    subscribers: usize,
    rows: &Rows,
) -> fmt::Result {
    let named = |name: &str| rows.iter().find(|(who, _)| who.to_string() == name);
    let Some((_, ours)) = named("fedmsg → fedmsg") else {
        return Ok(());
    };
    let bare = rows
        .iter()
        .filter(|(who, _)| who.is_bare())
        .map(|(_, of)| of["rate"])
        .fold(f64::NAN, f64::max);
    let parts = [
        ("publisher user", "the publisher's program"),
        ("publisher kernel", "the kernel's sending"),
        ("subscriber user", "the subscribers' program"),
        ("subscriber kernel", "the kernel's receiving"),
    ];
    let total: f64 = parts.iter().map(|(key, _)| ours[key]).sum();
    let mut parts = parts.map(|(key, name)| (ours[key] / total * 100.0, name));
    parts.sort_by(|a, b| b.0.total_cmp(&a.0));
    writeln!(
        f,
        "- {} to {subscribers}: {:.0} % of the better bare loop. Of the processor time {}.",
        bytes(size),
        ours["rate"] / bare * 100.0,
        parts
            .map(|(share, name)| format!("{share:.0} % is {name}"))
            .join(", "),
    )
}

/// All that are in some of the tables, in order.
fn contenders<'r>(
    tables: impl Iterator<Item = &'r Rows>,
    among: impl Fn(Contender) -> bool,
) -> Vec<Contender> {
    let mut all = Vec::new();
    for (who, _) in tables.flatten() {
        if among(*who) && !all.contains(who) {
            all.push(*who);
        }
    }
    all
}

fn find(rows: &Rows, who: Contender) -> Option<&Measured> {
    rows.iter().find(|(of, _)| *of == who).map(|(_, of)| of)
}

fn bytes(size: usize) -> String {
    if size.is_multiple_of(1024) {
        format!("{} KiB", size / 1024)
    } else {
        format!("{size} B")
    }
}

fn change(before: f64, after: f64, digits: usize) -> String {
    let percent = (after / before - 1.0) * 100.0;
    format!("{before:.digits$} → {after:.digits$} ({percent:+.0} %)")
}
