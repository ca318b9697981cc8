//! fedmsg.

#[cfg(feature = "cli")]
pub mod commands;
pub mod crypto;
pub mod transport;
