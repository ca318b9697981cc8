//! Connecting out: names to addresses, one attempt after the other, with pauses that double.

use super::super::{Endpoint, Options};
use mio::Waker;
use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// One endpoint that a socket keeps connected to.
pub(super) struct Dial {
    endpoint: Endpoint,
    pause: Duration,
    next: Option<Instant>,
    addresses: Vec<SocketAddr>,
    /// Where the resolver's answer comes.
    resolving: Option<mpsc::Receiver<io::Result<Vec<SocketAddr>>>>,
}

impl Dial {
    pub(super) fn new(endpoint: Endpoint, options: &Options) -> Self {
        Self {
            endpoint,
            pause: options.reconnect,
            next: Some(Instant::now()),
            addresses: Vec::new(),
            resolving: None,
        }
    }

    /// When the next attempt is due; `None` while one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The address to try now, if an attempt is due and one is known. A name is resolved on a
    /// thread of its own, which wakes the socket's when it is done.
    pub(super) fn attempt(
        &mut self,
        now: Instant,
        waker: &Arc<Waker>,
    ) -> io::Result<Option<SocketAddr>> {
        if let Some(resolving) = &self.resolving {
            match resolving.try_recv() {
                Ok(resolved) => {
                    self.resolving = None;
                    self.addresses = resolved?;
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
        let (host, port) = match &self.endpoint {
            Endpoint::Tcp { host, port } => (host.clone(), *port),
            Endpoint::Ipc(_) => return Err(ErrorKind::Unsupported.into()),
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Some(SocketAddr::new(ip, port)));
        }
        if self.addresses.is_empty() {
            self.resolve(host, port, waker)?;
            return Ok(None);
        }
        Ok(Some(self.addresses.remove(0)))
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

    fn resolve(&mut self, host: String, port: u16, waker: &Arc<Waker>) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel();
        let waker = Arc::clone(waker);
        let resolver = std::thread::Builder::new().name("fedmsg-resolve".into());
        resolver.spawn(move || {
            let resolved = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
            // Nobody is left to hear of it when the socket was closed meanwhile.
            let _ = sender.send(resolved);
            let _ = waker.wake();
        })?;
        self.resolving = Some(receiver);
        Ok(())
    }
}
