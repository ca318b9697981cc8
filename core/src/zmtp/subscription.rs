//! Subscriptions: byte prefixes, in either of their two forms on the wire, and a peer's set of them.
//!
//! To a 3.0 peer a subscription is a message of one frame, `01` and the prefix (`00` cancels); from
//! 3.1 on it is the command SUBSCRIBE (CANCEL). Publishers take both from everybody.

use core::fmt;

use super::frame::{Header, put};
use super::{BufferTooSmall, Command};
use crate::copy::shift_down;

/// Writes a subscription to `prefix` (or its end, if not `on`) in the form for a peer of ZMTP
/// 3.`minor`; returns its length.
///
/// # Errors
/// [`BufferTooSmall`], and `out` is as it was.
pub fn encode(on: bool, prefix: &[u8], minor: u8, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
    if minor > 0 {
        let command = if on {
            Command::Subscribe(prefix)
        } else {
            Command::Cancel(prefix)
        };
        return command.encode(out);
    }
    let header = Header::message(prefix.len().saturating_add(1), false);
    let size = prefix.len().saturating_add(1 + header.encoded_len());
    BufferTooSmall::check(size, out)?;
    put(prefix, put(&[u8::from(on)], header.put(out)));
    Ok(size)
}

/// One peer's subscriptions: a set of prefixes in an arena of `BYTES` bytes.
///
/// A prefix takes its length and 2 bytes. As at libzmq's publishers, a second identical one changes
/// nothing and one cancel ends it. Every operation goes over the arena once: `BYTES` is the bound of
/// its time as it is of its memory.
///
/// ```
/// use fedmsg_core::zmtp::Prefixes;
///
/// let mut prefixes = Prefixes::<64>::new();
/// prefixes.insert(b"org.fedoraproject.")?;
/// assert!(prefixes.matches(b"org.fedoraproject.prod.bodhi"));
/// assert!(!prefixes.matches(b"org.debian.dev"));
/// # Ok::<(), fedmsg_core::zmtp::subscription::Full>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Prefixes<const BYTES: usize> {
    /// Entries: 2 bytes of length, the prefix.
    arena: [u8; BYTES],
    used: usize,
}

impl<const BYTES: usize> Prefixes<BYTES> {
    /// The empty set: matches nothing.
    pub const fn new() -> Self {
        Prefixes {
            arena: [0; BYTES],
            used: 0,
        }
    }

    /// Adds a prefix; false if it was there already.
    ///
    /// # Errors
    /// [`Full`], and the set is as it was.
    pub fn insert(&mut self, prefix: &[u8]) -> Result<bool, Full> {
        if self.position(prefix).is_some() {
            return Ok(false);
        }
        let free = self.arena.get_mut(self.used..).unwrap_or_default();
        let full = Full {
            needed: prefix.len().saturating_add(2),
            free: free.len(),
        };
        let len = u16::try_from(prefix.len()).map_err(|_| full)?;
        if full.needed > full.free {
            return Err(full);
        }
        put(prefix, put(&len.to_le_bytes(), free));
        self.used += full.needed;
        Ok(true)
    }

    /// Removes a prefix; false if it was not there.
    pub fn remove(&mut self, prefix: &[u8]) -> bool {
        let Some(entry) = self.position(prefix) else {
            return false;
        };
        let next = entry + 2 + prefix.len();
        shift_down(&mut self.arena, next, self.used, entry);
        self.used -= next - entry;
        true
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// Whether one of the prefixes is one of `topic`.
    #[inline]
    pub fn matches(&self, topic: &[u8]) -> bool {
        self.iter().any(|prefix| topic.starts_with(prefix))
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The prefixes, oldest first.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut left = self.arena.get(..self.used).unwrap_or_default();
        core::iter::from_fn(move || {
            let (&len, rest) = left.split_first_chunk()?;
            let (prefix, rest) = rest.split_at_checked(u16::from_le_bytes(len).into())?;
            left = rest;
            Some(prefix)
        })
    }

    /// Where a prefix's entry is.
    fn position(&self, prefix: &[u8]) -> Option<usize> {
        let mut next = 0;
        self.iter().find_map(|known| {
            let entry = next;
            next += 2 + known.len();
            (known == prefix).then_some(entry)
        })
    }
}

impl<const BYTES: usize> Default for Prefixes<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

/// No room for a prefix in [`Prefixes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Full {
    /// What the prefix takes: its length and 2 bytes. A prefix over 65535 bytes never fits.
    pub needed: usize,
    /// What is left of the arena.
    pub free: usize,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Full { needed, free } = self;
        write!(
            f,
            "subscription needs {needed} bytes of the peer's arena, {free} are free"
        )
    }
}

impl core::error::Error for Full {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    #[test]
    fn an_identical_prefix_counts_once_and_one_cancel_ends_it() {
        let mut set = Prefixes::<16>::new();
        assert_eq!(set.insert(b"org"), Ok(true));
        assert_eq!(set.insert(b"org"), Ok(false));
        assert!(set.remove(b"org"));
        assert!(!set.remove(b"org"));
        assert!(set.is_empty() && !set.matches(b"org.a"));
    }

    #[test]
    fn the_empty_prefix_matches_every_topic() {
        let mut set = Prefixes::<16>::new();
        set.insert(b"").unwrap();
        assert!(set.matches(b"") && set.matches(b"org"));
    }

    #[test]
    fn a_full_arena_refuses_and_keeps_what_it_has() {
        let mut set = Prefixes::<8>::new();
        set.insert(b"abc").unwrap();
        assert_eq!(set.insert(b"xy"), Err(Full { needed: 4, free: 3 }));
        assert_eq!(set.insert(b"x"), Ok(true));
        assert_eq!(set.iter().collect::<Vec<_>>(), [&b"abc"[..], b"x"]);
    }

    proptest::proptest! {
        #[test]
        fn prefixes_are_a_set(ops: Vec<(bool, [u8; 2], bool)>, topic: [u8; 3]) {
            let mut set = Prefixes::<4096>::new();
            let mut model = BTreeSet::new();
            for (add, prefix, short) in ops {
                // Few values, so that prefixes meet again.
                let prefix: Vec<u8> = prefix.iter().take(2 - usize::from(short)).map(|b| b % 4).collect();
                if add {
                    assert_eq!(set.insert(&prefix), Ok(model.insert(prefix.clone())));
                } else {
                    assert_eq!(set.remove(&prefix), model.remove(&prefix));
                }
            }
            let topic = topic.map(|b| b % 4);
            assert_eq!(set.iter().map(<[u8]>::to_vec).collect::<BTreeSet<_>>(), model);
            assert_eq!(set.matches(&topic), model.iter().any(|p| topic.starts_with(p)));
            assert_eq!(set.is_empty(), model.is_empty());
        }
    }
}
