//! The device's publisher and subscriber, wired to each other in memory.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "that is how a test's helper fails"
)]
#![cfg(all(feature = "sync", feature = "async"))]

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use fedmsg_core::{
    Clock, LinkError, StreamError,
    crypto::{SignError, Signer},
    message::{Envelope, MessageId},
    publisher::{MAX_SUBSCRIPTION, PublishError, Publisher, Shared},
    subscriber::Subscriber,
    zmtp::{Heartbeat, Limits, PeerError},
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// One end of a byte stream.
#[derive(Clone)]
struct Stream {
    input: Rc<RefCell<VecDeque<u8>>>,
    output: Rc<RefCell<VecDeque<u8>>>,
    /// How many bytes may be on their way to the other end.
    window: usize,
    closed: Rc<Cell<bool>>,
}

fn streams(window: usize) -> (Stream, Stream) {
    let (input, output, closed) = Default::default();
    let one = Stream {
        input,
        output,
        window,
        closed,
    };
    let other = Stream {
        input: one.output.clone(),
        output: one.input.clone(),
        ..one.clone()
    };
    (one, other)
}

impl ErrorType for Stream {
    type Error = Infallible;
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        let mut input = self.input.borrow_mut();
        let n = buf.len().min(input.len());
        buf.iter_mut()
            .zip(input.drain(..n))
            .for_each(|(to, from)| *to = from);
        Ok(n)
    }
}

impl ReadReady for Stream {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.closed.get() || !self.input.borrow().is_empty())
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        let mut output = self.output.borrow_mut();
        let n = buf.len().min(self.window - output.len());
        output.extend(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl WriteReady for Stream {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.output.borrow().len() < self.window)
    }
}

