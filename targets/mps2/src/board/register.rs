//! A device register.

/// A register of 32 bits. Only addresses of this board's devices are made into one.
#[derive(Clone, Copy)]
pub(super) struct Register(pub(super) usize);

impl Register {
    pub(super) fn read(self) -> u32 {
        // SAFETY: a register of the board's, aligned, that has no other effect on memory.
        unsafe { (self.0 as *const u32).read_volatile() }
    }

    pub(super) fn write(self, value: u32) {
        // SAFETY: as above.
        unsafe { (self.0 as *mut u32).write_volatile(value) }
    }
}
