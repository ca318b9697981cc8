//! Relay, signing relay and gateway, as a library.
#![cfg(feature = "daemon")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::{
    collections::BTreeMap,
    fs, slice,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use fedmsg::{
    crypto::{FileSigner, KeyKind, Scratch, Trust, ca::Ca},
    daemon::{Counters, Error, Gateway, Keyring, Keys, Relay, Running, SigningRelay},
    transport::{
        Endpoint, Message, Options, Publisher, Subscriber, Transport, encode_frames,
        native::{Native, NativePublisher, NativeSubscriber},
    },
};
use fedmsg_core::{crypto::Verifier, zmtp};
use tempfile::TempDir;

/// How long something that must happen is waited for. Reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_relay_hands_on_the_very_bytes() {
    let running = relay().start().unwrap();
    let publisher = publisher(&running);
    let mut subscribers =
        [b"org.example.", b"org.example."].map(|topic| subscriber(&running, topic));
    meet(&publisher, &mut subscribers);
    let bodies: [&[u8]; 3] = [
        b"{}",
        b" {\"b\" : 1E2,\t\"a\": \"\xc3\xa9\"} \n",
        &[b"{\"msg\": \"", &[b'x'; 1 << 20][..], b"\"}"].concat(),
    ];
    for body in bodies {
        publisher.send(b"com.example.unwanted", &[body]).unwrap();
        publisher.send(b"org.example.x", &[body]).unwrap();
    }
    for body in bodies {
        for subscriber in &mut subscribers {
            assert!(next(subscriber) == (b"org.example.x".to_vec(), body.to_vec()));
        }
    }
}

/// What ends the peer's `fedmsg-tail`, and what else is no message.
fn hostile() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let on_topic = |body: &[u8]| vec![b"org.example.x".to_vec(), body.to_vec()];
    let deep = [b"{\"msg\":", &[b'['; 100_000][..], &[b']'; 100_000], b"}"].concat();
    let long = [b"{\"msg\":", &[b'1'; 4301][..], b"}"].concat();
    vec![
        ("not-two-frames", vec![b"org.example.x".to_vec()]),
        ("not-two-frames", vec![b"{}".to_vec(); 3]),
        ("not-two-frames", vec![Vec::new(); 1000]),
        (
            "topic-not-utf-8",
            vec![b"org.\xff".to_vec(), b"{}".to_vec()],
        ),
        ("not-json", on_topic(b"")),
        ("not-json", on_topic(b"hello")),
        ("not-json", on_topic(b"{\"msg\": 'x'}")),
        ("not-json", on_topic(b"{\"msg\": \"\xff\"}")),
        ("not-json", on_topic(b"\xef\xbb\xbf{}")),
        ("not-json", on_topic(&deep)),
        ("not-json", on_topic(&long)),
        ("not-an-object", on_topic(b"null")),
        ("not-an-object", on_topic(b"[1, 2]")),
        ("not-an-object", on_topic(b"\"text\"")),
    ]
}

