//! Keys, certificates and trust: [`signer`] gives what signs by a site's configuration and
//! [`Validator`] what judges; [`FileSigner`] and [`Trust`] are the same from files alone.
//! [`Scratch`] signs and validates whole messages, [`ca`] makes and revokes certificates.
//!
//! Backends: `x509-p256` (ECDSA on P-256; the core's), and `x509`, the legacy wire (RSA
//! PKCS#1 v1.5 with SHA-1, which Python fedmsg speaks; feature `x509`).

#[cfg(feature = "x509")]
mod aws_lc;
pub mod ca;
mod device;
mod error;
mod files;
#[cfg(feature = "gpg")]
pub mod gpg;
mod key;
#[cfg(feature = "x509")]
mod legacy;
mod messages;
mod policy;
mod refusals;
mod scratch;
mod signer;
mod sources;
mod trust;
mod validator;
mod watch;
mod x509;

pub use device::DeviceSettings;
pub use error::Error;
pub use key::KeyKind;
pub use messages::{fix_datagrepper, strip_credentials};
pub use refusals::reason;
pub use scratch::Scratch;
pub use signer::{FileSigner, signer};
pub use trust::{MAX_CERTIFICATE, MAX_REMEMBERED, Trust, TrustVerifier};
pub use validator::{Stats, Validated, Validator, ValidatorOptions};

/// The `crypto` field of the legacy wire.
const X509: &str = "x509";
/// The `crypto` field of Debian's way.
const GPG: &str = "gpg";
