//! `fedmsg ca`, judged by OpenSSL.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use fedmsg::crypto::FileSigner;
use fedmsg_core::{
    crypto::{Signer, p256::P256Signer},
    provision::{Bus, NOWHERE, Provision},
};
use tempfile::TempDir;

#[test]
fn openssl_accepts_issued_certificates_and_refuses_revoked_ones() {
    for (init, issue) in [
        (&[][..], &[][..]),
        (&["--rsa"], &["--rsa"]),
        (&[], &["--rsa"]),
    ] {
        let dir = TempDir::new().unwrap();
        let ca = dir.path();
        run("init", ca, init);
        for name in ["one.example.org", "two"] {
            run("issue", ca, &[&[name], issue].concat());
            assert_eq!(openssl_verdict(ca, name), "OK", "{init:?} {issue:?} {name}");
        }

        run("revoke", ca, &["two"]);
        assert_eq!(openssl_verdict(ca, "one.example.org"), "OK");
        assert!(openssl_verdict(ca, "two").contains("certificate revoked"));

        // A second revocation keeps the first.
        run("revoke", ca, &["one.example.org"]);
        assert!(openssl_verdict(ca, "one.example.org").contains("certificate revoked"));
        assert!(openssl_verdict(ca, "two").contains("certificate revoked"));
    }
}

#[test]
fn a_device_s_file_holds_what_issue_made_and_was_told() {
    let dir = TempDir::new().unwrap();
    let ca = dir.path();
    run("init", ca, &[]);
    let device = [
        "--device",
        "--topic",
        "org.example.dev.lab",
        "--time-server",
    ];
    run(
        "issue",
        ca,
        &[
            &["dev-1"],
            &device[..],
            &["192.0.2.1:123", "--port", "9941"],
        ]
        .concat(),
    );
    run(
        "issue",
        ca,
        &[
            &["dev-2"],
            &device[..],
            &["192.0.2.1:123", "--relay", "192.0.2.2:9942"],
        ]
        .concat(),
    );

    run(
        "issue",
        ca,
        &[&["serial-1"], &device[..3], &["--serial"]].concat(),
    );

    let files = ["dev-1", "dev-2", "serial-1"]
        .map(|name| fs::read(ca.join(format!("{name}.device"))).unwrap());
    let [one, two, serial] = files.each_ref().map(|file| Provision::parse(file).unwrap());
    assert_eq!(one.bus, Bus::Listen(9941));
    assert_eq!(two.bus, Bus::Connect("192.0.2.2:9942".parse().unwrap()));
    assert_eq!((serial.bus, serial.time_server), (Bus::Serial, NOWHERE));
    assert_eq!(one.time_server, "192.0.2.1:123".parse().unwrap());
    assert_eq!((one.topic, one.period_ms), ("org.example.dev.lab", 10_000));
    assert!(one.seed != two.seed && one.mac != two.mac);

    let identity = one.identity.unwrap();
    let signer = P256Signer::new(identity.key, identity.certificate_field).unwrap();
    let loaded = FileSigner::load(ca, "dev-1").unwrap();
    assert_eq!(signer.certificate_field(), loaded.certificate_field());
    let sign = |signer: &dyn Signer| {
        let mut signature = [0; 72];
        let len = signer.sign(&[b"message"], &mut signature).unwrap();
        signature[..len].to_vec()
    };
    // The same key: signatures are deterministic.
    assert_eq!(sign(&signer), sign(&loaded));

    // Settings that are wrong leave nothing behind.
    let args = [
        "dev-3",
        "--device",
        "--topic",
        "a b",
        "--time-server",
        "192.0.2.1:123",
    ];
    let output = fedmsg("issue", ca, &args);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("the provisioned topic makes no sense"),
        "{error}"
    );
    assert!(!ca.join("dev-3.key").exists());
}

