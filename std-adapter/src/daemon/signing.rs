//! The signing relay: what came signed is validated, and everything is signed anew.

use std::sync::{Arc, PoisonError, RwLock};

use fedmsg_core::{crypto::Signer, message::Invalid};
use serde_json::Value;

use super::{
    Error, Refusal, Relay, Running,
    judge::{Judge, check_topic, is_signed},
    running::Kind,
};
use crate::{
    bus::{Validate, now},
    config::Config,
    crypto::{self, Scratch, Validator, ValidatorOptions},
    transport::Publisher as _,
};

/// A [`Relay`] that signs: what devices sign in their way, or do not sign at all on a network of
/// their own, goes out signed in the way of the rest of the site.
///
/// A message that is signed is validated first, and refused if it is not to be believed; the new
/// credentials then stand in the place of the old. The topic that a message was sent under must be
/// the one in it.
#[derive(Clone)]
pub struct SigningRelay {
    /// Where, and how.
    pub relay: Relay,
    /// What it signs and validates with.
    pub keys: Keyring,
    /// Refuse what is not signed.
    pub signed_only: bool,
}

impl SigningRelay {
    /// As [`Relay::from_config`] and [`Keys::from_config`]; accepts what is not signed, as the peer
    /// does.
    ///
    /// # Errors
    /// As there.
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            relay: Relay::from_config(config)?,
            keys: Keyring::new(Keys::from_config(config)?),
            signed_only: false,
        })
    }

    /// Starts it on a thread of its own.
    ///
    /// # Errors
    /// As [`Relay::start`].
    pub fn start(&self) -> Result<Running, Error> {
        let (keyring, signed_only) = (self.keys.clone(), self.signed_only);
        let (mut judge, mut validating, mut signing) =
            (Judge::default(), Scratch::default(), Scratch::default());
        self.relay.wire(KIND)?.start(move |message, publisher| {
            let (topic, body) = Judge::frames(message)?;
            let canonical = judge.object(body)?;
            let keys = keyring.get();
            let text = if is_signed(canonical) {
                let at = now().map_err(Refusal::Clock)?;
                let judged = keys
                    .validator
                    .validate(topic, canonical, at, &mut validating);
                judged.map_err(Refusal::Untrusted)?.message
            } else if signed_only {
                return Err(Invalid::Unsigned.into());
            } else {
                check_topic(canonical, topic)?;
                canonical
            };
            let signed = signing.sign(text, &*keys.signer).map_err(Refusal::Sign)?;
            let sent = publisher.send(topic.as_bytes(), &[signed]);
            sent.map_err(Refusal::Send)
        })
    }
}

/// What a signing relay signs and validates with.
#[derive(Clone)]
pub struct Keys {
    /// Signs what goes out.
    pub signer: Arc<dyn Signer + Send + Sync>,
    /// Judges what comes signed.
    pub validator: Arc<dyn Validate>,
}

impl Keys {
    /// The entry `signing_relay` of `certnames` signs, by `crypto_backend`; if that is `gpg`, the
    /// `gpg_signing_key`. A [`Validator`] validates, whatever `validate_signatures` says.
    ///
    /// # Errors
    /// [`Error::Missing`] without that name; [`Error::Config`]; [`Error::Crypto`].
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        let backend = config.get("crypto_backend").and_then(Value::as_str);
        let key = match backend {
            Some("gpg") => "gpg_signing_key",
            _ => "certnames.signing_relay",
        };
        let name = config.query(key).and_then(Value::as_str);
        let name = name.ok_or(Error::Missing { key })?;
        let options = ValidatorOptions {
            validate_signatures: true,
            ..config.read()?
        };
        Ok(Self {
            signer: crypto::signer(config, name)?,
            validator: Arc::new(Validator::new(options)?),
        })
    }
}

/// [`Keys`] that can be replaced while a signing relay uses them.
#[derive(Clone)]
pub struct Keyring(Arc<RwLock<Arc<Keys>>>);

impl Keyring {
    /// With these keys to begin with.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(keys))))
    }

    /// From the next message on, these are used.
    pub fn replace(&self, keys: Keys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn get(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

const KIND: Kind = Kind {
    name: "signing-relay",
    consumer: "SigningRelayConsumer",
    module: "fedmsg.consumers.relay",
};
