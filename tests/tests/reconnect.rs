//! Peers that are not there yet, that go, that are killed, and that come back.

use std::{
    net::Shutdown,
    slice, thread,
    time::{Duration, Instant},
};

use fedmsg::transport::{Options, Publisher, Subscriber, Transport};
use fedmsg_tests::{
    Ours, eventually, for_pairs, for_transports, loopback, meet, next,
    proxy::Proxy,
    raw::{self, Raw},
};

for_pairs!(
    a_subscriber_goes_on_when_its_publisher_is_killed_and_restarted,
    a_publisher_goes_on_when_its_subscriber_is_killed_and_restarted,
    subscribers_that_come_and_go_disturb_nobody,
    a_cut_connection_comes_back_with_its_subscriptions,
    either_side_may_come_first,
);

// A dropped socket of pyzmq is a process killed by SIGKILL.

fn a_subscriber_goes_on_when_its_publisher_is_killed_and_restarted<P: Transport, S: Transport>(
    publishers: &P,
    subscribers: &S,
) {
    let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
    subscriber.subscribe(b"org").unwrap();
    let mut endpoint = loopback();
    for i in 0..4_u8 {
        let publisher = publishers.publisher(&Options::default()).unwrap();
        if i == 0 {
            endpoint = publisher.bind(&endpoint).unwrap();
            subscriber.connect(&endpoint).unwrap();
        } else {
            eventually("the address is free again", || {
                publisher.bind(&endpoint).is_ok()
            });
        }
        meet(&publisher, slice::from_mut(&mut subscriber));
        publisher.send(b"org", &[&[i]]).unwrap();
        assert_eq!(next(&mut subscriber), (b"org".to_vec(), vec![i]));
    }
}

fn a_publisher_goes_on_when_its_subscriber_is_killed_and_restarted<P: Transport, S: Transport>(
    publishers: &P,
    subscribers: &S,
) {
    let publisher = publishers.publisher(&Options::default()).unwrap();
    let mut endpoint = loopback();
    for i in 0..4_u8 {
        let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
        subscriber.subscribe(b"org").unwrap();
        if i == 0 {
            endpoint = subscriber.bind(&endpoint).unwrap();
            publisher.connect(&endpoint).unwrap();
        } else {
            eventually("the address is free again", || {
                subscriber.bind(&endpoint).is_ok()
            });
        }
        meet(&publisher, slice::from_mut(&mut subscriber));
        publisher.send(b"org", &[&[i]]).unwrap();
        assert_eq!(next(&mut subscriber), (b"org".to_vec(), vec![i]));
    }
}

fn subscribers_that_come_and_go_disturb_nobody<P: Transport, S: Transport>(
    publishers: &P,
    subscribers: &S,
) {
    let publisher = publishers.publisher(&Options::default()).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let subscribe = || {
        let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
        subscriber.connect(&endpoint).unwrap();
        subscriber.subscribe(b"org").unwrap();
        subscriber
    };
    let mut stays = subscribe();
    meet(&publisher, slice::from_mut(&mut stays));
    for i in 0..10_u8 {
        let mut goes = subscribe();
        meet(&publisher, slice::from_mut(&mut goes));
        // With messages on their way to it.
        for _ in 0..20 {
            publisher.send(b"org", &[&[i], &[0; 10_000]]).unwrap();
        }
        assert_eq!(next(&mut goes).1[0], i);
        drop(goes);
        for _ in 0..20 {
            let (_, body) = next(&mut stays);
            assert_eq!((body[0], body.len()), (i, 10_001));
        }
    }
}

fn a_cut_connection_comes_back_with_its_subscriptions<P: Transport, S: Transport>(
    publishers: &P,
    subscribers: &S,
) {
    let publisher = publishers.publisher(&Options::default()).unwrap();
    // Byte by byte, for once with real peers.
    let proxy = Proxy::to(&publisher.bind(&loopback()).unwrap(), 1);
    let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
    subscriber.subscribe(b"org.a").unwrap();
    subscriber.subscribe(b"org.b").unwrap();
    subscriber.connect(proxy.endpoint()).unwrap();
    for i in 0..3_u8 {
        meet(&publisher, slice::from_mut(&mut subscriber));
        publisher.send(b"org.c", &[&[i]]).unwrap();
        publisher.send(b"org.a", &[&[i]]).unwrap();
        publisher.send(b"org.b", &[&[i], &[0; 300]]).unwrap();
        assert_eq!(next(&mut subscriber), (b"org.a".to_vec(), vec![i]));
        assert_eq!(next(&mut subscriber).1.len(), 301);
        proxy.cut();
    }
    assert!(proxy.connections() >= 3);
}

fn either_side_may_come_first<P: Transport, S: Transport>(publishers: &P, subscribers: &S) {
    // A free port of a moment ago.
    let free = || Raw::listen().1;

    let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
    let endpoint = free();
    subscriber.connect(&endpoint).unwrap();
    thread::sleep(Duration::from_millis(50));
    let publisher = publishers.publisher(&Options::default()).unwrap();
    publisher.bind(&endpoint).unwrap();
    meet(&publisher, slice::from_mut(&mut subscriber));

    let publisher = publishers.publisher(&Options::default()).unwrap();
    let endpoint = free();
    publisher.connect(&endpoint).unwrap();
    publisher.send(b"lost", &[b"nobody is there"]).unwrap();
    thread::sleep(Duration::from_millis(50));
    let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
    subscriber.bind(&endpoint).unwrap();
    meet(&publisher, slice::from_mut(&mut subscriber));
}

for_transports!(
    a_peer_that_shuts_down_its_sending_side_is_disconnected,
    a_publisher_that_closes_at_once_is_not_tried_again_without_pause,
);

fn a_peer_that_shuts_down_its_sending_side_is_disconnected<T: Ours>(transport: &T) {
    let publisher = transport.publisher(&Options::default()).unwrap();
    let mut client = Raw::connect(&publisher.bind(&loopback()).unwrap());
    client.handshake(1, "SUB");
    client.send(&raw::subscribe(b""));
    client.ping();
    client.stream().shutdown(Shutdown::Write).unwrap();
    client.expect_closed();
}

fn a_publisher_that_closes_at_once_is_not_tried_again_without_pause<T: Ours>(transport: &T) {
    let (listener, endpoint) = Raw::listen();
    let mut subscriber = transport.subscriber(&Options::default()).unwrap();
    subscriber.connect(&endpoint).unwrap();
    listener.set_nonblocking(true).unwrap();
    let start = Instant::now();
    let mut tries = 0;
    while start.elapsed() < Duration::from_secs(1) {
        tries += u128::from(listener.accept().is_ok());
        thread::sleep(Duration::from_millis(5));
    }
    let pauses = start.elapsed().as_millis() / Options::default().reconnect.as_millis();
    assert!((2..=pauses + 2).contains(&tries), "{tries}");
}