#[test]
fn openssl_reads_names_extensions_and_numbers_as_they_were_meant() {
    let dir = TempDir::new().unwrap();
    let ca = dir.path();
    run("init", ca, &["--name", "Prüf, CA=1", "--days", "100"]);
    run("issue", ca, &["dev-1", "--days", "10"]);
    run("revoke", ca, &["dev-1"]);

    let text = |kind: &str, file: &str, more: &[&str]| {
        let path = ca.join(file);
        let output = openssl(&[&[kind, "-noout", "-in", path.to_str().unwrap()], more].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let utf8 = ["-nameopt", "RFC2253,-esc_msb,utf8"];
    let ca_text = text("x509", "ca.crt", &["-text"]);
    let leaf_text = text("x509", "dev-1.crt", &["-text"]);
    let crl_text = text("crl", "crl.pem", &["-text"]);
    for (text, lines) in [
        (
            &text("x509", "ca.crt", &[&["-subject"], &utf8[..]].concat()),
            &["CN=Prüf\\, CA=1"][..],
        ),
        (
            &text("x509", "dev-1.crt", &[&["-subject"], &utf8[..]].concat()),
            &["subject=CN=dev-1\n"],
        ),
        (
            &ca_text,
            &[
                "Version: 3 (0x2)",
                "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0",
                "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign",
            ],
        ),
        (
            &leaf_text,
            &[
                "Version: 3 (0x2)",
                "X509v3 Basic Constraints: critical\n                CA:FALSE",
                "X509v3 Key Usage: critical\n                Digital Signature",
            ],
        ),
        (
            &crl_text,
            &[
                "Version 2 (0x1)",
                "X509v3 CRL Number: \n                2\n",
            ],
        ),
    ] {
        for line in lines {
            assert!(text.contains(line), "{line:?} is not in {text}");
        }
    }

    // The leaf's and the list's authority key are the CA's; the list ends with the CA.
    let key_id = after(&ca_text, "Subject Key Identifier: ");
    for text in [&leaf_text, &crl_text] {
        assert_eq!(after(text, "Authority Key Identifier: "), key_id);
    }
    assert_eq!(
        after(&crl_text, "Next Update: "),
        after(&ca_text, "Not After : ")
    );
    let serial = text("x509", "dev-1.crt", &["-serial"]);
    assert_eq!(
        after(&crl_text, "Serial Number: "),
        after(&serial, "serial=")
    );
}

#[test]
fn nothing_is_overwritten_and_nothing_left_behind() {
    let dir = TempDir::new().unwrap();
    let ca = dir.path();
    run("init", ca, &[]);
    run("issue", ca, &["one"]);
    let before = contents(ca);
    for (action, more, reason) in [
        ("init", &[][..], "ca.key exists"),
        ("issue", &["one"][..], "one.key exists"),
        ("issue", &["ca"], "the name \"ca\""),
        ("issue", &["CA"], "the name \"CA\""),
        ("issue", &["fedmsg CA"], "the name \"fedmsg CA\""),
        ("issue", &[""], "the name \"\""),
        ("issue", &["."], "the name \".\""),
        ("issue", &[".hidden"], "the name \".hidden\""),
        ("issue", &["a/b"], "the name \"a/b\""),
        ("issue", &["../one"], "the name \"../one\""),
        ("issue", &["a\\b"], "the name \"a\\\\b\""),
        ("issue", &["a\nb"], "the name \"a\\nb\""),
        ("issue", &["ä"], "the name \"ä\""),
        ("issue", &[&"x".repeat(65)], "the name \"xxx"),
        ("issue", &["new", "--days", "3651"], "days left"),
        ("revoke", &["none"], "cannot read"),
        ("revoke", &["ca"], "the name \"ca\""),
        ("revoke", &["../one"], "the name \"../one\""),
    ] {
        let output = fedmsg(action, ca, more);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{action} {more:?}: {error}");
        assert!(
            error.starts_with(&format!("fedmsg ca {action}: ")),
            "{error}"
        );
        assert!(error.contains(reason), "{action} {more:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(contents(ca), before, "{action} {more:?}");
    }
    run("revoke", ca, &["one"]);
    let output = fedmsg("revoke", ca, &["one"]);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("revoked already")
    );
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let dir = TempDir::new().unwrap();
    for more in [
        &["--days", "0"][..],
        &["--days", "36501"],
        &["--days", "x"],
        &["--unknown"],
    ] {
        assert_eq!(
            fedmsg("init", dir.path(), more).status.code(),
            Some(2),
            "{more:?}"
        );
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_certificate_of_another_ca_is_not_revoked() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for ca in [dir.path(), other.path()] {
        run("init", ca, &[]);
        run("issue", ca, &["one"]);
    }
    fs::copy(other.path().join("one.crt"), dir.path().join("one.crt")).unwrap();
    let before = contents(dir.path());
    let output = fedmsg("revoke", dir.path(), &["one"]);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("was not issued by this CA")
    );
    assert_eq!(contents(dir.path()), before);

    // Nor is another CA's list taken over.
    fs::copy(other.path().join("crl.pem"), dir.path().join("crl.pem")).unwrap();
    run("issue", dir.path(), &["two"]);
    let output = fedmsg("revoke", dir.path(), &["two"]);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("was not issued by this CA")
    );

    // And a key that is not the CA certificate's issues nothing.
    fs::copy(other.path().join("ca.key"), dir.path().join("ca.key")).unwrap();
    let output = fedmsg("issue", dir.path(), &["three"]);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("is not that of the certificate")
    );
}

