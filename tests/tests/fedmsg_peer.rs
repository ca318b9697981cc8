//! The bus against Python fedmsg 1.1.7, both ways, unsigned and signed.
//!
//! A Python publisher binds every address of its machine, and so may ours. So these tests run in a network namespace
//! that has a loopback interface only.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use fedmsg::{
    bus::{Context, Refused, Settings, Verdict},
    crypto::{FileSigner, KeyKind, Trust, ca::Ca},
    transport::{Endpoint, Options},
};
use fedmsg_tests::{
    PATIENCE, eventually,
    namespace::alone,
    python::{Script, fedmsg},
};
use serde_json::{Value, json};

#[test]
fn what_we_publish_is_what_the_peer_tails() {
    alone("what_we_publish_is_what_the_peer_tails", || {
        let context = Context::new(ours(Some("rust.host"))).unwrap();
        assert_received_by_the_peer(&context, json!({}));
    });
}

#[test]
fn what_we_sign_the_peer_validates() {
    alone("what_we_sign_the_peer_validates", || {
        let ca = certificates();
        let context = Context::new(Settings {
            signer: Some(Arc::new(FileSigner::load(ca.path(), "shell-host").unwrap())),
            ..ours(Some("rust.host"))
        });
        let validating = json!({
            "validate_signatures": true,
            "crypto_validate_backends": ["x509"],
            "ca_cert_location": ca.path().join("ca.crt"),
            "crl_location": ca.path().join("crl.pem"),
        });
        assert_received_by_the_peer(&context.unwrap(), validating);
    });
}

/// The peer tails every message that we publish, as we published it.
fn assert_received_by_the_peer(context: &Context, validating: Value) {
    let mut config = theirs(None);
    merge(&mut config, validating);
    let mut peer = peer(&config);
    // It subscribes at its first request; until then it hears nothing.
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| peer.ask(&json!(["next", "com.example.dev.git."]), &[]));
        assert!(context.wait_for_subscriber(PATIENCE).unwrap());
        context.publish("other", "receive", &0).unwrap();
        publish_all(context);
        asked.join().unwrap()
    });
    let mut answers = vec![asked.unwrap()];
    while answers.len() < messages().len() {
        answers.push(
            peer.ask(&json!(["next", "com.example.dev.git."]), &[])
                .unwrap(),
        );
    }
    for (n, (answer, msg)) in answers.iter().zip(messages()).enumerate() {
        let got = &answer.line;
        assert_eq!(got["name"], "rust.host");
        assert_eq!(got["endpoint"], RUST);
        assert_eq!(got["topic"], "com.example.dev.git.receive");
        let message = &got["message"];
        assert_eq!(message["msg"], msg);
        assert_eq!(message["topic"], got["topic"]);
        assert_eq!(message["i"], n + 2);
        assert_eq!(message["username"], "amara");
        assert!(message["timestamp"].is_u64());
        assert_eq!(message["msg_id"].as_str().unwrap().len(), 41);
    }
    peer.kill();
}

fn publish_all(context: &Context) {
    for msg in messages() {
        context.publish("git", "receive", &msg).unwrap();
    }
}

#[test]
fn what_the_peer_publishes_is_what_we_tail() {
    alone("what_the_peer_publishes_is_what_we_tail", || {
        let mut config = theirs(Some("python.host"));
        config["post_init_sleep"] = json!(0);
        let mut peer = peer(&config);
        let mut tail = Context::new(ours(None)).unwrap().tail("").unwrap();
        // A publisher of libzmq's does not tell when it has a subscriber.
        eventually("the tail hears the peer", || {
            peer.ask(&json!(["publish", "ready", "test", {}]), &[])
                .unwrap();
            let heard = tail.recv(Some(Duration::from_millis(20))).unwrap();
            heard.is_some()
        });
        for msg in messages() {
            peer.ask(&json!(["publish", "receive", "git", msg]), &[])
                .unwrap();
        }
        let mut expected = messages().into_iter();
        let mut last = None;
        while expected.len() > 0 {
            let message = tail.recv(Some(PATIENCE)).unwrap().expect("a message");
            let content = message.parse::<Value>().unwrap();
            assert!(content.i > last);
            last = content.i;
            if message.topic == "com.example.dev.test.ready" {
                continue;
            }
            assert_eq!(message.source.name, "python.host");
            assert_eq!(message.source.endpoint.to_string(), PYTHON);
            assert_eq!(message.topic, "com.example.dev.git.receive");
            assert_eq!(Some(content.msg), expected.next());
            assert!(content.username.is_some() && content.timestamp.is_some());
            assert_eq!(content.msg_id.unwrap().len(), 41);
        }
        assert_eq!(tail.skipped(), 0);
        peer.kill();
    });
}

