//! Judging signatures as the user's `gpg` does.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use fedmsg_core::crypto::{Coverage, Refusal, Verifier};
use pgp::{
    composed::{Deserializable as _, SignedPublicKey, SignedPublicSubKey},
    packet::{Signature, SignatureConfig},
    types::{Fingerprint, KeyDetails as _, Timestamp},
};

use super::{
    BACKEND, Error, Keys, MAX_SIGNATURE, TIME_LIMIT,
    home::{Good, Home},
    signature,
};
use crate::config::Config;

/// Judges messages by the keyring of the user's GnuPG: the name of a message's signer is the
/// fingerprint of the primary key, in hexadecimal, upper case.
///
/// `gpg` judges the first signature of each kind: of a key, an algorithm, and what else is signed
/// with the data (all but the time). What is like it is verified here, with the same key, until
/// the keyring or `gpg.conf` changes, which is noticed after a second, and for at most five minutes.
/// A message whose signer says to have a key that the keyring does not have is refused without
/// asking. Anything else, such as a signature in text mode, with an end of its validity, or two
/// of them, costs a `gpg` process each time.
///
/// Signatures are judged by the clock of this machine, whatever time the caller names.
///
/// ```no_run
/// use fedmsg::crypto::{Scratch, gpg::GpgVerifier};
///
/// let verifier = GpgVerifier::open(Some("/srv/bus/gnupg".as_ref()))?;
/// let body = std::fs::read("message.json")?;
/// let mut scratch = Scratch::default();
/// let valid = scratch.validate(None, &body, &[&verifier], 0)?;
/// println!("signed by {}", valid.signer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct GpgVerifier {
    home: Home,
    keyring: RwLock<Keyring>,
    /// When the log was last told that `gpg` cannot be asked.
    complained: Mutex<Option<Instant>>,
}

impl GpgVerifier {
    /// A verifier by the keyring of this home (without: GnuPG's own choice, `$GNUPGHOME` or
    /// `~/.gnupg`).
    ///
    /// # Errors
    /// GnuPG or its home missing; [`Error::Failed`] if the keyring cannot be listed;
    /// [`Error::TimedOut`] if that takes longer than [`TIME_LIMIT`].
    pub fn open(home: Option<&Path>) -> Result<Self, Error> {
        let home = Home::open(home, TIME_LIMIT)?;
        let keyring = RwLock::new(Keyring::read(&home)?);
        Ok(Self {
            home,
            keyring,
            complained: Mutex::default(),
        })
    }

    /// A verifier by the keyring in the configured `gpg_home`.
    ///
    /// # Errors
    /// [`Error::Config`]; as [`open`](Self::open).
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        Self::open(Keys::read(config)?.gpg_home.as_deref())
    }

    fn judge(&self, message: &[u8], bytes: &[u8]) -> Result<String, Refusal> {
        self.refresh();
        let bytes = &*signature::binary(bytes).ok_or(Refusal::Signature)?;
        let parsed = signature::parse(bytes);
        let (verdict, read) = {
            let keyring = self.keyring.read().unwrap_or_else(PoisonError::into_inner);
            let verdict = parsed
                .as_ref()
                .and_then(|signature| keyring.judge(signature, message));
            (verdict, keyring.read)
        };
        if let Some(verdict) = verdict {
            return verdict;
        }
        if !signature::are_signatures(bytes) {
            return Err(Refusal::Signature);
        }
        let good = self.home.verify(bytes, &[message]).map_err(|error| {
            self.complain(&error);
            Refusal::Unavailable
        })??;
        if let Some(signature) = parsed {
            self.learn(&signature, message, &good, read);
        }
        Ok(good.primary)
    }

    /// Reads the keyring anew where it may have changed.
    fn refresh(&self) {
        let fresh = |keyring: &Keyring| keyring.looked.elapsed() < LOOK_EVERY;
        if fresh(&self.keyring.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut keyring = self.keyring.write().unwrap_or_else(PoisonError::into_inner);
        if fresh(&keyring) {
            return;
        }
        keyring.looked = Instant::now();
        if keyring.known.is_some()
            && keyring.read.elapsed() < READ_EVERY
            && keyring.stamp == stamp(&self.home.path)
        {
            return;
        }
        *keyring = Keyring::read(&self.home).unwrap_or_else(|error| {
            self.complain(&error);
            Keyring::unread()
        });
    }

    fn complain(&self, error: &Error) {
        let mut last = self
            .complained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            *last = Some(Instant::now());
            log::error!("gpg signatures cannot be judged: {error}");
        }
    }

    /// Remembers the kind of a signature that `gpg` accepts, if it is judged the same way here.
    /// `read` is when the keyring was read that it was judged by.
    fn learn(&self, signature: &Signature, message: &[u8], good: &Good, read: Instant) {
        let Some(config) = signature.config() else {
            return;
        };
        let Some(issuer) = signature::plain_issuer(config) else {
            return;
        };
        if !format!("{issuer:X}").eq_ignore_ascii_case(&good.fingerprint) {
            return;
        }
        let known = {
            let keyring = self.keyring.read().unwrap_or_else(PoisonError::into_inner);
            keyring.senders.contains_key(issuer)
        };
        let sender = (!known).then(|| Sender::find(&self.home, issuer, good));
        let mut keyring = self.keyring.write().unwrap_or_else(PoisonError::into_inner);
        if keyring.read != read {
            return;
        }
        if let Some(sender) = sender {
            if keyring.senders.len() >= MAX_SENDERS
                && let Some(any) = keyring.senders.keys().next().cloned()
            {
                keyring.senders.remove(&any);
            }
            keyring.senders.insert(issuer.clone(), sender);
        }
        if let Some(sender) = keyring.senders.get_mut(issuer)
            && sender.kinds.len() < MAX_KINDS
            && sender.verifies(signature, message)
        {
            sender.kinds.push(config.clone());
        }
    }
}

