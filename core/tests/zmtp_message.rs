//! [`Message::from_wire`]: what is a whole message, and what is not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use fedmsg_core::zmtp::{
    Message, encode_message,
    frame::{Decoded, Frame, decode},
};
use proptest::{collection::vec, prelude::*};

fn wire(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (i, body) in frames.iter().enumerate() {
        let mut out = vec![0; body.len() + 9];
        let frame = Frame {
            more: i + 1 < frames.len(),
            command: false,
            body,
        };
        let n = frame.encode(&mut out).unwrap();
        wire.extend(&out[..n]);
    }
    wire
}

#[test]
fn commands_and_reserved_flags_are_no_part_of_a_message_and_not_sent_on() {
    type Bodies = &'static [&'static [u8]];
    let cases: [(&[u8], Bodies, bool); 8] = [
        (b"\0\0", &[b""], true),
        (b"\x01\x01a\0\0", &[b"a", b""], true),
        // The long form of a short frame.
        (b"\x02\0\0\0\0\0\0\0\x01a", &[b"a"], true),
        // A PING before, and between.
        (
            b"\x04\x07\x04PING\0\0\x01\x01a\0\x01b",
            &[b"a", b"b"],
            false,
        ),
        (
            b"\x01\x01a\x04\x07\x04PING\0\0\0\x01b",
            &[b"a", b"b"],
            false,
        ),
        // A command has no say in whether the message goes on.
        (b"\x05\0\0\x01b", &[b"b"], false),
        (b"\x80\x01a", &[b"a"], false),
        (b"\x09\x01a\0\0", &[b"a", b""], false),
    ];
    for (bytes, frames, clean) in cases {
        let message = Message::from_wire(bytes).unwrap();
        assert_eq!(message.frames().collect::<Vec<_>>(), frames);
        assert_eq!(message.frame_count(), frames.len());
        assert_eq!(message.wire(), clean.then_some(bytes));
        assert_eq!(message.two_frames().is_some(), frames.len() == 2);
        assert_eq!(message.envelope(), b"");
    }
}

#[test]
fn what_ends_early_or_late_or_never_is_no_message() {
    let cases: [&[u8]; 10] = [
        b"",
        b"\0",
        b"\0\x01",
        b"\x01\0",
        b"\x04\0",
        b"\0\0\0\0",
        b"\0\0\x04\0",
        b"\x02\0\0\0\0\0\0\0",
        b"\x02\x7f\xff\xff\xff\xff\xff\xff\xffa",
        b"\x03\xff\xff\xff\xff\xff\xff\xff\xff\0\0",
    ];
    for bytes in cases {
        assert_eq!(Message::from_wire(bytes), None, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn a_message_of_any_frames_is_read_whole_and_nothing_less_or_more(
        frames in vec(prop_oneof![vec(any::<u8>(), 0..10), vec(any::<u8>(), 250..600)], 1..6),
        behind in vec(any::<u8>(), 1..5),
    ) {
        let mut bytes = wire(&frames);
        for cut in 0..bytes.len() {
            prop_assert_eq!(Message::from_wire(&bytes[..cut]), None);
        }
        let message = Message::from_wire(&bytes).unwrap();
        prop_assert!(message.frames().eq(frames.iter().map(Vec::as_slice)));
        prop_assert_eq!(message.frame_count(), frames.len());
        prop_assert_eq!(message.wire(), Some(&bytes[..]));
        if let [topic, body] = &frames[..] {
            let mut out = vec![0; bytes.len()];
            prop_assert_eq!(encode_message(topic, body, &mut out), Ok(bytes.len()));
            prop_assert_eq!(&out, &bytes);
            prop_assert_eq!(message.two_frames(), Some((&topic[..], &body[..])));
        }
        bytes.extend(behind);
        prop_assert_eq!(Message::from_wire(&bytes), None);
    }

    #[test]
    fn any_bytes_are_read_as_their_frames_one_by_one(
        bytes in vec(prop_oneof![Just(0), Just(1), 0_u8..12, any::<u8>()], 0..40),
    ) {
        let (mut rest, mut frames) = (&bytes[..], Vec::new());
        let whole = loop {
            match decode(rest, u64::MAX) {
                Ok(Decoded::Frame { frame, consumed }) => {
                    rest = &rest[consumed..];
                    if !frame.command {
                        frames.push(frame.body);
                        if !frame.more {
                            break rest.is_empty();
                        }
                    }
                }
                _ => break false,
            }
        };
        let message = Message::from_wire(&bytes);
        prop_assert_eq!(message.is_some(), whole);
        if let Some(message) = message {
            prop_assert_eq!(message.frame_count(), frames.len());
            prop_assert!(message.frames().eq(frames));
        }
    }
}
