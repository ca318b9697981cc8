//! [`Peer`] in every role: against bytes that we made, against itself, and against nonsense.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use fedmsg_core::zmtp::frame::Frame;
use fedmsg_core::zmtp::{
    Command, DELIMITER, Event, Greeting, Heartbeat, Inbox, Limits, Peer, PeerError, SocketType,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// The greeting and READY of a peer of this type.
fn handshake(ty: &str, minor: u8) -> Vec<u8> {
    let greeting = Greeting {
        version: (3, minor),
        ..Greeting::OURS
    };
    let mut bytes = greeting.encode().to_vec();
    let mut ready = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
    ready.push(ty.len() as u8);
    ready.extend(ty.as_bytes());
    bytes.extend(frame(false, true, &ready));
    bytes
}

fn frame(more: bool, command: bool, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; body.len() + 9];
    let frame = Frame {
        more,
        command,
        body,
    };
    let n = frame.encode(&mut out).unwrap();
    out.truncate(n);
    out
}

fn message(frames: &[Vec<u8>]) -> Vec<u8> {
    let last = frames.len() - 1;
    let frames = frames.iter().enumerate();
    frames
        .flat_map(|(i, body)| frame(i < last, false, body))
        .collect()
}

/// Feeds `bytes` in pieces and returns all events as text, and the error.
fn feed(
    peer: &mut Peer,
    bytes: &[u8],
    mut pieces: impl FnMut() -> usize,
) -> (Vec<String>, Option<PeerError>) {
    let mut inbox = Inbox::new(vec![0; bytes.len().max(64)]);
    let mut events = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = pieces().clamp(1, rest.len());
        inbox.space()[..n].copy_from_slice(&rest[..n]);
        inbox.commit(n);
        rest = &rest[n..];
        loop {
            let input = match peer.input(inbox.unread(), 0) {
                Ok(input) => input,
                Err(error) => return (events, Some(error)),
            };
            let (consumed, event) = (input.consumed, input.event);
            events.extend(event.map(|event| format!("{event:?}")));
            let done = event.is_none();
            if done && rest.is_empty() {
                assert!(input.needed > inbox.unread().len() - consumed);
            }
            inbox.consume(consumed);
            if done {
                break;
            }
        }
    }
    (events, None)
}

/// What a peer does with these bytes after the handshake, all at once.
fn after_handshake(
    ours: SocketType,
    theirs: &str,
    limits: Limits,
    bytes: &[u8],
) -> (Peer, Vec<String>, Option<PeerError>) {
    let mut peer = Peer::new(ours, limits, 0);
    let (events, error) = feed(&mut peer, &handshake(theirs, 1), || usize::MAX);
    assert_eq!((events.len(), error), (1, None));
    output(&mut peer, 100);
    let (events, error) = feed(&mut peer, bytes, || usize::MAX);
    (peer, events, error)
}

/// All that a peer has to say, taken in pieces.
fn output(peer: &mut Peer, piece: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while peer.has_output() {
        let mut out = vec![0; piece];
        let n = peer.output(&mut out);
        all.extend(&out[..n]);
    }
    assert_eq!(peer.output(&mut [0; 100]), 0);
    all
}

#[test]
fn the_handshake_goes_out_in_pieces_of_any_size() {
    for piece in 1..100 {
        let mut peer = Peer::new(SocketType::Router, Limits::DEFAULT, 0);
        assert_eq!(output(&mut peer, piece), Greeting::OURS.encode());
        feed(&mut peer, &Greeting::OURS.encode(), || 64);
        assert_eq!(output(&mut peer, piece), handshake("ROUTER", 1)[64..]);
    }
}

