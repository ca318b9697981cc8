//! Subscribers that are too slow: what reaches them, what does not, and who hears of it. And
//! threads that publish at once.

use std::{
    collections::HashMap,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use fedmsg::transport::{
    Endpoint, Error, Options, Publisher, Subscriber, Transport, WhenFull, native::Native, zmq::Zmq,
};
use fedmsg_tests::{
    Ours, PATIENCE, eventually, for_transports, loopback, meet,
    monitor::{Heard, Told},
    next,
    pyzmq::Pyzmq,
    random::Random,
    raw::{self, Raw},
};

/// More than what the operating system keeps for a peer that does not read.
const FLOOD: u32 = 1000;
const BODY: usize = 64 << 10;
const HIGH_WATER_MARK: usize = 100;

/// A subscriber that reads nothing until it is told to, and then all.
struct Slow {
    peer: Raw,
    address: String,
}

impl Slow {
    fn subscribe(endpoint: &Endpoint, prefix: &[u8]) -> Self {
        let mut peer = Raw::connect(endpoint);
        let address = peer.stream().local_addr().unwrap().to_string();
        peer.handshake(1, "SUB");
        peer.send(&raw::subscribe(prefix));
        peer.ping();
        Self { peer, address }
    }

    /// The numbers of the messages, as they come.
    fn read(self) -> Receiver<u32> {
        self.read_after(|| {})
    }

    /// The same, now and then.
    fn read_with_pauses(self) -> Receiver<u32> {
        let mut random = Random(self.address.len() as u64);
        self.read_after(move || {
            if random.below(40) == 0 {
                thread::sleep(Duration::from_millis(random.below(20) as u64));
            }
        })
    }

    fn read_after(mut self, mut pause: impl FnMut() + Send + 'static) -> Receiver<u32> {
        let (got, numbers) = mpsc::channel();
        thread::spawn(move || {
            while let Some((flags, _topic)) = self.peer.next_frame() {
                assert_eq!(flags, raw::MORE);
                let (flags, body) = self.peer.read_frame();
                assert_eq!((flags, body.len()), (0, BODY));
                if got.send(number(&body)).is_err() {
                    break;
                }
                pause();
            }
        });
        numbers
    }
}

fn numbered(number: u32) -> Vec<u8> {
    let mut body = vec![b'x'; BODY];
    body[..4].copy_from_slice(&number.to_be_bytes());
    body
}

fn number(body: &[u8]) -> u32 {
    u32::from_be_bytes(body[..4].try_into().unwrap())
}

fn is_gapless(numbers: &[u32]) -> bool {
    numbers.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

#[test]
fn the_newest_reach_a_slow_subscriber_and_the_others_are_counted() {
    let heard = Heard::default();
    let options = Options {
        high_water_mark: HIGH_WATER_MARK,
        when_full: WhenFull::DropOldest,
        monitor: Some(heard.monitor()),
        ..Options::default()
    };
    let publisher = Native.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let slow = Slow::subscribe(&endpoint, b"");
    let address = slow.address.clone();
    for i in 0..FLOOD {
        publisher.send(b"org", &[&numbered(i)]).unwrap();
    }
    let numbers = slow.read();
    let mut got = Vec::new();
    while got.last() != Some(&(FLOOD - 1)) {
        got.push(next_number(&numbers));
    }
    assert!(got.is_sorted_by(|a, b| a < b), "{got:?}");
    assert!(got.len() < FLOOD as usize, "it is not slow");
    let newest = &got[got.len().saturating_sub(HIGH_WATER_MARK)..];
    assert!(
        newest.len() == HIGH_WATER_MARK && is_gapless(newest),
        "{got:?}"
    );
    let lost = u64::from(FLOOD) - got.len() as u64;
    eventually("all that it lost is told", || {
        heard.dropped(&address) == lost
    });

    // It goes on as if nothing had been.
    for i in FLOOD..FLOOD + 50 {
        publisher.send(b"org", &[&numbered(i)]).unwrap();
        assert_eq!(next_number(&numbers), i);
    }
    drop(publisher);
    assert_eq!(heard.dropped(&address), lost);
}

for_transports!(the_oldest_reach_a_slow_subscriber_where_the_newest_are_dropped);

fn the_oldest_reach_a_slow_subscriber_where_the_newest_are_dropped<T: Ours>(transport: &T) {
    let heard = Heard::default();
    let options = Options {
        high_water_mark: HIGH_WATER_MARK,
        when_full: WhenFull::DropNewest,
        monitor: Some(heard.monitor()),
        ..Options::default()
    };
    let publisher = transport.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let slow = Slow::subscribe(&endpoint, b"");
    let address = slow.address.clone();
    let mut sent = 0;
    let mut send = || {
        publisher.send(b"org", &[&numbered(sent)]).unwrap();
        sent += 1;
        sent - 1
    };
    for _ in 0..FLOOD {
        send();
    }
    let numbers = slow.read();
    let mut got = Vec::new();
    eventually("it has room again", || {
        send();
        got.extend(numbers.recv_timeout(Duration::from_millis(20)));
        got.extend(numbers.try_iter());
        got.last().is_some_and(|last| *last >= FLOOD)
    });
    // Until it has all that was kept for it.
    let last = send();
    while got.last() != Some(&last) {
        got.push(next_number(&numbers));
    }
    assert!(got.is_sorted_by(|a, b| a < b), "{got:?}");
    let oldest = &got[..HIGH_WATER_MARK.min(got.len())];
    assert_eq!(oldest.len(), HIGH_WATER_MARK, "{got:?}");
    assert!(oldest[0] == 0 && is_gapless(oldest), "{got:?}");
    assert!(got.len() < sent as usize, "it is not slow");
    // libzmq does not count them.
    if !T::LIBZMQ {
        let lost = u64::from(sent) - got.len() as u64;
        eventually("all that it lost is told", || {
            heard.dropped(&address) == lost
        });
    }
}

#[test]
fn each_subscriber_has_its_own_count_of_what_it_asked_for() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        let heard = Heard::default();
        let options = Options {
            high_water_mark: HIGH_WATER_MARK,
            when_full,
            monitor: Some(heard.monitor()),
            ..Options::default()
        };
        let publisher = Native.publisher(&options).unwrap();
        let endpoint = publisher.bind(&loopback()).unwrap();
        let prefixes = [&b"org"[..], b"org.a", b"org.b", b"org.b", b"org.c"];
        let slow = prefixes.map(|prefix| (prefix, Slow::subscribe(&endpoint, prefix)));
        let mut quick = Native.subscriber(&options).unwrap();
        quick.connect(&endpoint).unwrap();
        quick.subscribe(b"org").unwrap();
        meet(&publisher, std::slice::from_mut(&mut quick));

        // Each topic has its numbers: two of `a` for one of `b`, and nothing that `c` wants.
        let mut sent: HashMap<&[u8], u32> = HashMap::new();
        let mut send = |sent: &mut HashMap<_, u32>, topic: &'static [u8]| {
            let all = sent.entry(&b"org"[..]).or_default();
            let body = numbered(*all);
            *all += 1;
            *sent.entry(topic).or_default() += 1;
            publisher.send(topic, &[&body]).unwrap();
            assert_eq!(next(&mut quick).0, topic);
        };
        for _ in 0..FLOOD {
            for topic in [b"org.a", b"org.b", b"org.a"] {
                send(&mut sent, topic);
            }
        }
        for (prefix, slow) in slow {
            let address = slow.address.clone();
            let numbers = slow.read();
            let mut got = Vec::new();
            // Whatever is kept for it comes, and then what is sent now.
            if prefix != b"org.c" {
                let topic = if prefix == b"org.b" {
                    b"org.b"
                } else {
                    b"org.a"
                };
                eventually("it goes on", || {
                    send(&mut sent, topic);
                    got.extend(numbers.recv_timeout(Duration::from_millis(50)));
                    got.extend(numbers.try_iter());
                    got.last().is_some_and(|last| *last >= 3 * FLOOD)
                });
            }
            assert!(got.is_sorted_by(|a, b| a < b));
            // What is on its way comes too.
            eventually("what it did not get is told", || {
                got.extend(numbers.try_iter());
                let sent = u64::from(sent.get(prefix).copied().unwrap_or(0));
                heard.dropped(&address) == sent - got.len() as u64
            });
            assert_eq!(
                heard.dropped(&address) > 0,
                prefix != b"org.c",
                "{prefix:?}"
            );
        }
        let told = heard.count(|told| matches!(told, Told::Dropped { .. }));
        assert!(told < 6 * FLOOD as usize, "{told} notices");
    }
}

