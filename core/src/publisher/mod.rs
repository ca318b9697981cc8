//! A PUB socket for a device: the message, the signature and ZMTP put together.
//!
//! [`Publisher`] keeps the most recent messages once, in a [`ring`] that all subscribers share;
//! each connection is a few hundred bytes of state and a place in that ring. RAM is the ring and
//! `LINKS` connections, whatever the subscribers do. A subscriber that does not keep up with the
//! ring loses the oldest messages, alone, and how many is counted. The sender's certificate is
//! sent from where it lies (flash), and is never in the ring.
//!
//! The publisher is sans-I/O: bytes go in with [`space`](Publisher::space) and
//! [`received`](Publisher::received) and come out with [`outgoing`](Publisher::outgoing) and
//! [`sent`](Publisher::sent). Feature `sync` adds [`Publisher::poll`] over `embedded-io`, feature
//! `async` adds [`Shared`] over `embedded-io-async`.

pub mod ring;

#[cfg(feature = "async")]
mod shared;
#[cfg(feature = "sync")]
mod sync;

#[cfg(feature = "async")]
pub use shared::{Connection, Shared};

#[cfg(any(feature = "sync", feature = "async"))]
use crate::link::End;
use crate::{
    crypto::Signer,
    link::{Control, LinkError},
    message::{self, Encoded, Envelope, Payload},
    zmtp::{
        Event, Inbox, Limits, Peer, Prefixes, SocketType,
        frame::{self, Decoded},
        message_headers,
    },
};
use core::fmt;
use ring::{Cursor, Next, Record, RecordTooLarge, Ring};

/// Bytes of input kept for a connection. The longest subscription it takes is
/// [`MAX_SUBSCRIPTION`].
const INBOX: usize = 144;

/// The longest prefix that a subscriber may ask a [`Publisher`] for, in bytes.
pub const MAX_SUBSCRIPTION: usize = INBOX - 16;

/// A PUB socket for `LINKS` subscribers at once, each with `PREFIXES` bytes for its subscriptions
/// (two more than its length for each prefix).
pub struct Publisher<'b, const LINKS: usize, const PREFIXES: usize = 128> {
    ring: Ring<&'b mut [u8]>,
    signer: Option<&'b dyn Signer>,
    links: [Option<Link<PREFIXES>>; LINKS],
    limits: Limits,
    lost: u64,
}

/// One subscriber's connection.
struct Link<const PREFIXES: usize> {
    peer: Peer,
    inbox: Inbox<[u8; INBOX]>,
    prefixes: Prefixes<PREFIXES>,
    control: Control<32>,
    cursor: Cursor,
    /// How much of the record at the cursor has been sent, or [`CUT_OFF`].
    sent: usize,
    lost: u64,
}

/// The record under way had to go.
const CUT_OFF: usize = usize::MAX;

impl<'b, const LINKS: usize, const PREFIXES: usize> Publisher<'b, LINKS, PREFIXES> {
    /// A publisher of unsigned messages. `ring` holds the recent messages; one takes its frames'
    /// length and about 12 bytes.
    pub fn new(ring: &'b mut [u8], limits: Limits) -> Self {
        let max_subscription = limits.max_subscription.min(MAX_SUBSCRIPTION);
        Self {
            ring: Ring::new(ring),
            signer: None,
            links: [const { None }; LINKS],
            limits: Limits {
                max_subscription,
                ..limits
            },
            lost: 0,
        }
    }

    /// A publisher whose messages `signer` signs. Its certificate field takes no room in `ring`.
    pub fn signed(ring: &'b mut [u8], signer: &'b dyn Signer, limits: Limits) -> Self {
        Self {
            signer: Some(signer),
            ..Self::new(ring, limits)
        }
    }

    /// Encodes and, if there is a signer, signs a message, for every subscriber that wants it.
    /// `scratch` is where it is encoded (see [`Envelope::encode_signed`]); it is free again
    /// afterwards.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed then.
    pub fn publish<P: Payload + ?Sized>(
        &mut self,
        envelope: &Envelope<'_>,
        msg: &P,
        scratch: &mut [u8],
    ) -> Result<(), PublishError> {
        let encoded = match self.signer {
            Some(signer) => envelope.encode_signed(msg, signer, scratch),
            None => envelope.encode(msg, scratch),
        };
        self.append(&encoded.map_err(PublishError::Message)?)
    }

    fn append(&mut self, message: &Encoded<'_>) -> Result<(), PublishError> {
        let topic = message.topic().as_bytes();
        let [before, certificate, text] = message.body();
        let headers = message_headers(topic.len(), message.body_len());
        let [first, second] = &headers;
        let cut = first.len() + topic.len() + second.len() + before.len();
        self.ring
            .append(
                &[first, topic, second, before, text],
                (!certificate.is_empty()).then_some(cut),
                |_| {},
            )
            .map_err(PublishError::TooLarge)
    }

