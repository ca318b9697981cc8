//! A device's address: leased by a server on a simulated wire, for simulated hours.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test"
)]

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    net::Ipv4Addr,
    rc::Rc,
};

use fedmsg_core::{provision::Bus, publisher::Publisher, zmtp::Limits};
use fedmsg_mps2::{
    entropy::Entropy,
    ip::{
        SUBSCRIBERS,
        links::Links,
        net::{Cable, Net, Storage},
    },
};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage},
    phy::{self, Device, DeviceCapabilities, Medium},
    socket::{tcp, udp},
    time::Instant,
    wire::{DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, IpAddress, IpCidr, Ipv4Cidr},
};

const SECOND: u64 = 1_000;
/// How long a lease lasts. After half of it the device asks again.
const LEASE: u64 = 600 * SECOND;

const HERE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 15);
const ALSO_HERE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 16);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 15);

#[test]
fn a_lease_that_is_renewed_keeps_its_connections() {
    let mut lab = Lab::new(HERE);
    lab.connect();
    lab.run(10 * LEASE);
    assert!(lab.site.granted > 10, "{}", lab.site.granted);
    assert!(lab.is_connected());
    assert_eq!(lab.links.counts().opened, 1);
}

#[test]
fn another_address_ends_the_connections_of_the_old_one_and_is_listened_on() {
    // The server says no to the old one, or nothing.
    for refuses in [true, false] {
        let mut lab = Lab::new(HERE);
        lab.connect();
        lab.site.offer = Some(ALSO_HERE);
        lab.site.refuses = refuses;
        lab.run_until(LEASE + 30 * SECOND, |lab| !lab.is_connected());
        lab.connect();
        assert_eq!(lab.links.counts().opened, 2);
        lab.run(2 * LEASE);
        assert!(lab.is_connected());
    }
}

#[test]
fn without_a_server_the_address_is_given_up_with_its_lease_and_leased_again_from_a_new_one() {
    let mut lab = Lab::new(HERE);
    lab.connect();
    lab.site.offer = None;
    lab.run(LEASE * 2 / 5); // renewed at its half
    assert!(lab.is_connected() && lab.net.is_up());
    lab.run(LEASE);
    assert!(!lab.is_connected() && !lab.net.is_up());
    lab.run(LEASE);
    lab.site.offer = Some(HERE);
    lab.connect();
}

#[test]
fn a_cable_that_was_out_leads_to_the_same_network_as_a_rule() {
    let mut lab = Lab::new(HERE);
    lab.connect();
    let granted = lab.site.granted;
    lab.plug(false);
    lab.run(5 * SECOND);
    lab.plug(true);
    lab.run(5 * SECOND);
    assert_eq!(lab.site.granted, granted + 1);
    lab.run(10 * LEASE);
    assert!(lab.is_connected());
    assert_eq!(lab.links.counts().opened, 1);
}

#[test]
fn a_cable_that_was_out_may_lead_elsewhere() {
    let mut lab = Lab::new(HERE);
    lab.connect();
    lab.plug(false);
    lab.run(5 * SECOND);
    lab.site.move_to(ELSEWHERE);
    lab.plug(true);
    lab.run_until(5 * SECOND, |lab| !lab.is_connected());
    lab.connect();
    assert_eq!(lab.links.counts().opened, 2);
}

#[test]
fn a_cable_that_was_out_and_leads_to_no_server_costs_the_address_after_an_hour() {
    let mut lab = Lab::new(HERE);
    lab.connect();
    lab.site.offer = None;
    lab.plug(false);
    lab.plug(true);
    lab.run(3_590 * SECOND);
    assert!(lab.is_connected() && lab.net.is_up());
    lab.run(20 * SECOND);
    assert!(!lab.is_connected() && !lab.net.is_up());
    lab.site.offer = Some(HERE);
    lab.connect();
}

/// A device, a cable, and what is at its other end.
struct Lab {
    now: u64,
    net: Net<End>,
    links: Links,
    publisher: Publisher<'static, SUBSCRIBERS>,
    random: Entropy,
    is_plugged: Rc<Cell<bool>>,
    site: Site,
}

impl Lab {
    /// At a site whose server offers this address.
    fn new(offer: Ipv4Addr) -> Self {
        let [to, from] = [(); 2].map(|()| Rc::<RefCell<VecDeque<_>>>::default());
        let is_plugged = Rc::new(Cell::new(true));
        let end = |from: &Rc<_>, to: &Rc<_>| End {
            from: Rc::clone(from),
            to: Rc::clone(to),
            is_plugged: Rc::clone(&is_plugged),
            was_plugged: true,
        };
        let storage = Box::leak(Box::new(Storage::new()));
        let limits = Limits {
            // Its subscribers say nothing at all.
            handshake_timeout_ms: 0,
            ..Limits::DEFAULT
        };
        Self {
            now: 0,
            net: Net::new(end(&from, &to), [2, 0, 0, 0, 0, 1], 1, storage),
            links: Links::new(Bus::Listen(9940)),
            publisher: Publisher::new(Box::leak(Box::new([0; 4096])), limits),
            random: Entropy::new(&[0; 32]),
            site: Site::new(end(&to, &from), offer),
            is_plugged,
        }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += SECOND / 10;
            let Self { net, links, .. } = self;
            net.poll(self.now);
            links.poll(net, &mut self.publisher, &mut self.random, self.now);
            net.poll(self.now);
            self.site.poll(self.now);
        }
    }

    #[track_caller]
    fn run_until(&mut self, ms: u64, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + ms;
        while !done(self) {
            assert!(self.now < end, "not in time");
            self.run(SECOND / 10);
        }
    }

    /// Has a subscriber connect to the device where it is to be.
    #[track_caller]
    fn connect(&mut self) {
        self.site.subscriber().abort();
        self.run_until(60 * SECOND, |lab| {
            lab.site.connect();
            lab.site.subscriber().may_send() && lab.is_connected()
        });
    }

    /// Whether the device has a subscriber.
    fn is_connected(&mut self) -> bool {
        self.publisher.outgoing(0).is_ok()
    }

    fn plug(&mut self, plugged: bool) {
        self.is_plugged.set(plugged);
        // It is noticed.
        self.run(SECOND / 10);
    }
}

