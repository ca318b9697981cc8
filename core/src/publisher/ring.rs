//! The ring of recent messages that all subscribers share: each has a [`Cursor`] into it.
//!
//! A record is one message as it goes over the wire, its frames' headers included. What every
//! message has in common, the sender's certificate, is not in the ring: a record only knows at
//! which of its bytes that text belongs. Records lie in one piece each; an eight-byte header
//! before each holds its length and that place. The oldest records make room for new ones.

use crate::copy::copy;

/// Bytes of storage that a record takes besides its own.
pub const RECORD_OVERHEAD: usize = 8;

/// Records, oldest first, in storage of the caller's.
#[derive(Debug)]
pub struct Ring<B> {
    storage: B,
    /// Where the oldest record begins.
    start: usize,
    /// Where the next record will begin.
    end: usize,
    /// Where records end in the upper part of the storage, once newer ones lie in the lower.
    wrap: Option<usize>,
    /// The oldest record's number.
    first: u64,
    /// The next record's number.
    next: u64,
}

/// A reader's place in a [`Ring`]: at a record, or before the next one to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Cursor {
    number: u64,
    at: usize,
}

impl Cursor {
    /// The number of the record that it is at, or before which it is.
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Record<'r> {
    /// Its number; they count from 0.
    pub number: u64,
    /// Its bytes.
    pub bytes: &'r [u8],
    /// Where in `bytes` the text belongs that is not in the ring, if it has any.
    pub cut: Option<usize>,
}

/// What lies at a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Next<'r> {
    /// Nothing yet: everything was read.
    Empty,
    /// This record.
    Record(Record<'r>),
    /// A record that is no longer there.
    Lost,
}

/// A record larger than the whole ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RecordTooLarge {
    /// The longest record that fits, in bytes.
    pub limit: usize,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Ring<B> {
    /// An empty ring.
    pub fn new(storage: B) -> Self {
        Self {
            storage,
            start: 0,
            end: 0,
            wrap: None,
            first: 0,
            next: 0,
        }
    }

    /// The longest record that fits, in bytes.
    pub fn max_record(&self) -> usize {
        let limit = self.storage.as_ref().len().saturating_sub(RECORD_OVERHEAD);
        limit.min(u32::MAX as usize - 1)
    }

    /// How many records were ever appended.
    pub fn appended(&self) -> u64 {
        self.next
    }

    /// A cursor before the next record to come.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            number: self.next,
            at: self.end,
        }
    }

    /// Appends the record that `parts` make one after the other. The oldest records that have to
    /// go for it are shown to `evicted` first.
    ///
    /// # Errors
    /// [`RecordTooLarge`]; nothing has changed then.
    pub fn append(
        &mut self,
        parts: &[&[u8]],
        cut: Option<usize>,
        mut evicted: impl FnMut(Record<'_>),
    ) -> Result<(), RecordTooLarge> {
        let len = parts
            .iter()
            .map(|part| part.len())
            .fold(0, usize::saturating_add);
        let limit = self.max_record();
        let storage = self.storage.as_ref().len();
        if len > limit || storage < RECORD_OVERHEAD {
            return Err(RecordTooLarge { limit });
        }
        let space = len + RECORD_OVERHEAD;
        while !self.has_room(space) {
            if let Next::Record(record) = self.at(&self.oldest()) {
                evicted(record);
            }
            self.evict();
        }
        let record = self
            .storage
            .as_mut()
            .get_mut(self.end..)
            .and_then(|rest| rest.get_mut(..space));
        let Some((header, mut rest)) = record.and_then(|r| r.split_at_mut_checked(RECORD_OVERHEAD))
        else {
            return Err(RecordTooLarge { limit });
        };
        let cut = cut.map_or(u32::MAX, |cut| cut as u32);
        if let Some((a, b)) = header.split_at_mut_checked(4) {
            a.copy_from_slice(&(len as u32).to_le_bytes());
            b.copy_from_slice(&cut.to_le_bytes());
        }
        for part in parts {
            let Some((to, after)) = rest.split_at_mut_checked(part.len()) else {
                break;
            };
            copy(to, part);
            rest = after;
        }
        self.end += space;
        self.next += 1;
        Ok(())
    }

    /// What lies at `cursor`.
    pub fn at(&self, cursor: &Cursor) -> Next<'_> {
        if cursor.number >= self.next {
            return Next::Empty;
        }
        if cursor.number < self.first {
            return Next::Lost;
        }
        match self.read(self.place(cursor)) {
            Some((bytes, cut)) => Next::Record(Record {
                number: cursor.number,
                bytes,
                cut,
            }),
            None => Next::Lost,
        }
    }

    /// Moves `cursor` past the record that it is at; past what was lost, to the oldest record
    /// that is there, giving how many were passed unread.
    pub fn advance(&self, cursor: &mut Cursor) -> u64 {
        match self.at(cursor) {
            Next::Empty => 0,
            Next::Lost => {
                let lost = self.first.saturating_sub(cursor.number);
                *cursor = self.oldest();
                lost
            }
            Next::Record(record) => {
                cursor.at = self.place(cursor) + RECORD_OVERHEAD + record.bytes.len();
                cursor.number += 1;
                0
            }
        }
    }

    fn oldest(&self) -> Cursor {
        Cursor {
            number: self.first,
            at: self.start,
        }
    }

    /// Where the record at `cursor` begins. The cursor knows where its predecessor ended; the
    /// record itself may have come to lie at the storage's beginning.
    fn place(&self, cursor: &Cursor) -> usize {
        if cursor.number == self.first {
            self.start
        } else if self.wrap == Some(cursor.at) {
            0
        } else {
            cursor.at
        }
    }

    fn read(&self, at: usize) -> Option<(&[u8], Option<usize>)> {
        let (len, rest) = self.storage.as_ref().get(at..)?.split_first_chunk()?;
        let (cut, rest) = rest.split_first_chunk()?;
        let cut = u32::from_le_bytes(*cut);
        let bytes = rest.get(..u32::from_le_bytes(*len) as usize)?;
        Some((bytes, (cut != u32::MAX).then_some(cut as usize)))
    }

    /// Whether `space` bytes are free at `end`, which goes back to the storage's beginning where
    /// that helps.
    fn has_room(&mut self, space: usize) -> bool {
        if self.wrap.is_some() {
            return self.start.saturating_sub(self.end) >= space;
        }
        if self.first == self.next {
            (self.start, self.end) = (0, 0);
        }
        if self.storage.as_ref().len().saturating_sub(self.end) >= space {
            return true;
        }
        if self.start >= space {
            self.wrap = Some(self.end);
            self.end = 0;
            return true;
        }
        false
    }

    fn evict(&mut self) {
        let len = self.read(self.start).map_or(0, |(bytes, _)| bytes.len());
        self.start += len + RECORD_OVERHEAD;
        self.first += 1;
        if self.wrap == Some(self.start) {
            self.start = 0;
            self.wrap = None;
        }
    }
}

