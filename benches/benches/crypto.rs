//! Signing and verifying messages, beside the bare calls of the same library on the same bytes; and
//! how long it takes to decide on a certificate, which a host does once for each.
//!
//! The legacy wire (`x509`) is measured whole, from a message's text to a signed one and back,
//! beside the bare RSA call of AWS-LC (SHA-1 of the signed text included), that of the machine's own
//! OpenSSL (`openssl speed`: without it), that of the peer's `cryptography`, and Python fedmsg.
#![allow(
    missing_docs,
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fedmsg_core::crypto::base64::{self, Wrapping};
use fedmsg_core::crypto::certificate::{Certificate, TrustAnchor};
use fedmsg_core::crypto::p256::{MAX_SIGNATURE_LEN, P256Signer, P256Verifier};
use fedmsg_core::crypto::{Signer, Verifier, pem};
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{Signature, SigningKey};
use serde_json::json;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fedmsg::crypto::{FileSigner, KeyKind, Scratch, Validator, ValidatorOptions, ca::Ca};

const CA: &[u8] = include_bytes!("../../core/tests/crypto-data/ca.crt");
const LEAF: &[u8] = include_bytes!("../../core/tests/crypto-data/leaf.crt");
const KEY: &[u8] = include_bytes!("../../core/tests/crypto-data/leaf.key");
const NOW: u64 = 1_800_000_000;

fn der(text: &[u8], label: &str) -> Vec<u8> {
    let mut der = vec![0; text.len()];
    let len = pem::decode(text, label, &mut der).unwrap();
    der.truncate(len);
    der
}

fn signatures(c: &mut Criterion) {
    let key = der(KEY, "PRIVATE KEY");
    let ours = P256Signer::from_der(&key, b"").unwrap();
    let our_key = ours.public_key();
    // version, algorithm, OCTET STRING, version, OCTET STRING: the number is the 37th byte on.
    let bare = SigningKey::from_slice(&key[36..68]).unwrap();
    let bare_key = *bare.verifying_key();

    for len in [200, 2048] {
        let message: Vec<u8> = (0..len).map(|n| b' ' + (n % 95) as u8).collect();
        // As a message is signed: what stands before and after the signature's place.
        let (head, tail) = message.split_at(len - 60);
        let mut signature = [0; MAX_SIGNATURE_LEN];
        let signature_len = ours.sign(&[head, tail], &mut signature).unwrap();
        let signature = &signature[..signature_len];
        our_key.verify(&[&message], signature).unwrap();

        let mut group = c.benchmark_group(format!("sign {len} B"));
        group.bench_function("fedmsg", |b| {
            let mut out = [0; MAX_SIGNATURE_LEN];
            b.iter(|| ours.sign(black_box(&[head, tail]), &mut out).unwrap());
        });
        group.bench_function("p256", |b| {
            b.iter(|| -> Signature { bare.sign(black_box(&message)) });
        });
        group.finish();

        let mut group = c.benchmark_group(format!("verify {len} B"));
        group.bench_function("fedmsg", |b| {
            b.iter(|| our_key.verify(black_box(&[head, tail]), signature).unwrap());
        });
        group.bench_function("p256", |b| {
            let signature = Signature::from_der(signature).unwrap();
            b.iter(|| bare_key.verify(black_box(&message), &signature).unwrap());
        });
        group.finish();
    }
}

fn certificates(c: &mut Criterion) {
    let (ca, leaf) = (der(CA, pem::CERTIFICATE), der(LEAF, pem::CERTIFICATE));
    let anchors = [TrustAnchor::new(&Certificate::parse(&ca).unwrap()).unwrap()];
    let certificate = Certificate::parse(&leaf).unwrap();
    let signer = P256Signer::from_der(&der(KEY, "PRIVATE KEY"), b"").unwrap();
    let mut signature = [0; MAX_SIGNATURE_LEN];
    let len = signer.sign(&[b"message"], &mut signature).unwrap();

    let mut group = c.benchmark_group("certificate");
    group.bench_function("parse", |b| {
        b.iter(|| Certificate::parse(black_box(&leaf)).unwrap());
    });
    group.bench_function("verify", |b| {
        b.iter(|| certificate.verify(black_box(&anchors[0]), NOW).unwrap());
    });
    group.bench_function("message, nothing remembered", |b| {
        let verifier = P256Verifier::new(&anchors);
        b.iter(|| {
            let mut name = [0; 64];
            verifier
                .verify(
                    &[black_box(b"message")],
                    &signature[..len],
                    LEAF,
                    NOW,
                    &mut name,
                )
                .unwrap()
                .len()
        });
    });
    group.finish();
}

