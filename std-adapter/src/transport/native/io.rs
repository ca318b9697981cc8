//! A socket's I/O thread: listeners, connections and attempts to connect, in one loop. What PUB
//! and SUB do differently is behind [`Role`].

use super::{
    super::{Endpoint, Error, Monitor, Notice, Options},
    dial::Dial,
    link::{Ended, Link, limits},
};
use fedmsg_core::zmtp::{Event, Peer, SocketType};
use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::ToSocketAddrs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// What one kind of socket does with its connections. Connections are told apart by number.
pub(super) trait Role: Send + 'static {
    /// What is asked of the I/O thread besides binding and connecting.
    type Request: Send;

    /// PUB or SUB.
    const SOCKET_TYPE: SocketType;

    /// The peer of connection `id` is there. What has to be said first goes into `control`.
    fn ready(&mut self, id: usize, peer: &mut Peer, control: &mut Vec<u8>);

    /// The peer said something; false: it shall not be read from until [`Role::wants_input`].
    ///
    /// # Errors
    /// Ends the connection.
    fn event(&mut self, id: usize, event: Event<'_>) -> Result<bool, Ended>;

    /// Whether there is room for what peers send.
    fn wants_input(&mut self) -> bool;

    /// Everything read in this turn of the loop has been handed to [`Role::event`].
    fn turn(&mut self);

    /// Writes what there is for this connection, as long as it takes it: not at all unless the link
    /// is `writable`.
    ///
    /// # Errors
    /// Ends the connection.
    fn write(&mut self, id: usize, link: &mut Link) -> Result<(), Ended>;

    /// Connection `id` is gone.
    fn gone(&mut self, id: usize);

    /// Does what was asked.
    fn request(&mut self, request: Self::Request, links: &mut BTreeMap<usize, Link>);

    /// Whether everything has been sent.
    fn is_flushed(&self) -> bool;
}

/// A request to the I/O thread.
enum Command<R> {
    Bind(TcpListener),
    Connect(Endpoint),
    Role(R),
    /// By then at the latest, if there is a latest.
    Close(Option<Instant>),
}

/// The handle to a socket's I/O thread.
pub(super) struct Io<R: Role> {
    commands: mpsc::Sender<Command<R::Request>>,
    doorbell: Arc<Doorbell>,
    thread: Option<JoinHandle<()>>,
    linger: Duration,
}

/// Wakes the I/O thread, with one system call however often it is rung before the thread looks.
pub(super) struct Doorbell {
    waker: Arc<Waker>,
    rung: AtomicBool,
}

impl Doorbell {
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It fails only when the thread's poll is gone, and nobody is to be woken then.
            let _ = self.waker.wake();
        }
    }
}

const WAKER: Token = Token(0);
/// How long to wait before accepting again what could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

impl<R: Role> Io<R> {
    /// Starts the thread.
    pub(super) fn start(options: &Options, role: R) -> Result<Self, Error> {
        let failed = |source| Error::Io {
            doing: "start a socket's thread".into(),
            source,
        };
        let poll = Poll::new().map_err(failed)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(failed)?);
        let doorbell = Arc::new(Doorbell {
            waker,
            rung: AtomicBool::new(false),
        });
        let (commands, received) = mpsc::channel();
        let worker = Worker {
            poll,
            role,
            options: options.clone(),
            commands: received,
            doorbell: Arc::clone(&doorbell),
            start: Instant::now(),
            listeners: BTreeMap::new(),
            dials: Vec::new(),
            links: BTreeMap::new(),
            next_id: WAKER.0 + 1,
            closing: None,
            accept_again: false,
        };
        let thread = std::thread::Builder::new()
            .name(format!("fedmsg-{:?}", R::SOCKET_TYPE))
            .spawn(|| worker.run())
            .map_err(failed)?;
        Ok(Self {
            commands,
            doorbell,
            thread: Some(thread),
            linger: options.linger,
        })
    }

    pub(super) fn bind(&self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        let failed = |source| Error::Io {
            doing: format!("bind {endpoint}"),
            source,
        };
        let Endpoint::Tcp { host, port } = endpoint else {
            return Err(failed(ErrorKind::Unsupported.into()));
        };
        let listener = listen(host, *port).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        self.send(Command::Bind(listener))?;
        Ok(Endpoint::tcp(host, port))
    }

    pub(super) fn connect(&self, endpoint: &Endpoint) -> Result<(), Error> {
        if matches!(endpoint, Endpoint::Tcp { host, port } if host == "*" || *port == 0) {
            return Err(Error::Io {
                doing: format!("connect {endpoint}"),
                source: io::Error::new(ErrorKind::InvalidInput, "only a bind may have * or port 0"),
            });
        }
        self.send(Command::Connect(endpoint.clone()))
    }

    /// What wakes the thread.
    pub(super) fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }

    pub(super) fn request(&self, request: R::Request) -> Result<(), Error> {
        self.send(Command::Role(request))
    }

    fn send(&self, command: Command<R::Request>) -> Result<(), Error> {
        self.commands.send(command).map_err(|_| Error::Closed)?;
        self.doorbell.ring();
        Ok(())
    }
}

