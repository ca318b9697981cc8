#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(unsafe_code, reason = "C")]

use core::hint::black_box;

use fedmsg_measure::section;
use fedmsg_measure_p256::{HASH, KEY, check, nonce};

fedmsg_measure::image!(run);

unsafe extern "C" {
    fn p256_sign(
        r: *mut [u32; 8],
        s: *mut [u32; 8],
        hash: *const [u8; 32],
        len: u32,
        key: *const [u32; 8],
        nonce: *const [u32; 8],
    ) -> bool;
}

fn run() {
    let mut signature = [0; 64];
    section("sign", sign, &mut signature);
    check(&signature);
}

/// It is given its nonce.
fn sign(out: &mut [u8; 64]) {
    let (mut r, mut s) = ([0; 8], [0; 8]);
    let (key, hash) = (black_box(&KEY), black_box(&HASH));
    // SAFETY: it is given what it declares.
    if unsafe { p256_sign(&mut r, &mut s, hash, 32, &words(key), &words(&nonce())) } {
        for (out, word) in out.chunks_mut(4).zip(r.iter().rev().chain(s.iter().rev())) {
            out.copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// Words from the lowest on.
fn words(bytes: &[u8; 32]) -> [u32; 8] {
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().rev().zip(bytes.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}
