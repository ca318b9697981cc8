//! The firmware of `targets/mps2` on a host, with feature `device`: `image` builds and provisions it,
//! `Device` runs it in QEMU, `TimeServer` tells it the time, `size` says what it costs. For
//! `targets/mps2/run` and for tests. Without: [`symbols`] of an image and pages of
//! [`figures`], for `targets/measure` too.

#[cfg(feature = "device")]
mod device;
pub mod figures;
#[cfg(feature = "device")]
pub mod image;
#[cfg(feature = "device")]
pub mod size;
pub mod symbols;
#[cfg(feature = "device")]
mod time;

use std::fmt;

#[cfg(feature = "device")]
pub use device::{Board, Device, HOST, Options};
#[cfg(feature = "device")]
pub use time::TimeServer;

/// What went wrong, in one line.
#[derive(Debug)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
