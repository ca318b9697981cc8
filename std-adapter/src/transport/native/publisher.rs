//! The native PUB socket.

use super::{
    super::{
        Endpoint, Error, Interests as Asked, Message, Notice, Options, Publisher, WhenFull,
        encode_frames,
    },
    driver::{Links, Role, tell},
    interests::{Class, Interests, OVERHEAD},
    link::{Ended, Link},
    log::{Cursor, Front, Log, Run, Wants},
    seat::Seat,
};
use fedmsg_core::zmtp::{Event, SocketType, message_headers};
use std::{
    collections::VecDeque,
    io::{ErrorKind, IoSlice, Write},
    iter,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The most pieces of one gathered write, and the most bytes.
const PIECES: usize = 64;
const WRITE: usize = 1 << 20;
/// What one peer's subscriptions may take, in bytes.
const MAX_SUBSCRIPTIONS: usize = 4 << 20;
/// So many runs of messages are listed for one subscriber.
const MAX_RUNS: usize = 256;
/// How often a subscriber's losses are told while it does not read.
const TELL: Duration = Duration::from_secs(1);

/// A PUB socket of the native transport.
pub struct NativePublisher {
    shared: Arc<Shared>,
    seat: Seat<PubRole>,
    max_message: usize,
    linger: Duration,
}

/// What publishing threads and the I/O thread share.
struct Shared {
    interests: RwLock<Interests>,
    front: Mutex<Front>,
    /// The I/O thread has taken what publishing threads had appended.
    taken: Condvar,
    /// The I/O thread sleeps, or is about to: whoever appends wakes it.
    sleeping: AtomicBool,
    /// Publishing threads that wait for `taken`.
    waiting: AtomicUsize,
    /// Peers that subscribed to anything.
    subscribers: Mutex<usize>,
    subscribed: Condvar,
    lost: AtomicU64,
    closed: AtomicBool,
}

impl NativePublisher {
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        let high_water_mark = match options.high_water_mark {
            0 => usize::MAX,
            n => n,
        };
        let (ahead, blocking) = match options.when_full {
            WhenFull::Block => ((high_water_mark / 2).max(1), true),
            WhenFull::DropOldest | WhenFull::DropNewest => (usize::MAX, false),
        };
        let shared = Arc::new(Shared {
            interests: RwLock::default(),
            front: Mutex::new(Front::new(options.max_memory, ahead)),
            taken: Condvar::new(),
            sleeping: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            subscribers: Mutex::new(0),
            subscribed: Condvar::new(),
            lost: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let role = PubRole {
            shared: Arc::clone(&shared),
            log: Log::new(options.max_memory),
            wanting: Vec::new(),
            blocking,
            ahead,
            drops_newest: options.when_full == WhenFull::DropNewest,
            high_water_mark: high_water_mark as u64,
            kept: 0,
            max_kept: options.max_memory,
            prune: false,
        };
        Ok(Self {
            seat: Seat::new(options, role)?,
            shared,
            max_message: options.max_message.min(options.max_memory),
            linger: options.linger,
        })
    }

    /// How many messages subscribers asked for and did not get because they were too slow, all
    /// together. [`Notice::Dropped`] tells of each subscriber's.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    #[inline]
    fn append<'p>(
        &self,
        topic: &[u8],
        size: usize,
        parts: impl IntoIterator<Item = &'p [u8]>,
    ) -> Result<(), Error> {
        let shared = &*self.shared;
        if shared.closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        let interests = shared.interests();
        let Some(class) = interests.classify(topic) else {
            return Ok(());
        };
        let epoch = interests.epoch();
        drop(interests);
        let mut front = lock(&shared.front);
        while front.is_full(size) {
            front = self.wait(front);
            if shared.closed.load(Ordering::Relaxed) {
                return Err(Error::Closed);
            }
        }
        front.append(size, parts, class, epoch);
        drop(front);
        if shared.sleeping.load(Ordering::SeqCst) && shared.sleeping.swap(false, Ordering::SeqCst) {
            // It fails only when there is nobody to be woken.
            let _ = self.seat.waker().wake();
        }
        Ok(())
    }

    #[cold]
    fn wait<'f>(&self, front: MutexGuard<'f, Front>) -> MutexGuard<'f, Front> {
        let shared = &*self.shared;
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        let front = shared
            .taken
            .wait(front)
            .unwrap_or_else(PoisonError::into_inner);
        shared.waiting.fetch_sub(1, Ordering::SeqCst);
        front
    }

    fn check(&self, size: usize) -> Result<(), Error> {
        let limit = self.max_message;
        match size > limit {
            true => Err(Error::TooLarge { size, limit }),
            false => Ok(()),
        }
    }

    /// Sends what there is, as long as that may take; how many messages did not reach somebody.
    fn finish(&self) -> u64 {
        let shared = &*self.shared;
        if shared.closed.swap(true, Ordering::SeqCst) {
            return 0;
        }
        shared.wake_all();
        let deadline = Instant::now().checked_add(self.linger);
        let unsent = self.seat.end(|driver| {
            driver.stop();
            while !driver.role.is_flushed(&driver.links)
                && deadline.is_none_or(|deadline| deadline > Instant::now())
                && driver.turn(deadline).is_ok()
            {}
            driver.role.unsent(&mut driver.links)
        });
        unsent.unwrap_or_default() + self.lost()
    }
}

