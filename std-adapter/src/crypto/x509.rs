//! Certificates and revocation lists (RFC 5280), as far as trust needs them: who signed what.
//!
//! Signatures are checked over the bytes as they came, not over a re-encoding.

use der::{Reader, Sequence, SliceReader, asn1::BitStringRef};
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

    /// Whether `issuer` signed it. Without feature `x509` no RSA key did.
    pub(super) fn is_signed_by(&self, issuer: SubjectPublicKeyInfoRef<'_>) -> bool {
        if self.algorithm.oid == ECDSA_WITH_SHA256 {
            use p256::ecdsa::signature::Verifier;
            return p256::ecdsa::VerifyingKey::try_from(issuer).is_ok_and(|key| {
                p256::ecdsa::DerSignature::from_bytes(self.signature)
                    .is_ok_and(|signature| key.verify(self.body, &signature).is_ok())
            });
        }
        #[cfg(feature = "x509")]
        return super::legacy::is_signed_by(&issuer, self.algorithm.oid, self.body, self.signature);
        #[cfg(not(feature = "x509"))]
        false
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
pub(super) const ECDSA_WITH_SHA256: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