    /// Takes a new connection; its number, or `None` if all `LINKS` are in use. `now` is in
    /// milliseconds on any clock that does not go back, here and everywhere.
    pub fn open(&mut self, now: u64) -> Option<usize> {
        let cursor = self.ring.cursor();
        let free = self.links.iter().position(Option::is_none)?;
        *self.links.get_mut(free)? = Some(Link {
            peer: Peer::new(SocketType::Pub, self.limits, now),
            inbox: Inbox::new([0; INBOX]),
            prefixes: Prefixes::new(),
            control: Control::new(),
            cursor,
            sent: 0,
            lost: 0,
        });
        Some(free)
    }

    /// Forgets a connection, which the caller has closed or will close.
    pub fn close(&mut self, link: usize) {
        if let Some(link) = self.links.get_mut(link) {
            *link = None;
        }
    }

    /// How many connected peers have subscribed to anything.
    pub fn subscribers(&self) -> usize {
        self.links
            .iter()
            .flatten()
            .filter(|link| !link.prefixes.is_empty())
            .count()
    }

    /// Whether a connection's peer has subscribed to messages of this topic.
    pub fn wants(&self, link: usize, topic: &str) -> bool {
        let link = self.links.get(link).and_then(Option::as_ref);
        link.is_some_and(|link| link.prefixes.matches(topic.as_bytes()))
    }

    /// How many messages subscribers have lost because they were too slow, all together, wanted
    /// by their subscriptions or not.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How many messages this connection's subscriber has lost so; 0 where there is none.
    pub fn lost_by(&self, link: usize) -> u64 {
        let link = self.links.get(link).and_then(Option::as_ref);
        link.map_or(0, |link| link.lost)
    }

    /// Where to put bytes that a connection received; never empty while it is alive.
    ///
    /// # Errors
    /// [`LinkError::NoLink`].
    pub fn space(&mut self, link: usize) -> Result<&mut [u8], LinkError> {
        Ok(self.link(link)?.inbox.space())
    }

    /// The first `n` bytes of [`space`](Self::space) were received.
    ///
    /// # Errors
    /// Why the connection must be closed. Its [`outgoing`](Self::outgoing) may still have a word
    /// to the peer on that.
    pub fn received(&mut self, link: usize, n: usize, now: u64) -> Result<(), LinkError> {
        let end = self.ring.cursor();
        let link = self.link(link)?;
        link.inbox.commit(n);
        loop {
            let input = link
                .peer
                .input(link.inbox.unread(), now)
                .map_err(LinkError::Peer)?;
            match input.event {
                Some(Event::Subscribe(prefix)) => {
                    if link.prefixes.is_empty() && link.sent == 0 {
                        // What was published before is not for this one.
                        link.cursor = end;
                    }
                    link.prefixes
                        .insert(prefix)
                        .map_err(|_| LinkError::Subscriptions)?;
                }
                Some(Event::Cancel(prefix)) => {
                    link.prefixes.remove(prefix);
                }
                Some(Event::Ready(_) | Event::Message(_)) => {}
                None if input.needed > INBOX => {
                    return Err(LinkError::BufferTooSmall {
                        needed: input.needed,
                    });
                }
                None => {
                    let consumed = input.consumed;
                    link.inbox.consume(consumed);
                    return Ok(());
                }
            }
            let consumed = input.consumed;
            link.inbox.consume(consumed);
        }
    }

    /// Looks at the clock for a connection: heartbeats and time limits. Gives the time at which
    /// to look again at the latest.
    ///
    /// # Errors
    /// Why the connection must be closed.
    pub fn tick(&mut self, link: usize, now: u64) -> Result<Option<u64>, LinkError> {
        self.link(link)?.peer.poll(now).map_err(LinkError::Peer)
    }

    /// The next bytes to send on a connection; empty if there is nothing to send for now. Until they
    /// are [`sent`](Self::sent), nothing may be published or received.
    ///
    /// # Errors
    /// [`LinkError::TooSlow`], [`LinkError::NoLink`].
    pub fn outgoing(&mut self, link: usize) -> Result<&[u8], LinkError> {
        let Self {
            ring,
            signer,
            links,
            lost,
            ..
        } = self;
        let link = links
            .get_mut(link)
            .and_then(Option::as_mut)
            .ok_or(LinkError::NoLink)?;
        if link.sent == 0 && link.control.fill(&mut link.peer) {
            return Ok(link.control.unsent());
        }
        if !link.peer.is_ready() {
            return Ok(&[]);
        }
        if link.sent == CUT_OFF {
            return Err(LinkError::TooSlow);
        }
        loop {
            match ring.at(&link.cursor) {
                Next::Empty => return Ok(&[]),
                Next::Lost => {}
                Next::Record(record) if link.sent > 0 || link.prefixes.matches(topic(record)) => {
                    let certificate = signer.map_or(&[][..], Signer::certificate_field);
                    return Ok(unsent(record, certificate, link.sent));
                }
                Next::Record(_) => {}
            }
            let passed = ring.advance(&mut link.cursor);
            link.lost += passed;
            *lost += passed;
            if passed > 0 && link.sent > 0 {
                link.sent = CUT_OFF;
                return Err(LinkError::TooSlow);
            }
        }
    }

