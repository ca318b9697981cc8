//! The legacy wire, `x509`: RSA keys (PKCS#1 v1.5, RFC 8017) with SHA-1, and certificates, CAs and
//! revocation lists judged as OpenSSL judges them.
//!
//! Nothing of that judgement is ours: `X509_verify_cert` decides, at the time that it is told, and
//! with revocation lists under `CRL_CHECK | CRL_CHECK_ALL`, as Python fedmsg has it do. So what was
//! accepted or refused still is: RSA of 1024 bits, SHA-1, CAs of X.509 version 1 and lists of
//! version 1 are what old sites have.

use std::ops::RangeInclusive;

use aws_lc_sys as ffi;
use der::{
    Decode, Encode,
    asn1::{AnyRef, BitStringRef, OctetStringRef},
    oid::ObjectIdentifier,
    zeroize::Zeroizing,
};
use fedmsg_core::crypto::{Refusal, SignError};
use p256::pkcs8::PrivateKeyInfoRef;
use x509_cert::spki::{
    AlgorithmIdentifierOwned, AlgorithmIdentifierRef, SubjectPublicKeyInfo,
    SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef,
};

use super::aws_lc::{Certificate, Digest, Hash, List, Rsa, Store};

/// An RSA private key, of 1024 to 8192 bits.
pub(super) struct RsaKey(Rsa);

impl RsaKey {
    pub(super) fn generate() -> Option<Self> {
        Rsa::generate(2048).map(Self)
    }

    pub(super) fn from_pkcs1(der: &[u8]) -> Option<Self> {
        let key = Rsa::private(der)?;
        (MIN_BITS..=MAX_BITS)
            .contains(&key.bits())
            .then_some(Self(key))
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let info = PrivateKeyInfoRef::from_der(der).ok()?;
        if info.algorithm.oid != RSA {
            return None;
        }
        Self::from_pkcs1(info.private_key.as_bytes())
    }

    pub(super) fn to_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        let key = self.0.private_to_der()?;
        let key = OctetStringRef::new(&key).ok()?;
        let info = PrivateKeyInfoRef::new(ALGORITHM, key);
        info.to_der().ok().map(Zeroizing::new)
    }

    pub(super) fn public_key(&self) -> Option<SubjectPublicKeyInfoOwned> {
        let key = self.0.public_to_der()?;
        let info = SubjectPublicKeyInfo {
            algorithm: ALGORITHM,
            subject_public_key: BitStringRef::from_bytes(&key).ok()?,
        };
        SubjectPublicKeyInfoOwned::from_der(&info.to_der().ok()?).ok()
    }

    /// The length of its signatures.
    pub(super) fn size(&self) -> usize {
        self.0.size()
    }

    /// Signs a message, with SHA-1.
    pub(super) fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        let needed = self.size();
        let out = out
            .get_mut(..needed)
            .ok_or(SignError::BufferTooSmall { needed })?;
        let digest = Digest::sha1(message);
        self.0.sign(&digest, out).ok_or(SignError::Key)
    }

    /// Signs a certificate or a revocation list, with SHA-256.
    pub(super) fn sign_certificate(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.size()];
        let len = self
            .0
            .sign(&Digest::of(Hash::Sha256, body)?, &mut signature)?;
        signature.truncate(len);
        Some(signature)
    }
}

/// Certificates that are trusted, and what they have revoked.
pub(super) struct Chains {
    store: Store,
    revocation: bool,
    /// Every moment at which a verdict may change because of these, in seconds since the epoch.
    dates: Vec<u64>,
}

/// What is wrong with CA certificates and revocation lists.
pub(super) enum Unusable {
    /// A certificate cannot be read.
    Certificate,
    /// One is not a CA's.
    NotCa,
    /// A list cannot be read.
    List,
    /// None of the CAs signed it.
    Foreign,
}

/// A sender whose certificate was accepted.
pub(super) struct Accepted {
    pub(super) key: RsaPublic,
    /// Empty if the certificate names none.
    pub(super) name: String,
    /// When the verdict stays what it is.
    pub(super) valid: RangeInclusive<u64>,
}

impl Chains {
    /// Of certificates and revocation lists in DER; `None`: lists are not asked for.
    pub(super) fn new(
        certificates: &[Vec<u8>],
        lists: Option<&[Vec<u8>]>,
    ) -> Result<Self, Unusable> {
        let parsed = certificates.iter().map(|der| Certificate::parse(der));
        let certificates: Vec<_> = parsed.collect::<Option<_>>().ok_or(Unusable::Certificate)?;
        if !certificates.iter().all(Certificate::is_ca) {
            return Err(Unusable::NotCa);
        }
        let revocation = lists.is_some();
        let parsed = lists.unwrap_or_default().iter().map(|der| List::parse(der));
        let lists: Vec<_> = parsed.collect::<Option<_>>().ok_or(Unusable::List)?;
        let known = |list: &List| certificates.iter().any(|ca| list.is_signed_by(ca));
        if !lists.iter().all(known) {
            return Err(Unusable::Foreign);
        }
        let dates = certificates.iter().map(Certificate::dates);
        let dates = dates.chain(lists.iter().map(List::dates)).flatten();
        Ok(Self {
            store: Store::new(&certificates, &lists).ok_or(Unusable::Certificate)?,
            revocation,
            dates: dates.flat_map(changes).collect(),
        })
    }

