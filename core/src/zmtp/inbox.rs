//! A receive buffer: bytes are read in at its back and taken from its front.

use crate::copy::shift_down;

/// A receive buffer over the caller's bytes (an array, a slice, a `Vec`).
///
/// What is unread is always contiguous, so the longest message (or READY property, or
/// subscription) that can be received is the buffer's length. A [`Peer`](super::Peer) needs
/// [`MIN`](Self::MIN).
///
/// Read from the socket into [`space`](Self::space), say how much with [`commit`](Self::commit),
/// then take items from [`unread`](Self::unread) and [`consume`](Self::consume) them until there is
/// no whole one left. If that is done before the next read, a byte is moved at most once.
///
/// ```
/// use fedmsg_core::zmtp::Inbox;
///
/// let mut inbox = Inbox::new([0; 64]);
/// inbox.space()[..5].copy_from_slice(b"hello");
/// inbox.commit(5);
/// inbox.consume(4);
/// assert_eq!(inbox.unread(), b"o");
/// assert_eq!(inbox.space().len(), 63);
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Inbox<B> {
    buf: B,
    start: usize,
    end: usize,
}

impl<B> Inbox<B> {
    /// The smallest buffer that a [`Peer`](super::Peer) works with: a greeting.
    pub const MIN: usize = super::greeting::LEN;
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Inbox<B> {
    /// An empty one over this buffer.
    pub const fn new(buf: B) -> Self {
        Inbox {
            buf,
            start: 0,
            end: 0,
        }
    }

    /// Length of the whole buffer.
    pub fn capacity(&self) -> usize {
        self.buf.as_ref().len()
    }

    /// Free space to read into; empty only if everything is unread.
    pub fn space(&mut self) -> &mut [u8] {
        let buf = self.buf.as_mut();
        if self.start > 0 {
            shift_down(buf, self.start, self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        buf.get_mut(self.end..).unwrap_or_default()
    }

    /// The first `n` bytes of [`space`](Self::space) have been filled.
    pub fn commit(&mut self, n: usize) {
        self.end = self.end.saturating_add(n).min(self.capacity());
    }

    /// What was read in and not yet consumed.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        self.buf
            .as_ref()
            .get(self.start..self.end)
            .unwrap_or_default()
    }

    /// Drops the first `n` unread bytes.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.end);
    }

    /// Drops everything, for the next connection.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Gives the buffer back.
    pub fn into_inner(self) -> B {
        self.buf
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn a_full_inbox_has_no_space_until_something_is_consumed() {
        let mut inbox = Inbox::new([0; 4]);
        inbox.space().copy_from_slice(b"abcd");
        inbox.commit(4);
        assert_eq!(inbox.space(), b"");
        inbox.consume(1);
        assert_eq!(inbox.space().len(), 1);
        assert_eq!(inbox.unread(), b"bcd");
        inbox.clear();
        assert_eq!(inbox.unread(), b"");
        assert_eq!(inbox.space().len(), 4);
    }

    #[test]
    fn more_than_there_is_is_neither_committed_nor_consumed() {
        let mut inbox = Inbox::new([0; 4]);
        inbox.commit(usize::MAX);
        assert_eq!(inbox.unread().len(), 4);
        inbox.consume(usize::MAX);
        assert_eq!(inbox.unread(), b"");
        assert_eq!(inbox.space().len(), 4);
    }

    proptest::proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(steps: std::vec::Vec<(u8, u8)>) {
            let mut inbox = Inbox::new([0; 64]);
            let mut model = VecDeque::new();
            let mut next = 0;
            for (read, consume) in steps {
                let space = inbox.space();
                let read = usize::from(read).min(space.len());
                for byte in &mut space[..read] {
                    *byte = next;
                    model.push_back(next);
                    next = next.wrapping_add(1);
                }
                inbox.commit(read);
                let consume = usize::from(consume).min(model.len());
                inbox.consume(consume);
                model.drain(..consume);
                assert!(inbox.unread().iter().eq(&model));
            }
        }
    }
}
