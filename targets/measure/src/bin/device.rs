//! The device that `core/README.md` shows: four subscribers, signed readings.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[path = "../../../../core/examples/device/app.rs"]
mod app;

use app::{Device, Reading};
use core::hint::black_box;
use fedmsg_core::crypto::comb::CombSigner;
use fedmsg_measure::{Static, canned, fail, section};

fedmsg_measure::image!(run);

static RING: Static<[u8; 4096]> = Static::new([0; _]);
static SIGNER: Static<Option<CombSigner<'static>>> = Static::new(None);
static DEVICE: Static<Option<Device<'static>>> = Static::new(None);

fn run() {
    let Ok(signer) = CombSigner::new(canned::key(), canned::certificate_field()) else {
        fail("the key is no key");
    };
    let signer = SIGNER.take().insert(signer);
    let mut device = DEVICE.take().insert(Device::new(RING.take(), signer));
    section("connect", connect, &mut device);
    if device.publisher.subscribers() != 4 {
        fail("not connected");
    }
    section("reading", reading, &mut device);
    section("send", send, &mut device);
    if !device.publisher.outgoing(0).is_ok_and(<[u8]>::is_empty) {
        fail("not sent");
    }
}

/// Four subscribers connect and subscribe.
fn connect(device: &mut &mut Device<'static>) {
    for _ in 0..4 {
        let Some(link) = device.publisher.open(0) else {
            return;
        };
        for bytes in [canned::greeting(), canned::ready_and_subscription()] {
            let Ok(space) = device.publisher.space(link) else {
                return;
            };
            let taken = canned::read(bytes, space);
            if device.publisher.received(link, taken, 0).is_err() {
                return;
            }
        }
    }
    send(device);
}

/// A reading is encoded, signed and put in the ring.
fn reading(device: &mut &mut Device<'static>) {
    let reading = Reading {
        sensor: black_box("hall 3"),
        celsius: black_box(21.5),
    };
    if device
        .publish(&reading, black_box(1_795_430_000), black_box([0x5a; 16]))
        .is_err()
    {
        fail("not published");
    }
}

/// Everything goes out to all four.
fn send(device: &mut &mut Device<'static>) {
    for link in 0..4 {
        while let Ok(bytes) = device.publisher.outgoing(link)
            && !bytes.is_empty()
        {
            let sent = canned::write(&[bytes]);
            if device.publisher.sent(link, sent).is_err() {
                return;
            }
        }
    }
}
