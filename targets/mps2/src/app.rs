//! What this device has to say, and when.
//!
//! Four messages, below the topic that it was provisioned with: `start` once the time is known,
//! `reading` every so often, `event` for a line on the console, `status` every minute and when it is
//! asked for by the line `status`. Nothing is said before the time is known: a message with a wrong
//! time and a good signature is worse than none.

use core::hint::black_box;

use fedmsg_core::{
    crypto::Signer,
    message::{Envelope, MessageId},
    provision::{MAX_TOPIC, Provision},
    publisher::Publisher,
    zmtp::{Heartbeat, Limits},
};
use serde::Serialize;
use smoltcp::phy::Device;

use crate::{
    SUBSCRIBERS,
    entropy::Entropy,
    links::{Counts, Links},
    log::{info, warn},
    net::{Net, Storage},
    sntp::Sntp,
};

/// Bytes of recent messages, which all subscribers share: a dozen signed readings. The certificate is
/// not among them.
pub const RING: usize = 4096;

/// What a message is encoded in: its text twice, and the signature.
const SCRATCH: usize = 1024;

/// The longest line on the console.
const LINE: usize = 64;

/// Milliseconds between two messages on the device's own state.
const STATUS_PERIOD: u64 = 60_000;

/// What subscribers may do. They have little to say.
const LIMITS: Limits = Limits {
    max_message: 512,
    handshake_timeout_ms: 10_000,
    heartbeat: Some(Heartbeat {
        interval_ms: 15_000,
        timeout_ms: 15_000,
        ttl: 0,
    }),
    ..Limits::DEFAULT
};

/// The device has started.
#[derive(Serialize)]
struct Start {
    /// This program's version.
    firmware: &'static str,
    /// What it calls itself on the Ethernet.
    mac: [u8; 6],
}

/// What the device measures; a real one has more to say than two buttons.
#[derive(Serialize)]
struct Reading {
    buttons: u32,
    /// Milliseconds since the start.
    uptime: u64,
}

/// A line came.
#[derive(Serialize)]
struct Event<'a> {
    text: &'a str,
}

/// How the device is.
#[derive(Serialize)]
struct Status {
    connections: Counts,
    /// Messages that could not be encoded or signed.
    failed: u32,
    /// Messages that subscribers have lost, because they were too slow: by the place of each that is
    /// here.
    lost: [u64; SUBSCRIBERS],
    /// The same, and of all that are here no more.
    lost_in_all: u64,
    /// The deepest that the stack was, in bytes.
    stack: usize,
    subscribers: usize,
    /// Messages that nobody was there for.
    unheard: u64,
    /// Milliseconds since the start.
    uptime: u64,
}

/// What the board can tell.
#[derive(Clone, Copy)]
pub struct Senses {
    /// Which buttons are held down.
    pub buttons: fn() -> u32,
    /// The deepest that the stack was, in bytes.
    pub stack: fn() -> usize,
}

/// The device.
pub struct App<D> {
    provision: Provision<'static>,
    senses: Senses,
    net: Net<D>,
    links: Links,
    publisher: Publisher<'static, SUBSCRIBERS>,
    sntp: Sntp,
    random: Entropy,
    line: Line,
    /// Where messages are encoded; not on the stack, which signing needs.
    scratch: [u8; SCRATCH],
    announced: bool,
    started: bool,
    reading_at: u64,
    status_at: u64,
    /// How many readings are to follow one another without a pause.
    burst: u32,
    sent: u64,
    unheard: u64,
    failed: u32,
}

impl<D: Device> App<D> {
    /// A device that signs with `signer`, if there is one.
    pub fn new(
        provision: Provision<'static>,
        signer: Option<&'static dyn Signer>,
        device: D,
        senses: Senses,
        storage: &'static mut Storage,
        ring: &'static mut [u8; RING],
    ) -> Self {
        let mut random = Entropy::new(provision.seed);
        Self {
            net: Net::new(device, provision.mac, random.draw_u64(), storage),
            links: Links::new(provision.bus),
            publisher: match signer {
                Some(signer) => Publisher::signed(ring, signer, LIMITS),
                None => Publisher::new(ring, LIMITS),
            },
            provision,
            senses,
            sntp: Sntp::new(),
            random,
            line: Line::new(),
            scratch: [0; SCRATCH],
            announced: false,
            started: false,
            reading_at: 0,
            status_at: 0,
            burst: 0,
            sent: 0,
            unheard: 0,
            failed: 0,
        }
    }

    /// Does what there is to do; whether there is more at once. To be called again at the latest
    /// when a frame or a byte has come, or a millisecond passed.
    pub fn turn(&mut self, now: u64, console: impl FnMut() -> Option<u8>) -> bool {
        let mut more = self.net.poll(now);
        if self.net.is_up() {
            self.keep_time(now);
            if !self.announced {
                self.announced = true;
                self.links.announce();
            }
        }
        more |= self
            .links
            .poll(&mut self.net, &mut self.publisher, &mut self.random, now);

        begin();
        if self.say(now, console) {
            // Out with it.
            more |= self.links.serve(&mut self.net, &mut self.publisher, now);
            more |= self.net.poll(now);
            end();
        }
        more || self.burst > 0
    }

