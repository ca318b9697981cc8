//! Which bytes a signature covers, and who may be believed: signing and validating messages that
//! exist already.
//!
//! A message is signed in its canonical form without `certificate` and `signature`, or the canonical
//! form of its `msg` alone: the backend's [`Coverage`] says which. Whoever validates writes the
//! message again in that form, so it does not matter how it was written on the wire.

use super::{Error, Output};
use crate::{
    crypto::{
        Coverage, Refusal, Signer, Verifier,
        base64::{self, Wrapping},
    },
    json::{self, Members},
};
use core::{cmp::Ordering, fmt};

/// A message whose signature is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Valid<'v> {
    /// Who signed it: the common name of the certificate, or what its backend has instead (`gpg`:
    /// a fingerprint).
    pub signer: &'v str,
    /// The message in canonical form, with its credentials: this is what was judged. What came over
    /// the wire may say more, where it repeats a member.
    pub message: &'v [u8],
}

/// Why a message is not valid; in the order in which it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Invalid {
    /// The scratch buffer is too small.
    BufferTooSmall {
        /// How many bytes it needs, as far as is known by then: at least one more than it has.
        needed: usize,
    },
    /// The body is not JSON.
    Json(json::Error),
    /// The body is JSON, but no object.
    NotAnObject,
    /// It has neither `signature` nor `certificate`.
    Unsigned,
    /// This member is missing.
    Missing(&'static str),
    /// This member is not text.
    NotText(&'static str),
    /// This member is not base64.
    Base64(&'static str),
    /// The certificate or the signature was refused.
    Refused(Refusal),
    /// The body's `topic` is not the topic of frame 0.
    Topic,
    /// The routing policy does not name the signer among those who may send on this topic.
    NotPermitted,
    /// The routing policy says nothing about this topic, and topics that it does not name are
    /// refused (nitpicky).
    NoPolicy,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall { needed } => {
                write!(f, "validating needs a buffer of at least {needed} bytes")
            }
            Self::Json(error) => error.fmt(f),
            Self::NotAnObject => f.write_str("the message is no JSON object"),
            Self::Unsigned => f.write_str("not signed"),
            Self::Missing(member) => write!(f, "'{member}' is missing"),
            Self::NotText(member) => write!(f, "'{member}' is not text"),
            Self::Base64(member) => write!(f, "'{member}' is not base64"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Topic => f.write_str("the topic in the message is not the one it was sent under"),
            Self::NotPermitted => f.write_str("the signer may not send on this topic"),
            Self::NoPolicy => f.write_str("nobody may send on this topic: no policy names it"),
        }
    }
}

impl core::error::Error for Invalid {}

/// Signs the message `text`, any JSON object: writes its canonical form with the signer's
/// `crypto`, `certificate` and `signature` (in the place of those it may have had) to the front of
/// `out` and gives its length. `scratch` must hold the canonical form without them, with
/// [`json::canonicalize`]'s room for members, and a signature.
///
/// # Errors
/// [`Error::Json`], [`Error::NotAnObject`], [`Error::NoMsg`], [`Error::BufferTooSmall`] or
/// [`Error::Sign`].
pub fn sign_text<S: Signer + ?Sized>(
    text: &[u8],
    signer: &S,
    depth_limit: usize,
    scratch: &mut [u8],
    out: &mut [u8],
) -> Result<usize, Error> {
    let len = json::canonicalize(text, scratch, depth_limit)?;
    let (canonical, rest) = scratch.split_at_mut_checked(len).unwrap_or_default();
    let message = Message::split(canonical).ok_or(Error::NotAnObject)?;

    // Behind it: the value of `crypto`, the signature, and its base64.
    let mut behind = Output::new(rest);
    let max = signer.max_signature_len();
    let wrapping = wrapping(signer.coverage());
    let field_len = base64::encoded_len(max, wrapping);
    let crypto_len = behind
        .value(signer.backend())
        .and_then(|()| {
            let crypto_len = behind.len;
            behind
                .take(max.saturating_add(field_len))
                .map(|_| crypto_len)
        })
        .map_err(|error| error.behind(len))?;
    let (crypto, rest) = rest.split_at_mut_checked(crypto_len).unwrap_or_default();
    let (signature, field) = rest.split_at_mut_checked(max).unwrap_or_default();
    let signed = message
        .covered(signer.coverage(), Some(crypto))
        .ok_or(Error::NoMsg)?;
    let len = signer
        .sign(signed.as_slices(), signature)
        .map_err(Error::Sign)?;
    let signature = signature.get(..len).unwrap_or_default();
    // There is room for the longest.
    let len = base64::encode(signature, wrapping, field).unwrap_or_default();
    let field = field.get(..len).unwrap_or_default();

    let mut output = Output::new(out);
    let certificate = match signer.coverage() {
        Coverage::Message => Some(signer.certificate_field()),
        Coverage::Msg => None,
    };
    for piece in message.with(certificate, crypto, field).as_slices() {
        output.raw(piece)?;
    }
    Ok(output.len)
}

/// Validates a message: frame 0 (`None` where there is none, for a message from a file) and
/// frame 1, with the first of `verifiers` that is for its `crypto`, at the time `at` (seconds
/// since the epoch). A message without `crypto` is `x509` if it has a certificate, else `gpg`
/// (peers up to 0.7.2).
///
/// `scratch` must hold the body's canonical form, with [`json::canonicalize`]'s room for members,
/// and the decoded certificate and signature besides, and 64 bytes. The answer borrows from it.
///
/// # Errors
/// The first reason found, in the order of [`Invalid`]'s variants.
pub fn validate<'s>(
    topic: Option<&[u8]>,
    body: &[u8],
    verifiers: &[&dyn Verifier],
    at: u64,
    depth_limit: usize,
    scratch: &'s mut [u8],
) -> Result<Valid<'s>, Invalid> {
    let len = json::canonicalize(body, scratch, depth_limit).map_err(|error| match error.kind {
        json::ErrorKind::BufferTooSmall { needed } => Invalid::BufferTooSmall { needed },
        _ => Invalid::Json(error),
    })?;
    let size = scratch.len();
    let (canonical, rest) = scratch.split_at_mut_checked(len).unwrap_or_default();
    let canonical: &'s [u8] = canonical;
    let message = Message::split(canonical).ok_or(Invalid::NotAnObject)?;

    if message.signature.is_none() && message.certificate.is_none() {
        return Err(Invalid::Unsigned);
    }
    let signature = text(message.signature, "signature")?;
    let backend = match message.crypto {
        Some(crypto) => text(Some(crypto), "crypto")?,
        None if message.certificate.is_some() => b"x509",
        None => b"gpg",
    };
    let verifier = verifiers
        .iter()
        .find(|verifier| verifier.backend().as_bytes() == backend)
        .ok_or(Invalid::Refused(Refusal::Backend))?;
    let certificate = match verifier.coverage() {
        Coverage::Message => text(message.certificate, "certificate")?,
        Coverage::Msg => &[],
    };

    // Of what is left of the scratch buffer, so much more would have to be there.
    let too_small = |rest: &[u8], needed: usize| Invalid::BufferTooSmall {
        needed: (size - rest.len()).saturating_add(needed),
    };
    let (signature, rest) = decode(signature, "signature", rest, too_small)?;
    let signed = message
        .covered(verifier.coverage(), message.crypto)
        .ok_or(Invalid::Missing("msg"))?;
    let signed = signed.as_slices();
    let (signer, rest) = match verifier.verify_known(signed, signature, certificate, at, rest) {
        Some(len) => {
            let len = len.map_err(Invalid::Refused)?;
            let (name, rest) = rest.split_at_mut_checked(len).unwrap_or_default();
            let name: &'s [u8] = name;
            (core::str::from_utf8(name).unwrap_or_default(), rest)
        }
        None => {
            let (certificate, rest) = decode(certificate, "certificate", rest, too_small)?;
            // The name is at most as long as the certificate that it is in, or else a fingerprint.
            let name_len = certificate.len().max(MAX_NAME_WITHOUT_CERTIFICATE);
            if rest.len() < name_len {
                return Err(too_small(rest, name_len));
            }
            let (name, rest) = rest.split_at_mut_checked(name_len).unwrap_or_default();
            let signer = verifier
                .verify(signed, signature, certificate, at, name)
                .map_err(Invalid::Refused)?;
            (signer, rest)
        }
    };
    if let Some(topic) = topic {
        // Unescaped it is at most as long as it is there.
        let own = message.topic.unwrap_or_default();
        let Some(unescaped) = rest.get_mut(..own.len()) else {
            return Err(too_small(rest, own.len()));
        };
        if !json::unescape(own, unescaped).is_ok_and(|own| own.as_bytes() == topic) {
            return Err(Invalid::Topic);
        }
    }
    Ok(Valid {
        signer,
        message: canonical,
    })
}

