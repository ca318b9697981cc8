//! [`Publisher`] over `embedded-io` streams that can say whether they would block.

use super::{Publisher, PublisherLink};
use crate::link::{self, StreamError};
use embedded_io::{Read, ReadReady, Write, WriteReady};

impl<const LINKS: usize, const PREFIXES: usize> Publisher<'_, LINKS, PREFIXES> {
    /// Moves the bytes of one connection, never waiting: reads what there is, sends what it takes.
    /// To be called for every open connection in turn, after [`publish`](Self::publish) and
    /// whenever its stream may have become ready; gives the time at which to call it again at the
    /// latest.
    ///
    /// # Errors
    /// Why the connection must be closed: close `io`, and call [`close`](Self::close).
    pub fn poll<T>(
        &mut self,
        link: usize,
        io: &mut T,
        now: u64,
    ) -> Result<Option<u64>, StreamError<T::Error>>
    where
        T: Read + Write + ReadReady + WriteReady,
    {
        link::poll(
            &mut PublisherLink {
                publisher: self,
                link,
            },
            io,
            now,
        )
    }
}
