//! A program without the legacy wire's library says so of each of its messages.

#![cfg(not(feature = "x509"))]
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use fedmsg::crypto::{Error, FileSigner, KeyKind, Validator, ValidatorOptions, ca::Ca, reason};
use fedmsg_core::crypto::base64::{self, Wrapping};

#[test]
fn the_legacy_wire_is_refused_as_not_built_in() {
    let dir = tempfile::tempdir().unwrap();
    let now = 1_800_000_000;
    Ca::init(dir.path(), "CA", KeyKind::P256, 100, now).unwrap();
    let legacy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/legacy"));
    for ca in [dir.path(), legacy] {
        let validator = Validator::new(ValidatorOptions {
            ca_cert_location: ca.join("ca.crt").display().to_string(),
            crl_location: Some(ca.join("crl.pem").display().to_string()),
            ..ValidatorOptions::default()
        });
        let pem = fs::read(legacy.join("sender.crt")).unwrap();
        let mut field = vec![0; base64::encoded_len(pem.len(), Wrapping::JsonLines)];
        base64::encode(&pem, Wrapping::JsonLines, &mut field).unwrap();
        let field = String::from_utf8(field).unwrap();
        let message = format!(
            r#"{{"certificate": "{field}", "crypto": "x509", "msg": {{}}, "signature": "AAAA"}}"#
        );
        let verdict = validator.unwrap().validate(message.as_bytes());
        assert_eq!(reason(&verdict.unwrap_err()), "backend-not-built-in");
    }
    let error = FileSigner::load(legacy, "sender").err().unwrap();
    assert!(matches!(error, Error::NotBuiltIn { .. }));
    assert!(
        error.to_string().contains("without feature x509"),
        "{error}"
    );
    assert!(Ca::init(&dir.path().join("rsa"), "CA", KeyKind::Rsa2048, 100, now).is_err());
}
