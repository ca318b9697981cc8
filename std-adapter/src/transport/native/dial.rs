//! Connecting out: names to addresses, one attempt after the other, with pauses that double.

use super::{
    super::{Endpoint, Options},
    stream::Address,
};
use mio::Waker;
use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// One endpoint that a socket keeps connected to.
pub(super) struct Dial {
    endpoint: Arc<Endpoint>,
    pause: Duration,
    next: Option<Instant>,
    addresses: VecDeque<SocketAddr>,
    /// Where the resolver's answer comes.
    resolving: Option<Resolved>,
}

impl Dial {
    pub(super) fn new(endpoint: Endpoint, options: &Options) -> Self {
        Self {
            endpoint: Arc::new(endpoint),
            pause: options.reconnect,
            next: Some(Instant::now()),
            addresses: VecDeque::new(),
            resolving: None,
        }
    }

    /// When the next attempt is due; `None` while one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The address to try now, if an attempt is due and one is known. A name is resolved on a
    /// thread of its own, which wakes the socket's when it is done.
    pub(super) fn attempt(
        &mut self,
        now: Instant,
        waker: &Arc<Waker>,
    ) -> io::Result<Option<Address>> {
        if let Some(resolving) = &self.resolving {
            match resolving.try_recv() {
                Ok(resolved) => {
                    self.resolving = None;
                    self.addresses = resolved?.into();
                    if self.addresses.is_empty() {
                        return Err(io::Error::new(
                            ErrorKind::NotFound,
                            "the name has no address",
                        ));
                    }
                    self.next = Some(now);
                }
                Err(mpsc::TryRecvError::Empty) => return Ok(None),
                Err(mpsc::TryRecvError::Disconnected) => {
                    self.resolving = None;
                    return Err(io::Error::other("the resolver ended without an answer"));
                }
            }
        }
        if self.next.is_none_or(|next| next > now) {
            return Ok(None);
        }
        self.next = None;
        let (host, port) = match &*self.endpoint {
            Endpoint::Tcp { host, port } => (host, *port),
            Endpoint::Ipc(path) => return Ok(Some(Address::Path(path.clone()))),
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Some(Address::Ip(SocketAddr::new(ip, port))));
        }
        if let Some(address) = self.addresses.pop_front() {
            return Ok(Some(Address::Ip(address)));
        }
        self.resolving = Some(resolve(host.clone(), port, waker)?);
        Ok(None)
    }

    /// The attempt failed or the connection was lost: the next address at once, or, when all were
    /// tried, from the beginning after a pause.
    pub(super) fn failed(&mut self, now: Instant, options: &Options) {
        if !self.addresses.is_empty() {
            self.next = Some(now);
            return;
        }
        // A pause without end is a year.
        self.next = Some(now + self.pause.min(YEAR));
        let max = options.reconnect_max.max(options.reconnect);
        self.pause = self.pause.saturating_mul(2).min(max);
    }

    /// The peer is there: the next loss begins with the shortest pause again.
    pub(super) fn succeeded(&mut self, options: &Options) {
        self.pause = options.reconnect;
        self.addresses.clear();
    }
}

type Resolved = mpsc::Receiver<io::Result<Vec<SocketAddr>>>;

fn resolve(host: String, port: u16, waker: &Arc<Waker>) -> io::Result<Resolved> {
    let (sender, receiver) = mpsc::channel();
    let waker = Arc::clone(waker);
    let resolver = std::thread::Builder::new().name("fedmsg-resolve".into());
    resolver.spawn(move || {
        let resolved = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        // Nobody is left to hear of it when the socket was closed meanwhile.
        let _ = sender.send(resolved);
        let _ = waker.wake();
    })?;
    Ok(receiver)
}
