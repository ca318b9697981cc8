//! What ends a connection, and what an encoder needs.

use core::fmt;

use super::{GreetingError, SocketType};

/// The caller's buffer does not hold what was to be written; nothing was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BufferTooSmall {
    /// Bytes needed.
    pub needed: usize,
    /// Bytes there are.
    pub available: usize,
}

impl BufferTooSmall {
    #[inline]
    pub(super) fn check(needed: usize, out: &[u8]) -> Result<(), Self> {
        let available = out.len();
        if available < needed {
            return Err(BufferTooSmall { needed, available });
        }
        Ok(())
    }
}

impl fmt::Display for BufferTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BufferTooSmall { needed, available } = self;
        write!(f, "buffer of {available} bytes, {needed} needed")
    }
}

impl core::error::Error for BufferTooSmall {}

/// Why a connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PeerError {
    /// The peer's greeting is none that we can answer.
    Greeting(GreetingError),
    /// A message, or a command other than READY, came before READY.
    ExpectedReady,
    /// The peer sent ERROR in place of READY.
    Refused {
        /// How the reason begins that it gave.
        reason: ShortText,
    },
    /// A property in READY runs past the end of the command.
    BadMetadata,
    /// The peer's `Socket-Type` does not go with ours.
    IncompatibleSocketType {
        /// Our side's.
        ours: SocketType,
        /// What the peer sent.
        theirs: ShortText,
    },
    /// A frame with its header is over [`Limits::max_message`](super::Limits::max_message).
    FrameTooLarge {
        /// Length of its body, as announced.
        len: u64,
        /// The limit.
        limit: usize,
    },
    /// The frames of a message are together over
    /// [`Limits::max_message`](super::Limits::max_message).
    MessageTooLarge {
        /// The limit.
        limit: usize,
    },
    /// A subscription's prefix is over
    /// [`Limits::max_subscription`](super::Limits::max_subscription).
    SubscriptionTooLong {
        /// Length of the prefix.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// A reply without the empty frame that ends its envelope.
    MissingDelimiter,
    /// The handshake was not done within
    /// [`Limits::handshake_timeout_ms`](super::Limits::handshake_timeout_ms).
    HandshakeTimeout,
    /// The peer was silent after a PING of ours, or for the time to live that it gave with its own.
    HeartbeatTimeout,
    /// An earlier call ended the connection.
    AlreadyFailed,
}

impl PeerError {
    /// Whether connecting again to the same peer will end the same way. libzmq connects again after
    /// a timeout and not after anything else in this list.
    pub const fn is_permanent(&self) -> bool {
        !matches!(
            self,
            PeerError::HandshakeTimeout | PeerError::HeartbeatTimeout | PeerError::AlreadyFailed
        )
    }

    /// Whether the peer is told by an ERROR command: not if it cannot read one, and not if it should
    /// simply come back.
    pub(super) const fn is_told(&self) -> bool {
        self.is_permanent() && !matches!(self, PeerError::Greeting(_) | PeerError::Refused { .. })
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerError::Greeting(error) => error.fmt(f),
            PeerError::ExpectedReady => f.write_str("peer sent something else before READY"),
            PeerError::Refused { reason } => write!(f, "peer refused the handshake: {reason}"),
            PeerError::BadMetadata => f.write_str("property past the end of READY"),
            PeerError::IncompatibleSocketType { ours, theirs } => {
                write!(f, "peer's socket type {theirs} does not go with {ours}")
            }
            PeerError::FrameTooLarge { len, limit } => {
                write!(f, "frame of {len} bytes, limit {limit} with its header")
            }
            PeerError::MessageTooLarge { limit } => {
                write!(f, "message over the limit of {limit} bytes")
            }
            PeerError::SubscriptionTooLong { len, limit } => {
                write!(f, "subscription of {len} bytes, limit {limit}")
            }
            PeerError::MissingDelimiter => f.write_str("reply without an empty delimiter frame"),
            PeerError::HandshakeTimeout => f.write_str("handshake timed out"),
            PeerError::HeartbeatTimeout => f.write_str("heartbeat timed out: peer is silent"),
            PeerError::AlreadyFailed => f.write_str("connection has failed before"),
        }
    }
}

impl core::error::Error for PeerError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            PeerError::Greeting(error) => Some(error),
            _ => None,
        }
    }
}

impl From<GreetingError> for PeerError {
    fn from(error: GreetingError) -> Self {
        PeerError::Greeting(error)
    }
}

/// The first 8 bytes of a text that a peer sent, for a report: all of any mechanism's or socket
/// type's name, and of the status codes that libzmq gives as reasons. Shown without zeros at its
/// end, and with `?` for anything but printable ASCII.
// A number, so that an error fits into a few registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShortText(u64);

impl ShortText {
    pub(super) const MAX: usize = 8;

    pub(super) fn new(text: &[u8]) -> Self {
        ShortText((0..Self::MAX).rev().fold(0, |number, at| {
            number << 8 | u64::from(text.get(at).copied().unwrap_or(0))
        }))
    }

    /// The text, and zeros after it.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

impl fmt::Display for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let bytes = self.to_bytes();
        let mut text = &bytes[..];
        while let [start @ .., 0] = text {
            text = start;
        }
        for &byte in text {
            let printable = matches!(byte, b' '..=b'~');
            f.write_char(if printable { char::from(byte) } else { '?' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for ShortText {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=[u8; 8]:a}", self.to_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_peers_text_is_shown_without_what_a_terminal_would_obey() {
        let text = ShortText::new(b"\x1b[2Ja \xff, and more than is kept");
        assert_eq!(text.to_string(), "?[2Ja ?,");
        assert_eq!(ShortText::new(b"PLAIN\0\0\0").to_string(), "PLAIN");
        assert_eq!(ShortText::new(b"").to_string(), "");
    }
}
