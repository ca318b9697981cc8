//! The serializer and the canonicalizer against each other and against a plain reference, at
//! every size of the buffer, and on input that means harm.

#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;

use fedmsg_core::json::{
    DEFAULT_DEPTH, Error, ErrorKind, HOST_DEPTH, MAX_INTEGER_DIGITS, Members, canonicalize,
    compare_keys, to_slice, unescape,
};
use proptest::prelude::*;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Any JSON value, members in the order in which they come, repeated ones included.
#[derive(Debug, Clone)]
enum Tree {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Null => serializer.serialize_unit(),
            Tree::Bool(value) => serializer.serialize_bool(*value),
            Tree::Integer(value) => serializer.serialize_i128(*value),
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

impl Tree {
    /// The canonical text, the plain way.
    fn reference(&self) -> String {
        match self {
            Tree::Null => "null".into(),
            Tree::Bool(value) => value.to_string(),
            Tree::Integer(value) => value.to_string(),
            Tree::Float(value) => python_repr(*value),
            Tree::Text(text) => escaped(text, |_| false),
            Tree::List(list) => {
                let items: Vec<String> = list.iter().map(Tree::reference).collect();
                format!("[{}]", items.join(","))
            }
            Tree::Object(members) => {
                // The order of UTF-8 is that of code points.
                let map: BTreeMap<&String, &Tree> = members.iter().map(|(k, v)| (k, v)).collect();
                let text = |(key, value): (&&String, &&Tree)| {
                    format!("{}:{}", escaped(key, |_| false), value.reference())
                };
                format!("{{{}}}", map.iter().map(text).collect::<Vec<_>>().join(","))
            }
        }
    }

    /// A text for it that is not canonical.
    fn messy(&self, dice: &mut impl FnMut(usize) -> usize) -> String {
        let mut space = || [" ", "", "\n", "\t\r\n", ""][dice(5)].to_owned();
        let (before, behind) = (space(), space());
        let value = match self {
            Tree::Text(text) => escaped(text, |_| dice(3) == 0),
            Tree::List(list) => {
                let items: Vec<String> = list.iter().map(|item| item.messy(dice)).collect();
                format!("[{}]", items.join(","))
            }
            Tree::Object(members) => {
                let members = members.iter().map(|(key, value)| {
                    let key = Tree::Text(key.clone()).messy(dice);
                    format!("{key}:{}", value.messy(dice))
                });
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            Tree::Float(value) => match dice(4) {
                0 => format!("{value:e}"),
                1 => format!("{value:E}"),
                2 => format!("{value:.30e}"),
                _ => format!("{value:?}"),
            },
            other => other.reference(),
        };
        before + &value + &behind
    }
}

/// A quoted string. Printable ASCII stands for itself where `needlessly` does not say otherwise.
fn escaped(text: &str, mut needlessly: impl FnMut(char) -> bool) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            '\x08' => out += "\\b",
            '\x0c' => out += "\\f",
            ' '..='~' if !needlessly(character) => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out += &format!("\\u{unit:04x}");
                }
            }
        }
    }
    out + "\""
}