#[test]
fn a_peer_is_ready_with_its_ready_and_tells_what_it_is() {
    let mut peer = Peer::new(SocketType::Pub, Limits::DEFAULT, 0);
    assert_eq!(peer.peer_version(), None);
    let (events, _) = feed(&mut peer, &Greeting::OURS.encode(), || 64);
    assert!(events.is_empty() && !peer.is_ready());
    assert_eq!(peer.peer_version(), Some((3, 1)));
    let (events, _) = feed(&mut peer, &handshake("XSUB", 1)[64..], || 64);
    assert!(peer.is_ready());
    assert_eq!(
        events,
        ["Ready(PeerInfo { socket_type: Some(Xsub), version: (3, 1) })"]
    );
}

#[test]
fn only_the_pairs_of_the_specification_are_compatible() {
    let types = [
        "PUB", "SUB", "XPUB", "XSUB", "REQ", "REP", "DEALER", "ROUTER",
    ];
    let pairs: Vec<(&str, &str)> = types
        .iter()
        .flat_map(|a| types.iter().map(move |b| (*a, *b)))
        .filter(|(ours, theirs)| {
            let ours = SocketType::from_name(ours.as_bytes()).unwrap();
            let mut peer = Peer::new(ours, Limits::DEFAULT, 0);
            feed(&mut peer, &handshake(theirs, 0), || 100).1.is_none()
        })
        .collect();
    let expected = "PUB SUB, PUB XSUB, SUB PUB, SUB XPUB, XPUB SUB, XPUB XSUB, XSUB PUB, XSUB XPUB, \
        REQ REP, REQ ROUTER, REP REQ, REP DEALER, DEALER REP, DEALER DEALER, DEALER ROUTER, \
        ROUTER REQ, ROUTER DEALER, ROUTER ROUTER";
    let pairs: Vec<String> = pairs.iter().map(|(a, b)| format!("{a} {b}")).collect();
    assert_eq!(pairs.join(", "), expected);
}

#[test]
fn what_a_role_ignores_passes_through_a_buffer_of_64_bytes() {
    let mut bytes = handshake("SUB", 0);
    // An Identity in READY.
    let identity = [b"\x08Identity\0\0\x01\x2c".to_vec(), vec![7; 300]].concat();
    bytes[65] = 0;
    let ready = [&bytes[66..], &identity].concat();
    bytes.truncate(64);
    bytes.extend(frame(false, true, &ready));
    bytes.extend(frame(true, false, &[9; 2000]));
    bytes.extend(frame(false, false, &[8; 3000]));
    bytes.extend(frame(
        false,
        true,
        &[b"\x03FOO".to_vec(), vec![1; 70_000]].concat(),
    ));
    bytes.extend(frame(
        false,
        true,
        &[b"\x06CANCEL".to_vec(), vec![1; 256]].concat(),
    ));
    bytes.extend(frame(false, false, &[vec![0], vec![1; 256]].concat()));
    bytes.extend(frame(
        false,
        true,
        &[b"\x04PING\0\0".to_vec(), vec![1; 500]].concat(),
    ));
    bytes.extend(b"\x00\x04\x01org");

    let mut peer = Peer::new(SocketType::Pub, Limits::DEFAULT, 0);
    let mut inbox = Inbox::new([0; 64]);
    let mut events = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let space = inbox.space();
        let n = rest.len().min(space.len());
        assert_ne!(n, 0);
        space[..n].copy_from_slice(&rest[..n]);
        inbox.commit(n);
        rest = &rest[n..];
        loop {
            let input = peer.input(inbox.unread(), 0).unwrap();
            assert!(input.needed <= 64);
            let (consumed, event) = (input.consumed, input.event);
            events.extend(event.map(|event| format!("{event:?}")));
            let done = event.is_none();
            inbox.consume(consumed);
            if done {
                break;
            }
        }
    }
    assert_eq!(
        events,
        [
            "Ready(PeerInfo { socket_type: Some(Sub), version: (3, 0) })",
            "Subscribe([111, 114, 103])"
        ]
    );
    assert!(output(&mut peer, 64).ends_with(
        b"\x04\x15\x04PONG\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"
    ));
}

