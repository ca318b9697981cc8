//! What every publisher and subscriber process of the bus's measurements does, whoever's sockets
//! it uses: it takes its [`Job`] as an argument and orders as lines on stdin, sends the messages
//! of a [`Source`], counts and checks what arrives in [`Sinks`], and reports as lines of JSON. It
//! ends when its stdin does.

#![allow(clippy::expect_used, clippy::panic)]

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    io::{BufRead, Write},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

mod histogram;

pub use histogram::Histogram;

/// What messages are about, unless the job has more [topics](Job::topics).
pub const TOPIC: &[u8] = b"org.example.dev.benchmark.event";
/// What nobody subscribes to but with the empty prefix.
const UNWANTED: &[u8] = b"org.example.dev.benchmark.zzzzz";
/// How many such messages tell their cost, or as many as go in [`UNWANTED_TIME`].
const UNWANTED_COUNT: u32 = 500_000;
/// In nanoseconds.
const UNWANTED_TIME: u64 = 500_000_000;

/// One of many topics, as long as [`TOPIC`].
#[must_use]
pub fn topic(number: usize) -> Vec<u8> {
    format!("org.example.dev.benchmark.{number:05}").into_bytes()
}

/// What one process is to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Job {
    /// Whose sockets.
    pub contender: String,
    /// Which side.
    pub role: Role,
    /// Where the publisher is, for subscribers.
    pub endpoint: String,
    /// How many subscribers this process holds.
    pub subscribers: usize,
    /// Bytes of a body, at least [`HEADER`].
    pub size: usize,
    /// Messages per second; 0: as many as go.
    pub rate: u64,
    /// How long to publish, in milliseconds.
    pub millis: u64,
    /// Whether the publisher waits for slow subscribers, by its own means.
    pub lossless: bool,
    /// The publisher's high-water mark, in messages; 0: the contender's best for throughput.
    pub high_water_mark: usize,
    /// The publisher waits when this many messages are not yet acknowledged by the harness; 0:
    /// never. For publishers that cannot wait by their own means.
    pub window: u64,
    /// So many topics take turns, and messages that nobody wants are sent first; 0: one topic.
    pub topics: usize,
}

/// Which side of the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Publisher.
    #[default]
    Publish,
    /// Subscribers.
    Subscribe,
}

impl Job {
    /// This process's, from its last argument.
    #[must_use]
    pub fn mine() -> Self {
        let argument = std::env::args().next_back().unwrap_or_default();
        serde_json::from_str(&argument).expect("the last argument is a job")
    }
}

/// A body begins with its number and the time it was sent, 8 bytes each.
pub const HEADER: usize = 16;
/// The number of a message that only finds out whether there is a connection.
const PROBE: u64 = u64::MAX;
/// The number of the last message.
const END: u64 = u64::MAX - 1;

/// Nanoseconds of the clock that all processes of the machine share.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
}

/// Nanoseconds of processor time that this process used.
fn processor() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
}

/// Reports to whoever started this process.
pub fn report(value: &Value) {
    let mut out = std::io::stdout().lock();
    // Nobody is left to hear it when this fails, and stdin's end ends the process.
    let _ = writeln!(out, "{value}");
    let _ = out.flush();
}

/// Keeps the process, and so its connections, until its stdin ends.
pub fn wait_for_end() -> ! {
    loop {
        thread::park();
    }
}

/// The orders on stdin.
#[derive(Default)]
pub struct Orders {
    hushed: AtomicBool,
    go: AtomicBool,
    acknowledged: AtomicU64,
    marks: AtomicU32,
}

