//! The firmware of `targets/mps2` in QEMU, among real peers. `targets/mps2/run test` runs it:
//! compiler and emulator are large, and made available at the first use.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a test"
)]

use std::{
    collections::{HashSet, VecDeque},
    fs,
    io::Write as _,
    net::{SocketAddr, SocketAddrV4, TcpStream},
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fedmsg::{
    bus::{Context, Settings, Tail},
    crypto::{DeviceSettings, KeyKind, Scratch, Trust, ca::Ca},
    transport::{Endpoint, Options, Subscriber, Transport, native::Native, zmq::Zmq},
};
use fedmsg_core::provision::{Bus, Identity, Provision};
use fedmsg_emulator::{Device, HOST, TimeServer, image};
use fedmsg_tests::{
    PATIENCE, eventually, loopback, next,
    pyzmq::Pyzmq,
    random::Random,
    raw::{self, Raw},
};
use serde_json::Value;
use tempfile::TempDir;

const TOPIC: &str = "org.example.dev.lab";

/// A CA, a server of the time, and what devices are made of.
struct Lab {
    dir: TempDir,
    time: TimeServer,
    trust: Arc<Trust>,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Ca::init(dir.path(), "Lab", KeyKind::P256, 2, now()).expect("a CA");
        let (ca, crl) = (dir.path().join("ca.crt"), dir.path().join("crl.pem"));
        Self {
            trust: Arc::new(Trust::load(&ca, Some(&crl)).expect("a CA and its list")),
            time: TimeServer::start(0).expect("a server of the time"),
            dir,
        }
    }

    /// What `fedmsg ca issue --device` writes.
    fn blob(&self, name: &str, bus: Bus, period_ms: u32) -> Vec<u8> {
        let settings = DeviceSettings {
            topic: TOPIC.into(),
            bus,
            time_server: SocketAddrV4::new(HOST, self.time.address().port()),
            period_ms,
            mac: None,
        };
        let path = settings.issue(self.dir.path(), name, None, now());
        fs::read(path.expect("a certificate")).expect("a file")
    }

    fn boot(&self, blob: &[u8]) -> Device {
        let image = self.dir.path().join("image");
        image::provision(built(), blob, &image).expect("an image");
        Device::boot(&image, &fedmsg_emulator::Options::default()).expect("QEMU")
    }

    /// A device that listens.
    fn device(&self, period_ms: u32) -> Device {
        let mut device = self.boot(&self.blob("device-1", Bus::Listen(9940), period_ms));
        device.wait_for("listening").expect("a device that starts");
        device
    }

    /// Our own tail of that device, which takes what validates.
    fn tail(&self, at: SocketAddr) -> Tail {
        let settings = Settings {
            endpoints: [].into(),
            validator: Some(self.trust.clone()),
            transport: Options {
                // To notice that a device has gone that could not say so.
                heartbeat: Some(Duration::from_secs(2)),
                heartbeat_timeout: Duration::from_secs(5),
                ..Options::default()
            },
            ..Settings::default()
        };
        let settings = settings
            .with_endpoints("device", [format!("tcp://{at}")])
            .expect("an endpoint");
        let context = Context::new(settings).expect("a context");
        context.tail(TOPIC).expect("a tail")
    }
}

/// The image, `FIRMWARE_IMAGE` (`device`); built once.
fn built() -> &'static PathBuf {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let name = std::env::var("FIRMWARE_IMAGE").unwrap_or_else(|_| "device".into());
        let image = image::Image::named(&name).expect("an image of that name");
        image::build(image).expect("the firmware builds")
    })
}

fn now() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock");
    now.as_secs()
}

/// A subscriber of the device's topics.
fn subscriber<T: Transport>(transport: &T, at: SocketAddr) -> T::Subscriber {
    let mut subscriber = transport
        .subscriber(&Options::default())
        .expect("a subscriber");
    subscriber.subscribe(TOPIC.as_bytes()).expect("a prefix");
    let endpoint = format!("tcp://{at}").parse().expect("an endpoint");
    subscriber.connect(&endpoint).expect("a connection");
    subscriber
}

/// The next message of the tail, as JSON.
fn read(tail: &mut Tail) -> Value {
    let message = tail.recv(Some(PATIENCE)).expect("no failure");
    let message = message.expect("a message");
    serde_json::from_slice(&message.body).expect("JSON")
}

