//! When the device has something to say, and what: by the clock, and by the console's lines.
//!
//! `start` first, `reading` every so often, `status` every minute and when the line `status` asks for
//! it, `event` for any other line. `burst N` makes N readings follow one another without a pause.

use crate::log::warn;

/// The longest line on the console.
const LINE: usize = 64;

/// Milliseconds between two messages on the device's own state.
const STATUS_PERIOD: u64 = 60_000;

/// What is to be said.
pub enum Due {
    /// The device has started.
    Start,
    /// What it measures.
    Reading,
    /// How it is.
    Status,
    /// A line came.
    Event(Line),
}

/// What is to be said when.
pub struct Agenda {
    /// Milliseconds between two readings.
    period: u64,
    started: bool,
    reading_at: u64,
    status_at: u64,
    /// How many readings are to follow one another without a pause.
    burst: u32,
    line: Line,
}

impl Agenda {
    /// With a reading every `period_ms` milliseconds.
    #[must_use]
    pub const fn new(period_ms: u32) -> Self {
        Self {
            period: period_ms as u64,
            started: false,
            reading_at: 0,
            status_at: 0,
            burst: 0,
            line: Line::new(),
        }
    }

    /// What is due next, if anything is. To be asked from when the time of day is known. In a burst
    /// the next reading waits for `taken`: that somebody has the last one.
    pub fn next(
        &mut self,
        now: u64,
        taken: impl FnOnce() -> bool,
        mut console: impl FnMut() -> Option<u8>,
    ) -> Option<Due> {
        if !self.started {
            self.started = true;
            self.reading_at = now;
            self.status_at = now + STATUS_PERIOD;
            return Some(Due::Start);
        }
        while let Some(byte) = console() {
            if self.line.put(byte) {
                return self.obey(now);
            }
        }
        if now >= self.status_at {
            self.status_at = now + STATUS_PERIOD;
            return Some(Due::Status);
        }
        if self.burst > 0 {
            if !taken() {
                return None;
            }
            self.burst -= 1;
            return Some(Due::Reading);
        }
        if now >= self.reading_at {
            self.reading_at = now + self.period;
            return Some(Due::Reading);
        }
        None
    }

    /// When the next thing is due, if no line comes before; now, in a burst.
    #[must_use]
    pub fn next_at(&self) -> u64 {
        if self.burst > 0 {
            return 0;
        }
        self.reading_at.min(self.status_at)
    }

    /// Whether a burst is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.burst > 0
    }

    /// Does what the line on the console says.
    fn obey(&mut self, now: u64) -> Option<Due> {
        let line = core::mem::replace(&mut self.line, Line::new());
        let Some(text) = line.text() else {
            warn!("a line that is too long, or no text");
            return None;
        };
        if text == "status" {
            self.status_at = now;
            return None;
        }
        if let Some(number) = text.strip_prefix("burst ") {
            self.burst = number.parse().unwrap_or(0);
            return None;
        }
        Some(Due::Event(line))
    }
}

/// A line of text.
pub struct Line {
    bytes: [u8; LINE],
    /// Its length, even where that is more than is kept.
    len: usize,
}

impl Line {
    const fn new() -> Self {
        Self {
            bytes: [0; LINE],
            len: 0,
        }
    }

    /// Takes a byte; whether it ended the line.
    fn put(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' => return true,
            b'\r' => {}
            byte => {
                if let Some(place) = self.bytes.get_mut(self.len) {
                    *place = byte;
                }
                self.len = self.len.saturating_add(1);
            }
        }
        false
    }

    /// It; `None` if it was too long, or no UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        core::str::from_utf8(self.bytes.get(..self.len)?).ok()
    }
}