impl Verifier for GpgVerifier {
    fn backend(&self) -> &str {
        BACKEND
    }

    /// As the trait says; a signature of more than [`MAX_SIGNATURE`] bytes is refused. Where `gpg`
    /// cannot be asked, nothing is accepted: [`Refusal::Unavailable`], and the log says why.
    fn verify<'n>(
        &self,
        message: &[&[u8]],
        signature: &[u8],
        _: &[u8],
        _: u64,
        name: &'n mut [u8],
    ) -> Result<&'n str, Refusal> {
        if signature.len() > MAX_SIGNATURE {
            return Err(Refusal::Signature);
        }
        let message = match *message {
            [one] => Cow::Borrowed(one),
            _ => Cow::Owned(message.concat()),
        };
        let signer = self.judge(&message, signature)?;
        let name = name.get_mut(..signer.len()).ok_or(Refusal::Name)?;
        name.copy_from_slice(signer.as_bytes());
        str::from_utf8(name).map_err(|_| Refusal::Name)
    }

    fn coverage(&self) -> Coverage {
        Coverage::Msg
    }
}

/// What is known of a keyring.
struct Keyring {
    /// The ids of its keys and subkeys; `None` if it could not be read.
    known: Option<HashSet<[u8; 8]>>,
    /// By the fingerprint of the key or subkey that signs.
    senders: HashMap<Fingerprint, Sender>,
    stamp: Vec<Option<[i64; 4]>>,
    read: Instant,
    looked: Instant,
}

impl Keyring {
    fn read(home: &Home) -> Result<Self, Error> {
        let mut keyring = Self::unread();
        // First, so that a change while it is read is noticed.
        keyring.stamp = stamp(&home.path);
        keyring.known = Some(key_ids(&home.list(None)?));
        Ok(keyring)
    }

    fn unread() -> Self {
        let now = Instant::now();
        Self {
            known: None,
            senders: HashMap::new(),
            stamp: Vec::new(),
            read: now,
            looked: now,
        }
    }

    /// The verdict, where there is no need to ask `gpg`.
    fn judge(&self, signature: &Signature, message: &[u8]) -> Option<Result<String, Refusal>> {
        let config = signature.config()?;
        if let Some(known) = &self.known {
            let mut issuers = signature::issuers(config).peekable();
            if issuers.peek().is_some() && !issuers.any(|id| known.contains(&id)) {
                return Some(Err(Refusal::UnknownKey));
            }
        }
        let sender = self.senders.get(signature::plain_issuer(config)?)?;
        let alike = |kind: &SignatureConfig| signature::alike(kind, config);
        if config.created()? < sender.created || !sender.kinds.iter().any(alike) {
            return None;
        }
        if sender.verifies(signature, message) {
            return Some(Ok(sender.name.clone()));
        }
        // Where the digest is the right one, it may be that `pgp` is stricter than `gpg`: it takes
        // only half of the signatures by secp256k1, which others write as they come.
        let digest = signature::digest(config, &[message]).ok()?;
        let start = signature.signed_hash_value()?;
        (!digest.starts_with(&start)).then_some(Err(Refusal::Signature))
    }
}

