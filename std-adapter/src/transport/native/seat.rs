//! Who drives a socket's I/O: its own thread, or the user's while they wait for something.
//!
//! A user who waits for a message does the I/O that brings it, so that no thread has to wake
//! another. While the user is away the socket's thread does it: answers heartbeats, connects again,
//! reads ahead. Only one at a time has the driver.

use super::{
    super::{Error, Options},
    driver::{Driver, Role},
};
use mio::Waker;
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

/// A socket's driver, and the thread that has it when nobody else does.
pub(super) struct Seat<R: Role> {
    shared: Arc<Shared<R>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<R: Role> {
    place: Mutex<Place<R>>,
    changed: Condvar,
    waker: Arc<Waker>,
}

struct Place<R: Role> {
    /// Here unless somebody has it.
    driver: Option<Box<Driver<R>>>,
    /// Users who wait for it.
    waiting: usize,
    /// How often users have come back for it.
    uses: u64,
    /// The thread is to have it as soon as the user gives it back.
    left: bool,
    /// The thread wants to know when the user gives it back.
    parked: bool,
    /// No more I/O: the socket is closed, or its driver was lost.
    closed: bool,
}

impl<R: Role> Seat<R> {
    /// A socket with its thread.
    pub(super) fn new(options: &Options, role: R) -> Result<Self, Error> {
        let failed = |source| Error::Io {
            doing: "open a socket".into(),
            source,
        };
        let driver = Box::new(Driver::new(options, role).map_err(failed)?);
        let shared = Arc::new(Shared {
            waker: Arc::clone(driver.waker()),
            place: Mutex::new(Place {
                driver: Some(driver),
                waiting: 0,
                uses: 0,
                left: true,
                parked: false,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("fedmsg-{:?}", R::SOCKET_TYPE))
            .spawn(move || its.keep())
            .map_err(failed)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Does something with the driver, which the thread has again afterwards.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Driver<R>) -> T) -> Result<T, Error> {
        let driver = self.shared.take()?;
        Ok(self.shared.drive(driver, true, f))
    }

    /// The same for a user who will soon be back, so that the thread leaves the driver alone for
    /// [`Role::AWAY`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub(super) fn wait<T>(&self, f: impl FnOnce(&mut Driver<R>) -> T) -> Result<T, Error> {
        let driver = self.shared.take()?;
        Ok(self.shared.drive(driver, false, f))
    }

    /// Does a last thing with the driver, then closes the socket.
    ///
    /// # Errors
    /// [`Error::Closed`] if it was already.
    pub(super) fn end<T>(&self, f: impl FnOnce(&mut Driver<R>) -> T) -> Result<T, Error> {
        let mut driver = self.shared.take()?;
        let _guard = Guard(&self.shared);
        Ok(f(&mut driver))
    }

    /// Wakes whoever waits for I/O.
    pub(super) fn waker(&self) -> &Waker {
        &self.shared.waker
    }
}

impl<R: Role> Drop for Seat<R> {
    fn drop(&mut self) {
        self.shared.close();
        let _ = self.shared.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.shared.lock().driver = None;
    }
}

/// Closes the socket when it goes.
struct Guard<'s, R: Role>(&'s Shared<R>);

impl<R: Role> Drop for Guard<'_, R> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<R: Role> Shared<R> {
    fn lock(&self) -> MutexGuard<'_, Place<R>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed<'p>(&self, place: MutexGuard<'p, Place<R>>) -> MutexGuard<'p, Place<R>> {
        let place = self.changed.wait(place);
        place.unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn take(&self) -> Result<Box<Driver<R>>, Error> {
        let mut place = self.lock();
        place.uses += 1;
        if place.driver.is_none() && !place.closed {
            place.waiting += 1;
            // It fails only when there is nobody to be woken.
            let _ = self.waker.wake();
            while place.driver.is_none() && !place.closed {
                place = self.changed(place);
            }
            place.waiting -= 1;
        }
        place.driver.take().ok_or(Error::Closed)
    }

    /// Does something with a driver that was taken, and puts it back.
    fn drive<T>(
        &self,
        mut driver: Box<Driver<R>>,
        left: bool,
        f: impl FnOnce(&mut Driver<R>) -> T,
    ) -> T {
        // Nobody shall wait for a driver that a panic took.
        let guard = Guard(self);
        let result = f(&mut driver);
        std::mem::forget(guard);
        let mut place = self.lock();
        place.driver = Some(driver);
        place.left |= left;
        if place.waiting > 0 || left || place.parked {
            place.parked = false;
            self.changed.notify_all();
        }
        result
    }

    /// What the socket's thread does.
    fn keep(&self) {
        let mut seen = 0;
        let mut place = self.lock();
        while !place.closed {
            if place.waiting > 0 || place.driver.is_none() {
                place.parked = true;
                place = self.changed(place);
                continue;
            }
            if !place.left && place.uses != seen {
                // They will be back.
                seen = place.uses;
                let result = self.changed.wait_timeout(place, R::AWAY);
                place = result.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            place.left = false;
            let Some(driver) = place.driver.take() else {
                continue;
            };
            drop(place);
            let alive = self.drive(driver, false, |driver| {
                loop {
                    if driver.turn(None).is_err() {
                        return false;
                    }
                    let place = self.lock();
                    if place.waiting > 0 || place.closed {
                        return true;
                    }
                }
            });
            if !alive {
                self.close();
            }
            place = self.lock();
        }
        // Whoever still waits learns that nothing will come.
        drop(place);
        self.changed.notify_all();
    }
}
