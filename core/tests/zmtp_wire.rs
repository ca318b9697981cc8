//! Every captured conversation of a raw program with libzmq 4.3.5 (`data/wire`), replayed with a
//! [`Peer`] in libzmq's place: it must end as libzmq ended it, and say what libzmq said.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use fedmsg_core::zmtp::frame::{self, Decoded};
use fedmsg_core::zmtp::{
    Command, Event, Heartbeat, Inbox, Limits, Peer, PeerError, Prefixes, SocketType,
};

const CAPTURES: &str = include_str!("data/wire/libzmq-4.3.5.txt");

/// What must end a conversation. Those that are not here must not end.
const ERRORS: [(&str, &str); 34] = [
    ("err-cmd-error-hs", "peer refused the handshake: bad"),
    (
        "err-frame-2to40",
        "frame of 1099511627776 bytes, limit 16777216 with its header",
    ),
    (
        "err-frame-2to63",
        "frame of 9223372036854775808 bytes, limit 16777216 with its header",
    ),
    (
        "err-frame-maxmsgsize",
        "frame of 2000 bytes, limit 1009 with its header",
    ),
    (
        "err-greet-ff-bad",
        "not a ZMTP peer: byte 9 of its greeting is 0x00",
    ),
    (
        "err-greet-http",
        "not a ZMTP peer: byte 0 of its greeting is 0x47",
    ),
    ("err-greet-partial", "handshake timed out"),
    ("err-greet-silent", "handshake timed out"),
    ("err-mech-plain", "peer wants mechanism PLAIN, we have NULL"),
    ("err-mech-unknown", "peer wants mechanism FOO, we have NULL"),
    ("err-ready-badprop", "property past the end of READY"),
    (
        "err-ready-bogus",
        "peer's socket type BOGUS does not go with PUB",
    ),
    ("err-ready-none", "peer sent something else before READY"),
    (
        "err-ready-pub",
        "peer's socket type PUB does not go with PUB",
    ),
    ("hb-client-ping-ttl", "heartbeat timed out: peer is silent"),
    (
        "hb-ping-before-ready",
        "peer sent something else before READY",
    ),
    ("hb-pub-sends-ping", "heartbeat timed out: peer is silent"),
    ("hb-pub-to-30", "heartbeat timed out: peer is silent"),
    (
        "pub-v10-revision0",
        "peer speaks ZMTP 1.0, 3.0 or later is needed",
    ),
    (
        "pub-v10-unversioned",
        "peer speaks ZMTP 1.0, 3.0 or later is needed",
    ),
    ("pub-v20", "peer speaks ZMTP 2.0, 3.0 or later is needed"),
    (
        "sub-v10-unversioned",
        "peer speaks ZMTP 1.0, 3.0 or later is needed",
    ),
    ("sub-v20", "peer speaks ZMTP 2.0, 3.0 or later is needed"),
    (
        "suberr-2to40",
        "frame of 1099511627776 bytes, limit 16777216 with its header",
    ),
    (
        "suberr-2to63",
        "frame of 9223372036854775808 bytes, limit 16777216 with its header",
    ),
    (
        "suberr-garbage",
        "frame of 18446744073709551615 bytes, limit 16777216 with its header",
    ),
    ("suberr-maxmsg", "message over the limit of 1009 bytes"),
    (
        "subrec-bad-signature",
        "not a ZMTP peer: byte 9 of its greeting is 0x00",
    ),
    ("subrec-error-command", "peer refused the handshake: bad"),
    ("subrec-handshake-timeout", "handshake timed out"),
    (
        "subrec-heartbeat-timeout",
        "heartbeat timed out: peer is silent",
    ),
    (
        "subrec-mech-mismatch",
        "peer wants mechanism PLAIN, we have NULL",
    ),
    (
        "subrec-oversize-frame",
        "frame of 9223372036854775808 bytes, limit 16777216 with its header",
    ),
    (
        "subrec-wrong-socket-type",
        "peer's socket type SUB does not go with SUB",
    ),
];

/// Where we part from libzmq on purpose (see the documentation of `zmtp`): it leaves the first five
/// open, closes `misc-all-at-once`, and goes a step further with `pub-v10-revision0`.
const DIFFERENT: [&str; 7] = [
    "err-greet-http",
    "pub-v10-unversioned",
    "pub-v20",
    "sub-v10-unversioned",
    "sub-v20",
    "misc-all-at-once",
    "pub-v10-revision0",
];