impl Publisher for NativePublisher {
    fn bind(&self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        self.seat.with(|driver| driver.bind(endpoint))?
    }

    fn connect(&self, endpoint: &Endpoint) -> Result<(), Error> {
        self.seat.with(|driver| driver.connect(endpoint))?
    }

    #[inline]
    fn send(&self, topic: &[u8], body: &[&[u8]]) -> Result<(), Error> {
        let len = body.iter().map(|piece| piece.len()).sum::<usize>();
        self.check(topic.len() + len)?;
        let [first, second] = &message_headers(topic.len(), len);
        let size = first.len() + topic.len() + second.len() + len;
        let head: [&[u8]; 3] = [first, topic, second];
        self.append(topic, size, head.into_iter().chain(body.iter().copied()))
    }

    fn forward(&self, message: &Message<'_>) -> Result<(), Error> {
        let mut frames = message.frames.frames();
        self.check(frames.clone().map(<[u8]>::len).sum())?;
        let topic = frames.next().unwrap_or_default();
        match message.frames.wire() {
            Some(wire) => self.append(topic, wire.len(), iter::once(wire)),
            None => {
                let frames: Vec<&[u8]> = message.frames.frames().collect();
                let mut wire = Vec::new();
                encode_frames(&frames, &mut wire);
                self.append(topic, wire.len(), iter::once(&*wire))
            }
        }
    }

    fn subscribers(&self) -> Result<usize, Error> {
        match self.shared.closed.load(Ordering::Relaxed) {
            true => Err(Error::Closed),
            false => Ok(*lock(&self.shared.subscribers)),
        }
    }

    fn wait_for_subscriber(&self, timeout: Duration) -> Result<bool, Error> {
        let nobody = |subscribers: &mut usize| {
            *subscribers == 0 && !self.shared.closed.load(Ordering::Relaxed)
        };
        let subscribers = lock(&self.shared.subscribers);
        let waited = self
            .shared
            .subscribed
            .wait_timeout_while(subscribers, timeout, nobody);
        drop(waited);
        Ok(self.subscribers()? > 0)
    }

    fn interests(&self, version: u64) -> Result<Option<Asked>, Error> {
        if self.shared.closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        let interests = self.shared.interests();
        Ok((interests.version() != version).then(|| Asked {
            version: interests.version(),
            prefixes: interests.prefixes(),
        }))
    }

    fn close(&self) -> Result<(), Error> {
        match self.finish() {
            0 => Ok(()),
            messages => Err(Error::Lost { messages }),
        }
    }
}

impl Drop for NativePublisher {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    #[inline]
    fn interests(&self) -> RwLockReadGuard<'_, Interests> {
        self.interests
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn change_interests<T>(&self, change: impl FnOnce(&mut Interests) -> T) -> T {
        let mut interests = self.interests.write();
        change(match &mut interests {
            Ok(interests) => interests,
            Err(poisoned) => poisoned.get_mut(),
        })
    }

