//! embassy's time: the core timer's milliseconds.

use core::{cell::RefCell, task::Waker};

use critical_section::Mutex;
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;

time_driver_impl!(static TICKS: Ticks = Ticks(Mutex::new(RefCell::new(State {
    now: 0,
    next: u64::MAX,
    queue: Queue::new(),
}))));

struct Ticks(Mutex<RefCell<State>>);

struct State {
    now: u64,
    /// When the first of the queue is to be woken.
    next: u64,
    queue: Queue,
}

impl Driver for Ticks {
    fn now(&self) -> u64 {
        critical_section::with(|token| self.0.borrow_ref(token).now)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|token| {
            let state = &mut *self.0.borrow_ref_mut(token);
            if state.queue.schedule_wake(at, waker) {
                state.next = state.queue.next_expiration(state.now);
            }
        });
    }
}

/// The timer's interrupt: a millisecond has passed.
pub(super) fn on_interrupt() {
    critical_section::with(|token| {
        let state = &mut *TICKS.0.borrow_ref_mut(token);
        state.now += 1;
        if state.now >= state.next {
            state.next = state.queue.next_expiration(state.now);
        }
    });
}
