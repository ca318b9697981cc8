//! The controller as a device of smoltcp's.

use smoltcp::{
    phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken},
    time::Instant,
};

use super::{Ethernet, FRAME, Received, Sending};
use crate::ip::net::Cable;

impl Cable for Ethernet {
    fn was_plugged_in(&mut self) -> bool {
        Self::has_come_up()
    }
}

impl Device for Ethernet {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending)> {
        Self::next_frame()
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending> {
        Self::room()
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        self.take(|frame| read(frame))
    }
}

impl TxToken for Sending {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        self.fill(len, write)
    }
}
