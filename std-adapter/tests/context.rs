//! The bus: contexts and tails, over every transport.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use fedmsg::{
    bus::{
        Context, Error, MAX_TOPIC, Malformed, Message, ParseError, Refused, Settings, Tail,
        TailOptions, Validate, Verdict,
    },
    crypto::{FileSigner, KeyKind, Scratch, Trust, ca::Ca},
    transport::{
        self, Endpoint, Monitor, Options, Publisher, Subscriber, Transport, WhenFull,
        native::Native,
    },
};
use fedmsg_core::{
    crypto::base64,
    message::{self, Invalid, Text, Valid},
    zmtp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How long something that must happen is waited for. Reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs each function as a test of each transport.
macro_rules! for_transports {
    ($($test:ident),+ $(,)?) => {
        mod native {
            $(#[test] fn $test() { super::$test(fedmsg::transport::native::Native); })+
        }
        #[cfg(feature = "zmq")]
        mod zmq {
            $(#[test] fn $test() { super::$test(fedmsg::transport::zmq::Zmq); })+
        }
    };
}

/// A transport under test.
trait Any: Transport + Copy + Send + Sync + 'static {}
impl<T: Transport + Copy + Send + Sync + 'static> Any for T {}

for_transports![
    what_is_published_is_tailed,
    the_first_free_endpoint_is_bound,
    an_active_context_connects_to_the_relay,
    a_passive_tail_binds,
    threads_share_a_context_and_each_keeps_its_order,
    a_message_that_cannot_be_sent_is_an_error_that_says_why,
    publishing_after_close_is_an_error,
    nothing_that_was_accepted_is_lost_at_close,
    no_message_ends_a_tail,
    patterns_are_matched_by_whole_topics,
    an_endpoint_that_cannot_be_reached_does_not_end_a_tail,
    a_tail_is_ended_from_elsewhere,
    only_valid_messages_pass_a_validator,
    unix_sockets_are_endpoints_too,
];

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tag<'a> {
    name: &'a str,
    total: u64,
}

/// Settings that wait for nobody, but linger.
fn settings() -> Settings {
    Settings {
        post_init_sleep: Duration::ZERO,
        transport: Options {
            linger: PATIENCE,
            ..Options::default()
        },
        ..Settings::default()
    }
}

/// Those of a publisher of the entry `git.app01` on any port.
fn publisher() -> Settings {
    Settings {
        name: Some("git.app01".into()),
        ..settings()
    }
    .with_endpoints("git.app01", ["tcp://127.0.0.1:0"])
    .unwrap()
}

/// Those of who tails these.
fn tailing(endpoints: &[(&str, &Endpoint)]) -> Settings {
    let endpoints = endpoints
        .iter()
        .map(|(name, endpoint)| (name.to_string(), vec![Endpoint::clone(endpoint)]));
    Settings {
        endpoints: endpoints.collect(),
        ..settings()
    }
}

/// A context, and a tail of it that is connected.
fn pair<T: Any>(
    transport: T,
    settings: Settings,
    tail: impl FnOnce(Settings) -> Settings,
    options: impl Into<TailOptions>,
) -> (Context<T>, Tail<T::Subscriber>) {
    let context = Context::over(transport, settings).unwrap();
    let endpoint = context.endpoint().unwrap();
    let tailing = tail(tailing(&[("git.app01", &endpoint)]));
    let tail = Context::over(transport, tailing).unwrap();
    let tail = tail.tail(options).unwrap();
    assert!(context.wait_for_subscriber(PATIENCE).unwrap());
    (context, tail)
}

fn next<S: Subscriber>(tail: &mut Tail<S>) -> Message<'static> {
    tail.recv(Some(PATIENCE)).unwrap().expect("a message")
}

fn what_is_published_is_tailed<T: Any>(transport: T) {
    let settings = Settings {
        topic_prefix: "org.example".into(),
        environment: "prod".into(),
        username: Some("amara".into()),
        ..publisher()
    };
    let (context, mut tail) = pair(transport, settings, |tail| tail, "");
    let sent = Tag {
        name: "b\u{fc}ro",
        total: 41,
    };
    let id = context.publish("git", "receive", &sent).unwrap();
    let message = next(&mut tail);
    assert_eq!(message.topic, "org.example.prod.git.receive");
    assert_eq!(message.source.name, "git.app01");
    assert_eq!(Some(&message.source.endpoint), context.endpoint().as_ref());
    assert_eq!(message.verdict, Verdict::Unchecked);
    let content = message.parse::<Value>().unwrap();
    assert_eq!(content.msg, json!({"name": "b\u{fc}ro", "total": 41}));
    assert_eq!(content.topic, message.topic);
    assert_eq!(content.i, Some(1));
    assert_eq!(content.msg_id.as_deref(), Some(id.as_str()));
    assert_eq!(content.username.as_deref(), Some("amara"));
    assert!(content.timestamp.unwrap() > 1.7e9);

    // A topic that begins with the prefix is taken as it is, and text may be borrowed.
    let plain = Tag {
        name: "network",
        total: 42,
    };
    context
        .publish("org", "example.stg.x", &plain)
        .expect("a topic");
    let message = next(&mut tail);
    assert_eq!(message.topic, "org.example.stg.x");
    assert_eq!(message.msg::<Tag<'_>>().unwrap(), plain);
    assert_eq!(message.parse::<Tag<'_>>().unwrap().i, Some(2));

    // The same, where it lies.
    let text = Text {
        json: b"{\"name\": \"x\", \"total\": 1}",
        depth_limit: 2,
    };
    let mut seen = String::new();
    let hook = |finished: &message::Encoded<'_>| {
        seen = String::from_utf8(finished.body().concat()).unwrap();
    };
    context
        .publish_with("git", "receive", &text, hook)
        .expect("JSON text");
    let taken = tail.recv_with(Some(PATIENCE), |message| {
        assert_eq!(*message.body, *seen.as_bytes());
        message.msg::<Tag<'_>>().map(|tag| tag.total)
    });
    assert_eq!(taken.unwrap().unwrap().unwrap(), 1);
}

fn the_first_free_endpoint_is_bound<T: Any>(transport: T) {
    let ports = [(); 2].map(|()| free_port());
    let settings = || {
        let endpoints = ports.map(|port| format!("tcp://127.0.0.1:{port}"));
        publisher().with_endpoints("git.app01", endpoints).unwrap()
    };
    let first = Context::over(transport, settings()).unwrap();
    assert_eq!(first.endpoint(), Some(Endpoint::tcp("127.0.0.1", ports[0])));
    let second = Context::over(transport, settings()).unwrap();
    assert_eq!(
        second.endpoint(),
        Some(Endpoint::tcp("127.0.0.1", ports[1]))
    );
    let third = Context::over(transport, settings()).err().unwrap();
    assert!(
        matches!(&third, Error::NoneFree { entry, reasons } if entry == "git.app01" && reasons.len() == 2),
        "{third:?}"
    );
    assert!(
        third
            .to_string()
            .starts_with("no endpoint of 'git.app01' is free: "),
        "{third}"
    );
    assert!(third.to_string().contains(&ports[1].to_string()), "{third}");
    // Both are published on: a tail connects to all.
    let tailing = Settings {
        name: None,
        ..settings()
    };
    let mut tail = Context::over(transport, tailing).unwrap().tail("").unwrap();
    for context in [&first, &second] {
        assert!(context.wait_for_subscriber(PATIENCE).unwrap());
        context.publish("git", "receive", "x").unwrap();
        assert_eq!(
            Some(&next(&mut tail).source.endpoint),
            context.endpoint().as_ref()
        );
    }
}

#[test]
fn what_there_is_no_endpoint_for_is_named() {
    let named = Settings {
        name: Some("git.app02".into()),
        ..publisher()
    };
    let error = Context::new(named).err().unwrap();
    assert!(matches!(&error, Error::NoEndpoint { entry } if entry == "git.app02"));

    let context = Context::new(settings()).unwrap();
    for _ in 0..2 {
        let error = context.publish("git", "receive", "x").unwrap_err();
        assert!(
            matches!(&error, Error::NoEndpoint { entry } if entry.starts_with("git.") && entry.len() > 4),
            "{error:?}"
        );
    }
    let active = Settings {
        active: true,
        relay_inbound: Vec::new(),
        ..settings()
    };
    let error = Context::new(active).err().unwrap();
    assert!(matches!(&error, Error::NoEndpoint { entry } if entry == "relay_inbound"));
}

#[test]
fn a_tail_of_no_endpoints_is_an_error() {
    let relay = Endpoint::tcp("127.0.0.1", 2001);
    for settings in [tailing(&[]), tailing(&[("relay_inbound", &relay)])] {
        let error = Context::new(settings).unwrap().tail("").err().unwrap();
        assert!(matches!(error, Error::NoSource), "{error:?}");
    }
}

#[test]
fn an_address_that_is_not_this_machines_is_not_bound() {
    // For documentation only: RFC 5737.
    let settings = publisher().with_endpoints("git.app01", ["tcp://192.0.2.1:0"]);
    let error = Context::new(settings.unwrap()).err().unwrap();
    assert!(matches!(error, Error::NoneFree { .. }), "{error:?}");
    assert!(error.to_string().contains("tcp://192.0.2.1:0"), "{error}");
}

#[test]
fn a_context_without_a_name_binds_the_entry_of_its_first_messages_modname() {
    let host = gethostname::gethostname();
    let host = host.to_str().unwrap().split('.').next().unwrap().to_owned();
    let settings = settings()
        .with_endpoints(&format!("git.{host}"), ["tcp://127.0.0.1:0"])
        .unwrap();
    let context = Context::new(settings).unwrap();
    assert_eq!(context.endpoint(), None);
    context.publish("git", "receive", "x").unwrap();
    let bound = context.endpoint();
    assert!(bound.is_some());
    context.publish("other", "topic", "x").unwrap();
    assert_eq!(context.endpoint(), bound);
}

#[test]
fn an_address_is_bound_as_it_is() {
    for (entry, bound) in [
        ("tcp://127.0.0.1:0", "127.0.0.1"),
        ("tcp://localhost:0", "127.0.0.1"),
        ("tcp://[::1]:0", "::1"),
    ] {
        let settings = publisher().with_endpoints("git.app01", [entry]).unwrap();
        let context = Context::new(settings).unwrap();
        let Some(Endpoint::Tcp { host, port }) = context.endpoint() else {
            panic!("{entry}");
        };
        assert_eq!((&*host, port > 0), (bound, true), "{entry}");
    }
}

fn an_active_context_connects_to_the_relay<T: Any>(transport: T) {
    let mut relay = transport.subscriber(&Options::default()).unwrap();
    relay.subscribe(b"").unwrap();
    let inbound = relay.bind(&Endpoint::tcp("127.0.0.1", 0)).unwrap();
    let settings = Settings {
        active: true,
        relay_inbound: vec![inbound.clone()],
        // As long as it takes, and no longer.
        post_init_sleep: PATIENCE,
        ..settings()
    };
    // libzmq's subscriber greets a peer only while it is asked for messages.
    thread::scope(|scope| {
        scope.spawn(|| {
            let context = Context::over(transport, settings).unwrap();
            assert_eq!(context.endpoint(), Some(inbound));
            context.publish("git", "receive", "x").unwrap();
            context.close().unwrap();
        });
        let message = relay.recv(PATIENCE).unwrap().expect("a message");
        let (topic, body) = message.topic_and_body().unwrap();
        assert_eq!(topic, b"com.example.dev.git.receive");
        let body: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["msg"], "x");
    });
}

fn a_passive_tail_binds<T: Any>(transport: T) {
    let tailing = tailing(&[("relay", &Endpoint::tcp("127.0.0.1", 0))]);
    let options = TailOptions {
        passive: true,
        ..TailOptions::default()
    };
    let mut tail = Context::over(transport, tailing)
        .unwrap()
        .tail(options)
        .unwrap();
    let bound = tail.sources().next().unwrap().endpoint.clone();
    let settings = Settings {
        active: true,
        relay_inbound: vec![bound.clone()],
        post_init_sleep: PATIENCE,
        ..settings()
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let context = Context::over(transport, settings).unwrap();
            context.publish("git", "receive", "x").unwrap();
        });
        let message = next(&mut tail);
        assert_eq!(message.source.name, "relay");
        assert_eq!(message.source.endpoint, bound);
    });
}

