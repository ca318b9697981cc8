//! What a service uses: a [`Context`] publishes messages and tails those of others.
//!
//! ```no_run
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Tag { name: String }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let tag = Tag { name: "network".into() };
//! fedmsg::publish!("tag.update", &tag)?;
//!
//! for message in fedmsg::tail() {
//!     let message = message?;
//!     if let Ok(tag) = message.msg::<Tag>() {
//!         println!("{} on {}: {}", message.source.name, message.topic, tag.name);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`init`], [`publish`](crate::publish!), [`tail`] and [`destroy`] use the process's one context;
//! a program that wants several makes a [`Context`] of its own for each. `docs/bus.md` shows more.
//!
//! Source: the peer's `fedmsg.core` (Python fedmsg 1.1.7) for topics, endpoints and defaults.

mod context;
mod current;
mod error;
mod message;
mod pattern;
mod settings;
mod site;
#[cfg(feature = "tokio")]
mod stream;
mod tail;

pub use context::{Context, MAX_TOPIC};
#[doc(hidden)]
pub use current::crate_name;
pub use current::{context, destroy, init, tail};
pub use error::Error;
pub use message::{Content, Malformed, Message, ParseError, Source, Verdict};
pub use settings::{RELAY_INBOUND, Refused, Settings, Validate};
#[cfg(feature = "tokio")]
pub use stream::MessageStream;
#[cfg(feature = "daemon")]
pub(crate) use tail::connectable;
pub use tail::{Ending, Tail, TailOptions};

use std::time::{SystemTime, SystemTimeError};

/// Seconds since the epoch.
pub(crate) fn now() -> Result<u64, SystemTimeError> {
    Ok(SystemTime::UNIX_EPOCH.elapsed()?.as_secs())
}
