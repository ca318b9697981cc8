//! A TCP connection's middle: counts the connections that go through it, cuts, freezes and resets
//! them, and hands their bytes on in pieces.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use fedmsg::transport::Endpoint;
use socket2::SockRef;

use crate::address;

/// A listener that connects everyone who comes to one target. Ends when dropped.
pub struct Proxy {
    endpoint: Endpoint,
    /// Those that have not been cut.
    connections: Arc<Mutex<Vec<Connection>>>,
    count: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

struct Connection {
    ends: [TcpStream; 2],
    fate: Arc<AtomicU8>,
}

/// What becomes of a connection's bytes: they go on, they stay, or it ends with them.
const GOES_ON: u8 = 0;
const FROZEN: u8 = 1;
const RESET: u8 = 2;

/// How soon a thread learns of its connection's fate.
const LOOK: Duration = Duration::from_millis(5);

impl Proxy {
    /// Hands bytes on in segments of at most `segment` bytes.
    pub fn to(target: &Endpoint, segment: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            endpoint: Endpoint::tcp("127.0.0.1", listener.local_addr().unwrap().port()),
            connections: Arc::default(),
            count: Arc::default(),
            ended: Arc::default(),
        };
        let (all, count) = (proxy.connections.clone(), proxy.count.clone());
        let (end, target) = (proxy.ended.clone(), target.clone());
        thread::spawn(move || {
            for client in listener.incoming().map(Result::unwrap) {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                // Where the target is away, the client's connection ends.
                let Ok(server) = TcpStream::connect(address(&target)) else {
                    continue;
                };
                let fate = Arc::new(AtomicU8::new(GOES_ON));
                let ends = [(&client, &server), (&server, &client)]
                    .map(|(from, to)| [from, to].map(|stream| stream.try_clone().unwrap()));
                // Known before anything has passed.
                all.lock().unwrap().push(Connection {
                    ends: [client, server],
                    fate: fate.clone(),
                });
                count.fetch_add(1, Ordering::Relaxed);
                for [from, to] in ends {
                    let fate = fate.clone();
                    thread::spawn(move || hand_on(from, to, segment, &fate));
                }
            }
        });
        proxy
    }

    /// Where to connect to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends all connections. New ones are welcome.
    pub fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            // The last word of one that is frozen.
            connection.fate.store(GOES_ON, Ordering::Relaxed);
            for end in connection.ends {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }

    /// From now on nothing passes, and nobody is told: as if what lies between were gone. New
    /// connections are welcome.
    pub fn freeze(&self) {
        for connection in &*self.connections.lock().unwrap() {
            connection.fate.store(FROZEN, Ordering::Relaxed);
        }
    }

    /// Ends all connections by RST. New ones are welcome.
    pub fn reset(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            for end in &connection.ends {
                let at_once = SockRef::from(end).set_linger(Some(Duration::ZERO));
                at_once.unwrap();
            }
            // It happens when the last of its threads lets go of it.
            connection.fate.store(RESET, Ordering::Relaxed);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(address(&self.endpoint));
        self.cut();
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, segment: usize, fate: &AtomicU8) {
    let _ = to.set_nodelay(true);
    let _ = from.set_read_timeout(Some(LOOK));
    let _ = to.set_write_timeout(Some(LOOK));
    let mut bytes = vec![0; segment.min(1 << 20)];
    let (mut sent, mut end) = (0, 0);
    loop {
        match fate.load(Ordering::Relaxed) {
            RESET => return,
            FROZEN => {
                thread::sleep(LOOK);
                continue;
            }
            _ => {}
        }
        let done = if sent < end {
            to.write(&bytes[sent..end]).map(|count| sent += count)
        } else {
            (sent, end) = (0, 0);
            from.read(&mut bytes).map(|count| end = count)
        };
        match done {
            Ok(()) if end > 0 => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
