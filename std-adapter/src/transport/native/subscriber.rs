//! The native SUB socket.

use super::{
    super::{Endpoint, Error, Message, Options, Subscriber},
    driver::{Driver, Role},
    interests::Interests,
    link::{Ended, Link},
    seat::Seat,
};
use fedmsg_core::zmtp::{self, Event, Peer, SocketType};
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

/// Buffers kept to be used again.
const MAX_SPARE: usize = 4;

/// A SUB socket of the native transport.
pub struct NativeSubscriber {
    seat: Seat<SubRole>,
    /// What the user is being given.
    batch: Batch,
    next: usize,
    /// How often each prefix is subscribed to.
    subscriptions: BTreeMap<Vec<u8>, usize>,
}

/// Messages as they were read.
#[derive(Debug)]
struct Batch {
    bytes: Vec<u8>,
    messages: Vec<Range<usize>>,
    endpoint: Arc<Endpoint>,
}

impl Batch {
    /// What it costs, in bytes.
    fn size(&self) -> usize {
        self.bytes.capacity() + self.messages.capacity() * size_of::<Range<usize>>()
    }
}

impl NativeSubscriber {
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        let role = SubRole {
            interests: Interests::default(),
            ready: VecDeque::new(),
            spare: Vec::new(),
            bytes: 0,
            count: 0,
            max_bytes: options.max_memory,
            max_count: match options.high_water_mark {
                0 => usize::MAX,
                n => n,
            },
        };
        Ok(Self {
            seat: Seat::new(options, role)?,
            batch: Batch {
                bytes: Vec::new(),
                messages: Vec::new(),
                endpoint: Arc::new(Endpoint::tcp("*", 0)),
            },
            next: 0,
            subscriptions: BTreeMap::new(),
        })
    }

    /// Gets the next batch; whether one came in time.
    #[cold]
    fn fill(&mut self, timeout: Duration) -> Result<bool, Error> {
        let start = Instant::now();
        let deadline = start.checked_add(timeout);
        let batch = &mut self.batch;
        let filled = self.seat.wait(|driver| {
            // At least once, however short the time is.
            loop {
                if driver.role.give(batch) {
                    return Ok(true);
                }
                driver.turn(deadline).map_err(|_| Error::Closed)?;
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    return Ok(driver.role.give(batch));
                }
            }
        });
        self.next = 0;
        filled?
    }

    /// Tells every peer.
    fn announce(&self, on: bool, prefix: &[u8]) -> Result<(), Error> {
        let announced = |driver: &mut Driver<SubRole>| {
            if on {
                driver.role.interests.add(prefix);
            } else if let Some(class) = driver.role.interests.get(prefix) {
                driver.role.interests.remove(class);
                driver.role.interests.prune();
            }
            for (_, link) in &mut driver.links {
                if link.greeted {
                    announce(&link.peer, on, prefix, &mut link.control);
                }
            }
            driver.turn(Some(Instant::now()))
        };
        self.seat.with(announced)?.map_err(|_| Error::Closed)
    }
}

impl Subscriber for NativeSubscriber {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        self.seat.with(|driver| driver.bind(endpoint))?
    }

    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        self.seat.with(|driver| driver.connect(endpoint))?
    }

    fn subscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        let count = self.subscriptions.entry(prefix.to_vec()).or_default();
        *count += 1;
        match *count {
            1 => self.announce(true, prefix),
            _ => Ok(()),
        }
    }

    fn unsubscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        match self.subscriptions.get_mut(prefix) {
            Some(1) => {
                self.subscriptions.remove(prefix);
                self.announce(false, prefix)
            }
            Some(count) => {
                *count -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    #[inline]
    fn recv(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, Error> {
        if self.next == self.batch.messages.len() && !self.fill(timeout)? {
            return Ok(None);
        }
        let place = self.batch.messages.get(self.next).cloned();
        self.next += 1;
        let bytes = place.and_then(|place| self.batch.bytes.get(place));
        let message = bytes.and_then(zmtp::Message::from_wire);
        Ok(message.map(|frames| Message {
            frames,
            endpoint: &self.batch.endpoint,
        }))
    }
}

struct SubRole {
    /// What is subscribed to: to match by, and to tell every new peer.
    interests: Interests,
    /// Received, and waiting for the user.
    ready: VecDeque<Batch>,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
    /// What is in `ready`, in bytes and in messages, and how much there may be.
    bytes: usize,
    count: usize,
    max_bytes: usize,
    max_count: usize,
}

impl SubRole {
    /// The next batch in the place of the one that is done; whether there is one.
    fn give(&mut self, batch: &mut Batch) -> bool {
        let Some(next) = self.ready.pop_front() else {
            batch.messages.clear();
            return false;
        };
        self.bytes -= next.size();
        self.count -= next.messages.len();
        let done = std::mem::replace(batch, next);
        if self.spare.len() < MAX_SPARE && done.bytes.len() == super::link::READ {
            self.spare.push(done.bytes);
        }
        true
    }
}

impl Role for SubRole {
    type Conn = ();

    const SOCKET_TYPE: SocketType = SocketType::Sub;

    fn ready(&mut self, link: &mut Link<()>) {
        for prefix in self.interests.prefixes() {
            announce(&link.peer, true, &prefix, &mut link.control);
        }
    }

    #[inline]
    fn event(&mut self, (): &mut (), event: Event<'_>) -> Result<bool, Ended> {
        let Event::Message(message) = event else {
            return Ok(false);
        };
        // A peer may send what nobody asked it for.
        let topic = message.frames().next().unwrap_or_default();
        Ok(self.interests.classify(topic).is_some())
    }

    fn batch(
        &mut self,
        buffer: &mut Vec<u8>,
        messages: &mut Vec<Range<usize>>,
        endpoint: &Arc<Endpoint>,
    ) {
        self.count += messages.len();
        if let Some(last) = self.ready.back_mut()
            && last.endpoint == *endpoint
        {
            // The user is away: what has to be kept is kept together.
            let used = last.messages.last().map_or(0, |last| last.end);
            let more: usize = messages.iter().map(Range::len).sum();
            if used + more <= last.bytes.len() {
                let before = last.size();
                let mut at = used;
                for place in messages.drain(..) {
                    let end = at + place.len();
                    last.bytes
                        .get_mut(at..end)
                        .unwrap_or_default()
                        .copy_from_slice(buffer.get(place).unwrap_or_default());
                    last.messages.push(at..end);
                    at = end;
                }
                self.bytes += last.size() - before;
                return;
            }
        }
        let next = self.spare.pop().unwrap_or_default();
        let batch = Batch {
            bytes: std::mem::replace(buffer, next),
            messages: std::mem::take(messages),
            endpoint: Arc::clone(endpoint),
        };
        self.bytes += batch.size();
        self.ready.push_back(batch);
    }

    fn wants_input(&self) -> bool {
        self.bytes < self.max_bytes && self.count < self.max_count
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
