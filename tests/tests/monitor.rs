//! What a native socket tells of its connections. libzmq's tell nothing.

use std::{net::Shutdown, slice, time::Duration};

use fedmsg::transport::{
    Endpoint, Options, Publisher, Replier, Requester, Subscriber, Transport, native::Native,
};
use fedmsg_tests::{
    eventually, loopback, meet,
    monitor::{Heard, Told},
    raw::{self, Raw},
};
use tempfile::TempDir;

fn told(heard: &Heard) -> Options {
    Options {
        monitor: Some(heard.monitor()),
        ..Options::default()
    }
}

#[test]
fn both_sides_hear_of_connections_made_and_ended_and_made_again() {
    let dir = TempDir::new().unwrap();
    for endpoint in [loopback(), Endpoint::ipc(dir.path().join("bus"))] {
        let (at_publisher, at_subscriber) = (Heard::default(), Heard::default());
        let publisher = Native.publisher(&told(&at_publisher)).unwrap();
        let endpoint = publisher.bind(&endpoint).unwrap();
        let mut subscriber = Native.subscriber(&told(&at_subscriber)).unwrap();
        subscriber.connect(&endpoint).unwrap();
        meet(&publisher, slice::from_mut(&mut subscriber));
        let connected = Told::Connected(endpoint.to_string());
        assert_eq!(at_subscriber.all(), slice::from_ref(&connected));
        let [Told::Connected(peer)] = &at_publisher.all()[..] else {
            panic!("{at_publisher:?}");
        };
        match endpoint {
            Endpoint::Tcp { .. } => assert!(peer.contains("127.0.0.1:"), "{peer}"),
            Endpoint::Ipc(_) => assert!(peer.contains(&endpoint.to_string()), "{peer}"),
        }

        drop(publisher);
        let ended = |told: &Told| match told {
            Told::Ended(peer, reason) => {
                assert_eq!(*peer, endpoint.to_string());
                assert!(!reason.is_empty());
                true
            }
            _ => false,
        };
        // That it ended, and that it could not be made again.
        eventually("it is told", || at_subscriber.count(ended) >= 2);
        let publisher = Native.publisher(&told(&at_publisher)).unwrap();
        publisher.bind(&endpoint).unwrap();
        meet(&publisher, slice::from_mut(&mut subscriber));
        assert_eq!(at_subscriber.count(|told| *told == connected), 2);
        drop(subscriber);
        eventually("it is told", || {
            matches!(at_publisher.all().last(), Some(Told::Ended(..)))
        });
    }
}

#[test]
fn questions_have_their_notices_too() {
    let (at_replier, at_requester) = (Heard::default(), Heard::default());
    let mut replier = Native.replier(&told(&at_replier)).unwrap();
    let endpoint = replier.bind(&loopback()).unwrap();
    let mut requester = Native.requester(&told(&at_requester)).unwrap();
    requester.connect(&endpoint).unwrap();
    let none = requester.request(&[b"?"], Duration::from_millis(300));
    assert_eq!(none.unwrap(), None);
    // A question without an answer costs the connection.
    let [Told::Connected(_), Told::Ended(peer, reason)] = &at_requester.all()[..] else {
        panic!("{at_requester:?}");
    };
    assert_eq!(*peer, endpoint.to_string());
    assert!(reason.contains("answer"), "{reason}");
    eventually("it is told", || {
        at_replier.count(|told| matches!(told, Told::Ended(..))) >= 1
    });
}

/// What a peer says in its handshake, and what its reason names.
fn failing(theirs: &'static str) -> Vec<(Vec<u8>, &'static str)> {
    let greeting = raw::greeting(1);
    let plain = {
        let mut plain = greeting;
        plain[12..17].copy_from_slice(b"PLAIN");
        plain
    };
    let old = [&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1, 1][..], &[0; 52]].concat();
    let error = raw::frame(raw::COMMAND, b"\x05ERROR\x03why");
    let early = raw::subscribe(b"org");
    let after = |bytes: &[u8]| [&greeting, bytes].concat();
    vec![
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "not a ZMTP peer"),
        (old, "ZMTP 2"),
        (plain.to_vec(), "PLAIN"),
        (after(&raw::ready(theirs)), theirs),
        (after(&error), "why"),
        (after(&early), "before READY"),
        (after(b"\x04\x20\x05READY\xff"), "READY"),
        // Silent from the beginning, and later.
        (vec![], "timed out"),
        (greeting.to_vec(), "timed out"),
    ]
}

#[test]
fn a_failed_handshake_is_told_with_its_reason_once_and_is_no_connection() {
    let timeout = Duration::from_millis(200);
    for (bytes, expected) in failing("PUB") {
        let heard = Heard::default();
        let options = Options {
            handshake_timeout: timeout,
            ..told(&heard)
        };
        let publisher = Native.publisher(&options).unwrap();
        let mut peer = Raw::connect(&publisher.bind(&loopback()).unwrap());
        let name = peer.stream().local_addr().unwrap().to_string();
        peer.try_send(&bytes);
        peer.expect_closed();
        eventually("it is told", || !heard.all().is_empty());
        assert_failed(&heard.all(), &name, expected, &bytes);
    }
    for (bytes, expected) in failing("SUB") {
        let heard = Heard::default();
        let options = Options {
            handshake_timeout: timeout,
            // Not again during this test.
            reconnect: Duration::from_secs(3600),
            reconnect_max: Duration::from_secs(3600),
            ..told(&heard)
        };
        let (listener, endpoint) = Raw::listen();
        let mut subscriber = Native.subscriber(&options).unwrap();
        subscriber.connect(&endpoint).unwrap();
        let mut peer = Raw::accept(&listener);
        peer.try_send(&bytes);
        peer.expect_closed();
        eventually("it is told", || !heard.all().is_empty());
        assert_failed(&heard.all(), &endpoint.to_string(), expected, &bytes);
    }
}

