//! `fedmsg relay`, `signing-relay` and `gateway` as services: signals, systemd, status, errors.
#![cfg(feature = "cli")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram, process::ExitStatusExt as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant, SystemTime},
};

use fedmsg::{
    crypto::{KeyKind, ca::Ca},
    transport::{Endpoint, Options, Publisher, Subscriber, Transport, native::Native},
};
use serde_json::Value;
use tempfile::TempDir;

/// How long something that must happen is waited for. Reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_signal_stops_it_and_what_has_come_is_sent() {
    for signal in ["TERM", "INT"] {
        let site = Site::new("");
        let mut relay = site.start("relay", &[]);
        let (publisher, mut subscriber) = relay.connect();
        for i in 0..100 {
            let body = format!("{{\"i\":{i}}}");
            publisher.send(b"org", &[body.as_bytes()]).unwrap();
        }
        // The last has been read once the first has arrived, or is by the relay's last look.
        subscriber.recv(PATIENCE).unwrap().expect("a message");
        relay.signal(signal);
        assert!(relay.wait().success());
        let mut came = 1;
        while subscriber
            .recv(Duration::from_millis(100))
            .unwrap()
            .is_some()
        {
            came += 1;
        }
        assert_eq!(came, 100);
        assert!(relay.line("stopping").contains("relay: stopping"));
        relay.line("refused: 0; dropped for slow subscribers: 0");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let site = Site::new("zmq_linger = 600000\n");
    let mut relay = site.start("relay", &[]);
    let (publisher, _subscriber) = relay.connect();
    // It takes a message, and then what the kernel has room for.
    let options = Options {
        max_memory: 1,
        ..Options::default()
    };
    let mut stopped = Native.subscriber(&options).unwrap();
    stopped.subscribe(b"org").unwrap();
    stopped.connect(&relay.outbound).unwrap();
    let start = Instant::now();
    while stopped.recv(Duration::from_millis(5)).unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "the subscriber hears nothing");
        publisher.send(b"org", &[b"{}"]).unwrap();
    }
    let body = [b"{\"msg\":\"", &[b'x'; 1 << 20][..], b"\"}"].concat();
    for _ in 0..30 {
        publisher.send(b"org", &[&body]).unwrap();
    }
    relay.signal("TERM");
    relay.line("stopping");
    relay.signal("TERM");
    assert_eq!(relay.wait().signal(), Some(15));
}

