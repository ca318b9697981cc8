//! What libzmq 4.3.5 was seen to do, case by case, done again with our sockets in libzmq's place.
//!
//! `data/wire/` holds the captures: `Z` is libzmq, `C` was a raw program; `SUMMARY.txt` has their
//! outcomes. Here `C`'s bytes are sent again, and `Z`'s are compared with what our socket sends
//! after its greeting and READY (our XPUB says so in its READY).
//!
//! Ours differs from libzmq on purpose in that it closes on peers older than ZMTP 3.0, and on what
//! is no greeting at all.

use std::{fs, net::TcpListener, path::PathBuf, time::Duration};

use fedmsg::transport::{Options, Publisher, Subscriber, Transport, native::Native};
use fedmsg_tests::{
    Ours, eventually, for_transports, loopback, next_frames,
    raw::{self, Raw},
};

for_transports!(
    a_publisher_does_what_libzmq_was_seen_to_do,
    a_subscriber_does_what_libzmq_was_seen_to_do,
    a_subscriber_subscribes_in_the_form_of_its_peer,
    a_subscriber_comes_back_after_a_loss,
    bytes_may_come_one_at_a_time,
    a_publisher_serves_or_refuses_whoever_sends_all_at_once,
    a_publisher_answers_pings,
);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Outcome {
    /// The connection is closed.
    Closed,
    /// It goes on, and what `Z` sent is what we send.
    Open,
    /// It goes on, and after the last bytes nothing is delivered any more.
    Unsubscribed,
}
use Outcome::{Closed, Open, Unsubscribed};

/// Cases in which `Z` is a bound publisher.
const PUBLISHER: &[(&str, Outcome)] = &[
    ("err-asserver1", Open),
    ("err-cmd-empty", Open),
    ("err-cmd-error-hs", Closed),
    ("err-cmd-error-traffic", Open),
    ("err-cmd-more", Open),
    ("err-cmd-unknown", Open),
    ("err-filler-nonzero", Open),
    ("err-frame-2to40", Closed),
    ("err-frame-2to63", Closed),
    ("err-frame-atmax", Open),
    ("err-frame-longform-small", Open),
    ("err-frame-maxmsgsize", Closed),
    ("err-frame-reserved", Open),
    ("err-greet-ff-bad", Closed),
    ("err-greet-partial", Closed),
    ("err-greet-silent", Closed),
    ("err-major9", Open),
    ("err-mech-plain", Closed),
    ("err-mech-unknown", Closed),
    ("err-ready-badprop", Closed),
    ("err-ready-bogus", Closed),
    ("err-ready-extra", Open),
    ("err-ready-lower", Open),
    ("err-ready-none", Closed),
    ("err-ready-notype", Open),
    ("err-ready-pub", Closed),
    ("err-ready-twice", Open),
    ("err-ready-xsub", Open),
    ("err-sub-msg-empty", Open),
    ("err-sub-msg-junk", Open),
    ("err-sub-multipart", Open),
    ("hb-client-ping-ttl", Closed),
    ("hb-ping-before-ready", Closed),
    ("hb-pub-sends-ping", Closed),
    ("hb-pub-to-30", Closed),
    ("misc-no-read-greeting", Open),
    ("misc-pipelined-ready", Open),
    ("misc-ready-sub-pipelined", Open),
    ("pub-v30-cancel-cross", Unsubscribed),
    ("pub-v30-command-form", Unsubscribed),
    ("pub-v30-message-form", Unsubscribed),
    ("pub-v31-command-form", Unsubscribed),
    ("pub-v31-message-form", Unsubscribed),
    ("pub-v32-command-form", Unsubscribed),
    ("pub-v40-message-form", Unsubscribed),
];

/// Cases in which `Z` is a connecting subscriber, subscribed to `org.a`: what it hands on.
const SUBSCRIBER: &[(&str, Outcome, &[&[u8]])] = &[
    ("suberr-2to40", Closed, &[]),
    ("suberr-2to63", Closed, &[]),
    ("suberr-garbage", Closed, &[]),
    ("suberr-matched-topic", Open, &[b"org.a", b"x"]),
    ("suberr-maxmsg", Closed, &[]),
    ("suberr-singleframe", Open, &[b"org.a"]),
    ("suberr-unknowncmd", Open, &[b"org.a", b"x"]),
    ("suberr-unmatched-topic", Open, &[]),
    ("suberr-wrongtype", Open, &[]),
];

