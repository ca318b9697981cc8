//! What the machine itself can do: bytes from one process to others in large pieces, and a reader
//! that discards them, for a publisher alone or for the bare loop.

use fedmsg_bench_worker::{Job, Orders, TOPIC, now, report, topic, wait_for_end};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// Of many subscribers to many topics, so many want some of them, each as many; the others none.
pub(crate) const FILTERING: usize = 100;

/// Bytes of a message on the wire, with a body of this size.
pub(crate) fn wire_len(body: usize) -> usize {
    2 + TOPIC.len() + body + if body < 256 { 2 } else { 9 }
}

/// Writes pieces of this size to each connection in turn, as long as the job says.
pub(crate) fn write(job: &Job, piece: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    report(&json!({ "endpoint": format!("tcp://127.0.0.1:{port}") }));
    let orders = Orders::read();
    let mut streams = Vec::from_iter((0..job.subscribers).map(|_| {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.write_all(b"!").expect("an open connection");
        stream
    }));
    orders.wait_to_go();
    let piece = vec![b'x'; piece];
    let start = now();
    let mut pieces = 0_u64;
    while now() - start < job.millis * 1_000_000 {
        for stream in &mut streams {
            stream.write_all(&piece).expect("an open connection");
        }
        pieces += 1;
    }
    report(&json!({ "bytes": pieces * piece.len() as u64, "start": start, "end": now() }));
    wait_for_end();
}

/// Reads and counts, after a handshake if the other side is a publisher.
pub(crate) fn discard(job: &Job, piece: usize, handshake: bool) {
    let orders = Orders::read();
    let counters = Vec::from_iter((0..job.subscribers).map(|_| Arc::<Counter>::default()));
    let address = job.endpoint.strip_prefix("tcp://").expect("over TCP");
    let listening = match job.topics {
        0 => job.subscribers,
        _ => FILTERING,
    };
    for (n, counter) in counters.iter().enumerate() {
        let mut stream = TcpStream::connect(address).expect("a connection");
        if handshake {
            greet(&mut stream);
            match job.topics {
                0 => subscribe(&mut stream, b""),
                topics if n < FILTERING => {
                    let each = topics / FILTERING;
                    for number in n * each..(n + 1) * each {
                        subscribe(&mut stream, &topic(number));
                    }
                }
                _ => subscribe(&mut stream, b"nobody publishes this"),
            }
        }
        let counter = Arc::clone(counter);
        let size = if n < listening { piece } else { 1 << 10 };
        thread::spawn(move || {
            let mut buffer = vec![0; size];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(n) => {
                        counter.end.store(now(), Relaxed);
                        counter.bytes.fetch_add(n as u64, Relaxed);
                    }
                }
            }
        });
    }
    let mut marks = 0;
    while counters
        .iter()
        .take(listening)
        .any(|of| of.bytes.load(Relaxed) == 0)
    {
        thread::sleep(Duration::from_millis(5));
    }
    report(&json!({ "connected": true }));
    loop {
        thread::sleep(Duration::from_millis(2));
        if marks < orders.marks() {
            marks += 1;
            let bytes: u64 = counters.iter().map(|of| of.bytes.load(Relaxed)).sum();
            let end = counters.iter().map(|of| of.end.load(Relaxed)).max();
            report(&json!({ "mark": { "bytes": bytes, "end": end } }));
        }
    }
}

#[derive(Default)]
#[repr(align(128))]
struct Counter {
    bytes: AtomicU64,
    end: AtomicU64,
}

/// The handshake of a subscriber that speaks ZMTP 3.0 (RFC 23).
fn greet(stream: &mut TcpStream) {
    let mut hello = vec![0; 64];
    hello[0] = 0xff;
    hello[8] = 1;
    hello[9] = 0x7f;
    hello[10] = 3;
    hello[12..16].copy_from_slice(b"NULL");
    hello.extend(b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB");
    stream.write_all(&hello).expect("an open connection");
    let mut greeting = [0; 64];
    stream.read_exact(&mut greeting).expect("a greeting");
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("READY");
    let mut ready = vec![0; head[1].into()];
    stream.read_exact(&mut ready).expect("READY");
    assert_eq!(head[0], 4, "a command");
}

fn subscribe(stream: &mut TcpStream, prefix: &[u8]) {
    let len = u8::try_from(prefix.len() + 1).expect("a short prefix");
    let subscription = [&[0, len, 1], prefix].concat();
    stream.write_all(&subscription).expect("an open connection");
}
