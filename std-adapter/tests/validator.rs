//! What a validator accepts and refuses, and how it follows its sources.

#![cfg(feature = "x509")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic
)]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use fedmsg::{
    bus::Validate,
    config::Config,
    crypto::{
        self, Error, FileSigner, KeyKind, Scratch, Validator, ValidatorOptions, ca::Ca, reason,
    },
};
use fedmsg_core::crypto::{Refusal, Signer, Verifier, base64, base64::Wrapping};
use serde_json::{Value, json};
use tempfile::TempDir;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86400;
const TOPIC: &str = "org.example.dev.git.receive";

/// A P-256 CA and an RSA CA, each with the senders `one` and `revoked`, and the first with the RSA
/// sender `rsa`; and another CA of the first one's name.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new(now: u64) -> Self {
        let dir = TempDir::new().unwrap();
        for (folder, kind) in [
            ("p256", KeyKind::P256),
            ("x509", KeyKind::Rsa2048),
            ("other", KeyKind::P256),
        ] {
            let ca = Ca::init(&dir.path().join(folder), "CA", kind, 1000, now).unwrap();
            ca.issue("one", None, Some(100), now).unwrap();
            ca.issue("revoked", None, Some(100), now).unwrap();
            ca.revoke("revoked", now).unwrap();
        }
        let ca = Ca::open(&dir.path().join("p256")).unwrap();
        ca.issue("rsa", Some(KeyKind::Rsa2048), Some(100), now)
            .unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn options(&self, ca: &str) -> ValidatorOptions {
        ValidatorOptions {
            crypto_validate_backends: vec!["x509".into(), "x509-p256".into()],
            ca_cert_location: self.path(&format!("{ca}/ca.crt")),
            crl_location: Some(self.path(&format!("{ca}/crl.pem"))),
            ..ValidatorOptions::default()
        }
    }

    fn signer(&self, ca: &str, name: &str) -> FileSigner {
        FileSigner::load(self.path(ca).as_ref(), name).unwrap()
    }

    fn signed(&self, ca: &str, name: &str) -> Value {
        sign(&self.signer(ca, name), &message())
    }
}

fn message() -> Value {
    json!({"i": 1, "msg": {"a": [1, "b"]}, "timestamp": NOW, "topic": TOPIC, "username": "amara"})
}

fn sign(signer: &dyn Signer, message: &Value) -> Value {
    let mut scratch = Scratch::default();
    let text = message.to_string();
    serde_json::from_slice(scratch.sign(text.as_bytes(), signer).unwrap()).unwrap()
}

