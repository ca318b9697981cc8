//! `fedmsg bridge` and its library, with a device of the core's at the other end of a
//! pseudo-terminal.
#![cfg(feature = "cli")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use fedmsg::{
    daemon::{Bridge, Running},
    transport::{
        Endpoint, Options, Subscriber as _, Transport as _,
        native::{Native, NativeSubscriber},
    },
};
use fedmsg_core::{
    message::{Envelope, MessageId},
    publisher::Publisher,
    serial::{Event, Line},
    zmtp::Limits,
};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::Value;
use tempfile::TempDir;

/// How long something that must happen is waited for. Reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);

const TOPIC: &str = "org.example.dev.lab.reading";

#[test]
fn what_the_device_says_arrives_as_it_is_over_a_line_that_spoils_a_byte_in_a_thousand() {
    let cable = Cable::new();
    let device = cable.device(Condition::SPOILT);
    let (bridge, mut subscriber) = bridge(&cable.path());
    let mut last = 0;
    for _ in 0..500 {
        let message = next(&mut subscriber);
        assert_eq!(message["topic"], TOPIC);
        let i = message["i"].as_u64().unwrap();
        assert!(last == 0 || i == last + 1, "{i} after {last}");
        // The device was told the time before it said anything.
        let time = message["timestamp"].as_u64().unwrap();
        assert!(now().abs_diff(time) < 60, "{time}");
        last = i;
    }
    drop(device);
    let counters = bridge.stop().unwrap();
    let line = counters.line.unwrap();
    assert!(line.damaged > 0 && line.sessions == 1, "{line:?}");
    assert_eq!(counters.all_refused(), 0);
}

#[test]
fn a_device_that_starts_again_and_one_that_is_plugged_in_again_go_on() {
    let mut cable = Cable::new();
    let device = cable.device(Condition::GOOD);
    let (bridge, mut subscriber) = bridge(&cable.path());
    next(&mut subscriber);

    let mut device = device.restart();
    // From its beginning.
    wait_for(&mut subscriber, |message| message["i"] == 1);
    assert_eq!(bridge.counters().line.unwrap().sessions, 2);

    for _ in 0..2 {
        drop(device);
        cable.plug_out();
        while subscriber
            .recv(Duration::from_millis(300))
            .unwrap()
            .is_some()
        {}
        device = cable.plug_in(Condition::GOOD);
        wait_for(&mut subscriber, |message| message["i"] == 1);
    }
}

#[test]
fn it_connects_to_a_relay_that_is_bound() {
    let cable = Cable::new();
    let _device = cable.device(Condition::GOOD);
    let mut relay = Native.subscriber(&Options::default()).unwrap();
    relay.subscribe(b"").unwrap();
    let outbound = relay.bind(&"tcp://127.0.0.1:0".parse().unwrap()).unwrap();
    let bridge = Bridge {
        serial: cable.path(),
        baud: 9_600,
        outbound: outbound.clone(),
        bind: false,
        transport: Options::default(),
    };
    let running = bridge.start().unwrap();
    assert_eq!(running.outbound(), [outbound]);
    next(&mut relay);
}

#[test]
fn garbage_on_the_line_and_what_is_no_message_stop_nothing() {
    let cable = Cable::new();
    let device = cable.device(Condition {
        strange: true,
        ..Condition::GOOD
    });
    let (bridge, mut subscriber) = bridge(&cable.path());
    next(&mut subscriber);
    let mut port = cable.port();
    let mut garbage = 1_u32;
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..1000)
            .map(|_| {
                garbage = garbage.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (garbage >> 24) as u8
            })
            .collect();
        // What does not fit is lost, as on a line.
        let _ = port.write(&bytes);
        thread::sleep(Duration::from_millis(1));
    }
    let start = Instant::now();
    while subscriber.recv(Duration::ZERO).unwrap().is_some() {
        assert!(start.elapsed() < PATIENCE);
    }
    next(&mut subscriber);
    drop(device);
    let counters = bridge.stop().unwrap();
    assert!(counters.line.unwrap().damaged > 0);
    let causes: Vec<_> = counters.refused.keys().copied().collect();
    assert_eq!(causes, ["not-json", "not-two-frames"]);
}

