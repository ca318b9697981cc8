//! What happens to a device and its peers.

use std::{
    collections::VecDeque,
    fs,
    io::Write as _,
    net::{SocketAddr, SocketAddrV4, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use fedmsg::transport::{self, Endpoint, Subscriber, Transport, zmq::Zmq};
use fedmsg_core::provision::Bus;
use fedmsg_emulator::{Device, HOST, Options, image};
use fedmsg_tests::{PATIENCE, eventually, loopback, next, pyzmq::Pyzmq, random::Random, raw};
use object::{Endianness, Object as _, ObjectSymbol as _, read::elf::ElfFile32};
use serde_json::Value;

use crate::{Lab, built, number, read, status, subscriber};

#[test]
#[ignore = "targets/mps2/run test"]
fn a_device_outlives_what_subscribers_and_strangers_do() {
    let lab = Lab::new();
    let mut device = lab.device(200, &Options::default());
    let at = device.address();
    let mut tail = lab.tail(at);
    read(&mut tail);

    kill_a_hundred(at);

    let mut random = Random(1);
    for round in 0..50 {
        let mut stranger = TcpStream::connect(at).expect("a connection");
        let mut garbage: Vec<u8> = (0..random.below(2000))
            .map(|_| random.bits() as u8)
            .collect();
        if round % 2 == 0 {
            // Behind a good beginning.
            garbage.splice(0..0, [&raw::greeting(1)[..], &raw::ready("SUB")].concat());
        }
        let _ = stranger.write_all(&garbage);
    }
    let over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        scope.spawn(|| {
            let (start, mut flood) = (Instant::now(), VecDeque::new());
            while !over.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
                flood.push_front(TcpStream::connect(at));
                flood.truncate(50);
            }
        });
        let refused = |status: &Value| status["connections"]["refused"] != 0;
        let seen = status(&mut device, || read(&mut tail), refused);
        over.store(true, Ordering::Relaxed);
        seen
    });
    let connections = &seen["connections"];
    assert!(connections["opened"].as_u64() > Some(100), "{seen}");
    assert_ne!(connections["violations"], 0, "{seen}");

    next(&mut subscriber(&Zmq, at));
    let last = status(&mut device, || read(&mut tail), |_| true);
    assert_goes_on(&mut device, &last, &seen);
    assert_eq!(tail.skipped(), 0);
}

/// Three at a time, which leaves a place for who reads on.
fn kill_a_hundred(at: SocketAddr) {
    thread::scope(|scope| {
        for many in [33, 33, 34] {
            scope.spawn(move || {
                for _ in 0..many {
                    let mut killed = subscriber(&Pyzmq, at);
                    next(&mut killed);
                    killed.kill();
                }
            });
        }
    });
}

#[test]
#[ignore = "targets/mps2/run test"]
fn a_cable_that_was_out_for_a_moment_costs_nothing() {
    let lab = Lab::new();
    let mut device = lab.device(500, &Options::default());
    let mut libzmq = subscriber(&Zmq, device.address());
    let mut last = number(&lab.valid(next(&mut libzmq)));
    for _ in 0..3 {
        device.set_link(false).expect("a cable");
        thread::sleep(Duration::from_secs(1));
        device.set_link(true).expect("a cable");
        for _ in 0..4 {
            last += 1;
            assert_eq!(number(&lab.valid(next(&mut libzmq))), last);
        }
    }
    let status = status(&mut device, || lab.valid(next(&mut libzmq)), |_| true);
    assert_eq!(status["connections"]["opened"], 1, "{status}");
}

#[test]
#[ignore = "targets/mps2/run test"]
fn a_device_that_is_moved_is_read_at_its_new_address() {
    const PERIOD: u32 = 200;
    let lab = Lab::new();
    let options = Options {
        elsewhere: true,
        ..Options::default()
    };
    let mut device = lab.device(PERIOD, &options);
    let here = device.address();
    let (mut tail, mut libzmq) = (lab.tail(here), subscriber(&Zmq, here));
    lab.valid(next(&mut libzmq));
    let before = status(&mut device, || read(&mut tail), |_| true);
    let last = number(&read(&mut tail));

    let moved = Instant::now();
    device.move_cable().expect("a cable");
    // A lease, and the end of the old connections, in any order.
    let mut awaited = vec!["address [10, 0, 3, 15]", "left"];
    while !awaited.is_empty() {
        let line = device
            .log(PATIENCE)
            .unwrap_or_else(|| panic!("no {awaited:?}"));
        awaited.retain(|text| !line.contains(text));
    }
    let in_flight = moved.elapsed();
    // Nobody is there meanwhile.
    thread::sleep(Duration::from_secs(1));
    let there = device.address();
    let (mut tail, mut libzmq) = (lab.tail(there), subscriber(&Zmq, there));
    let first = number(&lab.valid(next(&mut libzmq)));
    let after = status(&mut device, || read(&mut tail), |_| true);
    assert_adds_up((last, &before), (first, &after), in_flight, PERIOD);
    assert_goes_on(&mut device, &after, &before);
    assert_eq!(tail.skipped(), 0);
}

