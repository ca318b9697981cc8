//! Relays: a SUB and a PUB, and between them bytes that stay what they are.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use fedmsg::transport::{
    Error, Forwarder, Message, Options, Publisher, Subscriber, Transport, WhenFull, encode_frames,
    native::Native, zmq::Zmq,
};
use fedmsg_core::zmtp;
use fedmsg_tests::{
    Ours, eventually, for_pairs, for_transports, loopback, meet, next, next_frames,
    pyzmq::Pyzmq,
    raw::{self, Raw},
};

for_pairs!(
    messages_of_any_frames_pass_a_native_relay,
    messages_of_any_frames_pass_a_zmq_relay,
);

fn messages_of_any_frames_pass_a_native_relay<P: Transport, S: Transport>(p: &P, s: &S) {
    messages_of_any_frames_pass(p, s, &Native);
}

fn messages_of_any_frames_pass_a_zmq_relay<P: Transport, S: Transport>(p: &P, s: &S) {
    messages_of_any_frames_pass(p, s, &Zmq);
}

fn messages_of_any_frames_pass<P: Transport, S: Transport, R: Ours>(
    publishers: &P,
    subscribers: &S,
    relays: &R,
) {
    let publisher = publishers.publisher(&Options::default()).unwrap();
    let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
    let mut relay = Relay::new(relays, &Options::default());
    let upstream = publisher.bind(&loopback()).unwrap();
    relay.subscriber.connect(&upstream).unwrap();
    subscriber
        .connect(&relay.publisher.bind(&loopback()).unwrap())
        .unwrap();
    subscriber.subscribe(b"org").unwrap();

    let large = vec![b'x'; 1 << 20];
    let many = vec![&b"org"[..]; 1000];
    let messages: [&[&[u8]]; 7] = [
        &[b"org"],
        &[b"org.a", b"{}"],
        &[b"org", b"", b"", b""],
        &[b"organ", &large[..255], &large[..256]],
        &[b"org", &large],
        &many,
        &[b"org", b"last"],
    ];
    relay.run(|| {
        meet(&publisher, std::slice::from_mut(&mut subscriber));
        for frames in messages {
            let mut wire = Vec::new();
            for frames in [&[b"com", &b"unwanted"[..]], frames] {
                wire.clear();
                encode_frames(frames, &mut wire);
                let message = Message {
                    frames: zmtp::Message::from_wire(&wire).unwrap(),
                    endpoint: &upstream,
                };
                publisher.forward(&message).unwrap();
            }
        }
        for frames in messages {
            assert!(next_frames(&mut subscriber) == frames);
        }
    });
}

for_transports!(
    bytes_in_are_bytes_out_and_subscriptions_go_upstream,
    interests_are_what_all_subscribers_ask_for,
    a_relay_that_may_not_drop_passes_everything_on_in_order,
    what_is_over_the_limit_is_not_forwarded,
);

fn bytes_in_are_bytes_out_and_subscriptions_go_upstream<T: Ours>(transport: &T) {
    let mut relay = Relay::new(transport, &Options::default());
    let (listener, upstream) = Raw::listen();
    relay.subscriber.connect(&upstream).unwrap();
    let downstream = relay.publisher.bind(&loopback()).unwrap();
    relay.run(|| {
        let mut server = Raw::accept(&listener);
        server.handshake(1, "PUB");
        let mut clients = [(); 2].map(|()| {
            let mut client = Raw::connect(&downstream);
            client.handshake(1, "SUB");
            client
        });
        clients[0].send(&raw::subscribe(b"org.a"));
        assert_eq!(server.read_frame(), as_frame(&raw::subscribe(b"org.a")));
        clients[1].send(&raw::subscribe(b"org.a"));
        clients[1].send(&raw::subscribe(b"org.b"));
        // What is asked for already is not asked for again.
        assert_eq!(server.read_frame(), as_frame(&raw::subscribe(b"org.b")));

        let long = [b'x'; 300];
        let messages: [&[&[u8]]; 6] = [
            &[b"org.a"],
            &[b"org.a", b""],
            &[b"org.a.topic", b"{\"i\":1}"],
            &[b"org.a", &long, b"", &long],
            &[b"org.a", b"", b"", b"", b"", b""],
            &[&[b"org.a", &long[..]].concat(), &[0, 1, 2, 255]],
        ];
        for frames in messages {
            let wire = raw::message(frames);
            server.send(&wire);
            for client in &mut clients {
                assert_eq!(client.read(wire.len()), wire);
            }
        }
        // What is not part of a message is not sent on.
        let ping = raw::frame(raw::COMMAND, b"\x04PING\0\0");
        server.send(&ping);
        assert_eq!(server.read_frame().0, raw::COMMAND, "a PONG");
        server.send(&raw::frame(raw::MORE, b"org.a"));
        server.send(&[&ping, &raw::frame(0, b"body")[..]].concat());
        let wire = raw::message(&[b"org.a", b"body"]);
        for client in &mut clients {
            assert_eq!(client.read(wire.len()), wire);
        }
        assert_eq!(server.read_frame().0, raw::COMMAND, "a PONG");

        clients[0].send(&raw::cancel(b"org.a"));
        clients[0].ping();
        let [_, last] = clients;
        // Without a word.
        drop(last);
        let mut ended = [server.read_frame(), server.read_frame()];
        ended.sort();
        let cancels = [b"org.a", b"org.b"].map(|prefix| as_frame(&raw::cancel(prefix)));
        assert_eq!(ended, cancels);
    });
}

