//! Measures our relay beside the peer's, both as programs, in turns in one run:
//! `cargo build --release -p fedmsg && cargo run --release -p fedmsg-benches --bin relay -- PYTHON`,
//! where PYTHON is the interpreter of an environment with Python fedmsg 1.1.7.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use fedmsg::transport::{
    Endpoint, Options, Publisher, Subscriber, Transport, WhenFull,
    native::{Native, NativePublisher, NativeSubscriber},
};
use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

const ROUNDS: usize = 3;
const SIZES: [usize; 2] = [200, 2048];
/// How long to publish in one round.
const PUBLISHING: Duration = Duration::from_millis(2000);
/// So many messages may be on their way; the peer loses what is over libzmq's 1000.
const WINDOW: u64 = 900;
/// Messages of a burst, sent without waiting for anything.
const BURST: u64 = 100_000;
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let python = env::args_os().nth(1).map(PathBuf::from);
    let python = python.expect("the interpreter that has Python fedmsg");
    let ours = env::current_exe().unwrap().with_file_name("fedmsg");
    println!(
        "| | size | messages/s | in a burst of {BURST} | p50 µs | p99 µs | idle MB | after a burst MB |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for size in SIZES {
        let mut figures = [const { Vec::new() }; 2];
        for _ in 0..ROUNDS {
            for (of, program) in figures.iter_mut().zip(["ours", "peer"]) {
                let command = match program {
                    "ours" => {
                        let mut command = Command::new(&ours);
                        command.arg("relay");
                        command
                    }
                    _ => {
                        let mut command = Command::new(&python);
                        command.arg(python.with_file_name("fedmsg-relay"));
                        command
                    }
                };
                of.push(measure(command, size));
            }
        }
        for (of, program) in figures.iter().zip(["fedmsg relay", "Python fedmsg-relay"]) {
            let median = |n: usize| {
                let mut values: Vec<f64> = of.iter().map(|round| round[n]).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            let cells: Vec<_> = (0..6).map(|n| format!("{:.0}", median(n))).collect();
            println!("| {program} | {size} | {} |", cells.join(" | "));
        }
    }
}

/// Messages per second, in a window and in a burst; latency; memory.
fn measure(mut command: Command, size: usize) -> [f64; 6] {
    let [inbound, outbound] = [(); 2].map(|()| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Endpoint::tcp("127.0.0.1", listener.local_addr().unwrap().port())
    });
    let dir = env::temp_dir().join(format!("fedmsg-relay-{}", std::process::id()));
    fs::create_dir_all(dir.join("fedmsg.d")).unwrap();
    let config = format!(
        "config = {{'relay_inbound': '{inbound}', 'endpoints': {{'relay_outbound': ['{outbound}']}}, \
         'zmq_enabled': True}}\n"
    );
    fs::write(dir.join("fedmsg.d/relay.py"), config).unwrap();
    command
        .current_dir(&dir)
        .env("HOME", &dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let relay = Relay(command.spawn().expect("the relay"));
    for endpoint in [&inbound, &outbound] {
        let address = ("127.0.0.1", endpoint.port().unwrap());
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < PATIENCE, "no relay at {endpoint}");
            thread::sleep(Duration::from_millis(10));
        }
    }
    let options = Options {
        when_full: WhenFull::Block,
        max_memory: 64 << 20,
        ..Options::default()
    };
    let publisher = Native.publisher(&options).unwrap();
    publisher.connect(&inbound).unwrap();
    assert!(publisher.wait_for_subscriber(PATIENCE).unwrap());
    let mut subscriber = Native.subscriber(&options).unwrap();
    subscriber.subscribe(b"org").unwrap();
    subscriber.connect(&outbound).unwrap();
    let mut flow = Flow {
        publisher,
        subscriber,
        text: "x".repeat(size - body(0, "").len()),
    };
    while flow
        .subscriber
        .recv(Duration::from_millis(20))
        .unwrap()
        .is_none()
    {
        flow.send(0);
    }
    thread::sleep(Duration::from_millis(300));
    while flow
        .subscriber
        .recv(Duration::from_millis(100))
        .unwrap()
        .is_some()
    {}
    let idle = relay.memory("VmRSS:");
    let latency = flow.latency();
    let windowed = flow.throughput(WINDOW, None);
    let burst = flow.throughput(u64::MAX, Some(BURST));
    [
        windowed,
        burst,
        latency.quantile(0.5),
        latency.quantile(0.99),
        idle,
        relay.memory("VmHWM:"),
    ]
}

