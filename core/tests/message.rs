//! Messages are encoded, signed and judged.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "that is how a test's helper fails"
)]
#![cfg(feature = "json")]

use fedmsg_core::{
    crypto::{
        Coverage, Refusal, SignError, Signer, Verifier,
        base64::{self, Wrapping},
    },
    json,
    message::{Encoded, Envelope, Error, Invalid, MessageId, Text, sign_text, validate},
};
use serde::Serialize;

/// A signature of any length: the length of what is signed, and its bytes' sum.
struct Sum {
    len: usize,
    max: usize,
}

impl Sum {
    fn signature(&self, message: &[&[u8]]) -> Vec<u8> {
        let mut signature = vec![0x5a; self.len];
        let sum: u32 = message.concat().iter().map(|&byte| u32::from(byte)).sum();
        signature[..4].copy_from_slice(&sum.to_be_bytes());
        signature
    }
}

impl Signer for Sum {
    fn backend(&self) -> &str {
        "sum"
    }

    fn certificate_field(&self) -> &[u8] {
        b"Y2VydA==\\n"
    }

    fn max_signature_len(&self) -> usize {
        self.max
    }

    fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        out[..self.len].copy_from_slice(&self.signature(message));
        Ok(self.len)
    }
}

impl Verifier for Sum {
    fn backend(&self) -> &str {
        "sum"
    }

    fn verify<'n>(
        &self,
        message: &[&[u8]],
        signature: &[u8],
        certificate: &[u8],
        _: u64,
        name: &'n mut [u8],
    ) -> Result<&'n str, Refusal> {
        assert_eq!(certificate, b"cert");
        if signature != self.signature(message) {
            return Err(Refusal::Signature);
        }
        name[..3].copy_from_slice(b"sum");
        Ok(std::str::from_utf8(&name[..3]).unwrap())
    }
}

#[derive(Serialize)]
struct Reading<'a> {
    sensor: &'a str,
    celsius: f64,
}

const READING: Reading<'static> = Reading {
    sensor: "caf\u{e9}",
    celsius: 21.5,
};

fn envelope(topic: &str) -> Envelope<'_> {
    Envelope {
        topic,
        i: 7,
        timestamp: 1_795_430_000,
        msg_id: MessageId::new(1_795_430_000, [0x5a; 16]),
        username: Some("root"),
        seq_id: None,
    }
}

fn body(encoded: &Encoded<'_>) -> Vec<u8> {
    encoded.body().concat()
}

fn judge(topic: &str, body: &[u8], verifier: &Sum) -> Result<String, Invalid> {
    let mut scratch = [0; 4096];
    validate(
        Some(topic.as_bytes()),
        body,
        &[verifier],
        0,
        64,
        &mut scratch,
    )
    .map(|valid| valid.signer.to_owned())
}

#[test]
fn an_unsigned_message_is_canonical_whatever_the_order_of_its_parts() {
    let mut out = [0; 512];
    let mut envelope = envelope("org.example.dev.lab.reading");
    let encoded = envelope.encode(&READING, &mut out).unwrap();
    assert_eq!(encoded.topic(), "org.example.dev.lab.reading");
    let text = String::from_utf8(body(&encoded)).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"i":7,"msg":{"celsius":21.5,"sensor":"caf\u00e9"},"#,
            r#""msg_id":"2026-5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a","timestamp":1795430000,"#,
            r#""topic":"org.example.dev.lab.reading","username":"root"}"#
        )
    );
    envelope.seq_id = Some(9);
    envelope.username = None;
    let text = body(&envelope.encode(&READING, &mut out).unwrap());
    let mut canonical = [0; 512];
    let n = json::canonicalize(&text, &mut canonical, 64).unwrap();
    assert_eq!(&canonical[..n], text);
}

#[test]
fn a_signed_message_is_canonical_and_valid_for_every_length_of_its_signature() {
    for max in [4, 57, 58, 72, 256] {
        for len in [4, 56, 57, 58, 71, 72, 256] {
            if len > max {
                continue;
            }
            let sum = Sum { len, max };
            let mut out = [0; 1500];
            let envelope = envelope("org.example.dev.lab.reading");
            let encoded = envelope.encode_signed(&READING, &sum, &mut out).unwrap();
            let text = body(&encoded);
            assert_eq!(encoded.body_len(), text.len());
            let mut canonical = [0; 1500];
            let n = json::canonicalize(&text, &mut canonical, 64).unwrap();
            assert_eq!(&canonical[..n], text, "{max} {len}");
            assert_eq!(judge(encoded.topic(), &text, &sum), Ok("sum".into()));
            assert_eq!(encoded.copy_body(&mut canonical), Ok(&text[..]));
            let needed = text.len();
            assert_eq!(
                encoded.copy_body(&mut canonical[..needed - 1]),
                Err(Error::BufferTooSmall { needed })
            );
        }
    }
}

