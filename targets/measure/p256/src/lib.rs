//! What every image signs: RFC 6979, A.2.5, "sample" with SHA-256.
#![no_std]

use core::hint::black_box;

use fedmsg_measure::fail;
use sha2::Sha256;

/// The private key, big-endian.
pub static KEY: [u8; 32] = hex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721");
/// The message.
pub const MESSAGE: &[u8] = b"sample";
/// Its hash.
pub static HASH: [u8; 32] = hex("AF2BDBE1AA9B6EC1E2ADE1D694F41FC71A831D0268E9891562113D8A62ADD1BF");
const R: [u8; 32] = hex("EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716");
const S: [u8; 32] = hex("F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8");
/// The other one of the two that are good: the curve's order less that.
const LOW_S: [u8; 32] = hex("0834E36AD29A83BF2BC9385E491D6099C8FDF9D1ED67AA7EA5F51F93782857A9");

/// Ends the run unless this is the signature.
pub fn check(signature: &[u8; 64]) {
    let (r, s) = signature.split_at(32);
    if r != R || (s != S && s != LOW_S) {
        fail("not the signature of RFC 6979");
    }
}

/// The nonce that RFC 6979 gives for it, for implementations that leave that to others.
pub fn nonce() -> [u8; 32] {
    let (key, hash) = (black_box(&KEY), black_box(&HASH));
    rfc6979::generate_k::<Sha256, _>(key.into(), &ORDER.into(), hash.into(), b"").into()
}

const ORDER: [u8; 32] = hex("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551");

const fn hex<const N: usize>(text: &str) -> [u8; N] {
    let (text, mut bytes, mut i) = (text.as_bytes(), [0; N], 0);
    while i < 2 * N {
        let digit = match text[i] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit => digit - b'A' + 10,
        };
        bytes[i / 2] = bytes[i / 2] << 4 | digit;
        i += 1;
    }
    bytes
}
