//! Credentials on disk: PEM blocks with any text around them (`openssl x509 -text` and easy-rsa
//! write it), and files that are there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use der::Decode;
use x509_cert::Certificate;

use super::Error;

/// The largest credential file that is read, in bytes; a revocation list takes some 40 an entry.
pub(super) const MAX_FILE: u64 = 16 << 20;

pub(super) const CERTIFICATE: &str = "CERTIFICATE";
pub(super) const CRL: &str = "X509 CRL";

/// One PEM block's label and content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pem {
    pub(super) label: String,
    pub(super) der: Vec<u8>,
}

/// Reads all PEM blocks of a file.
pub(super) fn read_pem(path: &Path) -> Result<Vec<Pem>, Error> {
    decode(path, &read(path)?)
}

fn decode(path: &Path, text: &str) -> Result<Vec<Pem>, Error> {
    blocks(text)
        .map(
            |(label, block)| match der::pem::decode_vec(block.as_bytes()) {
                Ok((_, der)) => Ok(Pem {
                    label: label.to_owned(),
                    der,
                }),
                // RFC 1421 headers, which only an encrypted key has, do not decode.
                Err(_) if block.contains("\nProc-Type: 4,ENCRYPTED") => Err(Error::Encrypted {
                    path: path.to_owned(),
                }),
                Err(error) => Err(Error::Malformed {
                    path: path.to_owned(),
                    label: known_label(label),
                    source: error.into(),
                }),
            },
        )
        .collect()
}

/// The content of a text's PEM blocks with this label, of which there must be one at least.
pub(super) fn labelled(
    path: &Path,
    text: &str,
    label: &'static str,
) -> Result<Vec<Vec<u8>>, Error> {
    let found: Vec<_> = decode(path, text)?
        .into_iter()
        .filter(|pem| pem.label == label)
        .map(|pem| pem.der)
        .collect();
    if found.is_empty() {
        return Err(Error::Missing {
            path: path.to_owned(),
            label,
        });
    }
    Ok(found)
}

/// The content of the file's first PEM block with this label.
pub(super) fn read_first(path: &Path, label: &'static str) -> Result<Vec<u8>, Error> {
    let missing = || Error::Missing {
        path: path.to_owned(),
        label,
    };
    labelled(path, &read(path)?, label)?
        .into_iter()
        .next()
        .ok_or_else(missing)
}

/// The first certificate of a file.
pub(super) fn read_certificate(path: &Path) -> Result<Certificate, Error> {
    let malformed = |source| Error::Malformed {
        path: path.to_owned(),
        label: CERTIFICATE,
        source,
    };
    Certificate::from_der(&read_first(path, CERTIFICATE)?).map_err(malformed)
}

/// A file in the making, beside its final place under the name plus `.new`. That name is taken
/// exclusively, so it also keeps a second process away from the same file; dropped unpublished,
/// it leaves nothing.
pub(super) struct Draft {
    path: PathBuf,
    work: PathBuf,
    file: File,
    published: bool,
}

impl Draft {
    /// Begins a file that must not exist yet.
    pub(super) fn create(path: PathBuf, mode: u32) -> Result<Self, Error> {
        let draft = Self::replace(path, mode)?;
        match fs::symlink_metadata(&draft.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(draft),
            Err(source) => Err(Error::Io {
                doing: "look at",
                path: draft.path.clone(),
                source,
            }),
            Ok(_) => Err(Error::Exists {
                path: draft.path.clone(),
            }),
        }
    }

    /// Begins a file that takes the place of one of the same name.
    pub(super) fn replace(path: PathBuf, mode: u32) -> Result<Self, Error> {
        let mut work = path.clone().into_os_string();
        work.push(".new");
        let work = PathBuf::from(work);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        match options.open(&work) {
            Ok(file) => Ok(Self {
                path,
                work,
                file,
                published: false,
            }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::Busy { path: work })
            }
            Err(source) => Err(Error::Io {
                doing: "write",
                path: work,
                source,
            }),
        }
    }

    /// Fills the file and waits until it is on the disk.
    pub(super) fn write(&mut self, content: impl AsRef<[u8]>) -> Result<(), Error> {
        self.file
            .write_all(content.as_ref())
            .and_then(|()| self.file.sync_all())
            .map_err(|source| Error::Io {
                doing: "write",
                path: self.work.clone(),
                source,
            })
    }

    /// Puts the file in its place.
    pub(super) fn publish(mut self) -> Result<(), Error> {
        fs::rename(&self.work, &self.path).map_err(|source| Error::Io {
            doing: "write",
            path: self.path.clone(),
            source,
        })?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once published, a work file of that name is another process's.
        if !self.published {
            let _ = fs::remove_file(&self.work);
        }
    }
}

pub(super) fn read(path: &Path) -> Result<String, Error> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|source| Error::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            limit: MAX_FILE,
        });
    }
    // What surrounds the blocks may be in any encoding.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Warns of a private key that everybody can read.
pub(super) fn warn_if_open(path: &Path) {
    #[cfg(unix)]
    if let Ok(data) = fs::metadata(path)
        && std::os::unix::fs::MetadataExt::mode(&data) & 0o004 != 0
    {
        let path = path.display();
        log::warn!("everybody on this machine can read the private key {path}: chmod o-r {path}");
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Label and full text of each PEM block; one without an end is left out.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, from_begin) = rest.split_at_checked(rest.find("-----BEGIN ")?)?;
            let (label, _) = from_begin
                .strip_prefix("-----BEGIN ")?
                .split_once("-----")?;
            let end = format!("-----END {label}-----");
            let Some(at) = from_begin.find(&end) else {
                rest = from_begin.strip_prefix("-----BEGIN ")?;
                continue;
            };
            let (block, after) = from_begin.split_at_checked(at + end.len())?;
            rest = after;
            return Some((label, block));
        }
    })
}

fn known_label(label: &str) -> &'static str {
    match label {
        CERTIFICATE => CERTIFICATE,
        CRL => CRL,
        _ if label.ends_with("PRIVATE KEY") => "PRIVATE KEY",
        _ => "PEM block",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_blocks_are_found_in_any_surrounding_text() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----");
        let (a, b) = (block("A"), block("B C"));
        for (text, expected) in [
            (String::new(), vec![]),
            ("no block".to_owned(), vec![]),
            (a.clone(), vec![("A", a.as_str())]),
            (
                format!("text\n{a}\r\nmore{b}"),
                vec![("A", a.as_str()), ("B C", b.as_str())],
            ),
            (
                format!("-----BEGIN A-----\n{b}\n"),
                vec![("B C", b.as_str())],
            ),
            (
                "-----BEGIN A-----\nAAAA\n-----END B-----".to_owned(),
                vec![],
            ),
            ("-----BEGIN A".to_owned(), vec![]),
        ] {
            assert_eq!(blocks(&text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_draft_is_seen_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        drop(Draft::create(path.clone(), 0o600).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let mut draft = Draft::create(path.clone(), 0o600).unwrap();
        assert!(matches!(
            Draft::create(path.clone(), 0o600),
            Err(Error::Busy { .. })
        ));
        draft.write("first").unwrap();
        assert!(!path.exists());
        draft.publish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert!(matches!(
            Draft::create(path.clone(), 0o600),
            Err(Error::Exists { .. })
        ));

        let mut draft = Draft::replace(path.clone(), 0o600).unwrap();
        draft.write("second").unwrap();
        draft.publish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
