//! A serial port (CMSDK UART): bytes out while there is room, bytes in by an interrupt.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::register::Register;

/// A port that keeps up to `N` received bytes (a power of two) until they are read: nobody reads
/// while the program signs. Of what is more than this then, the rest is lost.
pub(super) struct Uart<const N: usize> {
    data: Register,
    /// Bit 0: no room to send. Bit 1: a byte has come.
    state: Register,
    control: Register,
    interrupt_clear: Register,
    baud_divisor: Register,
    received: [AtomicU8; N],
    /// How many bytes were ever put there, and how many ever read.
    put: AtomicU32,
    read: AtomicU32,
}

impl<const N: usize> Uart<N> {
    /// The port whose registers are at `base`.
    pub(super) const fn new(base: usize) -> Self {
        Self {
            data: Register(base),
            state: Register(base + 0x4),
            control: Register(base + 0x8),
            interrupt_clear: Register(base + 0xc),
            baud_divisor: Register(base + 0x10),
            received: [const { AtomicU8::new(0) }; N],
            put: AtomicU32::new(0),
            read: AtomicU32::new(0),
        }
    }

    pub(super) fn start(&self) {
        self.baud_divisor.write(25_000_000 / 115_200);
        self.control.write(0b1011); // send, receive, interrupt on receiving
    }

    /// The next byte that came in.
    pub(super) fn read(&self) -> Option<u8> {
        let at = self.read.load(Ordering::Relaxed);
        if at == self.put.load(Ordering::Acquire) {
            return None;
        }
        let byte = self.place(at).load(Ordering::Relaxed);
        self.read.store(at.wrapping_add(1), Ordering::Release);
        Some(byte)
    }

    /// Sends a byte, if there is room for it.
    pub(super) fn write(&self, byte: u8) -> bool {
        let has_room = self.state.read() & 1 == 0;
        if has_room {
            self.data.write(u32::from(byte));
        }
        has_room
    }

    /// The receive interrupt: takes what came; without room for it, it is lost.
    pub(super) fn on_interrupt(&self) {
        // First: a byte that comes after the last look is to interrupt again.
        self.interrupt_clear.write(0b10);
        while self.state.read() & 2 != 0 {
            let byte = self.data.read() as u8;
            let at = self.put.load(Ordering::Relaxed);
            if at.wrapping_sub(self.read.load(Ordering::Acquire)) < N as u32 {
                self.place(at).store(byte, Ordering::Relaxed);
                self.put.store(at.wrapping_add(1), Ordering::Release);
            }
        }
    }

    fn place(&self, at: u32) -> &AtomicU8 {
        #[allow(
            clippy::indexing_slicing,
            reason = "the compiler sees that it is in bounds"
        )]
        &self.received[at as usize % N]
    }
}
