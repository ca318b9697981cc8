//! Whether files have changed since they were read.

use std::{
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use super::Error;

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

impl Mark {
    /// `None` for a file that cannot be looked at.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let data = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&data);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Self {
            modified: data.modified().ok(),
            len: data.len(),
            inode,
        })
    }
}

/// The marks of files when they were last read.
pub(super) struct Watch<M> {
    begin: Instant,
    /// When to look again, in milliseconds since the beginning.
    next: AtomicU64,
    marks: Mutex<M>,
}

impl<M: PartialEq> Watch<M> {
    /// Begins with the marks from before the files were read.
    pub(super) fn new(marks: M) -> Self {
        Self {
            begin: Instant::now(),
            next: AtomicU64::new(millis(TURN)),
            marks: Mutex::new(marks),
        }
    }

    /// Looks at the files, at most once a second and in one thread at a time; if they have changed
    /// has `read` read them, and what it gives taken by `take`. What goes wrong is logged once, and
    /// tried again when they change again. What changed while it was read is read again. Whether it
    /// looked.
    pub(super) fn look<T>(
        &self,
        marks: impl Fn() -> M,
        read: impl FnOnce() -> Result<T, Error>,
        take: impl FnOnce(T),
    ) -> bool {
        let now = millis(self.begin.elapsed());
        if now < self.next.load(Ordering::Relaxed) {
            return false;
        }
        let Ok(mut known) = self.marks.try_lock() else {
            return false;
        };
        self.next.store(now + millis(TURN), Ordering::Relaxed);
        let found = marks();
        if found == *known {
            return true;
        }
        let read = read();
        if marks() == found {
            *known = found;
            match read {
                Ok(read) => take(read),
                Err(error) => log::warn!("{error}; going on with what was read before"),
            }
        }
        true
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How often files are looked at.
const TURN: Duration = Duration::from_secs(1);
