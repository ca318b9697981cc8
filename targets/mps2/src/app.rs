//! The device: what it has to say, over any transport.
//!
//! Nothing is said before the time is known: a message with a wrong time and a good signature is
//! worse than none.

use core::hint::black_box;

use fedmsg_core::{
    crypto::Signer,
    provision::Provision,
    publisher::Publisher,
    zmtp::{Heartbeat, Limits},
};

use crate::{
    agenda::Agenda,
    author::{Author, Senses},
    entropy::Entropy,
    transport::Transport,
};

/// Bytes of recent messages, which all subscribers share: a dozen signed readings. The certificate is
/// not among them.
pub const RING: usize = 4096;

/// What subscribers may do. They have little to say.
pub const LIMITS: Limits = Limits {
    max_message: 512,
    handshake_timeout_ms: 10_000,
    heartbeat: Some(Heartbeat {
        interval_ms: 15_000,
        timeout_ms: 15_000,
        ttl: 0,
    }),
    ..Limits::DEFAULT
};

/// Whose device it is.
pub struct Owner {
    /// What was provisioned.
    pub provision: Provision<'static>,
    /// What signs, if the device is to.
    pub signer: Option<&'static dyn Signer>,
    /// Where random numbers come from.
    pub random: Entropy,
}

/// The device, with at most `LINKS` subscribers.
pub struct App<T, const LINKS: usize> {
    transport: T,
    publisher: Publisher<'static, LINKS>,
    agenda: Agenda,
    author: Author,
    random: Entropy,
}

impl<T: Transport<LINKS>, const LINKS: usize> App<T, LINKS> {
    /// A device whose recent messages are in `ring`.
    pub fn new(owner: Owner, transport: T, senses: Senses, ring: &'static mut [u8; RING]) -> Self {
        Self {
            transport,
            publisher: match owner.signer {
                Some(signer) => Publisher::signed(ring, signer, LIMITS),
                None => Publisher::new(ring, LIMITS),
            },
            agenda: Agenda::new(owner.provision.period_ms),
            author: Author::new(&owner.provision, senses),
            random: owner.random,
        }
    }

    /// Does what there is to do; whether there is more at once. To be called again at the latest
    /// when a frame or a byte has come, or a millisecond passed.
    pub fn turn(&mut self, now: u64, console: impl FnMut() -> Option<u8>) -> bool {
        let mut more = self
            .transport
            .poll(&mut self.publisher, &mut self.random, now);
        let Some(time) = self.transport.time(now) else {
            return more;
        };
        begin();
        let publisher = &mut self.publisher;
        // Somebody has taken all there was, or nobody is there.
        let taken = || {
            publisher.subscribers() == 0
                || (0..LINKS).any(|link| publisher.outgoing(link).is_ok_and(<[u8]>::is_empty))
        };
        if let Some(due) = self.agenda.next(now, taken, console) {
            self.author.say(
                &due,
                (time, now),
                &mut self.random,
                self.transport.counts(),
                &mut self.publisher,
            );
            more |= self.transport.send(&mut self.publisher, now);
            end();
        }
        more || self.agenda.is_busy()
    }
}

/// What instructions are counted from and to, to say what a message costs: two functions that do
/// nothing, to be found by name in the image.
#[inline(never)]
pub fn begin() {
    black_box(1);
}

/// See [`begin`].
#[inline(never)]
pub fn end() {
    black_box(2);
}
