use std::{fmt, io, path::PathBuf, process::ExitStatus, time::Duration};

use super::Origin;

/// Why a configuration could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read, or what was named is no file.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is larger than a configuration could rightly be, or the values of a Python file are.
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// `FEDMSG_CONFIG` names nothing that is there.
    Missing {
        /// What it names.
        path: PathBuf,
    },
    /// A file is not TOML.
    Toml {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A TOML value of a kind that fedmsg's configuration does not have.
    NotJson {
        /// The key.
        key: String,
        /// The file.
        file: PathBuf,
        /// What stands there.
        what: &'static str,
    },
    /// Values lie in each other more than [`MAX_DEPTH`](super::MAX_DEPTH) deep.
    TooDeep {
        /// The key.
        key: String,
        /// The file.
        file: PathBuf,
    },
    /// A Python file failed.
    Python {
        /// The file.
        file: PathBuf,
        /// The line in it, from 1; `None` if Python told none.
        line: Option<u64>,
        /// What Python said.
        message: String,
    },
    /// A Python file took too long, and was ended.
    PythonTime {
        /// The file.
        file: PathBuf,
        /// The time that all of them have together.
        limit: Duration,
    },
    /// A Python file ended the interpreter.
    PythonEnded {
        /// The file.
        file: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// Python could not be run.
    NoPython {
        /// The interpreter that was tried.
        python: PathBuf,
        /// The files that need it.
        files: Vec<PathBuf>,
        /// What the operating system said.
        source: io::Error,
    },
    /// A key's value is not of its type.
    Type {
        /// The key; with dots and indices, the place in its value.
        key: String,
        /// Who set it.
        origin: Origin,
        /// What was found.
        found: String,
        /// What is expected.
        expected: &'static str,
    },
    /// A value that the schema allows does not fit where a program wants it.
    Fit(serde_json::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => write!(f, "{}: {source}", path.display()),
            Self::TooLarge { file, limit } => {
                write!(f, "{}: more than {limit} bytes", file.display())
            }
            Self::Missing { path } => write!(
                f,
                "FEDMSG_CONFIG names {}, which is not there: name a file or a folder, or unset it",
                path.display()
            ),
            Self::Toml {
                file,
                line,
                column,
                message,
            } => write!(f, "{}:{line}:{column}: {message}", file.display()),
            Self::NotJson { key, file, what } => write!(
                f,
                "{}: {key}: {what} cannot be used: write text or a finite number",
                file.display()
            ),
            Self::TooDeep { key, file } => write!(
                f,
                "{}: {key}: more than {} levels deep",
                file.display(),
                super::MAX_DEPTH
            ),
            Self::Python {
                file,
                line: Some(line),
                message,
            } => write!(f, "{}:{line}: {message}", file.display()),
            Self::Python { file, message, .. } => write!(f, "{}: {message}", file.display()),
            Self::PythonTime { file, limit } => write!(
                f,
                "{}: Python was still busy with it after {} s and was ended",
                file.display(),
                limit.as_secs_f64()
            ),
            Self::PythonEnded { file, status } => {
                write!(f, "{}: it ended the interpreter ({status})", file.display())
            }
            Self::NoPython {
                python,
                files,
                source,
            } => {
                write!(f, "{} is needed for ", python.display())?;
                for (number, file) in files.iter().enumerate() {
                    let comma = if number == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", file.display())?;
                }
                write!(
                    f,
                    ": {source}: install it, or put what `fedmsg config --to-toml` prints on a \
                     machine that has it into a .toml file in their place"
                )
            }
            Self::Type {
                key,
                origin,
                found,
                expected,
            } => write!(f, "{origin}: {key} is {found}, not {expected}"),
            Self::Fit(source) => write!(f, "the configuration does not fit: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } | Self::NoPython { source, .. } => Some(source),
            Self::Fit(source) => Some(source),
            _ => None,
        }
    }
}

/// What may be wrong with a configuration that was read all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A key that fedmsg does not know looks much like one that it does.
    Misspelt {
        /// The key.
        key: String,
        /// Who set it.
        origin: Origin,
        /// The known key.
        known: &'static str,
    },
    /// A value of a Python file that JSON cannot hold was left out.
    LeftOut {
        /// The key; with dots and indices, the place in its value.
        key: String,
        /// The file.
        file: PathBuf,
        /// What stands there: `a function`, `bytes`.
        what: String,
    },
    /// Everybody on this machine may write the file, or put another in its place.
    Writable {
        /// The file or its folder.
        path: PathBuf,
    },
    /// The file belongs neither to root nor to the user of this process.
    Stranger {
        /// The file.
        path: PathBuf,
        /// The number of the user whose it is.
        owner: u32,
    },
    /// A domain of `srv_endpoints` gave no endpoints.
    Unresolved {
        /// The domain.
        domain: String,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misspelt { key, origin, known } => {
                write!(f, "{origin}: {key} is not known: is it {known}?")
            }
            Self::LeftOut { key, file, what } => {
                write!(f, "{}: {key} is {what}: it was left out", file.display())
            }
            Self::Writable { path } => {
                write!(f, "{}: everybody may write it: chmod o-w", path.display())
            }
            Self::Stranger { path, owner } => write!(
                f,
                "{}: it belongs to user {owner}, who is neither root nor you",
                path.display()
            ),
            Self::Unresolved { domain, reason } => {
                write!(f, "srv_endpoints: {domain}: {reason}")
            }
        }
    }
}
