//! A reliable stream of bytes over a serial line: a device without a network, and the bridge at the
//! other end of its cable. A ZMTP connection runs on it as on TCP.
//!
//! The line may lose, garble and repeat bytes, and a receiver may be busy (a device that signs) until
//! its FIFO overflows. So bytes travel in frames with a checksum, one at a time each way, which are
//! sent again until the other side has acknowledged them. [`Line`] is either end, sans-I/O: bytes,
//! the time and session numbers come in as arguments. It keeps one frame in each direction.
//!
//! # The frames (version 1)
//! A frame on the line is a byte 0, the frame's bytes with their zeros taken out (COBS: Cheshire and
//! Baker, "Consistent Overhead Byte Stuffing", 1999), and another byte 0. Two zeros in a row are no
//! frame. Its bytes, numbers little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | kind; bit 7 is set in what the device sends, so that an echo is not taken for an answer |
//! | 4 | number of the session |
//! | … | by kind, below |
//! | 4 | CRC-32 (IEEE 802.3) of all before it |
//!
//! | kind | who | further bytes |
//! | --- | --- | --- |
//! | 1 HELLO | host | 1: version; 8: time of day in milliseconds since 1970 |
//! | 2 WELCOME | device | 1: version |
//! | 3 TIME | host | 8: time of day |
//! | 4 DATA | both | 1: number of the payload; 1: number of the payload that is awaited; 0 to [`MAX_PAYLOAD`]: payload |
//! | 5 AGAIN | both | as DATA, without a payload |
//! | 6 RESET | device | none |
//!
//! **Session.** The host says HELLO with a new number every half second, until WELCOME comes; from
//! then on there is a session: a new stream, in which payloads are numbered from 0 in each direction.
//! A HELLO of the session that there is means nothing new but the time. The device answers a HELLO of
//! another version with its own and starts nothing. It says RESET, with number 0, when it starts, so
//! that a host whose session it was notices at once, and RESET with the session's number when it ends
//! one, and to what is of a session that it does not know. TIME comes every five minutes, for clocks drift.
//!
//! **Data.** A payload is sent until DATA or AGAIN comes that awaits the next number: after 0.3 s
//! without, then after twice as long each time, up to 2.4 s. It is acknowledged once the receiver has
//! taken it, in whatever it sends next, if need be in DATA without a payload, which is not numbered
//! nor acknowledged itself. A payload that comes again is acknowledged again, and dropped. Who
//! receives a damaged frame answers AGAIN, to which what is not acknowledged is sent again at once
//! (or, if there is nothing, the acknowledgement, which may have been what was damaged). A session
//! is over when a payload was not acknowledged for 15 s.

mod cobs;

use core::fmt;

use cobs::{Damaged, Decoder};

use crate::{copy::copy, crc32::crc32};

/// The version of the format.
pub const VERSION: u8 = 1;

/// The longest payload of a frame, in bytes.
pub const MAX_PAYLOAD: usize = 128;

/// The longest frame on the line, in bytes: what a receiver's FIFO must hold while its program is
/// busy, so that nothing needs to be sent again.
pub const MAX_FRAME: usize = CONTENT + 3;

/// One end of a line.
pub struct Line {
    is_host: bool,
    state: State,
    session: u32,
    /// The time of day that was told, and our clock then; in milliseconds.
    clock: Option<(u64, u64)>,
    decoder: Decoder,
    /// Where in `decoder` what the caller has not read yet begins and ends.
    unread: (usize, usize),
    /// The number of the payload that is awaited.
    awaited: u8,
    payload: [u8; MAX_PAYLOAD],
    /// How long the payload is that is not acknowledged; 0: there is none.
    len: usize,
    number: u8,
    /// Since when the payload is to be sent, when to send it (again), and how long to wait then.
    since: u64,
    send_at: u64,
    wait: u64,
    /// What the device is to answer, and with which session's number.
    answer: Option<(u8, u32)>,
    acknowledge: bool,
    again: bool,
    /// When the host says HELLO or TIME.
    greet_at: u64,
    frame: [u8; MAX_FRAME],
    frame_len: usize,
    frame_sent: usize,
    counts: Counts,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    /// The host says HELLO.
    Opening,
    Open,
}

