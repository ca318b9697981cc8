//! The legacy wire (`x509`) against Python fedmsg 1.1.7: what either signs the other validates, and
//! what either refuses the other does too. Also messages of the real bus, signed long ago.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use fedmsg::crypto::{
    FileSigner, KeyKind, Scratch, Trust, Validator, ValidatorOptions, ca::Ca, fix_datagrepper,
    reason,
};
use fedmsg_core::{crypto::Refusal, message::Invalid};
use fedmsg_tests::python::{Script, environment, real_messages};
use serde_json::{Value, json};

/// The peer, and the certificates that come with it: RSA-1024, valid until 2033, a revocation list
/// of version 1.
struct Peer {
    script: Script,
    keys: PathBuf,
}

impl Peer {
    fn start() -> Self {
        let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/py/fedmsg-requirements.txt");
        let python = environment("fedmsg-1.1.7", &["-r", requirements]);
        let mut script = Script::start(&python, include_str!("../py/crypto_peer.py"), &[]);
        let answer = script.ask(&json!(["keys", {}, []]), &[]).unwrap();
        let keys = answer.line["keys"].as_str().unwrap().into();
        Self { script, keys }
    }

    fn ask(&mut self, request: &str, arguments: Value, texts: &[&[u8]]) -> Result<Reply, String> {
        let lengths: Vec<_> = texts.iter().map(|text| text.len()).collect();
        let answer = self
            .script
            .ask(&json!([request, arguments, lengths]), texts)?;
        Ok(Reply {
            line: answer.line,
            texts: answer.blobs,
        })
    }

    /// Signs as one of its own senders; empty where a message is too deep for Python.
    fn sign(&mut self, name: &str, messages: &[&[u8]]) -> Vec<Vec<u8>> {
        let arguments = json!({"ssldir": self.keys, "certname": name});
        self.ask("sign", arguments, messages).unwrap().texts
    }

    fn validates(&mut self, ca: &Path, crl: Option<&Path>, messages: &[&[u8]]) -> Vec<Value> {
        let arguments = json!({
            "ca_cert_location": ca, "crl_location": crl, "ssldir": self.keys,
        });
        let mut reply = self.ask("validate", arguments, messages).unwrap();
        serde_json::from_value(reply.line["valid"].take()).unwrap()
    }

    fn validator(&self) -> Validator {
        validator(&self.keys.join("ca.crt"), Some(&self.keys.join("crl.pem")))
    }
}

struct Reply {
    line: Value,
    texts: Vec<Vec<u8>>,
}

const SENDER: &str = "shell-app01.phx2.fedoraproject.org";

fn validator(ca: &Path, crl: Option<&Path>) -> Validator {
    Validator::new(ValidatorOptions {
        ca_cert_location: ca.to_str().unwrap().into(),
        crl_location: crl.map(|path| path.to_str().unwrap().into()),
        ..ValidatorOptions::default()
    })
    .unwrap()
}

fn message(msg: &str) -> String {
    format!(
        r#"{{"i": 3, "msg": {msg}, "msg_id": "2026-9ebf960a-115e-4568-a615-34cc7d8d462e",
        "timestamp": 1795430000, "topic": "org.example.dev.git.receive", "username": "amara"}}"#
    )
}

fn verdict(validator: &Validator, message: &[u8]) -> Result<String, &'static str> {
    let verdict = validator.validate(message);
    verdict
        .map(|valid| valid.signer)
        .map_err(|invalid| reason(&invalid))
}

#[test]
fn what_the_peer_signs_with_json_of_every_kind_in_it_we_validate() {
    let mut peer = Peer::start();
    let validator = peer.validator();
    let vectors = include_str!("../../core/tests/data/canonical.jsonl");
    let vectors: Vec<(String, String)> = vectors
        .lines()
        .filter_map(|line| {
            let vector: Value = serde_json::from_str(line).unwrap();
            vector["out"].as_str()?;
            Some((
                vector["note"].as_str()?.into(),
                message(vector["in"].as_str()?),
            ))
        })
        .collect();
    let mut signed = BTreeMap::<&str, usize>::new();
    for vectors in vectors.chunks(100) {
        let messages: Vec<_> = vectors
            .iter()
            .map(|(_, message)| message.as_bytes())
            .collect();
        let bodies = peer.sign(SENDER, &messages);
        for ((family, message), body) in vectors.iter().zip(bodies) {
            // Python does not copy what is very deep, and does not validate all that it signs.
            let deep = family.contains("depth");
            match verdict(&validator, &body) {
                Ok(signer) => {
                    assert_eq!(signer, SENDER);
                    *signed.entry(family).or_default() += 1;
                }
                Err(reason) => assert!(deep, "{reason}: {message:.300}"),
            }
        }
    }
    let families: BTreeSet<_> = vectors.iter().map(|(family, _)| &**family).collect();
    let missing: Vec<_> = families
        .into_iter()
        .filter(|family| !signed.contains_key(family))
        .collect();
    assert!(signed.len() > 20, "{signed:?}");
    assert!(
        missing.iter().all(|family| family.contains("depth")),
        "{missing:?}"
    );
}

