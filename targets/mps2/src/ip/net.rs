//! TCP/IP: smoltcp with an address by DHCP, TCP sockets for subscribers, one UDP socket for the
//! time. All of its memory is in [`Storage`] and [`Net`].

use core::{
    convert::Infallible,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
};

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use smoltcp::{
    iface::{Config, Interface, PollResult, SocketHandle, SocketSet, SocketStorage},
    phy::Device,
    socket::{dhcpv4, tcp, udp},
    time::{Duration, Instant},
    wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Cidr},
};

use crate::{
    log::{info, warn},
    sntp,
};

/// TCP sockets: for four subscribers, and one that listens while these are in use, so that who
/// comes back at once finds an open door and who is too many is told so.
pub const SOCKETS: usize = 5;

/// What a TCP socket keeps until it is acknowledged, in bytes. A signed message goes out in two
/// pieces.
const SEND: usize = 1024;
/// What it keeps until it is read; what subscribers say is short.
const RECEIVE: usize = 128;

/// How long a peer may leave what we send without an answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// After which silence it is asked for a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long an address stays ours after the cable was out, if no server confirms it: about as long as
/// leases that are short. What is left of this one, smoltcp forgets.
const UNCONFIRMED: Duration = Duration::from_secs(3600);

const NEVER: Instant = Instant::from_micros_const(i64::MAX);

/// Our port for asking the time; any that is not the bus's.
const TIME_PORT: u16 = 49_123;

/// The sockets' memory.
pub struct Storage {
    // What is not all zeros comes at the start: its values would take flash.
    sockets: MaybeUninit<[SocketStorage<'static>; SOCKETS + 2]>,
    time: MaybeUninit<[[udp::PacketMetadata; 1]; 2]>,
    time_packets: [[u8; sntp::PACKET]; 2],
    tcp: [([u8; RECEIVE], [u8; SEND]); SOCKETS],
}

impl Storage {
    /// All of it, unused.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sockets: MaybeUninit::uninit(),
            time: MaybeUninit::uninit(),
            time_packets: [[0; _]; 2],
            tcp: [([0; RECEIVE], [0; SEND]); SOCKETS],
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new()
    }
}

/// An Ethernet controller that sees its cable.
pub trait Cable: Device {
    /// Whether the cable was plugged in, or came to life at the other end, since the last look; looked
    /// at with every poll.
    fn was_plugged_in(&mut self) -> bool;
}

/// The network.
pub struct Net<D> {
    device: D,
    interface: Interface,
    sockets: SocketSet<'static>,
    tcp: [SocketHandle; SOCKETS],
    dhcp: SocketHandle,
    /// When the address is given up, if no server confirms it.
    unconfirmed: Instant,
    time: SocketHandle,
}

impl<D: Cable> Net<D> {
    /// Over `device`. `random` chooses sequence numbers and ports.
    #[inline(never)]
    pub fn new(mut device: D, mac: [u8; 6], random: u64, storage: &'static mut Storage) -> Self {
        let Storage {
            sockets,
            time,
            time_packets: [received, sent],
            tcp,
        } = storage;
        let mut config = Config::new(EthernetAddress(mac).into());
        config.random_seed = random;
        let interface = Interface::new(config, &mut device, Instant::ZERO);
        let sockets = sockets.write([SocketStorage::EMPTY; SOCKETS + 2]);
        let mut sockets = SocketSet::new(&mut sockets[..]);
        let tcp = tcp.each_mut().map(|(receive, send)| {
            let buffers = (&mut receive[..], &mut send[..]);
            let mut socket = tcp::Socket::new(
                tcp::SocketBuffer::new(buffers.0),
                tcp::SocketBuffer::new(buffers.1),
            );
            socket.set_timeout(Some(TIMEOUT));
            socket.set_keep_alive(Some(KEEP_ALIVE));
            // A message is written in pieces, of which the last is to go out as soon as the first.
            socket.set_nagle_enabled(false);
            sockets.add(socket)
        });
        let dhcp = sockets.add(dhcpv4::Socket::new());
        let [to_receive, to_send] = time.write([[udp::PacketMetadata::EMPTY]; 2]);
        let mut time = udp::Socket::new(
            udp::PacketBuffer::new(&mut to_receive[..], &mut received[..]),
            udp::PacketBuffer::new(&mut to_send[..], &mut sent[..]),
        );
        // Fails for port 0 only, or twice.
        let _ = time.bind(TIME_PORT);
        let time = sockets.add(time);
        Self {
            device,
            interface,
            sockets,
            tcp,
            dhcp,
            unconfirmed: NEVER,
            time,
        }
    }

