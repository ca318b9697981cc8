//! What the images work on, hidden from the optimizer: the bytes of a libzmq 4.3.5 subscriber, and
//! a topic and a body of the length that figures are given for.

use core::hint::black_box;

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
pub fn read(bytes: &[u8], space: &mut [u8]) -> usize {
    space
        .iter_mut()
        .zip(bytes)
        .map(|(to, from)| *to = black_box(*from))
        .count()
}
