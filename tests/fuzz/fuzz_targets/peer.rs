//! One connection in any role, its input cut in any way: nothing panics, every call gets on, and
//! the same happens however the bytes are cut.
#![no_main]

use fedmsg_core::zmtp::{Event, Heartbeat, Inbox, Limits, Peer, PeerError, SocketType};
use libfuzzer_sys::fuzz_target;

const ROLES: [SocketType; 8] = [
    SocketType::Pub,
    SocketType::Sub,
    SocketType::Xpub,
    SocketType::Xsub,
    SocketType::Req,
    SocketType::Rep,
    SocketType::Dealer,
    SocketType::Router,
];

const LIMITS: Limits = Limits {
    max_message: 600,
    max_subscription: 100,
    handshake_timeout_ms: 5000,
    heartbeat: Some(Heartbeat {
        interval_ms: 50,
        timeout_ms: 2000,
        ttl: 3,
    }),
};

/// Feeds the bytes in pieces, each of which takes a millisecond if `ticking`; returns the events, as
/// bytes, and the error.
fn run(
    role: SocketType,
    bytes: &[u8],
    mut pieces: impl FnMut() -> usize,
    ticking: bool,
) -> (Vec<u8>, Option<PeerError>) {
    let mut peer = Peer::new(role, LIMITS, 0);
    // As long as the longest message: nothing may need more.
    let mut inbox = Inbox::new([0; LIMITS.max_message]);
    let mut events = Vec::new();
    let mut out = [0; 100];
    let (mut rest, mut now) = (bytes, 0);
    while !rest.is_empty() {
        let space = inbox.space();
        let n = pieces().clamp(1, rest.len()).min(space.len());
        assert_ne!(n, 0, "stuck");
        space[..n].copy_from_slice(&rest[..n]);
        inbox.commit(n);
        rest = &rest[n..];
        loop {
            let unread = inbox.unread();
            let input = match peer.input(unread, now) {
                Ok(input) => input,
                Err(error) => {
                    peer.output(&mut out);
                    assert!(!peer.has_output() && !peer.is_ready());
                    assert_eq!(peer.input(b"x", now), Err(PeerError::AlreadyFailed));
                    return (events, Some(error));
                }
            };
            let consumed = input.consumed;
            assert!(consumed <= unread.len());
            let Some(event) = input.event else {
                assert!(input.needed > unread.len() - consumed);
                assert!(input.needed <= LIMITS.max_message);
                inbox.consume(consumed);
                break;
            };
            match event {
                Event::Ready(_) => events.push(b'r'),
                Event::Subscribe(prefix) => events.extend([b"s", prefix].concat()),
                Event::Cancel(prefix) => events.extend([b"c", prefix].concat()),
                Event::Message(message) => {
                    assert_eq!(message.frames().count(), message.frame_count());
                    assert!(message.wire().is_none_or(|wire| wire.len() <= consumed));
                    events.extend(message.envelope());
                    message
                        .frames()
                        .for_each(|body| events.extend([b"m", body].concat()));
                }
            }
            inbox.consume(consumed);
        }
        peer.output(&mut out[..pieces() % 100]);
        if ticking {
            now += 1;
            if let Err(error) = peer.poll(now) {
                return (events, Some(error));
            }
        }
    }
    (events, None)
}

// The first byte names the role, the second how many bytes the sizes of the pieces take.
fuzz_target!(|data: &[u8]| {
    let [role, sizes, data @ ..] = data else {
        return;
    };
    let role = ROLES[usize::from(*role) % ROLES.len()];
    let (sizes, bytes) = data.split_at(usize::from(*sizes % 8).min(data.len()));
    let mut cycle = sizes.iter().cycle();
    let mut pieces = || cycle.next().map_or(1, |size| usize::from(*size));
    let cut = run(role, bytes, &mut pieces, false);
    let whole = run(role, bytes, || usize::MAX, false);
    assert_eq!(cut, whole);
    run(role, bytes, &mut pieces, true);
});
