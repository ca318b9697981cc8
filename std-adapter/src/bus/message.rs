//! A message that arrived.

use std::{borrow::Cow, fmt, sync::Arc};

use fedmsg_core::message::Invalid;
use serde::{Deserialize, Deserializer};

use crate::transport::Endpoint;

/// A message that arrived. It borrows from the tail that it came from until it is
/// [made to last](Self::into_owned).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'m> {
    /// Where it came from.
    pub source: Arc<Source>,
    /// Frame 0. Of a message whose topic is no UTF-8, as much as is.
    pub topic: Cow<'m, str>,
    /// Frame 1, JSON text: of a valid message the canonical form, which is what was judged; else as
    /// it came. Empty for a message that has not two frames.
    pub body: Cow<'m, [u8]>,
    /// Whether it may be believed.
    pub verdict: Verdict,
}

/// Where messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The entry of [`Settings::endpoints`](super::Settings::endpoints).
    pub name: String,
    /// The endpoint.
    pub endpoint: Endpoint,
}

/// What a message's body holds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Content<'m, T> {
    /// The message itself.
    pub msg: T,
    /// Its topic: that of frame 0.
    #[serde(borrow)]
    pub topic: Cow<'m, str>,
    /// The message's number: a publisher counts its messages from 1.
    #[serde(default)]
    pub i: Option<u64>,
    /// Its id, such as `2026-9ebf960a-115e-4568-a615-34cc7d8d462e`.
    #[serde(borrow, default, deserialize_with = "text")]
    pub msg_id: Option<Cow<'m, str>>,
    /// When it was sent, in seconds since the epoch; old messages have fractions.
    #[serde(default)]
    pub timestamp: Option<f64>,
    /// Under whose account.
    #[serde(borrow, default, deserialize_with = "text")]
    pub username: Option<Cow<'m, str>>,
    /// Its number in the publisher's store.
    #[serde(default)]
    pub seq_id: Option<u64>,
}

impl Message<'_> {
    /// What the body holds, with a `msg` of the type `T`, which may borrow from the message. Other
    /// members than [`Content`]'s are passed over.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<Content<'a, T>, ParseError> {
        let content: Content<'a, T> = self.read()?;
        match content.topic == self.topic {
            true => Ok(content),
            false => Err(ParseError::Topic),
        }
    }

    /// Only the `msg` of [`parse`](Self::parse).
    ///
    /// # Errors
    /// As there.
    pub fn msg<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ParseError> {
        #[derive(Deserialize)]
        struct Least<'m, T> {
            msg: T,
            #[serde(borrow)]
            topic: Cow<'m, str>,
        }
        let least: Least<'a, T> = self.read()?;
        match least.topic == self.topic {
            true => Ok(least.msg),
            false => Err(ParseError::Topic),
        }
    }

    fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ParseError> {
        if self.is_refused() {
            return Err(ParseError::Refused(self.verdict.clone()));
        }
        // Looked at once as a whole, not string by string.
        match str::from_utf8(&self.body) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(&self.body),
        }
        .map_err(ParseError::Json)
    }

    /// Whether its verdict is [`Invalid`](Verdict::Invalid) or [`Malformed`](Verdict::Malformed).
    pub fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Invalid(_) | Verdict::Malformed(_))
    }

    /// The same message, no longer borrowed.
    #[must_use]
    pub fn into_owned(self) -> Message<'static> {
        Message {
            source: self.source,
            topic: Cow::Owned(self.topic.into_owned()),
            body: Cow::Owned(self.body.into_owned()),
            verdict: self.verdict,
        }
    }
}

/// Text that is borrowed where it has no escapes.
fn text<'de: 'm, 'm, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'m, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'m>(#[serde(borrow)] Cow<'m, str>);
    Ok(Option::<Text<'m>>::deserialize(from)?.map(|text| text.0))
}

/// Why a message's body does not hold what was expected.
#[derive(Debug)]
#[non_exhaustive]
pub enum ParseError {
    /// The message is not to be believed, or is no fedmsg message.
    Refused(Verdict),
    /// The body is not JSON, or not of the type asked for.
    Json(serde_json::Error),
    /// The topic in the body is not the one that the message was sent under.
    Topic,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(verdict) => verdict.fmt(f),
            Self::Json(error) => error.fmt(f),
            Self::Topic => Invalid::Topic.fmt(f),
        }
    }
}

impl std::error::Error for ParseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            _ => None,
        }
    }
}

/// Whether a message may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nobody looked: there is no validator.
    Unchecked,
    /// The signature is good.
    Valid {
        /// The common name of the sender's certificate.
        signer: String,
    },
    /// It is not to be believed.
    Invalid(Invalid),
    /// It is no fedmsg message.
    Malformed(Malformed),
}

/// Why a ZeroMQ message is no fedmsg message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// It has not two frames.
    Frames {
        /// How many it has.
        count: usize,
    },
    /// Its topic is not UTF-8.
    Topic,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchecked => f.write_str("not checked"),
            Self::Valid { signer } => f.write_str(signer),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Malformed(Malformed::Frames { count: 1 }) => f.write_str("one frame, not two"),
            Self::Malformed(Malformed::Frames { count }) => write!(f, "{count} frames, not two"),
            Self::Malformed(Malformed::Topic) => f.write_str("the topic is not UTF-8"),
        }
    }
}
