//! A PUB socket's connection: shakes hands with a canned subscriber and puts one message into a
//! buffer. `mzmq_pub` is the same with mzmq, with room for as many subscriptions as long.
#![cfg_attr(target_os = "none", no_std, no_main)]

use fedmsg_core::zmtp::{Event, Inbox, Limits, Peer, Prefixes, SocketType, encode_message};
use fedmsg_measure::{Static, canned, fail, section};

fedmsg_measure::image!(run);

const SUBSCRIPTIONS: usize = 8;
const PREFIX: usize = 32;
const LIMITS: Limits = Limits {
    max_subscription: PREFIX,
    ..Limits::DEFAULT
};

struct Subscriber {
    peer: &'static mut Peer,
    inbox: &'static mut Inbox<[u8; 128]>,
    prefixes: &'static mut Prefixes<{ SUBSCRIPTIONS * (2 + PREFIX) }>,
    out: &'static mut [u8; 512],
    message: usize,
}

static PEER: Static<Peer> = Static::new(Peer::new(SocketType::Pub, LIMITS, 0));
static INBOX: Static<Inbox<[u8; 128]>> = Static::new(Inbox::new([0; _]));
static PREFIXES: Static<Prefixes<{ SUBSCRIPTIONS * (2 + PREFIX) }>> = Static::new(Prefixes::new());
static OUT: Static<[u8; 512]> = Static::new([0; _]);

fn run() {
    let mut subscriber = Subscriber {
        peer: PEER.take(),
        inbox: INBOX.take(),
        prefixes: PREFIXES.take(),
        out: OUT.take(),
        message: 0,
    };
    // What a socket's driver does.
    for bytes in [canned::greeting(), canned::ready_and_subscription()] {
        let taken = canned::read(bytes, subscriber.inbox.space());
        subscriber.inbox.commit(taken);
    }
    section("handshake", handshake, &mut subscriber);
    if !subscriber.peer.is_ready() || subscriber.prefixes.is_empty() {
        fail("not connected");
    }
    section("publish", publish, &mut subscriber);
    if subscriber.message != 2 + canned::TOPIC.len() + 2 + canned::BODY.len() {
        fail("no message");
    }
}

/// Greeting and READY both ways, and one subscription.
fn handshake(subscriber: &mut Subscriber) {
    let Subscriber {
        peer,
        inbox,
        prefixes,
        out,
        ..
    } = subscriber;
    peer.output(*out);
    loop {
        let Ok(input) = peer.input(inbox.unread(), 0) else {
            return;
        };
        let more = input.event.is_some();
        match input.event {
            Some(Event::Subscribe(prefix)) => drop(prefixes.insert(prefix)),
            Some(Event::Cancel(prefix)) => drop(prefixes.remove(prefix)),
            _ => {}
        }
        inbox.consume(input.consumed);
        if !more {
            break;
        }
    }
    peer.output(*out);
}

fn publish(
    Subscriber {
        prefixes,
        out,
        message,
        ..
    }: &mut Subscriber,
) {
    let topic = canned::topic();
    if prefixes.matches(topic) {
        *message = encode_message(topic, canned::body(), *out).unwrap_or(0);
    }
}