#[test]
fn a_mute_context_sends_nothing_and_needs_no_endpoint() {
    let mute = Settings {
        mute: true,
        name: Some("nobody".into()),
        ..settings()
    };
    let context = Context::new(mute).unwrap();
    context.publish("git", "receive", "x").unwrap();
    assert_eq!(context.endpoint(), None);
    assert!(!context.wait_for_subscriber(Duration::ZERO).unwrap());
    assert!(context.publish("git", "", "x").is_err());
}

fn threads_share_a_context_and_each_keeps_its_order<T: Any>(transport: T) {
    const THREADS: u64 = 8;
    const EACH: u64 = 500;
    let (context, mut tail) = pair(transport, publisher(), |tail| tail, "");
    let mut next_of = BTreeMap::new();
    let mut numbers = Vec::new();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let context = &context;
            scope.spawn(move || {
                let name = thread.to_string();
                for total in 0..EACH {
                    let tag = Tag { name: &name, total };
                    context.publish("git", "receive", &tag).unwrap();
                }
            });
        }
        for _ in 0..THREADS * EACH {
            let message = next(&mut tail);
            let content = message.parse::<Tag<'_>>().unwrap();
            let expected = next_of.entry(content.msg.name.to_owned()).or_insert(0);
            assert_eq!(content.msg.total, *expected);
            *expected += 1;
            numbers.push(content.i.unwrap());
        }
    });
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=THREADS * EACH));
}

