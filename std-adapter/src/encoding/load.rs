//! JSON text to values, and what of it a value cannot hold.

use std::fmt;

use fedmsg_core::json::{self, ErrorKind};
use serde::Deserialize;

use super::tree::string_len;

/// How deep arrays and objects may be nested in what [`loads`] reads: the limit of `serde_json`,
/// which calls itself for each.
pub const MAX_DEPTH: usize = 127;

/// Reads a value from a JSON text, bytes or `str`. Strings without escapes may be borrowed from it.
///
/// The peer's `fedmsg.encoding.loads` takes more than a Rust value can hold: an integer that neither
/// an `i64` nor a `u64` holds, `NaN` and infinities, half of a surrogate pair. Where the text has
/// one, nothing is rounded or replaced: that is [`LoadError::Unheld`]. ([`Tree`](super::Tree)
/// keeps them.) Of a repeated member a `serde_json::Value` gets the last, as in Python; a derived
/// type refuses it.
///
/// ```
/// use fedmsg::encoding::{LoadError, Unheld, loads};
///
/// let value: serde_json::Value = loads(r#"{"a": [1, 2.5, "caf\u00e9"]}"#)?;
/// assert_eq!(value["a"][2], "caf\u{e9}");
///
/// let error = loads::<serde_json::Value>(r#"{"load": NaN}"#).unwrap_err();
/// assert!(matches!(error, LoadError::Unheld { what: Unheld::NotFinite, offset: 9 }));
/// # Ok::<(), LoadError>(())
/// ```
///
/// # Errors
/// [`LoadError`].
pub fn loads<'a, T: Deserialize<'a>>(
    text: &'a (impl AsRef<[u8]> + ?Sized),
) -> Result<T, LoadError> {
    let text = text.as_ref();
    // What follows would round integers in silence.
    if has_long_digits(text) {
        refuse(text, |what| what == Unheld::Integer)?;
    }
    // Looked at once as a whole, not string by string.
    let read = match str::from_utf8(text) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(text),
    };
    read.map_err(|source| {
        if !source.is_data()
            && let Err(error) = refuse(text, |_| true)
        {
            return error;
        }
        LoadError::Type {
            offset: offset(text, &source),
            source,
        }
    })
}

/// Why a text was not read into a value.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// It is not JSON as the bus has it, or nested deeper than [`MAX_DEPTH`]. The offset counts bytes
    /// of the text.
    Json(json::Error),
    /// It is JSON with something in it that no Rust value can hold.
    Unheld {
        /// What.
        what: Unheld,
        /// Where it begins, in bytes.
        offset: usize,
    },
    /// It is JSON, but not of the type asked for.
    Type {
        /// What is wrong.
        source: serde_json::Error,
        /// How far it was read, in bytes: to the end of what is wrong.
        offset: usize,
    },
}

/// What JSON on the bus may hold and a Rust value cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unheld {
    /// An integer beyond `i64` and `u64`.
    Integer,
    /// `NaN`, an infinity, or a number beyond the greatest double, which Python reads as infinity.
    NotFinite,
    /// A string with half of a surrogate pair, which is no character.
    LoneSurrogate,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Unheld { what, offset } => {
                let what = match what {
                    Unheld::Integer => "an integer of more than 64 bits",
                    Unheld::NotFinite => "a number that is not finite",
                    Unheld::LoneSurrogate => "a lone surrogate",
                };
                write!(f, "{what} at byte {offset}, which no value here can hold")
            }
            Self::Type { source, .. } => source.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            Self::Unheld { .. } => None,
            Self::Type { source, .. } => Some(source),
        }
    }
}

/// Whether there are as many digits in a row as in the least integer that 64 bits do not hold.
fn has_long_digits(text: &[u8]) -> bool {
    const LEAST: usize = 19;
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    // Of so many in a row one stands at a multiple.
    (LEAST - 1..text.len()).step_by(LEAST).any(|at| {
        let (before, after) = text.split_at_checked(at).unwrap_or_default();
        match after.iter().take_while(is_digit).count() {
            0 => false,
            after => after + before.iter().rev().take_while(is_digit).count() >= LEAST,
        }
    })
}

/// The error for a text that is no JSON, or has something of these in it.
fn refuse(text: &[u8], these: fn(Unheld) -> bool) -> Result<(), LoadError> {
    let mut room = vec![0; text.len().saturating_mul(6)];
    json::canonicalize(text, &mut room, MAX_DEPTH).map_err(LoadError::Json)?;
    let mut at = 0;
    while let Some(rest @ [first, ..]) = text.get(at..) {
        let mut len = 1;
        let mut refused = None;
        match first {
            b'"' => {
                len = string_len(rest).unwrap_or(rest.len());
                let string = rest.get(..len).unwrap_or_default();
                if let Err(error) = json::unescape(string, &mut room)
                    && error.kind == ErrorKind::LoneSurrogate
                {
                    refused = Some((Unheld::LoneSurrogate, at + error.offset));
                }
            }
            b'-' | b'0'..=b'9' | b'A'..=b'Z' => {
                let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                len = rest.iter().take_while(is_part).count();
                refused = str::from_utf8(rest.get(..len).unwrap_or_default())
                    .ok()
                    .and_then(unheld_number)
                    .map(|what| (what, at));
            }
            _ => {}
        }
        if let Some((what, offset)) = refused.filter(|(what, _)| these(*what)) {
            return Err(LoadError::Unheld { what, offset });
        }
        at += len;
    }
    Ok(())
}

