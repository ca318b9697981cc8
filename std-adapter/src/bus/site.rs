//! A context's settings from a site's configuration, and who signs and validates by it.
//!
//! Source: the peer's `fedmsg.core` (Python fedmsg 1.1.7) for where it publishes and under which of
//! `certnames` it signs; its `fedmsg.utils` and libzmq for the sockets' keys.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fedmsg_core::crypto::Signer;
use serde::Deserialize;

use super::{
    Error, RELAY_INBOUND, Settings, Validate, context::short_host_name, settings::parse_endpoints,
};
use crate::{
    config::{self, Config},
    crypto::{self, Validator},
    transport::{Endpoint, KeepAlive, Options},
};

impl Settings {
    /// The settings that a site's configuration makes, signing and validating included. Keys are
    /// read here and now, but no file: keys and certificates are, once they are needed.
    ///
    /// | key | |
    /// | --- | --- |
    /// | `topic_prefix`, `environment`, `name`, `active`, `mute`, `zmq_strict`, `cert_prefix` | as they are |
    /// | `endpoints`, `relay_inbound` | a text or a list of texts each |
    /// | `post_init_sleep` | seconds |
    /// | `high_water_mark` | [`Options::high_water_mark`] |
    /// | `zmq_linger` | [`Options::linger`], in milliseconds |
    /// | `zmq_tcp_keepalive` and its three | [`Options::keep_alive`]; 0 for one of the three is fedmsg's default |
    /// | `zmq_reconnect_ivl`, `zmq_reconnect_ivl_max` | [`Options::reconnect`] and `reconnect_max`, in milliseconds, at least 1 |
    /// | `sign_messages`, `certnames`, … | who signs: [`config`](Self::config) |
    /// | `validate_signatures`, … | who validates: [`config`](Self::config) |
    /// | `zmq_enabled` | false is an error |
    /// | `io_threads` | without effect: a socket has one thread, which is not what limits it |
    ///
    /// ```
    /// use fedmsg::{Settings, config::Config};
    /// use serde_json::{Value, json};
    ///
    /// let Value::Object(values) = json!({
    ///     "environment": "stg",
    ///     "endpoints": {"git.app01": "tcp://app01.example.org:3000"},
    ///     "zmq_linger": 500,
    /// }) else { unreachable!() };
    /// let settings = Settings::from_config(&Config::from_values(values)?)?;
    /// assert_eq!(settings.environment, "stg");
    /// assert_eq!(settings.endpoints["git.app01"].len(), 1);
    /// assert_eq!(settings.transport.linger.as_millis(), 500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Endpoint`] for a text that is no endpoint; [`Error::ZmqDisabled`];
    /// [`Error::Config`] for a value of the wrong type.
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        let keys: Keys = config.read().map_err(Error::Config)?;
        if !keys.zmq_enabled {
            return Err(Error::ZmqDisabled);
        }
        let defaults = Self::default();
        let endpoints = keys.endpoints.unwrap_or_default();
        let endpoints = endpoints.into_iter().map(|(entry, texts)| {
            let endpoints = texts.parse(&entry)?;
            Ok((entry, endpoints))
        });
        let relay_inbound = keys.relay_inbound.map(|texts| texts.parse(RELAY_INBOUND));
        Ok(Self {
            topic_prefix: keys.topic_prefix.unwrap_or(defaults.topic_prefix),
            environment: keys.environment.unwrap_or(defaults.environment),
            name: keys.name,
            endpoints: endpoints.collect::<Result<_, Error>>()?,
            relay_inbound: relay_inbound.transpose()?.unwrap_or_default(),
            active: keys.active,
            mute: keys.mute,
            post_init_sleep: Duration::from_secs_f64(keys.post_init_sleep),
            zmq_strict: keys.zmq_strict,
            transport: Options {
                high_water_mark: keys.high_water_mark,
                linger: Duration::from_millis(keys.zmq_linger),
                keep_alive: (keys.keep_alive != 0).then(|| KeepAlive {
                    idle: seconds(keys.keep_alive_idle, KeepAlive::default().idle),
                    interval: seconds(keys.keep_alive_interval, KeepAlive::default().interval),
                    count: match keys.keep_alive_count {
                        0 => KeepAlive::default().count,
                        count => count,
                    },
                }),
                reconnect: Duration::from_millis(keys.zmq_reconnect_ivl.max(1)),
                reconnect_max: Duration::from_millis(keys.zmq_reconnect_ivl_max.max(1)),
                ..defaults.transport
            },
            cert_prefix: keys.cert_prefix,
            config: Some(Arc::new(config.clone())),
            ..defaults
        })
    }

    /// Those of the process's configuration ([`config::current`]), which is read unless it was.
    ///
    /// With what a program sets itself, this is the peer's `fedmsg.init(name="git.app01")`:
    ///
    /// ```no_run
    /// use fedmsg::Settings;
    ///
    /// fedmsg::init(Settings { name: Some("git.app01".into()), ..Settings::load()? })?;
    /// # Ok::<(), fedmsg::bus::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] where a file cannot be read or is wrong; as
    /// [`from_config`](Self::from_config).
    pub fn load() -> Result<Self, Error> {
        Self::from_config(&*config::current().map_err(Error::Config)?)
    }

    /// Who signs what is published on this entry, by the configuration.
    pub(super) fn configured_signer(
        &self,
        entry: &str,
    ) -> Result<Option<Arc<dyn Signer + Send + Sync>>, Error> {
        let Some(config) = &self.config else {
            return Ok(None);
        };
        let keys: Signing = config.read().map_err(Error::Config)?;
        if !keys.sign_messages {
            return Ok(None);
        }
        let host = short_host_name();
        let certname = if keys.crypto_backend.as_deref() == Some("gpg") {
            let mut keys_of_hosts = keys.gpg_keys.unwrap_or_default();
            keys.gpg_signing_key
                .or_else(|| keys_of_hosts.remove(&host))
                .ok_or(Error::NoGpgKey { host })?
        } else {
            let service = match (&self.cert_prefix, entry) {
                (Some(prefix), _) => format!("{prefix}.{host}"),
                (None, RELAY_INBOUND) => format!("{SHELL}.{host}"),
                (None, entry) => entry.to_owned(),
            };
            let mut certnames = keys.certnames.unwrap_or_default();
            certnames
                .remove(&service)
                .ok_or(Error::NoCertname { service })?
        };
        let signer = crypto::signer(config, &certname).map_err(Error::Crypto)?;
        Ok(Some(signer))
    }

    /// Who judges what arrives, by the configuration.
    pub(super) fn configured_validator(&self) -> Result<Option<Arc<dyn Validate>>, Error> {
        let Some(config) = &self.config else {
            return Ok(None);
        };
        let keys: Validating = config.read().map_err(Error::Config)?;
        if !keys.validate_signatures {
            return Ok(None);
        }
        let validator = Validator::from_config(config).map_err(Error::Crypto)?;
        Ok(Some(Arc::new(validator)))
    }
}

