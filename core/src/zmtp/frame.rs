//! Frames: the unit of everything after the greeting (RFC 37, "Framing").
//!
//! ```text
//! flags  length            body
//! 1      1 (0..=255)       length bytes        short form
//! 1      8 (big endian)    length bytes        long form, flag 2 set
//! ```
//! Flag 1 says that the message goes on with another frame, flag 4 that the frame is a command.
//! The other bits are reserved; like libzmq we ignore them. We write the short form wherever it
//! fits and read both.

use core::fmt;

use super::BufferTooSmall;
use crate::copy::copy;

pub(super) const MORE: u8 = 1;
pub(super) const LONG: u8 = 2;
pub(super) const COMMAND: u8 = 4;

/// The longest header: flags and 8 bytes of length.
pub const MAX_HEADER: usize = 9;

/// What comes before a frame's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// Another frame of the same message follows.
    pub more: bool,
    /// The frame is a command, not part of a message.
    pub command: bool,
    /// Length of the body in bytes.
    pub len: u64,
}

impl Header {
    /// The header of a message's frame with a body of `len` bytes.
    #[inline]
    pub const fn message(len: usize, more: bool) -> Self {
        Header {
            more,
            command: false,
            len: len as u64,
        }
    }

    /// The header's bytes: 2, or 9 for a body over 255 bytes.
    #[inline]
    pub fn encode(&self) -> HeaderBytes {
        let mut bytes = [0; MAX_HEADER];
        let left = self.put(&mut bytes).len();
        let size = (MAX_HEADER - left) as u8;
        HeaderBytes { bytes, size }
    }

    /// How many bytes [`encode`](Self::encode) makes.
    #[inline]
    pub const fn encoded_len(&self) -> usize {
        if self.len > u8::MAX as u64 { 9 } else { 2 }
    }

    /// Writes the header, which fits, and returns what is left of `out`.
    #[inline]
    pub(super) fn put<'o>(&self, out: &'o mut [u8]) -> &'o mut [u8] {
        let flags = if self.more { MORE } else { 0 } | if self.command { COMMAND } else { 0 };
        if let Ok(short) = u8::try_from(self.len) {
            let Some((to, rest)) = out.split_first_chunk_mut() else {
                return &mut [];
            };
            *to = [flags, short];
            return rest;
        }
        let Some(([first, length @ ..], rest)) = out.split_first_chunk_mut::<MAX_HEADER>() else {
            return &mut [];
        };
        *first = flags | LONG;
        *length = self.len.to_be_bytes();
        rest
    }
}

/// The bytes of a [`Header`]; dereferences to them.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HeaderBytes {
    bytes: [u8; MAX_HEADER],
    size: u8,
}

impl core::ops::Deref for HeaderBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.size)).unwrap_or_default()
    }
}

/// One frame, its body borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Frame<'a> {
    /// Another frame of the same message follows.
    pub more: bool,
    /// The frame is a command: [`Command::decode`](super::Command::decode) reads its body.
    pub command: bool,
    /// What the frame carries.
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// Its header.
    #[inline]
    pub const fn header(&self) -> Header {
        Header {
            more: self.more,
            command: self.command,
            len: self.body.len() as u64,
        }
    }

    /// Writes the frame to the front of `out` and returns its length.
    ///
    /// # Errors
    /// [`BufferTooSmall`], and `out` is as it was.
    #[inline]
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let header = self.header();
        let size = header.encoded_len().saturating_add(self.body.len());
        BufferTooSmall::check(size, out)?;
        put(self.body, header.put(out));
        Ok(size)
    }
}

/// What [`decode`] found at the front of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Decoded<'a> {
    /// A whole frame.
    Frame {
        /// The frame.
        frame: Frame<'a>,
        /// Length of the frame with its header: where the next one begins.
        consumed: usize,
    },
    /// The frame is not all there.
    Incomplete {
        /// At least so many more bytes are needed: exactly, once the header is there.
        missing: u64,
    },
}