impl<R: Role> Drop for Io<R> {
    /// Waits for unsent messages, at most the linger time.
    fn drop(&mut self) {
        let _ = self.send(Command::Close(Instant::now().checked_add(self.linger)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    if host == "*" {
        // Both families where the machine has both, as libzmq with IPv6 on.
        let any: [std::net::SocketAddr; 2] = [
            (std::net::Ipv6Addr::UNSPECIFIED, port).into(),
            (std::net::Ipv4Addr::UNSPECIFIED, port).into(),
        ];
        return first(any);
    }
    first((host, port).to_socket_addrs()?)
}

fn first(addresses: impl IntoIterator<Item = std::net::SocketAddr>) -> io::Result<TcpListener> {
    let mut error = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(e) => error = e,
        }
    }
    Err(error)
}

struct Worker<R: Role> {
    poll: Poll,
    role: R,
    options: Options,
    commands: mpsc::Receiver<Command<R::Request>>,
    doorbell: Arc<Doorbell>,
    start: Instant,
    listeners: BTreeMap<usize, TcpListener>,
    dials: Vec<Dial>,
    links: BTreeMap<usize, Link>,
    next_id: usize,
    /// The handle is gone: until when what is unsent may still be sent.
    closing: Option<Option<Instant>>,
    /// Connections may be waiting that could not be accepted.
    accept_again: bool,
}

impl<R: Role> Worker<R> {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut deadline = None;
        loop {
            let busy = self.links.values().any(|link| link.readable) && self.role.wants_input();
            let timeout = match deadline {
                _ if busy => Some(Duration::ZERO),
                None => None,
                Some(deadline) => Some(Instant::saturating_duration_since(
                    &deadline,
                    Instant::now(),
                )),
            };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != ErrorKind::Interrupted
            {
                return;
            }
            self.doorbell.rung.store(false, Ordering::Release);
            for event in &events {
                match self.links.get_mut(&event.token().0) {
                    Some(link) => {
                        link.readable |= event.is_readable() || event.is_read_closed();
                        link.writable |= event.is_writable();
                    }
                    None => self.accept(event.token().0),
                }
            }
            if std::mem::take(&mut self.accept_again) {
                for listener in self.listeners.keys().copied().collect::<Vec<_>>() {
                    self.accept(listener);
                }
            }
            self.obey();
            self.dial();
            deadline = self.serve();
            if self.accept_again {
                deadline = deadline
                    .into_iter()
                    .chain([Instant::now() + ACCEPT_AGAIN])
                    .min();
            }
            if let Some(closing) = self.closing {
                if self.role.is_flushed() || closing.is_some_and(|at| at <= Instant::now()) {
                    return;
                }
                deadline = deadline.into_iter().chain(closing).min();
            }
        }
    }