    /// Moves frames, as long as there are any; whether there were.
    pub fn poll(&mut self, now: u64) -> bool {
        let now = Instant::from_millis(now.min(i64::MAX as u64) as i64);
        let moved = self
            .interface
            .poll(now, &mut self.device, &mut self.sockets);
        let dhcp = self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp);
        let was_plugged_in = self.device.was_plugged_in();
        if was_plugged_in {
            // It may lead to another network now: a server is to say.
            dhcp.reset();
            self.unconfirmed = now + UNCONFIRMED;
        }
        match dhcp.poll() {
            // Until then, mostly to hear the same again, the address and its connections stay.
            _ if was_plugged_in => {}
            None if now < self.unconfirmed => {}
            Some(dhcpv4::Event::Configured(config)) => {
                let (address, router) = (config.address, config.router);
                self.set_address(Some(address), router);
            }
            None | Some(dhcpv4::Event::Deconfigured) => self.set_address(None, None),
        }
        moved == PollResult::SocketStateChanged
    }

    /// Takes a lease, a renewed one, or the loss of one. smoltcp ends the connections of an address
    /// that is no longer ours.
    fn set_address(&mut self, address: Option<Ipv4Cidr>, router: Option<Ipv4Addr>) {
        self.unconfirmed = NEVER;
        let new = address.map(IpCidr::Ipv4);
        if new.as_ref() != self.interface.ip_addrs().first() {
            match address {
                Some(address) => info!("address {=[u8]}", address.address().octets()),
                None => warn!("no address any more"),
            }
        }
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            addresses.extend(new);
        });
        let routes = self.interface.routes_mut();
        routes.remove_default_ipv4_route();
        if let Some(router) = router {
            // There is room for the one that was just removed.
            let _ = routes.add_default_ipv4_route(router);
        }
    }

    /// Whether there is an address.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.interface.ip_addrs().is_empty()
    }

    /// Sends a question to the server of the time.
    pub fn ask_time(&mut self, server: SocketAddrV4, question: &[u8]) {
        let server = (IpAddress::Ipv4(*server.ip()), server.port());
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.time);
        if socket.send_slice(question, server).is_err() {
            warn!("the time server cannot be asked");
        }
    }

    /// What came from that server and nobody else, if anything came.
    pub fn time_answer(&mut self, server: SocketAddrV4) -> Option<[u8; sntp::PACKET]> {
        let server = (IpAddress::Ipv4(*server.ip()), server.port());
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.time);
        let (packet, from) = socket.recv().ok()?;
        let answer = packet.first_chunk().copied()?;
        (from.endpoint == server.into()).then_some(answer)
    }

    /// One of the [`SOCKETS`] TCP sockets; the last one for a number beyond.
    pub fn socket(&mut self, number: usize) -> Socket<'_> {
        let [.., last] = self.tcp;
        let handle = self.tcp.get(number).copied().unwrap_or(last);
        Socket {
            socket: self.sockets.get_mut(handle),
            interface: &mut self.interface,
        }
    }
}

/// A TCP socket: what the publisher reads from and writes to.
pub struct Socket<'n> {
    socket: &'n mut tcp::Socket<'static>,
    interface: &'n mut Interface,
}

impl Socket<'_> {
    /// Whether it is free for [`listen`](Self::listen) and [`connect`](Self::connect).
    #[must_use]
    pub fn is_free(&self) -> bool {
        // With an endpoint a closed one still has to say so to the peer.
        !self.socket.is_open() && self.socket.remote_endpoint().is_none()
    }

    /// Whether the connection is there, both ways.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.socket.may_send() && self.socket.state() != tcp::State::SynReceived
    }

    /// Whether there is neither a connection nor one to come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.socket.is_open()
    }

    /// Waits for a connection to this port.
    pub fn listen(&mut self, port: u16) {
        // Fails for port 0, or if the socket is not free.
        let _ = self.socket.listen(port);
    }

    /// Connects; `random` chooses our port.
    pub fn connect(&mut self, to: SocketAddrV4, random: u64) {
        let remote = (IpAddress::Ipv4(*to.ip()), to.port());
        let port = 50_000 + (random % 10_000) as u16;
        // Fails without a route; then it is tried again like any other failure.
        let _ = self.socket.connect(self.interface.context(), remote, port);
    }

    /// Ends the connection when all is sent.
    pub fn close(&mut self) {
        self.socket.close();
    }

    /// Ends the connection now.
    pub fn abort(&mut self) {
        self.socket.abort();
    }

    /// How many bytes can be written at once.
    #[must_use]
    pub fn room(&self) -> usize {
        self.socket.send_capacity() - self.socket.send_queue()
    }

    /// Whether nothing is left to send, or nobody to send it to.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.socket.send_queue() == 0
    }
}

impl ErrorType for Socket<'_> {
    /// A connection that fails is one that is over: reading gives 0 bytes.
    type Error = Infallible;
}

impl ReadReady for Socket<'_> {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.socket.can_recv() || !self.socket.may_recv())
    }
}

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        Ok(self.socket.recv_slice(buffer).unwrap_or(0))
    }
}

impl WriteReady for Socket<'_> {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.socket.can_send() || !self.socket.may_send())
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(self.socket.send_slice(bytes).unwrap_or(0))
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