#[test]
fn the_command_serves_one_port_until_a_signal_and_takes_none_that_another_has() {
    let cable = Cable::new();
    let _device = cable.device(Condition::GOOD);
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fedmsg"));
        command
            .args(["bridge", "--endpoint", "tcp://127.0.0.1:0", "--bind"])
            .arg("--serial")
            .arg(cable.path())
            .current_dir(cable.dir.path())
            .env("FEDMSG_CONFIG", cable.dir.path().join("site.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let config = "\"moksha.monitoring.socket\" = \"ipc://status\"";
        std::fs::write(cable.dir.path().join("site.toml"), config).unwrap();
        command.spawn().unwrap()
    };
    let mut bridge = start();
    let mut errors = BufReader::new(bridge.stderr.take().unwrap()).lines();
    let bound = errors.next().unwrap().unwrap();
    let endpoint = bound
        .strip_prefix("fedmsg bridge: bound to ")
        .expect(&bound);
    let mut subscriber = subscriber(&endpoint.parse().unwrap());
    next(&mut subscriber);

    let socket = format!("ipc://{}/status", cable.dir.path().display());
    let mut status = self::subscriber(&socket.parse().unwrap());
    let message = status.recv(PATIENCE).unwrap().expect("a status");
    let body = message.frames.frames().last().unwrap();
    let status: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(status["consumers"][0]["line"]["sessions"], 1, "{status}");

    let mut second = start();
    let mut lines = BufReader::new(second.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("another bridge has the port")));
    next(&mut subscriber);
    second.kill().unwrap();
    second.wait().unwrap();
    let pid = rustix::process::Pid::from_child(&bridge);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(bridge.wait().unwrap().success());
}

fn bridge(serial: &Path) -> (Running, NativeSubscriber) {
    let bridge = Bridge {
        serial: serial.to_owned(),
        baud: 115_200,
        outbound: "tcp://127.0.0.1:0".parse().unwrap(),
        bind: true,
        transport: Options::default(),
    };
    let running = bridge.start().unwrap();
    let subscriber = subscriber(&running.outbound()[0]);
    (running, subscriber)
}

fn subscriber(at: &Endpoint) -> NativeSubscriber {
    let mut subscriber = Native.subscriber(&Options::default()).unwrap();
    subscriber.subscribe(b"").unwrap();
    subscriber.connect(at).unwrap();
    subscriber
}

/// The next message, which is one.
fn next(subscriber: &mut NativeSubscriber) -> Value {
    let message = subscriber.recv(PATIENCE).unwrap().expect("a message");
    let (topic, body) = message.topic_and_body().unwrap();
    let value: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(value["topic"].as_str().unwrap().as_bytes(), topic);
    value
}

fn wait_for(subscriber: &mut NativeSubscriber, good: impl Fn(&Value) -> bool) {
    let start = Instant::now();
    while !good(&next(subscriber)) {
        assert!(start.elapsed() < PATIENCE);
    }
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// A pseudo-terminal, under a path that stays the same.
struct Cable {
    dir: TempDir,
    end: Option<Arc<File>>,
}

impl Cable {
    fn new() -> Self {
        let mut cable = Self {
            dir: tempfile::tempdir().unwrap(),
            end: None,
        };
        cable.make();
        cable
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("port")
    }

    fn make(&mut self) {
        let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&end).unwrap();
        unlockpt(&end).unwrap();
        fcntl_setfl(&end, OFlags::NONBLOCK).unwrap();
        let name = ptsname(&end, Vec::new()).unwrap();
        symlink(name.to_str().unwrap(), self.path()).unwrap();
        self.end = Some(Arc::new(File::from(end)));
    }

    fn plug_out(&mut self) {
        std::fs::remove_file(self.path()).unwrap();
        self.end = None;
    }

    fn plug_in(&mut self, condition: Condition) -> Device {
        self.make();
        self.device(condition)
    }

    /// The device's end.
    fn port(&self) -> File {
        self.end.as_ref().unwrap().try_clone().unwrap()
    }

    fn device(&self, condition: Condition) -> Device {
        Device::start(self.port(), condition)
    }
}

