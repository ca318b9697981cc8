//! The options that say where a command's socket binds or connects.

use std::fmt;

use crate::transport::{Endpoint, Error, Publisher, Subscriber};

/// Where a socket binds or connects.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where to connect, or with --bind to take connections: tcp://HOST:PORT
    #[arg(long, value_name = "ENDPOINT")]
    endpoint: Endpoint,
    /// Take connections there; HOST may be * for all of this machine's addresses
    #[arg(long)]
    bind: bool,
}

impl Args {
    pub(super) fn publisher(&self, publisher: &mut impl Publisher) -> Result<(), Error> {
        if self.bind {
            publisher.bind(&self.endpoint).map(drop)
        } else {
            publisher.connect(&self.endpoint)
        }
    }

    pub(super) fn subscriber(&self, subscriber: &mut impl Subscriber) -> Result<(), Error> {
        if self.bind {
            subscriber.bind(&self.endpoint).map(drop)
        } else {
            subscriber.connect(&self.endpoint)
        }
    }
}

impl fmt::Display for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}

/// A duration on the command line: seconds, with a fraction if need be, up to a year.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=31_536_000.0).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds from 0 to 31536000".into()),
    }
}
