//! A device on the bus, in parts to be copied: `board` (memory, clock, drivers), `ip` (TCP/IP,
//! subscribers; or `embassy`, the same in asynchronous tasks) or `serial` (a bridge on a serial line),
//! [`sntp`] (time), [`entropy`], and what is to be said: [`agenda`] (when), [`author`] (what),
//! [`app`], which knows of the rest only that there is a [`transport`]. The protocol is
//! `fedmsg-core`'s. `targets/README.md` says how to port it.
//!
//! All but `board` is built, linted and tested on a host too.
#![cfg_attr(target_os = "none", no_std)]

pub mod agenda;
pub mod app;
pub mod author;
#[cfg(target_os = "none")]
pub mod board;
#[cfg(all(feature = "embassy", target_os = "none"))]
pub mod embassy;
pub mod entropy;
#[cfg(feature = "ip")]
pub mod ip;
mod log;
#[cfg(feature = "serial")]
pub mod serial;
pub mod sntp;
#[cfg(target_os = "none")]
pub mod start;
pub mod transport;
