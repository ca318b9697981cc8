//! Any bytes as JSON text: refused, or written in a form that stays as it is, means the same to
//! another parser, and does not depend on how much room there is.
#![no_main]

use fedmsg_core::json::{
    ErrorKind, EscapedStr, Members, canonicalize, from_slice, unescape_inside,
};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;

const DEPTH: usize = 100;

fuzz_target!(|text: &[u8]| {
    let _ = from_slice::<IgnoredAny>(text);
    let _ = from_slice::<Vec<(EscapedStr<'_>, f64, Option<u64>)>>(text);
    let mut out = vec![0; 6 * text.len()];
    let canonical = match canonicalize(text, &mut out, DEPTH) {
        Ok(len) => out[..len].to_vec(),
        Err(error) => {
            assert!(error.offset <= text.len());
            assert!(!matches!(error.kind, ErrorKind::BufferTooSmall { .. }));
            return;
        }
    };
    assert!(canonical.iter().all(|byte| (b' '..=b'~').contains(byte)));
    let again = canonicalize(&canonical, &mut out, DEPTH).unwrap();
    assert_eq!(out[..again], canonical);

    for quarter in 0..8 {
        let mut out = vec![0; canonical.len() + quarter * text.len() / 4];
        match canonicalize(text, &mut out, DEPTH) {
            Ok(len) => assert_eq!(out[..len], canonical),
            Err(error) => match error.kind {
                ErrorKind::BufferTooSmall { needed } => assert!(needed > out.len()),
                kind => panic!("{kind:?}"),
            },
        }
    }

    let ours = serde_json::from_slice::<Value>(&canonical);
    if let (Ok(ours), Ok(theirs)) = (&ours, serde_json::from_slice(text)) {
        assert!(same(ours, &theirs), "{ours} {theirs}");
    }
    if let (Ok(Value::Object(ours)), Some(members)) = (&ours, Members::new(&canonical)) {
        let mut count = 0;
        for member in members {
            let key = unescape_inside(member.key, &mut out).unwrap();
            let value = serde_json::from_slice(member.value).unwrap();
            assert!(same(&ours[key], &value));
            count += 1;
        }
        assert_eq!(count, ours.len());
    }
});

/// Equal, but for the form of numbers: `-0` and what fits no integer are floats to the other.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}
