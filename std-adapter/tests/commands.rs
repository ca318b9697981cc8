//! The commands of a fedmsg site, as programs, under both of their names.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests' helpers too"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use fedmsg::{
    crypto::{FileSigner, KeyKind, ca::Ca},
    transport::{
        Endpoint, Options, Publisher as _, Subscriber as _, Transport as _,
        native::{Native, NativePublisher, NativeSubscriber},
    },
};
use fedmsg_core::crypto::Signer as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long something that must happen is waited for. Reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine of a site: a folder, which is the home and the working directory of its users too.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new(config: &str) -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("fedmsg.toml"), config).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// The program by one of its names.
    fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fedmsg"));
        command
            .arg0(name)
            .args(args)
            .env("HOME", self.dir.path())
            .env("FEDMSG_CONFIG", self.path("fedmsg.toml"))
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, name: &str, args: &[&str], input: &str) -> Output {
        let mut running = self.start(name, args);
        running.feed(input.as_bytes());
        running.output()
    }

    fn start(&self, name: &str, args: &[&str]) -> Running {
        let mut command = self.command(name, args);
        let command = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running(Some(command.spawn().unwrap()))
    }
}

/// A child that does not outlive its test.
struct Running(Option<Child>);

impl Running {
    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    fn feed(&mut self, input: &[u8]) {
        let mut stdin = self.child().stdin.take().unwrap();
        // It may end without having read everything.
        let _ = stdin.write_all(input);
    }

    fn lines(&mut self) -> std::io::Lines<BufReader<ChildStdout>> {
        BufReader::new(self.child().stdout.take().unwrap()).lines()
    }

    fn signal(&mut self, signal: Signal) {
        let id = Pid::from_child(self.child());
        kill_process(id, signal).unwrap();
    }

    fn output(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn assert_ended(output: &Output, code: i32, stderr: &str) {
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(told.contains(stderr), "{told}");
}

/// An endpoint that nobody is at.
fn free_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}

/// Takes what a site's programs send to the relay.
fn relay() -> (NativeSubscriber, String) {
    let mut socket = Native.subscriber(&Options::default()).unwrap();
    socket.subscribe(b"").unwrap();
    let endpoint = socket.bind(&Endpoint::tcp("127.0.0.1", 0)).unwrap();
    (socket, endpoint.to_string())
}

fn next(relay: &mut NativeSubscriber) -> Value {
    let message = relay.recv(PATIENCE).unwrap().expect("a message");
    let (topic, body) = message.topic_and_body().unwrap();
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body["topic"], text(topic));
    body
}

fn short_host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    name.trim().split('.').next().unwrap().to_owned()
}