#[test]
#[ignore = "targets/mps2/run test"]
fn a_device_whose_relay_was_gone_for_a_minute_comes_back_and_counts_what_nobody_heard() {
    const PERIOD: u32 = 500;
    let lab = Lab::new();
    let (mut relay, endpoint) = bound(&loopback());
    let to = SocketAddrV4::new(HOST, endpoint.port().expect("a port"));
    let blob = lab.blob("device-1", Bus::Connect(to), PERIOD);
    let mut device = lab.boot(&blob, &Options::default());
    let valid = |relay: &mut <Zmq as Transport>::Subscriber| lab.valid(next(relay));
    let before = status(&mut device, || valid(&mut relay), |_| true);
    let last = number(&valid(&mut relay));

    let gone = Instant::now();
    drop(relay);
    device.wait_for("left").expect("a line");
    let in_flight = gone.elapsed();
    thread::sleep(Duration::from_secs(60));
    let (mut relay, _) = bound(&endpoint);
    let first = number(&valid(&mut relay));
    let after = status(&mut device, || valid(&mut relay), |_| true);
    assert_adds_up((last, &before), (first, &after), in_flight, PERIOD);
    assert!(after["unheard"].as_u64() > Some(60), "{after}");
    assert_eq!(after["connections"]["opened"], 2, "{after}");
    assert_goes_on(&mut device, &after, &before);
}

#[test]
#[ignore = "targets/mps2/run test"]
fn memory_is_static_because_there_is_nothing_to_allocate_with() {
    let image = fs::read(built(&image::DEVICE)).expect("the image");
    let image = ElfFile32::<'_, Endianness>::parse(&*image).expect("ELF");
    let symbols: Vec<_> = image.symbols().filter_map(|s| s.name().ok()).collect();
    assert!(symbols.contains(&"stack_deepest"));
    let allocates = |name: &&&str| name.contains("__rust_alloc") || name.contains("malloc");
    assert_eq!(symbols.iter().find(allocates), None);
}

/// Every message between the `last` and the `first` that were read is one that nobody was there for,
/// which the device has counted, or was on its way when the connection ended, which it noticed after
/// `in_flight`.
#[track_caller]
fn assert_adds_up(
    (last, before): (u64, &Value),
    (first, after): (u64, &Value),
    in_flight: Duration,
    period: u32,
) {
    let count = |status: &Value| status["unheard"].as_u64().expect("a number");
    let unheard = count(after) - count(before);
    let missing = first - last - 1;
    let most = in_flight.as_millis() as u64 / u64::from(period) + 2;
    assert!(unheard > 0, "{after}");
    assert!(
        (unheard..=unheard + most).contains(&missing),
        "{missing} are missing, {unheard} unheard, up to {most} were on their way"
    );
}

/// It is the same run of the program, and it is well.
#[track_caller]
fn assert_goes_on(device: &mut Device, now: &Value, before: &Value) {
    assert!(now["uptime"].as_u64() > before["uptime"].as_u64(), "{now}");
    assert_eq!(now["failed"], 0, "{now}");
    assert!(now["stack"].as_u64() < Some(8 << 10), "{now}");
    while let Some(line) = device.log(Duration::ZERO) {
        assert!(!line.contains("fedmsg device"), "started again");
    }
}

/// A relay's end of it, and where it bound.
fn bound(endpoint: &Endpoint) -> (<Zmq as Transport>::Subscriber, Endpoint) {
    let mut relay = Zmq
        .subscriber(&transport::Options::default())
        .expect("a subscriber");
    relay.subscribe(b"").expect("a prefix");
    let mut bound = None;
    // Somebody else may have the port for a moment.
    eventually("the port is free", || {
        bound = relay.bind(endpoint).ok();
        bound.is_some()
    });
    (relay, bound.expect("it was"))
}
