//! The program as a user runs it, with libzmq's subscribers and with peers that mean no good.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a test"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStderr, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use fedmsg::{
    crypto::{KeyKind, Scratch, Trust, ca::Ca},
    transport::Endpoint,
};
use fedmsg_tests::{
    PATIENCE, eventually,
    python::run,
    raw::{self, Raw},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const TOPIC: &str = "com.example.dev.logger.lab";

#[test]
fn lines_arrive_signed_at_a_relay() {
    let site = Site::new();
    let relay = Subscriber::bind("tcp://127.0.0.1:*", "");
    let ssldir = site.path("");
    let tiny = Tiny::start(
        &[
            "--relay",
            &relay.endpoint,
            "--ssldir",
            &ssldir,
            "--certname",
            "lab",
        ],
        "first\nthe second, größer\r\n\n",
    );
    for (number, text) in ["first", "the second, größer", ""].iter().enumerate() {
        let body = relay.next_from(&site);
        assert_eq!(body["i"], number + 1);
        assert_eq!(body["msg"], json!({ "log": text }));
        assert_eq!(body["topic"], TOPIC);
        assert_eq!(body["username"], "amara");
        assert_eq!(body["crypto"], "x509-p256");
        let id = body["msg_id"].as_str().unwrap();
        assert_eq!((id.len(), &id[..2]), (41, "20"));
        assert!(site.now() - body["timestamp"].as_u64().unwrap() < 600);
    }
    tiny.ends_with(0, "");
}

#[test]
fn keys_are_read_as_pkcs8_and_as_sec1() {
    let site = Site::new();
    for name in ["lab", "sec1"] {
        let relay = Subscriber::bind("tcp://127.0.0.1:*", "");
        let tiny = Tiny::start(
            &[
                "--relay",
                &relay.endpoint,
                "--ssldir",
                &site.path(""),
                "--certname",
                name,
                name,
            ],
            "",
        );
        assert_eq!(relay.next_from(&site)["msg"]["log"], name);
        tiny.ends_with(0, "");
    }
}

#[test]
fn json_is_sent_as_it_is_in_canonical_form_from_the_command_line_or_line_by_line() {
    let relay = Subscriber::bind("tcp://127.0.0.1:*", "org.example.stg.ci.build");
    let options = [
        "--json",
        "--topic-prefix=org.example",
        "--environment=stg",
        "--modname",
        "ci",
        "--topic",
        "build.end",
        "--relay",
        &relay.endpoint,
    ];
    let text = r#" {"b": 1E2, "a": ["é"]} "#;
    for (number, (more, input)) in [
        (vec![text], String::new()),
        (vec![], format!("{text}\n7\n")),
    ]
    .into_iter()
    .enumerate()
    {
        let tiny = Tiny::start(&[&options[..], &more].concat(), input.as_str());
        let (topic, body) = relay.next();
        assert_eq!(topic, b"org.example.stg.ci.build.end");
        let start = br#"{"i":1,"msg":{"a":["\u00e9"],"b":100.0},"msg_id":""#;
        assert!(body.starts_with(start), "{}", body.escape_ascii());
        if number == 1 {
            assert!(relay.next().1.starts_with(br#"{"i":2,"msg":7,"#));
        }
        tiny.ends_with(0, "");
    }
}

#[test]
fn several_subscribers_come_to_a_bound_port_over_both_protocols_and_by_name() {
    for (bind, hosts) in [
        ("tcp://*:0", &["127.0.0.1", "[::1]", "localhost"][..]),
        ("tcp://127.0.0.1:0", &["127.0.0.1"; 4]),
        ("tcp://[::1]:0", &["[::1]"]),
        ("tcp://localhost:0", &["localhost"]),
    ] {
        let mut tiny = Tiny::start(&["--bind", bind], None);
        let port = tiny.port();
        let subscribers: Vec<_> = hosts
            .iter()
            .map(|host| Subscriber::connect(&format!("tcp://{host}:{port}"), TOPIC))
            .collect();
        // Until all are there, each may miss some.
        for subscriber in &subscribers {
            eventually("a subscriber hears it", || {
                tiny.write("knock\n");
                subscriber.hears()
            });
        }
        tiny.write("end\nof it\n");
        tiny.end_input();
        for subscriber in &subscribers {
            while subscriber.log() != "end" {}
            assert_eq!(subscriber.log(), "of it");
        }
        tiny.ends_with(0, "");
    }
}

#[test]
fn a_relay_that_is_not_there_in_time_is_an_error_of_one_line() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let nobody = format!("tcp://{}", nobody.unwrap());
    let other = Subscriber::bind("tcp://127.0.0.1:*", "org.");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("tcp://{}", silent.local_addr().unwrap());
    let no_zmtp = Garbage::start();
    for (relay, error) in [
        (
            nobody.as_str(),
            "nothing was sent: no relay at {} within 0.3 s: Connection refused (os error 111)",
        ),
        (
            "tcp://no-such-host.invalid:1",
            "nothing was sent: no relay at {} within 0.3 s: ",
        ),
        (
            &other.endpoint,
            "nothing was sent: the relay at {} did not subscribe to com.example.dev.logger.lab within 0.3 s",
        ),
        (
            &silent,
            "nothing was sent: the relay at {} did not subscribe to com.example.dev.logger.lab within 0.3 s",
        ),
        // It is there time and again.
        (&no_zmtp, "{} "),
    ] {
        let error = error.replace("{}", relay);
        let tiny = Tiny::start(&["--relay", relay, "--wait", "0.3"], "line\n");
        tiny.ends_with(1, &error);
    }
    let tiny = Tiny::start(&["--bind", "tcp://127.0.0.1:0", "--wait=0.1", "x"], "");
    tiny.ends_with(
        1,
        "nothing was sent: no subscriber to com.example.dev.logger.lab within 0.1 s: nobody came",
    );
    let tiny = Tiny::start(&["--bind", "tcp://127.0.0.1:0", "--wait=0", "x"], "");
    tiny.ends_with(0, "");
}

#[test]
fn a_relay_that_comes_late_gets_everything() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let endpoint = format!("tcp://{}", port.unwrap());
    let tiny = Tiny::start(&["--relay", &endpoint, "--wait", "30"], "a\nb\n");
    thread::sleep(Duration::from_millis(300));
    let relay = Subscriber::bind(&endpoint, "com.");
    assert_eq!([relay.log(), relay.log()], ["a", "b"]);
    tiny.ends_with(0, "");
}

#[test]
fn a_relay_that_is_killed_and_back_gets_what_comes_after() {
    let (listener, endpoint) = Raw::listen();
    let mut tiny = Tiny::start(&["--relay", &endpoint.to_string()], None);
    for round in 0..20 {
        let mut relay = subscribed(Raw::accept(&listener));
        // In the middle of a message, between two, or before one.
        tiny.write(&format!("{round}\n"));
        let (_, topic) = relay.read_frame();
        assert_eq!(topic, TOPIC.as_bytes());
        if round % 2 == 0 {
            let (_, body) = relay.read_frame();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["i"], round + 1);
            assert_eq!(body["msg"]["log"], round.to_string());
        }
    }
    let mut relay = subscribed(Raw::accept(&listener));
    tiny.write("last\n");
    tiny.end_input();
    relay.read_frame();
    assert_eq!(log(&relay.read_frame().1), "last");
    relay.expect_closed();
    drop(relay);
    tiny.ends_with(0, "");
}

