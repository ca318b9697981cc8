//! What an image needs to be measured: a start, marked sections, an end.
//!
//! An image is `image!(run);` and `fn run()`, which puts each thing to be measured into a
//! [`section`]. In QEMU a section counts its instructions (between the two marks, by the plugin)
//! and its deepest stack; on the host the same program just runs, so that the workspace's build,
//! tests and lints cover it.
#![cfg_attr(target_os = "none", no_std)]
// Marks, stack paint and semihosting are the machine's own, below what Rust can express.
#![allow(unsafe_code)]

pub mod canned;

use core::cell::UnsafeCell;
use core::fmt::{self, Display, Write};
use core::hint::black_box;

pub use machine::{fail, section};

/// Makes `fn run()` the image's program.
#[macro_export]
macro_rules! image {
    ($run:path) => {
        #[cfg(target_os = "none")]
        #[allow(unsafe_code, reason = "cortex-m-rt calls it by this name after reset")]
        #[unsafe(export_name = "main")]
        extern "C" fn main() -> ! {
            $run();
            $crate::done()
        }

        #[cfg(not(target_os = "none"))]
        fn main() {
            $run();
        }
    };
}

/// Memory that lives as long as the program: what counts as static RAM.
pub struct Static<T>(UnsafeCell<T>);

// SAFETY: an image has one thread and no interrupts.
unsafe impl<T> Sync for Static<T> {}

impl<T> Static<T> {
    /// Memory that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The memory. To be called once.
    #[allow(clippy::mut_from_ref)]
    pub fn take(&'static self) -> &'static mut T {
        // SAFETY: called once, so this is the only reference.
        unsafe { &mut *self.0.get() }
    }
}

/// Takes a result for used, and its error for shown.
#[allow(clippy::needless_pass_by_value, reason = "it is shown and gone")]
pub fn show<T, E: Display>(result: Result<T, E>) {
    struct Sink;

    impl fmt::Write for Sink {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            black_box(text);
            Ok(())
        }
    }

    if let Err(error) = black_box(&result) {
        let _ = write!(Sink, "{error}");
    }
}

#[cfg(target_os = "none")]
pub use machine::done;

#[cfg(not(target_os = "none"))]
mod machine {
    /// Runs `work` on `state`.
    pub fn section<T>(_name: &str, work: fn(&mut T), state: &mut T) {
        work(state);
    }

    /// Ends the program: something measured did not do its work.
    pub fn fail(what: &str) -> ! {
        eprintln!("{what}");
        std::process::exit(1);
    }
}

#[cfg(target_os = "none")]
mod machine {
    use core::arch::{asm, global_asm};
    use core::hint::black_box;

    use cortex_m_rt as _;

    /// How far below the caller's frame the stack is watched, in bytes.
    const WATCHED: usize = 32 * 1024;

    // In assembly, so that nothing is inlined, merged or moved: each is one symbol, and is in the
    // image only if something reaches it.
    global_asm!(
        ".macro function name",
        ".section .text.\\name, \"ax\", %progbits",
        ".global \\name",
        ".type \\name, %function",
        ".thumb_func",
        "\\name:",
        ".endm",
        "function measure_begin",
        "bx lr",
        ".size measure_begin, . - measure_begin",
        "function measure_end",
        "bx lr",
        ".size measure_end, . - measure_end",
        // Fills the words from r0 to r1.
        "function measure_paint",
        "ldr r2, =0xa5a5a5a5",
        "1: cmp r0, r1",
        "bhs 2f",
        "str r2, [r0], #4",
        "b 1b",
        "2: bx lr",
        ".ltorg",
        ".size measure_paint, . - measure_paint",
        // Address of the first word from r0 on, before r1, that does not hold the paint any more.
        "function measure_touched",
        "ldr r2, =0xa5a5a5a5",
        "1: cmp r0, r1",
        "bhs 2f",
        "ldr r3, [r0]",
        "cmp r3, r2",
        "bne 2f",
        "adds r0, #4",
        "b 1b",
        "2: bx lr",
        ".ltorg",
        ".size measure_touched, . - measure_touched",
        // What the panic handler calls: in the image if, and only if, a panic can be reached.
        "function measure_panicked",
        "ldr r1, =0x20023",
        "movs r0, #0x18",
        "bkpt 0xab",
        "b .",
        ".ltorg",
        ".size measure_panicked, . - measure_panicked",
        ".text",
    );

    unsafe extern "C" {
        safe fn measure_begin();
        safe fn measure_end();
        fn measure_paint(from: usize, to: usize);
        fn measure_touched(from: usize, to: usize) -> usize;
        safe fn measure_panicked() -> !;
    }

    /// Runs `work` on `state`, counted: the plugin prints the instructions, this the bytes of stack
    /// below the caller's frame, and the name.
    #[inline(never)]
    pub fn section<T>(name: &str, work: fn(&mut T), state: &mut T) {
        let (work, state) = (black_box(work), black_box(state));
        let top: usize;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, sp", out(reg) top, options(nomem, nostack, preserves_flags)) };
        let bottom = top - WATCHED;
        // SAFETY: the words below the stack pointer are nobody's, and the two use no stack.
        unsafe { measure_paint(bottom, top) };
        measure_begin();
        work(state);
        measure_end();
        // SAFETY: as above.
        let touched = unsafe { measure_touched(bottom, top) };
        if touched == bottom {
            fail("more stack than is watched");
        }
        write("stack ");
        write_decimal(top - touched);
        write(" ");
        write(name);
        write("\n");
    }

    /// Ends the program and QEMU: something measured did not do its work.
    pub fn fail(what: &str) -> ! {
        write(what);
        write("\n");
        exit(0x20023)
    }

    /// Ends the program and QEMU.
    pub fn done() -> ! {
        exit(0x20026)
    }

    /// Semihosting's SYS_EXIT, by one of its reasons.
    fn exit(reason: usize) -> ! {
        semihosting(0x18, reason);
        loop {}
    }

    fn write(text: &str) {
        for byte in text.bytes() {
            semihosting(3, &raw const byte as usize); // SYS_WRITEC
        }
    }

    fn write_decimal(number: usize) {
        let mut divisor = 1_000_000_000;
        while divisor > 1 && number < divisor {
            divisor /= 10;
        }
        while divisor > 0 {
            let digit = b'0' + (number / divisor % 10) as u8;
            semihosting(3, &raw const digit as usize);
            divisor /= 10;
        }
    }

    fn semihosting(operation: usize, argument: usize) {
        // SAFETY: QEMU's semihosting reads what `argument` points to, and answers in r0.
        unsafe {
            asm!("bkpt 0xab", inout("r0") operation => _, in("r1") argument, options(nostack));
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        measure_panicked()
    }
}
