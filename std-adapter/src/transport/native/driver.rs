//! A socket's I/O: listeners, connections and attempts to connect, in one loop. What PUB, SUB, REQ
//! and REP do differently is behind [`Role`].

use super::{
    super::{Endpoint, Error, Monitor, Notice, Options},
    dial::Dial,
    link::{Ended, Link, READ, limits},
    stream::{Listener, Stream},
};
use fedmsg_core::zmtp::{Event, Peer, SocketType};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use std::{
    io::{self, ErrorKind},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

/// A socket's connections.
pub(super) type Links<C> = Slab<Link<C>>;

/// What one kind of socket does with its connections.
pub(super) trait Role: Send + 'static {
    /// What it keeps of each.
    type Conn: Default + Send;

    /// Its kind.
    const SOCKET_TYPE: SocketType;

    /// How long its user may be away before its thread sees to the connections.
    const AWAY: Duration = Duration::from_millis(20);

    /// A connection is there; nothing is known of its peer.
    fn accepted(&mut self, link: &mut Link<Self::Conn>) {
        let _ = link;
    }

    /// The peer is there. What has to be said first goes into the link's `control`.
    fn ready(&mut self, link: &mut Link<Self::Conn>) {
        let _ = link;
    }

    /// The peer said something. Of a message: whether its bytes go to [`batch`](Self::batch).
    ///
    /// # Errors
    /// Ends the connection.
    fn event(&mut self, conn: &mut Self::Conn, event: Event<'_>) -> Result<bool, Ended>;

    /// Some messages, and where they lie in `buffer`, which may be kept if another one is put in
    /// its place.
    fn batch(
        &mut self,
        buffer: &mut Vec<u8>,
        messages: &mut Vec<Range<usize>>,
        endpoint: &Arc<Endpoint>,
    ) {
        let _ = (buffer, endpoint);
        messages.clear();
    }

    /// Whether there is room for what peers send.
    fn wants_input(&self) -> bool {
        true
    }

    /// Whether there is something to write that nobody will announce. If not, whoever makes
    /// something has to wake the loop from now on.
    fn is_busy(&mut self, links: &Links<Self::Conn>) -> bool {
        let _ = links;
        false
    }

    /// Writes what there is, as far as the links take it; those that are to end go into `ended`.
    fn write(
        &mut self,
        links: &mut Links<Self::Conn>,
        ended: &mut Vec<(usize, Ended)>,
        options: &Options,
    ) {
        let _ = options;
        for (id, link) in links {
            if link.writable
                && !link.is_quiet()
                && let Err(reason) = link.write_control()
            {
                ended.push((id, reason));
            }
        }
    }

    /// Whether a message is half sent.
    fn is_inside(&self, conn: &Self::Conn) -> bool {
        let _ = conn;
        false
    }

    /// This connection is gone.
    fn gone(&mut self, link: &mut Link<Self::Conn>, options: &Options) {
        let _ = (link, options);
    }

    /// Whether everything has been sent.
    fn is_flushed(&mut self, links: &Links<Self::Conn>) -> bool {
        links.iter().all(|(_, link)| link.is_quiet())
    }
}

const WAKER: Token = Token(0);
/// Listeners' tokens count down from here, connections' up from 1.
const LISTENERS: usize = usize::MAX >> 1;
/// How long to wait before accepting again what could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How many connections are accepted before the others' turn.
const ACCEPTS: usize = 256;

/// One socket's I/O.
pub(super) struct Driver<R: Role> {
    pub(super) role: R,
    pub(super) links: Links<R::Conn>,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    options: Options,
    start: Instant,
    /// No link has a deadline before this, in milliseconds since `start`.
    timer: u64,
    listeners: Vec<Listener>,
    dials: Vec<Dial>,
    /// Connections may be waiting that could not be accepted.
    accept_again: Option<Instant>,
    buffer: Vec<u8>,
    messages: Vec<Range<usize>>,
    ended: Vec<(usize, Ended)>,
}

impl<R: Role> Driver<R> {
    pub(super) fn new(options: &Options, role: R) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            role,
            links: Slab::new(),
            poll,
            events: Events::with_capacity(256),
            waker,
            options: options.clone(),
            start: Instant::now(),
            timer: u64::MAX,
            listeners: Vec::new(),
            dials: Vec::new(),
            accept_again: None,
            buffer: Vec::new(),
            messages: Vec::new(),
            ended: Vec::new(),
        })
    }

    /// What ends a [`turn`](Self::turn) that waits.
    pub(super) fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// Takes connections there.
    pub(super) fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        let failed = |source| Error::Io {
            doing: format!("bind {endpoint}"),
            source,
        };
        let mut listener = Listener::bind(endpoint).map_err(failed)?;
        let token = Token(LISTENERS + self.listeners.len());
        listener
            .register(self.poll.registry(), token)
            .map_err(failed)?;
        let endpoint = listener.endpoint().clone();
        self.listeners.push(listener);
        Ok(endpoint)
    }

    /// Keeps connected to there.
    pub(super) fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        if let Some(what) = endpoint.connect_error() {
            return Err(Error::Io {
                doing: format!("connect {endpoint}"),
                source: io::Error::new(ErrorKind::InvalidInput, what),
            });
        }
        self.dials.push(Dial::new(endpoint.clone(), &self.options));
        self.dial();
        Ok(())
    }

    /// Takes and makes no more connections.
    pub(super) fn stop(&mut self) {
        self.listeners.clear();
        self.dials.clear();
    }

    /// Waits for something to happen, at most until then, and deals with it.
    ///
    /// # Errors
    /// The operating system's, with which nothing more will happen.
    pub(super) fn turn(&mut self, until: Option<Instant>) -> io::Result<()> {
        let timeout = if self.is_busy() {
            Some(Duration::ZERO)
        } else {
            let timer = (self.timer != u64::MAX)
                .then(|| self.start + Duration::from_millis(self.timer.saturating_add(1)));
            let due = timer
                .into_iter()
                .chain(self.dials.iter().filter_map(Dial::due))
                .chain(self.accept_again)
                .chain(until)
                .min();
            due.map(|due| due.saturating_duration_since(Instant::now()))
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        let now = self.now();
        let mut accept = std::mem::take(&mut self.accept_again).is_some();
        for event in &self.events {
            let Token(token) = event.token();
            if token >= LISTENERS {
                accept = true;
            } else if let Some(link) = token.checked_sub(1).and_then(|id| self.links.get_mut(id)) {
                link.readable |= event.is_readable() || event.is_read_closed();
                link.read_closed |= event.is_read_closed() || event.is_error();
                link.writable |= event.is_writable();
            }
        }
        if accept {
            self.accept();
        }
        self.dial();
        self.read(now);
        if now >= self.timer {
            self.look_at_the_clock(now);
        }
        self.bury();
        self.role
            .write(&mut self.links, &mut self.ended, &self.options);
        self.bury();
        Ok(())
    }

    fn is_busy(&mut self) -> bool {
        let readable = self.links.iter().any(|(_, link)| link.readable);
        // The order matters: asking the role has its consequences.
        readable && self.role.wants_input() || self.role.is_busy(&self.links)
    }

    /// Milliseconds since the socket's start, the core's clock.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn accept(&mut self) {
        for at in 0..self.listeners.len() {
            for count in 0.. {
                let Some(listener) = self.listeners.get(at) else {
                    return;
                };
                if count == ACCEPTS {
                    self.accept_again = Some(Instant::now());
                    break;
                }
                match listener.accept(&self.options) {
                    Ok((stream, name)) => {
                        let endpoint = Arc::new(listener.endpoint().clone());
                        if self.links.len() < self.options.max_connections || self.make_place() {
                            self.add(stream, name, endpoint, None);
                        } else {
                            // Closed at once: the peer tries again later.
                            let limit = self.options.max_connections;
                            let reason = format!("all {limit} connections are in use");
                            self.tell(Notice::NotAccepted {
                                endpoint: &endpoint,
                                reason: &reason,
                            });
                        }
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => break,
                        // Gone already, in the second case.
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                        // Out of descriptors, most likely: whoever waits makes no other event.
                        _ => {
                            self.tell(Notice::NotAccepted {
                                endpoint: listener.endpoint(),
                                reason: &error,
                            });
                            self.accept_again = Some(Instant::now() + ACCEPT_AGAIN);
                            break;
                        }
                    },
                }
            }
        }
    }

    /// Ends the oldest accepted connection whose handshake is not done; whether there was one.
    fn make_place(&mut self) -> bool {
        let waiting = self
            .links
            .iter()
            .filter(|(_, link)| !link.greeted && link.dial.is_none());
        let Some((id, _)) = waiting.min_by_key(|(_, link)| link.born) else {
            return false;
        };
        let limit = self.options.max_connections;
        self.end(id, &Ended::Crowded(limit));
        true
    }

    fn dial(&mut self) {
        let now = Instant::now();
        for index in 0..self.dials.len() {
            let Some(dial) = self.dials.get_mut(index) else {
                return;
            };
            let stream = match dial.attempt(now, &self.waker) {
                Ok(None) => continue,
                Ok(Some(address)) => Stream::connect(&address, &self.options),
                Err(error) => Err(error),
            };
            let endpoint = Arc::clone(dial.endpoint());
            match stream {
                Ok(stream) => self.add(stream, endpoint.to_string(), endpoint, Some(index)),
                Err(error) => {
                    dial.failed(now, &self.options);
                    self.tell(Notice::Ended {
                        peer: &endpoint,
                        reason: &error,
                    });
                }
            }
        }
    }

    fn add(&mut self, stream: Stream, name: String, endpoint: Arc<Endpoint>, dial: Option<usize>) {
        let now = self.now();
        let peer = Peer::new(R::SOCKET_TYPE, limits(&self.options), now);
        let entry = self.links.vacant_entry();
        let token = Token(entry.key() + 1);
        let link = entry.insert(Link::new(
            stream,
            peer,
            name,
            endpoint,
            dial,
            now,
            self.options.max_message,
        ));
        link.id = token.0 - 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = registry.register(link.stream.source(), token, interest) {
            let id = link.id;
            self.end(id, &error.into());
            return;
        }
        self.role.accepted(link);
        if let Ok(Some(next)) = link.peer.poll(now) {
            self.timer = self.timer.min(next);
        }
    }

    fn read(&mut self, now: u64) {
        for (id, link) in &mut self.links {
            if link.writable {
                match link.is_connected() {
                    Ok(connected) => link.writable = connected,
                    Err(reason) => {
                        self.ended.push((id, reason));
                        continue;
                    }
                }
            }
            if !link.readable || link.greeted && !self.role.wants_input() {
                continue;
            }
            let role = &mut self.role;
            let result = link.read(now, &mut self.buffer, &mut self.messages, |conn, event| {
                role.event(conn, event)
            });
            if !self.messages.is_empty() {
                let endpoint = &link.endpoint;
                self.role
                    .batch(&mut self.buffer, &mut self.messages, endpoint);
            }
            if self.buffer.capacity() > 2 * READ {
                // A large message is gone: give its memory back.
                self.buffer = Vec::new();
            }
            match result.and_then(|()| Ok(link.peer.poll(now)?)) {
                Ok(next) => self.timer = self.timer.min(next.unwrap_or(u64::MAX)),
                Err(reason) => self.ended.push((id, reason)),
            }
            if link.peer.is_ready() && !std::mem::replace(&mut link.greeted, true) {
                self.role.ready(link);
                if let Some(dial) = link.dial.and_then(|dial| self.dials.get_mut(dial)) {
                    dial.succeeded(&self.options);
                }
                tell(&self.options, Notice::Connected { peer: &link.name });
            }
        }
    }

    fn look_at_the_clock(&mut self, now: u64) {
        self.timer = u64::MAX;
        for (id, link) in &mut self.links {
            // What waits to be read is a sign of life.
            if link.readable && link.greeted {
                self.timer = self.timer.min(now + 100);
                continue;
            }
            match link.peer.poll(now) {
                Ok(next) => self.timer = self.timer.min(next.unwrap_or(u64::MAX)),
                Err(reason) => self.ended.push((id, reason.into())),
            }
        }
    }

    fn bury(&mut self) {
        for (id, reason) in std::mem::take(&mut self.ended) {
            self.end(id, &reason);
        }
    }

    /// Ends a connection, if it has not ended yet.
    pub(super) fn end(&mut self, id: usize, reason: &Ended) {
        let Some(mut link) = self.links.try_remove(id) else {
            return;
        };
        if !self.role.is_inside(&link.conn) {
            // The peer is told why, if that can go out at once.
            let _ = link.write_control();
        }
        let _ = self.poll.registry().deregister(link.stream.source());
        self.role.gone(&mut link, &self.options);
        let peer = &link.name;
        self.tell(match link.greeted || matches!(reason, Ended::Io(_)) {
            true => Notice::Ended { peer, reason },
            false => Notice::HandshakeFailed { peer, reason },
        });
        if let Some(dial) = link.dial.and_then(|dial| self.dials.get_mut(dial)) {
            dial.failed(Instant::now(), &self.options);
        }
    }

    fn tell(&self, notice: Notice<'_>) {
        tell(&self.options, notice);
    }
}

pub(super) fn tell(options: &Options, notice: Notice<'_>) {
    if let Some(Monitor(tell)) = &options.monitor {
        tell(notice);
    }
}