#[test]
fn a_message_that_no_subscriber_took_is_an_error() {
    let (listener, endpoint) = Raw::listen();
    let mut tiny = Tiny::start(&["--relay", &endpoint.to_string(), "--linger", "0.3"], None);
    let relay = subscribed(Raw::accept(&listener));
    let line = [&[b'x'; 60_000][..], b"\n"].concat();
    let input = tiny.input.as_mut().unwrap();
    // More than the buffers of both sides' operating system hold.
    while input.write_all(&line).is_ok() {}
    tiny.ends_with(
        1,
        "no subscriber took all of it within 0.3 s (see --linger)",
    );
    drop(relay);

    let mut tiny = Tiny::start(&["--relay", &endpoint.to_string(), "--linger", "0.3"], None);
    let mut relay = subscribed(Raw::accept(&listener));
    tiny.write("x\n");
    relay.read_frame();
    drop((relay, listener));
    // It may still take the first for sent.
    while tiny.input.as_mut().unwrap().write_all(b"x\n").is_ok() {}
    tiny.ends_with(
        1,
        "within 0.3 s: Connection refused (os error 111) (see --linger)",
    );
}

#[test]
fn hostile_peers_stop_neither_the_program_nor_the_other_subscribers() {
    let mut tiny = Tiny::start(&["--bind", "tcp://127.0.0.1:0", "--linger", "1"], None);
    let port = tiny.port();
    let endpoint = Endpoint::tcp("127.0.0.1", port);
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let good = Subscriber::connect(&endpoint.to_string(), "com.example.");
    let mut count = 0;
    let mut goes_on = |tiny: &mut Tiny, what: &str| {
        for _ in 0..20 {
            count += 1;
            tiny.write(&format!("{count}\n"));
            assert_eq!(good.log(), count.to_string(), "{what}");
        }
    };
    goes_on(&mut tiny, "before");

    let silent: Vec<_> = (0..100).map(|_| connect()).collect();
    goes_on(&mut tiny, "silent connections");
    let other = Subscriber::connect(&endpoint.to_string(), TOPIC);
    eventually("a subscriber finds a place among them", || {
        goes_on(&mut tiny, "silent connections");
        other.hears()
    });
    drop((silent, other));

    let mut garbage = connect();
    let mut noise = fs::File::open("/dev/urandom").unwrap();
    let mut bytes = [0; 4096];
    for _ in 0..100 {
        noise.read_exact(&mut bytes).unwrap();
        if garbage.write_all(&bytes).is_err() {
            garbage = connect();
        }
    }
    goes_on(&mut tiny, "garbage");

    let mut large = Raw::connect(&endpoint);
    large.handshake(1, "SUB");
    large.try_send(&raw::subscribe(&[b'x'; 5000]));
    large.expect_closed();
    let mut many = Raw::connect(&endpoint);
    many.handshake(1, "SUB");
    for n in 0..100_u8 {
        many.try_send(&raw::subscribe(&[n; 20]));
    }
    many.expect_closed();
    goes_on(&mut tiny, "subscriptions over the limits");

    let mut slow = connect();
    for byte in &raw::greeting(1)[..30] {
        slow.write_all(&[*byte]).unwrap();
        goes_on(&mut tiny, "a handshake byte by byte");
    }

    let mut flood = Raw::connect(&endpoint);
    flood.handshake(1, "SUB");
    let unasked = raw::message(&[b"topic", &[b'x'; 60_000]]);
    for _ in 0..100 {
        flood.send(&unasked);
    }
    goes_on(&mut tiny, "messages to a publisher");

    let _deaf = subscribed(Raw::connect(&endpoint));
    let line = "x".repeat(60_000);
    for _ in 0..500 {
        tiny.write(&format!("{line}\n"));
        assert_eq!(good.log(), line);
    }
    let peak = tiny.peak_memory();
    assert!(peak < 8 << 20, "{peak} bytes");
    tiny.end_input();
    tiny.ends_with(1, "subscribers were too slow: 1 cut off, 1 messages lost");
}

