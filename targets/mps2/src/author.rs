//! Writes what the device has to say: four messages, below the topic that it was provisioned with.

#[cfg(all(feature = "embassy", target_os = "none"))]
use fedmsg_core::publisher::Shared;
use fedmsg_core::{
    message::{Envelope, MessageId},
    provision::{MAX_TOPIC, Provision},
    publisher::{PublishError, Publisher},
};
use serde::{Serialize, Serializer};

use crate::{agenda::Due, entropy::Entropy, log::warn, transport::Counts};

/// What a message is encoded in: its text twice, and the signature.
const SCRATCH: usize = 1024;

/// What the board can tell.
#[derive(Clone, Copy)]
pub struct Senses {
    /// Which buttons are held down.
    pub buttons: fn() -> u32,
    /// The deepest that the stack was, in bytes.
    pub stack: fn() -> usize,
}

/// What takes messages to the subscribers.
pub trait Outlet<const LINKS: usize> {
    /// As [`Publisher::publish`].
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    fn publish(
        &mut self,
        envelope: &Envelope<'_>,
        msg: &impl Serialize,
        scratch: &mut [u8],
    ) -> Result<(), PublishError>;

    /// As [`Publisher::subscribers`].
    fn subscribers(&self) -> usize;

    /// How many messages each has lost, and all of them, those that are gone included.
    fn lost(&self) -> ([u64; LINKS], u64);
}

impl<const LINKS: usize> Outlet<LINKS> for Publisher<'_, LINKS> {
    fn publish(
        &mut self,
        envelope: &Envelope<'_>,
        msg: &impl Serialize,
        scratch: &mut [u8],
    ) -> Result<(), PublishError> {
        self.publish(envelope, msg, scratch)
    }

    fn subscribers(&self) -> usize {
        self.subscribers()
    }

    fn lost(&self) -> ([u64; LINKS], u64) {
        (core::array::from_fn(|link| self.lost_by(link)), self.lost())
    }
}

#[cfg(all(feature = "embassy", target_os = "none"))]
impl<const LINKS: usize> Outlet<LINKS> for &Shared<'_, LINKS> {
    fn publish(
        &mut self,
        envelope: &Envelope<'_>,
        msg: &impl Serialize,
        scratch: &mut [u8],
    ) -> Result<(), PublishError> {
        Shared::publish(self, envelope, msg, scratch)
    }

    fn subscribers(&self) -> usize {
        Shared::subscribers(self)
    }

    fn lost(&self) -> ([u64; LINKS], u64) {
        (
            core::array::from_fn(|link| self.lost_by(link)),
            Shared::lost(self),
        )
    }
}

/// The device as the sender of messages.
pub struct Author {
    topic: &'static str,
    mac: [u8; 6],
    senses: Senses,
    sent: u64,
    unheard: u64,
    failed: u32,
    /// Where messages are encoded; not on the stack, which signing needs.
    scratch: [u8; SCRATCH],
}

impl Author {
    /// One that has said nothing yet.
    #[must_use]
    pub fn new(provision: &Provision<'static>, senses: Senses) -> Self {
        Self {
            topic: provision.topic,
            mac: provision.mac,
            senses,
            sent: 0,
            unheard: 0,
            failed: 0,
            scratch: [0; SCRATCH],
        }
    }

    /// Says what is due, to whoever is there: `time` is the time of day in seconds, `uptime` in
    /// milliseconds. A message that cannot be made is counted, and logged.
    pub fn say<const LINKS: usize>(
        &mut self,
        due: &Due,
        (time, uptime): (u64, u64),
        random: &mut Entropy,
        connections: Counts,
        outlet: &mut impl Outlet<LINKS>,
    ) {
        let made = match due {
            Due::Start => {
                let start = Start {
                    firmware: env!("CARGO_PKG_VERSION"),
                    mac: self.mac,
                };
                self.publish("start", &start, time, random, outlet)
            }
            Due::Reading => {
                let buttons = (self.senses.buttons)();
                let reading = Reading { buttons, uptime };
                self.publish("reading", &reading, time, random, outlet)
            }
            Due::Event(line) => {
                let text = line.text().unwrap_or_default();
                self.publish("event", &Event { text }, time, random, outlet)
            }
            Due::Status => {
                let (lost, lost_in_all) = outlet.lost();
                let status = Status {
                    connections,
                    failed: self.failed,
                    lost,
                    lost_in_all,
                    stack: (self.senses.stack)(),
                    subscribers: outlet.subscribers(),
                    unheard: self.unheard,
                    uptime,
                };
                self.publish("status", &status, time, random, outlet)
            }
        };
        if let Err(error) = made {
            self.failed += 1;
            warn!("a message could not be made: {}", error);
        }
    }

    /// Publishes a message, numbered if that succeeds.
    fn publish<const LINKS: usize>(
        &mut self,
        name: &str,
        msg: &impl Serialize,
        time: u64,
        random: &mut Entropy,
        outlet: &mut impl Outlet<LINKS>,
    ) -> Result<(), PublishError> {
        let mut topic = [0; MAX_TOPIC + 1 + 16];
        let envelope = Envelope {
            topic: join(self.topic, name, &mut topic),
            i: self.sent + 1,
            timestamp: time,
            msg_id: MessageId::new(time, random.draw()),
            username: None,
            seq_id: None,
        };
        if outlet.subscribers() == 0 {
            self.unheard += 1;
        }
        outlet.publish(&envelope, msg, &mut self.scratch)?;
        self.sent += 1;
        Ok(())
    }
}

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
struct Status<const LINKS: usize> {
    connections: Counts,
    /// Messages that could not be encoded or signed.
    failed: u32,
    /// Messages that subscribers have lost, because they were too slow: by the place of each that is
    /// here.
    #[serde(serialize_with = "sequence")]
    lost: [u64; LINKS],
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

fn sequence<S: Serializer, const N: usize>(
    numbers: &[u64; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(numbers)
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
