//! fedmsg.

pub mod bus;
#[cfg(feature = "cli")]
pub mod commands;
pub mod crypto;
pub mod transport;
