//! libzmq under the [`Transport`] trait, through the `zmq` crate: to compare [`native`] with, and
//! for whoever needs libzmq itself.
//!
//! What libzmq does otherwise than [`native`], and no option of it changes:
//! - It counts messages, not bytes. [`Options::max_memory`] is therefore taken as a high-water
//!   mark of one message for each KiB where [`Options::high_water_mark`] is 0, for each peer.
//! - A full queue drops the newest message: [`WhenFull::DropOldest`] is taken as
//!   [`WhenFull::DropNewest`]. What it drops is not counted.
//! - [`Options::max_message`] limits each frame that comes in, not the whole message.
//! - [`Options::max_connections`] is not kept.
//! - After a protocol error of its peer, a connecting socket does not come back; a requester's
//!   does with its next question.
//! - [`Options::monitor`] hears nothing.
//! - A host name to connect to is looked up as IPv4 only.
//! - The file of an `ipc://` endpoint stays where it is when its socket is closed.
//!
//! Each socket has a context of its own, so that closing one waits for no other. To know over which
//! endpoint a message came, all but a publisher have a socket of libzmq for each of theirs.
//!
//! [`native`]: super::native

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    ffi::c_int,
    io,
    net::ToSocketAddrs,
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use fedmsg_core::zmtp::{self, frame::Header};
use zmq::{Context, PollEvents, Socket, SocketEvent, SocketType};

use super::{
    Endpoint, Error, Interests, Message, Options, Publisher, Replier, Requester, Subscriber,
    Transport, WhenFull,
};

/// Sockets of libzmq.
#[derive(Clone, Copy, Debug, Default)]
pub struct Zmq;

impl Transport for Zmq {
    type Publisher = PubSocket;
    type Subscriber = SubSocket;
    type Requester = ReqSocket;
    type Replier = RepSocket;

    fn publisher(&self, options: &Options) -> Result<PubSocket, Error> {
        let context = Context::new();
        // XPUB is PUB that tells who subscribes; verbose: of every subscription, not of a
        // topic's first only.
        let mut socket = open(&context, zmq::XPUB, options)?;
        socket.set_xpub_verbose(true).map_err(setup)?;
        socket.set_linger(millis(options.linger)).map_err(setup)?;
        if options.when_full == WhenFull::Block {
            drop_nothing(&mut socket).map_err(setup)?;
            socket.set_sndtimeo(millis(TURN)).map_err(setup)?;
        }
        let peers = Peers::watch(&context, &socket).map_err(setup)?;
        Ok(PubSocket {
            used: Mutex::new(Some(Used {
                socket,
                peers,
                subscriptions: BTreeMap::new(),
                version: 1,
            })),
            max_message: options.max_message,
        })
    }

    fn subscriber(&self, options: &Options) -> Result<SubSocket, Error> {
        Ok(SubSocket {
            inputs: Inputs::new(zmq::SUB, Duration::ZERO, options),
            prefixes: BTreeMap::new(),
        })
    }

    fn requester(&self, options: &Options) -> Result<ReqSocket, Error> {
        Ok(ReqSocket {
            inputs: Inputs::new(zmq::REQ, Duration::ZERO, options),
            turn: 0,
        })
    }

    fn replier(&self, options: &Options) -> Result<RepSocket, Error> {
        Ok(RepSocket {
            // A REP takes no question before the last is answered.
            inputs: Inputs::new(zmq::ROUTER, options.linger, options),
            question: None,
        })
    }
}

/// How long a thread has a publisher for itself while it waits for room.
const TURN: Duration = Duration::from_millis(20);

/// A PUB socket of libzmq. Dropping it is closing it.
pub struct PubSocket {
    /// `None` once it is closed.
    used: Mutex<Option<Used>>,
    max_message: usize,
}

/// What one thread at a time uses.
struct Used {
    // Dropped first: the last of a context's sockets to go waits for the unsent messages.
    socket: Socket,
    peers: Peers,
    /// How many peers asked for a prefix since it was last wanted by nobody.
    subscriptions: BTreeMap<Vec<u8>, usize>,
    /// Of the prefixes in `subscriptions`.
    version: u64,
}

