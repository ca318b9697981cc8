//! Signs as [`P256Signer`](super::p256::P256Signer) does, the same signatures byte for byte, made for
//! devices: on a core of 32 bits it takes a quarter of the instructions, two thirds of the flash and
//! half of the stack. `docs/p256-figures.md` has the figures, beside other implementations.
//!
//! ECDSA on P-256 (FIPS 186-5) with SHA-256 and the deterministic nonce of RFC 6979; low-S. It
//! signs and does nothing else. No branch and no address depends on the key, the nonce or what comes
//! of them; whether the core's multiplication takes the same time for all numbers (that of a Cortex-M3
//! does not, those of a Cortex-M4 and M33 do) is beyond a program. It was tested against the crate
//! `p256` and RFC 6979's examples, and was not audited by anybody outside this project: who has the
//! flash and the time may prefer `p256`.
//!
//! ```
//! use fedmsg_core::crypto::{Signer, comb::CombSigner};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = [7; 32]; // 32 bytes, the highest first
//! let certificate_field = b"LS0tLS1CRUdJTiBD\\n"; // made once: see `Signer::certificate_field`
//! let signer = CombSigner::new(&key, certificate_field)?;
//! let mut signature = [0; 72];
//! let len = signer.sign(&[b"one ", b"message"], &mut signature)?;
//! assert_eq!(signature[0], 0x30); // ASN.1 DER
//! # assert!(len >= 68);
//! # Ok(())
//! # }
//! ```

mod point;
mod table;
mod words;

use core::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::{MAX_SIGNATURE_LEN, SignError, Signer, X509_P256};
use words::{
    Modulus, Order, Words, add, difference, from_bytes, invert, is_less, is_zero, multiply, reduce,
    select, to_bytes,
};

/// Signs as one sender, with a private key in memory.
///
/// The key is wiped when the signer is dropped, and never shown by `Debug`. What a signature is made
/// from is wiped when it is made; copies that the compiler made of it on the stack, and what SHA-256
/// keeps, are not.
#[derive(Clone)]
pub struct CombSigner<'a> {
    key: [u8; 32],
    certificate_field: &'a [u8],
}

impl<'a> CombSigner<'a> {
    /// A signer with a private key as 32 bytes, big-endian, and its certificate as it stands in a
    /// message: see [`Signer::certificate_field`]. Whether they belong together is not checked.
    ///
    /// # Errors
    /// [`SignError::Key`] if the number is 0 or not less than the order of the curve.
    pub fn new(key: &[u8; 32], certificate_field: &'a [u8]) -> Result<Self, SignError> {
        if !is_scalar(&from_bytes(key)) {
            return Err(SignError::Key);
        }
        Ok(Self {
            key: *key,
            certificate_field,
        })
    }
}

impl Signer for CombSigner<'_> {
    fn backend(&self) -> &str {
        X509_P256
    }

    fn certificate_field(&self) -> &[u8] {
        self.certificate_field
    }

    fn max_signature_len(&self) -> usize {
        MAX_SIGNATURE_LEN
    }

    fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        let needed = MAX_SIGNATURE_LEN;
        let out = out
            .first_chunk_mut()
            .ok_or(SignError::BufferTooSmall { needed })?;
        let mut hash = Sha256::new();
        for piece in message {
            hash.update(piece);
        }
        let [r, s] = sign(&self.key, &hash.finalize().into());
        Ok(encode(&r, &s, out))
    }
}

impl Drop for CombSigner<'_> {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for CombSigner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CombSigner").finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for CombSigner<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        // The key is nobody's business.
        defmt::write!(f, "CombSigner");
    }
}

/// r and s of the signature over a message of this hash. The key is in range.
fn sign(key: &[u8; 32], hash: &[u8; 32]) -> [Words; 2] {
    let e = reduce::<Order>(&from_bytes(hash), 0);
    let mut d = from_bytes(key);
    let mut nonces = Nonces::new(key, &to_bytes(&e));
    let signature = loop {
        let mut nonce = nonces.next();
        let r = reduce::<Order>(&point::multiple_x(&nonce, &Order::PRIME), 0);
        // All but d and e with a factor of 2^256, which their product loses.
        let mut sum = add::<Order>(&e, &multiply::<Order>(&montgomery(&r), &d));
        let mut inverse = invert::<Order>(&montgomery(&nonce));
        let s = multiply::<Order>(&inverse, &sum);
        // Each of them gives the key away, with the signature.
        nonce.zeroize();
        inverse.zeroize();
        sum.zeroize();
        let (low, _) = difference(&Order::PRIME, &s);
        let s = select(is_less(&low, &s), &low, &s);
        // One in 2^256 times.
        if is_zero(&r) | is_zero(&s) == 0 {
            break [r, s];
        }
    };
    d.zeroize();
    signature
}

fn montgomery(a: &Words) -> Words {
    multiply::<Order>(a, &Order::SQUARE)
}

/// Whether it is from 1 on and less than the order.
fn is_scalar(a: &Words) -> bool {
    is_less(a, &Order::PRIME) & !is_zero(a) & 1 == 1
}

/// Nonces: RFC 6979, 3.2, with HMAC (RFC 2104) and SHA-256.
struct Nonces {
    k: [u8; 32],
    v: [u8; 32],
}

impl Nonces {
    fn new(key: &[u8; 32], hash: &[u8; 32]) -> Self {
        let mut nonces = Self {
            k: [0; 32],
            v: [1; 32],
        };
        for step in [0, 1] {
            nonces.k = hmac(&nonces.k, &[&nonces.v, &[step], key, hash]);
            nonces.v = hmac(&nonces.k, &[&nonces.v]);
        }
        nonces
    }

    fn next(&mut self) -> Words {
        loop {
            self.v = hmac(&self.k, &[&self.v]);
            let nonce = from_bytes(&self.v);
            if is_scalar(&nonce) {
                return nonce;
            }
            // One in 2^32 times.
            self.k = hmac(&self.k, &[&self.v, &[0]]);
            self.v = hmac(&self.k, &[&self.v]);
        }
    }
}

impl Drop for Nonces {
    fn drop(&mut self) {
        self.k.zeroize();
        self.v.zeroize();
    }
}

fn hmac(key: &[u8; 32], message: &[&[u8]]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        let hash = Sha256::new_with_prefix(block);
        block.zeroize();
        hash
    };
    let mut inner = padded(0x36);
    for piece in message {
        inner.update(piece);
    }
    padded(0x5c)
        .chain_update(inner.finalize())
        .finalize()
        .into()
}

/// The signature in ASN.1 DER: a SEQUENCE of two INTEGERs. Its length.
fn encode(r: &Words, s: &Words, out: &mut [u8; MAX_SIGNATURE_LEN]) -> usize {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 2;
    let (r, s) = (to_bytes(r), to_bytes(s));
    let mut len = 2;
    for number in [&r, &s] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count().min(31);
        let number = number.get(zeros..).unwrap_or_default();
        // One more where the highest bit would make it negative.
        let zero = usize::from(number.first().is_some_and(|byte| byte >> 7 == 1));
        let header = [INTEGER, (number.len() + zero) as u8, 0];
        let bytes = header.iter().take(2 + zero).chain(number);
        for (to, byte) in out.iter_mut().skip(len).zip(bytes) {
            *to = *byte;
        }
        len += 2 + zero + number.len();
    }
    [out[0], out[1]] = [SEQUENCE, (len - 2) as u8];
    len
}

#[cfg(test)]
mod tests;