#[test]
fn no_change_to_what_the_peer_signed_goes_unnoticed() {
    let mut peer = Peer::start();
    let validator = peer.validator();
    let text = message(r#"{"a": [1, 2.50], "b": "caf\u00e9"}"#);
    let body = peer.sign(SENDER, &[text.as_bytes()]).remove(0);
    let signed: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        verdict(&validator, signed.to_string().as_bytes()).as_deref(),
        Ok(SENDER)
    );

    let mut tampered = Vec::new();
    for name in signed.as_object().unwrap().keys() {
        for value in [
            json!(null),
            json!(""),
            json!(7),
            json!({}),
            json!("org.example"),
        ] {
            let mut changed = signed.clone();
            changed[name] = value;
            tampered.push(changed);
        }
        let mut removed = signed.clone();
        removed.as_object_mut().unwrap().remove(name);
        // A message without it is of this backend all the same.
        tampered.push(removed);
    }
    for added in ["a", "cert", "headers", "seq_id", "z"] {
        let mut more = signed.clone();
        more[added] = json!(1);
        tampered.push(more);
    }
    let other = "shell-app02.phx2.fedoraproject.org";
    let other = peer.sign(other, &[message("{}").as_bytes()]).remove(0);
    let other: Value = serde_json::from_slice(&other).unwrap();
    for field in ["certificate", "signature"] {
        let mut swapped = signed.clone();
        swapped[field] = other[field].clone();
        tampered.push(swapped);
        // Each character, or some of the many: but not those that stand for the newline behind the
        // certificate's PEM text, around which there may be anything.
        let text = signed[field].as_str().unwrap();
        let (step, end) = match field {
            "certificate" => (7, text.len() - 5),
            _ => (1, text.len()),
        };
        for at in (0..end).step_by(step) {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let mut changed = signed.clone();
            changed[field] = String::from_utf8(bytes).unwrap().into();
            tampered.push(changed);
        }
    }
    for message in tampered {
        let text = message.to_string();
        assert!(verdict(&validator, text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn what_we_sign_with_the_peers_own_keys_the_peer_validates() {
    let mut peer = Peer::start();
    let signer = FileSigner::load(&peer.keys, SENDER).unwrap();
    let mut scratch = Scratch::default();
    for msg in [
        r#"{"b": 1, "a": {"d": [], "c": {}}}"#,
        r#"{"text": "café 😀 \u007f / \\ \" \n\u0001 \ud800", "null": null, "yes": true}"#,
        "[0, -1, 18446744073709551615, 1.0, 1e16, 1e-5, 5e-324, -0.0, 1E400, NaN]",
        "\"x\"",
    ] {
        let signed = scratch.sign(message(msg).as_bytes(), &signer).unwrap();
        let signed = signed.to_vec();
        let (ca, crl) = (peer.keys.join("ca.crt"), peer.keys.join("crl.pem"));
        assert_eq!(
            peer.validates(&ca, Some(&crl), &[&signed]),
            [json!(true)],
            "{msg}"
        );
        assert_eq!(verdict(&peer.validator(), &signed).as_deref(), Ok(SENDER));
        // The same bytes, but for the order of the members.
        let theirs = peer.sign(SENDER, &[message(msg).as_bytes()]).remove(0);
        assert_eq!(signed, scratch.canonicalize(&theirs, 64).unwrap());
    }
}

#[test]
fn we_refuse_what_the_peer_refuses() {
    let mut peer = Peer::start();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let dir = tempfile::tempdir().unwrap();
    let ours = |name: &str| dir.path().join(name);
    const DAY: u64 = 86400;
    for (folder, made) in [
        ("now", now),
        ("past", now - 30 * DAY),
        ("future", now + 5 * DAY),
    ] {
        let ca = Ca::init(&ours(folder), "CA", KeyKind::Rsa2048, 20, made).unwrap();
        for name in ["one", "revoked", "short"] {
            let days = if name == "short" { 2 } else { 10 };
            ca.issue(name, None, Some(days), made).unwrap();
        }
        ca.revoke("revoked", made).unwrap();
    }
    // A list of tomorrow, for a CA of today.
    fs::create_dir(ours("list")).unwrap();
    for name in [
        "ca.crt",
        "ca.key",
        "crl.pem",
        "one.crt",
        "one.key",
        "short.crt",
        "short.key",
    ] {
        fs::copy(ours("now").join(name), ours("list").join(name)).unwrap();
    }
    Ca::open(&ours("list"))
        .unwrap()
        .revoke("short", now + 2 * DAY)
        .unwrap();

    let theirs = |name: &str| peer.keys.join(name);
    let own = (theirs("ca.crt"), theirs("crl.pem"));
    let of = |folder: &str| (ours(folder).join("ca.crt"), ours(folder).join("crl.pem"));
    let mut cases = Vec::new();
    for ((ca, crl), dir, name, expected) in [
        (&own, &peer.keys, SENDER, Ok(SENDER)),
        (&own, &peer.keys, "dummy-revoked", Err("revoked")),
        (&own, &ours("now"), "one", Err("untrusted")),
        (&of("now"), &ours("now"), "one", Ok("one")),
        (&of("now"), &ours("now"), "revoked", Err("revoked")),
        (
            &of("past"),
            &ours("past"),
            "one",
            Err("expired-revocation-list"),
        ),
        (&of("past"), &ours("now"), "one", Err("untrusted")),
        (
            &of("future"),
            &ours("future"),
            "one",
            Err("expired-revocation-list"),
        ),
        (
            &of("list"),
            &ours("list"),
            "one",
            Err("expired-revocation-list"),
        ),
    ] {
        cases.push((ca.clone(), Some(crl.clone()), dir.clone(), name, expected));
    }
    // And without a list.
    for (folder, name, expected) in [
        ("now", "revoked", Ok("revoked")),
        ("past", "one", Err("expired")),
        ("future", "one", Err("not-yet-valid")),
    ] {
        cases.push((of(folder).0, None, ours(folder), name, expected));
    }
    for (ca, crl, dir, name, expected) in cases {
        // The peer's lists that none of the CAs signed we do not load; the peer refuses everything.
        let crl = crl.filter(|crl| Trust::load(&ca, Some(crl)).is_ok());
        let signer = FileSigner::load(&dir, name).unwrap();
        let mut scratch = Scratch::default();
        let signed = scratch.sign(message("{}").as_bytes(), &signer).unwrap();
        let case = format!("{ca:?} {crl:?} {dir:?} {name}");
        let validator = validator(&ca, crl.as_deref());
        assert_eq!(
            verdict(&validator, signed).as_deref(),
            expected.as_ref().copied(),
            "{case}"
        );
        let valid = peer.validates(&ca, crl.as_deref(), &[signed]);
        assert_eq!(valid, [json!(expected.is_ok())], "{case}");
    }
}

#[test]
fn real_messages_of_long_ago_verify_as_they_were_signed() {
    let mut peer = Peer::start();
    let mut scratch = Scratch::default();
    let mut count = 0;
    let messages = real_messages();
    let texts = messages
        .iter()
        .map(|message| message["text"].as_str().unwrap().as_bytes());
    let theirs = peer
        .ask("fix", json!({}), &texts.collect::<Vec<_>>())
        .unwrap();
    for (message, theirs) in messages.iter().zip(theirs.texts) {
        // As the peer mends it, also those that are not signed.
        let text = message["text"].as_str().unwrap();
        let fixed = fix_datagrepper(text.as_bytes()).unwrap();
        assert_eq!(fixed, scratch.canonicalize(&theirs, 64).unwrap());
        if message["signed"].is_null() {
            continue;
        }
        count += 1;

        // Their CA, which has a newer certificate since, comes with the peer.
        let trust = Trust::load(&peer.keys.join("fedora_ca.crt"), None).unwrap();
        let mut judge = |message: &[u8], at| {
            let verdict = scratch.validate(None, message, &[&trust.x509()], at);
            verdict.map(|valid| valid.signer.to_owned())
        };
        let signer = "bugzilla2fedmsg-bugzilla2fedmsg01.phx2.fedoraproject.org";
        assert_eq!(judge(&fixed, IN_2023).as_deref(), Ok(signer));
        // What a datagrepper gave is not what was signed.
        let refused = Err(Invalid::Refused(Refusal::Signature));
        assert_eq!(judge(text.as_bytes(), IN_2023), refused);
        for (at, refusal) in [(IN_2021, Refusal::NotYetValid), (IN_2025, Refusal::Expired)] {
            assert_eq!(judge(&fixed, at), Err(Invalid::Refused(refusal)));
        }
    }
    assert_eq!(count, 2);
}

/// Within the validity of the CA's certificate and the sender's; before and after.
const IN_2023: u64 = 1_672_531_200;
const IN_2021: u64 = 1_609_459_200;
const IN_2025: u64 = 1_735_689_600;
