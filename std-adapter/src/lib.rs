//! The federated message bus on a host: small signed JSON messages over ZeroMQ.
//!
//! | you want | take |
//! | --- | --- |
//! | to publish and to receive | [`publish!`] and [`tail`], or a [`Context`]: [`bus`] |
//! | values to JSON and back, times, database entities | [`encoding`] |
//! | sockets | [`transport`]: [`Native`](transport::native::Native), or libzmq with feature `zmq` |
//! | keys, certificates, trust, a CA | [`crypto`] |
//! | a site's configuration files | [`config`] |
//! | the codec alone, or a device on the bus | the crate [`fedmsg_core`] |
//!
//! Feature `cli` (on by default) adds what the program `fedmsg` needs; a library user turns it off.
//! Feature `zmq` builds libzmq and adds the transport over it. Feature `tokio` adds the door for
//! asynchronous services: `Context::stream` and `Context::publish_async`.

pub mod bus;
#[cfg(feature = "cli")]
pub mod commands;
pub mod config;
pub mod crypto;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod encoding;
pub mod transport;

pub use bus::{Context, Settings, context, destroy, init, tail};

/// The README's examples, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// And those of the bus's page.
#[cfg(doctest)]
#[doc = include_str!("../../docs/bus.md")]
struct Bus;

/// And those about values.
#[cfg(doctest)]
#[doc = include_str!("../../docs/encoding.md")]
struct Encoding;

/// And those of the configuration's page.
#[cfg(doctest)]
#[doc = include_str!("../../docs/config.md")]
struct Configuration;
