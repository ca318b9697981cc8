//! The backend `gpg` beside the real `gpg`, and beside Python fedmsg 1.1.7. Each test has a GnuPG
//! home of its own, with an agent of its own.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use fedmsg::crypto::{
    Scratch,
    gpg::{Error, GpgSigner, GpgVerifier, MAX_SIGNATURE},
};
use fedmsg_core::{
    crypto::{Refusal, Signer, Verifier},
    message::Invalid,
};
use fedmsg_tests::{
    eventually,
    python::{Script, environment},
};
use serde_json::{Value, json};

const MSG: &[u8] = br#"{"a":1}"#;

/// Every kind of key that GnuPG makes for signing. Of the last, signatures are verified by `gpg`
/// alone.
const ALGORITHMS: [&str; 9] = [
    "ed25519",
    "rsa2048",
    "rsa1024",
    "nistp256",
    "nistp384",
    "nistp521",
    "dsa2048",
    "secp256k1",
    "brainpoolP256r1",
];

#[test]
fn what_we_sign_with_any_kind_of_key_is_good_for_gpg_and_for_us() {
    let home = Home::new();
    for algorithm in ALGORITHMS {
        home.generate(algorithm, algorithm, "0");
    }
    // The newest subkey signs, not the primary key.
    home.generate("sub", "ed25519", "0");
    let primary = home.fingerprint("sub");
    home.gpg(&["--quick-add-key", &primary, "rsa2048", "sign", "0"], b"");
    let verifier = GpgVerifier::open(Some(home.path())).unwrap();
    for key in ALGORITHMS.into_iter().chain(["sub"]) {
        let signer = GpgSigner::open(Some(home.path()), key).unwrap();
        let primary = home.fingerprint(key);
        assert_eq!(signer.fingerprint() == primary, key != "sub");
        // Without its keyring no `gpg` signs: it is the agent that does.
        let keyring = home.path().join("pubring.kbx");
        fs::rename(&keyring, home.path().join("away")).unwrap();
        let signatures: Vec<_> = (0..12).map(|_| sign(&signer, MSG)).collect();
        fs::rename(home.path().join("away"), keyring).unwrap();
        for signature in &signatures {
            assert_eq!(
                judge(&verifier, signature, MSG),
                Ok(primary.clone()),
                "{key}"
            );
            assert_eq!(
                judge(&verifier, signature, b"2"),
                Err(Refusal::Signature),
                "{key}"
            );
        }
        for signature in &signatures[..3] {
            assert!(home.verifies(signature, MSG), "{key}");
        }
        let pieces: [&[u8]; 3] = [&MSG[..3], b"", &MSG[3..]];
        let mut out = vec![0; signer.max_signature_len()];
        let len = signer.sign(&pieces, &mut out).unwrap();
        assert!(home.verifies(&out[..len], MSG), "{key}");
        assert_eq!(
            judge_pieces(&verifier, &out[..len], &pieces),
            Ok(primary),
            "{key}"
        );
        // A buffer that is too small is an error.
        assert!(signer.sign(&[MSG], &mut out[..20]).is_err());
    }
}

