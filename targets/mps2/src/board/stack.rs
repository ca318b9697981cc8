//! How deep the stack ever was: painted at the start, looked at any time.

use core::arch::{asm, global_asm};

// In assembly: the words below the stack pointer are nobody's, which Rust has no word for.
global_asm!(
    ".macro function name",
    ".section .text.\\name, \"ax\", %progbits",
    ".global \\name",
    ".type \\name, %function",
    ".thumb_func",
    "\\name:",
    ".endm",
    // Fills the words from the stack's limit to r0.
    "function stack_paint",
    "ldr r1, =_stack_end",
    "ldr r2, =0xa5a5a5a5",
    "1: cmp r1, r0",
    "bhs 2f",
    "str r2, [r1], #4",
    "b 1b",
    "2: bx lr",
    ".ltorg",
    ".size stack_paint, . - stack_paint",
    // How many bytes from the first word on that does not hold the paint any more.
    "function stack_deepest",
    "ldr r1, =_stack_end",
    "ldr r2, =0xa5a5a5a5",
    "ldr r0, =_stack_start",
    "1: cmp r1, r0",
    "bhs 2f",
    "ldr r3, [r1]",
    "cmp r3, r2",
    "bne 2f",
    "adds r1, #4",
    "b 1b",
    "2: subs r0, r0, r1",
    "bx lr",
    ".ltorg",
    ".size stack_deepest, . - stack_deepest",
    ".text",
);

unsafe extern "C" {
    fn stack_paint(to: usize);
    safe fn stack_deepest() -> usize;
}

pub(super) fn paint() {
    let top: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) top, options(nomem, nostack, preserves_flags)) };
    // SAFETY: what is below the stack pointer is nobody's (interrupts are still off), and the
    // function uses no stack.
    unsafe { stack_paint(top) };
}

/// The deepest that the stack was so far, in bytes.
pub fn deepest() -> usize {
    stack_deepest()
}
