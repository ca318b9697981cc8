//! The canonicalizer against what Python's `json` gave for the same texts.

#![cfg(feature = "json")]
#![expect(clippy::unwrap_used, reason = "a test's helper may")]

use fedmsg_core::json::{HOST_DEPTH, canonicalize};
use serde_json::Value;

const VECTORS: &str = include_str!("data/canonical.jsonl");

#[test]
fn every_text_becomes_what_python_makes_of_it_or_is_refused_as_there() {
    let mut count = 0;
    for line in VECTORS.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let text = match (vector["in"].as_str(), vector["in_b64"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(base64)) => decode_base64(base64),
            _ => panic!("a vector without input: {line}"),
        };
        // Python's limit is its stack; the vectors stay between 950 levels and 1100.
        let note = vector["note"].as_str().unwrap();
        let limit = if note.contains("depth") {
            1000
        } else {
            HOST_DEPTH
        };
        let mut out = vec![0; 6 * text.len()];
        let result = canonicalize(&text, &mut out, limit);
        let got = result.map(|len| std::str::from_utf8(&out[..len]).unwrap());
        assert_eq!(
            got.ok(),
            vector["out"].as_str(),
            "{result:?} for {line:.300}"
        );
        count += 1;
    }
    assert_eq!(count, VECTOR_COUNT);
}

fn decode_base64(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0_u32;
    let mut count = 0;
    let mut bytes = Vec::new();
    for letter in text.trim_end_matches('=').chars() {
        bits = bits << 6 | alphabet.find(letter).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

const VECTOR_COUNT: usize = 1922;
