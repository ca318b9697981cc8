//! A daemon's sockets, and the thread that passes messages on between them.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{IpAddr, ToSocketAddrs as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fedmsg_core::serial::Counts as Line;

use super::{Counters, Error, Refusal, counters::Tally, limiter::Limiter};
use crate::transport::{
    self, Endpoint, Message, Monitor, Notice, Options, Publisher as _, Subscriber as _,
    Transport as _,
    native::{Native, NativePublisher, NativeSubscriber},
};

/// A daemon that runs. Dropping it [stops](Self::stop) it.
pub struct Running {
    kind: Kind,
    inbound: Vec<Endpoint>,
    outbound: Vec<Endpoint>,
    publisher: Arc<NativePublisher>,
    state: Arc<State>,
    thread: Option<JoinHandle<Result<u64, transport::Error>>>,
}

/// What one daemon is called: in the log, and where the peer's status names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) consumer: &'static str,
    pub(super) module: &'static str,
}

#[derive(Debug, Default)]
struct State {
    stopping: AtomicBool,
    /// Goes up as long as the thread is alive.
    turns: AtomicU64,
    tally: Tally,
    limiter: Arc<Limiter>,
}

impl Running {
    /// Where messages come from: what was bound (with its real port, where the settings say 0), or
    /// what it connects to.
    #[must_use]
    pub fn inbound(&self) -> &[Endpoint] {
        &self.inbound
    }

    /// Where subscribers connect: one endpoint, or that of each address of a host's name.
    #[must_use]
    pub fn outbound(&self) -> &[Endpoint] {
        &self.outbound
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.state.tally.counters(self.publisher.lost())
    }

    /// Waits for a subscriber, at most `timeout`; whether there is one.
    ///
    /// # Errors
    /// [`transport::Error::Closed`] if the daemon has ended.
    pub fn wait_for_subscriber(&self, timeout: Duration) -> Result<bool, transport::Error> {
        self.publisher.wait_for_subscriber(timeout)
    }

    /// Stops it from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.state))
    }

    /// Takes no more messages, hands on what has come already and waits until subscribers have it,
    /// each for at most [`Options::linger`]. What was done in all.
    ///
    /// # Errors
    /// [`Error::Transport`] if the daemon had ended by itself.
    pub fn stop(mut self) -> Result<Counters, Error> {
        let unsent = self.end()?;
        let counters = self.counters();
        if unsent > 0 {
            let name = self.kind.name;
            log::warn!("{name}: {unsent} messages did not reach a subscriber in time");
        }
        Ok(counters)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it has ended, by itself or because it was stopped.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Goes up as long as it is alive, several times a second.
    pub(super) fn turns(&self) -> u64 {
        self.state.turns.load(Relaxed)
    }

    fn end(&mut self) -> Result<u64, transport::Error> {
        self.stopper().stop();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            // It was stopped before, or has panicked.
            None => Ok(0),
            Some(Err(_)) => Err(transport::Error::Closed),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Who wants to know stops it.
        let _ = self.end();
    }
}

/// Stops a daemon from elsewhere, as [`Running::stop`].
#[derive(Clone, Debug)]
pub struct Stopper(Arc<State>);

impl Stopper {
    /// Asks it to stop; it does within a tenth of a second.
    pub fn stop(&self) {
        self.0.stopping.store(true, Relaxed);
    }
}

/// Where a daemon's messages come from.
pub(super) trait Source: Send + 'static {
    /// As [`Subscriber::recv`](transport::Subscriber::recv).
    fn recv(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, transport::Error>;

    /// What was counted on a serial line.
    fn line(&self) -> Option<Line> {
        None
    }
}

impl Source for NativeSubscriber {
    fn recv(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, transport::Error> {
        transport::Subscriber::recv(self, timeout)
    }
}

/// A daemon that is being made.
pub(super) struct Wiring<S = NativeSubscriber> {
    kind: Kind,
    subscriber: S,
    publisher: NativePublisher,
    inbound: Vec<Endpoint>,
    outbound: Vec<Endpoint>,
    limiter: Arc<Limiter>,
    linger: Duration,
}

impl Wiring {
    pub(super) fn new(kind: Kind, options: &Options) -> Result<Self, Error> {
        Self::over(kind, options, |_, options| {
            let mut subscriber = Native.subscriber(&Options {
                high_water_mark: 0,
                ..options.clone()
            })?;
            subscriber.subscribe(b"")?;
            Ok(subscriber)
        })
    }

