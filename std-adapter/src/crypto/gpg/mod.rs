//! The backend `gpg`: OpenPGP signatures by the user's own GnuPG (2.2 or later), so that its homes,
//! agents and smartcards work. [`GpgSigner`] signs, [`GpgVerifier`] judges.
//!
//! A signature covers the canonical form of `msg` alone. **The topic, the id and the time are not
//! covered**: whoever sees a message can send its `msg` again, under any topic. A message is valid
//! if `gpg --verify` with that home would end with 0. It does so for keys that have expired or were
//! revoked: a sender who is no longer to be believed must be deleted from the keyring.
//!
//! A `gpg` process for every message, as the peer has it, takes milliseconds. So `gpg` is asked
//! once for each kind of signature, and what is like it is then done here: private keys stay with
//! gpg-agent, whose socket is kept open; signatures are verified by the crate `pgp` with the very
//! key that `gpg` verified one with. Whatever is not exactly like that goes to a `gpg` process.
//!
//! Sources: RFC 4880 and RFC 9580; GnuPG's `doc/DETAILS`; gpg(1), gpgconf(1), gpg-agent(1).

mod agent;
mod error;
mod home;
mod signature;
mod signer;
mod verifier;

pub use error::Error;
pub use home::TIME_LIMIT;
pub use signature::MAX_SIGNATURE;
pub use signer::GpgSigner;
pub use verifier::GpgVerifier;

use std::{collections::BTreeMap, env, path::PathBuf};

use serde::Deserialize;

use crate::config::Config;

/// The value of a message's `crypto` field.
pub const BACKEND: &str = "gpg";

/// A site's configuration of this backend.
#[derive(Deserialize)]
struct Keys {
    gpg_home: Option<PathBuf>,
    gpg_signing_key: Option<String>,
    gpg_keys: Option<BTreeMap<String, String>>,
}

impl Keys {
    fn read(config: &Config) -> Result<Self, Error> {
        let mut keys: Self = config.read().map_err(Error::Config)?;
        // As a shell, and the peer, write it.
        if let Some(home) = &keys.gpg_home
            && let Ok(rest) = home.strip_prefix("~")
            && let Some(own) = env::home_dir()
        {
            keys.gpg_home = Some(own.join(rest));
        }
        Ok(keys)
    }

    /// The key to sign with, on this host.
    fn signing_key(self) -> Result<String, Error> {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let host = host.split('.').next().unwrap_or_default();
        self.gpg_signing_key
            .or_else(|| self.gpg_keys?.remove(host))
            .ok_or_else(|| Error::NoKey { host: host.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(values: serde_json::Value) -> Result<Keys, Error> {
        let serde_json::Value::Object(values) = values else {
            panic!("no object");
        };
        Keys::read(&Config::from_values(values).unwrap())
    }

    #[test]
    fn the_signing_key_is_the_one_of_this_host_unless_one_is_named() {
        let host = gethostname::gethostname().into_string().unwrap();
        let host = host.split('.').next().unwrap();
        for (values, expected) in [
            (
                json!({"gpg_signing_key": "A", "gpg_keys": {host: "B"}}),
                Some("A"),
            ),
            (json!({"gpg_keys": {host: "B", "other": "C"}}), Some("B")),
            (json!({"gpg_keys": {"other.host": "C"}}), None),
            (json!({}), None),
        ] {
            let key = read(values.clone()).unwrap().signing_key();
            assert_eq!(key.as_deref().ok(), expected, "{values}");
        }
        let error = read(json!({})).unwrap().signing_key().unwrap_err();
        assert!(error.to_string().contains(host), "{error}");
    }

    #[test]
    fn a_tilde_is_the_users_home() {
        let own = env::home_dir().unwrap();
        for (home, expected) in [
            ("~/.gnupg/", own.join(".gnupg")),
            ("~", own),
            ("/~/x", "/~/x".into()),
        ] {
            assert_eq!(
                read(json!({"gpg_home": home})).unwrap().gpg_home,
                Some(expected)
            );
        }
    }
}
