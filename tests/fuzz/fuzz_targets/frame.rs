//! Frames and commands: nothing panics, what was read is written as the same frame, and a limit
//! holds.
#![no_main]

use fedmsg_core::zmtp::frame::{self, Decoded};
use fedmsg_core::zmtp::{Command, Greeting};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(greeting)) = Greeting::decode(data) {
        assert_eq!(Greeting::decode(&greeting.encode()), Ok(Some(greeting)));
    }
    let mut out = vec![0; data.len() + frame::MAX_HEADER];
    let mut rest = data;
    while let Ok(Decoded::Frame { frame, consumed }) = frame::decode(rest, u64::MAX) {
        assert!(frame.body.len() < consumed && consumed <= rest.len());
        assert!(frame::decode(rest, frame.body.len() as u64).is_ok());
        if let Some(limit) = (frame.body.len() as u64).checked_sub(1) {
            assert!(frame::decode(rest, limit).is_err());
        }
        for cut in [0, 1, consumed / 2, consumed - 1] {
            let Ok(Decoded::Incomplete { missing }) = frame::decode(&rest[..cut], u64::MAX) else {
                panic!("a frame in {cut} of {consumed} bytes");
            };
            assert!(missing > 0 && cut as u64 + missing <= consumed as u64);
        }

        let n = frame.encode(&mut out).unwrap();
        assert!(n <= consumed);
        let again = Decoded::Frame { frame, consumed: n };
        assert_eq!(frame::decode(&out[..n], u64::MAX), Ok(again));
        assert!(frame.encode(&mut out[..n - 1]).is_err());

        if let Some(command) = Command::decode(frame.body) {
            if let Command::Ready(metadata) = command {
                for property in metadata.properties().flatten() {
                    assert!(property.0.len() + property.1.len() < frame.body.len());
                }
            }
            let n = command.encode(&mut out).unwrap();
            let Ok(Decoded::Frame { frame, .. }) = frame::decode(&out[..n], u64::MAX) else {
                panic!("{command:?} does not make a frame");
            };
            assert!(frame.command);
            assert_eq!(Command::decode(frame.body), Some(command));
        }
        rest = &rest[consumed..];
    }
});
