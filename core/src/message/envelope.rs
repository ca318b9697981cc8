//! The envelope: what every message carries besides its `msg`, and how both become two frames.

use super::{Error, MessageId, Output, credentials::wrapping};
use crate::{
    crypto::{Coverage, Signer, base64},
    json,
};
use core::ops::Range;
use serde::Serialize;

/// What a message carries besides its `msg`.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Envelope<'a> {
    /// The whole topic, as [`Topic`](super::Topic) writes it.
    pub topic: &'a str,
    /// The message's number: a publisher counts its messages from 1.
    pub i: u64,
    /// When it is sent, in seconds since the epoch.
    pub timestamp: u64,
    /// Its id.
    pub msg_id: MessageId,
    /// Under whose account the sender runs.
    pub username: Option<&'a str>,
    /// Its number in the publisher's store, where there is one.
    pub seq_id: Option<u64>,
}

/// What a message's `msg` may be made of: any [`Serialize`] value, or JSON [`Text`].
pub trait Payload {
    /// Writes its canonical form to the front of `out` and gives its length.
    ///
    /// # Errors
    /// Those of [`json::to_slice`] and [`json::canonicalize`].
    fn write(&self, out: &mut [u8]) -> Result<usize, json::Error>;
}

impl<T: Serialize + ?Sized> Payload for T {
    fn write(&self, out: &mut [u8]) -> Result<usize, json::Error> {
        json::to_slice(self, out)
    }
}

/// JSON text as a message's `msg`; it is canonicalized on the way. A number that is not finite is an
/// error, as it is in a value: not every reader takes it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Text<'a> {
    /// The text.
    pub json: &'a [u8],
    /// How deep its arrays and objects may be nested.
    pub depth_limit: usize,
}

impl Payload for Text<'_> {
    fn write(&self, out: &mut [u8]) -> Result<usize, json::Error> {
        let len = json::canonicalize(self.json, out, self.depth_limit)?;
        let text = out.get(..len).unwrap_or_default();
        match not_finite(text) {
            None => Ok(len),
            Some(offset) => Err(json::Error {
                kind: json::ErrorKind::NotFinite,
                offset,
            }),
        }
    }
}

/// Where in a canonical text a number stands that is not finite: `NaN`, `Infinity`, `-Infinity`.
fn not_finite(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = quoted;
            false
        }
        b'"' => {
            quoted = !quoted;
            false
        }
        // No other word of canonical JSON has a capital letter.
        byte => !quoted && byte.is_ascii_uppercase(),
    })
}

/// A message ready to be sent: frame 0 is [`topic`](Self::topic), frame 1 the concatenation of
/// [`body`](Self::body).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Encoded<'e> {
    topic: &'e str,
    certificate: Option<&'e [u8]>,
    text: &'e [u8],
}

impl<'e> Encoded<'e> {
    /// Frame 0.
    #[must_use]
    pub fn topic(&self) -> &'e str {
        self.topic
    }

    /// Frame 1 in pieces: for a gathered write, or to be copied one after the other. The piece in
    /// the middle is the signer's certificate field, where the signer has it.
    #[must_use]
    pub fn body(&self) -> [&'e [u8]; 3] {
        match self.certificate {
            Some(certificate) => [b"{\"certificate\":\"", certificate, self.text],
            None => [b"", b"", self.text],
        }
    }

    /// The length of frame 1 in bytes.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.body()
            .iter()
            .map(|piece| piece.len())
            .fold(0, usize::saturating_add)
    }

    /// Copies frame 1 to the front of `out` in one piece.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`].
    pub fn copy_body<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], Error> {
        let mut output = Output::new(out);
        for piece in self.body() {
            output.raw(piece)?;
        }
        Ok(output.filled(0))
    }
}

