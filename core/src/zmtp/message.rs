//! A received message: its frames, and its very bytes.

use super::frame::{COMMAND, Decoded, LONG, MORE, RawHeader, decode};

/// What ends a request's envelope on the wire: an empty frame, followed by others. A request begins
/// with it; a reply begins with the request's [`envelope`](Message::envelope).
pub const DELIMITER: [u8; 2] = [1, 0];

/// A whole message in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Message<'a> {
    pub(super) envelope: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) frame_count: usize,
    pub(super) clean: bool,
}

impl<'a> Message<'a> {
    /// The message whose frames these bytes are, all of them and nothing behind; `None` if they are
    /// something else. The inverse of [`encode_message`](super::encode_message) for any number of
    /// frames, of any length.
    #[inline]
    pub fn from_wire(bytes: &'a [u8]) -> Option<Self> {
        let (mut rest, mut frame_count, mut clean) = (bytes, 0, true);
        loop {
            let raw = RawHeader::read(rest)?;
            let end = usize::try_from(raw.len).ok()?.checked_add(raw.size)?;
            rest = rest.get(end..)?;
            clean &= raw.flags & !(MORE | LONG) == 0;
            if raw.flags & COMMAND != 0 {
                continue;
            }
            frame_count += 1;
            if raw.flags & MORE == 0 {
                return rest.is_empty().then_some(Message {
                    envelope: &[],
                    body: bytes,
                    frame_count,
                    clean,
                });
            }
        }
    }

    /// How many frames it has, without the envelope.
    #[inline]
    pub const fn frame_count(&self) -> usize {
        self.frame_count
    }

    /// The frames' bodies, without the envelope.
    #[inline]
    pub const fn frames(&self) -> Frames<'a> {
        Frames(self.body)
    }

    /// The bodies of a message of exactly two frames.
    #[inline]
    pub fn two_frames(&self) -> Option<(&'a [u8], &'a [u8])> {
        if self.frame_count != 2 {
            return None;
        }
        let mut frames = self.frames();
        Some((frames.next()?, frames.next()?))
    }

    /// The message (without the envelope) as it came over the wire, to be sent on as it is. `None`
    /// if it holds what should not be sent on: a command between its frames (libzmq puts its PINGs
    /// there) or reserved flags. Its [`frames`](Self::frames) can still be encoded anew.
    #[inline]
    pub const fn wire(&self) -> Option<&'a [u8]> {
        if self.clean { Some(self.body) } else { None }
    }

    /// The bytes that it came in, whatever they hold besides its frames;
    /// [`from_wire`](Self::from_wire) reads them again.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.body
    }

    /// Of a REQ's or REP's message: the frames up to and with the empty one, as they came over the
    /// wire. A REP's answer begins with them. Empty for other sockets.
    #[inline]
    pub const fn envelope(&self) -> &'a [u8] {
        self.envelope
    }
}

/// Iterator over the bodies of a [`Message`]'s frames.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Frames<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let Ok(Decoded::Frame { frame, consumed }) = decode(self.0, u64::MAX) else {
                return None;
            };
            self.0 = self.0.get(consumed..)?;
            if !frame.command {
                return Some(frame.body);
            }
        }
    }
}
