//! Base64 (RFC 4648 section 4) as the bus writes it.
//!
//! The `signature` and `certificate` fields of an `x509` or `x509-p256` message are what Python's
//! `base64.encodebytes` gives: at most 76 columns, a newline after every line, the last one too.
//! In the JSON text of a message each of these newlines is the two characters `\n`. A `gpg`
//! signature has no newlines.
//!
//! Reading is strict (alphabet, padding, no bits left over), but does not care about the width of
//! the lines. Python's `decodebytes`, in contrast, skips every byte that it does not know.
//!
//! ```
//! use fedmsg_core::crypto::base64::{self, Wrapping};
//!
//! let mut text = [0; base64::encoded_len(5, Wrapping::JsonLines)];
//! base64::encode(b"hello", Wrapping::JsonLines, &mut text)?;
//! assert_eq!(&text, b"aGVsbG8=\\n");
//!
//! let mut data = [0; 100];
//! let len = base64::decode(&text, &mut data)?;
//! assert_eq!(&data[..len], b"hello");
//! # Ok::<(), base64::Error>(())
//! ```

use core::fmt;

/// Columns of a wrapped line.
const COLUMNS: usize = 76;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Where [`encode`] writes newlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Wrapping {
    /// Nowhere: one line, as a `gpg` signature is written.
    None,
    /// After every 76 columns and at the end, as Python's `encodebytes` does. No bytes give no
    /// line at all.
    Lines,
    /// The same as the content of a JSON string: each newline is a backslash and an `n`.
    JsonLines,
}

impl Wrapping {
    const fn newline(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::Lines => b"\n",
            Self::JsonLines => b"\\n",
        }
    }
}

/// Why something could not be written as or read from base64. Offsets count bytes of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The output buffer is too small.
    BufferTooSmall {
        /// How many bytes it needs.
        needed: usize,
    },
    /// A byte that does not belong here: not of the alphabet, a newline inside a group of four,
    /// misplaced padding, or anything but newlines after the padding.
    Symbol {
        /// Offset of the byte.
        offset: usize,
    },
    /// The text ends inside a group of four.
    Truncated {
        /// The length of the text.
        offset: usize,
    },
    /// The last digit before the padding has bits that stand for nothing and are not zero.
    TrailingBits {
        /// Offset of the group of four.
        offset: usize,
    },
}

impl Error {
    /// Where the text stops making sense, in bytes from its beginning; 0 if the text is good.
    #[must_use]
    pub fn offset(&self) -> usize {
        match *self {
            Self::BufferTooSmall { .. } => 0,
            Self::Symbol { offset }
            | Self::Truncated { offset }
            | Self::TrailingBits { offset } => offset,
        }
    }

    /// The error with its offset moved, for a text that is part of a larger one.
    pub(super) fn moved(self, by: usize) -> Self {
        match self {
            Self::Symbol { offset } => Self::Symbol {
                offset: offset.saturating_add(by),
            },
            Self::Truncated { offset } => Self::Truncated {
                offset: offset.saturating_add(by),
            },
            Self::TrailingBits { offset } => Self::TrailingBits {
                offset: offset.saturating_add(by),
            },
            Self::BufferTooSmall { .. } => self,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall { needed } => write!(f, "buffer too small: {needed} bytes needed"),
            Self::Symbol { offset } => write!(f, "no base64 at offset {offset}"),
            Self::Truncated { offset } => write!(f, "base64 ends too early, at offset {offset}"),
            Self::TrailingBits { offset } => {
                write!(f, "base64 has bits left over at offset {offset}")
            }
        }
    }
}

impl core::error::Error for Error {}

/// The exact length of the text that [`encode`] writes for `len` bytes; `usize::MAX` where it
/// would not fit a `usize`.
#[must_use]
pub const fn encoded_len(len: usize, wrapping: Wrapping) -> usize {
    wrapped_len(len, COLUMNS, wrapping.newline())
}

/// An upper bound of the number of bytes that a text of `len` bytes holds; exact if it has neither
/// newlines nor padding.
#[must_use]
pub const fn decoded_len_max(len: usize) -> usize {
    len / 4 * 3
}

/// Writes `data` in base64 to the front of `out` and gives its length.
///
/// # Errors
/// [`Error::BufferTooSmall`] if `out` is shorter than [`encoded_len`]; nothing is written.
pub fn encode(data: &[u8], wrapping: Wrapping, out: &mut [u8]) -> Result<usize, Error> {
    let needed = encoded_len(data.len(), wrapping);
    let out = out
        .get_mut(..needed)
        .ok_or(Error::BufferTooSmall { needed })?;
    write_lines(data, COLUMNS, wrapping.newline(), out);
    Ok(needed)
}