/// Asks for the device's status until `good` says that it is what was waited for.
fn status(
    device: &mut Device,
    mut next: impl FnMut() -> Value,
    good: impl Fn(&Value) -> bool,
) -> Value {
    let start = Instant::now();
    let mut last = Value::Null;
    while start.elapsed() < PATIENCE {
        // Again and again: nobody may have been there for the last answer.
        device.send("status").expect("a console");
        let message = next();
        if message["topic"] == format!("{TOPIC}.status") {
            last = message["msg"].clone();
            if good(&last) {
                return last;
            }
        }
    }
    panic!("gave up waiting: {last}");
}

#[test]
#[ignore = "targets/mps2/run test"]
fn libzmq_pyzmq_and_our_own_tail_read_and_validate_what_the_device_signs() {
    let start = now();
    let lab = Lab::new();
    let mut device = lab.device(100);
    let at = device.address();
    let mut tail = lab.tail(at);
    let mut libzmq = subscriber(&Zmq, at);
    let mut pyzmq = subscriber(&Pyzmq, at);

    let mut scratch = Scratch::default();
    let mut validate = |(topic, body): (Vec<u8>, Vec<u8>)| {
        let valid = scratch.validate(Some(&topic), &body, &[&lab.trust.p256()], now());
        assert_eq!(valid.map(|valid| valid.signer), Ok("device-1"));
        serde_json::from_slice::<Value>(&body).expect("JSON")
    };
    for _ in 0..20 {
        for message in [
            validate(next(&mut libzmq)),
            validate(next(&mut pyzmq)),
            read(&mut tail),
        ] {
            let time = message["timestamp"].as_u64().expect("a time");
            // The device's clock and this one's seconds change at other moments.
            assert!((start - 1..=now() + 1).contains(&time), "{message}");
        }
    }
    assert_eq!(tail.skipped(), 0);

    device.send("a line for everybody").expect("a console");
    let text = |message: &Value| {
        let is_event = message["topic"] == format!("{TOPIC}.event");
        is_event.then(|| message["msg"]["text"].clone())
    };
    let line = Value::from("a line for everybody");
    eventually("our tail reads it", || {
        text(&read(&mut tail)) == Some(line.clone())
    });
    eventually("libzmq reads it", || {
        text(&parsed(next(&mut libzmq))) == Some(line.clone())
    });
    eventually("pyzmq reads it", || {
        text(&parsed(next(&mut pyzmq))) == Some(line.clone())
    });
}

#[test]
#[ignore = "targets/mps2/run test"]
fn what_a_device_is_provisioned_with_is_refused_by_name_where_it_is_no_good() {
    let lab = Lab::new();
    let good = lab.blob("device-1", Bus::Listen(9940), 100);
    let changed = |at: usize, byte: u8| {
        let mut blob = good.clone();
        blob[at] = byte;
        blob
    };
    let seed = [1; 32];
    let mut no_key = vec![0; 4096];
    let len = Provision {
        identity: Some(Identity {
            key: &[0; 32],
            certificate_field: b"QQ==",
        }),
        ..unsigned(&seed, SocketAddrV4::new(HOST, 123))
    }
    .write(&mut no_key)
    .expect("room");
    no_key.truncate(len);
    for (blob, line) in [
        (vec![], "nothing is provisioned"),
        (changed(8, 2), "format 2"),
        (changed(100, 0), "damaged or cut off"),
        (good[..good.len() - 1].to_vec(), "damaged or cut off"),
        (no_key, "key is none"),
    ] {
        lab.boot(&blob).wait_for(line).expect("a clear line");
    }
}