    /// Whoever waits learns that the socket is closed.
    fn wake_all(&self) {
        // Not between somebody's look at it and their wait.
        drop(lock(&self.front));
        self.taken.notify_all();
        drop(lock(&self.subscribers));
        self.subscribed.notify_all();
    }

    fn count_subscribers(&self, change: impl FnOnce(&mut usize)) {
        change(&mut lock(&self.subscribers));
        self.subscribed.notify_all();
    }
}

/// What one subscriber wants.
#[derive(Debug, Default)]
struct Filter {
    /// In their order.
    classes: Vec<Class>,
    /// The empty prefix is among them.
    all: bool,
    /// What they take, in bytes.
    bytes: usize,
    /// The last class that was asked for, and whether it is wanted.
    last: Option<(Class, bool)>,
    /// Unless it wants everything: what it wants of what lies before it in the log, from
    /// `listed` on. What lies before that has to be looked through.
    runs: VecDeque<Run>,
    listed: Cursor,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    fn find(&self, class: Class) -> Result<usize, usize> {
        self.classes.binary_search(&class)
    }

    fn wants(&mut self, interests: &Interests, class: Option<Class>) -> bool {
        let Some(class) = class else { return false };
        match self.last {
            Some((last, wanted)) if last == class => wanted,
            _ => {
                let wanted = interests.up(class).any(|class| self.find(class).is_ok());
                self.last = Some((class, wanted));
                wanted
            }
        }
    }

    /// These messages, which are the newest in the log, are wanted.
    fn list(&mut self, run: Run) {
        let full = self.runs.len() == MAX_RUNS;
        match self.runs.back_mut() {
            // Asked for twice, by a prefix and a shorter one.
            Some(last) if last.end() >= run.end() => {}
            Some(last) if last.chunk == run.chunk && last.last == run.first => last.last = run.last,
            _ if full => {
                self.runs = VecDeque::new();
                self.listed = run.end();
            }
            _ => self.runs.push_back(run),
        }
    }

    /// All that lies before this place is done with.
    fn pass(&mut self, cursor: Cursor) {
        while self.runs.front().is_some_and(|run| run.end() <= cursor) {
            self.runs.pop_front();
        }
    }

    fn renumber(&mut self, numbers: &[Option<Class>]) {
        let new = |class: &Class| numbers.get(*class as usize).copied().flatten();
        self.classes = self.classes.iter().filter_map(new).collect();
        self.classes.sort_unstable();
        self.last = None;
    }
}

impl Wants for Filter {
    fn first(&mut self, log: &Log, interests: &Interests, all: Run) -> Option<Run> {
        if self.all {
            return Some(all);
        }
        if all.begin() >= self.listed {
            let at = self.runs.partition_point(|run| run.end() <= all.begin());
            let run = self.runs.get(at).filter(|run| run.chunk == all.chunk)?;
            let (first, last) = (run.first.max(all.first), run.last.min(all.last));
            return (first < last).then_some(Run { first, last, ..all });
        }
        let mut found: Option<Run> = None;
        let mut rest = all;
        while let Some((run, class)) = log.of_one_class(interests, rest) {
            rest.first = run.last;
            match (&mut found, self.wants(interests, class)) {
                (None, true) => found = Some(run),
                (Some(found), true) => found.last = run.last,
                (Some(_), false) => break,
                (None, false) => {}
            }
        }
        found
    }
}

/// A subscriber's place in the log.
#[derive(Debug, Default)]
struct Reader {
    /// The number of its link.
    id: usize,
    filter: Filter,
    cursor: Cursor,
    /// Where it has to stop, because newer messages are dropped.
    stop: Option<Cursor>,
    /// While it does not read: so many messages wait for it.
    queued: Option<u64>,
    /// What is left to send of a message that the log had to let go half sent.
    rest: Vec<u8>,
    rest_sent: usize,
    /// There was no room for its rest: its connection must end.
    too_slow: bool,
    /// Messages that it asked for and did not get.
    lost: u64,
    /// Of which the monitor has heard.
    told: u64,
    told_at: Option<Instant>,
}

impl Reader {
    fn is_inside(&self) -> bool {
        self.cursor.is_inside() || !self.rest.is_empty() || self.too_slow
    }

