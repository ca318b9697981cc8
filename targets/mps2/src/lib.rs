//! A device on the bus, in parts to be copied: `board` (memory, clock, drivers), `net` (TCP/IP),
//! [`links`] (subscribers), [`sntp`] and [`entropy`], [`app`] (what is published). The protocol is
//! `fedmsg-core`'s. `targets/README.md` says how to port it.
//!
//! All but `board` is built, linted and tested on a host too.
#![cfg_attr(target_os = "none", no_std)]

pub mod app;
#[cfg(target_os = "none")]
pub mod board;
pub mod entropy;
pub mod links;
mod log;
pub mod net;
pub mod sntp;

/// How many subscribers there may be at once.
pub const SUBSCRIBERS: usize = net::SOCKETS - 1;
