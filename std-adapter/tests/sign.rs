//! Signers and trust from files: what is accepted, what is refused and why.

#![cfg(feature = "x509")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::{fs, path::Path, process::Command};

use fedmsg::crypto::{Error, FileSigner, KeyKind, MAX_CERTIFICATE, Trust, ca::Ca};
use fedmsg_core::crypto::{Refusal, Signer, Verifier};
use tempfile::TempDir;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86400;
const MESSAGE: &[&[u8]] = &[b"a message", b"", b" in pieces"];

/// A P-256 CA with the P-256 senders `one` and `revoked` and the RSA sender `rsa`, and another CA
/// of the same name.
struct Site {
    dir: TempDir,
    other: TempDir,
}

impl Site {
    fn new() -> Self {
        let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let ca = Ca::init(dir.path(), "CA", KeyKind::P256, 1000, NOW).unwrap();
        ca.issue("one", None, Some(100), NOW).unwrap();
        ca.issue("revoked", None, Some(100), NOW).unwrap();
        ca.revoke("revoked", NOW).unwrap();
        ca.issue("rsa", Some(KeyKind::Rsa2048), Some(100), NOW)
            .unwrap();
        let ca = Ca::init(other.path(), "CA", KeyKind::P256, 1000, NOW).unwrap();
        ca.issue("one", None, Some(100), NOW).unwrap();
        Self { dir, other }
    }

    fn trust(&self) -> Trust {
        let path = |name| self.dir.path().join(name);
        Trust::load(&path("ca.crt"), Some(&path("crl.pem"))).unwrap()
    }
}

fn legacy() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/legacy"))
}

fn sign(signer: &FileSigner) -> Vec<u8> {
    let mut signature = vec![0; signer.max_signature_len()];
    let len = signer.sign(MESSAGE, &mut signature).unwrap();
    signature.truncate(len);
    signature
}

/// The verdict on a message with the certificate `NAME.crt`.
fn judge(
    trust: &Trust,
    certificate: &Path,
    message: &[&[u8]],
    signature: &[u8],
    at: u64,
) -> Result<String, Refusal> {
    let pem = fs::read(certificate).unwrap();
    let mut name = [0; 64];
    let p256 = trust
        .p256()
        .verify(message, signature, &pem, at, &mut name)
        .map(str::to_owned);
    let x509 = trust
        .x509()
        .verify(message, signature, &pem, at, &mut name)
        .map(str::to_owned);
    // Exactly one backend can read a certificate.
    match (p256, x509) {
        (Err(Refusal::Certificate { .. }), other) | (other, Err(Refusal::Certificate { .. })) => {
            other
        }
        both => panic!("{both:?}"),
    }
}

#[test]
fn a_message_is_accepted_as_its_signer_made_it_and_in_no_other_way() {
    let site = Site::new();
    let trust = site.trust();
    for (name, backend) in [("one", "x509-p256"), ("rsa", "x509")] {
        let signer = FileSigner::load(site.dir.path(), name).unwrap();
        assert_eq!(signer.backend(), backend);
        let signature = sign(&signer);
        let crt = site.dir.path().join(format!("{name}.crt"));
        let judge =
            |message: &[&[u8]], signature: &[u8]| judge(&trust, &crt, message, signature, NOW);

        // However it is cut into pieces.
        for message in [MESSAGE, &[b"a message in pieces"]] {
            assert_eq!(judge(message, &signature).as_deref(), Ok(name));
        }
        for message in [&b""[..], b"a message", b"a message in pieces."] {
            assert_eq!(
                judge(&[message], &signature),
                Err(Refusal::Signature),
                "{message:?}"
            );
        }
        for bit in 0..signature.len() * 8 {
            let mut wrong = signature.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                judge(MESSAGE, &wrong),
                Err(Refusal::Signature),
                "{name} bit {bit}"
            );
        }
        for wrong in [&[][..], &signature[1..], &[&signature[..], &[0]].concat()] {
            assert_eq!(
                judge(MESSAGE, wrong),
                Err(Refusal::Signature),
                "{name} {wrong:?}"
            );
        }
    }
}

#[test]
fn a_signer_writes_its_signature_only_where_it_fits() {
    let site = Site::new();
    for name in ["one", "rsa"] {
        let signer = FileSigner::load(site.dir.path(), name).unwrap();
        let needed = signer.max_signature_len();
        assert_eq!(
            signer.sign(MESSAGE, &mut vec![0; needed - 1]),
            Err(fedmsg_core::crypto::SignError::BufferTooSmall { needed })
        );
    }
}

