//! How messages travel: one [`Transport`] trait, [`native`] (the core's ZMTP over sockets) and,
//! with feature `zmq`, `zmq` (libzmq). Both pass the same tests.

use fedmsg_core::zmtp;
use std::{fmt, io, sync::Arc, time::Duration};

mod endpoint;
mod forward;
pub mod native;
#[cfg(feature = "zmq")]
pub mod zmq;

pub use endpoint::{Endpoint, EndpointError};
pub use forward::Forwarder;

/// Makes sockets.
pub trait Transport {
    /// The sending side.
    type Publisher: Publisher;
    /// The receiving side.
    type Subscriber: Subscriber;
    /// The side that asks.
    type Requester: Requester;
    /// The side that answers.
    type Replier: Replier;

    /// A PUB socket, bound or connected to nothing yet.
    ///
    /// # Errors
    /// [`Error::Io`] when the operating system has no room for another socket or thread.
    fn publisher(&self, options: &Options) -> Result<Self::Publisher, Error>;

    /// A SUB socket, bound or connected to nothing yet, without subscriptions.
    ///
    /// # Errors
    /// As [`publisher`](Self::publisher).
    fn subscriber(&self, options: &Options) -> Result<Self::Subscriber, Error>;

    /// A REQ socket, connected to nothing yet.
    ///
    /// # Errors
    /// As [`publisher`](Self::publisher).
    fn requester(&self, options: &Options) -> Result<Self::Requester, Error>;

    /// A REP socket, bound to nothing yet.
    ///
    /// # Errors
    /// As [`publisher`](Self::publisher).
    fn replier(&self, options: &Options) -> Result<Self::Replier, Error>;
}

/// A PUB socket: what it sends goes to every subscriber that asked for the topic. Many threads may
/// send at once; what one thread sends arrives in its order.
pub trait Publisher: Send + Sync {
    /// Takes subscribers on `endpoint`; gives the endpoint with its real port (for port 0).
    ///
    /// # Errors
    /// [`Error::Io`] naming the endpoint, such as an address in use.
    fn bind(&self, endpoint: &Endpoint) -> Result<Endpoint, Error>;

    /// Connects out to a bound subscriber (a relay), now and again after every loss.
    ///
    /// # Errors
    /// Only for an endpoint that can never work; an unreachable one is tried again.
    fn connect(&self, endpoint: &Endpoint) -> Result<(), Error>;

    /// Sends one two-frame message, the body given in pieces. Never waits for a subscriber, unless
    /// [`Options::when_full`] is [`WhenFull::Block`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`Options::max_message`]; [`Error::Closed`].
    fn send(&self, topic: &[u8], body: &[&[u8]]) -> Result<(), Error>;

    /// Sends a message on as it came, whatever its frames are; its first is its topic.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn forward(&self, message: &Message<'_>) -> Result<(), Error>;

    /// How many peers are connected that subscribed to anything.
    ///
    /// # Errors
    /// [`Error::Closed`].
    fn subscribers(&self) -> Result<usize, Error>;

    /// Waits until there is a subscriber, at most `timeout`; whether there is one.
    ///
    /// # Errors
    /// [`Error::Closed`].
    fn wait_for_subscriber(&self, timeout: Duration) -> Result<bool, Error>;

    /// What subscribers ask for, all together, if that changed since `version` of it (0: from the
    /// beginning). A relay asks upstream for the same.
    ///
    /// # Errors
    /// [`Error::Closed`].
    fn interests(&self, version: u64) -> Result<Option<Interests>, Error>;

    /// Ends the socket once everything is sent, or after [`Options::linger`]. Who waits in
    /// [`send`](Self::send) is woken; closing again does nothing.
    ///
    /// # Errors
    /// [`Error::Lost`] if a subscriber will not get all that it asked for (the native transport
    /// knows; libzmq does not tell).
    fn close(&self) -> Result<(), Error>;
}

/// What a publisher's subscribers ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interests {
    /// Changes with every change of `prefixes`; above 0.
    pub version: u64,
    /// Each prefix once.
    pub prefixes: Vec<Vec<u8>>,
}

/// A SUB socket.
pub trait Subscriber: Send {
    /// Takes publishers on `endpoint`; gives the endpoint with its real port.
    ///
    /// # Errors
    /// As [`Publisher::bind`].
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error>;

