//! One connection's state machine: handshake, traffic, heartbeats. It does not matter who
//! connected.

use super::command::{self, Lookup, Name, PropertyHead};
use super::frame::{COMMAND, Decoded, LONG, MORE, RawHeader, decode};
use super::{
    BufferTooSmall, Greeting, Message, PeerError, ShortText, SocketType, greeting, subscription,
};
use crate::copy::copy;

/// What a peer may cost us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// Bytes of a message, all its frames with their headers; of every other frame with its header
    /// too. A peer that announces more is cut off before it sends it. What is received is limited
    /// by the caller's buffer as well; what is ignored is not (see [`Peer::input`]).
    pub max_message: usize,
    /// Bytes of a subscription's prefix.
    pub max_subscription: usize,
    /// Milliseconds until the peer's READY must be there; 0 for no limit.
    pub handshake_timeout_ms: u32,
    /// Whether and how we look after the peer's life.
    pub heartbeat: Option<Heartbeat>,
}

impl Limits {
    /// 16 MiB a message, 255 bytes a subscription, 30 s for the handshake (libzmq's), no heartbeat.
    pub const DEFAULT: Limits = Limits {
        max_message: 16 << 20,
        max_subscription: 255,
        handshake_timeout_ms: 30_000,
        heartbeat: None,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// PINGs of ours. The peer's are answered without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Heartbeat {
    /// Milliseconds from one PING to the next; 0 for none.
    pub interval_ms: u32,
    /// Milliseconds that the peer may be silent after a PING.
    pub timeout_ms: u32,
    /// What each PING says: the peer may take us for dead after so many tenths of a second of
    /// silence. 0 says nothing.
    pub ttl: u16,
}

impl Heartbeat {
    const NONE: Heartbeat = Heartbeat {
        interval_ms: 0,
        timeout_ms: 0,
        ttl: 0,
    };
}

/// What the peer said about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PeerInfo {
    /// Its socket type; a peer may leave it out.
    pub socket_type: Option<SocketType>,
    /// Major and minor version as sent.
    pub version: (u8, u8),
}

