//! Certificates and revocation lists (RFC 5280), as far as trust needs them: who signed what.
//!
//! Signatures are checked over the bytes as they came, not over a re-encoding.

use der::{Reader, Sequence, SliceReader, asn1::BitStringRef, referenced::OwnedToRef};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use x509_cert::{
    Version,
    crl::RevokedCert,
    ext::Extensions,
    name::Name,
    spki::{
        AlgorithmIdentifierOwned, AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef,
    },
    time::Time,
};

/// What certificates and revocation lists have in common: `SIGNED{ToBeSigned}` of X.509.
pub(super) struct Signed<'a> {
    /// The signed bytes.
    pub(super) body: &'a [u8],
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(super) fn parse(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let signed = reader.sequence(|reader| {
            let body = reader.tlv_bytes()?;
            let algorithm = reader.decode()?;
            let signature: BitStringRef<'a> = reader.decode()?;
            let signature = signature
                .as_bytes()
                .ok_or(der::Tag::BitString.value_error())?;
            Ok::<_, der::Error>(Signed {
                body,
                algorithm,
                signature,
            })
        })?;
        reader.finish()?;
        Ok(signed)
    }

    /// Whether the signed part names the same algorithm as the signature, as it must.
    pub(super) fn algorithm_is(&self, inner: &AlgorithmIdentifierOwned) -> bool {
        self.algorithm == inner.owned_to_ref()
    }

    /// Whether `issuer` signed it. SHA-1 is taken from RSA keys only, as old sites' CAs used it.
    pub(super) fn is_signed_by(&self, issuer: SubjectPublicKeyInfoRef<'_>) -> bool {
        match self.algorithm.oid {
            ECDSA_WITH_SHA256 => p256::ecdsa::VerifyingKey::try_from(issuer).is_ok_and(|key| {
                use p256::ecdsa::signature::Verifier;
                p256::ecdsa::DerSignature::from_bytes(self.signature)
                    .is_ok_and(|signature| key.verify(self.body, &signature).is_ok())
            }),
            oid => rsa::PublicKey::try_from(issuer).is_ok_and(|key| {
                match oid {
                    RSA_WITH_SHA1 => key.pkcs1v15_verify::<Sha1>(self.body, self.signature),
                    RSA_WITH_SHA256 => key.pkcs1v15_verify::<Sha256>(self.body, self.signature),
                    RSA_WITH_SHA384 => key.pkcs1v15_verify::<Sha384>(self.body, self.signature),
                    RSA_WITH_SHA512 => key.pkcs1v15_verify::<Sha512>(self.body, self.signature),
                    _ => Err(rsa::Error::Verification),
                }
                .is_ok()
            }),
        }
    }
}

/// `TBSCertList`. Unlike that of `x509-cert` it takes version 1, which has no version field.
#[derive(Sequence)]
pub(super) struct CertList {
    pub(super) version: Option<Version>,
    pub(super) signature: AlgorithmIdentifierOwned,
    pub(super) issuer: Name,
    pub(super) this_update: Time,
    pub(super) next_update: Option<Time>,
    pub(super) revoked: Option<Vec<RevokedCert>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) extensions: Option<Extensions>,
}

pub(super) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const RSA_WITH_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const RSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
