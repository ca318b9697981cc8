//! One connection: a stream, the core's state machine for its peer, and the bytes on their way.

use super::{
    super::{Endpoint, Options},
    stream::Stream,
};
use fedmsg_core::zmtp::{Event, Heartbeat, Limits, Message, Peer, PeerError};
use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
    ops::Range,
    sync::Arc,
    time::Duration,
};

/// The longest prefix that a subscriber may ask for, in bytes.
const MAX_SUBSCRIPTION: usize = 4096;
/// A frame's header, at its longest.
const MAX_HEADER: usize = 9;
/// What the headers of a message's frames may take, besides two of them, as a part of its bytes.
const HEADERS: usize = 64;
/// Answers to a peer's PINGs pile up to here while it does not read them, in bytes.
const MAX_ANSWERS: usize = 1 << 10;
/// How much is read at once, in bytes.
pub(super) const READ: usize = 128 << 10;

/// One connection; `conn` is what the socket's kind keeps of it.
pub(super) struct Link<C> {
    /// Its number among the socket's links.
    pub(super) id: usize,
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) conn: C,
    /// The peer's address, or the endpoint that was connected to.
    pub(super) name: String,
    /// What was bound or connected to.
    pub(super) endpoint: Arc<Endpoint>,
    /// Which of the socket's dials made it, if it was not accepted.
    pub(super) dial: Option<usize>,
    /// When it was made, on the core's clock.
    pub(super) born: u64,
    /// The handshake is done.
    pub(super) greeted: bool,
    connected: bool,
    pub(super) readable: bool,
    /// The peer has said its last: it is to be read up to there.
    pub(super) read_closed: bool,
    pub(super) writable: bool,
    /// Received and not yet understood.
    partial: Vec<u8>,
    max_message: usize,
    /// So many bytes are needed for what is in `partial` to mean something.
    needed: usize,
    /// To be sent before anything else: handshake, heartbeats, subscriptions.
    pub(super) control: Vec<u8>,
    control_sent: usize,
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By the peer, or by what lies between.
    Io(io::Error),
    /// By us: the peer broke the protocol or went silent.
    Peer(PeerError),
    /// By us: subscriptions take more than this many bytes.
    Subscriptions(usize),
    /// By us: too much memory was held for messages half sent to slow peers.
    TooSlow,
    /// By us: its handshake was not done when another connection needed the place.
    Crowded(usize),
    /// By us: the question it was asked had no answer in time.
    Unanswered,
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
            Self::Crowded(limit) => write!(
                f,
                "all {limit} connections are in use, and its handshake was not done"
            ),
            Self::Unanswered => f.write_str("no answer in time"),
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

impl<C: Default> Link<C> {
    pub(super) fn new(
        stream: Stream,
        peer: Peer,
        name: String,
        endpoint: Arc<Endpoint>,
        dial: Option<usize>,
        born: u64,
        max_message: usize,
    ) -> Self {
        Self {
            id: 0,
            stream,
            peer,
            conn: C::default(),
            name,
            endpoint,
            dial,
            born,
            greeted: false,
            connected: dial.is_none(),
            readable: false,
            read_closed: false,
            // A connection being made becomes writable when it is there.
            writable: dial.is_none(),
            partial: Vec::new(),
            needed: 0,
            max_message,
            control: Vec::new(),
            control_sent: 0,
        }
    }

    /// Whether the connection is there; an error if it could not be made.
    pub(super) fn is_connected(&mut self) -> Result<bool, Ended> {
        if !self.connected {
            self.connected = self.stream.is_connected()?;
        }
        Ok(self.connected)
    }

