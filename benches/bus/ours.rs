//! The native transport.

use fedmsg::transport::{
    Endpoint, Monitor, Notice, Options, Publisher, Subscriber, Transport, WhenFull, native::Native,
};
use fedmsg_bench_worker::{Job, Sinks, Source, wait_for_end};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// Best for throughput: what is under way stays in the processor's caches, and each turn has enough
/// to do.
const HIGH_WATER_MARK: usize = 2000;

pub(crate) fn publish(job: &Job) {
    let dropped = Arc::<AtomicU64>::default();
    let count = Arc::clone(&dropped);
    let options = Options {
        high_water_mark: match job.high_water_mark {
            0 => HIGH_WATER_MARK,
            n => n,
        },
        when_full: if job.lossless {
            WhenFull::Block
        } else {
            WhenFull::default()
        },
        monitor: Some(Monitor(Arc::new(move |notice| {
            if let Notice::Dropped { messages, .. } = notice {
                count.fetch_add(messages, Relaxed);
            }
        }))),
        ..Options::default()
    };
    let publisher = Native.publisher(&options).expect("a publisher");
    let endpoint = publisher
        .bind(&Endpoint::tcp("127.0.0.1", 0))
        .expect("a port");
    let mut source = Source::new(job, &endpoint.to_string(), dropped);
    while let Some((topic, body)) = source.next() {
        publisher.send(topic, &[body]).expect("room for it");
    }
    source.wait_for_end();
}

pub(crate) fn subscribe(job: &Job) {
    let (sinks, each) = Sinks::new(job);
    for mut sink in each {
        let endpoint: Endpoint = job.endpoint.parse().expect("an endpoint");
        let mut subscriber = Native
            .subscriber(&Options::default())
            .expect("a subscriber");
        subscriber.subscribe(b"").expect("an open socket");
        subscriber.connect(&endpoint).expect("an open socket");
        thread::spawn(move || {
            loop {
                let message = subscriber
                    .recv(Duration::from_secs(3600))
                    .expect("an open socket");
                let message = message.expect("a message within an hour");
                let (topic, body) = message.topic_and_body().expect("two frames");
                if !sink.take(topic, body) {
                    wait_for_end();
                }
            }
        });
    }
    sinks.watch();
}
