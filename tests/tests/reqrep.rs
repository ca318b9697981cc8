//! Questions and answers, with every peer on either side.

use std::{collections::HashSet, sync::mpsc, thread, time::Duration};

use fedmsg::transport::{Error, Options, Replier, Requester, Transport};
use fedmsg_tests::{
    Ours, PATIENCE, eventually, for_pairs, for_transports, frames, loopback,
    raw::{self, Raw},
};

for_pairs!(
    questions_and_answers_of_any_frames_arrive_unchanged,
    everybody_gets_the_answer_to_their_own_question,
    a_late_answer_is_never_the_next_questions,
    a_requester_goes_on_when_its_server_is_restarted,
    a_requester_may_come_before_its_server,
);

fn questions_and_answers_of_any_frames_arrive_unchanged<Q: Transport, A: Transport>(
    requesters: &Q,
    repliers: &A,
) {
    let large = pattern(8 << 20);
    let many = vec![&b"x"[..]; 2000];
    let messages: [&[&[u8]]; 10] = [
        &[b"1"],
        &[b""],
        &[b"", b""],
        &[b"", b"x", b""],
        &[b"1", b"2", b"3"],
        &[&large[..255], &large[..256], b"\0", b"\x01\0"],
        &[&large],
        &[&large, b"", &large],
        &many,
        &[b"last"],
    ];
    let mut replier = repliers.replier(&roomy()).unwrap();
    let endpoint = replier.bind(&loopback()).unwrap();
    let mut requester = requesters.requester(&roomy()).unwrap();
    requester.connect(&endpoint).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Each is answered with the one before it.
            for (n, question) in messages.iter().enumerate() {
                let asked = replier.recv(PATIENCE).unwrap().expect("a question");
                assert!(frames(&asked) == *question, "question {n}");
                assert_eq!(*asked.endpoint, endpoint);
                let answer = messages[(n + messages.len() - 1) % messages.len()];
                replier.reply(answer).unwrap();
            }
        });
        for (n, question) in messages.iter().enumerate() {
            let answer = requester.request(question, PATIENCE).unwrap();
            let answer = answer.expect("an answer");
            let expected = messages[(n + messages.len() - 1) % messages.len()];
            assert!(frames(&answer) == expected, "answer {n}");
            assert_eq!(*answer.endpoint, endpoint);
        }
    });
}

fn everybody_gets_the_answer_to_their_own_question<Q: Transport, A: Transport>(
    requesters: &Q,
    repliers: &A,
) {
    const CLIENTS: u8 = 6;
    const QUESTIONS: u8 = 50;
    let mut replier = repliers.replier(&Options::default()).unwrap();
    let endpoint = &replier.bind(&loopback()).unwrap();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut requester = requesters.requester(&Options::default()).unwrap();
            requester.connect(endpoint).unwrap();
            scope.spawn(move || {
                for n in 0..QUESTIONS {
                    let answer = requester.request(&[&[client], &[n]], PATIENCE).unwrap();
                    let answer = frames(&answer.expect("an answer"));
                    assert_eq!(answer, [&[n][..], &[client], b"answer"]);
                }
            });
        }
        for _ in 0..u32::from(CLIENTS) * u32::from(QUESTIONS) {
            let question = frames(&replier.recv(PATIENCE).unwrap().expect("a question"));
            let answer = [&question[1][..], &question[0], b"answer"];
            replier.reply(&answer).unwrap();
        }
    });
}

fn a_late_answer_is_never_the_next_questions<Q: Transport, A: Transport>(
    requesters: &Q,
    repliers: &A,
) {
    let mut replier = repliers.replier(&Options::default()).unwrap();
    let endpoint = replier.bind(&loopback()).unwrap();
    let mut requester = requesters.requester(&Options::default()).unwrap();
    requester.connect(&endpoint).unwrap();
    let (gave_up, given_up) = mpsc::channel();
    let (answer_late, answered_late) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            loop {
                let question = replier.recv(PATIENCE).unwrap().expect("a question");
                let question = frames(&question).concat();
                if question == b"slow" {
                    given_up.recv().unwrap();
                    replier.reply(&[b"late"]).unwrap();
                    answer_late.send(()).unwrap();
                } else {
                    replier.reply(&[b"to ", &question]).unwrap();
                }
                if question == b"end" {
                    // Not gone before its last answer has arrived.
                    given_up.recv().unwrap();
                    break;
                }
            }
        });
        let mut ask = |question: &[u8]| {
            let answer = requester.request(&[question], PATIENCE).unwrap();
            let answer = answer.expect("an answer");
            assert_eq!(frames(&answer), [b"to ", question]);
            if question == b"end" {
                gave_up.send(()).unwrap();
                return;
            }
            // Long enough that it arrives, as the connection is there.
            let none = requester.request(&[b"slow"], Duration::from_millis(500));
            assert_eq!(none.unwrap(), None);
            gave_up.send(()).unwrap();
        };
        // The late answer may come while nothing is asked, or while the next is.
        ask(b"1");
        answered_late.recv_timeout(PATIENCE).unwrap();
        ask(b"2");
        ask(b"end");
    });
}

