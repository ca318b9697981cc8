//! The order of members: comparing keys, and sorting the members of an object in place.
//!
//! While an object is open its members stand in the text in the order in which they came, and
//! where each begins stands in an index. Only an object whose keys came out of order is sorted,
//! when it closes:
//! - With room beside it (the object's text again, and 4 bytes a member) the members' numbers are
//!   merge-sorted, the members copied out in order, and copied back: bytes x log members for
//!   comparing keys, 2 x bytes for moving.
//! - Without room the members themselves are merge-sorted by rotation:
//!   bytes x log^2 members, for both.
//!
//! An outer object moves its inner ones once more, so the worst case for a whole text has the
//! depth as one more factor. Nothing is quadratic in the number of members.

use core::{cmp::Ordering, mem::swap};

use crate::copy::{copy, shift_down};

use super::string::{join_surrogates, read_escape};

/// Compares two keys of canonical text, as they stand in it without their quotes, in the order of
/// canonical text: by code point, after unescaping.
pub fn compare_keys(a: &str, b: &str) -> Ordering {
    compare(a.as_bytes(), b.as_bytes())
}

/// The same for texts that begin behind the key's opening quote and may go on behind the closing
/// one.
#[inline]
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let plain = |byte| !matches!(byte, b'"' | b'\\');
    let mut same = 0;
    for (&x, &y) in a.iter().zip(b) {
        if x != y && plain(x) && plain(y) {
            return x.cmp(&y);
        }
        if x != y || !plain(x) {
            break;
        }
        same += 1;
    }
    compare_code_points(a, b, same)
}

/// Compares what follows the first `same` bytes.
#[inline(never)]
fn compare_code_points(a: &[u8], b: &[u8], same: usize) -> Ordering {
    let [a, b] = [a, b].map(|text| CodePoints {
        text: text.get(same..).unwrap_or_default(),
    });
    a.cmp(b)
}

/// The code points of a canonical string, up to its closing quote or the end.
struct CodePoints<'a> {
    text: &'a [u8],
}

impl CodePoints<'_> {
    fn unit(&mut self) -> Option<u16> {
        let (&byte, rest) = self.text.split_first()?;
        let (unit, rest) = match byte {
            b'"' => return None,
            b'\\' => read_escape(rest).ok()?,
            _ => (u16::from(byte), rest),
        };
        self.text = rest;
        Some(unit)
    }
}

impl Iterator for CodePoints<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let unit = self.unit()?;
        if (0xd800..0xdc00).contains(&unit) {
            let mut ahead = CodePoints { text: self.text };
            if let Some(code) = ahead.unit().and_then(|low| join_surrogates(unit, low)) {
                self.text = ahead.text;
                return Some(code);
            }
        }
        Some(u32::from(unit))
    }
}

/// An entry of the index: a byte offset, or the number of a member, little-endian.
pub(super) type Word = [u8; 4];

pub(super) fn to_word(value: usize) -> Word {
    (value as u32).to_le_bytes()
}

pub(super) fn from_word(word: Word) -> usize {
    u32::from_le_bytes(word) as usize
}

/// Sorts the members of an object by key. Of members with the same key the last is kept.
/// Returns the new length of the text.
///
/// `text` ends with the comma behind the last member, `starts` says where in it each member
/// begins, `room` is free for use.
pub(super) fn sort_members(text: &mut [u8], starts: &mut [Word], room: &mut [u8]) -> usize {
    let first = starts.first().map_or(text.len(), |word| from_word(*word));
    let body = text.len().saturating_sub(first);
    let room = room.split_at_mut_checked(body).and_then(|(sorted, rest)| {
        let (order, _) = rest.as_chunks_mut().0.split_at_mut_checked(starts.len())?;
        Some((sorted, order))
    });
    first
        + match room {
            Some((sorted, order)) => {
                let members = Members { text, starts };
                members.sort_numbers(order, sorted);
                let len = members.copy_in_order(order, sorted);
                let to = text.get_mut(first..).unwrap_or_default();
                copy(to, sorted.get(..len).unwrap_or_default());
                len
            }
            None => {
                sort_by_rotating(text, starts);
                drop_repeated(text, starts)
            }
        }
}

/// The members as they stand in the text, by number.
#[derive(Clone, Copy)]
struct Members<'a> {
    text: &'a [u8],
    starts: &'a [Word],
}

impl<'a> Members<'a> {
    fn start(&self, number: usize) -> usize {
        match self.starts.get(number) {
            Some(word) => from_word(*word),
            None => self.text.len(),
        }
    }

