//! Private keys: made, read (PKCS#8, SEC1, PKCS#1) and written (PKCS#8).

use std::path::Path;

use der::{pem::LineEnding, zeroize::Zeroizing};
use getrandom::SysRng;
use p256::elliptic_curve::Generate;
use rsa::{
    pkcs1::DecodeRsaPrivateKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey},
};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::{Error, files};

/// The kinds of key that certificates are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// EC P-256, backend `x509-p256`.
    P256,
    /// RSA of 2048 bits, backend `x509`: the legacy wire.
    Rsa2048,
}

/// A private key that signs messages or certificates.
#[derive(Clone)]
pub(super) enum PrivateKey {
    P256(p256::SecretKey),
    Rsa(Box<rsa::PrivateKey>),
}

impl PrivateKey {
    pub(super) fn generate(kind: KeyKind) -> Result<Self, Error> {
        match kind {
            KeyKind::P256 => p256::SecretKey::try_generate_from_rng(&mut SysRng)
                .map(Self::P256)
                .map_err(|_| Error::Signing),
            KeyKind::Rsa2048 => rsa::PrivateKey::new(&mut SysRng, 2048)
                .map(Self::rsa)
                .map_err(|_| Error::Signing),
        }
    }

    /// Reads the first private key of a file; other blocks, such as the `EC PARAMETERS` that
    /// OpenSSL writes, are passed over.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let key = files::read_pem(path)?
            .into_iter()
            .find(|pem| pem.label.ends_with("PRIVATE KEY"))
            .ok_or(Error::Missing {
                path: path.to_owned(),
                label: "PRIVATE KEY",
            })?;
        let der = Zeroizing::new(key.der);
        match key.label.as_str() {
            "EC PRIVATE KEY" => p256::SecretKey::from_sec1_der(&der).ok().map(Self::P256),
            "RSA PRIVATE KEY" => rsa::PrivateKey::from_pkcs1_der(&der).ok().map(Self::rsa),
            "PRIVATE KEY" => p256::SecretKey::from_pkcs8_der(&der)
                .ok()
                .map(Self::P256)
                .or_else(|| rsa::PrivateKey::from_pkcs8_der(&der).ok().map(Self::rsa)),
            "ENCRYPTED PRIVATE KEY" => {
                return Err(Error::Encrypted {
                    path: path.to_owned(),
                });
            }
            _ => None,
        }
        .ok_or(Error::KeyKind {
            path: path.to_owned(),
        })
    }

    fn rsa(key: rsa::PrivateKey) -> Self {
        Self::Rsa(Box::new(key))
    }

    pub(super) fn to_pem(&self) -> Result<Zeroizing<String>, Error> {
        match self {
            Self::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
            Self::Rsa(key) => key.to_pkcs8_pem(LineEnding::LF),
        }
        .map_err(|_| Error::Signing)
    }

    pub(super) fn kind(&self) -> KeyKind {
        match self {
            Self::P256(_) => KeyKind::P256,
            Self::Rsa(_) => KeyKind::Rsa2048,
        }
    }

    pub(super) fn public_key(&self) -> Result<SubjectPublicKeyInfoOwned, Error> {
        let document = match self {
            Self::P256(key) => key.public_key().to_public_key_der(),
            Self::Rsa(key) => key.to_public_key().to_public_key_der(),
        };
        document
            .ok()
            .and_then(|der| der.decode_msg().ok())
            .ok_or(Error::Signing)
    }
}
