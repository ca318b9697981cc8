//! Unix sockets: the same traffic with every peer on either side, and files that are in the way.

use std::{
    fs,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    slice, thread,
    time::Duration,
};

use fedmsg::transport::{
    Endpoint, Error, Options, Publisher, Replier, Requester, Subscriber, Transport,
};
use fedmsg_tests::{Ours, PATIENCE, eventually, for_pairs, for_transports, frames, meet, next};
use tempfile::TempDir;

for_pairs!(
    messages_arrive_whichever_side_binds,
    a_publisher_that_comes_back_is_found_again,
    questions_are_answered,
);

fn messages_arrive_whichever_side_binds<P: Transport, S: Transport>(
    publishers: &P,
    subscribers: &S,
) {
    let dir = dir();
    let large: Vec<u8> = (0..1 << 20).map(|i| (i % 251) as u8).collect();
    for publisher_binds in [true, false] {
        let endpoint = at(&dir, if publisher_binds { "pub" } else { "sub" });
        let publisher = publishers.publisher(&Options::default()).unwrap();
        let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
        if publisher_binds {
            assert_eq!(publisher.bind(&endpoint).unwrap(), endpoint);
            subscriber.connect(&endpoint).unwrap();
        } else {
            // Whoever connects may come first.
            publisher.connect(&endpoint).unwrap();
            assert_eq!(subscriber.bind(&endpoint).unwrap(), endpoint);
        }
        subscriber.subscribe(b"org").unwrap();
        meet(&publisher, slice::from_mut(&mut subscriber));
        publisher.send(b"com", &[b"unwanted"]).unwrap();
        publisher.send(b"org.a", &[&large]).unwrap();
        let message = subscriber.recv(PATIENCE).unwrap().expect("a message");
        assert_eq!(*message.endpoint, endpoint);
        assert!(message.topic_and_body() == Some((b"org.a", &large)));
    }
}

fn a_publisher_that_comes_back_is_found_again<P: Transport, S: Transport>(
    publishers: &P,
    subscribers: &S,
) {
    let dir = dir();
    let endpoint = at(&dir, "bus");
    let mut subscriber = subscribers.subscriber(&Options::default()).unwrap();
    subscriber.subscribe(b"org").unwrap();
    subscriber.connect(&endpoint).unwrap();
    for i in 0..4_u8 {
        let publisher = publishers.publisher(&Options::default()).unwrap();
        // Pyzmq's is killed, and leaves its file.
        publisher.bind(&endpoint).unwrap();
        meet(&publisher, slice::from_mut(&mut subscriber));
        publisher.send(b"org", &[&[i]]).unwrap();
        assert_eq!(next(&mut subscriber), (b"org".to_vec(), vec![i]));
    }
}

fn questions_are_answered<Q: Transport, A: Transport>(requesters: &Q, repliers: &A) {
    let dir = dir();
    let endpoint = at(&dir, "replay");
    let mut requester = requesters.requester(&Options::default()).unwrap();
    requester.connect(&endpoint).unwrap();
    let mut replier = repliers.replier(&Options::default()).unwrap();
    assert_eq!(replier.bind(&endpoint).unwrap(), endpoint);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3 {
                let question = replier.recv(PATIENCE).unwrap().expect("a question");
                assert_eq!(*question.endpoint, endpoint);
                let question = frames(&question).concat();
                replier.reply(&[b"to", &question]).unwrap();
            }
        });
        for question in [&b"1"[..], b"", &[b'x'; 100_000]] {
            let answer = requester.request(&[question], PATIENCE).unwrap();
            assert!(frames(&answer.expect("an answer")) == [b"to", question]);
        }
    });
}

for_transports!(
    the_file_of_a_socket_that_nobody_listens_on_is_taken_over,
    a_file_in_use_is_an_error_that_names_it_and_goes_on,
    other_files_are_left_alone,
    what_no_socket_can_have_as_its_path_is_an_error_that_names_it,
    any_name_is_a_file,
);

fn the_file_of_a_socket_that_nobody_listens_on_is_taken_over<T: Ours>(transport: &T) {
    let dir = dir();
    let endpoint = at(&dir, "stale");
    drop(UnixListener::bind(path(&endpoint)).unwrap());
    assert!(path(&endpoint).exists());
    let publisher = transport.publisher(&Options::default()).unwrap();
    publisher.bind(&endpoint).unwrap();
    let mut subscriber = transport.subscriber(&Options::default()).unwrap();
    subscriber.connect(&endpoint).unwrap();
    meet(&publisher, slice::from_mut(&mut subscriber));

    let endpoint = at(&dir, "stale too");
    drop(UnixListener::bind(path(&endpoint)).unwrap());
    subscriber.bind(&endpoint).unwrap();
    let publisher = transport.publisher(&Options::default()).unwrap();
    publisher.connect(&endpoint).unwrap();
    meet(&publisher, slice::from_mut(&mut subscriber));

    let endpoint = at(&dir, "stale as well");
    drop(UnixListener::bind(path(&endpoint)).unwrap());
    let mut replier = transport.replier(&Options::default()).unwrap();
    replier.bind(&endpoint).unwrap();
}

