//! Who reads what a device signs, and believes it.

use std::{
    net::{SocketAddrV4, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use fedmsg::{
    crypto::{KeyKind, ca::Ca},
    transport::{self, Endpoint, Subscriber, Transport, native::Native, zmq::Zmq},
};
use fedmsg_core::provision::Bus;
use fedmsg_emulator::{Board, Device, HOST, Options, image};
use fedmsg_tests::{
    PATIENCE, eventually, next,
    programs::{Maker, Program, Site, alone, fedmsg},
    python,
    pyzmq::Pyzmq,
};
use serde_json::{Map, Value, json};

use crate::{Lab, TOPIC, built, now, parsed, read, subscriber};

#[test]
#[ignore = "targets/mps2/run test"]
fn libzmq_pyzmq_and_our_own_tail_read_and_validate_what_the_device_signs() {
    read_and_validate(Board::An385);
}

#[test]
#[ignore = "targets/mps2/run test"]
fn the_same_image_is_a_device_on_a_cortex_m4() {
    read_and_validate(Board::An386);
}

#[test]
#[ignore = "targets/mps2/run test"]
fn libzmq_reads_what_the_rival_on_mzmq_publishes() {
    let lab = Lab::of(image::MZMQ);
    let device = lab.unsigned_device();
    let mut libzmq = subscriber(&Zmq, device.address());
    let first = parsed(next(&mut libzmq))["i"].as_u64().expect("a number");
    for i in 1..20 {
        let message = parsed(next(&mut libzmq));
        assert_eq!(message["i"], first + i, "{message}");
    }
}

fn read_and_validate(board: Board) {
    let start = now();
    let lab = Lab::new();
    let options = Options {
        board,
        ..Options::default()
    };
    let mut device = lab.device(100, &options);
    let at = device.address();
    let mut tail = lab.tail(at);
    let mut libzmq = subscriber(&Zmq, at);
    let mut pyzmq = subscriber(&Pyzmq, at);

    for _ in 0..20 {
        for message in [
            lab.valid(next(&mut libzmq)),
            lab.valid(next(&mut pyzmq)),
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
fn our_programs_tail_and_verify_judge_what_the_device_signs() {
    const MANY: usize = 10;
    let lab = Lab::new();
    let device = lab.device(100, &Options::default());
    let fedmsg = |command: &str| {
        let mut program = Command::new(fedmsg());
        program
            .args([command, "--ca"])
            .arg(lab.dir().join("ca.crt"));
        program.arg("--crl").arg(lab.dir().join("crl.pem"));
        program
    };

    let tail = fedmsg("tail")
        .args(["--endpoint", &format!("tcp://{}", device.address())])
        .args(["--json", "--count", &MANY.to_string()])
        .args(["--max-silence", &PATIENCE.as_secs().to_string()])
        .output()
        .expect("a program");
    assert!(tail.status.success(), "{tail:?}");

    let mut lines = tail.stdout;
    let messages = parsed_lines(&lines);
    assert_eq!(messages.len(), MANY);
    let mut changed = messages[0].clone();
    changed["msg"] = json!({"buttons": 3, "uptime": 0});
    lines.extend(format!("{changed}\n").bytes());
    let file = lab.dir().join("messages");
    std::fs::write(&file, lines).expect("a file");
    let verify = fedmsg("verify").arg("--lines").arg(file).output();
    let verify = verify.expect("a program");
    let verdicts = String::from_utf8(verify.stdout).expect("text");
    let mut verdicts = verdicts.lines();
    for _ in 0..MANY {
        assert_eq!(verdicts.next(), Some("device-1"));
    }
    let last = verdicts.next().expect("a verdict");
    assert!(last.starts_with("error: "), "{last}");
    assert_eq!((verdicts.next(), verify.status.code()), (None, Some(1)));
}

fn parsed_lines(lines: &[u8]) -> Vec<Value> {
    let lines = lines.split(|byte| *byte == b'\n');
    let messages = lines.filter(|line| !line.is_empty());
    messages
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect()
}

const INBOUND: SocketAddrV4 = SocketAddrV4::new(HOST, 2003);
const OUTBOUND: &str = "tcp://127.0.0.1:4001";

#[test]
#[ignore = "targets/mps2/run test"]
fn through_the_signing_relay_python_fedmsg_validates_what_a_device_of_the_ca_says() {
    built(&image::DEVICE);
    alone(
        "peers::through_the_signing_relay_python_fedmsg_validates_what_a_device_of_the_ca_says",
        || {
            let (lab, strangers) = (Lab::new(), Lab::new());
            let blob = |lab: &Lab, name| lab.blob(name, Bus::Connect(INBOUND), 500);
            let (device, revoked) = (blob(&lab, "device-1"), blob(&lab, "device-2"));
            let stranger = blob(&strangers, "device-1");
            let ca = Ca::open(lab.dir()).expect("a CA");
            ca.revoke("device-2", now()).expect("a revocation");
            let rsa = Some(KeyKind::Rsa2048);
            ca.issue("relay", rsa, None, now()).expect("a certificate");

            let site = site(&lab);
            let mut relay = site.command(Maker::Ours, "signing-relay", "relay");
            let mut relay = Program::start(relay.arg("--signed-only"));
            relay.until("it binds", |_| TcpStream::connect("127.0.0.1:4001").is_ok());
            let mut python = Command::new(python::fedmsg());
            let script = include_str!("../../../../tests/py/fedmsg_tail.py");
            python.args(["-W", "ignore", "-c", script]);
            site.at(&mut python, "python");
            let mut python = Program::start(&mut python);

            let [mut device, mut revoked, mut stranger] =
                [device, revoked, stranger].map(|blob| lab.boot(&blob, &Options::default()));
            let mut status = Native.subscriber(&transport::Options::default()).unwrap();
            status.subscribe(b"").unwrap();
            let endpoint = Endpoint::ipc(site.dir().join("status"));
            status.connect(&endpoint).unwrap();
            // What comes between the two that it hears, it would hear.
            hear(&mut python, &mut device, "first");
            for (device, cause) in [(&mut revoked, "revoked"), (&mut stranger, "untrusted")] {
                device.wait_for("is here").expect("a connection");
                eventually(cause, || {
                    device.send(NOT_BELIEVED).expect("a console");
                    refused(&mut status, cause) > 3
                });
            }
            hear(&mut python, &mut device, "last");

            // It says so where it refuses one.
            for line in python.said().lines() {
                let message = serde_json::from_str(line);
                let (topic, message): (String, Value) =
                    message.unwrap_or_else(|_| panic!("no message: {line}"));
                assert!(topic.starts_with(TOPIC), "{line}");
                assert_eq!(message["crypto"], "x509", "{line}");
                assert_ne!(message["msg"]["text"], NOT_BELIEVED, "{line}");
            }
        },
    );
}

const NOT_BELIEVED: &str = "of a device that nobody believes";

/// Has the device say this until the peer hears it.
fn hear(peer: &mut Program, device: &mut Device, line: &str) {
    peer.until(line, |peer| {
        device.send(line).expect("a console");
        thread::sleep(Duration::from_millis(100));
        peer.has_said(&format!("\"{line}\""))
    });
}

/// How many messages the relay has refused for this cause.
fn refused(status: &mut impl Subscriber, cause: &str) -> u64 {
    let message = status.recv(PATIENCE).expect("no failure");
    let message = message.expect("a status");
    let status = message.frames.frames().next().expect("a frame");
    let status: Value = serde_json::from_slice(status).expect("JSON");
    let refused = &status["consumers"][0]["refused"][cause];
    refused.as_u64().unwrap_or(0)
}

/// The configurations of the relay, and of Python fedmsg, which knows nothing of P-256.
fn site(lab: &Lab) -> Site {
    let may_send = |name| {
        (
            format!("{TOPIC}.{name}"),
            json!(["device-1", "device-2", "relay"]),
        )
    };
    let policy: Map<_, _> = ["start", "reading", "event", "status"]
        .map(may_send)
        .into_iter()
        .collect();
    let site = Site::new(|dir| {
        json!({
            "endpoints": {"relay_outbound": [OUTBOUND]},
            "relay_inbound": format!("tcp://127.0.0.1:{}", INBOUND.port()),
            "topic_prefix": "org.example",
            "environment": "dev",
            "sign_messages": true,
            "validate_signatures": true,
            "crypto_backend": "x509",
            "crypto_validate_backends": ["x509"],
            "ssldir": lab.dir(),
            "ca_cert_location": lab.dir().join("ca.crt"),
            "crl_location": lab.dir().join("crl.pem"),
            "certnames": {"signing_relay": "relay"},
            "routing_policy": policy,
            "routing_nitpicky": true,
            "zmq_enabled": true,
            "post_init_sleep": 0,
            "moksha.monitoring.socket": format!("ipc://{}", dir.join("status").display()),
            "moksha.monitoring.socket.mode": "770",
        })
    });
    site.configure("python", &json!({}), true);
    let backends = json!({"crypto_validate_backends": ["x509-p256"]});
    site.configure("relay", &backends, true);
    site
}
