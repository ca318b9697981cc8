//! The firmware's image for a serial line in QEMU, and the real `fedmsg bridge` at the other end,
//! with real subscribers. `targets/mps2/run test` runs it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a test"
)]

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use fedmsg::{
    bus::{Context, Settings, Tail},
    crypto::{DeviceSettings, KeyKind, Scratch, Trust, ca::Ca},
    transport::{Options, Subscriber, Transport, native::Native, zmq::Zmq},
};
use fedmsg_core::provision::{Bus, NOWHERE};
use fedmsg_emulator::{Device, image};
use fedmsg_tests::{PATIENCE, next, pyzmq::Pyzmq, random::Random};
use rustix::{
    fs::{Mode, OFlags, fcntl_setfl},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};
use serde_json::Value;
use tempfile::TempDir;

const TOPIC: &str = "org.example.dev.lab";

#[test]
#[ignore = "targets/mps2/run test"]
fn libzmq_pyzmq_and_our_own_tail_validate_what_comes_over_the_line_whoever_starts_again() {
    let lab = Lab::new();
    let mut device = lab.device(100, Bus::Serial);
    let port = device.serial_path().expect("a port").to_owned();
    let mut bridge = Bridge::start(&port, 0);
    let at = bridge.address;
    let mut tail = lab.tail(at);
    let (mut libzmq, mut pyzmq) = (subscriber(&Zmq, at), subscriber(&Pyzmq, at));
    let mut scratch = Scratch::default();
    let mut validate = |(topic, body): (Vec<u8>, Vec<u8>)| {
        let valid = scratch.validate(Some(&topic), &body, &[&lab.trust.p256()], now());
        assert_eq!(valid.map(|valid| valid.signer), Ok("device-1"));
        let message: Value = serde_json::from_slice(&body).expect("JSON");
        let time = message["timestamp"].as_u64().expect("a time");
        assert!(now().abs_diff(time) < 30, "{message}");
    };
    for _ in 0..10 {
        validate(next(&mut libzmq));
        validate(next(&mut pyzmq));
        read(&mut tail);
    }

    device.reset().expect("QEMU");
    device.wait_for("waiting for a bridge").expect("a start");
    device.wait_for("a bridge is here").expect("a new session");
    let start = format!("{TOPIC}.start");
    wait_for(&mut tail, |message| message["topic"] == start);

    bridge.kill();
    let bridge = Bridge::start(&port, at.port());
    let line = bridge.line("a device is here");
    assert!(line.contains("bridge"), "{line}");
    let status = status(&mut device, &mut tail);
    assert_eq!(status["connections"]["opened"], 2, "{status}");
    assert!(status["stack"].as_u64() < Some(8 << 10), "{status}");
    validate(next(&mut libzmq));
    validate(next(&mut pyzmq));
}

#[test]
#[ignore = "targets/mps2/run test"]
fn two_thousand_messages_come_without_a_gap_over_a_line_that_spoils_a_byte_in_a_thousand() {
    let lab = Lab::new();
    let mut device = lab.device(3_600_000, Bus::Serial);
    let proxy = Proxy::start(device.serial_path().expect("a port"));
    let bridge = Bridge::start(&proxy.path(), 0);
    let mut subscriber = subscriber(&Native, bridge.address);
    device.wait_for("a bridge is here").expect("a session");
    // Until the subscriber's subscription has arrived, nothing does.
    let mut last = loop {
        device.send("here?").expect("a console");
        if let Some(message) = subscriber.recv(Duration::from_secs(1)).expect("no failure") {
            let (_, body) = message.topic_and_body().expect("a message");
            break number(body);
        }
    };
    device.send("burst 2000").expect("a console");
    let mut readings = 0;
    while readings < 2000 {
        let (topic, body) = next(&mut subscriber);
        let i = number(&body);
        assert_eq!(i, last + 1, "after {readings} readings");
        last = i;
        readings += u32::from(topic == format!("{TOPIC}.reading").into_bytes());
    }
    let spoilt = proxy.stop();
    assert!(spoilt > 500, "{spoilt} bytes");
}

