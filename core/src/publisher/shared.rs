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
    /// As [`Publisher::publish`].
    pub fn publish<P: Payload + ?Sized>(
        &self,
        envelope: &Envelope<'_>,
        msg: &P,
        scratch: &mut [u8],
    ) -> Result<(), PublishError> {
        self.publisher
            .borrow_mut()
            .publish(envelope, msg, scratch)?;
        for signal in &self.published {
            signal.raise();
        }
        Ok(())
    }

    /// As [`Publisher::subscribers`].
    pub fn subscribers(&self) -> usize {
        self.publisher.borrow().subscribers()
    }

    /// As [`Publisher::lost`].
    pub fn lost(&self) -> u64 {
        self.publisher.borrow().lost()
    }

    /// As [`Publisher::lost_by`].
    pub fn lost_by(&self, link: usize) -> u64 {
        self.publisher.borrow().lost_by(link)
    }

    /// Whether a connection has taken all that there is for it; `false` where there is none.
    pub fn is_drained(&self, link: usize) -> bool {
        let mut publisher = self.publisher.borrow_mut();
        publisher.outgoing(link).is_ok_and(<[u8]>::is_empty)
    }

    /// Takes a new connection, as [`Publisher::open`]; `None` if all `LINKS` are in use. `now` is
    /// what the [`Clock`] says that it is then served by.
    pub fn open(&self, now: u64) -> Option<Connection<'_, 'b, LINKS, PREFIXES>> {
        let link = self.publisher.borrow_mut().open(now)?;
        Some(Connection { shared: self, link })
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
        defmt::Format::format(&*self.publisher.borrow(), f);
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
    fn with<T>(&self, f: impl FnOnce(&mut dyn End) -> T) -> T {
        let publisher = &mut *self.shared.publisher.borrow_mut();
        f(&mut PublisherLink {
            publisher,
            link: self.link,
        })
    }
}

impl<const LINKS: usize, const PREFIXES: usize> Drop for Connection<'_, '_, LINKS, PREFIXES> {
    fn drop(&mut self) {
        self.shared.publisher.borrow_mut().close(self.link);
    }
}