impl embedded_io_async::Read for Stream {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|context| {
            if self.read_ready()? {
                return Poll::Ready(Read::read(self, buf));
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }
}

impl embedded_io_async::Write for Stream {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        poll_fn(|context| {
            if self.write_ready()? {
                return Poll::Ready(Write::write(self, buf));
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A key whose signature is always the same.
struct Flash;

static CERTIFICATE: [u8; 500] = [b'A'; 500];

impl Signer for Flash {
    fn backend(&self) -> &str {
        "flash"
    }

    fn certificate_field(&self) -> &[u8] {
        &CERTIFICATE
    }

    fn max_signature_len(&self) -> usize {
        3
    }

    fn sign(&self, _: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        out[..3].copy_from_slice(b"sig");
        Ok(3)
    }
}

fn envelope(i: u64) -> Envelope<'static> {
    Envelope {
        topic: if i.is_multiple_of(2) {
            "lab.even"
        } else {
            "lab.odd"
        },
        i,
        timestamp: 1_795_430_000,
        msg_id: MessageId::new(1_795_430_000, [0; 16]),
        username: None,
        seq_id: None,
    }
}

fn publish<const N: usize>(publisher: &mut Publisher<'_, N>, i: u64) {
    publisher
        .publish(&envelope(i), &[i], &mut [0; 512])
        .unwrap();
}

/// The `i` of a message.
fn number(message: fedmsg_core::zmtp::Message<'_>) -> u64 {
    let (_, body) = message.two_frames().unwrap();
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    body["i"].as_u64().unwrap()
}

/// A subscriber with what it has received.
struct Reader<'b> {
    subscriber: Subscriber<'b>,
    stream: Stream,
    seen: Vec<u64>,
}

impl<'b> Reader<'b> {
    fn new(topics: &'b [&'b [u8]], stream: Stream) -> Self {
        let buffer = Box::leak(Box::new([0; 2048]));
        let subscriber = Subscriber::new(topics, buffer, Limits::DEFAULT, 0);
        Self {
            subscriber,
            stream,
            seen: Vec::new(),
        }
    }

    fn poll(&mut self) {
        let seen = &mut self.seen;
        self.subscriber
            .poll(&mut self.stream, 0, |message| seen.push(number(message)))
            .unwrap();
    }
}

#[test]
fn each_subscriber_gets_what_it_asked_for_once_it_has_asked() {
    let mut ring = [0; 4096];
    let mut publisher: Publisher<'_, 2> = Publisher::new(&mut ring, Limits::DEFAULT);
    let (mut a, a_end) = streams(64);
    let (mut b, b_end) = streams(7);
    let mut all = Reader::new(&[b""], a_end);
    let mut odd = Reader::new(&[b"nothing", b"lab.odd"], b_end);
    assert_eq!(
        (publisher.open(0), publisher.open(0), publisher.open(0)),
        (Some(0), Some(1), None)
    );

    publish(&mut publisher, 1);
    for turn in 0..200 {
        publisher.poll(0, &mut a, 0).unwrap();
        publisher.poll(1, &mut b, 0).unwrap();
        all.poll();
        odd.poll();
        if turn == 50 {
            assert_eq!(publisher.subscribers(), 2);
            for (link, topic, wanted) in [
                (0, "any", true),
                (1, "lab.odd", true),
                (1, "any", false),
                (2, "any", false),
            ] {
                assert_eq!(publisher.wants(link, topic), wanted, "{link} {topic}");
            }
            (2..6).for_each(|i| publish(&mut publisher, i));
        }
    }
    assert_eq!(all.seen, [2, 3, 4, 5]);
    assert_eq!(odd.seen, [3, 5]);
    assert_eq!(publisher.lost(), 0);

    publisher.close(1);
    assert_eq!(publisher.poll(1, &mut b, 0), Err(LinkError::NoLink.into()));
    assert_eq!(publisher.open(0), Some(1));
}

#[test]
fn a_slow_subscriber_loses_messages_alone_and_they_are_counted() {
    let mut ring = [0; 1024];
    let mut publisher: Publisher<'_, 2> = Publisher::new(&mut ring, Limits::DEFAULT);
    let (mut a, a_end) = streams(4096);
    let (mut b, b_end) = streams(4096);
    let mut fast = Reader::new(&[b""], a_end);
    let mut slow = Reader::new(&[b""], b_end);
    publisher.open(0);
    publisher.open(0);
    for _ in 0..10 {
        publisher.poll(0, &mut a, 0).unwrap();
        publisher.poll(1, &mut b, 0).unwrap();
        fast.poll();
        slow.poll();
    }
    for i in 0..100 {
        publish(&mut publisher, i);
        publisher.poll(0, &mut a, 0).unwrap();
        fast.poll();
    }
    assert_eq!(fast.seen, Vec::from_iter(0..100));
    for _ in 0..10 {
        publisher.poll(1, &mut b, 0).unwrap();
        slow.poll();
    }
    let first = *slow.seen.first().unwrap();
    assert_eq!(slow.seen, Vec::from_iter(first..100));
    assert_eq!(publisher.lost(), first);
    assert_eq!([0, 1, 2].map(|link| publisher.lost_by(link)), [0, first, 0]);
    assert!(first > 80);
}

#[test]
fn a_subscriber_stuck_in_a_message_that_has_to_go_is_let_go() {
    let mut ring = [0; 512];
    let mut publisher: Publisher<'_, 1> = Publisher::new(&mut ring, Limits::DEFAULT);
    let (mut a, end) = streams(100);
    let mut reader = Reader::new(&[b""], end);
    publisher.open(0);
    for _ in 0..10 {
        publisher.poll(0, &mut a, 0).unwrap();
        reader.poll();
    }
    publish(&mut publisher, 1);
    publisher.poll(0, &mut a, 0).unwrap();
    for i in 2..10 {
        publish(&mut publisher, i);
    }
    reader.poll();
    for _ in 0..2 {
        assert_eq!(
            publisher.poll(0, &mut a, 0),
            Err(StreamError::Link(LinkError::TooSlow))
        );
        // The ring holds the newest three of nine.
        assert_eq!(publisher.lost_by(0), 6);
    }
}

#[test]
fn the_certificate_is_sent_from_where_it_lies_and_takes_no_room_in_the_ring() {
    // Ten messages and their certificates would be more than the ring.
    let mut ring = [0; 4096];
    let mut publisher: Publisher<'_, 1> = Publisher::signed(&mut ring, &Flash, Limits::DEFAULT);
    let (mut a, end) = streams(64);
    let mut reader = Reader::new(&[b""], end.clone());
    publisher.open(0);
    for _ in 0..100 {
        publisher.poll(0, &mut a, 0).unwrap();
        reader.poll();
    }
    (0..10).for_each(|i| publish(&mut publisher, i));

    // The first message by hand: one of the pieces to send is the certificate itself.
    let mut in_place = false;
    let mut wire = Vec::new();
    loop {
        let piece = publisher.outgoing(0).unwrap();
        in_place |= piece.as_ptr() == CERTIFICATE.as_ptr();
        wire.extend_from_slice(piece);
        let n = piece.len();
        publisher.sent(0, n).unwrap();
        if wire.ends_with(b"}") {
            break;
        }
    }
    assert!(in_place);
    end.input.borrow_mut().extend(&wire);
    for _ in 0..10_000 {
        publisher.poll(0, &mut a, 0).unwrap();
        reader.poll();
    }
    assert_eq!(reader.seen, Vec::from_iter(0..10));
    assert_eq!(publisher.lost(), 0);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut ring = [0; 300];
    let mut publisher: Publisher<'_, 1> = Publisher::new(&mut ring, Limits::DEFAULT);
    let refused = publisher.publish(&envelope(1), "x".repeat(300).as_str(), &mut [0; 512]);
    assert!(
        matches!(refused, Err(PublishError::TooLarge(_))),
        "{refused:?}"
    );
    let refused = publisher.publish(&envelope(1), &f64::NAN, &mut [0; 512]);
    assert!(
        matches!(refused, Err(PublishError::Message(_))),
        "{refused:?}"
    );
    let refused = publisher.publish(&envelope(1), &1, &mut [0; 20]);
    assert!(
        matches!(refused, Err(PublishError::Message(_))),
        "{refused:?}"
    );
    publish(&mut publisher, 1);
}

#[test]
fn what_is_left_after_a_turn_is_to_be_called_for_at_once() {
    let mut ring = [0; 4096];
    let mut publisher: Publisher<'_, 1> = Publisher::signed(&mut ring, &Flash, Limits::DEFAULT);
    let (mut a, end) = streams(1 << 20);
    let mut reader = Reader::new(&[b""], end);
    publisher.open(0);
    for _ in 0..3 {
        publisher.poll(0, &mut a, 0).unwrap();
        reader.poll();
    }
    (0..15).for_each(|i| publish(&mut publisher, i));
    let mut calls = 1;
    while publisher.poll(0, &mut a, 7).unwrap() == Some(7) {
        calls += 1;
    }
    assert!(calls > 1);
    while reader
        .subscriber
        .poll(&mut reader.stream, 7, |message| {
            reader.seen.push(number(message));
        })
        .unwrap()
        == Some(7)
    {}
    assert_eq!(reader.seen, Vec::from_iter(0..15));
}

#[test]
fn a_peer_that_breaks_the_rules_loses_its_connection_alone() {
    let greeting = {
        let (mut stream, end) = streams(4096);
        Reader::new(&[b""], end.clone()).poll();
        let mut bytes = [0; 64];
        let n = Read::read(&mut stream, &mut bytes).unwrap();
        bytes[..n].to_vec()
    };
    let ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB";
    let prefix = [b'p'; MAX_SUBSCRIPTION + 1];
    let long = [&[0, 1 + prefix.len() as u8, 1][..], &prefix].concat();
    let mut many = Vec::new();
    for i in 0..50 {
        many.extend([0, 5, 1, b'a', b'b', b'c', i]);
    }
    for (bytes, expected) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "BadSignature"),
        (
            [&greeting[..], ready, &long].concat(),
            "SubscriptionTooLong",
        ),
        ([&greeting[..], ready, &many].concat(), "Subscriptions"),
    ] {
        let mut ring = [0; 1024];
        let mut publisher: Publisher<'_, 2> = Publisher::new(&mut ring, Limits::DEFAULT);
        let (mut a, good_end) = streams(4096);
        let (mut b, bad_end) = streams(4096);
        let mut good = Reader::new(&[b""], good_end);
        publisher.open(0);
        publisher.open(0);
        bad_end.output.borrow_mut().extend(&bytes);
        let mut refused = Ok(None);
        for _ in 0..10 {
            refused = refused.and_then(|_| publisher.poll(1, &mut b, 0));
            publisher.poll(0, &mut a, 0).unwrap();
            good.poll();
        }
        publisher.close(1);
        let refused = refused.unwrap_err();
        assert!(format!("{refused:?}").contains(expected), "{refused:?}");
        publish(&mut publisher, 1);
        publisher.poll(0, &mut a, 0).unwrap();
        good.poll();
        assert_eq!(good.seen, [1]);
    }
}

