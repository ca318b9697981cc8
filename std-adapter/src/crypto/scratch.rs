//! Canonical form, signing and validation of whole messages, with the memory that they need.

use std::ops::Range;

use fedmsg_core::{
    crypto::{Signer, Verifier, base64},
    json::{self, HOST_DEPTH},
    message::{self, Invalid, Valid},
};

/// Memory to work in, kept from one message to the next. It grows to some 8 times the largest
/// message seen, of which only what is written to is ever taken from the operating system.
///
/// ```
/// use fedmsg::crypto::Scratch;
///
/// let mut scratch = Scratch::default();
/// let canonical = scratch.canonicalize(br#"{"b": 1E2, "a": 1}"#, 512)?;
/// assert_eq!(canonical, br#"{"a":1,"b":100.0}"#);
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
#[derive(Default)]
pub struct Scratch {
    work: Vec<u8>,
    out: Vec<u8>,
}

impl Scratch {
    /// The canonical form of a JSON text with no more than `depth_limit` arrays and objects inside
    /// each other.
    ///
    /// # Errors
    /// Where and why the text is refused.
    pub fn canonicalize(&mut self, text: &[u8], depth_limit: usize) -> Result<&[u8], json::Error> {
        let out = room(&mut self.out, canonical_room(text));
        let len = json::canonicalize(text, out, depth_limit)?;
        Ok(out.get(..len).unwrap_or_default())
    }

    /// The message `text`, any JSON object, in canonical form with the signer's `crypto`,
    /// `certificate` and `signature`, in the place of those that it may have had.
    ///
    /// # Errors
    /// As [`message::sign_text`].
    pub fn sign(&mut self, text: &[u8], signer: &dyn Signer) -> Result<&[u8], message::Error> {
        let signer = signer.current().unwrap_or(signer);
        let signature = signer.max_signature_len();
        let credentials = signature
            .saturating_add(base64::encoded_len(signature, base64::Wrapping::JsonLines))
            .saturating_add(signer.certificate_field().len())
            .saturating_add(OVERHEAD);
        let needed = canonical_room(text).saturating_add(credentials);
        let work = room(&mut self.work, needed);
        let out = room(&mut self.out, needed);
        let len = message::sign_text(text, signer, HOST_DEPTH, work, out)?;
        Ok(out.get(..len).unwrap_or_default())
    }

    /// Validates a message: its topic from frame 0 (`None` where there is no frame, for a message
    /// from a file) and its body, at the time `at` (seconds since the epoch).
    ///
    /// # Errors
    /// The first reason found, in the order of [`Invalid`]'s variants.
    pub fn validate(
        &mut self,
        topic: Option<&[u8]>,
        body: &[u8],
        verifiers: &[&dyn Verifier],
        at: u64,
    ) -> Result<Valid<'_>, Invalid> {
        let judged = self.judge(topic, body, verifiers, at)?;
        Ok(self.valid(&judged))
    }

    /// The same, without borrowing what is valid: [`valid`](Self::valid) gives that.
    pub(super) fn judge(
        &mut self,
        topic: Option<&[u8]>,
        body: &[u8],
        verifiers: &[&dyn Verifier],
        at: u64,
    ) -> Result<Judged, Invalid> {
        // Besides, the certificate and the signature, the name and the topic, none longer than it
        // is in the body.
        let needed = canonical_room(body).saturating_add(body.len().saturating_mul(3));
        let work = room(&mut self.work, needed);
        let start = work.as_ptr().addr();
        let valid = message::validate(topic, body, verifiers, at, HOST_DEPTH, work)?;
        let signer = valid.signer.as_ptr().addr().saturating_sub(start);
        Ok(Judged {
            message: valid.message.len(),
            signer: signer..signer.saturating_add(valid.signer.len()),
        })
    }

    /// The canonical form of a message, unsigned or not looked at for its signature.
    pub(super) fn unsigned(&mut self, body: &[u8]) -> Result<Judged, Invalid> {
        let work = room(&mut self.work, canonical_room(body));
        let message = json::canonicalize(body, work, HOST_DEPTH).map_err(Invalid::Json)?;
        Ok(Judged {
            message,
            signer: 0..0,
        })
    }

    /// What was judged last.
    pub(super) fn valid(&self, judged: &Judged) -> Valid<'_> {
        let signer = self.work.get(judged.signer.clone()).unwrap_or_default();
        Valid {
            signer: str::from_utf8(signer).unwrap_or_default(),
            message: self.work.get(..judged.message).unwrap_or_default(),
        }
    }
}

/// Where in a [`Scratch`] lies what was judged.
pub(super) struct Judged {
    message: usize,
    signer: Range<usize>,
}

/// What [`json::canonicalize`] needs at most.
fn canonical_room(text: &[u8]) -> usize {
    text.len().saturating_mul(6)
}

fn room(buffer: &mut Vec<u8>, needed: usize) -> &mut [u8] {
    if buffer.len() < needed {
        // Zeroed memory from the operating system, which costs nothing until it is used; growing
        // the old buffer would copy and write all of it.
        *buffer = Vec::new();
        *buffer = vec![0; needed.checked_next_power_of_two().unwrap_or(needed)];
    }
    buffer
}

/// The names and quotes of the three members, and `crypto`'s value twice.
const OVERHEAD: usize = 256;
