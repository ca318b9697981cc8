//! Certificates, keys and signatures that `openssl` made (`crypto-data/make.sh`), and RFC 6979's
//! vectors.
#![cfg(feature = "p256")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in tests' helpers too"
)]

use fedmsg_core::crypto::certificate::{Certificate, CertificateError, TrustAnchor};
use fedmsg_core::crypto::p256::{
    MAX_CERTIFICATE_LEN, MAX_SIGNATURE_LEN, P256Signer, P256Verifier, VerifyingKey,
};
use fedmsg_core::crypto::{Refusal, SignError, Signer, Verifier, pem};

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("crypto-data/", $name))
    };
}

/// 2027-01-15, inside of most certificates' time.
const NOW: u64 = 1_800_000_000;
const CN: &str = "sensor-1.example.org";
const MESSAGE: &[u8] = data!("message");
/// RFC 6979 section A.2.5.
const RFC6979_KEY: &str = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
const RFC6979_PUBLIC_KEY: &str = "04\
    60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6\
    7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";

fn der(pem: &[u8], label: &str) -> Vec<u8> {
    let mut out = vec![0; pem.len()];
    let len = pem::decode(pem, label, &mut out).unwrap();
    out.truncate(len);
    out
}

fn certificate(pem: &[u8]) -> Vec<u8> {
    der(pem, pem::CERTIFICATE)
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}

fn signer() -> P256Signer<'static> {
    P256Signer::from_der(&der(data!("leaf.key"), "PRIVATE KEY"), b"field").unwrap()
}

fn sign(signer: &P256Signer<'_>, message: &[&[u8]]) -> Vec<u8> {
    let mut out = [0; MAX_SIGNATURE_LEN];
    let len = signer.sign(message, &mut out).unwrap();
    out[..len].to_vec()
}

/// The two numbers of a signature in DER, without leading zeros.
fn numbers(signature: &[u8]) -> [Vec<u8>; 2] {
    let r_len = usize::from(signature[3]);
    [&signature[4..4 + r_len], &signature[6 + r_len..]].map(|number| {
        number
            .iter()
            .copied()
            .skip_while(|&byte| byte == 0)
            .collect()
    })
}

fn is_low(s: &[u8]) -> bool {
    let half: [u8; 32] = hex("7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8");
    s.len() < 32 || s <= &half[..]
}

/// What a verifier that trusts `ca` says about a message with this certificate, signed with
/// leaf.key.
fn verdict(ca: &[u8], pem: &[u8], at: u64) -> Result<String, Refusal> {
    let ca = certificate(ca);
    let anchors = [TrustAnchor::new(&Certificate::parse(&ca).unwrap()).unwrap()];
    let signature = sign(&signer(), &[MESSAGE]);
    let mut name = [0; 64];
    P256Verifier::new(&anchors)
        .verify(&[MESSAGE], &signature, pem, at, &mut name)
        .map(String::from)
}

#[test]
fn signatures_are_those_of_rfc_6979_in_low_s_form() {
    let signer = P256Signer::new(&hex(RFC6979_KEY), b"").unwrap();
    let cases = [
        (
            "sample",
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
            // The order less the RFC's f7cb1c94...
            "0834e36ad29a83bf2bc9385e491d6099c8fdf9d1ed67aa7ea5f51f93782857a9",
        ),
        (
            "test",
            "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
            "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
        ),
    ];
    for (message, r, s) in cases {
        let signature = sign(&signer, &[message.as_bytes()]);
        assert_eq!(numbers(&signature), [hex::<32>(r), hex(s)], "{message}");
    }
    let key = VerifyingKey::from_sec1(&hex::<65>(RFC6979_PUBLIC_KEY)).unwrap();
    assert_eq!(signer.public_key(), key);
}

#[test]
fn the_high_s_form_of_rfc_6979_is_accepted() {
    let key = VerifyingKey::from_sec1(&hex::<65>(RFC6979_PUBLIC_KEY)).unwrap();
    let signature: [u8; 72] = hex(
        "3046022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
         022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    );
    assert_eq!(key.verify(&[b"sample"], &signature), Ok(()));
    assert_eq!(
        key.verify(&[b"Sample"], &signature),
        Err(Refusal::Signature)
    );
}

