//! The native PUB socket.

use super::{
    super::{Endpoint, Error, Options, Publisher},
    io::{Doorbell, Io, Role},
    link::{Ended, Link},
    prefixes::Prefixes,
};
use fedmsg_core::{
    publisher::ring::{Cursor, Next, Record, Ring},
    zmtp::{
        Event, Peer, SocketType,
        frame::{self, Decoded},
        message_headers,
    },
};
use std::{
    collections::BTreeMap,
    io::{ErrorKind, IoSlice, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The most pieces of one gathered write.
const PIECES: usize = 256;
/// What one peer's subscriptions may take, in bytes.
const MAX_SUBSCRIPTIONS: usize = 1 << 20;

/// A PUB socket of the native transport.
pub struct NativePublisher {
    io: Io<PubRole>,
    log: Arc<Mutex<Log>>,
    doorbell: Arc<Doorbell>,
    max_message: usize,
}

impl NativePublisher {
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        let log = Arc::new(Mutex::new(Log {
            ring: Ring::new(vec![0; options.max_memory].into_boxed_slice()),
            readers: BTreeMap::new(),
            high_water_mark: match options.high_water_mark {
                0 => u64::MAX,
                n => n as u64,
            },
        }));
        let mut doorbell = None;
        let io = Io::start(options, |bell| {
            doorbell = Some(bell);
            PubRole {
                log: Arc::clone(&log),
            }
        })?;
        let doorbell = doorbell.ok_or(Error::Closed)?;
        Ok(Self {
            io,
            log,
            doorbell,
            max_message: options.max_message,
        })
    }
}

impl Publisher for NativePublisher {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        self.io.bind(endpoint)
    }

    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        self.io.connect(endpoint)
    }

    fn send(&mut self, topic: &[u8], body: &[&[u8]]) -> Result<(), Error> {
        let len = body.iter().map(|piece| piece.len()).sum();
        let size = topic.len() + len;
        let limit = self.max_message;
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let [first, second] = &message_headers(topic.len(), len);
        let mut parts: Vec<&[u8]> = vec![first, topic, second];
        parts.extend_from_slice(body);
        lock(&self.log)
            .append(&parts)
            .map_err(|limit| Error::TooLarge { size, limit })?;
        self.doorbell.ring();
        Ok(())
    }

    fn subscribers(&mut self) -> Result<usize, Error> {
        let log = lock(&self.log);
        Ok(log
            .readers
            .values()
            .filter(|reader| !reader.prefixes.is_empty())
            .count())
    }

    fn close(self) {
        // Dropping `io` lingers.
    }
}

/// The messages, and how far each subscriber has them.
struct Log {
    ring: Ring<Box<[u8]>>,
    readers: BTreeMap<usize, Reader>,
    high_water_mark: u64,
}

/// One subscriber's place.
struct Reader {
    prefixes: Prefixes,
    cursor: Cursor,
    /// How much of the message at the cursor has gone out.
    sent: usize,
    /// What is left to send of a message that the ring had to let go half sent.
    rest: Vec<u8>,
}

impl Log {
    fn append(&mut self, parts: &[&[u8]]) -> Result<(), usize> {
        let readers = &mut self.readers;
        self.ring
            .append(parts, None, |evicted| {
                for reader in readers.values_mut() {
                    reader.keep_rest(evicted);
                }
            })
            .map_err(|error| error.limit)
    }
}

impl Reader {
    fn keep_rest(&mut self, evicted: Record<'_>) {
        if self.sent > 0 && self.cursor.number() == evicted.number {
            self.rest = evicted.bytes.get(self.sent..).unwrap_or_default().to_vec();
            self.sent = 0;
        }
    }

