//! Signing by gpg-agent, or by a `gpg` process.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use fedmsg_core::crypto::{Coverage, SignError, Signer};
use pgp::{
    packet::{PacketTrait as _, Signature, SignatureConfig, SubpacketData},
    types::{Mpi, SignatureBytes, Timestamp},
};

use super::{
    BACKEND, Error, Keys, TIME_LIMIT,
    agent::Agent,
    home::{Home, Made},
    signature,
};
use crate::config::Config;

/// Signs with a key of the user's GnuPG.
///
/// The private key stays with gpg-agent (or in its card). A key with a passphrase costs its
/// derivation for every message, a good part of a second: GnuPG keeps passphrases, not keys.
/// The key is chosen once: another one, a revocation or a new date needs a new signer.
///
/// ```no_run
/// use fedmsg::{bus::{Context, Settings}, crypto::gpg::GpgSigner};
/// use std::sync::Arc;
///
/// let signer = GpgSigner::open(None, "builds@example.org")?;
/// println!("signs as {}", signer.fingerprint());
/// let context = Context::new(Settings {
///     signer: Some(Arc::new(signer)),
///     ..Settings::default()
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct GpgSigner {
    home: Home,
    fingerprint: String,
    max_len: usize,
    direct: Option<Direct>,
}

impl GpgSigner {
    /// A signer with a key of this home (without: GnuPG's own choice, `$GNUPGHOME` or `~/.gnupg`).
    /// The key is named in any way that `gpg --local-user` knows: a fingerprint, best of all, or a
    /// key id or a user's address; `gpg` chooses the subkey. It makes a signature over nothing to
    /// see that it can, so whoever holds the passphrase may be asked for it now.
    ///
    /// # Errors
    /// GnuPG or its home missing; [`Error::UnknownKey`], [`Error::NoSecretKey`],
    /// [`Error::Unusable`]; [`Error::Locked`], [`Error::Cancelled`], or, after [`TIME_LIMIT`],
    /// [`Error::TimedOut`] if the key could not be unlocked.
    pub fn open(home: Option<&Path>, key: &str) -> Result<Self, Error> {
        Self::open_within(home, key, TIME_LIMIT)
    }

    /// The same with another time limit, here and for every signature: how long whoever is asked
    /// for a passphrase has for it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_within(home: Option<&Path>, key: &str, limit: Duration) -> Result<Self, Error> {
        let home = Home::open(home, limit)?;
        let Made {
            signature,
            fingerprint,
        } = home.sign(key, &[])?;
        let direct = Direct::like(&signature, &fingerprint, &home).filter(|direct| {
            // What `gpg` itself does not accept is not made again.
            let own = direct.sign(&[]);
            own.is_ok_and(|own| {
                let verdict = home.verify(&own, &[]);
                verdict
                    .is_ok_and(|verdict| verdict.is_ok_and(|good| good.fingerprint == fingerprint))
            })
        });
        if direct.is_none() {
            log::info!("gpg key {fingerprint}: not by gpg-agent, so each signature is a process");
        }
        Ok(Self {
            home,
            fingerprint,
            max_len: signature.len() + SLACK,
            direct,
        })
    }

    /// A signer with the configured key: `gpg_signing_key`, or else the entry of `gpg_keys` for
    /// this host (the name up to its first dot), in `gpg_home`.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::NoKey`]; as [`open`](Self::open).
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        let mut keys = Keys::read(config)?;
        let home = keys.gpg_home.take();
        Self::open(home.as_deref(), &keys.signing_key()?)
    }

    /// The fingerprint of the key or subkey that signs, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl Signer for GpgSigner {
    fn backend(&self) -> &str {
        BACKEND
    }

    fn certificate_field(&self) -> &[u8] {
        b""
    }

    fn max_signature_len(&self) -> usize {
        self.max_len
    }

    /// As the trait says; the log has the reason of a failure.
    fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        let needed = self.max_len;
        let out = out
            .get_mut(..needed)
            .ok_or(SignError::BufferTooSmall { needed })?;
        let direct = self.direct.as_ref().map(|direct| direct.sign(message));
        let signature = match direct {
            Some(Ok(signature)) => signature,
            other => {
                if let Some(Err(error)) = other {
                    log::debug!("gpg-agent does not sign, so gpg is asked: {error}");
                }
                // This very subkey.
                let made = self.home.sign(&format!("{}!", self.fingerprint), message);
                let made = made.map_err(|error| {
                    log::error!("cannot sign: {error}");
                    SignError::Key
                });
                made?.signature
            }
        };
        // Of one key they differ by a byte or two.
        let out = out.get_mut(..signature.len()).ok_or(SignError::Key)?;
        out.copy_from_slice(&signature);
        Ok(signature.len())
    }

    fn coverage(&self) -> Coverage {
        Coverage::Msg
    }
}

