//! The options that say where a command's socket binds or connects.

use std::{
    fmt,
    io::{self, Write as _},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    bus::Settings,
    transport::{Endpoint, Monitor, Notice, Options},
};

/// Where a socket binds or connects.
#[derive(clap::Args)]
pub(super) struct Attach {
    /// Where to connect, or with --bind to take connections: tcp://HOST:PORT
    #[arg(long, value_name = "ENDPOINT")]
    endpoint: Endpoint,
    /// Take connections there; HOST is an address of this machine, or * for all of them
    #[arg(long)]
    bind: bool,
}

impl Attach {
    /// The settings of a context whose only endpoint this is. Why a connection out could not be
    /// made or ended is told on standard error, once for each time that the reason changes.
    pub(super) fn settings(&self, command: &'static str) -> Result<Settings, String> {
        if !self.bind
            && let Endpoint::Tcp { host, .. } = &self.endpoint
            && host == "*"
        {
            return Err(format!("nobody can be reached at {self}: see --bind"));
        }
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
        Ok(Settings {
            endpoints: [(ENTRY.to_owned(), vec![self.endpoint.clone()])].into(),
            relay_inbound: vec![self.endpoint.clone()],
            post_init_sleep: Duration::ZERO,
            transport: Options {
                monitor: (!self.bind).then(|| Monitor(Arc::new(tell))),
                ..Options::default()
            },
            ..Settings::default()
        })
    }

    /// The same for publishing.
    pub(super) fn publisher(&self, command: &'static str) -> Result<Settings, String> {
        Ok(Settings {
            name: self.bind.then(|| ENTRY.to_owned()),
            active: !self.bind,
            ..self.settings(command)?
        })
    }

    /// Whether to take connections.
    pub(super) fn bind(&self) -> bool {
        self.bind
    }

    /// Tells which port it became, where any would do.
    pub(super) fn tell(&self, bound: &Endpoint) {
        if self.bind && *bound != self.endpoint {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "bound to {bound}");
        }
    }
}

/// The endpoint's name, for errors.
const ENTRY: &str = "--endpoint";

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
