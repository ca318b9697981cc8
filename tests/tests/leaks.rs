//! What peers cost is given back when they are gone: one test, alone in its process, as it counts
//! the process's file descriptors and memory.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    slice,
};

use fedmsg::transport::{Endpoint, Options, Publisher, Subscriber, native::Native, zmq::Zmq};
use fedmsg_tests::{
    Ours, eventually, loopback, meet, next,
    random::Random,
    raw::{self, Raw},
};

#[test]
fn thousands_of_connections_leave_nothing_behind() {
    leaves_nothing_behind(&Native);
    leaves_nothing_behind(&Zmq);
}

fn leaves_nothing_behind<T: Ours>(transport: &T) {
    let before = descriptors();
    let mut publisher = transport.publisher(&Options::default()).unwrap();
    let mut subscriber = transport.subscriber(&Options::default()).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut from = transport.publisher(&Options::default()).unwrap();
    let bound = subscriber.bind(&loopback()).unwrap();
    subscriber.subscribe(b"org").unwrap();
    from.connect(&bound).unwrap();
    let mut to = transport.subscriber(&Options::default()).unwrap();
    to.connect(&endpoint).unwrap();
    to.subscribe(b"org").unwrap();
    meet(&mut from, slice::from_mut(&mut subscriber));
    meet(&mut publisher, slice::from_mut(&mut to));

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
    let grown = resident().saturating_sub(measure.1);
    // libzmq's heap grows a little on and on.
    let limit = if T::LIBZMQ { 32 << 20 } else { 2 << 20 };
    assert!(grown < limit, "{grown} bytes more for 4000 connections");

    publisher.close();
    from.close();
    drop((subscriber, to));
    eventually("every descriptor is closed", || descriptors() == before);
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
        let mut peer = TcpStream::connect((endpoint.host(), endpoint.port())).unwrap();
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

fn descriptors() -> usize {
    // One of them is that of this listing.
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// The memory in use, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse::<usize>()
        .unwrap()
        << 10
}
