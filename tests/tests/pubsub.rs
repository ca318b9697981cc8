//! Publish and subscribe, with every peer on either side: what arrives, what does not, and in
//! which order.

use std::time::Duration;

use fedmsg::transport::{Options, Publisher, Subscriber, Transport, zmq::Zmq};
use fedmsg_tests::{
    Ours, eventually, for_pairs, for_transports, loopback, meet, next, pyzmq::Pyzmq,
};

for_pairs!(
    messages_of_any_size_arrive_unchanged_whichever_side_binds,
    prefixes_are_byte_prefixes,
    a_prefix_subscribed_twice_gives_one_copy_and_takes_two_unsubscribes,
    overlapping_prefixes_give_one_copy,
    every_subscriber_gets_everything_in_order,
    one_bound_subscriber_hears_many_publishers,
    one_subscriber_connects_to_many_publishers,
    a_slow_subscriber_holds_up_nobody,
);

fn messages_of_any_size_arrive_unchanged_whichever_side_binds<P: Transport, S: Transport>(
    publishers: &P,
    subscribers: &S,
) {
    for publisher_binds in [true, false] {
        let publisher = publishers.publisher(&Options::default()).unwrap();
        let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
        if publisher_binds {
            subscriber
                .connect(&publisher.bind(&loopback()).unwrap())
                .unwrap();
        } else {
            publisher
                .connect(&subscriber.bind(&loopback()).unwrap())
                .unwrap();
        }
        subscriber.subscribe(b"").unwrap();
        meet(&publisher, std::slice::from_mut(&mut subscriber));

        for topic_len in [0, 1, 255, 256] {
            let topic = pattern(topic_len);
            for body_len in [0, 1, 255, 256, 64 << 10] {
                let body = pattern(body_len);
                publisher.send(&topic, &[&body]).unwrap();
                assert_eq!(next(&mut subscriber), (topic.clone(), body));
            }
        }
        let large = pattern(8 << 20);
        let (head, tail) = large.split_at(100_001);
        publisher.send(b"large", &[head, b"", tail]).unwrap();
        assert!(next(&mut subscriber) == (b"large".to_vec(), large));
    }
}

