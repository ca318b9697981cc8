//! What a publisher's and a subscriber's end of a connection have in common: how it ends, protocol
//! bytes on their way, and moving bytes over a stream.

use crate::zmtp::{Peer, PeerError};
use core::fmt;

/// Why a connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LinkError {
    /// The peer broke the protocol, or went silent.
    Peer(PeerError),
    /// The subscriptions take more room than there is for them.
    Subscriptions,
    /// The peer sent what the connection's buffer does not hold.
    BufferTooSmall {
        /// The buffer that it needs, in bytes.
        needed: usize,
    },
    /// The peer was in the middle of a message when the ring had to let that go.
    TooSlow,
    /// There is no connection of that number.
    NoLink,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(error) => error.fmt(f),
            Self::Subscriptions => f.write_str("more subscriptions than there is room for"),
            Self::BufferTooSmall { needed } => {
                write!(f, "the peer's frame needs a buffer of {needed} bytes")
            }
            Self::TooSlow => f.write_str("the subscriber was too slow for the message under way"),
            Self::NoLink => f.write_str("no such connection"),
        }
    }
}

impl core::error::Error for LinkError {}

/// Why a connection over a stream ended.
#[cfg(any(feature = "sync", feature = "async"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StreamError<E> {
    /// For a reason of the protocol's, or a limit.
    Link(LinkError),
    /// The other side closed the connection.
    Closed,
    /// The stream failed.
    Io(E),
}

#[cfg(any(feature = "sync", feature = "async"))]
impl<E> From<LinkError> for StreamError<E> {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

#[cfg(any(feature = "sync", feature = "async"))]
impl<E: fmt::Display> fmt::Display for StreamError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::Closed => f.write_str("the other side closed the connection"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

#[cfg(any(feature = "sync", feature = "async"))]
impl<E: fmt::Debug + fmt::Display> core::error::Error for StreamError<E> {}

/// One end of one connection, sans-I/O.
#[cfg(any(feature = "sync", feature = "async"))]
pub(crate) trait End {
    /// Where to put received bytes; never empty.
    fn space(&mut self) -> Result<&mut [u8], LinkError>;
    /// The first `n` bytes of `space` were received.
    fn received(&mut self, n: usize, now: u64) -> Result<(), LinkError>;
    /// Looks at the clock; gives the time to look again at the latest.
    fn tick(&mut self, now: u64) -> Result<Option<u64>, LinkError>;
    /// The next bytes to send.
    fn outgoing(&mut self) -> Result<&[u8], LinkError>;
    /// The first `n` bytes of `outgoing` were sent.
    fn sent(&mut self, n: usize) -> Result<(), LinkError>;
}

/// How often a connection is read from or written to before it is the others' turn.
#[cfg(feature = "sync")]
const TURNS: usize = 16;

/// Moves bytes between `end` and `io`, as long as that does not have to wait; gives the time at
/// which to call it again at the latest.
#[cfg(feature = "sync")]
pub(crate) fn poll<T>(
    end: &mut impl End,
    io: &mut T,
    now: u64,
) -> Result<Option<u64>, StreamError<T::Error>>
where
    T: embedded_io::Read + embedded_io::Write + embedded_io::ReadReady + embedded_io::WriteReady,
{
    let mut more = true;
    for _ in 0..TURNS {
        more = io.read_ready().map_err(StreamError::Io)?;
        if !more {
            break;
        }
        match io.read(end.space()?).map_err(StreamError::Io)? {
            0 => return Err(StreamError::Closed),
            n => {
                if let Err(error) = end.received(n, now) {
                    // The peer is told why, if that can go out at once.
                    flush(end, io)?;
                    return Err(error.into());
                }
            }
        }
    }
    let deadline = end.tick(now)?;
    more |= flush(end, io)?;
    Ok(if more { Some(now) } else { deadline })
}

/// Sends what `io` takes; whether it would have taken more than its turns.
#[cfg(feature = "sync")]
fn flush<T>(end: &mut impl End, io: &mut T) -> Result<bool, StreamError<T::Error>>
where
    T: embedded_io::Write + embedded_io::WriteReady,
{
    for _ in 0..TURNS {
        let bytes = end.outgoing()?;
        if bytes.is_empty() || !io.write_ready().map_err(StreamError::Io)? {
            return Ok(false);
        }
        match io.write(bytes).map_err(StreamError::Io)? {
            0 => return Err(StreamError::Closed),
            n => end.sent(n)?,
        }
    }
    Ok(true)
}

/// Protocol bytes on their way.
pub(crate) struct Control<const N: usize> {
    bytes: [u8; N],
    sent: usize,
    len: usize,
}

impl<const N: usize> Control<N> {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; N],
            sent: 0,
            len: 0,
        }
    }

    /// Makes sure that what `peer` has to say is [`unsent`](Self::unsent); whether there is any.
    pub(crate) fn fill(&mut self, peer: &mut Peer) -> bool {
        if self.sent == self.len {
            self.sent = 0;
            self.len = peer.output(&mut self.bytes);
        }
        self.sent < self.len
    }

    /// Puts more bytes in the place of those that were sent, with `write`.
    pub(crate) fn refill<E>(
        &mut self,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        self.sent = 0;
        self.len = 0;
        self.len = write(&mut self.bytes)?;
        Ok(())
    }

    pub(crate) fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..self.len).unwrap_or_default()
    }

    pub(crate) fn sent(&mut self, n: usize) {
        self.sent = self.sent.saturating_add(n).min(self.len);
    }
}