    /// Takes publishers on all of these that are this machine's.
    pub(super) fn bind_inbound(
        &mut self,
        key: &'static str,
        endpoints: &[Endpoint],
    ) -> Result<(), Error> {
        let mut reasons = Vec::new();
        for (n, endpoint) in known(key, endpoints)?.iter().enumerate() {
            if endpoints.iter().take(n).any(|before| before == endpoint)
                && endpoint.port() != Some(0)
            {
                continue;
            }
            match bind(endpoint, |address| self.subscriber.bind(address)) {
                Ok(bound) => self.inbound.extend(bound),
                Err(reason) if is_elsewhere(&reason) => {
                    log::warn!("{}: {reason}", self.kind.name);
                    reasons.push(reason);
                }
                Err(reason) => return Err(reason.into()),
            }
        }
        match self.inbound.is_empty() {
            true => Err(Error::NoneFree { key, reasons }),
            false => Ok(()),
        }
    }

    /// Takes what is published on all of these.
    pub(super) fn connect_inbound(
        &mut self,
        key: &'static str,
        endpoints: &[Endpoint],
    ) -> Result<(), Error> {
        for endpoint in known(key, endpoints)? {
            if !self.inbound.contains(endpoint) {
                self.subscriber.connect(endpoint)?;
                self.inbound.push(endpoint.clone());
            }
        }
        Ok(())
    }
}

impl<S: Source> Wiring<S> {
    /// Takes messages from what `source` makes.
    pub(super) fn over(
        kind: Kind,
        options: &Options,
        source: impl FnOnce(&Arc<Limiter>, &Options) -> Result<S, transport::Error>,
    ) -> Result<Self, Error> {
        let limiter = Arc::<Limiter>::default();
        let options = Options {
            monitor: Some(logging(kind, &limiter, options.monitor.clone())),
            ..options.clone()
        };
        Ok(Self {
            kind,
            subscriber: source(&limiter, &options)?,
            publisher: Native.publisher(&options)?,
            inbound: Vec::new(),
            outbound: Vec::new(),
            limiter,
            linger: options.linger,
        })
    }

    /// Says where messages come from, of a source that is no socket.
    pub(super) fn name_inbound(&mut self, endpoint: Endpoint) {
        self.inbound = vec![endpoint];
    }

    /// Connects to a bound subscriber.
    pub(super) fn connect_outbound(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        self.publisher.connect(endpoint)?;
        self.outbound.push(endpoint.clone());
        Ok(())
    }

    /// Takes subscribers on the first of these that is free.
    pub(super) fn bind_outbound(
        &mut self,
        key: &'static str,
        endpoints: &[Endpoint],
    ) -> Result<(), Error> {
        let mut reasons = Vec::new();
        for endpoint in known(key, endpoints)? {
            match bind(endpoint, |address| self.publisher.bind(address)) {
                Ok(bound) => {
                    self.outbound = bound;
                    return Ok(());
                }
                Err(reason) => reasons.push(reason),
            }
        }
        Err(Error::NoneFree { key, reasons })
    }

