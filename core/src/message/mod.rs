//! The message: [`Topic`] and [`MessageId`], the [`Envelope`] that becomes the two frames, and
//! [`sign_text`] and [`validate`] for messages that exist already.
//!
//! A message is two frames: the topic in UTF-8, and a JSON object with the members `certificate`,
//! `crypto`, `i`, `msg`, `msg_id`, `seq_id`, `signature`, `timestamp`, `topic` and `username`. A
//! signature covers the canonical form of that object without `certificate` and `signature`, or of
//! its `msg` alone.

mod credentials;
mod envelope;
mod id;
mod topic;

pub use credentials::{Invalid, Valid, sign_text, validate};
pub use envelope::{Encoded, Envelope, Payload, Text};
pub use id::MessageId;
pub use topic::Topic;

use crate::{copy::copy, crypto::SignError, json};
use core::fmt;

/// Why a message could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// A topic without a modname or a last part.
    EmptyTopic,
    /// The buffer is too small.
    BufferTooSmall {
        /// How many bytes it needs, as far as is known by then: at least one more than it has.
        needed: usize,
    },
    /// The value or text cannot be written as canonical JSON.
    Json(json::Error),
    /// The text is JSON, but no object.
    NotAnObject,
    /// The message has no `msg`, and that is all that the signer signs.
    NoMsg,
    /// The signer failed.
    Sign(SignError),
}

impl From<json::Error> for Error {
    fn from(error: json::Error) -> Self {
        match error.kind {
            json::ErrorKind::BufferTooSmall { needed } => Self::BufferTooSmall { needed },
            _ => Self::Json(error),
        }
    }
}

impl Error {
    /// The error for the whole of a buffer, from the part that begins at `offset`.
    fn behind(self, offset: usize) -> Self {
        match self {
            Self::BufferTooSmall { needed } => Self::BufferTooSmall {
                needed: needed.saturating_add(offset),
            },
            error => error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyTopic => f.write_str("the topic has an empty part"),
            Self::BufferTooSmall { needed } => {
                write!(f, "the message needs a buffer of at least {needed} bytes")
            }
            Self::Json(error) => error.fmt(f),
            Self::NotAnObject => f.write_str("the message is no JSON object"),
            Self::NoMsg => f.write_str("the message has no 'msg'"),
            Self::Sign(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

/// A buffer being filled.
struct Output<'o> {
    out: &'o mut [u8],
    len: usize,
}

impl<'o> Output<'o> {
    fn new(out: &'o mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// The part not yet filled.
    fn rest(&mut self) -> &mut [u8] {
        self.out.get_mut(self.len..).unwrap_or_default()
    }

    /// Takes the next `len` bytes, to be filled by the caller.
    fn take(&mut self, len: usize) -> Result<&mut [u8], Error> {
        let start = self.len;
        let end = start.saturating_add(len);
        let taken = self
            .out
            .get_mut(start..end)
            .ok_or(Error::BufferTooSmall { needed: end })?;
        self.len = end;
        Ok(taken)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Error> {
        copy(self.take(bytes.len())?, bytes);
        Ok(())
    }

    fn value<P: Payload + ?Sized>(&mut self, payload: &P) -> Result<(), Error> {
        let written = payload
            .write(self.rest())
            .map_err(|error| Error::from(error).behind(self.len))?;
        self.len += written;
        Ok(())
    }

    /// What has been filled since `start`.
    fn filled(self, start: usize) -> &'o [u8] {
        let out: &'o [u8] = self.out;
        out.get(start..self.len).unwrap_or_default()
    }
}
