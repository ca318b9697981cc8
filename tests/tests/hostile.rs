//! Bytes from peers that mean no good: whatever one connection brings, the others go on.

use std::{net::Shutdown, slice, thread, time::Duration};

use fedmsg::transport::{Endpoint, Options, Publisher, Subscriber};
use fedmsg_tests::{
    Ours, eventually, for_transports, loopback, meet, next,
    random::Random,
    raw::{self, Raw},
};

for_transports!(
    a_publisher_outlives_corrupted_sessions,
    a_subscriber_outlives_corrupted_sessions,
    a_handshake_in_small_pieces_ends_in_time,
    connections_in_handshake_hold_up_nobody,
    a_connection_that_never_reads_holds_up_nobody,
);

/// How many corrupted sessions each side is sent.
const SESSIONS: u32 = 300;

fn a_publisher_outlives_corrupted_sessions<T: Ours>(transport: &T) {
    let options = Options {
        max_message: 1 << 16,
        ..Options::default()
    };
    let publisher = transport.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut good = transport.subscriber(&options).unwrap();
    good.connect(&endpoint).unwrap();
    good.subscribe(b"org").unwrap();
    meet(&publisher, slice::from_mut(&mut good));
    for seed in 0..SESSIONS {
        let mut random = Random(seed.into());
        let (client, mut session) = begin(&endpoint, "SUB", &mut random);
        let traffic = [
            raw::subscribe(b"org.example"),
            raw::message(&[b"\x01org"]),
            raw::frame(raw::COMMAND, b"\x04PING\0\0context"),
            raw::cancel(b"org.example"),
            raw::message(&[b"\x00org"]),
            raw::message(&[b"odd", &[b'x'; 300], b""]),
            raw::frame(raw::COMMAND, b"\x05ERROR\x03why"),
        ];
        for _ in 0..8 {
            session.extend(&traffic[random.below(traffic.len())]);
        }
        end(client, &corrupt(session, &mut random), &mut random);
        publisher.send(b"org", &[&seed.to_be_bytes()]).unwrap();
        assert_eq!(
            next(&mut good).1,
            seed.to_be_bytes(),
            "after session {seed}"
        );
    }
}

fn a_subscriber_outlives_corrupted_sessions<T: Ours>(transport: &T) {
    let options = Options {
        max_message: 1 << 16,
        ..Options::default()
    };
    let mut subscriber = transport.subscriber(&options).unwrap();
    // Bound, so that the bad peers come to it beside the good.
    let endpoint = subscriber.bind(&loopback()).unwrap();
    subscriber.subscribe(b"good").unwrap();
    let good = transport.publisher(&options).unwrap();
    good.connect(&endpoint).unwrap();
    meet(&good, slice::from_mut(&mut subscriber));
    for seed in 0..SESSIONS {
        let mut random = Random(seed.into());
        let (client, mut session) = begin(&endpoint, "PUB", &mut random);
        let traffic = [
            raw::message(&[b"bad", b"{}"]),
            raw::message(&[b"bad", &[b'x'; 300]]),
            raw::message(&[b"bad", b"{}", b"{}"]),
            raw::message(&[b"bad"]),
            raw::frame(raw::COMMAND, b"\x04PING\0\0context"),
            raw::subscribe(b"org.example"),
        ];
        for _ in 0..8 {
            session.extend(&traffic[random.below(traffic.len())]);
        }
        end(client, &corrupt(session, &mut random), &mut random);
        good.send(b"good", &[&seed.to_be_bytes()]).unwrap();
        // Corruption may have made `good` of `bad`, but hardly with this body.
        while next(&mut subscriber).1 != seed.to_be_bytes() {}
    }
}

/// Changes a few bytes, or leaves some out, or doubles some, or ends early.
fn corrupt(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let end = bytes.len().min(at + 1 + random.below(20));
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 4, 0x7f, 0x80, 0xff][random.below(6)],
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            4 => bytes[at..end]
                .iter_mut()
                .for_each(|byte| *byte = random.below(256) as u8),
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

/// A connection with the handshake done, or with the handshake still to be sent, and corrupted.
fn begin(endpoint: &Endpoint, socket_type: &str, random: &mut Random) -> (Raw, Vec<u8>) {
    let mut peer = Raw::connect(endpoint);
    let minor = random.below(2) as u8;
    if random.below(2) == 0 {
        peer.handshake(minor, socket_type);
        return (peer, Vec::new());
    }
    (
        peer,
        [&raw::greeting(minor)[..], &raw::ready(socket_type)].concat(),
    )
}

/// Sends these bytes in pieces, and waits until all of them have been looked at, or too many.
fn end(mut peer: Raw, bytes: &[u8], random: &mut Random) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rest.len().min(1 + random.below(80)));
        peer.try_send(piece);
        rest = later;
    }
    let _ = peer.stream().shutdown(Shutdown::Write);
    peer.expect_closed();
}

fn a_handshake_in_small_pieces_ends_in_time<T: Ours>(transport: &T) {
    let options = Options {
        handshake_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let publisher = transport.publisher(&options).unwrap();
    let mut client = Raw::connect(&publisher.bind(&loopback()).unwrap());
    // A byte now and then is no reason to wait for the next.
    for byte in &raw::greeting(1)[..60] {
        client.try_send(&[*byte]);
        thread::sleep(Duration::from_millis(10));
    }
    client.expect_closed();
}

fn connections_in_handshake_hold_up_nobody<T: Ours>(transport: &T) {
    let publisher = transport.publisher(&Options::default()).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let _silent: Vec<_> = (0..100)
        .map(|i| {
            let mut client = Raw::connect(&endpoint);
            client.send(&raw::greeting(1)[..i % 64]);
            client
        })
        .collect();
    let mut subscriber = transport.subscriber(&Options::default()).unwrap();
    subscriber.connect(&endpoint).unwrap();
    subscriber.subscribe(b"org").unwrap();
    meet(&publisher, slice::from_mut(&mut subscriber));
    eventually("one has subscribed", || {
        publisher.subscribers().unwrap() == 1
    });
}

fn a_connection_that_never_reads_holds_up_nobody<T: Ours>(transport: &T) {
    let options = Options {
        high_water_mark: 10,
        ..Options::default()
    };
    let publisher = transport.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut deaf = Raw::connect(&endpoint);
    deaf.handshake(1, "SUB");
    deaf.send(&raw::subscribe(b""));
    let mut subscriber = transport.subscriber(&options).unwrap();
    subscriber.connect(&endpoint).unwrap();
    subscriber.subscribe(b"org").unwrap();
    meet(&publisher, slice::from_mut(&mut subscriber));
    eventually("both have subscribed", || {
        publisher.subscribers().unwrap() == 2
    });
    let body = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        publisher.send(b"org", &[&body]).unwrap();
        assert_eq!(next(&mut subscriber).1.len(), 1 << 20);
    }
    // And what it reads at last are whole messages.
    let marker = (raw::MORE, b"marker".to_vec());
    loop {
        publisher.send(&marker.1, &[]).unwrap();
        let topic = deaf.read_frame();
        assert_eq!(topic.0, raw::MORE);
        let (flags, rest) = deaf.read_frame();
        assert_eq!(flags, 0);
        if topic == marker {
            break;
        }
        assert!(topic.1 != b"org" || rest == body);
    }
}