#[test]
fn what_is_signed_is_the_concatenation_of_the_slices_and_the_s_is_low() {
    let signer = signer();
    let whole = sign(&signer, &[b"one message"]);
    assert_eq!(sign(&signer, &[b"one", b"", b" mess", b"age"]), whole);
    let key = signer.public_key();
    for n in 0..20_u8 {
        let message = [b"message ".as_slice(), &[n]];
        let signature = sign(&signer, &message);
        assert!(is_low(&numbers(&signature)[1]));
        assert_eq!(key.verify(&message, &signature), Ok(()));
        assert_eq!(
            key.verify(&message[..1], &signature),
            Err(Refusal::Signature)
        );
    }
}

#[test]
fn a_buffer_too_small_for_any_signature_is_an_error_and_stays_as_it_was() {
    let mut out = [7; MAX_SIGNATURE_LEN - 1];
    let error = SignError::BufferTooSmall {
        needed: MAX_SIGNATURE_LEN,
    };
    assert_eq!(signer().sign(&[b"message"], &mut out), Err(error));
    assert_eq!(out, [7; MAX_SIGNATURE_LEN - 1]);
}

#[test]
fn signatures_by_openssl_are_accepted_with_either_s() {
    let key = signer().public_key();
    let signatures: [&[u8]; 8] = [
        data!("message.1.sig"),
        data!("message.2.sig"),
        data!("message.3.sig"),
        data!("message.4.sig"),
        data!("message.5.sig"),
        data!("message.6.sig"),
        data!("message.7.sig"),
        data!("message.8.sig"),
    ];
    let low = signatures.map(|signature| is_low(&numbers(signature)[1]));
    assert!(low.contains(&true) && low.contains(&false));
    for signature in signatures {
        assert_eq!(key.verify(&[MESSAGE], signature), Ok(()));
    }
}

#[test]
fn a_damaged_signature_is_refused() {
    let key = signer().public_key();
    let good = sign(&signer(), &[MESSAGE]);
    for bit in 0..8 * good.len() {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            key.verify(&[MESSAGE], &bad),
            Err(Refusal::Signature),
            "bit {bit}"
        );
    }
    let longer = [good.as_slice(), &[0]].concat();
    let indefinite = [&[0x30, 0x80], &good[2..], &[0, 0]].concat();
    let long_length = [&[0x30, 0x81], &good[1..]].concat();
    let zeros = [0x30, 6, 2, 1, 0, 2, 1, 0];
    let negative = [0x30, 6, 2, 1, 0xff, 2, 1, 0xff];
    for bad in [
        &longer,
        &indefinite,
        &long_length,
        &zeros[..],
        &negative,
        &good[1..],
        &[],
    ] {
        assert_eq!(
            key.verify(&[MESSAGE], bad),
            Err(Refusal::Signature),
            "{bad:02x?}"
        );
    }
}

#[test]
fn a_private_key_is_read_from_pkcs8_and_from_sec1() {
    let sec1 = der(data!("leaf.sec1.key"), "EC PRIVATE KEY");
    let sec1 = P256Signer::from_der(&sec1, b"field").unwrap();
    assert_eq!(sec1.public_key(), signer().public_key());
    let leaf = certificate(data!("leaf.crt"));
    assert_eq!(
        *Certificate::parse(&leaf).unwrap().public_key(),
        sec1.public_key()
    );
    assert_eq!(sec1.backend(), "x509-p256");
    assert_eq!(sec1.certificate_field(), b"field");
}