#[test]
fn a_silent_peer_is_given_up() {
    let heartbeat = Heartbeat {
        interval_ms: 100,
        timeout_ms: 50,
        ttl: 0,
    };
    let limits = Limits {
        handshake_timeout_ms: 1000,
        heartbeat: Some(heartbeat),
        ..Limits::DEFAULT
    };
    let mut ring = [0; 1024];
    let mut publisher: Publisher<'_, 1> = Publisher::new(&mut ring, limits);
    let (mut a, _end) = streams(4096);
    publisher.open(0);
    assert_eq!(publisher.poll(0, &mut a, 0), Ok(Some(1000)));
    let late = StreamError::Link(LinkError::Peer(PeerError::HandshakeTimeout));
    assert_eq!(publisher.poll(0, &mut a, 1000), Err(late));

    let (mut a, end) = streams(4096);
    let mut reader = Reader::new(&[b""], end);
    publisher.close(0);
    publisher.open(0);
    for _ in 0..10 {
        publisher.poll(0, &mut a, 0).unwrap();
        reader.poll();
    }
    let mut now = 0;
    for _ in 0..10 {
        now = publisher.poll(0, &mut a, now).unwrap().unwrap();
        publisher.poll(0, &mut a, now).unwrap();
        reader.poll();
        publisher.poll(0, &mut a, now).unwrap();
    }
    assert!(now > 300, "answered PINGs keep it alive");
    let silent = StreamError::Link(LinkError::Peer(PeerError::HeartbeatTimeout));
    assert_eq!(
        (0..10).find_map(|i| publisher.poll(0, &mut a, now + i * 50).err()),
        Some(silent)
    );
    a.closed.set(true);
    publisher.close(0);
    publisher.open(0);
    a.input.borrow_mut().clear();
    assert_eq!(publisher.poll(0, &mut a, now), Err(StreamError::Closed));
}

