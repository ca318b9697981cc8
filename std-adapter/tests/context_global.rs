//! The process's one context. One test, for it has the process to itself.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{thread, time::Duration};

use fedmsg::{
    Settings,
    bus::Error,
    transport::{Endpoint, Options, Publisher, Subscriber, Transport, native::Native},
};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn the_convenience_functions_share_one_context_until_it_is_destroyed() {
    // Somebody who speaks first, for there is nothing to tail before.
    let raw = Native.publisher(&Options::default()).unwrap();
    let others = raw.bind(&Endpoint::tcp("127.0.0.1", 0)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let own = format!("ipc://{}", dir.path().join("own").display());
    let settings = || {
        Settings {
            name: Some("tagger".into()),
            post_init_sleep: Duration::ZERO,
            ..Settings::default()
        }
        .with_endpoints("tagger", [&own])
        .unwrap()
        .with_endpoints("others", [others.to_string()])
        .unwrap()
    };
    let context = fedmsg::init(settings()).unwrap();
    assert!(matches!(
        fedmsg::init(settings()),
        Err(Error::AlreadyInitialized)
    ));

    let mut subscriber = Native.subscriber(&Options::default()).unwrap();
    subscriber.subscribe(b"").unwrap();
    subscriber.connect(&context.endpoint().unwrap()).unwrap();
    assert!(context.wait_for_subscriber(PATIENCE).unwrap());
    let topic = "tag.update";
    fedmsg::publish!(topic, "one").unwrap();
    // From any thread, in the same order.
    let other = thread::spawn(|| fedmsg::publish!("x", &[2], modname = "other"));
    other.join().unwrap().unwrap();
    fedmsg::publish!(context, "x", "three").unwrap();
    fedmsg::publish!(&context, "x", "four", modname = "other").unwrap();
    for (topic, i) in [
        ("com.example.dev.context_global.tag.update", 1),
        ("com.example.dev.other.x", 2),
        ("com.example.dev.context_global.x", 3),
        ("com.example.dev.other.x", 4),
    ] {
        let message = subscriber.recv(PATIENCE).unwrap().unwrap();
        let (frame, body) = message.topic_and_body().unwrap();
        assert_eq!(str::from_utf8(frame), Ok(topic));
        let start = format!("{{\"i\":{i},\"msg\":");
        assert!(body.starts_with(start.as_bytes()));
    }

    let speaking = thread::spawn(move || {
        assert!(raw.wait_for_subscriber(PATIENCE).unwrap());
        let body = br#"{"msg":"hello","topic":"org.example.x"}"#;
        raw.send(b"org.example.x", &[body]).unwrap();
        raw.close().unwrap();
    });
    let message = fedmsg::tail().next().unwrap().unwrap();
    assert_eq!(message.source.name, "others");
    assert_eq!(message.msg::<&str>().unwrap(), "hello");
    speaking.join().unwrap();

    fedmsg::destroy().unwrap();
    fedmsg::destroy().unwrap();
    assert!(matches!(
        fedmsg::publish!("tag.update", "x"),
        Err(Error::Closed)
    ));
    let error = fedmsg::tail().next().unwrap();
    assert!(matches!(error, Err(Error::Closed)));
    assert!(matches!(
        context.publish("tagger", "x", "x"),
        Err(Error::Closed)
    ));

    fedmsg::init(settings()).unwrap();
    fedmsg::publish!("tag.update", "x").unwrap();
    fedmsg::destroy().unwrap();
}