fn a_requester_goes_on_when_its_server_is_restarted<Q: Transport, A: Transport>(
    requesters: &Q,
    repliers: &A,
) {
    let mut requester = requesters.requester(&Options::default()).unwrap();
    let mut endpoint = loopback();
    let mut number = 0_u32;
    for round in 0..4 {
        let mut replier = repliers.replier(&Options::default()).unwrap();
        if round == 0 {
            endpoint = replier.bind(&endpoint).unwrap();
            requester.connect(&endpoint).unwrap();
        } else {
            eventually("the address is free again", || {
                replier.bind(&endpoint).is_ok()
            });
        }
        // A question may go to the server that is gone; then there is no answer.
        thread::scope(|scope| {
            let answering = scope.spawn(move || {
                loop {
                    let question = replier.recv(PATIENCE).unwrap().expect("a question");
                    let question = frames(&question).concat();
                    replier.reply(&[&question, b"answer"]).unwrap();
                    if question == b"end" {
                        // Here it is killed, if it is pyzmq's.
                        return;
                    }
                }
            });
            let mut ask = |question: &[u8]| {
                let answer = requester.request(&[question], Duration::from_millis(500));
                match answer.unwrap() {
                    Some(answer) => {
                        assert_eq!(frames(&answer), [question, b"answer"]);
                        true
                    }
                    None => false,
                }
            };
            for _ in 0..3 {
                eventually("an answer", || {
                    number += 1;
                    ask(&number.to_be_bytes())
                });
            }
            ask(b"end");
            answering.join().unwrap();
        });
    }
}

fn a_requester_may_come_before_its_server<Q: Transport, A: Transport>(
    requesters: &Q,
    repliers: &A,
) {
    // A free port of a moment ago.
    let endpoint = Raw::listen().1;
    let mut requester = requesters.requester(&Options::default()).unwrap();
    requester.connect(&endpoint).unwrap();
    let none = requester.request(&[b"nobody is there"], Duration::from_millis(50));
    assert_eq!(none.unwrap(), None);
    let mut replier = repliers.replier(&Options::default()).unwrap();
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let answer = requester.request(&[b"anybody?"], PATIENCE).unwrap();
            assert_eq!(frames(&answer.expect("an answer")), [b"me"]);
        });
        replier.bind(&endpoint).unwrap();
        while !asking.is_finished() {
            if replier.recv(Duration::from_millis(20)).unwrap().is_some() {
                replier.reply(&[b"me"]).unwrap();
            }
        }
    });
}

for_transports!(
    an_answer_names_the_endpoint_that_gave_it,
    a_question_names_the_endpoint_that_it_came_over,
    what_is_not_answered_holds_up_nobody,
    questions_and_answers_over_the_limit_are_errors_and_nothing_else,
    a_replier_gives_the_envelope_back_as_it_came,
    hostile_questions_end_at_most_their_connection,
    who_asks_and_never_reads_holds_up_nobody,
    hostile_answers_are_no_answers,
    a_second_answer_is_dropped,
    waiting_for_questions_ends_in_time,
);

