//! The gateway: everything that is on the bus, on one endpoint for the world outside.

use serde::Deserialize;

use super::{
    Error, Refusal, Running,
    judge::Judge,
    running::{Kind, Wiring},
};
use crate::{
    bus::{RELAY_INBOUND, Settings, connectable},
    config::Config,
    transport::{Endpoint, Options, Publisher as _},
};

/// Hands on what everybody on the bus publishes, the very bytes that came, to its subscribers.
#[derive(Clone, Debug, Default)]
pub struct Gateway {
    /// Where everybody publishes: it connects to all of these.
    pub inbound: Vec<Endpoint>,
    /// Where its subscribers connect: the first of these that is free is bound.
    pub outbound: Vec<Endpoint>,
    /// Sizes and times of the sockets. The high-water mark is that of the gateway's subscribers.
    pub transport: Options,
}

impl Gateway {
    /// From `endpoints` (but its entry `relay_inbound`), `fedmsg.consumers.gateway.port`, which is
    /// bound on every address, and `fedmsg.consumers.gateway.high_water_mark`.
    ///
    /// # Errors
    /// [`Error::Config`] for a value of the wrong type; [`Error::Bus`] for what
    /// [`Settings::from_config`] refuses.
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        let settings = Settings::from_config(config)?;
        let keys: Keys = config.read()?;
        let endpoints = settings.endpoints.iter();
        let others = endpoints.filter(|(name, _)| *name != RELAY_INBOUND);
        Ok(Self {
            inbound: others
                .flat_map(|(_, entry)| entry)
                .map(connectable)
                .collect(),
            outbound: vec![Endpoint::tcp("*", keys.port)],
            transport: Options {
                high_water_mark: keys.high_water_mark,
                ..settings.transport
            },
        })
    }

    /// Starts it on a thread of its own.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NoneFree`] or [`Error::Transport`]. An endpoint that cannot be
    /// reached is none: it is tried again.
    pub fn start(&self) -> Result<Running, Error> {
        let mut wiring = Wiring::new(KIND, &self.transport)?;
        wiring.bind_outbound("fedmsg.consumers.gateway.port", &self.outbound)?;
        wiring.connect_inbound("endpoints", &self.inbound)?;
        let mut judge = Judge::default();
        wiring.start(move |message, publisher| {
            let (_, body) = Judge::frames(message)?;
            judge.object(body)?;
            publisher.forward(message).map_err(Refusal::Send)
        })
    }
}

#[derive(Deserialize)]
struct Keys {
    #[serde(rename = "fedmsg.consumers.gateway.port")]
    port: u16,
    #[serde(rename = "fedmsg.consumers.gateway.high_water_mark")]
    high_water_mark: usize,
}

const KIND: Kind = Kind {
    name: "gateway",
    consumer: "GatewayConsumer",
    module: "fedmsg.consumers.gateway",
};
