//! [`Publisher`] over `embedded-io-async`: one task publishes, one task a connection serves it.

use super::{PublishError, Publisher, PublisherLink};
use crate::{
    link::{End, LinkError, StreamError},
    message::{Envelope, Payload},
    task::{self, Access, Clock, Signal},
};
use core::cell::RefCell;
use embedded_io_async::{Read, Write};

/// A [`Publisher`] that the tasks of one executor share (it is not `Sync`).
pub struct Shared<'b, const LINKS: usize, const PREFIXES: usize = 128> {
    publisher: RefCell<Publisher<'b, LINKS, PREFIXES>>,
    /// What wakes the connections' tasks when there is something to send.
    published: [Signal; LINKS],
}

impl<'b, const LINKS: usize, const PREFIXES: usize> Shared<'b, LINKS, PREFIXES> {
    /// Shares `publisher`.
    pub fn new(publisher: Publisher<'b, LINKS, PREFIXES>) -> Self {
        Self {
            publisher: RefCell::new(publisher),
            published: [const { Signal::new() }; LINKS],
        }
    }

    /// As [`Publisher::publish`]; the connections' tasks send it.
    ///
    /// # Errors
    /// As [`Publisher::publish`]; [`PublishError::Busy`] if it is `msg` itself that publishes.
    pub fn publish<P: Payload + ?Sized>(
        &self,
        envelope: &Envelope<'_>,
        msg: &P,
        scratch: &mut [u8],
    ) -> Result<(), PublishError> {
        self.publisher
            .try_borrow_mut()
            .map_err(|_| PublishError::Busy)?
            .publish(envelope, msg, scratch)?;
        for signal in &self.published {
            signal.raise();
        }
        Ok(())
    }

    /// As [`Publisher::subscribers`].
    pub fn subscribers(&self) -> usize {
        self.look(Publisher::subscribers)
    }

    /// As [`Publisher::lost`].
    pub fn lost(&self) -> u64 {
        self.look(Publisher::lost)
    }

    /// As [`Publisher::lost_by`].
    pub fn lost_by(&self, link: usize) -> u64 {
        self.look(|publisher| publisher.lost_by(link))
    }

    /// Whether a connection has taken all that there is for it; `false` where there is none.
    pub fn is_drained(&self, link: usize) -> bool {
        self.publisher
            .try_borrow_mut()
            .is_ok_and(|mut publisher| publisher.outgoing(link).is_ok_and(<[u8]>::is_empty))
    }

    /// Takes a new connection, as [`Publisher::open`]; `None` if all `LINKS` are in use. `now` is
    /// what the [`Clock`] says that it is then served by.
    pub fn open(&self, now: u64) -> Option<Connection<'_, 'b, LINKS, PREFIXES>> {
        let link = self.publisher.try_borrow_mut().ok()?.open(now)?;
        Some(Connection { shared: self, link })
    }

    /// What the publisher says; 0 to who asks from inside of a message that is being published.
    fn look<T: Default>(&self, what: impl FnOnce(&Publisher<'b, LINKS, PREFIXES>) -> T) -> T {
        self.publisher
            .try_borrow()
            .map_or_else(|_| T::default(), |publisher| what(&publisher))
    }

    /// [Opens](Self::open) a connection and [serves](Connection::serve) it until it ends; why it
    /// did is the result, [`LinkError::NoLink`] if there was none free.
    pub async fn serve<R, W>(
        &self,
        reader: &mut R,
        writer: &mut W,
        clock: &impl Clock,
    ) -> StreamError<R::Error>
    where
        R: Read,
        W: Write<Error = R::Error>,
    {
        match self.open(clock.now()) {
            Some(connection) => connection.serve(reader, writer, clock).await,
            None => LinkError::NoLink.into(),
        }
    }
}

#[cfg(feature = "defmt")]
impl<const LINKS: usize, const PREFIXES: usize> defmt::Format for Shared<'_, LINKS, PREFIXES> {
    fn format(&self, f: defmt::Formatter<'_>) {
        self.look(|publisher| defmt::Format::format(publisher, f));
    }
}

/// An open connection of a [`Shared`] publisher's; closed when dropped.
pub struct Connection<'s, 'b, const LINKS: usize, const PREFIXES: usize = 128> {
    shared: &'s Shared<'b, LINKS, PREFIXES>,
    link: usize,
}

impl<const LINKS: usize, const PREFIXES: usize> Connection<'_, '_, LINKS, PREFIXES> {
    /// Its number among the `LINKS`.
    pub fn link(&self) -> usize {
        self.link
    }

    /// Serves it until it ends; why it did is the result. The caller closes the stream. May be
    /// dropped at any time.
    pub async fn serve<R, W>(
        &self,
        reader: &mut R,
        writer: &mut W,
        clock: &impl Clock,
    ) -> StreamError<R::Error>
    where
        R: Read,
        W: Write<Error = R::Error>,
    {
        let Some(signal) = self.shared.published.get(self.link) else {
            return LinkError::NoLink.into();
        };
        task::drive(self, signal, reader, writer, clock).await
    }
}

impl<const LINKS: usize, const PREFIXES: usize> Access for Connection<'_, '_, LINKS, PREFIXES> {
    fn with<T>(
        &self,
        f: impl FnOnce(&mut dyn End) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        let publisher = self.shared.publisher.try_borrow_mut();
        f(&mut PublisherLink {
            publisher: &mut *publisher.map_err(|_| LinkError::NoLink)?,
            link: self.link,
        })
    }
}

impl<const LINKS: usize, const PREFIXES: usize> Drop for Connection<'_, '_, LINKS, PREFIXES> {
    fn drop(&mut self) {
        // Nobody else has it: a message that is being published owns no connection.
        if let Ok(mut publisher) = self.shared.publisher.try_borrow_mut() {
            publisher.close(self.link);
        }
    }
}