fn a_file_in_use_is_an_error_that_names_it_and_goes_on<T: Ours>(transport: &T) {
    let dir = dir();
    let endpoint = at(&dir, "in use");
    let publisher = transport.publisher(&Options::default()).unwrap();
    publisher.bind(&endpoint).unwrap();
    let mut subscriber = transport.subscriber(&Options::default()).unwrap();
    subscriber.connect(&endpoint).unwrap();

    let second = transport.publisher(&Options::default()).unwrap();
    assert_names(&endpoint, second.bind(&endpoint));
    let mut second = transport.subscriber(&Options::default()).unwrap();
    assert_names(&endpoint, second.bind(&endpoint));
    let mut second = transport.replier(&Options::default()).unwrap();
    assert_names(&endpoint, second.bind(&endpoint));
    // By itself, too.
    assert_names(&endpoint, publisher.bind(&endpoint));

    meet(&publisher, slice::from_mut(&mut subscriber));
    let mut another = transport.subscriber(&Options::default()).unwrap();
    another.connect(&endpoint).unwrap();
    meet(&publisher, slice::from_mut(&mut another));

    // Whoever it is that listens.
    let endpoint = at(&dir, "somebody");
    let listener = UnixListener::bind(path(&endpoint)).unwrap();
    let publisher = transport.publisher(&Options::default()).unwrap();
    assert_names(&endpoint, publisher.bind(&endpoint));
    UnixStream::connect(path(&endpoint)).unwrap();
    drop(listener);
}

fn other_files_are_left_alone<T: Ours>(transport: &T) {
    let dir = dir();
    let endpoint = at(&dir, "file");
    fs::write(path(&endpoint), b"precious").unwrap();
    let publisher = transport.publisher(&Options::default()).unwrap();
    assert_names(&endpoint, publisher.bind(&endpoint));
    assert_eq!(fs::read(path(&endpoint)).unwrap(), b"precious");

    let endpoint = at(&dir, "folder");
    fs::create_dir(path(&endpoint)).unwrap();
    let mut subscriber = transport.subscriber(&Options::default()).unwrap();
    assert_names(&endpoint, subscriber.bind(&endpoint));
}

fn what_no_socket_can_have_as_its_path_is_an_error_that_names_it<T: Ours>(transport: &T) {
    let dir = dir();
    // The kernel takes 107 bytes.
    let length = 107 - dir.path().as_os_str().len() - 1;
    let fits = at(&dir, &"x".repeat(length));
    let long = at(&dir, &"x".repeat(length + 1));
    let longer = at(&dir, &"x".repeat(1000));
    let nowhere = at(&dir, "nowhere/bus");
    let publisher = transport.publisher(&Options::default()).unwrap();
    let mut subscriber = transport.subscriber(&Options::default()).unwrap();
    publisher.bind(&fits).unwrap();
    subscriber.connect(&fits).unwrap();
    meet(&publisher, slice::from_mut(&mut subscriber));
    for endpoint in [&long, &longer] {
        assert_names(endpoint, publisher.bind(endpoint));
        assert_names(endpoint, publisher.connect(endpoint));
        assert_names(endpoint, subscriber.bind(endpoint));
        assert_names(endpoint, subscriber.connect(endpoint));
        let error = endpoint.to_string().parse::<Endpoint>().unwrap_err();
        assert!(error.to_string().contains("107"), "{error}");
    }
    assert_names(&nowhere, publisher.bind(&nowhere));
    // But it may yet be made.
    subscriber.connect(&nowhere).unwrap();
    fs::create_dir(dir.path().join("nowhere")).unwrap();
    publisher.bind(&nowhere).unwrap();
    eventually("it comes by both", || {
        publisher.send(b"", &[]).unwrap();
        subscriber.subscribe(b"").unwrap();
        subscriber
            .recv(Duration::from_millis(5))
            .unwrap()
            .is_some_and(|message| *message.endpoint == nowhere)
    });
}

fn any_name_is_a_file<T: Ours>(transport: &T) {
    let dir = dir();
    for name in ["*", "@", "a b", "ü", "127.0.0.1:9940", "%41", "!"] {
        let endpoint = at(&dir, name);
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint.clone()));
        let publisher = transport.publisher(&Options::default()).unwrap();
        publisher.bind(&endpoint).unwrap();
        assert!(path(&endpoint).exists());
        let mut subscriber = transport.subscriber(&Options::default()).unwrap();
        subscriber.connect(&endpoint).unwrap();
        meet(&publisher, slice::from_mut(&mut subscriber));
    }
}

#[track_caller]
fn assert_names<V: std::fmt::Debug>(endpoint: &Endpoint, result: Result<V, Error>) {
    let error = result.expect_err("an error");
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
}

/// Short, as paths of sockets are.
fn dir() -> TempDir {
    TempDir::with_prefix_in("ipc", "/tmp").unwrap()
}

fn at(dir: &TempDir, name: &str) -> Endpoint {
    Endpoint::ipc(dir.path().join(name))
}

fn path(endpoint: &Endpoint) -> &Path {
    match endpoint {
        Endpoint::Ipc(path) => path,
        Endpoint::Tcp { .. } => panic!("{endpoint} is over TCP"),
    }
}
