//! The rival's half of `zmtp_pub`: mzmq's PUB shakes hands with a canned subscriber and puts one
//! message into a buffer.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::mem::MaybeUninit;

use fedmsg_measure::{Static, canned, fail, section};
use mzmq::connection::{Connection, State};

fedmsg_measure::image!(run);

struct Subscriber {
    connection: &'static mut Connection<8, 32, 1024>,
    out: &'static mut [u8; 512],
    message: usize,
}

static CONNECTION: Static<MaybeUninit<Connection<8, 32, 1024>>> =
    Static::new(MaybeUninit::uninit());
static OUT: Static<[u8; 512]> = Static::new([0; _]);

fn run() {
    let connection = CONNECTION.take().write(Connection::new());
    let mut subscriber = Subscriber {
        connection,
        out: OUT.take(),
        message: 0,
    };
    section("handshake", handshake, &mut subscriber);
    if subscriber.connection.state() != &State::Established {
        fail("mzmq is not connected");
    }
    section("publish", publish, &mut subscriber);
    if subscriber.message != 2 + canned::TOPIC.len() + 2 + canned::BODY.len() {
        fail("mzmq did not write the message");
    }
}

/// Greeting and READY both ways, and one subscription.
fn handshake(
    Subscriber {
        connection, out, ..
    }: &mut Subscriber,
) {
    let _ = connection.write_greeting(*out);
    feed(connection, canned::greeting());
    let _ = connection.write_ready(*out);
    feed(connection, canned::ready_and_subscription());
}

/// mzmq takes no more than one frame at a time, and keeps unfinished ones itself.
fn feed(connection: &mut Connection<8, 32, 1024>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let Some(rest) = connection
            .feed(bytes)
            .ok()
            .and_then(|taken| bytes.get(taken..))
        else {
            return;
        };
        bytes = rest;
    }
}

fn publish(
    Subscriber {
        connection,
        out,
        message,
    }: &mut Subscriber,
) {
    *message = connection
        .publish(canned::topic(), canned::body(), *out)
        .unwrap_or(0);
}