/// Python's `repr`, from the standard library's shortest digits.
fn python_repr(value: f64) -> String {
    let shortest = format!("{:e}", value.abs());
    // Where two are equally near, Python takes the even one.
    let precision = shortest.find('e').unwrap().saturating_sub(2);
    let even = format!("{:.precision$e}", value.abs());
    let reads_back = even.parse::<f64>().unwrap() == value.abs();
    let text = if reads_back { even } else { shortest };
    let (digits, exponent) = text.split_once('e').unwrap();
    let exponent: i32 = exponent.parse().unwrap();
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if (-4..16).contains(&exponent) {
        let digits = digits.replace('.', "");
        let decimals = (digits.len() as i32 - 1 - exponent).max(1) as usize;
        return format!("{sign}{:.decimals$}", value.abs());
    }
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{digits}e{exponent_sign}{:02}", exponent.abs())
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{0,3}",
        "[a-z_]{1,12}",
        "[ -~]{0,9}",
        "\\PC{0,3}",
        "[\"\\\\!#\\[\\]a]{0,3}",
        "[a\u{e9}\u{7f}\u{ff61}\u{ffff}\u{10000}\u{1f600}\n]{0,3}",
        "prefix_long_enough[\u{d7ff}\u{e000}\u{10002}a]{0,2}",
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        any::<i128>().prop_map(Tree::Integer),
        (-100..100_i128).prop_map(Tree::Integer),
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(Tree::Float),
        (-1e6..1e6).prop_map(Tree::Float),
        (-400..400_i32).prop_map(|value| Tree::Float(f64::from(value) / 4.0)),
        any::<String>().prop_map(Tree::Text),
        "[ -~]{0,40}".prop_map(Tree::Text),
        "[\u{0}-\u{ff}]{0,20}".prop_map(Tree::Text),
    ];
    leaf.prop_recursive(4, 48, 10, |tree| {
        prop_oneof![
            prop::collection::vec(tree.clone(), 0..10).prop_map(Tree::List),
            prop::collection::vec((key(), tree), 0..12).prop_map(Tree::Object),
        ]
    })
}

/// Writes something to a buffer.
type Attempt<'a> = &'a dyn Fn(&mut [u8]) -> Result<usize, Error>;

fn canonical(text: &str) -> Result<String, Error> {
    let mut out = vec![0; 6 * text.len()];
    let len = canonicalize(text.as_bytes(), &mut out, HOST_DEPTH)?;
    Ok(String::from_utf8(out[..len].to_vec()).unwrap())
}

