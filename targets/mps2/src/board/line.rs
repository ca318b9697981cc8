//! The serial line to the bridge: CMSDK UART 1.

use super::uart::{Received, Uart};
use crate::serial;

pub(super) const UART: Uart<256> = Uart::new(0x4000_5000, &RECEIVED);

/// Keeps a whole frame ([`fedmsg_core::serial::MAX_FRAME`]) while the program signs.
static RECEIVED: Received<256> = Received::new();

/// Its receive interrupt.
pub(super) const INTERRUPT: u16 = 2;

/// The line.
pub struct SerialLine(pub(super) ());

impl serial::Uart for SerialLine {
    fn read(&mut self) -> Option<u8> {
        UART.read()
    }

    fn write(&mut self, byte: u8) -> bool {
        UART.write(byte)
    }
}