/// The message with these members, or without those that are null.
fn with(mut message: Value, members: Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        match value {
            Value::Null => message.as_object_mut().unwrap().remove(name),
            value => message
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    message
}

fn in_base64(bytes: &[u8]) -> String {
    let mut text = vec![0; base64::encoded_len(bytes.len(), Wrapping::Lines)];
    base64::encode(bytes, Wrapping::Lines, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Who signed it, or the name of the reason.
fn judge(validator: &Validator, message: &Value, at: u64) -> Result<String, &'static str> {
    let mut scratch = Scratch::default();
    let verdict = validator.validate_at(
        Some(TOPIC),
        message.to_string().as_bytes(),
        at,
        &mut scratch,
    );
    verdict
        .map(|valid| valid.signer.to_owned())
        .map_err(|invalid| reason(&invalid))
}

#[test]
fn each_refused_message_has_its_reason() {
    let site = Site::new(NOW);
    let p256 = Validator::new(site.options("p256")).unwrap();
    let x509 = Validator::new(site.options("x509")).unwrap();
    let only_p256 = Validator::new(ValidatorOptions {
        crypto_validate_backends: vec!["x509-p256".into()],
        ..site.options("p256")
    })
    .unwrap();
    let policy = Validator::new(ValidatorOptions {
        routing_policy: [(TOPIC.to_owned(), vec!["two".to_owned()])].into(),
        ..site.options("x509")
    })
    .unwrap();
    let nitpicky = Validator::new(ValidatorOptions {
        routing_nitpicky: true,
        ..site.options("x509")
    })
    .unwrap();

    let (of_p256, of_x509) = (site.signed("p256", "one"), site.signed("x509", "one"));
    let pem = fs::read(site.path("x509/one.crt")).unwrap();
    let cut = |len| {
        // A PEM block around a certificate that ends too early.
        let der = pem_to_der(&pem);
        let text = in_base64(&der[..len]);
        let text = format!("-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n");
        in_base64(text.as_bytes())
    };
    let garbage = in_base64(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let end = NOW + 100 * DAY;

    for (validator, message, at, expected) in [
        (&p256, of_p256.clone(), NOW, Ok("one")),
        (&p256, site.signed("p256", "rsa"), NOW, Ok("rsa")),
        (&x509, of_x509.clone(), NOW, Ok("one")),
        (&p256, of_p256.clone(), end + 1, Err("expired")),
        (&x509, of_x509.clone(), end + 1, Err("expired")),
        (&p256, of_p256.clone(), NOW - DAY, Err("not-yet-valid")),
        // Also the list; that of an RSA chain is looked at first.
        (
            &x509,
            of_x509.clone(),
            NOW - DAY,
            Err("expired-revocation-list"),
        ),
        (&p256, site.signed("other", "one"), NOW, Err("untrusted")),
        (&x509, site.signed("p256", "rsa"), NOW, Err("untrusted")),
        (&p256, site.signed("p256", "revoked"), NOW, Err("revoked")),
        (&x509, site.signed("x509", "revoked"), NOW, Err("revoked")),
        (
            &x509,
            with(of_x509.clone(), json!({"i": 2})),
            NOW,
            Err("bad-signature"),
        ),
        (
            &p256,
            with(of_p256.clone(), json!({"x": 2})),
            NOW,
            Err("bad-signature"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"signature": "?"})),
            NOW,
            Err("bad-base64"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"certificate": "A"})),
            NOW,
            Err("bad-base64"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"certificate": garbage})),
            NOW,
            Err("bad-certificate"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"certificate": ""})),
            NOW,
            Err("bad-certificate"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"certificate": cut(500)})),
            NOW,
            Err("bad-certificate"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"certificate": cut(1)})),
            NOW,
            Err("bad-certificate"),
        ),
        (
            &x509,
            with(
                of_x509.clone(),
                json!({"certificate": in_base64(&vec![b'A'; 20_000])}),
            ),
            NOW,
            Err("certificate-too-large"),
        ),
        // An EC key under `x509`, and an RSA key under `x509-p256`.
        (
            &p256,
            with(of_p256.clone(), json!({"crypto": "x509"})),
            NOW,
            Err("bad-certificate"),
        ),
        (
            &p256,
            with(of_p256.clone(), json!({"crypto": null})),
            NOW,
            Err("bad-certificate"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"crypto": "x509-p256"})),
            NOW,
            Err("bad-certificate"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"signature": null})),
            NOW,
            Err("missing-field"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"certificate": null})),
            NOW,
            Err("missing-field"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"signature": 1})),
            NOW,
            Err("wrong-type"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"certificate": ["x"]})),
            NOW,
            Err("wrong-type"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"crypto": []})),
            NOW,
            Err("wrong-type"),
        ),
        (&x509, message(), NOW, Err("unsigned")),
        (&x509, json!([]), NOW, Err("not-an-object")),
        (&x509, json!(null), NOW, Err("not-an-object")),
        (
            &x509,
            with(of_x509.clone(), json!({"crypto": "x510"})),
            NOW,
            Err("unknown-backend"),
        ),
        (
            &x509,
            with(of_x509.clone(), json!({"crypto": "gpg"})),
            NOW,
            Err("disallowed-backend"),
        ),
        (
            &x509,
            with(message(), json!({"signature": "AAAA"})),
            NOW,
            Err("disallowed-backend"),
        ),
        (&only_p256, of_x509.clone(), NOW, Err("disallowed-backend")),
        (&only_p256, of_p256.clone(), NOW, Ok("one")),
        (
            &x509,
            sign(
                &site.signer("x509", "one"),
                &with(message(), json!({"topic": "org.example"})),
            ),
            NOW,
            Err("topic-mismatch"),
        ),
        (
            &x509,
            sign(
                &site.signer("x509", "one"),
                &with(message(), json!({"topic": null})),
            ),
            NOW,
            Err("topic-mismatch"),
        ),
        (&policy, of_x509.clone(), NOW, Err("not-permitted")),
        (&nitpicky, of_x509.clone(), NOW, Err("no-policy")),
    ] {
        let verdict = judge(validator, &message, at);
        assert_eq!(verdict.as_deref(), expected.as_ref().copied(), "{message}");
    }

    // What is no JSON.
    for body in [&b""[..], b"x", b"{", b"\xff", b"\xef\xbb\xbf{}"] {
        let verdict = x509.validate(body).map_err(|invalid| reason(&invalid));
        assert_eq!(verdict, Err("not-json"), "{body:?}");
    }
    let stats = x509.stats();
    assert_eq!(stats.accepted, 1);
    assert_eq!(stats.refused["not-json"], 5);
    assert_eq!(stats.refused["missing-field"], 2);
    assert_eq!(stats.refused.values().sum::<u64>(), 31);
}

