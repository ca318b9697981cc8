//! Arithmetic on numbers of 256 bits modulo a prime, in Montgomery's form, in a time that does not
//! depend on the numbers.
//!
//! Montgomery's form of `x` is `x` times 2²⁵⁶; the product of two such, divided by 2²⁵⁶, is one again.
//! The division goes word by word: a multiple of the modulus is added that makes the lowest word 0
//! (Koç, Acar, Kaliski 1996: CIOS).

use core::hint::black_box;

use zeroize::Zeroize;

/// A number, its lowest word first.
pub(super) type Words = [u32; 8];

/// A prime.
pub(super) trait Modulus {
    const PRIME: Words;
    /// 1 and 2⁵¹² in Montgomery's form's sense: 2²⁵⁶ and 2⁵¹² modulo the prime.
    const ONE: Words;
    const SQUARE: Words;

    /// `(t + top * 2^256 + m * PRIME) / 2^32` where `m` is what makes that a whole number; its word
    /// above the eighth.
    fn step(t: &mut Words, top: u64) -> u32;
}

/// The coordinates' prime: 2²⁵⁶ - 2²²⁴ + 2¹⁹² + 2⁹⁶ - 1.
pub(super) struct Field;

/// The order of the curve's points.
pub(super) struct Order;

impl Modulus for Field {
    const PRIME: Words = [
        0xffff_ffff,
        0xffff_ffff,
        0xffff_ffff,
        0,
        0,
        0,
        1,
        0xffff_ffff,
    ];
    const ONE: Words = [
        1,
        0,
        0,
        0xffff_ffff,
        0xffff_ffff,
        0xffff_ffff,
        0xffff_fffe,
        0,
    ];
    const SQUARE: Words = [
        3,
        0,
        0xffff_ffff,
        0xffff_fffb,
        0xffff_fffe,
        0xffff_ffff,
        0xffff_fffd,
        4,
    ];

    // The prime is -1 modulo 2^32, so m is the lowest word, which -m takes away; the rest of m times
    // the prime is m * 2^96 + m * 2^192 + m * (2^32 - 1) * 2^224.
    #[inline(always)]
    fn step(t: &mut Words, top: u64) -> u32 {
        let [m, t1, t2, t3, t4, t5, t6, t7] = *t;
        let (t3, carry) = add_words(t3, m, 0);
        let (t4, carry) = add_words(t4, 0, carry);
        let (t5, carry) = add_words(t5, 0, carry);
        let (t6, carry) = add_words(t6, m, carry);
        let (t7, carry) = multiply_add(t7, m, u32::MAX, carry);
        let top = top + u64::from(carry);
        *t = [t1, t2, t3, t4, t5, t6, t7, top as u32];
        (top >> 32) as u32
    }
}

impl Modulus for Order {
    const PRIME: Words = [
        0xfc63_2551,
        0xf3b9_cac2,
        0xa717_9e84,
        0xbce6_faad,
        0xffff_ffff,
        0xffff_ffff,
        0,
        0xffff_ffff,
    ];
    const ONE: Words = [
        0x039c_daaf,
        0x0c46_353d,
        0x58e8_617b,
        0x4319_0552,
        0,
        0,
        0xffff_ffff,
        0,
    ];
    const SQUARE: Words = [
        0xbe79_eea2,
        0x8324_4c95,
        0x49bd_6fa6,
        0x4699_799c,
        0x2b6b_ec59,
        0x2845_b239,
        0xf3d9_5620,
        0x66e1_2d94,
    ];

    #[inline(always)]
    fn step(t: &mut Words, top: u64) -> u32 {
        let [t0, t1, t2, t3, t4, t5, t6, t7] = *t;
        let [p0, p1, p2, p3, p4, p5, _, p7] = Self::PRIME;
        let m = t0.wrapping_mul(0xee00_bc4f); // -1 / PRIME, modulo 2^32
        let (_, carry) = multiply_add(t0, m, p0, 0);
        let (t1, carry) = multiply_add(t1, m, p1, carry);
        let (t2, carry) = multiply_add(t2, m, p2, carry);
        let (t3, carry) = multiply_add(t3, m, p3, carry);
        let (t4, carry) = multiply_add(t4, m, p4, carry);
        let (t5, carry) = multiply_add(t5, m, p5, carry);
        let (t6, carry) = add_words(t6, 0, carry);
        let (t7, carry) = multiply_add(t7, m, p7, carry);
        let top = top + u64::from(carry);
        *t = [t1, t2, t3, t4, t5, t6, t7, top as u32];
        (top >> 32) as u32
    }
}

/// `a + b + carry`: the lower word and the upper, 1 or 0.
#[inline(always)]
fn add_words(a: u32, b: u32, carry: u32) -> (u32, u32) {
    let sum = u64::from(a) + u64::from(b) + u64::from(carry);
    (sum as u32, (sum >> 32) as u32)
}

/// `t + a * b + carry`, which two words hold: the lower and the upper.
#[inline(always)]
fn multiply_add(t: u32, a: u32, b: u32, carry: u32) -> (u32, u32) {
    let sum = u64::from(a) * u64::from(b) + u64::from(t) + u64::from(carry);
    (sum as u32, (sum >> 32) as u32)
}

