//! Floating-point numbers: the shortest decimal for a double, and the double for a decimal.
//!
//! Both multiply by a power of ten that is known to 128 bits, from a table of 632 bytes that the
//! compiler computes:
//! - [`shortest`]: Raffaello Giulietti's Schubfach ("The Schubfach way to render doubles", 2020).
//!   It needs the power to no more than 4 units of 2^-128, from above.
//! - [`Literal::nearest`]: rounds the least and the greatest value that the product can stand
//!   for. If both give the same double, that is it (Daniel Lemire's observation, "Number Parsing
//!   at a Gigabyte per Second", 2021, is that it nearly always is). Otherwise the literal is
//!   compared with the middle between two doubles, exactly, in big integers.

use core::cmp::Ordering;

/// `digits` x 10^`exponent`, without trailing zeros: zero is 0 x 10^0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) digits: u64,
    pub(super) exponent: i32,
}

impl Decimal {
    fn new(mut digits: u64, mut exponent: i32) -> Self {
        if digits == 0 {
            return Decimal {
                digits: 0,
                exponent: 0,
            };
        }
        while digits.is_multiple_of(10) {
            digits /= 10;
            exponent += 1;
        }
        Decimal { digits, exponent }
    }
}

/// The shortest decimal that reads back as the same double, of several the closest. The sign is
/// the caller's affair; the value must be finite.
pub(super) fn shortest(value: f64) -> Decimal {
    let (significand, exponent) = take_apart(value.to_bits() & SIGN_OFF);
    if significand == 0 {
        return Decimal::new(0, 0);
    }
    // What reads back as this double lies between the middles to its neighbours. Where the
    // exponent changes the lower neighbour is nearer. A middle itself reads back as the double
    // with the even significand.
    let nearer = significand == HIDDEN_BIT && exponent > LEAST_EXPONENT;
    let odd = significand & 1;

    // Scaled by 10^-k the interval holds an integer, but no more than one multiple of ten.
    let k = floor_log10_of_interval(exponent, nearer);
    let power = Power::of_ten(-k);
    let above_power = power.significand.wrapping_add(Power::ERROR);
    let shift = exponent + power.exponent + 128;
    let scale = |quarters: u64| multiply_high(above_power, quarters << shift);
    // From here on in quarters, rounded to odd: that keeps every comparison with an integer or a
    // half right.
    let middle = scale(4 * significand);
    let lower = scale(4 * significand - if nearer { 1 } else { 2 });
    let upper = scale(4 * significand + 2);
    let fits_below = |integer: u64| lower + odd <= 4 * integer;
    let fits_above = |integer: u64| 4 * integer + odd <= upper;

    let floor = middle / 4;
    let tens = floor / 10 * 10;
    if fits_below(tens) {
        return Decimal::new(tens, k);
    }
    if fits_above(tens + 10) {
        return Decimal::new(tens + 10, k);
    }
    let up = match (fits_below(floor), fits_above(floor + 1)) {
        (true, true) => match middle.cmp(&(4 * floor + 2)) {
            Ordering::Less => false,
            Ordering::Equal => floor & 1 == 1,
            Ordering::Greater => true,
        },
        (below, _) => !below,
    };
    Decimal::new(floor + u64::from(up), k)
}

/// The product without its lowest 128 bits, rounded to odd. The power is a little too high:
/// an exact product shows up as no more than 1 in the bits that are looked at.
fn multiply_high(power: u128, value: u64) -> u64 {
    let low = u128::from(power as u64) * u128::from(value);
    let product = (power >> 64) * u128::from(value) + (low >> 64);
    (product >> 64) as u64 | u64::from(product as u64 > 1)
}

/// A floating-point literal without its sign, taken apart. The digits are ASCII.
#[derive(Debug, Clone, Copy)]
pub(super) struct Literal<'a> {
    pub(super) whole: &'a [u8],
    pub(super) fraction: &'a [u8],
    /// What stands behind the `e`, or 0.
    pub(super) exponent: i64,
}