/// The other end: a server of addresses, and a subscriber.
struct Site {
    end: End,
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: SocketHandle,
    subscriber: SocketHandle,
    /// The address for the device, if there is a server.
    offer: Option<Ipv4Addr>,
    /// Whether a request for another address is refused, or not answered.
    refuses: bool,
    /// How many leases there were.
    granted: u32,
    port: u16,
}

impl Site {
    fn new(mut end: End, offer: Ipv4Addr) -> Self {
        let config = Config::new(EthernetAddress([2, 0, 0, 0, 0, 2]).into());
        let interface = Interface::new(config, &mut end, Instant::ZERO);
        let mut sockets = SocketSet::new(vec![SocketStorage::EMPTY, SocketStorage::EMPTY].leak());
        let packets = || {
            udp::PacketBuffer::new(
                vec![udp::PacketMetadata::EMPTY; 4].leak(),
                vec![0; 4096].leak(),
            )
        };
        let mut dhcp = udp::Socket::new(packets(), packets());
        dhcp.bind(67).unwrap();
        let bytes = || tcp::SocketBuffer::new(vec![0; 1024].leak());
        let mut site = Self {
            end,
            interface,
            dhcp: sockets.add(dhcp),
            subscriber: sockets.add(tcp::Socket::new(bytes(), bytes())),
            sockets,
            offer: None,
            refuses: false,
            granted: 0,
            port: 50_000,
        };
        site.move_to(offer);
        site
    }

    /// Has another network, in which this is the device's address.
    fn move_to(&mut self, offer: Ipv4Addr) {
        self.offer = Some(offer);
        let [a, b, c, _] = offer.octets();
        self.interface.update_ip_addrs(|own| {
            own.clear();
            let own_address = Ipv4Cidr::new(Ipv4Addr::new(a, b, c, 1), 24);
            own.push(IpCidr::Ipv4(own_address)).unwrap();
        });
    }

    fn own(&self) -> Ipv4Addr {
        self.interface.ipv4_addr().unwrap()
    }

    fn subscriber(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.subscriber)
    }

    /// Connects, if that is not done or under way.
    fn connect(&mut self) {
        let to = (self.offer.unwrap(), 9940);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.subscriber);
        if !socket.is_open() && socket.remote_endpoint().is_none() {
            self.port += 1;
            let interface = self.interface.context();
            socket.connect(interface, to, self.port).unwrap();
        }
    }

    fn poll(&mut self, now: u64) {
        let now = Instant::from_millis(i64::try_from(now).unwrap());
        self.interface.poll(now, &mut self.end, &mut self.sockets);
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.dhcp);
        if let Ok((question, _)) = socket.recv() {
            let question = question.to_vec();
            self.answer(&question);
        }
        self.interface.poll(now, &mut self.end, &mut self.sockets);
    }

    fn answer(&mut self, question: &[u8]) {
        let packet = DhcpPacket::new_checked(question).unwrap();
        let question = DhcpRepr::parse(&packet).unwrap();
        let Some(offer) = self.offer else { return };
        let own = self.own();
        let wanted = question.requested_ip.unwrap_or(question.client_ip);
        let message_type = match question.message_type {
            DhcpMessageType::Discover => DhcpMessageType::Offer,
            DhcpMessageType::Request if wanted == offer => DhcpMessageType::Ack,
            DhcpMessageType::Request if self.refuses => DhcpMessageType::Nak,
            _ => return,
        };
        self.granted += u32::from(message_type == DhcpMessageType::Ack);
        let answer = DhcpRepr {
            message_type,
            your_ip: offer,
            server_ip: own,
            server_identifier: Some(own),
            router: Some(own),
            subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
            lease_duration: Some(u32::try_from(LEASE / SECOND).unwrap()),
            client_ip: Ipv4Addr::UNSPECIFIED,
            requested_ip: None,
            client_identifier: None,
            parameter_request_list: None,
            max_size: None,
            ..question
        };
        let mut bytes = vec![0; answer.buffer_len()];
        let mut packet = DhcpPacket::new_unchecked(&mut bytes);
        answer.emit(&mut packet).unwrap();
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.dhcp);
        let everybody = (IpAddress::Ipv4(Ipv4Addr::BROADCAST), 68);
        socket.send_slice(&bytes, everybody).unwrap();
    }
}

type Frames = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// An end of the cable.
struct End {
    from: Frames,
    to: Frames,
    is_plugged: Rc<Cell<bool>>,
    was_plugged: bool,
}

impl Cable for End {
    fn was_plugged_in(&mut self) -> bool {
        let before = std::mem::replace(&mut self.was_plugged, self.is_plugged.get());
        self.was_plugged && !before
    }
}

impl Device for End {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.from.borrow_mut().pop_front()?;
        Some((Received(frame), Sending(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Sending<'e>(&'e End);

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        if self.0.is_plugged.get() {
            self.0.to.borrow_mut().push_back(frame);
        }
        result
    }
}
