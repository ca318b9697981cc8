//! A SUB socket for a device: one connection to a publisher or a relay.
//!
//! [`Subscriber`] asks for topics and hands each message on as it lies in the receive buffer,
//! which is as large as the largest message may be. To check who sent it:
//! [`message::validate`](crate::message::validate).
//!
//! The subscriber is sans-I/O, as [`Publisher`](crate::publisher::Publisher) is. Feature `sync`
//! adds [`Subscriber::poll`] over `embedded-io`, feature `async` adds [`Subscriber::run`] over
//! `embedded-io-async`.

#[cfg(any(feature = "sync", feature = "async"))]
use crate::link::{End, StreamError};
use crate::{
    link::{Control, LinkError},
    zmtp::{Event, Inbox, Limits, Message, Peer, SocketType},
};

/// The longest prefix that a [`Subscriber`] asks for, in bytes.
pub const MAX_SUBSCRIPTION: usize = CONTROL - 16;

/// Bytes of a subscription with its headers.
const CONTROL: usize = 144;

/// A SUB socket for one connection.
pub struct Subscriber<'b> {
    peer: Peer,
    inbox: Inbox<&'b mut [u8]>,
    control: Control<CONTROL>,
    topics: &'b [&'b [u8]],
    /// How many of `topics` have been asked for.
    asked: usize,
}

impl<'b> Subscriber<'b> {
    /// A subscriber to all topics that begin with one of `topics`, for a connection that was made
    /// at `now` (milliseconds on any clock that does not go back, here and everywhere). `buffer`
    /// takes the largest message, with its frames' headers (at least 64 bytes).
    pub fn new(topics: &'b [&'b [u8]], buffer: &'b mut [u8], limits: Limits, now: u64) -> Self {
        Self {
            peer: Peer::new(SocketType::Sub, limits, now),
            inbox: Inbox::new(buffer),
            control: Control::new(),
            topics,
            asked: 0,
        }
    }

    /// Where to put received bytes; never empty while the connection is alive.
    pub fn space(&mut self) -> &mut [u8] {
        self.inbox.space()
    }

    /// The first `n` bytes of [`space`](Self::space) were received: hands every message that is
    /// complete, and was asked for, to `each`.
    ///
    /// # Errors
    /// Why the connection must be closed.
    pub fn received(
        &mut self,
        n: usize,
        now: u64,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), LinkError> {
        self.inbox.commit(n);
        loop {
            let input = self
                .peer
                .input(self.inbox.unread(), now)
                .map_err(LinkError::Peer)?;
            match input.event {
                Some(Event::Message(message)) => {
                    let topic = message.frames().next().unwrap_or_default();
                    if self.topics.iter().any(|prefix| topic.starts_with(prefix)) {
                        each(message);
                    }
                }
                Some(_) => {}
                None if input.needed > self.inbox.capacity() => {
                    return Err(LinkError::BufferTooSmall {
                        needed: input.needed,
                    });
                }
                None => {
                    let consumed = input.consumed;
                    self.inbox.consume(consumed);
                    return Ok(());
                }
            }
            let consumed = input.consumed;
            self.inbox.consume(consumed);
        }
    }

    /// Looks at the clock: heartbeats and time limits. Gives the time at which to look again at
    /// the latest.
    ///
    /// # Errors
    /// Why the connection must be closed.
    pub fn tick(&mut self, now: u64) -> Result<Option<u64>, LinkError> {
        self.peer.poll(now).map_err(LinkError::Peer)
    }

    /// The next bytes to send; empty if there is nothing to send for now.
    ///
    /// # Errors
    /// [`LinkError::Subscriptions`] if one of the topics is longer than [`MAX_SUBSCRIPTION`].
    pub fn outgoing(&mut self) -> Result<&[u8], LinkError> {
        let Self {
            peer,
            control,
            topics,
            asked,
            ..
        } = self;
        if !control.fill(peer)
            && peer.is_ready()
            && let Some(topic) = topics.get(*asked)
        {
            control
                .refill(|out| peer.encode_subscribe(topic, out))
                .map_err(|_| LinkError::Subscriptions)?;
            *asked += 1;
        }
        Ok(control.unsent())
    }

    /// The first `n` bytes of [`outgoing`](Self::outgoing) were sent.
    pub fn sent(&mut self, n: usize) {
        self.control.sent(n);
    }

    /// Moves bytes, never waiting: reads what there is and hands every message to `each`, sends
    /// what the stream takes. To be called whenever the stream may have become ready; gives the
    /// time at which to call it again at the latest.
    ///
    /// # Errors
    /// Why the connection must be closed.
    #[cfg(feature = "sync")]
    pub fn poll<T>(
        &mut self,
        io: &mut T,
        now: u64,
        each: impl FnMut(Message<'_>),
    ) -> Result<Option<u64>, StreamError<T::Error>>
    where
        T: embedded_io::Read
            + embedded_io::Write
            + embedded_io::ReadReady
            + embedded_io::WriteReady,
    {
        crate::link::poll(
            &mut Handing {
                subscriber: self,
                each,
            },
            io,
            now,
        )
    }

    /// Receives until the connection ends, and hands every message to `each`; why it ended is the
    /// result. The caller closes the stream.
    #[cfg(feature = "async")]
    pub async fn run<R, W>(
        &mut self,
        reader: &mut R,
        writer: &mut W,
        clock: &impl crate::task::Clock,
        each: impl FnMut(Message<'_>),
    ) -> StreamError<R::Error>
    where
        R: embedded_io_async::Read,
        W: embedded_io_async::Write<Error = R::Error>,
    {
        let end = core::cell::RefCell::new(Handing {
            subscriber: self,
            each,
        });
        let outgoing = crate::task::Signal::new();
        crate::task::drive(&end, &outgoing, reader, writer, clock).await
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Subscriber<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Subscriber({})", self.peer);
    }
}

/// A subscriber and what becomes of its messages.
#[cfg(any(feature = "sync", feature = "async"))]
struct Handing<'s, 'b, F> {
    subscriber: &'s mut Subscriber<'b>,
    each: F,
}

#[cfg(any(feature = "sync", feature = "async"))]
impl<F: FnMut(Message<'_>)> End for Handing<'_, '_, F> {
    fn space(&mut self) -> Result<&mut [u8], LinkError> {
        Ok(self.subscriber.space())
    }

    fn received(&mut self, n: usize, now: u64) -> Result<(), LinkError> {
        self.subscriber.received(n, now, &mut self.each)
    }

    fn tick(&mut self, now: u64) -> Result<Option<u64>, LinkError> {
        self.subscriber.tick(now)
    }

    fn outgoing(&mut self) -> Result<&[u8], LinkError> {
        self.subscriber.outgoing()
    }

    fn sent(&mut self, n: usize) -> Result<(), LinkError> {
        self.subscriber.sent(n);
        Ok(())
    }
}

#[cfg(feature = "async")]
impl<E: End> crate::task::Access for core::cell::RefCell<E> {
    fn with<T>(
        &self,
        f: impl FnOnce(&mut dyn End) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        f(&mut *self.try_borrow_mut().map_err(|_| LinkError::NoLink)?)
    }
}