impl Used {
    /// Reads what subscribers sent. libzmq takes subscriptions into account only while the
    /// socket is used, and keeps its news of them until they are read.
    fn read_news(&mut self) -> Result<(), Error> {
        // Bounded, so that a flood of subscriptions does not keep the sender from sending.
        for _ in 0..10_000 {
            let Some(news) = recv_now(&self.socket)? else {
                break;
            };
            match news.split_first() {
                Some((1, prefix)) => {
                    let peers = self.subscriptions.entry(prefix.to_vec()).or_default();
                    *peers = peers.saturating_add(1);
                    self.version += u64::from(*peers == 1);
                }
                // Said once, when the last peer has cancelled or gone.
                Some((0, prefix)) => {
                    self.version += u64::from(self.subscriptions.remove(prefix).is_some());
                }
                // Any other message from a subscriber means nothing.
                _ => {}
            }
        }
        self.peers.update()
    }
}

impl PubSocket {
    fn lock(&self) -> MutexGuard<'_, Option<Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Used) -> Result<T, Error>) -> Result<T, Error> {
        self.lock().as_mut().map_or(Err(Error::Closed), f)
    }

    fn put(&self, frames: &[&[u8]]) -> Result<(), Error> {
        check_size(frames, self.max_message)?;
        loop {
            let sent = self.with(|used| {
                used.read_news()?;
                match send(&used.socket, frames, 0) {
                    // Only a socket that drops nothing has no room.
                    Err(zmq::Error::EAGAIN) => Ok(false),
                    Ok(()) => Ok(true),
                    Err(error) => Err(failed("send".to_owned(), error)),
                }
            });
            if sent? {
                return Ok(());
            }
            // Others may have their turn.
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Publisher for PubSocket {
    fn bind(&self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        self.with(|used| bind(&used.socket, endpoint))
    }

    fn connect(&self, endpoint: &Endpoint) -> Result<(), Error> {
        self.with(|used| connect(&used.socket, endpoint))
    }

    fn send(&self, topic: &[u8], body: &[&[u8]]) -> Result<(), Error> {
        let body = match body {
            [whole] => Cow::Borrowed(*whole),
            pieces => Cow::Owned(pieces.concat()),
        };
        self.put(&[topic, &body])
    }

    fn forward(&self, message: &Message<'_>) -> Result<(), Error> {
        self.put(&message.frames.frames().collect::<Vec<_>>())
    }

    /// As many as are connected, but no more than there are subscriptions: exact as long as every
    /// connected peer subscribes. libzmq tells who is connected and what is subscribed, but not
    /// whose a subscription is, so a peer without any counts where another has several.
    fn subscribers(&self) -> Result<usize, Error> {
        self.with(|used| {
            used.read_news()?;
            let subscriptions = used.subscriptions.values();
            let subscriptions = subscriptions.fold(0, |sum: usize, n| sum.saturating_add(*n));
            Ok(subscriptions.min(used.peers.connected.len()))
        })
    }

    fn wait_for_subscriber(&self, timeout: Duration) -> Result<bool, Error> {
        let start = Instant::now();
        while self.subscribers()? == 0 {
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(false);
            }
            thread::sleep(left.min(Duration::from_millis(2)));
        }
        Ok(true)
    }

    fn interests(&self, version: u64) -> Result<Option<Interests>, Error> {
        self.with(|used| {
            used.read_news()?;
            Ok((used.version != version).then(|| Interests {
                version: used.version,
                prefixes: used.subscriptions.keys().cloned().collect(),
            }))
        })
    }

    fn close(&self) -> Result<(), Error> {
        let used = self.lock().take();
        drop(used);
        Ok(())
    }
}

/// A SUB socket of libzmq.
pub struct SubSocket {
    inputs: Inputs,
    /// How often each is subscribed to.
    prefixes: BTreeMap<Vec<u8>, usize>,
}

impl SubSocket {
    fn subscribe_all(&self, socket: &Socket) -> zmq::Result<()> {
        let mut prefixes = self.prefixes.keys();
        prefixes.try_for_each(|prefix| socket.set_subscribe(prefix))
    }
}

impl Subscriber for SubSocket {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        let socket = self.inputs.open()?;
        self.subscribe_all(&socket).map_err(setup)?;
        self.inputs.bind(socket, endpoint)
    }

    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        let socket = self.inputs.open()?;
        self.subscribe_all(&socket).map_err(setup)?;
        self.inputs.connect(socket, endpoint)
    }

    fn subscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        let times = self.prefixes.entry(prefix.to_vec()).or_default();
        *times = times.saturating_add(1);
        if *times > 1 {
            return Ok(());
        }
        let mut sockets = self.inputs.sockets.iter();
        sockets
            .try_for_each(|(_, socket)| socket.set_subscribe(prefix))
            .map_err(|error| failed("subscribe".to_owned(), error))
    }

    fn unsubscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        match self.prefixes.get_mut(prefix) {
            Some(1) => self.prefixes.remove(prefix),
            Some(times) => {
                *times -= 1;
                return Ok(());
            }
            None => return Ok(()),
        };
        let mut sockets = self.inputs.sockets.iter();
        sockets
            .try_for_each(|(_, socket)| socket.set_unsubscribe(prefix))
            .map_err(|error| failed("unsubscribe".to_owned(), error))
    }

    fn recv(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, Error> {
        let from = self.inputs.next(timeout)?;
        Ok(from.and_then(|from| self.inputs.message(from, 0)))
    }
}