fn an_answer_names_the_endpoint_that_gave_it<T: Ours>(transport: &T) {
    let mut requester = transport.requester(&Options::default()).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut replier = transport.replier(&Options::default()).unwrap();
            let endpoint = replier.bind(&loopback()).unwrap();
            requester.connect(&endpoint).unwrap();
            scope.spawn(move || {
                while let Some(question) = replier.recv(PATIENCE).unwrap() {
                    let end = frames(&question).concat() == b"end";
                    let endpoint = endpoint.to_string();
                    replier.reply(&[endpoint.as_bytes()]).unwrap();
                    if end {
                        break;
                    }
                }
            });
        }
        let mut ask = |question: &[u8], timeout| {
            let answer = requester.request(&[question], timeout).unwrap()?;
            let endpoint = answer.endpoint.to_string();
            assert_eq!(frames(&answer), [endpoint.as_bytes()]);
            Some(endpoint)
        };
        for _ in 0..10 {
            ask(b"who?", PATIENCE).expect("an answer");
        }
        // A question may go to one that is gone: again, until each has had its end.
        let mut ended = HashSet::new();
        eventually("everybody is asked", || {
            ended.extend(ask(b"end", Duration::from_millis(500)));
            ended.len() == 3
        });
    });
}

fn a_question_names_the_endpoint_that_it_came_over<T: Ours>(transport: &T) {
    let mut replier = transport.replier(&Options::default()).unwrap();
    let endpoints = [(); 3].map(|()| replier.bind(&loopback()).unwrap());
    for endpoint in &endpoints {
        let mut client = Raw::connect(endpoint);
        client.handshake(1, "REQ");
        client.send(&raw::message(&[b"", b"where?"]));
        let question = replier.recv(PATIENCE).unwrap().expect("a question");
        assert_eq!(question.endpoint, endpoint);
        replier.reply(&[b"there"]).unwrap();
        assert_eq!(client.read_frame(), (raw::MORE, vec![]));
        assert_eq!(client.read_frame(), (0, b"there".to_vec()));
    }
}

fn what_is_not_answered_holds_up_nobody<T: Ours>(transport: &T) {
    let mut replier = transport.replier(&Options::default()).unwrap();
    let endpoint = replier.bind(&loopback()).unwrap();
    // Nothing was asked.
    replier.reply(&[b"to nobody"]).unwrap();
    let mut clients = [(); 3].map(|()| {
        let mut client = Raw::connect(&endpoint);
        client.handshake(1, "REQ");
        client
    });
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(&raw::message(&[b"", &[n as u8]]));
        let question = replier.recv(PATIENCE).unwrap().expect("a question");
        assert_eq!(frames(&question), [[n as u8]]);
        // Only the last gets an answer.
    }
    replier.reply(&[b"yes"]).unwrap();
    replier.reply(&[b"answered already"]).unwrap();
    let [first, second, last] = &mut clients;
    assert_eq!(last.read_frame(), (raw::MORE, vec![]));
    assert_eq!(last.read_frame(), (0, b"yes".to_vec()));
    // The others may ask again.
    for client in [&mut *first, second] {
        client.send(&raw::message(&[b"", b"again"]));
        assert!(replier.recv(PATIENCE).unwrap().is_some());
        replier.reply(&[b"now"]).unwrap();
        assert_eq!(client.read_frame(), (raw::MORE, vec![]));
        assert_eq!(client.read_frame(), (0, b"now".to_vec()));
    }
    assert_eq!(last.ping(), []);

    // Who asked is gone when the answer is there.
    first.send(&raw::message(&[b"", b"and away"]));
    assert!(replier.recv(PATIENCE).unwrap().is_some());
    let [first, mut second, _last] = clients;
    drop(first);
    thread::sleep(Duration::from_millis(50));
    replier.reply(&[b"to nobody"]).unwrap();
    second.send(&raw::message(&[b"", b"here"]));
    assert!(replier.recv(PATIENCE).unwrap().is_some());
    replier.reply(&[b"to you"]).unwrap();
    second.read_frame();
    assert_eq!(second.read_frame(), (0, b"to you".to_vec()));
}

fn questions_and_answers_over_the_limit_are_errors_and_nothing_else<T: Ours>(transport: &T) {
    let small = Options {
        max_message: 1000,
        ..Options::default()
    };
    let mut replier = transport.replier(&small).unwrap();
    let endpoint = replier.bind(&loopback()).unwrap();
    let mut requester = transport.requester(&small).unwrap();
    requester.connect(&endpoint).unwrap();
    let half = vec![b'x'; 501];
    let refused = requester.request(&[&half, &half], PATIENCE);
    assert!(matches!(
        refused,
        Err(Error::TooLarge {
            size: 1002,
            limit: 1000
        })
    ));
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(replier.recv(PATIENCE).unwrap().is_some());
            let refused = replier.reply(&[&half, &half]);
            assert!(matches!(
                refused,
                Err(Error::TooLarge {
                    size: 1002,
                    limit: 1000
                })
            ));
            replier.reply(&[b"shorter"]).unwrap();
        });
        let answer = requester.request(&[&half, &half[..400]], PATIENCE).unwrap();
        assert_eq!(frames(&answer.expect("an answer")), [b"shorter"]);
    });
}