    /// Has `pass` pass messages on from now on.
    pub(super) fn start(
        self,
        mut pass: impl FnMut(&Message<'_>, &NativePublisher) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<Running, Error> {
        let Self {
            kind,
            mut subscriber,
            publisher,
            inbound,
            outbound,
            limiter,
            linger,
        } = self;
        let state = Arc::new(State {
            limiter,
            ..State::default()
        });
        let publisher = Arc::new(publisher);
        let (its, sink) = (Arc::clone(&state), Arc::clone(&publisher));
        let run = move || {
            let mut take = |message: &Message<'_>| {
                let outcome = pass(message, &sink);
                its.tally.count(outcome.as_ref().copied());
                if let Err(refusal) = outcome
                    && !matches!(refusal, Refusal::Untrusted(_))
                {
                    log_refusal(kind, &its.limiter, message, &refusal);
                }
            };
            while !its.stopping.load(Relaxed) {
                its.turns.fetch_add(1, Relaxed);
                its.tally.set_line(subscriber.line());
                let mut timeout = TURN;
                for _ in 0..MESSAGES {
                    let Some(message) = subscriber.recv(timeout)? else {
                        break;
                    };
                    take(&message);
                    timeout = Duration::ZERO;
                }
            }
            let end = Instant::now() + linger;
            while Instant::now() < end {
                let Some(message) = subscriber.recv(Duration::ZERO)? else {
                    break;
                };
                take(&message);
            }
            its.tally.set_line(subscriber.line());
            drop(subscriber);
            let before = sink.lost();
            match sink.close() {
                Err(transport::Error::Lost { messages }) => Ok(messages - before),
                closed => closed.map(|()| 0),
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("fedmsg-{}", kind.name))
            .spawn(run)
            .map_err(|source| transport::Error::Io {
                doing: "start a thread".into(),
                source,
            })?;
        let list = |endpoints: &[Endpoint]| {
            let texts: Vec<_> = endpoints.iter().map(Endpoint::to_string).collect();
            texts.join(", ")
        };
        log::info!("{}: {} → {}", kind.name, list(&inbound), list(&outbound));
        Ok(Running {
            kind,
            inbound,
            outbound,
            publisher,
            state,
            thread: Some(thread),
        })
    }
}

fn known<'e>(key: &'static str, endpoints: &'e [Endpoint]) -> Result<&'e [Endpoint], Error> {
    match endpoints {
        [] => Err(Error::Missing { key }),
        some => Ok(some),
    }
}

/// Binds an endpoint: of a host's name, every address of it that is this machine's.
fn bind(
    endpoint: &Endpoint,
    mut bind: impl FnMut(&Endpoint) -> Result<Endpoint, transport::Error>,
) -> Result<Vec<Endpoint>, transport::Error> {
    let (host, port) = match endpoint {
        Endpoint::Tcp { host, port } if host != "*" && host.parse::<IpAddr>().is_err() => {
            (host, *port)
        }
        _ => return Ok(vec![bind(endpoint)?]),
    };
    let failed = |source| transport::Error::Io {
        doing: format!("bind {endpoint}"),
        source,
    };
    let addresses = (host.as_str(), port).to_socket_addrs().map_err(failed)?;
    // Some resolvers name an address twice.
    let addresses = BTreeSet::from_iter(addresses.map(|address| address.ip().to_string()));
    let mut bound = Vec::new();
    let mut elsewhere = Err(failed(ErrorKind::NotFound.into()));
    for address in addresses {
        match bind(&Endpoint::tcp(address, port)) {
            Ok(endpoint) => bound.push(endpoint),
            Err(reason) if is_elsewhere(&reason) => elsewhere = Err(reason),
            Err(reason) => return Err(reason),
        }
    }
    match bound.is_empty() {
        true => elsewhere,
        false => Ok(bound),
    }
}

/// Whether an endpoint is no address of this machine's.
fn is_elsewhere(error: &transport::Error) -> bool {
    match error {
        transport::Error::Io { source, .. } => !matches!(
            source.kind(),
            ErrorKind::AddrInUse | ErrorKind::PermissionDenied
        ),
        _ => false,
    }
}

/// Logs what happens to connections, and tells it to the settings' own monitor.
fn logging(kind: Kind, limiter: &Arc<Limiter>, next: Option<Monitor>) -> Monitor {
    let limiter = Arc::clone(limiter);
    Monitor(Arc::new(move |notice| {
        let name = kind.name;
        match notice {
            Notice::Connected { .. } => log::debug!("{name}: {notice}"),
            // Whoever connects may leave.
            Notice::Ended { peer, .. } if !is_endpoint(&peer.to_string()) => {
                log::debug!("{name}: {notice}");
            }
            notice => {
                if let Some(kept) = limiter.allows(&subject(notice)) {
                    log::warn!("{name}: {notice}{kept}");
                }
            }
        }
        if let Some(Monitor(next)) = &next {
            next(notice);
        }
    }))
}

/// What a notice is about: an endpoint that is connected to, or any of the peers that connect.
fn subject(notice: Notice<'_>) -> String {
    match notice {
        Notice::Dropped { .. } => "dropped".to_owned(),
        Notice::HandshakeFailed { peer, .. } | Notice::Ended { peer, .. } => {
            let peer = peer.to_string();
            if is_endpoint(&peer) {
                peer
            } else {
                "handshake".to_owned()
            }
        }
        _ => "other".to_owned(),
    }
}

/// Whether a peer's name is that of an endpoint that is connected to.
fn is_endpoint(peer: &str) -> bool {
    peer.contains("://") && !peer.starts_with("a peer of")
}

#[cold]
fn log_refusal(kind: Kind, limiter: &Limiter, message: &Message<'_>, refusal: &Refusal) {
    let Some(kept) = limiter.allows(refusal.cause()) else {
        return;
    };
    let topic = message.frames.frames().next().unwrap_or_default();
    let topic = String::from_utf8_lossy(topic.get(..MAX_SHOWN).unwrap_or(topic));
    log::warn!(
        "{}: refused a message on '{}' that came over {}: {refusal}{kept}",
        kind.name,
        topic.escape_debug(),
        message.endpoint,
    );
}

/// How long the thread waits for a message before it looks up.
const TURN: Duration = Duration::from_millis(100);
/// So many messages are passed on before it does.
const MESSAGES: usize = 1000;
/// Of a topic that is logged, in bytes.
const MAX_SHOWN: usize = 100;