/// The same verdict, and twice: `gpg` gives ours at first, what was learned from it later.
#[test]
fn our_verdict_on_any_signature_is_gpgs() {
    let home = Home::new();
    for algorithm in ALGORITHMS {
        home.generate(algorithm, algorithm, "0");
    }
    home.generate("sub", "ed25519", "0");
    let primary = home.fingerprint("sub");
    home.gpg(&["--quick-add-key", &primary, "rsa2048", "sign", "0"], b"");
    let past = ["--faked-system-time", "20200101T000000"];
    home.gpg(
        &[
            &past[..],
            &["--quick-gen-key", "expired", "ed25519", "sign", "1d"],
        ]
        .concat(),
        b"",
    );
    home.generate("revoked", "ed25519", "0");
    let other = Home::new();
    other.generate("stranger", "ed25519", "0");

    let mut cases = Vec::new();
    let mut case = |name: &str, signature: Vec<u8>| cases.push((name.to_owned(), signature));
    for algorithm in ALGORITHMS.into_iter().chain(["sub"]) {
        case(algorithm, home.sign(algorithm, &[]));
    }
    for digest in ["SHA1", "RIPEMD160", "SHA224", "SHA256", "SHA384", "SHA512"] {
        case(digest, home.sign("rsa2048", &["--digest-algo", digest]));
    }
    let good = home.sign("ed25519", &[]);
    let second = home.sign("rsa2048", &[]);
    case("expired key", home.sign("expired", &past));
    case("revoked key", home.sign("revoked", &[]));
    case("stranger", other.sign("stranger", &[]));
    case("text mode", home.sign("ed25519", &["--textmode"]));
    case(
        "still valid",
        home.sign("ed25519", &["--default-sig-expire", "1d"]),
    );
    // The key is younger than that, so the time is signed with, not faked.
    let ended = home.sign("ed25519", &["--default-sig-expire", "seconds=1"]);
    case("no longer valid", ended);
    case(
        "of tomorrow",
        home.sign("ed25519", &["--faked-system-time", "20400101T000000"]),
    );
    case(
        "older than its key",
        home.sign(
            "ed25519",
            &[
                "--faked-system-time",
                "20200101T000000",
                "--ignore-time-conflict",
                "--ignore-valid-from",
            ],
        ),
    );
    case(
        "notation",
        home.sign("ed25519", &["--sig-notation", "a@example.org=b"]),
    );
    case(
        "critical notation",
        home.sign("ed25519", &["--sig-notation", "!a@example.org=b"]),
    );
    case(
        "policy",
        home.sign("ed25519", &["--sig-policy-url", "https://example.org"]),
    );
    case("armor", home.sign("ed25519", &["--armor"]));
    case("twice", good.repeat(2));
    case(
        "twice, other digest",
        [
            good.clone(),
            home.sign("ed25519", &["--digest-algo", "SHA512"]),
        ]
        .concat(),
    );
    case("with garbage", [&good[..], b"garbage"].concat());
    case(
        "with a stranger's",
        [good.clone(), other.sign("stranger", &[])].concat(),
    );
    case(
        "two others'",
        [&second[..], &other.sign("stranger", &[])].concat(),
    );
    case("cut off", good[..good.len() - 1].to_vec());
    case("header alone", good[..2].to_vec());
    case("nothing", Vec::new());
    case("garbage", b"no signature".to_vec());
    case("not detached", home.message("ed25519", &["--sign"]));
    case(
        "not detached, plain",
        home.message("ed25519", &["--sign", "-z", "0"]),
    );
    case("clear text", home.message("ed25519", &["--clearsign"]));
    case("no signature in it", home.message("ed25519", &["--store"]));
    // What `gpg` writes is 0x88, one octet of length, body.
    let body = &good[2..];
    let len = u8::try_from(body.len()).unwrap();
    for (name, header) in [
        ("two octets of length", &[0x89, 0, len][..]),
        ("four octets of length", &[0x8a, 0, 0, 0, len]),
        ("no length", &[0x8b]),
        ("new format", &[0xc2, len]),
        ("new format, five octets", &[0xc2, 0xff, 0, 0, 0, len]),
        ("another packet", &[0x8c, len]),
        ("too long", &[0x88, len + 1]),
        ("too short", &[0x88, len - 1]),
        ("far too long", &[0x8a, 0xff, 0xff, 0xff, 0xff]),
    ] {
        case(name, [header, body].concat());
    }
    let partial = [&[0xc2, 0xe6][..], &body[..64], &[len - 64], &body[64..]].concat();
    case("partial length", partial);
    // They follow lengths and content of what is signed besides the data, and what is not.
    let hashed = usize::from(good[7]);
    let at = 8 + hashed + 2 + usize::from(good[8 + hashed + 1]);
    let digest = [at, at + 1].map(|at| format!("bit flip at {at}"));
    for (at, byte) in good.iter().enumerate() {
        let mut flipped = good.clone();
        flipped[at] = byte ^ 1 << (at % 8);
        case(&format!("bit flip at {at}"), flipped);
    }
    home.revoke("revoked");
    eventually("a second has passed", || {
        !home.verifies(&cases_named(&cases, "no longer valid"), MSG)
    });

    let verifier = GpgVerifier::open(Some(home.path())).unwrap();
    let mut accepted = Vec::new();
    let mut theirs = Vec::new();
    for (name, signature) in &cases {
        for data in [MSG, b"2"] {
            let expected = home.verifies(signature, data);
            if expected {
                assert_eq!(data, MSG);
                accepted.push(name.as_str());
            }
            theirs.push(expected);
        }
    }
    let mut stricter = BTreeSet::new();
    for pass in 0..3 {
        let mut theirs = theirs.iter();
        for (name, signature) in &cases {
            for data in [MSG, b"2"] {
                let ours = judge(&verifier, signature, data);
                let theirs = *theirs.next().unwrap();
                assert!(ours.is_err() || theirs, "{name}, {pass}: {ours:?}");
                if ours.is_ok() != theirs {
                    stricter.insert(name.as_str());
                }
            }
        }
    }
    // Broken lengths that `gpg` mends; and it does not look at the first two octets of the digest,
    // which are written down beside the signature.
    let known = [
        "too long",
        "far too long",
        "bit flip at 1",
        &digest[0],
        &digest[1],
    ];
    assert!(
        stricter.iter().all(|name| known.contains(name)),
        "{stricter:?}"
    );
    // The same for us and them, but not for lack of anything accepted, or refused.
    for name in [
        "sub",
        "SHA1",
        "expired key",
        "revoked key",
        "text mode",
        "armor",
        "twice",
        "notation",
    ] {
        assert!(accepted.contains(&name), "{name}: {accepted:?}");
    }
    for name in [
        "stranger",
        "no longer valid",
        "not detached",
        "clear text",
        "with a stranger's",
    ] {
        assert!(!accepted.contains(&name), "{name}");
    }
    // Reasons have names.
    let refusal = |name| judge(&verifier, &cases_named(&cases, name), MSG).unwrap_err();
    assert_eq!(refusal("stranger"), Refusal::UnknownKey);
    assert_eq!(refusal("no longer valid"), Refusal::Expired);
    assert_eq!(refusal("not detached"), Refusal::Signature);
    // Stricter than `gpg`: what is in a compressed packet may be far longer than it looks.
    let compressed = [&[0xa3, 0], &good[..]].concat();
    assert!(home.verifies(&compressed, MSG));
    assert_eq!(judge(&verifier, &compressed, MSG), Err(Refusal::Signature));
    let behind = [&good[..], &compressed].concat();
    assert_eq!(judge(&verifier, &behind, MSG), Err(Refusal::Signature));
    // By whom is it, if it is by two?
    let both = [good.clone(), second].concat();
    assert!(home.verifies(&both, MSG));
    assert_eq!(judge(&verifier, &both, MSG), Err(Refusal::Name));
    // And nothing is that long.
    let long = good.repeat(MAX_SIGNATURE / good.len() + 1);
    assert_eq!(judge(&verifier, &long, MSG), Err(Refusal::Signature));
}