/// A clock that advances with every look at it.
#[derive(Default)]
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    async fn sleep_until(&self, at: u64) {
        poll_fn(|context| {
            if self.now() >= at {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

#[test]
fn a_shared_publisher_tells_of_each_connection_what_it_has_taken_and_lost() {
    let mut ring = [0; 256];
    let shared: Shared<'_, 1> = Shared::new(Publisher::new(&mut ring, Limits::DEFAULT));
    assert!(!shared.is_drained(0), "there is none");
    let (mut io, _end) = streams(1000);
    let mut writer = io.clone();
    let clock = Ticking::default();
    let connection = shared.open(1).unwrap();
    assert_eq!(connection.link(), 0);
    assert!(!shared.is_drained(0), "a greeting is to be sent");
    {
        let mut refused = pin!(shared.serve(&mut io, &mut writer, &clock));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(
            refused.as_mut().poll(&mut context),
            Poll::Ready(StreamError::Link(LinkError::NoLink))
        );
    }
    {
        let mut serving = pin!(connection.serve(&mut io, &mut writer, &clock));
        let mut context = Context::from_waker(Waker::noop());
        assert!(serving.as_mut().poll(&mut context).is_pending());
        assert!(
            shared.is_drained(0),
            "all that there is before a greeting comes"
        );
    }
    assert_eq!(shared.lost_by(0), 0);
    drop(connection);
    assert!(!shared.is_drained(0));
    assert!(shared.open(2).is_some());
}

#[test]
fn tasks_publish_serve_and_receive_side_by_side() {
    let mut ring = [0; 4096];
    let shared: Shared<'_, 2> = Shared::new(Publisher::new(&mut ring, Limits::DEFAULT));
    let clock = Ticking::default();
    let (mut a, mut a_end) = streams(50);
    let (mut b, mut b_end) = streams(5);
    let (mut all, mut odd) = (Vec::new(), Vec::new());
    {
        let (mut a_write, mut b_write) = (a.clone(), b.clone());
        let (mut a_end_write, mut b_end_write) = (a_end.clone(), b_end.clone());
        let (mut buffer, mut other_buffer) = ([0; 1024], [0; 1024]);
        let mut subscriber = Subscriber::new(&[b""], &mut buffer, Limits::DEFAULT, 0);
        let mut other = Subscriber::new(&[b"lab.odd"], &mut other_buffer, Limits::DEFAULT, 0);
        let mut serving = pin!(shared.serve(&mut a, &mut a_write, &clock));
        let mut serving_other = pin!(shared.serve(&mut b, &mut b_write, &clock));
        let mut receiving = pin!(
            subscriber.run(&mut a_end, &mut a_end_write, &clock, |message| {
                all.push(number(message));
            })
        );
        let mut receiving_other =
            pin!(other.run(&mut b_end, &mut b_end_write, &clock, |message| {
                odd.push(number(message));
            }));
        let mut context = Context::from_waker(Waker::noop());
        let mut published = 0;
        for _ in 0..5_000 {
            if shared.subscribers() == 2 && published < 10 {
                shared
                    .publish(&envelope(published), &[1], &mut [0; 256])
                    .unwrap();
                published += 1;
            }
            assert!(serving.as_mut().poll(&mut context).is_pending());
            assert!(receiving.as_mut().poll(&mut context).is_pending());
            assert!(serving_other.as_mut().poll(&mut context).is_pending());
            assert!(receiving_other.as_mut().poll(&mut context).is_pending());
        }
    }
    assert_eq!(all, Vec::from_iter(0..10));
    assert_eq!(odd, [1, 3, 5, 7, 9]);
    assert_eq!(
        shared.subscribers(),
        0,
        "a dropped task closes its connection"
    );

    // The end of a stream ends its task.
    a.closed.set(true);
    a.input.borrow_mut().clear();
    let mut writer = a.clone();
    let mut serving = pin!(shared.serve(&mut a, &mut writer, &clock));
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(
        serving.as_mut().poll(&mut context),
        Poll::Ready(StreamError::Closed)
    );
}

#[test]
fn a_task_whose_stream_is_stuck_never_mixes_messages() {
    // What the subscriber does while the first piece of a message is stuck on its way.
    for resubscribes in [false, true] {
        let mut ring = [0; 700];
        let shared: Shared<'_, 1> = Shared::new(Publisher::new(&mut ring, Limits::DEFAULT));
        let clock = Ticking::default();
        let (mut a, end) = streams(1000);
        let mut writer = a.clone();
        let mut reader = Reader::new(&[b""], end.clone());
        let mut serving = pin!(shared.serve(&mut a, &mut writer, &clock));
        let mut context = Context::from_waker(Waker::noop());
        while shared.subscribers() == 0 {
            assert!(serving.as_mut().poll(&mut context).is_pending());
            reader.poll();
        }
        // Nothing more goes out before the subscriber reads.
        let room = 1000 - end.input.borrow().len();
        end.input.borrow_mut().extend(vec![0; room]);
        let long = "x".repeat(200);
        shared
            .publish(&envelope(1), long.as_str(), &mut [0; 1024])
            .unwrap();
        assert!(serving.as_mut().poll(&mut context).is_pending());
        if resubscribes {
            end.output.borrow_mut().extend(b"\x00\x01\x00\x00\x01\x01");
            assert!(serving.as_mut().poll(&mut context).is_pending());
        }
        let more = if resubscribes { 3 } else { 10 };
        for i in 2..more {
            shared
                .publish(&envelope(i), long.as_str(), &mut [0; 1024])
                .unwrap();
        }
        let keep = end.input.borrow().len() - room;
        end.input.borrow_mut().truncate(keep);
        let mut ended = None;
        for _ in 0..100 {
            if ended.is_none()
                && let Poll::Ready(error) = serving.as_mut().poll(&mut context)
            {
                ended = Some(error);
            }
            reader.poll();
        }
        if resubscribes {
            assert_eq!((ended, reader.seen), (None, vec![1, 2]));
        } else {
            assert_eq!(ended, Some(StreamError::Link(LinkError::TooSlow)));
            assert!(reader.seen.is_empty());
        }
    }
}