#[test]
fn what_a_buffer_cannot_hold_is_known_from_the_header() {
    let large = frame(false, false, &[0; 500]);
    let mut message = frame(true, false, b"topic");
    message.extend(large);
    let mut peer = Peer::new(SocketType::Sub, Limits::DEFAULT, 0);
    feed(&mut peer, &handshake("PUB", 1), || 100);
    assert_eq!(peer.input(&message[..1], 0).unwrap().needed, 2);
    assert_eq!(peer.input(&message[..2], 0).unwrap().needed, 7);
    assert_eq!(peer.input(&message[..7], 0).unwrap().needed, 9);
    assert_eq!(peer.input(&message[..9], 0).unwrap().needed, 16);
    assert_eq!(peer.input(&message[..16], 0).unwrap().needed, 516);
    assert_eq!(peer.input(&message, 0).unwrap().consumed, 516);
}

#[test]
fn frames_that_were_looked_at_are_not_looked_at_again() {
    let mut peer = Peer::new(SocketType::Sub, Limits::DEFAULT, 0);
    feed(&mut peer, &handshake("PUB", 1), || 100);
    assert_eq!(peer.input(b"\x01\x02ab\x01\x02", 0).unwrap().needed, 8);
    // The first frame's header is other bytes now.
    let input = peer.input(b"\xff\xffab\x01\x02cd\x00\x00", 0).unwrap();
    assert!(matches!(input.event, Some(Event::Message(message)) if message.frame_count() == 3));
}

#[test]
fn a_ping_between_the_frames_of_a_message_is_answered_and_left_out() {
    let bytes = b"\x01\x05topic\x04\x08\x04PING\x00\x00c\x00\x04body";
    let mut peer = Peer::new(SocketType::Sub, Limits::DEFAULT, 0);
    feed(&mut peer, &handshake("PUB", 1), || 100);
    output(&mut peer, 64);
    let input = peer.input(bytes, 0).unwrap();
    let Some(Event::Message(message)) = input.event else {
        panic!("{input:?}")
    };
    assert_eq!(message.two_frames(), Some((&b"topic"[..], &b"body"[..])));
    assert_eq!(message.wire(), None);
    assert_eq!(output(&mut peer, 64), b"\x04\x06\x04PONGc");
    // The next one is as clean as any.
    let input = peer.input(b"\x01\x00\x00\x00", 0).unwrap();
    let Some(Event::Message(message)) = input.event else {
        panic!("{input:?}")
    };
    assert_eq!(message.wire(), Some(&b"\x01\x00\x00\x00"[..]));
}

