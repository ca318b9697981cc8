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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn decoded(text: &str, label: &str) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; text.len()];
        let len = decode(text.as_bytes(), label, &mut out)?;
        out.truncate(len);
        Ok(out)
    }

    #[test]
    fn the_first_block_with_the_label_is_read() {
        let block = "-----BEGIN A-----\nZm9v\n-----END A-----\n";
        let other = "-----BEGIN B-----\nYmFy\n-----END B-----\n";
        for text in [
            block.into(),
            block.trim_end().into(),
            block.replace('\n', "\r\n"),
            std::format!("Subject: CN = A\n  -----BEGIN A-----\n{other}{block}{other}"),
            std::format!("{block}-----BEGIN A-----\nYmFy\n-----END A-----\n"),
            std::format!("{block}-----BEGIN A-----\n*"),
        ] {
            assert_eq!(decoded(&text, "A").as_deref(), Ok(&b"foo"[..]), "{text:?}");
        }
        assert_eq!(
            decoded(&[other, block].concat(), "B").as_deref(),
            Ok(&b"bar"[..])
        );
    }

    #[test]
    fn text_that_holds_no_whole_block_is_refused_with_the_offset() {
        let symbol = |offset| Error::Base64(base64::Error::Symbol { offset });
        for (text, error) in [
            ("", Error::Missing),
            ("-----BEGIN B-----\nZm9v\n-----END B-----\n", Error::Missing),
            ("-----BEGIN A----\nZm9v\n-----END A-----\n", Error::Missing),
            (
                "-----BEGIN A----- \nZm9v\n-----END A-----\n",
                Error::Missing,
            ),
            ("\n-----BEGIN A-----", Error::Unterminated { offset: 1 }),
            (
                "\n-----BEGIN A-----\nZm9v",
                Error::Unterminated { offset: 1 },
            ),
            (
                "-----BEGIN A-----\nZm9v\n-----END B-----\n",
                Error::Unterminated { offset: 0 },
            ),
            (
                "-----BEGIN A-----\nZm9v -----END A-----\n",
                Error::Unterminated { offset: 0 },
            ),
            ("-----BEGIN A-----\nZm*v\n-----END A-----\n", symbol(20)),
            (
                "-----BEGIN A-----\n\nKey: B\n\nZm9v\n-----END A-----\n",
                symbol(22),
            ),
            ("-----BEGIN A-----\nZm9\n-----END A-----\n", symbol(21)),
        ] {
            assert_eq!(decoded(text, "A"), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_buffer_too_small_is_told_the_length_it_needs() {
        let mut text = [7; 40];
        let needed = encoded_len(3, "A");
        assert_eq!(needed, 39);
        let error = Error::BufferTooSmall { needed };
        assert_eq!(encode(b"foo", "A", &mut text[..38]), Err(error));
        assert_eq!(text, [7; 40]);
        assert_eq!(encode(b"foo", "A", &mut text), Ok(39));
        assert_eq!(&text, b"-----BEGIN A-----\nZm9v\n-----END A-----\n\x07");
        assert_eq!(
            decode(&text, "A", &mut [0; 2]),
            Err(Error::BufferTooSmall { needed: 3 })
        );
    }

    #[test]
    fn lines_have_64_columns_as_openssl_writes_them() {
        let certificate = include_str!("../../tests/crypto-data/leaf.crt");
        let der = decoded(certificate, CERTIFICATE).unwrap();
        let mut text = vec![0; encoded_len(der.len(), CERTIFICATE)];
        assert_eq!(encode(&der, CERTIFICATE, &mut text), Ok(text.len()));
        assert_eq!(text, certificate.as_bytes());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut text = vec![0; encoded_len(data.len(), CERTIFICATE)];
            prop_assert_eq!(encode(&data, CERTIFICATE, &mut text), Ok(text.len()));
            let text = std::str::from_utf8(&text).unwrap();
            prop_assert_eq!(decoded(text, CERTIFICATE), Ok(data));
        }
    }
}