#[test]
fn the_logger_sends_what_it_is_given_to_the_relay() {
    let (mut relay, endpoint) = relay();
    let site = Site::new(&format!(
        "topic_prefix = 'org.example'\nrelay_inbound = ['{endpoint}', 'tcp://127.0.0.1:1']\n\
         validate_signatures = true\n"
    ));
    let log = |text: &str| json!({"log": text});
    for (args, input, topic, messages) in [
        (
            &["--message", " a 'b' "][..],
            "",
            "logger.log",
            vec![log(" a 'b' ")],
        ),
        (
            &["--message", r#"{"a": 1}"#],
            "",
            "logger.log",
            vec![log(r#"{"a": 1}"#)],
        ),
        (
            &["--message", r#"{"a": 1.0}"#, "--json-input"],
            "",
            "logger.log",
            vec![json!({"a": 1.0})],
        ),
        (
            &["--modname", "git", "--topic=repo.update"],
            "Hai there.\n\n  \u{e9}\t\r\nlast",
            "git.repo.update",
            vec![log("Hai there."), log(""), log("\u{e9}"), log("last")],
        ),
        // One text over several lines, as the peer takes it; or many.
        (
            &["--json-input"],
            "{\"a\":\n [1,\n 2]}\n",
            "logger.log",
            vec![json!({"a": [1, 2]})],
        ),
        (
            &["--json-input"],
            "{\"a\": 1}\n[]\n\n \"x\" null{}",
            "logger.log",
            vec![
                json!({"a": 1}),
                json!([]),
                json!("x"),
                json!(null),
                json!({}),
            ],
        ),
        // Unambiguous beginnings of options, as Python's argparse takes them.
        (&["--mess", "m", "--topic-p", "com"], "", "", vec![log("m")]),
    ] {
        for name in ["fedmsg-logger", "fedmsg"] {
            let args = [
                if name == "fedmsg" {
                    &["logger"][..]
                } else {
                    &[]
                },
                args,
            ]
            .concat();
            assert_ended(&site.run(name, &args, input), 0, "");
            for msg in &messages {
                let message = next(&mut relay);
                assert_eq!(message["msg"], *msg, "{args:?}");
                let full = format!("org.example.dev.{topic}");
                assert!(topic.is_empty() || message["topic"] == full, "{args:?}");
            }
        }
    }
}

#[test]
fn a_message_that_cannot_be_sent_is_told_and_fails() {
    let (mut relay, endpoint) = relay();
    let site = Site::new(&format!("relay_inbound = '{endpoint}'"));
    for (args, input, told, before) in [
        (
            &["--json-input"][..],
            "[1]\n{'a': 1}\n[2]\n",
            "JSON text 2: key must be",
            1,
        ),
        (
            &["--json-input"],
            "[1]\n[",
            "JSON text 2: EOF while parsing",
            1,
        ),
        (&["--json-input"], " \n", "standard input has no JSON", 0),
        (
            &["--json-input", "--message", "{"],
            "",
            "unexpected end at byte 1",
            0,
        ),
        (&["--json-input", "--message", "1e999"], "", "not finite", 0),
        (
            &["--modname", "a", "--topic", &"x".repeat(255)],
            "a",
            "line 1: the topic 'com.",
            0,
        ),
    ] {
        let output = site.run("fedmsg-logger", args, input);
        assert_ended(&output, 1, told);
        let stderr = text(&output.stderr);
        assert!(stderr.starts_with("fedmsg-logger: "), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        for _ in 0..before {
            next(&mut relay);
        }
    }
    let mut running = site.start("fedmsg-logger", &[]);
    running.feed(b"a\n\xff\nb\n");
    assert_ended(&running.output(), 1, "line 2: invalid utf-8");
    assert_eq!(next(&mut relay)["msg"]["log"], "a");
    for args in [&["--topic", ""][..], &["--timeout", "x"], &["--nonsense"]] {
        assert_eq!(site.run("fedmsg-logger", args, "").status.code(), Some(2));
    }
    assert!(relay.recv(Duration::ZERO).unwrap().is_none());
}

#[test]
fn a_relay_that_is_not_there_in_time_is_an_error() {
    let site = Site::new(&format!("relay_inbound = '{}'", free_endpoint()));
    let waits = ["--post-init-sleep", "0", "--timeout", "0.2"];
    for command in ["fedmsg-logger", "fedmsg-announce"] {
        let output = site.run(command, &waits, "hello");
        assert_ended(&output, 1, "not sent: no subscriber on tcp://127.0.0.1:");
        assert_ended(&output, 1, "within 0.2 s: is the relay running there?");
        assert_ended(&output, 1, "Connection refused");
    }

    // It comes later than post_init_sleep, and goes away again.
    let endpoint: Endpoint = free_endpoint().parse().unwrap();
    let site = Site::new(&format!(
        "relay_inbound = '{endpoint}'\npost_init_sleep = 0"
    ));
    let mut logger = site.start("fedmsg-logger", &["--timeout", "30"]);
    let mut input = logger.child().stdin.take().unwrap();
    thread::sleep(Duration::from_millis(300));
    for line in ["one", "two"] {
        let mut relay = Native.subscriber(&Options::default()).unwrap();
        relay.subscribe(b"").unwrap();
        let start = Instant::now();
        while let Err(error) = relay.bind(&endpoint) {
            assert!(start.elapsed() < PATIENCE, "{error}");
        }
        writeln!(input, "{line}").unwrap();
        assert_eq!(next(&mut relay)["msg"]["log"], line);
        drop(relay);
        // For the logger to notice.
        thread::sleep(Duration::from_millis(300));
    }
    drop(input);
    assert_ended(&logger.output(), 0, "");
}

#[test]
fn an_announcement_is_one_message() {
    let (mut relay, endpoint) = relay();
    let site = Site::new(&format!("relay_inbound = '{endpoint}'"));
    for (args, input, msg) in [
        (
            &["--link", "https://example.org/news"][..],
            "  Core 4 is\nGOLD \n",
            json!({"message": "Core 4 is\nGOLD", "link": "https://example.org/news"}),
        ),
        (&[], "", json!({"message": "", "link": null})),
        (&[], "\n\na\n", json!({"message": "\n\na", "link": null})),
    ] {
        assert_ended(&site.run("fedmsg-announce", args, input), 0, "");
        let message = next(&mut relay);
        assert_eq!(message["topic"], "com.example.dev.announce.announcement");
        assert_eq!(message["msg"], msg);
    }
}

#[test]
fn the_configuration_names_the_certificate_that_signs() {
    let (mut relay, endpoint) = relay();
    let site = Site::new("");
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    let pki = site.path("pki");
    let ca = Ca::init(Path::new(&pki), "CA", KeyKind::P256, 10, now).unwrap();
    let host = short_host_name();
    for service in ["shell", "announce", "own"] {
        ca.issue(&format!("{service}-host"), None, None, now)
            .unwrap();
    }
    let config = |more: &str| {
        let config = format!(
            "relay_inbound = '{endpoint}'\nsign_messages = true\nssldir = '{pki}'\n\
             crypto_backend = 'x509-p256'\n{more}\n[certnames]\n'shell.{host}' = 'shell-host'\n\
             'announce.{host}' = 'announce-host'\n'own.{host}' = 'own-host'\n"
        );
        fs::write(site.path("fedmsg.toml"), config).unwrap();
    };
    for (command, args, more, signer) in [
        ("fedmsg-logger", &["--message", "x"][..], "", "shell-host"),
        (
            "fedmsg-logger",
            &["--message", "x", "--cert-prefix", "own"],
            "",
            "own-host",
        ),
        (
            "fedmsg-logger",
            &["--message", "x"],
            "cert_prefix = 'own'",
            "own-host",
        ),
        (
            "fedmsg-announce",
            &[],
            "cert_prefix = 'own'",
            "announce-host",
        ),
    ] {
        config(more);
        assert_ended(&site.run(command, args, "x"), 0, "");
        let message = next(&mut relay);
        assert_eq!(message["crypto"], "x509-p256");
        let signed = FileSigner::load(Path::new(&pki), signer).unwrap();
        let certificate = format!("\"{}\"", text(signed.certificate_field()));
        let certificate: String = serde_json::from_str(&certificate).unwrap();
        assert_eq!(message["certificate"], certificate);
    }
    // A key that others can read is told of.
    let key = Path::new(&pki).join("shell-host.key");
    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    config("");
    let output = site.run("fedmsg-logger", &["--message", "x"], "");
    let warning = "fedmsg-logger: warning: everybody on this machine can read the private key";
    assert_ended(&output, 0, warning);
    next(&mut relay);
    // Who is mute sends nothing.
    config("mute = true");
    assert_ended(&site.run("fedmsg-logger", &["--message", "x"], ""), 0, "");
    config("");
    let output = site.run(
        "fedmsg-logger",
        &["--message", "x", "--cert-prefix", "none"],
        "",
    );
    assert_ended(
        &output,
        1,
        &format!("fedmsg-logger: sign_messages is set, but certnames has no 'none.{host}'"),
    );
    assert!(relay.recv(Duration::ZERO).unwrap().is_none());
}

/// A publisher whose messages the site's configuration knows, and that configuration.
fn publisher(more: &str) -> (NativePublisher, Site) {
    let publisher = Native.publisher(&Options::default()).unwrap();
    let endpoint = publisher.bind(&Endpoint::tcp("127.0.0.1", 0)).unwrap();
    let site = Site::new(&format!("{more}\n[endpoints]\n'git.host' = '{endpoint}'\n"));
    (publisher, site)
}

/// Sends a message, unsigned, with members that Python would write in another order.
fn send(publisher: &NativePublisher, topic: &str, msg: &str) {
    let body = format!(r#"{{"topic":"{topic}","msg":{msg},"i":1,"timestamp":1795430000}}"#);
    publisher
        .send(topic.as_bytes(), &[body.as_bytes()])
        .unwrap();
}

#[test]
fn a_tail_shows_messages_in_the_form_of_its_name() {
    let (publisher, site) = publisher("validate_signatures = false");
    // Time stamps are not looked at.
    let line = |line: &str| {
        let (_, text) = line.split_once("INFO] ").unwrap_or(("", line));
        text.to_owned()
    };
    let git = "org.example.dev.git.receive";
    let dict = "{'topic': 'org.example.dev.git.receive', 'msg': {'user': \"it's\", 'n': [1, None]}, \
                'i': 1, 'timestamp': 1795430000}";
    let json = r#"{"i":1,"msg":{"n":[1,null],"user":"it's"},"timestamp":1795430000,"topic":"org.example.dev.git.receive"}"#;
    for (name, args, expected) in [
        ("fedmsg-tail", &[][..], vec![dict]),
        ("fedmsg-tail", &["--json"], vec![json]),
        ("fedmsg", &["tail"], vec![json]),
        ("fedmsg", &["tail", "--query", "msg.user"], vec!["it's"]),
        (
            "fedmsg-tail",
            &["--query", "msg.user,msg.n, i ,x.y"],
            vec!["it's, [1, None], 1, None"],
        ),
        (
            "fedmsg",
            &["tail", "--pretty"],
            vec![
                "{'i': 1,",
                " 'msg': {'n': [1, None], 'user': \"it's\"},",
                " 'timestamp': 'Mon Nov 23 10:33:20 2026',",
                " 'topic': 'org.example.dev.git.receive'}",
            ],
        ),
    ] {
        let count = ["--count", "1", "--include", "git"];
        let args = [args, &count].concat();
        let mut command = site.command(name, &args);
        command.env("TZ", "UTC").stdout(Stdio::piped());
        let mut tail = Running(Some(command.spawn().unwrap()));
        assert!(publisher.wait_for_subscriber(PATIENCE).unwrap());
        send(&publisher, "org.example.dev.wiki.edit", "{}");
        send(&publisher, "org.example.dev.git._heartbeat", "{}");
        send(&publisher, git, r#"{"user":"it's","n":[1,null]}"#);
        let lines: Vec<_> = tail.lines().map(|found| line(&found.unwrap())).collect();
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, expected, "{name} {args:?}");
        assert!(tail.output().status.success());
        gone(&publisher);
    }
}

/// Waits until the publisher has no subscriber.
fn gone(publisher: &NativePublisher) {
    let start = Instant::now();
    while publisher.wait_for_subscriber(Duration::ZERO).unwrap() {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn no_message_ends_a_tail_and_what_is_refused_is_told() {
    let (publisher, site) = publisher("validate_signatures = false");
    for name in ["fedmsg-tail", "fedmsg"] {
        let args = if name == "fedmsg" { &["tail"][..] } else { &[] };
        let mut tail = site.start(name, &[args, &["--count", "1"]].concat());
        assert!(publisher.wait_for_subscriber(PATIENCE).unwrap());
        let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
        let bad: [&[u8]; 7] = [
            b"",
            b"x",
            b"\xef\xbb\xbf{}",
            b"{",
            b"\"\xff\"",
            &deep,
            b"1 2",
        ];
        for body in bad {
            publisher.send(b"a.b\x1b[2J", &[body]).unwrap();
        }
        publisher.send(b"\xff", &[b"{}"]).unwrap();
        send(&publisher, "good", "{}");
        drop(tail.child().stdin.take());
        let output = tail.output();
        assert_ended(&output, 0, "");
        assert_eq!(text(&output.stdout).lines().count(), 1);
        let told = text(&output.stderr);
        assert_eq!(told.lines().count(), 8, "{told}");
        assert!(told.starts_with(name) && !told.contains('\x1b'), "{told}");
        assert!(told.contains("refused a.b\\u{1b}[2J: "), "{told}");
        gone(&publisher);
    }
}

#[test]
fn a_tail_ends_with_0_by_a_signal_or_when_its_reader_is_gone() {
    let (publisher, site) = publisher("validate_signatures = false");
    for signal in [Signal::INT, Signal::TERM] {
        let mut tail = site.start("fedmsg-tail", &[]);
        assert!(publisher.wait_for_subscriber(PATIENCE).unwrap());
        send(&publisher, "a.b", "1");
        let mut lines = tail.lines();
        assert!(lines.next().unwrap().unwrap().ends_with('}'));
        tail.signal(signal);
        assert_ended(&tail.output(), 0, "");
        gone(&publisher);
    }
    let mut tail = site.start("fedmsg-tail", &[]);
    assert!(publisher.wait_for_subscriber(PATIENCE).unwrap());
    drop(tail.child().stdout.take());
    send(&publisher, "a.b", "1");
    let output = tail.output();
    assert_ended(&output, 0, "");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn what_needs_meta_is_refused_and_so_is_what_is_wrong() {
    let site = Site::new("");
    for args in [
        &["--terse"][..],
        &["--cowsay"],
        &["--users", "a"],
        &["--packages", "a,b"],
    ] {
        let output = site.run("fedmsg-tail", args, "");
        let told = format!("fedmsg-tail: {} needs `meta`, which this version", args[0]);
        assert_ended(&output, 2, &told);
    }
    for args in [
        &["--include", "("][..],
        &["--bind"],
        &["--count", "0"],
        &["--ca"],
    ] {
        assert_eq!(
            site.run("fedmsg-tail", args, "").status.code(),
            Some(2),
            "{args:?}"
        );
    }
    let site = Site::new("zmq_enabled = false");
    for command in ["fedmsg-tail", "fedmsg-logger", "fedmsg-announce"] {
        assert_ended(&site.run(command, &[], ""), 1, "zmq_enabled = false");
    }
    let site = Site::new("[endpoints]\n'a.b' = 'tcp://x'\n");
    let output = site.run("fedmsg-tail", &[], "");
    assert_ended(
        &output,
        1,
        "endpoints of 'a.b': endpoint 'tcp://x': the port is missing",
    );
}

#[test]
fn every_command_prints_the_configuration_on_demand() {
    let site = Site::new("environment = 'stg'");
    for (command, args) in [
        ("fedmsg-logger", &[][..]),
        ("fedmsg-announce", &[]),
        ("fedmsg-tail", &[]),
        ("fedmsg-trigger", &["--command", "false"]),
    ] {
        let args = [args, &["--print-config", "--linger", "7"]].concat();
        let output = site.run(command, &args, "");
        assert_ended(&output, 0, "");
        let config: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&config["environment"], &config["zmq_linger"]),
            (&json!("stg"), &json!(7))
        );
    }
}

/// A trigger whose command is this shell script, once it is there.
fn trigger(site: &Site, publisher: &NativePublisher, script: &str, args: &[&str]) -> Running {
    let running = site.start("fedmsg-trigger", &[&["--command", script], args].concat());
    assert!(publisher.wait_for_subscriber(PATIENCE).unwrap());
    running
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "gave up waiting: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_triggered_command_reads_the_message_whatever_it_holds() {
    let (publisher, site) = publisher("validate_signatures = false");
    let mut trigger = trigger(&site, &publisher, "cat >> got; true; cat", &[]);
    let hostile = [
        "it's",
        "'; touch harmed; '",
        "$(touch harmed) `touch harmed` ${IFS} | touch harmed & touch harmed\n touch harmed",
        "\0\r\n\u{1b}[2J\"\\",
        "%s %n -e -n \\c --help",
        &"x".repeat(1 << 20),
        "",
    ];
    for text in hostile {
        let msg = serde_json::to_string(text).unwrap();
        send(&publisher, "org.example.dev.git.receive", &msg);
        send(&publisher, "org.example.dev.logger._heartbeat", &msg);
        publisher
            .send(b"org.example.'$(touch harmed)'", &[b"$(touch harmed)"])
            .unwrap();
    }
    let got = || fs::read_to_string(site.path("got")).unwrap_or_default();
    eventually("all messages", || got().lines().count() == hostile.len());
    trigger.signal(Signal::TERM);
    let output = trigger.output();
    assert_ended(&output, 0, "fedmsg-trigger: refused org.example.");
    for (line, text) in got().lines().zip(hostile) {
        let message: Value = serde_json::from_str(line).unwrap();
        assert_eq!(message["msg"], *text);
        // Canonical.
        assert!(line.starts_with(r#"{"i":1,"msg":""#));
    }
    assert!(!Path::new(&site.path("harmed")).exists());
}

#[test]
fn a_command_that_misbehaves_does_not_end_the_trigger() {
    let (publisher, site) = publisher("validate_signatures = false");
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    for (script, told) in [
        ("echo >> ran", ""),
        (
            "echo >> ran; exit 3",
            "INFO] Command returned error code 3\n",
        ),
        (
            "echo >> ran; kill -9 $$",
            "INFO] Command returned error code -9\n",
        ),
        ("echo >> ran; head -c 1 > /dev/null", ""),
        ("echo >> ran; yes | head -c 3000000", "y\ny\n"),
        (
            "echo >> ran; no-such-program",
            "INFO] Command returned error code 127\n",
        ),
        ("echo >> ran; sleep 60 > /dev/null 2>&1 & true", ""),
    ] {
        fs::write(site.path("ran"), "").unwrap();
        let mut trigger = trigger(&site, &publisher, script, &[]);
        let (sender, output) = std::sync::mpsc::channel();
        let mut stdout = trigger.child().stdout.take().unwrap();
        thread::spawn(move || {
            let mut all = String::new();
            let _ = std::io::Read::read_to_string(&mut stdout, &mut all);
            let _ = sender.send(all);
        });
        for _ in 0..3 {
            send(&publisher, "a.b", &large);
        }
        let ran = || fs::read(site.path("ran")).unwrap().len();
        eventually(script, || ran() == 3);
        trigger.signal(Signal::INT);
        assert_ended(&trigger.output(), 0, "");
        let output = output.recv_timeout(PATIENCE).unwrap();
        assert!(output.contains(told), "{script}: {output}");
        gone(&publisher);
    }
}

#[test]
fn a_trigger_that_is_ended_runs_its_command_for_what_came() {
    let (publisher, site) = publisher("validate_signatures = false");
    let got = || fs::read_to_string(site.path("got")).unwrap_or_default();
    // Waiting: nothing runs before the signal.
    let args = ["--wait-for", "3600", "--max-queue-size", "5"];
    let mut waiting = trigger(&site, &publisher, "cat >> got", &args);
    for _ in 0..5 {
        send(&publisher, "a.b", "1");
    }
    thread::sleep(Duration::from_millis(500));
    assert_eq!(got(), "");
    send(&publisher, "a.b", "1");
    eventually("more than five have their turn", || {
        got().lines().count() == 6
    });
    send(&publisher, "a.b", "2");
    thread::sleep(Duration::from_millis(500));
    waiting.signal(Signal::TERM);
    assert_ended(&waiting.output(), 0, "");
    assert_eq!(got().lines().count(), 7);
    gone(&publisher);

    // A second signal gives up.
    let mut running = trigger(&site, &publisher, "echo >> got; sleep 60", &[]);
    for _ in 0..3 {
        send(&publisher, "a.b", "3");
    }
    eventually("the command runs", || got().lines().count() == 8);
    thread::sleep(Duration::from_millis(500));
    running.signal(Signal::INT);
    thread::sleep(Duration::from_millis(500));
    running.signal(Signal::INT);
    running.child().stdout.take();
    let told = "the command was not run for 2 messages, and still runs for one";
    let mut stderr = BufReader::new(running.child().stderr.take().unwrap()).lines();
    assert!(stderr.any(|line| line.unwrap().contains(told)));
    assert_eq!(running.child().wait().unwrap().code(), Some(1));
}

#[test]
fn check_tells_what_the_daemon_tells() {
    let publisher = Native.publisher(&Options::default()).unwrap();
    let endpoint = publisher.bind(&Endpoint::tcp("127.0.0.1", 0)).unwrap();
    let site = Site::new(&format!("'moksha.monitoring.socket' = '{endpoint}'"));
    let status = br#"{"producers": [{"name": "Heart", "initialized": true}], "consumers":
        [{"name": "one", "initialized": true, "backlog": 0.5, "topic": "\u00e9"},
         {"name": "two", "initialized": false}]}"#;
    let pretty = "{\n  \"consumers\": [\n    {\n      \"backlog\": 0.5,\n      \"initialized\": true,\
                  \n      \"name\": \"one\",\n      \"topic\": \"\\u00e9\"\n    },\n";
    let all = "No consumers or producers specified so all will be shown.\n{\n  \"consumers\": [";
    let active = "All consumers and producers are active!\n{\n  \"consumers\": [";
    for (args, code, out, err) in [
        (&[][..], 0, all, ""),
        (&["--consumer", "one"], 0, active, ""),
        (
            &["-c", "one", "-p", "Heart", "--timeout", "20"],
            0,
            active,
            "",
        ),
        (
            &["-c", "two"],
            1,
            "",
            "\"two\" is not initialized!\nError: Some consumers and/or producers are uninitialized!\n",
        ),
        (
            &["-p", "one", "-c", "two"],
            1,
            "",
            "\"two\" is not initialized!\n\"one\" is not active!\n\
             Error: Some consumers and/or producers are missing!\n",
        ),
    ] {
        for (name, first) in [("fedmsg-check", &[][..]), ("fedmsg", &["check"])] {
            let running = site.start(name, &[first, args].concat());
            assert!(publisher.wait_for_subscriber(PATIENCE).unwrap());
            // One frame, as the peer sends it.
            let mut wire = Vec::new();
            fedmsg::transport::encode_frames(&[status], &mut wire);
            publisher
                .forward(&fedmsg::transport::Message {
                    frames: fedmsg_core::zmtp::Message::from_wire(&wire).unwrap(),
                    endpoint: &endpoint,
                })
                .unwrap();
            let output = running.output();
            assert_eq!(
                (output.status.code(), text(&output.stderr)),
                (Some(code), err)
            );
            let stdout = text(&output.stdout);
            assert!(stdout.starts_with(out), "{stdout}");
            assert_eq!(stdout.contains(pretty), code == 0, "{stdout}");
            gone(&publisher);
        }
    }
    let silent = site.run("fedmsg-check", &["--timeout", "0"], "");
    let told = format!(
        "Error: Failed to receive message from the monitoring endpoint ({endpoint}) in 0 seconds.\n"
    );
    assert_eq!(
        (silent.status.code(), text(&silent.stderr)),
        (Some(1), &*told)
    );
    let unset = Site::new("").run("fedmsg-check", &[], "");
    let told = "Error: No monitoring endpoint has been configured: please set \
                \"moksha.monitoring.socket\"\n";
    assert_eq!((unset.status.code(), text(&unset.stderr)), (Some(1), told));
    let wrong = Site::new("'moksha.monitoring.socket' = 'x'").run("fedmsg-check", &[], "");
    assert_ended(
        &wrong,
        1,
        "fedmsg-check: moksha.monitoring.socket: endpoint 'x'",
    );
}

#[test]
fn links_are_made_unless_something_else_is_there() {
    let site = Site::new("");
    let bin = site.path("bin");
    fs::create_dir(&bin).unwrap();
    let names = || {
        let entries = fs::read_dir(&bin).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    fs::write(site.path("bin/fedmsg-tail"), "").unwrap();
    let refused = site.run("fedmsg", &["links", &bin], "");
    assert_ended(&refused, 1, "bin/fedmsg-tail is something else");
    assert_eq!(names(), ["fedmsg-tail"]);

    fs::remove_file(site.path("bin/fedmsg-tail")).unwrap();
    let made = site.run("fedmsg", &["links", &bin], "");
    assert_ended(&made, 0, "");
    assert_eq!(text(&made.stdout).lines().count(), names().len());
    for name in ["announce", "check", "config", "logger", "tail", "trigger"] {
        assert!(names().contains(&format!("fedmsg-{name}")), "{name}");
        let path = site.path(&format!("bin/fedmsg-{name}"));
        let help = Command::new(path).arg("--help").output().unwrap();
        assert!(text(&help.stdout).contains(&format!("Usage: fedmsg-{name} ")));
    }
    // Again: there is nothing to do.
    let again = site.run("fedmsg", &["links", &bin], "");
    assert_eq!((again.status.code(), again.stdout), (Some(0), vec![]));
    assert_ended(
        &site.run("fedmsg", &["links", "nowhere"], ""),
        1,
        "nowhere: No such file",
    );
}

#[test]
fn shells_complete_every_name_and_each_has_a_manual_page() {
    let site = Site::new("");
    for shell in ["bash", "zsh", "fish"] {
        let script = site.run("fedmsg", &["completions", shell], "");
        assert_ended(&script, 0, "");
        for name in [
            "fedmsg-logger",
            "fedmsg-tail",
            "really-pretty",
            "canonicalize",
        ] {
            assert!(text(&script.stdout).contains(name), "{shell} {name}");
        }
    }
    let script = site.path("script");
    fs::write(
        &script,
        site.run("fedmsg", &["completions", "bash"], "").stdout,
    )
    .unwrap();
    let checked = Command::new("bash").args(["-n", &script]).output().unwrap();
    assert_ended(&checked, 0, "");

    let pages = site.run("fedmsg", &["man", &site.path("man")], "");
    assert_ended(&pages, 0, "");
    for page in ["fedmsg.1", "fedmsg-tail.1", "fedmsg-ca-init.1"] {
        let page = fs::read_to_string(site.path(&format!("man/{page}"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"));
    }
    assert_eq!(
        text(&pages.stdout).lines().count(),
        fs::read_dir(site.path("man")).unwrap().count()
    );
}
