//! The native transport's limits, and what it tells.
#![allow(clippy::expect_used, reason = "that is how a test's helper fails")]

use fedmsg::transport::{
    Endpoint, Error, Monitor, Notice, Options, Publisher, Replier, Requester, Subscriber,
    Transport, WhenFull, native::Native,
};
use std::{
    io::Write as _,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn loopback() -> Endpoint {
    Endpoint::tcp("127.0.0.1", 0)
}

/// Why connections ended, and who hears of it.
fn monitor() -> (Arc<Mutex<Vec<String>>>, Monitor) {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ended);
    let monitor = Monitor(Arc::new(move |notice: Notice<'_>| {
        if let Notice::Ended { reason, .. } = notice {
            told.lock().expect("no panic").push(reason.to_string());
        }
    }));
    (ended, monitor)
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A subscriber to everything that never reads.
fn deaf(endpoint: &Endpoint) -> TcpStream {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[8..17].copy_from_slice(b"\x01\x7f\x03\x01NULL\x00");
    let mut stream = TcpStream::connect(endpoint.to_string().trim_start_matches("tcp://"))
        .expect("a connection");
    stream.write_all(&greeting).expect("it takes a greeting");
    let rest = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB\x00\x01\x01";
    stream.write_all(rest).expect("it takes a subscription");
    stream
}

#[test]
fn a_reader_that_pauses_with_a_full_queue_keeps_its_connection() {
    let heartbeat = Duration::from_millis(150);
    let (ended, monitor) = monitor();
    let options = Options {
        heartbeat: Some(heartbeat),
        heartbeat_timeout: heartbeat,
        max_memory: 256 << 10,
        monitor: Some(monitor),
        ..Options::default()
    };
    let publisher = Native.publisher(&Options::default()).expect("a socket");
    let endpoint = publisher.bind(&loopback()).expect("a port");
    let mut subscriber = Native.subscriber(&options).expect("a socket");
    subscriber.subscribe(b"").expect("a subscription");
    subscriber.connect(&endpoint).expect("a connection");
    wait_for("no subscriber", || {
        publisher.subscribers().expect("open") == 1
    });

    for _ in 0..2000 {
        publisher
            .send(b"topic", &[&[b'x'; 4000]])
            .expect("it is sent");
    }
    thread::sleep(10 * heartbeat);
    for number in 0..2000 {
        let message = subscriber.recv(PATIENCE).expect("open");
        assert!(message.is_some(), "message {number} is missing");
    }
    assert_eq!(*ended.lock().expect("no panic"), Vec::<String>::new());
    assert_eq!(publisher.lost(), 0);
}

#[test]
fn what_is_kept_for_subscribers_stuck_in_a_message_has_its_limit() {
    let (ended, monitor) = monitor();
    let options = Options {
        max_memory: 16 << 20,
        max_message: 13 << 20,
        monitor: Some(monitor),
        ..Options::default()
    };
    let publisher = Native.publisher(&options).expect("a socket");
    let endpoint = publisher.bind(&loopback()).expect("a port");
    let deaf = [(); 6].map(|()| deaf(&endpoint));
    wait_for("not all subscribed", || {
        publisher.subscribers().expect("open") == 6
    });

    // Each is larger than what the operating system takes for a peer that does not read.
    let large = vec![b'x'; 12 << 20];
    publisher.send(b"topic", &[&large]).expect("it is sent");
    thread::sleep(Duration::from_millis(300));
    publisher.send(b"topic", &[&large]).expect("it is sent");
    // One rest fits, or none, beside which there is no room for another.
    wait_for("they are all kept", || {
        ended.lock().expect("no panic").len() >= 5
    });
    for reason in &*ended.lock().expect("no panic") {
        assert_eq!(reason, "too slow for the message under way");
    }
    drop(deaf);
}

#[test]
fn messages_lost_to_a_slow_subscriber_are_counted() {
    let options = Options {
        high_water_mark: 10,
        ..Options::default()
    };
    let publisher = Native.publisher(&options).expect("a socket");
    let endpoint = publisher.bind(&loopback()).expect("a port");
    let slow = deaf(&endpoint);
    wait_for("no subscriber", || {
        publisher.subscribers().expect("open") == 1
    });
    for _ in 0..100 {
        publisher
            .send(b"topic", &[&[b'x'; 1 << 20]])
            .expect("it is sent");
    }
    drop(slow);
    wait_for("it is still there", || {
        publisher.subscribers().expect("open") == 0
    });
    // The ring holds 32 of them; the operating system and the high-water mark, a few.
    let lost = publisher.lost();
    assert!((50..=90).contains(&lost), "{lost} lost");

    let mut fast = Native.subscriber(&Options::default()).expect("a socket");
    fast.subscribe(b"").expect("a subscription");
    fast.connect(&endpoint).expect("a connection");
    wait_for("no subscriber", || {
        publisher.subscribers().expect("open") == 1
    });
    for i in 0..5_u8 {
        publisher.send(b"topic", &[&[i]]).expect("it is sent");
    }
    for i in 0..5 {
        let message = fast.recv(PATIENCE).expect("open").expect("a message");
        assert_eq!(message.topic_and_body(), Some((&b"topic"[..], &[i][..])));
    }
    assert_eq!(publisher.lost(), lost);
}

