//! fedmsg.

#[cfg(feature = "cli")]
pub mod commands;
pub mod bus;
pub mod crypto;
pub mod transport;
