//! What peers may cost, and that it is given back when they are gone. These tests count their
//! process's file descriptors and memory, so they run one after the other.

use std::{
    io::{Read, Write},
    net::TcpStream,
    slice,
    time::Duration,
};

use fedmsg::transport::{
    Endpoint, Options, Publisher, Subscriber, Transport, native::Native, zmq::Zmq,
};
use fedmsg_tests::{
    Ours, address, eventually, loopback, meet, next,
    process::{alone, assert_grown_by_less_than, descriptors, resident, threads},
    random::Random,
    raw::{self, Raw},
};

#[test]
fn thousands_of_connections_leave_nothing_behind() {
    let _alone = alone();
    leaves_nothing_behind(&Native);
    leaves_nothing_behind(&Zmq);
}

fn leaves_nothing_behind<T: Ours>(transport: &T) {
    let before = (descriptors(), threads());
    let publisher = transport.publisher(&Options::default()).unwrap();
    let mut subscriber = transport.subscriber(&Options::default()).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let from = transport.publisher(&Options::default()).unwrap();
    let bound = subscriber.bind(&loopback()).unwrap();
    subscriber.subscribe(b"org").unwrap();
    from.connect(&bound).unwrap();
    let mut to = transport.subscriber(&Options::default()).unwrap();
    to.connect(&endpoint).unwrap();
    to.subscribe(b"org").unwrap();
    meet(&from, slice::from_mut(&mut subscriber));
    meet(&publisher, slice::from_mut(&mut to));

    // The first rounds are the measure: they fill what is kept for later.
    let mut measure = (0, 0);
    for round in 0..6 {
        visit(&endpoint, "SUB", 500);
        visit(&bound, "PUB", 500);
        // The good peers go on.
        publisher.send(b"org", &[b"1"]).unwrap();
        assert_eq!(next(&mut to).1, b"1");
        from.send(b"org", &[b"2"]).unwrap();
        while next(&mut subscriber).1 != b"2" {}
        eventually("the visitors are gone", || {
            publisher.subscribers().unwrap() == 1
        });
        if round == 1 {
            measure = (descriptors(), resident());
        }
    }
    eventually("the visitors' descriptors are closed", || {
        descriptors() <= measure.0
    });
    // For 4000 connections. libzmq's heap grows a little on and on.
    let limit = if T::LIBZMQ { 32 << 20 } else { 2 << 20 };
    assert_grown_by_less_than(limit, measure.1);

    publisher.close().unwrap();
    from.close().unwrap();
    drop((publisher, from, subscriber, to));
    eventually("every descriptor and thread is gone", || {
        (descriptors(), threads()) == before
    });
}

/// Garbage, silence, and well-behaved peers in turn, some of which leave without a word.
fn visit(endpoint: &Endpoint, socket_type: &str, count: usize) {
    let mut random = Random(count as u64);
    for i in 0..count {
        if i % 4 == 3 {
            let mut peer = Raw::connect(endpoint);
            peer.handshake(1, socket_type);
            if socket_type == "SUB" {
                peer.send(&raw::subscribe(&random.bits().to_be_bytes()));
            } else {
                peer.send(&raw::message(&[b"org", b"from a visitor"]));
            }
            continue;
        }
        let mut peer = TcpStream::connect(address(endpoint)).unwrap();
        let garbage: Vec<u8> = (0..random.below(200))
            .map(|_| random.bits() as u8)
            .collect();
        // It may be closed on at the first byte.
        let _ = peer.write_all(&garbage);
        if i % 4 == 0 {
            let _ = peer.read(&mut [0; 10]);
        }
    }
}

// libzmq has no limits of these kinds.

#[test]
fn a_flood_of_subscriptions_ends_its_connection_only() {
    let _alone = alone();
    let publisher = Native.publisher(&Options::default()).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut good = Native.subscriber(&Options::default()).unwrap();
    good.connect(&endpoint).unwrap();
    good.subscribe(b"org").unwrap();
    meet(&publisher, slice::from_mut(&mut good));
    let memory = resident();
    let mut client = Raw::connect(&endpoint);
    client.handshake(1, "SUB");
    let mut sent = 0;
    for i in 0_u32.. {
        let subscriptions = (0..1000_u32).flat_map(|j| {
            raw::subscribe(&[&i.to_be_bytes(), &j.to_be_bytes(), &[b'x'; 100][..]].concat())
        });
        let subscriptions: Vec<u8> = subscriptions.collect();
        if client.stream().write_all(&subscriptions).is_err() {
            break;
        }
        sent += subscriptions.len();
        assert!(sent < 64 << 20, "it goes on and on");
    }
    publisher.send(b"org", &[b"1"]).unwrap();
    assert_eq!(next(&mut good).1, b"1");
    assert_grown_by_less_than(16 << 20, memory);
}