impl Orders {
    /// Reads them from now on.
    #[must_use]
    pub fn read() -> Arc<Self> {
        let orders = Arc::new(Self::default());
        let ours = Arc::clone(&orders);
        thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                match line.split_once(' ') {
                    Some(("ack", n)) => {
                        ours.acknowledged
                            .store(n.parse().expect("a number"), Relaxed);
                    }
                    _ if line == "hush" => ours.hushed.store(true, Relaxed),
                    _ if line == "go" => ours.go.store(true, Relaxed),
                    _ if line == "mark" => {
                        ours.marks.fetch_add(1, Relaxed);
                    }
                    _ => panic!("unknown order {line}"),
                }
            }
            process::exit(0);
        });
        orders
    }

    /// Waits for the order to go.
    pub fn wait_to_go(&self) {
        while !self.go.load(Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many times a report was ordered.
    #[must_use]
    pub fn marks(&self) -> u32 {
        self.marks.load(Relaxed)
    }
}

/// The messages to publish, each when it is due: probes until the order to go, numbered messages for
/// the time of the job, one that says that it is the last.
pub struct Source {
    job: Job,
    orders: Arc<Orders>,
    topics: Vec<Vec<u8>>,
    body: Vec<u8>,
    /// Of the probes or of the numbered messages.
    sent: u64,
    start: u64,
    end: u64,
    state: State,
    unwanted: [f64; 2],
    dropped: Arc<AtomicU64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Probing,
    /// How many are sent, and what the clocks were at the first.
    Unwanted(u32, [u64; 2]),
    Running,
    Ended,
}

impl Source {
    /// For this job. Reports where the publisher is bound. `dropped`: what a publisher counts that
    /// it knows to have dropped.
    #[must_use]
    pub fn new(job: &Job, endpoint: &str, dropped: Arc<AtomicU64>) -> Self {
        report(&json!({ "endpoint": endpoint }));
        Self {
            job: job.clone(),
            orders: Orders::read(),
            topics: match job.topics {
                0 => vec![TOPIC.to_vec()],
                n => (0..n).map(topic).collect(),
            },
            body: vec![b'x'; job.size.max(HEADER)],
            sent: 0,
            start: 0,
            end: 0,
            state: State::Probing,
            unwanted: [0.0; 2],
            dropped,
        }
    }

    /// The next topic and body, once they are due; `None` after the last, which is then reported.
    #[expect(clippy::should_implement_trait, reason = "it lends its items")]
    pub fn next(&mut self) -> Option<(&[u8], &[u8])> {
        if self.state == State::Probing {
            while !self.orders.go.load(Relaxed) {
                // The topics have their turns, some at once.
                if self
                    .sent
                    .is_multiple_of(self.topics.len().div_ceil(200) as u64)
                {
                    thread::sleep(Duration::from_millis(2));
                }
                if !self.orders.hushed.load(Relaxed) {
                    self.sent += 1;
                    return Some(self.fill(self.sent, PROBE, 0));
                }
            }
            self.sent = 0;
            self.fill(0, 0, 0);
            self.state = match self.job.topics {
                0 => State::Running,
                _ => State::Unwanted(0, [now(), processor()]),
            };
        }
        if let State::Unwanted(count, [clock, used]) = self.state {
            let late = || count.is_multiple_of(64) && now() - clock > UNWANTED_TIME;
            if count < UNWANTED_COUNT && !late() {
                self.state = State::Unwanted(count + 1, [clock, used]);
                return Some((UNWANTED, &self.body));
            }
            let returned = now() - clock;
            // What was left to other threads counts too.
            thread::sleep(Duration::from_millis(200));
            let spent = [returned, processor() - used];
            self.unwanted = spent.map(|time| time as f64 / f64::from(count));
            self.state = State::Running;
        }
        match self.state {
            State::Ended => {
                report(&json!({
                    "messages": self.sent,
                    "start": self.start,
                    "end": now(),
                    "unwanted": self.unwanted[0],
                    "unwanted, all threads": self.unwanted[1],
                }));
                None
            }
            _ => Some(self.numbered()),
        }
    }

    fn numbered(&mut self) -> (&[u8], &[u8]) {
        if self.start == 0 {
            self.start = now();
            self.end = self.start + self.job.millis * 1_000_000;
        }
        let time = if self.job.rate > 0 {
            self.pace()
        } else if self.sent.is_multiple_of(64) {
            now()
        } else {
            0
        };
        if self.job.window > 0 {
            while self.sent - self.orders.acknowledged.load(Relaxed).min(self.sent)
                >= self.job.window
            {
                thread::sleep(Duration::from_micros(100));
            }
        }
        if time >= self.end {
            self.state = State::Ended;
            return self.fill(0, END, self.sent);
        }
        let number = self.sent;
        self.sent += 1;
        self.fill(number, number, time)
    }

    /// Sleeps until the next message is due; the time then. The schedule is fixed, so whoever was
    /// late sends the next ones at once.
    fn pace(&self) -> u64 {
        let due = self.start + self.sent * 1_000_000_000 / self.job.rate;
        loop {
            let time = now();
            if time >= due {
                return time;
            }
            thread::sleep(Duration::from_nanos(due - time));
        }
    }

    fn fill(&mut self, turn: u64, number: u64, time: u64) -> (&[u8], &[u8]) {
        let (first, rest) = self.body.split_at_mut(8);
        first.copy_from_slice(&number.to_le_bytes());
        if let Some(second) = rest.first_chunk_mut() {
            *second = time.to_le_bytes();
        }
        let topic = self.topics.get(turn as usize % self.topics.len());
        (topic.map_or(TOPIC, Vec::as_slice), &self.body)
    }

    /// Keeps the process, and so its connections, until its stdin ends; reports at each order to
    /// what was dropped.
    pub fn wait_for_end(&self) -> ! {
        let mut marks = 0;
        loop {
            thread::sleep(Duration::from_millis(5));
            if marks < self.orders.marks() {
                marks += 1;
                report(&json!({ "mark": { "dropped": self.dropped.load(Relaxed) } }));
            }
        }
    }
}

/// All subscribers of this process.
pub struct Sinks {
    job: Job,
    orders: Arc<Orders>,
    counters: Vec<Arc<Counters>>,
}

/// One subscriber's counts, written by its thread alone.
#[repr(align(128))]
struct Counters {
    connected: AtomicBool,
    received: AtomicU64,
    lost: AtomicU64,
    next: AtomicU64,
    ended: AtomicU64,
    latency: Histogram,
}

impl Sinks {
    /// One for each of the job's subscribers.
    #[must_use]
    pub fn new(job: &Job) -> (Self, Vec<Sink>) {
        let counters = Vec::from_iter((0..job.subscribers).map(|_| {
            Arc::new(Counters {
                connected: AtomicBool::new(false),
                received: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                next: AtomicU64::new(0),
                ended: AtomicU64::new(0),
                latency: Histogram::default(),
            })
        }));
        let sinks = counters
            .iter()
            .map(|counters| Sink {
                counters: Arc::clone(counters),
                next: 0,
                received: 0,
                timed: job.rate > 0,
            })
            .collect();
        let all = Self {
            job: job.clone(),
            orders: Orders::read(),
            counters,
        };
        (all, sinks)
    }

    /// Reports: that all are connected, what was counted at each order to, and when all have the
    /// last message; acknowledges to a publisher that cannot wait by itself. Ends with the process.
    pub fn watch(&self) -> ! {
        let pause = match self.job.window {
            0 => Duration::from_millis(5),
            _ => Duration::from_millis(1),
        };
        let all =
            |of: &dyn Fn(&Counters) -> bool| self.counters.iter().all(|counters| of(counters));
        let (mut connected, mut ended, mut marks, mut acknowledged) = (false, false, 0, 0);
        loop {
            thread::sleep(pause);
            if !connected && all(&|of| of.connected.load(Relaxed)) {
                connected = true;
                report(&json!({ "connected": true }));
            }
            if self.job.window > 0 {
                let next = self.counters.iter().map(|of| of.next.load(Relaxed)).min();
                let next = next.unwrap_or_default();
                if next > acknowledged {
                    acknowledged = next;
                    report(&json!({ "ack": next }));
                }
            }
            if marks < self.orders.marks() {
                marks += 1;
                report(&json!({ "mark": self.counted() }));
            }
            if !ended && all(&|of| of.ended.load(Relaxed) > 0) {
                ended = true;
                report(&json!({ "ended": self.counted() }));
            }
        }
    }

    fn counted(&self) -> Value {
        let sum = |of: fn(&Counters) -> &AtomicU64| -> u64 {
            self.counters.iter().map(|c| of(c).load(Relaxed)).sum()
        };
        json!({
            "time": now(),
            "received": sum(|of| &of.received),
            "lost": sum(|of| &of.lost),
            "next": self.counters.iter().map(|of| of.next.load(Relaxed)).min(),
            "end": self.counters.iter().map(|of| of.ended.load(Relaxed)).max(),
            "latency": Histogram::sum(self.counters.iter().map(|of| &of.latency)),
        })
    }
}

/// One subscriber: counts and checks what it gets.
pub struct Sink {
    counters: Arc<Counters>,
    next: u64,
    received: u64,
    timed: bool,
}

impl Sink {
    /// A message arrived. False after the last.
    ///
    /// # Panics
    /// When it is none of [`Source`]'s, or out of order.
    pub fn take(&mut self, topic: &[u8], body: &[u8]) -> bool {
        assert_eq!(topic, TOPIC, "another topic");
        let number = |at: usize| {
            let bytes = body.get(at..).and_then(<[u8]>::first_chunk);
            u64::from_le_bytes(*bytes.expect("a longer body"))
        };
        let of = &self.counters;
        let next = match number(0) {
            PROBE => {
                of.connected.store(true, Relaxed);
                return true;
            }
            END => number(8),
            n => {
                if self.timed {
                    of.latency.add(now().saturating_sub(number(8)));
                }
                self.received += 1;
                n + 1
            }
        };
        let expected = next - u64::from(number(0) != END);
        assert!(expected >= self.next, "out of order or twice");
        if expected > self.next {
            let lost = of.lost.load(Relaxed) + (expected - self.next);
            of.lost.store(lost, Relaxed);
        }
        self.next = next;
        of.received.store(self.received, Relaxed);
        of.next.store(next, Relaxed);
        if number(0) == END {
            of.ended.store(now(), Relaxed);
            return false;
        }
        true
    }
}