struct Flow {
    publisher: NativePublisher,
    subscriber: NativeSubscriber,
    text: String,
}

impl Flow {
    fn send(&self, number: u64) {
        let body = body(number, &self.text);
        let sent = self.publisher.send(TOPIC.as_bytes(), &[body.as_bytes()]);
        sent.expect("room");
    }

    /// Received per second; of `count` messages, or of as many as go in the time that there is.
    fn throughput(&mut self, window: u64, count: Option<u64>) -> f64 {
        let received = AtomicU64::new(0);
        let Self {
            publisher,
            subscriber,
            text,
        } = self;
        let start = Instant::now();
        let (count, last) = thread::scope(|scope| {
            let received = &received;
            let sender = scope.spawn(move || {
                let mut number = 0;
                while count.map_or(start.elapsed() < PUBLISHING, |count| number < count) {
                    for _ in 0..32 {
                        number += 1;
                        let body = body(number, text);
                        let sent = publisher.send(TOPIC.as_bytes(), &[body.as_bytes()]);
                        sent.expect("room");
                    }
                    while number - received.load(Relaxed) > window {
                        thread::sleep(Duration::from_micros(50));
                    }
                }
                number
            });
            let (mut next, mut count) = (1, 0);
            loop {
                let finished = sender.is_finished();
                let wait = Duration::from_millis(if finished { 1000 } else { 10 });
                match subscriber.recv(wait).unwrap() {
                    Some(message) => {
                        let (_, body) = message.topic_and_body().expect("two frames");
                        let number = number(body);
                        assert!(number >= next, "out of order");
                        // A burst may lose some; the peer's relay does.
                        next = number + 1;
                        count += 1;
                        received.store(number, Relaxed);
                    }
                    None if finished => break (count, Instant::now() - wait),
                    None => {}
                }
            }
        });
        f64::from(count) / (last - start).as_secs_f64()
    }

    /// At 1,000 messages per second, in microseconds.
    fn latency(&mut self) -> Latencies {
        let mut latencies = Vec::new();
        for number in 1..=2000 {
            let start = Instant::now();
            self.send(number);
            let message = self.subscriber.recv(PATIENCE).unwrap();
            assert!(message.is_some(), "a message was lost");
            let took = start.elapsed();
            latencies.push(took.as_secs_f64() * 1e6);
            thread::sleep(Duration::from_millis(1).saturating_sub(took));
        }
        latencies.sort_by(f64::total_cmp);
        Latencies(latencies)
    }
}

struct Latencies(Vec<f64>);

impl Latencies {
    fn quantile(&self, part: f64) -> f64 {
        let last = self.0.len() - 1;
        self.0[(last as f64 * part) as usize]
    }
}

/// A message of the bus, with its number first.
fn body(number: u64, text: &str) -> String {
    format!(
        r#"{{"i": {number:10}, "msg": {{"text": "{text}"}}, "timestamp": 1795430000, "topic": "{TOPIC}"}}"#
    )
}

fn number(body: &[u8]) -> u64 {
    let digits = body.get(b"{\"i\": ".len()..).unwrap_or_default();
    let text = String::from_utf8_lossy(digits);
    let digits = text
        .trim_start()
        .split(|c: char| !c.is_ascii_digit())
        .next();
    digits.unwrap_or_default().parse().expect("a number")
}

struct Relay(Child);

impl Relay {
    /// In MB.
    fn memory(&self, key: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap();
        let kilobytes = line.trim().strip_suffix(" kB").unwrap();
        kilobytes.parse::<f64>().unwrap() / 1000.0
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TOPIC: &str = "org.example.dev.bench.event";
