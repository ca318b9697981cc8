//! Many messages in a row.

use std::{collections::HashSet, net::SocketAddr, thread, time::Instant};

use fedmsg::transport::{Endpoint, Subscriber, native::Native, zmq::Zmq};
use fedmsg_emulator::Options;
use fedmsg_tests::{
    PATIENCE, next,
    pyzmq::Pyzmq,
    raw::{self, Raw},
};
use serde_json::{Value, json};

use crate::{Lab, number, parsed, read, status, subscriber};

#[test]
#[ignore = "targets/mps2/run test"]
fn a_hundred_thousand_messages_reach_who_reads_whatever_who_does_not_read_does() {
    let lab = Lab::new();
    let mut device = lab.unsigned_device();
    let at = device.address();
    let mut reader = subscriber(&Native, at);
    next(&mut reader);
    let _deaf = deaf(at);

    device.send(&format!("burst {MANY}")).expect("a console");
    let (mut ids, mut last) = (HashSet::new(), None);
    while ids.len() < MANY {
        let message = following(parsed(next(&mut reader)), &mut last);
        let id = message["msg_id"].as_str().expect("an id");
        assert!(ids.insert(id.to_owned()), "{id} twice");
    }
    let status = status(&mut device, || parsed(next(&mut reader)), |_| true);
    let lost = status["lost_in_all"].as_u64().expect("a number");
    let too_slow = status["connections"]["too_slow"]
        .as_u64()
        .expect("a number");
    assert!(lost + too_slow > 0, "{status}");
    assert_eq!(status["failed"], 0, "{status}");
}

#[test]
#[ignore = "targets/mps2/run test"]
fn signed_messages_in_a_row_are_all_valid_and_none_is_missing() {
    let lab = Lab::new();
    let mut device = lab.device(200, &Options::default());
    let mut tail = lab.tail(device.address());
    read(&mut tail);
    let many: usize =
        std::env::var("FIRMWARE_SIGNED").map_or(5_000, |n| n.parse().expect("a number"));
    device.send(&format!("burst {many}")).expect("a console");
    let (mut ids, mut last) = (HashSet::new(), None);
    while ids.len() < many {
        let message = following(read(&mut tail), &mut last);
        ids.insert(message["msg_id"].to_string());
    }
    assert_eq!(tail.skipped(), 0);
}

#[test]
#[ignore = "targets/mps2/run test"]
fn three_subscribers_miss_nothing_while_a_fourth_never_reads() {
    let lab = Lab::new();
    let mut device = lab.unsigned_device();
    let at = device.address();
    let mut native = subscriber(&Native, at);
    let (mut libzmq, mut pyzmq) = (subscriber(&Zmq, at), subscriber(&Pyzmq, at));
    let _deaf = deaf(at);
    let mut last = [None; 3];
    let are_here = |status: &Value| status["subscribers"] == 4;
    let read = || following(parsed(next(&mut native)), &mut last[0]);
    let mut seen = status(&mut device, read, are_here);

    // A subscriber's system, and QEMU, take in some megabytes for it.
    let start = Instant::now();
    while seen["connections"]["too_slow"] == 0 {
        assert!(start.elapsed() < PATIENCE, "{seen}");
        device.send("burst 5000").expect("a console");
        let until = last[0].expect("a number") + 5000;
        let [first, second, third] = &mut last;
        thread::scope(|scope| {
            scope.spawn(|| read_until(until, &mut native, first));
            scope.spawn(|| read_until(until, &mut libzmq, second));
            scope.spawn(|| read_until(until, &mut pyzmq, third));
        });
        let read = || following(parsed(next(&mut native)), &mut last[0]);
        seen = status(&mut device, read, |_| true);
    }
    let connections = json!({"opened": 4, "refused": 0, "too_slow": 1, "violations": 0});
    assert_eq!(seen["connections"], connections);
    assert_ne!(seen["lost_in_all"], 0, "{seen}");
    assert_eq!(seen["lost"], json!([0, 0, 0, 0]), "{seen}");
}

/// A subscriber that never reads.
fn deaf(at: SocketAddr) -> Raw {
    let mut deaf = Raw::connect(&Endpoint::tcp("127.0.0.1", at.port()));
    deaf.handshake(1, "SUB");
    deaf.send(&raw::subscribe(b""));
    deaf
}

fn read_until(until: u64, subscriber: &mut impl Subscriber, last: &mut Option<u64>) {
    while last.is_none_or(|last| last < until) {
        following(parsed(next(subscriber)), last);
    }
}

/// The same message, which is the one after the `last`.
#[track_caller]
fn following(message: Value, last: &mut Option<u64>) -> Value {
    let i = number(&message);
    assert!(last.is_none_or(|last| i == last + 1), "{i} after {last:?}");
    *last = Some(i);
    message
}

/// So many messages are one burst.
const MANY: usize = 100_000;