/// What happened to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// A new one has begun; if there was one, it is over.
    Opened,
    /// It is over. The host begins a new one with [`Line::open`], the device waits for it.
    Closed(Reason),
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Reason {
    /// The device has started, or does not know the session.
    Reset,
    /// The other side has not acknowledged what was sent for 15 s.
    Silent,
    /// The device speaks this version.
    Version(u8),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset => f.write_str("the device has started again"),
            Self::Silent => f.write_str("the other side does not answer any more"),
            Self::Version(found) => write!(
                f,
                "the device speaks version {found} of the serial line's protocol, {VERSION} is known here"
            ),
        }
    }
}

/// What was counted since the line was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counts {
    /// Sessions.
    pub sessions: u32,
    /// Frames that were sent again.
    pub repeated: u32,
    /// Frames that were received damaged, or were none.
    pub damaged: u32,
}

impl Line {
    /// The device's end; it waits for the host.
    #[must_use]
    pub const fn device() -> Self {
        let mut line = Self::new(false);
        line.answer = Some((RESET, 0));
        line
    }

    /// The host's end; to be [opened](Self::open).
    #[must_use]
    pub const fn host() -> Self {
        Self::new(true)
    }

    const fn new(is_host: bool) -> Self {
        Self {
            is_host,
            state: State::Closed,
            session: 0,
            clock: None,
            decoder: Decoder::new(),
            unread: (0, 0),
            awaited: 0,
            payload: [0; MAX_PAYLOAD],
            len: 0,
            number: 0,
            since: 0,
            send_at: 0,
            wait: FIRST_WAIT,
            answer: None,
            acknowledge: false,
            again: false,
            greet_at: 0,
            frame: [0; MAX_FRAME],
            frame_len: 0,
            frame_sent: 0,
            counts: Counts {
                sessions: 0,
                repeated: 0,
                damaged: 0,
            },
        }
    }

    /// The host: begins a session, under a number that none of the last ones had and that is not 0.
    /// What there was of another is dropped. `now` is in milliseconds on any clock that does not go
    /// back, here and everywhere.
    pub fn open(&mut self, session: u32, now: u64) {
        self.renew(session, State::Opening);
        self.greet_at = now;
    }

    /// Ends the session, if there is one. The device tells the host.
    pub fn close(&mut self) {
        if self.is_open() && !self.is_host {
            self.answer = Some((RESET, self.session));
        }
        self.renew(0, State::Closed);
    }

