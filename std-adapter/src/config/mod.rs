//! A site's configuration: fedmsg's keys, from files, the command line and built-in defaults.
//!
//! ```no_run
//! # fn main() -> Result<(), fedmsg::config::Error> {
//! let config = fedmsg::config::current()?;
//! println!("{:?} from {:?}", config.get("environment"), config.origin("environment"));
//!
//! #[derive(serde::Deserialize)]
//! struct Wanted {
//!     environment: String,
//!     #[serde(rename = "fedmsg.consumers.gateway.port")]
//!     port: u16,
//! }
//! let wanted: Wanted = config.read()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`current`] is the process's one configuration; a [`Loader`] reads others. `docs/config.md` says
//! which files are read, and how the keys of several become one configuration.
//!
//! Source: the peer's `fedmsg.config` (Python fedmsg 1.1.7).

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

mod error;
mod load;
#[cfg(feature = "cli")]
mod logging;
#[cfg(feature = "cli")]
mod options;
mod python;
mod schema;
#[cfg(feature = "srv")]
mod srv;
mod toml;

pub use error::{Error, Warning};
pub use load::Loader;
#[cfg(feature = "cli")]
pub use logging::{Logging, Stream};
#[cfg(feature = "cli")]
pub use options::Options;

/// The largest file, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// How deep lists and dictionaries may lie in each other.
pub const MAX_DEPTH: usize = 32;

/// The process's configuration; read at the first call, as [`Config::load`] does.
///
/// # Errors
/// As [`Config::load`]; the next call tries again.
pub fn current() -> Result<Arc<Config>, Error> {
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = &*current {
        return Ok(Arc::clone(config));
    }
    let config = Arc::new(Config::load()?);
    *current = Some(Arc::clone(&config));
    Ok(config)
}

/// Makes this the process's configuration, in place of the one that there may have been.
pub fn set_current(config: Config) -> Arc<Config> {
    let config = Arc::new(config);
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    *current = Some(Arc::clone(&config));
    config
}

/// A configuration: fedmsg's keys with their values, checked; other keys as they were found.
#[derive(Clone, Debug)]
pub struct Config {
    values: Map<String, Value>,
    /// What each source said, in the order in which they were merged.
    layers: Vec<Layer>,
    warnings: Vec<Warning>,
}

/// What one source said.
#[derive(Clone, Debug)]
struct Layer {
    origin: Origin,
    values: Map<String, Value>,
}

/// Who set a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is fedmsg's default.
    Default,
    /// A file.
    File(PathBuf),
    /// The name service, for an entry of `endpoints`.
    Srv,
    /// The command line, or what else was to win over the files ([`Loader::overrides`]).
    CommandLine,
    /// The program ([`Config::from_values`]).
    Program,
}

impl Config {
    /// The configuration of this machine, user and directory: that of [`Loader::default`].
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn load() -> Result<Self, Error> {
        Loader::default().load()
    }

    /// A configuration of these values, over fedmsg's defaults. No file is read.
    ///
    /// # Errors
    /// [`Error::Type`] for a value of the wrong type.
    pub fn from_values(values: Map<String, Value>) -> Result<Self, Error> {
        let origin = Origin::Program;
        load::first_error(load::assemble(vec![Layer { origin, values }], true))
    }

    /// The value of a key.
    ///
    /// Every key that has a default is there; `null` is the value of one that is none by default.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Several keys at once, as members of a struct.
    ///
    /// # Errors
    /// [`Error::Fit`] where a member has another type than its key.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.values).map_err(Error::Fit)
    }

    /// Every key with its value.
    #[must_use]
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// The value at a place such as `endpoints.bodhi.app01`: keys with dots between them, which may
    /// have dots themselves.
    #[must_use]
    pub fn query(&self, place: &str) -> Option<&Value> {
        self.values
            .get(place)
            .or_else(|| query(&self.values, place))
    }

    /// What may be wrong with it.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Who set a key: of several who set something in it, the last. `None`: there is no such key.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.values.get(key)?;
        Some(self.origin_of(&[key]))
    }

    /// Who set what: every value that is no dictionary, with the keys that lead to it.
    pub fn origins(&self) -> impl Iterator<Item = (Vec<&str>, &Origin)> {
        let mut places = Vec::new();
        leaves(&self.values, &mut Vec::new(), &mut places);
        places.into_iter().map(|place| {
            let origin = self.origin_of(&place);
            (place, origin)
        })
    }

    /// What the files say, as one TOML file without defaults. Comments at its top name what it could
    /// not keep.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::write(&self.layers, &self.warnings)
    }

    fn origin_of(&self, place: &[&str]) -> &Origin {
        let says = |layer: &&Layer| {
            let mut dict = Some(&layer.values);
            place.iter().all(|key| {
                let value = dict.and_then(|dict| dict.get(*key));
                dict = value.and_then(Value::as_object);
                value.is_some()
            })
        };
        match self.layers.iter().rev().find(says) {
            Some(layer) => &layer.origin,
            // It is made of that.
            None if place == ["topic_prefix_re"] => self.origin_of(&["topic_prefix"]),
            None => &Origin::Default,
        }
    }
}

impl Default for Config {
    /// fedmsg's defaults.
    fn default() -> Self {
        load::assemble(Vec::new(), true).0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Srv => f.write_str("SRV record"),
            Self::CommandLine => f.write_str("command line"),
            Self::Program => f.write_str("program"),
        }
    }
}

fn query<'a>(dict: &'a Map<String, Value>, place: &str) -> Option<&'a Value> {
    // The shortest key first, as the peer splits a place.
    let mut dots = place.match_indices('.');
    dots.find_map(|(dot, _)| {
        let (key, rest) = (place.get(..dot)?, place.get(dot + 1..)?);
        let inner = dict.get(key)?.as_object()?;
        query(inner, rest)
    })
    .or_else(|| dict.get(place))
}

fn leaves<'a>(
    dict: &'a Map<String, Value>,
    place: &mut Vec<&'a str>,
    places: &mut Vec<Vec<&'a str>>,
) {
    for (key, value) in dict {
        place.push(key);
        match value {
            Value::Object(inner) if !inner.is_empty() => leaves(inner, place, places),
            _ => places.push(place.clone()),
        }
        place.pop();
    }
}

/// A place in a configuration, for people: keys, and indices in brackets.
fn dotted<'a>(steps: impl IntoIterator<Item = &'a str>) -> String {
    let mut place = String::new();
    for step in steps {
        if !place.is_empty() && !step.starts_with('[') {
            place.push('.');
        }
        place.push_str(step);
    }
    place
}

static CURRENT: Mutex<Option<Arc<Config>>> = Mutex::new(None);