impl Literal<'_> {
    /// The shortest decimal for the double that the literal reads as; `None` for infinity.
    pub(super) fn canonical(&self) -> Option<Decimal> {
        let (digits, leading) = self.first_digits();
        // Any two decimals of no more than 15 digits read as different doubles: so no other is
        // as short as the literal's own digits. (Away from the ends of the range.)
        if leading.count <= 15 && (-307..=292).contains(&leading.exponent) {
            return Some(Decimal::new(digits, leading.exponent as i32));
        }
        let value = self.nearest();
        value.is_finite().then(|| shortest(value))
    }

    /// The nearest double; of two the even one. Beyond the greatest it is infinity.
    fn nearest(&self) -> f64 {
        let (digits, leading) = self.first_digits();
        if digits == 0 || leading.exponent < Power::LEAST.into() {
            return 0.0;
        }
        let exponent = match i32::try_from(leading.exponent) {
            Ok(exponent) if exponent <= 308 => exponent,
            _ => return f64::INFINITY,
        };
        let power = Power::of_ten(exponent);
        let shift = digits.leading_zeros();
        let factor = u128::from(digits << shift);
        let low = u128::from(power.significand as u64) * factor;
        let product = (power.significand >> 64) * factor + (low >> 64);
        let unit = power.exponent + 64 - shift as i32;
        let (least, greatest) = if power.exact && !leading.inexact {
            let odd = product | u128::from(low as u64 != 0);
            (odd, odd)
        } else {
            // One for the bits dropped, and what the power's error comes to; and if digits were
            // left out, their last place.
            let slack = 2 + Power::ERROR + (u128::from(leading.inexact) << (64 + shift));
            (product, product.saturating_add(slack))
        };
        let (least, greatest) = (round(least, unit), round(greatest, unit));
        f64::from_bits(if least == greatest || self.is_nearer_to(least) {
            least
        } else {
            least + 1
        })
    }

    /// Whether a double is the nearest to the literal, knowing that it is either this one or the
    /// next greater.
    #[cold]
    fn is_nearer_to(&self, bits: u64) -> bool {
        let (significand, exponent) = take_apart(bits);
        let odd_middle = 2 * significand + 1; // x 2^(exponent - 1)
        let mut middle = Big::new();
        middle.multiply_add(1, (odd_middle >> 32) as u32);
        middle.multiply_add(1 << 31, 0);
        middle.multiply_add(2, odd_middle as u32);

        let mut digits = Big::new();
        // The middle between two doubles has at most 767 digits.
        let leading = self.each_digit(768, |digit| digits.multiply_add(10, digit.into()));
        let ten = leading.exponent as i32;
        if ten >= 0 {
            digits.multiply_pow5(ten.unsigned_abs());
        } else {
            middle.multiply_pow5(ten.unsigned_abs());
        }
        let two = ten - (exponent - 1);
        if two >= 0 {
            digits.multiply_pow2(two.unsigned_abs());
        } else {
            middle.multiply_pow2(two.unsigned_abs());
        }
        match digits.compare(&middle) {
            Ordering::Less => true,
            Ordering::Equal => !leading.inexact && significand & 1 == 0,
            Ordering::Greater => false,
        }
    }

    /// The first 19 digits as a number.
    fn first_digits(&self) -> (u64, Leading) {
        let mut digits: u64 = 0;
        let leading = self.each_digit(19, |digit| {
            digits = digits.wrapping_mul(10).wrapping_add(digit.into());
        });
        (digits, leading)
    }

    /// Hands out the value of each digit from the first that is not zero, up to `limit` many.
    fn each_digit(&self, limit: usize, mut take: impl FnMut(u8)) -> Leading {
        let mut count = 0;
        let mut inexact = false;
        for &digit in self.whole.iter().chain(self.fraction) {
            let value = digit.wrapping_sub(b'0');
            if count < limit {
                if count > 0 || value != 0 {
                    take(value);
                    count += 1;
                }
            } else {
                inexact |= value != 0;
                count += 1;
            }
        }
        let left_out = count.saturating_sub(limit) as i64;
        Leading {
            count,
            exponent: self
                .exponent
                .saturating_sub(self.fraction.len() as i64)
                .saturating_add(left_out),
            inexact,
        }
    }
}

/// What is known about a literal besides its leading digits.
struct Leading {
    /// How many digits there are from the first that is not zero.
    count: usize,
    /// The power of ten that the leading digits are multiplied by.
    exponent: i64,
    /// Whether one of the digits behind them is not zero.
    inexact: bool,
}

const FRACTION_BITS: u32 = 52;
const HIDDEN_BIT: u64 = 1 << FRACTION_BITS;
const SIGN_OFF: u64 = u64::MAX >> 1;
/// Of the last bit of a subnormal double.
const LEAST_EXPONENT: i32 = -1074;
const INFINITY: u64 = 0x7ff << FRACTION_BITS;

