//! Private keys: made, read (PKCS#8, SEC1, PKCS#1) and written (PKCS#8).

use std::path::Path;

use der::{Document, pem::LineEnding, zeroize::Zeroizing};
use getrandom::SysRng;
use p256::{
    ecdsa::signature::{Keypair, Signer},
    elliptic_curve::Generate,
    pkcs8::{DecodePrivateKey, EncodePrivateKey},
};
use x509_cert::spki::{
    self, AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey,
    SubjectPublicKeyInfoOwned,
};

#[cfg(feature = "x509")]
use super::legacy::{self, RsaKey};
use super::{Error, files, x509::ECDSA_WITH_SHA256};

/// The kinds of key that certificates are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// EC P-256, backend `x509-p256`.
    P256,
    /// RSA of 2048 bits, backend `x509`: the legacy wire. Needs feature `x509`.
    Rsa2048,
}

/// A private key that signs messages or certificates.
pub(super) struct PrivateKey {
    pub(super) secret: Secret,
    public: SubjectPublicKeyInfoOwned,
}

pub(super) enum Secret {
    P256(p256::SecretKey),
    #[cfg(feature = "x509")]
    Rsa(RsaKey),
}

impl PrivateKey {
    pub(super) fn generate(kind: KeyKind) -> Result<Self, Error> {
        let secret = match kind {
            KeyKind::P256 => p256::SecretKey::try_generate_from_rng(&mut SysRng)
                .ok()
                .map(Secret::P256),
            #[cfg(feature = "x509")]
            KeyKind::Rsa2048 => RsaKey::generate().map(Secret::Rsa),
            #[cfg(not(feature = "x509"))]
            KeyKind::Rsa2048 => return Err(rsa_not_built_in("an RSA key")),
        };
        secret.and_then(Self::new).ok_or(Error::Signing)
    }

    fn new(secret: Secret) -> Option<Self> {
        let public = match &secret {
            Secret::P256(key) => SubjectPublicKeyInfoOwned::from_key(&key.public_key()).ok()?,
            #[cfg(feature = "x509")]
            Secret::Rsa(key) => key.public_key()?,
        };
        Some(Self { secret, public })
    }

    /// Reads the first private key of a file; other blocks, such as the `EC PARAMETERS` that
    /// OpenSSL writes, are passed over. A file that everybody can read is logged as a warning.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        files::warn_if_open(path);
        let key = files::read_pem(path)?
            .into_iter()
            .find(|pem| pem.label.ends_with("PRIVATE KEY"))
            .ok_or(Error::Missing {
                path: path.to_owned(),
                label: "PRIVATE KEY",
            })?;
        let der = Zeroizing::new(key.der);
        let secret = match key.label.as_str() {
            "EC PRIVATE KEY" => p256::SecretKey::from_sec1_der(&der).ok().map(Secret::P256),
            #[cfg(feature = "x509")]
            "RSA PRIVATE KEY" => RsaKey::from_pkcs1(&der).map(Secret::Rsa),
            #[cfg(not(feature = "x509"))]
            "RSA PRIVATE KEY" => return Err(rsa_not_built_in(path.display())),
            "PRIVATE KEY" => match p256::SecretKey::from_pkcs8_der(&der) {
                Ok(key) => Some(Secret::P256(key)),
                #[cfg(feature = "x509")]
                Err(_) => RsaKey::from_pkcs8(&der).map(Secret::Rsa),
                #[cfg(not(feature = "x509"))]
                Err(_) if is_rsa(&der) => return Err(rsa_not_built_in(path.display())),
                #[cfg(not(feature = "x509"))]
                Err(_) => None,
            },
            "ENCRYPTED PRIVATE KEY" => {
                return Err(Error::Encrypted {
                    path: path.to_owned(),
                });
            }
            _ => None,
        };
        secret.and_then(Self::new).ok_or(Error::KeyKind {
            path: path.to_owned(),
        })
    }

    pub(super) fn p256(&self) -> Option<&p256::SecretKey> {
        match &self.secret {
            Secret::P256(key) => Some(key),
            #[cfg(feature = "x509")]
            Secret::Rsa(_) => None,
        }
    }

    pub(super) fn to_pem(&self) -> Result<Zeroizing<String>, Error> {
        match &self.secret {
            Secret::P256(key) => key.to_pkcs8_pem(LineEnding::LF).ok(),
            #[cfg(feature = "x509")]
            Secret::Rsa(key) => key.to_pkcs8().and_then(|der| {
                let pem = der::pem::encode_string("PRIVATE KEY", LineEnding::LF, &der);
                pem.ok().map(Zeroizing::new)
            }),
        }
        .ok_or(Error::Signing)
    }

    pub(super) fn kind(&self) -> KeyKind {
        match self.secret {
            Secret::P256(_) => KeyKind::P256,
            #[cfg(feature = "x509")]
            Secret::Rsa(_) => KeyKind::Rsa2048,
        }
    }

    pub(super) fn public_key(&self) -> &SubjectPublicKeyInfoOwned {
        &self.public
    }

    /// Signs a certificate or a revocation list.
    pub(super) fn sign_certificate(&self, body: &[u8]) -> Option<Vec<u8>> {
        match &self.secret {
            Secret::P256(key) => {
                let key = p256::ecdsa::SigningKey::from(key);
                let signature: p256::ecdsa::DerSignature = key.try_sign(body).ok()?;
                Some(signature.as_bytes().to_vec())
            }
            #[cfg(feature = "x509")]
            Secret::Rsa(key) => key.sign_certificate(body),
        }
    }
}

/// What `x509-cert` needs besides the signature.
impl DynSignatureAlgorithmIdentifier for PrivateKey {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(match self.secret {
            Secret::P256(_) => AlgorithmIdentifierOwned {
                oid: ECDSA_WITH_SHA256,
                parameters: None,
            },
            #[cfg(feature = "x509")]
            Secret::Rsa(_) => legacy::signature_algorithm(),
        })
    }
}

impl Keypair for PrivateKey {
    type VerifyingKey = PublicKey;

    fn verifying_key(&self) -> PublicKey {
        PublicKey(self.public.clone())
    }
}

#[derive(Clone)]
pub(super) struct PublicKey(SubjectPublicKeyInfoOwned);

impl EncodePublicKey for PublicKey {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::encode_msg(&self.0)?)
    }
}

#[cfg(not(feature = "x509"))]
fn rsa_not_built_in(what: impl std::fmt::Display) -> Error {
    Error::NotBuiltIn {
        feature: "x509",
        what: format!("{what} (RSA)"),
    }
}

/// Whether the PKCS#8 key is one of RSA.
#[cfg(not(feature = "x509"))]
fn is_rsa(der: &[u8]) -> bool {
    const RSA: der::oid::ObjectIdentifier =
        der::oid::ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
    p256::pkcs8::PrivateKeyInfoRef::try_from(der).is_ok_and(|key| key.algorithm.oid == RSA)
}
