//! The options that say where a command's socket binds or connects.

use std::{
    fmt,
    io::{self, Write as _},
    sync::{Arc, Mutex},
};

use crate::transport::{Endpoint, Error, Monitor, Notice, Options, Publisher, Subscriber};

/// Where a socket binds or connects.
#[derive(clap::Args)]
pub(super) struct Attach {
    /// Where to connect, or with --bind to take connections: tcp://HOST:PORT
    #[arg(long, value_name = "ENDPOINT")]
    endpoint: Endpoint,
    /// Take connections there; HOST may be * for all of this machine's addresses
    #[arg(long)]
    bind: bool,
}

impl Attach {
    /// The socket's settings; why a connection out could not be made or ended is told on standard
    /// error, once for each time that the reason changes.
    pub(super) fn options(&self, command: &'static str) -> Options {
        let told = Mutex::new(String::new());
        let tell = move |notice: Notice<'_>| {
            let Ok(mut told) = told.lock() else { return };
            if let Notice::Connected { .. } = notice {
                told.clear();
                return;
            }
            let line = format!("fedmsg {command}: {notice}");
            if *told != line {
                // Nobody is left to tell if this fails.
                let _ = writeln!(io::stderr(), "{line}");
                *told = line;
            }
        };
        Options {
            monitor: (!self.bind).then(|| Monitor(Arc::new(tell))),
            ..Options::default()
        }
    }

    pub(super) fn publisher(&self, publisher: &impl Publisher) -> Result<(), Error> {
        if self.bind {
            publisher
                .bind(&self.endpoint)
                .map(|bound| self.tell(&bound))
        } else {
            publisher.connect(&self.endpoint)
        }
    }

    pub(super) fn subscriber(&self, subscriber: &mut impl Subscriber) -> Result<(), Error> {
        if self.bind {
            subscriber
                .bind(&self.endpoint)
                .map(|bound| self.tell(&bound))
        } else {
            subscriber.connect(&self.endpoint)
        }
    }
}

impl Attach {
    /// Tells which port it became, where any would do.
    fn tell(&self, bound: &Endpoint) {
        if *bound != self.endpoint {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "bound to {bound}");
        }
    }
}

impl fmt::Display for Attach {
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
