//! A JSON text as a tree that loses nothing of it.

use std::{borrow::Cow, collections::HashMap, fmt};

use fedmsg_core::json::{self, ErrorKind, HOST_DEPTH};

/// A JSON text as Python's `json.loads` reads it, with nothing lost: members in their order,
/// integers with all their digits, `NaN`, lone surrogates.
///
/// ```
/// use fedmsg::encoding::Tree;
///
/// let tree = Tree::read(br#"{"z": 18446744073709551616, "a": [1E2]}"#)?;
/// assert_eq!(tree.pretty().to_string(), r#"{
///   "z": 18446744073709551616,
///   "a": [
///     100.0
///   ]
/// }"#);
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree<'t> {
    /// A number, `true`, `false` or `null`, in canonical form.
    Scalar(Cow<'t, str>),
    /// A string, in canonical form with its quotes.
    String(Cow<'t, str>),
    /// A list.
    List(Vec<Tree<'t>>),
    /// An object's members. The keys are strings in canonical form with their quotes, each one
    /// once: of a repeated one the first place and the last value count.
    Object(Vec<(Cow<'t, str>, Tree<'t>)>),
}

impl<'t> Tree<'t> {
    /// Reads a text, bytes of UTF-8, with no more than [`HOST_DEPTH`] arrays and objects inside each
    /// other.
    ///
    /// While it works it takes 6 times the text's length, and then up to some 30 times (for a list
    /// of digits).
    ///
    /// # Errors
    /// What is not JSON, or too deep; the offset counts bytes of the text.
    pub fn read(text: &'t [u8]) -> Result<Self, json::Error> {
        let mut room = vec![0; text.len().saturating_mul(6)];
        json::canonicalize(text, &mut room, HOST_DEPTH)?;
        // That it is JSON is known now: none of the following fails.
        let error = |offset| json::Error {
            kind: ErrorKind::InvalidUtf8,
            offset,
        };
        let rest = str::from_utf8(text).map_err(|source| error(source.valid_up_to()))?;
        let mut reader = Reader { rest, room };
        let tree = reader.value();
        tree.ok_or_else(|| error(text.len() - reader.rest.len()))
    }

    /// A string.
    ///
    /// # Errors
    /// None for what has less than 700 MB.
    pub fn string(text: &str) -> Result<Self, json::Error> {
        Ok(Self::String(super::dumps(text)?.into()))
    }

    /// The member with this key, if this is an object with one.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        let key = super::dumps(key).ok()?;
        members
            .iter()
            .find(|(own, _)| *own == key)
            .map(|(_, value)| value)
    }

    /// Gives a member another value, if this is an object with that key.
    pub fn replace(&mut self, key: &str, value: Self) {
        let (Self::Object(members), Ok(key)) = (self, super::dumps(key)) else {
            return;
        };
        if let Some((_, own)) = members.iter_mut().find(|(own, _)| *own == key) {
            *own = value;
        }
    }

    /// Removes a member, if this is an object with that key.
    pub fn remove(&mut self, key: &str) {
        if let (Self::Object(members), Ok(key)) = (self, super::dumps(key)) {
            members.retain(|(own, _)| *own != key);
        }
    }

    /// Looks members up by their dotted paths, as [`dict_query`](super::dict_query) does.
    pub fn query<'q>(&self, query: &'q str) -> Vec<(&'q str, Option<&Self>)> {
        let find = |path: &str| path.split('.').try_fold(self, Self::get);
        super::names(query)
            .into_iter()
            .map(|name| (name, find(name)))
            .collect()
    }

    /// The number, if it is one; rounded to the nearest double.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Scalar(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The text for people: two spaces a level, ASCII only.
    ///
    /// A text of a few MB may be some GB so, all of it indentation. To show what comes from others,
    /// write it out (`write!`) and do not keep it.
    pub fn pretty(&self) -> impl fmt::Display {
        Pretty {
            tree: self,
            paint: |_, _| ["", ""],
        }
    }

    /// The same in colours, for a terminal: ANSI escape sequences. No others are in it: canonical
    /// strings have no control characters.
    pub fn pretty_in_colours(&self) -> impl fmt::Display {
        Pretty {
            tree: self,
            paint: |text, is_key| {
                let start = match text.as_bytes().first() {
                    Some(b'"') if is_key => "\x1b[34m",
                    Some(b'"') => "\x1b[32m",
                    Some(b'-' | b'0'..=b'9') => "\x1b[36m",
                    _ => "\x1b[33m",
                };
                [start, "\x1b[0m"]
            },
        }
    }
}

struct Pretty<'a> {
    tree: &'a Tree<'a>,
    /// What stands before and behind a scalar or a string, which may be a key.
    paint: fn(&str, bool) -> [&'static str; 2],
}

impl fmt::Display for Pretty<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, self.tree, 0)
    }
}

