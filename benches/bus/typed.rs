//! The bus from end to end: typed values published, and read by a tail of another process, each
//! into the same type or into a JSON value.

use fedmsg::{
    Context, Settings,
    transport::{Options, WhenFull},
};
use fedmsg_bench_worker::{Job, Orders, now, report, wait_for_end};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct Tag<'t> {
    name: &'t str,
    number: u64,
    user: &'t str,
}

const MODNAME: &str = "tagger";
const TOPIC: &str = "tag.update";
/// The user of the last message.
const LAST: &str = "last";

pub(crate) fn publish(job: &Job) {
    let settings = Settings {
        name: Some("tagger.here".into()),
        post_init_sleep: Duration::ZERO,
        transport: Options {
            when_full: WhenFull::Block,
            ..Options::default()
        },
        ..Settings::default()
    };
    let settings = settings.with_endpoints("tagger.here", ["tcp://127.0.0.1:0"]);
    let context = Context::new(settings.expect("endpoints")).expect("a context");
    let endpoint = context.endpoint().expect("what was bound");
    report(&json!({ "endpoint": endpoint.to_string() }));
    let orders = Orders::read();
    let patience = Duration::from_secs(10);
    let subscribed = context.wait_for_subscriber(patience).expect("a socket");
    assert!(subscribed, "the tail did not connect");
    orders.wait_to_go();
    let start = now();
    let mut number = 0;
    let mut publish = |user| {
        let name = "network";
        number += 1;
        let tag = Tag { name, number, user };
        let published = context.publish(MODNAME, TOPIC, &tag);
        published.expect("room for it");
        number
    };
    while now() - start < job.millis * 1_000_000 {
        for _ in 0..64 {
            publish("amara");
        }
    }
    let messages = publish(LAST);
    report(&json!({ "messages": messages, "start": start }));
    wait_for_end();
}

pub(crate) fn subscribe(job: &Job) {
    let settings = Settings::default().with_endpoints("tagger.here", [&job.endpoint]);
    let context = Context::new(settings.expect("endpoints")).expect("a context");
    let mut tail = context.tail("com.example.").expect("a tail");
    let _orders = Orders::read();
    report(&json!({ "connected": true }));
    let (mut received, mut size) = (0, 0);
    let mut is_last = |number, user: &str| {
        received += 1;
        assert_eq!(number, received, "lost or out of order");
        user == LAST
    };
    if job.contender == "typed" {
        loop {
            let taken = tail.recv_with(None, |message| {
                size = message.body.len();
                let tag: Tag<'_> = message.parse().expect("a tag").msg;
                is_last(tag.number, tag.user)
            });
            if taken.expect("an open socket") == Some(true) {
                break;
            }
        }
    } else {
        for message in tail {
            let message = message.expect("an open socket");
            size = message.body.len();
            let content: Value = serde_json::from_slice(&message.body).expect("JSON");
            let tag = &content["msg"];
            let number = tag["number"].as_u64().expect("a number");
            if is_last(number, tag["user"].as_str().expect("a user")) {
                break;
            }
        }
    }
    report(&json!({ "ended": { "end": now(), "messages": received, "size": size } }));
    wait_for_end();
}
