//! Where CA certificates and revocation lists come from: files, which are read again when they
//! change, and `https` URLs, which are fetched again when they are old or a message fails.
//!
//! What is fetched is kept in memory and, if there is a place for it, on disk, so that a start does
//! not wait for the network. Nothing takes over that cannot be used: until something better comes,
//! what there was goes on, within its own dates.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Error, Trust, ValidatorOptions,
    files::{self, Draft},
    watch::{Mark, Watch},
};

/// A [`Trust`] that follows its sources.
pub(super) struct Sources(Arc<Inner>);

struct Inner {
    pair: Pair,
    trust: RwLock<Arc<Trust>>,
    watch: Watch<[Option<Mark>; 2]>,
    /// Held while what the sources say now takes over.
    renewing: Mutex<()>,
    /// Whether a thread is fetching.
    fetching: AtomicBool,
    /// When something was last fetched, or tried to be.
    fetched: Mutex<Option<Instant>>,
}

impl Sources {
    pub(super) fn load(options: &ValidatorOptions) -> Result<Self, Error> {
        let pair = Pair::new(options)?;
        let marks = pair.marks();
        let (trust, fetched) = pair.begin()?;
        Ok(Self(Arc::new(Inner {
            pair,
            trust: RwLock::new(Arc::new(trust)),
            watch: Watch::new(marks),
            renewing: Mutex::default(),
            fetching: AtomicBool::new(false),
            fetched: Mutex::new(fetched.then(Instant::now)),
        })))
    }

    /// What is trusted now.
    pub(super) fn current(&self) -> Arc<Trust> {
        let inner = &self.0;
        let looked = inner.watch.look(
            || inner.pair.marks(),
            || inner.renew(&[]),
            |()| log::info!("read the CA certificates and revocation lists again"),
        );
        if looked && inner.pair.remotes().any(Remote::is_due) {
            inner.fetch_aside();
        }
        Arc::clone(&inner.trust.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches everything again because a message failed, unless that was done just now; whether
    /// anything else is trusted since.
    pub(super) fn refetch(&self) -> bool {
        let inner = &self.0;
        let last = *inner.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.pair.remotes().next().is_none() || last.is_some_and(|last| last.elapsed() < PAUSE)
        {
            return false;
        }
        inner.alone().is_some_and(|_alone| inner.fetch(|_| true))
    }
}

impl Inner {
    /// Has what the sources say now take over, with these texts of URLs in place of what is held.
    fn renew(&self, fetched: &[(&Remote, String)]) -> Result<(), Error> {
        let _renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let trust = Arc::new(self.pair.trust(fetched)?);
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust;
        Ok(())
    }

    /// Fetches what is due, in a thread of its own: no message waits for it.
    fn fetch_aside(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        let thread = thread::Builder::new().name("fedmsg-fetch".into());
        let spawned = thread.spawn(move || {
            if let Some(_alone) = inner.alone() {
                inner.fetch(Remote::is_due);
            }
        });
        if let Err(error) = spawned {
            log::warn!("cannot fetch CA certificates and revocation lists: no thread: {error}");
        }
    }

    /// Fetches some of the URLs; whether anything else is trusted since.
    fn fetch(&self, which: impl Fn(&Remote) -> bool) -> bool {
        *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let mut fetched = Vec::new();
        for remote in self.pair.remotes().filter(|remote| which(remote)) {
            // Until it has succeeded.
            remote.set_due(Some(PAUSE));
            match remote.download() {
                Ok(text) => fetched.push((remote, text)),
                Err(error) => log::warn!("{error}; going on with what was fetched before"),
            }
        }
        let changed = fetched.iter().any(|(remote, text)| *text != remote.text());
        if changed && let Err(error) = self.renew(&fetched) {
            log::warn!("{error}; going on with what was fetched before");
            return false;
        }
        for (remote, text) in fetched {
            remote.hold(text);
            remote.write_cache();
        }
        changed
    }

    /// Whether this thread may fetch; for as long as it holds what it gets.
    fn alone(&self) -> Option<Alone<'_>> {
        let was = self.fetching.swap(true, Ordering::Acquire);
        (!was).then_some(Alone(&self.fetching))
    }
}

struct Alone<'f>(&'f AtomicBool);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The two sources.
struct Pair {
    ca: Source,
    crl: Option<Source>,
}

impl Pair {
    fn new(options: &ValidatorOptions) -> Result<Self, Error> {
        let location = options.crl_location.as_deref().unwrap_or_default();
        let crl = (!location.is_empty()).then(|| {
            let cache = options.crl_cache.as_deref();
            Source::new("crl_location", location, cache, options.crl_cache_expiry)
        });
        Ok(Self {
            ca: Source::new(
                "ca_cert_location",
                &options.ca_cert_location,
                options.ca_cert_cache.as_deref(),
                options.ca_cert_cache_expiry,
            )?,
            crl: crl.transpose()?,
        })
    }

    fn remotes(&self) -> impl Iterator<Item = &Remote> {
        let sources = std::iter::once(&self.ca).chain(&self.crl);
        sources.filter_map(|source| match source {
            Source::Url(remote) => Some(remote),
            Source::File(_) => None,
        })
    }

    fn marks(&self) -> [Option<Mark>; 2] {
        let mark = |source: &Source| match source {
            Source::File(path) => Mark::of(path),
            Source::Url(_) => None,
        };
        [mark(&self.ca), self.crl.as_ref().and_then(mark)]
    }