fn armor(c: &mut Criterion) {
    let mut field = vec![0; base64::encoded_len(LEAF.len(), Wrapping::JsonLines)];
    base64::encode(LEAF, Wrapping::JsonLines, &mut field).unwrap();

    let mut group = c.benchmark_group("armor");
    group.throughput(Throughput::Bytes(LEAF.len() as u64));
    group.bench_function("base64 encode", |b| {
        let mut out = field.clone();
        b.iter(|| base64::encode(black_box(LEAF), Wrapping::JsonLines, &mut out).unwrap());
    });
    group.bench_function("base64 decode", |b| {
        let mut out = LEAF.to_vec();
        b.iter(|| base64::decode(black_box(&field), &mut out).unwrap());
    });
    group.bench_function("PEM decode", |b| {
        let mut out = LEAF.to_vec();
        b.iter(|| pem::decode(black_box(LEAF), pem::CERTIFICATE, &mut out).unwrap());
    });
    group.finish();
}

fn legacy(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let ca = Ca::init(dir, "CA", KeyKind::Rsa2048, 10, now).unwrap();
    ca.issue("one", None, None, now).unwrap();
    let signer = FileSigner::load(dir, "one").unwrap();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let validator = Validator::new(ValidatorOptions {
        ca_cert_location: path("ca.crt"),
        crl_location: Some(path("crl.pem")),
        ..ValidatorOptions::default()
    })
    .unwrap();
    let mut scratch = Scratch::default();
    let mut python = Python::start(dir);

    for (name, len) in [("200 B", 200), ("2 KiB", 2048), ("20 KiB", 20480)] {
        let topic = "org.example.dev.git.receive";
        let text: String = (0..len)
            .map(|n| char::from(b'a' + (n % 26) as u8))
            .collect();
        let message = json!({
            "i": 7, "msg": {"text": text}, "msg_id": "2026-9ebf960a-115e-4568-a615-34cc7d8d462e",
            "timestamp": now, "topic": topic, "username": "amara", "crypto": "x509",
        });
        let message = message.to_string().into_bytes();
        let signed = scratch.sign(&message, &signer).unwrap().to_vec();
        let bare = Bare::new(&path("one.key"), &message);

        let mut group = c.benchmark_group(format!("x509 sign, {name}"));
        group.sample_size(20);
        group.bench_function("fedmsg", |b| {
            b.iter(|| scratch.sign(black_box(&message), &signer).unwrap().len());
        });
        group.bench_function("AWS-LC, bare", |b| {
            b.iter(|| bare.sign(black_box(&message)))
        });
        if len == 200 {
            group.bench_function("openssl speed", |b| b.iter_custom(|n| openssl_speed(n, 2)));
        }
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(2));
        group.bench_function("cryptography", |b| {
            b.iter_custom(|n| python.time(&["bare sign", &signed_text(&signed)], n));
        });
        if len == 200 {
            group.bench_function("Python fedmsg", |b| {
                b.iter_custom(|n| python.time(&["sign", &signed_text(&message)], n));
            });
        }
        group.finish();

        let mut group = c.benchmark_group(format!("x509 validate, {name}"));
        group.sample_size(50);
        group.bench_function("fedmsg", |b| {
            b.iter(|| {
                let valid =
                    validator.validate_at(Some(topic), black_box(&signed), now, &mut scratch);
                valid.unwrap().message.len()
            });
        });
        group.bench_function("AWS-LC, bare", |b| {
            b.iter(|| bare.verify(black_box(&message)))
        });
        if len == 200 {
            group.sample_size(10);
            group.bench_function("openssl speed", |b| b.iter_custom(|n| openssl_speed(n, 3)));
        }
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(2));
        group.bench_function("cryptography", |b| {
            b.iter_custom(|n| python.time(&["bare verify", &signed_text(&signed)], n));
        });
        group.bench_function("Python fedmsg", |b| {
            b.iter_custom(|n| python.time(&["validate", &signed_text(&signed)], n));
        });
        group.finish();
    }
}