    /// Whether there is a session.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the host says HELLO.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.state == State::Opening
    }

    /// The host: what time it is, in milliseconds since 1970. The device is told at the next HELLO
    /// or TIME; there is none before the time is known here.
    pub fn set_time(&mut self, time: u64, now: u64) {
        self.clock = Some((time, now));
    }

    /// Milliseconds since 1970, once somebody has told.
    #[must_use]
    pub fn time(&self, now: u64) -> Option<u64> {
        let (time, at) = self.clock?;
        Some(time.saturating_add(now.saturating_sub(at)))
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes bytes from the line; gives how many it took, and what happened. It stops where
    /// something has, and takes none as long as there is something to [`read`](Self::read).
    pub fn receive(&mut self, bytes: &[u8], now: u64) -> (usize, Option<Event>) {
        let mut taken = 0;
        for &byte in bytes {
            if self.has_unread() {
                break;
            }
            taken += 1;
            let event = match self.decoder.put(byte) {
                None => continue,
                Some(Ok(len)) => self.take(len, now),
                Some(Err(Damaged)) => {
                    self.counts.damaged = self.counts.damaged.wrapping_add(1);
                    self.again = self.state == State::Open;
                    None
                }
            };
            if event.is_some() {
                return (taken, event);
            }
        }
        (taken, None)
    }

    /// Looks at the clock. To be called several times a second.
    pub fn tick(&mut self, now: u64) -> Option<Event> {
        if self.len == 0 || now.saturating_sub(self.since) < SILENCE {
            return None;
        }
        self.close();
        Some(Event::Closed(Reason::Silent))
    }

    /// The next bytes for the line; empty if there are none for now.
    pub fn outgoing(&mut self, now: u64) -> &[u8] {
        if self.frame_sent == self.frame_len {
            self.frame_sent = 0;
            self.frame_len = self.next(now);
        }
        self.frame
            .get(self.frame_sent..self.frame_len)
            .unwrap_or_default()
    }

    /// The first `n` bytes of [`outgoing`](Self::outgoing) went out.
    pub fn sent(&mut self, n: usize) {
        self.frame_sent = self.frame_sent.saturating_add(n).min(self.frame_len);
    }

    /// Whether there is something to [`read`](Self::read).
    #[must_use]
    pub fn has_unread(&self) -> bool {
        self.unread.0 < self.unread.1
    }

    /// Copies bytes of the stream to the front of `out`; gives how many.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let (from, to) = self.unread;
        let bytes = self.decoder.bytes(from..to);
        let n = bytes.len().min(out.len());
        copy(out, bytes);
        self.unread.0 += n;
        self.acknowledge |= n > 0 && !self.has_unread();
        n
    }

    /// Whether [`write`](Self::write) would take anything.
    #[must_use]
    pub fn can_write(&self) -> bool {
        self.state == State::Open && self.len == 0
    }

    /// Puts bytes into the stream; gives how many it took.
    pub fn write(&mut self, bytes: &[u8], now: u64) -> usize {
        if !self.can_write() {
            return 0;
        }
        self.len = bytes.len().min(MAX_PAYLOAD);
        copy(&mut self.payload, bytes);
        (self.since, self.send_at, self.wait) = (now, now, FIRST_WAIT);
        self.len
    }

    /// Forgets all that belongs to a session.
    fn renew(&mut self, session: u32, state: State) {
        (self.session, self.state) = (session, state);
        self.unread = (0, 0);
        (self.awaited, self.number, self.len) = (0, 0, 0);
        (self.acknowledge, self.again) = (false, false);
    }

    /// Takes the frame whose first `len` bytes are in the decoder.
    fn take(&mut self, len: usize, now: u64) -> Option<Event> {
        let mut frame = self.decoder.bytes(0..len);
        let kind = part::<1>(&mut frame)?[0];
        let session = u32::from_le_bytes(part(&mut frame)?);
        let from_device = kind & FROM_DEVICE != 0;
        if from_device != self.is_host {
            return None; // an echo
        }
        let ours = self.state == State::Open && session == self.session;
        match kind & !FROM_DEVICE {
            HELLO if !self.is_host => {
                let [version] = part(&mut frame)?;
                let time = u64::from_le_bytes(part(&mut frame)?);
                self.answer = Some((WELCOME, session));
                if version != VERSION {
                    return None;
                }
                self.clock = Some((time, now));
                if ours {
                    return None;
                }
                self.renew(session, State::Open);
                self.counts.sessions = self.counts.sessions.wrapping_add(1);
                Some(Event::Opened)
            }
            WELCOME if self.is_host && self.state == State::Opening && session == self.session => {
                let [version] = part(&mut frame)?;
                if version != VERSION {
                    self.close();
                    return Some(Event::Closed(Reason::Version(version)));
                }
                self.state = State::Open;
                self.greet_at = now + TIME_PERIOD;
                self.counts.sessions = self.counts.sessions.wrapping_add(1);
                Some(Event::Opened)
            }
            RESET if self.is_host && self.is_open() && (ours || session == 0) => {
                self.close();
                Some(Event::Closed(Reason::Reset))
            }
            TIME if ours && !self.is_host => {
                let time = u64::from_le_bytes(part(&mut frame)?);
                self.clock = Some((time, now));
                None
            }
            kind @ (DATA | AGAIN) if ours => {
                let [number, awaited] = part(&mut frame)?;
                let payload = (len - frame.len(), len);
                self.data(kind, number, awaited, payload, now);
                None
            }
            TIME | DATA | AGAIN if !self.is_host => {
                self.answer = Some((RESET, session));
                None
            }
            _ => None,
        }
    }

    fn data(&mut self, kind: u8, number: u8, awaited: u8, payload: (usize, usize), now: u64) {
        if self.len > 0 && awaited == self.number.wrapping_add(1) {
            self.number = awaited;
            self.len = 0;
        }
        if kind == AGAIN {
            self.acknowledge |= self.len == 0;
            self.send_at = self.send_at.min(now);
        } else if payload.0 < payload.1 {
            if number == self.awaited {
                self.awaited = number.wrapping_add(1);
                self.unread = payload;
            } else {
                self.acknowledge = true;
            }
        }
    }

    /// Makes the next frame, if there is one to send; its length on the line.
    fn next(&mut self, now: u64) -> usize {
        if let Some((kind, session)) = self.answer.take() {
            let version: &[u8] = if kind == WELCOME { &[VERSION] } else { &[] };
            return self.encode(kind, session, version, 0);
        }
        if self.state == State::Closed {
            return 0;
        }
        if self.is_host
            && now >= self.greet_at
            && let Some(time) = self.time(now)
        {
            let time = time.to_le_bytes();
            let [a, b, c, d, e, f, g, h] = time;
            if self.state == State::Open {
                self.greet_at = now + TIME_PERIOD;
                return self.encode(TIME, self.session, &time, 0);
            }
            self.greet_at = now + HELLO_PERIOD;
            return self.encode(HELLO, self.session, &[VERSION, a, b, c, d, e, f, g, h], 0);
        }
        if self.state != State::Open {
            return 0;
        }
        let kind = if core::mem::take(&mut self.again) {
            AGAIN
        } else {
            DATA
        };
        // What is read is acknowledged by whatever goes out.
        let awaited = match self.has_unread() {
            true => self.awaited.wrapping_sub(1),
            false => self.awaited,
        };
        let is_due = self.len > 0 && now >= self.send_at;
        if is_due && kind == DATA {
            if self.wait > FIRST_WAIT {
                self.counts.repeated = self.counts.repeated.wrapping_add(1);
            }
            self.send_at = now + self.wait;
            self.wait = (self.wait * 2).min(LAST_WAIT);
            self.acknowledge = false;
            return self.encode(DATA, self.session, &[self.number, awaited], self.len);
        }
        if core::mem::take(&mut self.acknowledge) || kind == AGAIN {
            return self.encode(kind, self.session, &[self.number, awaited], 0);
        }
        0
    }

    /// Writes a frame of these parts and the first `len` bytes of the payload; its length.
    fn encode(&mut self, kind: u8, session: u32, head: &[u8], len: usize) -> usize {
        let direction = if self.is_host { 0 } else { FROM_DEVICE };
        let mut end = 2;
        let mut put = |bytes: &[u8]| {
            copy(self.frame.get_mut(end..).unwrap_or_default(), bytes);
            end += bytes.len();
        };
        put(&[kind | direction]);
        put(&session.to_le_bytes());
        put(head);
        put(self.payload.get(..len).unwrap_or_default());
        let content = self.frame.get(2..end).unwrap_or_default();
        let checksum = crc32(content).to_le_bytes();
        copy(self.frame.get_mut(end..).unwrap_or_default(), &checksum);
        let end = end + checksum.len();
        cobs::encode(self.frame.get_mut(..=end).unwrap_or_default());
        end + 1
    }
}