    /// Milliseconds since the socket's start, the core's clock.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn obey(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Bind(mut listener) => {
                    let id = self.next_id();
                    let registry = self.poll.registry();
                    if registry
                        .register(&mut listener, Token(id), Interest::READABLE)
                        .is_ok()
                    {
                        self.listeners.insert(id, listener);
                        // Somebody may have connected before it was registered.
                        self.accept(id);
                    }
                }
                Command::Connect(endpoint) => {
                    self.dials.push(Dial::new(endpoint, &self.options));
                }
                Command::Role(request) => self.role.request(request, &mut self.links),
                Command::Close(deadline) => {
                    self.listeners.clear();
                    self.dials.clear();
                    self.closing = Some(deadline);
                }
            }
        }
    }

    fn next_id(&mut self) -> usize {
        self.next_id += 1;
        self.next_id
    }

    fn accept(&mut self, listener: usize) {
        loop {
            let Some(listener) = self.listeners.get(&listener) else {
                return;
            };
            match listener.accept() {
                // Closed at once: the peer tries again later.
                Ok(_) if self.links.len() >= self.options.max_connections => {}
                Ok((stream, address)) => self.add(stream, address.to_string(), None),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Gone already.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                // Out of descriptors, most likely: whoever waits makes no other event.
                Err(_) => {
                    self.accept_again = true;
                    return;
                }
            }
        }
    }

    fn dial(&mut self) {
        let now = Instant::now();
        for index in 0..self.dials.len() {
            let Some(dial) = self.dials.get_mut(index) else {
                return;
            };
            let attempt = dial.attempt(now, &self.doorbell.waker);
            let stream = match attempt.transpose() {
                None => continue,
                Some(address) => address.and_then(TcpStream::connect),
            };
            let name = dial.endpoint().to_string();
            match stream {
                Ok(stream) => self.add(stream, name, Some(index)),
                Err(error) => {
                    dial.failed(now, &self.options);
                    tell(
                        &self.options,
                        Notice::Ended {
                            peer: &name,
                            reason: &error,
                        },
                    );
                }
            }
        }
    }

    fn add(&mut self, mut stream: TcpStream, name: String, dial: Option<usize>) {
        let id = self.next_id();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(&mut stream, Token(id), interest);
        if registered.is_err() {
            self.lost(dial);
            return;
        }
        // Without it a message waits for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let peer = Peer::new(R::SOCKET_TYPE, limits(&self.options), self.now());
        self.links.insert(id, Link::new(stream, peer, name, dial));
    }

    /// Serves every connection that has something to do; gives the time of the next deadline.
    fn serve(&mut self) -> Option<Instant> {
        let now = self.now();
        let mut deadline: Option<u64> = None;
        let mut ended = Vec::new();
        for (&id, link) in &mut self.links {
            match serve(&mut self.role, id, link, now) {
                Ok(next) => {
                    if link.peer.is_ready() && !std::mem::replace(&mut link.greeted, true) {
                        let dial = link.dial.and_then(|dial| self.dials.get_mut(dial));
                        if let Some(dial) = dial {
                            dial.succeeded(&self.options);
                        }
                        tell(&self.options, Notice::Connected { peer: &link.name });
                    }
                    deadline = deadline.into_iter().chain(next).min();
                }
                Err(reason) => ended.push((id, reason)),
            }
        }
        self.role.turn();
        for (id, reason) in ended {
            if let Some(mut link) = self.links.remove(&id) {
                // The peer is told why, if that can go out at once.
                let _ = link.write_control();
                let _ = self.poll.registry().deregister(&mut link.stream);
                self.role.gone(id);
                let notice = Notice::Ended {
                    peer: &link.name,
                    reason: &reason,
                };
                tell(&self.options, notice);
                self.lost(link.dial);
            }
        }
        let timer = deadline.map(|ms| self.start + Duration::from_millis(ms.saturating_add(1)));
        timer
            .into_iter()
            .chain(self.dials.iter().filter_map(Dial::due))
            .min()
    }

    fn lost(&mut self, dial: Option<usize>) {
        if let Some(dial) = dial.and_then(|dial| self.dials.get_mut(dial)) {
            dial.failed(Instant::now(), &self.options);
        }
    }
}

fn tell(options: &Options, notice: Notice<'_>) {
    if let Some(Monitor(tell)) = &options.monitor {
        tell(notice);
    }
}

/// Serves one connection; gives its next deadline in milliseconds since the socket's start.
fn serve<R: Role>(
    role: &mut R,
    id: usize,
    link: &mut Link,
    now: u64,
) -> Result<Option<u64>, Ended> {
    if link.writable && !link.is_connected()? {
        link.writable = false;
    }
    if link.readable && (!link.peer.is_ready() || role.wants_input()) {
        link.read(now, |peer, event, control| match event {
            Event::Ready(_) => {
                role.ready(id, peer, control);
                Ok(true)
            }
            event => role.event(id, event),
        })?;
    }
    // What waits to be read is a sign of life.
    let deadline = if link.readable && link.peer.is_ready() {
        None
    } else {
        link.peer.poll(now)?
    };
    role.write(id, link)?;
    Ok(deadline)
}
