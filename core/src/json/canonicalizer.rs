//! Any JSON text in canonical form.
//!
//! The grammar is that of Python's `json.loads`, which takes `NaN`, `Infinity` and `-Infinity`
//! besides what RFC 8259 has, and of UTF-8 bytes only. It does not call itself: what it must
//! remember of the open arrays and objects stands in the index at the end of the output buffer.

use super::float::Literal;
use super::string::read_escape;
use super::writer::{Object, Step};
use super::{Error, ErrorKind, MAX_INTEGER_DIGITS, Writer};

/// Writes a JSON text in canonical form: what Python's `json.dumps(json.loads(text),
/// sort_keys=True, separators=(',', ':'))` gives, byte for byte. Returns its length.
///
/// No more than `depth_limit` arrays and objects may be open at a time; see
/// [`DEFAULT_DEPTH`](super::DEFAULT_DEPTH) and [`HOST_DEPTH`](super::HOST_DEPTH). The stack used
/// does not depend on it.
///
/// # Sizes
/// `out` must hold the canonical text, and 4 bytes for each array or object that is open at a
/// time and for each member of an open object. Six times the length of `text` is always enough.
/// Beyond 4 GiB `out` is not used.
///
/// # Time
/// Linear in the length of the text, but for objects whose keys are out of order: each is sorted
/// when it closes, in (bytes of the object) x log2(members), and twice that logarithm where `out`
/// has no room for the object's text and index once more.
///
/// # Errors
/// [`Error::offset`] counts bytes of `text`; what `out` holds is undefined then.
///
/// ```
/// use fedmsg_core::json::{DEFAULT_DEPTH, canonicalize};
///
/// let mut out = [0; 64];
/// let len = canonicalize(br#"{"b": 1E2, "a": "\u00E9"}"#, &mut out, DEFAULT_DEPTH)?;
/// assert_eq!(&out[..len], br#"{"a":"\u00e9","b":100.0}"#);
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
pub fn canonicalize(text: &[u8], out: &mut [u8], depth_limit: usize) -> Result<usize, Error> {
    let mut canonicalizer = Canonicalizer {
        rest: text,
        writer: Writer::new(out),
        depth_limit,
    };
    match canonicalizer.text() {
        Ok(()) => Ok(canonicalizer.writer.position()),
        Err(kind) => Err(kind.at(text.len() - canonicalizer.rest.len())),
    }
}

struct Canonicalizer<'t, 'b> {
    /// What has not been read. Where a step fails, it begins with what is at fault.
    rest: &'t [u8],
    writer: Writer<'b>,
    depth_limit: usize,
}

