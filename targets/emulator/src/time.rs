//! A server of the time (SNTP) for one device: this machine's.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

/// Seconds from 1900 to 1970.
const EPOCH: u64 = 2_208_988_800;

/// A server on a port of the loopback interface. Ends when dropped.
pub struct TimeServer {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TimeServer {
    /// Starts one on this port; 0 is any that is free.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let over = Arc::default();
        let server = Self {
            address: socket.local_addr()?,
            over: Arc::clone(&over),
            thread: Some(thread::spawn(move || serve(&socket, &over))),
        };
        Ok(server)
    }

    /// Where it is asked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TimeServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, over: &AtomicBool) {
    let mut packet = [0; 48];
    while !over.load(Ordering::Relaxed) {
        let Ok((48, from)) = socket.recv_from(&mut packet) else {
            continue;
        };
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        let time = (now.as_secs() + EPOCH) << 32 | fraction;
        let cookie: Vec<u8> = packet.iter().skip(40).copied().collect();
        let mut answer = vec![0; 24];
        answer.splice(..2, [4 << 3 | 4, 1]); // version 4, server; stratum 1
        answer.extend(cookie);
        answer.extend(time.to_be_bytes());
        answer.extend(time.to_be_bytes());
        // It asks again.
        let _ = socket.send_to(&answer, from);
    }
}
