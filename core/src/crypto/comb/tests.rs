use std::vec::Vec;

use p256::{
    ProjectivePoint, Scalar,
    ecdsa::{Signature, SigningKey, signature::Signer as _},
    elliptic_curve::{PrimeField, point::AffineCoordinates},
};
use proptest::prelude::*;

use super::*;

/// The order less `n`.
fn below_the_order(n: u32) -> [u8; 32] {
    to_bytes(&difference(&Order::PRIME, &[n, 0, 0, 0, 0, 0, 0, 0]).0)
}

fn number(n: u32) -> [u8; 32] {
    to_bytes(&[n, 0, 0, 0, 0, 0, 0, 0])
}

/// What the crate `p256` signs.
fn expected(key: &[u8; 32], message: &[u8]) -> Vec<u8> {
    let key = SigningKey::from_slice(key).unwrap();
    let signature: Signature = key.sign(message);
    signature.normalize_s().to_der().as_bytes().to_vec()
}

fn signed(key: &[u8; 32], message: &[u8]) -> Vec<u8> {
    let signer = CombSigner::new(key, b"").unwrap();
    let mut out = [0; 72];
    let (first, second) = message.split_at(message.len() / 2);
    let len = signer.sign(&[first, second], &mut out).unwrap();
    out[..len].to_vec()
}

fn assert_multiple(factor: [u8; 32]) {
    let x = point::multiple_x(&from_bytes(&factor), &Order::PRIME);
    let scalar = Scalar::from_repr(factor.into()).unwrap();
    let expected = (ProjectivePoint::GENERATOR * scalar).to_affine();
    assert_eq!(to_bytes(&x)[..], expected.x()[..], "{factor:02x?}");
}

#[test]
fn it_is_a_multiple_of_the_generator_at_the_ends_and_at_every_power_of_two() {
    for n in 1..300 {
        assert_multiple(number(n));
        assert_multiple(below_the_order(n));
    }
    for bit in 0..256 {
        let mut factor = [0; 8];
        factor[bit / 32] = 1 << (bit % 32);
        assert_multiple(to_bytes(&factor));
        assert_multiple(to_bytes(&difference(&Order::PRIME, &factor).0));
        // All ones up to that bit.
        let (ones, _) = difference(&factor, &[1, 0, 0, 0, 0, 0, 0, 0]);
        if is_scalar(&ones) {
            assert_multiple(to_bytes(&ones));
        }
    }
}

#[test]
fn a_key_out_of_range_is_refused() {
    for key in [[0; 32], below_the_order(0), [0xff; 32]] {
        assert_eq!(CombSigner::new(&key, b"").unwrap_err(), SignError::Key);
    }
}

#[test]
fn keys_at_the_ends_sign_as_the_library_does() {
    for key in [1, 2, 3]
        .map(number)
        .into_iter()
        .chain([1, 2, 3].map(below_the_order))
    {
        for message in [&b""[..], b"sample", &[0x61; 200]] {
            assert_eq!(signed(&key, message), expected(&key, message));
        }
    }
}

#[test]
fn a_hash_beyond_the_order_is_reduced() {
    for hash in [[0xff; 32], below_the_order(0), below_the_order(1), [0; 32]] {
        let key = SigningKey::from_slice(&number(7)).unwrap();
        let signature: Signature =
            p256::ecdsa::signature::hazmat::PrehashSigner::sign_prehash(&key, &hash).unwrap();
        let (r, s) = signature.normalize_s().split_bytes();
        assert_eq!(
            sign(&number(7), &hash).map(|n| to_bytes(&n)),
            [r, s].map(<[u8; 32]>::from)
        );
    }
}

#[test]
fn short_numbers_are_encoded_as_short_as_they_are() {
    let mut out = [0; 72];
    let high = [0, 0, 0, 0, 0, 0, 0, 0x8000_0000];
    for (r, s, der) in [
        (
            [1, 0, 0, 0, 0, 0, 0, 0],
            [0x80, 0, 0, 0, 0, 0, 0, 0],
            &[0x30, 7, 2, 1, 1, 2, 2, 0, 0x80][..],
        ),
        (
            [0; 8],
            [0x1234, 0, 0, 0, 0, 0, 0, 0],
            &[0x30, 7, 2, 1, 0, 2, 2, 0x12, 0x34],
        ),
    ] {
        let len = encode(&r, &s, &mut out);
        assert_eq!(&out[..len], der);
    }
    assert_eq!(encode(&high, &high, &mut out), 72);
    assert_eq!(out[..6], [0x30, 70, 2, 33, 0, 0x80]);
}

#[test]
fn a_buffer_that_is_too_small_is_refused() {
    let signer = CombSigner::new(&number(7), b"").unwrap();
    assert_eq!(
        signer.sign(&[b"x"], &mut [0; 71]),
        Err(SignError::BufferTooSmall { needed: 72 })
    );
}

#[test]
fn the_key_is_not_shown() {
    let signer = CombSigner::new(&[0x77; 32], b"field").unwrap();
    assert_eq!(std::format!("{signer:?}"), "CombSigner { .. }");
}

proptest! {
    #[test]
    fn any_multiple_is_the_librarys(factor: [u8; 32]) {
        prop_assume!(is_scalar(&from_bytes(&factor)));
        assert_multiple(factor);
    }

    #[test]
    fn any_signature_is_the_librarys(key: [u8; 32], message: Vec<u8>) {
        prop_assume!(is_scalar(&from_bytes(&key)));
        prop_assert_eq!(signed(&key, &message), expected(&key, &message));
    }

    #[test]
    fn an_inverse_times_its_number_is_one(number: [u8; 32]) {
        let number = reduce::<Order>(&from_bytes(&number), 0);
        prop_assume!(is_scalar(&number));
        let number = montgomery(&number);
        prop_assert_eq!(multiply::<Order>(&number, &invert::<Order>(&number)), Order::ONE);
    }
}