#[test]
fn endless_messages_take_no_more_than_the_longest_allowed() {
    let _alone = alone();
    let options = Options {
        max_message: 1 << 20,
        ..Options::default()
    };
    let mut subscriber = Native.subscriber(&options).unwrap();
    let publisher = Native.publisher(&options).unwrap();
    let at_subscriber = subscriber.bind(&loopback()).unwrap();
    let at_publisher = publisher.bind(&loopback()).unwrap();
    let frames = raw::frame(raw::MORE, &[b'x'; 1000]).repeat(1000);
    let memory = resident();

    let mut peer = Raw::connect(&at_subscriber);
    peer.handshake(1, "PUB");
    for _ in 0..100 {
        peer.try_send(&frames);
    }
    peer.expect_closed();

    // To a publisher messages mean nothing, however long.
    let mut peer = Raw::connect(&at_publisher);
    peer.handshake(1, "SUB");
    for _ in 0..100 {
        peer.send(&frames);
    }
    peer.send(&raw::frame(0, b""));
    peer.ping();
    assert_grown_by_less_than(16 << 20, memory);
}

#[test]
fn a_length_takes_no_memory_before_its_bytes_come() {
    let _alone = alone();
    let mut subscriber = Native.subscriber(&Options::default()).unwrap();
    let endpoint = subscriber.bind(&loopback()).unwrap();
    let memory = resident();
    let peers: Vec<_> = (0..100)
        .map(|_| {
            let mut peer = Raw::connect(&endpoint);
            peer.handshake(1, "PUB");
            peer.ping();
            // A message of 16 MB minus a little, which never comes.
            peer.send(&[raw::LONG, 0, 0, 0, 0, 0, 0xff, 0, 0, b'o', b'r', b'g']);
            peer
        })
        .collect();
    // What came after them on each connection has come.
    let good = Native.publisher(&Options::default()).unwrap();
    good.connect(&endpoint).unwrap();
    meet(&good, slice::from_mut(&mut subscriber));
    assert_grown_by_less_than(64 << 20, memory);
    drop(peers);
}

#[test]
fn subscribers_that_never_read_share_one_memory() {
    let _alone = alone();
    let options = Options {
        max_memory: 8 << 20,
        ..Options::default()
    };
    let publisher = Native.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let _deaf: Vec<_> = (0..30)
        .map(|_| {
            let mut peer = Raw::connect(&endpoint);
            peer.handshake(1, "SUB");
            peer.send(&raw::subscribe(b""));
            peer.ping();
            peer
        })
        .collect();
    let memory = resident();
    let body = [b'x'; 100_000];
    for _ in 0..2000 {
        publisher.send(b"org", &[&body]).unwrap();
    }
    assert_eq!(publisher.subscribers().unwrap(), 30);
    assert_grown_by_less_than(32 << 20, memory);
}

#[test]
fn a_subscriber_that_nobody_reads_from_stops_its_publisher() {
    let _alone = alone();
    let options = Options {
        max_memory: 8 << 20,
        ..Options::default()
    };
    let mut subscriber = Native.subscriber(&options).unwrap();
    let endpoint = subscriber.bind(&loopback()).unwrap();
    subscriber.subscribe(b"org").unwrap();
    let mut peer = Raw::connect(&endpoint);
    peer.handshake(1, "PUB");
    let memory = resident();
    let messages = raw::message(&[b"org", &[b'x'; 1000]]).repeat(1000);
    peer.stream()
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut sent = 0;
    while peer.stream().write_all(&messages).is_ok() {
        sent += messages.len();
        assert!(sent < 512 << 20, "it takes everything");
    }
    assert_grown_by_less_than(32 << 20, memory);
    // It goes on where it stopped.
    for _ in 0..10_000 {
        assert_eq!(next(&mut subscriber).1.len(), 1000);
    }
}
