//! What the images work on, hidden from the optimizer: the bytes of a libzmq 4.3.5 subscriber, and
//! a topic and a body of the length that figures are given for.

use core::hint::black_box;

use fedmsg_core::message::{Envelope, MessageId};

/// 31 bytes, as most topics on a bus are.
pub const TOPIC: &[u8] = b"org.example.dev.logger.log.info";
/// 200 bytes.
pub const BODY: &[u8] = &[b'x'; 200];

const GREETING: &[u8; 64] =
    b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const READY: &[u8] = b"\x04\x26\x05READY\x0bSocket-Type\0\0\0\x03SUB\x08Identity\0\0\0\0\
    \x04\x0e\x09SUBSCRIBEorg.";

/// Its greeting.
#[must_use]
pub fn greeting() -> &'static [u8] {
    black_box(GREETING)
}

/// Its READY, and a subscription to all topics under `org.`.
#[must_use]
pub fn ready_and_subscription() -> &'static [u8] {
    black_box(READY)
}

/// What a service logs; in [`envelope`] it makes a message of 200 bytes.
#[derive(serde::Serialize)]
pub struct Log {
    priority: u32,
    unit: &'static str,
    message: &'static str,
}

impl Log {
    /// One of them.
    #[must_use]
    pub fn canned() -> Self {
        black_box(Self {
            priority: 6,
            unit: "dhcp.service",
            message: "lease renewed: 1 h.",
        })
    }
}

/// The envelope of that message.
#[must_use]
pub fn envelope() -> Envelope<'static> {
    let timestamp = black_box(1_795_430_000);
    Envelope {
        topic: black_box("org.example.dev.logger.log.info"),
        i: black_box(7),
        timestamp,
        msg_id: MessageId::new(timestamp, black_box([0x5a; 16])),
        username: None,
        seq_id: None,
    }
}

/// A private key of P-256.
#[must_use]
pub fn key() -> &'static [u8; 32] {
    black_box(&[0x42; 32])
}

/// As long as a P-256 certificate is in a message.
#[must_use]
pub fn certificate_field() -> &'static [u8] {
    black_box(&[b'A'; 880])
}

/// What a gathered write would send: how many bytes it is.
#[must_use]
pub fn write(slices: &[&[u8]]) -> usize {
    black_box(slices).iter().map(|slice| slice.len()).sum()
}

/// [`TOPIC`].
#[must_use]
pub fn topic() -> &'static [u8] {
    black_box(TOPIC)
}

/// [`BODY`].
#[must_use]
pub fn body() -> &'static [u8] {
    black_box(BODY)
}

/// Reads `bytes` into the front of `space`, as far as it goes, like a driver that takes them from a
/// register one by one; returns how many.
#[inline(never)]
pub fn read(bytes: &[u8], space: &mut [u8]) -> usize {
    space
        .iter_mut()
        .zip(bytes)
        .map(|(to, from)| *to = black_box(*from))
        .count()
}
