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

mod faults;
mod many;
mod peers;
mod provisioned;

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fedmsg::{
    bus::{Context, Settings, Tail},
    crypto::{DeviceSettings, KeyKind, Scratch, Trust, ca::Ca},
    transport::{self, Subscriber, Transport},
};
use fedmsg_core::provision::{Bus, Provision};
use fedmsg_emulator::{
    Device, HOST, Options, TimeServer,
    image::{self, Image},
};
use fedmsg_tests::PATIENCE;
use serde_json::Value;
use tempfile::TempDir;

const TOPIC: &str = "org.example.dev.lab";

/// A CA, a server of the time, and what devices are made of.
struct Lab {
    dir: TempDir,
    time: TimeServer,
    trust: Arc<Trust>,
    image: Image,
}

impl Lab {
    /// One whose devices have the image `FIRMWARE_IMAGE`, `device` if that is not set.
    fn new() -> Self {
        let name = std::env::var("FIRMWARE_IMAGE").unwrap_or_else(|_| "device".into());
        Self::of(image::named(&name).expect("an image"))
    }

    fn of(image: Image) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Ca::init(dir.path(), "Lab", KeyKind::P256, 2, now()).expect("a CA");
        let (ca, crl) = (dir.path().join("ca.crt"), dir.path().join("crl.pem"));
        let trust = Trust::load(&ca, Some(&crl)).expect("a CA and its list");
        Self {
            trust: Arc::new(trust),
            time: TimeServer::start(0).expect("a server of the time"),
            dir,
            image,
        }
    }

    /// The CA's folder.
    fn dir(&self) -> &Path {
        self.dir.path()
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
        let path = settings.issue(self.dir(), name, None, now());
        fs::read(path.expect("a certificate")).expect("a file")
    }

    fn boot(&self, blob: &[u8], options: &Options) -> Device {
        let image = self.dir().join("image");
        image::provision(&built(&self.image), blob, &image).expect("an image");
        Device::boot(&image, options).expect("QEMU")
    }

    /// A device that listens.
    fn device(&self, period_ms: u32, options: &Options) -> Device {
        let blob = self.blob("device-1", Bus::Listen(9940), period_ms);
        let mut device = self.boot(&blob, options);
        device.wait_for("listening").expect("a device that starts");
        device
    }

    /// A device that listens, and has no key.
    fn unsigned_device(&self) -> Device {
        let mut blob = vec![0; 4096];
        let time_server = SocketAddrV4::new(HOST, self.time.address().port());
        let provision = unsigned(&[1; 32], time_server);
        let len = provision.write(&mut blob).expect("room");
        let mut device = self.boot(&blob[..len], &Options::default());
        device.wait_for("listening").expect("a device that starts");
        device
    }

    /// A message that is valid, and the device's.
    #[track_caller]
    fn valid(&self, (topic, body): (Vec<u8>, Vec<u8>)) -> Value {
        let (mut scratch, backends) = (Scratch::default(), self.trust.p256());
        let valid = scratch.validate(Some(&topic), &body, &[&backends], now());
        assert_eq!(valid.map(|valid| valid.signer), Ok("device-1"));
        parsed((topic, body))
    }

    /// Our own tail of that device, which takes what validates.
    fn tail(&self, at: SocketAddr) -> Tail {
        let settings = Settings {
            endpoints: [].into(),
            validator: Some(self.trust.clone()),
            transport: transport::Options {
                // To notice that a device has gone that could not say so.
                heartbeat: Some(Duration::from_secs(2)),
                heartbeat_timeout: Duration::from_secs(5),
                ..transport::Options::default()
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

/// The image; built once.
fn built(image: &Image) -> PathBuf {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().expect("no test fails while it builds");
    let path = built
        .entry(image.name)
        .or_insert_with(|| image::build(image).expect("the firmware builds"));
    path.clone()
}

fn now() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock");
    now.as_secs()
}

/// A subscriber of the device's topics.
fn subscriber<T: Transport>(peer: &T, at: SocketAddr) -> T::Subscriber {
    let mut subscriber = peer
        .subscriber(&transport::Options::default())
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

/// The number of a message that is valid.
fn number(message: &Value) -> u64 {
    message["i"].as_u64().expect("a number")
}

fn parsed((_, body): (Vec<u8>, Vec<u8>)) -> Value {
    serde_json::from_slice(&body).expect("JSON")
}
