//! What can go wrong, and where.

use core::fmt;

/// Why a text was not written or not read, and where.
///
/// From the canonicalizer and from [`unescape`](super::unescape) the offset counts bytes of the
/// input: it names the token or the byte at fault. From the serializer and the
/// [`Writer`](super::Writer) it counts bytes of the output: how much had been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Error {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Where, in bytes.
    pub offset: usize,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ErrorKind {
    /// The output buffer is too small.
    BufferTooSmall {
        /// Bytes that the buffer must have to get past this point, the index of members included.
        /// More may be needed after it.
        needed: usize,
    },
    /// More arrays and objects inside each other than allowed.
    Depth {
        /// The limit that was passed.
        limit: usize,
    },
    /// A byte that cannot stand here.
    UnexpectedByte,
    /// The text ends inside a value.
    UnexpectedEnd,
    /// A backslash that begins no escape.
    BadEscape,
    /// A control character that stands in a string as it is; it must be escaped.
    ControlCharacter,
    /// A string holds bytes that are not UTF-8.
    InvalidUtf8,
    /// The text goes on after its value.
    TrailingData,
    /// The text begins with a byte order mark.
    ByteOrderMark,
    /// An integer of more than [`MAX_INTEGER_DIGITS`](super::MAX_INTEGER_DIGITS) digits.
    IntegerTooLong,
    /// An escaped surrogate without its other half: no character, so no UTF-8 either.
    LoneSurrogate,
    /// A floating-point number that is infinite or no number at all: not every reader takes it.
    NotFinite,
    /// A map key that has no text: neither string nor number, Boolean or none.
    KeyNotString,
    /// A `Serialize` implementation reported an error of its own.
    Custom,
}

impl ErrorKind {
    pub(super) fn at(self, offset: usize) -> Error {
        Error { kind: self, offset }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}

impl core::error::Error for Error {}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::BufferTooSmall { needed } => {
                write!(f, "buffer too small, at least {needed} bytes needed")
            }
            ErrorKind::Depth { limit } => {
                write!(f, "arrays and objects nested deeper than {limit}")
            }
            ErrorKind::UnexpectedByte => f.write_str("not JSON: unexpected byte"),
            ErrorKind::UnexpectedEnd => f.write_str("not JSON: unexpected end"),
            ErrorKind::BadEscape => f.write_str("not JSON: bad escape"),
            ErrorKind::ControlCharacter => f.write_str("not JSON: control character in a string"),
            ErrorKind::InvalidUtf8 => f.write_str("not JSON: string is not UTF-8"),
            ErrorKind::TrailingData => f.write_str("not one JSON value: more data"),
            ErrorKind::ByteOrderMark => f.write_str("not JSON: byte order mark"),
            ErrorKind::IntegerTooLong => write!(
                f,
                "integer of more than {} digits",
                super::MAX_INTEGER_DIGITS
            ),
            ErrorKind::LoneSurrogate => f.write_str("lone surrogate"),
            ErrorKind::NotFinite => f.write_str("number is not finite"),
            ErrorKind::KeyNotString => f.write_str("map key cannot be a string"),
            ErrorKind::Custom => f.write_str("the value refused to be serialized"),
        }
    }
}

impl serde::ser::Error for Error {
    /// There is no room to keep the text.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Error {
            kind: ErrorKind::Custom,
            offset: 0,
        }
    }
}