#[derive(Deserialize)]
struct Keys {
    topic_prefix: Option<String>,
    environment: Option<String>,
    name: Option<String>,
    endpoints: Option<BTreeMap<String, Texts>>,
    relay_inbound: Option<Texts>,
    active: bool,
    #[serde(default)]
    mute: bool,
    cert_prefix: Option<String>,
    post_init_sleep: f64,
    high_water_mark: usize,
    zmq_enabled: bool,
    zmq_strict: bool,
    zmq_linger: u64,
    #[serde(rename = "zmq_tcp_keepalive")]
    keep_alive: u64,
    #[serde(rename = "zmq_tcp_keepalive_idle")]
    keep_alive_idle: u64,
    #[serde(rename = "zmq_tcp_keepalive_intvl")]
    keep_alive_interval: u64,
    #[serde(rename = "zmq_tcp_keepalive_cnt")]
    keep_alive_count: u32,
    zmq_reconnect_ivl: u64,
    zmq_reconnect_ivl_max: u64,
}

#[derive(Deserialize)]
struct Signing {
    sign_messages: bool,
    crypto_backend: Option<String>,
    certnames: Option<BTreeMap<String, String>>,
    gpg_signing_key: Option<String>,
    gpg_keys: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Validating {
    validate_signatures: bool,
}

/// An endpoint, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

impl Texts {
    fn parse(self, entry: &str) -> Result<Vec<Endpoint>, Error> {
        match self {
            Self::One(text) => parse_endpoints(entry, [text]),
            Self::Several(texts) => parse_endpoints(entry, texts),
        }
    }
}

fn seconds(seconds: u64, default: Duration) -> Duration {
    match seconds {
        0 => default,
        seconds => Duration::from_secs(seconds),
    }
}

/// The service of `certnames` for what is published to a relay.
const SHELL: &str = "shell";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(values: Value) -> Result<Settings, Error> {
        let Value::Object(values) = values else {
            panic!("no object");
        };
        Settings::from_config(&Config::from_values(values).unwrap())
    }

