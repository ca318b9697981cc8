//! The options that say where a command's socket binds or connects.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Name, tell};
use crate::{
    bus::Settings,
    transport::{Endpoint, Monitor, Notice},
};

/// Where a socket binds or connects. A command that cannot do without makes it required.
#[derive(clap::Args)]
pub(super) struct Attach {
    /// Where to connect, or with --bind to take connections: tcp://HOST:PORT
    #[arg(long, value_name = "ENDPOINT", required = false)]
    endpoint: Endpoint,
    /// Take connections there; HOST is an address of this machine, or * for all of them
    #[arg(long, requires = "endpoint")]
    bind: bool,
}

impl Attach {
    /// The same settings for a context whose only endpoint this is.
    pub(super) fn settings(&self, name: Name, mut settings: Settings) -> Result<Settings, String> {
        if !self.bind
            && let Endpoint::Tcp { host, .. } = &self.endpoint
            && host == "*"
        {
            return Err(format!("nobody can be reached at {self}: see --bind"));
        }
        settings.endpoints = [(ENTRY.to_owned(), vec![self.endpoint.clone()])].into();
        settings.transport.monitor = (!self.bind).then(|| monitor(name));
        Ok(settings)
    }

    /// The same for publishing.
    pub(super) fn publisher(&self, name: Name) -> Result<Settings, String> {
        Ok(Settings {
            name: self.bind.then(|| ENTRY.to_owned()),
            active: !self.bind,
            relay_inbound: vec![self.endpoint.clone()],
            ..self.settings(name, Settings::default())?
        })
    }

    /// Where.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether to take connections.
    pub(super) fn bind(&self) -> bool {
        self.bind
    }

    /// Tells which port it became, where any would do.
    pub(super) fn tell(&self, name: Name, bound: &Endpoint) {
        if self.bind && *bound != self.endpoint {
            tell(name, format_args!("bound to {bound}"));
        }
    }
}

/// Tells why connections out could not be made or ended: once for each endpoint and time that the
/// reason changes.
pub(super) fn monitor(name: Name) -> Monitor {
    let told = Mutex::new(HashMap::new());
    Monitor(Arc::new(move |notice| {
        let (Notice::Connected { peer }
        | Notice::HandshakeFailed { peer, .. }
        | Notice::Ended { peer, .. }) = notice
        else {
            return;
        };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Notice::Connected { .. } = notice {
            told.remove(&peer.to_string());
            return;
        }
        let line = notice.to_string();
        if told.get(&peer.to_string()) != Some(&line) {
            tell(name, &line);
            told.insert(peer.to_string(), line);
        }
    }))
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
