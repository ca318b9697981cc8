//! The rival's half of `zmtp_pub`: mzmq's PUB shakes hands with a canned subscriber and puts one
//! message into a buffer.
#![cfg_attr(target_os = "none", no_std, no_main)]

use fedmsg_measure::{Static, canned, fail, section};
use mzmq::connection::{Connection, State};

fedmsg_measure::image!(run);

struct Peer {
    connection: Connection<8, 32, 1024>,
    out: [u8; 512],
    message: usize,
}

static PEER: Static<Peer> = Static::new();

fn run() {
    let peer = PEER.put(Peer {
        connection: Connection::new(),
        out: [0; 512],
        message: 0,
    });
    section("handshake", handshake, peer);
    if peer.connection.state() != &State::Established {
        fail("mzmq is not connected");
    }
    section("publish", publish, peer);
    if peer.message != 2 + canned::TOPIC.len() + 2 + canned::BODY.len() {
        fail("mzmq did not write the message");
    }
}

/// Greeting and READY both ways, and one subscription.
fn handshake(peer: &mut Peer) {
    let connection = &mut peer.connection;
    let _ = connection.write_greeting(&mut peer.out);
    feed(connection, canned::greeting());
    let _ = connection.write_ready(&mut peer.out);
    feed(connection, canned::ready_and_subscription());
}

/// mzmq takes no more than one frame at a time.
fn feed(connection: &mut Connection<8, 32, 1024>, mut input: &[u8]) {
    while !input.is_empty() {
        let Some(rest) = connection
            .feed(input)
            .ok()
            .and_then(|taken| input.get(taken..))
        else {
            return;
        };
        input = rest;
    }
}

fn publish(peer: &mut Peer) {
    peer.message = peer
        .connection
        .publish(canned::topic(), canned::body(), &mut peer.out)
        .unwrap_or(0);
}