#[test]
#[ignore = "targets/mps2/run test"]
fn garbage_from_the_line_stops_neither_end_and_takes_no_memory() {
    let lab = Lab::new();
    let mut device = lab.device(100, Bus::Serial);
    let proxy = Proxy::start(device.serial_path().expect("a port"));
    let bridge = Bridge::start(&proxy.path(), 0);
    let mut tail = lab.tail(bridge.address);
    read(&mut tail);
    let before = bridge.memory();
    proxy.garbage.store(true, Ordering::Relaxed);
    thread::sleep(Duration::from_secs(5));
    proxy.garbage.store(false, Ordering::Relaxed);
    // What waited for its reader first.
    while tail
        .recv(Some(Duration::from_millis(1)))
        .expect("no failure")
        .is_some()
    {}
    for _ in 0..10 {
        read(&mut tail);
    }
    let after = bridge.memory();
    assert!(after < before + (4 << 10), "{before} to {after} KiB");
    let status = status(&mut device, &mut tail);
    assert_eq!(status["failed"], 0, "{status}");
}

#[test]
#[ignore = "targets/mps2/run test"]
fn an_image_and_a_blob_for_different_transports_say_so() {
    let lab = Lab::new();
    let serial = image::build(&image::SERIAL).expect("the firmware builds");
    let ethernet = image::build(&image::DEVICE).expect("the firmware builds");
    for (image, bus, text) in [
        (&serial, Bus::Listen(9940), "provisioned for a network"),
        (&ethernet, Bus::Serial, "provisioned for a serial line"),
    ] {
        let mut device = lab.boot(image, 100, bus);
        device.wait_for(text).expect("a clear line");
    }
}

/// A CA and what devices are made of.
struct Lab {
    dir: TempDir,
    trust: Arc<Trust>,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Ca::init(dir.path(), "Lab", KeyKind::P256, 2, now()).expect("a CA");
        let (ca, crl) = (dir.path().join("ca.crt"), dir.path().join("crl.pem"));
        let trust = Trust::load(&ca, Some(&crl)).expect("a CA and its list");
        Self {
            trust: Arc::new(trust),
            dir,
        }
    }

    fn device(&self, period_ms: u32, bus: Bus) -> Device {
        static IMAGE: OnceLock<PathBuf> = OnceLock::new();
        let image =
            IMAGE.get_or_init(|| image::build(&image::SERIAL).expect("the firmware builds"));
        let mut device = self.boot(image, period_ms, bus);
        device.wait_for("waiting for a bridge").expect("a start");
        device
    }

    fn boot(&self, image: &Path, period_ms: u32, bus: Bus) -> Device {
        let dir = tempfile::tempdir_in(self.dir.path()).expect("a temporary folder");
        let settings = DeviceSettings {
            topic: TOPIC.into(),
            bus,
            time_server: match bus {
                Bus::Serial => NOWHERE,
                _ => "10.0.2.2:123".parse().expect("an address"),
            },
            period_ms,
            mac: None,
        };
        let name = match bus {
            Bus::Serial => "device-1",
            _ => "device-2",
        };
        let blob = settings.issue(self.dir.path(), name, None, now());
        let blob = fs::read(blob.expect("a certificate")).expect("a file");
        let provisioned = dir.path().join("image");
        image::provision(image, &blob, &provisioned).expect("an image");
        let options = fedmsg_emulator::Options {
            serial: true,
            ..Default::default()
        };
        Device::boot(&provisioned, &options).expect("QEMU")
    }

    /// Our own tail, which takes what validates.
    fn tail(&self, at: SocketAddr) -> Tail {
        let settings = Settings {
            endpoints: [].into(),
            validator: Some(self.trust.clone()),
            ..Settings::default()
        };
        let settings = settings
            .with_endpoints("device", [format!("tcp://{at}")])
            .expect("an endpoint");
        let context = Context::new(settings).expect("a context");
        context.tail(TOPIC).expect("a tail")
    }
}

fn now() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock");
    now.as_secs()
}

fn subscriber<T: Transport>(transport: &T, at: SocketAddr) -> T::Subscriber {
    let mut subscriber = transport
        .subscriber(&Options::default())
        .expect("a subscriber");
    subscriber.subscribe(TOPIC.as_bytes()).expect("a prefix");
    let endpoint = format!("tcp://{at}").parse().expect("an endpoint");
    subscriber.connect(&endpoint).expect("a connection");
    subscriber
}

fn number(body: &[u8]) -> u64 {
    let message: Value = serde_json::from_slice(body).expect("JSON");
    message["i"].as_u64().expect("a number")
}

fn read(tail: &mut Tail) -> Value {
    let message = tail.recv(Some(PATIENCE)).expect("no failure");
    serde_json::from_slice(&message.expect("a message").body).expect("JSON")
}

