//! Reading a text into a type, with `serde_json_core`.
//!
//! That crate calls itself for every array and object, also for those that it skips, and skips
//! what is no JSON. So the text is looked through first: tokens in an order that it reads as we do,
//! and no deeper than a device allows.

use core::fmt;

use serde::Deserialize;

use super::{DEFAULT_DEPTH, Error, ErrorKind};

/// Why a text was not read into a type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ReadError {
    /// The text is no JSON, or too deep.
    Text(Error),
    /// The text is not what the type expects, or not JSON in a way that only shows then.
    Type(serde_json_core::de::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Text(error) => error.fmt(f),
            ReadError::Type(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ReadError {}

/// Reads a value from a JSON text.
///
/// - The type must name what it expects: `serde_json_core` has no `deserialize_any`. Members that
///   it does not name are skipped.
/// - A `&str` is what stands between the quotes, escapes and all: canonical text escapes everything
///   outside printable ASCII. [`EscapedStr`](super::EscapedStr) says so in the type;
///   [`unescape_inside`](super::unescape_inside) reads either.
/// - Of repeated members none counts: they are an error. Canonical text has none.
/// - No more than [`DEFAULT_DEPTH`] arrays and objects inside each other.
///
/// ```
/// use fedmsg_core::json::{EscapedStr, from_slice, unescape_inside};
///
/// #[derive(serde::Deserialize)]
/// struct Message<'a> {
///     topic: &'a str,
///     #[serde(borrow)]
///     username: EscapedStr<'a>,
/// }
///
/// let text = br#"{"i":1,"topic":"org.example.dev","username":"gr\u00e9goire"}"#;
/// let message: Message = from_slice(text)?;
/// assert_eq!(message.topic, "org.example.dev");
/// let mut buffer = [0; 16];
/// assert_eq!(unescape_inside(message.username.0, &mut buffer), Ok("gr\u{e9}goire"));
/// # Ok::<(), fedmsg_core::json::ReadError>(())
/// ```
pub fn from_slice<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, ReadError> {
    look_through(text, DEFAULT_DEPTH).map_err(ReadError::Text)?;
    let (value, _) = serde_json_core::from_slice(text).map_err(ReadError::Type)?;
    Ok(value)
}

/// Where the next token stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a value, or before the end of an empty array or object.
    Value,
    /// Behind a string, which may be a key.
    BehindString,
    /// Behind any other value.
    Behind,
}

/// Whether values, and what separates them, take turns, and how deep it goes.
fn look_through(text: &[u8], limit: usize) -> Result<(), Error> {
    let mut rest = text;
    let mut depth = 0_usize;
    let mut place = Place::Value;
    while let Some((&byte, tail)) = rest.split_first() {
        let fail = |kind| {
            let offset = text.len() - rest.len();
            Err(Error { kind, offset })
        };
        (place, rest) = match (byte, place) {
            (b' ' | b'\t' | b'\n' | b'\r', _) => (place, tail),
            (b':', Place::BehindString) => (Place::Value, tail),
            (b',', Place::BehindString | Place::Behind) => (Place::Value, tail),
            (b']' | b'}', _) => {
                depth = depth.saturating_sub(1);
                (Place::Behind, tail)
            }
            (b'[' | b'{', Place::Value) => {
                if depth == limit {
                    return fail(ErrorKind::Depth { limit });
                }
                depth += 1;
                (Place::Value, tail)
            }
            (b'"', Place::Value) => match behind_string(tail) {
                Some(tail) => (Place::BehindString, tail),
                None => return fail(ErrorKind::UnexpectedEnd),
            },
            (b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z', Place::Value) => {
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                let len = rest.iter().take_while(|byte| is_part(byte)).count();
                (Place::Behind, rest.get(len..).unwrap_or_default())
            }
            _ => return fail(ErrorKind::UnexpectedByte),
        };
    }
    Ok(())
}

/// What follows a string's closing quote.
fn behind_string(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', _, rest @ ..] | [_, rest @ ..] => rest,
            [] => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IgnoredAny;
    use std::{format, string::String, vec::Vec};

    #[test]
    fn a_text_is_refused_before_it_can_be_read_too_deep() {
        let deep = "[".repeat(100_000);
        let texts = [
            deep.clone(),
            format!("{{\"z\":{deep}"),
            deep.replace('[', "{\"a\":"),
            // Here the other reader sees brackets where there is a string, or nothing.
            format!("[x\",\"a\":{deep}\"]"),
            format!("[1:\"x,{deep}\"]"),
            format!("[:\"x,{deep}\"]"),
            format!("[1 \"x,{deep}\"]"),
            format!("[[]\"x,{deep}\"]"),
            format!("[\"a\"\"x,{deep}\"]"),
            format!("[\"a\":\"x,{deep}\"]"),
            format!("[\"\\\",{deep}\"]]"),
            format!("[\\\",{deep}\"]"),
            format!("[]]]]]{deep}"),
        ];
        for text in texts {
            let text = format!("{{\"seq\":{text},\"z\":{text}}}");
            for text in [&text[..], &text[7..]] {
                assert!(
                    from_slice::<IgnoredAny>(text.as_bytes()).is_err(),
                    "{text:.30}"
                );
                assert!(from_slice::<Vec<IgnoredAny>>(text.as_bytes()).is_err());
            }
        }
    }

    #[test]
    fn the_limit_is_the_depth_and_its_error_has_the_offset() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let read = |text: String| from_slice::<IgnoredAny>(text.as_bytes()).map(|_| ());
        assert_eq!(read(nested(DEFAULT_DEPTH)), Ok(()));
        let error = Error {
            kind: ErrorKind::Depth {
                limit: DEFAULT_DEPTH,
            },
            offset: DEFAULT_DEPTH,
        };
        assert_eq!(read(nested(DEFAULT_DEPTH + 1)), Err(ReadError::Text(error)));
    }
}
