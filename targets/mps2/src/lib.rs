//! A device on the bus, in parts to be copied: `board` (memory, clock, drivers), [`ip`] (TCP/IP,
//! subscribers, time) or [`serial`] (a bridge on a serial line), [`entropy`], and what is to be said: [`agenda`] (when), [`author`] (what),
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
pub mod entropy;
#[cfg(feature = "ip")]
pub mod ip;
mod log;
#[cfg(feature = "serial")]
pub mod serial;
#[cfg(target_os = "none")]
pub mod start;
pub mod transport;
