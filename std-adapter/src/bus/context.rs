//! The context: publishes, and makes tails.

use std::{
    cell::Cell,
    net::IpAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fedmsg_core::{
    crypto::Signer,
    message::{self, Encoded, Envelope, MessageId, Payload, Topic},
};
use rand::TryRng as _;

use super::{Error, RELAY_INBOUND, Settings, Tail, TailOptions, Validate, now};
use crate::transport::{self, Endpoint, Publisher, Transport, native::Native};

/// The longest topic that is published, in bytes.
pub const MAX_TOPIC: usize = 255;

/// One program's place on the bus. Many threads may use it at once; what one thread publishes goes
/// out in its order.
///
/// It binds or connects nothing before it has to: at the first message, or when it is made if the
/// settings say what as ([`name`](Settings::name), [`active`](Settings::active)). Dropping it
/// [closes](Self::close) it.
///
/// ```
/// use fedmsg::bus::{Context, Settings};
/// use std::time::Duration;
///
/// let settings = Settings {
///     name: Some("git.app01".into()),
///     post_init_sleep: Duration::ZERO,
///     ..Settings::default()
/// }
/// .with_endpoints("git.app01", ["tcp://127.0.0.1:0"])?;
/// let context = Context::new(settings)?;
/// context.publish("git", "receive", &["a", "b"])?;
/// context.close()?;
/// assert!(context.publish("git", "receive", &["c"]).is_err());
/// # Ok::<(), fedmsg::bus::Error>(())
/// ```
pub struct Context<T: Transport = Native> {
    transport: T,
    settings: Settings,
    username: Option<String>,
    /// The configured one, found when the publisher is opened.
    signer: OnceLock<Arc<dyn Signer + Send + Sync>>,
    /// The configured one, found with the first tail.
    validator: OnceLock<Arc<dyn Validate>>,
    /// How many messages have been numbered.
    numbered: AtomicU64,
    state: RwLock<State<T::Publisher>>,
    /// Whether `state` is past [`State::Idle`].
    is_open: AtomicBool,
    /// Held by whoever opens.
    opening: Mutex<()>,
}

enum State<P> {
    /// Nothing was published yet.
    Idle,
    Open {
        publisher: P,
        /// What was bound or connected to.
        endpoint: Endpoint,
    },
    Muted,
    Closed,
}

impl Context {
    /// A context over the native transport.
    ///
    /// # Errors
    /// Where the settings say what to publish as: [`Error::NoEndpoint`], [`Error::NoneFree`],
    /// [`Error::Transport`]; and what a configuration's signer needs and has not:
    /// [`Error::NoCertname`], [`Error::NoGpgKey`], [`Error::Config`], [`Error::Crypto`].
    pub fn new(settings: Settings) -> Result<Self, Error> {
        Self::over(Native, settings)
    }
}

impl<T: Transport> Context<T> {
    /// A context over this transport.
    ///
    /// # Errors
    /// As [`new`](Context::new).
    pub fn over(transport: T, settings: Settings) -> Result<Self, Error> {
        let context = Self {
            transport,
            username: settings.username.clone().or_else(account),
            settings,
            signer: OnceLock::new(),
            validator: OnceLock::new(),
            numbered: AtomicU64::new(0),
            state: RwLock::new(State::Idle),
            is_open: AtomicBool::new(false),
            opening: Mutex::new(()),
        };
        if context.settings.active || context.settings.name.is_some() {
            context.open("")?;
        }
        Ok(context)
    }

    /// What the context was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Publishes `msg` under `<topic_prefix>.<environment>.<modname>.<topic>`, or under
    /// `<modname>.<topic>` where that begins with the prefix already. The macro
    /// [`publish!`](crate::publish!) knows its crate's modname.
    ///
    /// The first call opens the context and may wait for
    /// [`post_init_sleep`](Settings::post_init_sleep); the others wait for nobody, unless the
    /// settings' [`when_full`](transport::Options::when_full) says so. The number `i` of a message
    /// that is refused is not used again.
    ///
    /// # Errors
    /// From opening those of [`new`](Context::new); [`Error::TopicTooLong`];
    /// [`Error::Message`] for an empty modname or topic, and for a value that cannot be written as
    /// JSON or signed; [`Error::Send`] for a message that is too large; [`Error::Closed`];
    /// [`Error::Clock`]; [`Error::Entropy`].
    pub fn publish<M: Payload + ?Sized>(
        &self,
        modname: &str,
        topic: &str,
        msg: &M,
    ) -> Result<MessageId, Error> {
        self.publish_with(modname, topic, msg, |_| {})
    }

    /// The same; `pre_fire_hook` sees the finished message just before it goes out.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_with<M: Payload + ?Sized>(
        &self,
        modname: &str,
        topic: &str,
        msg: &M,
        pre_fire_hook: impl FnOnce(&Encoded<'_>),
    ) -> Result<MessageId, Error> {
        self.open(modname)?;
        self.encode(modname, topic, msg, |message| {
            pre_fire_hook(message);
            self.send(message.topic(), &message.body())
        })
    }

    /// Makes the message and has `take` take it.
    pub(super) fn encode<M: Payload + ?Sized>(
        &self,
        modname: &str,
        topic: &str,
        msg: &M,
        take: impl FnOnce(&Encoded<'_>) -> Result<(), Error>,
    ) -> Result<MessageId, Error> {
        let parts = Topic {
            prefix: &self.settings.topic_prefix,
            environment: &self.settings.environment,
            modname,
            topic,
        };
        let mut room = [0; MAX_TOPIC];
        let topic = parts.write(&mut room).map_err(|error| match error {
            message::Error::BufferTooSmall { .. } => Error::TopicTooLong {
                topic: whole(&parts),
            },
            source => Error::Message {
                topic: whole(&parts),
                source,
            },
        })?;
        let mut entropy = [0; 16];
        let random = rand::rng().try_fill_bytes(&mut entropy);
        random.map_err(|_| Error::Entropy)?;
        let timestamp = now().map_err(Error::Clock)?;
        let envelope = Envelope {
            topic,
            i: self.numbered.fetch_add(1, Ordering::Relaxed) + 1,
            timestamp,
            msg_id: MessageId::new(timestamp, entropy),
            username: self.username.as_deref(),
            seq_id: None,
        };
        let signer = self.settings.signer.as_ref().or(self.signer.get());
        let signer = signer.map(|signer| &**signer);
        let signer: Option<&dyn Signer> = signer.map(|signer| signer.current().unwrap_or(signer));
        let limit = self.settings.transport.max_message;
        // Taken out for as long as it is used: a message may publish another while it is written.
        let mut buffer = BUFFER.take();
        if buffer.is_empty() {
            buffer = vec![0; FIRST_BUFFER];
        }
        let taken = loop {
            let len = buffer.len();
            let encoded = match signer {
                Some(signer) => envelope.encode_signed(msg, signer, &mut buffer),
                None => envelope.encode(msg, &mut buffer),
            };
            let refused = match encoded {
                Ok(encoded) => break take(&encoded),
                // While it is written a message may take twice its room (and its members' index).
                Err(message::Error::BufferTooSmall { needed }) if len < limit.saturating_mul(2) => {
                    buffer = vec![0; len.saturating_mul(2).max(needed)];
                    continue;
                }
                Err(message::Error::BufferTooSmall { needed: size }) => Error::Send {
                    topic: topic.to_owned(),
                    source: transport::Error::TooLarge { size, limit },
                },
                Err(source) => Error::Message {
                    topic: topic.to_owned(),
                    source,
                },
            };
            break Err(refused);
        };
        if buffer.len() <= MAX_KEPT {
            BUFFER.set(buffer);
        }
        taken.map(|()| envelope.msg_id)
    }

    pub(super) fn send(&self, topic: &str, body: &[&[u8]]) -> Result<(), Error> {
        match &*self.state() {
            State::Open { publisher, .. } => {
                publisher
                    .send(topic.as_bytes(), body)
                    .map_err(|error| match error {
                        transport::Error::Closed => Error::Closed,
                        source => Error::Send {
                            topic: topic.to_owned(),
                            source,
                        },
                    })
            }
            State::Muted => Ok(()),
            State::Idle | State::Closed => Err(Error::Closed),
        }
    }

    /// The endpoint that was bound (with its real port, where the settings say port 0) or connected
    /// to; `None` as long as nothing was.
    pub fn endpoint(&self) -> Option<Endpoint> {
        match &*self.state() {
            State::Open { endpoint, .. } => Some(endpoint.clone()),
            _ => None,
        }
    }

    /// Waits for a subscriber, to whatever topic, at most `timeout`; whether there is one. Of a
    /// context that is not open yet, or mute, there is none.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn wait_for_subscriber(&self, timeout: Duration) -> Result<bool, Error> {
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            match &*self.state() {
                // In turns, for closing has to wait as long.
                State::Open { publisher, .. } => {
                    if publisher.wait_for_subscriber(left.min(TURN))? {
                        return Ok(true);
                    }
                }
                State::Idle | State::Muted => return Ok(false),
                State::Closed => return Err(Error::Closed),
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// The messages that others publish on the topics that `options` name; a text is one topic.
    ///
    /// ```no_run
    /// # use fedmsg::bus::{Context, Settings};
    /// # let context = Context::new(Settings::default())?;
    /// for message in context.tail("org.example.prod.git.")? {
    ///     println!("{}", message?.topic);
    /// }
    /// # Ok::<(), fedmsg::bus::Error>(())
    /// ```
    ///
    /// The tail is independent of the context from then on: closing the context does not end it.
    ///
    /// # Errors
    /// [`Error::Pattern`]; [`Error::NoSource`] when the settings have no endpoint to tail;
    /// [`Error::Config`] or [`Error::Crypto`] where the configuration is to say who validates;
    /// [`Error::Transport`] for an endpoint that can never work, or cannot be bound. One that cannot
    /// be reached, or whose host does not resolve, is reported to the
    /// [monitor](transport::Options::monitor) and tried again.
    pub fn tail(&self, options: impl Into<TailOptions>) -> Result<Tail<T::Subscriber>, Error> {
        let validator = match self.settings.validator.as_ref().or(self.validator.get()) {
            Some(validator) => Some(validator),
            None => self
                .settings
                .configured_validator()?
                .map(|validator| self.validator.get_or_init(|| validator)),
        };
        Tail::new(
            &self.transport,
            &self.settings,
            validator.cloned(),
            &options.into(),
        )
    }

    /// Ends publishing: everything that was accepted is sent, for which there is
    /// [`linger`](transport::Options::linger). From then on publishing is an error; closing again
    /// is none. A thread that waits for a subscriber (under
    /// [`WhenFull::Block`](transport::WhenFull::Block)) is woken, and its message refused.
    ///
    /// # Errors
    /// [`Error::Transport`] with [`Lost`](transport::Error::Lost), which counts what will not
    /// arrive.
    pub fn close(&self) -> Result<(), Error> {
        // First this: whoever publishes holds the state, too.
        let closed = match &*self.state() {
            State::Open { publisher, .. } => publisher.close(),
            _ => Ok(()),
        };
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Closed;
        Ok(closed?)
    }

    fn state(&self) -> RwLockReadGuard<'_, State<T::Publisher>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether [`open`](Self::open) has nothing to do.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Binds or connects the publisher and waits for a subscriber, unless that was done before.
    pub(super) fn open(&self, modname: &str) -> Result<(), Error> {
        if self.is_open() {
            return Ok(());
        }
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_open() {
            return Ok(());
        }
        if let State::Closed = *self.state() {
            return Err(Error::Closed);
        }
        let opened = if self.settings.mute {
            State::Muted
        } else {
            let (publisher, endpoint) = self.make_publisher(modname)?;
            publisher.wait_for_subscriber(self.settings.post_init_sleep)?;
            State::Open {
                publisher,
                endpoint,
            }
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Closed = *state {
            return Err(Error::Closed);
        }
        *state = opened;
        self.is_open.store(true, Ordering::Release);
        Ok(())
    }

    fn make_publisher(&self, modname: &str) -> Result<(T::Publisher, Endpoint), Error> {
        let settings = &self.settings;
        let (entry, endpoints) = if settings.active {
            (RELAY_INBOUND.to_owned(), Some(&settings.relay_inbound))
        } else {
            let name = settings.name.clone();
            let name = name.unwrap_or_else(|| format!("{modname}.{}", short_host_name()));
            let endpoints = settings.endpoints.get(&name);
            (name, endpoints)
        };
        let endpoints = endpoints.map(Vec::as_slice).unwrap_or_default();
        if endpoints.is_empty() {
            return Err(Error::NoEndpoint { entry });
        }
        if settings.signer.is_none()
            && let Some(signer) = settings.configured_signer(&entry)?
        {
            // One thread at a time opens.
            let _ = self.signer.set(signer);
        }
        let publisher = self.transport.publisher(&settings.transport)?;
        let mut reasons = Vec::new();
        for endpoint in endpoints {
            let made = if settings.active {
                publisher.connect(endpoint).map(|()| endpoint.clone())
            } else {
                bind(&publisher, endpoint)
            };
            match made {
                Ok(endpoint) => return Ok((publisher, endpoint)),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(Error::NoneFree { entry, reasons })
    }
}

impl<T: Transport> Drop for Context<T> {
    fn drop(&mut self) {
        // Who wants to know closes it.
        let _ = self.close();
    }
}

/// Binds an entry's endpoint: an address as it is, for who names this machine's own means that one;
/// of a host's name, which others know this machine by, the port on every address.
fn bind<P: Publisher>(publisher: &P, endpoint: &Endpoint) -> Result<Endpoint, transport::Error> {
    let Endpoint::Tcp { host, port } = endpoint else {
        return publisher.bind(endpoint);
    };
    let host = match host.as_str() {
        "localhost" => "127.0.0.1",
        host if host.parse::<IpAddr>().is_ok() => host,
        _ => "*",
    };
    publisher.bind(&Endpoint::tcp(host, *port))
}

/// A topic that was refused, for the error.
fn whole(parts: &Topic<'_>) -> String {
    let mut room = vec![0; whole_len(parts)];
    match parts.write(&mut room) {
        Ok(topic) => topic.to_owned(),
        Err(_) => format!("{}.{}", parts.modname, parts.topic),
    }
}

fn whole_len(parts: &Topic<'_>) -> usize {
    [parts.prefix, parts.environment, parts.modname, parts.topic]
        .iter()
        .map(|part| part.len() + 1)
        .sum()
}

/// This machine's name, without its domain.
pub(super) fn short_host_name() -> String {
    let name = gethostname::gethostname();
    let name = name.to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// The name of the account that this process runs under, found as Python's `getpass` does.
fn account() -> Option<String> {
    ["LOGNAME", "USER", "LNAME", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .or_else(account_on_file)
}

#[cfg(target_os = "linux")]
fn account_on_file() -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let id = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

#[cfg(not(target_os = "linux"))]
fn account_on_file() -> Option<String> {
    None
}

/// How long a thread that waits for a subscriber may hold up one that closes.
const TURN: Duration = Duration::from_millis(50);
/// Room for a message to begin with, in bytes; it grows with the messages.
const FIRST_BUFFER: usize = 16 << 10;
/// More than this is not kept for the thread's next message.
const MAX_KEPT: usize = 1 << 20;

thread_local! {
    /// Where this thread's messages are written.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