#[test]
fn each_reason_to_distrust_a_certificate_is_named() {
    let site = Site::new();
    let path = |name: &str| site.dir.path().join(name);
    let other = |name: &str| site.other.path().join(name);
    let old = |name: &str| legacy().join(name);
    let both = path("both.crt");
    let read = |path: &Path| fs::read(path).unwrap();
    fs::write(
        &both,
        [read(&path("ca.crt")), read(&old("ca.crt"))].concat(),
    )
    .unwrap();
    let end = NOW + 100 * DAY;
    let old_now = 1_400_000_000;

    for (ca, crl, crt, at, expected) in [
        (
            path("ca.crt"),
            Some(path("crl.pem")),
            path("one.crt"),
            NOW,
            Ok("one"),
        ),
        (path("ca.crt"), None, path("one.crt"), NOW, Ok("one")),
        (
            path("ca.crt"),
            Some(path("crl.pem")),
            path("one.crt"),
            end,
            Ok("one"),
        ),
        (
            path("ca.crt"),
            Some(path("crl.pem")),
            path("one.crt"),
            end + 1,
            Err(Refusal::Expired),
        ),
        (path("ca.crt"), None, path("one.crt"), NOW - 3600, Ok("one")),
        (
            path("ca.crt"),
            None,
            path("one.crt"),
            NOW - 3601,
            Err(Refusal::NotYetValid),
        ),
        (
            path("ca.crt"),
            None,
            path("one.crt"),
            0,
            Err(Refusal::NotYetValid),
        ),
        (
            path("ca.crt"),
            None,
            path("one.crt"),
            u64::MAX,
            Err(Refusal::Expired),
        ),
        (
            path("ca.crt"),
            None,
            path("rsa.crt"),
            end + 1,
            Err(Refusal::Expired),
        ),
        (
            path("ca.crt"),
            None,
            path("rsa.crt"),
            NOW - 3601,
            Err(Refusal::NotYetValid),
        ),
        (
            path("ca.crt"),
            Some(path("crl.pem")),
            path("revoked.crt"),
            NOW,
            Err(Refusal::Revoked),
        ),
        (
            path("ca.crt"),
            None,
            path("revoked.crt"),
            NOW,
            Ok("revoked"),
        ),
        (
            path("ca.crt"),
            Some(path("crl.pem")),
            path("ca.crt"),
            NOW,
            Err(Refusal::Untrusted),
        ),
        // Of the same name, but with another key.
        (
            other("ca.crt"),
            None,
            path("one.crt"),
            NOW,
            Err(Refusal::Untrusted),
        ),
        (
            other("ca.crt"),
            None,
            path("rsa.crt"),
            NOW,
            Err(Refusal::Untrusted),
        ),
        (
            path("ca.crt"),
            None,
            other("one.crt"),
            NOW,
            Err(Refusal::Untrusted),
        ),
        (
            path("ca.crt"),
            None,
            old("sender.crt"),
            NOW,
            Err(Refusal::Untrusted),
        ),
        // Several CAs; with a revocation list for one, the other needs its own.
        (both.clone(), None, path("one.crt"), NOW, Ok("one")),
        (
            both.clone(),
            None,
            old("sender.crt"),
            NOW,
            Ok("sender.old.example.org"),
        ),
        (
            both.clone(),
            Some(old("crl.pem")),
            old("sender.crt"),
            NOW,
            Ok("sender.old.example.org"),
        ),
        (
            both,
            Some(old("crl.pem")),
            path("one.crt"),
            NOW,
            Err(Refusal::RevocationList),
        ),
        // What old sites have.
        (
            old("ca.crt"),
            None,
            old("sender.crt"),
            old_now,
            Ok("sender.old.example.org"),
        ),
        // Of the same name and key, but not the certificate that the sender's names by its number.
        (
            old("ca-v1.crt"),
            None,
            old("sender.crt"),
            old_now,
            Err(Refusal::Untrusted),
        ),
        (
            old("ca.crt"),
            Some(old("crl.pem")),
            old("revoked.crt"),
            NOW,
            Err(Refusal::Revoked),
        ),
        (
            old("ca.crt"),
            Some(old("crl.pem")),
            old("expired.crt"),
            NOW,
            Err(Refusal::Expired),
        ),
        (
            old("ca.crt"),
            None,
            old("expired.crt"),
            old_now,
            Ok("expired.old.example.org"),
        ),
    ] {
        let case = format!("{ca:?} {crl:?} {crt:?} {at}");
        let signature = match FileSigner::load(crt.parent().unwrap(), stem(&crt)) {
            Ok(signer) => sign(&signer),
            // The old CA's key is not kept.
            Err(_) => Vec::new(),
        };
        let trust = Trust::load(&ca, crl.as_deref()).unwrap();
        // The second time from memory.
        for _ in 0..2 {
            let verdict = judge(&trust, &crt, MESSAGE, &signature, at);
            assert_eq!(verdict.as_deref(), expected.as_ref().copied(), "{case}");
        }
    }
}