/// What stands in a PEM block.
fn pem_to_der(pem: &[u8]) -> Vec<u8> {
    let mut der = vec![0; pem.len()];
    let len = fedmsg_core::crypto::pem::decode(pem, "CERTIFICATE", &mut der).unwrap();
    der.truncate(len);
    der
}

#[test]
fn a_certificate_without_a_common_name_names_nobody() {
    let site = Site::new(NOW);
    let openssl = |args: &[&str]| {
        let mut command = std::process::Command::new("openssl");
        let output = command
            .args(args)
            .output()
            .expect("this test needs openssl: apt install openssl");
        assert!(output.status.success(), "{output:?}");
    };
    let [ca, ca_key, key, request, crt] = [
        "x509/ca.crt",
        "x509/ca.key",
        "x509/none.key",
        "none.csr",
        "x509/none.crt",
    ]
    .map(|name| site.path(name));
    openssl(&[
        "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-subj", "/O=none",
        "-out", &request,
    ]);
    openssl(&[
        "x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-days", "20000", "-out",
        &crt,
    ]);
    let validator = Validator::new(ValidatorOptions {
        crl_location: None,
        ..site.options("x509")
    });
    let verdict = judge(&validator.unwrap(), &site.signed("x509", "none"), NOW);
    assert_eq!(verdict, Err("no-name"));
}

#[test]
fn every_bit_of_signature_and_certificate_counts() {
    let site = Site::new(NOW);
    for (ca, backend) in [("x509", "x509"), ("p256", "x509-p256")] {
        let validator = Validator::new(site.options(ca)).unwrap();
        let signed = site.signed(ca, "one");
        assert_eq!(judge(&validator, &signed, NOW).as_deref(), Ok("one"));
        let decoded = |field: &str| {
            let mut bytes = signed[field].as_str().unwrap().as_bytes().to_vec();
            let len = base64::decode_in_place(&mut bytes).unwrap();
            bytes.truncate(len);
            bytes
        };
        let signature = decoded("signature");
        let der = pem_to_der(&decoded("certificate"));
        for bit in 0..signature.len() * 8 {
            let mut wrong = signature.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let message = with(signed.clone(), json!({"signature": in_base64(&wrong)}));
            assert_eq!(
                judge(&validator, &message, NOW),
                Err("bad-signature"),
                "{backend} {bit}"
            );
        }
        for bit in 0..der.len() * 8 {
            let mut wrong = der.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let pem = in_base64(&wrong);
            let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}-----END CERTIFICATE-----\n");
            let certificate = in_base64(pem.as_bytes());
            let message = with(signed.clone(), json!({"certificate": certificate}));
            assert!(
                judge(&validator, &message, NOW).is_err(),
                "{backend} bit {bit}"
            );
        }
    }
}