fn cases_named(cases: &[(String, Vec<u8>)], name: &str) -> Vec<u8> {
    let case = cases.iter().find(|(found, _)| found == name);
    case.expect("a case").1.clone()
}

#[test]
fn a_kind_of_signature_costs_one_process_and_a_strangers_none() {
    let name = "a_kind_of_signature_costs_one_process_and_a_strangers_none";
    // A `gpg` before the real one in the path, which writes down what it is asked.
    const LOG: &str = "FEDMSG_TEST_GPG_LOG";
    let Some(log) = env::var_os(LOG).map(PathBuf::from) else {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "").unwrap();
        let path = env::var("PATH").unwrap();
        let script =
            format!("#!/bin/sh\necho \"$*\" >> \"${LOG}\"\nPATH='{path}' exec gpg \"$@\"\n");
        executable(&dir.path().join("gpg"), &script);
        let path = format!("{}:{path}", dir.path().display());
        return again(name, &[(LOG, log.to_str().unwrap()), ("PATH", &path)]);
    };
    let home = Home::new();
    home.generate("a", "ed25519", "0");
    home.generate("b", "rsa2048", "0");
    let other = Home::new();
    other.generate("stranger", "ed25519", "0");
    let stranger = other.sign("stranger", &[]);
    let signatures = ["a", "b"].map(|key| (0..4).map(|_| home.sign(key, &[])).collect::<Vec<_>>());
    // `gpg` brings its trust database up to date when it first needs it.
    assert!(home.verifies(&signatures[0][0], MSG));
    let verifier = GpgVerifier::open(Some(home.path())).unwrap();
    fs::write(&log, "").unwrap();
    for signature in signatures.concat() {
        assert!(judge(&verifier, &signature, MSG).is_ok());
        assert_eq!(judge(&verifier, &signature, b"2"), Err(Refusal::Signature));
        assert_eq!(judge(&verifier, &stranger, MSG), Err(Refusal::UnknownKey));
    }
    let asked = fs::read_to_string(&log).unwrap();
    let count = |what| asked.matches(what).count();
    assert_eq!([count("--verify"), count("--export ")], [2, 2], "{asked}");
}