/// Significand and exponent: the value is significand x 2^exponent.
fn take_apart(bits: u64) -> (u64, i32) {
    let fraction = bits & (HIDDEN_BIT - 1);
    match (bits >> FRACTION_BITS) as i32 {
        0 => (fraction, LEAST_EXPONENT),
        biased => (fraction | HIDDEN_BIT, LEAST_EXPONENT - 1 + biased),
    }
}

/// The bits of the double nearest to value x 2^unit, of two the even one; the value has 127 or
/// 128 bits.
fn round(value: u128, unit: i32) -> u64 {
    const HALF: u128 = 1 << 127;
    let top = unit + 127 - value.leading_zeros() as i32;
    if top > 1023 {
        return INFINITY;
    }
    let exponent = (top - FRACTION_BITS as i32).max(LEAST_EXPONENT);
    let (kept, rest) = match exponent - unit {
        drop @ 1..128 => (value >> drop, value << (128 - drop)),
        128 => (0, value),
        _ => return 0,
    };
    let up = rest > HALF || (rest == HALF && kept & 1 == 1);
    // The hidden bit, and a carry out of the fraction, count the exponent up.
    (((exponent - LEAST_EXPONENT) as u64) << FRACTION_BITS) + kept as u64 + u64::from(up)
}

/// floor(log10) of 2^exponent, or of 3/4 of it. Right for any double.
const fn floor_log10_of_interval(exponent: i32, three_quarters: bool) -> i32 {
    (exponent * 1_262_611 - if three_quarters { 524_031 } else { 0 }) >> 22
}

/// floor(log2(10^exponent)). Right for |exponent| up to 1000 at least.
const fn floor_log2_pow10(exponent: i32) -> i32 {
    (exponent * 1_741_647) >> 19
}

/// A power of ten: significand <= 10^e / 2^exponent < significand + ERROR.
struct Power {
    /// The top bit is set.
    significand: u128,
    exponent: i32,
    /// Whether the significand is the power's, without error.
    exact: bool,
}

impl Power {
    const ERROR: u128 = 3;
    /// The least power in the table; the greatest is 350.
    const LEAST: i32 = -342;

    /// From the nearest lower power in the table and one below [`STEP`]. Cutting off costs less
    /// than 1 in the table, which the product may double, and less than 1 in the product.
    fn of_ten(exponent: i32) -> Self {
        let step = STEP as i32;
        let number = exponent.div_euclid(step) - Self::LEAST.div_euclid(step);
        let base = BASES.get(number as usize).copied().unwrap_or_default();
        let five = SMALL.get(exponent.rem_euclid(step) as usize);
        let five = five.copied().unwrap_or_default();
        let factor = u128::from(five << five.leading_zeros());
        let low = u128::from(base as u64) * factor;
        let product = (base >> 64) * factor + (low >> 64);
        let shift = product.leading_zeros();
        Power {
            significand: product << shift | u128::from(low as u64 >> 63) & u128::from(shift),
            exponent: floor_log2_pow10(exponent) - 127,
            exact: (0..=55).contains(&exponent),
        }
    }
}

const STEP: usize = 27;

/// 5^0 to 5^26.
#[expect(
    clippy::indexing_slicing,
    reason = "the compiler evaluates it, and would say so"
)]
const SMALL: [u64; STEP] = {
    let mut powers = [1; STEP];
    let mut number = 1;
    while number < STEP {
        powers[number] = powers[number - 1] * 5;
        number += 1;
    }
    powers
};