#[test]
fn a_message_may_publish_another_while_it_is_written() {
    struct Nosy<'a>(&'a Context);
    impl Serialize for Nosy<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let seen = self.0.publish("git", "seen", "inner");
            serializer.serialize_str(seen.map_or("", |_| "outer"))
        }
    }
    let (context, mut tail) = pair(Native, publisher(), |tail| tail, "");
    context.publish("git", "receive", &Nosy(&context)).unwrap();
    for (i, msg) in [(2, "inner"), (1, "outer")] {
        let message = next(&mut tail);
        let content = message.parse::<&str>().unwrap();
        assert_eq!((content.i, content.msg), (Some(i), msg));
    }
}

fn a_message_that_cannot_be_sent_is_an_error_that_says_why<T: Any>(transport: T) {
    let mut small = publisher();
    small.transport.max_message = 50_000;
    let (context, mut tail) = pair(transport, small, |tail| tail, "");

    let long = "x".repeat(MAX_TOPIC);
    let error = context.publish("git", &long, "x").unwrap_err();
    let whole = format!("com.example.dev.git.{long}");
    assert!(matches!(&error, Error::TopicTooLong { topic } if *topic == whole));
    assert!(error.to_string().contains("has 275 bytes"), "{error}");
    for (modname, topic) in [("", "x"), ("git", "")] {
        let error = context.publish(modname, topic, "x").unwrap_err();
        assert!(
            matches!(
                error,
                Error::Message {
                    source: message::Error::EmptyTopic,
                    ..
                }
            ),
            "{error:?}"
        );
    }
    let error = context.publish("git", "x", &f64::NAN).unwrap_err();
    assert_eq!(
        error.to_string(),
        "message on 'com.example.dev.git.x': number is not finite at byte 0"
    );
    let keys = BTreeMap::from([(vec![1], 1)]);
    assert!(matches!(
        context.publish("git", "x", &keys).unwrap_err(),
        Error::Message {
            source: message::Error::Json(_),
            ..
        }
    ));
    for size in [49_990, 1 << 20] {
        let error = context.publish("git", "x", &"x".repeat(size)).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Send { topic, source: transport::Error::TooLarge { size: told, limit: 50_000 } }
                    if topic == "com.example.dev.git.x" && *told > 50_000
            ),
            "{error:?}"
        );
    }
    // None of that did any harm.
    context.publish("git", "x", &"x".repeat(49_000)).unwrap();
    assert_eq!(next(&mut tail).msg::<String>().unwrap().len(), 49_000);
}