    /// Whether there is nothing in the log for it.
    fn is_idle(&self) -> bool {
        let Self { filter, cursor, .. } = self;
        let nothing =
            filter.is_empty() || !filter.all && filter.runs.is_empty() && filter.listed <= *cursor;
        nothing && self.stop.is_none() && !self.is_inside()
    }

    fn until(&self, log: &Log) -> Cursor {
        self.stop.unwrap_or_else(|| log.end())
    }

    fn is_flushed(&self, log: &Log) -> bool {
        self.rest.is_empty() && log.settle(self.cursor) == log.settle(self.until(log))
    }
}

struct PubRole {
    shared: Arc<Shared>,
    log: Log,
    /// The links of those who want each class.
    wanting: Vec<Vec<usize>>,
    /// Nothing may be lost.
    blocking: bool,
    /// With that: messages kept before publishing threads have to wait.
    ahead: usize,
    drops_newest: bool,
    high_water_mark: u64,
    /// Bytes of messages that the log had to let go half sent, and how many there may be.
    kept: usize,
    max_kept: usize,
    /// Some prefix may be wanted by nobody any more.
    prune: bool,
}

impl PubRole {
    /// Takes over what publishing threads have appended.
    fn take(&mut self, links: &mut Links<Reader>) {
        if self.blocking && self.log.is_full(self.ahead) {
            return;
        }
        let mut front = lock(&self.shared.front);
        if front.is_empty() {
            return;
        }
        self.log.take(&mut front);
        drop(front);
        if self.shared.waiting.load(Ordering::SeqCst) > 0 {
            self.shared.taken.notify_all();
        }
        let Some(begin) = self.log.push() else { return };
        self.list(links, begin);
        if self.high_water_mark < u64::MAX && !self.blocking {
            let shared = Arc::clone(&self.shared);
            let interests = shared.interests();
            for (_, link) in &mut *links {
                let reader = &mut link.conn;
                if reader.stop.is_none() && reader.queued.is_none() {
                    continue;
                }
                let filter = &mut reader.filter;
                let new = self.log.count(begin, self.log.end(), &interests, filter);
                if reader.stop.is_some() {
                    self.lose(reader, new);
                } else if let Some(queued) = reader.queued {
                    reader.queued = Some(queued + new);
                    self.keep_up(&interests, reader);
                }
            }
        }
        if !self.blocking {
            self.make_room(links);
        }
    }

    /// Lists what lies from a place on for everybody who wants some of it, but not everything.
    fn list(&mut self, links: &mut Links<Reader>, begin: Cursor) {
        let interests = self.shared.interests();
        let mut at = begin;
        while let Some(mut rest) = self.log.whole(at, self.log.end()) {
            at = rest.end();
            while let Some((run, class)) = self.log.of_one_class(&interests, rest) {
                rest.first = run.last;
                let Some(class) = class else { continue };
                let wanting = interests
                    .up(class)
                    .filter_map(|up| self.wanting.get(up as usize));
                for id in wanting.flatten() {
                    if let Some(link) = links.get_mut(*id)
                        && !link.conn.filter.all
                    {
                        link.conn.filter.list(run);
                    }
                }
            }
        }
    }

    fn want(&mut self, class: Class, id: usize) {
        let place = class as usize;
        if self.wanting.len() <= place {
            self.wanting.resize_with(place + 1, Vec::new);
        }
        if let Some(wanting) = self.wanting.get_mut(place) {
            wanting.push(id);
        }
    }

    fn want_no_more(&mut self, class: Class, id: usize) {
        if let Some(wanting) = self.wanting.get_mut(class as usize)
            && let Some(at) = wanting.iter().position(|wants| *wants == id)
        {
            wanting.swap_remove(at);
        }
    }

    fn lose(&self, reader: &mut Reader, messages: u64) {
        reader.lost += messages;
        self.shared.lost.fetch_add(messages, Ordering::Relaxed);
    }