#[test]
fn the_routing_policy_is_about_whole_topics_and_names() {
    let site = Site::new(NOW);
    let policy = |senders: &[&str], nitpicky| {
        let senders: Vec<_> = senders.iter().map(|name| (*name).to_owned()).collect();
        let options = ValidatorOptions {
            routing_policy: [(TOPIC.to_owned(), senders)].into(),
            routing_nitpicky: nitpicky,
            ..site.options("p256")
        };
        Validator::new(options).unwrap()
    };
    let at = |topic: &str, validator: &Validator| {
        let message = with(message(), json!({"topic": topic}));
        let body = sign(&site.signer("p256", "one"), &message).to_string();
        // By its frame, and without one.
        let mut scratch = Scratch::default();
        let verdicts = [Some(topic), None].map(|frame| {
            let verdict = validator.validate_at(frame, body.as_bytes(), NOW, &mut scratch);
            verdict.map(|_| ()).map_err(|invalid| reason(&invalid))
        });
        assert_eq!(verdicts[0], verdicts[1]);
        verdicts[0]
    };
    for (senders, nitpicky, topic, expected) in [
        (&["one"][..], false, TOPIC, Ok(())),
        (&["two", "one"], true, TOPIC, Ok(())),
        (&["two"], false, TOPIC, Err("not-permitted")),
        (&["on"], false, TOPIC, Err("not-permitted")),
        (&["one.example.org"], false, TOPIC, Err("not-permitted")),
        (&[], false, TOPIC, Err("not-permitted")),
        (&["two"], false, "org.example.dev.git", Ok(())),
        (&["two"], false, "org.example.dev.git.receive.", Ok(())),
        (&["one"], true, "org.example.dev.git", Err("no-policy")),
        (
            &["one"],
            true,
            "org.example.dev.git.receive.more",
            Err("no-policy"),
        ),
        (&["one"], true, "", Err("no-policy")),
    ] {
        assert_eq!(
            at(topic, &policy(senders, nitpicky)),
            expected,
            "{senders:?} {topic}"
        );
    }
}

#[test]
fn a_message_can_be_asked_to_be_of_one_signer() {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let site = Site::new(now);
    // The policy for everybody says nothing here.
    let validator = Validator::new(ValidatorOptions {
        routing_policy: [(TOPIC.to_owned(), vec!["two".to_owned()])].into(),
        unsigned_topics: vec![TOPIC.to_owned()],
        ..site.options("x509")
    })
    .unwrap();
    let signed = site.signed("x509", "one").to_string();
    let by = |body: &str, signer| {
        let verdict = validator.validate_signed_by(body.as_bytes(), signer);
        verdict
            .map(|valid| valid.signer)
            .map_err(|invalid| reason(&invalid))
    };
    assert_eq!(by(&signed, "one").as_deref(), Ok("one"));
    assert_eq!(by(&signed, "two"), Err("not-permitted"));
    assert_eq!(by(&signed, ""), Err("not-permitted"));
    assert_eq!(by(&message().to_string(), ""), Err("unsigned"));
}

#[test]
fn unsigned_messages_are_taken_on_the_topics_that_were_named() {
    let site = Site::new(NOW);
    let validator = Validator::new(ValidatorOptions {
        unsigned_topics: vec!["org.example.dev.ci.".into(), "org.example.dev.wiki".into()],
        routing_nitpicky: true,
        ..site.options("p256")
    })
    .unwrap();
    let verdict = |frame: Option<&str>, message: Value| {
        let mut scratch = Scratch::default();
        let body = message.to_string();
        let verdict = validator.validate_at(frame, body.as_bytes(), NOW, &mut scratch);
        verdict
            .map(|valid| valid.signer.to_owned())
            .map_err(|invalid| reason(&invalid))
    };
    for (topic, expected) in [
        ("org.example.dev.ci.done", Ok(String::new())),
        ("org.example.dev.ci.", Ok(String::new())),
        ("org.example.dev.wiki", Ok(String::new())),
        ("org.example.dev.ci", Err("unsigned")),
        ("org.example.dev.wiki.edit", Err("unsigned")),
        ("org.example.dev.wikis", Err("unsigned")),
        ("", Err("unsigned")),
        (TOPIC, Err("unsigned")),
    ] {
        for frame in [None, Some(topic)] {
            let message = with(message(), json!({"topic": topic}));
            assert_eq!(verdict(frame, message), expected, "{topic}");
        }
    }
    // The body's topic is what counts, and it has to be the frame's.
    let ci = Some("org.example.dev.ci.done");
    assert_eq!(verdict(ci, message()), Err("topic-mismatch"));
    assert_eq!(
        verdict(ci, with(message(), json!({"topic": null}))),
        Err("topic-mismatch")
    );
    assert_eq!(
        verdict(ci, with(message(), json!({"topic": ["x"]}))),
        Err("topic-mismatch")
    );
    // Half signed is not unsigned, and what is signed has to be good.
    let on_ci = with(message(), json!({"topic": ci}));
    assert_eq!(
        verdict(ci, with(on_ci.clone(), json!({"certificate": "AAAA"}))),
        Err("missing-field")
    );
    let signed = sign(&site.signer("p256", "one"), &on_ci);
    assert_eq!(
        verdict(ci, with(signed, json!({"i": 9}))),
        Err("bad-signature")
    );
}