/// Reads base64 into the front of `out` and gives its length.
///
/// Between groups of four digits, and before and after them all, there may be any number of
/// newlines, LF or CR LF, each as it is or as its JSON escape (the alphabet has no backslash, so
/// the content of a JSON string can be read from where it lies). Nothing else is skipped.
///
/// # Errors
/// Any [`Error`]; what `out` holds then is not specified.
pub fn decode(text: &[u8], out: &mut [u8]) -> Result<usize, Error> {
    let mut groups = Groups::default();
    let mut len: usize = 0;
    while let Some(group) = groups.next(text)? {
        len = put(out, len, &group);
    }
    let needed = len;
    if len <= out.len() {
        Ok(len)
    } else {
        Err(Error::BufferTooSmall { needed })
    }
}

/// [`decode`]s base64 over itself, to the front of `text`, and gives the length there.
///
/// # Errors
/// As [`decode`], except that the buffer is never too small.
pub fn decode_in_place(text: &mut [u8]) -> Result<usize, Error> {
    let mut groups = Groups::default();
    let mut len: usize = 0;
    // What is written (3 bytes a group) never overtakes what is read (4 or more).
    while let Some(group) = groups.next(text)? {
        len = put(text, len, &group);
    }
    Ok(len)
}

/// Writes lines of `columns` (a multiple of 4) to the front of `out`, which must be long enough,
/// and gives what is left of it.
pub(super) fn write_lines<'o>(
    data: &[u8],
    columns: usize,
    newline: &[u8],
    out: &'o mut [u8],
) -> &'o mut [u8] {
    let mut rest = out;
    let mut column = 0;
    for group in data.chunks(3) {
        if column == columns {
            rest = append(rest, newline);
            column = 0;
        }
        let digits = match *group {
            [a, b, c] => [a >> 2, a << 4 | b >> 4, b << 2 | c >> 6, c].map(digit),
            [a, b] => [digit(a >> 2), digit(a << 4 | b >> 4), digit(b << 2), b'='],
            [a, ..] => [digit(a >> 2), digit(a << 4), b'=', b'='],
            [] => break,
        };
        rest = append(rest, &digits);
        column += 4;
    }
    if column > 0 {
        rest = append(rest, newline);
    }
    rest
}

/// The length of what [`write_lines`] writes.
pub(super) const fn wrapped_len(len: usize, columns: usize, newline: &[u8]) -> usize {
    let digits = len.div_ceil(3).saturating_mul(4);
    digits.saturating_add(digits.div_ceil(columns).saturating_mul(newline.len()))
}

/// The digit for the lower six bits.
fn digit(bits: u8) -> u8 {
    ALPHABET
        .get(usize::from(bits & 63))
        .copied()
        .unwrap_or_default()
}

/// The six bits of a digit.
fn bits(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Writes `bytes` to the front of `out` and gives what is left of it.
pub(super) fn append<'o>(out: &'o mut [u8], bytes: &[u8]) -> &'o mut [u8] {
    match out.split_at_mut_checked(bytes.len()) {
        Some((front, rest)) => {
            for (to, from) in front.iter_mut().zip(bytes) {
                *to = *from;
            }
            rest
        }
        None => &mut [],
    }
}

/// Writes `group` at `len` if it fits, and gives the length after it in any case, so that a buffer
/// too small is known with the length it should have.
fn put(out: &mut [u8], len: usize, group: &Group) -> usize {
    for (to, from) in out.iter_mut().skip(len).zip(group.bytes).take(group.len) {
        *to = from;
    }
    len.saturating_add(group.len)
}

/// Up to three bytes read.
struct Group {
    bytes: [u8; 3],
    len: usize,
}

/// Reads a text group by group. It does not hold the text, so that what is read can be written
/// over.
#[derive(Default)]
struct Groups {
    offset: usize,
    padded: bool,
}