    /// Collects what is to be sent next, then the cursor at which `sent` bytes end.
    fn gather<'l>(&'l self, ring: &'l Ring<Box<[u8]>>, pieces: &mut Vec<IoSlice<'l>>) {
        if !self.rest.is_empty() {
            pieces.push(IoSlice::new(&self.rest));
        }
        let mut cursor = self.cursor;
        let mut sent = self.sent;
        while pieces.len() < PIECES {
            match ring.at(&cursor) {
                Next::Empty => break,
                Next::Lost => {}
                Next::Record(record) => {
                    if self.wants(record) {
                        let unsent = record.bytes.get(sent..).unwrap_or_default();
                        pieces.push(IoSlice::new(unsent));
                    }
                }
            }
            sent = 0;
            ring.advance(&mut cursor);
        }
    }

    /// `n` bytes of what was gathered went out.
    fn sent(&mut self, mut n: usize, ring: &Ring<Box<[u8]>>) {
        let rest = n.min(self.rest.len());
        self.rest.drain(..rest);
        n -= rest;
        loop {
            match ring.at(&self.cursor) {
                Next::Empty => break,
                Next::Lost => {}
                Next::Record(record) => {
                    if self.wants(record) {
                        let unsent = record.bytes.len() - self.sent;
                        if n < unsent {
                            self.sent += n;
                            break;
                        }
                        n -= unsent;
                    }
                }
            }
            self.sent = 0;
            ring.advance(&mut self.cursor);
        }
    }

    fn wants(&self, record: Record<'_>) -> bool {
        // A message under way goes on, even if it is no longer subscribed to.
        if self.sent > 0 && record.number == self.cursor.number() {
            return true;
        }
        match frame::decode(record.bytes, u64::MAX) {
            Ok(Decoded::Frame { frame, .. }) => self.prefixes.matches(frame.body),
            _ => false,
        }
    }

    /// Passes over what is more than the high-water mark behind.
    fn keep_up(&mut self, ring: &Ring<Box<[u8]>>, high_water_mark: u64) {
        if self.sent == 0 {
            while ring.appended() - self.cursor.number() > high_water_mark {
                ring.advance(&mut self.cursor);
            }
        }
    }
}

struct PubRole {
    log: Arc<Mutex<Log>>,
}

impl Role for PubRole {
    type Request = std::convert::Infallible;

    const SOCKET_TYPE: SocketType = SocketType::Pub;

    fn ready(&mut self, id: usize, _: &mut Peer, _: &mut Vec<u8>) {
        let mut log = lock(&self.log);
        let reader = Reader {
            prefixes: Prefixes::default(),
            cursor: log.ring.cursor(),
            sent: 0,
            rest: Vec::new(),
        };
        log.readers.insert(id, reader);
    }

    fn event(&mut self, id: usize, event: Event<'_>) -> Result<bool, Ended> {
        let mut log = lock(&self.log);
        let log = &mut *log;
        if let Some(reader) = log.readers.get_mut(&id) {
            match event {
                Event::Subscribe(prefix) => {
                    if reader.prefixes.is_empty() && reader.sent == 0 {
                        // What was sent before anything was subscribed to is not for this one.
                        reader.cursor = log.ring.cursor();
                    }
                    if !reader.prefixes.insert(prefix, MAX_SUBSCRIPTIONS) {
                        return Err(Ended::Subscriptions(MAX_SUBSCRIPTIONS));
                    }
                }
                Event::Cancel(prefix) => reader.prefixes.remove(prefix),
                _ => {}
            }
        }
        Ok(true)
    }

    fn wants_input(&mut self) -> bool {
        true
    }

    fn turn(&mut self) {}

    fn write(&mut self, id: usize, link: &mut Link) -> Result<(), Ended> {
        loop {
            let mut log = lock(&self.log);
            let Log {
                ring,
                readers,
                high_water_mark,
            } = &mut *log;
            let Some(reader) = readers.get_mut(&id) else {
                drop(log);
                return link.write_control().map(drop);
            };
            if reader.sent == 0 && reader.rest.is_empty() && !link.write_control()? {
                return Ok(());
            }
            reader.keep_up(ring, *high_water_mark);
            let mut pieces = Vec::with_capacity(PIECES);
            reader.gather(ring, &mut pieces);
            if pieces.is_empty() {
                reader.sent(0, ring);
                return Ok(());
            }
            match link.stream.write_vectored(&pieces) {
                Ok(n) => reader.sent(n, ring),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    link.writable = false;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn gone(&mut self, id: usize) {
        lock(&self.log).readers.remove(&id);
    }

    fn request(&mut self, request: Self::Request, _: &mut BTreeMap<usize, Link>) {
        match request {}
    }

    fn is_flushed(&self) -> bool {
        let log = lock(&self.log);
        log.readers.values().all(|reader| {
            reader.rest.is_empty()
                && (reader.prefixes.is_empty() || reader.cursor.number() == log.ring.appended())
        })
    }
}

/// The log is left whole by every method, so a panic elsewhere while it was locked does not
/// spoil it.
fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
