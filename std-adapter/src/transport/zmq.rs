//! libzmq under the [`Transport`] trait, through the `zmq` crate: to compare [`native`] with, and
//! for whoever needs libzmq itself.
//!
//! What libzmq does otherwise than [`native`], and no option of it changes:
//! - It counts messages, not bytes. [`Options::max_memory`] is therefore taken as a high-water
//!   mark of one message for each KiB where [`Options::high_water_mark`] is 0, for each peer.
//! - A full queue drops the newest message, not the oldest.
//! - [`Options::max_message`] limits each frame that comes in, not the whole message.
//! - [`Options::max_connections`] is not kept.
//! - After a protocol error of its peer, a connecting socket does not come back.
//! - [`Options::monitor`] hears nothing.
//! - A host name to connect to is looked up as IPv4 only.
//!
//! Each socket has a context of its own, so that closing one waits for no other.
//!
//! [`native`]: super::native

use std::{
    collections::{HashMap, HashSet},
    io,
    net::ToSocketAddrs,
    time::{Duration, Instant},
};

use zmq::{Context, Socket, SocketEvent, SocketType};

use super::{Endpoint, Error, Message, Options, Publisher, Subscriber, Transport};

/// Sockets of libzmq.
#[derive(Clone, Copy, Debug, Default)]
pub struct Zmq;

impl Transport for Zmq {
    type Publisher = PubSocket;
    type Subscriber = SubSocket;

    fn publisher(&self, options: &Options) -> Result<PubSocket, Error> {
        let context = Context::new();
        // XPUB is PUB that tells who subscribes; verbose: of every subscription, not of a
        // topic's first only.
        let socket = open(&context, zmq::XPUB, options)?;
        socket.set_xpub_verbose(true).map_err(setup)?;
        socket.set_linger(millis(options.linger)).map_err(setup)?;
        Ok(PubSocket {
            peers: Peers::watch(&context, &socket).map_err(setup)?,
            socket,
            subscriptions: HashMap::new(),
            max_message: options.max_message,
        })
    }

    fn subscriber(&self, options: &Options) -> Result<SubSocket, Error> {
        let socket = open(&Context::new(), zmq::SUB, options)?;
        socket.set_linger(0).map_err(setup)?;
        Ok(SubSocket { socket })
    }
}

/// A PUB socket of libzmq. Dropping it is closing it.
pub struct PubSocket {
    // Dropped first: the last of a context's sockets to go waits for the unsent messages.
    socket: Socket,
    peers: Peers,
    /// How many peers asked for a prefix since it was last wanted by nobody.
    subscriptions: HashMap<Vec<u8>, usize>,
    max_message: usize,
}

impl PubSocket {
    /// Reads what subscribers sent. libzmq takes subscriptions into account only while the
    /// socket is used, and keeps its news of them until they are read.
    fn read_subscriptions(&mut self) -> Result<(), Error> {
        // Bounded, so that a flood of subscriptions does not keep the sender from sending.
        for _ in 0..10_000 {
            let Some(news) = recv_now(&self.socket)? else {
                break;
            };
            match news.split_first() {
                Some((1, prefix)) => {
                    let peers = self.subscriptions.entry(prefix.to_vec()).or_default();
                    *peers = peers.saturating_add(1);
                }
                // Said once, when the last peer has cancelled or gone.
                Some((0, prefix)) => {
                    self.subscriptions.remove(prefix);
                }
                // Any other message from a subscriber means nothing.
                _ => {}
            }
        }
        self.peers.update()
    }
}