    /// The first time: of URLs what is kept on disk, if that is not too old, else what the network
    /// gives. Whether it gave anything.
    fn begin(&self) -> Result<(Trust, bool), Error> {
        let (mut kept, mut fetched) = (false, false);
        for remote in self.remotes() {
            if remote.read_cache(false) || !remote.fetch()? {
                kept = true;
            } else {
                fetched = true;
            }
        }
        let trust = match self.trust(&[]) {
            // What was kept may be broken, or no longer belong together.
            Err(_) if kept => {
                for remote in self.remotes() {
                    fetched |= remote.fetch()?;
                }
                self.trust(&[])
            }
            trust => trust,
        }?;
        if fetched {
            self.remotes().for_each(Remote::write_cache);
        }
        Ok((trust, fetched))
    }

    /// What the sources say, with these texts of URLs in place of what is held.
    fn trust(&self, fetched: &[(&Remote, String)]) -> Result<Trust, Error> {
        let read = |source: &Source| -> Result<(PathBuf, String), Error> {
            Ok(match source {
                Source::File(path) => (path.clone(), files::read(path)?),
                Source::Url(remote) => {
                    let new = fetched.iter().find(|(of, _)| std::ptr::eq(*of, remote));
                    let text = new.map_or_else(|| remote.text(), |(_, text)| text.clone());
                    (PathBuf::from(remote.shown()), text)
                }
            })
        };
        let ca = read(&self.ca)?;
        let crl = self.crl.as_ref().map(read).transpose()?;
        let crl = crl.as_ref().map(|(path, text)| (&**path, &**text));
        Trust::from_texts((&ca.0, &ca.1), crl)
    }
}

enum Source {
    File(PathBuf),
    Url(Remote),
}

impl Source {
    /// `key` is that of the configuration.
    fn new(
        key: &'static str,
        location: &str,
        cache: Option<&Path>,
        expiry: u64,
    ) -> Result<Self, Error> {
        if location.starts_with("https://") {
            Ok(Self::Url(Remote {
                url: location.to_owned(),
                cache: cache.map(Path::to_owned),
                expiry: (expiry > 0).then(|| Duration::from_secs(expiry)),
                held: Mutex::default(),
            }))
        } else if location.contains("://") {
            Err(Error::Url {
                key,
                url: without_password(location),
            })
        } else {
            Ok(Self::File(location.into()))
        }
    }
}

/// A URL, and what it gave.
struct Remote {
    url: String,
    cache: Option<PathBuf>,
    /// `None`: it is fetched again only when a message fails.
    expiry: Option<Duration>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    text: String,
    due: Option<Instant>,
}

impl Remote {
    /// The URL for people.
    fn shown(&self) -> String {
        without_password(&self.url)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        self.held().text.clone()
    }

    fn hold(&self, text: String) {
        self.held().text = text;
        self.set_due(self.expiry);
    }

    fn is_due(&self) -> bool {
        self.held().due.is_some_and(|due| due <= Instant::now())
    }

    fn set_due(&self, after: Option<Duration>) {
        self.held().due = after.and_then(|after| Instant::now().checked_add(after));
    }

    /// Takes what the network gives, or, where that fails, what is kept on disk, however old it is.
    /// Whether the network gave it.
    fn fetch(&self) -> Result<bool, Error> {
        match self.download() {
            Ok(text) => {
                self.hold(text);
                Ok(true)
            }
            Err(error) if self.read_cache(true) => {
                log::warn!("{error}; going on with the copy that is kept");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes what is kept on disk, unless it is too old and that matters; whether there was any.
    fn read_cache(&self, however_old: bool) -> bool {
        let Some(path) = &self.cache else {
            return false;
        };
        let kept = fs::metadata(path).and_then(|data| data.modified());
        let Ok(kept) = kept else {
            return false;
        };
        // One from the future is as old as can be.
        let age = SystemTime::now()
            .duration_since(kept)
            .unwrap_or(Duration::MAX);
        let left = self.expiry.map(|expiry| expiry.saturating_sub(age));
        if !however_old && left.is_some_and(|left| left.is_zero()) {
            return false;
        }
        match files::read(path) {
            Ok(text) => {
                self.hold(text);
                self.set_due(left.map(|left| left.max(PAUSE)));
                true
            }
            Err(error) => {
                log::warn!("{error}");
                false
            }
        }
    }

    /// Keeps what is held on disk.
    fn write_cache(&self) {
        let Some(path) = &self.cache else {
            return;
        };
        let write = || {
            let mut draft = Draft::replace(path.clone(), PUBLIC)?;
            draft.write(self.text())?;
            draft.publish()
        };
        if let Err(error) = write() {
            log::warn!("{error}");
        }
    }

    #[cfg(feature = "https")]
    fn download(&self) -> Result<String, Error> {
        use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(provider))
            .build();
        let agent = ureq::Agent::config_builder()
            .https_only(true)
            .timeout_global(Some(TIMEOUT))
            .tls_config(tls)
            .build()
            .new_agent();
        log::debug!("fetching {}", self.shown());
        let fetched = agent.get(&self.url).call().and_then(|mut response| {
            let body = response.body_mut().with_config().limit(files::MAX_FILE);
            body.read_to_vec()
        });
        match fetched {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(Error::Fetch {
                url: self.shown(),
                reason: error.to_string().replace(&self.url, &self.shown()),
            }),
        }
    }

    #[cfg(not(feature = "https"))]
    fn download(&self) -> Result<String, Error> {
        Err(Error::NotBuiltIn {
            feature: "https",
            what: self.shown(),
        })
    }
}

/// A URL as it may be shown: what stands before the host may be a password.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((secret, _)) => format!(
            "{scheme}://{}",
            rest.get(secret.len() + 1..).unwrap_or_default()
        ),
        None => url.to_owned(),
    }
}

/// How long a download may take, all in all.
#[cfg(feature = "https")]
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long after an attempt to fetch a message that fails, or a failed attempt, leads to no other.
const PAUSE: Duration = Duration::from_secs(30);
const PUBLIC: u32 = 0o644;
