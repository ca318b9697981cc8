//! The messages that wait for `trigger`'s command.
//!
//! Source for when their turn comes: what the peer's `fedmsg-trigger` says of `--wait-for` and
//! `--max-queue-size`.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Messages, in their order. All of them have their turn at once: when none came for a while, or
/// when they are too many to wait longer; and then also those that come meanwhile.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    wait: Duration,
    /// With more than so many there is no wait; 0: there always is.
    max: usize,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    /// When their turn comes.
    due: Option<Instant>,
    /// Since when the command has been running.
    running: Option<Instant>,
    ended: bool,
}

impl Queue {
    pub(super) fn new(wait: Duration, max: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            wait,
            max,
        }
    }

    /// Takes a message. One for which there is no room is given back after `patience`.
    pub(super) fn push(&self, message: Vec<u8>, patience: Duration) -> Result<(), Vec<u8>> {
        let mut state = self.state();
        let is_full =
            |state: &State| !state.messages.is_empty() && state.bytes + message.len() > MAX_BYTES;
        if is_full(&state) {
            // None comes any more for which to wait.
            state.due = Some(Instant::now());
            self.changed.notify_all();
            let waited = self
                .changed
                .wait_timeout_while(state, patience, |state| is_full(state));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if is_full(&state) {
                return Err(message);
            }
        }
        state.bytes += message.len();
        state.messages.push_back(message);
        let too_many = self.max > 0 && state.messages.len() > self.max;
        let wait = if too_many { Duration::ZERO } else { self.wait };
        state.due = Some(Instant::now() + wait);
        self.changed.notify_all();
        Ok(())
    }

    /// No more messages come than this last one: what is there has its turn now.
    pub(super) fn end(&self, last: Option<Vec<u8>>) {
        let mut state = self.state();
        state.bytes += last.as_ref().map_or(0, Vec::len);
        state.messages.extend(last);
        state.ended = true;
        drop(state);
        self.changed.notify_all();
    }

    /// How many messages wait, and since when the command has been running, if it is.
    pub(super) fn status(&self) -> (usize, Option<Instant>) {
        let state = self.state();
        (state.messages.len(), state.running)
    }

    /// Hands over one message after the other; returns after the [end](Self::end).
    pub(super) fn run(&self, mut take: impl FnMut(Vec<u8>)) {
        let mut state = self.state();
        loop {
            let left = match state.due {
                _ if state.messages.is_empty() && state.ended => return,
                _ if state.messages.is_empty() => None,
                _ if state.ended => Some(Duration::ZERO),
                due => due.map(|due| due.saturating_duration_since(Instant::now())),
            };
            match left {
                None => {
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
                Some(left) if left.is_zero() => {
                    while let Some(message) = state.messages.pop_front() {
                        state.bytes -= message.len();
                        state.running = Some(Instant::now());
                        self.changed.notify_all();
                        drop(state);
                        take(message);
                        state = self.state();
                    }
                    state.running = None;
                }
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much may wait, in bytes, beside a message that is longer.
const MAX_BYTES: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const LONG: Duration = Duration::from_secs(3600);

    /// Runs the queue, and hands what it hands over to the test.
    fn with_runner(queue: &Queue, test: impl FnOnce(&mpsc::Receiver<Vec<u8>>)) {
        thread::scope(|scope| {
            let (sender, taken) = mpsc::channel();
            // Nobody looks at what comes after the test.
            scope.spawn(|| queue.run(move |message| drop(sender.send(message))));
            test(&taken);
            queue.end(None);
        });
    }

    #[test]
    fn messages_wait_until_they_are_too_many() {
        let queue = Queue::new(LONG, 2);
        with_runner(&queue, |taken| {
            for message in [b"1", b"2"] {
                queue.push(message.to_vec(), LONG).unwrap();
            }
            assert!(taken.recv_timeout(Duration::from_millis(50)).is_err());
            queue.push(b"3".to_vec(), LONG).unwrap();
            for message in [b"1", b"2", b"3"] {
                assert_eq!(taken.recv_timeout(PATIENCE).unwrap(), message);
            }
        });
    }

    #[test]
    fn what_waits_at_the_end_has_its_turn() {
        let queue = Queue::new(LONG, 0);
        let mut last = None;
        with_runner(&queue, |taken| {
            queue.push(b"1".to_vec(), LONG).unwrap();
            queue.end(Some(b"2".to_vec()));
            assert_eq!(taken.recv_timeout(PATIENCE).unwrap(), b"1");
            last = Some(taken.recv_timeout(PATIENCE).unwrap());
        });
        assert_eq!(last.unwrap(), b"2");
        assert_eq!(queue.status(), (0, None));
    }

    #[test]
    fn a_full_queue_waits_for_nothing_and_takes_nothing() {
        let queue = Queue::new(LONG, 0);
        let large = vec![b'x'; MAX_BYTES + 1];
        queue.push(large.clone(), LONG).unwrap();
        let refused = queue.push(b"1".to_vec(), Duration::from_millis(1));
        assert_eq!(refused, Err(b"1".to_vec()));
        with_runner(&queue, |taken| {
            assert_eq!(taken.recv_timeout(PATIENCE).unwrap().len(), large.len());
            queue.push(b"1".to_vec(), LONG).unwrap();
        });
    }
}
