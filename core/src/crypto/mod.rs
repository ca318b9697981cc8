//! What a signature needs: [`Signer`] and [`Verifier`], base64 and PEM, and, with feature `p256`,
//! the `x509-p256` backend.
//!
//! Which bytes are signed is `message`'s knowledge; here a message is a handful
//! of slices whose concatenation is signed.

#[cfg(feature = "p256")]
mod asn1;
pub mod base64;
#[cfg(feature = "p256")]
pub mod certificate;
#[cfg(feature = "comb")]
pub mod comb;
#[cfg(feature = "p256")]
pub mod p256;
pub mod pem;

use core::fmt;

/// The value of a message's `crypto` field for ECDSA on P-256 with SHA-256.
pub const X509_P256: &str = "x509-p256";

/// The longest of its signatures, in bytes: two INTEGERs of 33 bytes, 2 bytes of header each and 2
/// around both. Ours are one shorter, for low-S needs no 33rd byte.
pub const MAX_SIGNATURE_LEN: usize = 72;

/// What of a message a signature covers, and so what its credentials look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Coverage {
    /// All of it but `certificate` and `signature`, both of which it has, wrapped at 76 columns.
    #[default]
    Message,
    /// The value of `msg` alone, as backend `gpg` does: neither topic, id nor time are protected.
    /// There is no `certificate`, and the signature is one line.
    Msg,
}

/// Signs messages with one key, as one sender.
pub trait Signer {
    /// Value of the message's `crypto` field, such as `x509-p256`.
    fn backend(&self) -> &str;

    /// The text between the quotes of the message's `certificate` field: the PEM certificate in
    /// base64, wrapped at 76 columns, each newline written as the two characters `\n`. Made once
    /// (on a device: in flash), and sent from where it lies.
    fn certificate_field(&self) -> &[u8];

    /// The longest signature that [`sign`](Self::sign) writes, in bytes.
    fn max_signature_len(&self) -> usize;

    /// Signs the concatenation of `message`, writes the signature (raw, not base64) to the front
    /// of `out`, and gives its length.
    ///
    /// # Errors
    /// [`SignError::BufferTooSmall`] if `out` is shorter than
    /// [`max_signature_len`](Self::max_signature_len); [`SignError::Key`] if the key cannot sign.
    fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError>;

    /// What its signatures cover. With [`Coverage::Msg`] the certificate field is not used.
    fn coverage(&self) -> Coverage {
        Coverage::Message
    }

    /// Of a signer whose key and certificate change while it is used: it as it is now, for as long
    /// as one message takes. `None`: it is always the same.
    fn current(&self) -> Option<&dyn Signer> {
        None
    }
}

/// Judges signatures by one backend's rules.
pub trait Verifier {
    /// The `crypto` field's value of the messages that this one judges.
    fn backend(&self) -> &str;

    /// Checks that `certificate` (PEM text) is trusted at `at` (seconds since the epoch) and that
    /// `signature` is its key's over the concatenation of `message`; gives the certificate's
    /// common name, the sender, written to the front of `name`.
    ///
    /// # Errors
    /// The first reason found, in the order of [`Refusal`]'s variants.
    fn verify<'n>(
        &self,
        message: &[&[u8]],
        signature: &[u8],
        certificate: &[u8],
        at: u64,
        name: &'n mut [u8],
    ) -> Result<&'n str, Refusal>;

    /// The same for a certificate that need not be decoded, because this verifier has accepted it
    /// before and remembers it: `field` is the text between the quotes of the message's
    /// `certificate`. Gives the length of the name; `None` for one that is not remembered.
    fn verify_known(
        &self,
        _message: &[&[u8]],
        _signature: &[u8],
        _field: &[u8],
        _at: u64,
        _name: &mut [u8],
    ) -> Option<Result<usize, Refusal>> {
        None
    }

    /// What the signatures that it judges cover. With [`Coverage::Msg`] there need be no
    /// certificate: it is empty then.
    fn coverage(&self) -> Coverage {
        Coverage::Message
    }
}

/// Why a message could not be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SignError {
    /// The buffer for the signature is too small.
    BufferTooSmall {
        /// How many bytes it needs.
        needed: usize,
    },
    /// The key is not one, or refused to sign (a hardware signer's failure).
    Key,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall { needed } => write!(f, "buffer too small: {needed} bytes needed"),
            Self::Key => f.write_str("the key cannot sign"),
        }
    }
}

impl core::error::Error for SignError {}

/// Why a certificate or signature is not accepted; in the order in which they are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Refusal {
    /// No verifier for this value of `crypto`.
    Backend,
    /// There is a backend of this name, but whoever validates does not accept it.
    BackendDisallowed,
    /// There is a backend of this name, but not in this program.
    BackendNotBuiltIn,
    /// The verifier cannot judge at present (what it asks does not answer).
    Unavailable,
    /// The certificate is no PEM certificate, or not of the backend's kind (offset into the DER
    /// or PEM text).
    Certificate {
        /// Where it stops making sense.
        offset: usize,
    },
    /// The certificate is larger than the verifier's limit.
    CertificateTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The certificate was not issued by a trusted CA, or may not sign (a CA certificate, say).
    Untrusted,
    /// The key is not in the keyring.
    UnknownKey,
    /// The certificate, or its CA's, is not valid yet.
    NotYetValid,
    /// The certificate, or its CA's, is no longer valid.
    Expired,
    /// The certificate is on the revocation list.
    Revoked,
    /// There is no revocation list of the certificate's CA, or not one that the CA signed.
    RevocationList,
    /// The CA's revocation list is out of date, or not valid yet.
    RevocationListDate,
    /// The signature is not the certificate's key's over this message.
    Signature,
    /// The certificate names no sender (no common name), or one longer than the buffer for it.
    Name,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend => f.write_str("signed in a way that is not accepted here"),
            Self::BackendDisallowed => {
                f.write_str("signed in a way that this site does not accept")
            }
            Self::BackendNotBuiltIn => f.write_str("signed in a way that is not built in here"),
            Self::Unavailable => f.write_str("its signature cannot be judged at present"),
            Self::Certificate { offset } => {
                write!(f, "certificate cannot be read, from offset {offset} on")
            }
            Self::CertificateTooLarge { limit } => {
                write!(f, "certificate is larger than {limit} bytes")
            }
            Self::Untrusted => f.write_str("certificate is not from a trusted CA, or may not sign"),
            Self::UnknownKey => f.write_str("the signer's key is not in the keyring"),
            Self::NotYetValid => f.write_str("certificate is not valid yet"),
            Self::Expired => f.write_str("certificate has expired"),
            Self::Revoked => f.write_str("certificate is revoked"),
            Self::RevocationList => f.write_str("no revocation list that its CA signed"),
            Self::RevocationListDate => f.write_str("its CA's revocation list is out of date"),
            Self::Signature => f.write_str("signature is not the sender's for this message"),
            Self::Name => f.write_str("certificate names no sender, or one too long"),
        }
    }
}

impl core::error::Error for Refusal {}
