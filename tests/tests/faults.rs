//! What networks and peers do to a bus: nothing hangs, nothing leaks, nothing arrives twice or in
//! another order, and what is lost is what PUB and SUB may lose.
//!
//! These tests count what their process has, and some take most of it: one after the other.

use std::{
    collections::HashSet,
    net::TcpStream,
    slice,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use fedmsg::transport::{
    Endpoint, Options, Publisher, Replier, Requester, Subscriber, Transport, native::Native,
    zmq::Zmq,
};
use fedmsg_tests::{
    Ours, PATIENCE, address, eventually, for_transports, loopback, meet,
    monitor::{Heard, Told},
    next,
    process::{
        alone, assert_grown_by_less_than, descriptor_limits, descriptors, ran_elsewhere, resident,
        threads,
    },
    proxy::Proxy,
    raw::{self, Raw},
};

for_transports!(
    a_connection_may_be_cut_frozen_and_reset_at_any_time,
    a_publisher_may_be_restarted_a_hundred_times,
    a_storm_of_connections_disturbs_nobody,
    peers_of_a_byte_now_and_then_disturb_nobody,
    sockets_that_are_closed_leave_nothing_behind,
);

/// Both are to notice a silent connection, and to make a new one, without delay.
fn watchful() -> Options {
    Options {
        heartbeat: Some(Duration::from_millis(50)),
        heartbeat_timeout: Duration::from_millis(200),
        reconnect: Duration::from_millis(5),
        reconnect_max: Duration::from_millis(20),
        ..Options::default()
    }
}

fn a_connection_may_be_cut_frozen_and_reset_at_any_time<T: Ours>(transport: &T) {
    let _alone = alone();
    a_flow_with_faults(transport, &Native);
    a_flow_with_faults(transport, &Zmq);
    if !T::LIBZMQ {
        a_flow_with_faults(&Zmq, transport);
    }
}

fn a_flow_with_faults<P: Ours, S: Ours>(publishers: &P, subscribers: &S) {
    for publisher_binds in [true, false] {
        let publisher = publishers.publisher(&watchful()).unwrap();
        let mut subscriber = subscribers.subscriber(&watchful()).unwrap();
        subscriber.subscribe(b"org").unwrap();
        let proxy = if publisher_binds {
            let proxy = Proxy::to(&publisher.bind(&loopback()).unwrap(), 1 << 16);
            subscriber.connect(proxy.endpoint()).unwrap();
            proxy
        } else {
            let proxy = Proxy::to(&subscriber.bind(&loopback()).unwrap(), 1 << 16);
            publisher.connect(proxy.endpoint()).unwrap();
            proxy
        };
        let (mut sent, mut last, mut seen) = (0_u32, None, HashSet::new());
        // Some of it small, some larger than what one read takes.
        let mut send = || {
            let body = vec![b'x'; if sent.is_multiple_of(7) { 300_000 } else { 300 }];
            publisher
                .send(b"org", &[&sent.to_be_bytes(), &body])
                .unwrap();
            sent += 1;
            sent - 1
        };
        let mut receive = |timeout| {
            while let Some(message) = subscriber.recv(timeout).unwrap() {
                let (topic, body) = message.topic_and_body().unwrap();
                assert_eq!(topic, b"org");
                let (number, body) = body.split_at(4);
                let number = u32::from_be_bytes(number.try_into().unwrap());
                assert!(seen.insert(number), "{number} twice");
                // A bound subscriber does not know that two connections are one publisher's, and
                // the first may not be at its end when the next is there.
                assert!(
                    !publisher_binds || last < Some(number),
                    "{number} after {last:?}"
                );
                last = last.max(Some(number));
                let len = if number.is_multiple_of(7) {
                    300_000
                } else {
                    300
                };
                assert!(body.len() == len && body.iter().all(|byte| *byte == b'x'));
            }
            last
        };
        for round in 0..6 {
            let first = send();
            eventually("it goes on", || {
                send();
                receive(Duration::from_millis(2)) > Some(first)
            });
            for _ in 0..50 {
                send();
            }
            match round % 3 {
                0 => proxy.cut(),
                1 => proxy.reset(),
                _ => proxy.freeze(),
            }
            for _ in 0..50 {
                send();
            }
        }
        let first = send();
        eventually("it goes on", || {
            send();
            receive(Duration::from_millis(2)) > Some(first)
        });
        assert!(proxy.connections() > 6, "{}", proxy.connections());
        eventually("those that are gone are forgotten", || {
            publisher.subscribers().unwrap() == 1
        });
    }
}

fn a_publisher_may_be_restarted_a_hundred_times<T: Ours>(transport: &T) {
    let _alone = alone();
    restarted(transport, &Native);
    restarted(transport, &Zmq);
    if !T::LIBZMQ {
        restarted(&Zmq, transport);
    }
}

fn restarted<P: Ours, S: Ours>(publishers: &P, subscribers: &S) {
    let options = Options {
        reconnect: Duration::from_millis(1),
        reconnect_max: Duration::from_millis(10),
        ..Options::default()
    };
    let mut subscriber = subscribers.subscriber(&options).unwrap();
    subscriber.subscribe(b"org").unwrap();
    let endpoint = Raw::listen().1;
    subscriber.connect(&endpoint).unwrap();
    let (mut last, mut measure) = ((0, 0), (0, 0, 0));
    for round in 1..=100_u32 {
        let publisher = publishers.publisher(&options).unwrap();
        eventually("the address is free again", || {
            publisher.bind(&endpoint).is_ok()
        });
        let mut sent = 0_u32;
        eventually("it is found again", || {
            // It is ended with more on the way than what is waited for.
            for _ in 0..3 {
                let number = [round.to_be_bytes(), sent.to_be_bytes()].concat();
                publisher.send(b"org", &[&number]).unwrap();
                sent += 1;
            }
            while let Some(message) = subscriber.recv(Duration::from_millis(1)).unwrap() {
                let (_, body) = message.topic_and_body().unwrap();
                let [a, b] = [&body[..4], &body[4..]]
                    .map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
                assert!(last < (a, b), "{:?} after {last:?}", (a, b));
                last = (a, b);
            }
            last.0 == round
        });
        drop(publisher);
        if round == 20 {
            measure = (descriptors(), threads(), resident());
        }
    }
    eventually("the publishers' descriptors and threads are gone", || {
        // The subscriber may be about to connect.
        descriptors() <= measure.0 + 1 && threads() <= measure.1
    });
    // libzmq's heap grows a little on and on.
    assert_grown_by_less_than(8 << 20, measure.2);
}

fn a_storm_of_connections_disturbs_nobody<T: Ours>(transport: &T) {
    const STORMS: u32 = 6;
    const ROUNDS: u32 = 150;
    let _alone = alone();
    let publisher = transport.publisher(&Options::default()).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut good = transport.subscriber(&Options::default()).unwrap();
    good.connect(&endpoint).unwrap();
    good.subscribe(b"org").unwrap();
    meet(&publisher, slice::from_mut(&mut good));
    let mut measure = (0, 0);
    for time in 0..2 {
        let storms = AtomicU32::new(STORMS);
        thread::scope(|scope| {
            for storm in 0..STORMS {
                let (storms, endpoint) = (&storms, &endpoint);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        visit(endpoint, storm + round);
                    }
                    storms.fetch_sub(1, Ordering::Relaxed);
                });
            }
            let mut number = 0_u32;
            while storms.load(Ordering::Relaxed) > 0 {
                publisher
                    .send(b"org", &[&number.to_be_bytes(), &[0; 1000]])
                    .unwrap();
                assert_eq!(next(&mut good).1[..4], number.to_be_bytes());
                number += 1;
            }
            assert!(number > 0);
        });
        eventually("they are all forgotten", || {
            publisher.subscribers().unwrap() == 1
        });
        if time == 0 {
            measure = (threads(), resident());
        }
    }
    assert_eq!(threads(), measure.0);
    let limit = if T::LIBZMQ { 16 << 20 } else { 2 << 20 };
    assert_grown_by_less_than(limit, measure.1);
}

