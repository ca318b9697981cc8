//! Sockets of the standard library under the core's publisher: one connection out to a relay, or a
//! bound port and the subscribers that come to it.
//!
//! Everything happens on the caller's thread, in turns in which no socket waits. The standard
//! library cannot wait for several sockets at once, so after a turn without work there is a pause:
//! [`SHORTEST`] at first, twice as long each time up to [`LONGEST`] while nothing happens.

use std::{
    array,
    fmt::Display,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use fedmsg_core::{
    LinkError,
    crypto::Signer,
    message::{Envelope, Payload},
    publisher::Publisher,
    zmtp::Limits,
};

use crate::address::Address;

/// Publishes messages of one topic.
pub(crate) struct Link<'b> {
    publisher: Publisher<'b, PLACES, PREFIXES>,
    topic: &'b str,
    side: Side,
    places: [Option<Socket>; PLACES],
    /// How many connections there were.
    connections: u64,
    /// How many were cut off in the middle of a message that the ring had to let go.
    cut_off: u64,
    /// Why the last connection ended or could not be made.
    trouble: Option<String>,
    start: Instant,
}

/// Where connections come from.
enum Side {
    Bound(TcpListener),
    Relay {
        address: Address,
        next: Instant,
    },
    /// No more of them.
    Closed,
}