#[test]
fn roles_differ_in_what_they_hand_out() {
    let two_frames = "body: [1, 1, 120, 0, 1, 121], frame_count: 2, clean: true";
    let cases: [(SocketType, &str, &[u8], &[&str]); 16] = [
        // Frames of a message to a PUB are looked at one by one, as libzmq does.
        (
            SocketType::Pub,
            "SUB",
            b"\x01\x02\x01a\x00\x02\x00b",
            &["Subscribe([97])", "Cancel([98])"],
        ),
        (SocketType::Pub, "SUB", b"\x00\x00\x00\x02\x02a", &[]),
        (
            SocketType::Pub,
            "SUB",
            b"\x04\x0b\x09SUBSCRIBEa\x04\x07\x06CANCEL",
            &["Subscribe([97])", "Cancel([])"],
        ),
        (
            SocketType::Xpub,
            "SUB",
            b"\x04\x0b\x09SUBSCRIBEa\x00\x02\x00b",
            &["Subscribe([97])", "Cancel([98])"],
        ),
        (
            SocketType::Xpub,
            "SUB",
            b"\x01\x01x\x00\x01y",
            &[two_frames],
        ),
        (
            SocketType::Xpub,
            "SUB",
            b"\x00\x00",
            &["body: [0, 0], frame_count: 1"],
        ),
        (SocketType::Sub, "PUB", b"\x01\x01x\x00\x01y", &[two_frames]),
        (
            SocketType::Sub,
            "PUB",
            b"\x04\x0b\x09SUBSCRIBEa\x00\x02\x01a",
            &["body: [0, 2, 1, 97]"],
        ),
        (
            SocketType::Xsub,
            "PUB",
            b"\xf8\x00",
            &["body: [248, 0], frame_count: 1, clean: false"],
        ),
        (
            SocketType::Dealer,
            "ROUTER",
            b"\x01\x00\x01\x01x\x00\x01y",
            &["frame_count: 3"],
        ),
        (
            SocketType::Req,
            "REP",
            b"\x01\x00\x01\x01x\x00\x01y",
            &[two_frames],
        ),
        (
            SocketType::Rep,
            "REQ",
            b"\x01\x00\x01\x01x\x00\x01y",
            &[two_frames],
        ),
        (
            SocketType::Rep,
            "DEALER",
            b"\x01\x01i\x01\x00\x01\x01x\x00\x01y",
            &["envelope: [1, 1, 105, 1, 0]"],
        ),
        // Without delimiter, or nothing after it.
        (SocketType::Rep, "REQ", b"\x01\x01x\x00\x01y", &[]),
        (
            SocketType::Rep,
            "REQ",
            b"\x01\x01x\x00\x00\x01\x00\x00\x01y",
            &["body: [0, 1, 121]"],
        ),
        (SocketType::Router, "REQ", b"\x00\x00", &["frame_count: 1"]),
    ];
    for (ours, theirs, bytes, expected) in cases {
        let (_, events, error) = after_handshake(ours, theirs, Limits::DEFAULT, bytes);
        let fits = |(event, part): (&String, &&str)| event.contains(*part);
        let all = events.len() == expected.len() && events.iter().zip(expected).all(fits);
        assert!(
            all && error.is_none(),
            "{ours} {bytes:?}: {events:?} {error:?}"
        );
    }
}