    /// Connects to a bound publisher, now and again after every loss.
    ///
    /// # Errors
    /// As [`Publisher::connect`].
    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error>;

    /// Asks for all topics that begin with `prefix`; counted, so that each subscribe takes one
    /// [`unsubscribe`](Self::unsubscribe).
    ///
    /// # Errors
    /// [`Error::Closed`].
    fn subscribe(&mut self, prefix: &[u8]) -> Result<(), Error>;

    /// Takes one [`subscribe`](Self::subscribe) back.
    ///
    /// # Errors
    /// [`Error::Closed`].
    fn unsubscribe(&mut self, prefix: &[u8]) -> Result<(), Error>;

    /// The next message, or `None` when none came within `timeout`. It lies in the socket's buffer
    /// until the next call.
    ///
    /// # Errors
    /// [`Error::Closed`].
    fn recv(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, Error>;
}

/// A REQ socket: one question, one answer.
pub trait Requester: Send {
    /// Connects to a bound REP, now and again after every loss.
    ///
    /// # Errors
    /// As [`Publisher::connect`].
    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error>;

    /// Sends a question and waits for its answer; `None` when it did not come within `timeout`, or
    /// cannot come any more because the connection is gone. The question is sent once. An answer
    /// that comes later is never taken for the next question's.
    ///
    /// # Errors
    /// As [`Publisher::send`].
    fn request(
        &mut self,
        frames: &[&[u8]],
        timeout: Duration,
    ) -> Result<Option<Message<'_>>, Error>;
}

/// A REP socket.
pub trait Replier: Send {
    /// Takes questions on `endpoint`; gives the endpoint with its real port.
    ///
    /// # Errors
    /// As [`Publisher::bind`].
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error>;

    /// The next question, or `None` when none came within `timeout`. One that was not answered
    /// before the next call stays without an answer.
    ///
    /// # Errors
    /// [`Error::Closed`].
    fn recv(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, Error>;

    /// Answers the question that [`recv`](Self::recv) gave; nothing happens if there is none, or
    /// if whoever asked is gone.
    ///
    /// # Errors
    /// As [`Publisher::send`].
    fn reply(&mut self, frames: &[&[u8]]) -> Result<(), Error>;
}

/// A message as it came: its frames, not yet looked at, in the socket's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'m> {
    /// Its frames.
    pub frames: zmtp::Message<'m>,
    /// The endpoint that was bound or connected to, over which it came.
    pub endpoint: &'m Endpoint,
}

impl<'m> Message<'m> {
    /// Topic and body, if these are what it consists of.
    #[must_use]
    pub fn topic_and_body(&self) -> Option<(&'m [u8], &'m [u8])> {
        self.frames.two_frames()
    }
}

/// Appends these frames to `out` as one message of the wire, which
/// [`zmtp::Message::from_wire`] reads.
pub fn encode_frames(frames: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    let last = frames.len().saturating_sub(1);
    for (n, frame) in frames.iter().map(AsRef::as_ref).enumerate() {
        let header = zmtp::frame::Header {
            more: n < last,
            command: false,
            len: frame.len() as u64,
        };
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(frame);
    }
}

/// A socket's settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Messages that a publisher keeps for a subscriber before [`when_full`](Self::when_full)
    /// decides, and about which a subscriber keeps for its reader before it reads no more; 0: as
    /// many as `max_memory` holds.
    pub high_water_mark: usize,
    /// What a publisher does for a subscriber that is the high-water mark behind.
    pub when_full: WhenFull,
    /// Bytes that a publisher keeps for all subscribers together, at least the newest message (and
    /// at most as much again, of messages half sent to slow ones), or that a subscriber keeps for
    /// its reader (besides what is being read). A longer message cannot be sent.
    pub max_memory: usize,
    /// The longest message accepted or sent, in bytes, all frames together, without their headers.
    pub max_message: usize,
    /// How long [`Publisher::close`] waits for unsent messages.
    pub linger: Duration,
    /// The first pause before connecting again; doubles up to `reconnect_max`.
    pub reconnect: Duration,
    /// The longest pause before connecting again.
    pub reconnect_max: Duration,
    /// How long a peer may take for its greeting and READY.
    pub handshake_timeout: Duration,
    /// How often an idle peer is asked for a sign of life; `None`: never.
    pub heartbeat: Option<Duration>,
    /// How long a peer may be silent after a heartbeat.
    pub heartbeat_timeout: Duration,
    /// When TCP asks an idle peer's machine for a sign of life; `None`: never.
    pub keep_alive: Option<KeepAlive>,
    /// How many peers a bound socket serves at once.
    pub max_connections: usize,
    /// Who hears of connections made and ended; the native transport tells.
    pub monitor: Option<Monitor>,
}