fn wait_for(tail: &mut Tail, mut good: impl FnMut(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let message = read(tail);
        if good(&message) {
            return message;
        }
        assert!(start.elapsed() < PATIENCE, "gave up waiting: {message}");
    }
}

fn status(device: &mut Device, tail: &mut Tail) -> Value {
    let topic = format!("{TOPIC}.status");
    let asked = wait_for(tail, |message| {
        // Again and again: nobody may have been there for the last answer.
        device.send("status").expect("a console");
        message["topic"] == topic
    });
    asked["msg"].clone()
}

/// `fedmsg bridge`, the real program. Ends when dropped.
struct Bridge {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    address: SocketAddr,
}

impl Bridge {
    fn start(serial: &Path, port: u16) -> Self {
        let mut child = Command::new(program())
            .args(["bridge", "--bind", "--endpoint"])
            .arg(format!("tcp://127.0.0.1:{port}"))
            .arg("--serial")
            .arg(serial)
            .env("FEDMSG_CONFIG", "/dev/null")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("fedmsg bridge");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = std::sync::mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut bridge = Self {
            child,
            lines,
            address: ([127, 0, 0, 1], 0).into(),
        };
        let line = bridge.line(" → tcp://");
        let (_, address) = line.rsplit_once("tcp://").expect("an endpoint");
        bridge.address = address.trim().parse().expect("an address");
        bridge
    }

    /// Waits for a line of its log that contains `text`.
    fn line(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect(text);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// What it has in memory, in KiB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.expect("VmRSS").parse().expect("a number")
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, built.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "fedmsg", "--bin", "fedmsg"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo");
        assert!(built.success(), "fedmsg does not build");
        image::target_dir().join("debug/fedmsg")
    })
}

/// A bad line between a device's port and a bridge's: a byte in a thousand is changed or lost.
struct Proxy {
    dir: TempDir,
    over: Arc<AtomicBool>,
    /// Whether random bytes come as well.
    garbage: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Proxy {
    fn start(port: &Path) -> Self {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
        let device = rustix::fs::open(port, flags, Mode::empty()).expect("the device's port");
        let mut settings = tcgetattr(&device).expect("a terminal");
        settings.make_raw();
        tcsetattr(&device, OptionalActions::Now, &settings).expect("a terminal");
        let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&end).expect("a pseudo-terminal");
        unlockpt(&end).expect("a pseudo-terminal");
        fcntl_setfl(&end, OFlags::NONBLOCK).expect("a pseudo-terminal");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let name = ptsname(&end, Vec::new()).expect("its name");
        symlink(name.to_str().expect("text"), dir.path().join("port")).expect("a link");
        let (over, garbage) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (its_end, its_garbage) = (Arc::clone(&over), Arc::clone(&garbage));
        let ends = [File::from(device), File::from(end)];
        Self {
            dir,
            over,
            garbage,
            thread: Some(thread::spawn(move || pass(ends, &its_end, &its_garbage))),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("port")
    }

    /// How many bytes were spoilt.
    fn stop(mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it runs");
        thread.join().expect("no failure")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn pass(mut ends: [File; 2], over: &AtomicBool, garbage: &AtomicBool) -> u64 {
    let mut random = Random(1);
    let mut spoilt = 0;
    while !over.load(Ordering::Relaxed) {
        let mut idle = true;
        for from in [0, 1] {
            let mut bytes = [0; 256];
            // Nobody may be at the other end, which is an error of a pseudo-terminal's.
            let n = ends[from].read(&mut bytes).unwrap_or(0);
            idle &= n == 0;
            let mut out = Vec::new();
            for &byte in &bytes[..n] {
                match random.below(2000) {
                    0 => spoilt += 1,
                    1 => {
                        spoilt += 1;
                        out.push(!byte);
                    }
                    _ => out.push(byte),
                }
            }
            if garbage.load(Ordering::Relaxed) {
                out.extend((0..20).map(|_| random.below(256) as u8));
            }
            let mut rest = &out[..];
            let patience = Instant::now() + Duration::from_millis(500);
            while !rest.is_empty() && Instant::now() < patience {
                match ends[1 - from].write(rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(_) => thread::sleep(Duration::from_micros(200)),
                }
            }
        }
        if idle {
            thread::sleep(Duration::from_micros(200));
        }
    }
    spoilt
}
