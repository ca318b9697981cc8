//! Values to the bus's JSON and back.
//!
//! | you have | take |
//! | --- | --- |
//! | a value for the bus | [`dumps`]: the bytes that every fedmsg writes and signs |
//! | JSON text from the bus | [`loads`] |
//! | a value to show to people | [`pretty_dumps`] |
//! | a time | [`epoch`]: seconds since 1970, of `chrono`, `time`, `jiff` and the standard library |
//! | a set | [`sorted`]: a list in an order that is always the same |
//! | a type with a form of its own for the bus | [`ToJson`] |
//! | database entities of SeaORM | `sea_orm`, with feature `sea-orm` |
//! | a text of which nothing may be lost | [`Tree`] |
//!
//! Publishing takes any `Serialize` value and needs none of this: what it writes is what [`dumps`]
//! writes. `docs/encoding.md` shows each of them.
//!
//! Source: the peer's `fedmsg.encoding` (Python fedmsg 1.1.7) and Python's `json`.

use std::{cell::Cell, collections::BTreeSet, io};

use fedmsg_core::json::{self, ErrorKind};
use serde::{Serialize, Serializer};
use serde_json::Value;

pub mod epoch;
mod load;
#[cfg(feature = "cli")]
pub mod python;
#[cfg(feature = "sea-orm")]
pub mod sea_orm;
mod to_json;
mod tree;

pub use load::{LoadError, MAX_DEPTH, Unheld, loads};
pub use to_json::{Json, ToJson, to_json};
pub use tree::Tree;

/// A value as JSON in canonical form: what the peer's `fedmsg.encoding.dumps` gives, byte for byte.
/// [`json::Serializer`] says how types are written.
///
/// ```
/// use fedmsg::encoding::dumps;
/// use serde_json::json;
///
/// let text = dumps(&json!({"b": 1e16, "a": "caf\u{e9}"}))?;
/// assert_eq!(text, r#"{"a":"caf\u00e9","b":1e+16}"#);
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
///
/// # Errors
/// A number that is not finite, a map key that has no text, a value that refuses to be serialized.
/// [`json::Error::offset`] counts bytes of what had been written.
pub fn dumps<T: Serialize + ?Sized>(value: &T) -> Result<String, json::Error> {
    let mut text = Vec::new();
    dumps_into(value, &mut text)?;
    String::from_utf8(text).map_err(|_| not_text())
}

/// The same, appended to `out`; nothing is appended where it fails.
///
/// A program that writes many messages keeps one buffer, and is spared an allocation for each.
///
/// # Errors
/// As [`dumps`].
pub fn dumps_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), json::Error> {
    // Taken out for as long as it is used: a value may call this while it is written.
    let mut room = ROOM.take();
    if room.is_empty() {
        room = vec![0; FIRST_ROOM];
    }
    let written = loop {
        match json::to_slice(value, &mut room) {
            Err(json::Error {
                kind: ErrorKind::BufferTooSmall { needed },
                ..
            }) if room.len() < MAX_ROOM => {
                room = vec![0; room.len().saturating_mul(2).max(needed).min(MAX_ROOM)];
            }
            written => break written,
        }
    };
    let written = written.map(|len| out.extend_from_slice(room.get(..len).unwrap_or_default()));
    if room.len() <= MAX_KEPT {
        ROOM.set(room);
    }
    written
}

/// A value as JSON for people: what the peer's `fedmsg.encoding.pretty_dumps` gives. Two spaces a
/// level, members in their own order (a `serde_json::Value`'s are sorted), everything else as
/// [`dumps`] has it.
///
/// ```
/// #[derive(serde::Serialize)]
/// struct Build { name: &'static str, architectures: [&'static str; 1] }
///
/// let build = Build { name: "nano", architectures: ["aarch64"] };
/// let text = fedmsg::encoding::pretty_dumps(&build)?;
/// assert_eq!(text, r#"{
///   "name": "nano",
///   "architectures": [
///     "aarch64"
///   ]
/// }"#);
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
///
/// A text is shown so by [`Tree::pretty`].
///
/// # Errors
/// As [`dumps`], and for what is nested deeper than [`HOST_DEPTH`](json::HOST_DEPTH); a map key
/// that is none is refused here.
pub fn pretty_dumps<T: Serialize + ?Sized>(value: &T) -> Result<String, json::Error> {
    // `serde_json` writes null for a number that is not finite.
    dumps(value)?;
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Numbers);
    value.serialize(&mut serializer).map_err(|_| json::Error {
        kind: ErrorKind::KeyNotString,
        offset: 0,
    })?;
    Ok(Tree::read(&text)?.pretty().to_string())
}

/// Writes a set, or whatever is iterated over, as a list in ascending order, each item once.
///
/// `serde` writes sets as lists already; but a `HashSet`'s order is another in every process, and so
/// are the bytes of the message. For `#[serde(serialize_with = "fedmsg::encoding::sorted")]`.
///
/// # Errors
/// The serializer's.
pub fn sorted<'a, C: ?Sized, S: Serializer>(set: &'a C, serializer: S) -> Result<S::Ok, S::Error>
where
    &'a C: IntoIterator<Item: Ord + Serialize>,
{
    serializer.collect_seq(set.into_iter().collect::<BTreeSet<_>>())
}

