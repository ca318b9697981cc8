//! `fedmsg canonicalize`, `sign` and `verify`, as a user runs them.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests' helpers too"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use fedmsg::crypto::{FileSigner, KeyKind, ca::Ca};
use fedmsg_core::crypto::{Signer, base64};
use serde_json::{Value, json};
use tempfile::TempDir;

/// When the test's CA was made.
const THEN: u64 = 1_800_000_000;
const MESSAGE: &str = r#"{"topic": "org.example.dev.lab.measured", "i": 7, "username": "root",
    "msg_id": "2026-5f2b5e0e-0d49-4a4d-8f0e-3b3f0f9b2a11", "timestamp": 1795430000,
    "msg": {"sensor": "büro", "celsius": 21.50}}"#;

/// What a command answered: exit code, stdout, stderr.
type Answer = (i32, String, String);

fn fedmsg(args: &[&str], input: &[u8]) -> Answer {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fedmsg"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It may end without having read everything.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    (
        output.status.code().expect("not killed by a signal"),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A CA of each kind, each with the senders `one` and `revoked`.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for (folder, kind) in [("p256", KeyKind::P256), ("rsa", KeyKind::Rsa2048)] {
            let folder = dir.path().join(folder);
            let ca = Ca::init(&folder, "CA", kind, 3650, THEN).unwrap();
            for name in ["one", "revoked"] {
                ca.issue(name, None, Some(100), THEN).unwrap();
            }
            ca.revoke("revoked", THEN).unwrap();
        }
        Self { dir }
    }

    fn path(&self, file: &str) -> String {
        self.dir.path().join(file).to_str().unwrap().to_owned()
    }

    fn sign(&self, ca: &str, name: &str, message: &str) -> Answer {
        fedmsg(
            &["sign", "--ssldir", &self.path(ca), "--certname", name],
            message.as_bytes(),
        )
    }

    fn verify(&self, ca: &str, more: &[&str], message: &[u8]) -> Answer {
        let (crt, crl) = (
            self.path(&format!("{ca}/ca.crt")),
            self.path(&format!("{ca}/crl.pem")),
        );
        let at = THEN.to_string();
        let at = if more.contains(&"--at") {
            vec![]
        } else {
            vec!["--at", &at]
        };
        fedmsg(
            &[&["verify", "--ca", &crt, "--crl", &crl], &at[..], more].concat(),
            message,
        )
    }
}

#[test]
fn canonicalize_answers_each_text_with_its_canonical_form_or_what_is_wrong() {
    for (text, code, out, err) in [
        (
            r#"{"b": 1, "a": [1E2, "é"]}"#,
            0,
            "{\"a\":[100.0,\"\\u00e9\"],\"b\":1}\n",
            "",
        ),
        ("\n 1 \r\n", 0, "1\n", ""),
        (
            "",
            1,
            "",
            "fedmsg canonicalize: not JSON: unexpected end at byte 0\n",
        ),
        (
            "[1,",
            1,
            "",
            "fedmsg canonicalize: not JSON: unexpected end at byte 3\n",
        ),
        (
            "{'a':1}",
            1,
            "",
            "fedmsg canonicalize: not JSON: unexpected byte at byte 1\n",
        ),
        (
            "1 2",
            1,
            "",
            "fedmsg canonicalize: not one JSON value: more data at byte 2\n",
        ),
    ] {
        let expected = (code, out.to_owned(), err.to_owned());
        assert_eq!(
            fedmsg(&["canonicalize"], text.as_bytes()),
            expected,
            "{text:?}"
        );
        assert_eq!(
            fedmsg(&["canonicalize", "-"], text.as_bytes()),
            expected,
            "{text:?}"
        );
    }
}

#[test]
fn canonicalize_gives_a_line_for_a_line() {
    for (text, code, out) in [
        ("", 0, ""),
        ("1", 0, "1\n"),
        ("1\n", 0, "1\n"),
        ("1\r\n[ ]\n", 0, "1\n[]\n"),
        (
            "{\"b\":1,\"a\":2}\nx\n\n[\n3",
            1,
            "{\"a\":2,\"b\":1}\nerror: not JSON: unexpected byte at byte 0\nerror: not JSON: unexpected end at byte 0\n\
             error: not JSON: unexpected end at byte 1\n3\n",
        ),
        ("\0\n", 1, "error: not JSON: unexpected byte at byte 0\n"),
    ] {
        let expected = (code, out.to_owned(), String::new());
        assert_eq!(
            fedmsg(&["canonicalize", "--lines"], text.as_bytes()),
            expected,
            "{text:?}"
        );
    }
    let answer = fedmsg(&["canonicalize", "--lines"], b"\"\xff\"\n1\n");
    assert_eq!((answer.0, answer.1.lines().nth(1)), (1, Some("1")));
    assert!(answer.1.starts_with("error: "), "{answer:?}");
}