fn interests_are_what_all_subscribers_ask_for<T: Ours>(transport: &T) {
    let publisher = transport.publisher(&Options::default()).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut known = (0, BTreeSet::new());
    let mut are = |what: &str, expected: &[&[u8]]| {
        let expected: BTreeSet<_> = expected.iter().map(|prefix| prefix.to_vec()).collect();
        eventually(what, || {
            if let Some(interests) = publisher.interests(known.0).unwrap() {
                assert_ne!(interests.version, known.0);
                assert_ne!(interests.version, 0);
                let count = interests.prefixes.len();
                known = (interests.version, interests.prefixes.into_iter().collect());
                assert_eq!(known.1.len(), count, "one of them twice");
            }
            known.1 == expected
        });
        assert_eq!(publisher.interests(known.0).unwrap(), None);
    };
    are("nothing", &[]);
    let mut first = Zmq.subscriber(&Options::default()).unwrap();
    first.connect(&endpoint).unwrap();
    first.subscribe(b"org.b").unwrap();
    are("one", &[b"org.b"]);
    let mut second = Pyzmq.subscriber(&Options::default()).unwrap();
    second.subscribe(b"org.b").unwrap();
    second.subscribe(b"org.a").unwrap();
    second.subscribe(b"").unwrap();
    Subscriber::connect(&mut second, &endpoint).unwrap();
    are("those of both", &[b"", b"org.a", b"org.b"]);
    let mut third = Native.subscriber(&Options::default()).unwrap();
    third.connect(&endpoint).unwrap();
    third.subscribe(b"\0\xff").unwrap();
    are("any bytes", &[b"", b"\0\xff", b"org.a", b"org.b"]);
    first.unsubscribe(b"org.b").unwrap();
    third.unsubscribe(b"\0\xff").unwrap();
    are("what others still want", &[b"", b"org.a", b"org.b"]);
    second.kill();
    are("nothing again", &[]);

    let many: Vec<_> = (0..10_000)
        .map(|i| format!("org.{i}.").into_bytes())
        .collect();
    for prefix in &many {
        first.subscribe(prefix).unwrap();
    }
    let many: Vec<_> = many.iter().map(Vec::as_slice).collect();
    are("many", &many);
    drop(first);
    are("none", &[]);
}

fn a_relay_that_may_not_drop_passes_everything_on_in_order<T: Ours>(transport: &T) {
    const COUNT: u32 = 20_000;
    let options = Options {
        high_water_mark: 100,
        when_full: WhenFull::Block,
        ..Options::default()
    };
    let publisher = transport.publisher(&options).unwrap();
    let mut relay = Relay::new(transport, &options);
    let mut subscriber = transport.subscriber(&options).unwrap();
    // Both ways round.
    publisher
        .connect(&relay.subscriber.bind(&loopback()).unwrap())
        .unwrap();
    relay
        .publisher
        .connect(&subscriber.bind(&loopback()).unwrap())
        .unwrap();
    subscriber.subscribe(b"org").unwrap();
    relay.run(|| {
        meet(&publisher, std::slice::from_mut(&mut subscriber));
        thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..COUNT {
                    publisher
                        .send(b"org", &[&i.to_be_bytes(), &[0; 500]])
                        .unwrap();
                }
            });
            for i in 0..COUNT {
                assert_eq!(next(&mut subscriber).1[..4], i.to_be_bytes());
            }
        });
    });
}

fn what_is_over_the_limit_is_not_forwarded<T: Ours>(transport: &T) {
    let options = Options {
        max_message: 1000,
        ..Options::default()
    };
    let publisher = transport.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut wire = Vec::new();
    encode_frames(&[&[b'x'; 500][..], &[b'x'; 400], &[b'x'; 101]], &mut wire);
    let message = Message {
        frames: zmtp::Message::from_wire(&wire).unwrap(),
        endpoint: &endpoint,
    };
    assert!(matches!(
        publisher.forward(&message),
        Err(Error::TooLarge {
            size: 1001,
            limit: 1000
        })
    ));
}

/// What a relay consists of.
struct Relay<T: Transport> {
    subscriber: T::Subscriber,
    publisher: T::Publisher,
}

impl<T: Transport> Relay<T> {
    fn new(transport: &T, options: &Options) -> Self {
        Self {
            subscriber: transport.subscriber(options).unwrap(),
            publisher: transport.publisher(options).unwrap(),
        }
    }

    /// Hands messages on, and subscriptions the other way, as long as `during` takes.
    fn run(mut self, during: impl FnOnce()) {
        let ended = AtomicBool::new(false);
        /// Ended by a panic too.
        struct End<'e>(&'e AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let mut forwarder = Forwarder::default();
        thread::scope(|scope| {
            let _end = End(&ended);
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let (inbound, outbound) = (&mut self.subscriber, &self.publisher);
                    let timeout = Duration::from_millis(5);
                    forwarder.pass(inbound, outbound, timeout).unwrap();
                }
            });
            during();
        });
    }
}

fn as_frame(bytes: &[u8]) -> (u8, Vec<u8>) {
    (bytes[0], bytes[2..].to_vec())
}