#[test]
fn a_socket_whose_thread_is_gone_says_so() {
    let options = Options {
        monitor: Some(Monitor(Arc::new(|_| panic!("a monitor that panics")))),
        ..Options::default()
    };
    let publisher = Native.publisher(&options).expect("a socket");
    let endpoint = publisher.bind(&loopback()).expect("a port");
    let peer = deaf(&endpoint);
    wait_for("it is still open", || {
        matches!(publisher.send(b"topic", &[b"body"]), Err(Error::Closed))
    });
    assert!(matches!(publisher.subscribers(), Err(Error::Closed)));
    drop(peer);
}

#[test]
fn closing_with_a_linger_time_without_end_ends_when_all_is_sent() {
    let options = Options {
        linger: Duration::MAX,
        reconnect: Duration::MAX,
        ..Options::default()
    };
    let publisher = Native.publisher(&options).expect("a socket");
    publisher.bind(&loopback()).expect("a port");
    publisher
        .connect(&Endpoint::tcp("127.0.0.1", 1))
        .expect("tried again");
    publisher.send(b"topic", &[b"body"]).expect("it is sent");
    thread::sleep(Duration::from_millis(50));
    publisher.close().expect("nobody wants anything");
}

#[test]
fn closing_tells_what_a_subscriber_did_not_take_in_time() {
    let options = Options {
        linger: Duration::from_millis(100),
        ..Options::default()
    };
    for (count, lost) in [(0, 0), (20, 20)] {
        let publisher = Native.publisher(&options).expect("a socket");
        let endpoint = publisher.bind(&loopback()).expect("a port");
        let deaf = deaf(&endpoint);
        wait_for("no subscriber", || {
            publisher.subscribers().expect("open") == 1
        });
        for _ in 0..count {
            publisher
                .send(b"topic", &[&[b'x'; 1 << 20]])
                .expect("it is sent");
        }
        match publisher.close() {
            Ok(()) => assert_eq!(lost, 0),
            Err(Error::Lost { messages }) => assert!((1..=lost).contains(&messages)),
            Err(error) => panic!("{error}"),
        }
        drop(deaf);
    }
}

#[test]
fn closing_wakes_whoever_waits_for_a_subscriber_that_does_not_read() {
    let options = Options {
        high_water_mark: 2,
        when_full: WhenFull::Block,
        linger: Duration::from_millis(50),
        ..Options::default()
    };
    let publisher = Native.publisher(&options).expect("a socket");
    let endpoint = publisher.bind(&loopback()).expect("a port");
    let _deaf = deaf(&endpoint);
    assert!(publisher.wait_for_subscriber(PATIENCE).expect("open"));
    let sent = AtomicUsize::new(0);
    let count = || sent.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let body = vec![0; 1 << 20];
            loop {
                match publisher.send(b"topic", &[&body]) {
                    Ok(()) => sent.fetch_add(1, Ordering::Relaxed),
                    Err(error) => return error,
                };
            }
        });
        // Until the kernel takes no more, and it waits.
        let mut before = usize::MAX;
        while count() != before {
            before = count();
            thread::sleep(Duration::from_millis(200));
        }
        let closed = publisher.close();
        assert!(matches!(closed, Err(Error::Lost { messages: 1.. })));
        assert!(matches!(sender.join(), Ok(Error::Closed)));
    });
    assert!(publisher.close().is_ok(), "closing again");
    assert!(matches!(publisher.subscribers(), Err(Error::Closed)));
}

#[test]
fn asking_without_waiting_brings_messages_too() {
    let publisher = Native.publisher(&Options::default()).expect("a socket");
    let endpoint = publisher.bind(&loopback()).expect("a port");
    let mut subscriber = Native.subscriber(&Options::default()).expect("a socket");
    subscriber.subscribe(b"").expect("a subscription");
    subscriber.connect(&endpoint).expect("a connection");
    for wait in [Duration::ZERO, Duration::from_micros(1)] {
        let start = Instant::now();
        // Never long enough away for the socket's own thread.
        while subscriber.recv(wait).expect("open").is_none() {
            publisher.send(b"topic", &[b"body"]).expect("it is sent");
            assert!(start.elapsed() < PATIENCE, "no message");
        }
    }
}

#[test]
fn a_question_without_frames_is_an_empty_one() {
    let mut replier = Native.replier(&Options::default()).expect("a socket");
    let endpoint = replier.bind(&loopback()).expect("a port");
    let mut requester = Native.requester(&Options::default()).expect("a socket");
    requester.connect(&endpoint).expect("a connection");
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                let question = replier.recv(PATIENCE).expect("open").expect("a question");
                assert!(question.frames.frames().eq([b""]));
                replier.reply(&[]).expect("it is sent");
            }
        });
        for _ in 0..2 {
            let answer = requester.request(&[], PATIENCE).expect("open");
            assert!(answer.expect("an answer").frames.frames().eq([b""]));
        }
    });
}
