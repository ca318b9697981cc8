//! The device of `app.rs` on a host: subscribers connect to a TCP port, readings go out.
//!
//!     fedmsg ca init ca && fedmsg ca issue ca lab
//!     cargo run -p fedmsg-core --example device --features p256,sync -- 127.0.0.1:9940 ca/lab 10
//!     fedmsg tail --endpoint tcp://127.0.0.1:9940 --ca ca/ca.crt

mod app;
mod socket;

use app::{Device, Reading};
use fedmsg_core::crypto::{
    base64::{self, Wrapping},
    p256::P256Signer,
    pem,
};
use socket::Socket;
use std::{
    error::Error,
    fs,
    net::TcpListener,
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
    let signer = P256Signer::from_der(key.get(..n).unwrap_or_default(), &field)?;

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
            let free = device.publisher.open(now);
            if let Some(place) = free.and_then(|link| sockets.get_mut(link)) {
                *place = Some(Socket::new(socket)?);
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