#[test]
fn a_remembered_verdict_ends_with_its_dates() {
    let site = Site::new();
    let trust = site.trust();
    let crt = site.dir.path().join("one.crt");
    let signature = sign(&FileSigner::load(site.dir.path(), "one").unwrap());
    let judge = |at| judge(&trust, &crt, MESSAGE, &signature, at);
    for _ in 0..2 {
        assert_eq!(judge(NOW).as_deref(), Ok("one"));
        assert_eq!(judge(NOW + 101 * DAY), Err(Refusal::Expired));
        assert_eq!(judge(NOW - DAY), Err(Refusal::NotYetValid));
    }
}

#[test]
fn an_out_of_date_revocation_list_is_not_relied_on() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let ca = Ca::init(dir.path(), "CA", KeyKind::P256, 100, NOW).unwrap();
    ca.issue("one", None, Some(10), NOW).unwrap();
    ca.issue("two", None, Some(10), NOW).unwrap();
    // A list of tomorrow.
    ca.revoke("two", NOW + 2 * DAY).unwrap();
    let trust = Trust::load(&path("ca.crt"), Some(&path("crl.pem"))).unwrap();
    let judge = |name, at| {
        let signature = sign(&FileSigner::load(dir.path(), name).unwrap());
        judge(
            &trust,
            &path(&format!("{name}.crt")),
            MESSAGE,
            &signature,
            at,
        )
    };
    assert_eq!(judge("one", NOW), Err(Refusal::RevocationListDate));
    assert_eq!(judge("one", NOW + 2 * DAY).as_deref(), Ok("one"));
    assert_eq!(judge("one", NOW), Err(Refusal::RevocationListDate));
    // What is revoked stays so.
    assert_eq!(judge("two", NOW), Err(Refusal::Revoked));
}

#[test]
fn of_several_revocation_lists_of_a_ca_the_latest_counts() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let ca = Ca::init(dir.path(), "CA", KeyKind::P256, 100, NOW).unwrap();
    ca.issue("one", None, Some(10), NOW).unwrap();
    let old = fs::read(path("crl.pem")).unwrap();
    ca.revoke("one", NOW + DAY).unwrap();
    let new = fs::read(path("crl.pem")).unwrap();
    let signature = sign(&FileSigner::load(dir.path(), "one").unwrap());
    for lists in [[&old[..], &new], [&new, &old]] {
        fs::write(path("both.pem"), lists.concat()).unwrap();
        let trust = Trust::load(&path("ca.crt"), Some(&path("both.pem"))).unwrap();
        let verdict = judge(&trust, &path("one.crt"), MESSAGE, &signature, NOW + DAY);
        assert_eq!(verdict, Err(Refusal::Revoked));
    }
}

#[test]
fn the_name_must_fit_its_buffer() {
    let site = Site::new();
    let trust = site.trust();
    let pem = fs::read(site.dir.path().join("one.crt")).unwrap();
    let signature = sign(&FileSigner::load(site.dir.path(), "one").unwrap());
    let verdict = trust
        .p256()
        .verify(MESSAGE, &signature, &pem, NOW, &mut [0; 2])
        .map(str::len);
    assert_eq!(verdict, Err(Refusal::Name));
}

#[test]
fn a_changed_certificate_is_refused() {
    let site = Site::new();
    let trust = site.trust();
    let (p256, x509) = (trust.p256(), trust.x509());
    for (name, verifier) in [("one", &p256 as &dyn Verifier), ("rsa", &x509)] {
        let pem = fs::read(site.dir.path().join(format!("{name}.crt"))).unwrap();
        let signature = sign(&FileSigner::load(site.dir.path(), name).unwrap());
        let verify = |pem: &[u8]| {
            let mut buffer = [0; 64];
            verifier
                .verify(MESSAGE, &signature, pem, NOW, &mut buffer)
                .map(str::to_owned)
        };
        assert_eq!(verify(&pem).as_deref(), Ok(name));
        assert_eq!(
            verify(&[b"text before\n", &pem[..], b"and after"].concat()).as_deref(),
            Ok(name)
        );
        for at in 0..pem.len() {
            let mut wrong = pem.clone();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            assert!(verify(&wrong).is_err(), "{name} byte {at}");
        }
        for text in [
            &b""[..],
            b"x",
            b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        ] {
            let verdict = verify(text);
            assert!(
                matches!(verdict, Err(Refusal::Certificate { .. })),
                "{text:?}: {verdict:?}"
            );
        }
        assert_eq!(
            verify(&[&pem[..], &[b' '; MAX_CERTIFICATE]].concat()),
            Err(Refusal::CertificateTooLarge {
                limit: MAX_CERTIFICATE
            })
        );
    }
}