impl Groups {
    /// The next one to three bytes, or `None` at the end of the text.
    fn next(&mut self, text: &[u8]) -> Result<Option<Group>, Error> {
        let mut rest = text.get(self.offset..).unwrap_or_default();
        while let Some(after) = strip_newline(rest) {
            self.offset = self
                .offset
                .saturating_add(rest.len().wrapping_sub(after.len()));
            rest = after;
        }
        let offset = self.offset;
        if rest.is_empty() {
            return Ok(None);
        }
        if self.padded {
            return Err(Error::Symbol { offset });
        }
        let digits = rest.first_chunk::<4>();
        let group = match digits.map(|&[a, b, c, d]| (bits(a), bits(b), bits(c), bits(d), c, d)) {
            Some((Some(a), Some(b), Some(c), Some(d), _, _)) => Group {
                bytes: [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d],
                len: 3,
            },
            Some((Some(a), Some(b), Some(c), None, _, b'=')) => {
                self.padded = true;
                if c & 3 != 0 {
                    return Err(Error::TrailingBits { offset });
                }
                Group {
                    bytes: [a << 2 | b >> 4, b << 4 | c >> 2, 0],
                    len: 2,
                }
            }
            Some((Some(a), Some(b), None, None, b'=', b'=')) => {
                self.padded = true;
                if b & 15 != 0 {
                    return Err(Error::TrailingBits { offset });
                }
                Group {
                    bytes: [a << 2 | b >> 4, 0, 0],
                    len: 1,
                }
            }
            _ => return Err(misfit(rest, offset)),
        };
        self.offset = offset.saturating_add(4);
        Ok(Some(group))
    }
}

/// What is wrong with the text that begins at `offset` and does not begin with a group.
fn misfit(rest: &[u8], offset: usize) -> Error {
    let good = rest
        .iter()
        .take(4)
        .take_while(|&&byte| bits(byte).is_some())
        .count();
    let bad = match rest.get(good..) {
        None | Some([]) => {
            return Error::Truncated {
                offset: offset.saturating_add(good),
            };
        }
        // One `=` of two, and then the end or something else.
        Some([b'=']) if good >= 2 => {
            return Error::Truncated {
                offset: offset.saturating_add(good).saturating_add(1),
            };
        }
        Some([b'=', ..]) if good == 2 => good.saturating_add(1),
        Some(_) => good,
    };
    Error::Symbol {
        offset: offset.saturating_add(bad),
    }
}