#[test]
fn a_changed_keyring_is_noticed() {
    let home = Home::new();
    home.generate("a", "ed25519", "0");
    let other = Home::new();
    other.generate("b", "ed25519", "0");
    let signature = other.sign("b", &[]);
    let verifier = GpgVerifier::open(Some(home.path())).unwrap();
    assert_eq!(judge(&verifier, &signature, MSG), Err(Refusal::UnknownKey));
    home.gpg(&["--import"], &other.gpg(&["--export", "b"], b""));
    eventually("the new key is known", || {
        judge(&verifier, &signature, MSG).is_ok()
    });
    // Learned by now, and forgotten with the key.
    assert!(judge(&verifier, &signature, MSG).is_ok());
    home.gpg(&["--yes", "--delete-keys", &other.fingerprint("b")], b"");
    eventually("the old key is forgotten", || {
        judge(&verifier, &signature, MSG) == Err(Refusal::UnknownKey)
    });
    // A digest that `gpg.conf` forbids, and then allows.
    let sha256 = home.sign("a", &["--digest-algo", "SHA256"]);
    assert!(judge(&verifier, &sha256, MSG).is_ok());
    fs::write(home.path().join("gpg.conf"), "weak-digest SHA256\n").unwrap();
    eventually("the digest is refused", || {
        judge(&verifier, &sha256, MSG).is_err()
    });
    fs::write(home.path().join("gpg.conf"), "").unwrap();
    eventually("the digest is allowed", || {
        judge(&verifier, &sha256, MSG).is_ok()
    });
}

#[test]
fn an_agent_that_ends_is_started_again() {
    let home = Home::new();
    home.generate("a", "ed25519", "0");
    let signer = GpgSigner::open(Some(home.path()), "a").unwrap();
    for _ in 0..2 {
        home.kill_agent();
        for _ in 0..2 {
            assert!(home.verifies(&sign(&signer, MSG), MSG));
        }
    }
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    sign(&signer, MSG);
                }
            });
        }
    });
}

#[test]
fn a_key_that_cannot_sign_says_why_and_what_to_do() {
    let home = Home::new();
    let open = |key: &str| match GpgSigner::open(Some(home.path()), key) {
        Ok(_) => panic!("{key} signs"),
        Err(error) => error,
    };
    let past = ["--faked-system-time", "20200101T000000", "--quick-gen-key"];
    home.gpg(
        &[&past[..], &["expired", "ed25519", "sign", "1d"]].concat(),
        b"",
    );
    home.generate("revoked", "ed25519", "0");
    home.revoke("revoked");
    let other = Home::new();
    other.generate("public", "ed25519", "0");
    home.gpg(&["--import"], &other.gpg(&["--export", "public"], b""));

    assert!(matches!(open("nobody"), Error::UnknownKey { key, .. } if key == "nobody"));
    assert!(matches!(open("--version"), Error::UnknownKey { .. }));
    assert!(matches!(open("public"), Error::NoSecretKey { key, .. } if key == "public"));
    assert!(matches!(open("expired"), Error::Unusable { .. }));
    assert!(matches!(open("revoked"), Error::Unusable { .. }));

    let missing = home.path().join("missing");
    assert!(matches!(
        GpgSigner::open(Some(&missing), "a").err(),
        Some(Error::Home { path, .. }) if path == missing
    ));
    let error = GpgVerifier::open(Some(&missing)).err().unwrap().to_string();
    assert!(
        error.contains("missing") && error.contains("gpg_home"),
        "{error}"
    );
}

