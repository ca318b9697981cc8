//! What a device does to publish: a value becomes a message of 200 B in canonical JSON, ready for a
//! gathered write with its frames' headers.
#![cfg_attr(target_os = "none", no_std, no_main)]

use fedmsg_core::zmtp::message_headers;
use fedmsg_measure::canned::{self, Log};
use fedmsg_measure::{Static, fail, section};

fedmsg_measure::image!(run);

static BUFFER: Static<[u8; 512]> = Static::new([0; _]);

struct Message {
    buffer: &'static mut [u8; 512],
    written: usize,
}

fn run() {
    let mut message = Message {
        buffer: BUFFER.take(),
        written: 0,
    };
    section("message", publish, &mut message);
    if message.written != 2 + canned::TOPIC.len() + 2 + 200 {
        fail("not the message that was meant");
    }
}

fn publish(message: &mut Message) {
    let envelope = canned::envelope();
    let Ok(encoded) = envelope.encode(&Log::canned(), message.buffer) else {
        return;
    };
    let headers = message_headers(encoded.topic().len(), encoded.body_len());
    let [topic_header, body_header] = &headers;
    let topic = encoded.topic().as_bytes();
    let [first, second, third] = encoded.body();
    message.written = canned::write(&[topic_header, topic, body_header, first, second, third]);
}
