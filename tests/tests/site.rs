//! A site of our programs and Python fedmsg's, every combination: {its logger, ours} → {its relays,
//! ours} → {its tail, its library, our tail}.
//!
//! Each test has a network of its own, for the peer's programs bind what they find in their
//! configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpStream,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use fedmsg::{
    crypto::{KeyKind, ca::Ca},
    transport::{
        Endpoint, Message, Options, Publisher, Subscriber, Transport, encode_frames, native::Native,
    },
};
use fedmsg_core::zmtp;
use fedmsg_tests::{
    PATIENCE, eventually,
    programs::{Maker, Program, Site, alone},
    python,
};
use serde_json::{Value, json};

use Maker::{Ours, Theirs};

const INBOUND: &str = "tcp://127.0.0.1:2003";
const OUTBOUND: &str = "tcp://127.0.0.1:4001";

/// What a logger's message is sent with.
struct Kind {
    name: &'static str,
    makers: &'static [Maker],
    /// Of the site.
    configuration: &'static str,
    arguments: &'static [&'static str],
    /// What becomes of it behind a relay.
    relayed: Fate,
    /// And behind our signing relay: this, or it is accepted.
    refused: Option<&'static str>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// All tails show it.
    Accepted,
    /// All tails refuse it.
    Refused,
    /// Ours shows it, the peer's refuse it.
    New,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "unsigned",
        makers: &[Ours, Theirs],
        configuration: "unsigned",
        arguments: &[],
        relayed: Fate::Refused,
        refused: None,
    },
    Kind {
        name: "signed",
        makers: &[Ours, Theirs],
        configuration: "signed",
        arguments: &[],
        relayed: Fate::Accepted,
        refused: None,
    },
    Kind {
        name: "permitted",
        makers: &[Ours, Theirs],
        configuration: "signed",
        arguments: &["--topic", "secret", "--cert-prefix", "keeper"],
        relayed: Fate::Accepted,
        refused: None,
    },
    Kind {
        name: "revoked",
        makers: &[Ours, Theirs],
        configuration: "signed",
        arguments: &["--cert-prefix", "revoked"],
        relayed: Fate::Refused,
        refused: Some("revoked"),
    },
    Kind {
        name: "not permitted",
        makers: &[Ours, Theirs],
        configuration: "signed",
        arguments: &["--topic", "secret"],
        relayed: Fate::Refused,
        refused: Some("not-permitted"),
    },
    Kind {
        name: "of a device",
        makers: &[Ours],
        configuration: "device",
        arguments: &["--cert-prefix", "device"],
        relayed: Fate::New,
        refused: None,
    },
];

#[test]
fn through_our_relay_every_verdict_is_the_same() {
    alone("through_our_relay_every_verdict_is_the_same", || {
        through(Ours, "relay", "unsigned");
    });
}

#[test]
fn through_their_relay_every_verdict_is_the_same() {
    alone("through_their_relay_every_verdict_is_the_same", || {
        through(Theirs, "relay", "unsigned");
    });
}

#[test]
fn through_our_signing_relay_every_verdict_is_the_same() {
    alone(
        "through_our_signing_relay_every_verdict_is_the_same",
        || {
            through(Ours, "signing-relay", "devices");
        },
    );
}

#[test]
fn through_their_signing_relay_what_was_not_signed_is_accepted() {
    alone(
        "through_their_signing_relay_what_was_not_signed_is_accepted",
        || through(Theirs, "signing-relay", "signed"),
    );
}