/// The next `N` bytes of a frame.
fn part<const N: usize>(frame: &mut &[u8]) -> Option<[u8; N]> {
    let (part, rest) = frame.split_first_chunk()?;
    *frame = rest;
    Some(*part)
}

/// Kind, session, two numbers, payload and checksum.
const CONTENT: usize = 1 + 4 + 2 + MAX_PAYLOAD + 4;

const FROM_DEVICE: u8 = 0x80;
const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const TIME: u8 = 3;
const DATA: u8 = 4;
const AGAIN: u8 = 5;
const RESET: u8 = 6;

/// In milliseconds, as the format says.
const HELLO_PERIOD: u64 = 500;
const TIME_PERIOD: u64 = 5 * 60_000;
const FIRST_WAIT: u64 = 300;
const LAST_WAIT: u64 = 2_400;
const SILENCE: u64 = 15_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::VecDeque, vec::Vec};

    const TIME: u64 = 1_795_430_000_000;

    /// Both ends, and a line between them that is as bad as `spoil` makes it.
    struct Pair {
        ends: [Line; 2],
        /// What each end's caller wants to send, has sent, and has got.
        streams: [(Vec<u8>, usize, Vec<u8>); 2],
        now: u64,
    }

    impl Pair {
        fn new(host: &[u8], device: &[u8]) -> Self {
            let mut pair = Self {
                ends: [Line::host(), Line::device()],
                streams: [host, device].map(|bytes| (bytes.to_vec(), 0, Vec::new())),
                now: 7,
            };
            pair.ends[0].set_time(TIME, pair.now);
            pair.ends[0].open(1, pair.now);
            pair
        }

        /// Each end sends what it has, and gets what `spoil` leaves of it, then `step` milliseconds
        /// pass.
        fn step(&mut self, step: u64, spoil: &mut impl FnMut(usize, Vec<u8>) -> Vec<u8>) {
            for from in [0, 1] {
                let (stream, sent, _) = &mut self.streams[from];
                *sent += self.ends[from].write(&stream[*sent..], self.now);
                let mut bytes = Vec::new();
                loop {
                    let frame = self.ends[from].outgoing(self.now).to_vec();
                    if frame.is_empty() {
                        break;
                    }
                    self.ends[from].sent(frame.len());
                    bytes.extend(frame);
                }
                self.deliver(1 - from, &spoil(from, bytes));
            }
            for end in 0..2 {
                let event = self.ends[end].tick(self.now);
                self.happened(end, event);
            }
            self.now += step;
        }

        fn deliver(&mut self, to: usize, mut bytes: &[u8]) {
            while !bytes.is_empty() {
                let (taken, event) = self.ends[to].receive(bytes, self.now);
                bytes = &bytes[taken..];
                let mut out = [0; 50];
                while let n @ 1.. = self.ends[to].read(&mut out) {
                    self.streams[to].2.extend_from_slice(&out[..n]);
                }
                self.happened(to, event);
            }
        }

        /// The streams begin again with a session.
        fn happened(&mut self, end: usize, event: Option<Event>) {
            match event {
                None => return,
                Some(Event::Opened) => {}
                Some(Event::Closed(_)) if end == 0 => {
                    let next = self.ends[0].session_for_tests() + 1;
                    self.ends[0].open(next, self.now);
                }
                Some(Event::Closed(_)) => {}
            }
            self.streams[end].1 = 0;
            self.streams[end].2.clear();
        }

        fn is_done(&self) -> bool {
            self.streams[0].2 == self.streams[1].0 && self.streams[1].2 == self.streams[0].0
        }
    }

    impl Line {
        fn session_for_tests(&self) -> u32 {
            self.counts.sessions + 1000
        }
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i % 7 * 50) as u8).collect()
    }

    fn whole(_: usize, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    #[test]
    fn on_a_good_line_everything_arrives_once_and_the_device_knows_the_time() {
        for lens in [(0, 0), (1, 0), (128, 129), (1000, 5000)] {
            let mut pair = Pair::new(&text(lens.0), &text(lens.1));
            for _ in 0..100 {
                pair.step(1, &mut whole);
            }
            assert!(pair.is_done(), "{lens:?}");
            assert_eq!(pair.ends[1].time(pair.now), Some(TIME + pair.now - 7));
            let counts = Counts {
                sessions: 1,
                ..Counts::default()
            };
            assert_eq!(pair.ends.each_ref().map(Line::counts), [counts; 2]);
        }
    }

    #[test]
    fn a_lost_frame_is_sent_again_when_its_time_comes_and_a_damaged_one_at_once() {
        for (loses, patience) in [(true, 320), (false, 5)] {
            let mut pair = Pair::new(b"", &text(600));
            for _ in 0..2 {
                pair.step(1, &mut whole);
            }
            let mut once = true;
            let start = pair.now;
            while !pair.is_done() && pair.now < start + 2_000 {
                pair.step(1, &mut |from, mut bytes| {
                    if from == 1 && bytes.len() > 100 && core::mem::take(&mut once) {
                        match loses {
                            true => bytes.clear(),
                            false => bytes[20] ^= 1,
                        }
                    }
                    bytes
                });
            }
            assert!(pair.is_done() && pair.now - start < patience, "{loses}");
            assert_eq!(pair.ends[1].counts().repeated, 1);
        }
    }

    #[test]
    fn a_receiver_that_does_not_read_is_sent_no_more_than_it_holds() {
        let mut pair = Pair::new(b"", b"");
        while !pair.ends.iter().all(Line::is_open) {
            pair.step(1, &mut whole);
        }
        let [host, device] = &mut pair.ends;
        for now in pair.now..pair.now + 3 {
            device.write(&[7; 128], now);
            let frame = device.outgoing(now).to_vec();
            device.sent(frame.len());
            host.receive(&frame, now);
            assert!(host.has_unread());
            let (taken, event) = host.receive(b"\0more\0", now);
            assert_eq!((taken, event), (0, None));
            let answer = host.outgoing(now).to_vec();
            host.sent(answer.len());
            device.receive(&answer, now);
            assert!(!device.can_write(), "not read, not acknowledged");
            assert_eq!(host.read(&mut [0; 200]), 128);
            let answer = host.outgoing(now).to_vec();
            host.sent(answer.len());
            device.receive(&answer, now);
            assert!(device.can_write());
        }
    }

    #[test]
    fn a_device_that_starts_again_and_a_host_that_does_are_noticed() {
        let mut pair = Pair::new(&text(500), &text(500));
        for _ in 0..20 {
            pair.step(1, &mut whole);
        }
        pair.ends[1] = Line::device();
        (pair.streams[1].1, pair.streams[1].2) = (0, Vec::new());
        for _ in 0..20 {
            pair.step(1, &mut whole);
        }
        assert!(pair.is_done());
        assert_eq!(pair.ends[0].counts().sessions, 2);

        pair.ends[0] = Line::host();
        pair.ends[0].set_time(TIME, pair.now);
        pair.ends[0].open(99, pair.now);
        (pair.streams[0].1, pair.streams[0].2) = (0, Vec::new());
        for _ in 0..20 {
            pair.step(1, &mut whole);
        }
        assert!(pair.is_done());
    }

    #[test]
    fn a_device_that_is_gone_ends_the_session_and_one_that_is_asked_before_it_says_no() {
        let mut pair = Pair::new(&text(500), b"");
        pair.step(1, &mut whole);
        pair.step(1, &mut whole);
        assert!(pair.ends[0].is_open());
        let mut gone = |_: usize, _: Vec<u8>| Vec::new();
        let start = pair.now;
        while pair.ends[0].is_open() {
            pair.step(50, &mut gone);
        }
        assert!(pair.now - start >= SILENCE, "{}", pair.now);

        // The frame of a session that is none.
        let mut host = Line::host();
        let mut device = Line::device();
        host.renew(5, State::Open);
        host.write(b"x", 0);
        let first = device.outgoing(0).len();
        device.sent(first);
        let frame = host.outgoing(0).to_vec();
        host.sent(frame.len());
        assert_eq!(device.receive(&frame, 0), (frame.len(), None));
        let frame = device.outgoing(0).to_vec();
        let closed = Some(Event::Closed(Reason::Reset));
        assert_eq!(host.receive(&frame, 0), (frame.len(), closed));
        // An echo is no answer.
        assert_eq!(device.receive(&frame, 0), (frame.len(), None));
    }

    #[test]
    fn another_version_is_told_and_starts_nothing() {
        let (mut host, mut device) = (Line::host(), Line::device());
        host.renew(5, State::Opening);
        device.encode_for_tests(WELCOME, 5, &[9]);
        let frame = device.outgoing(0).to_vec();
        let closed = Some(Event::Closed(Reason::Version(9)));
        assert_eq!(host.receive(&frame, 0).1, closed);
        host.encode_for_tests(HELLO, 6, &[9, 0, 0, 0, 0, 0, 0, 0, 0]);
        let frame = host.outgoing(0).to_vec();
        assert_eq!(device.receive(&frame, 0).1, None);
        assert!(!device.is_open() && device.time(0).is_none());
    }

    impl Line {
        fn encode_for_tests(&mut self, kind: u8, session: u32, head: &[u8]) {
            self.frame_sent = 0;
            self.frame_len = self.encode(kind, session, head, 0);
        }
    }

    #[test]
    fn the_longest_frame_fits_and_holds_no_zero_inside() {
        for fill in [0, 1, 255] {
            let mut line = Line::device();
            line.renew(0, State::Open);
            line.write(&[fill; 200], 0);
            line.answer = None;
            let frame = line.outgoing(0);
            assert_eq!(frame.len(), MAX_FRAME);
            let inside = &frame[1..MAX_FRAME - 1];
            assert!(inside.iter().all(|&byte| byte != 0));
            assert!(frame[0] == 0 && frame[MAX_FRAME - 1] == 0);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn what_arrives_is_a_prefix_of_what_was_sent_and_all_of_it_once_the_line_is_good(
            lens in (0..1500_usize, 0..1500_usize),
            spoiling in prop::collection::vec((0..5_u8, any::<u16>(), any::<u8>()), 0..100),
            delays in prop::collection::vec(0..40_usize, 1..20),
        ) {
            let (host, device) = (text(lens.0), text(lens.1));
            let mut pair = Pair::new(&host, &device);
            let mut spoiling = spoiling.into_iter();
            let mut late = [VecDeque::new(), VecDeque::new()];
            let mut delays = delays.into_iter().cycle();
            // Each of 100 may hit what a session hangs on: a RESET, or a TIME of every five minutes.
            let mut steps = 0;
            while !pair.is_done() {
                let (mut good, mut quiet) = (true, true);
                pair.step(25, &mut |from, mut bytes| {
                    quiet &= bytes.is_empty();
                    if !bytes.is_empty() && let Some((what, at, byte)) = spoiling.next() {
                        good = false;
                        let at = usize::from(at) % bytes.len();
                        match what {
                            0 => drop(bytes.remove(at)),
                            1 => bytes[at] = byte,
                            2 => bytes = [&bytes[..], &bytes[..]].concat(),
                            3 => bytes.insert(at, byte),
                            _ => bytes.truncate(at),
                        }
                    }
                    late[from].extend(bytes);
                    let keep = if good { 0 } else { delays.next().unwrap_or_default() };
                    let n = late[from].len().saturating_sub(keep);
                    late[from].drain(..n).collect()
                });
                if quiet {
                    pair.now += 1_000;
                }
                prop_assert!(pair.streams[0].0.starts_with(&pair.streams[1].2));
                prop_assert!(pair.streams[1].0.starts_with(&pair.streams[0].2));
                steps += 1;
                prop_assert!(steps < 60_000, "{lens:?}");
            }
        }

        #[test]
        fn no_bytes_are_too_strange(
            is_host in any::<bool>(),
            bytes in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..2000),
        ) {
            let mut line = if is_host { Line::host() } else { Line::device() };
            line.set_time(TIME, 0);
            if is_host {
                line.open(1, 0);
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (taken, _) = line.receive(rest, 1);
                rest = &rest[taken..];
                line.read(&mut [0; 64]);
                let n = line.outgoing(1).len();
                prop_assert!(n <= MAX_FRAME);
                line.sent(n);
            }
        }
    }
}
