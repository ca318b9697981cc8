//! Logging the same thing once a minute.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Says once a minute for each cause whether to log it.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<HashMap<String, Cause>>);

#[derive(Debug)]
struct Cause {
    logged: Instant,
    /// How often it came up since.
    kept: u64,
}

impl Limiter {
    /// Whether to log this now, and how often it came up in silence since the last time.
    pub(super) fn allows(&self, cause: &str) -> Option<Kept> {
        let mut causes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(cause) = causes.get_mut(cause) {
            if now - cause.logged < PAUSE {
                cause.kept += 1;
                return None;
            }
            cause.logged = now;
            return Some(Kept(std::mem::take(&mut cause.kept)));
        }
        if causes.len() >= MAX_CAUSES {
            causes.clear();
        }
        let cause = (
            cause.to_owned(),
            Cause {
                logged: now,
                kept: 0,
            },
        );
        causes.extend([cause]);
        Some(Kept(0))
    }
}

/// How often something came up and was not logged.
pub(super) struct Kept(u64);

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            kept => write!(f, " (and {kept} times since this was last logged)"),
        }
    }
}

const PAUSE: Duration = Duration::from_secs(60);
/// Beyond, all are forgotten.
const MAX_CAUSES: usize = 256;
