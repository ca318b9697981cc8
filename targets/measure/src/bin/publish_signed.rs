//! `publish_unsigned` with a P-256 signature. The certificate's text stays in flash.
#![cfg_attr(target_os = "none", no_std, no_main)]

use fedmsg_core::crypto::comb::CombSigner;
use fedmsg_core::zmtp::message_headers;
use fedmsg_measure::canned::{self, Log};
use fedmsg_measure::{Static, fail, section};

fedmsg_measure::image!(run);

static BUFFER: Static<[u8; 512]> = Static::new([0; _]);

struct Message {
    buffer: &'static mut [u8; 512],
    signer: CombSigner<'static>,
    written: usize,
}

fn run() {
    let Ok(signer) = CombSigner::new(canned::key(), canned::certificate_field()) else {
        fail("the key is no key");
    };
    let mut message = Message {
        buffer: BUFFER.take(),
        signer,
        written: 0,
    };
    section("message", publish, &mut message);
    if message.written < canned::certificate_field().len() + 200 {
        fail("not the message that was meant");
    }
}

fn publish(message: &mut Message) {
    let envelope = canned::envelope();
    let Ok(encoded) = envelope.encode_signed(&Log::canned(), &message.signer, message.buffer)
    else {
        return;
    };
    let headers = message_headers(encoded.topic().len(), encoded.body_len());
    let [topic_header, body_header] = &headers;
    let topic = encoded.topic().as_bytes();
    let [first, second, third] = encoded.body();
    message.written = canned::write(&[topic_header, topic, body_header, first, second, third]);
}
