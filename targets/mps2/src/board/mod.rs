//! The board: everything that knows an address. A port to another one writes this folder anew.
//!
//! QEMU's mps2-an385: Cortex-M3 at 25 MHz, CMSDK UART, FPGA I/O, LAN9118 Ethernet. Its memory is in
//! `memory.x`.
#![allow(
    unsafe_code,
    reason = "registers, linker symbols and interrupts are below what Rust can express"
)]

mod clock;
pub mod console;
#[cfg(any(feature = "ip", feature = "embassy"))]
mod ethernet;
mod flash;
#[cfg(feature = "serial")]
mod line;
mod memory;
mod register;
pub mod stack;
#[cfg(feature = "embassy")]
mod ticks;
mod uart;

use cortex_m::{
    interrupt::InterruptNumber,
    peripheral::{NVIC, SCB},
};
use cortex_m_rt::exception;

pub use clock::Clock;
#[cfg(any(feature = "ip", feature = "embassy"))]
pub use ethernet::Ethernet;
pub use flash::provision;
#[cfg(feature = "serial")]
pub use line::SerialLine;
pub use memory::Static;

use register::Register;

use crate::author::Senses;

/// The two buttons.
const BUTTONS: Register = Register(0x4002_8008);

/// Starts clock and console. `None` the second time.
pub fn start() -> Option<Clock> {
    stack::paint();
    let core = cortex_m::Peripherals::take()?;
    console::UART.start();
    unmask(console::INTERRUPT);
    Some(Clock::start(core.SYST))
}

fn unmask(interrupt: u16) {
    // SAFETY: nothing here depends on an interrupt being masked.
    unsafe { NVIC::unmask(Interrupt(interrupt)) };
}

/// Starts the network; `None` if the controller is not there.
#[cfg(any(feature = "ip", feature = "embassy"))]
pub fn ethernet(mac: [u8; 6]) -> Option<Ethernet> {
    Ethernet::start(mac)
}

/// Starts the serial line to the bridge.
#[cfg(feature = "serial")]
pub fn serial_line() -> SerialLine {
    line::UART.start();
    unmask(line::INTERRUPT);
    SerialLine(())
}

/// What it can tell.
pub const SENSES: Senses = Senses {
    buttons,
    stack: stack::deepest,
};

/// Which of the two buttons are held down, a bit each.
fn buttons() -> u32 {
    BUTTONS.read() & 0b11
}

/// Sleeps until there is something to do: a millisecond has passed, or a frame or a byte has come.
pub fn sleep() {
    // With interrupts held back, so that none comes between the look and the sleep; it ends the
    // sleep all the same, and is served after.
    cortex_m::interrupt::free(|_| {
        #[cfg(feature = "ip")]
        await_frame();
        cortex_m::asm::wfi();
    });
}

/// Lets the Ethernet controller interrupt at the next frame.
#[cfg(any(feature = "ip", feature = "embassy"))]
fn await_frame() {
    Ethernet::acknowledge();
    unmask(ethernet::INTERRUPT);
}

/// Starts the device again.
pub fn restart() -> ! {
    SCB::sys_reset()
}

unsafe extern "C" {
    #[link_name = "DefaultHandler"]
    fn on_any_interrupt();
}

/// The board's interrupts up to the last one that is used, for cortex-m-rt.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(export_name = "__INTERRUPTS")]
static INTERRUPTS: [unsafe extern "C" fn(); 14] = [on_any_interrupt; _];

#[derive(Clone, Copy)]
struct Interrupt(u16);

// SAFETY: used with the numbers of this board's interrupts only.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self.0
    }
}

// SAFETY: allowed by cortex-m-rt for a handler of all interrupts that have none of their own.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    match u16::try_from(number) {
        Ok(console::INTERRUPT) => console::on_interrupt(),
        #[cfg(feature = "serial")]
        Ok(line::INTERRUPT) => line::UART.on_interrupt(),
        // It has ended the sleep, which is all that it is for. The program serves the device.
        Ok(number) => {
            NVIC::mask(Interrupt(number));
            #[cfg(feature = "embassy")]
            ethernet::on_interrupt();
        }
        Err(_) => restart(),
    }
}

// SAFETY: the program ends here.
#[exception]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    restart()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    defmt::error!("panicked; starting again");
    restart()
}