/// A REQ socket of libzmq.
pub struct ReqSocket {
    inputs: Inputs,
    /// Whose the next question is: all have their turn.
    turn: usize,
}

impl Requester for ReqSocket {
    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        let socket = self.inputs.open()?;
        self.inputs.connect(socket, endpoint)
    }

    fn request(
        &mut self,
        frames: &[&[u8]],
        timeout: Duration,
    ) -> Result<Option<Message<'_>>, Error> {
        let start = Instant::now();
        check_size(frames, self.inputs.options.max_message)?;
        let turn = self.turn;
        self.turn = (turn + 1) % self.inputs.sockets.len().max(1);
        for renewed in [false, true] {
            let Some((_, socket)) = self.inputs.sockets.get(turn) else {
                break;
            };
            match send(socket, frames, zmq::DONTWAIT) {
                // There is always room for a question, unless libzmq gave the connection up.
                Err(zmq::Error::EAGAIN) if !renewed => self.inputs.renew(turn)?,
                sent => {
                    sent.map_err(|error| failed("send".to_owned(), error))?;
                    break;
                }
            }
        }
        // Only that socket has anything to tell.
        let left = timeout.saturating_sub(start.elapsed());
        if self.inputs.next(left)?.is_some() {
            return Ok(self.inputs.message(turn, 0));
        }
        // An answer that comes later finds nobody.
        self.inputs.renew(turn)?;
        Ok(None)
    }
}

/// A REP socket of libzmq.
pub struct RepSocket {
    inputs: Inputs,
    /// Over which socket the question came that lies in the buffer, and how many of its first
    /// frames say whose it is.
    question: Option<(usize, usize)>,
}

impl Replier for RepSocket {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        let socket = self.inputs.open()?;
        self.inputs.bind(socket, endpoint)
    }

    fn recv(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, Error> {
        let start = Instant::now();
        loop {
            self.question = None;
            let left = timeout.saturating_sub(start.elapsed());
            let Some(from) = self.inputs.next(left)? else {
                return Ok(None);
            };
            // As a REP's, a message without an envelope or with nothing in it is no question.
            if let Some((count, len)) = self.inputs.envelope() {
                self.question = Some((from, count));
                return Ok(self.inputs.message(from, len));
            }
        }
    }

    fn reply(&mut self, frames: &[&[u8]]) -> Result<(), Error> {
        check_size(frames, self.inputs.options.max_message)?;
        let Some((from, count)) = self.question.take() else {
            return Ok(());
        };
        let (Some((_, socket)), Some(question)) = (
            self.inputs.sockets.get(from),
            zmtp::Message::from_wire(&self.inputs.buffer),
        ) else {
            return Ok(());
        };
        let envelope = question.frames().take(count);
        let frames: Vec<_> = envelope.chain(frames.iter().copied()).collect();
        send(socket, &frames, 0).map_err(|error| failed("send".to_owned(), error))
    }
}

