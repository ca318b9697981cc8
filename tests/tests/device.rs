//! The device that `core/README.md` shows, read by libzmq.

#[path = "../../core/examples/device/app.rs"]
mod app;
#[path = "../../core/examples/device/socket.rs"]
mod socket;

use app::{Device, Reading};
use fedmsg::crypto::{FileSigner, KeyKind, Scratch, Trust, ca::Ca};
use socket::Socket;
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

const TIME: u64 = 1_795_430_000;

#[test]
fn four_libzmq_subscribers_read_and_validate_what_the_readme_s_device_signs() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ca = Ca::init(dir.path(), "CA", KeyKind::P256, 1, TIME).expect("a CA");
    ca.issue("lab", None, None, TIME).expect("a certificate");
    let signer = FileSigner::load(dir.path(), "lab").expect("a signer");
    let trust = Trust::load(
        &dir.path().join("ca.crt"),
        Some(&dir.path().join("crl.pem")),
    )
    .expect("a CA and its list");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("its address"));
    let context = zmq::Context::new();
    let subscribers = [(); 4].map(|()| {
        let socket = context.socket(zmq::SUB).expect("a socket");
        socket
            .set_subscribe(b"org.example.")
            .expect("a subscription");
        socket.connect(&endpoint).expect("a connection");
        socket
    });

    let mut ring = [0; 4096];
    let mut device = Device::new(&mut ring, &signer);
    let start = Instant::now();
    let mut sockets = [(); 4].map(|()| {
        let (stream, _) = listener.accept().expect("a subscriber");
        Socket::new(stream).expect("a socket that does not block")
    });
    for _ in &sockets {
        device.publisher.open(0).expect("a free place");
    }
    let mut serve = |device: &mut Device<'_>| {
        for (link, socket) in sockets.iter_mut().enumerate() {
            let now = start
                .elapsed()
                .as_millis()
                .try_into()
                .expect("a short test");
            device
                .publisher
                .poll(link, socket, now)
                .expect("a good peer");
        }
    };
    while device.publisher.subscribers() < 4 {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "the subscribers did not subscribe"
        );
        serve(&mut device);
    }

    let mut scratch = Scratch::default();
    for number in 1..=20_u8 {
        let reading = Reading {
            sensor: "hall 3",
            celsius: 20.0 + f32::from(number),
        };
        device.publish(&reading, TIME, [number; 16]).expect("room");
        serve(&mut device);
        for subscriber in &subscribers {
            subscriber.set_rcvtimeo(30_000).expect("a time limit");
            let frames = subscriber.recv_multipart(0).expect("a message");
            let [topic, body] = frames.as_slice() else {
                panic!("{} frames", frames.len())
            };
            let valid = scratch.validate(Some(topic), body, &[&trust.p256()], TIME);
            assert_eq!(valid.map(|valid| valid.signer), Ok("lab"));
            let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
            assert_eq!(body["i"], number);
            assert_eq!(body["msg"]["celsius"], 20.0 + f64::from(number));
        }
    }
    assert_eq!(device.publisher.lost(), 0);
}