    /// Judges a sender's certificate, in DER, at the time `at`.
    pub(super) fn judge(&self, der: &[u8], at: u64) -> Result<Accepted, Refusal> {
        let certificate = Certificate::parse(der).ok_or_else(|| Refusal::Certificate {
            // AWS-LC does not say where.
            offset: AnyRef::from_der(der)
                .err()
                .and_then(|error| usize::try_from(error.position()?).ok())
                .unwrap_or(0),
        })?;
        let key = certificate
            .rsa_key()
            .ok_or(Refusal::Certificate { offset: 0 })?;
        let time = i64::try_from(at).unwrap_or(i64::MAX);
        match self.store.verify(&certificate, time, self.revocation) {
            ffi::X509_V_OK => {}
            error => return Err(refusal(error)),
        }
        let (mut start, mut end) = (0, u64::MAX);
        let own = certificate.dates().into_iter().flat_map(changes);
        for date in self.dates.iter().copied().chain(own) {
            if date <= at {
                start = start.max(date);
            } else {
                end = end.min(date - 1);
            }
        }
        Ok(Accepted {
            key: RsaPublic(key),
            name: certificate.common_name().unwrap_or_default(),
            valid: start..=end,
        })
    }
}

/// When something that begins or ends at this date may do so: its second may be the last of the
/// old or the first of the new.
fn changes(date: Option<i64>) -> [u64; 2] {
    let date = date.and_then(|date| u64::try_from(date).ok()).unwrap_or(0);
    [date, date.saturating_add(1)]
}

/// Which of our reasons an error of `X509_verify_cert` is.
fn refusal(error: i32) -> Refusal {
    match error {
        ffi::X509_V_ERR_CERT_NOT_YET_VALID => Refusal::NotYetValid,
        ffi::X509_V_ERR_CERT_HAS_EXPIRED => Refusal::Expired,
        ffi::X509_V_ERR_CERT_REVOKED => Refusal::Revoked,
        ffi::X509_V_ERR_CRL_NOT_YET_VALID | ffi::X509_V_ERR_CRL_HAS_EXPIRED => {
            Refusal::RevocationListDate
        }
        ffi::X509_V_ERR_UNABLE_TO_GET_CRL
        | ffi::X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER
        | ffi::X509_V_ERR_CRL_SIGNATURE_FAILURE
        | ffi::X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD
        | ffi::X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD
        | ffi::X509_V_ERR_KEYUSAGE_NO_CRL_SIGN
        | ffi::X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION
        | ffi::X509_V_ERR_DIFFERENT_CRL_SCOPE => Refusal::RevocationList,
        _ => Refusal::Untrusted,
    }
}

/// The RSA public key of a sender.
pub(super) struct RsaPublic(Rsa);

impl RsaPublic {
    /// Whether it signed the message, with SHA-1.
    pub(super) fn verify(&self, message: &[&[u8]], signature: &[u8]) -> Result<(), Refusal> {
        match self.0.verify(&Digest::sha1(message), signature) {
            true => Ok(()),
            false => Err(Refusal::Signature),
        }
    }
}

/// Whether an RSA key signed a certificate or list, by this algorithm.
pub(super) fn is_signed_by(
    key: &SubjectPublicKeyInfoRef<'_>,
    algorithm: ObjectIdentifier,
    body: &[u8],
    signature: &[u8],
) -> bool {
    let hash = match algorithm {
        RSA_WITH_SHA1 => Hash::Sha1,
        RSA_WITH_SHA256 => Hash::Sha256,
        RSA_WITH_SHA384 => Hash::Sha384,
        RSA_WITH_SHA512 => Hash::Sha512,
        _ => return false,
    };
    let key = (key.algorithm.oid == RSA)
        .then(|| key.subject_public_key.as_bytes())
        .flatten();
    key.and_then(Rsa::public)
        .zip(Digest::of(hash, body))
        .is_some_and(|(key, digest)| key.verify(&digest, signature))
}

/// How certificates and lists of an RSA CA are signed here.
pub(super) fn signature_algorithm() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid: RSA_WITH_SHA256,
        parameters: Some(der::asn1::Null.into()),
    }
}

/// rsaEncryption.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ALGORITHM: AlgorithmIdentifierRef<'static> = AlgorithmIdentifierRef {
    oid: RSA,
    parameters: Some(AnyRef::NULL),
};
const RSA_WITH_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const RSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const MIN_BITS: u32 = 1024;
const MAX_BITS: u32 = 8192;