#[test]
fn with_validation_off_a_message_need_only_be_one_of_its_topic() {
    let validator = Validator::new(ValidatorOptions {
        validate_signatures: false,
        // Not looked at.
        ca_cert_location: "/nowhere".into(),
        ..ValidatorOptions::default()
    })
    .unwrap();
    assert!(!validator.validates());
    let mut scratch = Scratch::default();
    let message = br#"{"topic":"a.b", "signature": 1}"#;
    let valid = Validate::validate(&validator, "a.b", message, 0, &mut scratch).unwrap();
    assert_eq!(
        (valid.signer, valid.message),
        ("", &br#"{"signature":1,"topic":"a.b"}"#[..])
    );
    for (topic, body, expected) in [
        ("a.c", &message[..], "topic-mismatch"),
        ("", b"[]", "not-an-object"),
        ("", b"nothing", "not-json"),
    ] {
        let verdict = Validate::validate(&validator, topic, body, 0, &mut scratch);
        assert_eq!(reason(&verdict.unwrap_err()), expected);
    }
}

#[test]
fn the_configuration_says_what_signs_and_what_is_believed() {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let site = Site::new(now);
    let config = |values: Value| {
        let usual = json!({
            "crypto_backend": "x509", "ssldir": site.path("x509"),
            "validate_signatures": true, "crypto_validate_backends": ["x509"],
            "ca_cert_location": site.path("x509/ca.crt"), "crl_location": site.path("x509/crl.pem"),
            "ca_cert_cache_expiry": 0, "crl_cache_expiry": 3600,
            "routing_policy": {TOPIC: ["one"]}, "routing_nitpicky": true,
        });
        let Value::Object(values) = with(usual, values) else {
            panic!("no object");
        };
        Config::from_values(values).unwrap()
    };
    let signer = crypto::signer(&config(json!({})), "one").unwrap();
    let validator = Validator::from_config(&config(json!({}))).unwrap();
    let signed = sign(&*signer, &message()).to_string();
    let valid = validator.validate(signed.as_bytes()).unwrap();
    assert_eq!(valid.signer, "one");
    assert_eq!(
        serde_json::from_slice::<Value>(&valid.message).unwrap()["i"],
        1
    );

    let p256 = config(json!({"crypto_backend": "x509-p256", "ssldir": site.path("p256")}));
    assert_eq!(crypto::signer(&p256, "one").unwrap().backend(), "x509-p256");

    let refused = |values, name: &str| crypto::signer(&config(values), name).err().unwrap();
    for (error, parts) in [
        (
            refused(json!({"ssldir": site.path("p256")}), "one"),
            &[
                "p256/one.key is one of backend x509-p256, not x509",
                "crypto_backend",
            ][..],
        ),
        (
            refused(json!({"crypto_backend": "rot13"}), "one"),
            &["crypto_backend", "\"rot13\"", "x509-p256"],
        ),
        (
            refused(json!({}), "nobody"),
            &["cannot read", "x509/nobody.key"],
        ),
        (refused(json!({}), "../one"), &["\"../one\" cannot be used"]),
    ] {
        let said = error.to_string();
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }

    let refused = |values| Validator::from_config(&config(values)).err().unwrap();
    for (error, parts) in [
        (
            refused(json!({"crypto_validate_backends": ["x509", "rot13"]})),
            &["crypto_validate_backends", "\"rot13\""][..],
        ),
        (
            refused(json!({"crypto_validate_backends": [], "crypto_backend": "x"})),
            &["crypto_backend", "\"x\""],
        ),
        (
            refused(json!({"ca_cert_location": "http://a:secret@example.org/ca.crt"})),
            &["ca_cert_location", "\"http://example.org/ca.crt\"", "https"],
        ),
        (
            refused(json!({"crl_location": "ftp://example.org/crl.pem"})),
            &["crl_location", "ftp://example.org/crl.pem"],
        ),
        (
            refused(json!({"ca_cert_location": site.path("none.crt")})),
            &["cannot read", "none.crt"],
        ),
        // A list of another CA, by name and by key.
        (
            refused(json!({"crl_location": site.path("p256/crl.pem")})),
            &["p256/crl.pem was not issued by this CA"],
        ),
    ] {
        let said = error.to_string();
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

/// A backend that somebody else wrote.
struct Rot13;

impl Verifier for Rot13 {
    fn backend(&self) -> &str {
        "rot13"
    }

    fn verify<'n>(
        &self,
        _: &[&[u8]],
        _: &[u8],
        _: &[u8],
        _: u64,
        name: &'n mut [u8],
    ) -> Result<&'n str, Refusal> {
        let name = name.get_mut(..6).ok_or(Refusal::Name)?;
        name.copy_from_slice(b"caesar");
        str::from_utf8(name).map_err(|_| Refusal::Name)
    }
}

#[test]
fn one_more_backend_can_be_plugged_in() {
    let site = Site::new(NOW);
    let validator = Validator::new(site.options("x509")).unwrap();
    let message = with(site.signed("x509", "one"), json!({"crypto": "rot13"}));
    assert_eq!(judge(&validator, &message, NOW), Err("unknown-backend"));
    let validator = validator.with_backend(Box::new(Rot13));
    assert_eq!(judge(&validator, &message, NOW).as_deref(), Ok("caesar"));
    assert_eq!(
        judge(&validator, &site.signed("x509", "one"), NOW).as_deref(),
        Ok("one")
    );
}

/// Waits until `done`.
#[track_caller]
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "gave up waiting: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Puts a file in the place of another, whole.
fn replace(from: &Path, to: &Path) {
    let work = to.with_extension("work");
    fs::copy(from, &work).unwrap();
    fs::rename(work, to).unwrap();
}

#[test]
fn a_changed_revocation_list_is_noticed_and_a_broken_one_is_not_used() {
    let site = Site::new(NOW);
    let validator = Validator::new(site.options("x509")).unwrap();
    let signed = site.signed("x509", "one");
    let judge = || judge(&validator, &signed, NOW);
    assert_eq!(judge().as_deref(), Ok("one"));

    let list = fs::read(site.path("x509/crl.pem")).unwrap();
    fs::write(site.path("x509/crl.pem"), "no list").unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        assert_eq!(judge().as_deref(), Ok("one"));
        thread::sleep(Duration::from_millis(50));
    }
    fs::write(site.path("x509/crl.pem"), list).unwrap();
    Ca::open(site.path("x509").as_ref())
        .unwrap()
        .revoke("one", NOW)
        .unwrap();
    eventually("the new list is read", || judge() == Err("revoked"));
}