/// What the line does to bytes, and whether the device sends strange messages between its own.
#[derive(Clone, Copy)]
struct Condition {
    spoils: bool,
    strange: bool,
}

impl Condition {
    const GOOD: Self = Self {
        spoils: false,
        strange: false,
    };
    const SPOILT: Self = Self {
        spoils: true,
        ..Self::GOOD
    };
}

/// A device that publishes as fast as the line takes it.
struct Device {
    port: File,
    condition: Condition,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Device {
    fn start(port: File, condition: Condition) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (its, file) = (Arc::clone(&over), port.try_clone().unwrap());
        Self {
            port,
            condition,
            over,
            thread: Some(thread::spawn(move || live(file, condition, &its))),
        }
    }

    fn restart(self) -> Self {
        let (port, condition) = (self.port.try_clone().unwrap(), self.condition);
        drop(self);
        Self::start(port, condition)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn live(mut port: File, condition: Condition, over: &AtomicBool) {
    let mut ring = [0; 4096];
    let mut publisher = Publisher::<1>::new(&mut ring, Limits::DEFAULT);
    let mut line = Line::device();
    let mut link = None;
    let (mut i, mut moved) = (0, 0_u32);
    let mut strange = Vec::new();
    let start = Instant::now();
    let mut bytes = Vec::new();
    let mut spoil = move |bytes: &mut Vec<u8>| {
        bytes.retain_mut(|byte| {
            moved += 1;
            if condition.spoils && moved % 1000 == 0 {
                *byte ^= 0x10;
            }
            !(condition.spoils && moved % 1999 == 0)
        });
    };
    while !over.load(Ordering::Relaxed) {
        let now = start.elapsed().as_millis() as u64;
        let mut idle = true;
        if bytes.is_empty() {
            let mut space = [0; 300];
            // Nobody may be at the other end, which is an error of a pseudo-terminal's.
            let n = port.read(&mut space).unwrap_or(0);
            bytes.extend_from_slice(&space[..n]);
            spoil(&mut bytes);
        }
        let (taken, event) = line.receive(&bytes, now);
        idle &= taken == 0;
        bytes.drain(..taken);
        for event in [event, line.tick(now)].into_iter().flatten() {
            link.take().inspect(|link| publisher.close(*link));
            if event == Event::Opened {
                link = publisher.open(now);
            }
        }
        if let Some(link) = link {
            while line.has_unread() {
                let n = line.read(publisher.space(link).unwrap());
                publisher.received(link, n, now).unwrap();
            }
            publisher.tick(link, now).unwrap();
            if publisher.subscribers() > 0
                && strange.is_empty()
                && publisher.outgoing(link).unwrap().is_empty()
            {
                i += 1;
                if condition.strange {
                    // One frame; and two, of which the second is no JSON.
                    strange.extend_from_slice(b"\0\x01x\x01\x01t\0\x01{");
                }
                let time = line.time(now).unwrap() / 1000;
                let envelope = Envelope {
                    topic: TOPIC,
                    i,
                    timestamp: time,
                    msg_id: MessageId::new(time, [i as u8; 16]),
                    username: None,
                    seq_id: None,
                };
                publisher
                    .publish(&envelope, &Value::from("x".repeat(100)), &mut [0; 1024])
                    .unwrap();
            }
            if strange.is_empty() || !publisher.outgoing(link).unwrap().is_empty() {
                let n = line.write(publisher.outgoing(link).unwrap(), now);
                publisher.sent(link, n).unwrap();
            } else {
                let n = line.write(&strange, now);
                strange.drain(..n);
            }
        }
        let mut out = line.outgoing(now).to_vec();
        if !out.is_empty() {
            idle = false;
            line.sent(out.len());
            spoil(&mut out);
            // What nobody takes is lost, as on a line.
            let _ = port.write(&out);
        }
        if idle {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
