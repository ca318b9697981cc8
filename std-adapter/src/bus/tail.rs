//! The messages of others.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Error, Malformed, Message, RELAY_INBOUND, Refused, Settings, Source, Validate, Verdict, now,
    pattern::Pattern,
};
use crate::{
    crypto::Scratch,
    transport::{self, Endpoint, Monitor, Notice, Subscriber, Transport, native::Native},
};

/// What to tail, and how. A text is one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TailOptions {
    /// The topics: all that begin with one of these; none or an empty one is everything. In a topic
    /// with a `*` it stands for any text, and the whole topic must match; under
    /// [`zmq_strict`](Settings::zmq_strict) it is an error.
    pub topics: Vec<String>,
    /// Bind the endpoints, for publishers that connect, in place of connecting to them.
    pub passive: bool,
    /// Fail when nobody was reached (on none of the endpoints) within this time.
    pub reach_within: Option<Duration>,
}

impl From<&str> for TailOptions {
    fn from(topic: &str) -> Self {
        Self {
            topics: vec![topic.to_owned()],
            ..Self::default()
        }
    }
}

/// The messages of others, as they come: an iterator that ends only by its [`Ending`] or after an
/// error.
///
/// No message ends it, whatever it is. [`Settings::refused`] says what happens to one that is no
/// fedmsg message or not valid. Without a validator the body is looked at only when it is
/// [parsed](Message::parse).
pub struct Tail<S: Subscriber = <Native as Transport>::Subscriber> {
    subscriber: S,
    judge: Judge,
    refused: Refused,
    skipped: u64,
    /// As long as nobody was reached and that matters.
    reach: Option<Reach>,
    ending: Option<Arc<AtomicBool>>,
    /// After an error.
    failed: bool,
}

impl<S: Subscriber> Tail<S> {
    pub(super) fn new<T: Transport<Subscriber = S>>(
        transport: &T,
        settings: &Settings,
        validator: Option<Arc<dyn Validate>>,
        options: &TailOptions,
    ) -> Result<Self, Error> {
        let with_star = |topic: &&String| topic.contains('*');
        if settings.zmq_strict
            && let Some(topic) = options.topics.iter().find(with_star)
        {
            return Err(Error::Pattern {
                topic: topic.clone(),
            });
        }
        let mut sockets = settings.transport.clone();
        let reach = options.reach_within.map(|within| {
            let reach = Reach::new(within);
            sockets.monitor = Some(reach.monitor(sockets.monitor.take()));
            reach
        });
        let mut subscriber = transport.subscriber(&sockets)?;
        let patterns: Vec<_> = options.topics.iter().map(|t| Pattern::new(t)).collect();
        if patterns.is_empty() {
            subscriber.subscribe(b"")?;
        }
        for pattern in &patterns {
            subscriber.subscribe(pattern.prefix().as_bytes())?;
        }
        let mut sources = BTreeMap::new();
        let entries = settings.endpoints.iter();
        for (name, endpoints) in entries.filter(|(name, _)| *name != RELAY_INBOUND) {
            for endpoint in endpoints {
                let endpoint = if options.passive {
                    subscriber.bind(endpoint)?
                } else {
                    let endpoint = connectable(endpoint);
                    if sources.contains_key(&endpoint) {
                        continue;
                    }
                    subscriber.connect(&endpoint)?;
                    endpoint
                };
                let source = Source {
                    name: name.clone(),
                    endpoint: endpoint.clone(),
                };
                sources.insert(endpoint, Arc::new(source));
            }
        }
        if sources.is_empty() {
            return Err(Error::NoSource);
        }
        Ok(Self {
            subscriber,
            judge: Judge {
                sources,
                last: None,
                filters: patterns.iter().any(Pattern::filters),
                patterns,
                validator,
                scratch: Scratch::default(),
            },
            refused: settings.refused,
            skipped: 0,
            reach,
            ending: None,
            failed: false,
        })
    }