    fn texts(endpoints: &[Endpoint]) -> Vec<String> {
        endpoints.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_configuration_without_a_word_makes_the_settings_without_a_word() {
        let (made, own) = (settings(json!({})).unwrap(), Settings::default());
        assert_eq!(made.topic_prefix, own.topic_prefix);
        assert_eq!(made.environment, own.environment);
        assert_eq!(made.name, None);
        assert_eq!(made.endpoints, own.endpoints);
        assert_eq!(made.relay_inbound, own.relay_inbound);
        assert_eq!(made.post_init_sleep, own.post_init_sleep);
        assert!(!made.active && !made.mute && !made.zmq_strict);
        assert_eq!(
            format!("{:?}", made.transport),
            format!("{:?}", own.transport)
        );
    }

    #[test]
    fn every_key_of_the_bus_is_read() {
        let made = settings(json!({
            "topic_prefix": "org.example", "environment": "stg", "name": "git.app01",
            "endpoints": {"git.app01": "tcp://a:1", "wiki.app01": ["tcp://b:2", "tcp://*:3"]},
            "relay_inbound": ["tcp://c:4", "tcp://d:5"],
            "active": true, "mute": true, "zmq_strict": true, "cert_prefix": "git",
            "post_init_sleep": 1.5, "high_water_mark": 9, "zmq_linger": 1, "io_threads": 7,
            "zmq_tcp_keepalive_cnt": 2, "zmq_tcp_keepalive_idle": 3, "zmq_tcp_keepalive_intvl": 0,
            "zmq_reconnect_ivl": 0, "zmq_reconnect_ivl_max": 6,
        }))
        .unwrap();
        assert_eq!(made.topic_prefix, "org.example");
        assert_eq!(made.environment, "stg");
        assert_eq!(made.name.as_deref(), Some("git.app01"));
        assert_eq!(texts(&made.endpoints["git.app01"]), ["tcp://a:1"]);
        assert_eq!(
            texts(&made.endpoints["wiki.app01"]),
            ["tcp://b:2", "tcp://*:3"]
        );
        assert_eq!(texts(&made.relay_inbound), ["tcp://c:4", "tcp://d:5"]);
        assert!(made.active && made.mute && made.zmq_strict);
        assert_eq!(made.cert_prefix.as_deref(), Some("git"));
        assert_eq!(made.post_init_sleep, Duration::from_millis(1500));
        assert_eq!(made.transport.high_water_mark, 9);
        assert_eq!(made.transport.linger, Duration::from_millis(1));
        let keep_alive = KeepAlive {
            idle: Duration::from_secs(3),
            interval: KeepAlive::default().interval,
            count: 2,
        };
        assert_eq!(made.transport.keep_alive, Some(keep_alive));
        assert_eq!(made.transport.reconnect, Duration::from_millis(1));
        assert_eq!(made.transport.reconnect_max, Duration::from_millis(6));

        let made = settings(json!({"zmq_tcp_keepalive": 0})).unwrap();
        assert_eq!(made.transport.keep_alive, None);
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (values, told) in [
            (json!({"zmq_enabled": false}), "zmq_enabled = false"),
            (
                json!({"endpoints": {"a.b": ["tcp://c:1", "c:2"]}}),
                "endpoints of 'a.b': endpoint 'c:2'",
            ),
            (
                json!({"relay_inbound": "tcp://c"}),
                "endpoints of 'relay_inbound': endpoint",
            ),
        ] {
            let error = settings(values).err().unwrap().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn who_signs_is_looked_up_when_something_is_published() {
        let host = short_host_name();
        for (values, entry, told) in [
            (
                json!({}),
                "git.app01",
                "certnames has no 'git.app01'".to_owned(),
            ),
            (
                json!({}),
                RELAY_INBOUND,
                format!("certnames has no 'shell.{host}'"),
            ),
            (
                json!({"cert_prefix": "git"}),
                "x",
                format!("certnames has no 'git.{host}'"),
            ),
            (
                json!({"crypto_backend": "gpg"}),
                "x",
                format!("neither a gpg_signing_key nor a '{host}' in gpg_keys"),
            ),
            (
                json!({"certnames": {"x": "none"}, "ssldir": "/nonexistent"}),
                "x",
                "/nonexistent/none.".to_owned(),
            ),
        ] {
            let Value::Object(mut values) = values else {
                panic!("no object");
            };
            values.insert("sign_messages".into(), true.into());
            let settings = settings(Value::Object(values)).unwrap();
            let error = settings.configured_signer(entry).err().unwrap().to_string();
            assert!(error.contains(&told), "{error}");
        }
        let quiet = settings(json!({"sign_messages": false})).unwrap();
        assert!(quiet.configured_signer("x").unwrap().is_none());
        let trusting = settings(json!({"validate_signatures": false})).unwrap();
        assert!(trusting.configured_validator().unwrap().is_none());
        let missing = settings(json!({"ca_cert_location": "/nonexistent/ca.crt"})).unwrap();
        let error = missing.configured_validator().err().unwrap().to_string();
        assert!(error.contains("/nonexistent/ca.crt"), "{error}");
    }
}