#[test]
fn nesting_has_a_limit_that_can_be_set() {
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    for (args, depth, code) in [
        (&[][..], 1000, 0),
        (&[], 1001, 1),
        (&["--depth", "3"], 3, 0),
        (&["--depth", "3"], 4, 1),
        (&["--depth", "100000"], 100_000, 0),
        (&["--depth", "100000"], 100_001, 1),
        (&["--depth", "-1"], 1, 2),
        (&["--depth", "x"], 1, 2),
    ] {
        let (found, ..) = fedmsg(
            &[&["canonicalize"], args].concat(),
            nested(depth).as_bytes(),
        );
        assert_eq!(found, code, "{args:?} {depth}");
    }
}

#[test]
fn a_text_that_is_too_long_is_refused_and_the_next_one_read() {
    const LIMIT: usize = 64 << 20;
    let long = |len: usize| [&b"\""[..], &vec![b'x'; len - 2], b"\""].concat();
    let refusal = format!("the text is longer than {LIMIT} bytes\n");

    let (code, out, err) = fedmsg(&["canonicalize"], &long(LIMIT + 1));
    assert_eq!(
        (code, out, err),
        (1, String::new(), format!("fedmsg canonicalize: {refusal}"))
    );
    let lines = [
        &long(LIMIT)[..],
        b"\n",
        &long(LIMIT + 1),
        b"\n1\n",
        &long(LIMIT + 9),
    ]
    .concat();
    let (code, out, _) = fedmsg(&["canonicalize", "--lines"], &lines);
    let (first, rest) = out.split_at(LIMIT);
    assert!(first.as_bytes() == long(LIMIT));
    assert_eq!(
        (code, rest),
        (1, &*format!("\nerror: {refusal}1\nerror: {refusal}"))
    );
}

