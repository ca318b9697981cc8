//! Random numbers from a seed: SHA-256 over what the device was given, what it has seen, and a
//! counter.

use sha2::{Digest, Sha256};

/// A generator. Nobody who does not know the seed can tell what comes out of it, and it never
/// repeats itself after something was [mixed](Entropy::mix) in that is new at every start.
pub struct Entropy {
    state: [u8; 32],
    drawn: u64,
}

impl Entropy {
    /// From the device's secret seed alone: the same at every start.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        Self {
            state: *seed,
            drawn: 0,
        }
    }

    /// Mixes something in that is new at every start: the time, a boot counter, noise.
    pub fn mix(&mut self, new: &[u8]) {
        let hash = Sha256::new_with_prefix(b"mix").chain_update(self.state);
        self.state = hash.chain_update(new).finalize().into();
    }

    /// 16 random bytes.
    pub fn draw(&mut self) -> [u8; 16] {
        self.drawn += 1;
        let hash = Sha256::new_with_prefix(b"draw").chain_update(self.state);
        let hash: [u8; 32] = hash
            .chain_update(self.drawn.to_le_bytes())
            .finalize()
            .into();
        let [first, _] = *hash.as_chunks().0 else {
            return [0; 16]; // 32 bytes are two of 16
        };
        first
    }

    /// 8 random bytes.
    pub fn draw_u64(&mut self) -> u64 {
        (u128::from_le_bytes(self.draw()) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_starts_draw_the_same_until_something_new_is_mixed_in() {
        let (mut a, mut b) = (Entropy::new(&[1; 32]), Entropy::new(&[1; 32]));
        assert_eq!(a.draw(), b.draw());
        assert_ne!(a.draw(), a.draw());
        a.mix(b"monday");
        b.mix(b"tuesday");
        assert_ne!(a.draw(), b.draw());
        assert_ne!(Entropy::new(&[1; 32]).draw(), Entropy::new(&[2; 32]).draw());
    }
}
