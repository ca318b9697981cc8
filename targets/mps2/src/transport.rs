//! What the application needs of whatever leads to its subscribers.

use fedmsg_core::publisher::Publisher;
use serde::Serialize;

use crate::entropy::Entropy;

/// Leads from the publisher to at most `LINKS` subscribers, and knows the time.
pub trait Transport<const LINKS: usize> {
    /// Moves what there is to move; whether there is more at once.
    fn poll(
        &mut self,
        publisher: &mut Publisher<'_, LINKS>,
        random: &mut Entropy,
        now: u64,
    ) -> bool;

    /// Sends what was just published, as far as that does not have to wait; whether there is more at
    /// once.
    fn send(&mut self, publisher: &mut Publisher<'_, LINKS>, now: u64) -> bool;

    /// Seconds since 1970, once somebody has told. `now` is in milliseconds since the start, here as
    /// everywhere.
    fn time(&self, now: u64) -> Option<u64>;

    /// What became of connections so far.
    fn counts(&self) -> Counts;
}

/// What became of connections since the start.
#[derive(Clone, Copy, Default, Serialize)]
pub struct Counts {
    /// Accepted, or reached.
    pub opened: u32,
    /// Turned away, because all links were in use.
    pub refused: u32,
    /// Ended by us, because the peer broke the protocol, or a limit.
    pub violations: u32,
    /// Ended by us, because the peer was too slow for the message under way.
    pub too_slow: u32,
}