    /// The first `n` bytes of [`outgoing`](Self::outgoing) were sent.
    ///
    /// # Errors
    /// [`LinkError::NoLink`].
    pub fn sent(&mut self, link: usize, n: usize) -> Result<(), LinkError> {
        let Self {
            ring,
            signer,
            links,
            ..
        } = self;
        let link = links
            .get_mut(link)
            .and_then(Option::as_mut)
            .ok_or(LinkError::NoLink)?;
        if link.sent == 0 && !link.control.unsent().is_empty() {
            link.control.sent(n);
        } else if link.sent == CUT_OFF {
            // Nothing more goes out.
        } else if let Next::Record(record) = ring.at(&link.cursor) {
            link.sent = link.sent.saturating_add(n);
            let certificate = signer.map_or(&[][..], Signer::certificate_field);
            if unsent(record, certificate, link.sent).is_empty() {
                link.sent = 0;
                ring.advance(&mut link.cursor);
            }
        }
        Ok(())
    }

    fn link(&mut self, link: usize) -> Result<&mut Link<PREFIXES>, LinkError> {
        self.links
            .get_mut(link)
            .and_then(Option::as_mut)
            .ok_or(LinkError::NoLink)
    }
}

#[cfg(feature = "defmt")]
impl<const LINKS: usize, const PREFIXES: usize> defmt::Format for Publisher<'_, LINKS, PREFIXES> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Publisher({} subscribers, {} lost)",
            self.subscribers(),
            self.lost
        );
    }
}

/// One connection of a publisher's.
#[cfg(any(feature = "sync", feature = "async"))]
struct PublisherLink<'p, 'b, const LINKS: usize, const PREFIXES: usize> {
    publisher: &'p mut Publisher<'b, LINKS, PREFIXES>,
    link: usize,
}

#[cfg(any(feature = "sync", feature = "async"))]
impl<const LINKS: usize, const PREFIXES: usize> End for PublisherLink<'_, '_, LINKS, PREFIXES> {
    fn space(&mut self) -> Result<&mut [u8], LinkError> {
        self.publisher.space(self.link)
    }

    fn received(&mut self, n: usize, now: u64) -> Result<(), LinkError> {
        self.publisher.received(self.link, n, now)
    }

    fn tick(&mut self, now: u64) -> Result<Option<u64>, LinkError> {
        self.publisher.tick(self.link, now)
    }

    fn outgoing(&mut self) -> Result<&[u8], LinkError> {
        self.publisher.outgoing(self.link)
    }

    fn sent(&mut self, n: usize) -> Result<(), LinkError> {
        self.publisher.sent(self.link, n)
    }
}

/// The topic of a record: its first frame.
fn topic(record: Record<'_>) -> &[u8] {
    match frame::decode(record.bytes, u64::MAX) {
        Ok(Decoded::Frame { frame, .. }) => frame.body,
        _ => &[],
    }
}

/// What of a record's text, with `certificate` at its cut, is left after the first `sent` bytes,
/// as far as it lies in one piece.
fn unsent<'r>(record: Record<'r>, certificate: &'r [u8], sent: usize) -> &'r [u8] {
    let (before, after) = match record
        .cut
        .and_then(|cut| record.bytes.split_at_checked(cut))
    {
        Some((before, after)) => (before, after),
        None => (record.bytes, &[][..]),
    };
    let certificate = if record.cut.is_some() {
        certificate
    } else {
        &[]
    };
    let mut sent = sent;
    for piece in [before, certificate, after] {
        match piece.get(sent..) {
            Some(unsent) if !unsent.is_empty() => return unsent,
            _ => sent = sent.saturating_sub(piece.len()),
        }
    }
    &[]
}

/// Why a message could not be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PublishError {
    /// It could not be encoded.
    Message(message::Error),
    /// It is larger than the ring.
    TooLarge(RecordTooLarge),
    /// The publisher is in use, by a message that is being published.
    Busy,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => error.fmt(f),
            Self::Busy => f.write_str("the publisher is in use"),
            Self::TooLarge(RecordTooLarge { limit }) => {
                write!(
                    f,
                    "the message is larger than the ring, which takes {limit} bytes"
                )
            }
        }
    }
}

impl core::error::Error for PublishError {}