#[test]
fn the_count_is_exact_while_a_subscriber_reads_on_and_off() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        let heard = Heard::default();
        let options = Options {
            high_water_mark: 20,
            when_full,
            monitor: Some(heard.monitor()),
            ..Options::default()
        };
        let publisher = Native.publisher(&options).unwrap();
        let endpoint = publisher.bind(&loopback()).unwrap();
        let slow = [&b"org"[..], b"org.0"].map(|prefix| Slow::subscribe(&endpoint, prefix));
        let addresses = slow.each_ref().map(|slow| slow.address.clone());
        let numbers = slow.map(|slow| slow.read_with_pauses());
        let (mut sent, mut got) = ([0_u64; 2], [Vec::new(), Vec::new()]);
        let send = |sent: &mut [u64; 2]| {
            let number = u32::try_from(sent[0]).unwrap();
            let topic = format!("org.{}", number % 2);
            publisher
                .send(topic.as_bytes(), &[&numbered(number)])
                .unwrap();
            sent[0] += 1;
            sent[1] += u64::from(number % 2 == 0);
        };
        let mut flood = 0;
        eventually("each has lost some and goes on", || {
            for _ in 0..3 * FLOOD {
                send(&mut sent);
                flood += 1;
            }
            addresses.iter().all(|address| heard.dropped(address) > 0)
        });
        for (n, numbers) in numbers.iter().enumerate() {
            eventually("it has what is new", || {
                send(&mut sent);
                got[n].extend(numbers.recv_timeout(Duration::from_millis(20)));
                got[n].extend(numbers.try_iter());
                got[n].last().is_some_and(|last| *last >= flood)
            });
        }
        for (n, numbers) in numbers.iter().enumerate() {
            eventually("what it did not get is told", || {
                got[n].extend(numbers.try_iter());
                heard.dropped(&addresses[n]) == sent[n] - got[n].len() as u64
            });
            assert!(got[n].is_sorted_by(|a, b| a < b));
        }
    }
}

