//! Whether a message is to be believed, by a site's configuration: several backends side by side,
//! the routing policy, topics on which unsigned messages are taken.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use fedmsg_core::{
    crypto::{Refusal, Verifier, p256},
    json::{self, HOST_DEPTH, Members},
    message::{Invalid, Valid},
};
use serde::Deserialize;

use super::{
    Error, GPG, Scratch, X509, policy::Policy, refusals::Refusals, scratch::Judged,
    sources::Sources,
};
use crate::config::Config;

/// What a [`Validator`] is told: fedmsg's configuration keys, by their own names.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ValidatorOptions {
    /// Whether signatures are looked at. If not, every message passes that is a JSON object of the
    /// topic that it came under; its signer is empty.
    pub validate_signatures: bool,
    /// The backends whose messages are accepted. None: `crypto_backend`.
    pub crypto_validate_backends: Vec<String>,
    /// The backend that this site signs with.
    pub crypto_backend: String,
    /// The CA certificates, PEM: a file, or an `https` URL.
    pub ca_cert_location: String,
    /// Where a CA certificate from a URL is kept between runs.
    pub ca_cert_cache: Option<PathBuf>,
    /// After how many seconds it is fetched again; 0: only when a message fails.
    pub ca_cert_cache_expiry: u64,
    /// The revocation lists, PEM, as the CA certificates. None (or an empty text): nothing is
    /// revoked.
    pub crl_location: Option<String>,
    /// Where one from a URL is kept between runs.
    pub crl_cache: Option<PathBuf>,
    /// After how many seconds it is fetched again; 0: only when a message fails.
    pub crl_cache_expiry: u64,
    /// Who may send on a topic: whole topics, and the signers' names. It holds for all backends.
    pub routing_policy: BTreeMap<String, Vec<String>>,
    /// Whether nobody may send on a topic that the policy does not name.
    pub routing_nitpicky: bool,
    /// Topics on which unsigned messages are accepted, whatever the routing policy says: one that
    /// ends with a dot is all that begin so, any other is itself alone. No key of the
    /// configuration: each consumer decides for itself.
    #[serde(skip)]
    pub unsigned_topics: Vec<String>,
}

impl Default for ValidatorOptions {
    fn default() -> Self {
        Self {
            validate_signatures: true,
            crypto_validate_backends: vec![X509.to_owned()],
            crypto_backend: X509.to_owned(),
            ca_cert_location: "/etc/pki/fedmsg/ca.crt".to_owned(),
            ca_cert_cache: None,
            ca_cert_cache_expiry: 0,
            crl_location: None,
            crl_cache: None,
            crl_cache_expiry: 3600,
            routing_policy: BTreeMap::new(),
            routing_nitpicky: false,
            unsigned_topics: Vec::new(),
        }
    }
}

/// Judges messages by a site's rules. One serves all threads.
///
/// ```no_run
/// use fedmsg::{config::Config, crypto::Validator};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = Config::default();
/// let validator = Validator::from_config(&config)?;
/// let message = br#"{"msg": {}, "topic": "org.example.dev.git.receive"}"#;
/// match validator.validate(message) {
///     Ok(valid) => println!("{} signed it", valid.signer),
///     Err(reason) => println!("not to be believed: {reason}"),
/// }
/// # Ok(())
/// # }
/// ```
pub struct Validator {
    validate_signatures: bool,
    /// All that are accepted, by name.
    backends: Vec<String>,
    /// Of those, what judges by a CA.
    sources: Option<Sources>,
    /// And what does not.
    others: Vec<Box<dyn Verifier + Send + Sync>>,
    policy: Policy,
    unsigned_topics: Vec<String>,
    accepted: AtomicU64,
    refusals: Refusals,
}

/// A message that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// Who signed it; empty for an unsigned one.
    pub signer: String,
    /// The message in canonical form: what was judged.
    pub message: Vec<u8>,
}

/// What a [`Validator`] has judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages that were accepted.
    pub accepted: u64,
    /// Messages that were refused, by the name of the [`reason`](super::reason).
    pub refused: BTreeMap<&'static str, u64>,
}

