//! defmt's logging on the device. On a host, where the rest is built to be tested and linted, there
//! is none.

#[cfg(target_os = "none")]
pub(crate) use defmt::{info, warn};

#[cfg(not(target_os = "none"))]
pub(crate) use {quiet as info, quiet as warn};

#[cfg(not(target_os = "none"))]
macro_rules! quiet {
    ($text:literal $(, $value:expr)* $(,)?) => {{
        let _ = ($text, $(&$value,)*);
    }};
}

#[cfg(not(target_os = "none"))]
pub(crate) use quiet;