    fn keep_time(&mut self, now: u64) {
        let server = self.provision.time_server;
        if let Some(question) = self.sntp.ask(now, &mut self.random) {
            self.net.ask_time(server, &question);
        }
        let known = self.sntp.time(now).is_some();
        if let Some(answer) = self.net.time_answer(server)
            && self.sntp.answer(&answer, now, &mut self.random)
            && !known
            && let Some(time) = self.sntp.time(now)
        {
            info!("it is {=u64}", time);
            self.reading_at = now;
            self.status_at = now + STATUS_PERIOD;
        }
    }

    /// Publishes the next message that is due; whether there was one.
    fn say(&mut self, now: u64, mut console: impl FnMut() -> Option<u8>) -> bool {
        let Some(time) = self.sntp.time(now) else {
            return false;
        };
        if !self.started {
            self.started = true;
            let start = Start {
                firmware: env!("CARGO_PKG_VERSION"),
                mac: self.provision.mac,
            };
            return self.publish("start", &start, time);
        }
        while let Some(byte) = console() {
            if self.line.put(byte) {
                return self.obey(now, time);
            }
        }
        if now >= self.status_at {
            self.status_at = now + STATUS_PERIOD;
            let status = self.status(now);
            return self.publish("status", &status, time);
        }
        let reading = Reading {
            buttons: (self.senses.buttons)(),
            uptime: now,
        };
        if self.burst > 0 {
            if !self.is_taken() {
                return false;
            }
            self.burst -= 1;
            return self.publish("reading", &reading, time);
        }
        if now >= self.reading_at {
            self.reading_at = now + u64::from(self.provision.period_ms);
            return self.publish("reading", &reading, time);
        }
        false
    }

    /// Does what the line on the console says; whether that was a message.
    fn obey(&mut self, now: u64, time: u64) -> bool {
        let line = core::mem::replace(&mut self.line, Line::new());
        let Some(text) = line.text() else {
            warn!("a line that is too long, or no text");
            return false;
        };
        if text == "status" {
            self.status_at = now;
            return false;
        }
        if let Some(number) = text.strip_prefix("burst ") {
            self.burst = number.parse().unwrap_or(0);
            return false;
        }
        self.publish("event", &Event { text }, time)
    }

    fn status(&self, now: u64) -> Status {
        Status {
            connections: self.links.counts(),
            failed: self.failed,
            lost: core::array::from_fn(|link| self.publisher.lost_by(link)),
            lost_in_all: self.publisher.lost(),
            stack: (self.senses.stack)(),
            subscribers: self.publisher.subscribers(),
            unheard: self.unheard,
            uptime: now,
        }
    }

    /// Whether somebody has taken all there was, or nobody is there.
    fn is_taken(&mut self) -> bool {
        let publisher = &mut self.publisher;
        publisher.subscribers() == 0
            || self
                .links
                .open()
                .any(|link| publisher.outgoing(link).is_ok_and(<[u8]>::is_empty))
    }

    /// Publishes a message, numbered if that succeeds; always true.
    fn publish(&mut self, name: &str, msg: &impl Serialize, time: u64) -> bool {
        let mut topic = [0; MAX_TOPIC + 1 + 16];
        let envelope = Envelope {
            topic: join(self.provision.topic, name, &mut topic),
            i: self.sent + 1,
            timestamp: time,
            msg_id: MessageId::new(time, self.random.draw()),
            username: None,
            seq_id: None,
        };
        if self.publisher.subscribers() == 0 {
            self.unheard += 1;
        }
        match self.publisher.publish(&envelope, msg, &mut self.scratch) {
            Ok(()) => self.sent += 1,
            Err(error) => {
                self.failed += 1;
                warn!("a message could not be made: {}", error);
            }
        }
        true
    }
}

/// `topic.name`, in `out`.
fn join<'o>(topic: &str, name: &str, out: &'o mut [u8]) -> &'o str {
    let mut len = 0;
    let bytes = topic.bytes().chain(*b".").chain(name.bytes());
    for (to, byte) in out.iter_mut().zip(bytes) {
        *to = byte;
        len += 1;
    }
    let out: &'o [u8] = out;
    out.get(..len)
        .and_then(|text| core::str::from_utf8(text).ok())
        .unwrap_or_default()
}

/// A line under way.
struct Line {
    bytes: [u8; LINE],
    /// Its length, even where that is more than is kept.
    len: usize,
}

impl Line {
    const fn new() -> Self {
        Self {
            bytes: [0; LINE],
            len: 0,
        }
    }

    /// Takes a byte; whether it ended the line.
    fn put(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' => return true,
            b'\r' => {}
            byte => {
                if let Some(place) = self.bytes.get_mut(self.len) {
                    *place = byte;
                }
                self.len = self.len.saturating_add(1);
            }
        }
        false
    }

    fn text(&self) -> Option<&str> {
        core::str::from_utf8(self.bytes.get(..self.len)?).ok()
    }
}

/// What instructions are counted from and to, to say what a message costs: two functions that do
/// nothing, to be found by name in the image.
#[inline(never)]
fn begin() {
    black_box(1);
}

#[inline(never)]
fn end() {
    black_box(2);
}
