//! Framing and reading messages of two frames (a topic of 31 bytes, a body), beside mzmq and
//! omq-proto.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fedmsg_core::zmtp::{
    Event, Greeting, Limits, Peer, Prefixes, SocketType, encode_message, message_headers,
};
use omq_proto::frame_buffer::FrameBuffer;
use omq_proto::proto::{Connection, ConnectionConfig, Role};
use std::hint::black_box;

const TOPIC: &[u8] = b"org.example.dev.logger.log.abcd";
const PREFIX: &[u8] = b"org.example.dev.";
/// What one read from a socket brings.
const PIECE: usize = 64 * 1024;

fn bodies() -> [(&'static str, Vec<u8>); 2] {
    assert_eq!(TOPIC.len(), 31);
    [("200 B", vec![b'x'; 200]), ("2 KiB", vec![b'x'; 2048])]
}

/// The greeting and READY of a peer of this type.
fn handshake(ready: &[u8]) -> Vec<u8> {
    [&Greeting::OURS.encode(), &[4, ready.len() as u8][..], ready].concat()
}

const READY_SUB: &[u8] = b"\x05READY\x0bSocket-Type\0\0\0\x03SUB";
const READY_PUB: &[u8] = b"\x05READY\x0bSocket-Type\0\0\0\x03PUB";

fn mzmq() -> mzmq::connection::Connection<8, 32, 1024> {
    let mut connection = mzmq::connection::Connection::new();
    let mut out = [0; 64];
    connection.write_greeting(&mut out).unwrap();
    let mut input = handshake(READY_SUB);
    input.extend(b"\x04\x1a\x09SUBSCRIBE");
    input.extend(PREFIX);
    let mut input = &input[..];
    while !input.is_empty() {
        let n = connection.feed(input).unwrap();
        input = &input[n..];
        let _ = connection.write_ready(&mut out);
    }
    let n = connection.publish(TOPIC, b"{}", &mut out).unwrap();
    assert_eq!(n, 37);
    connection
}

/// As a publisher: is the topic subscribed to, and the message's bytes in one buffer.
fn publish(c: &mut Criterion) {
    for (name, body) in bodies() {
        let mut group = c.benchmark_group(format!("publish into a buffer, {name}"));
        let mut out = vec![0; 4096];
        let mut prefixes = Prefixes::<256>::new();
        prefixes.insert(PREFIX).unwrap();
        group.bench_function("fedmsg", |b| {
            b.iter(|| {
                let (topic, body) = black_box((TOPIC, &body[..]));
                let wanted = black_box(&prefixes).matches(topic);
                let n = if wanted {
                    encode_message(topic, body, &mut out).unwrap()
                } else {
                    0
                };
                black_box(&mut out);
                n
            });
        });
        let mut connection = mzmq();
        group.bench_function("mzmq", |b| {
            b.iter(|| {
                let (topic, body) = black_box((TOPIC, &body[..]));
                let n = connection.publish(topic, body, &mut out).unwrap();
                black_box(&mut out);
                n
            });
        });
        group.finish();
    }
}

/// The bytes of a message, whoever wants it.
fn encode(c: &mut Criterion) {
    for (name, body) in bodies() {
        let mut group = c.benchmark_group(format!("encode, {name}"));
        let mut out = vec![0; 4096];
        group.bench_function("fedmsg", |b| {
            b.iter(|| {
                let (topic, body) = black_box((TOPIC, &body[..]));
                let n = encode_message(topic, body, &mut out).unwrap();
                black_box(&mut out);
                n
            });
        });
        let ready = omq_proto::Message::multipart([TOPIC.to_vec(), body.clone()]);
        let mut frames = FrameBuffer::new();
        group.bench_function("omq-proto, message ready", |b| {
            b.iter(|| {
                frames.frame_inline(black_box(&ready));
                black_box(frames.arena_bytes());
                frames.clear_arena();
            });
        });
        group.bench_function("omq-proto, with building it", |b| {
            b.iter(|| {
                let (topic, body) = black_box((TOPIC, &body[..]));
                let message = omq_proto::Message::multipart([topic.to_vec(), body.to_vec()]);
                frames.frame_inline(&message);
                black_box(frames.arena_bytes());
                frames.clear_arena();
            });
        });
        group.finish();
    }
}

/// The headers alone, for a gathered write.
fn headers(c: &mut Criterion) {
    let mut group = c.benchmark_group("headers");
    let body = vec![b'x'; 2048];
    let mut prefixes = Prefixes::<256>::new();
    prefixes.insert(PREFIX).unwrap();
    group.bench_function("fedmsg", |b| {
        b.iter(|| {
            let (topic, body) = black_box((TOPIC, &body[..]));
            let wanted = black_box(&prefixes).matches(topic);
            let headers = wanted.then(|| message_headers(topic.len(), body.len()));
            black_box(&headers);
        });
    });
    let mut connection = mzmq();
    group.bench_function("mzmq", |b| {
        b.iter(|| {
            let (topic, body) = black_box((TOPIC, &body[..]));
            let headers = connection.publish_headers(topic, body).unwrap();
            black_box(&headers);
        });
    });
    group.finish();
}

/// A subscriber goes through a stream that comes in pieces of 64 KiB. The reading itself is left
/// out: omq-proto gets the pieces as they are, we see a buffer that grows by one at a time.
fn decode(c: &mut Criterion) {
    const MESSAGES: usize = 10_000;
    for (name, body) in bodies() {
        let mut message = vec![0; 4096];
        let n = encode_message(TOPIC, &body, &mut message).unwrap();
        let stream = Bytes::from(message[..n].repeat(MESSAGES));
        let ends = || (PIECE..stream.len()).step_by(PIECE).chain([stream.len()]);
        let mut group = c.benchmark_group(format!("decode, {name}"));
        group.throughput(Throughput::Elements(MESSAGES as u64));
        group.sample_size(30);

        let mut peer = Peer::new(SocketType::Sub, Limits::DEFAULT, 0);
        let hello = handshake(READY_PUB);
        let input = peer.input(&hello, 0).unwrap();
        assert!(matches!(input.event, Some(Event::Ready(_))));
        group.bench_function("fedmsg", |b| {
            b.iter(|| {
                let (mut count, mut at) = (0, 0);
                for end in ends() {
                    loop {
                        let input = peer.input(&stream[at..end], 0).unwrap();
                        at += input.consumed;
                        let Some(event) = input.event else { break };
                        if let Event::Message(message) = event {
                            let (topic, body) = message.two_frames().unwrap();
                            count += usize::from(black_box(topic).len() < black_box(body).len());
                        }
                    }
                }
                assert_eq!(count, MESSAGES);
            });
        });

        let ty = omq_proto::SocketType::Sub;
        let mut connection = Connection::new(ConnectionConfig::new(Role::Client, ty));
        connection.handle_input(hello.into()).unwrap();
        assert!(connection.is_ready());
        group.bench_function("omq-proto", |b| {
            b.iter(|| {
                let (mut count, mut at) = (0, 0);
                for end in ends() {
                    connection.handle_input(stream.slice(at..end)).unwrap();
                    at = end;
                    while let Some(message) = connection.poll_message() {
                        let (topic, body) = (message.get(0).unwrap(), message.get(1).unwrap());
                        count += usize::from(black_box(topic).len() < black_box(body).len());
                    }
                }
                assert_eq!(count, MESSAGES);
            });
        });
        group.finish();
    }
}

criterion_group!(benches, publish, encode, headers, decode);
criterion_main!(benches);
