//! Integers to decimal digits, eight at a time.

/// The decimal digits of an integer, with a sign if it has one.
pub(super) struct Digits {
    bytes: [u8; 48],
    len: usize,
}

/// Eight digits' worth.
const EIGHT: u64 = 100_000_000;

impl Digits {
    pub(super) fn new() -> Self {
        Digits {
            bytes: [0; 48],
            len: 0,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn push_byte(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    pub(super) fn push(&mut self, value: u64) {
        if value < EIGHT {
            return self.push_eight(value, false);
        }
        let (high, low) = (value / EIGHT, value % EIGHT);
        if high < EIGHT {
            self.push_eight(high, false);
        } else {
            self.push_eight(high / EIGHT, false);
            self.push_eight(high % EIGHT, true);
        }
        self.push_eight(low, true);
    }

    pub(super) fn push_wide(&mut self, value: u128) {
        const SIXTEEN: u128 = EIGHT as u128 * EIGHT as u128;
        let Ok(value) = u64::try_from(value) else {
            let (high, low) = (value / SIXTEEN, (value % SIXTEEN) as u64);
            self.push_wide(high);
            self.push_eight(low / EIGHT, true);
            return self.push_eight(low % EIGHT, true);
        };
        self.push(value);
    }

    /// Up to eight digits; exactly eight, if `padded`. A zero has one digit.
    fn push_eight(&mut self, value: u64, padded: bool) {
        let digits = eight_digits(value);
        let leading_zeros = match padded {
            true => 0,
            false => (digits | 1 << 56).trailing_zeros() / 8,
        };
        let text = (digits | 0x3030_3030_3030_3030) >> (8 * leading_zeros);
        let free = self.bytes.get_mut(self.len..).unwrap_or_default();
        if let Some(slot) = free.first_chunk_mut() {
            *slot = text.to_le_bytes();
            self.len += 8 - leading_zeros as usize;
        }
    }
}

/// The eight digits of a number below 10^8, a byte each, the first one lowest. All eight are made
/// at once, by splitting in half three times; the products divide by 100 and by 10.
fn eight_digits(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let high = ((fours * 5_243) >> 19) & 0x0000_007f_0000_007f;
    let twos = high | ((fours - high * 100) << 16);
    let high = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    high | ((twos - high * 10) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn all_eight_digits_are_right_whatever_stands_in_the_other_half() {
        for half in 0..10_000 {
            for (value, text) in [
                (half * 10_001, format!("{half:04}{half:04}")),
                (half, format!("{half:08}")),
            ] {
                let digits = eight_digits(value) | 0x3030_3030_3030_3030;
                assert_eq!(digits.to_le_bytes(), text.as_bytes());
            }
        }
    }

    #[test]
    fn integers_of_every_length_have_their_digits() {
        let mut power = 1_u128;
        while let Some(next) = power.checked_mul(10) {
            for value in [power - 1, power, power + 1, power / 7, u128::MAX / power] {
                let mut digits = Digits::new();
                digits.push_wide(value);
                assert_eq!(digits.as_bytes(), format!("{value}").as_bytes());
            }
            power = next;
        }
    }
}
