#![cfg_attr(target_os = "none", no_std, no_main)]

use core::hint::black_box;

use crrl::p256::PrivateKey;
use fedmsg_measure::section;
use fedmsg_measure_p256::{HASH, KEY, check};

fedmsg_measure::image!(run);

fn run() {
    let mut signature = [0; 64];
    section("sign", sign, &mut signature);
    check(&signature);
}

fn sign(out: &mut [u8; 64]) {
    if let Some(key) = PrivateKey::decode(black_box(&KEY)) {
        *out = key.sign_hash(black_box(&HASH), &[]);
    }
}