/// What ends it if it validates.
fn hostile_to_validators() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let cases = [
        (
            "wrong-type",
            r#""crypto": [], "signature": "AA==", "certificate": "AA==""#,
        ),
        (
            "wrong-type",
            r#""crypto": "x509", "signature": 1, "certificate": null"#,
        ),
        (
            "bad-base64",
            r#""crypto": "x509", "signature": "!", "certificate": "AA==""#,
        ),
        ("missing-field", r#""crypto": "x509", "signature": "AA==""#),
        (
            "bad-certificate",
            r#""crypto": "x509", "signature": "AA==", "certificate": "AA==""#,
        ),
        (
            "unknown-backend",
            r#""crypto": "rot13", "signature": "AA==", "certificate": "AA==""#,
        ),
        ("topic-mismatch", r#""topic": "org.example.y", "msg": {}"#),
        ("topic-mismatch", r#""topic": 5, "msg": {}"#),
        ("topic-mismatch", r#""msg": {}"#),
    ];
    let message = |body| {
        vec![
            b"org.example.x".to_vec(),
            format!("{{{body}}}").into_bytes(),
        ]
    };
    cases.map(|(cause, body)| (cause, message(body))).into()
}

#[test]
fn a_relay_refuses_what_is_no_message_and_goes_on() {
    assert_refuses(&relay().start().unwrap(), &hostile());
}

#[test]
fn a_signing_relay_refuses_what_is_no_message_and_goes_on() {
    let site = Site::new();
    let relay = site.signing_relay().start().unwrap();
    assert_refuses(&relay, &[hostile(), hostile_to_validators()].concat());
}

#[test]
fn a_gateway_refuses_what_is_no_message_and_goes_on() {
    let publisher = Native.publisher(&Options::default()).unwrap();
    let gateway = Gateway {
        inbound: vec![publisher.bind(&loopback()).unwrap()],
        outbound: vec![loopback()],
        transport: Options::default(),
    };
    let running = gateway.start().unwrap();
    assert_refuses_from(&publisher, &running, &hostile());
}

fn assert_refuses(running: &Running, cases: &[(&'static str, Vec<Vec<u8>>)]) {
    assert_refuses_from(&publisher(running), running, cases);
}

/// Sends each case with a good message behind it, which alone arrives.
fn assert_refuses_from(
    publisher: &NativePublisher,
    running: &Running,
    cases: &[(&'static str, Vec<Vec<u8>>)],
) {
    let mut subscriber = subscriber(running, b"");
    meet(publisher, slice::from_mut(&mut subscriber));
    let mut expected = BTreeMap::new();
    for (n, (cause, frames)) in cases.iter().enumerate() {
        let mut wire = Vec::new();
        encode_frames(frames, &mut wire);
        let message = Message {
            frames: zmtp::Message::from_wire(&wire).unwrap(),
            endpoint: &loopback(),
        };
        publisher.forward(&message).unwrap();
        let good = format!(r#"{{"i":{n},"topic":"org.example.x"}}"#);
        publisher
            .send(b"org.example.x", &[good.as_bytes()])
            .unwrap();
        let (_, body) = next(&mut subscriber);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["i"], n, "{cause}");
        *expected.entry(*cause).or_default() += 1;
        assert_eq!(running.counters().refused, expected, "{frames:?}");
    }
}

#[test]
fn a_relay_binds_all_inbound_endpoints_and_the_first_free_outbound() {
    let taken = Native.publisher(&Options::default()).unwrap();
    let taken = taken.bind(&loopback()).map(|endpoint| (taken, endpoint));
    let (_keep, taken) = taken.unwrap();
    // 192.0.2.0/24 is nobody's, and host.invalid nobody's name.
    let elsewhere = ["tcp://192.0.2.1:2001", "tcp://host.invalid:2001"].map(|e| e.parse().unwrap());
    let running = Relay {
        inbound: [&[loopback()], &elsewhere[..], &[loopback()]].concat(),
        outbound: vec![taken.clone(), elsewhere[0].clone(), loopback()],
        ..Relay::default()
    }
    .start()
    .unwrap();
    assert_eq!((running.inbound().len(), running.outbound().len()), (2, 1));
    let mut subscriber = subscriber(&running, b"");
    for endpoint in running.inbound() {
        let publisher = Native.publisher(&Options::default()).unwrap();
        publisher.connect(endpoint).unwrap();
        meet(&publisher, slice::from_mut(&mut subscriber));
    }

    let fails = |inbound: &[Endpoint], outbound: &[Endpoint]| {
        let relay = Relay {
            inbound: inbound.to_vec(),
            outbound: outbound.to_vec(),
            ..Relay::default()
        };
        let error = relay.start().err().unwrap();
        (error.to_string(), error)
    };
    let (text, error) = fails(&[loopback()], slice::from_ref(&taken));
    assert!(matches!(error, Error::NoneFree { reasons, .. } if reasons.len() == 1));
    let start = format!("no endpoint of 'endpoints.relay_outbound' is free: bind {taken}: ");
    assert!(text.starts_with(&start), "{text}");
    let (text, _) = fails(&elsewhere, &[loopback()]);
    assert!(
        text.starts_with("no endpoint of 'relay_inbound' is free: "),
        "{text}"
    );
    let (text, error) = fails(slice::from_ref(&running.inbound()[0]), &[loopback()]);
    assert!(matches!(error, Error::Transport(_)), "{text}");
    let (text, _) = fails(&[], &[loopback()]);
    assert_eq!(text, "the configuration has no 'relay_inbound': set it");
}

#[test]
fn a_relay_binds_ipv6_and_unix_sockets_and_names_too() {
    let dir = tempfile::tempdir().unwrap();
    let [inbound, outbound] = ["in", "out"].map(|name| Endpoint::ipc(dir.path().join(name)));
    let v6 = Endpoint::tcp("::1", 0);
    let cases = [
        (vec![inbound], vec![outbound]),
        (vec![v6.clone()], vec![v6]),
        (vec![Endpoint::tcp("localhost", 0)], vec![loopback()]),
    ];
    for (inbound, outbound) in cases {
        let relay = Relay {
            inbound,
            outbound,
            ..Relay::default()
        };
        let running = relay.start().unwrap();
        let mut subscriber = subscriber(&running, b"");
        for endpoint in running.inbound() {
            let publisher = Native.publisher(&Options::default()).unwrap();
            publisher.connect(endpoint).unwrap();
            meet(&publisher, slice::from_mut(&mut subscriber));
        }
    }
}

#[test]
fn stopping_hands_on_what_has_come() {
    const COUNT: u64 = 1000;
    let running = relay().start().unwrap();
    let publisher = publisher(&running);
    let mut subscriber = subscriber(&running, b"");
    for i in 0..COUNT {
        publisher
            .send(b"org", &[format!("{{\"i\":{i}}}").as_bytes()])
            .unwrap();
    }
    eventually("everything has come", || {
        running.counters().received == COUNT
    });
    let stopper = running.stopper();
    stopper.stop();
    let counters = running.stop().unwrap();
    assert_eq!((counters.forwarded, counters.dropped), (COUNT, 0));
    for i in 0..COUNT {
        assert_eq!(
            next(&mut subscriber).1,
            format!("{{\"i\":{i}}}").into_bytes()
        );
    }
    assert!(subscriber.recv(Duration::ZERO).unwrap().is_none());
}

#[test]
fn a_slow_subscriber_loses_what_is_counted_and_holds_up_nobody() {
    const COUNT: usize = 2000;
    let options = Options {
        high_water_mark: 100,
        max_memory: 4 << 20,
        linger: Duration::from_millis(100),
        ..Options::default()
    };
    let running = Relay {
        transport: options,
        ..relay()
    }
    .start()
    .unwrap();
    let publisher = publisher(&running);
    // Its own buffers are small, and it does not read.
    let small = Options {
        max_memory: 1 << 16,
        ..Options::default()
    };
    let mut slow = Native.subscriber(&small).unwrap();
    slow.connect(&running.outbound()[0]).unwrap();
    slow.subscribe(b"").unwrap();
    let mut subscriber = subscriber(&running, b"");
    meet(&publisher, slice::from_mut(&mut subscriber));
    meet(&publisher, slice::from_mut(&mut slow));
    while subscriber
        .recv(Duration::from_millis(10))
        .unwrap()
        .is_some()
    {}
    let body = [b"{\"msg\":\"", &[b'x'; 20_000][..], b"\"}"].concat();
    for _ in 0..COUNT {
        publisher.send(b"org", &[&body]).unwrap();
        assert!(next(&mut subscriber).1 == body);
    }
    let dropped = |counters: &Counters| counters.dropped;
    eventually("the loss is counted", || dropped(&running.counters()) > 0);
    running.stop().unwrap();
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let options = Options {
        max_memory: 8 << 20,
        linger: Duration::ZERO,
        ..Options::default()
    };
    let running = Relay {
        transport: options,
        ..relay()
    }
    .start()
    .unwrap();
    let mut stopped = Native
        .subscriber(&Options {
            max_memory: 1,
            ..Options::default()
        })
        .unwrap();
    stopped.connect(&running.outbound()[0]).unwrap();
    stopped.subscribe(b"").unwrap();
    assert!(running.wait_for_subscriber(PATIENCE).unwrap());
    let publisher = publisher(&running);
    let body = [b"{\"msg\":\"", &[b'x'; 7 << 20][..], b"\"}"].concat();
    let before = resident();
    for _ in 0..40 {
        let come = running.counters().received;
        publisher.send(b"org", &[&body]).unwrap();
        eventually("it has come", || running.counters().received > come);
    }
    // The publisher's and the relay's buffers, the message and its canonical form.
    let grown = resident().saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes more");
    running.stop().unwrap();
}

#[test]
fn a_signing_relay_signs_what_came_signed_or_not() {
    let site = Site::new();
    let running = site.signing_relay().start().unwrap();
    let publisher = publisher(&running);
    let mut subscriber = subscriber(&running, b"");
    meet(&publisher, slice::from_mut(&mut subscriber));
    let text = br#"{"topic": "org.example.x", "msg": {"b": 1E2, "a": "\u00e9"}, "i": 3}"#;
    let [device, legacy] = ["device", "legacy"].map(|name| site.signed(name, text));
    for body in [text.to_vec(), device, legacy] {
        publisher.send(b"org.example.x", &[&body]).unwrap();
        let (topic, body) = next(&mut subscriber);
        let mut scratch = Scratch::default();
        let trust = site.trust();
        let verifiers: [&dyn Verifier; 1] = [&trust.x509()];
        let valid = scratch
            .validate(Some(&topic), &body, &verifiers, now())
            .unwrap();
        assert_eq!(valid.signer, "relay");
        let signed: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            signed["msg"],
            serde_json::json!({"a": "\u{e9}", "b": 100.0})
        );
        assert_eq!(signed["i"], 3);
    }
}

#[test]
fn a_signing_relay_refuses_what_is_not_to_be_believed() {
    let site = Site::new();
    let running = SigningRelay {
        signed_only: true,
        ..site.signing_relay()
    }
    .start()
    .unwrap();
    let publisher = publisher(&running);
    let text = br#"{"topic":"org.example.x","msg":{}}"#;
    let tampered = |name| {
        let signed = String::from_utf8(site.signed(name, text)).unwrap();
        signed.replace("\"msg\":{}", "\"msg\":[]").into_bytes()
    };
    let cases = [
        ("unsigned", text.to_vec()),
        ("revoked", site.signed("revoked", text)),
        ("bad-signature", tampered("device")),
        ("bad-signature", tampered("legacy")),
        (
            "topic-mismatch",
            site.signed("device", br#"{"topic":"org.example.y","msg":{}}"#),
        ),
    ];
    let mut expected = BTreeMap::new();
    for (cause, body) in cases {
        publisher.wait_for_subscriber(PATIENCE).unwrap();
        publisher.send(b"org.example.x", &[&body]).unwrap();
        *expected.entry(cause).or_default() += 1;
        eventually(cause, || running.counters().refused == expected);
    }
    assert_eq!(running.counters().forwarded, 0);
}

#[test]
fn a_signing_relays_keys_can_be_replaced_while_it_runs() {
    let site = Site::new();
    let relay = site.signing_relay();
    let running = relay.start().unwrap();
    let publisher = publisher(&running);
    let mut subscriber = subscriber(&running, b"");
    meet(&publisher, slice::from_mut(&mut subscriber));
    for (name, backend) in [
        ("relay", "x509"),
        ("device", "x509-p256"),
        ("legacy", "x509"),
    ] {
        relay.keys.replace(Keys {
            signer: Arc::new(FileSigner::load(site.dir.path(), name).unwrap()),
            validator: Arc::new(site.trust()),
        });
        publisher.send(b"org", &[br#"{"topic":"org"}"#]).unwrap();
        let signed: serde_json::Value = serde_json::from_slice(&next(&mut subscriber).1).unwrap();
        assert_eq!(signed["crypto"], backend);
    }
}

#[test]
fn a_gateway_hands_on_what_everybody_publishes() {
    let publishers = [(); 3].map(|()| Native.publisher(&Options::default()).unwrap());
    let inbound = publishers
        .iter()
        .map(|publisher| publisher.bind(&loopback()).unwrap());
    let running = Gateway {
        inbound: inbound.collect(),
        outbound: vec![loopback()],
        transport: Options::default(),
    }
    .start()
    .unwrap();
    let mut subscriber = subscriber(&running, b"");
    for publisher in &publishers {
        meet(publisher, slice::from_mut(&mut subscriber));
        let body = br#"{ "as" : "it came" }"#;
        publisher.send(b"org.example", &[body]).unwrap();
        assert_eq!(
            next(&mut subscriber),
            (b"org.example".to_vec(), body.to_vec())
        );
    }
}

/// A CA with a device, a legacy sender, one that is revoked, and the relay.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::init(dir.path(), "test CA", KeyKind::P256, 10, now()).unwrap();
        ca.issue("device", None, None, now()).unwrap();
        for name in ["legacy", "revoked", "relay"] {
            let kind = (name != "revoked").then_some(KeyKind::Rsa2048);
            ca.issue(name, kind, None, now()).unwrap();
        }
        ca.revoke("revoked", now()).unwrap();
        Self { dir }
    }

    fn trust(&self) -> Trust {
        let file = |name| self.dir.path().join(name);
        Trust::load(&file("ca.crt"), Some(&file("crl.pem"))).unwrap()
    }

    fn signed(&self, name: &str, text: &[u8]) -> Vec<u8> {
        let signer = FileSigner::load(self.dir.path(), name).unwrap();
        Scratch::default().sign(text, &signer).unwrap().to_vec()
    }

    fn signing_relay(&self) -> SigningRelay {
        SigningRelay {
            relay: relay(),
            keys: Keyring::new(Keys {
                signer: Arc::new(FileSigner::load(self.dir.path(), "relay").unwrap()),
                validator: Arc::new(self.trust()),
            }),
            signed_only: false,
        }
    }
}

fn relay() -> Relay {
    Relay {
        inbound: vec![loopback()],
        outbound: vec![loopback()],
        transport: Options::default(),
    }
}

fn loopback() -> Endpoint {
    Endpoint::tcp("127.0.0.1", 0)
}

/// One that is connected to the daemon.
fn publisher(running: &Running) -> NativePublisher {
    let publisher = Native.publisher(&Options::default()).unwrap();
    publisher.connect(&running.inbound()[0]).unwrap();
    assert!(publisher.wait_for_subscriber(PATIENCE).unwrap());
    publisher
}

/// One whose subscription is known to the daemon, if no other was there before.
fn subscriber(running: &Running, topic: &[u8]) -> NativeSubscriber {
    let mut subscriber = Native.subscriber(&Options::default()).unwrap();
    subscriber.connect(&running.outbound()[0]).unwrap();
    subscriber.subscribe(topic).unwrap();
    assert!(running.wait_for_subscriber(PATIENCE).unwrap());
    subscriber
}

/// Waits until what this publisher sends arrives at each of the subscribers.
fn meet(publisher: &NativePublisher, subscribers: &mut [NativeSubscriber]) {
    let send = |body: &[u8]| publisher.send(b"org.example.knock", &[body]).unwrap();
    let mut waiting: Vec<_> = subscribers.iter_mut().collect();
    eventually("every subscriber hears the publisher", || {
        send(br#"{"topic":"org.example.knock"}"#);
        waiting
            .retain_mut(|subscriber| subscriber.recv(Duration::from_millis(5)).unwrap().is_none());
        waiting.is_empty()
    });
    send(br#"{"topic":"org.example.knock","end":true}"#);
    for subscriber in subscribers {
        while !next(subscriber).1.windows(5).any(|part| part == b"\"end\"") {}
    }
}

fn next(subscriber: &mut NativeSubscriber) -> (Vec<u8>, Vec<u8>) {
    let message = subscriber.recv(PATIENCE).unwrap().expect("a message");
    let (topic, body) = message.topic_and_body().expect("two frames");
    (topic.to_vec(), body.to_vec())
}

#[track_caller]
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "gave up waiting: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// This process's memory, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes = line.trim().strip_suffix(" kB").unwrap();
    kilobytes.parse::<usize>().unwrap() << 10
}