fn publishing_after_close_is_an_error<T: Any>(transport: T) {
    let (context, mut tail) = pair(transport, publisher(), |tail| tail, "");
    context.publish("git", "receive", "last").unwrap();
    context.close().unwrap();
    context.close().unwrap();
    let error = context.publish("git", "receive", "x").unwrap_err();
    assert!(matches!(error, Error::Closed), "{error:?}");
    assert_eq!(context.endpoint(), None);
    assert_eq!(next(&mut tail).msg::<&str>().unwrap(), "last");

    let unused = Context::over(transport, settings()).unwrap();
    unused.close().unwrap();
    let error = unused.publish("git", "receive", "x").unwrap_err();
    assert!(matches!(error, Error::Closed), "{error:?}");
}

fn nothing_that_was_accepted_is_lost_at_close<T: Any>(transport: T) {
    const MESSAGES: u64 = 20_000;
    let mut settings = publisher();
    settings.transport.when_full = WhenFull::Block;
    let (context, mut tail) = pair(transport, settings, |tail| tail, "");
    let closing = thread::spawn(move || {
        for total in 0..MESSAGES {
            context.publish("git", "receive", &total).unwrap();
        }
        // Dropping closes too.
    });
    for total in 0..MESSAGES {
        assert_eq!(next(&mut tail).msg::<u64>().unwrap(), total);
    }
    closing.join().unwrap();
}

