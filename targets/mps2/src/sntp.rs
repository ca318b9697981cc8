//! The time of day from a server: SNTP (RFC 4330), sans-I/O.

use crate::entropy::Entropy;

/// Length of a question and of the part of an answer that is read.
pub const PACKET: usize = 48;

/// Milliseconds from one good answer to the next question: a crystal drifts by some 50 ms in that
/// time.
const REFRESH: u64 = 15 * 60_000;
/// Milliseconds to the first repetition of a question without an answer; doubled each time, up to
/// the last.
const FIRST_RETRY: u64 = 1_000;
const LAST_RETRY: u64 = 64_000;
/// An answer that comes later than this many milliseconds says little about the time.
const LATE: u64 = 2_000;

/// Seconds from 1900, where NTP counts from, to 1970.
const EPOCH: u64 = 2_208_988_800;

/// The time, and the talk with the server.
pub struct Sntp {
    /// Milliseconds since 1970 when our clock was 0; 0 while that is not known.
    start: u64,
    ask_at: u64,
    retry: u64,
    /// What the question under way can be told by, and when it was asked.
    asked: Option<(u64, u64)>,
}

impl Sntp {
    /// Knows nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            start: 0,
            ask_at: 0,
            retry: FIRST_RETRY,
            asked: None,
        }
    }

    /// Seconds since 1970, once an answer came. `now` is our clock in milliseconds, here and below.
    #[must_use]
    pub fn time(&self, now: u64) -> Option<u64> {
        (self.start != 0).then(|| (self.start + now) / 1000)
    }

    /// When there will be something to [`ask`](Self::ask).
    #[must_use]
    pub fn ask_at(&self) -> u64 {
        self.ask_at
    }

    /// The question to send, if it is time for one. `random` makes it one that only the server
    /// can answer.
    pub fn ask(&mut self, now: u64, random: &mut Entropy) -> Option<[u8; PACKET]> {
        if now < self.ask_at {
            return None;
        }
        let cookie = random.draw_u64();
        self.asked = Some((cookie, now));
        self.ask_at = now + self.retry;
        self.retry = (self.retry * 2).min(LAST_RETRY);
        let mut packet = [0; PACKET];
        packet[0] = 4 << 3 | 3; // version 4, client
        if let Some(transmitted) = packet.last_chunk_mut() {
            *transmitted = cookie.to_be_bytes();
        }
        Some(packet)
    }

    /// Looks at what the server sent; whether it is the answer to the question under way. Then
    /// `random` has it mixed in.
    pub fn answer(&mut self, packet: &[u8], now: u64, random: &mut Entropy) -> bool {
        let Some((&packet, (cookie, asked_at))) = packet.first_chunk::<PACKET>().zip(self.asked)
        else {
            return false;
        };
        let [flags, stratum, ..] = packet;
        let [_, _, _, original, _, transmitted] = *packet.as_chunks::<8>().0 else {
            return false; // 48 bytes are six of 8
        };
        let transmitted = u64::from_be_bytes(transmitted);
        let round_trip = now.saturating_sub(asked_at);
        // A server that knows the time (no alarm; stratum 0 sends us away), and our question.
        let good = flags & 7 == 4
            && flags >> 6 != 3
            && (1..16).contains(&stratum)
            && u64::from_be_bytes(original) == cookie
            && transmitted != 0
            && round_trip <= LATE;
        if !good {
            return false;
        }
        let (seconds, fraction) = (transmitted >> 32, transmitted & u64::from(u32::MAX));
        // From 2036 on the seconds begin again; before 1968 there was no NTP (RFC 4330, 3).
        let era = if seconds >> 31 == 0 { 1 << 32 } else { 0 };
        let Some(seconds) = (era + seconds).checked_sub(EPOCH) else {
            return false;
        };
        let time = seconds * 1000 + ((fraction * 1000) >> 32) + round_trip / 2;
        self.start = time.saturating_sub(now).max(1);
        self.asked = None;
        self.retry = FIRST_RETRY;
        self.ask_at = now + REFRESH;
        random.mix(&transmitted.to_be_bytes());
        true
    }
}

impl Default for Sntp {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(question: &[u8; PACKET], seconds: u32) -> [u8; PACKET] {
        let mut answer = [0; PACKET];
        answer[0] = 4 << 3 | 4;
        answer[1] = 2;
        answer[24..32].copy_from_slice(&question[40..]);
        answer[40..44].copy_from_slice(&seconds.to_be_bytes());
        answer[44..].copy_from_slice(&0x8000_0000_u32.to_be_bytes());
        answer
    }

    #[test]
    fn the_time_is_the_server_s_and_half_of_the_way() {
        for (seconds, expected) in [
            (3_976_214_400_u32, 1_767_225_600), // 2026-01-01
            (4_294_967_295, 2_085_978_495),     // the last second of era 0
            (0, 2_085_978_496),                 // the first one of era 1
        ] {
            let (mut sntp, mut random) = (Sntp::new(), Entropy::new(&[1; 32]));
            assert_eq!(sntp.time(5), None);
            let question = sntp.ask(5, &mut random).unwrap();
            assert!(sntp.answer(&answer_to(&question, seconds), 1005, &mut random));
            // Half a second of the server's, half a second of the way.
            assert_eq!(sntp.time(1004), Some(expected));
            assert_eq!(sntp.time(1005), Some(expected + 1));
            assert_eq!(sntp.ask_at(), 1005 + REFRESH);
        }
    }

    #[test]
    fn what_is_no_answer_to_the_question_changes_nothing() {
        let (mut sntp, mut random) = (Sntp::new(), Entropy::new(&[1; 32]));
        let question = sntp.ask(0, &mut random).unwrap();
        let good = answer_to(&question, 3_976_214_400);
        assert!(!sntp.answer(&good[..47], 1, &mut random));
        for (at, byte) in [(0, 0xe4), (0, 0x23), (1, 0), (1, 16), (24, !good[24])] {
            let mut bad = good;
            bad[at] = byte;
            assert!(!sntp.answer(&bad, 1, &mut random), "{at}: {byte}");
        }
        assert!(
            !sntp.answer(&answer_to(&question, 0x8000_0000), 1, &mut random),
            "before 1970"
        );
        assert!(!sntp.answer(&good, LATE + 1, &mut random), "late");
        assert_eq!(sntp.time(1), None);
        assert!(sntp.answer(&good, 1, &mut random));
        assert!(!sntp.answer(&good, 2, &mut random), "twice");
    }

    #[test]
    fn a_silent_server_is_asked_ever_more_rarely_with_a_new_cookie() {
        let (mut sntp, mut random) = (Sntp::new(), Entropy::new(&[1; 32]));
        let (mut now, mut last, mut waits) = (0, [0; PACKET], [0; 8]);
        for wait in &mut waits {
            assert!(now == 0 || sntp.ask(now - 1, &mut random).is_none());
            let question = sntp.ask(now, &mut random).unwrap();
            assert_ne!(question, last);
            last = question;
            *wait = sntp.ask_at() - now;
            now = sntp.ask_at();
        }
        assert_eq!(
            waits,
            [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 64_000]
        );
    }
}
