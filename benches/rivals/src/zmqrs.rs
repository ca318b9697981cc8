//! The crate `zeromq` (zmq.rs). It drops beyond 100,000 messages and has no other way, so the
//! harness acknowledges to its publisher.

use bytes::Bytes;
use fedmsg_bench_worker::{Job, Sinks, Source, TOPIC};
use std::sync::Arc;
use tokio::runtime::Runtime;
use zeromq::{PubSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

pub fn publish(job: &Job) {
    // From this thread, which is none of the workers, as it may sleep until a message is due.
    Runtime::new().expect("a runtime").block_on(async {
        let mut socket = PubSocket::new();
        let endpoint = socket.bind("tcp://127.0.0.1:0").await.expect("a port");
        let mut source = Source::new(job, &endpoint.to_string(), Arc::default());
        while let Some((_, body)) = source.next() {
            let mut message = ZmqMessage::from(Bytes::from_static(TOPIC));
            message.push_back(Bytes::copy_from_slice(body));
            socket.send(message).await.expect("an open socket");
        }
        source.wait_for_end();
    });
}

pub fn subscribe(job: &Job) {
    let (sinks, each) = Sinks::new(job);
    let runtime = Runtime::new().expect("a runtime");
    for mut sink in each {
        let endpoint = job.endpoint.clone();
        runtime.spawn(async move {
            let mut socket = SubSocket::new();
            socket.connect(&endpoint).await.expect("an endpoint");
            socket.subscribe("").await.expect("an open socket");
            loop {
                let message = socket.recv().await.expect("a message");
                let frames = message.get(0).zip(message.get(1));
                let (topic, body) = frames.expect("two frames");
                sink.take(topic, body);
            }
        });
    }
    sinks.watch();
}
