//! Multiples of the curve's generator, by a comb, in a time that does not depend on the factor.
//!
//! The factor, if it is odd, is a sum of all the powers of 2 up to the 259th, each with a sign. These
//! signs are cut into ten rows of 26, one above the other; a column of five rows picks one of 32 sums
//! of powers of 2 times the generator, of which 16 are in a table and the others are their negatives.
//! So 52 additions and 25 doublings are enough (Lim and Lee 1994; signs: Feng, Zhu, Zhao 2005).
//!
//! Coordinates are projective, and the formulas hold for every pair of points (Renes, Costello and
//! Batina 2016, algorithms 5 and 6), so nothing is a special case.

use zeroize::Zeroize;

use super::{
    table::{TABLE, TEETH},
    words::{Field, Modulus, Words, add, difference, invert, multiply, select, subtract},
};

/// How many signs are in a row.
pub(super) const COLUMNS: u32 = 26;

/// x and y of a point, in Montgomery's form.
pub(super) type Affine = [Words; 2];

/// The coefficient b of the curve, in Montgomery's form.
const B: Words = [
    0x29c4_bddf,
    0xd89c_df62,
    0x7884_3090,
    0xacf0_05cd,
    0xf721_2ed6,
    0xe5a2_20ab,
    0x0487_4834,
    0xdc30_061d,
];

/// A point: x / z, y / z.
struct Point {
    x: Words,
    y: Words,
    z: Words,
}

/// x of `factor` times the generator, not in Montgomery's form. The factor is less than the order of
/// the generator, `order`, and not 0.
pub(super) fn multiple_x(factor: &Words, order: &Words) -> Words {
    // The order is odd: one of the two is odd, and they differ in the sign of y only.
    let (mut other, _) = difference(order, factor);
    let [lowest, ..] = *factor;
    let mut signs = Signs::of(&select(lowest & 1, factor, &other));
    other.zeroize();

    let mut sum = Point {
        x: [0; 8],
        y: Field::ONE,
        z: [0; 8],
    };
    for column in (0..COLUMNS).rev() {
        if column + 1 < COLUMNS {
            sum.double();
        }
        for (half, row) in TABLE.iter().zip([0, TEETH]) {
            sum.add(&pick(half, signs.column(row, column)));
        }
    }
    signs.0.zeroize();
    let x = multiply::<Field>(&sum.x, &invert::<Field>(&sum.z));
    multiply::<Field>(&x, &[1, 0, 0, 0, 0, 0, 0, 0])
}

/// Ten rows of signs: 1 where a power of 2 is added, 0 where it is subtracted.
struct Signs([u32; 9]);

impl Signs {
    /// Those of an odd number: half of the number and 2^260 - 1.
    fn of(number: &Words) -> Self {
        let [a, b, c, d, e, f, g, h] = *number;
        let half = |low: u32, high: u32| low >> 1 | high << 31;
        Self([
            half(a, b),
            half(b, c),
            half(c, d),
            half(d, e),
            half(e, f),
            half(f, g),
            half(g, h),
            // 2^259 is the last one's, and that is always added.
            h >> 1,
            1 << 3,
        ])
    }

    /// The signs of five rows from `row` on at one column, the first row's lowest.
    fn column(&self, row: u32, column: u32) -> u32 {
        let bit = |row: u32| {
            let at = row * COLUMNS + column;
            let word = self.0.get((at / 32) as usize).copied().unwrap_or_default();
            word >> (at % 32) & 1
        };
        (0..TEETH).fold(0, |bits, tooth| bits | bit(row + tooth) << tooth)
    }
}

/// The point for five signs. All the table is read, whichever it is.
fn pick(table: &[Affine; 16], signs: u32) -> Affine {
    // The table has those with a positive fifth sign.
    let positive = signs >> 4;
    let index = (signs ^ positive.wrapping_sub(1)) & 0xf;
    let [mut x, mut y] = [[0; 8]; 2];
    for (i, [table_x, table_y]) in (0..).zip(table) {
        // 1 where they are equal: only then is their difference less 1 negative.
        let is_it = (i ^ index).wrapping_sub(1) >> 31;
        x = select(is_it, table_x, &x);
        y = select(is_it, table_y, &y);
    }
    let negative = subtract::<Field>(&[0; 8], &y);
    [x, select(positive, &y, &negative)]
}

fn mul(a: &Words, b: &Words) -> Words {
    multiply::<Field>(a, b)
}

fn plus(a: &Words, b: &Words) -> Words {
    add::<Field>(a, b)
}

fn minus(a: &Words, b: &Words) -> Words {
    subtract::<Field>(a, b)
}

/// Three times it.
fn triple(a: &Words) -> Words {
    plus(&plus(a, a), a)
}

impl Point {
    /// Adds a point that is not the neutral one.
    #[inline(never)]
    fn add(&mut self, [x2, y2]: &Affine) {
        let Self { x, y, z } = self;
        let xx = mul(x, x2);
        let yy = mul(y, y2);
        // x1 y2 + x2 y1, y1 + y2 z1, x1 + x2 z1
        let xy = minus(&mul(&plus(x2, y2), &plus(x, y)), &plus(&xx, &yy));
        let yz = plus(&mul(y2, z), y);
        let xz = plus(&mul(x2, z), x);
        let u = triple(&minus(&xz, &mul(&B, z)));
        let (low, high) = (minus(&yy, &u), plus(&yy, &u));
        let z3 = triple(z);
        let v = triple(&minus(&minus(&mul(&B, &xz), &z3), &xx));
        let w = minus(&triple(&xx), &z3);
        *x = minus(&mul(&xy, &high), &mul(&yz, &v));
        *y = plus(&mul(&high, &low), &mul(&w, &v));
        *z = plus(&mul(&yz, &low), &mul(&xy, &w));
    }

    /// Doubles it.
    #[inline(never)]
    fn double(&mut self) {
        let Self { x, y, z } = self;
        let (xx, yy, zz) = (mul(x, x), mul(y, y), mul(z, z));
        let xy = mul(x, y);
        let xy = plus(&xy, &xy);
        let xz = mul(x, z);
        let xz = plus(&xz, &xz);
        let u = triple(&minus(&mul(&B, &zz), &xz));
        let (low, high) = (minus(&yy, &u), plus(&yy, &u));
        let z3 = triple(&zz);
        let v = triple(&minus(&minus(&mul(&B, &xz), &z3), &xx));
        let w = minus(&triple(&xx), &z3);
        let yz = mul(y, z);
        let yz = plus(&yz, &yz);
        *x = minus(&mul(&xy, &low), &mul(&yz, &v));
        *y = plus(&mul(&low, &high), &mul(&w, &v));
        let four = mul(&yz, &yy);
        let four = plus(&four, &four);
        *z = plus(&four, &four);
    }
}