/// The text between the quotes of a member's canonical value.
fn text<'m>(value: Option<&'m [u8]>, name: &'static str) -> Result<&'m [u8], Invalid> {
    value
        .ok_or(Invalid::Missing(name))?
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .ok_or(Invalid::NotText(name))
}

/// Decodes a member's base64 to the front of `out`; gives it and the rest of `out`.
fn decode<'o>(
    text: &[u8],
    name: &'static str,
    out: &'o mut [u8],
    too_small: impl Fn(&[u8], usize) -> Invalid,
) -> Result<(&'o [u8], &'o mut [u8]), Invalid> {
    let len = base64::decode(text, out).map_err(|error| match error {
        base64::Error::BufferTooSmall { needed } => too_small(out, needed),
        _ => Invalid::Base64(name),
    })?;
    let (decoded, rest) = out.split_at_mut_checked(len).unwrap_or_default();
    Ok((decoded, rest))
}

/// How a signature of this kind is written.
pub(super) fn wrapping(coverage: Coverage) -> Wrapping {
    match coverage {
        Coverage::Message => Wrapping::JsonLines,
        Coverage::Msg => Wrapping::None,
    }
}

/// Room for the name of a signer that has no certificate: a fingerprint in hexadecimal.
const MAX_NAME_WITHOUT_CERTIFICATE: usize = 64;

