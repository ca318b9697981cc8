//! One measurement: a publisher's process and the subscribers', started, ordered about and ended.

use crate::raw;
use fedmsg_bench_worker::{Job, Role};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what a connection still does after it is made.
const SETTLE: Duration = Duration::from_millis(20);

/// Who publishes, and who subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) publisher: &'static str,
    pub(crate) subscriber: &'static str,
}

/// A process of ours or of a rival's.
pub(crate) struct Worker {
    child: Child,
    orders: Arc<Mutex<ChildStdin>>,
    reports: mpsc::Receiver<Value>,
    name: String,
}

impl Worker {
    /// `acknowledge`: to whom its acknowledgements go.
    pub(crate) fn start(
        programs: &Programs,
        job: &Job,
        acknowledge: Option<&Self>,
    ) -> Result<Self> {
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

    pub(crate) fn order(&self, order: &str) -> Result<()> {
        let mut orders = self.orders.lock().map_err(|_| "an ordering thread ended")?;
        Ok(writeln!(orders, "{order}")?)
    }

    /// Waits for a report with this key; its value.
    pub(crate) fn report(&self, key: &str) -> Result<Value> {
        let report = self.reports.recv_timeout(PATIENCE);
        let mut report = report.map_err(|e| format!("{}: no {key:?}: {e}", self.name))?;
        match report.get_mut(key) {
            Some(value) => Ok(value.take()),
            None => Err(format!("{}: {report} instead of {key:?}", self.name).into()),
        }
    }

    /// Orders a report of what was counted.
    pub(crate) fn mark(&self) -> Result<Value> {
        self.order("mark")?;
        self.report("mark")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time so far, in seconds: in the program, and in the kernel for it.
    pub(crate) fn processor(&self) -> Result<[f64; 2]> {
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
    pub(crate) fn memory(&self) -> Result<f64> {
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
}

impl Programs {
    /// Builds the rivals' program, a package of its own: what it needs is nothing to fedmsg.
    pub(crate) fn build() -> Result<Self> {
        let ours = std::env::current_exe()?;
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals/Cargo.toml");
        let target = ours.parent().ok_or("no folder")?.join("rivals");
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
        })
    }

    fn of(&self, contender: &str) -> &Path {
        match contender {
            "ours" | "discard" => &self.ours,
            bare if bare.starts_with("bare") => &self.ours,
            _ => &self.rivals,
        }
    }
}

/// Publishes as fast as everything arrives; what was measured, by name.
pub(crate) fn throughput(
    programs: &Programs,
    who: Contender,
    size: usize,
    subscribers: usize,
    millis: u64,
) -> Result<BTreeMap<&'static str, f64>> {
    let window = match who.publisher {
        // It drops beyond 100,000 and has no other way.
        "zmq.rs" => 50_000,
        // Until it can block.
        "ours" if who.subscriber != "discard" => 10_000,
        _ => 0,
    };
    let mut job = Job {
        contender: who.publisher.into(),
        role: Role::Publish,
        endpoint: String::new(),
        subscribers,
        size,
        rate: 0,
        millis,
        lossless: true,
        high_water_mark: 0,
        window,
    };
    let publisher = Worker::start(programs, &job, None)?;
    let endpoint = publisher.report("endpoint")?;
    job.role = Role::Subscribe;
    job.contender = who.subscriber.into();
    job.endpoint = endpoint.as_str().ok_or("no endpoint")?.into();
    let sinks = Worker::start(programs, &job, Some(&publisher))?;
    sinks.report("connected")?;
    publisher.order("hush")?;
    thread::sleep(SETTLE);
    let before = sinks.mark()?;
    let processor = [publisher.processor()?, sinks.processor()?];
    publisher.order("go")?;

    let wire = raw::wire_len(size) as f64;
    let (deliveries, start, end);
    if matches!(who.subscriber, "discard" | "bare") {
        let sent = publisher.reports.recv_timeout(PATIENCE)?;
        let each = match sent.get("bytes") {
            Some(bytes) => bytes.as_f64().ok_or("no number")?,
            None => (number(&sent, "messages")? + 1.0) * wire,
        };
        let expected = number(&before, "bytes")? + each * subscribers as f64;
        let until = Instant::now() + PATIENCE;
        let seen = loop {
            let seen = sinks.mark()?;
            let bytes = number(&seen, "bytes")?;
            if bytes >= expected {
                if bytes > expected {
                    return Err(format!("{who:?}: {bytes} bytes of {expected}").into());
                }
                break seen;
            }
            if Instant::now() > until {
                return Err(format!("{who:?}: {bytes} bytes of {expected}").into());
            }
            thread::sleep(Duration::from_millis(5));
        };
        deliveries = each * subscribers as f64 / wire;
        start = number(&sent, "start")?;
        end = number(&seen, "end")?;
    } else {
        let sent = publisher.reports.recv_timeout(PATIENCE)?;
        let seen = sinks.report("ended")?;
        let (got, lost) = (number(&seen, "received")?, number(&seen, "lost")?);
        deliveries = number(&sent, "messages")? * subscribers as f64;
        if got != deliveries || lost > 0.0 {
            return Err(format!("{who:?}: {got} of {deliveries} messages, {lost} lost").into());
        }
        start = number(&sent, "start")?;
        end = number(&seen, "end")?;
    }
    let cost = |worker: &Worker, before: [f64; 2]| -> Result<[f64; 2]> {
        let after = worker.processor()?;
        Ok([0, 1].map(|n| (after[n] - before[n]) * 1e9 / deliveries))
    };
    let publishing = cost(&publisher, processor[0])?;
    let subscribing = cost(&sinks, processor[1])?;
    Ok(BTreeMap::from([
        ("rate", deliveries / (end - start) * 1e9),
        ("publisher user", publishing[0]),
        ("publisher kernel", publishing[1]),
        ("subscriber user", subscribing[0]),
        ("subscriber kernel", subscribing[1]),
        ("memory", publisher.memory()?),
    ]))
}

/// A member of a report.
pub(crate) fn number(report: &Value, key: &str) -> Result<f64> {
    let value = report.get(key).and_then(Value::as_f64);
    value.ok_or_else(|| format!("no {key} in {report}").into())
}