/// The first 128 bits of every 27th power of five from 5^-351 to 5^324, cut off.
#[expect(
    clippy::indexing_slicing,
    reason = "the compiler evaluates it, and would say so"
)]
const BASES: [u128; 26] = {
    const LIMBS: usize = 16;
    const FACTOR: u128 = SMALL[STEP - 1] as u128 * 5;
    const NEGATIVE: usize = 13;

    const fn first_bits(limbs: &[u64; LIMBS]) -> u128 {
        let mut high = LIMBS - 1;
        while limbs[high] == 0 {
            high -= 1;
        }
        let shift = limbs[high].leading_zeros();
        let mut bits = (limbs[high] as u128) << (64 + shift);
        if high >= 1 {
            bits |= (limbs[high - 1] as u128) << shift;
        }
        if high >= 2 {
            bits |= (limbs[high - 2] as u128) << shift >> 64;
        }
        bits
    }

    let mut bases = [0; 26];
    // 2^1023, divided by 5^27 again and again: flooring every time is flooring once.
    let mut limbs = [0; LIMBS];
    limbs[LIMBS - 1] = 1 << 63;
    let mut number = NEGATIVE;
    while number > 0 {
        number -= 1;
        let mut limb = LIMBS;
        let mut remainder = 0;
        while limb > 0 {
            limb -= 1;
            let value = remainder << 64 | limbs[limb] as u128;
            limbs[limb] = (value / FACTOR) as u64;
            remainder = value % FACTOR;
        }
        bases[number] = first_bits(&limbs);
    }
    limbs = [0; LIMBS];
    limbs[0] = 1;
    number = NEGATIVE;
    while number < bases.len() {
        bases[number] = first_bits(&limbs);
        number += 1;
        let mut limb = 0;
        let mut carry = 0;
        while limb < LIMBS {
            let value = limbs[limb] as u128 * FACTOR + carry;
            limbs[limb] = value as u64;
            carry = value >> 64;
            limb += 1;
        }
    }
    bases
};

/// An integer of up to 2,720 bits: what the comparison of a literal with a double can take.
struct Big {
    /// Little-endian.
    limbs: [u32; 85],
    len: usize,
}

impl Big {
    fn new() -> Self {
        Big {
            limbs: [0; 85],
            len: 0,
        }
    }

    fn multiply_add(&mut self, factor: u32, term: u32) {
        let mut carry = u64::from(term);
        for limb in self.limbs.iter_mut().take(self.len) {
            let value = u64::from(*limb) * u64::from(factor) + carry;
            *limb = value as u32;
            carry = value >> 32;
        }
        if carry != 0
            && let Some(limb) = self.limbs.get_mut(self.len)
        {
            *limb = carry as u32;
            self.len += 1;
        }
    }

    fn multiply_pow5(&mut self, mut exponent: u32) {
        while exponent >= 13 {
            self.multiply_add(5_u32.pow(13), 0);
            exponent -= 13;
        }
        self.multiply_add(5_u32.pow(exponent), 0);
    }

    fn multiply_pow2(&mut self, mut exponent: u32) {
        while exponent >= 31 {
            self.multiply_add(1 << 31, 0);
            exponent -= 31;
        }
        self.multiply_add(1 << exponent, 0);
    }

    fn compare(&self, other: &Big) -> Ordering {
        self.limbs.iter().rev().cmp(other.limbs.iter().rev())
    }
}

#[cfg(test)]
mod tests {
    use std::{format, string::String, vec::Vec};

    use super::*;

    fn parse(text: &str) -> f64 {
        let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let literal = Literal {
            whole: whole.as_bytes(),
            fraction: fraction.as_bytes(),
            exponent: exponent.parse().unwrap(),
        };
        let value = literal.nearest();
        // The decimal for the literal is that for the double.
        let canonical = value.is_finite().then(|| shortest(value));
        assert_eq!(literal.canonical(), canonical, "{text}");
        value
    }

    /// The shortest digits, by the standard library. Where two are equally near it takes the
    /// greater, Python the even one: that is what rounding to as many digits gives.
    fn std_shortest(value: f64) -> Decimal {
        let shortest = format!("{value:e}");
        let precision = shortest.find('e').unwrap().saturating_sub(2);
        let even = format!("{value:.precision$e}");
        let text = match even.parse::<f64>() {
            Ok(back) if back == value => even,
            _ => shortest,
        };
        let (digits, exponent) = text.split_once('e').unwrap();
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let digits: String = [whole, fraction].concat();
        Decimal {
            digits: digits.parse().unwrap(),
            exponent: exponent.parse::<i32>().unwrap() - fraction.len() as i32,
        }
    }

    #[track_caller]
    fn check(value: f64) {
        let decimal = shortest(value);
        assert_eq!(decimal, std_shortest(value), "{value:e}");
        let text = format!("{}e{}", decimal.digits, decimal.exponent);
        assert_eq!(parse(&text), value, "{text}");
    }