#[cfg(feature = "defmt")]
impl<B> defmt::Format for Ring<B> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Ring({}..{})", self.first, self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::VecDeque, vec, vec::Vec};

    fn read(ring: &Ring<Vec<u8>>, cursor: &mut Cursor) -> Option<Result<Vec<u8>, u64>> {
        let found = match ring.at(cursor) {
            Next::Empty => return None,
            Next::Record(record) => Ok(record.bytes.to_vec()),
            Next::Lost => Err(0),
        };
        let lost = ring.advance(cursor);
        Some(found.map_err(|_| lost))
    }

    #[test]
    fn a_record_larger_than_the_ring_is_refused_and_changes_nothing() {
        let mut ring = Ring::new(vec![0; 32]);
        let mut cursor = ring.cursor();
        ring.append(&[b"one"], None, |_| panic!()).unwrap();
        assert_eq!(
            ring.append(&[&[0; 25]], None, |_| panic!()),
            Err(RecordTooLarge { limit: 24 })
        );
        assert_eq!(read(&ring, &mut cursor), Some(Ok(b"one".to_vec())));
        for storage in 0..RECORD_OVERHEAD {
            let mut ring = Ring::new(vec![0; storage]);
            let refused = ring.append(&[b""], None, |_| panic!());
            assert_eq!(refused, Err(RecordTooLarge { limit: 0 }));
            assert_eq!(ring.at(&ring.cursor()), Next::Empty);
        }
    }

    #[test]
    fn a_record_keeps_the_place_of_its_cut() {
        let mut ring = Ring::new([0; 64]);
        let cursor = ring.cursor();
        ring.append(&[b"ab", b"cd"], Some(2), |_| ()).unwrap();
        let expected = Record {
            number: 0,
            bytes: b"abcd",
            cut: Some(2),
        };
        assert_eq!(ring.at(&cursor), Next::Record(expected));
    }

    proptest! {
        #[test]
        fn readers_of_any_pace_see_every_record_in_order_or_a_true_count_of_what_they_lost(
            size in 24usize..200,
            steps in prop::collection::vec((0usize..40, 0usize..4, 0usize..4), 1..300),
        ) {
            let mut ring = Ring::new(vec![0; size]);
            let mut readers = [(ring.cursor(), 0u64), (ring.cursor(), 0)];
            let mut kept = VecDeque::new();
            let (mut first, mut next) = (0u64, 0u64);
            for (len, slow, fast) in steps {
                let record = vec![next as u8; len];
                let result = ring.append(&[&record], None, |evicted| {
                    assert_eq!(evicted.number, first);
                    assert_eq!(Some(evicted.bytes.to_vec()), kept.pop_front());
                    first += 1;
                });
                if len + RECORD_OVERHEAD > size {
                    prop_assert!(result.is_err());
                } else {
                    prop_assert!(result.is_ok());
                    kept.push_back(record);
                    next += 1;
                }
                for (reads, (cursor, number)) in [slow, fast].into_iter().zip(&mut readers) {
                    for _ in 0..reads {
                        match read(&ring, cursor) {
                            None => prop_assert_eq!(*number, next),
                            Some(Ok(bytes)) => {
                                prop_assert_eq!(&bytes, &kept[(*number - first) as usize]);
                                *number += 1;
                            }
                            Some(Err(lost)) => {
                                prop_assert_eq!(*number + lost, first);
                                *number = first;
                            }
                        }
                    }
                }
            }
        }
    }
}
