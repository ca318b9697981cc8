//! One measurement: a publisher's process and the subscribers', started, ordered about and ended.

use crate::{python, raw};
use fedmsg_bench_worker::{Histogram, Job, Role};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    error::Error,
    fmt, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

/// What one round measured, by name.
pub(crate) type Measured = BTreeMap<&'static str, f64>;
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what a connection still does after it is made.
const SETTLE: Duration = Duration::from_millis(20);

/// Python fedmsg.
pub(crate) const PYTHON: &str = "Python fedmsg 1.1.7";

/// Who publishes, and who subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) publisher: &'static str,
    pub(crate) subscriber: &'static str,
}

impl Contender {
    /// Whether its subscribers look at messages.
    pub(crate) fn reads(self) -> bool {
        self.subscriber != "discard" && !self.is_bare()
    }

    /// Whether it is what the machine can do.
    pub(crate) fn is_bare(self) -> bool {
        self.publisher.starts_with("bare")
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |who| match who {
            "ours" => "fedmsg",
            "discard" => "discarding peers",
            "typed" => "fedmsg, into the published type",
            "value" => "fedmsg, into a `serde_json::Value`",
            _ => who,
        };
        if self.publisher == self.subscriber && self.publisher != "ours" {
            return f.write_str(&name(self.publisher).replace("bare", "bare loop"));
        }
        write!(f, "{} → {}", name(self.publisher), name(self.subscriber))
    }
}

/// A process of ours or of a rival's.
struct Worker {
    child: Child,
    orders: Arc<Mutex<ChildStdin>>,
    reports: mpsc::Receiver<Value>,
    name: String,
}