    /// Drops what is over the high-water mark.
    fn keep_up(&mut self, interests: &Interests, reader: &mut Reader) {
        let queued = reader.queued.unwrap_or_default();
        let excess = queued.saturating_sub(self.high_water_mark);
        if excess == 0 {
            return;
        }
        if self.drops_newest {
            // A message half sent is not among those that wait.
            let from = match reader.cursor.is_inside() {
                true => self.log.next(reader.cursor),
                false => reader.cursor,
            };
            let filter = &mut reader.filter;
            let keep = self.high_water_mark;
            reader.stop = Some(self.log.skip(from, interests, filter, keep));
        } else {
            self.detach(reader);
            let filter = &mut reader.filter;
            reader.cursor = self.log.skip(reader.cursor, interests, filter, excess);
            filter.pass(reader.cursor);
        }
        reader.queued = Some(self.high_water_mark);
        self.lose(reader, excess);
    }

    /// Lets go of the oldest messages while there are too many.
    fn make_room(&mut self, links: &mut Links<Reader>) {
        while let Some(end) = self.log.overflow() {
            let shared = Arc::clone(&self.shared);
            let interests = shared.interests();
            for (_, link) in &mut *links {
                let reader = &mut link.conn;
                reader.cursor = self.log.settle(reader.cursor);
                if reader.cursor >= end {
                    continue;
                }
                self.detach(reader);
                let until = reader.stop.map_or(end, |stop| stop.min(end));
                let gone = self
                    .log
                    .count(reader.cursor, until, &interests, &mut reader.filter);
                reader.queued = reader.queued.map(|queued| queued.saturating_sub(gone));
                self.lose(reader, gone);
                reader.cursor = end;
                reader.filter.pass(end);
                if reader.stop.is_some_and(|stop| stop <= end) {
                    reader.stop = None;
                    reader.cursor = self.log.end();
                    reader.filter.pass(reader.cursor);
                }
            }
            self.log.trim(end);
        }
    }

    /// The log is to forget the message that is half sent: its rest is kept apart.
    fn detach(&mut self, reader: &mut Reader) {
        if !reader.cursor.is_inside() {
            return;
        }
        let rest = self.log.rest(reader.cursor);
        if self.kept.saturating_add(rest.len()) > self.max_kept {
            reader.too_slow = true;
            self.lose(reader, 1);
        } else {
            self.kept += rest.len();
            reader.rest = rest.to_vec();
        }
        reader.cursor = self.log.next(reader.cursor);
    }

    fn forget_rest(&mut self, reader: &mut Reader) {
        self.kept -= reader.rest.len();
        reader.rest = Vec::new();
        reader.rest_sent = 0;
    }

    /// Writes what there is for one subscriber, as far as it takes it.
    fn write_link(&mut self, interests: &Interests, link: &mut Link<Reader>) -> Result<(), Ended> {
        let mut budget = WRITE;
        let mut went_on = false;
        loop {
            if link.conn.too_slow {
                return Err(Ended::TooSlow);
            }
            let idle = link.conn.is_idle();
            if idle {
                link.conn.cursor = self.log.end();
            }
            if !link.writable {
                break;
            }
            if !link.conn.is_inside() && !link.is_quiet() && !link.write_control()? {
                break;
            }
            let until = link.conn.until(&self.log);
            if idle {
                break;
            }
            let empty = IoSlice::new(&[]);
            let mut pieces = [empty; PIECES];
            let (mut count, mut size) = (0, 0);
            let mut collect = |piece| {
                if let Some(place) = pieces.get_mut(count) {
                    *place = IoSlice::new(piece);
                    count += 1;
                    size += piece.len();
                }
                count < PIECES && size < WRITE
            };
            let Reader {
                filter,
                cursor,
                rest,
                rest_sent,
                ..
            } = &mut link.conn;
            if !rest.is_empty() {
                collect(rest.get(*rest_sent..).unwrap_or_default());
            }
            self.log
                .gather(*cursor, until, interests, filter, &mut collect);
            let pieces = pieces.get(..count).unwrap_or_default();
            let mut sent = 0;
            if size > 0 {
                if budget == 0 {
                    break;
                }
                sent = match link.stream.write_vectored(pieces) {
                    Ok(n) => n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error.into()),
                };
                budget = budget.saturating_sub(sent);
                // A short write means that there is no more room; the room to come is announced.
                link.writable = sent == size;
            }
            went_on |= sent > 0;
            let reader = &mut link.conn;
            let of_rest = sent.min(reader.rest.len() - reader.rest_sent);
            reader.rest_sent += of_rest;
            if reader.rest_sent == reader.rest.len() {
                self.forget_rest(reader);
            }
            let (from, filter) = (reader.cursor, &mut reader.filter);
            let n = sent - of_rest;
            reader.cursor = self.log.advance(from, until, interests, filter, n);
            filter.pass(reader.cursor);
            if size == 0 {
                // All is sent that was wanted; what was dropped behind it is passed over.
                reader.cursor = self.log.end();
                reader.filter.pass(reader.cursor);
                reader.stop = None;
                break;
            }
        }
        let reader = &mut link.conn;
        if link.writable {
            reader.queued = None;
        } else if went_on || reader.queued.is_none() {
            let from = match reader.cursor.is_inside() {
                true => self.log.next(reader.cursor),
                false => reader.cursor,
            };
            if self.high_water_mark < u64::MAX && !self.blocking {
                let until = reader.until(&self.log);
                let queued = self.log.count(from, until, interests, &mut reader.filter);
                reader.queued = Some(queued);
                self.keep_up(interests, reader);
            }
        }
        Ok(())
    }

    /// How many messages have not reached somebody who asked for them.
    fn unsent(&mut self, links: &mut Links<Reader>) -> u64 {
        let shared = Arc::clone(&self.shared);
        let interests = shared.interests();
        let mut unsent = lock(&shared.front).messages() as u64;
        for (_, link) in links {
            let reader = &mut link.conn;
            let until = reader.until(&self.log);
            unsent += self
                .log
                .count(reader.cursor, until, &interests, &mut reader.filter);
            unsent += u64::from(!reader.rest.is_empty());
        }
        unsent
    }
}

