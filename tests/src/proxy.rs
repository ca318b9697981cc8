//! A TCP connection's middle: counts the connections that go through it, cuts them, and hands
//! their bytes on in pieces.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use fedmsg::transport::Endpoint;

use crate::address;

/// A listener that connects everyone who comes to one target. Ends when dropped.
pub struct Proxy {
    endpoint: Endpoint,
    /// Both ends of every connection there ever was.
    connections: Arc<Mutex<Vec<[TcpStream; 2]>>>,
    ended: Arc<AtomicBool>,
}

impl Proxy {
    /// Hands bytes on in segments of at most `segment` bytes.
    pub fn to(target: &Endpoint, segment: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::tcp("127.0.0.1", listener.local_addr().unwrap().port());
        let connections = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let (all, end, target) = (connections.clone(), ended.clone(), target.clone());
        thread::spawn(move || {
            for client in listener.incoming().map(Result::unwrap) {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                // Where the target is away, the client's connection ends.
                let Ok(server) = TcpStream::connect(address(&target)) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let [from, to] = [from, to].map(|stream| stream.try_clone().unwrap());
                    thread::spawn(move || hand_on(from, to, segment));
                }
                all.lock().unwrap().push([client, server]);
            }
        });
        Self {
            endpoint,
            connections,
            ended,
        }
    }

    /// Where to connect to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// Ends all connections. New ones are welcome.
    pub fn cut(&self) {
        for stream in self.connections.lock().unwrap().iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
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

fn hand_on(mut from: TcpStream, mut to: TcpStream, segment: usize) {
    let _ = to.set_nodelay(true);
    let mut bytes = vec![0; segment.min(1 << 20)];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