#[test]
fn answers_come_before_more_input_is_waited_for() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fedmsg"))
        .args(["canonicalize", "--lines"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for i in 0..3 {
        writeln!(stdin, "[ {i} ]").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), format!("[{i}]"));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("texts");
    fs::write(&file, "1\n".repeat(1 << 20)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_fedmsg"))
        .args(["canonicalize", "--lines"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn what_is_signed_is_verified() {
    let site = Site::new();
    for (ca, crypto) in [("p256", "x509-p256"), ("rsa", "x509")] {
        let (code, signed, err) = site.sign(ca, "one", MESSAGE);
        assert_eq!((code, &*err), (0, ""));
        let value: Value = serde_json::from_str(&signed).unwrap();
        assert_eq!(value["crypto"], crypto);
        let mut unsigned = value.clone();
        for credential in ["certificate", "crypto", "signature"] {
            unsigned
                .as_object_mut()
                .unwrap()
                .remove(credential)
                .unwrap();
        }
        assert_eq!(unsigned, serde_json::from_str::<Value>(MESSAGE).unwrap());
        // Both wrapped at 76 columns with a newline at the end.
        for field in ["certificate", "signature"] {
            let text = value[field].as_str().unwrap();
            assert!(text.ends_with('\n'));
            assert!(
                text.lines().rev().skip(1).all(|line| line.len() == 76),
                "{text}"
            );
        }
        assert_eq!(
            fedmsg(&["canonicalize"], signed.as_bytes()).1,
            signed,
            "it is canonical"
        );

        let good = (0, "one\n".to_owned(), String::new());
        assert_eq!(site.verify(ca, &[], signed.as_bytes()), good);
        // However it is written.
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        assert_eq!(site.verify(ca, &[], &pretty), good);
        // Signing again replaces the credentials.
        let (_, again, _) = site.sign(ca, "one", &signed);
        assert_eq!(site.verify(ca, &[], again.as_bytes()), good);
        // And a file does as well as a pipe.
        fs::write(site.path("message"), &signed).unwrap();
        assert_eq!(site.verify(ca, &[&site.path("message")], b""), good);
    }
}

#[test]
fn each_reason_not_to_believe_a_message_is_told() {
    let site = Site::new();
    let end = (THEN + 101 * 86400).to_string();
    for ca in ["p256", "rsa"] {
        let other = if ca == "rsa" { "p256" } else { "rsa" };
        let (_, signed, _) = site.sign(ca, "one", MESSAGE);
        let (_, revoked, _) = site.sign(ca, "revoked", MESSAGE);
        let value: Value = serde_json::from_str(&signed).unwrap();
        let with = |key: &str, new: Value| {
            let mut value = value.clone();
            value[key] = new;
            value.to_string()
        };
        let without = |keys: &[&str]| {
            let mut value = value.clone();
            value
                .as_object_mut()
                .unwrap()
                .retain(|key, _| !keys.contains(&key.as_str()));
            value.to_string()
        };
        // Written anew, it is still good: what is refused below is so for its own reason.
        assert_eq!(
            site.verify(ca, &[], value.to_string().as_bytes()),
            (0, "one\n".to_owned(), String::new())
        );
        let not_json = "not JSON: unexpected byte at byte 0";
        let signature = "signature is not the sender's for this message";
        let untrusted = "certificate is not from a trusted CA, or may not sign";
        let cases: &[(&str, &[&str], String, &str)] = &[
            (ca, &[], String::new(), "not JSON: unexpected end at byte 0"),
            (ca, &[], "not JSON".to_owned(), not_json),
            (ca, &[], "[1]".to_owned(), "object"),
            (ca, &[], "{}".to_owned(), "signed"),
            (ca, &[], MESSAGE.to_owned(), "signed"),
            (ca, &[], without(&["signature"]), "signature"),
            (ca, &[], without(&["certificate"]), "certificate"),
            (ca, &[], with("signature", json!(1)), "signature"),
            (ca, &[], with("certificate", json!(null)), "certificate"),
            (ca, &[], with("crypto", json!([])), "crypto"),
            (ca, &[], with("crypto", json!("gpg")), "not accepted here"),
            (ca, &[], with("signature", json!("?")), "base64"),
            (ca, &[], with("signature", json!("")), signature),
            (
                ca,
                &[],
                with("certificate", json!("")),
                "certificate cannot be read",
            ),
            (
                ca,
                &[],
                with("certificate", json!("AAAA")),
                "certificate cannot be read",
            ),
            (ca, &[], with("i", json!(8)), signature),
            (ca, &[], with("i", json!(7.0)), signature),
            (
                ca,
                &[],
                with("topic", json!("org.example.dev.lab.measure")),
                signature,
            ),
            (ca, &[], with("msg", json!({})), signature),
            (ca, &[], with("msg_id", json!("2026-0")), signature),
            (ca, &[], with("timestamp", json!(0)), signature),
            (ca, &[], with("username", json!("toor")), signature),
            (ca, &[], with("added", json!(null)), signature),
            (ca, &[], with("", json!("")), signature),
            (ca, &[], without(&["username"]), signature),
            (
                ca,
                &["--at", &end],
                signed.clone(),
                "certificate has expired",
            ),
            (
                ca,
                &["--at", "2000-01-01T00:00:00Z"],
                signed.clone(),
                // Of an RSA chain the list is looked at first, as OpenSSL does.
                match ca {
                    "rsa" => "revocation list is out of date",
                    _ => "certificate is not valid yet",
                },
            ),
            (ca, &[], revoked, "certificate is revoked"),
            (other, &[], signed.clone(), untrusted),
        ];
        for (ca, more, message, reason) in cases {
            let (code, out, err) = site.verify(ca, more, message.as_bytes());
            assert!(
                out.starts_with("error: ") && out.contains(reason),
                "{message}: {out}"
            );
            assert_eq!(
                (code, out.lines().count(), &*err),
                (1, 1, ""),
                "{message}: {out}"
            );
        }
    }
}

#[test]
fn the_backend_that_the_message_names_is_the_one_that_judges() {
    let site = Site::new();
    // Peers up to 0.7.2 name none: with a certificate, that is x509.
    for (ca, expected) in [
        ("rsa", (0, "one\n")),
        ("p256", (1, "error: certificate cannot be read")),
    ] {
        let signer = FileSigner::load(Path::new(&site.path(ca)), "one").unwrap();
        let mut signature = vec![0; signer.max_signature_len()];
        let len = signer.sign(&[br#"{"msg":1}"#], &mut signature).unwrap();
        let mut field = vec![0; 1000];
        let written =
            base64::encode(&signature[..len], base64::Wrapping::JsonLines, &mut field).unwrap();
        let message = format!(
            r#"{{"certificate":"{}","msg":1,"signature":"{}"}}"#,
            str::from_utf8(signer.certificate_field()).unwrap(),
            str::from_utf8(&field[..written]).unwrap()
        );
        let (code, out, _) = site.verify(ca, &[], message.as_bytes());
        assert!(
            code == expected.0 && out.starts_with(expected.1),
            "{ca}: {out}"
        );
    }
    // A signature under the other's name is not looked at twice.
    for (ca, crypto) in [("rsa", "x509-p256"), ("p256", "x509")] {
        let mut value: Value = serde_json::from_str(&site.sign(ca, "one", MESSAGE).1).unwrap();
        value["crypto"] = json!(crypto);
        let (code, out, _) = site.verify(ca, &[], value.to_string().as_bytes());
        assert_eq!(code, 1);
        assert!(
            out.starts_with("error: certificate cannot be read"),
            "{out}"
        );
    }
}

#[test]
fn sign_and_verify_give_a_line_for_a_line() {
    let site = Site::new();
    let ssldir = site.path("p256");
    let sign = ["sign", "--ssldir", &ssldir, "--certname", "one", "--lines"];
    let (code, signed, err) = fedmsg(&sign, b"{\"i\":1}\n[]\n\n{\"i\":2}");
    assert_eq!((code, &*err), (1, ""));
    let lines: Vec<_> = signed.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(
        lines[1].starts_with("error: ") && lines[2].starts_with("error: "),
        "{signed}"
    );

    let (code, verdicts, err) = site.verify("p256", &["--lines"], signed.as_bytes());
    assert_eq!((code, &*err), (1, ""));
    let refused = "error: not JSON: unexpected byte at byte 0";
    assert_eq!(
        verdicts.lines().collect::<Vec<_>>(),
        ["one", refused, refused, "one"]
    );
    let good = [lines[0], lines[3]].join("\n");
    let answer = site.verify("p256", &["--lines"], good.as_bytes());
    assert_eq!(answer, (0, "one\none\n".to_owned(), String::new()));
}

#[test]
fn what_cannot_be_used_is_named_in_one_line() {
    let site = Site::new();
    let (dir, none, ca) = (
        site.path("p256"),
        site.path("none"),
        site.path("p256/ca.crt"),
    );
    let other_crl = site.path("rsa/crl.pem");
    for (args, code, culprit) in [
        (&["canonicalize", &*none][..], 1, "none: No such file"),
        (&["canonicalize", &dir], 1, "p256: Is a directory"),
        (
            &["sign", "--ssldir", &dir, "--certname", "none"],
            1,
            "none.key: No such file",
        ),
        (
            &["sign", "--ssldir", &none, "--certname", "one"],
            1,
            "one.key: No such file",
        ),
        (
            &["sign", "--ssldir", &dir, "--certname", "one", &none],
            1,
            "none: No such file",
        ),
        (&["verify", "--ca", &none], 1, "none: No such file"),
        (
            &["verify", "--ca", &ca, "--crl", &none],
            1,
            "none: No such file",
        ),
        (
            &["verify", "--ca", &ca, "--crl", &other_crl],
            1,
            "was not issued by this CA",
        ),
        (&["verify", "--ca", &ca, &none], 1, "none: No such file"),
    ] {
        let (found, out, err) = fedmsg(args, b"{}");
        assert_eq!(
            (found, &*out, err.lines().count()),
            (code, "", 1),
            "{args:?}: {err}"
        );
        assert!(
            err.starts_with(&format!("fedmsg {}: ", args[0])),
            "{args:?}: {err}"
        );
        assert!(err.contains(culprit), "{args:?}: {err}");
    }
    for args in [
        &[][..],
        &["unknown"],
        &["sign"],
        &["sign", "--ssldir", &dir],
        &["verify"],
        &["verify", "--ca", &ca, "--at", "yesterday"],
        &["verify", "--ca", &ca, "--at", "-1"],
        &["canonicalize", "a", "b"],
    ] {
        assert_eq!(fedmsg(args, b"").0, 2, "{args:?}");
    }
}

#[test]
fn the_help_tells_exit_codes_and_limits() {
    for command in ["canonicalize", "sign", "verify"] {
        let (code, out, _) = fedmsg(&[command, "--help"], b"");
        assert_eq!(code, 0);
        for words in ["Exit codes: 0 ", "64 MiB"] {
            assert!(out.contains(words), "{out}");
        }
    }
}
