//! The backend `x509-p256`: ECDSA on P-256 with SHA-256, and the [certificate](super::certificate)
//! profile.
//!
//! Signatures are deterministic (RFC 6979), so that no entropy is needed to sign; ASN.1 DER; low-S
//! is written, both are accepted. Messages are hashed slice by slice, and never put together.
//!
//! ```
//! use fedmsg_core::crypto::certificate::{Certificate, TrustAnchor};
//! use fedmsg_core::crypto::p256::{MAX_SIGNATURE_LEN, P256Signer, P256Verifier};
//! use fedmsg_core::crypto::{Refusal, Signer, Verifier, base64, pem};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let ca_pem = include_str!("../../tests/crypto-data/ca.crt");
//! # let leaf_pem = include_str!("../../tests/crypto-data/leaf.crt");
//! # let key_pem = include_str!("../../tests/crypto-data/leaf.key");
//! # let now = 1_800_000_000;
//! // The sender: the certificate field is made once, on a device when the image is built.
//! let mut field = [0; 2048];
//! let len = base64::encode(leaf_pem.as_bytes(), base64::Wrapping::JsonLines, &mut field)?;
//! let field = &field[..len];
//! let mut key = [0; 256];
//! let len = pem::decode(key_pem.as_bytes(), "PRIVATE KEY", &mut key)?;
//! let signer = P256Signer::from_der(&key[..len], field)?;
//! let mut signature = [0; MAX_SIGNATURE_LEN];
//! let len = signer.sign(&[b"one ", b"message"], &mut signature)?;
//! let signature = &signature[..len];
//!
//! // The receiver: trusts one CA, and is given the certificate with the message.
//! let mut ca = [0; 1024];
//! let len = pem::decode(ca_pem.as_bytes(), pem::CERTIFICATE, &mut ca)?;
//! let ca = Certificate::parse(&ca[..len])?;
//! let anchors = [TrustAnchor::new(&ca)?];
//! let verifier = P256Verifier::new(&anchors);
//! let mut name = [0; 64];
//! let mut verify = |message| {
//!     verifier
//!         .verify(message, signature, leaf_pem.as_bytes(), now, &mut name)
//!         .map(String::from)
//! };
//! assert_eq!(verify(&[b"one message"]).as_deref(), Ok("sensor-1.example.org"));
//! assert_eq!(verify(&[b"another message"]), Err(Refusal::Signature));
//! # Ok(())
//! # }
//! ```

use core::fmt;

use ::p256::ecdsa::signature::{MultipartSigner, MultipartVerifier};
use ::p256::ecdsa::{self, Signature, SigningKey};
use der::Tag;

use super::asn1::Cursor;
use super::certificate::{Certificate, P256_CURVE, P256_KEY, TrustAnchor};
use super::{Refusal, SignError, Signer, Verifier, pem};
use crate::copy::copy;

pub use super::{MAX_SIGNATURE_LEN, X509_P256 as BACKEND};

/// The longest certificate, in bytes of DER, that a [`P256Verifier`] reads; one with a common name
/// of 64 characters and the usual extensions has about 500. It is held on the stack.
pub const MAX_CERTIFICATE_LEN: usize = 1024;

/// Signs as one sender, with a private key in memory.
///
/// The key is wiped when the signer is dropped, and never shown by `Debug`.
#[derive(Clone)]
pub struct P256Signer<'a> {
    key: SigningKey,
    certificate_field: &'a [u8],
}

impl<'a> P256Signer<'a> {
    /// A signer with a private key as 32 bytes, big-endian, and its certificate as it stands in a
    /// message: see [`Signer::certificate_field`]. Whether they belong together is not checked
    /// ([`public_key`](Self::public_key) tells).
    ///
    /// # Errors
    /// [`SignError::Key`] if the number is 0 or not less than the order of the curve.
    pub fn new(key: &[u8; 32], certificate_field: &'a [u8]) -> Result<Self, SignError> {
        match SigningKey::from_slice(key) {
            Ok(key) => Ok(Self {
                key,
                certificate_field,
            }),
            Err(_) => Err(SignError::Key),
        }
    }

    /// The same with a private key in DER, as SEC 1 (PEM label `EC PRIVATE KEY`) or PKCS#8
    /// (`PRIVATE KEY`) has it; not encrypted.
    ///
    /// # Errors
    /// [`SignError::Key`] if this is no P-256 key.
    pub fn from_der(key: &[u8], certificate_field: &'a [u8]) -> Result<Self, SignError> {
        Self::new(private_key(key).ok_or(SignError::Key)?, certificate_field)
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public_key(&self) -> VerifyingKey {
        VerifyingKey(*self.key.verifying_key())
    }
}

impl Signer for P256Signer<'_> {
    fn backend(&self) -> &str {
        BACKEND
    }

    fn certificate_field(&self) -> &[u8] {
        self.certificate_field
    }

    fn max_signature_len(&self) -> usize {
        MAX_SIGNATURE_LEN
    }

    fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        let needed = MAX_SIGNATURE_LEN;
        let out = out
            .get_mut(..needed)
            .ok_or(SignError::BufferTooSmall { needed })?;
        let signature: Signature = self
            .key
            .try_multipart_sign(message)
            .map_err(|_| SignError::Key)?;
        let der = signature.normalize_s().to_der();
        copy(out, der.as_bytes());
        Ok(der.len())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for P256Signer<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        // The key is nobody's business.
        defmt::write!(f, "P256Signer({})", self.public_key());
    }
}

