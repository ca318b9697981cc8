//! Commands: what two sockets tell each other besides messages (RFC 37, "Commands").
//!
//! A command is a frame with the command flag; its body is a name with a length byte before it,
//! then what the name calls for:
//!
//! ```text
//! 05 READY      properties: 1 byte length, name, 4 bytes length (big endian), value
//! 05 ERROR      1 byte length, reason
//! 09 SUBSCRIBE  prefix
//! 06 CANCEL     prefix
//! 04 PING       time to live in tenths of a second (2 bytes, big endian), context
//! 04 PONG       the PING's context, 16 bytes at most
//! ```

use super::BufferTooSmall;
use super::frame::{Header, put};

/// The longest context of a PING that is sent back.
pub const MAX_CONTEXT: usize = 16;

/// A command's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command<'a> {
    /// Ends the NULL handshake.
    Ready(Metadata<'a>),
    /// The sender gives up; the reason is ASCII of at most 255 bytes.
    Error(&'a [u8]),
    /// The sender wants messages that begin with these bytes. ZMTP 3.0 has a message for this.
    Subscribe(&'a [u8]),
    /// It does not want them any more.
    Cancel(&'a [u8]),
    /// Asks for a PONG.
    Ping {
        /// After so many tenths of a second without traffic the peer may be taken for dead;
        /// 0 says nothing.
        ttl: u16,
        /// To be sent back.
        context: &'a [u8],
    },
    /// Answers a PING.
    Pong(&'a [u8]),
}

impl<'a> Command<'a> {
    /// Reads the body of a command frame; `None` for a command that is not known or does not hold
    /// what its name calls for (the peer's error, to be ignored: libzmq does).
    pub fn decode(body: &'a [u8]) -> Option<Self> {
        let Lookup::Known(name, size) = Name::find(body, true) else {
            return None;
        };
        let rest = body.get(size..)?;
        Some(match name {
            Name::Ready => Command::Ready(Metadata(rest)),
            Name::Error => {
                let (&len, reason) = rest.split_first()?;
                Command::Error(reason.get(..usize::from(len))?)
            }
            Name::Subscribe => Command::Subscribe(rest),
            Name::Cancel => Command::Cancel(rest),
            Name::Ping => {
                let (&ttl, context) = rest.split_first_chunk()?;
                let ttl = u16::from_be_bytes(ttl);
                Command::Ping { ttl, context }
            }
            Name::Pong => Command::Pong(rest),
        })
    }

    /// Writes the command with its frame header to the front of `out` and returns its length. Of an
    /// ERROR's reason at most 255 bytes are written.
    ///
    /// # Errors
    /// [`BufferTooSmall`], and `out` is as it was.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        match *self {
            Command::Ready(metadata) => encode(READY, &[], metadata.0, out),
            Command::Error(reason) => {
                let len = u8::try_from(reason.len()).unwrap_or(u8::MAX);
                let reason = reason.get(..usize::from(len)).unwrap_or_default();
                encode(ERROR, &[len], reason, out)
            }
            Command::Subscribe(prefix) => encode(SUBSCRIBE, &[], prefix, out),
            Command::Cancel(prefix) => encode(CANCEL, &[], prefix, out),
            Command::Ping { ttl, context } => encode(PING, &ttl.to_be_bytes(), context, out),
            Command::Pong(context) => encode(PONG, &[], context, out),
        }
    }
}

/// A command frame of `name`, `arguments`, `rest`.
fn encode(
    name: &[u8],
    arguments: &[u8],
    rest: &[u8],
    out: &mut [u8],
) -> Result<usize, BufferTooSmall> {
    let len = name.len() + arguments.len();
    let len = len.saturating_add(rest.len());
    let header = Header {
        more: false,
        command: true,
        len: len as u64,
    };
    let size = len.saturating_add(header.encoded_len());
    BufferTooSmall::check(size, out)?;
    put(rest, put(arguments, put(name, header.put(out))));
    Ok(size)
}

// The names, with their length bytes.
const READY: &[u8] = b"\x05READY";
const ERROR: &[u8] = b"\x05ERROR";
const SUBSCRIBE: &[u8] = b"\x09SUBSCRIBE";
const CANCEL: &[u8] = b"\x06CANCEL";
pub(super) const PING: &[u8] = b"\x04PING";
pub(super) const PONG: &[u8] = b"\x04PONG";

/// The commands that we know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Ready,
    Error,
    Subscribe,
    Cancel,
    Ping,
    Pong,
}

/// What a command's first bytes tell.
pub(super) enum Lookup {
    /// Its name, and how many bytes that takes.
    Known(Name, usize),
    /// Nothing yet: so many bytes may decide.
    Undecided(usize),
    /// None of ours.
    Unknown,
}

impl Name {
    const ALL: [(Name, &[u8]); 6] = [
        (Name::Ready, READY),
        (Name::Error, ERROR),
        (Name::Subscribe, SUBSCRIBE),
        (Name::Cancel, CANCEL),
        (Name::Ping, PING),
        (Name::Pong, PONG),
    ];

    /// Reads the name from the front of a command's body, or of as much of it as is there.
    pub(super) fn find(body: &[u8], complete: bool) -> Lookup {
        for (name, bytes) in &Self::ALL {
            if body.starts_with(bytes) {
                return Lookup::Known(*name, bytes.len());
            }
            if !complete && bytes.starts_with(body) {
                return Lookup::Undecided(body.len() + 1);
            }
        }
        Lookup::Unknown
    }
}

/// The properties in a READY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Metadata<'a>(
    /// Their bytes, one property after the other.
    pub &'a [u8],
);