#[test]
fn systemd_hears_that_it_is_ready_alive_reloading_and_stopping() {
    let site = Site::new("");
    let path = site.dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = path.to_str().unwrap();
    let environment = [("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "400000")];
    let mut relay = site.start("relay", &environment);
    let heard = |expected: &str| {
        let mut buffer = [0; 1000];
        loop {
            let len = socket.recv(&mut buffer).expect(expected);
            let text = str::from_utf8(&buffer[..len]).unwrap();
            if text != "WATCHDOG=1\n" || expected == "WATCHDOG=1\n" {
                assert!(text.starts_with(expected), "{text:?}, not {expected:?}");
                return text.to_owned();
            }
        }
    };
    heard("READY=1\n");
    for _ in 0..3 {
        heard("WATCHDOG=1\n");
    }
    relay.signal("HUP");
    assert!(heard("RELOADING=1\n").contains("MONOTONIC_USEC="));
    heard("READY=1\n");
    relay.line("nothing to reload");
    relay.signal("INT");
    heard("STOPPING=1\n");
    assert!(relay.wait().success());
}

#[test]
fn a_signing_relay_reads_its_configuration_anew_when_it_is_told_to() {
    let site = Site::new("");
    let mut relay = site.start("signing-relay", &[]);
    let (publisher, mut subscriber) = relay.connect();
    let mut backend = || {
        publisher.send(b"org", &[br#"{"topic":"org"}"#]).unwrap();
        let message = subscriber.recv(PATIENCE).unwrap().expect("a message");
        let body: Value = serde_json::from_slice(message.topic_and_body().unwrap().1).unwrap();
        body["crypto"].clone()
    };
    assert_eq!(backend(), "x509");

    let good = fs::read_to_string(site.file()).unwrap();
    fs::write(site.file(), good.replace("\"relay\"", "\"nobody\"")).unwrap();
    relay.signal("HUP");
    assert!(
        relay
            .line("not reloaded, all stays as it was: ")
            .contains("nobody")
    );
    assert_eq!(backend(), "x509");

    let device = good.replace("\"relay\"", "\"device\"") + "crypto_backend = \"x509-p256\"\n";
    fs::write(site.file(), device).unwrap();
    relay.signal("HUP");
    relay.line("reloaded");
    assert_eq!(backend(), "x509-p256");
}

#[test]
fn a_daemon_tells_how_it_is() {
    let site = Site::new(
        "\"moksha.monitoring.socket\" = \"ipc://status\"\n\"moksha.monitoring.socket.mode\" = \"0640\"\n",
    );
    let path = site.dir.path().join("status");
    let mut relay = site.start("relay", &[]);
    let mut check = Native.subscriber(&Options::default()).unwrap();
    check.subscribe(b"").unwrap();
    check.connect(&Endpoint::ipc(&path)).unwrap();
    let (publisher, mut subscriber) = relay.connect();
    let mut next = || {
        let message = check.recv(PATIENCE).unwrap().expect("a status");
        let frames: Vec<_> = message.frames.frames().collect();
        let [frame] = frames[..] else {
            panic!("{} frames", frames.len())
        };
        serde_json::from_slice::<Value>(frame).unwrap()["consumers"][0].take()
    };
    let before = next()["received"].as_u64().unwrap();
    for body in [&b"{}"[..], b"no JSON", b"{}"] {
        publisher.send(b"org", &[body]).unwrap();
    }
    for _ in 0..2 {
        subscriber.recv(PATIENCE).unwrap().expect("a message");
    }
    let status = next();
    for (key, value) in [
        ("name", Value::from("RelayConsumer")),
        ("module", "fedmsg.consumers.relay".into()),
        ("initialized", true.into()),
        ("backlog", 0.into()),
        ("exceptions", 1.into()),
        ("headcount_in", 3.into()),
        ("headcount_out", 3.into()),
        ("received", (before + 3).into()),
        ("forwarded", (before + 2).into()),
        ("refused", serde_json::json!({"not-json": 1})),
        ("dropped", 0.into()),
    ] {
        assert_eq!(status[key], value, "{key}");
    }
    let status = next();
    assert_eq!(status["headcount_in"], 0);
    assert_eq!(status["received"], before + 3);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    relay.signal("TERM");
    assert!(relay.wait().success());
    assert!(!path.exists());
}

#[test]
fn without_its_status_socket_it_runs_on() {
    let site = Site::new("\"moksha.monitoring.socket\" = \"ipc://not/there\"\n");
    let mut relay = site.start("relay", &[]);
    let warning = relay.line("runs without a status socket: bind ipc://not/there: ");
    assert!(warning.contains("WARNING"), "{warning}");
    relay.connect();
}

#[test]
fn what_is_wrong_with_the_configuration_is_said_in_one_line() {
    let taken = Native.publisher(&Options::default()).unwrap();
    let taken_at = taken.bind(&Endpoint::tcp("127.0.0.1", 0)).unwrap();
    let outbound = format!("endpoints = {{ relay_outbound = \"{taken_at}\" }}\n");
    let cases = [
        (
            "relay",
            outbound.as_str(),
            "no endpoint of 'endpoints.relay_outbound' is free: bind tcp://",
        ),
        (
            "relay",
            "endpoints = { relay_outbound = [] }\n",
            "the configuration has no 'endpoints.relay_outbound': set it",
        ),
        (
            "relay",
            "relay_inbound = \"tcp://192.0.2.1:2003\"\n",
            "no endpoint of 'relay_inbound' is free: bind tcp://192.0.2.1:2003: ",
        ),
        (
            "relay",
            "relay_inbound = \"udp://127.0.0.1:0\"\n",
            "endpoints of 'relay_inbound': endpoint 'udp://127.0.0.1:0': neither tcp://",
        ),
        (
            "relay",
            "\"moksha.monitoring.socket\" = \"ipc://\"\n",
            "'moksha.monitoring.socket': endpoint 'ipc://': the path is missing: ipc://path",
        ),
        (
            "relay",
            "\"moksha.monitoring.socket\" = \"ipc://x\"\n\"moksha.monitoring.socket.mode\" = \"rwx\"\n",
            "'moksha.monitoring.socket.mode': \"rwx\" is no file mode: write octal digits",
        ),
        (
            "signing-relay",
            "certnames = {}\n",
            "the configuration has no 'certnames.signing_relay': set it",
        ),
        (
            "gateway",
            "endpoints = {}\n",
            "the configuration has no 'endpoints': set it",
        ),
    ];
    for (program, differences, expected) in cases {
        let site = Site::new(differences);
        let output = site.command(program).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{differences}{errors}");
        let last = errors.lines().last().unwrap_or_default();
        assert!(
            last.starts_with(&format!("fedmsg {program}: {expected}")),
            "{differences}{errors}"
        );
    }
}

/// A configuration, and what it names.
struct Site {
    dir: TempDir,
}

impl Site {
    /// With these keys in the place of those that it would have.
    fn new(differences: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let ca = Ca::init(&dir.path().join("pki"), "test CA", KeyKind::P256, 10, now).unwrap();
        ca.issue("relay", Some(KeyKind::Rsa2048), None, now)
            .unwrap();
        ca.issue("device", None, None, now).unwrap();
        let mut text = String::new();
        for line in [
            "relay_inbound = \"tcp://127.0.0.1:0\"",
            "endpoints = { relay_outbound = \"tcp://127.0.0.1:0\" }",
            "certnames = { signing_relay = \"relay\" }",
            "ssldir = \"pki\"",
            "ca_cert_location = \"pki/ca.crt\"",
            "crl_location = \"pki/crl.pem\"",
            // Nothing here may bind every address.
            "\"fedmsg.consumers.gateway.port\" = 1",
        ] {
            let key = line.split_once(" = ").unwrap().0;
            let differs = differences
                .lines()
                .any(|line| line.starts_with(&format!("{key} = ")));
            if !differs {
                text += line;
                text += "\n";
            }
        }
        let site = Self { dir };
        fs::write(site.file(), text + differences).unwrap();
        site
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("site.toml")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fedmsg"));
        command
            .args([program, "--config-filename", "site.toml"])
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    fn start(&self, program: &str, environment: &[(&str, &str)]) -> Daemon {
        let mut command = self.command(program);
        command.envs(environment.iter().copied());
        Daemon::start(&mut command, program, self.dir.path())
    }
}

/// A daemon that runs, and ends when it is dropped.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
    inbound: Endpoint,
    outbound: Endpoint,
}

impl Daemon {
    fn start(command: &mut Command, program: &str, dir: &Path) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Ends with the process, whose output then ends.
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let nowhere = Endpoint::ipc(dir);
        let mut daemon = Self {
            child,
            lines,
            inbound: nowhere.clone(),
            outbound: nowhere,
        };
        let line = daemon.line(&format!("{program}: tcp://"));
        let (_, endpoints) = line.split_once(&format!("{program}: ")).unwrap();
        let (inbound, outbound) = endpoints.split_once(" → ").unwrap();
        daemon.inbound = inbound.parse().unwrap();
        daemon.outbound = outbound.parse().unwrap();
        daemon
    }

    /// The next line of its log that has this.
    #[track_caller]
    fn line(&mut self, part: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(error) => panic!("{error}: no line with {part:?}"),
            }
        }
    }

    /// A publisher and a subscriber that hear each other through it.
    fn connect(&self) -> (impl Publisher + use<>, impl Subscriber + use<>) {
        let mut subscriber = Native.subscriber(&Options::default()).unwrap();
        subscriber.subscribe(b"org").unwrap();
        subscriber.connect(&self.outbound).unwrap();
        let publisher = Native.publisher(&Options::default()).unwrap();
        publisher.connect(&self.inbound).unwrap();
        assert!(publisher.wait_for_subscriber(PATIENCE).unwrap());
        let start = Instant::now();
        while subscriber.recv(Duration::from_millis(5)).unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "the subscriber hears nothing");
            publisher.send(b"org", &[br#"{"topic":"org"}"#]).unwrap();
        }
        publisher
            .send(b"org", &[br#"{"topic":"org","end":1}"#])
            .unwrap();
        loop {
            let message = subscriber.recv(PATIENCE).unwrap().expect("a message");
            if message
                .topic_and_body()
                .unwrap()
                .1
                .windows(5)
                .any(|part| part == b"\"end\"")
            {
                return (publisher, subscriber);
            }
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let kill = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(kill.expect("kill (procps)").success());
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