#[test]
fn keys_are_read_in_every_form_that_openssl_writes() {
    let site = Site::new();
    let dir = site.dir.path();
    let key = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    for (name, args, expected) in [
        (
            "one",
            &["pkey", "-traditional"][..],
            Ok("-----BEGIN EC PRIVATE KEY"),
        ),
        ("one", &["pkey"], Ok("-----BEGIN PRIVATE KEY")),
        (
            "rsa",
            &["pkey", "-traditional"],
            Ok("-----BEGIN RSA PRIVATE KEY"),
        ),
        ("rsa", &["pkey"], Ok("-----BEGIN PRIVATE KEY")),
        ("one", &["pkey", "-text"], Ok("-----BEGIN PRIVATE KEY")),
        (
            "one",
            &["pkey", "-aes128", "-passout", "pass:x"],
            Err("Encrypted"),
        ),
        (
            "rsa",
            &["rsa", "-traditional", "-aes128", "-passout", "pass:x"],
            Err("Encrypted"),
        ),
        ("one", &["pkey", "-pubout"], Err("Missing")),
        ("rsa", &["genpkey", "-algorithm", "ED25519"], Err("KeyKind")),
        (
            "one",
            &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-384",
            ],
            Err("KeyKind"),
        ),
        (
            "one",
            &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ],
            Err("KeyMismatch"),
        ),
        // With a block of EC PARAMETERS before the key.
        (
            "one",
            &["ecparam", "-name", "prime256v1", "-genkey"],
            Err("KeyMismatch"),
        ),
    ] {
        fs::copy(key(&format!("{name}.crt")), key("new.crt")).unwrap();
        let mut command = Command::new("openssl");
        command.args(args).args(["-out", &key("new.key")]);
        if !args[0].starts_with("gen") && args[0] != "ecparam" {
            command.args(["-in", &key(&format!("{name}.key"))]);
        }
        let output = command
            .output()
            .expect("this test needs openssl: apt install openssl");
        assert!(output.status.success(), "{args:?}: {output:?}");
        let text = fs::read_to_string(key("new.key")).unwrap();
        match (FileSigner::load(dir, "new"), expected) {
            (Ok(signer), Ok(begin)) => {
                assert!(text.contains(begin), "{args:?}: {text}");
                let crt = dir.join("new.crt");
                let verdict = judge(&site.trust(), &crt, MESSAGE, &sign(&signer), NOW);
                assert_eq!(verdict.as_deref(), Ok(name));
            }
            (Err(error), Err(kind)) => {
                assert!(
                    format!("{error:?}").starts_with(kind),
                    "{args:?}: {error:?}"
                );
            }
            (result, expected) => panic!("{args:?} {:?} {expected:?}", result.err()),
        }
    }
}

#[test]
fn unusable_files_are_named_with_what_is_wrong() {
    let site = Site::new();
    let path = |name: &str| site.dir.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(
        path("damaged"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let load = |ca: &str, crl: Option<&str>| {
        Trust::load(&path(ca), crl.map(path).as_deref())
            .err()
            .map(|error| error.to_string())
    };
    for (ca, crl, expected) in [
        ("none", None, "cannot read"),
        ("empty", None, "holds no PEM block \"CERTIFICATE\""),
        ("damaged", None, "the CERTIFICATE in it is damaged"),
        ("crl.pem", None, "holds no PEM block \"CERTIFICATE\""),
        ("one.crt", None, "is not a CA's"),
        ("rsa.crt", None, "is not a CA's"),
        ("ca.crt", Some("none"), "cannot read"),
        ("ca.crt", Some("ca.crt"), "holds no PEM block \"X509 CRL\""),
    ] {
        let error = load(ca, crl).unwrap_or_else(|| panic!("{ca} {crl:?}"));
        let culprit = path(crl.unwrap_or(ca));
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(culprit.to_str().unwrap()), "{error}");
    }
    fs::copy(site.other.path().join("crl.pem"), path("other.pem")).unwrap();
    assert!(matches!(
        Trust::load(&path("ca.crt"), Some(&path("other.pem"))),
        Err(Error::Foreign { .. })
    ));
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}
