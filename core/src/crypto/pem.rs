//! PEM (RFC 7468): DER in base64 between two lines that name it.
//!
//! Reading takes the first block with the wanted label and leaves the rest alone: what `openssl`
//! writes before a block (`-text`, `Bag Attributes`), blocks with other labels, and a chain after
//! it. Lines may end in LF or CR LF and be of any length that is a multiple of 4.

use core::fmt;

use super::base64;

/// The label of a certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";

/// Columns of a line that [`encode`] writes.
const COLUMNS: usize = 64;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// Why something could not be written as or read from PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// There is no line that begins a block with this label.
    Missing,
    /// The block that begins at `offset` has no last line.
    Unterminated {
        /// Offset of the block's first line.
        offset: usize,
    },
    /// What the block holds is no base64; offsets count from the beginning of the text.
    Base64(base64::Error),
    /// The output buffer is too small.
    BufferTooSmall {
        /// How many bytes it needs.
        needed: usize,
    },
}

impl Error {
    /// Where the text stops making sense, in bytes from its beginning; 0 if there is no block.
    #[must_use]
    pub fn offset(&self) -> usize {
        match *self {
            Self::Missing | Self::BufferTooSmall { .. } => 0,
            Self::Unterminated { offset } => offset,
            Self::Base64(error) => error.offset(),
        }
    }
}

impl From<base64::Error> for Error {
    fn from(error: base64::Error) -> Self {
        match error {
            base64::Error::BufferTooSmall { needed } => Self::BufferTooSmall { needed },
            error => Self::Base64(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no such PEM block"),
            Self::Unterminated { offset } => write!(f, "PEM block at offset {offset} has no end"),
            Self::Base64(error) => error.fmt(f),
            Self::BufferTooSmall { needed } => write!(f, "buffer too small: {needed} bytes needed"),
        }
    }
}

impl core::error::Error for Error {}

/// Reads the first block labelled `label` (such as [`CERTIFICATE`]) into the front of `out` and
/// gives its length. What it holds (DER) is not looked into.
///
/// # Errors
/// Any [`Error`]; what `out` holds then is not specified.
pub fn decode(text: &[u8], label: &str, out: &mut [u8]) -> Result<usize, Error> {
    let mut lines = Lines { text, offset: 0 };
    let begin = lines
        .find(|(_, line)| is_boundary(line, BEGIN, label))
        .ok_or(Error::Missing)?
        .0;
    let body = lines.offset;
    let end = lines
        .find(|(_, line)| is_boundary(line, END, label))
        .ok_or(Error::Unterminated { offset: begin })?
        .0;
    let base64 = text.get(body..end).unwrap_or_default();
    base64::decode(base64, out).map_err(|error| error.moved(body).into())
}

/// The exact length of the text that [`encode`] writes for `len` bytes of DER.
#[must_use]
pub const fn encoded_len(len: usize, label: &str) -> usize {
    let boundaries = BEGIN.len() + END.len() + 2 * (label.len() + DASHES.len() + 1);
    base64::wrapped_len(len, COLUMNS, b"\n").saturating_add(boundaries)
}

/// Writes `der` as one block labelled `label` to the front of `out`, in lines of 64 columns that
/// end in LF, and gives its length.
///
/// # Errors
/// [`Error::BufferTooSmall`] if `out` is shorter than [`encoded_len`]; nothing is written.
pub fn encode(der: &[u8], label: &str, out: &mut [u8]) -> Result<usize, Error> {
    let needed = encoded_len(der.len(), label);
    let out = out
        .get_mut(..needed)
        .ok_or(Error::BufferTooSmall { needed })?;
    let label = label.as_bytes();
    let mut rest = out;
    for part in [BEGIN, label, DASHES, b"\n"] {
        rest = base64::append(rest, part);
    }
    rest = base64::write_lines(der, COLUMNS, b"\n", rest);
    for part in [END, label, DASHES, b"\n"] {
        rest = base64::append(rest, part);
    }
    Ok(needed)
}

fn is_boundary(line: &[u8], kind: &[u8], label: &str) -> bool {
    let inner = line
        .strip_prefix(kind)
        .and_then(|line| line.strip_suffix(DASHES));
    inner == Some(label.as_bytes())
}

/// Lines without their newline, each with its offset.
struct Lines<'a> {
    text: &'a [u8],
    /// Offset of the line that comes next.
    offset: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let rest = self.text.get(offset..).filter(|rest| !rest.is_empty())?;
        let line = rest.split(|&byte| byte == b'\n').next()?;
        self.offset = offset.saturating_add(line.len()).saturating_add(1);
        Some((offset, line.strip_suffix(b"\r").unwrap_or(line)))
    }
}