impl Pretty<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, tree: &Tree<'_>, depth: usize) -> fmt::Result {
        match tree {
            Tree::Scalar(text) | Tree::String(text) => self.paint(f, text, false),
            Tree::List(items) if items.is_empty() => f.write_str("[]"),
            Tree::List(items) => {
                for (n, item) in items.iter().enumerate() {
                    self.line(f, if n == 0 { "[" } else { "," }, depth + 1)?;
                    self.write(f, item, depth + 1)?;
                }
                self.line(f, "", depth)?;
                f.write_str("]")
            }
            Tree::Object(members) if members.is_empty() => f.write_str("{}"),
            Tree::Object(members) => {
                for (n, (key, value)) in members.iter().enumerate() {
                    self.line(f, if n == 0 { "{" } else { "," }, depth + 1)?;
                    self.paint(f, key, true)?;
                    f.write_str(": ")?;
                    self.write(f, value, depth + 1)?;
                }
                self.line(f, "", depth)?;
                f.write_str("}")
            }
        }
    }

    /// Ends a line and begins the next.
    fn line(&self, f: &mut fmt::Formatter<'_>, end: &str, depth: usize) -> fmt::Result {
        write!(f, "{end}\n{:1$}", "", 2 * depth)
    }

    fn paint(&self, f: &mut fmt::Formatter<'_>, text: &str, is_key: bool) -> fmt::Result {
        let [start, end] = (self.paint)(text, is_key);
        write!(f, "{start}{text}{end}")
    }
}

/// The length of the string that `text` begins with, with its quotes.
pub(super) fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Reads what is known to be JSON.
struct Reader<'t> {
    rest: &'t str,
    /// For canonical forms; six times the text.
    room: Vec<u8>,
}

impl<'t> Reader<'t> {
    /// It calls itself no deeper than [`HOST_DEPTH`].
    fn value(&mut self) -> Option<Tree<'t>> {
        match self.peek()? {
            b'"' => Some(Tree::String(self.string()?)),
            b'[' => {
                let mut items = Vec::new();
                while self.goes_on(b']')? {
                    items.push(self.value()?);
                }
                Some(Tree::List(items))
            }
            b'{' => {
                let mut members = Vec::new();
                let mut places = HashMap::new();
                while self.goes_on(b'}')? {
                    self.peek()?;
                    let key = self.string()?;
                    self.peek()?;
                    self.rest = self.rest.strip_prefix(':')?;
                    let value = self.value()?;
                    let place = *places.entry(key.clone()).or_insert(members.len());
                    match members.get_mut(place) {
                        Some((_, repeated)) => *repeated = value,
                        None => members.push((key, value)),
                    }
                }
                Some(Tree::Object(members))
            }
            _ => {
                let ends = |c: char| matches!(c, ',' | ']' | '}' | ' ' | '\t' | '\n' | '\r');
                let len = self.rest.find(ends).unwrap_or(self.rest.len());
                Some(Tree::Scalar(self.canonical(len)?))
            }
        }
    }

    /// Skips whitespace; the next byte.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.bytes().next()
    }

    /// Whether another item comes, behind the opening bracket or the item before it.
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        let separator = self.peek()?;
        if separator != end {
            self.rest = self.rest.get(1..)?;
        }
        let ends = self.peek()? == end;
        if ends {
            self.rest = self.rest.get(1..)?;
        }
        Some(!ends)
    }

    fn string(&mut self) -> Option<Cow<'t, str>> {
        self.canonical(string_len(self.rest.as_bytes())?)
    }

    /// The next `len` bytes, a scalar or a string, in canonical form.
    fn canonical(&mut self, len: usize) -> Option<Cow<'t, str>> {
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        let len = json::canonicalize(text.as_bytes(), &mut self.room, 0).ok()?;
        let canonical = str::from_utf8(self.room.get(..len)?).ok()?;
        Some(match canonical == text {
            true => Cow::Borrowed(text),
            false => Cow::Owned(canonical.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_stays_and_of_a_repeated_member_the_last_value() {
        let tree =
            Tree::read(br#" { "b" : 1 , "a" : [ ] , "\u0062" : { } , "c" : [ 1 , [ 2 ] ] } "#);
        let expected = r#"{"b":{},"a":[],"c":[1,[2]]}"#;
        assert_eq!(tree, Tree::read(expected.as_bytes()));
    }

    #[test]
    fn members_are_found_replaced_and_removed() {
        let mut tree = Tree::read(br#"{"a\u00e9": {"b": 1.5}, "n": [], "t": 1}"#).unwrap();
        let found = tree.query("a\u{e9}.b, n.x");
        assert_eq!(found[0].1.and_then(Tree::number), Some(1.5));
        assert_eq!(found[1], ("n.x", None));
        tree.remove("a\u{e9}");
        tree.replace("t", Tree::string("\u{e9}").unwrap());
        tree.replace("u", Tree::string("").unwrap());
        assert_eq!(tree, Tree::read(br#"{"n": [], "t": "\u00e9"}"#).unwrap());
    }

    #[test]
    fn colours_are_the_only_control_characters() {
        let tree = Tree::read(br#"{"k": ["\u001b[0m\u009b", -1, null], "o": {}}"#).unwrap();
        assert_eq!(
            tree.pretty_in_colours().to_string(),
            "{\n  \x1b[34m\"k\"\x1b[0m: [\n    \x1b[32m\"\\u001b[0m\\u009b\"\x1b[0m,\n    \
             \x1b[36m-1\x1b[0m,\n    \x1b[33mnull\x1b[0m\n  ],\n  \x1b[34m\"o\"\x1b[0m: {}\n}"
        );
    }

    #[test]
    fn a_tree_is_as_deep_as_a_message_may_be() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Tree::read(nested(HOST_DEPTH).as_bytes()).is_ok());
        let error = Tree::read(nested(HOST_DEPTH + 1).as_bytes()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Depth { limit: HOST_DEPTH });
    }
}
