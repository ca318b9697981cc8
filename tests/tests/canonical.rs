//! Canonical JSON against the live Python: what its `json` reads and writes again is what ours
//! writes, byte for byte, and what it refuses ours refuses.

use std::cell::RefCell;

use fedmsg_core::json::{HOST_DEPTH, canonicalize, to_slice};
use fedmsg_tests::python::{Script, environment, real_messages};
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use serde_json::{Number, Value, json};

fn python() -> Script {
    let python = environment("pyzmq-27.3.0", &["pyzmq==27.3.0"]);
    Script::start(&python, include_str!("../py/canonical.py"), &[])
}

/// Python's canonical form of this text, if it takes it.
fn of_python(python: &RefCell<Script>, text: &str) -> Option<String> {
    let answer = python
        .borrow_mut()
        .ask(&json!([text.len()]), &[text.as_bytes()])
        .ok()?;
    Some(String::from_utf8(answer.blobs[0].clone()).unwrap())
}

/// Ours.
fn of_ours(text: &str) -> Option<String> {
    // As much as is always enough.
    let mut out = vec![0; 6 * text.len()];
    let len = canonicalize(text.as_bytes(), &mut out, HOST_DEPTH).ok()?;
    Some(String::from_utf8(out[..len].to_vec()).unwrap())
}

fn cases(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

#[test]
fn texts_come_out_as_from_python() {
    let python = RefCell::new(python());
    let same = |text: String, valid: bool| {
        let canonical = of_ours(&text);
        prop_assert_eq!(&canonical, &of_python(&python, &text));
        prop_assert!(canonical.is_some() || !valid);
        if let Some(canonical) = canonical {
            prop_assert_eq!(of_ours(&canonical), Some(canonical));
        }
        Ok(())
    };
    cases(2000).run(&text(), |text| same(text, true)).unwrap();
    let damage = (text(), any::<Index>(), 0..4_usize, "[ -~\u{e9}]?");
    let damaged = damage.prop_map(|(text, at, cut, insert)| {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len() + 1);
        let end = chars.len().min(at + cut);
        chars.splice(at..end, insert.chars());
        String::from_iter(chars)
    });
    cases(2000).run(&damaged, |text| same(text, false)).unwrap();
}

#[test]
fn values_are_written_as_python_writes_them() {
    let python = RefCell::new(python());
    cases(1000)
        .run(&value(), |value| {
            let text = value.to_string();
            let mut out = vec![0; 10 * text.len() + 64];
            let len = to_slice(&value, &mut out).unwrap();
            let written = Some(String::from_utf8(out[..len].to_vec()).unwrap());
            prop_assert_eq!(&written, &of_python(&python, &text));
            prop_assert_eq!(&written, &of_ours(&text));
            Ok(())
        })
        .unwrap();
}

#[test]
fn real_messages_come_out_as_from_python() {
    let mut count = 0;
    for message in real_messages() {
        let [text, canonical] = ["text", "canonical"].map(|key| message[key].as_str().unwrap());
        assert_eq!(of_ours(text).as_deref(), Some(canonical));
        let value: Value = serde_json::from_str(text).unwrap();
        let mut out = vec![0; 2 * text.len() + 4096];
        let len = to_slice(&value, &mut out).unwrap();
        assert_eq!(std::str::from_utf8(&out[..len]), Ok(canonical));
        count += 1;
    }
    assert_eq!(count, 738);
}

/// JSON texts, in any of the forms that the grammar allows.
fn text() -> impl Strategy<Value = String> {
    let space = || "[ \t\r\n]{0,2}";
    let string = || {
        prop_oneof![
            r#""([ !#-\[\]-~]{0,8}|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|\\u[dD][89a-fA-F][0-9a-f]{2}){0,4}""#,
            r#""[^"\\\x00-\x1f]{0,6}""#,
            "\"[ab]\"",
        ]
    };
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("NaN".to_owned()),
        "-?Infinity",
        string(),
        "-?(0|[1-9][0-9]{0,25})",
        r"-?(0|[1-9][0-9]{0,20})\.[0-9]{1,20}",
        r"-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?[eE][+-]?[0-9]{1,3}",
        any::<f64>()
            .prop_filter("JSON has no such", |x| x.is_finite())
            .prop_map(|x| format!("{x:?}")),
        any::<f64>()
            .prop_filter("JSON has no such", |x| x.is_finite())
            .prop_map(|x| format!("{x:e}")),
    ];
    leaf.prop_recursive(5, 60, 8, move |inner| {
        let inner = (space(), inner, space()).prop_map(|(a, text, b)| a + &text + &b);
        let member = (space(), string(), space(), inner.clone())
            .prop_map(|(a, key, b, value)| a + &key + &b + ":" + &value);
        prop_oneof![
            prop::collection::vec(inner, 0..8).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..8)
                .prop_map(|items| format!("{{{}}}", items.join(","))),
        ]
    })
}

/// Values as a program may hold them.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("JSON has no such", |x| Number::from_f64(x).map(Value::from)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
