//! Walking DER (X.690) without copying: one cursor over the whole text, so that the offset of an
//! error always counts from its beginning.
//!
//! The crate `der` reads tags and lengths, strictly: definite, minimal lengths only.

use der::{Decode, Header, Length, Reader, SliceReader, Tag};

/// The text is not DER, or not the structure that was expected, at `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) offset: usize,
}

/// A position in DER text.
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    reader: SliceReader<'a>,
}

/// Offset at which an entered value ends.
#[derive(Clone, Copy)]
pub(super) struct End(usize);

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, Malformed> {
        match SliceReader::new(text) {
            Ok(reader) => Ok(Self { text, reader }),
            Err(_) => Err(Malformed { offset: 0 }),
        }
    }

    pub(super) fn offset(&self) -> usize {
        // A length is 32 bits wide.
        u32::from(self.reader.position()) as usize
    }

    /// Everything from `offset` up to here.
    pub(super) fn since(&self, offset: usize) -> &'a [u8] {
        self.text.get(offset..self.offset()).unwrap_or_default()
    }

    /// Whether the next value's first byte is `byte`: a cheap look ahead for optional fields.
    pub(super) fn next_is(&self, byte: u8) -> bool {
        self.text.get(self.offset()) == Some(&byte)
    }

    /// Reads the tag and length of a value that must be of type `tag`; what follows is its content.
    pub(super) fn enter(&mut self, tag: Tag) -> Result<End, Malformed> {
        let offset = self.offset();
        let (found, end) = self.enter_any()?;
        if found == tag {
            Ok(end)
        } else {
            Err(Malformed { offset })
        }
    }

    /// Reads the tag and length of any value.
    pub(super) fn enter_any(&mut self) -> Result<(Tag, End), Malformed> {
        let offset = self.offset();
        let header = Header::decode(&mut self.reader).map_err(|_| Malformed { offset })?;
        let length = u32::from(header.length()) as usize;
        match self.offset().checked_add(length) {
            Some(end) if end <= self.text.len() => Ok((header.tag(), End(end))),
            _ => Err(Malformed { offset }),
        }
    }

    /// Whether an entered value has content left; an error if what was read went beyond it.
    pub(super) fn has_more(&self, end: End) -> Result<bool, Malformed> {
        let offset = self.offset();
        if offset <= end.0 {
            Ok(offset < end.0)
        } else {
            Err(Malformed { offset })
        }
    }

    /// Must be called where an entered value should end: refuses content left over.
    pub(super) fn leave(&self, end: End) -> Result<(), Malformed> {
        let offset = self.offset();
        if offset == end.0 {
            Ok(())
        } else {
            Err(Malformed { offset })
        }
    }

    /// The rest of an entered value's content.
    pub(super) fn rest(&mut self, end: End) -> Result<&'a [u8], Malformed> {
        let offset = self.offset();
        let length = end
            .0
            .checked_sub(offset)
            .and_then(|length| Length::try_from(length).ok());
        match length.map(|length| self.reader.read_slice(length)) {
            Some(Ok(content)) => Ok(content),
            _ => Err(Malformed { offset }),
        }
    }

    /// The content of the next value, which must be of type `tag`.
    pub(super) fn read(&mut self, tag: Tag) -> Result<&'a [u8], Malformed> {
        let end = self.enter(tag)?;
        self.rest(end)
    }

    /// The whole next value of any type, its tag and length included.
    pub(super) fn read_any(&mut self) -> Result<&'a [u8], Malformed> {
        let offset = self.offset();
        let (_, end) = self.enter_any()?;
        self.rest(end)?;
        Ok(self.since(offset))
    }

    /// The content of a BIT STRING with whole bytes only.
    pub(super) fn read_bytes_of_bit_string(&mut self) -> Result<&'a [u8], Malformed> {
        let offset = self.offset();
        match self.read(Tag::BitString)?.split_first() {
            Some((0, bytes)) => Ok(bytes),
            _ => Err(Malformed { offset }),
        }
    }

    /// The content of an INTEGER: big-endian two's complement, at least one byte, none too many.
    pub(super) fn read_integer(&mut self) -> Result<&'a [u8], Malformed> {
        let offset = self.offset();
        match self.read(Tag::Integer)? {
            [] | [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => Err(Malformed { offset }),
            content => Ok(content),
        }
    }
}