/// Why [`decode`] refuses a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FrameError {
    /// The header announces a body over the limit.
    TooLarge {
        /// The body's announced length.
        len: u64,
        /// What the caller allows.
        limit: u64,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLarge { len, limit } => {
                write!(f, "frame of {len} bytes, limit {limit}")
            }
        }
    }
}

impl core::error::Error for FrameError {}

/// Reads the frame at the front of `bytes`; its body may have `max_len` bytes at most, which is
/// checked as soon as the header is there.
///
/// ```
/// use fedmsg_core::zmtp::frame::{Decoded, decode};
///
/// let Ok(Decoded::Frame { frame, consumed }) = decode(b"\x01\x05topic\x00", 1000) else { panic!() };
/// assert_eq!((frame.body, frame.more, consumed), (&b"topic"[..], true, 7));
/// assert_eq!(decode(b"\x00\x07{\"i\"", 1000), Ok(Decoded::Incomplete { missing: 3 }));
/// ```
///
/// # Errors
/// [`FrameError::TooLarge`].
#[inline]
pub fn decode(bytes: &[u8], max_len: u64) -> Result<Decoded<'_>, FrameError> {
    let Some(raw) = RawHeader::read(bytes) else {
        let missing = RawHeader::missing(bytes) as u64;
        return Ok(Decoded::Incomplete { missing });
    };
    if raw.len > max_len {
        let (len, limit) = (raw.len, max_len);
        return Err(FrameError::TooLarge { len, limit });
    }
    let rest = bytes.get(raw.size..).unwrap_or_default();
    let body = usize::try_from(raw.len)
        .ok()
        .and_then(|len| rest.get(..len));
    let Some(body) = body else {
        let missing = raw.len - rest.len() as u64;
        return Ok(Decoded::Incomplete { missing });
    };
    let frame = Frame {
        more: raw.flags & MORE != 0,
        command: raw.flags & COMMAND != 0,
        body,
    };
    let consumed = raw.size + body.len();
    Ok(Decoded::Frame { frame, consumed })
}

/// Writes a message of two frames, `topic` and `body`, to the front of `out` and returns its
/// length.
///
/// ```
/// let mut out = [0; 64];
/// let n = fedmsg_core::zmtp::encode_message(b"org.a", b"{}", &mut out)?;
/// assert_eq!(&out[..n], b"\x01\x05org.a\x00\x02{}");
/// # Ok::<(), fedmsg_core::zmtp::BufferTooSmall>(())
/// ```
///
/// # Errors
/// [`BufferTooSmall`], and `out` is as it was.
#[inline]
pub fn encode_message(topic: &[u8], body: &[u8], out: &mut [u8]) -> Result<usize, BufferTooSmall> {
    let first = Header::message(topic.len(), true);
    let second = Header::message(body.len(), false);
    let size = topic.len().saturating_add(body.len());
    let size = size.saturating_add(first.encoded_len() + second.encoded_len());
    BufferTooSmall::check(size, out)?;
    put(body, second.put(put(topic, first.put(out))));
    Ok(size)
}

/// The headers of a message of two frames, for a gathered write of header, topic, header, body.
#[inline]
pub fn message_headers(topic_len: usize, body_len: usize) -> [HeaderBytes; 2] {
    [
        Header::message(topic_len, true).encode(),
        Header::message(body_len, false).encode(),
    ]
}

/// Writes `bytes`, which fit, and returns what is left of `out`.
#[inline]
pub(super) fn put<'o>(bytes: &[u8], out: &'o mut [u8]) -> &'o mut [u8] {
    let Some((to, rest)) = out.split_at_mut_checked(bytes.len()) else {
        return &mut [];
    };
    copy(to, bytes);
    rest
}

/// A header as it stands on the wire, reserved bits and all.
#[derive(Clone, Copy)]
pub(super) struct RawHeader {
    pub(super) flags: u8,
    /// Length of the body.
    pub(super) len: u64,
    /// Length of the header itself.
    pub(super) size: usize,
}

