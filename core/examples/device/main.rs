//! The device of `app.rs` on a host: subscribers connect to a TCP port, readings go out.
//!
//!     fedmsg ca init ca && fedmsg ca issue ca lab
//!     cargo run -p fedmsg-core --example device --features p256,sync -- 127.0.0.1:9940 ca/lab 10
//!     fedmsg tail --endpoint tcp://127.0.0.1:9940 --ca ca/ca.crt

mod app;

use app::{Device, Reading};
use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use fedmsg_core::crypto::{
    base64::{self, Wrapping},
    p256::P256Signer,
    pem,
};
use std::{
    error::Error,
    fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: device ADDRESS CERTIFICATE-WITHOUT-SUFFIX READINGS";
    let (address, name) = (args.next().ok_or(usage)?, args.next().ok_or(usage)?);
    let readings: u64 = args.next().ok_or(usage)?.parse()?;

    // On a device these lie in flash, made ready once.
    let certificate = fs::read(format!("{name}.crt"))?;
    let mut field = vec![0; base64::encoded_len(certificate.len(), Wrapping::JsonLines)];
    base64::encode(&certificate, Wrapping::JsonLines, &mut field)?;
    let mut key = [0; 512];
    let n = pem::decode(&fs::read(format!("{name}.key"))?, "PRIVATE KEY", &mut key)?;
    let signer = P256Signer::from_der(&key[..n], &field)?;

    let mut ring = [0; 4096];
    let mut device = Device::new(&mut ring, &signer);
    let listener = TcpListener::bind(&address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);

    let start = Instant::now();
    let mut sockets = [const { None }; 4];
    let mut sent = 0;
    while sent < readings {
        let now = start.elapsed().as_millis().try_into()?;
        if let Ok((socket, _)) = listener.accept() {
            socket.set_nonblocking(true)?;
            if let Some(link) = device.publisher.open(now) {
                sockets[link] = Some(Socket {
                    stream: socket,
                    unsent: Vec::new(),
                });
            }
        }
        if device.publisher.subscribers() > 0 {
            sent += 1;
            let reading = Reading {
                sensor: "hall 3",
                celsius: 21.5,
            };
            let time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            // A device asks its random number generator.
            let entropy = (start.elapsed().as_nanos() << 32 | u128::from(sent)).to_be_bytes();
            device.publish(&reading, time, entropy)?;
        }
        for (link, place) in sockets.iter_mut().enumerate() {
            let Some(socket) = place else { continue };
            if let Err(error) = device.publisher.poll(link, socket, now) {
                eprintln!("subscriber {link}: {error}");
                device.publisher.close(link);
                *place = None;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A TCP socket that does not block.
struct Socket {
    stream: TcpStream,
    /// Taken from the device, and not yet by the operating system.
    unsent: Vec<u8>,
}

impl ErrorType for Socket {
    type Error = io::Error;
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }
}

impl ReadReady for Socket {
    fn read_ready(&mut self) -> io::Result<bool> {
        match self.stream.peek(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            result => result.map(|_| true),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.unsent.extend(buf);
        self.write_ready()?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_ready().map(drop)
    }
}

impl WriteReady for Socket {
    fn write_ready(&mut self) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