impl Validator {
    /// A validator by a site's configuration.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::Config`].
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        let options: ValidatorOptions = config.read()?;
        let validator = Self::new(options)?;
        #[cfg(feature = "gpg")]
        if validator.validate_signatures && validator.accepts(GPG) {
            let gpg = super::gpg::GpgVerifier::from_config(config)?;
            return Ok(validator.with_backend(Box::new(gpg)));
        }
        Ok(validator)
    }

    /// The same with one more backend, which is accepted by the name that it gives itself.
    #[must_use]
    pub fn with_backend(mut self, verifier: Box<dyn Verifier + Send + Sync>) -> Self {
        if !self.accepts(verifier.backend()) {
            self.backends.push(verifier.backend().to_owned());
        }
        self.others.push(verifier);
        self
    }

    /// A validator by these options. CA certificates and revocation lists are read (or fetched)
    /// here, if a backend is accepted that needs them.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`]; what is wrong with the CA certificates or revocation lists.
    pub fn new(options: ValidatorOptions) -> Result<Self, Error> {
        let mut backends = options.crypto_validate_backends.clone();
        let mut key = "crypto_validate_backends";
        if backends.is_empty() {
            key = "crypto_backend";
            backends.push(options.crypto_backend.clone());
        }
        let mut needs_ca = false;
        for backend in &backends {
            match backend.as_str() {
                X509 | p256::BACKEND => needs_ca = true,
                GPG => {}
                name => {
                    return Err(Error::UnknownBackend {
                        key,
                        name: name.to_owned(),
                    });
                }
            }
        }
        let sources = (needs_ca && options.validate_signatures).then(|| Sources::load(&options));
        Ok(Self {
            validate_signatures: options.validate_signatures,
            backends,
            sources: sources.transpose()?,
            others: Vec::new(),
            policy: Policy {
                senders: options.routing_policy,
                nitpicky: options.routing_nitpicky,
            },
            unsigned_topics: options.unsigned_topics,
            accepted: AtomicU64::new(0),
            refusals: Refusals::default(),
        })
    }

    /// Whether signatures are looked at.
    #[must_use]
    pub fn validates(&self) -> bool {
        self.validate_signatures
    }

    /// Judges a message from anywhere, by its body alone, as of now.
    ///
    /// # Errors
    /// The first reason found; it is counted, and logged once a minute.
    pub fn validate(&self, body: &[u8]) -> Result<Validated, Invalid> {
        self.judge_owned(body, None)
    }

    /// The same for a message that only `signer` may have signed, whatever the routing policy says.
    ///
    /// # Errors
    /// As there; [`Invalid::NotPermitted`] for one that somebody else signed,
    /// [`Invalid::Unsigned`] for an unsigned one on whatever topic.
    pub fn validate_signed_by(&self, body: &[u8], signer: &str) -> Result<Validated, Invalid> {
        self.judge_owned(body, Some(signer))
    }

    /// Judges a message by its two frames (`None` where there is no frame 0), at the time `at`
    /// (seconds since the epoch), in the caller's memory.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn validate_at<'s>(
        &self,
        topic: Option<&str>,
        body: &[u8],
        at: u64,
        scratch: &'s mut Scratch,
    ) -> Result<Valid<'s>, Invalid> {
        self.judge(topic, body, None, at, scratch)
    }

    /// What it has judged.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refusals.counts(),
        }
    }

    fn judge_owned(&self, body: &[u8], signed_by: Option<&str>) -> Result<Validated, Invalid> {
        // A clock before 1970 believes nobody.
        let at = SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |now| now.as_secs());
        SCRATCH.with_borrow_mut(|scratch| {
            let valid = self.judge(None, body, signed_by, at, scratch)?;
            Ok(Validated {
                signer: valid.signer.to_owned(),
                message: valid.message.to_vec(),
            })
        })
    }

    fn judge<'s>(
        &self,
        topic: Option<&str>,
        body: &[u8],
        signed_by: Option<&str>,
        at: u64,
        scratch: &'s mut Scratch,
    ) -> Result<Valid<'s>, Invalid> {
        match self.verdict(topic, body, signed_by, at, scratch) {
            Ok(judged) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                Ok(scratch.valid(&judged))
            }
            Err(invalid) => {
                self.refusals.add(&invalid, topic);
                Err(invalid)
            }
        }
    }

    fn verdict(
        &self,
        topic: Option<&str>,
        body: &[u8],
        signed_by: Option<&str>,
        at: u64,
        scratch: &mut Scratch,
    ) -> Result<Judged, Invalid> {
        if !self.validate_signatures {
            return unsigned(topic, body, scratch).map(|(judged, _)| judged);
        }
        let judged = match self.verify(topic, body, at, scratch) {
            Err(Invalid::Unsigned) if signed_by.is_none() && !self.unsigned_topics.is_empty() => {
                let (judged, topic) = unsigned(topic, body, scratch)?;
                return match self.takes_unsigned(&topic) {
                    true => Ok(judged),
                    false => Err(Invalid::Unsigned),
                };
            }
            Err(Invalid::Refused(Refusal::Backend)) => {
                return Err(Invalid::Refused(self.why_no_backend(body, scratch)));
            }
            // Perhaps there is a new CA certificate, or a new list.
            Err(Invalid::Refused(
                Refusal::Untrusted
                | Refusal::Expired
                | Refusal::RevocationList
                | Refusal::RevocationListDate,
            )) if self.sources.as_ref().is_some_and(Sources::refetch) => {
                self.verify(topic, body, at, scratch)
            }
            verdict => verdict,
        }?;
        let valid = scratch.valid(&judged);
        match signed_by {
            Some(signer) if signer == valid.signer => {}
            Some(_) => return Err(Invalid::NotPermitted),
            None if self.policy.allows_everything() => {}
            None => {
                let own;
                let topic = match topic {
                    Some(topic) => topic,
                    None => {
                        own = topic_of(valid.message);
                        &own
                    }
                };
                self.policy.check(topic, valid.signer)?;
            }
        }
        Ok(judged)
    }

    /// Judges credentials, and the topic.
    fn verify(
        &self,
        topic: Option<&str>,
        body: &[u8],
        at: u64,
        scratch: &mut Scratch,
    ) -> Result<Judged, Invalid> {
        let trust = self.sources.as_ref().map(Sources::current);
        let by_ca = trust.as_ref().map(|trust| (trust.p256(), trust.x509()));
        let mut verifiers: Vec<&dyn Verifier> = Vec::with_capacity(2 + self.others.len());
        if let Some((p256, x509)) = &by_ca {
            verifiers.extend([p256 as &dyn Verifier, x509]);
            verifiers.retain(|verifier| self.accepts(verifier.backend()));
        }
        verifiers.extend(self.others.iter().map(|other| &**other as &dyn Verifier));
        scratch.judge(topic.map(str::as_bytes), body, &verifiers, at)
    }

    fn accepts(&self, backend: &str) -> bool {
        self.backends.iter().any(|accepted| accepted == backend)
    }

    fn takes_unsigned(&self, topic: &str) -> bool {
        self.unsigned_topics
            .iter()
            .any(|taken| match taken.ends_with('.') {
                true => topic.starts_with(taken.as_str()),
                false => topic == taken,
            })
    }

    /// Why there is nobody who judges the message's kind of signature.
    fn why_no_backend(&self, body: &[u8], scratch: &mut Scratch) -> Refusal {
        let message = scratch.canonicalize(body, HOST_DEPTH).unwrap_or_default();
        let has = |name| member(message, name).is_some();
        let backend = match text_of(message, "crypto") {
            Some(backend) => backend,
            // As the core guesses.
            None if has("certificate") => X509.to_owned(),
            None => GPG.to_owned(),
        };
        if self.accepts(&backend) {
            Refusal::BackendNotBuiltIn
        } else if [X509, p256::BACKEND, GPG].contains(&&*backend) {
            Refusal::BackendDisallowed
        } else {
            Refusal::Backend
        }
    }
}

/// A message that is not looked at for its signature, and its topic: which must be that of its
/// frame.
fn unsigned(
    topic: Option<&str>,
    body: &[u8],
    scratch: &mut Scratch,
) -> Result<(Judged, String), Invalid> {
    let judged = scratch.unsigned(body)?;
    let message = scratch.valid(&judged).message;
    if !message.starts_with(b"{") {
        return Err(Invalid::NotAnObject);
    }
    let own = topic_of(message);
    match topic {
        Some(topic) if topic != own => Err(Invalid::Topic),
        _ => Ok((judged, own)),
    }
}

/// A message's topic; empty if it has none that is text.
fn topic_of(message: &[u8]) -> String {
    text_of(message, "topic").unwrap_or_default()
}

/// A member of a canonical message, if it is text.
fn text_of(message: &[u8], name: &str) -> Option<String> {
    let value = member(message, name)?;
    let mut room = vec![0; value.len()];
    json::unescape(value, &mut room).ok().map(str::to_owned)
}

fn member<'m>(message: &'m [u8], name: &str) -> Option<&'m [u8]> {
    let mut members = Members::new(message)?;
    members
        .find(|member| member.key == name)
        .map(|member| member.value)
}

thread_local! {
    /// For messages that come without one.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}