impl RawHeader {
    /// The header at the front of `bytes`, if it is all there.
    #[inline]
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (&[flags, short], _) = bytes.split_first_chunk()?;
        if flags & LONG == 0 {
            let len = u64::from(short);
            return Some(RawHeader {
                flags,
                len,
                size: 2,
            });
        }
        let (&[_, length @ ..], _) = bytes.split_first_chunk::<MAX_HEADER>()?;
        let len = u64::from_be_bytes(length);
        Some(RawHeader {
            flags,
            len,
            size: MAX_HEADER,
        })
    }

    /// How many more bytes an incomplete header at the front of `bytes` needs at least.
    pub(super) fn missing(bytes: &[u8]) -> usize {
        let size = match bytes.first() {
            Some(flags) if flags & LONG != 0 => MAX_HEADER,
            _ => 2,
        };
        size.saturating_sub(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn encoded(frame: Frame<'_>) -> Vec<u8> {
        let mut out = vec![0; frame.body.len() + MAX_HEADER];
        let n = frame.encode(&mut out).unwrap();
        out.truncate(n);
        out
    }

    #[test]
    fn a_header_is_as_short_as_its_length_allows() {
        let cases: [(u64, &[u8]); 4] = [
            (0, b"\x01\x00"),
            (255, b"\x01\xff"),
            (256, b"\x03\0\0\0\0\0\0\x01\0"),
            (u64::MAX, b"\x03\xff\xff\xff\xff\xff\xff\xff\xff"),
        ];
        for (len, bytes) in cases {
            let header = Header {
                more: true,
                command: false,
                len,
            };
            assert_eq!(*header.encode(), *bytes);
            assert_eq!(header.encoded_len(), bytes.len());
        }
    }

    #[test]
    fn the_long_form_of_a_short_frame_and_reserved_flags_are_read() {
        let frame = Frame {
            more: true,
            command: true,
            body: b"x",
        };
        let consumed = 10;
        let bytes = b"\xff\0\0\0\0\0\0\0\x01xyz";
        assert_eq!(decode(bytes, 1), Ok(Decoded::Frame { frame, consumed }));
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_from_its_header() {
        let (len, limit) = (1 << 63, 255);
        let bytes = b"\x02\x80\0\0\0\0\0\0\0";
        assert_eq!(
            decode(bytes, limit),
            Err(FrameError::TooLarge { len, limit })
        );
        assert_eq!(
            decode(&bytes[..8], limit),
            Ok(Decoded::Incomplete { missing: 1 })
        );
        assert!(decode(b"\x00\xff", 255).is_ok());
    }

    #[test]
    fn a_message_does_not_touch_a_buffer_that_is_too_small() {
        let mut out = [7; 300];
        let needed = 2 + 5 + 9 + 256;
        for available in 0..needed {
            let small = encode_message(b"topic", &[1; 256], &mut out[..available]);
            assert_eq!(small, Err(BufferTooSmall { needed, available }));
            assert_eq!(out, [7; 300]);
        }
        assert_eq!(encode_message(b"topic", &[1; 256], &mut out), Ok(needed));
        let [first, second] = message_headers(5, 256);
        let wire = [&first[..], b"topic", &second, &[1; 256]].concat();
        assert_eq!(out[..needed], wire);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_and_nothing_less(
            more: bool,
            command: bool,
            body in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let frame = Frame { more, command, body: &body };
            let wire = encoded(frame);
            for cut in 0..wire.len() {
                let Ok(Decoded::Incomplete { missing }) = decode(&wire[..cut], 600) else {
                    panic!("a frame in {cut} of {} bytes", wire.len());
                };
                prop_assert!(missing > 0 && cut + missing as usize <= wire.len());
            }
            let consumed = wire.len();
            prop_assert_eq!(decode(&wire, 600), Ok(Decoded::Frame { frame, consumed }));
        }
    }
}