impl<'a> Metadata<'a> {
    /// Each property's name (compare it without regard to case) and value. Ends after an error.
    pub fn properties(&self) -> impl Iterator<Item = Result<(&'a [u8], &'a [u8]), BadMetadata>> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let bytes = core::mem::take(&mut left);
            if bytes.is_empty() {
                return None;
            }
            let Ok(PropertyHead::Whole { name, size, value }) =
                PropertyHead::read(bytes, bytes.len())
            else {
                return Some(Err(BadMetadata));
            };
            let (value, rest) = bytes.get(size..)?.split_at_checked(value)?;
            left = rest;
            Some(Ok((name, value)))
        })
    }
}

/// A property runs past the end of its READY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BadMetadata;

impl core::fmt::Display for BadMetadata {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("property past the end of READY")
    }
}

impl core::error::Error for BadMetadata {}

/// A property up to its value.
pub(super) enum PropertyHead<'a> {
    Whole {
        name: &'a [u8],
        /// Length of the head itself.
        size: usize,
        /// Length of the value.
        value: usize,
    },
    /// So many bytes are needed to tell.
    Incomplete(usize),
}

impl<'a> PropertyHead<'a> {
    /// Reads the head at the front of `bytes`; `left` are the bytes from here to the end of READY.
    pub(super) fn read(bytes: &'a [u8], left: usize) -> Result<Self, BadMetadata> {
        let Some(&name_len) = bytes.first() else {
            return Ok(PropertyHead::Incomplete(1));
        };
        let size = 1 + usize::from(name_len) + 4;
        let room = left.checked_sub(size).ok_or(BadMetadata)?;
        let Some([_, name @ .., a, b, c, d]) = bytes.get(..size) else {
            return Ok(PropertyHead::Incomplete(size));
        };
        let value = u32::from_be_bytes([*a, *b, *c, *d]);
        match usize::try_from(value) {
            Ok(value) if value <= room => Ok(PropertyHead::Whole { name, size, value }),
            _ => Err(BadMetadata),
        }
    }
}

/// The name of the property for a socket's type.
pub(super) const SOCKET_TYPE: &[u8] = b"Socket-Type";

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn each_command_has_its_bytes() {
        let cases: [(Command<'_>, &[u8]); 7] = [
            (
                Command::Ready(Metadata(b"\x01A\0\0\0\0")),
                b"\x04\x0c\x05READY\x01A\0\0\0\0",
            ),
            (Command::Error(b"bad"), b"\x04\x0a\x05ERROR\x03bad"),
            (Command::Subscribe(b"a"), b"\x04\x0b\x09SUBSCRIBEa"),
            (Command::Cancel(b""), b"\x04\x07\x06CANCEL"),
            (
                Command::Ping {
                    ttl: 258,
                    context: b"c",
                },
                b"\x04\x08\x04PING\x01\x02c",
            ),
            (Command::Pong(b"c"), b"\x04\x06\x04PONGc"),
            (Command::Pong(b""), b"\x04\x05\x04PONG"),
        ];
        let mut out = [0; 32];
        for (command, wire) in cases {
            let n = command.encode(&mut out).unwrap();
            assert_eq!(&out[..n], wire);
            assert_eq!(Command::decode(&wire[2..]), Some(command));
            let small = BufferTooSmall {
                needed: n,
                available: n - 1,
            };
            assert_eq!(command.encode(&mut out[..n - 1]), Err(small));
        }
    }

    #[test]
    fn a_long_command_has_the_long_form_and_a_long_reason_is_cut() {
        let mut out = [0; 400];
        assert_eq!(Command::Subscribe(&[0; 245]).encode(&mut out), Ok(257));
        assert_eq!(Command::Subscribe(&[0; 246]).encode(&mut out), Ok(265));
        assert_eq!(out[..9], *b"\x06\0\0\0\0\0\0\x01\0");
        assert_eq!(
            Command::Error(&[b'x'; 300]).encode(&mut out),
            Ok(9 + 6 + 1 + 255)
        );
    }

    #[test]
    fn what_is_no_command_of_ours_is_none() {
        let cases: [&[u8]; 8] = [
            b"",
            b"\x05READ",
            b"\x05ready",
            b"\x03FOO",
            b"\xffREADY",
            b"\x04PING\x00",
            b"\x05ERROR",
            b"\x05ERROR\x04bad",
        ];
        for body in cases {
            assert_eq!(Command::decode(body), None, "{body:?}");
        }
    }

    #[test]
    fn properties_end_at_the_first_that_runs_past_the_end() {
        let good = b"\x01A\0\0\0\x02xy\0\0\0\0\0";
        let properties: Vec<_> = Metadata(good).properties().collect();
        assert_eq!(properties, [Ok((&b"A"[..], &b"xy"[..])), Ok((b"", b""))]);
        let cases: [&[u8]; 4] = [
            b"\x01",
            b"\x01A\0\0\0",
            b"\x01A\0\0\0\x01",
            b"\x01A\xff\xff\xff\xffxy",
        ];
        for bytes in cases {
            let properties: Vec<_> = Metadata(bytes).properties().collect();
            assert_eq!(properties, [Err(BadMetadata)], "{bytes:?}");
        }
    }
}