impl Role for PubRole {
    type Conn = Reader;

    const SOCKET_TYPE: SocketType = SocketType::Pub;
    const AWAY: Duration = Duration::ZERO;

    fn accepted(&mut self, link: &mut Link<Reader>) {
        link.conn.id = link.id;
    }

    fn event(&mut self, reader: &mut Reader, event: Event<'_>) -> Result<bool, Ended> {
        match event {
            Event::Subscribe(prefix) => {
                let known = self.shared.interests().get(prefix);
                if known.is_some_and(|class| reader.filter.find(class).is_ok()) {
                    return Ok(false);
                }
                let bytes = reader.filter.bytes + prefix.len() + OVERHEAD;
                let mut all = self.shared.interests().bytes();
                if known.is_some_and(|class| self.shared.interests().is_wanted(class)) {
                    // One more who wants it takes no more room.
                    all = 0;
                }
                for (bytes, limit) in [(bytes, MAX_SUBSCRIPTIONS), (all, self.max_kept)] {
                    if bytes > limit {
                        return Err(Ended::Subscriptions(limit));
                    }
                }
                let first = reader.filter.is_empty();
                if first {
                    if !reader.is_inside() {
                        // What was sent before anything was subscribed to is not for this one.
                        reader.cursor = self.log.end();
                    }
                    reader.stop = None;
                    reader.queued = reader.queued.map(|_| 0);
                }
                let class = self
                    .shared
                    .change_interests(|interests| interests.add(prefix));
                let filter = &mut reader.filter;
                if let Err(at) = filter.find(class) {
                    filter.classes.insert(at, class);
                }
                filter.bytes = bytes;
                filter.all |= prefix.is_empty();
                filter.last = None;
                self.want(class, reader.id);
                if first {
                    // Whoever hears of it may count on what is sent from now on.
                    self.shared.count_subscribers(|count| *count += 1);
                }
            }
            Event::Cancel(prefix) => {
                let known = self.shared.interests().get(prefix);
                let filter = &mut reader.filter;
                let at = known.and_then(|class| Some((class, filter.find(class).ok()?)));
                if let Some((class, at)) = at {
                    filter.classes.remove(at);
                    filter.bytes -= prefix.len() + OVERHEAD;
                    filter.last = None;
                    if prefix.is_empty() {
                        filter.all = false;
                        filter.listed = self.log.end();
                    }
                    self.shared
                        .change_interests(|interests| interests.remove(class));
                    self.prune = true;
                    if filter.is_empty() {
                        filter.runs.clear();
                    }
                    let left = filter.is_empty();
                    self.want_no_more(class, reader.id);
                    if left {
                        self.shared.count_subscribers(|count| *count -= 1);
                    }
                }
            }
            Event::Ready(_) | Event::Message(_) => {}
        }
        Ok(false)
    }

