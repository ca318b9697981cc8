//! The federated message bus on a host: small signed JSON messages over ZeroMQ.
//!
//! | you want | take |
//! | --- | --- |
//! | to publish and to receive | [`bus`]: [`Sender`](bus::Sender), [`Receiver`](bus::Receiver) |
//! | sockets | [`transport`]: [`Native`](transport::native::Native), or libzmq with feature `zmq` |
//! | keys, certificates, trust, a CA | [`crypto`] |
//! | the codec alone, or a device on the bus | the crate [`fedmsg_core`] |
//!
//! Feature `cli` (on by default) adds what the program `fedmsg` needs; a library user turns it off.
//! Feature `zmq` builds libzmq and adds the transport over it.

pub mod bus;
#[cfg(feature = "cli")]
pub mod commands;
pub mod crypto;
pub mod transport;

/// The README's examples, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