#[test]
fn what_cannot_be_sent_is_told_in_one_line_and_what_came_before_it_arrives() {
    for (more, input, error) in [
        (
            &[][..],
            b"a\n\xe9t\xe9\n".to_vec(),
            "line 2: not UTF-8 at byte 0",
        ),
        (
            &[],
            [b"a\n", &[b'x'; 65_537][..], b"\n"].concat(),
            "line 2: longer than 65536 bytes",
        ),
        (
            &[],
            [b"a\n", &[b'x'; 5_000_000][..]].concat(),
            "line 2: longer than 65536 bytes",
        ),
        (
            &["--json"],
            b"{}\n{\"a\": 1,}\n".to_vec(),
            "line 2: not JSON: unexpected byte at byte 8",
        ),
        (
            &["--json"],
            b"{}\n\n".to_vec(),
            "line 2: not JSON: unexpected end at byte 0",
        ),
        (
            &["--json"],
            b"{}\nNaN\n".to_vec(),
            "line 2: number is not finite at byte 0",
        ),
        (
            &["--json"],
            b"{}\n\"\xff\"\n".to_vec(),
            "line 2: not JSON: string is not UTF-8 at byte 1",
        ),
    ] {
        let relay = Subscriber::bind("tcp://127.0.0.1:*", "");
        let options = [&["--relay", &relay.endpoint], more].concat();
        let mut tiny = Tiny::start(&options, None);
        let mut pipe = tiny.input.take().unwrap();
        // libzmq's subscription goes out when its user asks for a message, and the program reads
        // only then, and maybe not everything.
        let writer = thread::spawn(move || drop(pipe.write_all(&input)));
        relay.next();
        tiny.ends_with(1, error);
        writer.join().unwrap();
    }
    let relay = Subscriber::bind("tcp://127.0.0.1:*", "");
    let long = "x".repeat(65_536);
    let tiny = Tiny::start(&["--relay", &relay.endpoint, &long], "");
    assert_eq!(relay.log(), long);
    tiny.ends_with(0, "");
    // Nobody is waited for where there is nothing to send.
    Tiny::start(&[&(long + "x")], "").ends_with(1, "tiny: longer than 65536 bytes");
    Tiny::start(&["--json", "{'a':1}"], "")
        .ends_with(1, "tiny: not JSON: unexpected byte at byte 1");
}

