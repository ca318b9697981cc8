//! The core's ZMTP over TCP and Unix sockets: PUB, SUB, REQ and REP, binding or connecting.
//!
//! A publisher keeps its recent messages once, in a log in which every subscriber has its own
//! place; one thread sends from it. A subscriber that falls more than
//! [`Options::high_water_mark`] messages behind, or out of the log's [`Options::max_memory`] bytes,
//! loses messages and never slows another. A subscriber's messages wait in its own buffers, within
//! the same limits; while these are full nothing is read from the network.
//!
//! [`Options::max_memory`]: super::Options::max_memory
//! [`Options::high_water_mark`]: super::Options::high_water_mark

mod dial;
mod driver;
mod interests;
mod link;
mod log;
mod publisher;
mod reqrep;
mod seat;
mod stream;
mod subscriber;

use super::{Error, Options, Transport};
pub use publisher::NativePublisher;
pub use reqrep::{NativeReplier, NativeRequester};
pub use subscriber::NativeSubscriber;

/// The native transport.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

impl Transport for Native {
    type Publisher = NativePublisher;
    type Subscriber = NativeSubscriber;
    type Requester = NativeRequester;
    type Replier = NativeReplier;

    fn publisher(&self, options: &Options) -> Result<NativePublisher, Error> {
        NativePublisher::new(options)
    }

    fn subscriber(&self, options: &Options) -> Result<NativeSubscriber, Error> {
        NativeSubscriber::new(options)
    }

    fn requester(&self, options: &Options) -> Result<NativeRequester, Error> {
        NativeRequester::new(options)
    }

    fn replier(&self, options: &Options) -> Result<NativeReplier, Error> {
        NativeReplier::new(options)
    }
}
