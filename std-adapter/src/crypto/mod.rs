//! Keys, certificates and trust on disk.

pub mod ca;
mod error;
mod files;
mod key;
mod x509;

pub use error::Error;
pub use key::KeyKind;