#[test]
fn a_changed_ca_is_noticed_with_what_was_remembered() {
    let site = Site::new(NOW);
    let validator = Validator::new(ValidatorOptions {
        crl_location: None,
        ..site.options("p256")
    })
    .unwrap();
    let (ours, theirs) = (site.signed("p256", "one"), site.signed("other", "one"));
    assert_eq!(judge(&validator, &ours, NOW).as_deref(), Ok("one"));
    assert_eq!(judge(&validator, &theirs, NOW), Err("untrusted"));
    replace(
        site.path("other/ca.crt").as_ref(),
        site.path("p256/ca.crt").as_ref(),
    );
    eventually("the new CA is read", || {
        judge(&validator, &theirs, NOW).is_ok()
    });
    assert_eq!(judge(&validator, &ours, NOW), Err("untrusted"));
}

#[test]
fn a_changed_key_is_noticed_once_its_certificate_is_there_too() {
    let site = Site::new(NOW);
    let dir = site.path("p256");
    let signer = site.signer("p256", "one");
    let ca = Ca::open(dir.as_ref()).unwrap();
    ca.issue("two", None, Some(100), NOW).unwrap();
    let validator = Validator::new(site.options("p256")).unwrap();
    let done = AtomicBool::new(false);
    let path = |name: &str| Path::new(&dir).join(name);
    thread::scope(|scope| {
        // Every message is signed by one pair, whole.
        let signing: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut signers = Vec::new();
                    while !done.load(Ordering::Acquire) {
                        let by = judge(&validator, &sign(&signer, &message()), NOW).unwrap();
                        if signers.last() != Some(&by) {
                            signers.push(by);
                        }
                    }
                    signers
                })
            })
            .collect();
        replace(&path("two.key"), &path("one.key"));
        thread::sleep(Duration::from_millis(1500));
        replace(&path("two.crt"), &path("one.crt"));
        eventually("the new pair signs", || {
            judge(&validator, &sign(&signer, &message()), NOW).as_deref() == Ok("two")
        });
        // A pair that is for another backend does not take over, nor does none at all.
        for name in ["rsa.key", "rsa.crt"] {
            replace(&path(name), &path(&name.replace("rsa", "one")));
        }
        thread::sleep(Duration::from_millis(1500));
        fs::remove_file(path("one.key")).unwrap();
        thread::sleep(Duration::from_millis(1500));
        done.store(true, Ordering::Release);
        for thread in signing {
            let signers = thread.join().unwrap();
            assert!(
                ["one,two", "two"].contains(&&*signers.join(",")),
                "{signers:?}"
            );
        }
    });
    assert_eq!(
        judge(&validator, &sign(&signer, &message()), NOW).as_deref(),
        Ok("two")
    );
}

