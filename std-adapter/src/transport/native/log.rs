//! The broadcast log: every message once, framed, in large chunks; every subscriber a cursor.
//!
//! The publishing threads write into chunks of their own side, the [`Front`]; the I/O thread takes
//! these over whole and sends from them. So no byte is ever written and read at the same time, and
//! nobody waits for a system call of the other's.

use super::interests::{Class, Interests};
use std::collections::VecDeque;

/// What a chunk holds, in bytes, unless one message alone is longer.
pub(super) const CHUNK: usize = 64 << 10;
/// The most that publishing threads may be ahead of the I/O thread, in bytes.
const MAX_PENDING: usize = 4 * CHUNK;
/// Chunks kept to be used again: the last ones used are in the processor's cache.
const MAX_SPARE: usize = 8;

/// A message in a chunk: where it ends there, and what its topic's class is.
#[derive(Clone, Copy, Debug)]
struct Record {
    end: usize,
    class: Class,
}

/// Some messages, one behind the other as the wire has them.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Its number in the log.
    number: u64,
    bytes: Vec<u8>,
    records: Vec<Record>,
    /// Which numbers its classes are.
    epoch: u64,
}

impl Chunk {
    fn with_room(bytes: usize, epoch: u64) -> Self {
        Self {
            number: 0,
            bytes: Vec::with_capacity(bytes.max(CHUNK)),
            records: Vec::new(),
            epoch,
        }
    }

    /// What it costs, in bytes.
    fn size(&self) -> usize {
        self.bytes.capacity() + self.records.capacity() * size_of::<Record>()
    }

    fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    fn len(&self) -> usize {
        self.records.len()
    }

    fn clear(&mut self, epoch: u64) {
        self.bytes.clear();
        self.records.clear();
        self.epoch = epoch;
    }

    /// Where a message begins.
    fn start(&self, record: usize) -> usize {
        let before = record.checked_sub(1);
        before
            .and_then(|at| self.records.get(at))
            .map_or(0, |record| record.end)
    }

    fn message(&self, record: usize) -> Option<(&[u8], Class)> {
        let Record { end, class } = *self.records.get(record)?;
        Some((self.bytes.get(self.start(record)..end)?, class))
    }

    /// Takes over the messages of another, if there is room.
    fn merge(&mut self, other: &Chunk) -> bool {
        if self.epoch != other.epoch || self.room() < other.bytes.len() {
            return false;
        }
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        let moved = other.records.iter().map(|record| Record {
            end: record.end + before,
            ..*record
        });
        self.records.extend(moved);
        true
    }
}

/// The publishing threads' end of the log.
#[derive(Debug)]
pub(super) struct Front {
    pending: Vec<Chunk>,
    pending_bytes: usize,
    pending_messages: usize,
    max_pending: usize,
    max_messages: usize,
    /// Chunks to be used again.
    spare: Vec<Chunk>,
}

impl Front {
    pub(super) fn new(max_memory: usize, max_messages: usize) -> Self {
        Self {
            pending: Vec::new(),
            pending_bytes: 0,
            pending_messages: 0,
            max_pending: MAX_PENDING.min(max_memory / 4),
            max_messages,
            spare: Vec::new(),
        }
    }

    /// Whether a message of this size has to wait until the I/O thread has taken what is here.
    #[inline]
    pub(super) fn is_full(&self, size: usize) -> bool {
        self.pending_messages > 0
            && (self.pending_bytes.saturating_add(size) > self.max_pending
                || self.pending_messages >= self.max_messages)
    }

