//! The start, a section around nothing, and what the other images are given to work on: what is
//! subtracted from them.
#![cfg_attr(target_os = "none", no_std, no_main)]

use fedmsg_measure::{Static, canned, fail, section};

fedmsg_measure::image!(run);

static SPACE: Static<[u8; 1]> = Static::new([0]);

fn run() {
    section("nothing", |()| (), &mut ());
    let space = SPACE.take();
    for bytes in [canned::greeting(), canned::ready_and_subscription()] {
        canned::read(bytes, space);
    }
    if canned::topic().len() == canned::body().len() {
        fail("these are not the same");
    }
}