#[test]
fn other_private_keys_are_refused() {
    let good = der(data!("leaf.key"), "PRIVATE KEY");
    let mut other_curve = der(data!("leaf.sec1.key"), "EC PRIVATE KEY");
    let curve = hex::<10>("06082a8648ce3d030107");
    let at = other_curve
        .windows(10)
        .position(|window| window == curve)
        .unwrap();
    other_curve[at + 9] = 6;
    for key in [
        der(data!("rsa.key"), "PRIVATE KEY"),
        der(data!("p384.key"), "PRIVATE KEY"),
        other_curve,
        certificate(data!("leaf.crt")),
        good[..40].to_vec(),
        vec![],
    ] {
        assert_eq!(
            P256Signer::from_der(&key, b"").err(),
            Some(SignError::Key),
            "{key:02x?}"
        );
    }
    let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    for key in [[0; 32], order, [0xff; 32]] {
        assert_eq!(P256Signer::new(&key, b"").err(), Some(SignError::Key));
    }
}

#[test]
fn a_signer_never_shows_its_key() {
    assert_eq!(format!("{:?}", signer()), "P256Signer { .. }");
}

#[test]
fn a_certificate_is_read_as_openssl_wrote_it() {
    let der = certificate(data!("leaf.crt"));
    let leaf = Certificate::parse(&der).unwrap();
    assert_eq!(leaf.common_name(), Some(CN));
    assert_eq!(leaf.not_before(), 1_767_225_600);
    assert_eq!(leaf.not_after(), 2_082_758_400);
    assert!(!leaf.is_ca());
    let ca_der = certificate(data!("ca.crt"));
    let ca = Certificate::parse(&ca_der).unwrap();
    assert_eq!(leaf.issuer(), ca.subject());
    assert_eq!(ca.common_name(), Some("Example bus CA"));
    assert_eq!(ca.not_before(), 1_735_689_600);
    assert_eq!(ca.not_after(), 2_682_374_400, "a GeneralizedTime");
    assert!(ca.is_ca());
    let unicode = certificate(data!("unicode.crt"));
    assert_eq!(
        Certificate::parse(&unicode).unwrap().common_name(),
        Some("fühler-1")
    );
    let compressed = certificate(data!("compressed.crt"));
    assert_eq!(
        Certificate::parse(&compressed).unwrap().public_key(),
        leaf.public_key()
    );
}

#[test]
fn a_certificate_outside_of_the_profile_is_refused_with_the_offset() {
    let offset = |pem, what: &[u8]| {
        certificate(pem)
            .windows(what.len())
            .position(|window| window == what)
            .unwrap()
    };
    let ecdsa_with_sha512 = offset(data!("sha512.crt"), &hex::<12>("300a06082a8648ce3d040304"));
    let rsa_key = offset(data!("rsa.crt"), &hex::<13>("300d06092a864886f70d010101"));
    let p384_key = offset(data!("p384.crt"), &hex::<11>("301006072a8648ce3d0201"));
    let critical = offset(data!("critical.crt"), &hex::<5>("06032a0304")) - 2;
    let cases = [
        (
            &data!("v1.crt")[..],
            CertificateError::Malformed { offset: 7 },
        ),
        (
            data!("sha512.crt"),
            CertificateError::Algorithm {
                offset: ecdsa_with_sha512,
            },
        ),
        (
            data!("rsa.crt"),
            CertificateError::Algorithm { offset: rsa_key },
        ),
        (
            data!("p384.crt"),
            CertificateError::Algorithm { offset: p384_key },
        ),
        (
            data!("critical.crt"),
            CertificateError::Extension { offset: critical },
        ),
    ];
    for (pem, error) in cases {
        assert_eq!(Certificate::parse(&certificate(pem)).err(), Some(error));
    }
}

/// `der` with the only occurrence of `from` replaced by `to`, of the same length; and its offset.
fn replaced(der: &[u8], from: &[u8], to: &[u8]) -> (Vec<u8>, usize) {
    assert_eq!(from.len(), to.len());
    let mut at = der
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from);
    let offset = at.next().unwrap().0;
    assert!(at.next().is_none());
    let mut der = der.to_vec();
    der[offset..offset + to.len()].copy_from_slice(to);
    (der, offset)
}