    /// Appends a message of `size` bytes, given in parts.
    #[inline]
    pub(super) fn append<'p>(
        &mut self,
        size: usize,
        parts: impl IntoIterator<Item = &'p [u8]>,
        class: Class,
        epoch: u64,
    ) {
        let fits = |chunk: &Chunk| chunk.room() >= size && chunk.epoch == epoch;
        if !self.pending.last().is_some_and(fits) {
            let spare = self
                .spare
                .pop()
                .filter(|chunk| chunk.bytes.capacity() >= size);
            let mut chunk = spare.unwrap_or_else(|| Chunk::with_room(size, epoch));
            chunk.clear(epoch);
            self.pending.push(chunk);
        }
        if let Some(chunk) = self.pending.last_mut() {
            for part in parts {
                chunk.bytes.extend_from_slice(part);
            }
            let end = chunk.bytes.len();
            chunk.records.push(Record { end, class });
        }
        self.pending_bytes += size;
        self.pending_messages += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn messages(&self) -> usize {
        self.pending_messages
    }

    /// Gives everything to the I/O thread, and takes back what that has done with.
    fn exchange(&mut self, taken: &mut Vec<Chunk>, done: &mut Vec<Chunk>) {
        std::mem::swap(&mut self.pending, taken);
        (self.pending_bytes, self.pending_messages) = (0, 0);
        for chunk in done.drain(..) {
            if self.spare.len() < MAX_SPARE && chunk.bytes.capacity() == CHUNK {
                self.spare.push(chunk);
            }
        }
    }
}

/// The I/O thread's end of the log.
#[derive(Debug)]
pub(super) struct Log {
    /// In the order of their numbers; some may be missing.
    chunks: VecDeque<Chunk>,
    /// The number of the chunk to come.
    next: u64,
    /// What the chunks cost, in bytes, and how much they may.
    size: usize,
    max_size: usize,
    messages: usize,
    taken: Vec<Chunk>,
    done: Vec<Chunk>,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    chunk: u64,
    record: usize,
    /// So many bytes of the message there have been sent.
    sent: usize,
}

impl Cursor {
    /// Whether a message is half sent.
    pub(super) fn is_inside(&self) -> bool {
        self.sent > 0
    }
}

/// Messages of one chunk, one behind the other: those from `first` up to `last`, which is not
/// among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) chunk: u64,
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Run {
    pub(super) fn begin(self) -> Cursor {
        Cursor {
            chunk: self.chunk,
            record: self.first,
            sent: 0,
        }
    }

    pub(super) fn end(self) -> Cursor {
        Cursor {
            chunk: self.chunk,
            record: self.last,
            sent: 0,
        }
    }
}

/// What a subscriber wants.
pub(super) trait Wants {
    /// Of the messages of one chunk that `all` says, the first ones that are wanted.
    fn first(&mut self, log: &Log, interests: &Interests, all: Run) -> Option<Run>;
}