/// The text after the newline that it begins with.
fn strip_newline(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'\n', rest @ ..]
        | [b'\r', b'\n', rest @ ..]
        | [b'\\', b'n', rest @ ..]
        | [b'\\', b'r', b'\\', b'n', rest @ ..] => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn encoded(data: &[u8], wrapping: Wrapping) -> Vec<u8> {
        let mut out = vec![0; encoded_len(data.len(), wrapping)];
        assert_eq!(encode(data, wrapping, &mut out), Ok(out.len()));
        out
    }

    fn decoded(text: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; text.len()];
        let result = decode(text, &mut out);
        let mut in_place = text.to_vec();
        assert_eq!(decode_in_place(&mut in_place), result);
        let len = result?;
        assert_eq!(in_place[..len], out[..len]);
        out.truncate(len);
        Ok(out)
    }

    /// Written from RFC 4648 alone, bit by bit.
    fn reference(data: &[u8], newline: &[u8]) -> Vec<u8> {
        let bit = |at: usize| data.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
        let mut digits: Vec<u8> = (0..(8 * data.len()).div_ceil(6))
            .map(|at| (0..6).fold(0, |digit, n| 2 * digit + usize::from(bit(6 * at + n))))
            .map(|digit| ALPHABET[digit])
            .collect();
        while !digits.len().is_multiple_of(4) {
            digits.push(b'=');
        }
        digits
            .chunks(76)
            .flat_map(|line| [line, newline].concat())
            .collect()
    }

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (data, text) in vectors {
            assert_eq!(encoded(data.as_bytes(), Wrapping::None), text.as_bytes());
            assert_eq!(decoded(text.as_bytes()).as_deref(), Ok(data.as_bytes()));
        }
    }

    #[test]
    fn lines_are_wrapped_as_python_wraps_them() {
        // base64.encodebytes(bytes(range(n)))
        let line = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4";
        let data: Vec<u8> = (0..=255).collect();
        for (n, lines) in [
            (0, vec![]),
            (57, vec![line]),
            (58, vec![line, "OQ=="]),
            (60, vec![line, "OTo7"]),
        ] {
            let python: std::string::String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            assert_eq!(encoded(&data[..n], Wrapping::Lines), python.as_bytes());
            let json = python.replace('\n', "\\n");
            assert_eq!(encoded(&data[..n], Wrapping::JsonLines), json.as_bytes());
        }
    }

    #[test]
    fn newlines_of_any_kind_may_stand_between_groups() {
        for text in [
            "Zm9vYmFy",
            "Zm9v\nYmFy\n",
            "\n\nZm9v\r\n\nYmFy\r\n",
            "Zm9v\\nYmFy\\n",
            "Zm9v\\r\\nYmFy\n\\n\r\n",
        ] {
            assert_eq!(
                decoded(text.as_bytes()).as_deref(),
                Ok(&b"foobar"[..]),
                "{text:?}"
            );
        }
        assert_eq!(decoded(b"Zg==\\n\n").as_deref(), Ok(&b"f"[..]));
        assert_eq!(decoded(b"\n"), Ok(vec![]));
    }

    #[test]
    fn text_that_is_not_base64_is_refused_with_the_offset() {
        let symbol = |offset| Error::Symbol { offset };
        let truncated = |offset| Error::Truncated { offset };
        let trailing = |offset| Error::TrailingBits { offset };
        for (text, error) in [
            ("Zm9v Zm9v", symbol(4)),
            ("Zm9vZm-v", symbol(6)),
            ("Zm\n9v", symbol(2)),
            ("Zm9v\r", symbol(4)),
            ("Zm9v\rZm9v", symbol(4)),
            ("Zm9v\\", symbol(4)),
            ("Zm9v\\rZm9v", symbol(4)),
            ("Zm9v\\tZm9v", symbol(4)),
            ("Zm9v\0", symbol(4)),
            ("Zm9\u{e9}", symbol(3)),
            ("=", symbol(0)),
            ("====", symbol(0)),
            ("Z===", symbol(1)),
            ("Z=", symbol(1)),
            ("Zg=g", symbol(3)),
            ("Zg=\n=", symbol(3)),
            ("Zm8==", symbol(4)),
            ("Zg==Zg==", symbol(4)),
            ("Zm8=\nZm9v", symbol(5)),
            ("Zm9vZ", truncated(5)),
            ("Zm9vZg", truncated(6)),
            ("Zm9vZm8", truncated(7)),
            ("Zg=", truncated(3)),
            ("Zh==", trailing(0)),
            ("Zm9v\nZm9=", trailing(5)),
        ] {
            assert_eq!(decoded(text.as_bytes()), Err(error), "{text:?}");
            assert!(error.offset() <= text.len());
        }
    }

    #[test]
    fn a_buffer_too_small_is_told_the_length_it_needs() {
        let mut out = [7; 10];
        let error = Error::BufferTooSmall { needed: 11 };
        assert_eq!(
            encode(b"foobar", Wrapping::JsonLines, &mut out[..9]),
            Err(Error::BufferTooSmall { needed: 10 })
        );
        assert_eq!(out, [7; 10]);
        assert_eq!(decode(b"Zm9vYmFyZm9vYmE=\n", &mut out), Err(error));
        assert_eq!(decode(b"Zm9vYmFyZm9vYmE=\n", &mut []), Err(error));
        assert_eq!(decode(b"Zm9v*", &mut []), Err(Error::Symbol { offset: 4 }));
    }

    #[test]
    fn lengths_do_not_overflow() {
        assert_eq!(encoded_len(usize::MAX, Wrapping::Lines), usize::MAX);
        assert_eq!(decoded_len_max(usize::MAX), usize::MAX / 4 * 3);
    }

    proptest! {
        #[test]
        fn what_is_written_is_the_reference_and_reads_back(
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            for (wrapping, newline) in [(Wrapping::Lines, "\n"), (Wrapping::JsonLines, "\\n")] {
                let text = encoded(&data, wrapping);
                prop_assert_eq!(&text, &reference(&data, newline.as_bytes()));
                prop_assert!(decoded_len_max(text.len()) >= data.len());
                prop_assert_eq!(decoded(&text), Ok(data.clone()));
            }
            let line = encoded(&data, Wrapping::None);
            prop_assert_eq!(&line, &reference(&data, b""));
            prop_assert_eq!(decoded(&line), Ok(data));
        }

        #[test]
        fn what_is_read_without_newlines_writes_back(text in "[A-Za-d+/0-3=]{0,3}(Zm9v)*") {
            if let Ok(data) = decoded(text.as_bytes()) {
                prop_assert_eq!(encoded(&data, Wrapping::None), text.as_bytes());
            }
        }
    }
}