/// `a * b / 2^256`.
#[inline(never)]
pub(super) fn multiply<M: Modulus>(a: &Words, b: &Words) -> Words {
    let [a0, a1, a2, a3, a4, a5, a6, a7] = *a;
    let (mut t, mut high) = ([0; 8], 0);
    for &b in b {
        // Written out, for the loop would cost as much as what it does.
        let [t0, t1, t2, t3, t4, t5, t6, t7] = t;
        let (t0, carry) = multiply_add(t0, a0, b, 0);
        let (t1, carry) = multiply_add(t1, a1, b, carry);
        let (t2, carry) = multiply_add(t2, a2, b, carry);
        let (t3, carry) = multiply_add(t3, a3, b, carry);
        let (t4, carry) = multiply_add(t4, a4, b, carry);
        let (t5, carry) = multiply_add(t5, a5, b, carry);
        let (t6, carry) = multiply_add(t6, a6, b, carry);
        let (t7, carry) = multiply_add(t7, a7, b, carry);
        t = [t0, t1, t2, t3, t4, t5, t6, t7];
        high = M::step(&mut t, u64::from(high) + u64::from(carry));
    }
    reduce::<M>(&t, high)
}

/// `a + b`.
#[inline(never)]
pub(super) fn add<M: Modulus>(a: &Words, b: &Words) -> Words {
    let (sum, high) = sum(a, b);
    reduce::<M>(&sum, high)
}

/// `a - b`.
#[inline(never)]
pub(super) fn subtract<M: Modulus>(a: &Words, b: &Words) -> Words {
    let (difference, borrow) = difference(a, b);
    let (plus_prime, _) = sum(&difference, &M::PRIME);
    select(borrow, &plus_prime, &difference)
}

/// `a` to the power of the prime less 2: its inverse, in Montgomery's form. 0 for 0.
#[inline(never)]
pub(super) fn invert<M: Modulus>(a: &Words) -> Words {
    let (mut power, _) = difference(&M::PRIME, &[2, 0, 0, 0, 0, 0, 0, 0]);
    // The powers up to the 15th: four bits of the exponent, which is no secret, at a time.
    let mut powers = [M::ONE; 16];
    let mut last = M::ONE;
    for power in powers.iter_mut().skip(1) {
        last = multiply::<M>(&last, a);
        *power = last;
    }
    let mut result = M::ONE;
    for word in power.iter_mut().rev() {
        for _ in 0..8 {
            for _ in 0..4 {
                result = multiply::<M>(&result, &result);
            }
            let power = powers.get((*word >> 28) as usize).unwrap_or(&M::ONE);
            result = multiply::<M>(&result, power);
            *word <<= 4;
        }
    }
    powers.zeroize();
    result
}

/// Of a number less than twice the prime, that less the prime where it is not less.
#[inline(never)]
pub(super) fn reduce<M: Modulus>(a: &Words, high: u32) -> Words {
    let (less, borrow) = difference(a, &M::PRIME);
    // Less than the prime if that borrows, and there is nothing to borrow from.
    select(borrow & !high & 1, a, &less)
}

/// Whether `a` is less than `b`: 1 or 0.
pub(super) fn is_less(a: &Words, b: &Words) -> u32 {
    difference(a, b).1
}

/// Whether it is 0: 1 or 0.
pub(super) fn is_zero(a: &Words) -> u32 {
    is_less(a, &[1, 0, 0, 0, 0, 0, 0, 0])
}

/// `a` where `choice` is 1, `b` where it is 0.
pub(super) fn select(choice: u32, a: &Words, b: &Words) -> Words {
    // The compiler is not to know that there are two cases only.
    let mask = black_box(choice.wrapping_neg());
    let mut chosen = *b;
    for (chosen, a) in chosen.iter_mut().zip(a) {
        *chosen ^= mask & (*chosen ^ a);
    }
    chosen
}

/// `a + b`, and its ninth word: 1 or 0.
#[inline(always)]
fn sum(a: &Words, b: &Words) -> (Words, u32) {
    let (mut words, mut carry) = (*a, 0);
    for (a, b) in words.iter_mut().zip(b) {
        (*a, carry) = add_words(*a, *b, carry);
    }
    (words, carry)
}

/// `a - b`, and whether that had to borrow: 1 or 0.
#[inline(always)]
pub(super) fn difference(a: &Words, b: &Words) -> (Words, u32) {
    // a - b is a + !b + 1.
    let (mut words, mut carry) = (*a, 1);
    for (a, b) in words.iter_mut().zip(b) {
        (*a, carry) = add_words(*a, !*b, carry);
    }
    (words, carry ^ 1)
}

/// From 32 bytes, the highest first.
pub(super) fn from_bytes(bytes: &[u8; 32]) -> Words {
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().rev().zip(bytes.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

/// The 32 bytes of it, the highest first.
pub(super) fn to_bytes(words: &Words) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words.iter().rev()) {
        *bytes = word.to_be_bytes();
    }
    bytes
}
