//! Message ids: `<year>-<uuid4>`, such as `2026-9ebf960a-115e-4568-a615-34cc7d8d462e`.
//!
//! Source: the peer's `msg_id`, which is the year of sending and a random UUID (RFC 9562 section
//! 5.4). The entropy comes from the caller; nothing is read from the system here.

use core::fmt;

/// A message's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MessageId([u8; MessageId::LEN]);

impl MessageId {
    /// Its length in bytes.
    pub const LEN: usize = 41;

    /// The id of a message sent at `timestamp` (seconds since the epoch; past the year 9999 the
    /// year is cut to its last four digits), made of 16 bytes of entropy, which must be fresh:
    /// from a random number generator, or from a seeded one that never repeats itself.
    ///
    /// ```
    /// # use fedmsg_core::message::MessageId;
    /// let id = MessageId::new(1_795_430_000, [0x5a; 16]);
    /// assert_eq!(id.as_str(), "2026-5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a");
    /// ```
    #[must_use]
    pub fn new(timestamp: u64, entropy: [u8; 16]) -> Self {
        let mut uuid = u128::from_be_bytes(entropy);
        // Version 4, variant 0b10: RFC 9562 section 5.4.
        uuid = uuid & !(0xf << 76) | (0x4 << 76);
        uuid = uuid & !(0x3 << 62) | (0x2 << 62);

        let mut text = [b'-'; Self::LEN];
        let mut year = year(timestamp);
        for (at, byte) in text.iter_mut().enumerate().rev() {
            match at {
                4 | 13 | 18 | 23 | 28 => {}
                0..4 => {
                    *byte = b'0' + (year % 10) as u8;
                    year /= 10;
                }
                _ => {
                    let digit = (uuid & 0xf) as u8;
                    *byte = digit + if digit < 10 { b'0' } else { b'a' - 10 };
                    uuid >>= 4;
                }
            }
        }
        Self(text)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever written to it.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id's bytes, ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The year in which `timestamp` lies (UTC).
fn year(timestamp: u64) -> u64 {
    // Days since 0000-03-01 of the proleptic Gregorian calendar, whose years end with the leap
    // day; ten of its months lie in the calendar year of the same number.
    const EPOCH: u64 = 719_468;
    const ERA: u64 = 146_097;
    let days = timestamp / 86_400 + EPOCH;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    era * 400 + year + u64::from(day_of_year >= 306)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_year_changes_at_midnight_of_the_first_of_january() {
        for (timestamp, expected) in [
            (0, 1970),
            (31_535_999, 1970),
            (31_536_000, 1971),
            (951_868_799, 2000),
            (978_307_199, 2000),
            (978_307_200, 2001),
            (1_798_761_599, 2026),
            (1_798_761_600, 2027),
            (4_102_444_799, 2099),
            (4_102_444_800, 2100),
            (253_402_300_799, 9999),
        ] {
            assert_eq!(year(timestamp), expected, "{timestamp}");
        }
    }

    #[test]
    fn an_id_is_a_version_4_uuid_whatever_the_entropy() {
        for entropy in [[0; 16], [0xff; 16]] {
            let id = MessageId::new(1_795_430_000, entropy);
            let text = id.as_str();
            assert_eq!(text.len(), MessageId::LEN);
            assert_eq!(&text[..5], "2026-");
            assert_eq!(&text[19..20], "4");
            assert!(["8", "b"].contains(&&text[24..25]), "{text}");
        }
        assert_eq!(
            MessageId::new(u64::MAX, [0; 16]).as_str().len(),
            MessageId::LEN
        );
    }
}
