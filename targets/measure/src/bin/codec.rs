//! Every public function of `zmtp`, `json`, `message`, `provision`, `serial` and `crypto::comb`, on
//! input that the optimizer knows nothing about: what can panic is in this image. `from_slice`, which
//! is serde-json-core's, is in `read`.
//! It is there to be looked at; running it shows little.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::hint::black_box;

use fedmsg_core::crypto::{Refusal, SignError, Signer, Verifier, comb::CombSigner};
use fedmsg_core::json::{self, Writer};
use fedmsg_core::message::{self, Envelope, MessageId, Text, Topic};
use fedmsg_core::provision::Provision;
use fedmsg_core::serial::{self, Line};
use fedmsg_core::zmtp::command::Metadata;
use fedmsg_core::zmtp::frame::{self, Decoded, Frame, Header};
use fedmsg_core::zmtp::{
    Command, Event, Greeting, Heartbeat, Inbox, Limits, Message, Peer, PeerError, Prefixes,
    SocketType, encode_message, message_headers, subscription,
};
use fedmsg_measure::{Static, canned, section, show};
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple};
use serde::{Serialize, Serializer};

fedmsg_measure::image!(run);

static OUT: Static<[u8; 1024]> = Static::new([0; _]);
static SCRATCH: Static<[u8; 1024]> = Static::new([0; _]);

fn run() {
    section("everything", everything, &mut (OUT.take(), SCRATCH.take()));
}

fn everything((out, scratch): &mut (&mut [u8; 1024], &mut [u8; 1024])) {
    let input = black_box(b"\x00\x02{}".as_slice());
    parts(input, *out);
    peers(input, *out);
    json(input, *out);
    message(input, *out, *scratch);
    provision(input, *out);
    serial(input, *out);
    sign(input, *out);
}

fn sign(input: &[u8], out: &mut [u8]) {
    let signer = CombSigner::new(black_box(&[1; 32]), input);
    if let Ok(signer) = &signer {
        show(signer.sign(&[input], out));
    }
    show(signer);
}

/// The parts of `zmtp` that have no state.
fn parts(input: &[u8], out: &mut [u8]) {
    let len = input.len();
    let decoded = frame::decode(input, black_box(9));
    if let Ok(Decoded::Frame { frame, .. }) = decoded {
        black_box(frame.header());
        show(frame.encode(out));
    }
    show(decoded);
    show(
        Frame {
            more: true,
            command: black_box(false),
            body: input,
        }
        .encode(out),
    );
    let header = Header::message(len, black_box(true));
    black_box(header.encoded_len());
    black_box(&*header.encode());
    show(encode_message(input, input, out));
    black_box(message_headers(len, len));
    black_box(Message::from_wire(input).map(|message| message.frame_count()));

    if let Some(command) = Command::decode(input) {
        black_box(command);
        show(command.encode(out));
    }
    for property in Metadata(input).properties() {
        show(property);
    }

    let greeting = Greeting::decode(input);
    if let Ok(Some(greeting)) = greeting {
        black_box(greeting.encode());
    }
    show(greeting);

    show(subscription::encode(
        black_box(true),
        input,
        black_box(0),
        out,
    ));
    let mut prefixes = black_box(Prefixes::<64>::new());
    show(prefixes.insert(input));
    black_box(prefixes.matches(input));
    black_box(prefixes.iter().count());
    black_box(prefixes.remove(input));
    black_box(prefixes.is_empty());
    prefixes.clear();
    black_box(prefixes);
}

