//! The serial line (CMSDK UART 0): defmt's frames go out on it, lines of text come in.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
};

use super::register::Register;

const BASE: usize = 0x4000_4000;
const DATA: Register = Register(BASE);
/// Bit 0: no room to send. Bit 1: a byte has come.
const STATE: Register = Register(BASE + 0x4);
const CONTROL: Register = Register(BASE + 0x8);
const INTERRUPT_CLEAR: Register = Register(BASE + 0xc);
const BAUD_DIVISOR: Register = Register(BASE + 0x10);

/// Its receive interrupt.
pub(super) const INTERRUPT: u16 = 0;

/// How often a full transmitter is looked at before a byte is given up: ten bytes' time. Logging
/// must not be what stops a device.
const PATIENCE: u32 = 5_000;

/// What came in and was not read yet. Nobody reads while the program signs: of what is more than
/// this then, the rest is lost.
static RECEIVED: [AtomicU8; 64] = [const { AtomicU8::new(0) }; 64];
/// How many bytes were ever put there, and how many ever read.
static PUT: AtomicU32 = AtomicU32::new(0);
static READ: AtomicU32 = AtomicU32::new(0);

pub(super) fn start() {
    BAUD_DIVISOR.write(25_000_000 / 115_200);
    CONTROL.write(0b1011); // send, receive, interrupt on receiving
}

/// The next byte that came in.
pub fn read() -> Option<u8> {
    let at = READ.load(Ordering::Relaxed);
    if at == PUT.load(Ordering::Acquire) {
        return None;
    }
    let byte = place(at).load(Ordering::Relaxed);
    READ.store(at.wrapping_add(1), Ordering::Release);
    Some(byte)
}

/// The task that waits for a byte.
#[cfg(feature = "embassy")]
static READER: embassy_sync::waitqueue::AtomicWaker = embassy_sync::waitqueue::AtomicWaker::new();

/// Done when there is a byte to read.
#[cfg(feature = "embassy")]
pub async fn ready() {
    core::future::poll_fn(|context| {
        READER.register(context.waker());
        if READ.load(Ordering::Relaxed) == PUT.load(Ordering::Acquire) {
            core::task::Poll::Pending
        } else {
            core::task::Poll::Ready(())
        }
    })
    .await;
}

/// The receive interrupt: takes what came; without room for it, it is lost.
pub(super) fn on_interrupt() {
    // First: a byte that comes after the last look is to interrupt again.
    INTERRUPT_CLEAR.write(0b10);
    while STATE.read() & 2 != 0 {
        let byte = DATA.read() as u8;
        let at = PUT.load(Ordering::Relaxed);
        if at.wrapping_sub(READ.load(Ordering::Acquire)) < RECEIVED.len() as u32 {
            place(at).store(byte, Ordering::Relaxed);
            PUT.store(at.wrapping_add(1), Ordering::Release);
        }
    }
    #[cfg(feature = "embassy")]
    READER.wake();
}

fn place(at: u32) -> &'static AtomicU8 {
    #[allow(
        clippy::indexing_slicing,
        reason = "the compiler sees that it is in bounds"
    )]
    &RECEIVED[at as usize % RECEIVED.len()]
}

fn send(bytes: &[u8]) {
    for &byte in bytes {
        let mut patience = PATIENCE;
        while STATE.read() & 1 != 0 {
            patience -= 1;
            if patience == 0 {
                return;
            }
        }
        DATA.write(u32::from(byte));
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