fn unheld_number(number: &str) -> Option<Unheld> {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let held = number.parse::<u64>().is_ok() || number.parse::<i64>().is_ok();
        return (!held).then_some(Unheld::Integer);
    }
    let held = number.parse::<f64>().is_ok_and(f64::is_finite);
    (!held).then_some(Unheld::NotFinite)
}

/// Where `serde_json` stopped.
fn offset(text: &[u8], error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    before + error.column()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_a_value_cannot_hold_is_named_with_its_offset() {
        use Unheld::{Integer, LoneSurrogate, NotFinite};
        for (text, expected) in [
            ("[18446744073709551615, -9223372036854775808]", None),
            ("[1, 18446744073709551616]", Some((Integer, 4))),
            ("[-9223372036854775809]", Some((Integer, 1))),
            (r#"{"18446744073709551616": "18446744073709551616"}"#, None),
            ("[18446744073709551616.0, 184467440737095516e16]", None),
            ("[NaN]", Some((NotFinite, 1))),
            ("[[], -Infinity]", Some((NotFinite, 5))),
            (r#"["NaN", 1e400]"#, Some((NotFinite, 8))),
            (r#"["\ud83d\ude00"]"#, None),
            (r#"["ab\ud83d"]"#, Some((LoneSurrogate, 4))),
            (r#"{"\\\ude00": 1}"#, Some((LoneSurrogate, 4))),
        ] {
            let named = match loads::<Value>(text) {
                Ok(_) => None,
                Err(LoadError::Unheld { what, offset }) => Some((what, offset)),
                Err(error) => panic!("{text}: {error}"),
            };
            assert_eq!(named, expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_named_with_its_offset() {
        use ErrorKind::{
            BadEscape, ByteOrderMark, ControlCharacter, Depth, IntegerTooLong, InvalidUtf8,
            TrailingData, UnexpectedByte, UnexpectedEnd,
        };
        let deep = "[".repeat(MAX_DEPTH + 1) + &"]".repeat(MAX_DEPTH + 1);
        let long = "1".repeat(4301);
        for (text, kind, offset) in [
            (&b""[..], UnexpectedEnd, 0),
            (b"[1, 2", UnexpectedEnd, 5),
            (b"{'a': 1}", UnexpectedByte, 1),
            (b"{} {}", TrailingData, 3),
            (b"\xef\xbb\xbf{}", ByteOrderMark, 0),
            (b"[\"\xff\"]", InvalidUtf8, 2),
            (b"[\"\\x\"]", BadEscape, 2),
            (b"[\"\n\"]", ControlCharacter, 2),
            (deep.as_bytes(), Depth { limit: MAX_DEPTH }, MAX_DEPTH),
            (long.as_bytes(), IntegerTooLong, 0),
        ] {
            match loads::<Value>(text) {
                Err(LoadError::Json(error)) => assert_eq!(error, json::Error { kind, offset }),
                other => panic!("{other:?}"),
            }
        }
        let deepest = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        assert!(loads::<Value>(&deepest).is_ok());
    }

    #[test]
    fn what_is_of_another_type_says_so_and_how_far_it_was_read() {
        #[derive(Debug, Deserialize)]
        struct Tag<'a> {
            name: &'a str,
            total: u64,
        }
        let tag: Tag<'_> = loads(b"{\"name\": \"network\", \"total\": 41}").unwrap();
        assert_eq!((tag.name, tag.total), ("network", 41));
        let text = "{\n\"name\": \"network\",\n\"total\": \"many\"}";
        let Err(LoadError::Type { source, offset }) = loads::<Tag<'_>>(text) else {
            panic!("it is of another type");
        };
        assert!(source.to_string().contains("expected u64"), "{source}");
        assert_eq!(&text[offset..], "}");
    }

    #[test]
    fn what_is_passed_over_may_hold_anything_but_numbers() {
        #[derive(Deserialize)]
        struct Tag {
            total: u64,
        }
        for digits in ["1", "12345678901234567890123"] {
            let text = format!(r#"{{"a": "\ud83d", "b": "{digits}", "total": 41}}"#);
            assert_eq!(loads::<Tag>(&text).unwrap().total, 41);
        }
        let error = loads::<Tag>(r#"{"a": 123456789012345678901, "total": 1}"#).err();
        assert!(matches!(
            error,
            Some(LoadError::Unheld {
                what: Unheld::Integer,
                ..
            })
        ));
    }

    #[test]
    fn of_a_repeated_member_the_last_counts() {
        let value: Value = loads(r#"{"a": 1, "b": 2, "\u0061": 3}"#).unwrap();
        assert_eq!(value, json!({"a": 3, "b": 2}));
    }
}