fn a_replier_gives_the_envelope_back_as_it_came<T: Ours>(transport: &T) {
    let mut replier = transport.replier(&Options::default()).unwrap();
    let mut client = Raw::connect(&replier.bind(&loopback()).unwrap());
    client.handshake(1, "DEALER");
    let long = vec![b'i'; 300];
    let envelopes: [&[&[u8]]; 4] = [
        &[b""],
        &[b"\0\0\0\x01", b""],
        &[b"a", b"b", b"c", b"d", b""],
        &[&long, b""],
    ];
    // All of them at once: each waits for its turn.
    let questions = [&[&b"what"[..], b""][..], &[b""], &[b"1", b"2", b"3"]];
    for envelope in envelopes {
        for question in questions {
            client.send(&raw::message(&[envelope, question].concat()));
        }
    }
    for envelope in envelopes {
        for question in questions {
            let asked = replier.recv(PATIENCE).unwrap().expect("a question");
            assert_eq!(frames(&asked), question);
            replier.reply(&[b"", b"answer"]).unwrap();
            for frame in [envelope, &[b""]].concat() {
                assert_eq!(client.read_frame(), (raw::MORE, frame.to_vec()));
            }
            assert_eq!(client.read_frame(), (0, b"answer".to_vec()));
        }
    }
}

fn hostile_questions_end_at_most_their_connection<T: Ours>(transport: &T) {
    let options = Options {
        max_message: 1 << 16,
        ..Options::default()
    };
    let mut replier = transport.replier(&options).unwrap();
    let endpoint = replier.bind(&loopback()).unwrap();
    let large = vec![b'x'; (1 << 16) + 1];
    let many = vec![&b"x"[..]; 10_000];
    // What is no question, and what comes after it on the same connection if that goes on.
    let hostile = [
        // No empty frame.
        raw::message(&[b"question"]),
        raw::message(&[b"one", b"two"]),
        raw::message(&many),
        // Nothing behind it.
        raw::message(&[b""]),
        raw::message(&[b"id", b""]),
        // Too large, as one frame and as a length that never comes.
        raw::message(&[b"", &large]),
        vec![raw::LONG, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        // An end in the middle of it.
        raw::frame(raw::MORE, b""),
        raw::frame(raw::COMMAND, b"\x05ERROR\x03why"),
        raw::frame(raw::COMMAND, b"\x09SUBSCRIBEx"),
        raw::frame(raw::COMMAND, b""),
        raw::subscribe(b""),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    let mut good = Raw::connect(&endpoint);
    good.handshake(1, "REQ");
    for (n, bytes) in hostile.iter().enumerate() {
        let mut bad = Raw::connect(&endpoint);
        bad.handshake(1, "REQ");
        bad.try_send(bytes);
        let _ = bad.stream().shutdown(std::net::Shutdown::Write);
        bad.expect_closed();
        good.send(&raw::message(&[b"", &[n as u8]]));
        let question = replier.recv(PATIENCE).unwrap().expect("a question");
        assert_eq!(frames(&question), [[n as u8]], "after hostile question {n}");
        replier.reply(&[b"fine"]).unwrap();
        good.read_frame();
        assert_eq!(good.read_frame(), (0, b"fine".to_vec()));
    }
    // Other sockets than REQ and DEALER are refused.
    for socket_type in ["SUB", "REP", "PUSH", "PAIR"] {
        let mut bad = Raw::connect(&endpoint);
        bad.send(&raw::greeting(1));
        bad.read(64);
        bad.try_send(&raw::ready(socket_type));
        bad.expect_closed();
    }
}

fn who_asks_and_never_reads_holds_up_nobody<T: Ours>(transport: &T) {
    let mut replier = transport.replier(&roomy()).unwrap();
    let endpoint = replier.bind(&loopback()).unwrap();
    let mut deaf = Raw::connect(&endpoint);
    deaf.handshake(1, "DEALER");
    let mut good = transport.requester(&roomy()).unwrap();
    good.connect(&endpoint).unwrap();
    let large = vec![b'x'; 1 << 20];
    let count = 100;
    for _ in 0..count {
        deaf.send(&raw::message(&[b"", b"again"]));
    }
    let ended = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                if replier.recv(Duration::from_millis(50)).unwrap().is_some() {
                    replier.reply(&[&large]).unwrap();
                }
            }
        });
        for _ in 0..20 {
            let answer = good.request(&[b"question"], PATIENCE).unwrap();
            assert_eq!(frames(&answer.expect("an answer")).concat().len(), 1 << 20);
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

fn hostile_answers_are_no_answers<T: Ours>(transport: &T) {
    let large = vec![b'x'; (1 << 16) + 1];
    let hostile = [
        raw::message(&[b"no empty frame"]),
        raw::message(&[b"neither", b"here"]),
        raw::message(&[b""]),
        raw::message(&[b"", &large]),
        vec![raw::LONG, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        raw::frame(raw::COMMAND, b"\x05ERROR\x03why"),
        raw::frame(raw::MORE, b""),
        b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
    ];
    let options = Options {
        max_message: 1 << 16,
        ..Options::default()
    };
    for bytes in hostile {
        let (listener, endpoint) = Raw::listen();
        let mut requester = transport.requester(&options).unwrap();
        requester.connect(&endpoint).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut server = Raw::accept(&listener);
                server.handshake(1, "REP");
                server.read_frame();
                assert_eq!(server.read_frame(), (0, b"1".to_vec()));
                server.try_send(&bytes);
                // Whether it stays or comes again, it asks the next.
                drop(server);
                let mut answered = false;
                while !answered {
                    let mut server = Raw::accept(&listener);
                    server.handshake(1, "REP");
                    // Until it gives up waiting, or has the answer.
                    while server.next_frame().is_some() {
                        let (_, question) = server.read_frame();
                        assert_eq!(question, b"2", "the first comes once");
                        answered = true;
                        server.send(&raw::message(&[b"", b"to", &question]));
                    }
                }
            });
            let none = requester.request(&[b"1"], Duration::from_millis(300));
            assert_eq!(none.unwrap(), None, "{bytes:?}");
            let answer = requester.request(&[b"2"], PATIENCE).unwrap();
            let answer = answer.expect("an answer to the next");
            assert_eq!(frames(&answer), [b"to", &b"2"[..]]);
            drop(requester);
        });
    }
}