/// Looks members up by their dotted paths, as the peer's `fedmsg.utils.dict_query`: of the query
/// `a.b, c` the names `a.b` and `c`, each once, and the value of each; null where there is none.
///
/// ```
/// let value = serde_json::json!({"a": {"b": [1]}});
/// let found = fedmsg::encoding::dict_query(&value, "a.b, a.c");
/// assert_eq!(found, [("a.b", &serde_json::json!([1])), ("a.c", &serde_json::Value::Null)]);
/// ```
pub fn dict_query<'v, 'q>(value: &'v Value, query: &'q str) -> Vec<(&'q str, &'v Value)> {
    let find = |path: &str| {
        path.split('.')
            .try_fold(value, |value, key| value.as_object()?.get(key))
    };
    names(query)
        .into_iter()
        .map(|name| (name, find(name).unwrap_or(&Value::Null)))
        .collect()
}

/// The names in a query, each once.
fn names(query: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in query.split(',').map(str::trim) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Has `serde_json` write numbers as they are in canonical form, those that are keys too.
struct Numbers;

impl serde_json::ser::Formatter for Numbers {
    fn write_f32<W: ?Sized + io::Write>(&mut self, out: &mut W, value: f32) -> io::Result<()> {
        self.write_f64(out, value.into())
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        let mut room = [0; 32];
        let len = json::to_slice(&value, &mut room).map_err(io::Error::other)?;
        out.write_all(room.get(..len).unwrap_or_default())
    }
}

/// Canonical form is ASCII: this cannot happen.
fn not_text() -> json::Error {
    json::Error {
        kind: ErrorKind::InvalidUtf8,
        offset: 0,
    }
}

/// Room to begin with, in bytes; it grows with the values.
const FIRST_ROOM: usize = 16 << 10;
/// The most, in bytes: beyond it the core does not write.
const MAX_ROOM: usize = u32::MAX as usize;
/// More than this is not kept for the thread's next value.
const MAX_KEPT: usize = 1 << 20;

thread_local! {
    /// Where this thread's values are written.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::{BTreeMap, HashSet};

    #[test]
    fn what_is_larger_than_the_room_is_written_and_appended() {
        let value = vec!["x".repeat(1000); 3000];
        let mut out = b"before ".to_vec();
        dumps_into(&value, &mut out).unwrap();
        assert_eq!(out.len(), 7 + 1 + 3000 * 1003);
        assert!(out.starts_with(b"before [\"xxx"));
    }

    #[test]
    fn what_fails_appends_nothing_and_says_why() {
        let mut out = b"before".to_vec();
        let error = dumps_into(&[1.5, f64::NAN], &mut out).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFinite);
        assert_eq!(out, b"before");
        for fails in [dumps, pretty_dumps] {
            let error = fails(&[f64::INFINITY]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotFinite);
        }
        let error = pretty_dumps(&BTreeMap::from([((), 1)])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::KeyNotString);
    }

    #[test]
    fn a_value_may_use_it_while_it_is_written() {
        struct Nested;
        impl Serialize for Nested {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&dumps(&[1, 2]).unwrap())
            }
        }
        assert_eq!(dumps(&[Nested]).unwrap(), r#"["[1,2]"]"#);
    }

    #[test]
    fn pretty_floats_are_pythons_in_keys_too() {
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        struct Degrees(i32);
        impl Serialize for Degrees {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_f64(f64::from(self.0) * 1e16)
            }
        }
        let text = pretty_dumps(&BTreeMap::from([(Degrees(1), 0.1_f32)])).unwrap();
        assert_eq!(text, "{\n  \"1e+16\": 0.10000000149011612\n}");
    }

    #[test]
    fn a_set_is_written_in_order() {
        #[derive(Serialize)]
        struct Tags {
            #[serde(serialize_with = "sorted")]
            tags: HashSet<&'static str>,
        }
        let tags = HashSet::from(["c", "a", "d", "b"]);
        assert_eq!(
            dumps(&Tags { tags }).unwrap(),
            r#"{"tags":["a","b","c","d"]}"#
        );
    }

    #[test]
    fn a_query_finds_paths_and_null_for_what_is_not_there() {
        let value = json!({"a": {"b": {"c": 1}, "n": null}, "l": [{"c": 2}], "a.b": 3});
        let null = Value::Null;
        for (query, expected) in [
            ("a.b.c", vec![("a.b.c", &value["a"]["b"]["c"])]),
            ("a.b", vec![("a.b", &value["a"]["b"])]),
            (" l , a.n,l", vec![("l", &value["l"]), ("a.n", &null)]),
            ("l.c", vec![("l.c", &null)]),
            ("a.b.c.d", vec![("a.b.c.d", &null)]),
            ("nothing", vec![("nothing", &null)]),
            ("", vec![("", &null)]),
        ] {
            assert_eq!(dict_query(&value, query), expected, "{query}");
        }
        assert_eq!(dict_query(&json!([1]), "a"), [("a", &null)]);
    }
}