fn prefixes_are_byte_prefixes<P: Transport, S: Transport>(publishers: &P, subscribers: &S) {
    type Topics<'a> = &'a [&'a [u8]];
    // Prefixes, topics that begin with one of them, and topics that do not.
    let cases: [(Topics<'_>, Topics<'_>, Topics<'_>); 4] = [
        (
            &[b"org.a"],
            &[b"org.a", b"org.a.b", b"org.ab"],
            &[b"org", b"org.b", b"Org.a", b"\0org.a", b""],
        ),
        (&[b""], &[b"", b"org", b"\xff\0"], &[]),
        // Two bytes of an UTF-8 character's three, and bytes that are no UTF-8.
        (
            &[b"\xe2\x82", b"\xff"],
            &["\u{20ac}".as_bytes(), b"\xff\xff"],
            &[b"\xe2", b"\xfe"],
        ),
        (&[b"a", b"ab\0c"], &[b"a\0", b"ab\0c"], &[b"b", b"\0a"]),
    ];
    for (prefixes, wanted, unwanted) in cases {
        let publisher = publishers.publisher(&Options::default()).unwrap();
        let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
        subscriber
            .connect(&publisher.bind(&loopback()).unwrap())
            .unwrap();
        for prefix in prefixes {
            subscriber.subscribe(prefix).unwrap();
        }
        meet(&publisher, std::slice::from_mut(&mut subscriber));
        for topic in unwanted.iter().chain(wanted) {
            publisher.send(topic, &[]).unwrap();
        }
        for topic in wanted {
            assert_eq!(next(&mut subscriber).0, *topic);
        }
    }
}

fn a_prefix_subscribed_twice_gives_one_copy_and_takes_two_unsubscribes<
    P: Transport,
    S: Transport,
>(
    publishers: &P,
    subscribers: &S,
) {
    let publisher = publishers.publisher(&Options::default()).unwrap();
    let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
    subscriber
        .connect(&publisher.bind(&loopback()).unwrap())
        .unwrap();
    subscriber.subscribe(b"marker").unwrap();
    let gets = |publisher: &P::Publisher, subscriber: &mut S::Subscriber, copies| {
        meet(publisher, std::slice::from_mut(subscriber));
        publisher.send(b"twice", &[]).unwrap();
        publisher.send(b"marker", &[]).unwrap();
        for _ in 0..copies {
            assert_eq!(next(subscriber).0, b"twice");
        }
        assert_eq!(next(subscriber).0, b"marker");
    };
    subscriber.subscribe(b"twice").unwrap();
    subscriber.subscribe(b"twice").unwrap();
    gets(&publisher, &mut subscriber, 1);
    subscriber.unsubscribe(b"twice").unwrap();
    gets(&publisher, &mut subscriber, 1);
    subscriber.unsubscribe(b"twice").unwrap();
    gets(&publisher, &mut subscriber, 0);
    // One too many, and one of what never was.
    subscriber.unsubscribe(b"twice").unwrap();
    subscriber.unsubscribe(b"never").unwrap();
    gets(&publisher, &mut subscriber, 0);
    subscriber.subscribe(b"twice").unwrap();
    gets(&publisher, &mut subscriber, 1);
}

fn overlapping_prefixes_give_one_copy<P: Transport, S: Transport>(publishers: &P, subscribers: &S) {
    let publisher = publishers.publisher(&Options::default()).unwrap();
    let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
    subscriber
        .connect(&publisher.bind(&loopback()).unwrap())
        .unwrap();
    for prefix in [b"".as_slice(), b"org", b"org.a", b"org.a.b"] {
        subscriber.subscribe(prefix).unwrap();
    }
    meet(&publisher, std::slice::from_mut(&mut subscriber));
    publisher.send(b"org.a.b.c", &[b"1"]).unwrap();
    publisher.send(b"org.a", &[b"2"]).unwrap();
    assert_eq!(next(&mut subscriber).1, b"1");
    assert_eq!(next(&mut subscriber).1, b"2");
    subscriber.unsubscribe(b"").unwrap();
    subscriber.unsubscribe(b"org").unwrap();
    eventually("what was taken back is", || {
        publisher.send(b"org", &[b"3"]).unwrap();
        publisher.send(b"org.a.b", &[b"4"]).unwrap();
        next(&mut subscriber).1 == b"4" || next(&mut subscriber).1 != b"4"
    });
}

fn every_subscriber_gets_everything_in_order<P: Transport, S: Transport>(
    publishers: &P,
    subscribers: &S,
) {
    // A process for each of pyzmq's sockets: 64 of them say no more than 8.
    let many = if std::any::type_name::<S>() == std::any::type_name::<Pyzmq>() {
        8
    } else {
        64
    };
    for count in [1, 8, many] {
        let publisher = publishers.publisher(&Options::default()).unwrap();
        let endpoint = publisher.bind(&loopback()).unwrap();
        let mut all: Vec<_> = (0..count)
            .map(|_| {
                let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
                subscriber.connect(&endpoint).unwrap();
                subscriber.subscribe(b"org.").unwrap();
                subscriber
            })
            .collect();
        meet(&publisher, &mut all);
        for i in 0..100_u32 {
            publisher
                .send(b"org.example", &[&i.to_be_bytes(), &pattern(200)])
                .unwrap();
        }
        for subscriber in &mut all {
            for i in 0..100_u32 {
                let (topic, body) = next(subscriber);
                assert_eq!(topic, b"org.example");
                assert_eq!(body, [&i.to_be_bytes()[..], &pattern(200)].concat());
            }
        }
    }
}

fn one_bound_subscriber_hears_many_publishers<P: Transport, S: Transport>(
    publishers: &P,
    subscribers: &S,
) {
    let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
    let endpoint = subscriber.bind(&loopback()).unwrap();
    for i in 0..5_u8 {
        let publisher = publishers.publisher(&Options::default()).unwrap();
        publisher.connect(&endpoint).unwrap();
        meet(&publisher, std::slice::from_mut(&mut subscriber));
        subscriber.subscribe(b"org").unwrap();
        meet(&publisher, std::slice::from_mut(&mut subscriber));
        publisher.send(b"org", &[&[i]]).unwrap();
        assert_eq!(next(&mut subscriber), (b"org".to_vec(), vec![i]));
        // What it still holds when it is closed is sent.
        publisher.send(b"org", &[&pattern(1 << 20)]).unwrap();
        publisher.close().unwrap();
        assert_eq!(next(&mut subscriber).1.len(), 1 << 20);
        subscriber.unsubscribe(b"org").unwrap();
    }
}

fn one_subscriber_connects_to_many_publishers<P: Transport, S: Transport>(
    publishers: &P,
    subscribers: &S,
) {
    let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
    subscriber.subscribe(b"org.a").unwrap();
    let mut all: Vec<_> = (0..5)
        .map(|_| {
            let publisher = publishers.publisher(&Options::default()).unwrap();
            subscriber
                .connect(&publisher.bind(&loopback()).unwrap())
                .unwrap();
            publisher
        })
        .collect();
    for publisher in &mut all {
        meet(publisher, std::slice::from_mut(&mut subscriber));
    }
    for (i, publisher) in all.iter_mut().enumerate() {
        publisher.send(b"org.b", &[]).unwrap();
        publisher
            .send(b"org.a", &[&[u8::try_from(i).unwrap()]])
            .unwrap();
        assert_eq!(
            next(&mut subscriber),
            (b"org.a".to_vec(), vec![u8::try_from(i).unwrap()])
        );
    }
}

fn a_slow_subscriber_holds_up_nobody<P: Transport, S: Transport>(publishers: &P, subscribers: &S) {
    // Enough to fill every queue and buffer on the way to a subscriber that does not read.
    let options = Options {
        high_water_mark: 100,
        ..Options::default()
    };
    let publisher = publishers.publisher(&options).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    let mut all = [0, 1].map(|_| {
        let mut subscriber = subscribers.subscriber(&options).unwrap();
        subscriber.connect(&endpoint).unwrap();
        subscriber.subscribe(b"").unwrap();
        subscriber
    });
    meet(&publisher, &mut all);
    let [slow, quick] = &mut all;
    let body = pattern(64 << 10);
    for i in 0..1000_u32 {
        publisher.send(&i.to_be_bytes(), &[&body]).unwrap();
        assert_eq!(next(quick).0, i.to_be_bytes());
    }
    // The slow one lost some, what it gets is whole and in order, and it goes on.
    let mut got = Vec::new();
    loop {
        publisher.send(b"again", &[]).unwrap();
        let Some(message) = slow.recv(Duration::from_millis(50)).unwrap() else {
            continue;
        };
        let (topic, content) = message.topic_and_body().unwrap();
        if topic == b"again" {
            break;
        }
        assert!(content == body);
        got.push(u32::from_be_bytes(topic.try_into().unwrap()));
    }
    assert!(got.is_sorted_by(|a, b| a < b));
    assert!(!got.is_empty() && got.len() < 1000, "{} of 1000", got.len());
    assert_eq!(next(quick).0, b"again");
}

for_transports!(
    a_subscriber_hands_on_messages_of_any_number_of_frames,
    a_publisher_counts_its_subscribers,
    sending_more_than_the_limit_is_an_error_and_nothing_else,
    an_address_in_use_is_an_error_that_names_it,
    every_address_and_ipv6_can_be_bound,
    a_receive_without_a_message_ends_in_time,
);

fn a_subscriber_hands_on_messages_of_any_number_of_frames<T: Ours>(transport: &T) {
    let publisher = Pyzmq.publisher(&Options::default()).unwrap();
    let mut subscriber = transport.subscriber(&Options::default()).unwrap();
    subscriber
        .connect(&publisher.bind(&loopback()).unwrap())
        .unwrap();
    subscriber.subscribe(b"org").unwrap();
    meet(&publisher, std::slice::from_mut(&mut subscriber));
    let large = pattern(70_000);
    let messages: [&[&[u8]]; 5] = [
        &[b"org"],
        &[b"org", b""],
        &[b"org", b"1", b"2"],
        &[b"org", b"", b"", b"", b""],
        &[b"org", &large, &large],
    ];
    for frames in messages {
        publisher.send_frames(frames).unwrap();
        let message = subscriber.recv(fedmsg_tests::PATIENCE).unwrap().unwrap();
        assert_eq!(fedmsg_tests::frames(&message), frames);
        assert_eq!(message.topic_and_body().is_some(), frames.len() == 2);
    }
}

fn a_publisher_counts_its_subscribers<T: Ours>(transport: &T) {
    let publisher = transport.publisher(&Options::default()).unwrap();
    let endpoint = publisher.bind(&loopback()).unwrap();
    assert_eq!(publisher.subscribers().unwrap(), 0);
    let counts = |what, count| {
        eventually(what, || publisher.subscribers().unwrap() == count);
    };
    let mut first = Zmq.subscriber(&Options::default()).unwrap();
    first.connect(&endpoint).unwrap();
    first.subscribe(b"org.a").unwrap();
    counts("one, with one prefix", 1);
    first.subscribe(b"org.b").unwrap();
    let mut second = Pyzmq.subscriber(&Options::default()).unwrap();
    second.subscribe(b"org.a").unwrap();
    second.connect(&endpoint).unwrap();
    counts("two, of which one has two prefixes", 2);
    first.unsubscribe(b"org.b").unwrap();
    second.kill();
    counts("one again", 1);
    first.unsubscribe(b"org.a").unwrap();
    counts("none, though one is connected", 0);
    first.subscribe(b"").unwrap();
    counts("one, with the empty prefix", 1);
    drop(first);
    counts("none", 0);
}

fn sending_more_than_the_limit_is_an_error_and_nothing_else<T: Ours>(transport: &T) {
    let options = Options {
        max_message: 1000,
        ..Options::default()
    };
    let publisher = transport.publisher(&options).unwrap();
    let mut subscriber = transport.subscriber(&options).unwrap();
    subscriber
        .connect(&publisher.bind(&loopback()).unwrap())
        .unwrap();
    subscriber.subscribe(b"").unwrap();
    meet(&publisher, std::slice::from_mut(&mut subscriber));
    let body = pattern(997);
    match publisher.send(b"long", &[&body]) {
        Err(fedmsg::transport::Error::TooLarge {
            size: 1001,
            limit: 1000,
        }) => {}
        other => panic!("{other:?}"),
    }
    publisher.send(b"fit", &[&body]).unwrap();
    assert_eq!(next(&mut subscriber), (b"fit".to_vec(), body));
}

fn an_address_in_use_is_an_error_that_names_it<T: Ours>(transport: &T) {
    let first = transport.publisher(&Options::default()).unwrap();
    let endpoint = first.bind(&loopback()).unwrap();
    assert_ne!(endpoint.port(), Some(0));
    let error = transport
        .publisher(&Options::default())
        .unwrap()
        .bind(&endpoint)
        .unwrap_err();
    assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
    let error = transport
        .subscriber(&Options::default())
        .unwrap()
        .bind(&endpoint)
        .unwrap_err();
    assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
}

fn every_address_and_ipv6_can_be_bound<T: Ours>(transport: &T) {
    for (bind, connect) in [
        ("tcp://*:0", "127.0.0.1"),
        ("tcp://0.0.0.0:0", "127.0.0.1"),
        ("tcp://localhost:0", "localhost"),
        ("tcp://[::1]:0", "::1"),
        ("tcp://*:0", "::1"),
    ] {
        let publisher = transport.publisher(&Options::default()).unwrap();
        let bound = publisher.bind(&bind.parse().unwrap()).unwrap();
        let mut subscriber = transport.subscriber(&Options::default()).unwrap();
        let endpoint = fedmsg::transport::Endpoint::tcp(connect, bound.port().unwrap());
        subscriber.connect(&endpoint).unwrap();
        meet(&publisher, std::slice::from_mut(&mut subscriber));
    }
}

fn a_receive_without_a_message_ends_in_time<T: Ours>(transport: &T) {
    let mut subscriber = transport.subscriber(&Options::default()).unwrap();
    subscriber.bind(&loopback()).unwrap();
    subscriber.subscribe(b"").unwrap();
    assert_eq!(subscriber.recv(Duration::ZERO).unwrap(), None);
    assert_eq!(subscriber.recv(Duration::from_millis(20)).unwrap(), None);
}

/// Bytes in which a shift or a swap would be seen.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}