/// Cases in which `Z` is a connecting subscriber, subscribed to everything: whether it closes the
/// connection, and whether it then connects again at once.
const RECONNECTING: &[(&str, bool, bool)] = &[
    ("subrec-bad-signature", true, false),
    ("subrec-error-command", true, false),
    ("subrec-handshake-timeout", true, true),
    ("subrec-heartbeat-timeout", true, true),
    ("subrec-mech-mismatch", true, false),
    ("subrec-oversize-frame", true, false),
    ("subrec-peer-closes-after-ready", false, true),
    ("subrec-peer-closes-early", false, true),
    ("subrec-peer-rst", false, true),
    ("subrec-wrong-socket-type", true, false),
];

/// Cases with a test of their own, at their places in this file.
const OTHERS: &[&str] = &[
    "err-greet-http",
    "hb-client-ping",
    "misc-all-at-once",
    "misc-byte-at-a-time",
    "pub-v10-revision0",
    "pub-v10-unversioned",
    "pub-v20",
    "sub-v10-unversioned",
    "sub-v20",
    "sub-v30",
    "sub-v31",
    "sub-v32",
];

#[test]
fn no_case_is_forgotten() {
    let mut tested: Vec<&str> = OTHERS.to_vec();
    tested.extend(PUBLISHER.iter().map(|case| case.0));
    tested.extend(SUBSCRIBER.iter().map(|case| case.0));
    tested.extend(RECONNECTING.iter().map(|case| case.0));
    tested.push("SUMMARY");
    tested.sort_unstable();
    let mut there: Vec<_> = fs::read_dir(data())
        .unwrap()
        .map(|file| {
            file.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    there.sort_unstable();
    assert_eq!(tested, there);
}

fn a_publisher_does_what_libzmq_was_seen_to_do<T: Ours>(transport: &T) {
    for &(name, outcome) in PUBLISHER {
        println!("{name}");
        let publisher = transport.publisher(&options(name)).unwrap();
        let mut client = Raw::connect(&publisher.bind(&loopback()).unwrap());
        let mut stream = Stream::default();
        for segment in capture(name) {
            match segment {
                Segment::ToZ(bytes) => {
                    // Greeting and traffic in one segment would be another case.
                    if name == "misc-no-read-greeting" && bytes.len() < 64 {
                        let stream = client.stream();
                        eventually("its READY is there", || {
                            stream.peek(&mut [0; 91]).unwrap() == 91
                        });
                    }
                    client.try_send(&bytes);
                }
                Segment::FromZ(bytes) => {
                    if let Some(bodies) = published(&bytes) {
                        client.ping();
                        for body in bodies {
                            publisher.send(b"org.a.topic", &[&body]).unwrap();
                        }
                    }
                    stream.expect(&mut client, &bytes);
                }
            }
        }
        match outcome {
            Closed => client.expect_closed(),
            Open => assert_eq!(client.ping(), []),
            Unsubscribed => {
                client.ping();
                publisher.send(b"org.a.topic", &[b"unwanted"]).unwrap();
                assert_eq!(client.ping(), []);
                assert_eq!(client.ping(), []);
            }
        }
        if outcome != Closed {
            stream.assert_equal();
        }
    }
}

#[test]
fn a_native_publisher_refuses_old_peers_and_what_is_none() {
    // libzmq speaks with the most of them, and never minds an HTTP client.
    for name in [
        "pub-v10-revision0",
        "pub-v10-unversioned",
        "pub-v20",
        "err-greet-http",
    ] {
        println!("{name}");
        let publisher = Native.publisher(&options(name)).unwrap();
        let mut client = Raw::connect(&publisher.bind(&loopback()).unwrap());
        for segment in capture(name) {
            if let Segment::ToZ(bytes) = segment {
                client.try_send(&bytes);
            }
        }
        client.expect_closed();
    }
}

fn a_publisher_serves_or_refuses_whoever_sends_all_at_once<T: Ours>(transport: &T) {
    let publisher = transport.publisher(&Options::default()).unwrap();
    let mut client = Raw::connect(&publisher.bind(&loopback()).unwrap());
    for segment in capture("misc-all-at-once") {
        if let Segment::ToZ(bytes) = segment {
            client.send(&bytes);
        }
    }
    // Segments carry no meaning in TCP, except to libzmq.
    if T::LIBZMQ {
        client.expect_closed();
    } else {
        client.read(64);
        client.read_frame();
        client.ping();
        publisher.send(b"org.a", &[]).unwrap();
        assert_eq!(client.read_frame(), (raw::MORE, b"org.a".to_vec()));
    }
}

fn a_publisher_answers_pings<T: Ours>(transport: &T) {
    let publisher = transport.publisher(&Options::default()).unwrap();
    let mut client = Raw::connect(&publisher.bind(&loopback()).unwrap());
    let mut stream = Stream::default();
    let mut segments = capture("hb-client-ping");
    let Some(Segment::FromZ(pong)) = segments.pop() else {
        panic!("the last is a PONG");
    };
    for segment in segments {
        match segment {
            Segment::ToZ(bytes) => client.send(&bytes),
            Segment::FromZ(bytes) => stream.expect(&mut client, &bytes),
        }
    }
    stream.assert_equal();
    // The last PING was too short; libzmq answers it with the context of the one before.
    if T::LIBZMQ {
        assert_eq!(client.read(pong.len()), pong);
    }
    assert_eq!(client.ping(), []);
}

fn a_subscriber_does_what_libzmq_was_seen_to_do<T: Ours>(transport: &T) {
    for &(name, outcome, received) in SUBSCRIBER {
        println!("{name}");
        let (mut server, _, mut subscriber) = connected(transport, name, &[b"org.a"]);
        let mut stream = Stream::default();
        for segment in capture(name) {
            match segment {
                Segment::ToZ(bytes) => server.try_send(&bytes),
                Segment::FromZ(bytes) => stream.expect(&mut server, &bytes),
            }
        }
        if outcome == Closed {
            server.expect_closed();
        } else {
            stream.assert_equal();
            server.send(&raw::message(&[b"org.a", b"marker"]));
        }
        let received = [received, &[b"org.a", b"marker"]].map(<[_]>::to_vec);
        let expected = received.iter().filter(|frames| !frames.is_empty());
        for frames in expected.take(if outcome == Closed { 0 } else { 2 }) {
            assert_eq!(next_frames(&mut subscriber), *frames);
        }
        assert_eq!(subscriber.recv(Duration::ZERO).unwrap(), None);
    }
}

fn a_subscriber_subscribes_in_the_form_of_its_peer<T: Ours>(transport: &T) {
    for name in ["sub-v30", "sub-v31", "sub-v32"] {
        println!("{name}");
        let (mut server, _, mut subscriber) = connected(transport, name, &[b"org.a", b""]);
        let mut seen = Stream::default();
        let mut unsubscribed = false;
        for segment in capture(name) {
            match segment {
                Segment::ToZ(bytes) => server.send(&bytes),
                Segment::FromZ(bytes) => {
                    if bytes.ends_with(b"\0org.a") || bytes.ends_with(b"CANCELorg.a") {
                        unsubscribed = true;
                        subscriber.unsubscribe(b"org.a").unwrap();
                    }
                    seen.expect(&mut server, &bytes);
                }
            }
        }
        assert!(unsubscribed);
        // The subscriptions of a new connection come in any order.
        let [seen, expected] = seen.after_handshake().map(frames).map(|mut frames| {
            frames[..2].sort_unstable();
            frames
        });
        assert_eq!(seen, expected);
        let expected = [b"org.a.topic", &b"{\"i\":1}"[..]];
        assert_eq!(next_frames(&mut subscriber), expected);
    }
}

#[test]
fn a_native_subscriber_refuses_old_peers() {
    for name in ["sub-v10-unversioned", "sub-v20"] {
        println!("{name}");
        let (mut server, _, mut subscriber) = connected(&Native, name, &[b"org.a"]);
        for segment in capture(name) {
            if let Segment::ToZ(bytes) = segment {
                server.try_send(&bytes);
            }
        }
        server.expect_closed();
        assert_eq!(subscriber.recv(Duration::ZERO).unwrap(), None);
    }
}

fn a_subscriber_comes_back_after_a_loss<T: Ours>(transport: &T) {
    for &(name, closes, comes_back) in RECONNECTING {
        println!("{name}");
        let (mut server, listener, mut subscriber) = connected(transport, name, &[b""]);
        let mut stream = Stream::default();
        for segment in capture(name) {
            match segment {
                Segment::ToZ(bytes) => server.try_send(&bytes),
                // Closed with its subscription unread, the connection ends with RST.
                Segment::FromZ(bytes) if name == "subrec-peer-rst" && bytes == [0, 1, 1] => {
                    server.stream().peek(&mut [0]).unwrap();
                }
                Segment::FromZ(bytes) => stream.expect(&mut server, &bytes),
            }
        }
        if closes {
            server.expect_closed();
        }
        drop(server);
        if comes_back {
            let mut server = Raw::accept(&listener);
            server.handshake(1, "PUB");
            server.send(&raw::message(&[b"back"]));
            assert_eq!(next_frames(&mut subscriber), [b"back"]);
        }
    }
}

fn bytes_may_come_one_at_a_time<T: Ours>(transport: &T) {
    let slowly = |peer: &mut Raw, bytes: &[u8]| bytes.chunks(1).for_each(|byte| peer.send(byte));
    for minor in [0, 1] {
        let publisher = transport.publisher(&Options::default()).unwrap();
        let mut client = Raw::connect(&publisher.bind(&loopback()).unwrap());
        slowly(&mut client, &raw::greeting(minor));
        slowly(&mut client, &raw::ready("SUB"));
        client.read(64);
        client.read_frame();
        slowly(&mut client, &raw::subscribe(b"org.a"));
        slowly(&mut client, &raw::message(&[b"\x01org.b"]));
        client.ping();
        for topic in [b"org.a", b"org.b", b"org.c"] {
            publisher.send(topic, &[b"{}"]).unwrap();
        }
        assert_eq!(client.read_frame(), (raw::MORE, b"org.a".to_vec()));
        assert_eq!(client.read_frame(), (0, b"{}".to_vec()));
        assert_eq!(client.read_frame(), (raw::MORE, b"org.b".to_vec()));
        assert_eq!(client.read_frame(), (0, b"{}".to_vec()));

        let (mut server, _, mut subscriber) = connected(transport, "", &[b"org"]);
        slowly(&mut server, &raw::greeting(minor));
        slowly(&mut server, &raw::ready("PUB"));
        server.read(64);
        server.read_frame();
        let long = vec![b'x'; 300];
        slowly(&mut server, &raw::message(&[b"org.a", b"{}"]));
        slowly(&mut server, &raw::message(&[b"org.a", &long]));
        assert_eq!(next_frames(&mut subscriber), [b"org.a", &b"{}"[..]]);
        assert_eq!(next_frames(&mut subscriber), [b"org.a", &long[..]]);
    }
}

/// A subscriber, connected to a raw server and its listener.
fn connected<T: Ours>(
    transport: &T,
    name: &str,
    prefixes: &[&[u8]],
) -> (Raw, TcpListener, T::Subscriber) {
    let (listener, endpoint) = Raw::listen();
    let mut subscriber = transport.subscriber(&options(name)).unwrap();
    for prefix in prefixes {
        subscriber.subscribe(prefix).unwrap();
    }
    subscriber.connect(&endpoint).unwrap();
    (Raw::accept(&listener), listener, subscriber)
}

/// The settings that a capture was made with, where it says so.
fn options(name: &str) -> Options {
    let mut options = Options::default();
    match name {
        "err-greet-partial" | "err-greet-silent" | "err-greet-http" => {
            options.handshake_timeout = Duration::from_millis(700);
        }
        "subrec-handshake-timeout" => options.handshake_timeout = Duration::from_millis(500),
        "err-frame-atmax" | "err-frame-maxmsgsize" | "suberr-maxmsg" => options.max_message = 1000,
        "hb-pub-sends-ping" | "hb-pub-to-30" => {
            options.heartbeat = Some(Duration::from_millis(300));
            options.heartbeat_timeout = Duration::from_millis(1000);
        }
        "subrec-heartbeat-timeout" => {
            options.heartbeat = Some(Duration::from_millis(200));
            options.heartbeat_timeout = Duration::from_millis(400);
        }
        _ => {}
    }
    options
}

/// Bytes of a capture, in the order in which they were sent.
enum Segment {
    ToZ(Vec<u8>),
    FromZ(Vec<u8>),
}

/// Reads `data/wire/NAME.txt`: a line `C->Z TIME COUNT bytes`, then lines of an offset, up to 16
/// bytes in hex, and the same as text from column 57 on. What a long dump leaves out repeats its
/// last byte.
fn capture(name: &str) -> Vec<Segment> {
    let text = fs::read_to_string(data().join(name).with_extension("txt")).unwrap();
    let mut segments: Vec<Segment> = Vec::new();
    for block in text.split("\n\n") {
        let mut lines = block.lines();
        let Some((direction, rest)) = lines.next().and_then(|line| line.split_once(' ')) else {
            continue;
        };
        if !matches!(direction, "C->Z" | "Z->C") {
            continue;
        }
        let count: usize = rest.split(' ').nth(1).unwrap().parse().unwrap();
        let mut bytes: Vec<u8> = lines
            .filter(|line| line.starts_with("  0"))
            .flat_map(|line| line[8..55].split_whitespace())
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        bytes.resize(count, *bytes.last().unwrap());
        segments.push(match direction {
            "C->Z" => Segment::ToZ(bytes),
            _ => Segment::FromZ(bytes),
        });
    }
    segments
}

fn data() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/wire"))
}

/// The bodies of the messages that these bytes from a publisher are, if they are such.
fn published(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    bytes.starts_with(b"\x01\x0borg.a.topic").then(|| {
        let bodies = frames(bytes)
            .into_iter()
            .filter(|(flags, _)| flags & raw::MORE == 0);
        bodies.map(|(_, body)| body).collect()
    })
}

/// The frames that these bytes are.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [flags, length, rest @ ..] = bytes {
        let (length, rest) = match flags & raw::LONG {
            0 => (usize::from(*length), rest),
            _ => (
                u64::from_be_bytes(bytes[1..9].try_into().unwrap()) as usize,
                &bytes[9..],
            ),
        };
        frames.push((flags & !raw::LONG, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    frames
}

/// What our socket sent in `Z`'s place, and what `Z` sent.
#[derive(Default)]
struct Stream {
    ours: Vec<u8>,
    theirs: Vec<u8>,
}

impl Stream {
    /// Reads until ours has sent as much as `Z` had after it sent `bytes`.
    fn expect(&mut self, peer: &mut Raw, bytes: &[u8]) {
        // How many of them there are is a matter of time.
        if bytes.starts_with(b"\x04\x07\x04PING") {
            return;
        }
        self.theirs.extend(bytes);
        loop {
            // The two may differ in their READY, as `XPUB` is longer than `PUB`.
            let [ours, theirs] = [&self.ours, &self.theirs]
                .map(|bytes| bytes.get(65).map_or(0, |length| usize::from(*length)));
            let missing = (self.theirs.len() + ours).saturating_sub(self.ours.len() + theirs);
            if missing == 0 {
                return;
            }
            // No more than is surely there.
            let count = if self.ours.len() < 66 {
                missing.min(66 - self.ours.len())
            } else {
                missing
            };
            self.ours.extend(peer.read(count));
        }
    }

    fn after_handshake(&self) -> [&[u8]; 2] {
        [&self.ours, &self.theirs].map(|bytes| &bytes[66 + usize::from(bytes[65])..])
    }

    fn assert_equal(&self) {
        let [ours, theirs] = self.after_handshake();
        assert_eq!(frames(ours), frames(theirs));
    }
}