    /// Where messages come from: every endpoint that is connected to, or bound (with its real port
    /// then).
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.judge.sources.values().map(|source| &**source)
    }

    /// How many messages were skipped because they are no fedmsg messages, or not valid. One whose
    /// topic was not asked for does not count.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Ends the tail from elsewhere.
    pub fn ending(&mut self) -> Ending {
        Ending(Arc::clone(self.ending.get_or_insert_default()))
    }

    /// The next message; `None` when none came within `timeout` (`None` waits for ever), or the
    /// tail was ended.
    ///
    /// # Errors
    /// As [`recv_with`](Self::recv_with).
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method is for one lifetime only"
    )]
    pub fn recv(&mut self, timeout: Option<Duration>) -> Result<Option<Message<'static>>, Error> {
        self.recv_with(timeout, |message| message.into_owned())
    }

    /// Has `take` take the next message where it lies: nothing is copied. `None` as in
    /// [`recv`](Self::recv).
    ///
    /// ```no_run
    /// # use fedmsg::bus::{Context, Settings};
    /// # use std::time::Duration;
    /// # let mut tail = Context::new(Settings::default())?.tail("")?;
    /// let timeout = Some(Duration::from_secs(1));
    /// let size = tail.recv_with(timeout, |message| message.body.len())?;
    /// # Ok::<(), fedmsg::bus::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unreachable`], once, if that was asked for; [`Error::Clock`] with a validator;
    /// [`Error::Closed`] if the socket's thread ended.
    pub fn recv_with<R>(
        &mut self,
        timeout: Option<Duration>,
        take: impl FnOnce(Message<'_>) -> R,
    ) -> Result<Option<R>, Error> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut left = timeout.unwrap_or(FOREVER);
        loop {
            if self.is_ended() {
                return Ok(None);
            }
            let watched = self.reach.is_some() || self.ending.is_some();
            let turn = if watched { left.min(TURN) } else { left };
            match self.subscriber.recv(turn)? {
                Some(message) => {
                    self.reach = None;
                    match self.judge.judge(message)? {
                        Some(message) if self.refused == Refused::Skip && message.is_refused() => {
                            self.skipped += 1;
                        }
                        Some(message) => return Ok(Some(take(message))),
                        None => {}
                    }
                }
                None => self.check_reach()?,
            }
            if let Some(deadline) = deadline {
                left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(None);
                }
            }
        }
    }

    fn is_ended(&self) -> bool {
        self.ending
            .as_ref()
            .is_some_and(|ending| ending.load(Ordering::Acquire))
    }

    fn check_reach(&mut self) -> Result<(), Error> {
        let Some(reach) = &self.reach else {
            return Ok(());
        };
        let checked = reach.check();
        if !matches!(checked, Ok(false)) {
            self.reach = None;
        }
        checked.map(|_| ())
    }
}

impl<S: Subscriber> Iterator for Tail<S> {
    type Item = Result<Message<'static>, Error>;

