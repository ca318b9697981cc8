//! Helpers for whole-system tests: peers to test with ([`pyzmq`], [`raw`]), a [`proxy`] between
//! them, the Python that some of them need ([`python`]), and the macros that run one test over
//! every transport.
//!
//! Rules of these tests: loopback only, ports given by the operating system only, and no test of
//! how long something takes: whatever must happen is waited for up to [`PATIENCE`], and the wait
//! ends when it has happened.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use fedmsg::transport::{
    Endpoint, Message, Publisher, Subscriber, Transport, native::Native, zmq::Zmq,
};

pub mod monitor;
pub mod namespace;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod python;
pub mod pyzmq;
pub mod random;
pub mod raw;

/// How long something that must happen is waited for. Reached only by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A transport that is ours, and so under test; pyzmq's is not.
pub trait Ours: Transport {
    /// Whether libzmq is what speaks: it differs from ours where that is documented.
    const LIBZMQ: bool;
}

impl Ours for Native {
    const LIBZMQ: bool = false;
}

impl Ours for Zmq {
    const LIBZMQ: bool = true;
}

/// Runs each function, generic over a transport that is [`Ours`], as a test of each.
#[macro_export]
macro_rules! for_transports {
    ($($test:ident),+ $(,)?) => {
        mod native {
            $(#[test] fn $test() { super::$test(&fedmsg::transport::native::Native); })+
        }
        mod zmq {
            $(#[test] fn $test() { super::$test(&fedmsg::transport::zmq::Zmq); })+
        }
    };
}

/// Runs each function, generic over a publisher's and a subscriber's transport, as a test of
/// every two of which one at least is [`Ours`].
#[macro_export]
macro_rules! for_pairs {
    ($($test:ident),+ $(,)?) => {
        mod native_to_native {
            $(#[test] fn $test() { super::$test(&fedmsg::transport::native::Native, &fedmsg::transport::native::Native); })+
        }
        mod native_to_zmq {
            $(#[test] fn $test() { super::$test(&fedmsg::transport::native::Native, &fedmsg::transport::zmq::Zmq); })+
        }
        mod native_to_pyzmq {
            $(#[test] fn $test() { super::$test(&fedmsg::transport::native::Native, &fedmsg_tests::pyzmq::Pyzmq); })+
        }
        mod zmq_to_native {
            $(#[test] fn $test() { super::$test(&fedmsg::transport::zmq::Zmq, &fedmsg::transport::native::Native); })+
        }
        mod zmq_to_zmq {
            $(#[test] fn $test() { super::$test(&fedmsg::transport::zmq::Zmq, &fedmsg::transport::zmq::Zmq); })+
        }
        mod zmq_to_pyzmq {
            $(#[test] fn $test() { super::$test(&fedmsg::transport::zmq::Zmq, &fedmsg_tests::pyzmq::Pyzmq); })+
        }
        mod pyzmq_to_native {
            $(#[test] fn $test() { super::$test(&fedmsg_tests::pyzmq::Pyzmq, &fedmsg::transport::native::Native); })+
        }
        mod pyzmq_to_zmq {
            $(#[test] fn $test() { super::$test(&fedmsg_tests::pyzmq::Pyzmq, &fedmsg::transport::zmq::Zmq); })+
        }
    };
}

/// Any free port of the loopback interface.
pub fn loopback() -> Endpoint {
    Endpoint::tcp("127.0.0.1", 0)
}

/// Waits until `done`, and fails after [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "gave up waiting: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until everything that these subscribers asked for, and may not have arrived yet, is in
/// force at the publisher, whichever side connects. Only for subscribers with nothing to receive.
#[track_caller]
pub fn meet<S: Subscriber>(publisher: &impl Publisher, subscribers: &mut [S]) {
    // A peer's subscriptions arrive in the order in which they are made, or when it connects, in
    // the order of their bytes: this one is the last of them. And it is new each time.
    static MEETINGS: AtomicU32 = AtomicU32::new(0);
    let number = MEETINGS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let topic = &[&[0xff; 4], &number[..]].concat();
    for subscriber in &mut *subscribers {
        subscriber.subscribe(topic).unwrap();
    }
    // Numbered, as a knock may be heard by what was asked for before, and the next one by nobody.
    let mut knocks = 0_u32;
    let mut patience = Duration::from_millis(5);
    eventually("every subscriber hears the publisher", || {
        knocks += 1;
        let knock = knocks.to_be_bytes();
        publisher.send(topic, &[&knock]).unwrap();
        patience = Duration::from_secs(1).min(patience * 2);
        subscribers
            .iter_mut()
            .all(|subscriber| hears(subscriber, &knock, patience))
    });
    for subscriber in subscribers {
        subscriber.unsubscribe(topic).unwrap();
    }
}

/// Whether this is the last message that comes, as long as none lets `patience` pass.
fn hears(subscriber: &mut impl Subscriber, body: &[u8], patience: Duration) -> bool {
    while let Some(message) = subscriber.recv(patience).unwrap() {
        if message.topic_and_body().is_some_and(|(_, got)| got == body) {
            return true;
        }
    }
    false
}

/// The next message's topic and body.
#[track_caller]
pub fn next(subscriber: &mut impl Subscriber) -> (Vec<u8>, Vec<u8>) {
    let message = subscriber.recv(PATIENCE).unwrap().expect("a message");
    let (topic, body) = message.topic_and_body().expect("two frames");
    (topic.to_vec(), body.to_vec())
}

/// A message's frames.
#[must_use]
pub fn frames(message: &Message<'_>) -> Vec<Vec<u8>> {
    message.frames.frames().map(<[u8]>::to_vec).collect()
}

/// The next message's frames.
#[track_caller]
pub fn next_frames(subscriber: &mut impl Subscriber) -> Vec<Vec<u8>> {
    frames(&subscriber.recv(PATIENCE).unwrap().expect("a message"))
}

/// Where plain TCP connects to for this endpoint.
#[must_use]
pub fn address(endpoint: &Endpoint) -> (&str, u16) {
    match endpoint {
        Endpoint::Tcp { host, port } => (host, *port),
        Endpoint::Ipc(_) => panic!("{endpoint} is not over TCP"),
    }
}