#[test]
fn what_memory_has_no_room_for_is_dropped_and_counted() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        let heard = Heard::default();
        let options = Options {
            max_memory: 4 << 20,
            when_full,
            monitor: Some(heard.monitor()),
            ..Options::default()
        };
        let publisher = Native.publisher(&options).unwrap();
        let endpoint = publisher.bind(&loopback()).unwrap();
        let slow = Slow::subscribe(&endpoint, b"");
        let address = slow.address.clone();
        let mut sent = 0;
        let mut send = || {
            publisher.send(b"org", &[&numbered(sent)]).unwrap();
            sent += 1;
        };
        for _ in 0..FLOOD {
            send();
        }
        let numbers = slow.read();
        let mut got = Vec::new();
        eventually("it goes on", || {
            send();
            got.extend(numbers.recv_timeout(Duration::from_millis(50)));
            got.extend(numbers.try_iter());
            got.last().is_some_and(|last| *last >= FLOOD)
        });
        eventually("what it did not get is told", || {
            got.extend(numbers.try_iter());
            heard.dropped(&address) == u64::from(sent) - got.len() as u64
        });
        assert!(heard.dropped(&address) > 0, "it is not slow");
        assert!(got.is_sorted_by(|a, b| a < b));
    }
}

mod block {
    use super::*;

    for_transports!(
        nothing_is_lost_where_the_publisher_waits,
        a_publisher_waits_no_longer_for_who_is_gone,
        threads_that_wait_keep_their_order,
        closing_a_publisher_ends_what_waits_in_it,
    );
}

fn blocking() -> Options {
    Options {
        high_water_mark: 10,
        when_full: WhenFull::Block,
        ..Options::default()
    }
}

fn nothing_is_lost_where_the_publisher_waits<T: Ours>(transport: &T) {
    nothing_is_lost(transport, &Native);
    nothing_is_lost(transport, &Zmq);
    nothing_is_lost(transport, &Pyzmq);
}

