//! `json::from_slice`, which is serde-json-core's, into a type with something of each kind. Where
//! it can panic, as far as the compiler knows, is seen in this image.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::hint::black_box;

use fedmsg_core::json;
use fedmsg_measure::section;
use serde::Deserialize;

fedmsg_measure::image!(run);

#[derive(Deserialize)]
#[allow(dead_code, reason = "it matters how it is read, not what is in it")]
struct Read<'a> {
    topic: &'a str,
    #[serde(borrow)]
    text: json::EscapedStr<'a>,
    i: u64,
    signed: i32,
    seq_id: Option<u64>,
    celsius: f64,
    on: bool,
    list: [u8; 2],
    state: State,
}

#[derive(Deserialize)]
enum State {
    On,
    Off,
}

fn run() {
    section("read", read, &mut b"{}".as_slice());
}

fn read(text: &mut &[u8]) {
    let read = black_box(json::from_slice::<Read<'_>>(text));
    if let Ok(Read { text, .. }) = read {
        black_box(text.fragments().count());
    }
}