fn a_second_answer_is_dropped<T: Ours>(transport: &T) {
    let (listener, endpoint) = Raw::listen();
    let mut requester = transport.requester(&Options::default()).unwrap();
    requester.connect(&endpoint).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = Raw::accept(&listener);
            server.handshake(1, "REP");
            for _ in 0..5 {
                server.read_frame();
                let (_, question) = server.read_frame();
                let mut answers = raw::message(&[b"", &question]);
                answers.extend(raw::message(&[b"", b"once more"]));
                server.send(&answers);
                // It has been looked at.
                assert_eq!(server.ping(), []);
                server.send(&raw::message(&[b"", b"unasked"]));
                assert_eq!(server.ping(), []);
            }
            server.expect_closed();
        });
        for question in [b"1", b"2", b"3", b"4", b"5"] {
            let answer = requester.request(&[question], PATIENCE).unwrap();
            assert_eq!(frames(&answer.expect("an answer")), [question]);
            // Until the others have come too.
            thread::sleep(Duration::from_millis(100));
        }
        drop(requester);
    });
}

fn waiting_for_questions_ends_in_time<T: Ours>(transport: &T) {
    let mut replier = transport.replier(&Options::default()).unwrap();
    replier.bind(&loopback()).unwrap();
    assert_eq!(replier.recv(Duration::ZERO).unwrap(), None);
    assert_eq!(replier.recv(Duration::from_millis(20)).unwrap(), None);
    // Connected to nobody at all.
    let mut requester = transport.requester(&Options::default()).unwrap();
    let none = requester.request(&[b"?"], Duration::from_millis(20));
    assert_eq!(none.unwrap(), None);
}

/// Room for a message of 16 MB and more.
fn roomy() -> Options {
    Options {
        max_message: 64 << 20,
        max_memory: 256 << 20,
        ..Options::default()
    }
}

/// Bytes in which a shift or a swap would be seen.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}