impl Worker {
    /// `acknowledge`: to whom its acknowledgements go.
    fn start(programs: &Programs, job: &Job, acknowledge: Option<&Self>) -> Result<Self> {
        let mut child = Command::new(programs.of(&job.contender))
            .arg(serde_json::to_string(job)?)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no stdin")?;
        let output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let (sender, reports) = mpsc::channel();
        let acknowledge = acknowledge.map(|worker| Arc::clone(&worker.orders));
        // Ends with the process, whose output then ends.
        thread::spawn(move || {
            for line in output.lines().map_while(std::result::Result::ok) {
                let Ok(report) = serde_json::from_str::<Value>(&line) else {
                    return;
                };
                if let (Some(n), Some(orders)) = (report.get("ack"), &acknowledge) {
                    if let Ok(mut orders) = orders.lock() {
                        let _ = writeln!(orders, "ack {n}");
                    }
                } else if sender.send(report).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            orders: Arc::new(Mutex::new(orders)),
            reports,
            name: format!("{} {:?}", job.contender, job.role),
        })
    }

    fn order(&self, order: &str) -> Result<()> {
        let mut orders = self.orders.lock().map_err(|_| "an ordering thread ended")?;
        Ok(writeln!(orders, "{order}")?)
    }

    /// Its next report.
    fn next(&self) -> Result<Value> {
        let report = self.reports.recv_timeout(PATIENCE);
        Ok(report.map_err(|e| format!("{}: {e}", self.name))?)
    }

    /// Waits for a report with this key, passing over others; its value.
    fn report(&self, key: &str) -> Result<Value> {
        loop {
            if let Some(value) = self.next()?.get_mut(key) {
                return Ok(value.take());
            }
        }
    }

    /// Orders a report of what was counted.
    fn mark(&self) -> Result<Value> {
        self.order("mark")?;
        self.report("mark")
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Processor time so far, in seconds: in the program, and in the kernel for it.
    fn processor(&self) -> Result<[f64; 2]> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = |n| -> Result<f64> {
            let field = after_name
                .split_whitespace()
                .nth(n)
                .ok_or("no such field")?;
            // USER_HZ is 100 on every Linux of today.
            Ok(field.parse::<f64>()? / 100.0)
        };
        Ok([ticks(11)?, ticks(12)?])
    }

    /// Memory in bytes, now.
    fn memory(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib.ok_or("no VmRSS")?.parse::<f64>()? * 1024.0)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the processes' programs are.
pub(crate) struct Programs {
    ours: PathBuf,
    rivals: PathBuf,
    /// For what is made at first use.
    folder: PathBuf,
}

impl Programs {
    /// Builds the rivals' program, a package of its own: what it needs is nothing to fedmsg.
    pub(crate) fn build() -> Result<Self> {
        let ours = std::env::current_exe()?;
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals/Cargo.toml");
        let folder = ours.parent().ok_or("no folder")?.to_owned();
        let target = folder.join("rivals");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(&target)
            .status()?;
        if !status.success() {
            return Err("the rivals did not build".into());
        }
        Ok(Self {
            ours,
            rivals: target.join("release/rivals"),
            folder,
        })
    }

    fn of(&self, contender: &str) -> &Path {
        match contender {
            "libzmq" | "omq" | "omq 2" | "zmq.rs" => &self.rivals,
            _ => &self.ours,
        }
    }
}

/// A publisher and its subscribers, connected.
struct Link {
    publisher: Worker,
    sinks: Worker,
}

impl Link {
    /// `job`: of both.
    fn connect(programs: &Programs, who: Contender, mut job: Job) -> Result<Self> {
        let publisher = Self::publisher(programs, who, &mut job)?;
        let sinks = Worker::start(programs, &job, Some(&publisher))?;
        sinks.report("connected")?;
        let link = Self { publisher, sinks };
        link.publisher.order("hush")?;
        thread::sleep(SETTLE);
        Ok(link)
    }

    /// The job becomes its subscribers'.
    fn publisher(programs: &Programs, who: Contender, job: &mut Job) -> Result<Worker> {
        job.contender = who.publisher.into();
        job.role = Role::Publish;
        let publisher = Worker::start(programs, job, None)?;
        let endpoint = publisher.report("endpoint")?;
        job.contender = who.subscriber.into();
        job.role = Role::Subscribe;
        job.endpoint = endpoint.as_str().ok_or("no endpoint")?.into();
        Ok(publisher)
    }

    /// Waits until readers that only count bytes have as many as this.
    fn discarded(&self, expected: f64) -> Result<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = self.sinks.mark()?;
            let bytes = number(&seen, "bytes")?;
            if bytes == expected {
                return Ok(seen);
            }
            if bytes > expected || Instant::now() > until {
                return Err(format!("{bytes} bytes of {expected}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Publishes as fast as everything arrives.
pub(crate) fn throughput(
    programs: &Programs,
    who: Contender,
    size: usize,
    subscribers: usize,
    millis: u64,
) -> Result<Measured> {
    let link = Link::connect(
        programs,
        who,
        Job {
            subscribers,
            size,
            millis,
            lossless: true,
            window: match who.publisher {
                // It drops beyond 100,000 and has no other way.
                "zmq.rs" => 50_000,
                _ => 0,
            },
            ..Job::default()
        },
    )?;
    let before = link.sinks.mark()?;
    let processor = [link.publisher.processor()?, link.sinks.processor()?];
    link.publisher.order("go")?;
    let sent = link.publisher.next()?;
    let (deliveries, seen);
    if !who.reads() {
        let wire = raw::wire_len(size) as f64;
        let each = match sent.get("bytes") {
            Some(bytes) => bytes.as_f64().ok_or("no number")?,
            // And the last one, which has no number.
            None => (number(&sent, "messages")? + 1.0) * wire,
        };
        let bytes = each * subscribers as f64;
        seen = link.discarded(number(&before, "bytes")? + bytes)?;
        deliveries = bytes / wire;
    } else {
        seen = link.sinks.report("ended")?;
        deliveries = number(&sent, "messages")? * subscribers as f64;
        whole(&seen, deliveries)?;
    }
    let cost = |worker: &Worker, before: [f64; 2]| -> Result<[f64; 2]> {
        let after = worker.processor()?;
        Ok([0, 1].map(|n| (after[n] - before[n]) * 1e9 / deliveries))
    };
    let publisher = cost(&link.publisher, processor[0])?;
    let subscriber = cost(&link.sinks, processor[1])?;
    let seconds = (number(&seen, "end")? - number(&sent, "start")?) / 1e9;
    Ok(Measured::from([
        ("rate", deliveries / seconds),
        ("publisher user", publisher[0]),
        ("publisher kernel", publisher[1]),
        ("subscriber user", subscriber[0]),
        ("subscriber kernel", subscriber[1]),
        ("memory", link.publisher.memory()?),
    ]))
}

/// Fails unless everything arrived.
fn whole(seen: &Value, deliveries: f64) -> Result<()> {
    let (got, lost) = (number(seen, "received")?, number(seen, "lost")?);
    if got != deliveries || lost > 0.0 {
        return Err(format!("{got} of {deliveries} messages, {lost} lost").into());
    }
    Ok(())
}

/// Publishes at a steady rate; the times in nanoseconds from before sending to having received.
pub(crate) fn latency(
    programs: &Programs,
    who: Contender,
    rate: u64,
    subscribers: usize,
    millis: u64,
) -> Result<Measured> {
    let link = Link::connect(
        programs,
        who,
        Job {
            subscribers,
            size: 200,
            rate,
            millis,
            lossless: true,
            ..Job::default()
        },
    )?;
    link.publisher.order("go")?;
    let sent = link.publisher.next()?;
    let seen = link.sinks.report("ended")?;
    whole(&seen, number(&sent, "messages")? * subscribers as f64)?;
    let times = histogram(&seen)?;
    Ok(Measured::from([
        ("p50", Histogram::percentile(&times, 0.5)),
        ("p99", Histogram::percentile(&times, 0.99)),
        ("p99.9", Histogram::percentile(&times, 0.999)),
    ]))
}

/// One of many subscribers is stopped, and goes on later. With a rate of 0 the publisher goes as
/// fast as the others take it.
pub(crate) fn stopped(
    programs: &Programs,
    who: Contender,
    subscribers: usize,
    (rate, size): (u64, usize),
    millis: u64,
) -> Result<Measured> {
    /// What the publisher keeps for a slow subscriber.
    const HIGH_WATER_MARK: usize = 4000;
    /// Until what the kernel and the publisher keep is full, at either rate.
    const FULL: [u64; 2] = [500, 2700];
    let pauses = [500, FULL[usize::from(rate > 0)]];
    let mut job = Job {
        subscribers: subscribers - 1,
        size,
        rate,
        millis: 2 * millis + pauses[0] + pauses[1] + 1500,
        high_water_mark: HIGH_WATER_MARK,
        // The others are never so far behind that they lose anything.
        window: if rate == 0 { 1000 } else { 0 },
        ..Job::default()
    };
    let publisher = Link::publisher(programs, who, &mut job)?;
    let others = Worker::start(programs, &job, Some(&publisher))?;
    others.report("connected")?;
    job.subscribers = 1;
    job.window = 0;
    let one = Worker::start(programs, &job, None)?;
    one.report("connected")?;
    publisher.order("hush")?;
    thread::sleep(SETTLE);
    publisher.order("go")?;

    let phase = |pause| -> Result<Measured> {
        thread::sleep(Duration::from_millis(pause));
        let from = others.mark()?;
        thread::sleep(Duration::from_millis(millis));
        let to = others.mark()?;
        let passed = |key| -> Result<f64> { Ok(number(&to, key)? - number(&from, key)?) };
        let mut times = histogram(&to)?;
        for (bucket, count) in histogram(&from)? {
            times.entry(bucket).and_modify(|of| *of -= count);
        }
        Ok(Measured::from([
            ("rate", passed("received")? / passed("time")? * 1e9),
            ("p99", Histogram::percentile(&times, 0.99)),
            ("memory", publisher.memory()?),
        ]))
    };
    let before = phase(pauses[0])?;
    one.signal(Signal::STOP)?;
    let during = phase(pauses[1])?;
    one.signal(Signal::CONT)?;
    let sent = publisher.next()?;
    // Until nothing comes any more.
    let mut after = one.mark()?;
    loop {
        thread::sleep(Duration::from_millis(300));
        let later = one.mark()?;
        if number(&later, "received")? == number(&after, "received")? {
            break;
        }
        after = later;
    }
    let (received, next) = (number(&after, "received")?, number(&after, "next")?);
    Ok(Measured::from([
        ("rate before", before["rate"]),
        ("rate during", during["rate"]),
        ("p99 before", before["p99"]),
        ("p99 during", during["p99"]),
        ("memory before", before["memory"]),
        ("memory during", during["memory"]),
        ("others lost", number(&others.mark()?, "lost")?),
        ("lost", number(&after, "lost")?),
        ("received", received),
        // 0 if it is up to date again.
        ("behind", number(&sent, "messages")? - next),
        ("dropped", number(&publisher.mark()?, "dropped")?),
    ]))
}

/// Many subscribers, few of which want some of many topics.
pub(crate) fn many(programs: &Programs, publisher: &'static str, millis: u64) -> Result<Measured> {
    let who = Contender {
        publisher,
        subscriber: "discard",
    };
    let mut job = Job {
        subscribers: 1000,
        size: 200,
        millis,
        lossless: true,
        topics: 10_000,
        ..Job::default()
    };
    let publisher = Link::publisher(programs, who, &mut job)?;
    let empty = publisher.memory()?;
    let sinks = Worker::start(programs, &job, None)?;
    sinks.report("connected")?;
    let link = Link { publisher, sinks };
    link.publisher.order("hush")?;
    thread::sleep(Duration::from_millis(500));
    let connected = link.publisher.memory()?;
    let before = link.sinks.mark()?;
    link.publisher.order("go")?;
    let sent = link.publisher.next()?;
    let messages = number(&sent, "messages")?;
    let bytes = (messages + 1.0) * raw::wire_len(job.size) as f64;
    let seen = link.discarded(number(&before, "bytes")? + bytes)?;
    let seconds = (number(&seen, "end")? - number(&sent, "start")?) / 1e9;
    Ok(Measured::from([
        ("rate", messages / seconds),
        ("memory each", (connected - empty) / job.subscribers as f64),
        ("memory", link.publisher.memory()?),
        ("unwanted", number(&sent, "unwanted")?),
        (
            "unwanted, all threads",
            number(&sent, "unwanted, all threads")?,
        ),
    ]))
}

/// Typed messages from publish to tail.
pub(crate) fn end_to_end(programs: &Programs, who: Contender, millis: u64) -> Result<Measured> {
    if who.publisher == PYTHON {
        let python = fedmsg_benches::peer::environment(&programs.folder)?;
        return python::end_to_end(&python, millis);
    }
    let mut job = Job {
        millis,
        ..Job::default()
    };
    let publisher = Link::publisher(programs, who, &mut job)?;
    let tail = Worker::start(programs, &job, None)?;
    tail.report("connected")?;
    publisher.order("go")?;
    let sent = publisher.next()?;
    let ended = tail.report("ended")?;
    let messages = number(&ended, "messages")?;
    if messages != number(&sent, "messages")? {
        return Err("messages were lost".into());
    }
    let seconds = (number(&ended, "end")? - number(&sent, "start")?) / 1e9;
    Ok(Measured::from([
        ("rate", messages / seconds),
        ("size", number(&ended, "size")?),
    ]))
}

fn histogram(report: &Value) -> Result<BTreeMap<u64, u64>> {
    let pairs = report.get("latency").ok_or("no latency")?;
    let pairs: Vec<(u64, u64)> = serde_json::from_value(pairs.clone())?;
    Ok(pairs.into_iter().collect())
}

/// A member of a report.
pub(crate) fn number(report: &Value, key: &str) -> Result<f64> {
    let value = report.get(key).and_then(Value::as_f64);
    value.ok_or_else(|| format!("no {key} in a report").into())
}