#[test]
fn a_locked_key_asks_through_the_agent_and_never_hangs() {
    let home = Home::new();
    // It speaks as a pinentry does; what it does when asked for a passphrase is the test's.
    let pinentry = |answer: &str| {
        let script = format!(
            "#!/bin/sh\necho OK\nwhile read -r word rest; do case $word in \
             GETPIN) {answer};; BYE) echo OK; exit;; *) echo OK;; esac; done\n"
        );
        executable(&home.path().join("pinentry"), &script);
        home.kill_agent();
    };
    let program = format!(
        "pinentry-program {}\n",
        home.path().join("pinentry").display()
    );
    fs::write(home.path().join("gpg-agent.conf"), program).unwrap();
    let make = [
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "secret",
        "--quick-gen-key",
    ];
    home.run(&[&make[..], &["a", "ed25519", "sign", "0"]].concat(), b"");

    pinentry("echo 'D secret'; echo OK");
    let signer = GpgSigner::open(Some(home.path()), "a").unwrap();
    assert!(home.verifies(&sign(&signer, MSG), MSG));
    // The agent has forgotten the passphrase: whoever has it is asked again.
    home.kill_agent();
    assert!(home.verifies(&sign(&signer, MSG), MSG));

    let open = |seconds| {
        let limit = Duration::from_secs(seconds);
        GpgSigner::open_within(Some(home.path()), "a", limit).err()
    };
    pinentry("echo 'ERR 83886179 Operation cancelled <Pinentry>'");
    assert!(matches!(open(30), Some(Error::Cancelled { .. })));
    let mut out = vec![0; signer.max_signature_len()];
    assert!(signer.sign(&[MSG], &mut out).is_err());
    pinentry("echo 'D wrong'; echo OK");
    let error = open(30).unwrap();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    pinentry("exec sleep 1000");
    let error = open(1).unwrap();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert!(!error.to_string().contains("secret"), "{error}");
    fs::remove_file(home.path().join("pinentry")).unwrap();
    home.kill_agent();
    let error = open(30).unwrap();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
}

#[test]
fn without_gnupg_nothing_is_accepted_and_the_error_says_what_to_install() {
    let name = "without_gnupg_nothing_is_accepted_and_the_error_says_what_to_install";
    // A path that has GnuPG and nothing else.
    const PROGRAMS: &str = "FEDMSG_TEST_GPG_PROGRAMS";
    let Some(programs) = env::var_os(PROGRAMS).map(PathBuf::from) else {
        let dir = tempfile::tempdir().unwrap();
        let path = env::var_os("PATH").unwrap();
        for program in ["gpg", "gpgconf", "gpg-agent"] {
            let found = env::split_paths(&path)
                .map(|folder| folder.join(program))
                .find(|path| path.exists());
            let found = found.expect("this test needs GnuPG (Debian: apt install gnupg)");
            std::os::unix::fs::symlink(found, dir.path().join(program)).unwrap();
        }
        let path = dir.path().to_str().unwrap();
        return again(name, &[(PROGRAMS, path), ("PATH", path)]);
    };
    let home = Home::new();
    home.generate("a", "ed25519", "0");
    let verifier = GpgVerifier::open(Some(home.path())).unwrap();
    let signature = home.sign("a", &[]);
    home.kill_agent();
    for program in ["gpg", "gpgconf"] {
        fs::remove_file(programs.join(program)).unwrap();
    }
    assert_eq!(judge(&verifier, &signature, MSG), Err(Refusal::Unavailable));
    let error = GpgVerifier::open(Some(home.path())).err().unwrap();
    assert!(error.to_string().contains("apt install gnupg"), "{error}");
}

