//! Both ends of a serial line that drops, changes, repeats and adds what the input says: nothing
//! panics, and what arrives is a prefix of what was sent in that session.
#![no_main]

use fedmsg_core::serial::{Event, Line, MAX_FRAME};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut ends = [Line::host(), Line::device()];
    // How many bytes each end has put in, which are numbered from 0, and has got.
    let mut streams = [(0_u32, 0_u32); 2];
    ends[0].set_time(1, 0);
    ends[0].open(1, 0);
    let (mut now, mut session) = (0, 1);
    for spoil in data.chunks(3) {
        now += u64::from(spoil[0]) * 4;
        for from in [0, 1] {
            let bytes: Vec<u8> = (streams[from].0..).take(100).map(|i| i as u8).collect();
            streams[from].0 += ends[from].write(&bytes, now) as u32;
            let mut bytes = ends[from].outgoing(now).to_vec();
            assert!(bytes.len() <= MAX_FRAME);
            ends[from].sent(bytes.len());
            if let [_, what, byte] = *spoil
                && usize::from(what & 1) == from
                && !bytes.is_empty()
            {
                let at = usize::from(what >> 3) % bytes.len();
                match what >> 1 & 3 {
                    0 => bytes.truncate(at),
                    1 => bytes[at] = byte,
                    2 => bytes.extend_from_within(..),
                    _ => bytes.insert(at, byte),
                }
            }
            let mut rest = &bytes[..];
            let mut events = [ends[from].tick(now), None];
            while !rest.is_empty() {
                let (taken, event) = ends[1 - from].receive(rest, now);
                rest = &rest[taken..];
                events[1] = event.or(events[1]);
                if event.is_some() {
                    streams[1 - from] = (0, 0);
                }
                let mut out = [0; 40];
                while let n @ 1.. = ends[1 - from].read(&mut out) {
                    for byte in &out[..n] {
                        assert_eq!(*byte, streams[1 - from].1 as u8);
                        streams[1 - from].1 += 1;
                    }
                }
            }
            if events[0].is_some() {
                streams[from] = (0, 0);
            }
            let closed = |event| matches!(event, Some(Event::Closed(_)));
            if closed(events[from]) {
                session += 1;
                ends[0].open(session, now);
            }
        }
    }
});