#[test]
#[ignore = "targets/mps2/run test"]
fn a_hundred_thousand_messages_reach_who_reads_whatever_who_does_not_read_does() {
    let lab = Lab::new();
    let mut blob = vec![0; 4096];
    let time_server = SocketAddrV4::new(HOST, lab.time.address().port());
    let len = unsigned(&[1; 32], time_server)
        .write(&mut blob)
        .expect("room");
    let mut device = lab.boot(&blob[..len]);
    device.wait_for("listening").expect("a device that starts");
    let at = device.address();
    let mut reader = subscriber(&Native, at);
    next(&mut reader);
    let mut deaf = Raw::connect(&Endpoint::tcp("127.0.0.1", at.port()));
    deaf.handshake(1, "SUB");
    deaf.send(&raw::subscribe(b""));

    device.send(&format!("burst {MANY}")).expect("a console");
    let (mut ids, mut last) = (HashSet::new(), None);
    while ids.len() < MANY {
        let message = parsed(next(&mut reader));
        let i = message["i"].as_u64().expect("a number");
        assert!(last.is_none_or(|last| i == last + 1), "{i} after {last:?}");
        last = Some(i);
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
    drop(deaf);
}

#[test]
#[ignore = "targets/mps2/run test"]
fn signed_messages_in_a_row_are_all_valid_and_none_is_missing() {
    let lab = Lab::new();
    let mut device = lab.device(200);
    let mut tail = lab.tail(device.address());
    read(&mut tail);
    let many: usize =
        std::env::var("FIRMWARE_SIGNED").map_or(200, |n| n.parse().expect("a number"));
    device.send(&format!("burst {many}")).expect("a console");
    let (mut ids, mut last) = (HashSet::new(), None);
    while ids.len() < many {
        let message = read(&mut tail);
        let i = message["i"].as_u64().expect("a number");
        assert!(last.is_none_or(|last| i == last + 1), "{i} after {last:?}");
        last = Some(i);
        ids.insert(message["msg_id"].to_string());
    }
    assert_eq!(tail.skipped(), 0);
}

#[test]
#[ignore = "targets/mps2/run test"]
fn a_device_outlives_what_subscribers_and_strangers_do() {
    let lab = Lab::new();
    let mut device = lab.device(200);
    let at = device.address();
    let mut tail = lab.tail(at);
    read(&mut tail);

    for _ in 0..100 {
        next(&mut subscriber(&Zmq, at)); // dropped, it is gone
    }
    let mut killed = subscriber(&Pyzmq, at);
    next(&mut killed);
    killed.kill();

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

    device.set_link(false).expect("a cable");
    thread::sleep(Duration::from_secs(2));
    device.set_link(true).expect("a cable");
    let last = status(&mut device, || read(&mut tail), |_| true);
    assert!(last["uptime"].as_u64() > seen["uptime"].as_u64(), "{last}");
    assert_eq!(last["failed"], 0, "{last}");
    assert!(last["stack"].as_u64() < Some(8 << 10), "{last}");
    next(&mut subscriber(&Zmq, at));
    assert_eq!(tail.skipped(), 0);
    while let Some(line) = device.log(Duration::ZERO) {
        assert!(!line.contains("fedmsg device"), "started again");
    }
}

#[test]
#[ignore = "targets/mps2/run test"]
fn a_device_that_connects_comes_back_to_a_relay_that_was_gone() {
    let lab = Lab::new();
    let mut relay = bound(&loopback());
    let endpoint = relay.1.clone();
    let to = SocketAddrV4::new(HOST, endpoint.port().expect("a port"));
    let mut device = lab.boot(&lab.blob("device-1", Bus::Connect(to), 100));
    let mut scratch = Scratch::default();
    let mut valid = |relay: &mut <Zmq as Transport>::Subscriber| {
        let (topic, body) = next(relay);
        let valid = scratch.validate(Some(&topic), &body, &[&lab.trust.p256()], now());
        assert_eq!(valid.map(|valid| valid.signer), Ok("device-1"));
        parsed((topic, body))
    };
    let first = valid(&mut relay.0)["i"].as_u64();
    drop(relay);
    device.wait_for("left").expect("a line");
    thread::sleep(Duration::from_secs(3));

    relay = bound(&endpoint);
    assert!(valid(&mut relay.0)["i"].as_u64() > first);
    let seen = status(&mut device, || valid(&mut relay.0), |_| true);
    assert_ne!(seen["unheard"], 0, "{seen}");
    assert_eq!(seen["connections"]["opened"], 2, "{seen}");
}

/// A relay's end of it, and where it bound.
fn bound(endpoint: &Endpoint) -> (<Zmq as Transport>::Subscriber, Endpoint) {
    let mut relay = Zmq.subscriber(&Options::default()).expect("a subscriber");
    relay.subscribe(b"").expect("a prefix");
    let endpoint = relay.bind(endpoint).expect("a port");
    (relay, endpoint)
}

/// A device without a key.
fn unsigned(seed: &[u8; 32], time_server: SocketAddrV4) -> Provision<'_> {
    Provision {
        identity: None,
        seed,
        mac: [2, 0, 0, 0, 0, 1],
        time_server,
        bus: Bus::Listen(9940),
        period_ms: 200,
        topic: TOPIC,
    }
}

fn parsed((_, body): (Vec<u8>, Vec<u8>)) -> Value {
    serde_json::from_slice(&body).expect("JSON")
}

/// So many messages are one burst.
const MANY: usize = 100_000;