#[test]
fn what_is_not_der_is_refused_with_the_offset() {
    let leaf = certificate(data!("leaf.crt"));
    let malformed = |offset| Some(CertificateError::Malformed { offset });
    for len in 0..leaf.len() {
        assert!(matches!(
            Certificate::parse(&leaf[..len]),
            Err(CertificateError::Malformed { offset }) if offset <= len
        ));
    }
    let longer = [leaf.as_slice(), &[0]].concat();
    assert_eq!(Certificate::parse(&longer).err(), malformed(leaf.len()));

    // Each: where it stands in the certificate, what stands there instead, and how far from there
    // the error is.
    let critical_usage = hex::<10>("0603551d0f0101ff0404");
    let cases = [
        // A BOOLEAN that is neither; FALSE where it is the default.
        (
            &critical_usage[..],
            &hex::<10>("0603551d0f0101010404")[..],
            5,
        ),
        (&critical_usage, &hex::<10>("0603551d0f0101000404"), 5),
        // A BIT STRING with unused bits that are not zero, or too many.
        (&hex::<4>("03020780"), &hex::<4>("03020781"), 0),
        (&hex::<4>("03020780"), &hex::<4>("03020880"), 0),
        // The 13th month; the 30th of February.
        (b"260101000000Z", b"261301000000Z", -2),
        (b"260101000000Z", b"260230000000Z", -2),
        (b"260101000000Z", b"260101000000+", -2),
        // A name that is not UTF-8.
        (b"sensor-1", b"sensor-\xff", -2),
    ];
    for (from, to, distance) in cases {
        let (der, offset) = replaced(&leaf, from, to);
        let offset = offset.checked_add_signed(distance).unwrap();
        assert_eq!(
            Certificate::parse(&der).err(),
            malformed(offset),
            "{to:02x?}"
        );
    }
}

#[test]
fn a_key_that_is_no_point_of_the_curve_is_refused() {
    let leaf = certificate(data!("leaf.crt"));
    let at = leaf
        .windows(3)
        .position(|window| window == [0x42, 0, 4])
        .unwrap()
        + 3;
    let mut bad = leaf.clone();
    bad[at] ^= 1;
    assert_eq!(
        Certificate::parse(&bad).err(),
        Some(CertificateError::PublicKey { offset: at - 4 })
    );
    // Points as other standards write them, and the point at infinity.
    for first in [0, 5, 6, 7] {
        bad = leaf.clone();
        bad[at - 1] = first;
        assert!(matches!(
            Certificate::parse(&bad),
            Err(CertificateError::PublicKey { .. })
        ));
    }
    assert_eq!(VerifyingKey::from_sec1(&[]), None);
    assert_eq!(VerifyingKey::from_sec1(&[0]), None);
}

#[test]
fn an_extension_that_is_understood_may_not_be_there_twice() {
    let mut leaf = certificate(data!("leaf.crt"));
    let usage: [u8; 16] = hex("300e0603551d0f0101ff040403020780");
    let first = leaf.windows(16).position(|window| window == usage).unwrap();
    let extensions = leaf
        .windows(2)
        .rposition(|window| window == [0x60, 0x30])
        .unwrap()
        - 1;
    assert_eq!(leaf[extensions], 0xa3);
    leaf.splice(first..first, usage);
    // The lengths of the certificate, its signed part, and the extensions.
    for at in [3, 7, extensions + 1, extensions + 3] {
        leaf[at] += 16;
    }
    let twice = CertificateError::Extension { offset: first + 16 };
    assert_eq!(Certificate::parse(&leaf).err(), Some(twice));
}

