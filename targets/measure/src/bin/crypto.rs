//! Every public function of `crypto`: where it can panic, and what signing and judging cost.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::hint::black_box;

use fedmsg_core::crypto::base64::{self, Wrapping};
use fedmsg_core::crypto::certificate::{Certificate, CertificateError, TrustAnchor};
use fedmsg_core::crypto::p256::{P256Signer, P256Verifier, VerifyingKey};
use fedmsg_core::crypto::{Signer, Verifier, pem};
use fedmsg_measure::{fail, section, show};

fedmsg_measure::image!(run);

const CA: &[u8] = include_bytes!("../../../../core/tests/crypto-data/ca.crt");
const CERTIFICATE: &[u8] = include_bytes!("../../../../core/tests/crypto-data/leaf.crt");
const KEY: &[u8] = include_bytes!("../../../../core/tests/crypto-data/leaf.key");
const MESSAGE: &[&[u8]] = &[b"{\"i\":7", &[b'x'; 194]];
const NOW: u64 = 1_795_430_000;

struct State<'a> {
    signer: P256Signer<'a>,
    signature: [u8; 72],
    len: usize,
    verifier: P256Verifier<'a>,
    name: [u8; 64],
    named: bool,
}

fn run() {
    let mut buffer = [0; 1024];
    let Some(signer) = read(KEY, "PRIVATE KEY", &mut buffer)
        .and_then(|key| P256Signer::from_der(key, b"field").ok())
    else {
        fail("no key");
    };
    let mut buffer = [0; 1024];
    let Some(anchor) = read(CA, pem::CERTIFICATE, &mut buffer)
        .and_then(|der| Certificate::parse(der).ok())
        .and_then(|ca| TrustAnchor::new(&ca).ok())
    else {
        fail("no CA");
    };
    let anchors = [anchor.with_revoked(black_box(&[]))];
    let verifier = P256Verifier::new(&anchors);
    let (signature, name) = ([0; 72], [0; 64]);
    let mut state = State {
        signer,
        signature,
        len: 0,
        verifier,
        name,
        named: false,
    };
    section("sign", sign, &mut state);
    section("verify", verify, &mut state);
    if !state.named {
        fail("not verified");
    }
    if black_box(false) {
        rest(black_box(CERTIFICATE), &mut [0; 1024], &state);
    }
}

/// A PEM text's content.
fn read<'o>(text: &[u8], label: &str, out: &'o mut [u8]) -> Option<&'o [u8]> {
    let len = pem::decode(black_box(text), label, out).ok()?;
    out.get(..len)
}

fn sign(state: &mut State<'_>) {
    state.len = state
        .signer
        .sign(black_box(MESSAGE), &mut state.signature)
        .unwrap_or(0);
}

fn verify(state: &mut State<'_>) {
    let signature = state.signature.get(..state.len).unwrap_or_default();
    let certificate = black_box(CERTIFICATE);
    let message = black_box(MESSAGE);
    let name = state
        .verifier
        .verify(message, signature, certificate, NOW, &mut state.name);
    state.named = name == Ok("sensor-1.example.org");
}

/// What the above does not call.
fn rest(input: &[u8], out: &mut [u8], state: &State<'_>) {
    for wrapping in [Wrapping::None, Wrapping::Lines, Wrapping::JsonLines] {
        black_box(base64::encoded_len(input.len(), wrapping));
        show(base64::encode(input, wrapping, out));
    }
    black_box(base64::decoded_len_max(input.len()));
    let decoded = base64::decode(input, out);
    black_box(decoded.as_ref().map_err(base64::Error::offset).err());
    show(decoded);
    show(base64::decode_in_place(out));
    black_box(pem::encoded_len(input.len(), pem::CERTIFICATE));
    show(pem::encode(input, pem::CERTIFICATE, out));
    let decoded = pem::decode(input, pem::CERTIFICATE, out);
    black_box(decoded.as_ref().map_err(pem::Error::offset).err());
    show(decoded);

    let certificate = Certificate::parse(input);
    if let Ok(certificate) = &certificate {
        black_box((
            certificate.serial(),
            certificate.issuer(),
            certificate.subject(),
        ));
        black_box((
            certificate.common_name(),
            certificate.public_key(),
            certificate.is_ca(),
        ));
        black_box((certificate.not_before(), certificate.not_after()));
        show(TrustAnchor::new(certificate));
        show(state.verifier.trust(certificate, NOW));
    }
    black_box(certificate.as_ref().map_err(CertificateError::offset).err());
    show(certificate);
    if let Some(key) = VerifyingKey::from_sec1(input) {
        show(key.verify(&[input], input));
        black_box(TrustAnchor::from_name_and_key(input, key));
    }
    if let Some(key) = input.first_chunk() {
        show(P256Signer::new(key, input));
    }
    black_box((
        state.signer.public_key(),
        state.signer.backend(),
        state.verifier.backend(),
    ));
    black_box((
        state.signer.certificate_field(),
        state.signer.max_signature_len(),
    ));
}
