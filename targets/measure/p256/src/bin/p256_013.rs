#![cfg_attr(target_os = "none", no_std, no_main)]

use core::hint::black_box;

use fedmsg_measure::{fail, section};
use fedmsg_measure_p256::{HASH, KEY, check};
use p256_013::ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner};

fedmsg_measure::image!(run);

fn run() {
    // With its public key.
    let Ok(key) = SigningKey::from_slice(black_box(&KEY)) else {
        fail("no key");
    };
    let mut state = (key, [0; 64]);
    section("sign", sign, &mut state);
    check(&state.1);
}

fn sign((key, out): &mut (SigningKey, [u8; 64])) {
    if let Ok::<Signature, _>(signature) = key.sign_prehash(black_box(&HASH)) {
        out.copy_from_slice(&signature.to_bytes());
    }
}
