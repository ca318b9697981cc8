//! The native PUB socket.

use super::{
    super::{Endpoint, Error, Options, Publisher},
    io::{Io, Role},
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
            kept: 0,
            max_kept: options.max_memory,
            lost: 0,
            closed: false,
        }));
        let role = PubRole {
            log: Arc::clone(&log),
        };
        Ok(Self {
            io: Io::start(options, role)?,
            log,
            max_message: options.max_message,
        })
    }

    /// How many messages subscribers have lost because they were too slow, all together, wanted by
    /// their subscriptions or not.
    #[must_use]
    pub fn lost(&self) -> u64 {
        lock(&self.log).lost
    }
}

impl Publisher for NativePublisher {
    fn bind(&self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        self.io.bind(endpoint)
    }

    fn connect(&self, endpoint: &Endpoint) -> Result<(), Error> {
        self.io.connect(endpoint)
    }

    fn send(&self, topic: &[u8], body: &[&[u8]]) -> Result<(), Error> {
        let len = body.iter().map(|piece| piece.len()).sum();
        let size = topic.len() + len;
        let limit = self.max_message;
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let [first, second] = &message_headers(topic.len(), len);
        let mut parts: Vec<&[u8]> = vec![first, topic, second];
        parts.extend_from_slice(body);
        let mut log = lock(&self.log);
        if log.closed {
            return Err(Error::Closed);
        }
        log.append(&parts)
            .map_err(|limit| Error::TooLarge { size, limit })?;
        drop(log);
        self.io.doorbell().ring();
        Ok(())
    }

    fn subscribers(&self) -> Result<usize, Error> {
        let log = lock(&self.log);
        if log.closed {
            return Err(Error::Closed);
        }
        Ok(log
            .readers
            .values()
            .filter(|reader| !reader.prefixes.is_empty())
            .count())
    }

    fn forward(&self, message: &super::super::Message<'_>) -> Result<(), Error> {
        match message.topic_and_body() {
            Some((topic, body)) => self.send(topic, &[body]),
            None => Ok(()),
        }
    }

