//! The serial line (CMSDK UART 0): defmt's frames go out on it, lines of text come in.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
};

use super::uart::{Received, Uart};

pub(super) const UART: Uart<64> = Uart::new(0x4000_4000, &RECEIVED);

static RECEIVED: Received<64> = Received::new();

/// Its receive interrupt.
pub(super) const INTERRUPT: u16 = 0;

/// How often a full transmitter is looked at before a byte is given up: ten bytes' time. Logging
/// must not be what stops a device.
const PATIENCE: u32 = 5_000;

/// The next byte that came in.
pub fn read() -> Option<u8> {
    UART.read()
}

/// Done when there is a byte to read.
#[cfg(feature = "embassy")]
pub async fn ready() {
    core::future::poll_fn(|context| {
        READER.register(context.waker());
        if UART.has_unread() {
            core::task::Poll::Ready(())
        } else {
            core::task::Poll::Pending
        }
    })
    .await;
}

/// The task that waits for a byte.
#[cfg(feature = "embassy")]
static READER: embassy_sync::waitqueue::AtomicWaker = embassy_sync::waitqueue::AtomicWaker::new();

/// The receive interrupt.
pub(super) fn on_interrupt() {
    UART.on_interrupt();
    #[cfg(feature = "embassy")]
    READER.wake();
}

fn send(bytes: &[u8]) {
    for &byte in bytes {
        let mut patience = PATIENCE;
        while !UART.write(byte) {
            patience -= 1;
            if patience == 0 {
                return;
            }
        }
    }
}

#[defmt::global_logger]
struct Log;

struct Encoder(UnsafeCell<defmt::Encoder>);

// SAFETY: used between `acquire` and `release` only, which see to it that there is one user.
unsafe impl Sync for Encoder {}

static ENCODER: Encoder = Encoder(UnsafeCell::new(defmt::Encoder::new()));
static TAKEN: AtomicBool = AtomicBool::new(false);

// SAFETY: interrupts are left on, so that no received byte is lost meanwhile; an interrupt that
// logs, which none here does, would end the program.
unsafe impl defmt::Logger for Log {
    fn acquire() {
        if TAKEN.swap(true, Ordering::Acquire) {
            cortex_m::asm::udf();
        }
        // SAFETY: acquired.
        unsafe { (*ENCODER.0.get()).start_frame(send) }
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: still acquired.
        unsafe { (*ENCODER.0.get()).end_frame(send) }
        TAKEN.store(false, Ordering::Release);
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: acquired.
        unsafe { (*ENCODER.0.get()).write(bytes, send) }
    }
}
