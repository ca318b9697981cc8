//! Which keys there are, of which types, with which defaults.
//!
//! Source: the peer's `fedmsg.config` (`FedmsgConfig` for types and defaults, `load_config` for what
//! is made of them), and its modules `crypto`, `gpg` and `replay` for the keys that it does not list.

use serde_json::{Map, Value};

/// What is expected of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Text that may begin with `~/`.
    Path,
    /// Or the text `True` or `False`, in any case.
    Bool,
    /// A whole number from 0 to [`MAX_NUMBER`], or such a number as text.
    Int,
    Port,
    /// A number from 0 to [`MAX_NUMBER`], or such a number as text.
    Seconds,
    Texts,
    TextOrTexts,
    Dict,
    Dicts,
    DictOfText,
    DictOfTexts,
    /// A dictionary of text or lists of text, which become lists.
    Endpoints,
}

/// A key that fedmsg knows.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// JSON. Empty: the key is not there unless it is set. `null`: its value may be none.
    default: &'static str,
}

impl Key {
    /// The value of a key that nobody sets; `None` where there is none.
    pub(super) fn default(&self) -> Option<Value> {
        let mut value = serde_json::from_str(self.default).ok()?;
        if self.kind == Kind::Path {
            expand_home(&mut value);
        }
        Some(value)
    }

    /// Whether a file may set it to none, which is as not setting it.
    pub(super) fn may_be_none(&self) -> bool {
        use Kind::{Bool, Endpoints, Int, Port, Seconds};
        !matches!(self.kind, Bool | Endpoints | Int | Port | Seconds)
    }
}

/// The key of this name.
pub(super) fn known(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known key that an unknown one looks like.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let near = KEYS.iter().map(|key| key.name).chain(OTHERS);
    let (distance, near) = near
        .map(|key| (strsim::osa_distance(name, key), key))
        .min()?;
    // A name of four letters is one letter away from too many others.
    let limit = match near.len() {
        0..=4 => 0,
        5..=8 => 1,
        _ => 2,
    };
    (1..=limit).contains(&distance).then_some(near)
}

/// Where a value is not what is expected of it.
pub(super) struct Mismatch {
    /// The way from the key's value to the place.
    pub(super) path: Vec<String>,
    pub(super) found: String,
    pub(super) expected: &'static str,
}

/// Gives a value the form that its kind has; none is left as it is, for a default to take its place.
pub(super) fn normalise(kind: Kind, value: &mut Value) -> Result<(), Mismatch> {
    match (kind, &*value) {
        (Kind::Text | Kind::TextOrTexts, Value::String(_)) => Ok(()),
        (Kind::Path, Value::String(_)) => {
            expand_home(value);
            Ok(())
        }
        (Kind::Bool, Value::Bool(_)) => Ok(()),
        (Kind::Bool, Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => replace(value, true),
            "false" => replace(value, false),
            _ => Err(mismatch(kind, value)),
        },
        (Kind::Int | Kind::Port, _) => match whole(value) {
            Some(number) if number <= kind.max() => replace(value, number),
            _ => Err(mismatch(kind, value)),
        },
        (Kind::Seconds, Value::Number(number)) => {
            // As it is: a reader of numbers takes 2 for 2.0, and what is printed is what was set.
            let fits = number.as_f64().is_some_and(in_range);
            if fits {
                Ok(())
            } else {
                Err(mismatch(kind, value))
            }
        }
        (Kind::Seconds, Value::String(text)) => match text.trim().parse() {
            Ok(seconds) if in_range(seconds) => replace(value, seconds),
            _ => Err(mismatch(kind, value)),
        },
        (Kind::Texts | Kind::TextOrTexts, Value::Array(_)) => each(value, Kind::Text),
        (Kind::Dicts, Value::Array(_)) => each(value, Kind::Dict),
        (Kind::Dict, Value::Object(_)) => Ok(()),
        (Kind::DictOfText, Value::Object(_)) => each(value, Kind::Text),
        (Kind::DictOfTexts, Value::Object(_)) => each(value, Kind::Texts),
        (Kind::Endpoints, Value::Object(_)) => {
            each(value, Kind::TextOrTexts)?;
            let entries = value.as_object_mut().into_iter().flat_map(Map::values_mut);
            for entry in entries.filter(|entry| entry.is_string()) {
                *entry = Value::Array(vec![entry.take()]);
            }
            Ok(())
        }
        _ => Err(mismatch(kind, value)),
    }
}

impl Kind {
    fn max(self) -> u64 {
        match self {
            Self::Port => u16::MAX.into(),
            _ => MAX_NUMBER,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Text | Self::Path => "text",
            Self::Bool => "true or false",
            Self::Int => "a whole number from 0 to 4294967295",
            Self::Port => "a port number",
            Self::Seconds => "a number of seconds from 0 to 4294967295",
            Self::Texts => "a list of texts",
            Self::TextOrTexts => "text or a list of texts",
            Self::Dict | Self::DictOfText | Self::DictOfTexts => "a dictionary",
            Self::Dicts => "a list of dictionaries",
            Self::Endpoints => "a dictionary of endpoints",
        }
    }
}