/// The members that make a message signed, in canonical order.
const CREDENTIALS: [&str; 3] = ["certificate", "crypto", "signature"];

/// A canonical message taken apart at its credentials.
#[derive(Default)]
struct Message<'m> {
    /// The other members, in four runs: before, between and after the credentials' places. Each
    /// may be empty; within, commas join them.
    runs: [&'m [u8]; 4],
    certificate: Option<&'m [u8]>,
    crypto: Option<&'m [u8]>,
    signature: Option<&'m [u8]>,
    msg: Option<&'m [u8]>,
    topic: Option<&'m [u8]>,
}

impl<'m> Message<'m> {
    /// `None` if it is no object.
    fn split(canonical: &'m [u8]) -> Option<Self> {
        let mut message = Self::default();
        let mut runs = [0..0, 0..0, 0..0, 0..0];
        for member in Members::new(canonical)? {
            match member.key {
                "certificate" => message.certificate = Some(member.value),
                "crypto" => message.crypto = Some(member.value),
                "signature" => message.signature = Some(member.value),
                key => {
                    match key {
                        "msg" => message.msg = Some(member.value),
                        "topic" => message.topic = Some(member.value),
                        _ => {}
                    }
                    let before =
                        |credential: &&&str| json::compare_keys(credential, key) == Ordering::Less;
                    let run = CREDENTIALS.iter().filter(before).count();
                    if let Some(run) = runs.get_mut(run) {
                        if run.end == 0 {
                            run.start = member.span.start;
                        }
                        run.end = member.span.end;
                    }
                }
            }
        }
        for (to, run) in message.runs.iter_mut().zip(runs) {
            *to = canonical.get(run).unwrap_or_default();
        }
        Some(message)
    }

    /// The text that a signature covers, in pieces, with `crypto` as that member's value; `None`
    /// if there is no `msg` and that is what it covers.
    fn covered<'p>(&self, coverage: Coverage, crypto: Option<&'p [u8]>) -> Option<Pieces<'p>>
    where
        'm: 'p,
    {
        match coverage {
            Coverage::Message => Some(self.signed(crypto)),
            Coverage::Msg => {
                let mut pieces = Pieces::new();
                pieces.push(self.msg?);
                Some(pieces)
            }
        }
    }

    /// All of it but `certificate` and `signature`.
    fn signed<'p>(&self, crypto: Option<&'p [u8]>) -> Pieces<'p>
    where
        'm: 'p,
    {
        let mut pieces = Pieces::new();
        let [before_certificate, before_crypto, before_signature, after] = self.runs;
        pieces.members(&[before_certificate]);
        pieces.members(&[before_crypto]);
        if let Some(crypto) = crypto {
            pieces.members(&[b"\"crypto\":", crypto]);
        }
        pieces.members(&[before_signature]);
        pieces.members(&[after]);
        pieces.close()
    }

    /// The whole message in pieces, with these credentials.
    fn with<'p>(
        &self,
        certificate: Option<&'p [u8]>,
        crypto: &'p [u8],
        signature: &'p [u8],
    ) -> Pieces<'p>
    where
        'm: 'p,
    {
        let mut pieces = Pieces::new();
        let [before_certificate, before_crypto, before_signature, after] = self.runs;
        pieces.members(&[before_certificate]);
        if let Some(certificate) = certificate {
            pieces.members(&[b"\"certificate\":\"", certificate, b"\""]);
        }
        pieces.members(&[before_crypto]);
        pieces.members(&[b"\"crypto\":", crypto]);
        pieces.members(&[before_signature]);
        pieces.members(&[b"\"signature\":\"", signature, b"\""]);
        pieces.members(&[after]);
        pieces.close()
    }
}

/// An object's text in pieces.
struct Pieces<'p> {
    pieces: [&'p [u8]; 20],
    len: usize,
}

impl<'p> Pieces<'p> {
    fn new() -> Self {
        Self {
            pieces: [b""; 20],
            len: 0,
        }
    }

    /// Appends members, given in pieces; none if they are all empty.
    fn members(&mut self, pieces: &[&'p [u8]]) {
        if pieces.iter().all(|piece| piece.is_empty()) {
            return;
        }
        self.push(if self.len == 0 { b"{" } else { b"," });
        for piece in pieces {
            self.push(piece);
        }
    }

    fn close(mut self) -> Self {
        self.push(if self.len == 0 { b"{}" } else { b"}" });
        self
    }

    fn push(&mut self, piece: &'p [u8]) {
        if let Some(place) = self.pieces.get_mut(self.len) {
            *place = piece;
            self.len += 1;
        }
    }

    fn as_slices(&self) -> &[&'p [u8]] {
        self.pieces.get(..self.len).unwrap_or_default()
    }
}