#[test]
fn a_verifier_tells_why_a_message_is_refused() {
    // A second before and after leaf.crt's time, and those inside.
    let (first, last) = (1_767_225_600, 2_082_758_400);
    let good = || Ok(String::from(CN));
    let limit = MAX_CERTIFICATE_LEN;
    let cases = [
        ("leaf", &data!("leaf.crt")[..], NOW, good()),
        ("leaf, first second", data!("leaf.crt"), first, good()),
        ("leaf, last second", data!("leaf.crt"), last, good()),
        (
            "leaf, too early",
            data!("leaf.crt"),
            first - 1,
            Err(Refusal::NotYetValid),
        ),
        (
            "leaf, too late",
            data!("leaf.crt"),
            last + 1,
            Err(Refusal::Expired),
        ),
        (
            "leaf, at 0",
            data!("leaf.crt"),
            0,
            Err(Refusal::NotYetValid),
        ),
        (
            "leaf, at the end of time",
            data!("leaf.crt"),
            u64::MAX,
            Err(Refusal::Expired),
        ),
        ("compressed key", data!("compressed.crt"), NOW, good()),
        ("text before", data!("with-text.crt"), NOW, good()),
        ("CR LF", data!("crlf.crt"), NOW, good()),
        ("chain", data!("chain.crt"), NOW, good()),
        ("expired", data!("expired.crt"), NOW, Err(Refusal::Expired)),
        (
            "not yet",
            data!("not-yet.crt"),
            NOW,
            Err(Refusal::NotYetValid),
        ),
        (
            "after 2050",
            data!("after-2050.crt"),
            NOW,
            Err(Refusal::NotYetValid),
        ),
        ("other CA", data!("other.crt"), NOW, Err(Refusal::Untrusted)),
        (
            "impostor",
            data!("impostor.crt"),
            NOW,
            Err(Refusal::Untrusted),
        ),
        (
            "below an intermediate CA",
            data!("below.crt"),
            NOW,
            Err(Refusal::Untrusted),
        ),
        (
            "a CA",
            data!("intermediate.crt"),
            NOW,
            Err(Refusal::Untrusted),
        ),
        (
            "the CA itself",
            data!("ca.crt"),
            NOW,
            Err(Refusal::Untrusted),
        ),
        (
            "for key agreement only",
            data!("agreement-only.crt"),
            NOW,
            Err(Refusal::Untrusted),
        ),
        (
            "too large",
            data!("large.crt"),
            NOW,
            Err(Refusal::CertificateTooLarge { limit }),
        ),
        (
            "version 1",
            data!("v1.crt"),
            NOW,
            Err(Refusal::Certificate { offset: 7 }),
        ),
        (
            "no PEM",
            b"certificate",
            NOW,
            Err(Refusal::Certificate { offset: 0 }),
        ),
        ("nothing", b"", NOW, Err(Refusal::Certificate { offset: 0 })),
        ("no usage given", data!("bare.crt"), NOW, good()),
        (
            "decipherOnly, in a second byte",
            data!("decipher-only.crt"),
            NOW,
            good(),
        ),
        ("an unknown extension", data!("uncritical.crt"), NOW, good()),
        (
            "after 2050, then",
            data!("after-2050.crt"),
            2_600_000_000,
            good(),
        ),
        ("long name", data!("long-name.crt"), NOW, Ok("0".repeat(64))),
        (
            "not ASCII",
            data!("unicode.crt"),
            NOW,
            Ok("fühler-1".into()),
        ),
        ("no name", data!("nameless.crt"), NOW, Err(Refusal::Name)),
    ];
    for (what, pem, at, expected) in cases {
        assert_eq!(verdict(data!("ca.crt"), pem, at), expected, "{what}");
    }
}

#[test]
fn an_intermediate_ca_may_be_the_anchor_but_only_a_ca_may() {
    let verdict = verdict(data!("intermediate.crt"), data!("below.crt"), NOW);
    assert_eq!(verdict.as_deref(), Ok(CN));
    for pem in [
        &data!("leaf.crt")[..],
        data!("bare.crt"),
        data!("ca-no-usage.crt"),
    ] {
        let der = certificate(pem);
        let anchor = TrustAnchor::new(&Certificate::parse(&der).unwrap());
        assert_eq!(anchor.err(), Some(Refusal::Untrusted));
    }
}