impl Publisher for PubSocket {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        bind(&self.socket, endpoint)
    }

    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        connect(&self.socket, endpoint)
    }

    fn send(&mut self, topic: &[u8], body: &[&[u8]]) -> Result<(), Error> {
        let body = body.concat();
        let size = topic.len().saturating_add(body.len());
        if size > self.max_message {
            return Err(Error::TooLarge {
                size,
                limit: self.max_message,
            });
        }
        self.read_subscriptions()?;
        let failed = |error| failed("send".to_owned(), error);
        self.socket.send(topic, zmq::SNDMORE).map_err(failed)?;
        self.socket.send(body, 0).map_err(failed)
    }

    /// As many as are connected, but no more than there are subscriptions: exact as long as every
    /// connected peer subscribes. libzmq tells who is connected and what is subscribed, but not
    /// whose a subscription is, so a peer without any counts where another has several.
    fn subscribers(&mut self) -> Result<usize, Error> {
        self.read_subscriptions()?;
        let subscriptions = self
            .subscriptions
            .values()
            .fold(0, |sum: usize, n| sum.saturating_add(*n));
        Ok(subscriptions.min(self.peers.connected.len()))
    }

    fn close(self) -> Result<(), Error> {
        Ok(())
    }
}

/// A SUB socket of libzmq.
pub struct SubSocket {
    socket: Socket,
}

impl Subscriber for SubSocket {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        bind(&self.socket, endpoint)
    }

    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        connect(&self.socket, endpoint)
    }

    fn subscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        let subscribed = self.socket.set_subscribe(prefix);
        subscribed.map_err(|error| failed("subscribe".to_owned(), error))
    }

    fn unsubscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        let unsubscribed = self.socket.set_unsubscribe(prefix);
        unsubscribed.map_err(|error| failed("unsubscribe".to_owned(), error))
    }

    fn recv(&mut self, timeout: Duration) -> Result<Option<Message>, Error> {
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            match self.socket.poll(zmq::POLLIN, i64::from(millis(left))) {
                Ok(0) if left.is_zero() => return Ok(None),
                Ok(0) | Err(zmq::Error::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(failed("receive".to_owned(), error)),
            }
            match self.socket.recv_multipart(zmq::DONTWAIT) {
                Ok(frames) => return Ok(Some(Message { frames })),
                Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => {}
                Err(error) => return Err(failed("receive".to_owned(), error)),
            }
        }
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
        socket.set_tcp_keepalive(1)?;
        if let Some(interval) = options.heartbeat {
            socket.set_heartbeat_ivl(millis(interval))?;
            socket.set_heartbeat_timeout(millis(options.heartbeat_timeout))?;
        }
        Ok(())
    };
    configure().map_err(setup)?;
    Ok(socket)
}

fn bind(socket: &Socket, endpoint: &Endpoint) -> Result<Endpoint, Error> {
    let doing = || format!("bind {endpoint}");
    // libzmq binds to addresses, not to names.
    let address = if endpoint.host() == "*" {
        endpoint.to_string()
    } else {
        (endpoint.host(), endpoint.port())
            .to_socket_addrs()
            .and_then(|mut found| found.next().ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map(|address| format!("tcp://{address}"))
            .map_err(|source| Error::Io {
                doing: doing(),
                source,
            })?
    };
    // With IPv6 `*` is every address of both kinds.
    socket.set_ipv6(true).map_err(setup)?;
    socket
        .bind(&address)
        .map_err(|error| failed(doing(), error))?;
    let bound = socket
        .get_last_endpoint()
        .map_err(|error| failed(doing(), error))?;
    let port = bound
        .ok()
        .and_then(|text| text.parse::<Endpoint>().ok())
        .map(|bound| bound.port());
    Ok(Endpoint::tcp(
        endpoint.host(),
        port.unwrap_or(endpoint.port()),
    ))
}

fn connect(socket: &Socket, endpoint: &Endpoint) -> Result<(), Error> {
    // With IPv6 libzmq finds only the IPv6 addresses of a name.
    socket
        .set_ipv6(endpoint.host().contains(':'))
        .map_err(setup)?;
    let connected = socket.connect(&endpoint.to_string());
    connected.map_err(|error| failed(format!("connect {endpoint}"), error))
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