/// Comes, does one of several things, and goes.
fn visit(endpoint: &Endpoint, what: u32) {
    let mut peer = Raw::connect(endpoint);
    match what % 5 {
        // Not a word.
        0 => {}
        1 => peer.try_send(&raw::greeting(1)),
        2 => peer.try_send(&[&raw::greeting(1)[..], &raw::ready("SUB")].concat()),
        3 => {
            // Gone with messages on their way to it.
            peer.handshake(1, "SUB");
            peer.send(&raw::subscribe(b"org"));
            peer.read(1);
        }
        _ => {
            peer.handshake(1, "SUB");
            peer.send(&raw::subscribe(&what.to_be_bytes()));
            peer.ping();
        }
    }
}

fn peers_of_a_byte_now_and_then_disturb_nobody<T: Ours>(transport: &T) {
    let _alone = alone();
    let memory = resident();
    let options = Options {
        high_water_mark: 100,
        ..Options::default()
    };
    let publisher = transport.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut good = transport.subscriber(&options).unwrap();
    good.connect(&endpoint).unwrap();
    good.subscribe(b"org").unwrap();
    meet(&publisher, slice::from_mut(&mut good));
    thread::scope(|scope| {
        // One byte of a handshake, of a subscription, or of a message, then a pause.
        let slowly = scope.spawn(|| {
            let hello = [
                &raw::greeting(1)[..],
                &raw::ready("SUB"),
                &raw::subscribe(b"org"),
            ]
            .concat();
            let mut peers: Vec<_> = (0..60).map(|_| Raw::connect(&endpoint)).collect();
            for peer in peers.iter_mut().step_by(2) {
                peer.handshake(1, "SUB");
                peer.send(&raw::subscribe(b"org"));
            }
            for round in 0..400 {
                for (n, peer) in peers.iter_mut().enumerate() {
                    if n % 2 == 1 && round < hello.len() {
                        peer.try_send(&hello[round..=round]);
                    } else {
                        peer.read(1);
                    }
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        for number in 0_u32.. {
            publisher
                .send(b"org", &[&number.to_be_bytes(), &[0; 100_000]])
                .unwrap();
            assert_eq!(next(&mut good).1[..4], number.to_be_bytes());
            if slowly.is_finished() {
                break;
            }
        }
    });
    // libzmq keeps for each what it has not read.
    if !T::LIBZMQ {
        assert_grown_by_less_than(128 << 20, memory);
    }
    eventually("they are all forgotten", || {
        publisher.subscribers().unwrap() == 1
    });
}

fn sockets_that_are_closed_leave_nothing_behind<T: Ours>(transport: &T) {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut before = (0, 0, 0);
    for round in 0..60 {
        if round == 10 {
            before = (descriptors(), threads(), resident());
        }
        let ipc = |name| Endpoint::ipc(dir.path().join(name));
        let publisher = transport.publisher(&Options::default()).unwrap();
        let mut subscriber = transport.subscriber(&Options::default()).unwrap();
        for endpoint in [loopback(), ipc("pub")] {
            subscriber
                .connect(&publisher.bind(&endpoint).unwrap())
                .unwrap();
        }
        for endpoint in [loopback(), ipc("sub")] {
            publisher
                .connect(&subscriber.bind(&endpoint).unwrap())
                .unwrap();
        }
        // And one that nobody listens on.
        subscriber.connect(&ipc("nobody")).unwrap();
        let mut replier = transport.replier(&Options::default()).unwrap();
        let mut requester = transport.requester(&Options::default()).unwrap();
        for endpoint in [loopback(), ipc("rep")] {
            let endpoint = replier.bind(&endpoint).unwrap();
            requester.connect(&endpoint).unwrap();
        }
        if round % 2 == 0 {
            // In the middle of it.
            meet(&publisher, slice::from_mut(&mut subscriber));
            thread::scope(|scope| {
                scope.spawn(|| {
                    replier.recv(PATIENCE).unwrap().expect("a question");
                    replier.reply(&[b"answer"]).unwrap();
                });
                let answer =
                    fedmsg::transport::Requester::request(&mut requester, &[b"question"], PATIENCE);
                assert!(answer.unwrap().is_some());
            });
            publisher.send(b"org", &[&[0; 100_000]]).unwrap();
        }
        if round % 3 == 0 {
            drop((subscriber, requester, replier));
            publisher.close().unwrap();
        } else {
            drop((publisher, requester));
            drop((subscriber, replier));
        }
    }
    eventually("descriptors and threads are gone", || {
        (descriptors(), threads()) == (before.0, before.1)
    });
    // libzmq leaves its files.
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(T::LIBZMQ || files == 0, "{files} files stay");
    let limit = if T::LIBZMQ { 16 << 20 } else { 2 << 20 };
    assert_grown_by_less_than(limit, before.2);
}

// libzmq has no limit of connections.

#[test]
fn ten_thousand_silent_peers_are_bounded_and_keep_nobody_out() {
    let _alone = alone();
    // The silent peers have a descriptor each, and so have the connections that are served.
    let wanted = 16_000;
    let [now, most] = descriptor_limits();
    let name = "ten_thousand_silent_peers_are_bounded_and_keep_nobody_out";
    if now < wanted && now < most && ran_elsewhere(name, most.min(wanted)) {
        return;
    }
    let descriptors_for_all = descriptor_limits()[0].min(wanted);
    let silent = 10_000.min(descriptors_for_all * 5 / 8);
    let max_connections = silent / 5;
    println!("{silent} silent peers, {max_connections} connections");

    let heard = Heard::default();
    let options = Options {
        max_connections,
        monitor: Some(heard.monitor()),
        ..Options::default()
    };
    let (before, memory) = (descriptors(), resident());
    let publisher = Native.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut good = Native.subscriber(&Options::default()).unwrap();
    good.connect(&endpoint).unwrap();
    good.subscribe(b"org").unwrap();
    meet(&publisher, slice::from_mut(&mut good));
    let mut peers = Vec::new();
    for number in 0..silent as u32 {
        let peer = TcpStream::connect(address(&endpoint)).unwrap();
        peers.push(peer);
        if number % 50 == 0 {
            publisher.send(b"org", &[&number.to_be_bytes()]).unwrap();
            assert_eq!(next(&mut good).1, number.to_be_bytes());
        }
    }
    // The oldest gave way, each for one newcomer.
    let gave_way = |told: &Told| matches!(told, Told::HandshakeFailed(..));
    let expected = silent + 1 - max_connections;
    eventually("the others have given way", || {
        heard.count(gave_way) == expected
    });
    for peer in peers.iter_mut().take(silent - max_connections) {
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        while !matches!(std::io::Read::read(peer, &mut [0; 64]), Ok(0)) {}
    }
    assert!(descriptors() - before < silent + max_connections + 50);
    assert_grown_by_less_than(64 << 20, memory);

    // Whoever comes now finds room, and who was there still has theirs.
    let mut late = Native.subscriber(&Options::default()).unwrap();
    late.connect(&endpoint).unwrap();
    late.subscribe(b"org").unwrap();
    let mut late_zmq = Zmq.subscriber(&Options::default()).unwrap();
    late_zmq.connect(&endpoint).unwrap();
    late_zmq.subscribe(b"org").unwrap();
    meet(&publisher, slice::from_mut(&mut late));
    meet(&publisher, slice::from_mut(&mut late_zmq));
    assert_eq!(publisher.subscribers().unwrap(), 3);
    publisher.send(b"org", &[b"to all"]).unwrap();
    assert_eq!(next(&mut good).1, b"to all");
    assert_eq!(next(&mut late).1, b"to all");
    assert_eq!(next(&mut late_zmq).1, b"to all");
    assert_eq!(heard.count(|told| matches!(told, Told::NotAccepted(..))), 0);
    assert_eq!(heard.count(|told| matches!(told, Told::Ended(..))), 0);
    drop(peers);
    drop((good, late, late_zmq, publisher));
    eventually("every descriptor is closed", || descriptors() <= before);
}

#[test]
fn silent_peers_keep_nobody_out_of_bound_subscribers_and_repliers() {
    let _alone = alone();
    let options = Options {
        max_connections: 20,
        ..Options::default()
    };
    let silent = |endpoint: &Endpoint| {
        let connect = |_| TcpStream::connect(address(endpoint)).unwrap();
        (0..200).map(connect).collect::<Vec<_>>()
    };
    let mut subscriber = Native.subscriber(&options).unwrap();
    let endpoint = subscriber.bind(&loopback()).unwrap();
    let _silent = silent(&endpoint);
    let publisher = Native.publisher(&Options::default()).unwrap();
    publisher.connect(&endpoint).unwrap();
    meet(&publisher, slice::from_mut(&mut subscriber));

    let mut replier = Native.replier(&options).unwrap();
    let endpoint = replier.bind(&loopback()).unwrap();
    let _silent = silent(&endpoint);
    let mut client = Raw::connect(&endpoint);
    client.send(&raw::greeting(1));
    client.send(&raw::ready("REQ"));
    client.send(&raw::message(&[b"", b"question"]));
    assert!(replier.recv(PATIENCE).unwrap().is_some());
    replier.reply(&[b"answer"]).unwrap();
    client.read(64);
    client.read_frame();
    client.read_frame();
    assert_eq!(client.read_frame(), (0, b"answer".to_vec()));
}

#[test]
fn a_process_out_of_descriptors_says_so_and_goes_on_when_it_has_some() {
    let _alone = alone();
    let name = "a_process_out_of_descriptors_says_so_and_goes_on_when_it_has_some";
    if ran_elsewhere(name, 100) {
        return;
    }
    let heard = Heard::default();
    let options = Options {
        monitor: Some(heard.monitor()),
        ..Options::default()
    };
    let publisher = Native.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut good = Native.subscriber(&Options::default()).unwrap();
    good.connect(&endpoint).unwrap();
    meet(&publisher, slice::from_mut(&mut good));
    let mut peers = Vec::new();
    // The publisher has no descriptor for the last of them.
    while let Ok(peer) = TcpStream::connect(address(&endpoint)) {
        peers.push(peer);
    }
    let not_accepted = |told: &Told| match told {
        Told::NotAccepted(at, reason) => {
            assert_eq!(*at, endpoint.to_string());
            reason.contains("open files")
        }
        _ => false,
    };
    eventually("it is told", || heard.count(not_accepted) > 0);
    // Who is there is served.
    meet(&publisher, slice::from_mut(&mut good));
    // What needs another descriptor is an error, or tried again.
    let refused = Native.publisher(&Options::default());
    assert!(refused.is_err());
    good.connect(&Endpoint::tcp("127.0.0.1", 1)).unwrap();
    drop(peers);
    let mut late = Native.subscriber(&Options::default()).unwrap();
    late.connect(&endpoint).unwrap();
    meet(&publisher, slice::from_mut(&mut late));
}