/// A key or subkey that `gpg` has accepted signatures of.
struct Sender {
    /// `None` if it is of a kind that only `gpg` knows.
    key: Option<Key>,
    created: Timestamp,
    /// The fingerprint of the primary key.
    name: String,
    /// What its signatures are like.
    kinds: Vec<SignatureConfig>,
}

enum Key {
    Primary(Box<SignedPublicKey>),
    Sub(Box<SignedPublicSubKey>),
}

impl Sender {
    fn find(home: &Home, fingerprint: &Fingerprint, good: &Good) -> Self {
        if let Some(flaw) = good.flaw {
            log::warn!(
                "gpg key {} {flaw}, and gpg accepts its signatures all the same: delete it from \
                 the keyring if its messages are no longer to be believed",
                good.primary
            );
        }
        let exported = home.export(&good.fingerprint).ok();
        let key = exported
            .and_then(|bytes| SignedPublicKey::from_bytes(&*bytes).ok())
            .and_then(|mut key| {
                if key.fingerprint() == *fingerprint {
                    return Some((key.created_at(), Key::Primary(Box::new(key))));
                }
                let subkeys = &mut key.public_subkeys;
                let at = subkeys
                    .iter()
                    .position(|key| key.fingerprint() == *fingerprint)?;
                let key = subkeys.swap_remove(at);
                Some((key.created_at(), Key::Sub(Box::new(key))))
            });
        let (created, key) = key.unzip();
        Self {
            key,
            created: created.unwrap_or_default(),
            name: good.primary.clone(),
            kinds: Vec::new(),
        }
    }

    fn verifies(&self, signature: &Signature, message: &[u8]) -> bool {
        match &self.key {
            Some(Key::Primary(key)) => signature.verify(&**key, message).is_ok(),
            Some(Key::Sub(key)) => signature.verify(&**key, message).is_ok(),
            None => false,
        }
    }
}

/// The key ids of a listing with colons.
fn key_ids(listing: &str) -> HashSet<[u8; 8]> {
    let ids = listing.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let is_key = matches!(fields.next(), Some("pub" | "sub"));
        let id = fields.nth(3).filter(|_| is_key)?;
        u64::from_str_radix(id, 16).ok().map(u64::to_be_bytes)
    });
    ids.collect()
}

/// When the files were changed on which `gpg`'s verdicts depend.
fn stamp(home: &Path) -> Vec<Option<[i64; 4]>> {
    let files = [
        "pubring.kbx",
        "pubring.gpg",
        "public-keys.d/pubring.db",
        "trustdb.gpg",
        "gpg.conf",
    ];
    let stamp = |file| {
        let found = fs::metadata(home.join(file)).ok()?;
        let inode = found.ino().cast_signed();
        let size = found.size().cast_signed();
        Some([inode, size, found.mtime(), found.mtime_nsec()])
    };
    files.map(stamp).into()
}

/// How often the keyring's files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the log is told what is the same for every message.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// How long the keyring's content is believed: `gpg.conf` may name keyrings elsewhere.
const READ_EVERY: Duration = Duration::from_secs(300);

/// Of how many keys something is remembered; beyond, any one is forgotten.
const MAX_SENDERS: usize = 1024;

/// How many kinds of signature are remembered of each.
const MAX_KINDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_a_listing_are_those_of_keys_and_subkeys() {
        let listing = "tru::1:1795591348:0:3:1:5\n\
                       pub:u:255:22:E727EB1F753BB980:1795591347:::u:::scSC::::::23::0:\n\
                       fpr:::::::::173F6E5416A9828FD54C3AABE727EB1F753BB980:\n\
                       uid:u::::1795591347::BB2285213C9BE2C2::ed@x::::::::::0:\n\
                       sub:u:2048:1:0C8FAEC30E16F479:1795591348::::::s::::::23:\n\
                       pub:::::::\nsub\n\n";
        let expected = [0xe727_eb1f_753b_b980_u64, 0x0c8f_aec3_0e16_f479].map(u64::to_be_bytes);
        assert_eq!(key_ids(listing), HashSet::from(expected));
    }
}
