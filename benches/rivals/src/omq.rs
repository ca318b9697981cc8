//! omq-tokio in the two ways that were found best: a blocking socket over one I/O thread, and
//! async sockets on a runtime of two workers.

use fedmsg_bench_worker::{Job, Sink, Sinks, Source};
use omq_tokio::{
    Context, ContextConfig, Error, Message, Options, Socket, SocketType, TrySendError, blocking,
    message::{MessagePool, Payload},
};
use std::{
    sync::Arc,
    task::{Wake, Waker},
    thread,
};
use tokio::runtime::{Builder, Runtime};

/// Messages taken from one socket before the next one's turn.
const TURN: usize = 256;

fn publisher_options(job: &Job) -> Options {
    let options = Options {
        xpub_nodrop: job.lossless,
        ..Options::default()
    };
    match job.high_water_mark {
        0 => options,
        n => options.send_hwm(n.try_into().expect("a mark that fits")),
    }
}

fn subscriber_options() -> Options {
    Options::default().recv_message_pool(MessagePool::new(4096, 2))
}

/// Builds messages of two frames; a body's number changes, so it is copied.
struct Messages(MessagePool);

impl Messages {
    fn new() -> Self {
        Self(MessagePool::new(4096, 2))
    }

    fn of(&self, topic: &[u8], body: &[u8]) -> Message {
        self.0
            .multipart_payloads([topic, body].map(Payload::from_slice))
    }
}

fn take(sink: &mut Sink, message: &Message) -> bool {
    assert_eq!(message.len(), 2);
    let frames = message.part_slice(0).zip(message.part_slice(1));
    let (topic, body) = frames.expect("two frames");
    sink.take(topic, body)
}

pub fn publish(job: &Job) {
    let context = Context::with_config(ContextConfig { io_threads: 1 });
    let socket = context.blocking_socket(SocketType::Pub, publisher_options(job));
    let endpoint = socket.bind("tcp://127.0.0.1:0").expect("a port");
    let messages = Messages::new();
    let mut source = Source::new(job, &endpoint.to_string(), Arc::default());
    while let Some((topic, body)) = source.next() {
        match socket.try_send(messages.of(topic, body)) {
            Ok(()) => {}
            Err(TrySendError::Full(message)) => socket.send(message).expect("an open socket"),
            Err(error) => panic!("{error}"),
        }
    }
    source.wait_for_end();
}

pub fn subscribe(job: &Job) {
    let (sinks, each) = Sinks::new(job);
    let context = Context::with_config(ContextConfig { io_threads: 1 });
    let sockets = Vec::from_iter(each.into_iter().map(|sink| {
        let socket = context.blocking_socket(SocketType::Sub, subscriber_options());
        socket.subscribe("").expect("an open socket");
        socket.connect(job.endpoint.as_str()).expect("an endpoint");
        (socket, sink)
    }));
    thread::spawn(move || read(sockets));
    sinks.watch();
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn read(mut sockets: Vec<(blocking::Socket, Sink)>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut batch = Vec::new();
    if let [(socket, sink)] = sockets.as_mut_slice() {
        loop {
            socket.recv_many_into(TURN, &mut batch).expect("a message");
            for message in batch.drain(..) {
                take(sink, &message);
            }
        }
    }
    let mut turn = |sockets: &mut [(blocking::Socket, Sink)]| {
        let mut received = false;
        for (socket, sink) in sockets {
            match socket.try_recv_many_into(TURN, &mut batch) {
                Ok(_) | Err(Error::WouldBlock) => {}
                Err(error) => panic!("{error}"),
            }
            for message in batch.drain(..) {
                received = true;
                take(sink, &message);
            }
        }
        received
    };
    loop {
        if turn(&mut sockets) {
            continue;
        }
        // What comes between the last look and the sleep ends the sleep.
        let sockets_wake = Vec::from_iter(
            sockets
                .iter()
                .map(|(socket, _)| socket.register_recv_waker(waker.clone())),
        );
        if !turn(&mut sockets) {
            thread::park();
        }
        drop(sockets_wake);
    }
}

fn two_workers() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    runtime.expect("a runtime")
}

pub fn publish_async(job: &Job) {
    // From this thread, which is none of the workers, as it may sleep until a message is due.
    two_workers().block_on(async {
        let socket = Socket::new(SocketType::Pub, publisher_options(job));
        let endpoint = socket.bind("tcp://127.0.0.1:0").await.expect("a port");
        let messages = Messages::new();
        let mut source = Source::new(job, &endpoint.to_string(), Arc::default());
        while let Some((topic, body)) = source.next() {
            let sent = socket.send(messages.of(topic, body)).await;
            sent.expect("an open socket");
        }
        source.wait_for_end();
    });
}

pub fn subscribe_async(job: &Job) {
    let (sinks, each) = Sinks::new(job);
    let runtime = two_workers();
    for mut sink in each {
        let endpoint = job.endpoint.clone();
        runtime.spawn(async move {
            let socket = Socket::new(SocketType::Sub, subscriber_options());
            socket.subscribe("").await.expect("an open socket");
            let connected = socket.connect(endpoint.as_str()).await;
            connected.expect("an endpoint");
            let mut batch = Vec::new();
            loop {
                let received = socket.recv_many_into(TURN, &mut batch).await;
                received.expect("a message");
                for message in batch.drain(..) {
                    take(&mut sink, &message);
                }
            }
        });
    }
    sinks.watch();
}
