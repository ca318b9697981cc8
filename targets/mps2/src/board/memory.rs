//! Memory that lives as long as the program.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
};

/// A value that is given away once.
pub struct Static<T> {
    given: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `give` gives the value away to one caller only.
unsafe impl<T> Sync for Static<T> {}

impl<T> Static<T> {
    /// This value.
    pub const fn new(value: T) -> Self {
        Self {
            given: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// The value; `None` the second time.
    pub fn give(&'static self) -> Option<&'static mut T> {
        // SAFETY: only once, so this is the only reference.
        (!self.given.swap(true, Ordering::Relaxed)).then(|| unsafe { &mut *self.value.get() })
    }
}