    fn wait_for_subscriber(&self, timeout: std::time::Duration) -> Result<bool, Error> {
        let start = std::time::Instant::now();
        while self.subscribers()? == 0 {
            if start.elapsed() > timeout {
                return Ok(false);
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Ok(true)
    }

    fn interests(&self, _: u64) -> Result<Option<super::super::Interests>, Error> {
        Ok(None)
    }

    fn close(self) -> Result<(), Error> {
        // This waits for the thread, and the thread for what is unsent.
        drop(self.io);
        let log = lock(&self.log);
        let unsent = |reader: &Reader| match reader.is_flushed(&log.ring) {
            true => 0,
            false => log
                .ring
                .appended()
                .saturating_sub(reader.cursor.number())
                .max(1),
        };
        match log.lost + log.readers.values().map(unsent).sum::<u64>() {
            0 => Ok(()),
            messages => Err(Error::Lost { messages }),
        }
    }
}

/// The messages, and how far each subscriber has them.
struct Log {
    ring: Ring<Box<[u8]>>,
    readers: BTreeMap<usize, Reader>,
    high_water_mark: u64,
    /// Bytes of messages that the ring had to let go half sent, and how many there may be.
    kept: usize,
    max_kept: usize,
    /// Messages that subscribers lost, all together.
    lost: u64,
    /// The I/O thread is gone.
    closed: bool,
}

/// One subscriber's place.
struct Reader {
    prefixes: Prefixes,
    cursor: Cursor,
    /// How much of the message at the cursor has gone out.
    sent: usize,
    /// What is left to send of a message that the ring had to let go half sent: all but the first
    /// `rest_sent` bytes.
    rest: Vec<u8>,
    rest_sent: usize,
    /// The message in `rest` is still to be passed by the cursor, and is not lost.
    rest_unpassed: bool,
    /// There was no room for its rest: its connection must end.
    too_slow: bool,
}

impl Log {
    fn append(&mut self, parts: &[&[u8]]) -> Result<(), usize> {
        let Self {
            ring,
            readers,
            kept,
            max_kept,
            ..
        } = self;
        ring.append(parts, None, |evicted| {
            for reader in readers.values_mut() {
                reader.keep_rest(evicted, kept, *max_kept);
            }
        })
        .map_err(|error| error.limit)
    }

    /// `n` bytes of what was gathered for this reader went out.
    fn sent(&mut self, id: usize, mut n: usize) {
        let Self {
            ring,
            readers,
            kept,
            lost,
            ..
        } = self;
        let Some(reader) = readers.get_mut(&id) else {
            return;
        };
        let rest = n.min(reader.rest.len() - reader.rest_sent);
        reader.rest_sent += rest;
        n -= rest;
        if reader.rest_sent == reader.rest.len() {
            *kept -= reader.rest.len();
            reader.rest = Vec::new();
            reader.rest_sent = 0;
        }
        loop {
            match ring.at(&reader.cursor) {
                Next::Empty => break,
                Next::Lost => *lost += reader.unread(ring),
                Next::Record(record) => {
                    if reader.wants(record) {
                        let unsent = record.bytes.len() - reader.sent;
                        if n < unsent {
                            reader.sent += n;
                            break;
                        }
                        n -= unsent;
                    }
                }
            }
            reader.sent = 0;
            ring.advance(&mut reader.cursor);
        }
    }
}

impl Reader {
    fn keep_rest(&mut self, evicted: Record<'_>, kept: &mut usize, max_kept: usize) {
        if self.sent == 0 || self.cursor.number() != evicted.number {
            return;
        }
        let rest = evicted.bytes.get(self.sent..).unwrap_or_default();
        self.sent = 0;
        if kept.saturating_add(rest.len()) > max_kept {
            self.too_slow = true;
            return;
        }
        *kept += rest.len();
        self.rest = rest.to_vec();
        self.rest_unpassed = true;
    }

    /// Collects what is to be sent next.
    fn gather<'l>(&'l self, ring: &'l Ring<Box<[u8]>>, pieces: &mut Vec<IoSlice<'l>>) {
        if !self.rest.is_empty() {
            let unsent = self.rest.get(self.rest_sent..).unwrap_or_default();
            pieces.push(IoSlice::new(unsent));
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

    fn is_flushed(&self, ring: &Ring<Box<[u8]>>) -> bool {
        self.rest.is_empty()
            && (self.prefixes.is_empty() || self.cursor.number() == ring.appended())
    }

    /// How many messages are gone that the cursor has still to pass, besides the one in `rest`.
    fn unread(&mut self, ring: &Ring<Box<[u8]>>) -> u64 {
        let mut past = self.cursor;
        ring.advance(&mut past);
        let rest = u64::from(std::mem::take(&mut self.rest_unpassed));
        (past.number() - self.cursor.number()).saturating_sub(rest)
    }

    /// Passes over what is more than the high-water mark behind; how many messages that is.
    fn keep_up(&mut self, ring: &Ring<Box<[u8]>>, high_water_mark: u64) -> u64 {
        let mut lost = 0;
        while self.sent == 0 && ring.appended() - self.cursor.number() > high_water_mark {
            lost += self.unread(ring);
            ring.advance(&mut self.cursor);
        }
        lost
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
            rest_sent: 0,
            rest_unpassed: false,
            too_slow: false,
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
                        reader.rest_unpassed = false;
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
                lost,
                ..
            } = &mut *log;
            let Some(reader) = readers.get_mut(&id) else {
                drop(log);
                return link.write_control().map(drop);
            };
            if reader.too_slow {
                return Err(Ended::TooSlow);
            }
            if !link.writable {
                return Ok(());
            }
            if reader.sent == 0 && reader.rest.is_empty() && !link.write_control()? {
                return Ok(());
            }
            *lost += reader.keep_up(ring, *high_water_mark);
            let mut pieces = Vec::new();
            reader.gather(ring, &mut pieces);
            if pieces.is_empty() {
                // What it does not want is passed over.
                log.sent(id, 0);
                return Ok(());
            }
            match link.stream.write_vectored(&pieces) {
                Ok(n) => log.sent(id, n),
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
        let mut log = lock(&self.log);
        if let Some(mut reader) = log.readers.remove(&id) {
            log.kept -= reader.rest.len();
            if let Next::Lost = log.ring.at(&reader.cursor) {
                log.lost += reader.unread(&log.ring);
            }
        }
    }

    fn request(&mut self, request: Self::Request, _: &mut BTreeMap<usize, Link>) {
        match request {}
    }

    fn is_flushed(&self) -> bool {
        let log = lock(&self.log);
        let mut readers = log.readers.values();
        readers.all(|reader| reader.is_flushed(&log.ring))
    }
}

impl Drop for PubRole {
    fn drop(&mut self) {
        lock(&self.log).closed = true;
    }
}

/// The log is left whole by every method, so a panic elsewhere while it was locked does not
/// spoil it.
fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
