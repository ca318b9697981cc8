//! The controller as a driver of embassy-net's.

use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;

use super::{Ethernet, FRAME, Received, Sending};
use crate::board;

/// The task that serves the controller.
static SERVER: AtomicWaker = AtomicWaker::new();

/// The interrupt: a frame has come.
pub(in crate::board) fn on_interrupt() {
    SERVER.wake();
}

impl Driver for Ethernet {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(Received, Sending)> {
        // First: a frame that comes after the look is to interrupt.
        SERVER.register(context.waker());
        board::await_frame();
        Self::next_frame()
    }

    fn transmit(&mut self, context: &mut Context<'_>) -> Option<Sending> {
        let room = Self::room();
        if room.is_none() {
            // No interrupt tells of room: a frame is on its way in a tenth of a millisecond.
            context.waker().wake_by_ref();
        }
        room
    }

    /// Down for one look when the link has come up, so that an address is asked for anew.
    fn link_state(&mut self, context: &mut Context<'_>) -> LinkState {
        if Self::has_come_up() {
            context.waker().wake_by_ref();
            return LinkState::Down;
        }
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.mac)
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, read: F) -> R {
        self.take(read)
    }
}

impl TxToken for Sending {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        self.fill(len, write)
    }
}