fn serialized<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    let mut out = vec![0; 1 << 16];
    let len = to_slice(value, &mut out)?;
    Ok(String::from_utf8(out[..len].to_vec()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn serializer_and_canonicalizer_agree_with_the_reference(
        tree in tree(),
        dice in prop::collection::vec(0..60_usize, 1..50),
    ) {
        let reference = tree.reference();
        prop_assert_eq!(serialized(&tree).unwrap(), reference.clone());
        let mut dice = dice.iter().cycle();
        let messy = tree.messy(&mut |sides| dice.next().unwrap() % sides);
        prop_assert_eq!(canonical(&messy).unwrap(), reference.clone(), "{}", messy);
        prop_assert_eq!(canonical(&reference).unwrap(), reference);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        text in prop::collection::vec(prop_oneof![
            prop::sample::select(&b"{}[]\",:\\u0dDeE+-. 19tfnNI\x80\xe2\xf0"[..]),
            any::<u8>(),
        ], 0..60),
    ) {
        let mut out = vec![0; 6 * text.len()];
        match canonicalize(&text, &mut out, 8) {
            Ok(len) => {
                let once = out[..len].to_vec();
                let again = canonicalize(&once, &mut out, 8).unwrap();
                prop_assert_eq!(&out[..again], &once[..]);
            }
            Err(error) => {
                prop_assert!(error.offset <= text.len());
                let too_small = matches!(error.kind, ErrorKind::BufferTooSmall { .. });
                prop_assert!(!too_small, "six times the text was too little: {:?}", text);
            }
        }
        let mut characters = vec![0; text.len()];
        let _ = unescape(&text, &mut characters);
        for member in Members::new(&text).into_iter().flatten() {
            prop_assert_eq!(&text[member.span].last(), &member.value.last());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_size_of_buffer_gives_the_same_text_or_says_that_more_is_needed(tree in tree()) {
        let reference = tree.reference();
        let text = serde_json::to_string(&tree).unwrap();
        let attempts: [Attempt<'_>; 2] = [
            &|out| canonicalize(text.as_bytes(), out, HOST_DEPTH),
            &|out| to_slice(&tree, out),
        ];
        for attempt in attempts {
            let mut least = None;
            for size in 0..3 * reference.len() + 600 {
                let mut out = vec![0xff; size];
                match attempt(&mut out) {
                    Ok(len) => {
                        prop_assert_eq!(&out[..len], reference.as_bytes(), "{} bytes", size);
                        least = least.or(Some(size));
                    }
                    Err(Error { kind: ErrorKind::BufferTooSmall { needed }, .. }) => {
                        prop_assert!(needed > size, "{} > {}", needed, size);
                        prop_assert!(least.is_none(), "{} is enough, {} is not", least.unwrap(), size);
                    }
                    Err(error) => return Err(TestCaseError::fail(error.to_string())),
                }
                if least.is_some_and(|least| size > 3 * least + 64) {
                    break;
                }
            }
            prop_assert!(least.is_some());
        }
    }

    #[test]
    fn members_and_characters_come_out_as_they_went_in(members in prop::collection::vec((key(), tree()), 0..8)) {
        let tree = Tree::Object(members.clone());
        let text = tree.reference();
        let map: BTreeMap<String, Tree> = members.into_iter().collect();
        let mut seen = Members::new(text.as_bytes()).unwrap();
        let mut keys = Vec::new();
        for ((key, value), member) in map.iter().zip(&mut seen) {
            let text_of_value = value.reference();
            prop_assert_eq!(member.value, text_of_value.as_bytes());
            let quoted = escaped(key, |_| false);
            prop_assert_eq!(&quoted[1..quoted.len() - 1], member.key);
            let span = format!("{quoted}:{}", value.reference());
            prop_assert_eq!(&text[member.span], span);
            let mut out = vec![0; quoted.len()];
            prop_assert_eq!(unescape(quoted.as_bytes(), &mut out).unwrap(), key);
            keys.push(member.key);
        }
        prop_assert_eq!(seen.next(), None);
        prop_assert_eq!(keys.len(), map.len());
        prop_assert!(keys.is_sorted_by(|a, b| compare_keys(a, b).is_lt()));
    }
}

#[test]
fn what_is_wrong_is_named_with_its_offset() {
    use ErrorKind::*;
    let long = format!("[-{}]", "1".repeat(MAX_INTEGER_DIGITS + 1));
    let cases: &[(&[u8], ErrorKind, usize)] = &[
        (b"", UnexpectedEnd, 0),
        (b"  ", UnexpectedEnd, 2),
        (b"\xef\xbb\xbf1", ByteOrderMark, 0),
        (b"[1,]", UnexpectedByte, 3),
        (b"[1 2]", UnexpectedByte, 3),
        (b"[1}", UnexpectedByte, 2),
        (b"[1", UnexpectedEnd, 2),
        (b"{\"a\":1", UnexpectedEnd, 6),
        (b"{\"a\":1]", UnexpectedByte, 6),
        (b"{\"a\":1,}", UnexpectedByte, 7),
        (b"{\"a\" 1}", UnexpectedByte, 5),
        (b"{1:1}", UnexpectedByte, 1),
        (b"1 1", TrailingData, 2),
        (b"01", TrailingData, 1),
        (b"1.", TrailingData, 1),
        (b"1e+", TrailingData, 1),
        (b"-", UnexpectedEnd, 1),
        (b"-x", UnexpectedByte, 1),
        (b".5", UnexpectedByte, 0),
        (b"[nul", UnexpectedEnd, 1),
        (b"[nil]", UnexpectedByte, 1),
        (b"\"a\\x\"", BadEscape, 2),
        (b"\"a\\u12G4\"", BadEscape, 2),
        (b"\"a\\", UnexpectedEnd, 2),
        (b"\"abcdefgh", UnexpectedEnd, 9),
        (b"\"abcdefghij\x1f\"", ControlCharacter, 11),
        (b"\"ab\xff\"", InvalidUtf8, 3),
        (b"\"\xed\xa0\x80\"", InvalidUtf8, 1),
        (b"\"\xc3", InvalidUtf8, 1),
        (b"[[[", UnexpectedEnd, 3),
        (b"[[[[", Depth { limit: 3 }, 3),
        (b"{\"a\":[{\"b\":{}}]}", Depth { limit: 3 }, 11),
        (long.as_bytes(), IntegerTooLong, 1),
    ];
    for &(text, kind, offset) in cases {
        let mut out = vec![0; 6 * text.len()];
        let result = canonicalize(text, &mut out, 3);
        let text = text.escape_ascii();
        assert_eq!(result, Err(Error { kind, offset }), "{text:.100}");
    }
    let full = |needed, offset| Error {
        kind: BufferTooSmall { needed },
        offset,
    };
    assert_eq!(
        canonicalize(b"[1, true]", &mut [0; 10], 3),
        Err(full(11, 4))
    );
    assert_eq!(to_slice(&(1, true), &mut [0; 6]), Err(full(7, 3)));
}

#[test]
fn a_string_that_is_none_or_holds_half_a_character_is_not_unescaped() {
    use ErrorKind::*;
    let cases: &[(&[u8], ErrorKind, usize)] = &[
        (b"", UnexpectedEnd, 0),
        (b"1", UnexpectedByte, 0),
        (b"\"a", UnexpectedEnd, 2),
        (b"\"a\"b", TrailingData, 3),
        (b"\"\\ud83d\"", LoneSurrogate, 1),
        (b"\"a\\ud83dx\"", LoneSurrogate, 2),
        (b"\"\\ud83d\\ud83d\\ude00\"", LoneSurrogate, 1),
        (b"\"\\ude00\\ud83d\"", LoneSurrogate, 1),
        (b"\"\\u12\"", BadEscape, 1),
        (b"\"\x01\"", ControlCharacter, 1),
        (b"\"\xff\"", InvalidUtf8, 1),
        (b"\"abcde\"", BufferTooSmall { needed: 5 }, 1),
        (b"\"abc\\u00e9\"", BufferTooSmall { needed: 5 }, 4),
    ];
    for &(text, kind, offset) in cases {
        let result = unescape(text, &mut [0; 4]).map(str::to_owned);
        assert_eq!(
            result,
            Err(Error { kind, offset }),
            "{}",
            text.escape_ascii()
        );
    }
    assert_eq!(
        unescape(b"\"\\ud83d\\uDE00\"", &mut [0; 4]),
        Ok("\u{1f600}")
    );
    assert_eq!(unescape(b"\"\x7f\\/\"", &mut [0; 4]), Ok("\x7f/"));
}

#[test]
fn every_kind_of_type_has_its_form() {
    #[derive(serde::Serialize)]
    enum Choice {
        Unit,
        New(u8),
        Tuple(u8, &'static str),
        Struct { b: u8, a: u8 },
    }
    #[derive(serde::Serialize)]
    struct Unit;
    #[derive(serde::Serialize)]
    struct New(f32);
    #[derive(serde::Serialize)]
    struct Pair(u8, Option<u8>);
    #[derive(serde::Serialize)]
    struct Everything<'a> {
        small: (i8, i16, u16, u32),
        large: (u64, i128, u128),
        choices: [Choice; 4],
        unit: Unit,
        new: New,
        pair: Pair,
        character: char,
        nothing: (),
        #[serde(serialize_with = "as_bytes")]
        bytes: &'a [u8],
        displayed: Address<'a>,
        #[serde(rename = "\u{e9}")]
        accent: bool,
    }
    fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }
    struct Address<'a>(&'a str);
    impl Serialize for Address<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(&format_args!("{}\n{:?}", 1.5, self.0))
        }
    }
    let value = Everything {
        small: (i8::MIN, i16::MIN, u16::MAX, u32::MAX),
        large: (u64::MAX, i128::MIN, u128::MAX),
        choices: [
            Choice::Unit,
            Choice::New(1),
            Choice::Tuple(2, "x"),
            Choice::Struct { b: 3, a: 4 },
        ],
        unit: Unit,
        new: New(0.1),
        pair: Pair(7, None),
        character: '\u{1f600}',
        nothing: (),
        bytes: b"\0\xff",
        displayed: Address("q"),
        accent: true,
    };
    assert_eq!(
        serialized(&value).unwrap(),
        concat!(
            r#"{"bytes":[0,255],"character":"\ud83d\ude00","#,
            r#""choices":["Unit",{"New":1},{"Tuple":[2,"x"]},{"Struct":{"a":4,"b":3}}],"#,
            r#""displayed":"1.5\n\"q\"","#,
            r#""large":[18446744073709551615,-170141183460469231731687303715884105728,"#,
            r#"340282366920938463463374607431768211455],"new":0.10000000149011612,"#,
            r#""nothing":null,"pair":[7,null],"small":[-128,-32768,65535,4294967295],"unit":null,"#,
            r#""\u00e9":true}"#,
        )
    );
}