/// What happens to messages for a subscriber that is too slow for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Its oldest messages are dropped: it goes on with newer ones.
    #[default]
    DropOldest,
    /// New messages are dropped until it has taken what is kept for it (libzmq's way).
    DropNewest,
    /// Nothing is dropped: [`Publisher::send`] waits for the slowest subscriber.
    Block,
}

/// TCP keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// How long a connection is idle before it is asked.
    pub idle: Duration,
    /// The pause between questions.
    pub interval: Duration,
    /// After so many without an answer the connection ends.
    pub count: u32,
}

impl Default for KeepAlive {
    /// fedmsg's: 3 questions, 5 s apart, after 60 s.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(5),
            count: 3,
        }
    }
}

/// Hears of a socket's connections; called on its I/O thread, so it must not wait.
#[derive(Clone)]
pub struct Monitor(pub Arc<dyn Fn(Notice<'_>) + Send + Sync>);

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Monitor")
    }
}

/// What happened to a connection.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Notice<'n> {
    /// The handshake with this peer is done.
    Connected {
        /// Its address, or the endpoint that was connected to.
        peer: &'n dyn fmt::Display,
    },
    /// A subscriber was too slow: messages that it asked for did not reach it.
    Dropped {
        /// Its address, or the endpoint that was connected to.
        peer: &'n dyn fmt::Display,
        /// How many since the last such notice.
        messages: u64,
        /// How many on this connection.
        total: u64,
    },
    /// The handshake with this peer failed; the connection is closed.
    HandshakeFailed {
        /// Its address, or the endpoint that was connected to.
        peer: &'n dyn fmt::Display,
        /// Why.
        reason: &'n dyn fmt::Display,
    },
    /// A connection could not be accepted.
    NotAccepted {
        /// The endpoint that was bound.
        endpoint: &'n Endpoint,
        /// Why.
        reason: &'n dyn fmt::Display,
    },
    /// The connection ended, or could not be made.
    Ended {
        /// Its address, or the endpoint that was connected to.
        peer: &'n dyn fmt::Display,
        /// Why.
        reason: &'n dyn fmt::Display,
    },
}

impl fmt::Display for Notice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { peer } => write!(f, "{peer}: connected"),
            Self::Dropped {
                peer,
                messages,
                total,
            } => write!(
                f,
                "{peer}: too slow: {messages} messages dropped, {total} in all"
            ),
            Self::HandshakeFailed { peer, reason } | Self::Ended { peer, reason } => {
                write!(f, "{peer}: {reason}")
            }
            Self::NotAccepted { endpoint, reason } => {
                write!(f, "{endpoint}: a connection was not accepted: {reason}")
            }
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            high_water_mark: 0,
            when_full: WhenFull::default(),
            max_memory: 32 << 20,
            max_message: 16 << 20,
            linger: Duration::from_secs(1),
            reconnect: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(30),
            heartbeat: None,
            heartbeat_timeout: Duration::from_secs(30),
            keep_alive: Some(KeepAlive::default()),
            max_connections: 4096,
            monitor: None,
        }
    }
}

/// Why a transport could not do what it was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system said no.
    Io {
        /// What was tried: `bind tcp://127.0.0.1:80`.
        doing: String,
        /// What it said.
        source: io::Error,
    },
    /// The message is larger than [`Options::max_message`].
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Subscribers were too slow, or the linger time too short.
    Lost {
        /// How many messages did not go out, added up over the subscribers.
        messages: u64,
    },
    /// The socket's I/O thread has ended.
    Closed,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::TooLarge { size, limit } => {
                write!(f, "message of {size} bytes is over the limit of {limit}")
            }
            Self::Lost { messages } => write!(
                f,
                "{messages} messages did not reach a subscriber that was too slow for them"
            ),
            Self::Closed => f.write_str("the socket is closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The guide's examples, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/transport.md")]
struct Guide;