#[test]
fn a_key_or_certificate_that_will_not_do_is_told_before_anything_is_sent() {
    let site = Site::new();
    let text = |file: &str| fs::read_to_string(site.path(file)).unwrap();
    let (key, certificate) = (text("lab.key"), text("lab.crt"));
    let rsa = TempDir::new().unwrap();
    let ca = Ca::init(rsa.path(), "RSA", KeyKind::Rsa2048, 10, site.now()).unwrap();
    ca.issue("rsa", None, None, site.now()).unwrap();
    let rsa = |file| fs::read_to_string(rsa.path().join(file)).unwrap();
    let damaged = |text: &str| text.replacen("M", "*", 1);
    for (name, key, certificate, error) in [
        (
            "none",
            "",
            "",
            "none.key holds no PEM block \"PRIVATE KEY\"",
        ),
        (
            "der",
            "0\u{81}",
            &certificate,
            "holds no PEM block \"PRIVATE KEY\"",
        ),
        (
            "swapped",
            &certificate,
            &key,
            "holds no PEM block \"PRIVATE KEY\"",
        ),
        (
            "nocrt",
            &key,
            &key,
            "nocrt.crt holds no PEM block \"CERTIFICATE\"",
        ),
        (
            "other",
            &key,
            &text("sec1.crt"),
            "other.key is not that of the certificate in ",
        ),
        (
            "rsa",
            &rsa("rsa.key"),
            &rsa("rsa.crt"),
            "rsa.key is not EC P-256: ",
        ),
        (
            "rsacrt",
            &key,
            &rsa("rsa.crt"),
            "rsacrt.crt: neither a P-256 key nor ",
        ),
        (
            "cutkey",
            &key[..80],
            &certificate,
            "cutkey.key: the PRIVATE KEY in it is damaged: PEM block at offset 0 has no end",
        ),
        (
            "badkey",
            &damaged(&key),
            &certificate,
            "badkey.key: the PRIVATE KEY in it is damaged: ",
        ),
        (
            "badcrt",
            &key,
            &damaged(&certificate),
            "badcrt.crt: the CERTIFICATE in it is damaged: ",
        ),
        (
            "locked",
            &text("locked.key"),
            &certificate,
            "locked.key is protected by a passphrase: ",
        ),
        (
            "big",
            &"x".repeat(70_000),
            &certificate,
            "big.key is larger than 65536 bytes",
        ),
    ] {
        fs::write(site.path(&format!("{name}.key")), key).unwrap();
        fs::write(site.path(&format!("{name}.crt")), certificate).unwrap();
        site.refused(name, error);
    }
    site.refused(
        "missing",
        "missing.key: No such file or directory (os error 2)",
    );
}

