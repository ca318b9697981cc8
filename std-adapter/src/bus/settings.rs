//! What a context is told: where everybody publishes, and how.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fedmsg_core::{
    crypto::Signer,
    message::{Invalid, Valid},
};

use super::Error;
use crate::{
    config::Config,
    crypto::{Scratch, Trust, Validator},
    transport::{Endpoint, Options},
};

/// The entry of [`Settings::endpoints`] that nobody subscribes to: where relays take messages.
pub const RELAY_INBOUND: &str = "relay_inbound";

/// What a [`Context`](super::Context) is told. The names are those of fedmsg's configuration, and
/// so are the defaults.
///
/// ```
/// use fedmsg::bus::Settings;
/// use std::time::Duration;
///
/// let settings = Settings {
///     topic_prefix: "org.example".into(),
///     environment: "prod".into(),
///     post_init_sleep: Duration::ZERO,
///     ..Settings::default()
/// }
/// .with_endpoints("git.app01", ["tcp://app01.example.org:3000", "tcp://app01.example.org:3001"])?;
/// assert_eq!(settings.endpoints["git.app01"].len(), 2);
///
/// let error = settings.with_endpoints("git.app02", ["tcp://app02"]).err().unwrap();
/// assert_eq!(
///     error.to_string(),
///     "endpoints of 'git.app02': endpoint 'tcp://app02': the port is missing: tcp://host:port"
/// );
/// # Ok::<(), fedmsg::bus::Error>(())
/// ```
#[derive(Clone)]
pub struct Settings {
    /// The first part of every topic that is published.
    pub topic_prefix: String,
    /// The second part: `dev`, `stg` or `prod`.
    pub environment: String,
    /// Which entry of `endpoints` to publish on. `None`: `<modname>.<short host name>`, with the
    /// modname of the first message.
    pub name: Option<String>,
    /// Where everybody publishes, by name. A publisher binds the first free endpoint of its entry;
    /// a tail connects to all of all entries but [`RELAY_INBOUND`].
    ///
    /// A publisher binds an endpoint with an address there. One with a host's name it binds on every
    /// address of this machine, which is what the peer does with all.
    pub endpoints: BTreeMap<String, Vec<Endpoint>>,
    /// Where relays take messages.
    pub relay_inbound: Vec<Endpoint>,
    /// Publish through a relay: connect to the first endpoint of `relay_inbound`, bind nothing.
    pub active: bool,
    /// Send nothing. What is published is still made (and may be refused), then thrown away.
    pub mute: bool,
    /// How long to wait, once the publisher is bound or connected, for the first subscriber.
    pub post_init_sleep: Duration,
    /// Whether a `*` in a tail's topics is refused.
    pub zmq_strict: bool,
    /// Under whose account messages are sent; `None`: the one that this process runs under.
    pub username: Option<String>,
    /// Sizes, times and the monitor of the sockets.
    pub transport: Options,
    /// Signs what is published. `None`: as `config` says.
    pub signer: Option<Arc<dyn Signer + Send + Sync>>,
    /// Judges what arrives: a [`Validator`], a [`Trust`], or what else implements the trait. `None`:
    /// as `config` says.
    pub validator: Option<Arc<dyn Validate>>,
    /// Which of the configuration's `certnames` signs: `<cert_prefix>.<short host name>`. `None`:
    /// that of the entry that is published on, and on `relay_inbound` `shell.<short host name>`.
    pub cert_prefix: Option<String>,
    /// The configuration that [these come from](Self::from_config). It says who signs (asked when
    /// the context opens its publisher) and validates (asked by its first tail), where no `signer`
    /// or `validator` is given. `None`: nobody does then.
    pub config: Option<Arc<Config>>,
    /// What a tail does with a message that is not to be believed, or is no fedmsg message.
    pub refused: Refused,
}

/// What a tail does with a message that was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refused {
    /// It is counted ([`Tail::skipped`](super::Tail::skipped)).
    #[default]
    Skip,
    /// It is handed on with the reason as its verdict.
    HandOn,
}

/// Judges the messages that arrive.
pub trait Validate: Send + Sync {
    /// Judges a message by its two frames, at the time `at` (seconds since the epoch). The message
    /// in the answer, which is what a tail hands on, usually lies in `scratch`.
    ///
    /// # Errors
    /// Why it is not to be believed.
    fn validate<'s>(
        &self,
        topic: &str,
        body: &[u8],
        at: u64,
        scratch: &'s mut Scratch,
    ) -> Result<Valid<'s>, Invalid>;
}

impl Validate for Trust {
    fn validate<'s>(
        &self,
        topic: &str,
        body: &[u8],
        at: u64,
        scratch: &'s mut Scratch,
    ) -> Result<Valid<'s>, Invalid> {
        let verifiers = [&self.p256() as _, &self.x509() as _];
        scratch.validate(Some(topic.as_bytes()), body, &verifiers, at)
    }
}

impl Validate for Validator {
    fn validate<'s>(
        &self,
        topic: &str,
        body: &[u8],
        at: u64,
        scratch: &'s mut Scratch,
    ) -> Result<Valid<'s>, Invalid> {
        self.validate_at(Some(topic), body, at, scratch)
    }
}

impl Default for Settings {
    fn default() -> Self {
        let local = |port| vec![Endpoint::tcp("127.0.0.1", port)];
        Self {
            topic_prefix: "com.example".into(),
            environment: "dev".into(),
            name: None,
            endpoints: BTreeMap::from([("relay_outbound".into(), local(4001))]),
            relay_inbound: local(2001),
            active: false,
            mute: false,
            post_init_sleep: Duration::from_millis(500),
            zmq_strict: false,
            username: None,
            transport: Options::default(),
            signer: None,
            validator: None,
            cert_prefix: None,
            config: None,
            refused: Refused::default(),
        }
    }
}

impl Settings {
    /// The same with these endpoints as the entry `name`, in place of those that it may have had.
    ///
    /// # Errors
    /// [`Error::Endpoint`] for a text that is no endpoint.
    pub fn with_endpoints<E: AsRef<str>>(
        mut self,
        name: &str,
        endpoints: impl IntoIterator<Item = E>,
    ) -> Result<Self, Error> {
        let endpoints = parse_endpoints(name, endpoints)?;
        self.endpoints.insert(name.to_owned(), endpoints);
        Ok(self)
    }
}

/// The endpoints of an entry.
pub(super) fn parse_endpoints<E: AsRef<str>>(
    entry: &str,
    endpoints: impl IntoIterator<Item = E>,
) -> Result<Vec<Endpoint>, Error> {
    let endpoints = endpoints
        .into_iter()
        .map(|endpoint| endpoint.as_ref().parse());
    endpoints
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Endpoint {
            entry: entry.to_owned(),
            source,
        })
}
