//! The firmware of `targets/mps2` on a host: [`image`] builds and provisions it, [`Device`] runs it
//! in QEMU, [`TimeServer`] tells it the time, [`size`] says what it costs. For `targets/mps2/run` and for tests.

mod device;
pub mod image;
pub mod size;
pub mod symbols;
mod time;

use std::fmt;

pub use device::{Device, HOST, Options};
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