/// A connection, of any socket type.
fn peers(input: &[u8], out: &mut [u8]) {
    let Some(ours) = SocketType::from_name(input) else {
        return;
    };
    black_box(ours.is_compatible(black_box(ours)));
    show::<(), _>(Err(ours));
    show::<(), _>(Err(ours.name()));
    let heartbeat = Heartbeat {
        interval_ms: 1,
        timeout_ms: 2,
        ttl: 3,
    };
    let limits = black_box(Limits {
        heartbeat: Some(heartbeat),
        ..Limits::default()
    });
    let mut peer = Peer::new(ours, limits, black_box(0));
    let mut inbox = Inbox::new([0; 64]);
    while black_box(peer.has_output()) {
        black_box(peer.output(out));
        let read = canned::read(input, inbox.space());
        inbox.commit(read);
        let now = black_box(1);
        match peer.input(inbox.unread(), now) {
            Ok(input) => {
                let consumed = input.consumed;
                if let Some(Event::Message(message)) = input.event {
                    received(&message);
                }
                let _ = black_box(input);
                inbox.consume(consumed);
            }
            Err(error) => {
                black_box(error.is_permanent());
                if let PeerError::Refused { reason } = error {
                    black_box(reason.to_bytes());
                }
                show::<(), _>(Err(error));
            }
        }
        show(peer.poll(now));
        show(peer.encode_subscribe(input, out));
        show(peer.encode_cancel(input, out));
        black_box((peer.is_ready(), peer.peer_version(), inbox.capacity()));
        black_box(&mut peer);
    }
    inbox.clear();
    black_box(inbox.into_inner());
}

fn received(message: &Message<'_>) {
    black_box(message.frames().count());
    black_box((
        message.frame_count(),
        message.two_frames(),
        message.wire(),
        message.bytes(),
        message.envelope(),
    ));
}

fn json(input: &[u8], out: &mut [u8]) {
    show(json::canonicalize(
        input,
        out,
        black_box(json::DEFAULT_DEPTH),
    ));
    show(json::to_slice(&Any(black_box(0)), out));
    if let Some(members) = json::Members::new(input) {
        for member in members {
            black_box(json::compare_keys(member.key, black_box("a")));
            show(json::unescape_inside(member.key, out));
            black_box(member);
        }
    }
    show(json::unescape(input, out));
    let mut writer = Writer::new(out);
    show(writer.raw(input));
    show(writer.string(black_box("text")));
    show(writer.unsigned(black_box(1)));
    show(writer.signed(black_box(-1)));
    show(writer.float(black_box(1.5)));
    show(writer.value(&Any(black_box(1))));
    show(Any(black_box(2)).serialize(json::Serializer::new(&mut writer)));
    black_box((writer.position(), writer.remaining(), writer.written()));
}

fn provision(input: &[u8], out: &mut [u8]) {
    match Provision::parse(input) {
        Ok(provision) => show(provision.write(out)),
        Err(error) => show::<(), _>(Err(error)),
    }
}

/// Both ends of a serial line.
fn serial(input: &[u8], out: &mut [u8]) {
    for mut line in [Line::host(), Line::device()] {
        let (number, now) = (black_box(1), black_box(2));
        line.set_time(now, now);
        line.open(number, now);
        while black_box(line.can_write()) {
            line.write(input, now);
            let n = line.outgoing(now).len();
            line.sent(black_box(n));
            let (taken, event) = line.receive(input, now);
            if let Some(serial::Event::Closed(reason)) = event {
                show::<(), _>(Err(reason));
            }
            black_box((taken, event, line.tick(now), line.has_unread()));
            black_box(line.read(out));
            black_box((
                line.is_open(),
                line.is_opening(),
                line.time(now),
                line.counts(),
            ));
        }
        line.close();
        black_box(line);
    }
}

fn message(input: &[u8], out: &mut [u8], scratch: &mut [u8]) {
    let text = black_box("org.example");
    let topic = Topic {
        prefix: text,
        environment: text,
        modname: text,
        topic: text,
    };
    show(topic.write(scratch));
    let timestamp = black_box(1_795_430_000);
    let msg_id = MessageId::new(timestamp, black_box([0x5a; 16]));
    show::<(), _>(Err(msg_id));
    show::<(), _>(Err(msg_id.as_str()));
    black_box(msg_id.as_bytes());
    let (username, seq_id) = black_box((Some(text), Some(1)));
    let envelope = Envelope {
        topic: text,
        i: black_box(1),
        timestamp,
        msg_id,
        username,
        seq_id,
    };
    let json = Text {
        json: input,
        depth_limit: black_box(64),
    };
    match envelope.encode(&json, out) {
        Ok(encoded) => {
            black_box((encoded.topic(), encoded.body(), encoded.body_len()));
            show(encoded.copy_body(scratch));
        }
        Err(error) => show::<(), _>(Err(error)),
    }
    show(envelope.encode(&Any(black_box(3)), out).map(black_box));
    let signed = envelope.encode_signed(&Any(black_box(4)), &Nobody, out);
    show(signed);
    let depth = black_box(json::HOST_DEPTH);
    show(message::sign_text(input, &Nobody, depth, scratch, out));
    show(message::validate(
        Some(input),
        input,
        &[&Nobody],
        timestamp,
        depth,
        scratch,
    ));
}