#[test]
fn what_a_subscriber_will_not_get_is_counted_at_close() {
    let mut settings = publisher();
    settings.transport.max_memory = 1 << 20;
    settings.transport.max_message = 1 << 20;
    settings.transport.linger = Duration::from_millis(100);
    let (context, tail) = pair(
        Native,
        settings,
        |mut tail| {
            tail.transport.max_memory = 1 << 20;
            tail
        },
        "",
    );
    let msg = "x".repeat(100_000);
    for _ in 0..2_000 {
        context.publish("git", "receive", &msg).unwrap();
    }
    let error = context.close().unwrap_err();
    assert!(
        matches!(error, Error::Transport(transport::Error::Lost { messages }) if messages > 0),
        "{error:?}"
    );
    drop(tail);
}

/// What ends the peer's tail, or is no fedmsg message: frames, whether it is one for the bus.
fn hostile() -> Vec<(Vec<Vec<u8>>, bool)> {
    let topic = b"com.example.dev.x".to_vec();
    let mut deep = vec![b'['; 100_000];
    deep.resize(200_000, b']');
    let mut digits = b"{\"topic\":\"com.example.dev.x\",\"msg\":".to_vec();
    digits.resize(digits.len() + 4301, b'7');
    digits.push(b'}');
    let mut hostile = vec![
        (vec![topic.clone()], false),
        (vec![topic.clone(), b"{}".to_vec(), b"".to_vec()], false),
        (
            vec![b"com.example.dev.\xff".to_vec(), b"{}".to_vec()],
            false,
        ),
    ];
    for body in [
        &b""[..],
        b"no JSON",
        b"null",
        b"[]",
        b"\xef\xbb\xbf{}",
        b"{\"topic\":\"com.example.dev.x\",\"msg\":\"\xff\"}",
        b"{\"topic\":\"com.example.dev.y\",\"msg\":1}",
        b"{\"topic\":\"com.example.dev.x\"}",
        b"{\"msg\":1}",
        &deep,
        &digits,
    ] {
        hostile.push((vec![topic.clone(), body.to_vec()], true));
    }
    hostile
}