#[test]
fn each_limit_is_held_and_has_its_error_and_the_other_side_is_told() {
    let limits = Limits {
        max_message: 100,
        max_subscription: 10,
        ..Limits::DEFAULT
    };
    let message = |a, b| {
        [
            frame(true, false, &vec![9; a]),
            frame(false, false, &vec![9; b]),
        ]
        .concat()
    };
    let command = |name: &[u8], len| frame(false, true, &[name, &vec![b'x'; len]].concat());
    let subscription = |len| frame(false, false, &[vec![1], vec![b'x'; len]].concat());
    let cases = [
        (SocketType::Sub, "PUB", frame(false, false, &[0; 98]), Ok(1)),
        (
            SocketType::Sub,
            "PUB",
            frame(false, false, &[0; 99]),
            Err("frame of 99 bytes, limit 100 with its header"),
        ),
        (SocketType::Sub, "PUB", message(46, 50), Ok(1)),
        (
            SocketType::Sub,
            "PUB",
            message(46, 51),
            Err("message over the limit of 100 bytes"),
        ),
        // It says that it goes on where not even a header fits.
        (
            SocketType::Sub,
            "PUB",
            frame(true, false, &[0; 97]),
            Err("message over the limit of 100 bytes"),
        ),
        (
            SocketType::Pub,
            "SUB",
            frame(false, true, &[0; 99]),
            Err("frame of 99 bytes, limit 100 with its header"),
        ),
        (SocketType::Pub, "SUB", command(b"\x09SUBSCRIBE", 10), Ok(1)),
        (
            SocketType::Pub,
            "SUB",
            command(b"\x09SUBSCRIBE", 11),
            Err("subscription of 11 bytes, limit 10"),
        ),
        (SocketType::Xpub, "SUB", subscription(10), Ok(1)),
        (
            SocketType::Xpub,
            "SUB",
            subscription(11),
            Err("subscription of 11 bytes, limit 10"),
        ),
        (
            SocketType::Req,
            "REP",
            message(1, 1),
            Err("reply without an empty delimiter frame"),
        ),
    ];
    for (ours, theirs, bytes, expected) in cases {
        let (mut peer, events, error) = after_handshake(ours, theirs, limits, &bytes);
        let word = output(&mut peer, 5);
        match (expected, error) {
            (Ok(count), None) => assert_eq!((events.len(), word), (count, vec![])),
            (Err(expected), Some(error)) => {
                assert_eq!(error.to_string(), expected);
                assert!(error.is_permanent());
                assert!(
                    matches!(Command::decode(&word[2..]), Some(Command::Error(_))),
                    "{word:?}"
                );
                assert_eq!(peer.input(b"", 0), Err(PeerError::AlreadyFailed));
                assert_eq!(peer.poll(0), Err(PeerError::AlreadyFailed));
                assert!(!peer.is_ready());
            }
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
}

#[test]
fn an_error_takes_the_place_of_what_was_not_yet_sent() {
    let mut peer = Peer::new(SocketType::Pub, Limits::DEFAULT, 0);
    let mut out = [0; 30];
    peer.output(&mut out);
    let (_, error) = feed(&mut peer, &handshake("PUB", 1), || usize::MAX);
    assert!(matches!(
        error,
        Some(PeerError::IncompatibleSocketType { .. })
    ));
    let rest = output(&mut peer, 30);
    assert_eq!(rest[..34], Greeting::OURS.encode()[30..]);
    assert_eq!(rest[34..], *b"\x04\x15\x05ERROR\x0eprotocol error");
}

#[test]
fn of_two_pings_the_newest_is_answered() {
    let ping = |context: &[u8]| frame(false, true, &[b"\x04PING\0\0", context].concat());
    let bytes = [ping(b"one"), ping(b"second")].concat();
    let (mut peer, ..) = after_handshake(SocketType::Pub, "SUB", Limits::DEFAULT, &bytes);
    assert_eq!(peer.output(&mut []), 0);
    feed(&mut peer, &ping(b"last"), || 100);
    assert_eq!(output(&mut peer, 100), b"\x04\x09\x04PONGlast");
    // Unless an answer is halfway out: that is finished as it began.
    feed(&mut peer, &ping(b"three"), || 100);
    peer.output(&mut [0; 9]);
    feed(&mut peer, &ping(b"fourth"), || 100);
    assert_eq!(output(&mut peer, 100), b"ree");
}

#[test]
fn the_handshake_has_its_time_and_no_more() {
    let limits = Limits {
        handshake_timeout_ms: 500,
        ..Limits::DEFAULT
    };
    let mut peer = Peer::new(SocketType::Pub, limits, 1000);
    assert_eq!(peer.poll(1000), Ok(Some(1500)));
    assert!(peer.input(&handshake("SUB", 1)[..90], 1490).is_ok());
    assert_eq!(peer.poll(1499), Ok(Some(1500)));
    assert_eq!(peer.poll(1500), Err(PeerError::HandshakeTimeout));
    assert!(!PeerError::HandshakeTimeout.is_permanent());

    let mut peer = Peer::new(SocketType::Pub, limits, 1000);
    feed(&mut peer, &handshake("SUB", 1), || 100);
    assert_eq!(peer.poll(5000), Ok(None));
    let limits = Limits {
        handshake_timeout_ms: 0,
        ..Limits::DEFAULT
    };
    assert_eq!(
        Peer::new(SocketType::Pub, limits, 0).poll(u64::MAX - 1),
        Ok(None)
    );
}

#[test]
fn a_silent_peer_is_given_up_and_any_byte_is_a_sign_of_life() {
    let heartbeat = Heartbeat {
        interval_ms: 100,
        timeout_ms: 250,
        ttl: 7,
    };
    let limits = Limits {
        heartbeat: Some(heartbeat),
        ..Limits::DEFAULT
    };
    let (mut peer, ..) = after_handshake(SocketType::Sub, "PUB", limits, b"");
    assert_eq!(peer.poll(0), Ok(Some(100)));
    assert!(!peer.has_output());
    assert_eq!(peer.poll(110), Ok(Some(210)));
    assert_eq!(output(&mut peer, 3), b"\x04\x07\x04PING\x00\x07");
    assert_eq!(peer.poll(220), Ok(Some(320)));
    assert_eq!(peer.poll(330), Ok(Some(360)), "the first PING counts");
    // The first byte of something.
    assert!(peer.input(b"\x00", 350).is_ok());
    assert_eq!(peer.poll(430), Ok(Some(530)));
    // The same byte is no news.
    assert!(peer.input(b"\x00", 600).is_ok());
    assert_eq!(peer.poll(679), Ok(Some(680)));
    assert_eq!(peer.poll(680), Err(PeerError::HeartbeatTimeout));
}

#[test]
fn a_peers_time_to_live_ends_with_its_next_byte() {
    let (mut peer, ..) = after_handshake(SocketType::Pub, "SUB", Limits::DEFAULT, b"");
    assert!(peer.input(b"\x04\x07\x04PING\x00\x05", 1000).is_ok());
    assert_eq!(peer.poll(1001), Ok(Some(1500)));
    assert!(peer.input(b"\x00\x00", 1499).is_ok());
    assert_eq!(peer.poll(5000), Ok(None));
    assert!(peer.input(b"\x04\x07\x04PING\xff\xff", 6000).is_ok());
    assert_eq!(peer.poll(6000 + 6_553_499), Ok(Some(6000 + 6_553_500)));
    assert_eq!(
        peer.poll(6000 + 6_553_500),
        Err(PeerError::HeartbeatTimeout)
    );
}

#[test]
fn subscriptions_have_the_form_that_the_peer_reads() {
    let forms = [
        ("PUB", 0, &b"\x00\x02\x01a"[..], &b"\x00\x02\x00a"[..]),
        ("XPUB", 1, b"\x04\x0b\x09SUBSCRIBEa", b"\x04\x08\x06CANCELa"),
    ];
    for (theirs, minor, subscribe, cancel) in forms {
        let mut peer = Peer::new(SocketType::Sub, Limits::DEFAULT, 0);
        feed(&mut peer, &handshake(theirs, minor), || 100);
        let mut out = [0; 20];
        let n = peer.encode_subscribe(b"a", &mut out).unwrap();
        assert_eq!(&out[..n], subscribe);
        let n = peer.encode_cancel(b"a", &mut out).unwrap();
        assert_eq!(&out[..n], cancel);
        let small = peer.encode_subscribe(b"a", &mut [0; 2]).unwrap_err();
        assert_eq!((small.needed, small.available), (subscribe.len(), 2));
    }
}

/// Piece sizes that repeat.
fn cycle(sizes: &[usize]) -> impl FnMut() -> usize {
    let mut sizes = sizes.iter().cycle();
    move || sizes.next().map_or(1, |size| *size)
}

/// Carries bytes both ways between two peers until neither says anything; returns what happened to
/// each.
fn converse(a: &mut Peer, b: &mut Peer, sizes: &[usize]) -> [Vec<String>; 2] {
    let mut events = [Vec::new(), Vec::new()];
    let mut pieces = cycle(sizes);
    while a.has_output() || b.has_output() {
        let said = output(a, pieces());
        events[1].extend(feed(b, &said, &mut pieces).0);
        let said = output(b, pieces());
        events[0].extend(feed(a, &said, &mut pieces).0);
    }
    events
}

fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(
        prop_oneof![vec(any::<u8>(), 0..10), vec(any::<u8>(), 250..600)],
        1..5,
    )
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![Just(1), 1_usize..20, 1_usize..1000], 1..8)
}