/// Signs and verifies nothing, in ways that cannot be foreseen.
struct Nobody;

impl Signer for Nobody {
    fn backend(&self) -> &str {
        black_box("none")
    }

    fn certificate_field(&self) -> &[u8] {
        black_box(b"field")
    }

    fn max_signature_len(&self) -> usize {
        black_box(72)
    }

    fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        black_box(message);
        black_box(out);
        black_box(Ok(70))
    }
}

impl Verifier for Nobody {
    fn backend(&self) -> &str {
        black_box("none")
    }

    fn verify<'n>(
        &self,
        message: &[&[u8]],
        signature: &[u8],
        certificate: &[u8],
        at: u64,
        name: &'n mut [u8],
    ) -> Result<&'n str, Refusal> {
        black_box((message, signature, certificate, at, &name));
        black_box(Ok(core::str::from_utf8(name).unwrap_or_default()))
    }
}

/// A value of any type of serde's data model, chosen where the optimizer cannot see it.
struct Any(u8);

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = black_box(i64::from(self.0));
        let next = Any(self.0.saturating_sub(1));
        match black_box(self.0) {
            0 => serializer.serialize_bool(value != 0),
            1 => serializer.serialize_i8(value as i8),
            2 => serializer.serialize_i16(value as i16),
            3 => serializer.serialize_i32(value as i32),
            4 => serializer.serialize_i64(value),
            5 => serializer.serialize_i128(value.into()),
            6 => serializer.serialize_u8(value as u8),
            7 => serializer.serialize_u16(value as u16),
            8 => serializer.serialize_u32(value as u32),
            9 => serializer.serialize_u64(value as u64),
            10 => serializer.serialize_u128(value as u128),
            11 => serializer.serialize_f32(value as f32),
            12 => serializer.serialize_f64(value as f64),
            13 => serializer.serialize_char(black_box('c')),
            14 => serializer.serialize_str(black_box("text")),
            15 => serializer.serialize_bytes(black_box(b"bytes")),
            16 => serializer.serialize_none(),
            17 => serializer.serialize_some(&next),
            18 => serializer.serialize_unit(),
            19 => serializer.serialize_unit_struct("Unit"),
            20 => serializer.serialize_unit_variant("Enum", 0, "variant"),
            21 => serializer.serialize_newtype_struct("Newtype", &next),
            22 => serializer.serialize_newtype_variant("Enum", 0, "variant", &next),
            23 => {
                let mut seq = serializer.serialize_seq(black_box(None))?;
                seq.serialize_element(&next)?;
                seq.end()
            }
            24 => {
                let mut tuple = serializer.serialize_tuple(1)?;
                tuple.serialize_element(&next)?;
                tuple.end()
            }
            25 => Tuple(1, next).serialize(serializer),
            26 => Enum::Tuple(1, next).serialize(serializer),
            27 => {
                let mut map = serializer.serialize_map(black_box(None))?;
                map.serialize_key(&next)?;
                map.serialize_value(&next)?;
                map.serialize_entry(&next, &next)?;
                map.end()
            }
            28 => {
                let mut object = serializer.serialize_struct("Struct", 2)?;
                object.serialize_field(black_box("b"), &next)?;
                object.skip_field("c")?;
                object.serialize_field(black_box("a"), &next)?;
                object.end()
            }
            29 => Enum::Struct { a: 1, b: next }.serialize(serializer),
            _ => serializer.collect_str(&format_args!("{value}")),
        }
    }
}

#[derive(Serialize)]
struct Tuple(u8, Any);

#[derive(Serialize)]
enum Enum {
    Tuple(u8, Any),
    Struct { a: u8, b: Any },
}