fn nothing_is_lost<T: Ours, S: Transport>(transport: &T, subscribers: &S)
where
    S::Subscriber: Send,
{
    const COUNT: u32 = 1500;
    let heard = Heard::default();
    let options = Options {
        monitor: Some(heard.monitor()),
        ..blocking()
    };
    let publisher = transport.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    // All, all and slowly, every third.
    let mut all = [0, 1, 2].map(|_| {
        let mut subscriber = subscribers.subscriber(&blocking()).unwrap();
        subscriber.connect(&endpoint).unwrap();
        subscriber
    });
    meet(&publisher, &mut all);
    let subscribed = [&b"org"[..], b"org", b"org.0"];
    for (subscriber, prefix) in all.iter_mut().zip(subscribed) {
        subscriber.subscribe(prefix).unwrap();
    }
    meet(&publisher, &mut all);
    thread::scope(|scope| {
        for (n, subscriber) in all.iter_mut().enumerate() {
            scope.spawn(move || {
                for i in (0..COUNT).step_by(if n == 2 { 3 } else { 1 }) {
                    let (topic, body) = next(subscriber);
                    assert_eq!(topic, format!("org.{}", i % 3).into_bytes());
                    assert_eq!(number(&body), i, "of subscriber {n}");
                    if n == 1 && i % 100 == 0 {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
        for i in 0..COUNT {
            let topic = format!("org.{}", i % 3);
            publisher.send(topic.as_bytes(), &[&numbered(i)]).unwrap();
        }
    });
    assert_eq!(heard.count(|told| matches!(told, Told::Dropped { .. })), 0);
    publisher.close().unwrap();
}

fn a_publisher_waits_no_longer_for_who_is_gone<T: Ours>(transport: &T) {
    let publisher = transport.publisher(&blocking()).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let deaf = Slow::subscribe(&endpoint, b"org");
    let sent = AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..FLOOD {
                publisher.send(b"org", &[&numbered(i)]).unwrap();
                sent.store(i + 1, Ordering::Relaxed);
            }
        });
        let mut before = 0;
        eventually("it waits", || {
            thread::sleep(Duration::from_millis(300));
            let now = sent.load(Ordering::Relaxed);
            std::mem::replace(&mut before, now) == now && now > 0
        });
        assert!(before < FLOOD, "it waited for nobody");
        // Meanwhile others have their answers.
        assert_eq!(publisher.subscribers().unwrap(), 1);
        assert!(publisher.wait_for_subscriber(Duration::ZERO).unwrap());
        publisher.interests(0).unwrap();
        drop(deaf);
    });
    assert_eq!(sent.load(Ordering::Relaxed), FLOOD);
}

fn closing_a_publisher_ends_what_waits_in_it<T: Ours>(transport: &T) {
    let options = Options {
        linger: Duration::from_millis(100),
        ..blocking()
    };
    let full = transport.publisher(&options).unwrap();
    let endpoint = full.bind(&loopback()).unwrap();
    let deaf = Slow::subscribe(&endpoint, b"org");
    let alone = transport.publisher(&options).unwrap();
    let sent = AtomicU32::new(0);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            loop {
                match full.send(b"org", &[&numbered(0)]) {
                    Ok(()) => sent.fetch_add(1, Ordering::Relaxed),
                    Err(error) => break error,
                };
            }
        });
        let lonely = scope.spawn(|| alone.wait_for_subscriber(2 * PATIENCE));
        let mut before = 0;
        eventually("it waits", || {
            thread::sleep(Duration::from_millis(300));
            let now = sent.load(Ordering::Relaxed);
            std::mem::replace(&mut before, now) == now && now > 0
        });
        assert!(!waiting.is_finished() && !lonely.is_finished());
        let lost = full.close();
        // libzmq does not tell.
        assert!(
            T::LIBZMQ || matches!(lost, Err(Error::Lost { messages: 1.. })),
            "{lost:?}"
        );
        alone.close().unwrap();
        assert!(matches!(waiting.join().unwrap(), Error::Closed));
        assert!(matches!(lonely.join().unwrap(), Err(Error::Closed)));
    });
    // And it stays closed.
    assert!(matches!(full.send(b"org", &[]), Err(Error::Closed)));
    assert!(matches!(full.subscribers(), Err(Error::Closed)));
    assert!(matches!(full.interests(0), Err(Error::Closed)));
    assert!(matches!(
        full.wait_for_subscriber(PATIENCE),
        Err(Error::Closed)
    ));
    assert!(matches!(full.bind(&loopback()), Err(Error::Closed)));
    assert!(matches!(full.connect(&endpoint), Err(Error::Closed)));
    full.close().unwrap();
    drop(deaf);
}

fn threads_that_wait_keep_their_order<T: Ours>(transport: &T) {
    each_thread_keeps_its_order(transport, &blocking());
}

mod threads {
    use super::*;

    for_transports!(threads_that_publish_at_once_keep_their_order);
}

fn threads_that_publish_at_once_keep_their_order<T: Ours>(transport: &T) {
    each_thread_keeps_its_order(transport, &Options::default());
}

fn each_thread_keeps_its_order<T: Ours>(transport: &T, options: &Options) {
    order_of_threads(transport, &Native, options);
    order_of_threads(transport, &Zmq, options);
}

fn order_of_threads<T: Ours, S: Ours>(transport: &T, subscribers: &S, options: &Options) {
    const THREADS: u8 = 4;
    const COUNT: u32 = 5000;
    let publisher = &transport.publisher(options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut subscriber = subscribers.subscriber(options).unwrap();
    subscriber.connect(&endpoint).unwrap();
    subscriber.subscribe(b"thread").unwrap();
    meet(publisher, std::slice::from_mut(&mut subscriber));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for i in 0..COUNT {
                    let i = i.to_be_bytes();
                    let body: [&[u8]; 3] = [&[thread], &i, &[thread; 50]];
                    publisher.send(b"thread", &body).unwrap();
                }
            });
        }
        let mut counts = [0_u32; THREADS as usize];
        while counts != [COUNT; THREADS as usize] {
            let (topic, body) = next(&mut subscriber);
            assert_eq!(topic, b"thread");
            let (head, rest) = body.split_at(5);
            let count = &mut counts[usize::from(head[0])];
            assert_eq!(head[1..], count.to_be_bytes());
            assert_eq!(rest, [head[0]; 50]);
            *count += 1;
        }
    });
}

#[track_caller]
fn next_number(numbers: &Receiver<u32>) -> u32 {
    numbers.recv_timeout(PATIENCE).unwrap()
}
