//! Keys, certificates and trust on disk: [`FileSigner`] signs, [`Trust`] judges, [`Scratch`] does
//! both for whole messages, [`ca`] makes and revokes certificates.
//!
//! Two backends: `x509-p256` (ECDSA on P-256; the core's), and `x509`, the legacy wire (RSA
//! PKCS#1 v1.5 with SHA-1, which Python fedmsg speaks).

pub mod ca;
mod device;
mod error;
mod files;
mod key;
mod scratch;
mod signer;
mod trust;
mod x509;

pub use device::DeviceSettings;
pub use error::Error;
pub use key::KeyKind;
pub use scratch::Scratch;
pub use signer::FileSigner;
pub use trust::{MAX_CERTIFICATE, MAX_REMEMBERED, Trust, TrustVerifier};

/// The `crypto` field of the legacy wire.
const X509: &str = "x509";