impl<'t> Canonicalizer<'t, '_> {
    fn text(&mut self) -> Step {
        if self.rest.starts_with(b"\xef\xbb\xbf") {
            return Err(ErrorKind::ByteOrderMark);
        }
        let mut depth = 0;
        // The innermost of the open arrays and objects. At depth 0 there is none.
        let mut is_object = false;
        let mut object = self.writer.object();
        'value: loop {
            let first = self.peek()?;
            match first {
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                b'[' | b'{' => {
                    if depth == self.depth_limit {
                        let limit = self.depth_limit;
                        return Err(ErrorKind::Depth { limit });
                    }
                    depth += 1;
                    self.writer.suspend(&object, is_object)?;
                    self.copy(first)?;
                    object = self.writer.object();
                    is_object = first == b'{';
                    match (is_object, self.peek()?) {
                        (false, b']') | (true, b'}') => {} // closes below
                        (false, _) => continue 'value,
                        (true, _) => {
                            self.key(&mut object)?;
                            continue 'value;
                        }
                    }
                }
                _ => self.name()?,
            }
            // Behind a value.
            while depth > 0 {
                match (is_object, self.peek()?) {
                    (false, b',') => {
                        self.copy(b',')?;
                        continue 'value;
                    }
                    (true, b',') => {
                        self.skip(1);
                        self.key(&mut object)?;
                        continue 'value;
                    }
                    (false, b']') => self.copy(b']')?,
                    (true, b'}') => {
                        self.writer.end_members(&object)?;
                        self.copy(b'}')?;
                    }
                    _ => return Err(ErrorKind::UnexpectedByte),
                }
                (object, is_object) = self.writer.resume();
                depth -= 1;
            }
            return match self.peek() {
                Err(_) => Ok(()),
                Ok(_) => Err(ErrorKind::TrailingData),
            };
        }
    }

    /// Skips whitespace; the next byte.
    #[inline]
    fn peek(&mut self) -> Result<u8, ErrorKind> {
        while let Some((&byte, rest)) = self.rest.split_first() {
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Ok(byte);
            }
            self.rest = rest;
        }
        Err(ErrorKind::UnexpectedEnd)
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Takes the next byte over.
    fn copy(&mut self, byte: u8) -> Step {
        self.writer.byte(byte)?;
        self.skip(1);
        Ok(())
    }

    /// A key and the colon behind it.
    fn key(&mut self, object: &mut Object) -> Step {
        if self.peek()? != b'"' {
            return Err(ErrorKind::UnexpectedByte);
        }
        self.writer.begin_member(object)?;
        self.string()?;
        if self.peek()? != b':' {
            return Err(ErrorKind::UnexpectedByte);
        }
        self.writer.end_key(object)?;
        self.skip(1);
        Ok(())
    }

    fn string(&mut self) -> Step {
        if let Some(len) = self.writer.quoted_as_it_is(self.rest) {
            self.skip(len);
            return Ok(());
        }
        self.copy(b'"')?;
        loop {
            let plain = self.writer.plain(self.rest);
            self.skip(plain);
            let (&byte, tail) = self.rest.split_first().ok_or(ErrorKind::UnexpectedEnd)?;
            self.rest = match byte {
                b'"' => return self.copy(b'"'),
                b'\\' => {
                    let (unit, tail) = read_escape(tail)?;
                    self.writer.unit(unit)?;
                    tail
                }
                0..0x20 => return Err(ErrorKind::ControlCharacter),
                0x20..0x80 => {
                    // DEL; or a byte for which there was no room.
                    self.writer.unit(byte.into())?;
                    tail
                }
                0x80.. => self.writer.beyond_ascii(self.rest)?,
            };
        }
    }

    fn number(&mut self) -> Step {
        let (negative, text) = match self.rest {
            [b'-', text @ ..] => (true, text),
            text => (false, text),
        };
        let (whole, mut tail) = match text {
            [b'0', ..] => text.split_at_checked(1).unwrap_or_default(),
            _ => split_digits(text),
        };
        if whole.is_empty() {
            if let Some(tail) = text.strip_prefix(b"Infinity") {
                return self.replace(b"-Infinity", tail);
            }
            self.rest = text;
            return Err(match text {
                [] => ErrorKind::UnexpectedEnd,
                _ => ErrorKind::UnexpectedByte,
            });
        }
        // A point or an `e` without digits behind it is no part of the number, and then an error.
        let mut literal = Literal {
            whole,
            fraction: b"",
            exponent: 0,
        };
        let mut is_integer = true;
        if let [b'.', text @ ..] = tail
            && let (fraction @ [_, ..], text) = split_digits(text)
        {
            literal.fraction = fraction;
            is_integer = false;
            tail = text;
        }
        if let [b'e' | b'E', text @ ..] = tail {
            let (sign, text) = match text {
                [b'-', text @ ..] => (-1, text),
                [b'+', text @ ..] => (1, text),
                _ => (1, text),
            };
            if let (digits @ [_, ..], text) = split_digits(text) {
                let exponent = digits.iter().fold(0_i64, |value, digit| {
                    let digit = i64::from(digit.wrapping_sub(b'0'));
                    value.saturating_mul(10).saturating_add(digit)
                });
                literal.exponent = sign * exponent;
                is_integer = false;
                tail = text;
            }
        }
        if !is_integer {
            match literal.canonical() {
                Some(decimal) => self.writer.decimal(negative, decimal)?,
                None if negative => self.writer.put(b"-Infinity")?,
                None => self.writer.put(b"Infinity")?,
            }
            self.rest = tail;
            return Ok(());
        }
        if whole.len() > MAX_INTEGER_DIGITS {
            return Err(ErrorKind::IntegerTooLong);
        }
        let len = self.rest.len() - tail.len();
        match self.rest.get(..len).unwrap_or_default() {
            b"-0" => self.replace(b"0", tail),
            integer => self.replace(integer, tail),
        }
    }

    /// A value that is neither of the others: one of five names.
    fn name(&mut self) -> Step {
        for name in [&b"null"[..], b"true", b"false", b"NaN", b"Infinity"] {
            if let Some(tail) = self.rest.strip_prefix(name) {
                return self.replace(name, tail);
            }
            if name.starts_with(self.rest) {
                return Err(ErrorKind::UnexpectedEnd);
            }
        }
        Err(ErrorKind::UnexpectedByte)
    }

    /// Writes `bytes` for what stands before `tail`.
    fn replace(&mut self, bytes: &[u8], tail: &'t [u8]) -> Step {
        self.writer.put(bytes)?;
        self.rest = tail;
        Ok(())
    }
}

/// The digits at the beginning, and the rest.
fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at_checked(len).unwrap_or_default()
}