#[test]
fn messages_pass_between_us_and_the_peer() {
    let home = Home::new();
    home.generate("a", "rsa2048", "0");
    home.generate("b", "ed25519", "0");
    let mut peer = Script::start(&python(), include_str!("../py/gpg_peer.py"), &[]);
    let verifier = GpgVerifier::open(Some(home.path())).unwrap();
    let mut scratch = Scratch::default();
    let mut other = Scratch::default();
    for key in ["a", "b"] {
        let signer = GpgSigner::open(Some(home.path()), key).unwrap();
        let config = json!({
            "crypto_backend": "gpg",
            "crypto_validate_backends": ["gpg"],
            "gpg_home": home.path(),
            "gpg_signing_key": home.fingerprint(key),
        });
        let mut theirs =
            |message: &Value| match peer.ask(&json!(["validate", message, config]), &[]) {
                Ok(answer) => {
                    let verdicts = &answer.line["verdicts"];
                    assert_eq!(verdicts[0], verdicts[1]);
                    verdicts[0] == true
                }
                // It fails where it should refuse.
                Err(_) => false,
            };
        let mut ours = |message: &Value| {
            let body = message.to_string();
            let valid = scratch.validate(None, body.as_bytes(), &[&verifier], 0);
            valid.map(|valid| valid.signer.to_owned())
        };
        for msg in [
            json!({"b": 1, "a": {"d": [], "c": {}}}),
            json!("caf\u{e9} \u{1f600} \u{7f} / \\ \" \n\u{1}"),
            json!([0, -1, 1.0, 1e16, 1e-5, null, true]),
            json!("x".repeat(100_000)),
        ] {
            let message = json!({"i": 1, "msg": msg, "topic": "org.example.dev.x"});
            let signed = other.sign(message.to_string().as_bytes(), &signer).unwrap();
            let by_us: Value = serde_json::from_slice(signed).unwrap();
            let by_them = peer_sign(&message, &config);
            for signed in [by_us, by_them] {
                assert_eq!(signed["crypto"], "gpg");
                assert_eq!(signed.get("certificate"), None);
                assert!(theirs(&signed));
                assert_eq!(ours(&signed), Ok(home.fingerprint(key)));
                for (member, value, valid) in [
                    // Not covered, and so not protected: both accept it.
                    ("topic", json!("org.example.dev.y"), true),
                    ("certificate", json!("stray"), true),
                    ("msg", json!("other"), false),
                    ("signature", json!(""), false),
                    ("signature", json!("Z2FyYmFnZQ=="), false),
                ] {
                    let mut changed = signed.clone();
                    changed[member] = value;
                    assert_eq!(theirs(&changed), valid, "{member}");
                    assert_eq!(ours(&changed).is_ok(), valid, "{member}");
                }
                let mut guessed = signed.clone();
                guessed.as_object_mut().unwrap().remove("crypto");
                assert!(theirs(&guessed) && ours(&guessed).is_ok());
                let mut empty = signed.clone();
                empty.as_object_mut().unwrap().remove("msg");
                assert!(!theirs(&empty));
                assert_eq!(ours(&empty), Err(Invalid::Missing("msg")));
            }
        }
    }
}

fn peer_sign(message: &Value, config: &Value) -> Value {
    let mut peer = Script::start(&python(), include_str!("../py/gpg_peer.py"), &[]);
    let answer = peer.ask(&json!(["sign", message, config]), &[]).unwrap();
    answer.line["message"].clone()
}

#[test]
fn the_peers_own_old_home_and_signatures_are_judged_as_it_judges_them() {
    let packages = python();
    let packages = packages.ancestors().nth(2).unwrap().join("lib");
    let packages = fs::read_dir(packages).unwrap().next().unwrap().unwrap();
    let theirs = packages
        .path()
        .join("site-packages/fedmsg/tests/test_certs/gpg");
    let home = Home::new();
    for file in ["pubring.gpg", "trustdb.gpg"] {
        fs::copy(theirs.join(file), home.path().join(file)).unwrap();
    }
    let read = |name: &str| fs::read(theirs.join(name)).unwrap();
    let data = read("test_data");
    let verifier = GpgVerifier::open(Some(home.path())).unwrap();
    for _ in 0..2 {
        for (name, good) in [("test_data.sig", true), ("corrupt.sig", false)] {
            let signature = read(name);
            assert_eq!(home.verifies(&signature, &data), good, "{name}");
            let verdict = judge(&verifier, &signature, &data);
            assert_eq!(verdict.is_ok(), good, "{name}: {verdict:?}");
        }
    }
}

