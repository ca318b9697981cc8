//! Any tree of values: the serializer writes what the canonicalizer makes of another's text.
#![no_main]

use fedmsg_core::json::{ErrorKind, canonicalize, to_slice};
use libfuzzer_sys::fuzz_target;
use serde::ser::{Serialize, SerializeMap, Serializer};

const DEPTH: usize = 40;

enum Tree {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u128),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    /// In any order, keys repeated.
    Object(Vec<(Tree, Tree)>),
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Null => serializer.serialize_none(),
            Tree::Bool(value) => serializer.serialize_bool(*value),
            Tree::Signed(value) => serializer.serialize_i64(*value),
            Tree::Unsigned(value) => serializer.serialize_u128(*value),
            Tree::Float(value) => serializer.serialize_f64(*value),
            Tree::Text(text) => serializer.serialize_str(text),
            Tree::List(list) => serializer.collect_seq(list),
            Tree::Object(members) => {
                let mut map = serializer.serialize_map(None)?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// Makes a tree of bytes; zeros when there are no more.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn scalar(&mut self, kind: u8) -> Tree {
        match kind {
            0 => Tree::Bool(self.byte() & 1 == 1),
            1 => Tree::Signed(i8::from_le_bytes(self.array()).into()),
            2 => Tree::Signed(i64::from_le_bytes(self.array())),
            3 => Tree::Unsigned(u128::from_le_bytes(self.array())),
            4 => match f64::from_le_bytes(self.array()) {
                value if value.is_finite() => Tree::Float(value),
                _ => Tree::Null,
            },
            5 => Tree::Float(f64::from(i16::from_le_bytes(self.array())) / 8.0),
            _ => {
                let len = usize::from(self.byte() % 24).min(self.0.len());
                let (text, rest) = self.0.split_at(len);
                self.0 = rest;
                Tree::Text(String::from_utf8_lossy(text).into_owned())
            }
        }
    }

    fn tree(&mut self, depth: usize) -> Tree {
        let byte = self.byte();
        let (kind, count) = (byte % 16, usize::from(byte / 16));
        match kind {
            11 | 12 if depth < DEPTH => {
                let mut list = Vec::new();
                while list.len() < count && !self.0.is_empty() {
                    list.push(self.tree(depth + 1));
                }
                Tree::List(list)
            }
            13.. if depth < DEPTH => {
                let count = if kind == 15 { 16 * count } else { count };
                let mut members = Vec::new();
                while members.len() < count && !self.0.is_empty() {
                    // serde_json takes these as keys, in the same form.
                    let key = [6, 6, 6, 0, 1, 2, 3][usize::from(self.byte() % 7)];
                    members.push((self.scalar(key), self.tree(depth + 1)));
                }
                Tree::Object(members)
            }
            kind => self.scalar(kind),
        }
    }
}

/// Every character as an escape, in quarters of the text.
const ENOUGH: usize = 24;

fuzz_target!(|data: &[u8]| {
    let tree = Bytes(data).tree(0);
    let text = serde_json::to_string(&tree).unwrap();
    let mut out = vec![0; 6 * text.len()];
    let len = canonicalize(text.as_bytes(), &mut out, DEPTH + 1).unwrap();
    let canonical = &out[..len];

    // Members that are repeated take room until their object closes.
    for quarters in [0, 1, 2, 3, 4, 8, 16, ENOUGH] {
        let mut out = vec![0; canonical.len() + quarters * text.len() / 4];
        match to_slice(&tree, &mut out) {
            Ok(len) => assert_eq!(&out[..len], canonical),
            Err(error) => match error.kind {
                ErrorKind::BufferTooSmall { needed } => {
                    assert!(needed > out.len() && quarters < ENOUGH);
                }
                kind => panic!("{kind:?}"),
            },
        }
    }
});