/// A socket of libzmq for each endpoint, and what came last over any of them.
struct Inputs {
    context: Context,
    kind: SocketType,
    linger: Duration,
    options: Options,
    sockets: Vec<(Endpoint, Socket)>,
    /// Those that had something when they were last asked.
    ready: Vec<usize>,
    /// How many messages the last of `ready` may give before it is another's turn.
    turns: u32,
    /// The last message, as it would be on the wire.
    buffer: Vec<u8>,
}

impl Inputs {
    fn new(kind: SocketType, linger: Duration, options: &Options) -> Self {
        Self {
            context: Context::new(),
            kind,
            linger,
            options: options.clone(),
            sockets: Vec::new(),
            ready: Vec::new(),
            turns: 0,
            buffer: Vec::new(),
        }
    }

    fn open(&self) -> Result<Socket, Error> {
        let socket = open(&self.context, self.kind, &self.options)?;
        socket.set_linger(millis(self.linger)).map_err(setup)?;
        Ok(socket)
    }

    fn bind(&mut self, socket: Socket, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        let bound = bind(&socket, endpoint)?;
        self.sockets.push((bound.clone(), socket));
        Ok(bound)
    }

    fn connect(&mut self, socket: Socket, endpoint: &Endpoint) -> Result<(), Error> {
        connect(&socket, endpoint)?;
        self.sockets.push((endpoint.clone(), socket));
        Ok(())
    }

    /// Connects anew.
    fn renew(&mut self, at: usize) -> Result<(), Error> {
        let new = self.open()?;
        if let Some((endpoint, socket)) = self.sockets.get_mut(at) {
            connect(&new, endpoint)?;
            *socket = new;
        }
        Ok(())
    }

    /// Reads the next message into the buffer, and tells whose it is.
    fn next(&mut self, timeout: Duration) -> Result<Option<usize>, Error> {
        let failed = |error| failed("receive".to_owned(), error);
        let start = Instant::now();
        loop {
            while let Some(&at) = self.ready.last() {
                if let (Some((_, socket)), 1..) = (self.sockets.get(at), self.turns) {
                    self.turns -= 1;
                    if read(socket, &mut self.buffer).map_err(failed)? {
                        return Ok(Some(at));
                    }
                }
                self.ready.pop();
                self.turns = 64;
            }
            let sockets = self.sockets.iter();
            let mut items: Vec<_> = sockets
                .map(|(_, socket)| socket.as_poll_item(PollEvents::POLLIN))
                .collect();
            let left = timeout.saturating_sub(start.elapsed());
            match zmq::poll(&mut items, millis(left).into()) {
                Ok(0) if left.is_zero() => return Ok(None),
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(failed(error)),
            }
            let ready = items
                .iter()
                .enumerate()
                .filter(|(_, item)| item.is_readable());
            self.ready.extend(ready.map(|(at, _)| at));
            self.turns = 64;
        }
    }

    /// The message in the buffer, without so many bytes at its front.
    fn message(&self, from: usize, without: usize) -> Option<Message<'_>> {
        Some(Message {
            frames: zmtp::Message::from_wire(self.buffer.get(without..)?)?,
            endpoint: &self.sockets.get(from)?.0,
        })
    }

    /// How many frames there are up to the empty one, if others follow, and their length.
    fn envelope(&self) -> Option<(usize, usize)> {
        let mut len = 0;
        for (n, frame) in zmtp::Message::from_wire(&self.buffer)?.frames().enumerate() {
            len += Header::message(frame.len(), true).encoded_len() + frame.len();
            if frame.is_empty() {
                return (len < self.buffer.len()).then_some((n + 1, len));
            }
        }
        None
    }
}

/// The peers of a socket, by libzmq's reports of it.
struct Peers {
    reports: Socket,
    /// The file descriptors of the connections.
    connected: HashSet<[u8; 4]>,
}

impl Peers {
    fn watch(context: &Context, socket: &Socket) -> zmq::Result<Self> {
        let events = [
            SocketEvent::ACCEPTED,
            SocketEvent::CONNECTED,
            SocketEvent::DISCONNECTED,
        ];
        let events = events.iter().map(|event| i32::from(event.to_raw())).sum();
        // The context is this socket's own, so the name is free.
        socket.monitor("inproc://peers", events)?;
        let reports = context.socket(zmq::PAIR)?;
        // A full queue of reports would stop libzmq's I/O thread.
        reports.set_rcvhwm(0)?;
        reports.set_linger(0)?;
        reports.connect("inproc://peers")?;
        Ok(Self {
            reports,
            connected: HashSet::new(),
        })
    }