/// The options that libzmq was given.
fn limits(case: &str) -> Limits {
    let mut limits = Limits::DEFAULT;
    let mut heartbeat = |interval_ms, timeout_ms, ttl| {
        limits.heartbeat = Some(Heartbeat {
            interval_ms,
            timeout_ms,
            ttl,
        });
    };
    match case {
        "hb-pub-sends-ping" => heartbeat(300, 1000, 5),
        "hb-pub-to-30" => heartbeat(300, 1000, 0),
        "subrec-heartbeat-timeout" => heartbeat(200, 400, 0),
        // MAXMSGSIZE is 1000: for a frame, without its header.
        "err-frame-maxmsgsize" | "suberr-maxmsg" => limits.max_message = 1009,
        // The frame is a subscription.
        "err-frame-atmax" => (limits.max_message, limits.max_subscription) = (1009, 999),
        "err-greet-partial" | "err-greet-silent" => limits.handshake_timeout_ms = 700,
        "subrec-handshake-timeout" => limits.handshake_timeout_ms = 500,
        _ => {}
    }
    limits
}

/// A [`Peer`] with all that it needs for a conversation.
struct Session {
    peer: Peer,
    inbox: Inbox<Vec<u8>>,
    error: Option<PeerError>,
    /// What the state machine has said.
    said: Vec<u8>,
    prefixes: Prefixes<1100>,
    /// Frames of all messages.
    received: Vec<Vec<u8>>,
}

impl Session {
    fn new(ours: SocketType, limits: Limits, buffer: usize) -> Self {
        Session {
            peer: Peer::new(ours, limits, 0),
            inbox: Inbox::new(vec![0; buffer]),
            error: None,
            said: Vec::new(),
            prefixes: Prefixes::new(),
            received: Vec::new(),
        }
    }

    /// Bytes arrive, in pieces of these sizes.
    fn feed(&mut self, mut bytes: &[u8], mut pieces: impl FnMut() -> usize, now: u64) {
        while !bytes.is_empty() && self.error.is_none() {
            let space = self.inbox.space();
            let n = pieces().min(bytes.len()).min(space.len());
            assert_ne!(n, 0, "no room for what is needed");
            space[..n].copy_from_slice(&bytes[..n]);
            self.inbox.commit(n);
            bytes = &bytes[n..];
            self.events(now);
            self.drain();
        }
    }

    fn events(&mut self, now: u64) {
        loop {
            let input = match self.peer.input(self.inbox.unread(), now) {
                Ok(input) => input,
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            };
            match input.event {
                None => {
                    self.inbox.consume(input.consumed);
                    return;
                }
                Some(Event::Ready(_)) => assert!(self.peer.is_ready()),
                Some(Event::Subscribe(prefix)) => {
                    self.prefixes.insert(prefix).unwrap();
                }
                Some(Event::Cancel(prefix)) => {
                    self.prefixes.remove(prefix);
                }
                Some(Event::Message(message)) => {
                    self.received.extend(message.frames().map(<[u8]>::to_vec));
                }
            }
            self.inbox.consume(input.consumed);
        }
    }

    fn drain(&mut self) {
        let mut out = [0; 7];
        while self.peer.has_output() {
            let n = self.peer.output(&mut out);
            self.said.extend(&out[..n]);
        }
    }

    fn poll(&mut self, now: u64) {
        if self.error.is_none() {
            self.error = self.peer.poll(now).err();
            self.drain();
        }
    }
}

/// `00*3 ff` as bytes.
fn unpack(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in text.split_whitespace() {
        let (hex, times) = part.split_once('*').unwrap_or((part, "1"));
        let part: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        bytes.extend(part.repeat(times.parse().unwrap()));
    }
    bytes
}

/// What libzmq sent, bit by bit: its greeting and commands are collected, its subscriptions must be
/// what our [`Peer`] would write, and its messages what our subscriptions let through.
#[derive(Default)]
struct Libzmq {
    unread: Vec<u8>,
    greeted: bool,
    commands: Vec<u8>,
}

impl Libzmq {
    fn sent(&mut self, bytes: &[u8], session: &Session, case: &str) {
        self.unread.extend(bytes);
        if !self.greeted && self.unread.len() >= 64 {
            self.greeted = true;
            self.commands.extend(self.unread.drain(..64));
        }
        while self.greeted
            && let Decoded::Frame { frame, consumed } = frame::decode(&self.unread, 1000).unwrap()
        {
            let wire = &self.unread[..consumed];
            let mut ours = [0; 64];
            let written = match (frame.command, Command::decode(frame.body), frame.body) {
                (true, Some(Command::Subscribe(prefix)), _) | (false, _, [1, prefix @ ..]) => {
                    session.peer.encode_subscribe(prefix, &mut ours)
                }
                (true, Some(Command::Cancel(prefix)), _) | (false, _, [0, prefix @ ..]) => {
                    session.peer.encode_cancel(prefix, &mut ours)
                }
                (true, ..) => {
                    self.commands.extend(wire);
                    Ok(0)
                }
                (false, ..) => {
                    let topic = !frame.more || session.prefixes.matches(frame.body);
                    assert!(topic, "{case}: not subscribed to");
                    Ok(0)
                }
            };
            if let Ok(written @ 1..) = written {
                assert_eq!(&ours[..written], wire, "{case}");
            }
            self.unread.drain(..consumed);
        }
    }
}

