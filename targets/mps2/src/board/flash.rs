//! The flash that is each device's own, behind the image: what `fedmsg ca issue --device` wrote.

use core::arch::global_asm;

/// How much there is of it, in bytes; as in `memory.x`.
const SIZE: usize = 4096;

// As erased. In assembly, so that the compiler does not know what it holds.
global_asm!(
    ".section .provision, \"a\", %progbits",
    ".global provision",
    ".type provision, %object",
    "provision: .fill {size}, 1, 0xff",
    ".size provision, {size}",
    ".text",
    size = const SIZE,
);

unsafe extern "C" {
    #[link_name = "provision"]
    safe static PROVISION: [u8; SIZE];
}

/// Its bytes.
pub fn provision() -> &'static [u8] {
    &PROVISION
}