#[test]
fn what_the_peer_signs_and_sends_to_a_relay_we_validate() {
    alone(
        "what_the_peer_signs_and_sends_to_a_relay_we_validate",
        || {
            let ca = certificates();
            let trust = Trust::load(&ca.path().join("ca.crt"), Some(&ca.path().join("crl.pem")));
            // The peer connects, and we bind, as a relay does.
            let settings = Settings {
                endpoints: BTreeMap::from([("relay".to_owned(), vec![RUST.parse().unwrap()])]),
                validator: Some(Arc::new(trust.unwrap())),
                refused: Refused::HandOn,
                ..Settings::default()
            };
            let options = fedmsg::bus::TailOptions {
                passive: true,
                ..Default::default()
            };
            let mut tail = Context::new(settings).unwrap().tail(options).unwrap();

            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
            let host = host.trim().split('.').next().unwrap();
            let mut config = theirs(None);
            let signing = json!({
                "active": true,
                "mute": false,
                "relay_inbound": RUST,
                "sign_messages": true,
                "crypto_backend": "x509",
                "ssldir": ca.path(),
                "certnames": {format!("shell.{host}"): "shell-host"},
            });
            merge(&mut config, signing);
            config.as_object_mut().unwrap().remove("name");
            let mut peer = peer(&config);
            eventually("the tail hears the peer", || {
                peer.ask(&json!(["publish", "receive", "git", {"x": "\u{fc}"}]), &[])
                    .unwrap();
                let Some(message) = tail.recv(Some(Duration::from_millis(20))).unwrap() else {
                    return false;
                };
                let signer = "shell-host".to_owned();
                assert_eq!(message.verdict, Verdict::Valid { signer });
                assert_eq!(message.msg::<Value>().unwrap(), json!({"x": "\u{fc}"}));
                true
            });
            peer.kill();
        },
    );
}

#[test]
fn an_endpoint_with_a_hosts_name_is_bound_on_every_address() {
    alone(
        "an_endpoint_with_a_hosts_name_is_bound_on_every_address",
        || {
            let settings = ours(Some("rust.host"));
            let settings = settings.with_endpoints("rust.host", ["tcp://host.invalid:3003"]);
            let context = Context::new(settings.unwrap()).unwrap();
            for address in ["127.0.0.1", "[::1]", "localhost"] {
                let settings =
                    ours(None).with_endpoints("python.host", [format!("tcp://{address}:3003")]);
                let mut tail = Context::new(settings.unwrap()).unwrap().tail("").unwrap();
                assert!(context.wait_for_subscriber(PATIENCE).unwrap(), "{address}");
                context.publish("git", "receive", address).unwrap();
                let message = tail.recv(Some(PATIENCE)).unwrap().expect("a message");
                assert_eq!(message.msg::<&str>().unwrap(), address);
                drop(tail);
                eventually("the tail is gone", || {
                    !context.wait_for_subscriber(Duration::ZERO).unwrap()
                });
            }
        },
    );
}

/// What the two publishers bind.
const RUST: &str = "tcp://127.0.0.1:3001";
const PYTHON: &str = "tcp://127.0.0.1:3002";

fn ours(name: Option<&str>) -> Settings {
    let settings = Settings {
        name: name.map(str::to_owned),
        post_init_sleep: Duration::ZERO,
        username: Some("amara".to_owned()),
        transport: Options {
            linger: PATIENCE,
            ..Options::default()
        },
        ..Settings::default()
    };
    let entry = if name.is_some() {
        ("rust.host", RUST)
    } else {
        ("python.host", PYTHON)
    };
    let endpoint: Endpoint = entry.1.parse().unwrap();
    Settings {
        endpoints: BTreeMap::from([(entry.0.to_owned(), vec![endpoint])]),
        ..settings
    }
}

fn theirs(name: Option<&str>) -> Value {
    let endpoints = match name {
        Some(name) => json!({name: [PYTHON]}),
        None => json!({"rust.host": [RUST]}),
    };
    json!({"endpoints": endpoints, "name": name.unwrap_or("nobody"), "mute": name.is_none()})
}

fn merge(config: &mut Value, more: Value) {
    let Value::Object(more) = more else {
        panic!("no object");
    };
    config.as_object_mut().unwrap().extend(more);
}

/// What JSON holds, and what its writers write differently.
fn messages() -> Vec<Value> {
    vec![
        json!({"b": 1, "a": {"d": [], "c": {}}}),
        json!({"text": "caf\u{e9} \u{1f600} \u{7f} / \\ \" \n\u{1}", "null": null, "yes": true}),
        json!({"numbers": [0, -1, 18_446_744_073_709_551_615_u64, 1.0, 1e16, 1e-5, 5e-324, -0.0]}),
        json!(["a list", ["in", "a", "list"]]),
        json!("x".repeat(100_000)),
    ]
}

/// A CA with an RSA certificate, the kind that the peer knows.
fn certificates() -> tempfile::TempDir {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::init(dir.path(), "test CA", KeyKind::Rsa2048, 10, now).unwrap();
    ca.issue("shell-host", None, None, now).unwrap();
    dir
}

fn peer(config: &Value) -> Script {
    let script = include_str!("../py/fedmsg_peer.py");
    Script::start(&fedmsg(), script, &[&config.to_string()])
}