/// Signatures like one that `gpg` made, by gpg-agent itself.
struct Direct {
    like: SignatureConfig,
    /// Of how many numbers it consists.
    numbers: usize,
    keygrip: String,
    /// Seconds since the epoch: from then on `gpg` would not sign.
    expires: u64,
    socket: PathBuf,
    limit: Duration,
    agent: Mutex<Option<Agent>>,
}

impl Direct {
    /// `None` if this is no signature of the plain kind, or a key that the agent does not have.
    fn like(made: &[u8], fingerprint: &str, home: &Home) -> Option<Self> {
        let made = signature::parse(made)?;
        let like = made.config()?.clone();
        signature::plain_issuer(&like)?;
        let numbers = match made.signature()? {
            SignatureBytes::Mpis(numbers) => numbers.len(),
            SignatureBytes::Native(_) => return None,
        };
        let (keygrip, expires) = keygrip(&home.list(Some(fingerprint)).ok()?, fingerprint)?;
        Some(Self {
            like,
            numbers,
            keygrip,
            expires,
            socket: home.socket.clone(),
            limit: home.limit,
            agent: Mutex::default(),
        })
    }

    fn sign(&self, message: &[&[u8]]) -> io::Result<Vec<u8>> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        if now.as_secs() >= self.expires {
            return Err(io::Error::other("the key has expired"));
        }
        let mut config = self.like.clone();
        for subpacket in &mut config.hashed_subpackets {
            if let SubpacketData::SignatureCreationTime(time) = &mut subpacket.data {
                let now = u32::try_from(now.as_secs()).map_err(io::Error::other)?;
                *time = Timestamp::from_secs(now);
            }
        }
        let digest = signature::digest(&config, message).map_err(io::Error::other)?;
        let numbers = self.ask(config.hash_alg.into(), &digest)?;
        let [first, second, ..] = *digest else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let numbers: Vec<_> = numbers.iter().map(|one| Mpi::from_slice(one)).collect();
        if numbers.len() != self.numbers {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = Vec::with_capacity(MAX_USUAL);
        Signature::from_config(config, [first, second], numbers.into())
            .and_then(|signature| signature.to_writer_with_header(&mut bytes))
            .map_err(io::Error::other)?;
        Ok(bytes)
    }

    /// Over the open connection; the agent may have been started anew since, so over another one
    /// then.
    fn ask(&self, hash: u8, digest: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut place = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut agent) = place.take()
            && let Ok(numbers) = agent.sign(&self.keygrip, hash, digest)
        {
            *place = Some(agent);
            return Ok(numbers);
        }
        let mut agent = Agent::connect(&self.socket, self.limit)?;
        let numbers = agent.sign(&self.keygrip, hash, digest)?;
        *place = Some(agent);
        Ok(numbers)
    }
}

/// The keygrip of the key or subkey with this fingerprint, and when it or its primary key expires.
fn keygrip(listing: &str, fingerprint: &str) -> Option<(String, u64)> {
    let (mut primary, mut own) = (u64::MAX, u64::MAX);
    let mut found = false;
    for line in listing.lines() {
        let mut fields = line.split(':');
        let record = fields.next()?;
        let field = |n: usize| line.split(':').nth(n).unwrap_or_default();
        match record {
            "sec" => primary = field(6).parse().unwrap_or(u64::MAX),
            "ssb" => own = field(6).parse().unwrap_or(u64::MAX),
            "fpr" => found = field(9) == fingerprint,
            "grp" if found => return Some((field(9).to_owned(), primary.min(own))),
            _ => {}
        }
    }
    None
}

/// How much longer than the first one a signature may be: numbers are written without their
/// leading zeros, of which a whole byte is one in 256.
const SLACK: usize = 16;

/// Most signatures are shorter than this, in bytes.
const MAX_USUAL: usize = 640;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keygrip_is_the_signing_keys_with_the_earlier_end() {
        let listing = "sec:u:255:22:C3:1795591348:300:::u:::cSC:::+::ed25519:::0:\n\
                       fpr:::::::::PRIMARY:\n\
                       grp:::::::::GRIP1:\n\
                       uid:u::::1::BB::sub@x::::::::::0:\n\
                       ssb:u:2048:1:0C:1795591348:200::::s:::+:::23:\n\
                       fpr:::::::::SUB:\n\
                       grp:::::::::GRIP2:\n\
                       ssb:u:2048:1:0C:1795591348:::::s:::+:::23:\n\
                       fpr:::::::::SUB2:\n\
                       grp:::::::::GRIP3:\n";
        for (fingerprint, expected) in [
            ("PRIMARY", Some(("GRIP1", 300))),
            ("SUB", Some(("GRIP2", 200))),
            ("SUB2", Some(("GRIP3", 300))),
            ("OTHER", None),
            ("", None),
        ] {
            let expected = expected.map(|(grip, end)| (grip.to_owned(), end));
            assert_eq!(keygrip(listing, fingerprint), expected);
        }
    }
}
