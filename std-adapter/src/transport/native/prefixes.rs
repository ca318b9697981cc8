//! The subscriptions of one peer: a set of byte prefixes.

use std::{collections::BTreeSet, ops::Bound};

/// What an entry costs besides its bytes, roughly.
const OVERHEAD: usize = 48;

/// A set of prefixes with its size in bytes.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    set: BTreeSet<Vec<u8>>,
    bytes: usize,
}

impl Prefixes {
    /// Adds `prefix` if the set then stays within `max_bytes`; whether it did.
    pub(super) fn insert(&mut self, prefix: &[u8], max_bytes: usize) -> bool {
        if self.set.contains(prefix) {
            return true;
        }
        let bytes = self.bytes + prefix.len() + OVERHEAD;
        if bytes > max_bytes {
            return false;
        }
        self.bytes = bytes;
        self.set.insert(prefix.to_vec())
    }

    pub(super) fn remove(&mut self, prefix: &[u8]) {
        if self.set.remove(prefix) {
            self.bytes -= prefix.len() + OVERHEAD;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.set.iter().map(Vec::as_slice)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Whether a prefix of `topic` is in the set: a look-up for each length at which one of the
    /// set's prefixes could still end.
    pub(super) fn matches(&self, topic: &[u8]) -> bool {
        let mut topic = topic;
        loop {
            let below = (Bound::Unbounded, Bound::Included(topic));
            let Some(nearest) = self.set.range::<[u8], _>(below).next_back() else {
                return false;
            };
            let common = nearest
                .iter()
                .zip(topic)
                .take_while(|(a, b)| a == b)
                .count();
            if common == nearest.len() {
                return true;
            }
            // Any prefix of the topic in the set sorts at or below what is common to both.
            topic = topic.get(..common).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_matches_when_any_of_its_prefixes_is_in_the_set() {
        let mut prefixes = Prefixes::default();
        for prefix in ["org.a", "org.abc.d", "org.b.", "zz"] {
            assert!(prefixes.insert(prefix.as_bytes(), 1 << 10));
        }
        for (topic, expected) in [
            ("org.a", true),
            ("org.abc", true),
            ("org.abc.zzz", true),
            ("org.b", false),
            ("org.b.x", true),
            ("org.", false),
            ("", false),
            ("z", false),
            ("zzz", true),
            ("zzzz", true),
        ] {
            assert_eq!(prefixes.matches(topic.as_bytes()), expected, "{topic}");
        }
        prefixes.remove(b"org.a");
        assert!(!prefixes.matches(b"org.abc"));
        assert!(prefixes.insert(b"", 1 << 10));
        assert!(prefixes.matches(b""));
        assert!(prefixes.matches(b"anything"));
    }

    #[test]
    fn the_set_stays_within_its_bytes() {
        let mut prefixes = Prefixes::default();
        assert!(prefixes.insert(&[b'a'; 52], 100));
        assert!(!prefixes.insert(b"b", 100));
        assert!(
            prefixes.insert(&[b'a'; 52], 100),
            "a repeated prefix takes no room"
        );
    }
}