impl<'b> Link<'b> {
    /// Takes connections at an address of this machine. `publisher` publishes under `topic`.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn bind(
        address: &Address,
        publisher: Publisher<'b, PLACES, PREFIXES>,
        topic: &'b str,
    ) -> Result<Self, String> {
        let listener = address.listen().and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = listener.map_err(|error| format!("cannot bind {address}: {error}"))?;
        Ok(Self::new(Side::Bound(listener), publisher, topic))
    }

    /// Connects to a relay, and again whenever that connection is lost.
    pub(crate) fn relay(
        address: Address,
        publisher: Publisher<'b, PLACES, PREFIXES>,
        topic: &'b str,
    ) -> Self {
        let next = Instant::now();
        Self::new(Side::Relay { address, next }, publisher, topic)
    }

    fn new(side: Side, publisher: Publisher<'b, PLACES, PREFIXES>, topic: &'b str) -> Self {
        Self {
            publisher,
            topic,
            side,
            places: [const { None }; PLACES],
            connections: 0,
            cut_off: 0,
            trouble: None,
            start: Instant::now(),
        }
    }

    /// Where it is bound, with the real port.
    pub(crate) fn bound(&self) -> Option<SocketAddr> {
        match &self.side {
            Side::Bound(listener) => listener.local_addr().ok(),
            _ => None,
        }
    }

    /// Waits for somebody who wants the topic.
    ///
    /// # Errors
    /// There is nobody after `patience`: what is known of why.
    pub(crate) fn wait_for_subscriber(&mut self, patience: Duration) -> Result<(), String> {
        if self.until(patience, |link| (0..PLACES).any(|place| link.wants(place))) {
            return Ok(());
        }
        let (topic, within) = (self.topic, patience.as_secs_f64());
        let connected = self.places.iter().any(Option::is_some);
        let who = match &self.side {
            Side::Relay { address, .. } if connected => {
                return Err(format!(
                    "the relay at {address} did not subscribe to {topic} within {within} s"
                ));
            }
            Side::Relay { address, .. } => format!("no relay at {address}"),
            Side::Bound(_) | Side::Closed => format!("no subscriber to {topic}"),
        };
        let trouble = self.trouble.as_deref().unwrap_or("nobody came");
        Err(format!("{who} within {within} s: {trouble}"))
    }

    /// Publishes a message for whoever wants it now, and waits until the operating system has all
    /// of it for one of them; the others get it while they keep up with the ring. Whether one has
    /// it: not if there was none, or all are gone. `scratch` is where it is written.
    ///
    /// # Errors
    /// A message that cannot be written, or is too large; one that nobody has taken after
    /// `patience`.
    pub(crate) fn publish(
        &mut self,
        envelope: &Envelope<'_>,
        msg: &impl Payload,
        scratch: &mut [u8],
        patience: Duration,
    ) -> Result<bool, String> {
        let published = self.publisher.publish(envelope, msg, scratch);
        published.map_err(text)?;
        let mut takers: [_; PLACES] =
            array::from_fn(|place| self.connection(place).filter(|_| self.wants(place)));
        let taken = self.serve(patience, |link, pause| {
            for (place, taker) in takers.iter_mut().enumerate() {
                // Another one may have come in its place.
                *taker = taker.filter(|taker| link.connection(place) == Some(*taker));
                if taker.is_some() && link.has_taken_all(place) {
                    return Some(true);
                }
            }
            if takers.iter().all(Option::is_none) {
                return Some(false);
            }
            thread::sleep(pause);
            None
        });
        let within = patience.as_secs_f64();
        taken
            .ok_or_else(|| format!("no subscriber took all of it within {within} s (see --linger)"))
    }

    /// Waits until every subscriber has taken everything, and ends the connections.
    ///
    /// # Errors
    /// One has not after `patience`, or was too slow for the ring before.
    pub(crate) fn close(mut self, patience: Duration) -> Result<(), String> {
        self.side = Side::Closed;
        self.until(patience, |link| link.slow() == 0);
        let slow = self.slow();
        for socket in self.places.iter().flatten() {
            // One that is gone already needs no end.
            let _ = socket.stream.shutdown(Shutdown::Write);
        }
        // Closing a socket with something unread in it takes back what is still under way. So it is
        // read from until the peer has ended the connection too.
        self.until(GOODBYE, |link| link.places.iter().all(Option::is_none));
        if slow > 0 {
            let within = patience.as_secs_f64();
            return Err(format!(
                "{slow} subscribers had not taken everything within {within} s (see --linger)"
            ));
        }
        match (self.cut_off, self.publisher.lost()) {
            (0, 0) => Ok(()),
            (cut_off, lost) => Err(format!(
                "subscribers were too slow: {cut_off} cut off, {lost} messages lost"
            )),
        }
    }

    /// Serves the sockets until `ask` has an answer, for as long as `patience`. `ask` is also told
    /// how long it may wait for one.
    pub(crate) fn serve<T>(
        &mut self,
        patience: Duration,
        mut ask: impl FnMut(&mut Self, Duration) -> Option<T>,
    ) -> Option<T> {
        let start = Instant::now();
        let mut pause = Duration::ZERO;
        loop {
            let left = patience.saturating_sub(start.elapsed());
            pause = match self.turn(left) {
                true => Duration::ZERO,
                false => (pause * 2).clamp(SHORTEST, LONGEST),
            };
            let answer = ask(self, pause.min(left));
            if answer.is_some() || left.is_zero() {
                return answer;
            }
        }
    }

    /// Serves the sockets until something is so, for as long as `patience`; whether it is.
    fn until(&mut self, patience: Duration, mut so: impl FnMut(&mut Self) -> bool) -> bool {
        let answer = self.serve(patience, |link, pause| {
            if so(link) {
                return Some(());
            }
            thread::sleep(pause);
            None
        });
        answer.is_some()
    }

    /// One turn of every socket, without waiting for any but a relay's address, which may take
    /// `patience`; whether anything happened.
    fn turn(&mut self, patience: Duration) -> bool {
        let mut busy = self.take_connections(patience);
        let now = self.now();
        for (place, socket) in self.places.iter_mut().enumerate() {
            let Some(open) = socket else { continue };
            match open.turn(&mut self.publisher, place, now) {
                Ok(moved) => busy |= moved,
                Err(trouble) => {
                    *socket = None;
                    let last = self.publisher.outgoing(place);
                    self.cut_off += u64::from(matches!(last, Err(LinkError::TooSlow)));
                    self.publisher.close(place);
                    self.trouble = Some(trouble);
                    busy = true;
                }
            }
        }
        busy
    }

    fn take_connections(&mut self, patience: Duration) -> bool {
        let stream = match &mut self.side {
            Side::Bound(listener) => match listener.accept() {
                Ok((stream, _)) => stream,
                Err(_) => return false,
            },
            Side::Relay { address, next } => {
                if self.places.iter().any(Option::is_some) || Instant::now() < *next {
                    return false;
                }
                *next = Instant::now() + RECONNECT;
                match address.connect(patience) {
                    Ok(stream) => stream,
                    Err(error) => {
                        self.trouble = Some(text(error));
                        return false;
                    }
                }
            }
            Side::Closed => return false,
        };
        let ready = stream
            .set_nonblocking(true)
            .and_then(|()| stream.set_nodelay(true));
        if ready.is_ok() {
            self.open(stream);
        }
        true
    }

    /// Gives a connection a place: that of the oldest one that does not want the topic, if all are
    /// taken. So peers that only hold connections keep out no subscriber.
    fn open(&mut self, stream: TcpStream) {
        let now = self.now();
        if self.places.iter().all(Option::is_some) {
            let idle = (0..PLACES).filter(|place| !self.wants(*place));
            if let Some(oldest) = idle.min_by_key(|place| self.connection(*place)) {
                self.publisher.close(oldest);
                if let Some(place) = self.places.get_mut(oldest) {
                    *place = None;
                }
            }
        }
        let place = self.publisher.open(now);
        if let Some(place) = place.and_then(|place| self.places.get_mut(place)) {
            self.connections += 1;
            *place = Some(Socket {
                stream,
                connection: self.connections,
                unsent: Vec::with_capacity(CHUNK),
            });
        }
    }

    fn wants(&self, place: usize) -> bool {
        self.publisher.wants(place, self.topic)
    }

    /// The number of the connection at this place.
    fn connection(&self, place: usize) -> Option<u64> {
        Some(self.places.get(place)?.as_ref()?.connection)
    }

    /// Whether the operating system has everything that there is for the connection at this place.
    fn has_taken_all(&mut self, place: usize) -> bool {
        let socket = self.places.get(place).and_then(Option::as_ref);
        socket.is_some_and(|socket| socket.unsent.is_empty())
            && self.publisher.outgoing(place).is_ok_and(<[u8]>::is_empty)
    }

    /// How many subscribers have not taken everything.
    fn slow(&mut self) -> usize {
        (0..PLACES)
            .filter(|place| self.wants(*place) && !self.has_taken_all(*place))
            .count()
    }

    /// The publisher's clock, in milliseconds.
    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