/// Sends every kind of message, of every logger, through this relay to every tail.
fn through(maker: Maker, relay: &str, configuration: &str) {
    let site = site();
    let _relay = start_relay(&site, maker, relay, configuration);
    let signs = relay == "signing-relay";
    let ear = Ear::listen(OUTBOUND);
    let mut status = status(&site);
    let mut tails = tails(&site);

    // Whom all tails believe.
    let knocks = if signs { "unsigned" } else { "signed" };
    let mut knocker = Program::start(&mut site.command(Ours, "logger", knocks));
    for name in ["our tail", "their tail", "their library"] {
        let line = format!("knock at {name}");
        knock(&mut knocker, &line, || {
            ear.heard(&line) && tails[name].has_said(&line)
        });
    }

    let mut loggers = Vec::new();
    for kind in &KINDS {
        for maker in kind.makers {
            let mut command = site.command(*maker, "logger", kind.configuration);
            let logger = Program::start(command.args(kind.arguments));
            let token = format!("{} by {maker:?}", kind.name);
            loggers.push((kind, token, logger));
        }
    }
    for (kind, token, logger) in &mut loggers {
        // A logger of the peer's does not tell when the relay hears it.
        let line = format!("knock {token}");
        match kind.refused.filter(|_| signs && maker == Ours) {
            None => knock(logger, &line, || ear.heard(&line)),
            Some(cause) => {
                let refused = |status: &Value| {
                    let consumer = &status["consumers"][0];
                    consumer["refused"][cause].as_u64().unwrap_or(0)
                };
                let before = refused(&next_status(&mut status));
                eventually(&line, || {
                    logger.tell(&line);
                    refused(&next_status(&mut status)) > before
                });
            }
        }
        logger.tell(token);
        assert!(logger.finish().success(), "{}", logger.said());
    }
    // Twice, so that the first is behind all that came before it.
    for end in ["the end", "the very end"] {
        knocker.tell(end);
        for tail in tails.values_mut() {
            tail.hear(end);
        }
    }

    let mut wrong = Vec::new();
    for (kind, token, _) in &loggers {
        let fate = match (signs, maker, kind.refused) {
            (false, ..) => kind.relayed,
            (true, Ours, None) => Fate::Accepted,
            (true, Ours, Some(_)) => Fate::Refused,
            // It spoils the signature that was there.
            (true, Theirs, _) if kind.configuration == "unsigned" => Fate::Accepted,
            (true, Theirs, _) => Fate::Refused,
        };
        for (name, tail) in &tails {
            let expected = match fate {
                Fate::Accepted => true,
                Fate::Refused => false,
                Fate::New => *name == "our tail",
            };
            // The peer's quote what they refuse.
            let shows = |line: &str| {
                let quoted = [format!("\"{token}\""), format!("'{token}'")];
                let is_there = quoted.iter().any(|token| line.contains(token));
                is_there && !line.contains("has an invalid signature")
            };
            if tail.said().lines().any(shows) {
                if !expected {
                    wrong.push(format!("{name} accepts {token}"));
                }
            } else if expected {
                wrong.push(format!("{name} refuses {token}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_status_is_read_by_their_check_and_ours() {
    alone("a_status_is_read_by_their_check_and_ours", || {
        for maker in [Ours, Theirs] {
            let site = site();
            let _relay = start_relay(&site, maker, "relay", "unsigned");
            for checker in [Ours, Theirs] {
                for (consumer, there) in [("RelayConsumer", true), ("GatewayConsumer", false)] {
                    let mut check = site.command(checker, "check", "unsigned");
                    let output = check.args(["--consumer", consumer]).output().unwrap();
                    let who = format!("{checker:?} of {maker:?}: {output:?}");
                    assert_eq!(output.status.code(), Some(i32::from(!there)), "{who}");
                }
            }
        }
    });
}

#[test]
fn what_is_no_message_does_not_end_their_tail_behind_our_relays() {
    alone(
        "what_is_no_message_does_not_end_their_tail_behind_our_relays",
        || {
            let deep = [b"{\"msg\":", &[b'['; 100_000][..], &[b']'; 100_000], b"}"].concat();
            let long = [b"{\"msg\":", &[b'1'; 4301][..], b"}"].concat();
            let no_messages: [&[&[u8]]; 8] = [
                &[b"org.example"],
                &[b"org.example", b"{}", b"{}"],
                &[b"org.\xff", b"{}"],
                &[b"org.example", b""],
                &[b"org.example", b"no JSON"],
                &[b"org.example", b"\xef\xbb\xbf{}"],
                &[b"org.example", &deep],
                &[b"org.example", &long],
            ];
            let not_valid: [&[&[u8]]; 4] = [
                &[b"org.example", b"null"],
                &[b"org.example", br#"{"crypto": [], "topic": "org.example"}"#],
                &[
                    b"org.example",
                    br#"{"crypto": "x509", "certificate": "!", "signature": "!"}"#,
                ],
                &[
                    b"org.example",
                    br#"{"crypto": "x509", "certificate": "AA==", "signature": "AA=="}"#,
                ],
            ];
            // The second validates, which the relay before it does not.
            for (relay, tail) in [("relay", "unvalidated"), ("signing-relay", "signed")] {
                let site = site();
                let _relay = start_relay(&site, Ours, relay, "devices");
                let mut tail = Program::start(&mut site.command(Theirs, "tail", tail));
                let mut logger = Program::start(&mut site.command(Ours, "logger", "unsigned"));
                tail.until("the tail hears", |tail| {
                    logger.tell("knock");
                    thread::sleep(Duration::from_millis(50));
                    tail.has_said("knock")
                });
                let publisher = Native.publisher(&Options::default()).unwrap();
                publisher.connect(&INBOUND.parse().unwrap()).unwrap();
                assert!(publisher.wait_for_subscriber(PATIENCE).unwrap());
                for frames in [&no_messages[..], &not_valid].concat() {
                    let mut wire = Vec::new();
                    encode_frames(frames, &mut wire);
                    let message = Message {
                        frames: zmtp::Message::from_wire(&wire).unwrap(),
                        endpoint: &INBOUND.parse().unwrap(),
                    };
                    publisher.forward(&message).unwrap();
                }
                publisher.close().unwrap();
                logger.tell("after all that");
                tail.hear("after all that");
            }
        },
    );
}

#[test]
fn gateways_hand_on_what_the_relay_hands_on() {
    alone("gateways_hand_on_what_the_relay_hands_on", || {
        for maker in [Ours, Theirs] {
            let site = site();
            let outside = json!({"endpoints": {"gateway": ["tcp://127.0.0.2:9940"]}});
            site.configure("outside", &outside, true);
            let _relay = start_relay(&site, Ours, "relay", "unsigned");
            // One status socket for both is one too many.
            let elsewhere = json!({"moksha.monitoring.socket": null});
            site.configure("gateway", &elsewhere, true);
            let mut gateway = Program::start(&mut site.command(maker, "gateway", "gateway"));
            gateway.until("it binds", |_| TcpStream::connect("127.0.0.1:9940").is_ok());
            let mut logger = Program::start(&mut site.command(Ours, "logger", "signed"));
            for tails in [Ours, Theirs] {
                let tail = Program::start(&mut site.command(tails, "tail", "outside"));
                let line = format!("to {tails:?}");
                knock(&mut logger, &line, || tail.has_said(&line));
            }
        }
    });
}

/// Has a logger say a line until it is heard: ever more seldom, for the peer's signing relay takes
/// some 30 a second.
#[track_caller]
fn knock(logger: &mut Program, line: &str, mut heard: impl FnMut() -> bool) {
    let mut pause = Duration::from_millis(50);
    let mut last = Instant::now();
    logger.tell(line);
    eventually(line, || {
        if last.elapsed() > pause {
            logger.tell(line);
            last = Instant::now();
            pause *= 2;
        }
        heard()
    });
}

fn tails(site: &Site) -> BTreeMap<&'static str, Program> {
    let mut library = Command::new(python::fedmsg());
    library.args(["-W", "ignore", "-c", include_str!("../py/fedmsg_tail.py")]);
    site.at(&mut library, "signed");
    let commands = [
        ("our tail", site.command(Ours, "tail", "devices")),
        ("their tail", site.command(Theirs, "tail", "signed")),
        ("their library", library),
    ];
    let started = commands.map(|(name, mut command)| (name, Program::start(&mut command)));
    started.into()
}

/// A site with a CA, senders of both kinds, one that is revoked, and a policy.
fn site() -> Site {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim().split('.').next().unwrap();
    let site = Site::new(|dir| {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let ca = Ca::init(&dir.join("pki"), "test CA", KeyKind::P256, 10, now).unwrap();
        for name in ["shell", "keeper", "revoked", "relay"] {
            ca.issue(name, Some(KeyKind::Rsa2048), None, now).unwrap();
        }
        ca.issue("device", None, None, now).unwrap();
        ca.revoke("revoked", now).unwrap();
        let mut certnames = json!({"signing_relay": "relay"});
        for name in ["shell", "keeper", "revoked", "device"] {
            certnames[format!("{name}.{host}")] = json!(name);
        }
        json!({
            "endpoints": {"relay_outbound": [OUTBOUND]},
            "relay_inbound": INBOUND,
            "topic_prefix": "org.example",
            "sign_messages": true,
            "validate_signatures": true,
            "crypto_backend": "x509",
            "crypto_validate_backends": ["x509"],
            "ssldir": dir.join("pki"),
            "ca_cert_location": dir.join("pki/ca.crt"),
            "crl_location": dir.join("pki/crl.pem"),
            "certnames": certnames,
            "routing_policy": {"org.example.dev.logger.secret": ["keeper", "relay"]},
            "routing_nitpicky": false,
            "zmq_enabled": true,
            "post_init_sleep": 0,
            "fedmsg.consumers.gateway.port": 9940,
            "fedmsg.consumers.gateway.high_water_mark": 1000,
            "moksha.monitoring.socket": format!("ipc://{}", dir.join("status").display()),
            "moksha.monitoring.socket.mode": "770",
        })
    });
    site.configure("signed", &json!({}), true);
    site.configure("unsigned", &json!({"sign_messages": false}), true);
    site.configure("unvalidated", &json!({"validate_signatures": false}), true);
    // What the peer does not know.
    let backends = json!({"crypto_validate_backends": ["x509", "x509-p256"]});
    site.configure("devices", &backends, true);
    site.configure("device", &json!({"crypto_backend": "x509-p256"}), false);
    site
}

fn start_relay(site: &Site, maker: Maker, relay: &str, configuration: &str) -> Program {
    let mut program = Program::start(&mut site.command(maker, relay, configuration));
    for endpoint in [INBOUND, OUTBOUND] {
        let address = endpoint.strip_prefix("tcp://").unwrap();
        program.until(endpoint, |_| TcpStream::connect(address).is_ok());
    }
    program
}

/// Where the relay tells how it is.
fn status(site: &Site) -> impl Subscriber + use<> {
    let mut status = Native.subscriber(&Options::default()).unwrap();
    status.subscribe(b"").unwrap();
    status
        .connect(&Endpoint::ipc(site.dir().join("status")))
        .unwrap();
    status
}

fn next_status(status: &mut impl Subscriber) -> Value {
    let message = status.recv(PATIENCE).unwrap().expect("a status");
    let frames: Vec<_> = message.frames.frames().collect();
    assert_eq!(frames.len(), 1);
    serde_json::from_slice(frames[0]).unwrap()
}

/// Hears all that is published at an endpoint, whatever it is.
struct Ear(Arc<Mutex<BTreeSet<String>>>);

impl Ear {
    fn listen(endpoint: &str) -> Self {
        let mut subscriber = Native.subscriber(&Options::default()).unwrap();
        subscriber.subscribe(b"").unwrap();
        subscriber.connect(&endpoint.parse().unwrap()).unwrap();
        let heard = Arc::<Mutex<BTreeSet<String>>>::default();
        let hears = Arc::downgrade(&heard);
        thread::spawn(move || {
            while let Some(heard) = hears.upgrade() {
                if let Some(message) = subscriber.recv(Duration::from_millis(20)).unwrap() {
                    let (_, body) = message.topic_and_body().expect("two frames");
                    let body: Value = serde_json::from_slice(body).expect("JSON");
                    let line = body["msg"]["log"].as_str().expect("a logger's message");
                    heard.lock().unwrap().insert(line.to_owned());
                }
            }
        });
        Self(heard)
    }

    fn heard(&self, line: &str) -> bool {
        self.0.lock().unwrap().contains(line)
    }
}
