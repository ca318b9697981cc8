//! Signing with a key and certificate on disk.

use std::path::Path;

use der::{EncodePem, pem::LineEnding};
use fedmsg_core::crypto::{
    SignError, Signer,
    base64::{self, Wrapping},
    p256::P256Signer,
};
use rsa::{pkcs1v15, signature::MultipartSigner as _, traits::PublicKeyParts as _};
use sha1::Sha1;
use x509_cert::Certificate;

use super::{Error, ca, files, key::PrivateKey};

/// Signs as the sender whose certificate is `NAME.crt` and whose private key `NAME.key` in a
/// folder. The key decides the backend: EC P-256 is `x509-p256`, RSA is `x509`.
///
/// ```no_run
/// use fedmsg::crypto::FileSigner;
/// use fedmsg_core::crypto::Signer;
///
/// let signer = FileSigner::load("/etc/pki/fedmsg".as_ref(), "shell-app01.example.org")?;
/// assert_eq!(signer.backend(), "x509");
/// # Ok::<(), fedmsg::crypto::Error>(())
/// ```
pub struct FileSigner {
    key: Key,
    certificate_field: Vec<u8>,
}

enum Key {
    /// Without its certificate field, which it could only borrow.
    P256(P256Signer<'static>),
    Rsa(pkcs1v15::SigningKey<Sha1>),
}

impl FileSigner {
    /// Reads `NAME.key` (PKCS#8, SEC1 or PKCS#1) and the first certificate of `NAME.crt`, both
    /// PEM, from `dir`. Both are read once: a changed file needs a new signer.
    ///
    /// # Errors
    /// [`Error::Name`] (the CA's own key is no sender's); what is wrong with one of the files;
    /// [`Error::KeyMismatch`] if they do not belong together.
    pub fn load(dir: &Path, name: &str) -> Result<Self, Error> {
        ca::check_name(name)?;
        let key_path = dir.join(format!("{name}.key"));
        let path = dir.join(format!("{name}.crt"));
        let key = PrivateKey::read(&key_path)?;
        let certificate = files::read_certificate(&path)?;
        if key.public_key()? != *certificate.tbs_certificate().subject_public_key_info() {
            return Err(Error::KeyMismatch {
                key: key_path,
                certificate: path,
            });
        }
        Ok(Self {
            key: match &key {
                PrivateKey::P256(key) => {
                    let key = P256Signer::new(&key.to_bytes().into(), b"");
                    Key::P256(key.map_err(|_| Error::Signing)?)
                }
                PrivateKey::Rsa(key) => Key::Rsa(pkcs1v15::SigningKey::new(key.as_ref().clone())),
            },
            certificate_field: certificate_field(&certificate).ok_or(Error::Signing)?,
        })
    }
}

impl Signer for FileSigner {
    fn backend(&self) -> &str {
        match &self.key {
            Key::P256(key) => key.backend(),
            Key::Rsa(_) => super::X509,
        }
    }

    fn certificate_field(&self) -> &[u8] {
        &self.certificate_field
    }

    fn max_signature_len(&self) -> usize {
        match &self.key {
            Key::P256(key) => key.max_signature_len(),
            Key::Rsa(key) => key.as_ref().size(),
        }
    }

    fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        match &self.key {
            Key::P256(key) => key.sign(message, out),
            Key::Rsa(key) => {
                let needed = key.as_ref().size();
                let out = out
                    .get_mut(..needed)
                    .ok_or(SignError::BufferTooSmall { needed })?;
                let signature = key
                    .try_multipart_sign(message)
                    .map_err(|_| SignError::Key)?;
                let signature: Box<[u8]> = signature.into();
                if signature.len() != needed {
                    return Err(SignError::Key);
                }
                out.copy_from_slice(&signature);
                Ok(needed)
            }
        }
    }
}

/// The PEM text is made anew: what else the file holds is nobody's business.
fn certificate_field(certificate: &Certificate) -> Option<Vec<u8>> {
    let pem = certificate.to_pem(LineEnding::LF).ok()?;
    let mut field = vec![0; base64::encoded_len(pem.len(), Wrapping::JsonLines)];
    base64::encode(pem.as_bytes(), Wrapping::JsonLines, &mut field).ok()?;
    Some(field)
}
