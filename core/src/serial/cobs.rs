//! Frames between zeros, and their checksum.

use core::ops::Range;

use super::CONTENT;
use crate::crc32::crc32;

/// Makes a frame of its bytes, which are not at the front but after two to spare, with one more to
/// spare behind them. They must be fewer than 254.
pub(super) fn encode(frame: &mut [u8]) {
    let [delimiter, coded @ .., last] = frame else {
        return;
    };
    (*delimiter, *last) = (0, 0);
    if let Some(first) = coded.first_mut() {
        *first = 0;
    }
    // From the end: each zero becomes the way to the next.
    let mut way = 1_u8;
    for byte in coded.iter_mut().rev() {
        if *byte == 0 {
            *byte = way;
            way = 0;
        }
        way = way.wrapping_add(1);
    }
}

/// Takes COBS apart, byte by byte.
pub(super) struct Decoder {
    bytes: [u8; CONTENT],
    len: usize,
    /// How many bytes there are to the next zero that was taken out.
    way: u8,
    state: Decoding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Decoding {
    /// Nothing of a frame has come.
    Nothing,
    Frame,
    TooLong,
}

/// A frame that is none.
pub(super) struct Damaged;

impl Decoder {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; CONTENT],
            len: 0,
            way: 0,
            state: Decoding::Nothing,
        }
    }

    /// Takes a byte; at the end of a frame gives its length, without the checksum.
    pub(super) fn put(&mut self, byte: u8) -> Option<Result<usize, Damaged>> {
        if byte == 0 {
            let state = core::mem::replace(&mut self.state, Decoding::Nothing);
            return match state {
                Decoding::Nothing => None,
                Decoding::Frame => Some(self.check().ok_or(Damaged)),
                Decoding::TooLong => Some(Err(Damaged)),
            };
        }
        match self.state {
            Decoding::Nothing => {
                (self.state, self.len, self.way) = (Decoding::Frame, 0, byte - 1);
            }
            Decoding::Frame => {
                let place = self.bytes.get_mut(self.len);
                let Some(place) = place else {
                    self.state = Decoding::TooLong;
                    return None;
                };
                self.len += 1;
                (*place, self.way) = match self.way {
                    0 => (0, byte - 1),
                    way => (byte, way - 1),
                };
            }
            Decoding::TooLong => {}
        }
        None
    }

    /// What has come of the frame, of which this is asked.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    fn check(&self) -> Option<usize> {
        let frame = self.bytes.get(..self.len)?;
        let (content, checksum) = frame.split_last_chunk()?;
        let good = self.way == 0 && crc32(content) == u32::from_le_bytes(*checksum);
        good.then_some(content.len())
    }
}