fn sign(signer: &GpgSigner, message: &[u8]) -> Vec<u8> {
    let mut out = vec![0; signer.max_signature_len()];
    let len = signer.sign(&[message], &mut out).unwrap();
    out.truncate(len);
    out
}

fn judge(verifier: &GpgVerifier, signature: &[u8], message: &[u8]) -> Result<String, Refusal> {
    judge_pieces(verifier, signature, &[message])
}

fn judge_pieces(
    verifier: &GpgVerifier,
    signature: &[u8],
    message: &[&[u8]],
) -> Result<String, Refusal> {
    let mut name = [0; 64];
    let verdict = verifier.verify(message, signature, b"", 0, &mut name);
    verdict.map(str::to_owned)
}

/// A GnuPG home, and the agent that came with it, both gone when dropped.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        // Short, for the sockets' sake.
        let dir = tempfile::Builder::new().prefix("g").tempdir_in("/tmp");
        let home = Self { dir: dir.unwrap() };
        // The matrix has keys of 1024 bits.
        fs::write(home.path().join("gpg.conf"), "").unwrap();
        home
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A key without a passphrase, that may sign and certify.
    fn generate(&self, name: &str, algorithm: &str, expires: &str) {
        self.gpg(&["--quick-gen-key", name, algorithm, "sign", expires], b"");
    }

    fn revoke(&self, name: &str) {
        let file = format!("openpgp-revocs.d/{}.rev", self.fingerprint(name));
        let text = fs::read_to_string(self.path().join(file)).unwrap();
        // A colon before it keeps it from being imported by mistake.
        let text = text.replace("\n:---", "\n---");
        self.gpg(&["--import"], text.as_bytes());
    }

    fn fingerprint(&self, name: &str) -> String {
        let listing = self.gpg(&["--with-colons", "--list-keys", &format!("={name}")], b"");
        let listing = String::from_utf8(listing).unwrap();
        let line = listing.lines().find(|line| line.starts_with("fpr:"));
        line.unwrap().split(':').nth(9).unwrap().to_owned()
    }

    /// A detached signature over [`MSG`].
    fn sign(&self, name: &str, options: &[&str]) -> Vec<u8> {
        self.message(name, &[options, &["--detach-sign"]].concat())
    }

    fn message(&self, name: &str, options: &[&str]) -> Vec<u8> {
        let user = format!("={name}");
        self.gpg(&[&["--local-user", &user], options].concat(), MSG)
    }

    /// As the peer asks: with files, and nothing but the exit code counts.
    fn verifies(&self, signature: &[u8], message: &[u8]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let [signature_file, message_file] =
            ["signature", "message"].map(|name| dir.path().join(name));
        fs::write(&signature_file, signature).unwrap();
        fs::write(&message_file, message).unwrap();
        let files = [&signature_file, &message_file].map(|path| path.to_str().unwrap());
        let output = self.run(&[&["--verify"][..], &files].concat(), b"");
        output.status.success()
    }

    #[track_caller]
    fn gpg(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run(&[&["--passphrase", ""], arguments].concat(), input);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {told}");
        output.stdout
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(self.path())
            .args(["--batch", "--no-tty"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test needs GnuPG 2.2 or later as `gpg` (Debian: apt install gnupg)");
        let mut stdin = child.stdin.take().unwrap();
        // It may not want it.
        let _ = stdin.write_all(input);
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    fn kill_agent(&self) {
        let mut gpgconf = Command::new("gpgconf");
        gpgconf.arg("--homedir").arg(self.path());
        let _ = gpgconf.args(["--kill", "all"]).status();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.kill_agent();
    }
}

fn executable(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a test of this file again, in a process with other variables.
#[track_caller]
fn again(name: &str, variables: &[(&str, &str)]) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

fn python() -> PathBuf {
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/py/fedmsg-requirements.txt");
    environment("fedmsg-1.1.7", &["-r", requirements])
}