#[test]
fn the_time_of_the_ca_counts_too() {
    let (ca, leaf) = (
        certificate(data!("intermediate.crt")),
        certificate(data!("below.crt")),
    );
    let (ca, leaf) = (
        Certificate::parse(&ca).unwrap(),
        Certificate::parse(&leaf).unwrap(),
    );
    let (first, last) = (ca.not_before(), ca.not_after());
    assert!(leaf.not_before() < first && last < leaf.not_after());
    let anchor = TrustAnchor::new(&ca).unwrap();
    assert_eq!(leaf.verify(&anchor, first - 1), Err(Refusal::NotYetValid));
    assert_eq!(leaf.verify(&anchor, first), Ok(()));
    assert_eq!(leaf.verify(&anchor, last), Ok(()));
    assert_eq!(leaf.verify(&anchor, last + 1), Err(Refusal::Expired));
    let for_ever = TrustAnchor::from_name_and_key(ca.subject(), ca.public_key().clone());
    assert_eq!(leaf.verify(&for_ever, last + 1), Ok(()));
    assert_eq!(
        leaf.verify(&for_ever, leaf.not_after() + 1),
        Err(Refusal::Expired)
    );
}

#[test]
fn a_certificate_with_a_listed_serial_is_revoked() {
    let (ca, leaf) = (certificate(data!("ca.crt")), certificate(data!("leaf.crt")));
    let (ca, leaf) = (
        Certificate::parse(&ca).unwrap(),
        Certificate::parse(&leaf).unwrap(),
    );
    let anchor = TrustAnchor::new(&ca).unwrap();
    let others = [&[7][..], ca.serial()];
    assert_eq!(
        leaf.verify(&anchor.clone().with_revoked(&others), NOW),
        Ok(())
    );
    let listed = [&[7][..], leaf.serial()];
    let anchor = anchor.with_revoked(&listed);
    assert_eq!(leaf.verify(&anchor, NOW), Err(Refusal::Revoked));
    assert_eq!(
        leaf.verify(&anchor, u64::MAX),
        Err(Refusal::Expired),
        "found first"
    );
}

#[test]
fn any_of_several_anchors_may_vouch() {
    let cas = [
        data!("other-ca.crt").as_slice(),
        data!("impostor-ca.crt"),
        data!("ca.crt"),
    ];
    let ders = cas.map(certificate);
    let anchors =
        [0, 1, 2].map(|n: usize| TrustAnchor::new(&Certificate::parse(&ders[n]).unwrap()).unwrap());
    let signature = sign(&signer(), &[MESSAGE]);
    let mut name = [0; CN.len()];
    let mut verify = |anchors, at| {
        P256Verifier::new(anchors)
            .verify(&[MESSAGE], &signature, data!("leaf.crt"), at, &mut name)
            .map(String::from)
    };
    assert_eq!(verify(&anchors, NOW).as_deref(), Ok(CN));
    assert_eq!(verify(&anchors, 0), Err(Refusal::NotYetValid));
    assert_eq!(verify(&anchors[..2], NOW), Err(Refusal::Untrusted));
    assert_eq!(verify(&[], NOW), Err(Refusal::Untrusted));
}

#[test]
fn a_sender_with_a_name_longer_than_the_buffer_is_refused() {
    let ca = certificate(data!("ca.crt"));
    let anchors = [TrustAnchor::new(&Certificate::parse(&ca).unwrap()).unwrap()];
    let signature = sign(&signer(), &[MESSAGE]);
    let mut name = [0; CN.len() - 1];
    assert_eq!(
        P256Verifier::new(&anchors).verify(
            &[MESSAGE],
            &signature,
            data!("leaf.crt"),
            NOW,
            &mut name
        ),
        Err(Refusal::Name)
    );
}

#[test]
fn a_certificate_with_any_bit_flipped_is_never_accepted() {
    let (ca, leaf) = (certificate(data!("ca.crt")), certificate(data!("bare.crt")));
    let anchor = TrustAnchor::new(&Certificate::parse(&ca).unwrap()).unwrap();
    assert_eq!(
        Certificate::parse(&leaf).unwrap().verify(&anchor, NOW),
        Ok(())
    );
    let mut bad = leaf;
    for bit in 0..8 * bad.len() {
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(parsed) = Certificate::parse(&bad) {
            assert_eq!(
                parsed.verify(&anchor, NOW),
                Err(Refusal::Untrusted),
                "bit {bit}"
            );
        }
        bad[bit / 8] ^= 1 << (bit % 8);
    }
}