#[test]
fn a_wrong_command_line_is_told_in_one_line() {
    let long = "x".repeat(250);
    for (args, code, error) in [
        (&["--help"][..], 0, ""),
        (&["--version"], 0, ""),
        (&[], 2, "--topic and --modname must be there and not empty"),
        (&["--topic"], 2, "--topic needs a value"),
        (&["--topic", ""], 2, "--topic and --modname must be there"),
        (
            &["--topic=x", "--modname="],
            2,
            "--topic and --modname must be there",
        ),
        (
            &["--topic=x", "--endpoint", "x"],
            2,
            "there is no option --endpoint",
        ),
        (&["--topic=x", "--json=yes"], 2, "--json takes no value"),
        (&["--topic=x", "a", "b"], 2, "more than one message"),
        (
            &["--topic=x", "--wait", "-1"],
            2,
            "--wait '-1' is not a number of seconds",
        ),
        (
            &["--topic=x", "--linger=soon"],
            2,
            "--linger 'soon' is not a number of seconds",
        ),
        (
            &["--topic=x", "--ssldir=."],
            2,
            "--ssldir and --certname need each other",
        ),
        (
            &["--topic=x", "--relay=tcp://a:1", "--bind=tcp://*:1"],
            2,
            "--relay and --bind exclude each other",
        ),
        (
            &["--topic=x", "--relay=tcp://*:1"],
            2,
            "nobody can be reached at tcp://*:1",
        ),
        (
            &["--topic=x", "--relay=tcp://a:0"],
            2,
            "nobody can be reached at tcp://a:0",
        ),
        (
            &["--topic=x", "--bind=:9940"],
            2,
            "endpoint ':9940': not tcp://HOST:PORT",
        ),
        (
            &["--topic=x", "--bind=tcp://192.0.2.1:1"],
            1,
            "cannot bind tcp://192.0.2.1:1: Cannot assign requested address",
        ),
        (&["--topic", &long], 1, "the topic is longer than 255 bytes"),
    ] {
        Tiny::run(args, "").ends_with(code, error);
    }
}

/// The program, running.
struct Tiny {
    child: Child,
    input: Option<ChildStdin>,
    told: BufReader<ChildStderr>,
}

