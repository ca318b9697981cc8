//! One connection: a stream, the core's state machine for its peer, and the bytes on their way.

use super::super::Options;
use fedmsg_core::zmtp::{Event, Heartbeat, Limits, Peer, PeerError};
use mio::net::TcpStream;
use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
    time::Duration,
};

/// The longest prefix that a subscriber may ask for, in bytes.
const MAX_SUBSCRIPTION: usize = 4096;
/// A frame's header, at its longest.
const MAX_HEADER: usize = 9;
/// How much is read at once from a peer that has not yet sent as much: a subscriber, which never
/// sends much, does not take more.
const FIRST_READ: usize = 4 << 10;
/// How much is read at once.
const READ: usize = 64 << 10;
/// How much is read from one peer before the others' turn.
const READ_TURN: usize = 1 << 20;

/// One connection.
pub(super) struct Link {
    pub(super) stream: TcpStream,
    pub(super) peer: Peer,
    /// The peer's address, or the endpoint that was connected to.
    pub(super) name: String,
    /// Which of the socket's dials made it, if it was not accepted.
    pub(super) dial: Option<usize>,
    /// Whether it is known that the handshake is done.
    pub(super) greeted: bool,
    connected: bool,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// How much is read at once from this peer.
    read_size: usize,
    /// Received and not yet understood: `inbox[start..end]`.
    inbox: Vec<u8>,
    start: usize,
    end: usize,
    /// To be sent before anything else: handshake, heartbeats, subscriptions.
    control: Vec<u8>,
    control_sent: usize,
}

/// Why a connection ended.
pub(super) enum Ended {
    /// By the peer, or by what lies between.
    Io(io::Error),
    /// By us: the peer broke the protocol or went silent.
    Peer(PeerError),
    /// By us: the peer's subscriptions take more than this many bytes.
    Subscriptions(usize),
    /// By us: too much memory was held for messages half sent to slow peers.
    TooSlow,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
                f.write_str("the other side closed the connection")
            }
            Self::Io(error) => error.fmt(f),
            Self::Peer(error) => error.fmt(f),
            Self::Subscriptions(limit) => {
                write!(f, "its subscriptions take more than {limit} bytes")
            }
            Self::TooSlow => f.write_str("too slow for the message under way"),
        }
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<PeerError> for Ended {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

impl Link {
    pub(super) fn new(stream: TcpStream, peer: Peer, name: String, dial: Option<usize>) -> Self {
        Self {
            stream,
            peer,
            name,
            dial,
            greeted: false,
            connected: dial.is_none(),
            readable: false,
            // A connection being made becomes writable when it is there.
            writable: dial.is_none(),
            read_size: FIRST_READ,
            inbox: Vec::new(),
            start: 0,
            end: 0,
            control: Vec::new(),
            control_sent: 0,
        }
    }

    /// Whether the connection is there; an error if it could not be made.
    pub(super) fn is_connected(&mut self) -> Result<bool, Ended> {
        if !self.connected {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            self.connected = self.stream.peer_addr().is_ok();
        }
        Ok(self.connected)
    }

    /// Reads what there is and hands on what it means, until nothing is left, it was this peer's
    /// share for now (`readable` stays set), or `each` says stop.
    pub(super) fn read(
        &mut self,
        now: u64,
        mut each: impl FnMut(&mut Peer, Event<'_>, &mut Vec<u8>) -> Result<bool, Ended>,
    ) -> Result<(), Ended> {
        let mut turn = 0;
        loop {
            if !self.understand(now, &mut each)? || turn >= READ_TURN {
                return Ok(());
            }
            let free = self.inbox.get_mut(self.end..).unwrap_or_default();
            match self.stream.read(free) {
                Ok(0) => return Err(Ended::Io(ErrorKind::UnexpectedEof.into())),
                Ok(n) => {
                    if n == free.len() {
                        self.read_size = READ;
                    }
                    self.end += n;
                    turn += n;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives every complete item to `each`, then makes room for more; whether `each` wants more.
    fn understand(
        &mut self,
        now: u64,
        each: &mut impl FnMut(&mut Peer, Event<'_>, &mut Vec<u8>) -> Result<bool, Ended>,
    ) -> Result<bool, Ended> {
        let needed = loop {
            let unread = self.inbox.get(self.start..self.end).unwrap_or_default();
            let input = self.peer.input(unread, now)?;
            self.start += input.consumed;
            match input.event {
                Some(event) => {
                    if let Event::Ready(_) = event {
                        // What `each` has to say comes after our READY.
                        collect(&mut self.peer, &mut self.control);
                    }
                    if !each(&mut self.peer, event, &mut self.control)? {
                        return Ok(false);
                    }
                }
                None if input.consumed == 0 => break input.needed,
                None => {}
            }
        };
        self.make_room(needed);
        Ok(true)
    }

    /// Room for an item of `needed` bytes at the front of the unread ones, and to read into.
    fn make_room(&mut self, needed: usize) {
        let unread = self.end - self.start;
        if unread == 0 && self.inbox.len() > 4 * READ {
            // A large message is gone: give its memory back.
            self.inbox = Vec::new();
            (self.start, self.end) = (0, 0);
        }
        if self.start > 0
            && (unread == 0 || self.inbox.len() - self.start < needed.max(self.read_size / 2))
        {
            self.inbox.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, unread);
        }
        // It grows with the bytes that come, not with the length that the peer announced.
        let size = needed.min(2 * unread).max(self.read_size);
        if self.inbox.len() < size {
            self.inbox.resize(size, 0);
        }
    }

    /// Sends what has to go out before any message: protocol bytes, and what was put there by
    /// `read`'s `each`. To be called between messages only. Whether all of it went out.
    pub(super) fn write_control(&mut self) -> Result<bool, Ended> {
        loop {
            let unsent = self.control.get(self.control_sent..).unwrap_or_default();
            if unsent.is_empty() {
                self.control.clear();
                self.control_sent = 0;
                // One at a time: a peer that asks without listening shall not pile up answers.
                collect(&mut self.peer, &mut self.control);
                if self.control.is_empty() {
                    return Ok(true);
                }
                continue;
            }
            match self.stream.write(unsent) {
                Ok(n) => self.control_sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    return Ok(false);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A buffer to put protocol bytes into.
    pub(super) fn control_mut(&mut self) -> (&mut Peer, &mut Vec<u8>) {
        (&mut self.peer, &mut self.control)
    }
}

/// Moves what the protocol has to say behind what is in `control`.
fn collect(peer: &mut Peer, control: &mut Vec<u8>) {
    let mut bytes = [0; 64];
    while peer.has_output() {
        let n = peer.output(&mut bytes);
        control.extend(bytes.iter().take(n));
    }
}

/// The core's part of a socket's settings.
pub(super) fn limits(options: &Options) -> Limits {
    let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    Limits {
        max_message: options.max_message.saturating_add(2 * MAX_HEADER),
        max_subscription: MAX_SUBSCRIPTION,
        handshake_timeout_ms: ms(options.handshake_timeout),
        heartbeat: options.heartbeat.map(|interval| Heartbeat {
            interval_ms: ms(interval),
            timeout_ms: ms(options.heartbeat_timeout),
            ttl: 0,
        }),
    }
}