    /// The member's text with the comma behind it.
    fn member(&self, number: usize) -> &'a [u8] {
        let range = self.start(number)..self.start(number + 1);
        self.text.get(range).unwrap_or_default()
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        let key = |number| self.text.get(self.start(number) + 1..).unwrap_or_default();
        compare(key(a), key(b))
    }

    /// Writes the numbers of the members in the order of their keys; a stable merge sort. The
    /// scratch is as long as the members: each has at least five bytes, its comma included.
    fn sort_numbers(&self, order: &mut [Word], scratch: &mut [u8]) {
        const RUN: usize = 8;
        for (number, word) in order.iter_mut().enumerate() {
            *word = to_word(number);
        }
        let greater = |a: &Word, b: &Word| self.compare(from_word(*a), from_word(*b)).is_gt();
        for run in order.chunks_mut(RUN) {
            for sorted in 1..run.len() {
                for right in (1..=sorted).rev() {
                    match run.get_mut(right - 1..=right) {
                        Some([a, b]) if greater(a, b) => core::mem::swap(a, b),
                        _ => break,
                    }
                }
            }
        }
        let scratch = scratch.as_chunks_mut().0;
        let scratch = scratch.get_mut(..order.len()).unwrap_or_default();
        let (mut from, mut to) = (order, scratch);
        let mut in_order = true;
        let mut width = RUN;
        while width < from.len() {
            // Never 0, but the compiler must see it: `chunks` would panic.
            let pair = (2 * width).max(1);
            for (from, to) in from.chunks(pair).zip(to.chunks_mut(pair)) {
                let (mut left, mut right) = from.split_at_checked(width).unwrap_or((from, &[]));
                for slot in to {
                    *slot = match (left, right) {
                        ([a, rest @ ..], []) => {
                            left = rest;
                            *a
                        }
                        ([a, rest @ ..], [b, ..]) if !greater(a, b) => {
                            left = rest;
                            *a
                        }
                        (_, [b, rest @ ..]) => {
                            right = rest;
                            *b
                        }
                        ([], []) => break,
                    };
                }
            }
            core::mem::swap(&mut from, &mut to);
            in_order = !in_order;
            width *= 2;
        }
        if !in_order {
            copy(to.as_flattened_mut(), from.as_flattened());
        }
    }

    /// Copies the members in the given order, of each key the last. Returns how many bytes.
    fn copy_in_order(&self, order: &[Word], sorted: &mut [u8]) -> usize {
        let mut len = 0;
        let mut rest = order;
        while let Some((word, tail)) = rest.split_first() {
            rest = tail;
            let number = from_word(*word);
            if let Some(next) = tail.first()
                && self.compare(number, from_word(*next)).is_eq()
            {
                continue;
            }
            let member = self.member(number);
            copy(sorted.get_mut(len..).unwrap_or_default(), member);
            len += member.len();
        }
        len
    }
}

/// Merge-sorts the members where they stand, by rotating neighbouring runs past each other.
fn sort_by_rotating(text: &mut [u8], starts: &mut [Word]) {
    let count = starts.len();
    let mut width = 1;
    while width < count {
        let mut low = 0;
        while low + width < count {
            let high = count.min(low + 2 * width);
            merge_by_rotating(text, starts, low, low + width, high);
            low = high;
        }
        width *= 2;
    }
}

/// Merges the sorted runs `low..middle` and `middle..high`: halves the longer run, finds where
/// its middle member belongs in the other, rotates what lies between, and goes on with both
/// sides. It calls itself for the smaller side only: log2 of the members deep.
fn merge_by_rotating(
    text: &mut [u8],
    starts: &mut [Word],
    mut low: usize,
    mut middle: usize,
    mut high: usize,
) {
    while low < middle && middle < high {
        let members = Members { text, starts };
        if members.compare(middle - 1, middle).is_le() {
            return;
        }
        let (from, to) = if middle - low >= high - middle {
            let from = low + (middle - low) / 2;
            let before = |number| members.compare(number, from).is_lt();
            (from, partition_point(middle, high, before))
        } else {
            let to = middle + (high - middle) / 2;
            let before = |number| members.compare(number, to).is_le();
            (partition_point(low, middle, before), to)
        };
        rotate(text, starts, from, middle, to);
        let joint = from + (to - middle);
        if joint - low < high - joint {
            merge_by_rotating(text, starts, low, from, joint);
            (low, middle) = (joint, to);
        } else {
            merge_by_rotating(text, starts, joint, to, high);
            (middle, high) = (from, joint);
        }
    }
}

/// The first number that does not lie before, found by halving.
fn partition_point(mut low: usize, mut high: usize, before: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Exchanges the neighbouring runs `low..middle` and `middle..high`.
fn rotate(text: &mut [u8], starts: &mut [Word], low: usize, middle: usize, high: usize) {
    let members = Members { text, starts };
    let (a, b, c) = (
        members.start(low),
        members.start(middle),
        members.start(high),
    );
    for word in starts.get_mut(low..middle).unwrap_or_default() {
        *word = to_word(from_word(*word) + (c - b));
    }
    for word in starts.get_mut(middle..high).unwrap_or_default() {
        *word = to_word(from_word(*word) - (b - a));
    }
    reverse_thrice(starts, low, middle, high);
    reverse_thrice(text, a, b, c);
}

fn reverse_thrice<T>(items: &mut [T], low: usize, middle: usize, high: usize) {
    for range in [low..middle, middle..high, low..high] {
        reverse(items.get_mut(range).unwrap_or_default());
    }
}

/// The slice's own method, but for the panic that an optimizer for size leaves in that.
pub(super) fn reverse<T>(mut items: &mut [T]) {
    while let [first, middle @ .., last] = items {
        swap(first, last);
        items = middle;
    }
}

/// Closes the gaps that repeated keys leave behind: the last of them counts. Returns how many
/// bytes the members have.
fn drop_repeated(text: &mut [u8], starts: &[Word]) -> usize {
    let first = Members { text, starts }.start(0);
    let mut end = first;
    for number in 0..starts.len() {
        let members = Members { text, starts };
        if number + 1 < starts.len() && members.compare(number, number + 1).is_eq() {
            continue;
        }
        let (from, to) = (members.start(number), members.start(number + 1));
        shift_down(text, from, to, end);
        end += to - from;
    }
    end - first
}