const ROLES: [(SocketType, &str); 8] = [
    (SocketType::Pub, "SUB"),
    (SocketType::Xpub, "XSUB"),
    (SocketType::Sub, "PUB"),
    (SocketType::Xsub, "XPUB"),
    (SocketType::Req, "REP"),
    (SocketType::Rep, "DEALER"),
    (SocketType::Dealer, "ROUTER"),
    (SocketType::Router, "REQ"),
];

proptest! {
    #[test]
    fn pub_and_sub_understand_each_other(
        prefixes in vec(vec(any::<u8>(), 0..200), 0..5),
        messages in vec(frames(), 1..5),
        sizes in sizes(),
    ) {
        let mut publisher = Peer::new(SocketType::Pub, Limits::DEFAULT, 0);
        let mut subscriber = Peer::new(SocketType::Sub, Limits::DEFAULT, 0);
        let [a, b] = converse(&mut publisher, &mut subscriber, &sizes);
        prop_assert!(a.len() == 1 && b.len() == 1);

        let mut wire = Vec::new();
        for prefix in &prefixes {
            let mut out = [0; 300];
            let n = subscriber.encode_subscribe(prefix, &mut out).unwrap();
            wire.extend(&out[..n]);
        }
        let (events, error) = feed(&mut publisher, &wire, cycle(&sizes));
        let expected: Vec<_> = prefixes.iter().map(|p| format!("{:?}", Event::Subscribe(p))).collect();
        prop_assert_eq!((events, error), (expected, None));

        let wire: Vec<u8> = messages.iter().flat_map(|frames| message(frames)).collect();
        let (events, error) = feed(&mut subscriber, &wire, cycle(&sizes));
        prop_assert_eq!((events.len(), error), (messages.len(), None));
        for (event, frames) in events.iter().zip(&messages) {
            let body = format!("body: {:?}, frame_count: {}, clean: true", message(frames), frames.len());
            prop_assert!(event.contains(&body));
        }
    }

    #[test]
    fn req_and_rep_understand_each_other(question in frames(), answer in frames(), sizes in sizes()) {
        let mut req = Peer::new(SocketType::Req, Limits::DEFAULT, 0);
        let mut rep = Peer::new(SocketType::Rep, Limits::DEFAULT, 0);
        converse(&mut req, &mut rep, &sizes);

        let wire = [&DELIMITER[..], &message(&question)].concat();
        feed(&mut rep, &wire[..wire.len() - 1], cycle(&sizes));
        let input = rep.input(&wire, 0).unwrap();
        let Some(Event::Message(received)) = input.event else { panic!("{input:?}") };
        prop_assert!(received.frames().eq(question.iter().map(Vec::as_slice)));

        let wire = [received.envelope(), &message(&answer)].concat();
        feed(&mut req, &wire[..wire.len() - 1], cycle(&sizes));
        let input = req.input(&wire, 0).unwrap();
        let Some(Event::Message(received)) = input.event else { panic!("{input:?}") };
        prop_assert!(received.frames().eq(answer.iter().map(Vec::as_slice)));
    }

    #[test]
    fn damaged_sessions_end_the_same_way_however_they_are_cut(
        role in 0..ROLES.len(),
        messages in vec(frames(), 0..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        sizes in sizes(),
    ) {
        let (ours, theirs) = ROLES[role];
        let mut bytes = handshake(theirs, 1);
        for frames in &messages {
            bytes.extend(message(frames));
            bytes.extend(b"\x04\x0f\x09SUBSCRIBEorg.a\x04\x09\x04PING\x00\x01ab");
        }
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let limits = Limits { max_message: 4096, ..Limits::DEFAULT };
        let whole = feed(&mut Peer::new(ours, limits, 0), &bytes, || usize::MAX);
        let pieces = feed(&mut Peer::new(ours, limits, 0), &bytes, cycle(&sizes));
        prop_assert_eq!(whole, pieces);
    }
}
