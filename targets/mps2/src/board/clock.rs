//! Milliseconds since the start, from the core's own timer.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use cortex_m::peripheral::{SYST, syst::SystClkSource};
use cortex_m_rt::exception;

/// The core's clock in Hz.
const FREQUENCY: u32 = 25_000_000;

static TICKS: AtomicU32 = AtomicU32::new(0);

/// The clock; there is one.
pub struct Clock {
    /// What [`TICKS`] was last, and how often it had started again from 0: every 49 days.
    last: u32,
    rounds: u32,
}

impl Clock {
    pub(super) fn start(mut timer: SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(FREQUENCY / 1000 - 1);
        timer.clear_current();
        timer.enable_counter();
        timer.enable_interrupt();
        Self { last: 0, rounds: 0 }
    }

    /// Milliseconds since the start. To be asked at least once in 49 days.
    pub fn now(&mut self) -> u64 {
        let ticks = TICKS.load(Relaxed);
        if ticks < self.last {
            self.rounds += 1;
        }
        self.last = ticks;
        u64::from(self.rounds) << 32 | u64::from(ticks)
    }
}

#[exception]
fn SysTick() {
    #[cfg(feature = "embassy")]
    super::ticks::on_interrupt();
    TICKS.store(TICKS.load(Relaxed).wrapping_add(1), Relaxed);
}
