#![cfg_attr(all(feature = "comb", feature = "p256", feature = "sync", feature = "async"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(
        feature = "comb",
        feature = "p256",
        feature = "sync",
        feature = "async"
    )),
    doc = "The protocol of fedmsg without an operating system; `README.md` is its documentation."
)]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod copy;
mod crc32;
pub mod crypto;
#[cfg(feature = "json")]
pub mod json;
#[cfg(feature = "json")]
mod link;
#[cfg(feature = "json")]
pub mod message;
pub mod provision;
#[cfg(feature = "json")]
pub mod publisher;
pub mod serial;
#[cfg(feature = "json")]
pub mod subscriber;
#[cfg(feature = "async")]
mod task;
pub mod zmtp;

#[cfg(feature = "json")]
pub use link::LinkError;
#[cfg(any(feature = "sync", feature = "async"))]
pub use link::StreamError;
#[cfg(feature = "async")]
pub use task::Clock;
