#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(unsafe_code, reason = "C")]

use core::{ffi::c_void, hint::black_box};

use fedmsg_measure::section;
use fedmsg_measure_p256::{HASH, KEY, check, nonce};

fedmsg_measure::image!(run);

unsafe extern "C" {
    safe fn uECC_secp256r1() -> *const c_void;
    safe fn uECC_set_rng(rng: extern "C" fn(*mut u8, u32) -> i32);
    fn uECC_sign(
        key: *const u8,
        hash: *const u8,
        len: u32,
        signature: *mut u8,
        curve: *const c_void,
    ) -> i32;
}

fn run() {
    let mut signature = [0; 64];
    section("sign", sign, &mut signature);
    check(&signature);
}

fn sign(out: &mut [u8; 64]) {
    uECC_set_rng(random);
    let (key, hash) = (black_box(&KEY), black_box(&HASH));
    // SAFETY: it reads 32 bytes of each and writes 64.
    unsafe {
        uECC_sign(
            key.as_ptr(),
            hash.as_ptr(),
            32,
            out.as_mut_ptr(),
            uECC_secp256r1(),
        )
    };
}

/// It takes its nonce from what gives it random numbers, and blinds with another one.
extern "C" fn random(out: *mut u8, len: u32) -> i32 {
    let mut nonce = nonce();
    nonce.reverse(); // words from the lowest on
    if len != 32 {
        return 0;
    }
    // SAFETY: there is room for `len` bytes.
    unsafe { out.copy_from_nonoverlapping(nonce.as_ptr(), nonce.len()) };
    1
}
