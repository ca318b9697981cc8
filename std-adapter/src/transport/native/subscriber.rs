//! The native SUB socket.

use super::{
    super::{Endpoint, Error, Message as Lent, Options, Subscriber},
    io::{Io, Role},
    link::{Ended, Link},
    prefixes::Prefixes,
};
use fedmsg_core::zmtp::{Event, Peer, SocketType};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

struct Message {
    frames: Vec<Vec<u8>>,
}

/// A SUB socket of the native transport.
pub struct NativeSubscriber {
    current: Vec<u8>,
    endpoint: Endpoint,
    io: Io<SubRole>,
    queue: Arc<Queue>,
    /// Taken from the queue and not yet asked for.
    taken: VecDeque<Message>,
    /// How often each prefix is subscribed to.
    subscriptions: BTreeMap<Vec<u8>, usize>,
}

impl NativeSubscriber {
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        let queue = Arc::new(Queue {
            state: Mutex::new(QueueState::default()),
            filled: Condvar::new(),
            max_bytes: options.max_memory,
            max_messages: match options.high_water_mark {
                0 => usize::MAX,
                n => n,
            },
        });
        let role = SubRole {
            queue: Arc::clone(&queue),
            prefixes: Prefixes::default(),
            batch: Vec::new(),
            batch_bytes: 0,
        };
        let io = Io::start(options, role)?;
        Ok(Self {
            io,
            queue,
            current: Vec::new(),
            endpoint: Endpoint::tcp("*", 0),
            taken: VecDeque::new(),
            subscriptions: BTreeMap::new(),
        })
    }
}

impl Subscriber for NativeSubscriber {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        self.io.bind(endpoint)
    }

    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        self.io.connect(endpoint)
    }

    fn subscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        let count = self.subscriptions.entry(prefix.to_vec()).or_default();
        *count += 1;
        match *count {
            1 => self.io.request(Request::Subscribe(prefix.to_vec())),
            _ => Ok(()),
        }
    }

    fn unsubscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        match self.subscriptions.get_mut(prefix) {
            Some(1) => {
                self.subscriptions.remove(prefix);
                self.io.request(Request::Cancel(prefix.to_vec()))
            }
            Some(count) => {
                *count -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn recv(&mut self, timeout: Duration) -> Result<Option<Lent<'_>>, Error> {
        let Some(message) = self.take(timeout)? else {
            return Ok(None);
        };
        self.current.clear();
        super::super::encode_frames(&message.frames, &mut self.current);
        Ok(fedmsg_core::zmtp::Message::from_wire(&self.current).map(|frames| Lent {
            frames,
            endpoint: &self.endpoint,
        }))
    }
}

impl NativeSubscriber {
    fn take(&mut self, timeout: Duration) -> Result<Option<Message>, Error> {
        if let Some(message) = self.taken.pop_front() {
            return Ok(Some(message));
        }
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.queue.lock();
        loop {
            if !state.messages.is_empty() {
                std::mem::swap(&mut self.taken, &mut state.messages);
                state.bytes = 0;
                if std::mem::take(&mut state.refused) {
                    self.io.doorbell().ring();
                }
                return Ok(self.taken.pop_front());
            }
            if state.closed {
                return Err(Error::Closed);
            }
            let left = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(3600),
            };
            if left.is_zero() {
                return Ok(None);
            }
            state = match self.queue.filled.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// Messages between the I/O thread and the reader.
struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
    max_bytes: usize,
    max_messages: usize,
}

#[derive(Default)]
struct QueueState {
    messages: VecDeque<Message>,
    bytes: usize,
    /// The I/O thread found it full and waits for the doorbell.
    refused: bool,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Request {
    Subscribe(Vec<u8>),
    Cancel(Vec<u8>),
}

struct SubRole {
    queue: Arc<Queue>,
    /// What is subscribed to: to match by, and to tell every new peer.
    prefixes: Prefixes,
    /// Received in this turn of the loop.
    batch: Vec<Message>,
    batch_bytes: usize,
}

/// Messages are handed over in batches of at most this many.
const BATCH: usize = 1024;
/// What a message costs besides its bytes, roughly.
const MESSAGE_OVERHEAD: usize = 128;

impl Role for SubRole {
    type Request = Request;

    const SOCKET_TYPE: SocketType = SocketType::Sub;

    fn ready(&mut self, _: usize, peer: &mut Peer, control: &mut Vec<u8>) {
        for prefix in self.prefixes.iter() {
            announce(peer, true, prefix, control);
        }
    }

    fn event(&mut self, _: usize, event: Event<'_>) -> Result<bool, Ended> {
        if let Event::Message(message) = event {
            let topic = message.frames().next().unwrap_or_default();
            // A peer may send what nobody asked it for.
            if self.prefixes.matches(topic) {
                let frames: Vec<_> = message.frames().map(<[u8]>::to_vec).collect();
                let bytes: usize = frames.iter().map(Vec::len).sum();
                self.batch_bytes += bytes + MESSAGE_OVERHEAD;
                self.batch.push(Message { frames });
            }
            if self.batch.len() >= BATCH || self.batch_bytes >= self.queue.max_bytes / 4 {
                self.turn();
                return Ok(self.wants_input());
            }
        }
        Ok(true)
    }

    fn wants_input(&mut self) -> bool {
        let mut state = self.queue.lock();
        state.refused =
            state.bytes >= self.queue.max_bytes || state.messages.len() >= self.queue.max_messages;
        !state.refused
    }

    fn turn(&mut self) {
        if !self.batch.is_empty() {
            let mut state = self.queue.lock();
            state.messages.extend(self.batch.drain(..));
            state.bytes += std::mem::take(&mut self.batch_bytes);
            drop(state);
            self.queue.filled.notify_one();
        }
    }

    fn write(&mut self, _: usize, link: &mut Link) -> Result<(), Ended> {
        if link.writable {
            link.write_control()?;
        }
        Ok(())
    }

    fn gone(&mut self, _: usize) {}

    fn request(&mut self, request: Request, links: &mut BTreeMap<usize, Link>) {
        let (on, prefix) = match request {
            Request::Subscribe(prefix) => {
                self.prefixes.insert(&prefix, usize::MAX);
                (true, prefix)
            }
            Request::Cancel(prefix) => {
                self.prefixes.remove(&prefix);
                (false, prefix)
            }
        };
        for (peer, control) in links.values_mut().map(Link::control_mut) {
            if peer.is_ready() {
                announce(peer, on, &prefix, control);
            }
        }
    }

    fn is_flushed(&self) -> bool {
        true
    }
}

impl Drop for SubRole {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_all();
    }
}

/// Tells `peer` of a subscription, or of its end.
fn announce(peer: &Peer, on: bool, prefix: &[u8], control: &mut Vec<u8>) {
    // With room for the longest headers.
    let mut bytes = vec![0; prefix.len() + 32];
    let encoded = if on {
        peer.encode_subscribe(prefix, &mut bytes)
    } else {
        peer.encode_cancel(prefix, &mut bytes)
    };
    control.extend(bytes.iter().take(encoded.unwrap_or_default()));
}