/// Every element of a list, or value of a dictionary.
fn each(value: &mut Value, kind: Kind) -> Result<(), Mismatch> {
    let inside = |step: String| {
        move |mut mismatch: Mismatch| {
            mismatch.path.insert(0, step);
            mismatch
        }
    };
    match value {
        Value::Array(list) => {
            for (index, element) in list.iter_mut().enumerate() {
                normalise(kind, element).map_err(inside(format!("[{index}]")))?;
            }
        }
        Value::Object(dict) => {
            for (key, element) in dict {
                normalise(kind, element).map_err(inside(key.clone()))?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// A number as Python's `int` makes it, but for fractions, which it drops without a word.
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Bool(value) => Some((*value).into()),
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_u64().or_else(|| {
            let float = number.as_f64()?;
            // Below 2^32, where a float has every whole number.
            (in_range(float) && float.fract() == 0.0).then_some(float as u64)
        }),
        _ => None,
    }
}

fn in_range(number: f64) -> bool {
    (0.0..=MAX_NUMBER as f64).contains(&number)
}

fn replace(value: &mut Value, by: impl Into<Value>) -> Result<(), Mismatch> {
    *value = by.into();
    Ok(())
}

fn expand_home(value: &mut Value) {
    let rest = value.as_str().and_then(|text| text.strip_prefix("~/"));
    let home = std::env::home_dir();
    if let (Some(rest), Some(home)) = (rest, home.as_ref().and_then(|home| home.to_str())) {
        *value = format!("{}/{rest}", home.trim_end_matches('/')).into();
    }
}

fn mismatch(kind: Kind, value: &Value) -> Mismatch {
    let found = match value {
        Value::Null => "none".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        // What should be a number or a flag is no secret; what should be a list may be one.
        Value::String(text)
            if matches!(kind, Kind::Bool | Kind::Int | Kind::Port | Kind::Seconds) =>
        {
            let start: String = text.chars().take(MAX_SHOWN).collect();
            format!("the text {start:?}")
        }
        Value::String(_) => "text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a dictionary".to_owned(),
    };
    Mismatch {
        path: Vec::new(),
        found,
        expected: kind.expected(),
    }
}

/// The largest number of a key: a count, or a time of 136 years in seconds.
const MAX_NUMBER: u64 = u32::MAX as u64;

/// How many characters of a wrong text an error shows.
const MAX_SHOWN: usize = 40;

/// Keys that the peer or what it stands on knows, and that mean nothing here.
const OTHERS: [&str; 14] = [
    "config_filename",
    "fedmsg.consumers.gateway.enabled",
    "moksha.blocking_mode",
    "moksha.monitoring.socket.mode",
    "moksha.workers_per_consumer",
    "print_config",
    "relay_outbound",
    "stomp_heartbeat",
    "stomp_pass",
    "stomp_queue",
    "stomp_ssl_crt",
    "stomp_ssl_key",
    "stomp_uri",
    "stomp_user",
];

/// Every key, in the order in which a configuration shows them.
pub(super) const KEYS: &[Key] = &[
    key("topic_prefix", Kind::Text, r#""com.example""#),
    // Without a value of its own it is made from topic_prefix.
    key("topic_prefix_re", Kind::Text, ""),
    key("environment", Kind::Text, r#""dev""#),
    // A publisher makes its own: <module>.<short host name>.
    key("name", Kind::Text, ""),
    key(
        "endpoints",
        Kind::Endpoints,
        r#"{"relay_outbound": ["tcp://127.0.0.1:4001"]}"#,
    ),
    key("srv_endpoints", Kind::Texts, ""),
    key("replay_endpoints", Kind::DictOfText, ""),
    key(
        "relay_inbound",
        Kind::TextOrTexts,
        r#""tcp://127.0.0.1:2001""#,
    ),
    key("active", Kind::Bool, "false"),
    key("mute", Kind::Bool, "false"),
    key("io_threads", Kind::Int, "1"),
    key("post_init_sleep", Kind::Seconds, "0.5"),
    key("timeout", Kind::Seconds, "2"),
    key("high_water_mark", Kind::Int, "0"),
    key("zmq_linger", Kind::Int, "1000"),
    key("zmq_enabled", Kind::Bool, "true"),
    key("zmq_strict", Kind::Bool, "false"),
    key("zmq_tcp_keepalive", Kind::Int, "1"),
    key("zmq_tcp_keepalive_cnt", Kind::Int, "3"),
    key("zmq_tcp_keepalive_idle", Kind::Int, "60"),
    key("zmq_tcp_keepalive_intvl", Kind::Int, "5"),
    key("zmq_reconnect_ivl", Kind::Int, "100"),
    key("zmq_reconnect_ivl_max", Kind::Int, "1000"),
    key("sign_messages", Kind::Bool, "false"),
    key("validate_signatures", Kind::Bool, "true"),
    key("crypto_backend", Kind::Text, r#""x509""#),
    key("crypto_validate_backends", Kind::Texts, r#"["x509"]"#),
    key("ssldir", Kind::Path, r#""/etc/pki/fedmsg""#),
    key(
        "ca_cert_location",
        Kind::Path,
        r#""/etc/pki/fedmsg/ca.crt""#,
    ),
    key("ca_cert_cache", Kind::Path, "null"),
    key("ca_cert_cache_expiry", Kind::Int, "0"),
    key("crl_location", Kind::Path, "null"),
    key("crl_cache", Kind::Path, "null"),
    key("crl_cache_expiry", Kind::Int, "3600"),
    key("certnames", Kind::DictOfText, "{}"),
    key("cert_prefix", Kind::Text, ""),
    key("gpg_home", Kind::Path, r#""~/.gnupg/""#),
    key("gpg_signing_key", Kind::Text, ""),
    key("gpg_keys", Kind::DictOfText, ""),
    key("routing_policy", Kind::DictOfTexts, "{}"),
    key("routing_nitpicky", Kind::Bool, "false"),
    key("persistent_store", Kind::Text, "null"),
    key("status_directory", Kind::Path, "null"),
    key("datagrepper_url", Kind::Text, "null"),
    key("skip_last_message", Kind::Bool, "false"),
    key("fedmsg.consumers.gateway.port", Kind::Port, "9940"),
    key(
        "fedmsg.consumers.gateway.high_water_mark",
        Kind::Int,
        "1000",
    ),
    key("moksha.monitoring.socket", Kind::Text, ""),
    key(
        "irc",
        Kind::Dicts,
        r#"[{"network": "irc.freenode.net", "port": 6667, "ssl": false, "nickname": "fedmsg-dev",
            "channel": "my-fedmsg-channel", "timeout": 120, "make_pretty": true, "make_terse": true,
            "make_short": true, "line_rate": 0.9, "filters": {"topic": [], "body": ["lub-dub"]}}]"#,
    ),
    key(
        "irc_color_lookup",
        Kind::DictOfText,
        r#"{"fas": "light blue", "bodhi": "green", "git": "red", "tagger": "brown",
            "wiki": "purple", "logger": "orange", "pkgdb": "teal", "buildsys": "yellow",
            "planet": "light green"}"#,
    ),
    key("irc_default_color", Kind::Text, r#""light grey""#),
    key("irc_method", Kind::Text, r#""notice""#),
    key(
        "logging",
        Kind::Dict,
        r#"{"version": 1,
            "formatters": {"bare": {"datefmt": "%Y-%m-%d %H:%M:%S",
                "format": "[%(asctime)s][%(name)10s %(levelname)7s] %(message)s"}},
            "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "bare",
                "level": "INFO", "stream": "ext://sys.stdout"}},
            "loggers": {"fedmsg": {"level": "INFO", "propagate": false, "handlers": ["console"]},
                "moksha": {"level": "INFO", "propagate": false, "handlers": ["console"]}}}"#,
    ),
];

const fn key(name: &'static str, kind: Kind, default: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_of_its_keys_kind() {
        for key in KEYS {
            let Some(mut value) = key.default() else {
                assert_eq!(key.default, "", "{}", key.name);
                continue;
            };
            let before = value.clone();
            if !value.is_null() {
                assert!(normalise(key.kind, &mut value).is_ok(), "{}", key.name);
            }
            assert_eq!(value, before, "{}", key.name);
        }
    }

    #[test]
    fn every_key_is_there_once_and_in_the_documentation() {
        let docs = include_str!("../../../docs/config.md");
        for (number, key) in KEYS.iter().enumerate() {
            assert!(
                KEYS[..number].iter().all(|other| other.name != key.name),
                "{}",
                key.name
            );
            assert!(docs.contains(&format!("`{}`", key.name)), "{}", key.name);
        }
    }

    #[test]
    fn a_key_is_taken_for_another_only_when_it_is_close() {
        for (name, known) in [
            ("environmet", Some("environment")),
            ("enviornment", Some("environment")),
            ("Environment", Some("environment")),
            ("validate_signature", Some("validate_signatures")),
            ("zmq_reconnect_ivlmax", Some("zmq_reconnect_ivl_max")),
            ("endpoint", Some("endpoints")),
            ("activ", Some("active")),
            ("nam", None),
            ("ic", None),
            ("mirc", None),
            ("git", None),
            ("stomp_uri", None),
            ("print_config", None),
            ("koji", None),
            ("fedmsg.consumers.badges.enabled", None),
        ] {
            assert_eq!(meant(name), known, "{name}");
        }
    }
}
