//! Signing and verifying messages, beside the bare calls of `p256` on the same bytes; and how long
//! it takes to decide on a certificate, which a host does once for each.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fedmsg_core::crypto::base64::{self, Wrapping};
use fedmsg_core::crypto::certificate::{Certificate, TrustAnchor};
use fedmsg_core::crypto::p256::{MAX_SIGNATURE_LEN, P256Signer, P256Verifier};
use fedmsg_core::crypto::{Signer, Verifier, pem};
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{Signature, SigningKey};
use std::hint::black_box;

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

criterion_group!(benches, signatures, certificates, armor);
criterion_main!(benches);
