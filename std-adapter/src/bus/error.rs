//! What can go wrong on the bus.

use std::{fmt, time::Duration, time::SystemTimeError};

use fedmsg_core::message;

use super::MAX_TOPIC;
use crate::{
    config, crypto,
    transport::{self, EndpointError},
};

/// Why the bus could not do what it was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The configuration could not be read.
    Config(config::Error),
    /// The configuration has `zmq_enabled = false`: the peer then publishes by STOMP or AMQP.
    ZmqDisabled,
    /// Messages are to be signed, and the configuration does not say with which certificate.
    NoCertname {
        /// The key that `certnames` has not.
        service: String,
    },
    /// Messages are to be signed by GnuPG, and the configuration does not say with which key.
    NoGpgKey {
        /// The key that `gpg_keys` has not: this machine's short name.
        host: String,
    },
    /// Who signs or validates could not be set up.
    Crypto(crypto::Error),
    /// An entry of the settings' endpoints holds a text that is no endpoint.
    Endpoint {
        /// The entry.
        entry: String,
        /// What is wrong with the text.
        source: EndpointError,
    },
    /// The settings have no endpoint to publish on.
    NoEndpoint {
        /// The entry that was looked for.
        entry: String,
    },
    /// The settings have no endpoint to tail.
    NoSource,
    /// None of an entry's endpoints could be bound or connected to.
    NoneFree {
        /// The entry.
        entry: String,
        /// Why not, one for each endpoint.
        reasons: Vec<transport::Error>,
    },
    /// A topic is longer than [`MAX_TOPIC`].
    TopicTooLong {
        /// The topic, whole.
        topic: String,
    },
    /// A `*` in a tail's topic, under [`zmq_strict`](super::Settings::zmq_strict).
    Pattern {
        /// The topic.
        topic: String,
    },
    /// A message could not be written as JSON or signed, or its topic has an empty part.
    Message {
        /// The topic.
        topic: String,
        /// What is wrong.
        source: message::Error,
    },
    /// The transport refused a message.
    Send {
        /// The topic.
        topic: String,
        /// Why.
        source: transport::Error,
    },
    /// A socket could not be made or used; closing it lost messages.
    Transport(transport::Error),
    /// A tail reached nobody in [the time that it was
    /// given](super::TailOptions::reach_within).
    Unreachable {
        /// That time.
        within: Duration,
        /// What the transport reported last, if it reported anything.
        reason: Option<String>,
    },
    /// The context was closed.
    Closed,
    /// The process has a context already, which was not destroyed.
    AlreadyInitialized,
    /// This machine's clock shows a time before 1970.
    Clock(SystemTimeError),
    /// The operating system has no random numbers for a message's id.
    Entropy,
}

impl From<transport::Error> for Error {
    fn from(error: transport::Error) -> Self {
        match error {
            transport::Error::Closed => Self::Closed,
            error => Self::Transport(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(source) => source.fmt(f),
            Self::ZmqDisabled => f.write_str(
                "the configuration has zmq_enabled = false, and there is no other transport here: \
                 set it to true",
            ),
            Self::NoCertname { service } => write!(
                f,
                "sign_messages is set, but certnames has no '{service}', the name of the \
                 certificate to sign with"
            ),
            Self::NoGpgKey { host } => write!(
                f,
                "sign_messages is set, but there is neither a gpg_signing_key nor a '{host}' in \
                 gpg_keys"
            ),
            Self::Crypto(source) => source.fmt(f),
            Self::Endpoint { entry, source } => write!(f, "endpoints of '{entry}': {source}"),
            Self::NoEndpoint { entry } => write!(
                f,
                "nowhere to publish: the settings' endpoints have no entry '{entry}'"
            ),
            Self::NoSource => {
                f.write_str("nowhere to tail: the settings have no endpoints for that")
            }
            Self::NoneFree { entry, reasons } => {
                write!(f, "no endpoint of '{entry}' is free")?;
                reasons
                    .iter()
                    .enumerate()
                    .try_for_each(|(n, reason)| match n {
                        0 => write!(f, ": {reason}"),
                        _ => write!(f, "; {reason}"),
                    })
            }
            Self::TopicTooLong { topic } => write!(
                f,
                "the topic '{}…' has {} bytes: {MAX_TOPIC} are the limit",
                topic.chars().take(40).collect::<String>(),
                topic.len()
            ),
            Self::Pattern { topic } => {
                write!(f, "the topic '{topic}' has a *, which zmq_strict forbids")
            }
            Self::Message { topic, source } => write!(f, "message on '{topic}': {source}"),
            Self::Send { topic, source } => write!(f, "message on '{topic}': {source}"),
            Self::Transport(source) => source.fmt(f),
            Self::Unreachable { within, reason } => {
                write!(f, "nobody was reached within {} s", within.as_secs_f64())?;
                match reason {
                    Some(reason) => write!(f, ": {reason}"),
                    None => Ok(()),
                }
            }
            Self::Closed => f.write_str("the context is closed"),
            Self::AlreadyInitialized => {
                f.write_str("fedmsg is initialized already: destroy() comes first")
            }
            Self::Clock(_) => f.write_str("this machine's clock shows a time before 1970: set it"),
            Self::Entropy => f.write_str("the operating system gives no random numbers"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(source) => Some(source),
            Self::Crypto(source) => Some(source),
            Self::Endpoint { source, .. } => Some(source),
            Self::Message { source, .. } => Some(source),
            Self::Send { source, .. } | Self::Transport(source) => Some(source),
            Self::Clock(source) => Some(source),
            _ => None,
        }
    }
}