/// What the peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<'a> {
    /// The handshake is done. Comes once, before all others.
    Ready(PeerInfo),
    /// It wants messages that begin with this prefix (to PUB and XPUB).
    Subscribe(&'a [u8]),
    /// It does not want them any more; it may not have asked for them either (to PUB and XPUB).
    Cancel(&'a [u8]),
    /// It sent a message (to all but PUB). A SUB gets what it did not subscribe to as well, if the
    /// peer sends it.
    Message(Message<'a>),
}

/// What [`Peer::input`] did with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub struct Input<'a> {
    /// So many bytes at the front are done with, those of `event` among them.
    pub consumed: usize,
    /// What happened.
    pub event: Option<Event<'a>>,
    /// Without an event: nothing will happen before there are so many bytes unread in one piece,
    /// counted from behind the consumed ones. A caller whose buffer is smaller than that must give
    /// the connection up.
    pub needed: usize,
}

impl<'a> Input<'a> {
    const fn consumed(consumed: usize) -> Self {
        Input {
            consumed,
            event: None,
            needed: 0,
        }
    }

    const fn event(consumed: usize, event: Event<'a>) -> Self {
        Input {
            consumed,
            event: Some(event),
            needed: 0,
        }
    }

    const fn needs(needed: usize) -> Self {
        Input {
            consumed: 0,
            event: None,
            needed,
        }
    }
}

/// One connection, from its first byte on.
///
/// ```
/// use fedmsg_core::zmtp::{Event, Inbox, Limits, Peer, SocketType};
///
/// # fn demo(mut read: impl FnMut(&mut [u8]) -> usize, mut write: impl FnMut(&[u8]), now: fn() -> u64)
/// # -> Result<(), fedmsg_core::zmtp::PeerError> {
/// let mut peer = Peer::new(SocketType::Sub, Limits::DEFAULT, now());
/// let mut inbox = Inbox::new([0; 4096]);
/// loop {
///     let mut out = [0; 64];
///     while peer.has_output() {
///         let n = peer.output(&mut out);
///         write(&out[..n]);
///     }
///     let n = read(inbox.space()); // at the latest until the deadline from `poll`
///     inbox.commit(n);
///     loop {
///         let input = peer.input(inbox.unread(), now())?;
///         let (consumed, needed) = (input.consumed, input.needed);
///         match input.event {
///             Some(Event::Ready(_)) => {
///                 let n = peer.encode_subscribe(b"org.fedoraproject.", &mut out).unwrap();
///                 write(&out[..n]);
///             }
///             Some(Event::Message(message)) => drop(message.two_frames()),
///             Some(_) => {}
///             None if needed > inbox.capacity() => return Ok(()), // too large for us
///             None => {
///                 inbox.consume(consumed);
///                 break;
///             }
///         }
///         inbox.consume(consumed);
///     }
///     let _deadline = peer.poll(now())?;
/// }
/// # }
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Peer {
    /// When bytes last arrived.
    last_bytes: u64,
    /// When the handshake's time is over, and after it when the next PING is due; [`NEVER`] if
    /// there is no such time.
    timer: u64,
    /// When the first PING was queued that no bytes have followed; [`NEVER`] if there is none.
    unanswered: u64,
    heartbeat: Heartbeat,
    max_message: usize,
    max_subscription: usize,
    /// How many bytes the last call of `input` left with the caller.
    unread: usize,
    /// Of the unfinished message at the front: where its next frame begins,
    scanned: usize,
    /// how many frames are before that, and
    frames: usize,
    /// whether they are fit to be sent on as they are.
    clean: bool,
    /// So many bytes are to be dropped unseen: the rest of something ignored.
    skip: usize,
    phase: Phase,
    ours: SocketType,
    theirs: Option<SocketType>,
    /// The peer's, from its greeting on.
    version: (u8, u8),
    /// The time to live of the last PING, in tenths of a second, if no bytes have followed it.
    ttl: u16,
    /// Of the PONG that is to be sent.
    context: [u8; command::MAX_CONTEXT],
    context_len: u8,
    /// What is to be sent: a set of the bits below.
    pending: u8,
    /// Which of it is under way, and how many of its bytes have left.
    sending: u8,
    sent: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Phase {
    /// Waiting for the peer's greeting.
    Greeting,
    /// Waiting for its READY.
    Handshake,
    /// In its READY: so many bytes are left of it.
    Metadata {
        left: usize,
    },
    Traffic,
    Failed,
}

// In the order of sending.
const GREETING: u8 = 1;
const READY: u8 = 2;
const ERROR: u8 = 4;
const PONG: u8 = 8;
const PING: u8 = 16;

const NEVER: u64 = u64::MAX;

const OUR_GREETING: &[u8] = &Greeting::OURS.encode();
/// READY up to the length of our socket's type.
const OUR_READY: &[u8] = b"\x05READY\x0bSocket-Type\0\0\0";
/// The same for all errors: which it is, our side knows.
const OUR_ERROR: &[u8] = b"\x05ERROR\x0eprotocol error";

impl Peer {
    /// A connection that was established at `now` (milliseconds on any clock that does not go
    /// back), our side being a socket of this type.
    pub const fn new(ours: SocketType, limits: Limits, now: u64) -> Self {
        Peer {
            last_bytes: now,
            timer: match limits.handshake_timeout_ms {
                0 => NEVER,
                ms => now.saturating_add(ms as u64),
            },
            unanswered: NEVER,
            heartbeat: match limits.heartbeat {
                Some(heartbeat) => heartbeat,
                None => Heartbeat::NONE,
            },
            max_message: limits.max_message,
            max_subscription: limits.max_subscription,
            unread: 0,
            scanned: 0,
            frames: 0,
            clean: true,
            skip: 0,
            phase: Phase::Greeting,
            ours,
            theirs: None,
            version: (0, 0),
            ttl: 0,
            context: [0; command::MAX_CONTEXT],
            context_len: 0,
            pending: GREETING,
            sending: 0,
            sent: 0,
        }
    }

    /// Looks at the caller's unread bytes. The caller drops the first
    /// [`consumed`](Input#structfield.consumed) of them, handles the event, and calls again until there is
    /// none; then it waits for more bytes and appends them to those that are left. So the unread
    /// bytes may grow at the end only; what was looked at is not looked at again, however small the
    /// pieces are that bytes come in.
    ///
    /// The largest thing that must be in the buffer in one piece: a message that is handed out, a
    /// subscription, the 64 bytes of the greeting. What is ignored (unknown commands, messages to a
    /// PUB, properties in READY) is dropped as it comes and may be larger than the buffer.
    ///
    /// # Errors
    /// Why the connection must be closed. All later calls return an error too;
    /// [`output`](Self::output) may have an ERROR command for the peer.
    #[inline]
    pub fn input<'a>(&mut self, bytes: &'a [u8], now: u64) -> Result<Input<'a>, PeerError> {
        if bytes.len() > self.unread {
            self.last_bytes = now;
            self.unanswered = NEVER;
            self.ttl = 0;
        }
        let mut consumed = 0;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let step = match self.phase {
                Phase::Traffic if self.skip == 0 => self.traffic(rest),
                _ => self.other(rest),
            };
            match step {
                Ok(step) => {
                    consumed += step.consumed;
                    if step.event.is_some() || step.consumed == 0 {
                        self.unread = bytes.len() - consumed;
                        return Ok(Input { consumed, ..step });
                    }
                }
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// Copies what the protocol has to say (greeting, READY, PONG, PING, ERROR) into `out` and
    /// returns how many bytes; to be called again while it fills `out`.
    ///
    /// These bytes must go out before anything else, and between messages: the caller calls this
    /// until [`has_output`](Self::has_output) is false before it writes its next message or
    /// subscription, and never in the middle of one.
    ///
    /// A PING that comes while an earlier one's PONG is not yet on its way takes its place; one that
    /// comes while it is halfway out stays without an answer.
    pub fn output(&mut self, out: &mut [u8]) -> usize {
        let mut written = 0;
        while self.pending != 0 {
            if self.sending == 0 {
                // The lowest bit.
                self.sending = self.pending & self.pending.wrapping_neg();
                self.sent = 0;
            }
            let mut sent = usize::from(self.sent);
            let start = written;
            let mut whole = true;
            for part in self.item(&mut [0; 4]) {
                let left = part.get(sent..).unwrap_or_default();
                sent = sent.saturating_sub(part.len());
                let free = out.get_mut(written..).unwrap_or_default();
                copy(free, left);
                whole &= left.len() <= free.len();
                written += left.len().min(free.len());
            }
            if !whole {
                self.sent += (written - start) as u8;
                if self.sent == 0 {
                    // Not under way yet: something may still take its place.
                    self.sending = 0;
                }
                break;
            }
            self.pending &= !self.sending;
            self.sending = 0;
        }
        written
    }

    /// Whether [`output`](Self::output) has something.
    #[inline]
    pub const fn has_output(&self) -> bool {
        self.pending != 0
    }

    /// Looks at the clock: sends PINGs, notices a peer that is dead or does not finish its
    /// handshake. Returns when to call it again at the latest, `None` if only
    /// [`input`](Self::input) can change that; to be called after `input` too. What has arrived
    /// must be fed in first.
    ///
    /// # Errors
    /// [`PeerError::HandshakeTimeout`], [`PeerError::HeartbeatTimeout`], or
    /// [`PeerError::AlreadyFailed`].
    pub fn poll(&mut self, now: u64) -> Result<Option<u64>, PeerError> {
        let mut next = NEVER;
        match self.phase {
            Phase::Failed => return Err(PeerError::AlreadyFailed),
            Phase::Greeting | Phase::Handshake | Phase::Metadata { .. } => {
                if now >= self.timer {
                    return Err(self.fail(PeerError::HandshakeTimeout));
                }
            }
            Phase::Traffic => {
                if self.ttl != 0 {
                    next = self.last_bytes.saturating_add(u64::from(self.ttl) * 100);
                }
                if now >= self.timer {
                    self.pending |= PING;
                    self.timer = now.saturating_add(self.heartbeat.interval_ms.into());
                    self.unanswered = self.unanswered.min(now);
                }
                let timeout = self
                    .unanswered
                    .saturating_add(self.heartbeat.timeout_ms.into());
                next = next.min(timeout);
                if now >= next {
                    return Err(self.fail(PeerError::HeartbeatTimeout));
                }
            }
        }
        next = next.min(self.timer);
        Ok((next != NEVER).then_some(next))
    }

    /// Whether the handshake is done: [`Event::Ready`] has been returned and no error since. Only
    /// then, and after [`output`](Self::output), may messages and subscriptions be sent.
    #[inline]
    pub const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Traffic)
    }

    /// Major and minor version from the peer's greeting; `None` before it was there.
    pub const fn peer_version(&self) -> Option<(u8, u8)> {
        match self.version {
            (0, _) => None,
            version => Some(version),
        }
    }

    /// Writes a subscription to `prefix` to the front of `out`, in the form that the peer reads,
    /// and returns its length. To be sent once [`is_ready`](Self::is_ready).
    ///
    /// # Errors
    /// [`BufferTooSmall`], and `out` is as it was.
    pub fn encode_subscribe(&self, prefix: &[u8], out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        subscription::encode(true, prefix, self.minor(), out)
    }

    /// Writes the end of a subscription, like [`encode_subscribe`](Self::encode_subscribe).
    ///
    /// # Errors
    /// [`BufferTooSmall`], and `out` is as it was.
    pub fn encode_cancel(&self, prefix: &[u8], out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        subscription::encode(false, prefix, self.minor(), out)
    }

    /// The minor version of ZMTP 3 to speak: like libzmq's, 0 to a 3.0 peer, 1 to later ones.
    const fn minor(&self) -> u8 {
        if matches!(self.version, (3, 0)) { 0 } else { 1 }
    }

    /// Everything but a message or command after the handshake.
    #[cold]
    fn other<'a>(&mut self, bytes: &'a [u8]) -> Result<Input<'a>, PeerError> {
        if self.skip > 0 {
            if bytes.is_empty() {
                return Ok(Input::needs(1));
            }
            let consumed = self.skip.min(bytes.len());
            self.skip -= consumed;
            return Ok(Input::consumed(consumed));
        }
        match self.phase {
            Phase::Greeting => {
                let Some(greeting) = Greeting::decode(bytes)? else {
                    return Ok(Input::needs(greeting::LEN));
                };
                self.version = greeting.version;
                self.pending |= READY;
                self.phase = Phase::Handshake;
                Ok(Input::consumed(greeting::LEN))
            }
            Phase::Handshake => self.handshake(bytes),
            Phase::Metadata { left } => self.metadata(bytes, left),
            Phase::Traffic => Ok(Input::needs(1)),
            Phase::Failed => Err(PeerError::AlreadyFailed),
        }
    }

    /// READY up to its properties, or ERROR.
    fn handshake<'a>(&mut self, bytes: &'a [u8]) -> Result<Input<'a>, PeerError> {
        let Some(raw) = RawHeader::read(bytes) else {
            return Ok(Input::needs(bytes.len() + RawHeader::missing(bytes)));
        };
        let len = self.check_frame(&raw, 0)?;
        if raw.flags & COMMAND == 0 {
            return Err(PeerError::ExpectedReady);
        }
        let rest = bytes.get(raw.size..).unwrap_or_default();
        let body = rest.get(..len).unwrap_or(rest);
        match Name::find(body, body.len() == len) {
            Lookup::Undecided(needed) => Ok(Input::needs(raw.size + needed)),
            Lookup::Known(Name::Ready, name) => {
                self.phase = Phase::Metadata { left: len - name };
                Ok(Input::consumed(raw.size + name))
            }
            Lookup::Known(Name::Error, name) => {
                // Its length, and as much as we can keep.
                let needed = len.min(name + 1 + ShortText::MAX);
                if body.len() < needed {
                    return Ok(Input::needs(raw.size + needed));
                }
                let reason = ShortText::new(body.get(name + 1..).unwrap_or_default());
                Err(PeerError::Refused { reason })
            }
            _ => Err(PeerError::ExpectedReady),
        }
    }

    /// The next property of READY, `left` bytes before its end, or its end.
    fn metadata<'a>(&mut self, bytes: &'a [u8], left: usize) -> Result<Input<'a>, PeerError> {
        if left == 0 {
            self.phase = Phase::Traffic;
            self.timer = match self.heartbeat.interval_ms {
                0 => NEVER,
                ms => self.last_bytes.saturating_add(ms.into()),
            };
            let info = PeerInfo {
                socket_type: self.theirs,
                version: self.version,
            };
            return Ok(Input::event(0, Event::Ready(info)));
        }
        let head = PropertyHead::read(bytes, left).map_err(|_| PeerError::BadMetadata)?;
        let (name, size, value) = match head {
            PropertyHead::Whole { name, size, value } => (name, size, value),
            PropertyHead::Incomplete(needed) => return Ok(Input::needs(needed)),
        };
        if name.eq_ignore_ascii_case(command::SOCKET_TYPE) {
            // No name is longer than what we keep of it.
            let end = size + value.min(ShortText::MAX);
            let Some(value) = bytes.get(size..end) else {
                return Ok(Input::needs(end));
            };
            let ours = self.ours;
            self.theirs = SocketType::from_name(value).filter(|&theirs| ours.is_compatible(theirs));
            if self.theirs.is_none() {
                let theirs = ShortText::new(value);
                return Err(PeerError::IncompatibleSocketType { ours, theirs });
            }
        }
        self.phase = Phase::Metadata {
            left: left - size - value,
        };
        self.skip = value;
        Ok(Input::consumed(size))
    }

    /// A command or message after the handshake.
    #[inline]
    fn traffic<'a>(&mut self, bytes: &'a [u8]) -> Result<Input<'a>, PeerError> {
        let mut at = self.scanned;
        let mut frames = self.frames;
        let mut clean = self.clean;
        let needed = loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(raw) = RawHeader::read(rest) else {
                let needed = at + rest.len() + RawHeader::missing(rest);
                let limit = self.max_message;
                if needed > limit {
                    return Err(PeerError::MessageTooLarge { limit });
                }
                break needed;
            };
            let len = self.check_frame(&raw, at)?;
            if frames == 0 {
                if raw.flags & COMMAND != 0 {
                    return self.command(bytes, &raw, len);
                }
                if matches!(self.ours, SocketType::Pub | SocketType::Xpub)
                    && let Some(input) = self.subscription_message(bytes, &raw, len)?
                {
                    return Ok(input);
                }
            }
            let end = at + raw.size + len;
            let Some(frame) = bytes.get(at..end) else {
                break end;
            };
            clean &= raw.flags & !(MORE | LONG) == 0;
            at = end;
            if raw.flags & COMMAND != 0 {
                let body = frame.get(raw.size..).unwrap_or_default();
                if let Lookup::Known(Name::Ping, name) = Name::find(body, true) {
                    self.ping(body.get(name..).unwrap_or_default());
                }
                continue;
            }
            frames += 1;
            if raw.flags & MORE == 0 {
                (self.scanned, self.frames, self.clean) = (0, 0, true);
                let message = Message {
                    envelope: &[],
                    body: bytes.get(..at).unwrap_or_default(),
                    frame_count: frames,
                    clean,
                };
                return match self.ours {
                    SocketType::Req | SocketType::Rep => self.enveloped(message),
                    _ => Ok(Input::event(at, Event::Message(message))),
                };
            }
        };
        (self.scanned, self.frames, self.clean) = (at, frames, clean);
        Ok(Input::needs(needed))
    }

    /// The length of a frame's body if it is within the limit, `at` bytes of its message being
    /// before it.
    #[inline]
    fn check_frame(&self, raw: &RawHeader, at: usize) -> Result<usize, PeerError> {
        let limit = self.max_message;
        let room = limit.saturating_sub(at + raw.size);
        match usize::try_from(raw.len) {
            Ok(len) if len <= room => Ok(len),
            _ if at > 0 => Err(PeerError::MessageTooLarge { limit }),
            _ => Err(PeerError::FrameTooLarge {
                len: raw.len,
                limit,
            }),
        }
    }

    /// A command between messages, of which any part may be there.
    #[cold]
    fn command<'a>(
        &mut self,
        bytes: &'a [u8],
        raw: &RawHeader,
        len: usize,
    ) -> Result<Input<'a>, PeerError> {
        let end = raw.size + len;
        let rest = bytes.get(raw.size..).unwrap_or_default();
        let body = rest.get(..len).unwrap_or(rest);
        let publisher = matches!(self.ours, SocketType::Pub | SocketType::Xpub);
        match Name::find(body, body.len() == len) {
            Lookup::Undecided(needed) => Ok(Input::needs(raw.size + needed)),
            Lookup::Known(Name::Subscribe, name) if publisher => {
                self.subscription(true, bytes, raw.size + name, end)
            }
            Lookup::Known(Name::Cancel, name) if publisher => {
                self.subscription(false, bytes, raw.size + name, end)
            }
            Lookup::Known(Name::Ping, name) => {
                let start = raw.size + name;
                let wanted = end.min(start + 2 + command::MAX_CONTEXT);
                let Some(arguments) = bytes.get(start..wanted) else {
                    return Ok(Input::needs(wanted));
                };
                self.ping(arguments);
                Ok(self.ignore(wanted, end))
            }
            _ => Ok(self.ignore(raw.size, end)),
        }
    }

    /// The first frame of a message to a publisher: a subscription or, for a PUB, nothing.
    fn subscription_message<'a>(
        &mut self,
        bytes: &'a [u8],
        raw: &RawHeader,
        len: usize,
    ) -> Result<Option<Input<'a>>, PeerError> {
        let end = raw.size + len;
        match bytes.get(raw.size) {
            None if len > 0 => Ok(Some(Input::needs(raw.size + 1))),
            Some(&on @ 0..=1) if len > 0 => self
                .subscription(on == 1, bytes, raw.size + 1, end)
                .map(Some),
            _ if self.ours == SocketType::Xpub => Ok(None),
            _ => Ok(Some(self.ignore(raw.size, end))),
        }
    }

    /// A subscription in either form, or its end: the prefix is `bytes` from `start` to `end`, as
    /// far as they are there.
    #[inline(never)]
    fn subscription<'a>(
        &mut self,
        on: bool,
        bytes: &'a [u8],
        start: usize,
        end: usize,
    ) -> Result<Input<'a>, PeerError> {
        let (len, limit) = (end - start, self.max_subscription);
        if len > limit {
            if on {
                return Err(PeerError::SubscriptionTooLong { len, limit });
            }
            // There is none so long.
            return Ok(self.ignore(start, end));
        }
        Ok(match bytes.get(start..end) {
            None => Input::needs(end),
            Some(prefix) if on => Input::event(end, Event::Subscribe(prefix)),
            Some(prefix) => Input::event(end, Event::Cancel(prefix)),
        })
    }

    /// Queues the answer to a PING.
    #[cold]
    fn ping(&mut self, arguments: &[u8]) {
        if let Some((&ttl, context)) = arguments.split_first_chunk() {
            self.ttl = u16::from_be_bytes(ttl);
            if self.sending != PONG {
                self.context_len = 0;
                for (to, from) in self.context.iter_mut().zip(context) {
                    *to = *from;
                    self.context_len += 1;
                }
                self.pending |= PONG;
            }
        }
    }

    /// Drops what is before `start`, and unseen what is from there to `end`.
    fn ignore(&mut self, start: usize, end: usize) -> Input<'static> {
        self.skip = end - start;
        Input::consumed(start)
    }

    /// Takes a request's or reply's envelope off. A request without its delimiter is dropped, a
    /// reply without it ends the connection: so does libzmq.
    fn enveloped<'a>(&self, message: Message<'a>) -> Result<Input<'a>, PeerError> {
        let wire = message.body;
        let mut at = 0;
        let mut frame_count = message.frame_count;
        while let Ok(Decoded::Frame { frame, consumed }) =
            decode(wire.get(at..).unwrap_or_default(), u64::MAX)
            && (frame.more || frame.command)
        {
            at += consumed;
            if frame.command {
                continue;
            }
            frame_count -= 1;
            if frame.body.is_empty()
                && let Some((envelope, body)) = wire.split_at_checked(at)
            {
                let message = Message {
                    envelope,
                    body,
                    frame_count,
                    ..message
                };
                return Ok(Input::event(wire.len(), Event::Message(message)));
            }
        }
        match self.ours {
            SocketType::Req => Err(PeerError::MissingDelimiter),
            _ => Ok(Input::consumed(wire.len())),
        }
    }

    /// What is being sent, in pieces; `own` is for what none of them has.
    fn item<'s>(&'s self, own: &'s mut [u8; 4]) -> [&'s [u8]; 4] {
        let context = self.context.get(..usize::from(self.context_len));
        let ty = self.ours.name().as_bytes();
        let ttl = self.heartbeat.ttl.to_be_bytes();
        let (name, fields, field_count, rest) = match self.sending {
            GREETING => return [OUR_GREETING, &[], &[], &[]],
            READY => (OUR_READY, [ty.len() as u8, 0], 1, ty),
            ERROR => (OUR_ERROR, [0; 2], 0, &[][..]),
            PONG => (command::PONG, [0; 2], 0, context.unwrap_or_default()),
            _ => (command::PING, ttl, 2, &[][..]),
        };
        let len = name.len() + field_count + rest.len();
        *own = [COMMAND, len as u8, fields[0], fields[1]];
        let (head, fields) = own.split_at(2);
        [
            head,
            name,
            fields.get(..field_count).unwrap_or_default(),
            rest,
        ]
    }

    /// Ends the connection.
    #[cold]
    fn fail(&mut self, error: PeerError) -> PeerError {
        if self.phase != Phase::Failed {
            self.phase = Phase::Failed;
            // What is under way is finished.
            self.pending &= self.sending | GREETING;
            if error.is_told() {
                self.pending |= ERROR;
            }
        }
        error
    }
}