/// A connection.
struct Socket {
    stream: TcpStream,
    /// Its number.
    connection: u64,
    /// Taken from the publisher, and not yet by the operating system: up to [`CHUNK`] bytes, so that
    /// a message is one write and not one for each of its pieces.
    unsent: Vec<u8>,
}

impl Socket {
    /// Reads and writes what goes without waiting, for a while; whether that was anything.
    fn turn(
        &mut self,
        publisher: &mut Publisher<'_, PLACES, PREFIXES>,
        place: usize,
        now: u64,
    ) -> Result<bool, String> {
        let mut busy = false;
        for _ in 0..TURNS {
            let space = publisher.space(place).map_err(text)?;
            match self.stream.read(space) {
                Ok(0) => return Err("the other side closed the connection".into()),
                Ok(len) => {
                    busy = true;
                    let received = publisher.received(place, len, now);
                    received.map_err(text)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(text(error)),
            }
        }
        let checked = publisher.tick(place, now);
        checked.map_err(text)?;
        for _ in 0..TURNS {
            loop {
                // Asked even where there is no room: for whether the ring is past it.
                let bytes = publisher.outgoing(place).map_err(text)?;
                let room = CHUNK.saturating_sub(self.unsent.len());
                let bytes = bytes.get(..room).unwrap_or(bytes);
                if bytes.is_empty() {
                    break;
                }
                self.unsent.extend(bytes);
                let len = bytes.len();
                let sent = publisher.sent(place, len);
                sent.map_err(text)?;
            }
            if self.unsent.is_empty() {
                break;
            }
            match self.stream.write(&self.unsent) {
                Ok(len) => {
                    busy = true;
                    self.unsent.drain(..len);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(text(error)),
            }
        }
        Ok(busy)
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// A publisher of unsigned or signed messages for a [`Link`]. `ring` holds the messages that the
/// slower subscribers have not taken yet.
pub(crate) fn publisher<'b>(
    ring: &'b mut [u8],
    signer: Option<&'b dyn Signer>,
) -> Publisher<'b, PLACES, PREFIXES> {
    match signer {
        Some(signer) => Publisher::signed(ring, signer, Limits::DEFAULT),
        None => Publisher::new(ring, Limits::DEFAULT),
    }
}

/// How many subscribers there may be at once.
const PLACES: usize = 16;
/// Bytes for each one's subscriptions.
const PREFIXES: usize = 256;
/// How often a socket is read from or written to before it is the others' turn.
const TURNS: usize = 16;
/// The most that is written at once, in bytes.
const CHUNK: usize = 16 << 10;
/// The pauses between turns without work.
const SHORTEST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(20);
/// From one attempt to connect to the next, as libzmq's.
const RECONNECT: Duration = Duration::from_millis(100);
/// How long the peers have to end their connections too.
const GOODBYE: Duration = Duration::from_secs(1);
