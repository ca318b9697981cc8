use std::{fmt, time::SystemTimeError};

use fedmsg_core::message::{self, Invalid};

use crate::{
    bus::{self, Malformed, Verdict},
    config,
    crypto::{self, reason},
    transport::{self, EndpointError},
};

/// Why a daemon cannot be started, or ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The configuration has a value of the wrong type.
    Config(config::Error),
    /// A key of the configuration that this daemon cannot do without.
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key of the configuration holds what is no endpoint.
    Endpoint {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        source: EndpointError,
    },
    /// `moksha.monitoring.socket.mode` is no file mode in octal digits.
    Mode {
        /// What it is.
        mode: String,
    },
    /// None of the endpoints could be bound.
    NoneFree {
        /// Whose: a key of the configuration.
        key: &'static str,
        /// Why not, one for each endpoint.
        reasons: Vec<transport::Error>,
    },
    /// The bus's settings are wrong.
    Bus(bus::Error),
    /// The signing key or the trusted certificates cannot be used.
    Crypto(crypto::Error),
    /// A socket could not be made, bound or used; closing one lost messages.
    Transport(transport::Error),
    /// The operating system refuses to tell of signals.
    Signals(std::io::Error),
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Self::Config(error)
    }
}

impl From<bus::Error> for Error {
    fn from(error: bus::Error) -> Self {
        Self::Bus(error)
    }
}

impl From<crypto::Error> for Error {
    fn from(error: crypto::Error) -> Self {
        Self::Crypto(error)
    }
}

impl From<transport::Error> for Error {
    fn from(error: transport::Error) -> Self {
        Self::Transport(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Missing { key } => write!(f, "the configuration has no '{key}': set it"),
            Self::Endpoint { key, source } => write!(f, "'{key}': {source}"),
            Self::Mode { mode } => write!(
                f,
                "'moksha.monitoring.socket.mode': {mode} is no file mode: write octal digits, \
                 such as \"770\""
            ),
            Self::NoneFree { key, reasons } => {
                write!(f, "no endpoint of '{key}' is free")?;
                for (n, reason) in reasons.iter().enumerate() {
                    write!(f, "{} {reason}", if n == 0 { ":" } else { ";" })?;
                }
                Ok(())
            }
            Self::Bus(error) => error.fmt(f),
            Self::Crypto(error) => error.fmt(f),
            Self::Transport(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot listen to signals: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Endpoint { source, .. } => Some(source),
            Self::Bus(error) => Some(error),
            Self::Crypto(error) => Some(error),
            Self::Transport(error) => Some(error),
            Self::Signals(error) => Some(error),
            Self::Missing { .. } | Self::Mode { .. } | Self::NoneFree { .. } => None,
        }
    }
}

/// Why a message was not handed on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no fedmsg message.
    Malformed(Malformed),
    /// It is no JSON object, on another topic than it says, or not signed where it should be.
    Invalid(Invalid),
    /// It is signed, and not to be believed. (A [`Validator`](crypto::Validator) logs that itself.)
    Untrusted(Invalid),
    /// It could not be signed.
    Sign(message::Error),
    /// It could not be sent.
    Send(transport::Error),
    /// This machine's clock shows a time before 1970.
    Clock(SystemTimeError),
}

impl Refusal {
    /// The kind of reason, which refusals are counted by: the [`reason`] of an invalid message, or
    /// `not-two-frames`, `topic-not-utf-8`, `not-signable`, `too-large`, `no-clock`.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Malformed(Malformed::Topic) => "topic-not-utf-8",
            Self::Malformed(_) => "not-two-frames",
            Self::Invalid(invalid) | Self::Untrusted(invalid) => reason(invalid),
            Self::Sign(_) => "not-signable",
            Self::Send(_) => "too-large",
            Self::Clock(_) => "no-clock",
        }
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => Verdict::Malformed(*malformed).fmt(f),
            Self::Invalid(invalid) | Self::Untrusted(invalid) => invalid.fmt(f),
            Self::Sign(error) => error.fmt(f),
            Self::Send(error) => error.fmt(f),
            Self::Clock(_) => f.write_str("this machine's clock shows a time before 1970: set it"),
        }
    }
}

impl std::error::Error for Refusal {}
