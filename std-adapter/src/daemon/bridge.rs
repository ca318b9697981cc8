//! The bridge: from a device at the other end of a serial line to the bus.

use std::{path::PathBuf, sync::Arc};

use super::{
    Error, Refusal, Running,
    judge::Judge,
    running::{Kind, Wiring},
    serial::Port,
};
use crate::transport::{Endpoint, Options, Publisher as _};

/// Hands on what a device without a network publishes, the very bytes that came over its serial
/// line, and tells it the time: the other end of [`fedmsg_core::serial`]. One bridge serves one
/// port; another program, another port.
///
/// A device that is unplugged or a path that is not there (yet) is no error: it is tried again,
/// every 5 s at least. The port belongs to one bridge at a time. Messages are at most
/// [`Bridge::MAX_MESSAGE`] bytes long.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// The port, or any terminal: `/dev/ttyUSB0`.
    pub serial: PathBuf,
    /// Bits a second.
    pub baud: u32,
    /// Where subscribers are.
    pub outbound: Endpoint,
    /// Whether to take connections there, or to connect (to a relay's `relay_inbound`).
    pub bind: bool,
    /// Sizes and times of the socket.
    pub transport: Options,
}

impl Bridge {
    /// The longest message, in bytes, with its frames' headers.
    pub const MAX_MESSAGE: usize = 64 << 10;

    /// Starts it on a thread of its own.
    ///
    /// # Errors
    /// [`Error::NoneFree`] or [`Error::Transport`].
    pub fn start(&self) -> Result<Running, Error> {
        // There is no kind of endpoint for it: shown as a path, like a Unix socket.
        let inbound = Endpoint::ipc(&self.serial);
        let mut wiring = Wiring::over(KIND, &self.transport, |limiter, _| {
            Ok(Port::new(
                self.serial.clone(),
                self.baud,
                inbound.clone(),
                Arc::clone(limiter),
            ))
        })?;
        wiring.name_inbound(inbound.clone());
        if self.bind {
            wiring.bind_outbound("endpoint", std::slice::from_ref(&self.outbound))?;
        } else {
            wiring.connect_outbound(&self.outbound)?;
        }
        let mut judge = Judge::default();
        wiring.start(move |message, publisher| {
            let (_, body) = Judge::frames(message)?;
            judge.object(body)?;
            publisher.forward(message).map_err(Refusal::Send)
        })
    }
}

const KIND: Kind = Kind {
    name: "bridge",
    consumer: "BridgeConsumer",
    module: "fedmsg.daemon.bridge",
};
