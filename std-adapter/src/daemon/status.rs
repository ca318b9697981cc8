//! A daemon's status for `fedmsg-check`, as the peer's `moksha.hub.monitoring` sends it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    time::SystemTime,
};

use fedmsg_core::zmtp;
use serde_json::{Value, json};

use super::{Counters, Error, Running};
use crate::{
    config::Config,
    transport::{
        self, Endpoint, Message, Options, Publisher as _, Transport as _, encode_frames,
        native::{Native, NativePublisher},
    },
};

/// Where a daemon tells its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitoring {
    /// Where `fedmsg-check` connects.
    pub endpoint: Endpoint,
    /// The mode of the file, if the endpoint is one; `None` leaves what the umask gives.
    pub mode: Option<u32>,
}

impl Monitoring {
    /// From `moksha.monitoring.socket` and `moksha.monitoring.socket.mode` (octal digits); `None`
    /// without the first.
    ///
    /// # Errors
    /// [`Error::Endpoint`], [`Error::Mode`].
    pub fn from_config(config: &Config) -> Result<Option<Self>, Error> {
        let Some(endpoint) = config.get(SOCKET).and_then(Value::as_str) else {
            return Ok(None);
        };
        let endpoint = endpoint.parse().map_err(|source| Error::Endpoint {
            key: SOCKET,
            source,
        })?;
        let mode = match config.get(MODE) {
            None | Some(Value::Null) => None,
            Some(mode) => {
                let digits = mode.as_str().unwrap_or_default();
                let digits = digits.strip_prefix("0o").unwrap_or(digits);
                let parsed = u32::from_str_radix(digits, 8).ok();
                Some(
                    parsed
                        .filter(|mode| *mode <= 0o777)
                        .ok_or_else(|| Error::Mode {
                            mode: mode.to_string(),
                        })?,
                )
            }
        };
        Ok(Some(Self { endpoint, mode }))
    }
}

/// The socket that tells it.
pub(super) struct Status {
    publisher: NativePublisher,
    endpoint: Endpoint,
    last: Counters,
}

impl Status {
    pub(super) fn bind(monitoring: &Monitoring) -> Result<Self, transport::Error> {
        let publisher = Native.publisher(&Options {
            max_memory: 1 << 20,
            max_connections: 64,
            ..Options::default()
        })?;
        let endpoint = publisher.bind(&monitoring.endpoint)?;
        if let (Endpoint::Ipc(path), Some(mode)) = (&endpoint, monitoring.mode) {
            let set = fs::set_permissions(path, Permissions::from_mode(mode));
            set.map_err(|source| transport::Error::Io {
                doing: format!("set the mode of {}", path.display()),
                source,
            })?;
        }
        Ok(Self {
            publisher,
            endpoint,
            last: Counters::default(),
        })
    }

    /// Tells how the daemon is: one frame, with no topic before it.
    pub(super) fn send(&mut self, running: &Running) {
        let counters = running.counters();
        let text = report(running, &counters, &self.last).to_string();
        let mut wire = Vec::new();
        encode_frames(&[text], &mut wire);
        if let Some(frames) = zmtp::Message::from_wire(&wire) {
            let endpoint = &self.endpoint;
            // Who listens asks again.
            let _ = self.publisher.forward(&Message { frames, endpoint });
        }
        self.last = counters;
    }
}

/// The members that the peer's status has, and this program's counters, under names of their own.
fn report(running: &Running, now: &Counters, last: &Counters) -> Value {
    let kind = running.kind();
    let handled = |counters: &Counters| counters.forwarded + counters.all_refused();
    let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let mut status = json!({
        "consumers": [{
            "name": kind.consumer,
            "module": kind.module,
            "topic": "*",
            "initialized": !running.has_ended(),
            "exceptions": now.all_refused() - last.all_refused(),
            "jsonify": false,
            "backlog": 0,
            "headcount_in": now.received - last.received,
            "headcount_out": handled(now) - handled(last),
            "times": [],
            "received": now.received,
            "forwarded": now.forwarded,
            "refused": now.refused,
            "dropped": now.dropped,
        }],
        "producers": [{
            "name": "MonitoringProducer",
            "module": "moksha.hub.monitoring",
            "initialized": true,
            "exceptions": 0,
            "frequency": super::service::FREQUENCY.as_secs(),
            "now": false,
            "last_ran": time.as_secs_f64(),
        }],
    });
    if let (Some(line), Some(consumer)) = (now.line, status.pointer_mut("/consumers/0")) {
        consumer["line"] = json!({
            "sessions": line.sessions,
            "repeated": line.repeated,
            "damaged": line.damaged,
        });
    }
    status
}

const SOCKET: &str = "moksha.monitoring.socket";
const MODE: &str = "moksha.monitoring.socket.mode";
