//! ZMTP written down byte by byte over a plain TCP connection: a peer that can be as wrong, as slow
//! and as silent as a test wants. On purpose nothing here is taken from the code under test.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use fedmsg::transport::Endpoint;

use crate::{PATIENCE, address};

/// The greeting of a peer that speaks 3.`minor`, mechanism NULL.
pub fn greeting(minor: u8) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..10].copy_from_slice(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f]);
    bytes[10] = 3;
    bytes[11] = minor;
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// READY of a socket of this type, such as `SUB`.
pub fn ready(socket_type: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend(u32::try_from(socket_type.len()).unwrap().to_be_bytes());
    body.extend(socket_type.as_bytes());
    frame(COMMAND, &body)
}

/// SUBSCRIBE, as a command of 3.1.
pub fn subscribe(prefix: &[u8]) -> Vec<u8> {
    frame(COMMAND, &[b"\x09SUBSCRIBE", prefix].concat())
}

/// CANCEL, as a command of 3.1.
pub fn cancel(prefix: &[u8]) -> Vec<u8> {
    frame(COMMAND, &[b"\x06CANCEL", prefix].concat())
}

/// A message of these frames.
pub fn message(frames: &[&[u8]]) -> Vec<u8> {
    let last = frames.len() - 1;
    let flags = |i| if i < last { MORE } else { 0 };
    frames
        .iter()
        .enumerate()
        .flat_map(|(i, body)| frame(flags(i), body))
        .collect()
}

/// The flag of a frame that another frame of the same message follows.
pub const MORE: u8 = 1;
/// The flag of a frame with its length in 8 bytes.
pub const LONG: u8 = 2;
/// The flag of a command.
pub const COMMAND: u8 = 4;

/// A frame, in the short form where it fits.
pub fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => {
            let mut head = vec![flags | LONG];
            head.extend((body.len() as u64).to_be_bytes());
            head
        }
    };
    bytes.extend(body);
    bytes
}

/// One connection.
pub struct Raw {
    stream: TcpStream,
    pings: u32,
}

impl Raw {
    /// Connects to a bound socket.
    pub fn connect(endpoint: &Endpoint) -> Self {
        Self::over(TcpStream::connect(address(endpoint)).expect("a connection"))
    }

    /// Takes the next connection of a connecting socket, and fails where none comes.
    pub fn accept(listener: &TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        let start = Instant::now();
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    return Self::over(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(start.elapsed() < PATIENCE, "nobody connected");
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => panic!("accept: {error}"),
            }
        }
    }

    /// A listener for [`accept`](Self::accept), and where to connect to.
    pub fn listen() -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::tcp("127.0.0.1", listener.local_addr().unwrap().port());
        (listener, endpoint)
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, pings: 0 }
    }

    /// Greets, and says READY, as a socket of this type that speaks 3.`minor`.
    pub fn handshake(&mut self, minor: u8, socket_type: &str) {
        self.send(&greeting(minor));
        self.read(64);
        self.send(&ready(socket_type));
        self.read_frame();
    }

    /// The connection itself.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends these bytes, to a peer that is there.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the peer reads");
    }

    /// Sends these bytes, to a peer that may have closed the connection meanwhile.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next `count` bytes.
    #[track_caller]
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("the peer sends");
        bytes
    }

    /// As [`read_frame`](Self::read_frame), or `None` where the peer closes the connection first.
    #[track_caller]
    pub fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        match self.stream.peek(&mut [0]) {
            Ok(1..) => Some(self.read_frame()),
            Ok(0) => None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }

    /// The next frame's flags, without [`LONG`], and its body.
    #[track_caller]
    pub fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let flags = self.read(1)[0];
        let length = if flags & LONG == 0 {
            self.read(1)[0].into()
        } else {
            u64::from_be_bytes(self.read(8).try_into().unwrap())
        };
        (flags & !LONG, self.read(usize::try_from(length).unwrap()))
    }

    /// Sends a PING twice, and gives the frames that came before its second PONG: whatever was
    /// sent before has been looked at, and the connection is alive.
    ///
    /// Twice, as libzmq answers a PING before it hands on what came with it.
    #[track_caller]
    pub fn ping(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut before = Vec::new();
        for _ in 0..2 {
            self.pings += 1;
            let context = self.pings.to_be_bytes();
            self.send(&frame(COMMAND, &[b"\x04PING\0\0", &context[..]].concat()));
            let pong = (COMMAND, [b"\x04PONG", &context[..]].concat());
            loop {
                let frame = self.read_frame();
                if frame == pong {
                    break;
                }
                before.push(frame);
            }
        }
        before
    }

    /// Reads on until the peer closes the connection, and fails where it does not.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the connection stays open: {error}"),
            }
        }
    }
}