impl Tiny {
    /// Starts it with a topic; `input` is all of its input, or to be written later.
    fn start<'i>(args: &[&str], input: impl Into<Option<&'i str>>) -> Self {
        Self::run(&[&["--topic", "lab"], args].concat(), input)
    }

    fn run<'i>(args: &[&str], input: impl Into<Option<&'i str>>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fedmsg-tiny"))
            .args(args)
            .env("LOGNAME", "amara")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut tiny = Self {
            input: child.stdin.take(),
            told: BufReader::new(child.stderr.take().unwrap()),
            child,
        };
        if let Some(input) = input.into() {
            // It may not read any.
            let _ = tiny.input.take().unwrap().write_all(input.as_bytes());
        }
        tiny
    }

    fn write(&mut self, text: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
    }

    fn end_input(&mut self) {
        self.input = None;
    }

    /// The port that it is bound to.
    fn port(&mut self) -> u16 {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        assert!(line.starts_with("fedmsg-tiny: bound to tcp://"), "{line}");
        line.trim_end().rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// The most memory that it had so far, in bytes.
    fn peak_memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.unwrap().trim().strip_suffix(" kB").unwrap();
        kilobytes.parse::<usize>().unwrap() << 10
    }

    /// Waits for its end; what it told is one line with `error` in it, or none if it ends with 0.
    #[track_caller]
    fn ends_with(mut self, code: i32, error: &str) {
        self.input = None;
        let mut status = None;
        eventually("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let mut told = String::new();
        self.told.read_to_string(&mut told).unwrap();
        // A port that was not asked for is told too.
        let lines: Vec<_> = told
            .lines()
            .filter(|line| !line.contains(" bound to "))
            .collect();
        assert_eq!(status.unwrap().code(), Some(code), "{told}");
        assert_eq!(lines.len(), usize::from(code != 0), "{told}");
        assert!(told.contains(error), "{told:?} without {error:?}");
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// libzmq's.
struct Subscriber {
    socket: zmq::Socket,
    endpoint: String,
}

impl Subscriber {
    fn socket(prefix: &str) -> zmq::Socket {
        let socket = zmq::Context::new().socket(zmq::SUB).unwrap();
        socket.set_ipv6(true).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvhwm(0).unwrap();
        socket.set_subscribe(prefix.as_bytes()).unwrap();
        socket
    }

    fn bind(endpoint: &str, prefix: &str) -> Self {
        let socket = Self::socket(prefix);
        socket.bind(endpoint).unwrap();
        let endpoint = socket.get_last_endpoint().unwrap().unwrap();
        Self { socket, endpoint }
    }

    fn connect(endpoint: &str, prefix: &str) -> Self {
        let socket = Self::socket(prefix);
        socket.connect(endpoint).unwrap();
        let endpoint = endpoint.to_owned();
        Self { socket, endpoint }
    }

    /// Whether anything has come, or comes within a moment.
    fn hears(&self) -> bool {
        self.socket.poll(zmq::POLLIN, 50).unwrap() > 0
    }

    #[track_caller]
    fn next(&self) -> (Vec<u8>, Vec<u8>) {
        let patience = PATIENCE.as_millis().try_into().unwrap();
        self.socket.set_rcvtimeo(patience).unwrap();
        let frames = self.socket.recv_multipart(0).expect("a message");
        let [topic, body] = <[_; 2]>::try_from(frames).expect("two frames");
        (topic, body)
    }

    /// The next message's line.
    #[track_caller]
    fn log(&self) -> String {
        log(&self.next().1)
    }

    /// The next message, which validates.
    #[track_caller]
    fn next_from(&self, site: &Site) -> Value {
        let (topic, body) = self.next();
        let mut scratch = Scratch::default();
        let valid = scratch.validate(Some(&topic), &body, &[&site.trust.p256()], site.now());
        valid.expect("it validates");
        serde_json::from_slice(&body).unwrap()
    }
}

fn log(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["msg"]["log"].as_str().unwrap().to_owned()
}

/// Has a connection subscribed, without reading on.
fn subscribed(mut peer: Raw) -> Raw {
    peer.handshake(1, "SUB");
    peer.send(&raw::subscribe(b"com."));
    peer
}

/// A server of another protocol.
struct Garbage;

impl Garbage {
    fn start() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ =
                    (&stream).write_all(b"220 mail.example.org ESMTP, and something to read\r\n");
            }
        });
        endpoint
    }
}

/// A CA with the senders `lab` and `sec1`, whose key is in that form, and a key `locked`.
struct Site {
    dir: TempDir,
    trust: Trust,
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let ca = Ca::init(dir.path(), "CA", KeyKind::P256, 10, now).unwrap();
        ca.issue("lab", None, None, now).unwrap();
        ca.issue("sec1", None, None, now).unwrap();
        let key = dir.path().join("sec1.key");
        let openssl = |args: &[&str], from: &Path, to: &Path| {
            let mut command = Command::new("openssl");
            command.args(args).arg("-in").arg(from).arg("-out").arg(to);
            run(&mut command, "openssl");
        };
        openssl(
            &["pkcs8", "-topk8", "-passout", "pass:secret"],
            &key,
            &dir.path().join("locked.key"),
        );
        let sec1 = dir.path().join("sec1.new");
        openssl(&["ec"], &key, &sec1);
        fs::rename(&sec1, &key).unwrap();
        let text = fs::read_to_string(&key).unwrap();
        assert!(
            text.contains("BEGIN EC PRIVATE KEY"),
            "openssl wrote another form"
        );
        let trust = Trust::load(&dir.path().join("ca.crt"), None).unwrap();
        Self { dir, trust }
    }

    fn path(&self, file: &str) -> String {
        self.dir.path().join(file).to_str().unwrap().to_owned()
    }

    fn now(&self) -> u64 {
        SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
    }

    /// No connection is tried as this sender.
    #[track_caller]
    fn refused(&self, name: &str, error: &str) {
        let ssldir = self.path("");
        let tiny = Tiny::start(&["--ssldir", &ssldir, "--certname", name, "x"], "");
        tiny.ends_with(1, error);
    }
}
