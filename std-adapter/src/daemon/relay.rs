//! The relay: publishers connect to it, and so do subscribers.

use super::{
    Error, Running,
    judge::Judge,
    running::{Kind, Wiring},
};
use crate::{
    bus::Settings,
    config::Config,
    transport::{Endpoint, Options, Publisher as _},
};

/// Hands on what publishers that connect to it send, the very bytes that came, to its subscribers.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    /// Where publishers connect: all of these are bound. One whose address is another machine's is
    /// passed over with a warning, for relays share a configuration.
    pub inbound: Vec<Endpoint>,
    /// Where subscribers connect: the first of these that is free is bound.
    pub outbound: Vec<Endpoint>,
    /// Sizes and times of the sockets. The high-water mark is that of the relay's subscribers.
    pub transport: Options,
}

impl Relay {
    /// From `relay_inbound`, the entry `relay_outbound` of `endpoints`, and the sockets' keys.
    ///
    /// # Errors
    /// [`Error::Bus`] for what [`Settings::from_config`] refuses.
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        let settings = Settings::from_config(config)?;
        Ok(Self {
            inbound: settings.relay_inbound,
            outbound: settings
                .endpoints
                .get(OUTBOUND)
                .cloned()
                .unwrap_or_default(),
            transport: settings.transport,
        })
    }

    /// Starts it on a thread of its own.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NoneFree`] or [`Error::Transport`].
    pub fn start(&self) -> Result<Running, Error> {
        let mut judge = Judge::default();
        self.wire(KIND)?.start(move |message, publisher| {
            let (_, body) = Judge::frames(message)?;
            judge.object(body)?;
            publisher.forward(message).map_err(super::Refusal::Send)
        })
    }

    pub(super) fn wire(&self, kind: Kind) -> Result<Wiring, Error> {
        let mut wiring = Wiring::new(kind, &self.transport)?;
        wiring.bind_inbound("relay_inbound", &self.inbound)?;
        wiring.bind_outbound("endpoints.relay_outbound", &self.outbound)?;
        Ok(wiring)
    }
}

/// The entry of `endpoints` that relays publish on.
const OUTBOUND: &str = "relay_outbound";
const KIND: Kind = Kind {
    name: "relay",
    consumer: "RelayConsumer",
    module: "fedmsg.consumers.relay",
};