    fn update(&mut self) -> Result<(), Error> {
        while let Some(report) = recv_now(&self.reports)? {
            // A report is event and file descriptor in one frame, and the endpoint in another.
            let _endpoint = recv_now(&self.reports)?;
            let Some((&event, rest)) = report.split_first_chunk() else {
                continue;
            };
            let Some((&descriptor, _)) = rest.split_first_chunk() else {
                continue;
            };
            if u16::from_ne_bytes(event) == SocketEvent::DISCONNECTED.to_raw() {
                self.connected.remove(&descriptor);
            } else {
                self.connected.insert(descriptor);
            }
        }
        Ok(())
    }
}

fn open(context: &Context, kind: SocketType, options: &Options) -> Result<Socket, Error> {
    let socket = context.socket(kind).map_err(setup)?;
    let configure = || {
        let messages = match options.high_water_mark {
            0 => options.max_memory / 1024,
            messages => messages,
        };
        // libzmq takes 0 for "no limit".
        let messages = i32::try_from(messages.max(1)).unwrap_or(i32::MAX);
        socket.set_sndhwm(messages)?;
        socket.set_rcvhwm(messages)?;
        socket.set_maxmsgsize(i64::try_from(options.max_message).unwrap_or(i64::MAX))?;
        socket.set_reconnect_ivl(millis(options.reconnect))?;
        socket.set_reconnect_ivl_max(millis(options.reconnect_max))?;
        socket.set_handshake_ivl(millis(options.handshake_timeout))?;
        socket.set_tcp_keepalive(options.keep_alive.is_some().into())?;
        if let Some(keep_alive) = options.keep_alive {
            socket.set_tcp_keepalive_idle(seconds(keep_alive.idle))?;
            socket.set_tcp_keepalive_intvl(seconds(keep_alive.interval))?;
            let count = i32::try_from(keep_alive.count).unwrap_or(i32::MAX);
            socket.set_tcp_keepalive_cnt(count)?;
        }
        if let Some(interval) = options.heartbeat {
            socket.set_heartbeat_ivl(millis(interval))?;
            socket.set_heartbeat_timeout(millis(options.heartbeat_timeout))?;
        }
        Ok(())
    };
    configure().map_err(setup)?;
    Ok(socket)
}

/// Has an XPUB refuse what a subscriber has no room for.
#[expect(unsafe_code, reason = "the zmq crate has no function for this option")]
fn drop_nothing(socket: &mut Socket) -> zmq::Result<()> {
    let on: c_int = 1;
    // SAFETY: the socket is open as long as it is borrowed; libzmq reads so many bytes of `on`.
    let set = unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            zmq_sys::ZMQ_XPUB_NODROP.cast_signed(),
            (&raw const on).cast(),
            size_of_val(&on),
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(zmq::Error::EINVAL)
    }
}