    /// Reads once into `buffer` and hands on what that means. Where `each` says so of a message,
    /// its place in the buffer is put into `messages`.
    pub(super) fn read(
        &mut self,
        now: u64,
        buffer: &mut Vec<u8>,
        messages: &mut Vec<Range<usize>>,
        mut each: impl FnMut(&mut C, Event<'_>) -> Result<bool, Ended>,
    ) -> Result<(), Ended> {
        let kept = self.partial.len();
        if kept + READ / 4 > READ {
            // A large message. It grows with the bytes that come, not with the length announced.
            let size = self.needed.min(kept + READ).max(kept + READ / 4);
            self.partial.resize(size, 0);
            std::mem::swap(buffer, &mut self.partial);
        } else {
            buffer.resize(READ.max(buffer.len()), 0);
            if let Some(front) = buffer.get_mut(..kept) {
                front.copy_from_slice(&self.partial);
            }
        }
        self.partial.clear();
        let free = buffer.get_mut(kept..).unwrap_or_default();
        let (n, room) = match self.stream.read(free) {
            Ok(0) => return Err(Ended::Io(ErrorKind::UnexpectedEof.into())),
            Ok(n) => (n, free.len()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                (0, 0)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => (0, 0),
            Err(error) => return Err(error.into()),
        };
        if n < room && !self.read_closed {
            // That was all; what comes from now on is announced.
            self.readable = false;
        }
        let end = kept + n;
        let mut at = 0;
        loop {
            let unread = buffer.get(at..end).unwrap_or_default();
            let input = self.peer.input(unread, now);
            let input = input.map_err(|error| without_headers(error, self.max_message))?;
            at += input.consumed;
            match input.event {
                Some(event) => {
                    let mut len = 0;
                    match event {
                        // What the socket has to say comes after our READY.
                        Event::Ready(_) => collect(&mut self.peer, &mut self.control),
                        Event::Message(message) => {
                            len = message.bytes().len();
                            if len > self.max_message {
                                check(&message, self.max_message)?;
                            }
                        }
                        Event::Subscribe(_) | Event::Cancel(_) => {}
                    }
                    if each(&mut self.conn, event)? {
                        messages.push(at - len..at);
                    }
                }
                None if input.consumed == 0 => {
                    self.needed = input.needed;
                    break;
                }
                None => {}
            }
            if self.peer.has_output() && self.control.len() < MAX_ANSWERS {
                collect(&mut self.peer, &mut self.control);
            }
        }
        if at == 0 && buffer.capacity() > 2 * READ {
            std::mem::swap(buffer, &mut self.partial);
            self.partial.truncate(end);
        } else {
            self.partial = Vec::from(buffer.get(at..end).unwrap_or_default());
        }
        Ok(())
    }

    /// Sends what has to go out before any message: protocol bytes, and what is in `control`. To be
    /// called between messages only. Whether all of it went out.
    pub(super) fn write_control(&mut self) -> Result<bool, Ended> {
        loop {
            let unsent = self.control.get(self.control_sent..).unwrap_or_default();
            if unsent.is_empty() {
                if !self.control.is_empty() {
                    self.control = Vec::new();
                    self.control_sent = 0;
                }
                // One at a time: a peer that asks without listening shall not pile up answers.
                collect(&mut self.peer, &mut self.control);
                if self.control.is_empty() {
                    return Ok(true);
                }
                continue;
            }
            if !self.writable {
                return Ok(false);
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

    /// Has these bytes sent by [`write_control`](Self::write_control), behind what waits already.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        if self.control_sent > self.control.len() / 2 {
            self.control.drain(..self.control_sent);
            self.control_sent = 0;
        }
        self.control.extend_from_slice(bytes);
    }

    /// How many bytes wait to be sent by it.
    pub(super) fn unsent(&self) -> usize {
        self.control.len() - self.control_sent
    }

    /// Whether there is nothing for [`write_control`](Self::write_control) to do.
    pub(super) fn is_quiet(&self) -> bool {
        self.control.is_empty() && !self.peer.has_output()
    }
}

/// Names the limit that the user set in place of the core's, which counts headers.
fn without_headers(error: PeerError, limit: usize) -> PeerError {
    match error {
        PeerError::MessageTooLarge { .. } => PeerError::MessageTooLarge { limit },
        PeerError::FrameTooLarge { len, .. } => PeerError::FrameTooLarge { len, limit },
        error => error,
    }
}

/// The limit is one of the frames' bytes alone.
fn check(message: &Message<'_>, limit: usize) -> Result<(), PeerError> {
    let size: usize = message.frames().map(<[u8]>::len).sum();
    match size > limit {
        true => Err(PeerError::MessageTooLarge { limit }),
        false => Ok(()),
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
        max_message: options
            .max_message
            .saturating_add(options.max_message / HEADERS + 2 * MAX_HEADER),
        max_subscription: MAX_SUBSCRIPTION,
        handshake_timeout_ms: ms(options.handshake_timeout),
        heartbeat: options.heartbeat.map(|interval| Heartbeat {
            interval_ms: ms(interval),
            timeout_ms: ms(options.heartbeat_timeout),
            ttl: 0,
        }),
    }
}
