//! What a daemon has done so far.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fedmsg_core::serial::Counts as Line;

use super::Refusal;

/// What a daemon has done since it was started, in messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that came in.
    pub received: u64,
    /// Messages that were handed on: those that somebody, or nobody, had subscribed to.
    pub forwarded: u64,
    /// Messages that were not handed on, by cause ([`Refusal::cause`]).
    pub refused: BTreeMap<&'static str, u64>,
    /// Messages that a subscriber was too slow for, added up over the subscribers.
    pub dropped: u64,
    /// What happened on a bridge's serial line.
    pub line: Option<Line>,
}

impl Counters {
    /// Messages that were refused, for whatever cause.
    #[must_use]
    pub fn all_refused(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// The same while it is being counted. Only one thread counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    received: AtomicU64,
    forwarded: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    line: Mutex<Option<Line>>,
}

impl Tally {
    #[inline]
    pub(super) fn count(&self, outcome: Result<(), &Refusal>) {
        // No other thread adds, so that nothing is lost without a locked instruction.
        let add = |to: &AtomicU64| to.store(to.load(Relaxed) + 1, Relaxed);
        add(&self.received);
        match outcome {
            Ok(()) => add(&self.forwarded),
            Err(refusal) => {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                *refused.entry(refusal.cause()).or_default() += 1;
            }
        }
    }

    pub(super) fn set_line(&self, line: Option<Line>) {
        if line.is_some() {
            *self.line.lock().unwrap_or_else(PoisonError::into_inner) = line;
        }
    }

    pub(super) fn counters(&self, dropped: u64) -> Counters {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        Counters {
            received: self.received.load(Relaxed),
            forwarded: self.forwarded.load(Relaxed),
            refused: refused.clone(),
            dropped,
            line: *self.line.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
