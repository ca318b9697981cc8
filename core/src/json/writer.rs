//! Canonical pieces appended to a buffer: what the serializer and the canonicalizer both stand
//! on.

use serde::Serialize;

use crate::copy::copy;

use super::digits::Digits;
use super::float::{Decimal, shortest};
use super::order::{compare, reverse, sort_members};
use super::serializer::Serializer;
use super::string::{
    first_marked, is_plain, low_bytes, read_utf8, short_escape, specials, split_surrogates,
    unicode_escape,
};
use super::{Error, ErrorKind};

/// Appends pieces of canonical JSON to a buffer that the caller owns.
///
/// The text grows from the buffer's beginning. While [`value`](Writer::value) has an object open,
/// 4 bytes for each of its members are used at the buffer's end. Beyond 4 GiB a buffer is not used.
///
/// A method that fails leaves the writer as it was.
///
/// ```
/// use fedmsg_core::json::Writer;
///
/// let mut buffer = [0; 32];
/// let mut writer = Writer::new(&mut buffer);
/// writer.raw(b"{\"i\":")?;
/// writer.unsigned(7)?;
/// writer.raw(b",\"topic\":")?;
/// writer.string("caf\u{e9}")?;
/// writer.raw(b"}")?;
/// assert_eq!(writer.written(), br#"{"i":7,"topic":"caf\u00e9"}"#);
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    /// Where the text ends.
    len: usize,
    /// Where the index of the open objects begins: it grows down from the buffer's end.
    index: usize,
}

/// What every inner step returns; whoever knows the offset adds it.
pub(super) type Step = Result<(), ErrorKind>;

#[cfg(feature = "defmt")]
impl defmt::Format for Writer<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Writer({})", self.len);
    }
}