#[test]
fn keys_that_are_no_strings_follow_pythons_rule() {
    struct Map<K>(Vec<(K, u8)>);
    impl<K: Serialize> Serialize for Map<K> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
        }
    }
    let text = |map: Attempt<'_>| {
        let mut out = [0; 64];
        map(&mut out).map(|len| String::from_utf8(out[..len].to_vec()).unwrap())
    };
    let refused = |offset| {
        Err(Error {
            kind: ErrorKind::KeyNotString,
            offset,
        })
    };
    macro_rules! check {
        ($($keys:expr => $expected:expr,)*) => {$(
            let map = Map($keys.into_iter().map(|key| (key, 0)).collect());
            let expected: Result<&str, Error> = $expected;
            assert_eq!(text(&|out| to_slice(&map, out)).as_deref(), expected.as_deref());
        )*};
    }
    check! {
        [9, -1, 10] => Ok(r#"{"-1":0,"10":0,"9":0}"#),
        [u128::MAX] => Ok(r#"{"340282366920938463463374607431768211455":0}"#),
        [1.5, 1e16, -0.0] => Ok(r#"{"-0.0":0,"1.5":0,"1e+16":0}"#),
        [true, false] => Ok(r#"{"false":0,"true":0}"#),
        [Some("x"), None] => Ok(r#"{"null":0,"x":0}"#),
        ['\u{e9}', '"'] => Ok(r#"{"\"":0,"\u00e9":0}"#),
        [()] => Ok(r#"{"null":0}"#),
        [f64::NAN] => Err(Error { kind: ErrorKind::NotFinite, offset: 2 }),
        [[1]] => refused(1),
        [(1, 2)] => refused(1),
        [BTreeMap::from([(1, 1)])] => refused(1),
    }
    assert_eq!(
        refused(0),
        to_slice(&Map(vec![([1], 0)]), &mut [0; 64])
            .map_err(|error| Error { offset: 0, ..error })
            .map(|_| "")
    );
}

#[test]
fn a_value_that_is_not_finite_or_refuses_is_an_error_and_a_writer_goes_back() {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let mut out = [0; 64];
    let mut writer = fedmsg_core::json::Writer::new(&mut out);
    writer.raw(b"[").unwrap();
    let error = |kind, offset| Err(Error { kind, offset });
    assert_eq!(
        writer.value(&[1.0, f64::INFINITY]),
        error(ErrorKind::NotFinite, 6)
    );
    assert_eq!(writer.value(&f32::NAN), error(ErrorKind::NotFinite, 1));
    assert_eq!(
        writer.float(f64::NEG_INFINITY),
        error(ErrorKind::NotFinite, 1)
    );
    let members = BTreeMap::from([("a", Refuses)]);
    assert_eq!(writer.value(&members), error(ErrorKind::Custom, 6));
    let too_long = "x".repeat(62);
    let full = ErrorKind::BufferTooSmall { needed: 65 };
    assert_eq!(writer.string(&too_long), error(full, 64));
    assert_eq!((writer.position(), writer.remaining()), (1, 63));
    writer.signed(i64::MIN).unwrap();
    writer.raw(b",").unwrap();
    writer.unsigned(u64::MAX).unwrap();
    assert_eq!(
        writer.written(),
        b"[-9223372036854775808,18446744073709551615"
    );
}

/// As many members as make anything quadratic hopeless: 100,000 squared is ten thousand million.
const MANY: usize = 100_000;

#[test]
fn very_many_members_in_the_worst_order_are_sorted_in_bounded_time() {
    let orders: [fn(usize) -> usize; 4] = [
        |number| MANY - 1 - number,
        |number| number * 7919 % MANY, // 7919 is prime
        |number| number / 2 + number % 2 * MANY / 2,
        |number| number % 2, // nearly all repeated
    ];
    for order in orders {
        let members: Vec<String> = (0..MANY)
            .map(|number| format!("\"{:05}\":{}", order(number), number % 10))
            .collect();
        let text = format!("{{{}}}", members.join(","));
        let mut kept = BTreeMap::new();
        for (number, member) in members.iter().enumerate() {
            kept.insert(order(number), member.as_str());
        }
        let kept: Vec<&str> = kept.into_values().collect();
        let expected = format!("{{{}}}", kept.join(","));

        // What the index and the text take, and not a byte more; and room to copy.
        let tight = text.len() + 4 * (MANY + 1);
        for size in [tight, 3 * tight] {
            let mut out = vec![0; size];
            let len = canonicalize(text.as_bytes(), &mut out, DEFAULT_DEPTH).unwrap();
            assert!(out[..len] == *expected.as_bytes(), "{size}");
        }
        let short = canonicalize(text.as_bytes(), &mut vec![0; tight - 1], DEFAULT_DEPTH);
        let kind = short.unwrap_err().kind;
        assert_eq!(kind, ErrorKind::BufferTooSmall { needed: tight });
    }
}

#[test]
fn very_long_numbers_keys_and_nesting_are_read_in_bounded_time() {
    const LONG: usize = 1 << 20;
    let keys = format!(
        "{{\"{0}b\":1,\"{0}a\":2,\"{0}\":3}}",
        "k\\u00e9".repeat(LONG / 8)
    );
    // Objects out of order inside each other, around a long string.
    let depth = HOST_DEPTH;
    let nested = format!(
        "{}\"{}\"{}",
        "{\"b\":".repeat(depth),
        "x".repeat(1 << 14),
        ",\"a\":0}".repeat(depth)
    );
    let cases = [
        (format!("0.{}1e{LONG}", "0".repeat(LONG)), Some("0.1")),
        (format!("1{}.0e-{LONG}", "0".repeat(LONG)), Some("1.0")),
        (format!("{}.0", "9".repeat(LONG)), Some("Infinity")),
        (format!("1e{}", "9".repeat(LONG)), Some("Infinity")),
        (format!("-1e-{}", "9".repeat(LONG)), Some("-0.0")),
        (
            format!("9007199254740993.{}1", "0".repeat(LONG)),
            Some("9007199254740994.0"),
        ),
        (
            format!("9007199254740993.{}", "0".repeat(LONG)),
            Some("9007199254740992.0"),
        ),
        ("[".repeat(LONG), None),
        (keys, None),
        (nested, None),
    ];
    for (text, expected) in cases {
        let mut out = vec![0; 2 * text.len() + 64];
        match (canonicalize(text.as_bytes(), &mut out, depth), expected) {
            (Ok(len), Some(expected)) => assert_eq!(&out[..len], expected.as_bytes()),
            (Ok(len), None) => assert!(len >= text.len() - 1),
            (Err(error), _) => assert_eq!(error.kind, ErrorKind::Depth { limit: depth }),
        }
    }
}