    fn is_busy(&mut self, links: &Links<Reader>) -> bool {
        let unsent = |link: &Link<Reader>| {
            link.writable && !(link.conn.is_flushed(&self.log) && link.is_quiet())
        };
        if links.iter().any(|(_, link)| unsent(link)) {
            return true;
        }
        if self.blocking && self.log.is_full(self.ahead) {
            // There is no use in being woken before a subscriber has read.
            return false;
        }
        self.shared.sleeping.store(true, Ordering::SeqCst);
        if lock(&self.shared.front).is_empty() {
            return false;
        }
        self.shared.sleeping.store(false, Ordering::SeqCst);
        true
    }

    fn write(
        &mut self,
        links: &mut Links<Reader>,
        ended: &mut Vec<(usize, Ended)>,
        options: &Options,
    ) {
        self.shared.sleeping.store(false, Ordering::SeqCst);
        if std::mem::take(&mut self.prune) {
            let numbers = self.shared.change_interests(Interests::prune);
            if let Some(numbers) = numbers {
                self.wanting.clear();
                for (id, link) in &mut *links {
                    link.conn.filter.renumber(&numbers);
                    for class in &link.conn.filter.classes {
                        self.want(*class, id);
                    }
                }
            }
        }
        self.take(links);
        let shared = Arc::clone(&self.shared);
        let interests = shared.interests();
        let mut least = self.log.end();
        // The last place that is kept for somebody who gets nothing newer, and the first for others.
        let (mut stop, mut going) = (None, least);
        for (id, link) in &mut *links {
            if let Err(reason) = self.write_link(&interests, link) {
                ended.push((id, reason));
                // It needs nothing any more.
                link.conn.cursor = self.log.end();
            }
            tell_losses(link, options, false);
            let cursor = self.log.settle(link.conn.cursor);
            least = least.min(cursor);
            match link.conn.stop {
                Some(place) => stop = stop.max(Some(place)),
                None => going = going.min(cursor),
            }
        }
        if let Some(stop) = stop {
            self.log.cut(stop, going);
        }
        self.log.trim(least);
    }

    fn is_inside(&self, reader: &Reader) -> bool {
        reader.is_inside()
    }

    fn gone(&mut self, link: &mut Link<Reader>, options: &Options) {
        tell_losses(link, options, true);
        let reader = &mut link.conn;
        self.forget_rest(reader);
        if reader.filter.is_empty() {
            return;
        }
        self.shared.change_interests(|interests| {
            for class in &reader.filter.classes {
                interests.remove(*class);
            }
        });
        for class in &reader.filter.classes {
            self.want_no_more(*class, reader.id);
        }
        self.prune = true;
        self.shared.count_subscribers(|count| *count -= 1);
    }

    fn is_flushed(&mut self, links: &Links<Reader>) -> bool {
        let flushed = |link: &Link<Reader>| link.conn.is_flushed(&self.log);
        lock(&self.shared.front).is_empty() && links.iter().all(|(_, link)| flushed(link))
    }
}

impl Drop for PubRole {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.wake_all();
    }
}

/// Tells the monitor what a subscriber has lost: when it reads again, when it is gone, and not too
/// often in between.
fn tell_losses(link: &mut Link<Reader>, options: &Options, gone: bool) {
    let reader = &mut link.conn;
    if reader.lost == reader.told {
        return;
    }
    let lately = |at: Instant| at.elapsed() < TELL;
    if !gone && !link.writable && reader.told_at.is_some_and(lately) {
        return;
    }
    let notice = Notice::Dropped {
        peer: &link.name,
        messages: reader.lost - reader.told,
        total: reader.lost,
    };
    tell(options, notice);
    reader.told = reader.lost;
    reader.told_at = Some(Instant::now());
}

/// Every method leaves what it locks whole, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
