//! The core's ZMTP over TCP: PUB and SUB, binding or connecting.
//!
//! Each socket has one I/O thread for all its connections. A publisher keeps its recent messages
//! once, in a ring of [`Options::max_memory`] bytes in which every subscriber has its own place; a
//! subscriber that falls out of the ring, or more than [`Options::high_water_mark`] messages
//! behind, goes on with newer ones. A subscriber's messages wait in a queue of the same limits;
//! while it is full nothing is read from the network.
//!
//! [`Options::max_memory`]: super::Options::max_memory
//! [`Options::high_water_mark`]: super::Options::high_water_mark

mod dial;
mod io;
mod link;
mod prefixes;
mod publisher;
mod subscriber;

use super::{Error, Options, Transport};
pub use publisher::NativePublisher;
pub use subscriber::NativeSubscriber;

/// The native transport.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

impl Transport for Native {
    type Publisher = NativePublisher;
    type Subscriber = NativeSubscriber;
    type Requester = Later;
    type Replier = Later;

    fn publisher(&self, options: &Options) -> Result<NativePublisher, Error> {
        NativePublisher::new(options)
    }

    fn subscriber(&self, options: &Options) -> Result<NativeSubscriber, Error> {
        NativeSubscriber::new(options)
    }

    fn requester(&self, _: &Options) -> Result<Later, Error> {
        Err(Error::Closed)
    }

    fn replier(&self, _: &Options) -> Result<Later, Error> {
        Err(Error::Closed)
    }
}

/// Placeholder.
#[derive(Debug)]
pub struct Later;

impl super::Requester for Later {
    fn connect(&mut self, _: &super::Endpoint) -> Result<(), Error> {
        Err(Error::Closed)
    }
    fn request(
        &mut self,
        _: &[&[u8]],
        _: std::time::Duration,
    ) -> Result<Option<super::Message<'_>>, Error> {
        Err(Error::Closed)
    }
}

impl super::Replier for Later {
    fn bind(&mut self, _: &super::Endpoint) -> Result<super::Endpoint, Error> {
        Err(Error::Closed)
    }
    fn recv(&mut self, _: std::time::Duration) -> Result<Option<super::Message<'_>>, Error> {
        Err(Error::Closed)
    }
    fn reply(&mut self, _: &[&[u8]]) -> Result<(), Error> {
        Err(Error::Closed)
    }
}