#[test]
fn a_ca_made_by_openssl_issues_certificates() {
    let dir = TempDir::new().unwrap();
    let (key, crt) = (dir.path().join("ca.key"), dir.path().join("ca.crt"));
    let output = openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "30",
        "-subj",
        "/O=X/CN=Old CA",
        "-addext",
        "subjectKeyIdentifier=01:02:03",
        "-addext",
        "authorityKeyIdentifier=none",
        "-keyout",
        key.to_str().unwrap(),
        "-out",
        crt.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{output:?}");
    run("issue", dir.path(), &["one"]);
    let (ca, one) = (crt.to_str().unwrap(), dir.path().join("one.crt"));
    let output = openssl(&["verify", "-CAfile", ca, one.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    run("init", dir.path(), &[]);
    run("issue", dir.path(), &["one"]);
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        let is_key = path.extension().is_some_and(|e| e == "key");
        assert!(
            if is_key {
                mode == 0o600
            } else {
                mode & 0o400 != 0
            },
            "{path:?} {mode:o}"
        );
    }
}

fn fedmsg(action: &str, dir: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fedmsg"))
        .args(["ca", action])
        .arg(dir)
        .args(more)
        .output()
        .unwrap()
}

fn run(action: &str, dir: &Path, more: &[&str]) {
    let output = fedmsg(action, dir, more);
    assert!(output.status.success(), "{action} {more:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

fn openssl(args: &[&str]) -> Output {
    Command::new("openssl")
        .args(args)
        .output()
        .expect("these tests need the openssl program: apt install openssl")
}

/// `OK`, or what `openssl verify` says is wrong.
fn openssl_verdict(ca: &Path, name: &str) -> String {
    let path = |file: &str| ca.join(file).to_str().unwrap().to_owned();
    let (crt, ca_file, crl) = (
        path(&format!("{name}.crt")),
        path("ca.crt"),
        path("crl.pem"),
    );
    let output = openssl(&[
        "verify",
        "-x509_strict",
        "-crl_check",
        "-CAfile",
        &ca_file,
        "-CRLfile",
        &crl,
        &crt,
    ]);
    if output.status.success() {
        "OK".to_owned()
    } else {
        format!("{output:?}")
    }
}

/// The rest of the line after `label`, or the line after that if nothing follows.
fn after<'a>(text: &'a str, label: &str) -> &'a str {
    let (_, rest) = text
        .split_once(label)
        .unwrap_or_else(|| panic!("{label:?} is not in {text}"));
    rest.trim_start().lines().next().unwrap().trim()
}

fn contents(dir: &Path) -> BTreeSet<(String, Vec<u8>)> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}