fn bind(socket: &Socket, endpoint: &Endpoint) -> Result<Endpoint, Error> {
    let doing = || format!("bind {endpoint}");
    let refused = |source| Error::Io {
        doing: doing(),
        source,
    };
    let address = match endpoint {
        Endpoint::Tcp { host, .. } if host == "*" => endpoint.to_string(),
        // libzmq binds to addresses, not to names.
        Endpoint::Tcp { host, port } => (host.as_str(), *port)
            .to_socket_addrs()
            .and_then(|mut found| found.next().ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map(|address| format!("tcp://{address}"))
            .map_err(refused)?,
        Endpoint::Ipc(path) => {
            // libzmq removes whatever is there.
            check_free(path).map_err(refused)?;
            ipc_address(path).map_err(refused)?
        }
    };
    // With IPv6 `*` is every address of both kinds.
    socket.set_ipv6(true).map_err(setup)?;
    socket
        .bind(&address)
        .map_err(|error| failed(doing(), error))?;
    let Endpoint::Tcp { host, port } = endpoint else {
        return Ok(endpoint.clone());
    };
    let bound = socket
        .get_last_endpoint()
        .map_err(|error| failed(doing(), error))?;
    let bound = bound.ok().and_then(|text| text.parse::<Endpoint>().ok());
    let bound = bound.and_then(|bound| bound.port());
    Ok(Endpoint::tcp(host, bound.unwrap_or(*port)))
}

fn connect(socket: &Socket, endpoint: &Endpoint) -> Result<(), Error> {
    let doing = || format!("connect {endpoint}");
    let address = match endpoint {
        Endpoint::Tcp { host, .. } => {
            // With IPv6 libzmq finds only the IPv6 addresses of a name.
            socket.set_ipv6(host.contains(':')).map_err(setup)?;
            endpoint.to_string()
        }
        Endpoint::Ipc(path) => ipc_address(path).map_err(|source| Error::Io {
            doing: doing(),
            source,
        })?,
    };
    socket
        .connect(&address)
        .map_err(|error| failed(doing(), error))
}

/// Libzmq takes `ipc://*` and `ipc://@name` for something else than files.
fn ipc_address(path: &Path) -> io::Result<String> {
    match Path::new(".").join(path).to_str() {
        Some(path) => Ok(format!("ipc://{path}")),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "libzmq's paths are UTF-8",
        )),
    }
}

/// Whether nothing is at `path`, or nothing but a socket that nobody listens on.
fn check_free(path: &Path) -> io::Result<()> {
    let is_socket = match path.symlink_metadata() {
        Ok(found) => found.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match UnixStream::connect(path) {
        Err(error) if is_socket && error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn check_size(frames: &[&[u8]], limit: usize) -> Result<(), Error> {
    let lengths = frames.iter().map(|frame| frame.len());
    let size = lengths.fold(0, usize::saturating_add);
    if size > limit {
        return Err(Error::TooLarge { size, limit });
    }
    Ok(())
}

/// Sends a message: all of it, or nothing where there is no room.
fn send(socket: &Socket, frames: &[&[u8]], flags: i32) -> zmq::Result<()> {
    let frames = if frames.is_empty() {
        &[&b""[..]]
    } else {
        frames
    };
    let last = frames.len().saturating_sub(1);
    for (n, frame) in frames.iter().enumerate() {
        let more = if n < last { zmq::SNDMORE } else { 0 };
        // A signal is no reason to end in the middle of a message.
        let sent = loop {
            match socket.send(*frame, flags | more) {
                Err(zmq::Error::EINTR) => {}
                sent => break sent,
            }
        };
        sent?;
    }
    Ok(())
}

/// Reads a message as it would be on the wire, if one is there.
fn read(socket: &Socket, wire: &mut Vec<u8>) -> zmq::Result<bool> {
    wire.clear();
    let mut frame = zmq::Message::new();
    loop {
        match socket.recv(&mut frame, zmq::DONTWAIT) {
            Ok(()) => {}
            // The frames of a message come all at once. A REQ that asked nothing has none.
            Err(zmq::Error::EAGAIN | zmq::Error::EFSM) => return Ok(false),
            Err(zmq::Error::EINTR) => continue,
            Err(error) => return Err(error),
        }
        wire.extend_from_slice(&Header::message(frame.len(), frame.get_more()).encode());
        wire.extend_from_slice(&frame);
        if !frame.get_more() {
            return Ok(true);
        }
    }
}

/// The next frame, if one is there.
fn recv_now(socket: &Socket) -> Result<Option<Vec<u8>>, Error> {
    match socket.recv_bytes(zmq::DONTWAIT) {
        Ok(frame) => Ok(Some(frame)),
        Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => Ok(None),
        Err(error) => Err(failed("receive".to_owned(), error)),
    }
}

/// In whole milliseconds, rounded up: libzmq takes 0 for "never" or "at once".
fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

/// In whole seconds, rounded up; at least one.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis().div_ceil(1000).max(1)).unwrap_or(i32::MAX)
}

fn setup(error: zmq::Error) -> Error {
    failed("set up a socket".to_owned(), error)
}

fn failed(doing: String, error: zmq::Error) -> Error {
    match error {
        zmq::Error::ETERM | zmq::Error::ENOTSOCK => Error::Closed,
        error => Error::Io {
            doing,
            source: error.into(),
        },
    }
}