fn signed_text(message: &[u8]) -> String {
    String::from_utf8(message.to_vec()).unwrap()
}

/// An RSA key in AWS-LC, and its signature.
struct Bare {
    key: *mut aws_lc_sys::RSA,
    signature: [u8; 256],
}

impl Bare {
    fn new(path: &str, message: &[u8]) -> Self {
        let key = der(&std::fs::read(path).unwrap(), "PRIVATE KEY");
        // PKCS#8: version, algorithm (15 bytes), and an OCTET STRING with the key.
        let key = &key[26..];
        // SAFETY: so many bytes are read.
        let key = unsafe { aws_lc_sys::RSA_private_key_from_bytes(key.as_ptr(), key.len()) };
        assert!(!key.is_null());
        let mut bare = Self {
            key,
            signature: [0; 256],
        };
        bare.signature = bare.sign(message);
        bare.verify(message);
        bare
    }

    fn digest(message: &[u8]) -> [u8; 20] {
        let mut digest = [0; 20];
        // SAFETY: so many bytes are read, and 20 written.
        unsafe { aws_lc_sys::SHA1(message.as_ptr(), message.len(), digest.as_mut_ptr()) };
        digest
    }

    fn sign(&self, message: &[u8]) -> [u8; 256] {
        let (mut out, mut len) = ([0; 256], 0);
        let digest = Self::digest(message);
        // SAFETY: the key is of 2048 bits, and so its signatures.
        let signed = unsafe {
            let (nid, digest) = (aws_lc_sys::NID_sha1, digest.as_ptr());
            aws_lc_sys::RSA_sign(nid, digest, 20, out.as_mut_ptr(), &raw mut len, self.key)
        };
        assert_eq!(signed, 1);
        out
    }

    fn verify(&self, message: &[u8]) {
        let digest = Self::digest(message);
        let signature = &self.signature;
        // SAFETY: all is only read.
        let verified = unsafe {
            let (nid, digest) = (aws_lc_sys::NID_sha1, digest.as_ptr());
            aws_lc_sys::RSA_verify(nid, digest, 20, signature.as_ptr(), 256, self.key)
        };
        assert_eq!(verified, 1);
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        unsafe { aws_lc_sys::RSA_free(self.key) }
    }
}

/// How long `n` RSA-2048 operations take by `openssl speed`: column 2 signs, 3 verifies.
fn openssl_speed(n: u64, column: usize) -> Duration {
    let mut command = Command::new("openssl");
    command.args(["speed", "-elapsed", "-mr", "-seconds", "1", "rsa2048"]);
    let output = command.output().expect("the benchmark needs openssl");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("+F2:") || line.starts_with("F2:"));
    let per_second: f64 = line
        .unwrap()
        .split(':')
        .nth(column + 1)
        .unwrap()
        .parse()
        .unwrap();
    Duration::from_secs_f64(n as f64 / per_second)
}

/// Python fedmsg and the library under it, in a process of its own.
struct Python(Child);

impl Python {
    fn start(dir: &Path) -> Self {
        let target = std::env::current_exe().unwrap();
        let target = target.ancestors().nth(3).unwrap();
        let python = fedmsg_benches::python_fedmsg(target).unwrap();
        let child = Command::new(python)
            .args(["-I", "-W", "ignore", "-c", include_str!("crypto.py")])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// How long it takes to do this `n` times.
    fn time(&mut self, what: &[&str], n: u64) -> Duration {
        let request = json!([what, n]).to_string();
        let mut answer = String::new();
        writeln!(self.0.stdin.as_mut().unwrap(), "{request}").unwrap();
        let mut lines = BufReader::new(self.0.stdout.as_mut().unwrap());
        lines.read_line(&mut answer).unwrap();
        Duration::from_secs_f64(answer.trim().parse().unwrap())
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

criterion_group!(benches, signatures, certificates, armor, legacy);
criterion_main!(benches);