impl<'b> Writer<'b> {
    /// A writer at the beginning of the buffer.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        let usable = buffer.len().min(u32::MAX as usize);
        let buffer = buffer.get_mut(..usable).unwrap_or_default();
        Writer {
            len: 0,
            index: buffer.len(),
            buffer,
        }
    }

    /// How many bytes of text there are.
    pub fn position(&self) -> usize {
        self.len
    }

    /// How many bytes are free.
    pub fn remaining(&self) -> usize {
        self.index - self.len
    }

    /// The text so far.
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// Appends bytes as they are. That they are canonical JSON is up to the caller.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.whole(|writer| writer.put(bytes))
    }

    /// Appends a string in quotes, escaped.
    pub fn string(&mut self, text: &str) -> Result<(), Error> {
        self.whole(|writer| writer.quoted_text(text))
    }

    /// Appends an integer.
    pub fn unsigned(&mut self, value: u64) -> Result<(), Error> {
        self.whole(|writer| writer.integer(false, value))
    }

    /// Appends an integer that may be negative.
    pub fn signed(&mut self, value: i64) -> Result<(), Error> {
        self.whole(|writer| writer.integer(value < 0, value.unsigned_abs()))
    }

    /// Appends a floating-point number as Python's `repr` has it; one that is not finite is an
    /// error.
    pub fn float(&mut self, value: f64) -> Result<(), Error> {
        self.whole(|writer| writer.finite(value))
    }

    /// Appends any value in canonical form, as [`to_slice`](super::to_slice) does.
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let (len, index) = (self.len, self.index);
        value
            .serialize(Serializer::new(self))
            .map_err(|error| self.rewind(len, index, error.kind))
    }

    /// Takes a step wholly or not at all.
    fn whole(&mut self, step: impl FnOnce(&mut Self) -> Step) -> Result<(), Error> {
        let (len, index) = (self.len, self.index);
        step(self).map_err(|kind| self.rewind(len, index, kind))
    }

    /// Goes back and says where it went wrong.
    #[cold]
    fn rewind(&mut self, len: usize, index: usize, kind: ErrorKind) -> Error {
        let error = self.error(kind);
        self.len = len;
        self.index = index;
        error
    }

    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        kind.at(self.len)
    }

    #[cold]
    fn full(&self, more: usize) -> ErrorKind {
        let used = self.len + (self.buffer.len() - self.index);
        ErrorKind::BufferTooSmall {
            needed: used.saturating_add(more),
        }
    }

    fn free(&mut self) -> &mut [u8] {
        self.buffer
            .get_mut(self.len..self.index)
            .unwrap_or_default()
    }

    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) -> Step {
        let Some(slot) = self.free().get_mut(..bytes.len()) else {
            return Err(self.full(bytes.len()));
        };
        copy(slot, bytes);
        self.len += bytes.len();
        Ok(())
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) -> Step {
        let Some(slot) = self.free().first_mut() else {
            return Err(self.full(1));
        };
        *slot = byte;
        self.len += 1;
        Ok(())
    }

    /// Appends a string: the quotes, and between them what `content` appends.
    pub(super) fn quoted(&mut self, content: impl FnOnce(&mut Self) -> Step) -> Step {
        self.byte(b'"')?;
        content(self)?;
        self.byte(b'"')
    }

    /// Appends a string in quotes.
    pub(super) fn quoted_text(&mut self, text: &str) -> Step {
        // Nearly always there is room and nothing to escape. The closing quote is written with
        // the last bytes.
        let (words, tail) = text.as_bytes().as_chunks();
        if let Some((quote, free)) = self.free().split_first_mut() {
            *quote = b'"';
            let mut slots = free.as_chunks_mut().0.iter_mut();
            let plain = words.iter().zip(&mut slots).all(|(word, slot)| {
                *slot = *word;
                specials(u64::from_le_bytes(*word)) == 0
            });
            if plain && let Some(slot) = slots.next() {
                let word = low_bytes(tail) | u64::from(b'"') << (8 * tail.len());
                *slot = word.to_le_bytes();
                if first_marked(specials(word)) == tail.len() {
                    self.len += text.len() + 2;
                    return Ok(());
                }
            }
        }
        self.quoted(|writer| writer.escaped(text))
    }

    /// Appends the string that `text` begins with, its opening quote included, if it needs no
    /// change and there is room; returns its length, or otherwise how much could be appended.
    #[inline]
    pub(super) fn quoted_as_it_is(&mut self, text: &[u8]) -> Option<usize> {
        let mut opening = 0xff;
        let mut done = 0;
        let free = self.free();
        for (word, slot) in text.as_chunks().0.iter().zip(free.as_chunks_mut().0) {
            *slot = *word;
            let word = u64::from_le_bytes(*word);
            let special = specials(word) & !opening;
            if special != 0 {
                let at = special.trailing_zeros() & !7;
                done += first_marked(special) + 1;
                if (word >> at) as u8 != b'"' {
                    return None;
                }
                self.len += done;
                return Some(done);
            }
            opening = 0;
            done += 8;
        }
        None
    }

    /// Appends the inside of a string.
    #[inline]
    pub(super) fn escaped(&mut self, text: &str) -> Step {
        let mut rest = text.as_bytes();
        loop {
            let plain = self.plain(rest);
            rest = rest.get(plain..).unwrap_or_default();
            let Some((&byte, tail)) = rest.split_first() else {
                return Ok(());
            };
            rest = if byte < 0x80 {
                self.unit(u16::from(byte))?;
                tail
            } else {
                self.beyond_ascii(rest)?
            };
        }
    }

    /// Appends as much of the beginning of `text` as stands in a string as it is and has room;
    /// returns how much that is.
    #[inline]
    pub(super) fn plain(&mut self, text: &[u8]) -> usize {
        let free = self.free();
        let (words, tail) = text.as_chunks();
        let (slots, _) = free.as_chunks_mut();
        let mut done = 0;
        for (word, slot) in words.iter().zip(slots) {
            *slot = *word;
            let special = specials(u64::from_le_bytes(*word));
            if special != 0 {
                done += first_marked(special);
                self.len += done;
                return done;
            }
            done += 8;
        }
        match free.get_mut(done..).and_then(|free| free.first_chunk_mut()) {
            Some(slot) => {
                let word = low_bytes(tail);
                *slot = word.to_le_bytes();
                done += first_marked(specials(word));
            }
            None => {
                let tail = text.get(done..).unwrap_or_default();
                let free = free.get_mut(done..).unwrap_or_default();
                for (&byte, slot) in tail.iter().zip(free) {
                    if !is_plain(byte) {
                        break;
                    }
                    *slot = byte;
                    done += 1;
                }
            }
        }
        self.len += done;
        done
    }

    /// Appends the character beyond ASCII that `text` begins with; returns the rest.
    pub(super) fn beyond_ascii<'t>(&mut self, text: &'t [u8]) -> Result<&'t [u8], ErrorKind> {
        let (character, rest) = read_utf8(text).ok_or(ErrorKind::InvalidUtf8)?;
        let (unit, low) = split_surrogates(character);
        self.put(&unicode_escape(unit))?;
        if let Some(low) = low {
            self.put(&unicode_escape(low))?;
        }
        Ok(rest)
    }

    /// Appends one UTF-16 unit of a string.
    pub(super) fn unit(&mut self, unit: u16) -> Step {
        if let Some(letter) = short_escape(unit) {
            return self.put(&[b'\\', letter]);
        }
        match u8::try_from(unit) {
            Ok(byte @ 0x20..0x7f) => self.byte(byte),
            _ => self.put(&unicode_escape(unit)),
        }
    }

    pub(super) fn integer(&mut self, negative: bool, value: u64) -> Step {
        let mut digits = Digits::new();
        if negative {
            digits.push_byte(b'-');
        }
        digits.push(value);
        self.put(digits.as_bytes())
    }

    pub(super) fn wide_integer(&mut self, negative: bool, value: u128) -> Step {
        let mut digits = Digits::new();
        if negative {
            digits.push_byte(b'-');
        }
        digits.push_wide(value);
        self.put(digits.as_bytes())
    }

    pub(super) fn finite(&mut self, value: f64) -> Step {
        if !value.is_finite() {
            return Err(ErrorKind::NotFinite);
        }
        self.decimal(value.is_sign_negative(), shortest(value.abs()))
    }

    /// Appends a decimal as Python's `repr` lays it out: with an exponent below 1e-4 and from
    /// 1e16 on, otherwise with a point.
    pub(super) fn decimal(&mut self, negative: bool, decimal: Decimal) -> Step {
        const ZEROS: &[u8] = b"0000000000000000";
        if negative {
            self.byte(b'-')?;
        }
        let mut digits = Digits::new();
        digits.push(decimal.digits);
        let digits = digits.as_bytes();
        // The value is 0.DIGITS x 10^point.
        let point = decimal.exponent + digits.len() as i32;
        let exponential = !(-3..=16).contains(&point);
        if !exponential && point <= 0 {
            self.put(b"0.")?;
            self.put(
                ZEROS
                    .get(..point.unsigned_abs() as usize)
                    .unwrap_or_default(),
            )?;
            return self.put(digits);
        }
        let whole = if exponential { 1 } else { point as usize };
        let (head, fraction) = digits.split_at_checked(whole).unwrap_or((digits, b""));
        self.put(head)?;
        self.put(ZEROS.get(digits.len()..whole).unwrap_or_default())?;
        if !fraction.is_empty() {
            self.byte(b'.')?;
            self.put(fraction)?;
        } else if !exponential {
            self.put(b".0")?;
        }
        if exponential {
            self.put(if point > 0 { b"e+" } else { b"e-" })?;
            let exponent = (point - 1).unsigned_abs();
            let mut digits = Digits::new();
            if exponent < 10 {
                digits.push_byte(b'0');
            }
            digits.push(exponent.into());
            self.put(digits.as_bytes())?;
        }
        Ok(())
    }

    /// An object without members, to which the index from here on belongs.
    pub(super) fn object(&self) -> Object {
        Object {
            index: self.index,
            key: 0,
            key_before: 0,
            sorted: true,
        }
    }

    /// Sets an object aside while one inside it is written, and with it one bit.
    pub(super) fn suspend(&mut self, object: &Object, bit: bool) -> Step {
        let used = self.buffer.len() - object.index; // a multiple of 4
        self.push(used as u32 | u32::from(object.sorted) << 1 | u32::from(bit))
    }

    /// Takes up what was set aside last.
    pub(super) fn resume(&mut self) -> (Object, bool) {
        let word = self.pop();
        let object = Object {
            index: self.buffer.len().saturating_sub((word & !3) as usize),
            key: self.top() as usize,
            key_before: 0,
            sorted: word & 2 != 0,
        };
        (object, word & 1 != 0)
    }

    /// Begins a member of the object; its key comes next.
    #[inline]
    pub(super) fn begin_member(&mut self, object: &mut Object) -> Step {
        if self.index != object.index {
            self.byte(b',')?;
            object.key_before = object.key;
        }
        object.key = self.len;
        self.push(self.len as u32)
    }

    /// Ends a member's key; its value comes next.
    #[inline]
    pub(super) fn end_key(&mut self, object: &mut Object) -> Step {
        if object.sorted && object.key_before != 0 {
            let key = |start: usize| self.buffer.get(start + 1..).unwrap_or_default();
            object.sorted = compare(key(object.key_before), key(object.key)).is_lt();
        }
        self.byte(b':')
    }

    /// Ends an object; the brace that closes it comes next.
    pub(super) fn end_members(&mut self, object: &Object) -> Step {
        if !object.sorted {
            // The last member gets its comma, so that all are alike.
            self.byte(b',')?;
            self.len = self.sort_members(object).saturating_sub(1);
        }
        self.index = object.index;
        Ok(())
    }

    #[cold]
    fn sort_members(&mut self, object: &Object) -> usize {
        let whole = &mut *self.buffer;
        let (whole, _) = whole.split_at_mut_checked(object.index).unwrap_or_default();
        let (whole, index) = whole.split_at_mut_checked(self.index).unwrap_or_default();
        let (text, room) = whole.split_at_mut_checked(self.len).unwrap_or_default();
        let starts = index.as_chunks_mut().0;
        reverse(starts);
        sort_members(text, starts, room)
    }

    /// Puts a number on the index.
    fn push(&mut self, number: u32) -> Step {
        let Some(slot) = self.free().last_chunk_mut() else {
            return Err(self.full(4));
        };
        *slot = number.to_le_bytes();
        self.index -= 4;
        Ok(())
    }

    /// The number that was put on the index last.
    fn top(&self) -> u32 {
        let words = self.buffer.get(self.index..).unwrap_or_default();
        words.first_chunk().copied().map_or(0, u32::from_le_bytes)
    }

    /// Takes it off the index.
    fn pop(&mut self) -> u32 {
        let number = self.top();
        self.index = self.buffer.len().min(self.index + 4);
        number
    }
}

/// An object that is being written.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Object {
    /// Where the index stood when it was opened.
    index: usize,
    /// Where the last key begins in the text, and where the one before it does; 0 for none.
    key: usize,
    key_before: usize,
    /// Whether the keys came in strictly ascending order so far.
    sorted: bool,
}