impl Log {
    pub(super) fn new(max_memory: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            next: 0,
            size: 0,
            messages: 0,
            max_size: (max_memory - max_memory / 4).max(1),
            taken: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Takes over what publishing threads have appended. To be followed by [`push`](Self::push).
    pub(super) fn take(&mut self, front: &mut Front) {
        front.exchange(&mut self.taken, &mut self.done);
    }

    /// Puts what was taken behind the log's end; gives the place where it begins, if there is any.
    pub(super) fn push(&mut self) -> Option<Cursor> {
        let begin = self.end();
        if self.taken.is_empty() {
            return None;
        }
        for mut chunk in self.taken.drain(..) {
            self.messages += chunk.len();
            // What has to be kept anyway is kept together.
            let merged = self.chunks.back_mut().is_some_and(|last| {
                let before = last.size();
                let merged = last.merge(&chunk);
                self.size += last.size() - before;
                merged
            });
            if merged {
                self.done.push(chunk);
            } else {
                self.size += chunk.size();
                chunk.number = self.next;
                self.next += 1;
                self.chunks.push_back(chunk);
            }
        }
        Some(begin)
    }

    /// Behind the last message.
    pub(super) fn end(&self) -> Cursor {
        match self.chunks.back() {
            Some(last) => Cursor {
                chunk: last.number,
                record: last.len(),
                sent: 0,
            },
            None => Cursor {
                chunk: self.next,
                ..Cursor::default()
            },
        }
    }

    /// Where in `chunks` the first one is whose number is not below this.
    fn index(&self, number: u64) -> usize {
        // Most often none is missing.
        let first = self.chunks.front().map_or(0, |chunk| chunk.number);
        let guess = number.saturating_sub(first) as usize;
        match self.chunks.get(guess) {
            Some(chunk) if chunk.number == number => guess,
            _ => self.chunks.partition_point(|chunk| chunk.number < number),
        }
    }

    fn chunk(&self, number: u64) -> Option<&Chunk> {
        let chunk = self.chunks.get(self.index(number))?;
        (chunk.number == number).then_some(chunk)
    }

    /// The same place, as far forward as it can be said.
    pub(super) fn settle(&self, cursor: Cursor) -> Cursor {
        let index = self.index(cursor.chunk);
        let at_start = |chunk: &Chunk| Cursor {
            chunk: chunk.number,
            ..Cursor::default()
        };
        match self.chunks.get(index) {
            // Its chunk is gone.
            Some(chunk) if chunk.number > cursor.chunk => at_start(chunk),
            Some(chunk) if cursor.record >= chunk.len() => {
                self.chunks.get(index + 1).map_or(cursor, at_start)
            }
            Some(_) => cursor,
            None => self.end(),
        }
    }

    /// The message at a place, and its class.
    fn at(&self, cursor: Cursor) -> Option<(&[u8], Class)> {
        self.chunk(cursor.chunk)?.message(cursor.record)
    }

    /// Up to so many messages of this run that are of one class, which may be none, and the class.
    pub(super) fn of_one_class(
        &self,
        interests: &Interests,
        run: Run,
    ) -> Option<(Run, Option<Class>)> {
        let chunk = self.chunk(run.chunk).filter(|_| run.first < run.last)?;
        let (bytes, class) = chunk.message(run.first)?;
        if chunk.epoch != interests.epoch() {
            // The numbers have changed since: the topic tells.
            let message = fedmsg_core::zmtp::Message::from_wire(bytes);
            let topic = message.and_then(|message| message.frames().next());
            let class = topic.and_then(|topic| interests.classify(topic));
            let last = run.first + 1;
            return Some((Run { last, ..run }, class));
        }
        let records = chunk.records.get(run.first..run.last)?;
        let same = records.iter().take_while(|record| record.class == class);
        let last = run.first + same.count();
        Some((Run { last, ..run }, Some(class)))
    }

    /// The messages from one place up to another that are in the chunk of the first.
    pub(super) fn whole(&self, from: Cursor, until: Cursor) -> Option<Run> {
        let from = self.settle(from);
        let chunk = self.chunk(from.chunk).filter(|_| from < until)?;
        Some(Run {
            chunk: from.chunk,
            first: from.record,
            last: match from.chunk == until.chunk {
                true => until.record,
                false => chunk.len(),
            },
        })
    }

    /// The next messages that are wanted, from one place up to another.
    fn run(
        &self,
        from: Cursor,
        until: Cursor,
        interests: &Interests,
        wants: &mut impl Wants,
    ) -> Option<Run> {
        let mut from = from;
        loop {
            let all = self.whole(from, until)?;
            if let Some(run) = wants.first(self, interests, all) {
                return Some(run);
            }
            from = all.end();
        }
    }

    fn bytes(&self, run: Run) -> &[u8] {
        let chunk = self.chunk(run.chunk);
        let bytes = chunk.and_then(|chunk| {
            chunk
                .bytes
                .get(chunk.start(run.first)..chunk.start(run.last))
        });
        bytes.unwrap_or_default()
    }

    /// Up to `until`: the bytes of what is wanted, in pieces as long as can be, until `piece` says
    /// that it has enough. A message under way goes on, even if it is no longer asked for.
    pub(super) fn gather<'l>(
        &'l self,
        from: Cursor,
        until: Cursor,
        interests: &Interests,
        wants: &mut impl Wants,
        mut piece: impl FnMut(&'l [u8]) -> bool,
    ) {
        let mut at = from;
        if at.is_inside() {
            if !piece(self.rest(at)) {
                return;
            }
            at = self.next(at);
        }
        while let Some(run) = self.run(at, until, interests, wants) {
            if !piece(self.bytes(run)) {
                return;
            }
            at = run.end();
        }
    }

    /// Where one is after `n` bytes of what was gathered went out; what is not wanted is passed.
    pub(super) fn advance(
        &self,
        from: Cursor,
        until: Cursor,
        interests: &Interests,
        wants: &mut impl Wants,
        mut n: usize,
    ) -> Cursor {
        let mut at = from;
        if at.is_inside() {
            let rest = self.rest(at).len();
            if n < rest {
                at.sent += n;
                return at;
            }
            n -= rest;
            at = self.next(at);
        }
        while let Some(run) = self.run(at, until, interests, wants) {
            let len = self.bytes(run).len();
            if n < len {
                let Some(chunk) = self.chunk(run.chunk) else {
                    return at;
                };
                let target = chunk.start(run.first) + n;
                let record = chunk.records.partition_point(|record| record.end <= target);
                return Cursor {
                    chunk: run.chunk,
                    record,
                    sent: target - chunk.start(record),
                };
            }
            n -= len;
            at = run.end();
        }
        until.max(at)
    }

    /// How many messages between two places are wanted.
    pub(super) fn count(
        &self,
        from: Cursor,
        until: Cursor,
        interests: &Interests,
        wants: &mut impl Wants,
    ) -> u64 {
        let mut at = from;
        let mut count = 0;
        while let Some(run) = self.run(at, until, interests, wants) {
            count += (run.last - run.first) as u64;
            at = run.end();
        }
        count
    }

    /// The place behind the first `n` wanted messages from a place on.
    pub(super) fn skip(
        &self,
        from: Cursor,
        interests: &Interests,
        wants: &mut impl Wants,
        mut n: u64,
    ) -> Cursor {
        let mut at = from;
        while n > 0
            && let Some(run) = self.run(at, self.end(), interests, wants)
        {
            let step = ((run.last - run.first) as u64).min(n);
            n -= step;
            at = Run {
                last: run.first + step as usize,
                ..run
            }
            .end();
        }
        at
    }

    /// What is left of the message at a place.
    pub(super) fn rest(&self, cursor: Cursor) -> &[u8] {
        let message = self.at(cursor).map(|(bytes, _)| bytes);
        message
            .and_then(|bytes| bytes.get(cursor.sent..))
            .unwrap_or_default()
    }

    /// The place behind the message at a place.
    pub(super) fn next(&self, cursor: Cursor) -> Cursor {
        self.settle(Cursor {
            record: cursor.record + 1,
            sent: 0,
            ..cursor
        })
    }

    /// The end of the oldest chunk, if that has to go because the log takes too much memory. The
    /// newest stays in any case.
    pub(super) fn overflow(&self) -> Option<Cursor> {
        let too_large = self.size > self.max_size && self.chunks.len() > 1;
        let oldest = self.chunks.front().filter(|_| too_large)?;
        Some(Cursor {
            chunk: oldest.number,
            record: oldest.len(),
            sent: 0,
        })
    }

    /// Lets go of what lies before a place.
    pub(super) fn trim(&mut self, least: Cursor) {
        while let Some(oldest) = self.chunks.front()
            && (oldest.number, oldest.len()) <= (least.chunk, least.record)
        {
            let oldest = self.chunks.pop_front();
            self.forget(oldest);
        }
    }

    /// Lets go of what lies between two places.
    pub(super) fn cut(&mut self, after: Cursor, before: Cursor) {
        let range = self.index(after.chunk + 1)..self.index(before.chunk);
        if !range.is_empty() {
            let chunks: Vec<Chunk> = self.chunks.drain(range).collect();
            for chunk in chunks {
                self.forget(Some(chunk));
            }
        }
    }

    fn forget(&mut self, chunk: Option<Chunk>) {
        if let Some(chunk) = chunk {
            self.size -= chunk.size();
            self.messages -= chunk.len();
            if self.done.len() < MAX_SPARE {
                self.done.push(chunk);
            }
        }
    }

    /// Whether so much is kept, or so many messages, that a publisher that may not lose anything
    /// has to wait.
    pub(super) fn is_full(&self, messages: usize) -> bool {
        self.size > self.max_size / 2 || self.messages >= messages
    }
}
