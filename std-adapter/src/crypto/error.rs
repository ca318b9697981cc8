use std::{fmt, io, path::PathBuf};

use crate::config;

/// Why keys, certificates or revocation lists could not be read, made or used.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system said no.
    Io {
        /// What was tried: `read`, `write`, `make the folder`.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file that would have to be overwritten.
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The work file of another `fedmsg ca` at work on the same file, or of an interrupted one.
    Busy {
        /// The work file.
        path: PathBuf,
    },
    /// A file is larger than anything that it could rightly hold.
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A sender's name that is no safe file name.
    Name {
        /// The name.
        name: String,
    },
    /// A CA's name that is empty, longer than 64 characters or has control characters.
    CommonName {
        /// The name.
        name: String,
    },
    /// A lifetime that is no date.
    Days {
        /// The days asked for.
        days: u32,
        /// The most there can be.
        limit: u32,
    },
    /// A clock that shows no year from 1970 to 9999.
    Clock {
        /// Seconds since the epoch.
        seconds: u64,
    },
    /// A P-256 sender was asked of an RSA CA.
    CaKind,
    /// A certificate would be valid longer than the CA's own.
    OutlivesCa {
        /// The days left to the CA's certificate.
        left: u64,
    },
    /// A file has no PEM block of the kind it should hold.
    Missing {
        /// The file.
        path: PathBuf,
        /// The kind: `CERTIFICATE`, `PRIVATE KEY`, `X509 CRL`.
        label: &'static str,
    },
    /// A PEM block's content is not what its label says.
    Malformed {
        /// The file.
        path: PathBuf,
        /// The label.
        label: &'static str,
        /// What is wrong with it.
        source: der::Error,
    },
    /// The private key is protected by a passphrase.
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// The configuration has a value of the wrong type.
    Config(config::Error),
    /// GnuPG.
    #[cfg(feature = "gpg")]
    Gpg(super::gpg::Error),
    /// A backend that does not exist.
    UnknownBackend {
        /// The key of the configuration.
        key: &'static str,
        /// What it names.
        name: String,
    },
    /// A key of another kind than the backend that is to sign.
    BackendKey {
        /// The key's file.
        key: PathBuf,
        /// The backend that it is for.
        backend: String,
        /// The backend that was asked for.
        asked: String,
    },
    /// A URL that is not `https`.
    Url {
        /// The key of the configuration.
        key: &'static str,
        /// The URL, without a password.
        url: String,
    },
    /// A URL gave nothing.
    Fetch {
        /// The URL, without a password.
        url: String,
        /// Why.
        reason: String,
    },
    /// This program was built without a part that is needed.
    NotBuiltIn {
        /// The feature of crate `fedmsg`.
        feature: &'static str,
        /// What needs it.
        what: String,
    },
    /// The key is neither EC P-256 nor RSA of 1024 to 8192 bits.
    KeyKind {
        /// The file.
        path: PathBuf,
    },
    /// The private key is not the certificate's.
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The certificate may not issue others.
    NotCa {
        /// The file.
        path: PathBuf,
    },
    /// A certificate or revocation list was not issued by this CA.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The certificate is on the revocation list already.
    AlreadyRevoked {
        /// The certificate's file.
        path: PathBuf,
    },
    /// A key or certificate could not be made: no random numbers, or a damaged key.
    Signing,
    /// Settings that a device cannot work with.
    Device(fedmsg_core::provision::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io {
                doing,
                path,
                source,
            } => {
                write!(f, "cannot {doing} {}: {source}", path.display())
            }
            Self::Exists { path } => write!(
                f,
                "{} exists and is never overwritten: take another name, or move it away",
                path.display()
            ),
            Self::Busy { path } => write!(
                f,
                "{} exists: another fedmsg ca is at work there; if none is, remove that file",
                path.display()
            ),
            Self::TooLarge { path, limit } => {
                write!(f, "{} is larger than {limit} bytes", path.display())
            }
            Self::Name { name } => write!(
                f,
                "the name {name:?} cannot be used: take up to 64 letters, digits and . _ @ + -, \
                 the first a letter or digit, and neither \"ca\" nor the CA's own name"
            ),
            Self::CommonName { name } => write!(
                f,
                "the CA's name {name:?} cannot be used: take 1 to 64 characters, none of them \
                 control characters"
            ),
            Self::Days { days, limit } => {
                write!(f, "{days} days is no lifetime: take 1 to {limit}")
            }
            Self::Clock { seconds } => {
                write!(
                    f,
                    "{seconds} seconds since 1970 is no date: set this machine's clock"
                )
            }
            Self::CaKind => f.write_str(
                "the CA's key is RSA, its senders' must be too: a P-256 CA is made by ca init \
                 without --rsa",
            ),
            Self::OutlivesCa { left } => write!(
                f,
                "the CA's own certificate has {left} whole days left: take fewer, or make a new CA"
            ),
            Self::Missing { path, label } => {
                write!(f, "{} holds no PEM block {label:?}", path.display())
            }
            Self::Malformed {
                path,
                label,
                source,
            } => {
                write!(
                    f,
                    "{}: the {label} in it is damaged: {source}",
                    path.display()
                )
            }
            Self::Encrypted { path } => write!(
                f,
                "the key in {} is protected by a passphrase: take it off with \
                 openssl pkey -in OLD -out NEW",
                path.display()
            ),
            Self::Config(source) => source.fmt(f),
            #[cfg(feature = "gpg")]
            Self::Gpg(source) => source.fmt(f),
            Self::UnknownBackend { key, name } => write!(
                f,
                "{key}: there is no backend {name:?}: take x509, x509-p256 or gpg"
            ),
            Self::BackendKey {
                key,
                backend,
                asked,
            } => write!(
                f,
                "the key in {} is one of backend {backend}, not {asked}: take another key, or set \
                 crypto_backend to {backend:?}",
                key.display()
            ),
            Self::Url { key, url } => write!(
                f,
                "{key}: {url:?} is not fetched, for anybody on the way could change what comes: \
                 take an https URL, or a file"
            ),
            Self::Fetch { url, reason } => write!(
                f,
                "cannot fetch {url}: {reason}: look whether it can be reached from here, or take a \
                 file in its place"
            ),
            Self::NotBuiltIn { feature, what } => write!(
                f,
                "{what}: this program was built without feature {feature} of fedmsg"
            ),
            Self::KeyKind { path } => write!(
                f,
                "the key in {} is neither EC P-256 nor RSA of 1024 to 8192 bits",
                path.display()
            ),
            Self::KeyMismatch { key, certificate } => write!(
                f,
                "the key in {} is not that of the certificate in {}",
                key.display(),
                certificate.display()
            ),
            Self::NotCa { path } => {
                write!(f, "the certificate in {} is not a CA's", path.display())
            }
            Self::Foreign { path } => {
                write!(f, "{} was not issued by this CA", path.display())
            }
            Self::AlreadyRevoked { path } => {
                write!(
                    f,
                    "the certificate in {} is revoked already",
                    path.display()
                )
            }
            Self::Signing => f.write_str("no random numbers, or the key cannot sign"),
            Self::Device(error) => write!(f, "a device cannot work with this: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Malformed { source, .. } => Some(source),
            Self::Config(source) => Some(source),
            #[cfg(feature = "gpg")]
            Self::Gpg(source) => Some(source),
            Self::Device(source) => Some(source),
            _ => None,
        }
    }
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Self::Config(error)
    }
}

#[cfg(feature = "gpg")]
impl From<super::gpg::Error> for Error {
    fn from(error: super::gpg::Error) -> Self {
        Self::Gpg(error)
    }
}