    /// A linear congruential generator.
    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *seed ^ *seed >> 29
    }

    fn rounds() -> u64 {
        std::env::var("FLOAT_ROUNDS").map_or(20_000, |rounds| rounds.parse().unwrap())
    }

    #[test]
    fn random_doubles_have_the_standard_librarys_shortest_digits() {
        let mut seed = 1;
        for _ in 0..rounds() {
            let value = f64::from_bits(random(&mut seed) & SIGN_OFF);
            if value.is_finite() {
                check(value);
            }
            check(f64::from_bits(random(&mut seed) >> 12)); // subnormal
            check((random(&mut seed) >> 11) as f64 / 1e6);
        }
    }

    #[test]
    fn literals_read_as_the_standard_library_reads_them() {
        let mut seed = 2;
        for _ in 0..rounds() {
            let digits = random(&mut seed) >> (random(&mut seed) % 64);
            let exponent = (random(&mut seed) % 700) as i32 - 350;
            let text = format!("{digits}e{exponent}");
            assert_eq!(parse(&text), text.parse::<f64>().unwrap(), "{text}");
            let text = format!(
                "{digits}{}.{}e{exponent}",
                random(&mut seed),
                random(&mut seed)
            );
            assert_eq!(parse(&text), text.parse::<f64>().unwrap(), "{text}");
        }
    }

    #[test]
    fn literals_at_and_beside_the_middle_between_two_doubles_round_right() {
        let mut seed = 3;
        for round in 0..rounds() / 50 {
            let bits = match round % 4 {
                0 => random(&mut seed) >> 12,
                1 => random(&mut seed) % 64,
                _ => random(&mut seed) & SIGN_OFF,
            };
            let value = f64::from_bits(bits);
            if bits >= INFINITY {
                continue;
            }
            for text in around_middle(bits) {
                let expected = text.parse::<f64>().unwrap();
                assert_eq!(parse(&text), expected, "{text} beside {value:e}");
            }
        }
    }

    /// The middle between a double and the next one, exactly, and numbers close to it.
    fn around_middle(bits: u64) -> Vec<String> {
        let (significand, exponent) = take_apart(bits);
        let (significand, exponent) = (2 * significand + 1, exponent - 1);
        let digits = format!("{significand}");
        let mut digits: Vec<u8> = digits.bytes().map(|b| b - b'0').rev().collect();
        let mut ten = 0;
        for _ in 0..exponent.abs() {
            let factor = if exponent < 0 { 5 } else { 2 };
            let mut carry = 0;
            for digit in &mut digits {
                let value = *digit * factor + carry;
                *digit = value % 10;
                carry = value / 10;
            }
            if carry > 0 {
                digits.push(carry);
            }
            ten -= i32::from(exponent < 0);
        }
        let digits: String = digits.iter().rev().map(|d| char::from(d + b'0')).collect();
        let beside = |step: i64| {
            let (head, tail) = digits.split_at(digits.len().saturating_sub(15));
            let tail = tail.parse::<i64>().unwrap() + step;
            format!("{head}{tail:015}e{ten}")
        };
        std::vec![
            format!("{digits}e{ten}"),
            format!("{digits}.{}1e{ten}", "0".repeat(1000)),
            format!(
                "0.{}{digits}e{}",
                "0".repeat(500),
                ten + 500 + digits.len() as i32
            ),
            beside(1),
            beside(-1),
        ]
    }

    #[test]
    fn every_power_of_ten_is_known_as_closely_as_promised() {
        for exponent in Power::LEAST..=324 {
            let power = Power::of_ten(exponent);
            assert!(power.significand >> 127 == 1);
            // significand x 2^two <= 10^exponent < (significand + ERROR) x 2^two
            let bounds = [power.significand, power.significand + Power::ERROR];
            let [low, high] = bounds.map(|bound| {
                let (mut ours, mut exact) = (Big::new(), Big::new());
                exact.multiply_add(1, 1);
                for shift in [96, 64, 32, 0] {
                    ours.multiply_pow2(32);
                    ours.multiply_add(1, (bound >> shift) as u32);
                }
                let five = if exponent < 0 { &mut ours } else { &mut exact };
                five.multiply_pow5(exponent.unsigned_abs());
                let two = power.exponent - exponent;
                let scaled = if two < 0 { &mut exact } else { &mut ours };
                scaled.multiply_pow2(two.unsigned_abs());
                ours.compare(&exact)
            });
            assert!(low.is_le() && high.is_gt(), "10^{exponent}");
            assert_eq!(low.is_eq(), power.exact, "10^{exponent}");
        }
    }
}