impl fmt::Debug for P256Signer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("P256Signer").finish_non_exhaustive()
    }
}

/// Judges messages by the CAs that are trusted.
///
/// Every message is judged from scratch: two signature checks, the certificate's and its own. A
/// host does better with the steps themselves ([`pem::decode`], [`Certificate::parse`],
/// [`P256Verifier::trust`], [`VerifyingKey::verify`]), and remembers the trust decision for each
/// certificate.
#[derive(Clone, Copy, Debug)]
pub struct P256Verifier<'a> {
    anchors: &'a [TrustAnchor<'a>],
}

#[cfg(feature = "defmt")]
impl defmt::Format for P256Verifier<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "P256Verifier({})", self.anchors);
    }
}

impl<'a> P256Verifier<'a> {
    /// A verifier that trusts what any of `anchors` vouches for.
    #[must_use]
    pub fn new(anchors: &'a [TrustAnchor<'a>]) -> Self {
        Self { anchors }
    }

    /// Decides whether any of the anchors vouches for `certificate` at `at`, in seconds since the
    /// epoch: [`Certificate::verify`] for each.
    ///
    /// # Errors
    /// [`Refusal::Untrusted`] if all refuse it so, else the last other reason.
    pub fn trust(&self, certificate: &Certificate<'_>, at: u64) -> Result<(), Refusal> {
        let mut refusal = Refusal::Untrusted;
        for anchor in self.anchors {
            match certificate.verify(anchor, at) {
                Ok(()) => return Ok(()),
                Err(Refusal::Untrusted) => {}
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }
}

impl Verifier for P256Verifier<'_> {
    fn backend(&self) -> &str {
        BACKEND
    }

    /// As the trait says; a certificate of more than [`MAX_CERTIFICATE_LEN`] bytes is refused.
    fn verify<'n>(
        &self,
        message: &[&[u8]],
        signature: &[u8],
        certificate: &[u8],
        at: u64,
        name: &'n mut [u8],
    ) -> Result<&'n str, Refusal> {
        let mut der = [0; MAX_CERTIFICATE_LEN];
        let der = match pem::decode(certificate, pem::CERTIFICATE, &mut der) {
            Ok(len) => der.get(..len).unwrap_or_default(),
            Err(pem::Error::BufferTooSmall { .. }) => {
                return Err(Refusal::CertificateTooLarge {
                    limit: MAX_CERTIFICATE_LEN,
                });
            }
            Err(error) => {
                return Err(Refusal::Certificate {
                    offset: error.offset(),
                });
            }
        };
        let certificate = Certificate::parse(der).map_err(|error| Refusal::Certificate {
            offset: error.offset(),
        })?;
        self.trust(&certificate, at)?;
        certificate.public_key().verify(message, signature)?;
        let sender = certificate.common_name().unwrap_or_default().as_bytes();
        let name = name.get_mut(..sender.len()).unwrap_or_default();
        copy(name, sender);
        match core::str::from_utf8(name) {
            Ok(name) if !name.is_empty() => Ok(name),
            _ => Err(Refusal::Name),
        }
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey(ecdsa::VerifyingKey);

#[cfg(feature = "defmt")]
impl defmt::Format for VerifyingKey {
    fn format(&self, f: defmt::Formatter<'_>) {
        let point = self.0.to_sec1_point(true);
        defmt::write!(f, "VerifyingKey({=[u8]:02x})", point.as_bytes());
    }
}

impl VerifyingKey {
    /// The key for a point of the curve as SEC 1 section 2.3.3 writes it, uncompressed (65 bytes)
    /// or compressed (33 bytes); `None` if this is no such point.
    #[must_use]
    pub fn from_sec1(point: &[u8]) -> Option<Self> {
        // The library knows other forms too.
        if !matches!(point, [2..=4, ..]) {
            return None;
        }
        ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(Self)
    }

    /// Checks that `signature` is this key's over the concatenation of `message`.
    ///
    /// # Errors
    /// [`Refusal::Signature`] if it is not.
    pub fn verify(&self, message: &[&[u8]], signature: &[u8]) -> Result<(), Refusal> {
        let signature = Signature::from_der(signature).map_err(|_| Refusal::Signature)?;
        self.0
            .multipart_verify(message, &signature)
            .map_err(|_| Refusal::Signature)
    }
}

/// The 32 bytes inside of an `ECPrivateKey` (RFC 5915), or of one inside of a `PrivateKeyInfo`
/// (RFC 5958). What follows them there, the public key among it, is not needed.
fn private_key(der: &[u8]) -> Option<&[u8; 32]> {
    const SEQUENCE: u8 = 0x30;
    const PARAMETERS: u8 = 0xa0;
    let mut cursor = Cursor::new(der).ok()?;
    cursor.enter(Tag::Sequence).ok()?;
    cursor.read_integer().ok()?;
    if cursor.next_is(SEQUENCE) {
        if cursor.read_any().ok()? != P256_KEY {
            return None;
        }
        cursor.enter(Tag::OctetString).ok()?;
        cursor.enter(Tag::Sequence).ok()?;
        cursor.read_integer().ok()?;
    }
    let key = cursor.read(Tag::OctetString).ok()?;
    if cursor.next_is(PARAMETERS) {
        cursor.enter_any().ok()?;
        if cursor.read_any().ok()? != P256_CURVE {
            return None;
        }
    }
    key.try_into().ok()
}
