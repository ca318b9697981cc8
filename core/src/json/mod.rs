//! Canonical JSON: the form of a message that a signature covers.
//!
//! Whoever validates a message parses it and writes it again, so the bytes must be the peer's:
//! those of Python's `json.dumps(json.loads(text), sort_keys=True, separators=(',', ':'))`.
//! - Keys sorted by code point, after unescaping; of a repeated key the last value counts.
//! - Printable ASCII only. `\" \\ \n \r \t \f \b`, everything else (DEL too) as `\uxxxx` in lower
//!   case, beyond the BMP as a surrogate pair; `/` as it is. Lone surrogates are kept.
//! - Integers of any length keep their digits; `-0` is `0`; more than [`MAX_INTEGER_DIGITS`] are
//!   refused.
//! - Floating-point numbers as Python's `repr`: the shortest digits that read back as the same
//!   double, with an exponent below 1e-4 and from 1e16 on. A literal beyond the greatest double
//!   is `Infinity`; `NaN`, `Infinity` and `-Infinity` are read and written by the canonicalizer,
//!   and an error in the serializer.
//!
//! [`to_slice`] writes a `Serialize` value, [`canonicalize`] what arrives as text. [`Members`]
//! and [`unescape`] look into a canonical text. [`from_slice`] reads it into a type. Nothing is
//! allocated and nothing panics: all of it works in buffers that the caller owns.
//!
//! ```
//! use fedmsg_core::json;
//!
//! #[derive(serde::Serialize)]
//! struct Reading<'a> {
//!     sensor: &'a str,
//!     celsius: f64,
//! }
//!
//! let mut out = [0; 64];
//! let len = json::to_slice(&Reading { sensor: "b\u{fc}ro", celsius: 21.5 }, &mut out)?;
//! assert_eq!(&out[..len], br#"{"celsius":21.5,"sensor":"b\u00fcro"}"#);
//! # Ok::<(), json::Error>(())
//! ```

mod canonicalizer;
mod digits;
mod error;
mod float;
mod members;
mod order;
mod reader;
mod serializer;
mod string;
mod writer;

use serde::Serialize;

pub use canonicalizer::canonicalize;
pub use error::{Error, ErrorKind};
pub use members::{Member, Members, unescape, unescape_inside};
pub use order::compare_keys;
pub use reader::{ReadError, from_slice};
/// A string that is borrowed as it stands in the text, escapes and all: `serde_json_core`'s.
pub use serde_json_core::str::EscapedStr;
pub use serializer::Serializer;
pub use writer::Writer;

/// How deep arrays and objects may be nested on a device.
pub const DEFAULT_DEPTH: usize = 64;

/// How deep arrays and objects may be nested on a host. Python peers validate up to 494 levels.
pub const HOST_DEPTH: usize = 512;

/// How many digits an integer may have, the sign not counted: Python's limit.
pub const MAX_INTEGER_DIGITS: usize = 4300;

/// Writes a value in canonical form; returns its length. [`Serializer`] says how types are
/// written.
///
/// # Sizes
/// `out` must hold the text, and 4 bytes for each member of the objects that are open at a time. A
/// member that is repeated takes its room until the object closes. Beyond 4 GiB it is not used.
///
/// # Time
/// As for [`canonicalize`]: linear, but for objects whose members come out of order.
///
/// # Errors
/// [`Error::offset`] counts bytes of the output; what `out` holds is undefined then.
pub fn to_slice<T: Serialize + ?Sized>(value: &T, out: &mut [u8]) -> Result<usize, Error> {
    let mut writer = Writer::new(out);
    writer.value(value)?;
    Ok(writer.position())
}