#[track_caller]
fn assert_failed(all: &[Told], name: &str, expected: &str, bytes: &[u8]) {
    let [Told::HandshakeFailed(peer, reason)] = all else {
        panic!("{expected}, {bytes:?}: {all:?}");
    };
    assert!(peer.contains(name), "{peer}");
    assert!(reason.contains(expected), "{reason}, not {expected}");
}

#[test]
fn a_peer_that_leaves_in_the_middle_of_its_handshake_is_told_once() {
    let heard = Heard::default();
    let publisher = Native.publisher(&told(&heard)).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let greeting = raw::greeting(1);
    for (n, bytes) in [&[][..], &greeting[..5], &greeting].iter().enumerate() {
        let mut peer = Raw::connect(&endpoint);
        peer.send(bytes);
        drop(peer);
        eventually("it is told", || heard.all().len() == n + 1);
    }
    assert_eq!(heard.count(|told| matches!(told, Told::Connected(_))), 0);
}

#[test]
fn the_end_of_a_connection_has_its_reason() {
    let heard = Heard::default();
    let options = Options {
        max_message: 1000,
        heartbeat: Some(Duration::from_millis(200)),
        heartbeat_timeout: Duration::from_millis(200),
        ..told(&heard)
    };
    let mut subscriber = Native.subscriber(&options).unwrap();
    let endpoint = subscriber.bind(&loopback()).unwrap();
    let mut told_before = 0;
    let mut ends = |what: &str, expected: &str, end: &mut dyn FnMut(Raw)| {
        let mut peer = Raw::connect(&endpoint);
        let name = peer.stream().local_addr().unwrap().to_string();
        peer.handshake(1, "PUB");
        eventually("it is connected", || heard.all().len() == told_before + 1);
        end(peer);
        eventually(what, || heard.all().len() == told_before + 2);
        let all = heard.all();
        let [Told::Connected(connected), Told::Ended(peer, reason)] = &all[told_before..] else {
            panic!("{what}: {all:?}");
        };
        assert_eq!(connected, peer);
        assert!(peer.contains(&name), "{what}: {peer}");
        assert!(reason.contains(expected), "{what}: {reason}");
        told_before += 2;
    };
    ends("a peer that goes", "closed", &mut drop);
    ends("a peer that says its last", "closed", &mut |mut peer| {
        peer.stream().shutdown(Shutdown::Write).unwrap();
        peer.expect_closed();
    });
    ends("a large message", "limit of 1000", &mut |mut peer| {
        peer.try_send(&raw::message(&[b"org", &[b'x'; 5000]]));
        peer.expect_closed();
    });
    ends("a silent peer", "silent", &mut |mut peer| {
        peer.expect_closed();
    });
}

#[test]
fn a_publisher_that_cannot_be_reached_is_told_of_each_time() {
    let heard = Heard::default();
    let options = Options {
        reconnect: Duration::from_millis(5),
        reconnect_max: Duration::from_millis(5),
        ..told(&heard)
    };
    let mut subscriber = Native.subscriber(&options).unwrap();
    let nobody = Raw::listen().1;
    let nowhere: Endpoint = "tcp://nobody.invalid:9940".parse().unwrap();
    subscriber.connect(&nobody).unwrap();
    subscriber.connect(&nowhere).unwrap();
    for endpoint in [nobody, nowhere] {
        eventually("it is told, and told again", || {
            heard.count(|told| matches!(told, Told::Ended(peer, reason) if *peer == endpoint.to_string() && !reason.is_empty())) >= 2
        });
    }
    assert_eq!(heard.count(|told| !matches!(told, Told::Ended(..))), 0);
}

#[test]
fn a_full_table_turns_newcomers_away_and_says_so() {
    let heard = Heard::default();
    let options = Options {
        max_connections: 2,
        ..told(&heard)
    };
    let publisher = Native.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut served = [(); 2].map(|()| {
        let mut peer = Raw::connect(&endpoint);
        peer.handshake(1, "SUB");
        peer.send(&raw::subscribe(b"org"));
        peer.ping();
        peer
    });
    let turned_away = |told: &Told| match told {
        Told::NotAccepted(at, reason) => {
            assert_eq!(*at, endpoint.to_string());
            assert!(reason.contains('2'), "{reason}");
            true
        }
        _ => false,
    };
    let mut third = Raw::connect(&endpoint);
    third.expect_closed();
    eventually("it is told", || heard.count(turned_away) == 1);
    // Those who were there are served, and their places are given to others.
    publisher.send(b"org", &[b"1"]).unwrap();
    for peer in &mut served {
        peer.read_frame();
        assert_eq!(peer.read_frame(), (0, b"1".to_vec()));
    }
    drop(served);
    eventually("there is room", || publisher.subscribers().unwrap() == 0);
    let mut subscriber = Native.subscriber(&Options::default()).unwrap();
    subscriber.connect(&endpoint).unwrap();
    meet(&publisher, slice::from_mut(&mut subscriber));
}