#[test]
fn a_buffer_that_is_too_small_is_an_error_at_every_size() {
    let sum = Sum { len: 72, max: 72 };
    let envelope = envelope("org.example.dev.lab.reading");
    let mut out = [0; 1500];
    let mut sizes = 0..1500;
    let enough = sizes.find(|&n| {
        envelope
            .encode_signed(&READING, &sum, &mut out[..n])
            .is_ok()
    });
    let text = body(&envelope.encode_signed(&READING, &sum, &mut out).unwrap());
    // The text less the certificate, and room for the signature.
    let field = sum.certificate_field().len() + br#"{"certificate":""#.len();
    assert_eq!(enough, Some(text.len() - field + 72));
}

#[test]
fn signing_a_text_replaces_its_credentials_and_keeps_the_rest() {
    let sum = Sum { len: 30, max: 72 };
    for (text, rest) in [
        (
            r#"{"topic":"t","a":1,"\u00e9":2}"#,
            r#"{"a":1,"topic":"t","\u00e9":2}"#,
        ),
        (
            r#"{"zz":[1],"topic":"t","certificate":1,"crypto":2,"signature":3}"#,
            r#"{"topic":"t","zz":[1]}"#,
        ),
        (
            r#"{"\n":0,"cz":1,"d":2,"topic":"t"}"#,
            r#"{"\n":0,"cz":1,"d":2,"topic":"t"}"#,
        ),
        (r#"{"topic":"t"}"#, r#"{"topic":"t"}"#),
        (r#"{"signature":3}"#, "{}"),
    ] {
        let (mut scratch, mut out) = ([0; 1024], [0; 1024]);
        let n = sign_text(text.as_bytes(), &sum, 64, &mut scratch, &mut out).unwrap();
        let signed = out[..n].to_vec();
        let n = json::canonicalize(&signed, &mut out, 64).unwrap();
        assert_eq!(out[..n], signed, "{text}");
        let valid = validate(None, &signed, &[&sum], 0, 64, &mut scratch);
        assert_eq!(valid.map(|valid| valid.signer), Ok("sum"), "{text}");
        let mut value: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&signed).unwrap();
        assert_eq!(value.remove("crypto").unwrap(), "sum");
        assert!(value.remove("certificate").is_some() && value.remove("signature").is_some());
        assert_eq!(value, serde_json::from_str(rest).unwrap());
    }
    let (mut scratch, mut out) = ([0; 1024], [0; 1024]);
    for (text, error) in [("[]", Error::NotAnObject), ("1", Error::NotAnObject)] {
        assert_eq!(
            sign_text(text.as_bytes(), &sum, 64, &mut scratch, &mut out),
            Err(error)
        );
    }
    assert!(matches!(
        sign_text(b"{", &sum, 64, &mut scratch, &mut out),
        Err(Error::Json(json::Error { offset: 1, .. }))
    ));
    // No buffer makes it panic.
    for n in 0..200 {
        let _ = sign_text(br#"{"a":1}"#, &sum, 64, &mut scratch[..n], &mut out);
        let _ = sign_text(br#"{"a":1}"#, &sum, 64, &mut scratch, &mut out[..n]);
    }
}

#[test]
fn each_reason_for_refusal_has_its_name() {
    let sum = Sum { len: 30, max: 30 };
    let mut out = [0; 1024];
    let mut scratch = [0; 1024];
    let n = sign_text(br#"{"topic":"t","i":1}"#, &sum, 64, &mut scratch, &mut out).unwrap();
    let good = std::str::from_utf8(&out[..n]).unwrap();
    assert_eq!(judge("t", good.as_bytes(), &sum), Ok("sum".into()));

    for (from, to, reason) in [
        ("{", "[", "json"),
        (r#""i":1"#, r#""i":2"#, "Refused(Signature)"),
        (r#""i":1"#, r#""i":1,"j":1"#, "Refused(Signature)"),
        (r#""topic":"t""#, r#""topic":"u""#, "Refused(Signature)"),
        (r#""crypto":"sum""#, r#""crypto":"sun""#, "Refused(Backend)"),
        (r#""crypto":"sum""#, r#""crypto":1"#, "NotText(\"crypto\")"),
        (r#""crypto":"sum","#, "", "Refused(Backend)"),
        ("\"signature\"", "\"signatur\"", "Missing(\"signature\")"),
        (
            "\"certificate\"",
            "\"certificat\"",
            "Missing(\"certificate\")",
        ),
        ("Y2VydA==", "Y2VydA=", "Base64(\"certificate\")"),
        ("\"Y2VydA==\\n\"", "null", "NotText(\"certificate\")"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        let error = judge("t", bad.as_bytes(), &sum).unwrap_err();
        match error {
            Invalid::Json(_) => assert_eq!(reason, "json"),
            error => assert_eq!(format!("{error:?}"), reason, "{from} {to}"),
        }
    }
    assert_eq!(judge("u", good.as_bytes(), &sum), Err(Invalid::Topic));
    assert_eq!(
        judge("t", br#"{"topic":"t"}"#, &sum),
        Err(Invalid::Unsigned)
    );
    assert_eq!(judge("t", b"[]", &sum), Err(Invalid::NotAnObject));
    for n in 0..good.len() {
        assert!(validate(None, good.as_bytes(), &[&sum], 0, 64, &mut scratch[..n]).is_err());
    }
}

#[test]
fn text_as_msg_is_canonicalized() {
    let mut out = [0; 512];
    let msg = Text {
        json: br#" { "b" : 1.50, "a" : "\u00E9" } "#,
        depth_limit: 64,
    };
    let text = body(&envelope("t").encode(&msg, &mut out).unwrap());
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(r#""msg":{"a":"\u00e9","b":1.5},"#), "{text}");
}

#[test]
fn what_a_buffer_needs_is_more_than_it_has_until_it_is_enough() {
    let sum = Sum { len: 30, max: 72 };
    let text = br#"{"topic":"org.example","a":[1,2],"\u00e9":"x"}"#;
    let (mut scratch, mut out) = ([0; 2048], [0; 1024]);
    let len = sign_text(text, &sum, 64, &mut scratch, &mut out).unwrap();
    let signed = out[..len].to_vec();
    let mut enough = [false; 2];
    for size in 0..scratch.len() {
        let scratch = &mut scratch[..size];
        match sign_text(text, &sum, 64, scratch, &mut out) {
            Err(Error::BufferTooSmall { needed }) => assert!(needed > size && !enough[0]),
            result => enough[0] = result.is_ok(),
        }
        match validate(Some(b"org.example"), &signed, &[&sum], 0, 64, scratch) {
            Err(Invalid::BufferTooSmall { needed }) => assert!(needed > size && !enough[1]),
            result => enough[1] = result.is_ok(),
        }
    }
    assert_eq!(enough, [true; 2]);
}

#[test]
fn what_is_valid_is_the_canonical_form_and_not_what_a_repeated_member_hides() {
    let sum = Sum { len: 30, max: 72 };
    let (mut scratch, mut out) = ([0; 2048], [0; 1024]);
    let text = br#"{"msg":"genuine","topic":"t"}"#;
    let len = sign_text(text, &sum, 64, &mut scratch, &mut out).unwrap();
    let signed = std::str::from_utf8(&out[..len]).unwrap();
    let forged = signed.replacen('{', r#"{"msg":"forged","#, 1);
    let valid = validate(None, forged.as_bytes(), &[&sum], 0, 64, &mut scratch).unwrap();
    assert_eq!(valid.message, signed.as_bytes());
}

#[test]
fn a_number_in_a_text_that_is_not_finite_is_an_error() {
    let mut out = [0; 512];
    for (json, offset) in [
        ("NaN", Some(0)),
        (r#"{"a":1e999}"#, Some(5)),
        (r#"["\\",-Infinity]"#, Some(7)),
        (r#"["NaN","\"Infinity",1.5]"#, None),
    ] {
        let msg = Text {
            json: json.as_bytes(),
            depth_limit: 8,
        };
        let result = envelope("t").encode(&msg, &mut out);
        match (result, offset) {
            (Ok(_), None) => {}
            (Err(Error::Json(error)), Some(offset)) => {
                assert_eq!(
                    (error.kind, error.offset),
                    (json::ErrorKind::NotFinite, offset)
                );
            }
            (result, _) => panic!("{json}: {result:?}"),
        }
    }
}

/// Signs `msg` alone, as GnuPG's backend does.
struct MsgOnly(Sum);

impl Signer for MsgOnly {
    fn backend(&self) -> &str {
        "gpg"
    }

    fn certificate_field(&self) -> &[u8] {
        b"never written"
    }

    fn max_signature_len(&self) -> usize {
        self.0.max
    }

    fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        self.0.sign(message, out)
    }

    fn coverage(&self) -> Coverage {
        Coverage::Msg
    }
}

impl Verifier for MsgOnly {
    fn backend(&self) -> &str {
        "gpg"
    }

    fn verify<'n>(
        &self,
        message: &[&[u8]],
        signature: &[u8],
        certificate: &[u8],
        _: u64,
        name: &'n mut [u8],
    ) -> Result<&'n str, Refusal> {
        assert_eq!(certificate, b"");
        if signature != self.0.signature(message) {
            return Err(Refusal::Signature);
        }
        name[..64].copy_from_slice(&[b'F'; 64]);
        Ok(std::str::from_utf8(&name[..64]).unwrap())
    }

    fn coverage(&self) -> Coverage {
        Coverage::Msg
    }
}

#[test]
fn a_signature_over_msg_alone_is_one_line_without_a_certificate_for_every_length() {
    for (max, len) in [(4, 4), (72, 56), (72, 71), (72, 72), (256, 57), (256, 256)] {
        let gpg = MsgOnly(Sum { len, max });
        let mut out = [0; 1500];
        let envelope = envelope("org.example.dev.lab.reading");
        let encoded = envelope.encode_signed(&READING, &gpg, &mut out).unwrap();
        let text = String::from_utf8(body(&encoded)).unwrap();
        assert_eq!(encoded.body_len(), text.len());

        let msg = r#"{"celsius":21.5,"sensor":"caf\u00e9"}"#;
        let mut line = [0; 400];
        let signature = gpg.0.signature(&[msg.as_bytes()]);
        let n = base64::encode(&signature, Wrapping::None, &mut line).unwrap();
        let line = std::str::from_utf8(&line[..n]).unwrap();
        let id = "2026-5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a";
        assert_eq!(
            text,
            format!(
                "{{\"crypto\":\"gpg\",\"i\":7,\"msg\":{msg},\"msg_id\":\"{id}\",\
                 \"signature\":\"{line}\",\"timestamp\":1795430000,\
                 \"topic\":\"org.example.dev.lab.reading\",\"username\":\"root\"}}"
            )
        );

        let mut scratch = [0; 4096];
        let topic = Some(encoded.topic().as_bytes());
        let valid = validate(topic, text.as_bytes(), &[&gpg], 0, 64, &mut scratch);
        assert_eq!(valid.map(|valid| valid.signer), Ok(&*"F".repeat(64)));
        // The same text comes of a text that is signed.
        let mut again = [0; 1500];
        let unsigned = text.replacen("\"crypto\":\"gpg\",", "\"certificate\":\"old\",", 1);
        let n = sign_text(unsigned.as_bytes(), &gpg, 64, &mut scratch, &mut again).unwrap();
        assert_eq!(std::str::from_utf8(&again[..n]), Ok(&*text));
    }
}

#[test]
fn of_a_message_whose_msg_alone_is_signed_nothing_else_counts() {
    let gpg = MsgOnly(Sum { len: 30, max: 30 });
    let (mut scratch, mut out) = ([0; 1024], [0; 1024]);
    let text = br#"{"i":1,"msg":{"a":1},"topic":"t"}"#;
    let n = sign_text(text, &gpg, 64, &mut scratch, &mut out).unwrap();
    let good = std::str::from_utf8(&out[..n]).unwrap();
    let crypto = r#""crypto":"gpg","#;
    for (from, to, reason) in [
        ("", "", "valid"),
        (r#""i":1"#, r#""i":2,"j":3"#, "valid"),
        // Peers up to 0.7.2 name no backend.
        (crypto, "", "valid"),
        (
            crypto,
            r#""certificate":"Y2VydA==\n","crypto":"gpg","#,
            "valid",
        ),
        (crypto, r#""certificate":[1],"crypto":"gpg","#, "valid"),
        // By these rules it is one of x509, for which there is no verifier.
        (crypto, r#""certificate":"Y2VydA==\n","#, "Refused(Backend)"),
        (r#"{"a":1}"#, r#"{"a":1.0}"#, "Refused(Signature)"),
        (r#"{"a":1}"#, r#"{"a":1,"b":1}"#, "Refused(Signature)"),
        (r#""msg""#, r#""gsm""#, "Missing(\"msg\")"),
        (r#""signature""#, r#""erutangis""#, "Unsigned"),
        (r#""signature":""#, r#""signature":"\n"#, "valid"),
        (
            r#""signature":""#,
            r#""signature":"*"#,
            "Base64(\"signature\")",
        ),
        (r#""topic":"t""#, r#""topic":"u""#, "Topic"),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_eq!(changed == good, from == to, "{from}");
        let result = validate(Some(b"t"), changed.as_bytes(), &[&gpg], 0, 64, &mut scratch);
        let result = match result {
            Ok(_) => "valid".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(result, reason, "{from} {to}");
    }
    assert_eq!(
        sign_text(br#"{"topic":"t"}"#, &gpg, 64, &mut scratch, &mut out),
        Err(Error::NoMsg)
    );
}
