//! Looking into a canonical text without reading it whole: the members of the object, and the
//! characters of a string.

use core::iter::FusedIterator;
use core::ops::Range;

use crate::copy::copy;

use super::string::{join_surrogates, plain_len, read_escape, read_utf8};
use super::{Error, ErrorKind};

/// The members of the object that a canonical text holds, in their order.
///
/// Canonical means: written by [`canonicalize`](super::canonicalize) or
/// [`to_slice`](super::to_slice). It is not checked again: a text that is something else gives
/// no members from where it stops looking like an object of members.
///
/// ```
/// use fedmsg_core::json::Members;
///
/// let text = br#"{"i":1,"msg":{"a":[1,2]},"topic":"org.example"}"#;
/// let msg = Members::new(text).unwrap().find(|member| member.key == "msg").unwrap();
/// assert_eq!(msg.value, br#"{"a":[1,2]}"#);
/// assert_eq!(&text[msg.span], br#""msg":{"a":[1,2]}"#);
/// ```
#[derive(Debug, Clone)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Members<'a> {
    len: usize,
    /// What follows the opening brace or a comma.
    rest: &'a [u8],
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Member<'a> {
    /// The key as it stands in the text: escaped, without the quotes.
    pub key: &'a str,
    /// The value as it stands in the text; a string with its quotes.
    pub value: &'a [u8],
    /// Where in the text the member stands, from the quote before the key to the end of the
    /// value.
    pub span: Range<usize>,
}

impl<'a> Members<'a> {
    /// The members of the object that the text consists of; `None` if it is no object.
    pub fn new(text: &'a [u8]) -> Option<Self> {
        Some(Members {
            len: text.len(),
            rest: text.strip_prefix(b"{")?,
        })
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let text = self.rest;
        self.rest = &[];
        let start = self.len - text.len();
        let key = string_len(text)?;
        let (key, text) = text.split_at_checked(key)?;
        let text = text.strip_prefix(b":")?;
        let (value, text) = text.split_at_checked(value_len(text)?)?;
        let end = self.len - text.len();
        match text {
            [b',', rest @ ..] => self.rest = rest,
            [b'}'] => {}
            _ => return None,
        }
        Some(Member {
            key: core::str::from_utf8(key)
                .ok()?
                .strip_prefix('"')?
                .strip_suffix('"')?,
            value,
            span: start..end,
        })
    }
}

impl FusedIterator for Members<'_> {}

/// The length of the string at the beginning, with its quotes.
fn string_len(text: &[u8]) -> Option<usize> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        rest = match rest.get(plain_len(rest)..)? {
            [b'"', rest @ ..] => return Some(text.len() - rest.len()),
            [b'\\', _, rest @ ..] => rest,
            _ => return None,
        };
    }
}

/// The length of the value at the beginning.
fn value_len(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut rest = text;
    loop {
        rest = match rest {
            [b'"', ..] => rest.get(string_len(rest)?..)?,
            [b'[' | b'{', rest @ ..] => {
                depth += 1;
                rest
            }
            [b']' | b'}' | b',', ..] if depth == 0 => break,
            [b']' | b'}', rest @ ..] => {
                depth -= 1;
                rest
            }
            [_, rest @ ..] => rest,
            [] => return None,
        };
    }
    Some(text.len() - rest.len()).filter(|len| *len > 0)
}

/// Writes the characters of a JSON string, given with its quotes, as UTF-8.
///
/// `out` never needs to be longer than the string. A surrogate without its other half is an
/// error: it has no UTF-8.
///
/// ```
/// use fedmsg_core::json::unescape;
///
/// let mut out = [0; 16];
/// assert_eq!(unescape(br#""caf\u00e9\n""#, &mut out)?, "caf\u{e9}\n");
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
pub fn unescape<'o>(string: &[u8], out: &'o mut [u8]) -> Result<&'o str, Error> {
    let (rest, end) = match string {
        [b'"', rest @ ..] => (rest, &b"\""[..]),
        [] => return Err(ErrorKind::UnexpectedEnd.at(0)),
        _ => return Err(ErrorKind::UnexpectedByte.at(0)),
    };
    read_characters(rest, end, out).map_err(|error| error.kind.at(error.offset + 1))
}

/// The same for what stands between the quotes: a [`Member`]'s key, an
/// [`EscapedStr`](super::EscapedStr).
pub fn unescape_inside<'o>(escaped: &str, out: &'o mut [u8]) -> Result<&'o str, Error> {
    read_characters(escaped.as_bytes(), b"", out)
}

/// Reads characters up to where `end` is all that is left.
fn read_characters<'o>(text: &[u8], end: &[u8], out: &'o mut [u8]) -> Result<&'o str, Error> {
    let mut reader = Unescape {
        rest: text,
        out,
        len: 0,
    };
    match reader.characters(end) {
        Ok(()) => {
            let Unescape { out, len, .. } = reader;
            let written = out.get(..len).unwrap_or_default();
            core::str::from_utf8(written).map_err(|_| ErrorKind::InvalidUtf8.at(0))
        }
        Err(kind) => Err(kind.at(text.len() - reader.rest.len())),
    }
}

struct Unescape<'s, 'o> {
    /// What has not been read. Where a step fails, it begins with what is at fault.
    rest: &'s [u8],
    out: &'o mut [u8],
    len: usize,
}

impl Unescape<'_, '_> {
    fn characters(&mut self, end: &[u8]) -> Result<(), ErrorKind> {
        loop {
            let plain = plain_len(self.rest);
            let (plain, rest) = self.rest.split_at_checked(plain).unwrap_or_default();
            self.put(plain)?;
            self.rest = rest;
            if rest == end {
                return Ok(());
            }
            self.rest = match rest {
                [] => return Err(ErrorKind::UnexpectedEnd),
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Err(ErrorKind::TrailingData);
                }
                [b'\\', rest @ ..] => {
                    let (character, rest) = read_character(rest)?;
                    self.put(character.encode_utf8(&mut [0; 4]).as_bytes())?;
                    rest
                }
                [0x7f, rest @ ..] => {
                    self.put(&[0x7f])?;
                    rest
                }
                [0x80..=0xff, ..] => {
                    let (character, rest) = read_utf8(rest).ok_or(ErrorKind::InvalidUtf8)?;
                    self.put(character.encode_utf8(&mut [0; 4]).as_bytes())?;
                    rest
                }
                _ => return Err(ErrorKind::ControlCharacter),
            };
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ErrorKind> {
        let needed = self.len + bytes.len();
        let slot = self.out.get_mut(self.len..needed);
        copy(slot.ok_or(ErrorKind::BufferTooSmall { needed })?, bytes);
        self.len = needed;
        Ok(())
    }
}

/// Reads what follows a backslash, and of a surrogate the other half behind it.
fn read_character(text: &[u8]) -> Result<(char, &[u8]), ErrorKind> {
    let (unit, rest) = read_escape(text)?;
    if let Some(character) = char::from_u32(unit.into()) {
        return Ok((character, rest));
    }
    let low = rest.strip_prefix(b"\\").ok_or(ErrorKind::LoneSurrogate)?;
    let (low, rest) = read_escape(low)?;
    join_surrogates(unit, low)
        .and_then(char::from_u32)
        .map(|character| (character, rest))
        .ok_or(ErrorKind::LoneSurrogate)
}
