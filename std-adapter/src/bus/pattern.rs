//! Which topics a tail asks for.

/// A topic to tail: a prefix, or with a `*` in it a pattern for whole topics, in which `*` stands
/// for any text, dots included.
///
/// Source: the peer's hub (moksha), which takes a `*` at the end of a topic; a `*` elsewhere
/// matches nothing there.
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn new(topic: &str) -> Self {
        Self(topic.to_owned())
    }

    /// What to subscribe to: every topic that matches begins with it.
    pub(super) fn prefix(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    /// Whether a topic with the [`prefix`](Self::prefix) need not match.
    pub(super) fn filters(&self) -> bool {
        self.0.find('*').is_some_and(|star| star + 1 < self.0.len())
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = topic.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return true;
        };
        // Each part at its first place leaves the most to the next.
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else {
                return false;
            };
            rest = after;
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_without_one_a_topic_is_a_prefix() {
        for (pattern, topic, matches) in [
            ("", "", true),
            ("", "a.b", true),
            ("a.b", "a.b", true),
            ("a.b", "a.bc.d", true),
            ("a.b", "a.c", false),
            ("a.*", "a.", true),
            ("a.*", "a.b.c", true),
            ("a.*", "b.a.", false),
            ("*.c", "a.b.c", true),
            ("*.c", "a.b.c.d", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.x.c", true),
            ("a.*.c", "a.c", false),
            ("a.*.c", "a.b.cc", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "acb", false),
            ("a**c", "ac", true),
            ("*a*a*", "a", false),
            ("*a*a*", "aa", true),
            ("ab*ba", "aba", false),
            ("*é*", "caf\u{e9}s", true),
        ] {
            let compiled = Pattern::new(pattern);
            assert_eq!(compiled.matches(topic), matches, "{pattern:?} {topic:?}");
            if matches {
                assert!(topic.starts_with(compiled.prefix()));
            } else if topic.starts_with(compiled.prefix()) {
                assert!(compiled.filters(), "{pattern:?} {topic:?}");
            }
        }
    }
}
