use std::fmt;

/// Why a configuration could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A key's value is not of its type.
    Type(serde_json::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(source) => source.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Type(source) => Some(source),
        }
    }
}
