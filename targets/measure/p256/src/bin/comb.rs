#![cfg_attr(target_os = "none", no_std, no_main)]

use core::hint::black_box;

use fedmsg_core::crypto::{Signer, comb::CombSigner};
use fedmsg_measure::{fail, section};
use fedmsg_measure_p256::{KEY, MESSAGE, check};

fedmsg_measure::image!(run);

fn run() {
    let Ok(signer) = CombSigner::new(black_box(&KEY), b"") else {
        fail("no key");
    };
    let mut state = (signer, [0; 72]);
    section("sign", sign, &mut state);
    // r with a zero before it, and the lower s.
    let mut signature = [0; 64];
    let (r, s) = (&state.1[5..37], &state.1[39..71]);
    signature[..32].copy_from_slice(r);
    signature[32..].copy_from_slice(s);
    check(&signature);
}

/// With the message's hash, unlike the others.
fn sign((signer, out): &mut (CombSigner<'static>, [u8; 72])) {
    let _ = signer.sign(&[black_box(MESSAGE)], out);
}
