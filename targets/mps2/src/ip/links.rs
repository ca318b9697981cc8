//! Subscribers' connections: which TCP socket is which of the publisher's links.

use fedmsg_core::{LinkError, StreamError, provision::Bus, publisher::Publisher};

use super::{
    SUBSCRIBERS,
    net::{Cable, Net, SOCKETS},
};
use crate::{
    entropy::Entropy,
    log::{info, warn},
    transport::Counts,
};

/// How many milliseconds a connection that we end has for its last words.
const LINGER: u64 = 1_000;
/// Milliseconds from one attempt to reach the relay to the next; doubled each time, up to the last.
const FIRST_RETRY: u64 = 250;
const LAST_RETRY: u64 = 8_000;

/// The connections.
pub struct Links {
    bus: Bus,
    slots: [Slot; SOCKETS],
    connect_at: u64,
    retry: u64,
    counts: Counts,
}

/// What a TCP socket is used for.
#[derive(Clone, Copy)]
enum Slot {
    Free,
    /// Listening or connecting.
    Waiting,
    /// A link of the publisher's.
    Open(usize),
    /// Over for the publisher.
    Closing {
        until: u64,
    },
}

impl Links {
    /// No connection yet.
    #[must_use]
    pub const fn new(bus: Bus) -> Self {
        Self {
            bus,
            slots: [Slot::Free; SOCKETS],
            connect_at: 0,
            retry: FIRST_RETRY,
            counts: Counts {
                opened: 0,
                refused: 0,
                violations: 0,
                too_slow: 0,
            },
        }
    }

    /// What became of connections so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Moves what there is to move; whether there is more at once.
    pub fn poll<D: Cable>(
        &mut self,
        net: &mut Net<D>,
        publisher: &mut Publisher<'_, SUBSCRIBERS>,
        random: &mut Entropy,
        now: u64,
    ) -> bool {
        let more = self.serve(net, publisher, now);
        // After those that ended just now made room.
        for number in 0..SOCKETS {
            self.admit(number, net, publisher, random, now);
        }
        more
    }

    /// Moves the open connections' bytes; whether there is more at once.
    pub fn serve<D: Cable>(
        &mut self,
        net: &mut Net<D>,
        publisher: &mut Publisher<'_, SUBSCRIBERS>,
        now: u64,
    ) -> bool {
        let mut more = false;
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let Slot::Open(link) = *slot else { continue };
            let mut socket = net.socket(number);
            let error = match publisher.poll(link, &mut socket, now) {
                Ok(next) => {
                    more |= next.is_some_and(|at| at <= now);
                    continue;
                }
                Err(error) => error,
            };
            let lost = publisher.lost_by(link);
            publisher.close(link);
            match error {
                StreamError::Link(LinkError::TooSlow) => {
                    self.counts.too_slow += 1;
                    warn!(
                        "subscriber {=usize} was too slow, and lost {=u64}",
                        link, lost
                    );
                    socket.abort();
                }
                StreamError::Link(error) => {
                    self.counts.violations += 1;
                    warn!("subscriber {=usize} broke the protocol: {}", link, error);
                    socket.close();
                }
                StreamError::Closed | StreamError::Io(_) | _ => {
                    info!("subscriber {=usize} left", link);
                    socket.abort();
                }
            }
            *slot = Slot::Closing {
                until: now + LINGER,
            };
        }
        more
    }

    /// Looks at a socket that is no link.
    fn admit<D: Cable>(
        &mut self,
        number: usize,
        net: &mut Net<D>,
        publisher: &mut Publisher<'_, SUBSCRIBERS>,
        random: &mut Entropy,
        now: u64,
    ) {
        let is_up = net.is_up();
        let mut socket = net.socket(number);
        let Some(slot) = self.slots.get_mut(number) else {
            return;
        };
        match *slot {
            Slot::Open(_) => {}
            Slot::Free if !socket.is_free() => {}
            Slot::Free => match self.bus {
                Bus::Listen(port) => {
                    socket.listen(port);
                    *slot = Slot::Waiting;
                }
                Bus::Connect(relay) if number == 0 && is_up && now >= self.connect_at => {
                    self.connect_at = now + self.retry;
                    self.retry = (self.retry * 2).min(LAST_RETRY);
                    socket.connect(relay, random.draw_u64());
                    *slot = Slot::Waiting;
                }
                Bus::Connect(_) | Bus::Serial => {}
            },
            Slot::Waiting if socket.is_connected() => match publisher.open(now) {
                Some(link) => {
                    self.counts.opened += 1;
                    self.retry = FIRST_RETRY;
                    info!("subscriber {=usize} is here", link);
                    *slot = Slot::Open(link);
                }
                None => {
                    self.counts.refused += 1;
                    socket.abort();
                    *slot = Slot::Free;
                }
            },
            Slot::Waiting if socket.is_over() => *slot = Slot::Free,
            Slot::Waiting => {}
            Slot::Closing { .. } if socket.is_over() => *slot = Slot::Free,
            Slot::Closing { until } if now >= until => {
                socket.abort();
                *slot = Slot::Free;
            }
            Slot::Closing { .. } => {}
        }
    }
}
