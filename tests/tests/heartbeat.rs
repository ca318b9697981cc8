//! Signs of life, both ways. What libzmq was seen to do is in `wire.rs`.

use std::{slice, thread, time::Duration};

use fedmsg::transport::{Options, Publisher, Subscriber, Transport};
use fedmsg_tests::{
    Ours, for_pairs, for_transports, loopback, meet, next,
    proxy::Proxy,
    raw::{self, Raw},
};

for_pairs!(heartbeats_of_either_side_keep_an_idle_connection);

for_transports!(
    a_publisher_pings_and_closes_on_a_peer_that_falls_silent,
    a_subscriber_pings_and_closes_on_a_peer_that_falls_silent,
    any_traffic_is_a_sign_of_life,
);

/// Often, and patient enough for a machine that is busy.
fn heartbeat() -> Options {
    Options {
        heartbeat: Some(Duration::from_millis(50)),
        heartbeat_timeout: Duration::from_secs(10),
        ..Options::default()
    }
}

fn heartbeats_of_either_side_keep_an_idle_connection<P: Transport, S: Transport>(
    publishers: &P,
    subscribers: &S,
) {
    let none = Options::default();
    let often = heartbeat();
    for (publishers_options, subscribers_options) in
        [(&often, &none), (&none, &often), (&often, &often)]
    {
        let publisher = publishers.publisher(publishers_options).unwrap();
        let proxy = Proxy::to(&publisher.bind(&loopback()).unwrap(), 1 << 20);
        let mut subscriber = subscribers.subscriber(subscribers_options).unwrap();
        subscriber.connect(proxy.endpoint()).unwrap();
        subscriber.subscribe(b"org").unwrap();
        meet(&publisher, slice::from_mut(&mut subscriber));
        // Some heartbeats go by.
        thread::sleep(Duration::from_millis(300));
        publisher.send(b"org", &[b"1"]).unwrap();
        assert_eq!(next(&mut subscriber).1, b"1");
        assert_eq!(proxy.connections(), 1);
    }
}

fn a_publisher_pings_and_closes_on_a_peer_that_falls_silent<T: Ours>(transport: &T) {
    for minor in [0, 1] {
        let publisher = transport.publisher(&impatient()).unwrap();
        let mut client = Raw::connect(&publisher.bind(&loopback()).unwrap());
        client.handshake(minor, "SUB");
        answer_some_pings_then_none(client);
    }
}

fn a_subscriber_pings_and_closes_on_a_peer_that_falls_silent<T: Ours>(transport: &T) {
    for minor in [0, 1] {
        let (listener, endpoint) = Raw::listen();
        let mut subscriber = transport.subscriber(&impatient()).unwrap();
        subscriber.connect(&endpoint).unwrap();
        let mut server = Raw::accept(&listener);
        server.handshake(minor, "PUB");
        answer_some_pings_then_none(server);
        // It comes back, and goes on.
        let mut server = Raw::accept(&listener);
        server.handshake(minor, "PUB");
        subscriber.subscribe(b"").unwrap();
        server.send(&raw::message(&[b"org", b"1"]));
        assert_eq!(next(&mut subscriber).1, b"1");
    }
}

fn impatient() -> Options {
    Options {
        heartbeat: Some(Duration::from_millis(100)),
        heartbeat_timeout: Duration::from_secs(1),
        ..Options::default()
    }
}

fn answer_some_pings_then_none(mut peer: Raw) {
    for _ in 0..3 {
        let (flags, body) = peer.read_frame();
        assert_eq!(flags, raw::COMMAND);
        let ping = body.strip_prefix(b"\x04PING").expect("a PING");
        let (_time_to_live, context) = ping.split_at(2);
        peer.send(&raw::frame(raw::COMMAND, &[b"\x04PONG", context].concat()));
    }
    peer.expect_closed();
}

fn any_traffic_is_a_sign_of_life<T: Ours>(transport: &T) {
    let publisher = transport.publisher(&impatient()).unwrap();
    let mut client = Raw::connect(&publisher.bind(&loopback()).unwrap());
    client.handshake(1, "SUB");
    // Subscriptions instead of PONGs, for longer than it waits for those.
    for i in 0..20_u8 {
        let (_, body) = client.read_frame();
        assert!(body.starts_with(b"\x04PING"));
        client.send(&raw::subscribe(&[i]));
    }
    client.ping();
}
