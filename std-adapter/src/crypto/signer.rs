//! Signing with a key and certificate on disk, which are read once and kept, and read again when
//! the files change.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use der::{EncodePem, pem::LineEnding};
use fedmsg_core::crypto::{
    SignError, Signer,
    base64::{self, Wrapping},
    p256::{self, P256Signer},
};
use serde::Deserialize;
use x509_cert::Certificate;

#[cfg(feature = "x509")]
use super::legacy::RsaKey;
use super::{
    Error, X509, ca, files,
    key::{PrivateKey, Secret},
    watch::{Mark, Watch},
};
use crate::config::Config;

/// The signer that a configuration asks for: backend `crypto_backend`, as `certname` (an entry of
/// `certnames`, or what the caller takes instead), with the files in `ssldir`.
///
/// ```no_run
/// use fedmsg::{config::Config, crypto};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = Config::default();
/// let signer = crypto::signer(&config, "shell-app01.example.org")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::UnknownBackend`]; as [`FileSigner::load`]; [`Error::BackendKey`] if the key is for
/// another backend.
pub fn signer(config: &Config, certname: &str) -> Result<Arc<dyn Signer + Send + Sync>, Error> {
    #[derive(Deserialize)]
    struct Keys {
        crypto_backend: String,
        ssldir: PathBuf,
    }
    let keys: Keys = config.read()?;
    match keys.crypto_backend.as_str() {
        X509 | p256::BACKEND => {
            let signer = FileSigner::load(&keys.ssldir, certname)?;
            if signer.backend() != keys.crypto_backend {
                return Err(Error::BackendKey {
                    key: signer.key_path,
                    backend: signer.first.pair.backend().to_owned(),
                    asked: keys.crypto_backend,
                });
            }
            Ok(Arc::new(signer))
        }
        #[cfg(feature = "gpg")]
        super::GPG => Ok(Arc::new(super::gpg::GpgSigner::from_config(config)?)),
        _ => Err(Error::UnknownBackend {
            key: "crypto_backend",
            name: keys.crypto_backend,
        }),
    }
}

/// Signs as the sender whose certificate is `NAME.crt` and whose private key `NAME.key` in a
/// folder. The key decides the backend: EC P-256 is `x509-p256`, RSA is `x509`.
///
/// The files are looked at again at most once a second, when a message is signed by what
/// [`Signer::current`] gives. A changed pair takes over once it is whole: both files stand still,
/// belong together and are of the same backend. Until then the old one signs on, and a warning is
/// logged. The old pair's memory (some 10 KB) stays taken.
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
    key_path: PathBuf,
    certificate_path: PathBuf,
    first: Version,
    watch: Watch<[Option<Mark>; 2]>,
}

/// A pair that was read, and the one that came after it: whoever borrows one keeps it.
struct Version {
    pair: Pair,
    next: OnceLock<Box<Version>>,
}

impl FileSigner {
    /// Reads `NAME.key` (PKCS#8, SEC1 or PKCS#1) and the first certificate of `NAME.crt`, both
    /// PEM, from `dir`. A key file that everybody can read is logged as a warning.
    ///
    /// # Errors
    /// [`Error::Name`] (the CA's own key is no sender's); what is wrong with one of the files;
    /// [`Error::KeyMismatch`] if they do not belong together; [`Error::NotBuiltIn`] for an RSA key
    /// without feature `x509`.
    pub fn load(dir: &Path, name: &str) -> Result<Self, Error> {
        ca::check_name(name)?;
        let key_path = dir.join(format!("{name}.key"));
        let certificate_path = dir.join(format!("{name}.crt"));
        let marks = [&key_path, &certificate_path].map(|path| Mark::of(path));
        Ok(Self {
            first: Version {
                pair: Pair::read(&key_path, &certificate_path)?,
                next: OnceLock::new(),
            },
            watch: Watch::new(marks),
            key_path,
            certificate_path,
        })
    }

    fn newest(&self) -> &Version {
        let mut newest = &self.first;
        while let Some(next) = newest.next.get() {
            newest = next;
        }
        newest
    }

    /// Reads the files again if they have changed.
    fn look(&self) {
        let read = || {
            let pair = Pair::read(&self.key_path, &self.certificate_path)?;
            let asked = self.newest().pair.backend();
            match pair.backend() == asked {
                true => Ok(pair),
                false => Err(Error::BackendKey {
                    key: self.key_path.clone(),
                    backend: pair.backend().to_owned(),
                    asked: asked.to_owned(),
                }),
            }
        };
        let take = |pair| {
            let next = OnceLock::new();
            // Nobody else is here: the watch lets in one at a time.
            let _ = self.newest().next.set(Box::new(Version { pair, next }));
        };
        let marks = || [&self.key_path, &self.certificate_path].map(|path| Mark::of(path));
        self.watch.look(marks, read, take);
    }
}

/// Each call by itself uses the newest pair that was read; only [`current`](Signer::current) looks
/// for newer ones, and gives one that stays the same for a whole message.
impl Signer for FileSigner {
    fn backend(&self) -> &str {
        self.newest().pair.backend()
    }

    fn certificate_field(&self) -> &[u8] {
        self.newest().pair.certificate_field()
    }

    fn max_signature_len(&self) -> usize {
        self.newest().pair.max_signature_len()
    }

    fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        self.newest().pair.sign(message, out)
    }

    fn current(&self) -> Option<&dyn Signer> {
        self.look();
        Some(&self.newest().pair)
    }
}

/// A key and its certificate.
struct Pair {
    key: Key,
    certificate_field: Vec<u8>,
}

enum Key {
    /// Without its certificate field, which it could only borrow.
    P256(P256Signer<'static>),
    #[cfg(feature = "x509")]
    Rsa(RsaKey),
}

impl Pair {
    fn read(key_path: &Path, path: &Path) -> Result<Self, Error> {
        let key = PrivateKey::read(key_path)?;
        let certificate = files::read_certificate(path)?;
        if key.public_key() != certificate.tbs_certificate().subject_public_key_info() {
            return Err(Error::KeyMismatch {
                key: key_path.to_owned(),
                certificate: path.to_owned(),
            });
        }
        Ok(Self {
            key: match key.secret {
                Secret::P256(key) => {
                    let key = P256Signer::new(&key.to_bytes().into(), b"");
                    Key::P256(key.map_err(|_| Error::Signing)?)
                }
                #[cfg(feature = "x509")]
                Secret::Rsa(key) => Key::Rsa(key),
            },
            certificate_field: certificate_field(&certificate).ok_or(Error::Signing)?,
        })
    }
}

impl Signer for Pair {
    fn backend(&self) -> &str {
        match &self.key {
            Key::P256(key) => key.backend(),
            #[cfg(feature = "x509")]
            Key::Rsa(_) => X509,
        }
    }

    fn certificate_field(&self) -> &[u8] {
        &self.certificate_field
    }

    fn max_signature_len(&self) -> usize {
        match &self.key {
            Key::P256(key) => key.max_signature_len(),
            #[cfg(feature = "x509")]
            Key::Rsa(key) => key.size(),
        }
    }

    fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        match &self.key {
            Key::P256(key) => key.sign(message, out),
            #[cfg(feature = "x509")]
            Key::Rsa(key) => key.sign(message, out),
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