fn no_message_ends_a_tail<T: Any>(transport: T) {
    let raw = transport.publisher(&Options::default()).unwrap();
    let endpoint = raw.bind(&Endpoint::tcp("127.0.0.1", 0)).unwrap();
    for refused in [Refused::Skip, Refused::HandOn] {
        let settings = Settings {
            refused,
            ..tailing(&[("raw", &endpoint)])
        };
        let mut tail = Context::over(transport, settings)
            .unwrap()
            .tail("com.")
            .unwrap();
        assert!(raw.wait_for_subscriber(PATIENCE).unwrap());
        for (frames, _) in hostile() {
            let mut wire = Vec::new();
            transport::encode_frames(&frames, &mut wire);
            let frames = zmtp::Message::from_wire(&wire).unwrap();
            let message = transport::Message {
                frames,
                endpoint: &endpoint,
            };
            raw.forward(&message).unwrap();
        }
        raw.send(
            b"com.example.dev.x",
            &[br#"{"topic":"com.example.dev.x","msg":"good"}"#],
        )
        .unwrap();
        for (frames, one_of_ours) in hostile() {
            if !one_of_ours && refused == Refused::Skip {
                continue;
            }
            let message = next(&mut tail);
            if one_of_ours {
                assert_eq!(*message.body, *frames[1]);
            }
            let error = message.msg::<i32>().unwrap_err();
            match (&message.verdict, &error) {
                (Verdict::Malformed(Malformed::Frames { count }), ParseError::Refused(_)) => {
                    assert_eq!(*count, frames.len());
                }
                (Verdict::Malformed(Malformed::Topic), ParseError::Refused(_)) => {
                    assert_eq!(message.topic, "com.example.dev.\u{fffd}");
                }
                (Verdict::Unchecked, ParseError::Json(_) | ParseError::Topic) => {
                    assert!(one_of_ours);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(next(&mut tail).msg::<&str>().unwrap(), "good");
        let skipped = if refused == Refused::Skip { 3 } else { 0 };
        assert_eq!(tail.skipped(), skipped);
        drop(tail);
        while raw.subscribers().unwrap() > 0 {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Signed badly, in the ways that end the peer's tail too.
#[test]
fn no_signature_ends_a_validating_tail() {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let dir = tempfile::tempdir().unwrap();
    Ca::init(dir.path(), "CA", KeyKind::P256, 1, now.as_secs()).unwrap();
    let trust = Trust::load(&dir.path().join("ca.crt"), None).unwrap();
    let raw = Native.publisher(&Options::default()).unwrap();
    let endpoint = raw.bind(&Endpoint::tcp("127.0.0.1", 0)).unwrap();
    let settings = Settings {
        validator: Some(Arc::new(trust)),
        ..tailing(&[("raw", &endpoint)])
    };
    let mut tail = Context::new(settings).unwrap().tail("").unwrap();
    assert!(raw.wait_for_subscriber(PATIENCE).unwrap());
    let certificate = std::fs::read(dir.path().join("ca.crt")).unwrap();
    let mut field = vec![0; 2 * certificate.len()];
    let length = base64::encode(&certificate, base64::Wrapping::None, &mut field).unwrap();
    let certificate = str::from_utf8(&field[..length]).unwrap();
    let topic = b"com.example.dev.x";
    let mut bodies: Vec<_> = hostile()
        .into_iter()
        .filter(|(_, one_of_ours)| *one_of_ours)
        .map(|(frames, _)| frames[1].clone())
        .collect();
    for credentials in [
        json!({}),
        json!({"crypto": [], "certificate": "eA==", "signature": "eA=="}),
        json!({"crypto": "x509", "certificate": "*", "signature": "eA=="}),
        json!({"crypto": "x509", "certificate": "eA==", "signature": "eA=="}),
        json!({"crypto": "x509", "certificate": certificate, "signature": "eA=="}),
        json!({"crypto": "x509-p256", "certificate": certificate, "signature": "eA=="}),
        json!({"crypto": "x509-p384", "certificate": certificate, "signature": "eA=="}),
        json!({"crypto": "gpg", "signature": "eA=="}),
        json!({"signature": 1}),
    ] {
        let mut body = json!({"topic": "com.example.dev.x", "msg": 1});
        let members = credentials.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(members);
        bodies.push(body.to_string().into_bytes());
    }
    for body in &bodies {
        raw.send(topic, &[body]).unwrap();
    }
    while tail.skipped() < bodies.len() as u64 {
        let none = tail.recv(Some(Duration::from_millis(10))).unwrap();
        assert!(none.is_none(), "{none:?}");
    }
}

fn patterns_are_matched_by_whole_topics<T: Any>(transport: T) {
    let options = TailOptions {
        topics: vec![
            "com.example.dev.git.*.end".into(),
            "com.example.dev.wiki.".into(),
        ],
        ..TailOptions::default()
    };
    let (context, mut tail) = pair(transport, publisher(), |tail| tail, options);
    // Until the second subscription is there too.
    loop {
        context.publish("wiki", "ready", "x").unwrap();
        if let Some(message) = tail.recv(Some(Duration::from_millis(5))).unwrap() {
            assert_eq!(message.topic, "com.example.dev.wiki.ready");
            break;
        }
    }
    for (modname, topic) in [
        ("git", "build.end"),
        ("git", "build.ends"),
        ("git", "build"),
        ("gitlab", "build.end"),
        ("git", "a.b.end"),
        ("wiki", "edit"),
    ] {
        context.publish(modname, topic, "x").unwrap();
    }
    let mut topics = Vec::new();
    while topics.len() < 3 {
        let topic = next(&mut tail).topic;
        if topic != "com.example.dev.wiki.ready" {
            topics.push(topic);
        }
    }
    assert_eq!(
        topics,
        [
            "com.example.dev.git.build.end",
            "com.example.dev.git.a.b.end",
            "com.example.dev.wiki.edit"
        ]
    );
    assert_eq!(tail.skipped(), 0);

    let strict = Settings {
        zmq_strict: true,
        ..settings()
    };
    let strict = Context::over(transport, strict).unwrap();
    let error = strict.tail("a.*").err().unwrap();
    assert!(matches!(&error, Error::Pattern { topic } if topic == "a.*"));
    strict.tail("a.").unwrap();
}

fn an_endpoint_that_cannot_be_reached_does_not_end_a_tail<T: Any>(transport: T) {
    let context = Context::over(transport, publisher()).unwrap();
    let endpoint = context.endpoint().unwrap();
    let nowhere = Endpoint::tcp("nowhere.invalid", 9940);
    let refusing = Endpoint::tcp("127.0.0.1", free_port());
    let settings = tailing(&[
        ("a", &nowhere),
        ("git.app01", &endpoint),
        ("b", &refusing),
        ("relay_inbound", &Endpoint::tcp("*", 0)),
        // Named twice, connected to once.
        ("z", &endpoint),
    ]);
    let mut tail = Context::over(transport, settings)
        .unwrap()
        .tail("")
        .unwrap();
    assert_eq!(tail.sources().count(), 3);
    assert!(context.wait_for_subscriber(PATIENCE).unwrap());
    context.publish("git", "receive", "x").unwrap();
    assert_eq!(next(&mut tail).source.name, "git.app01");
    context.publish("git", "receive", "y").unwrap();
    assert_eq!(next(&mut tail).msg::<&str>().unwrap(), "y");
}

#[test]
fn an_endpoint_that_does_not_resolve_is_reported() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    let mut settings = tailing(&[("a", &Endpoint::tcp("nowhere.invalid", 9940))]);
    settings.transport.monitor = Some(Monitor(Arc::new(move |notice| {
        hearing.lock().unwrap().push(notice.to_string());
    })));
    let options = TailOptions {
        reach_within: Some(PATIENCE),
        ..TailOptions::default()
    };
    let mut tail = Context::new(settings).unwrap().tail(options).unwrap();
    while heard.lock().unwrap().len() < 2 {
        assert!(
            tail.recv(Some(Duration::from_millis(10)))
                .unwrap()
                .is_none()
        );
    }
    for notice in &*heard.lock().unwrap() {
        assert!(notice.contains("nowhere.invalid"), "{notice}");
    }
}

#[test]
fn a_tail_that_reaches_nobody_fails_if_it_is_to_and_one_that_does_goes_on() {
    let refusing = Endpoint::tcp("127.0.0.1", free_port());
    let settings = tailing(&[("a", &refusing)]);
    let options = TailOptions {
        reach_within: Some(Duration::from_millis(300)),
        ..TailOptions::default()
    };
    let tail = Context::new(settings).unwrap();
    let mut tail = tail.tail(options.clone()).unwrap();
    let error = tail.next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .starts_with("nobody was reached within 0.3 s: "),
        "{error}"
    );
    assert!(error.to_string().contains(&refusing.to_string()), "{error}");
    assert!(tail.next().is_none());

    let (context, mut tail) = pair(Native, publisher(), |tail| tail, options);
    let quiet = Some(Duration::from_millis(600));
    assert!(tail.recv(quiet).unwrap().is_none());
    context.publish("git", "receive", "x").unwrap();
    next(&mut tail);
}

fn a_tail_is_ended_from_elsewhere<T: Any>(transport: T) {
    let (context, mut tail) = pair(transport, publisher(), |tail| tail, "");
    let ending = tail.ending();
    let (told, hear) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            for message in tail {
                told.send(message.unwrap().msg::<u32>().unwrap()).unwrap();
            }
        });
        context.publish("git", "receive", &7).unwrap();
        assert_eq!(hear.recv_timeout(PATIENCE), Ok(7));
        ending.end();
        assert!(hear.recv_timeout(PATIENCE).is_err());
    });
}

fn only_valid_messages_pass_a_validator<T: Any>(transport: T) {
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    let dir = tempfile::tempdir().unwrap();
    let stranger = dir.path().join("stranger");
    for dir in [dir.path(), &stranger] {
        let ca = Ca::init(dir, "CA", KeyKind::P256, 1, now).unwrap();
        ca.issue("git-app01", None, None, now).unwrap();
    }
    let signed = |dir| Settings {
        signer: Some(Arc::new(FileSigner::load(dir, "git-app01").unwrap())),
        ..publisher()
    };
    let trust = Trust::load(&dir.path().join("ca.crt"), None).unwrap();
    let honest = Context::over(transport, signed(dir.path())).unwrap();
    let stranger = Context::over(transport, signed(&stranger)).unwrap();
    let endpoints = [&honest, &stranger].map(|context| context.endpoint().unwrap());
    let mut settings = tailing(&[("honest", &endpoints[0]), ("stranger", &endpoints[1])]);
    settings.validator = Some(Arc::new(trust));
    settings.refused = Refused::HandOn;
    let mut tail = Context::over(transport, settings)
        .unwrap()
        .tail("")
        .unwrap();
    for context in [&stranger, &honest] {
        assert!(context.wait_for_subscriber(PATIENCE).unwrap());
        context.publish("git", "receive", "x").unwrap();
        let message = next(&mut tail);
        let name = &*message.source.name;
        match (name, &message.verdict, message.msg::<&str>()) {
            ("honest", Verdict::Valid { signer }, Ok("x")) => assert_eq!(signer, "git-app01"),
            ("stranger", Verdict::Invalid(Invalid::Refused(_)), Err(ParseError::Refused(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_validator_may_be_anything_that_judges() {
    struct Loud(AtomicUsize);
    impl Validate for Loud {
        fn validate<'s>(
            &self,
            topic: &str,
            body: &[u8],
            _: u64,
            scratch: &'s mut Scratch,
        ) -> Result<Valid<'s>, Invalid> {
            self.0.fetch_add(1, Ordering::Relaxed);
            if !topic.ends_with('!') {
                return Err(Invalid::Topic);
            }
            let message = scratch.canonicalize(body, 9).map_err(Invalid::Json)?;
            Ok(Valid {
                signer: "me",
                message,
            })
        }
    }
    let loud = Arc::new(Loud(AtomicUsize::new(0)));
    let validator = Arc::clone(&loud);
    let (context, mut tail) = pair(
        Native,
        publisher(),
        move |tail| Settings {
            validator: Some(validator),
            ..tail
        },
        "",
    );
    context.publish("git", "receive", "quiet").unwrap();
    context.publish("git", "receive!", "loud").unwrap();
    let message = next(&mut tail);
    assert_eq!(message.msg::<&str>().unwrap(), "loud");
    assert_eq!(
        message.verdict,
        Verdict::Valid {
            signer: "me".into()
        }
    );
    assert_eq!((tail.skipped(), loud.0.load(Ordering::Relaxed)), (1, 2));
}

fn unix_sockets_are_endpoints_too<T: Any>(transport: T) {
    let dir = tempfile::tempdir().unwrap();
    let endpoints = ["1", "2"].map(|name| Endpoint::ipc(dir.path().join(name)));
    let settings = || Settings {
        name: Some("git.app01".into()),
        endpoints: [("git.app01".to_owned(), endpoints.to_vec())].into(),
        ..settings()
    };
    let first = Context::over(transport, settings()).unwrap();
    let second = Context::over(transport, settings()).unwrap();
    assert_eq!(first.endpoint().as_ref(), Some(&endpoints[0]));
    assert_eq!(second.endpoint().as_ref(), Some(&endpoints[1]));
    let tailing = tailing(&[("git.app01", &endpoints[1])]);
    let mut tail = Context::over(transport, tailing)
        .unwrap()
        .tail("com.example.")
        .unwrap();
    assert!(second.wait_for_subscriber(PATIENCE).unwrap());
    second.publish("git", "receive", "x").unwrap();
    let message = next(&mut tail);
    assert_eq!(message.source.endpoint, endpoints[1]);
}

#[test]
fn a_body_may_hold_less_or_more_than_ours_do() {
    let message = |body: &'static str| Message {
        source: Arc::new(fedmsg::bus::Source {
            name: String::new(),
            endpoint: Endpoint::tcp("127.0.0.1", 1),
        }),
        topic: "a".into(),
        body: body.as_bytes().into(),
        verdict: Verdict::Unchecked,
    };
    let old = message(r#"{"msg":{},"timestamp":1344344053.25,"topic":"a","x":[]}"#);
    let content = old.parse::<Value>().unwrap();
    assert_eq!(content.timestamp, Some(1_344_344_053.25));
    assert_eq!(
        (content.i, content.msg_id, content.username),
        (None, None, None)
    );
    let null = message(r#"{"i":null,"msg":1,"msg_id":null,"topic":"\u0061","seq_id":9}"#);
    let content = null.parse::<u8>().unwrap();
    assert_eq!((content.i, content.seq_id), (None, Some(9)));
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