impl<'a> Envelope<'a> {
    /// Encodes the message with `msg` in it, unsigned. `out` must hold frame 1 and, while `msg` is
    /// written, four bytes for each member of the objects that are open at a time.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`] or [`Error::Json`].
    pub fn encode<'e, P: Payload + ?Sized>(
        &self,
        msg: &P,
        out: &'e mut [u8],
    ) -> Result<Encoded<'e>, Error>
    where
        'a: 'e,
    {
        let mut output = Output::new(out);
        output.raw(b"{\"i\":")?;
        self.write_upper(msg, &mut output)?;
        self.write_lower(&mut output)?;
        Ok(Encoded {
            topic: self.topic,
            certificate: None,
            text: output.filled(0),
        })
    }

    /// Encodes and signs the message with `msg` in it. `out` holds frame 1 less the certificate
    /// field, and needs room as [`encode`](Self::encode) says besides
    /// [`Signer::max_signature_len`].
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`], [`Error::Json`] or [`Error::Sign`].
    pub fn encode_signed<'e, P: Payload + ?Sized, S: Signer + ?Sized>(
        &self,
        msg: &P,
        signer: &'e S,
        out: &'e mut [u8],
    ) -> Result<Encoded<'e>, Error>
    where
        'a: 'e,
    {
        const SIGNATURE: &[u8] = b",\"signature\":\"";

        let coverage = signer.coverage();
        let wrapping = wrapping(coverage);
        let (before, certificate): (&[u8], _) = match coverage {
            Coverage::Message => (b"\",", Some(signer.certificate_field())),
            Coverage::Msg => (b"{", None),
        };
        let mut output = Output::new(out);
        output.raw(before)?;
        output.raw(b"\"crypto\":")?;
        output.value(signer.backend())?;
        output.raw(b",\"i\":")?;
        let msg = self.write_upper(msg, &mut output)?;
        let upper_end = output.len;
        output.raw(SIGNATURE)?;
        let gap = base64::encoded_len(signer.max_signature_len(), wrapping);
        output.take(gap)?;
        output.raw(b"\"")?;
        let lower_start = output.len;
        self.write_lower(&mut output)?;
        let lower_end = output.len;
        output.take(signer.max_signature_len())?;

        // Both halves of what is signed lie in front of the signature's own place.
        let (written, signature) = output
            .out
            .split_at_mut_checked(lower_end)
            .unwrap_or_default();
        let part = |range| written.get(range).unwrap_or_default();
        let len = match coverage {
            Coverage::Message => {
                let upper = part(before.len()..upper_end);
                signer.sign(&[b"{", upper, part(lower_start..lower_end)], signature)
            }
            Coverage::Msg => signer.sign(&[part(msg)], signature),
        }
        .map_err(Error::Sign)?;

        let signature = signature.get(..len).unwrap_or_default();
        let field = written
            .get_mut(upper_end + SIGNATURE.len()..)
            .unwrap_or_default();
        let used = base64::encode(signature, wrapping, field)
            .map_err(|_| Error::BufferTooSmall { needed: lower_end })?;
        output.len = lower_end;
        if used < gap {
            // It came out shorter than it may: what follows moves up.
            output.len = upper_end + SIGNATURE.len() + used;
            output.raw(b"\"")?;
            self.write_lower(&mut output)?;
        }
        Ok(Encoded {
            topic: self.topic,
            certificate,
            text: output.filled(0),
        })
    }

    /// From the value of `i` up to where `signature` belongs; where the value of `msg` is.
    fn write_upper<P: Payload + ?Sized>(
        &self,
        msg: &P,
        output: &mut Output<'_>,
    ) -> Result<Range<usize>, Error> {
        output.value(&self.i)?;
        output.raw(b",\"msg\":")?;
        let msg_start = output.len;
        output.value(msg)?;
        let msg = msg_start..output.len;
        output.raw(b",\"msg_id\":\"")?;
        output.raw(self.msg_id.as_bytes())?;
        output.raw(b"\"")?;
        if let Some(seq_id) = self.seq_id {
            output.raw(b",\"seq_id\":")?;
            output.value(&seq_id)?;
        }
        Ok(msg)
    }

    /// What follows `signature`.
    fn write_lower(&self, output: &mut Output<'_>) -> Result<(), Error> {
        output.raw(b",\"timestamp\":")?;
        output.value(&self.timestamp)?;
        output.raw(b",\"topic\":")?;
        output.value(self.topic)?;
        if let Some(username) = self.username {
            output.raw(b",\"username\":")?;
            output.value(username)?;
        }
        output.raw(b"}")
    }
}
