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

/// `a + b` of nine words: a model that takes no care of the time.
fn plain_add(a: &[u32; 9], b: &[u32; 9]) -> [u32; 9] {
    let mut carry = 0;
    std::array::from_fn(|i| {
        let sum = u64::from(a[i]) + u64::from(b[i]) + carry;
        carry = sum >> 32;
        sum as u32
    })
}

fn plain_subtract(a: &[u32; 9], b: &[u32; 9]) -> [u32; 9] {
    let mut borrow = 0;
    std::array::from_fn(|i| {
        let difference = i64::from(a[i]) - i64::from(b[i]) - borrow;
        borrow = i64::from(difference < 0);
        difference as u32
    })
}

fn nine(a: &Words) -> [u32; 9] {
    std::array::from_fn(|i| a.get(i).copied().unwrap_or_default())
}

/// `a` less the prime if it is not less than that.
fn plain_reduce<M: Modulus>(a: [u32; 9]) -> [u32; 9] {
    let prime = nine(&M::PRIME);
    if a.iter().rev().lt(prime.iter().rev()) {
        a
    } else {
        plain_subtract(&a, &prime)
    }
}

/// `a * b`, by doubling and adding.
fn plain_multiply<M: Modulus>(a: &Words, b: &Words) -> Words {
    let mut product = [0; 9];
    for bit in (0..256).rev() {
        product = plain_reduce::<M>(plain_add(&product, &product));
        if b[bit / 32] >> (bit % 32) & 1 == 1 {
            product = plain_reduce::<M>(plain_add(&product, &nine(a)));
        }
    }
    std::array::from_fn(|i| product[i])
}

/// Numbers below the prime: near 0 and the prime, and with words of all ones and of none.
fn hard_numbers<M: Modulus>() -> Vec<Words> {
    let mut numbers = Vec::new();
    for n in [0, 1, 2, u32::MAX] {
        numbers.push([n, 0, 0, 0, 0, 0, 0, 0]);
        numbers.push(difference(&M::PRIME, &[n.max(1), 0, 0, 0, 0, 0, 0, 0]).0);
    }
    for words in 0..256_u32 {
        let number = std::array::from_fn(|i| (words >> i & 1).wrapping_neg());
        if words.count_ones() % 3 == 0 && is_less(&number, &M::PRIME) == 1 {
            numbers.push(number);
        }
    }
    numbers.extend([M::ONE, M::SQUARE]);
    numbers
}

fn assert_arithmetic<M: Modulus>(a: &Words, b: &Words) {
    let eight = |n: [u32; 9]| -> Words { std::array::from_fn(|i| n[i]) };
    let sum = plain_reduce::<M>(plain_add(&nine(a), &nine(b)));
    assert_eq!(add::<M>(a, b), eight(sum), "{a:x?} + {b:x?}");
    let minus_b = plain_subtract(&nine(&M::PRIME), &nine(b));
    let difference = plain_reduce::<M>(plain_add(&nine(a), &minus_b));
    assert_eq!(
        words::subtract::<M>(a, b),
        eight(difference),
        "{a:x?} - {b:x?}"
    );
    // The product's factor of 1 / 2^256 is taken away again.
    let product = multiply::<M>(&multiply::<M>(a, b), &M::SQUARE);
    assert_eq!(product, plain_multiply::<M>(a, b), "{a:x?} * {b:x?}");
    // Below the prime: else the next step could exceed what it has room for.
    assert_eq!(
        is_less(&multiply::<M>(a, b), &M::PRIME),
        1,
        "{a:x?} * {b:x?}"
    );
}

fn assert_hard_arithmetic<M: Modulus>() {
    let numbers = hard_numbers::<M>();
    for a in &numbers {
        for b in &numbers {
            assert_arithmetic::<M>(a, b);
        }
        let expected = if is_zero(a) == 1 { [0; 8] } else { M::ONE };
        assert_eq!(multiply::<M>(a, &invert::<M>(a)), expected, "1 / {a:x?}");
    }
    // Up to twice the prime less 1.
    let two_primes = plain_add(&nine(&M::PRIME), &nine(&M::PRIME));
    for n in [1, 2] {
        let a = plain_subtract(&two_primes, &nine(&[n, 0, 0, 0, 0, 0, 0, 0]));
        let expected = difference(&M::PRIME, &[n, 0, 0, 0, 0, 0, 0, 0]).0;
        assert_eq!(reduce::<M>(&std::array::from_fn(|i| a[i]), a[8]), expected);
    }
    assert_eq!(reduce::<M>(&M::PRIME, 0), [0; 8]);
}

#[test]
fn arithmetic_is_right_at_the_ends_and_with_words_of_all_ones() {
    assert_hard_arithmetic::<words::Field>();
    assert_hard_arithmetic::<Order>();
}

proptest! {
    #[test]
    fn arithmetic_is_right_with_any_numbers(a: [u8; 32], b: [u8; 32]) {
        let [a, b] = [a, b].map(|n| from_bytes(&n));
        let [p, q] = [&a, &b].map(|n| reduce::<words::Field>(n, 0));
        assert_arithmetic::<words::Field>(&p, &q);
        let [p, q] = [&a, &b].map(|n| reduce::<Order>(n, 0));
        assert_arithmetic::<Order>(&p, &q);
    }

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
