//! How messages travel: one [`Transport`] trait, [`native`] (the core's ZMTP over sockets) and,
//! with feature `zmq`, [`zmq`](mod@zmq) (libzmq). Both pass the same tests.

use std::{fmt, io, sync::Arc, time::Duration};

mod endpoint;
pub mod native;
#[cfg(feature = "zmq")]
pub mod zmq;

pub use endpoint::{Endpoint, EndpointError};

/// Makes sockets.
pub trait Transport {
    /// The sending side.
    type Publisher: Publisher;
    /// The receiving side.
    type Subscriber: Subscriber;

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
}

/// A PUB socket: what it sends goes to every subscriber that asked for the topic; a subscriber
/// that does not keep up loses messages, and never holds up the others or the sender.
pub trait Publisher: Send {
    /// Takes subscribers on `endpoint`; gives the endpoint with its real port (for port 0).
    ///
    /// # Errors
    /// [`Error::Io`] naming the endpoint, such as an address in use.
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error>;

    /// Connects out to a bound subscriber (a relay), now and again after every loss.
    ///
    /// # Errors
    /// Only for an endpoint that can never work; an unreachable one is tried again.
    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error>;

    /// Sends one two-frame message, the body given in pieces.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`Options::max_message`]; [`Error::Closed`].
    fn send(&mut self, topic: &[u8], body: &[&[u8]]) -> Result<(), Error>;

    /// How many peers are connected that subscribed to anything.
    ///
    /// # Errors
    /// [`Error::Closed`].
    fn subscribers(&mut self) -> Result<usize, Error>;

    /// Ends the socket once everything is sent, or after [`Options::linger`].
    ///
    /// # Errors
    /// [`Error::Lost`] if a subscriber will not get all that it asked for (the native transport
    /// knows; libzmq does not tell).
    fn close(self) -> Result<(), Error>;
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

    /// The next message, or `None` when none came within `timeout`.
    ///
    /// # Errors
    /// [`Error::Closed`].
    fn recv(&mut self, timeout: Duration) -> Result<Option<Message>, Error>;
}

/// A message as it came: its frames, not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The frames; a fedmsg message has two, topic and body, but a peer may send any number.
    pub frames: Vec<Vec<u8>>,
}

impl Message {
    /// Topic and body, if these are what it consists of.
    #[must_use]
    pub fn topic_and_body(&self) -> Option<(&[u8], &[u8])> {
        match self.frames.as_slice() {
            [topic, body] => Some((topic, body)),
            _ => None,
        }
    }
}

/// A socket's settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Messages that a publisher keeps for a subscriber before the oldest are dropped, and about
    /// which a subscriber keeps for its reader before it reads no more; 0: as many as `max_memory`
    /// holds.
    pub high_water_mark: usize,
    /// Bytes that a publisher keeps for all subscribers together (and at most as much again, of
    /// messages half sent to slow ones), or that a subscriber keeps for its reader (and as much
    /// again that the reader has taken over and not yet asked for).
    pub max_memory: usize,
    /// The longest message accepted or sent, in bytes, all frames together.
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
    /// How many peers a bound socket serves at once.
    pub max_connections: usize,
    /// Who hears of connections made and ended; the native transport tells.
    pub monitor: Option<Monitor>,
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
    /// The connection ended, or could not be made.
    Ended {
        /// Its address, or the endpoint that was connected to.
        peer: &'n dyn fmt::Display,
        /// Why.
        reason: &'n dyn fmt::Display,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self {
            high_water_mark: 0,
            max_memory: 32 << 20,
            max_message: 16 << 20,
            linger: Duration::from_secs(1),
            reconnect: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(30),
            heartbeat: None,
            heartbeat_timeout: Duration::from_secs(30),
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