fn replay(case: &str, lines: &[&str], mut pieces: impl FnMut() -> usize) {
    let ours = if case.starts_with("sub") {
        SocketType::Sub
    } else {
        SocketType::Pub
    };
    let buffer = if case == "err-frame-atmax" { 1009 } else { 64 };
    let mut session = Session::new(ours, limits(case), buffer);
    let mut libzmq = Libzmq::default();
    let mut closed = false;
    for line in lines {
        let (who, line) = line.split_once(' ').unwrap();
        let (time, bytes) = line.split_once(' ').unwrap_or((line, ""));
        let time: u64 = time.parse().unwrap();
        let bytes = unpack(bytes);
        match who {
            "C" => {
                session.poll(time);
                assert!(
                    session.error.is_none() || DIFFERENT.contains(&case),
                    "{case}: {time}"
                );
                session.feed(&bytes, &mut pieces, time);
            }
            "Z" => {
                session.poll(time);
                libzmq.sent(&bytes, &session, case);
            }
            _ => {
                // Timers in the captures are late by some milliseconds.
                session.poll(time + 20);
                closed = true;
            }
        }
    }
    let expected = ERRORS
        .iter()
        .find(|(name, _)| *name == case)
        .map(|(_, error)| *error);
    let error = session.error.map(|error| error.to_string());
    assert_eq!(error.as_deref(), expected, "{case}");
    if closed != error.is_some() {
        assert!(DIFFERENT.contains(&case), "{case}: libzmq closed: {closed}");
    } else if case == "hb-client-ping" {
        // To a PING without its TTL libzmq sends what it sent before; we send nothing.
        assert_eq!(session.said, libzmq.commands[..libzmq.commands.len() - 23]);
    } else if libzmq.greeted {
        let (said, word) = session.said.split_at(libzmq.commands.len());
        assert_eq!(said, libzmq.commands, "{case}");
        assert!(
            word.is_empty() || word[0] == 4 && word[2..].starts_with(b"\x05ERROR"),
            "{case}"
        );
    }
    let received: Vec<&[u8]> = session.received.iter().map(Vec::as_slice).collect();
    match case {
        "sub-v30" | "sub-v31" | "sub-v32" => {
            assert_eq!(received, [&b"org.a.topic"[..], b"{\"i\":1}"]);
        }
        "suberr-matched-topic" | "suberr-unknowncmd" => assert_eq!(received, [&b"org.a"[..], b"x"]),
        "suberr-unmatched-topic" => assert_eq!(received, [&b"other"[..], b"x"]),
        "suberr-singleframe" => assert_eq!(received, [b"org.a"]),
        "suberr-wrongtype" => assert_eq!(received, [b"\x01org"]),
        _ => assert!(received.is_empty(), "{case}"),
    }
    let subscribed = session.prefixes.matches(b"org.a.topic");
    let cancelled = case.starts_with("pub-v3") || case.starts_with("pub-v4");
    let served = case.starts_with("err") || case.starts_with("misc");
    if cancelled || (served && error.is_none()) {
        assert_eq!(subscribed, !cancelled, "{case}");
    }
}

fn replay_all(mut pieces: impl FnMut() -> usize) {
    let mut cases = 0;
    for capture in CAPTURES.split("\n== ").skip(2) {
        let (case, capture) = capture.split_once('\n').unwrap();
        let lines: Vec<&str> = capture
            .lines()
            .skip(1)
            .filter(|line| !line.is_empty())
            .collect();
        replay(case, &lines, &mut pieces);
        cases += 1;
    }
    assert_eq!(cases, 76);
}

#[test]
fn every_conversation_ends_as_libzmq_ended_it() {
    replay_all(|| usize::MAX);
}

#[test]
fn every_conversation_ends_so_a_byte_at_a_time() {
    replay_all(|| 1);
}

#[test]
fn every_conversation_ends_so_in_pieces_of_any_size() {
    let mut seed = 1_u64;
    for _ in 0..50 {
        replay_all(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % 24 + 1
        });
    }
}
