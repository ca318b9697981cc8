//! A serial port (CMSDK UART): bytes out while there is room, bytes in by an interrupt.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::register::Register;

/// A port: its registers, and what it has received.
pub(super) struct Uart<const N: usize> {
    base: usize,
    received: &'static Received<N>,
}

/// Up to `N` received bytes (a power of two) until they are read: nobody reads while the program
/// signs. Of what is more than this then, the rest is lost.
pub(super) struct Received<const N: usize> {
    bytes: [AtomicU8; N],
    /// How many bytes were ever put there, and how many ever read.
    put: AtomicU32,
    read: AtomicU32,
}

impl<const N: usize> Received<N> {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [const { AtomicU8::new(0) }; N],
            put: AtomicU32::new(0),
            read: AtomicU32::new(0),
        }
    }

    fn place(&self, at: u32) -> &AtomicU8 {
        #[allow(
            clippy::indexing_slicing,
            reason = "the compiler sees that it is in bounds"
        )]
        &self.bytes[at as usize % N]
    }
}

impl<const N: usize> Uart<N> {
    /// The port whose registers are at `base`.
    pub(super) const fn new(base: usize, received: &'static Received<N>) -> Self {
        Self { base, received }
    }

    const fn data(&self) -> Register {
        Register(self.base)
    }

    /// Bit 0: no room to send. Bit 1: a byte has come.
    const fn state(&self) -> Register {
        Register(self.base + 0x4)
    }

    pub(super) fn start(&self) {
        Register(self.base + 0x10).write(25_000_000 / 115_200);
        Register(self.base + 0x8).write(0b1011); // send, receive, interrupt on receiving
    }

    /// The next byte that came in.
    pub(super) fn read(&self) -> Option<u8> {
        let at = self.received.read.load(Ordering::Relaxed);
        if at == self.received.put.load(Ordering::Acquire) {
            return None;
        }
        let byte = self.received.place(at).load(Ordering::Relaxed);
        self.received
            .read
            .store(at.wrapping_add(1), Ordering::Release);
        Some(byte)
    }

    /// Whether there is a byte to read.
    #[cfg(feature = "embassy")]
    pub(super) fn has_unread(&self) -> bool {
        self.received.read.load(Ordering::Relaxed) != self.received.put.load(Ordering::Acquire)
    }

    /// Sends a byte, if there is room for it.
    pub(super) fn write(&self, byte: u8) -> bool {
        let has_room = self.state().read() & 1 == 0;
        if has_room {
            self.data().write(u32::from(byte));
        }
        has_room
    }

    /// The receive interrupt: takes what came; without room for it, it is lost.
    pub(super) fn on_interrupt(&self) {
        // First: a byte that comes after the last look is to interrupt again.
        Register(self.base + 0xc).write(0b10);
        while self.state().read() & 2 != 0 {
            let byte = self.data().read() as u8;
            let at = self.received.put.load(Ordering::Relaxed);
            if at.wrapping_sub(self.received.read.load(Ordering::Acquire)) < N as u32 {
                self.received.place(at).store(byte, Ordering::Relaxed);
                self.received
                    .put
                    .store(at.wrapping_add(1), Ordering::Release);
            }
        }
    }
}