#[test]
fn one_validator_serves_many_threads() {
    let site = Site::new(NOW);
    let validator = Arc::new(Validator::new(site.options("x509")).unwrap());
    let (good, bad) = (site.signed("x509", "one"), site.signed("x509", "revoked"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_eq!(judge(&validator, &good, NOW).as_deref(), Ok("one"));
                    assert_eq!(judge(&validator, &bad, NOW), Err("revoked"));
                }
            });
        }
    });
    let stats = validator.stats();
    assert_eq!(
        (stats.accepted, &stats.refused),
        (400, &BTreeMap::from([("revoked", 400)]))
    );
}

/// What was logged by this process's tests.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn a_reason_is_logged_once_and_an_open_key_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;

    let _ = log::set_logger(&Logger);
    log::set_max_level(log::LevelFilter::Warn);
    let site = Site::new(NOW);
    let validator = Validator::new(site.options("p256")).unwrap();
    let topic = "org.example.dev.\"\n.logged";
    for _ in 0..50 {
        let mut scratch = Scratch::default();
        let body = site.signed("p256", "revoked").to_string();
        let verdict = validator.validate_at(Some(topic), body.as_bytes(), NOW, &mut scratch);
        assert!(verdict.is_err());
    }
    let said = |part: &str| {
        let logged = LOGGED.lock().unwrap();
        logged
            .iter()
            .filter(|line| line.contains(part))
            .cloned()
            .collect::<Vec<_>>()
    };
    let line = r#"refused a message on "org.example.dev.\"\n.logged": certificate is revoked"#;
    assert_eq!(said(".logged"), [line]);

    let key = site.path("p256/one.key");
    site.signer("p256", "one");
    assert!(said(&key).is_empty());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    site.signer("p256", "one");
    let line = format!("everybody on this machine can read the private key {key}: chmod o-r {key}");
    assert_eq!(said(&key), [line]);
}

#[test]
fn an_error_names_what_is_wrong_and_never_shows_a_key() {
    let site = Site::new(NOW);
    let secret = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ";
    for text in [
        format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n"),
        format!("-----BEGIN RSA PRIVATE KEY-----\n{secret}\n-----END RSA PRIVATE KEY-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{secret}?\n-----END PRIVATE KEY-----\n"),
        secret.to_owned(),
    ] {
        fs::write(site.path("x509/one.key"), text).unwrap();
        let error = FileSigner::load(site.path("x509").as_ref(), "one")
            .err()
            .unwrap();
        let said = format!("{error} {error:?}");
        assert!(said.contains("x509/one.key"), "{said}");
        assert!(!said.contains(secret), "{said}");
        assert!(!matches!(error, Error::Signing));
    }
}