    /// Waits for the next message. `None` once the tail was ended, or has failed.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.recv(None).transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// Ends a [`Tail`] from elsewhere, within a tenth of a second.
#[derive(Clone, Debug)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    /// Ends the tail, or the stream made of it.
    pub fn end(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Makes messages of what the socket gives.
struct Judge {
    sources: BTreeMap<Endpoint, Arc<Source>>,
    /// The last message's; the next is likely to come from there too.
    last: Option<Arc<Source>>,
    patterns: Vec<Pattern>,
    /// Whether the subscriptions let through what no pattern matches.
    filters: bool,
    validator: Option<Arc<dyn Validate>>,
    scratch: Scratch,
}

impl Judge {
    /// `None` if nobody asked for the message.
    fn judge<'m>(
        &'m mut self,
        message: transport::Message<'m>,
    ) -> Result<Option<Message<'m>>, Error> {
        let malformed = |source, topic, body, what| Message {
            source,
            topic,
            body: Cow::Borrowed(body),
            verdict: Verdict::Malformed(what),
        };
        let source = self.source(message.endpoint);
        let Some((topic, body)) = message.topic_and_body() else {
            let count = message.frames.frame_count();
            let topic = message.frames.frames().next().unwrap_or_default();
            let topic = String::from_utf8_lossy(topic);
            let what = Malformed::Frames { count };
            return Ok(Some(malformed(source, topic, b"", what)));
        };
        let Ok(topic) = str::from_utf8(topic) else {
            let topic = String::from_utf8_lossy(topic);
            return Ok(Some(malformed(source, topic, body, Malformed::Topic)));
        };
        if self.filters && !self.patterns.iter().any(|pattern| pattern.matches(topic)) {
            return Ok(None);
        }
        let (body, verdict) = match &self.validator {
            None => (body, Verdict::Unchecked),
            Some(validator) => {
                let at = now().map_err(Error::Clock)?;
                match validator.validate(topic, body, at, &mut self.scratch) {
                    Ok(valid) => {
                        let signer = valid.signer.to_owned();
                        (valid.message, Verdict::Valid { signer })
                    }
                    Err(invalid) => (body, Verdict::Invalid(invalid)),
                }
            }
        };
        Ok(Some(Message {
            source,
            topic: Cow::Borrowed(topic),
            body: Cow::Borrowed(body),
            verdict,
        }))
    }

    fn source(&mut self, endpoint: &Endpoint) -> Arc<Source> {
        if let Some(last) = &self.last
            && last.endpoint == *endpoint
        {
            return Arc::clone(last);
        }
        let source = self.sources.get(endpoint).cloned().unwrap_or_else(|| {
            Arc::new(Source {
                name: String::new(),
                endpoint: endpoint.clone(),
            })
        });
        self.last = Some(Arc::clone(&source));
        source
    }
}

/// Whether anybody was reached in time.
struct Reach {
    within: Duration,
    start: Instant,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    reached: AtomicBool,
    /// What was reported last, before anybody was reached.
    reason: Mutex<Option<String>>,
}

impl Reach {
    fn new(within: Duration) -> Self {
        Self {
            within,
            start: Instant::now(),
            told: Arc::default(),
        }
    }

    /// Listens to the socket, and passes on to the user's monitor what it hears.
    fn monitor(&self, next: Option<Monitor>) -> Monitor {
        let told = Arc::clone(&self.told);
        Monitor(Arc::new(move |notice| {
            match notice {
                Notice::Connected { .. } => told.reached.store(true, Ordering::Release),
                notice if !told.reached.load(Ordering::Relaxed) => {
                    let mut reason = told.reason.lock().unwrap_or_else(PoisonError::into_inner);
                    *reason = Some(notice.to_string());
                }
                _ => {}
            }
            if let Some(Monitor(next)) = &next {
                next(notice);
            }
        }))
    }

    /// Whether anybody was reached; an error when it is too late.
    fn check(&self) -> Result<bool, Error> {
        if self.told.reached.load(Ordering::Acquire) {
            return Ok(true);
        }
        if self.start.elapsed() < self.within {
            return Ok(false);
        }
        let mut reason = self
            .told
            .reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Err(Error::Unreachable {
            within: self.within,
            reason: reason.take(),
        })
    }
}

/// Where to connect for an endpoint: nobody can be reached at `*`, which is how a publisher's own
/// machine may write it. (The peer's hub does the same.)
pub(crate) fn connectable(endpoint: &Endpoint) -> Endpoint {
    match endpoint {
        Endpoint::Tcp { host, port } if host == "*" => Endpoint::tcp("127.0.0.1", *port),
        endpoint => endpoint.clone(),
    }
}

/// How long a watched tail waits before it looks up.
const TURN: Duration = Duration::from_millis(100);
/// How long one that nobody watches does.
const FOREVER: Duration = Duration::from_secs(3600);
