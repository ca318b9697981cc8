//! The transport over TCP/IP: [`net`] (smoltcp, DHCP, sockets), [`links`] (subscribers).

pub mod links;
pub mod net;

use fedmsg_core::{
    provision::{Bus, Provision},
    publisher::Publisher,
};

use crate::{
    entropy::Entropy,
    log::info,
    sntp::Sntp,
    transport::{Counts, Transport},
};

use links::Links;
use net::{Cable, Net, Storage};

/// How many subscribers there may be at once.
pub const SUBSCRIBERS: usize = net::SOCKETS - 1;

/// TCP/IP over one Ethernet device.
pub struct Ip<D> {
    bus: Bus,
    time_server: core::net::SocketAddrV4,
    net: Net<D>,
    links: Links,
    sntp: Sntp,
    announced: bool,
}

impl<D: Cable> Ip<D> {
    /// As provisioned, over `device`.
    pub fn new(
        provision: &Provision<'_>,
        device: D,
        random: &mut Entropy,
        storage: &'static mut Storage,
    ) -> Self {
        Self {
            bus: provision.bus,
            time_server: provision.time_server,
            net: Net::new(device, provision.mac, random.draw_u64(), storage),
            links: Links::new(provision.bus),
            sntp: Sntp::new(),
            announced: false,
        }
    }

    fn keep_time(&mut self, random: &mut Entropy, now: u64) {
        if let Some(question) = self.sntp.ask(now, random) {
            self.net.ask_time(self.time_server, &question);
        }
        let known = self.sntp.time(now).is_some();
        if let Some(answer) = self.net.time_answer(self.time_server)
            && self.sntp.answer(&answer, now, random)
            && !known
            && let Some(time) = self.sntp.time(now)
        {
            info!("it is {=u64}", time);
        }
    }

    /// To be logged once there is an address.
    fn announce(&self) {
        match self.bus {
            Bus::Listen(port) => info!("listening on port {=u16}", port),
            Bus::Connect(relay) => {
                info!(
                    "connecting to {=[u8]}, port {=u16}",
                    relay.ip().octets(),
                    relay.port()
                );
            }
            // No image for a network takes that.
            Bus::Serial => {}
        }
    }
}

impl<D: Cable> Transport<SUBSCRIBERS> for Ip<D> {
    fn poll(
        &mut self,
        publisher: &mut Publisher<'_, SUBSCRIBERS>,
        random: &mut Entropy,
        now: u64,
    ) -> bool {
        let more = self.net.poll(now);
        if self.net.is_up() {
            self.keep_time(random, now);
            if !self.announced {
                self.announced = true;
                self.announce();
            }
        }
        more | self.links.poll(&mut self.net, publisher, random, now)
    }

    fn send(&mut self, publisher: &mut Publisher<'_, SUBSCRIBERS>, now: u64) -> bool {
        self.links.serve(&mut self.net, publisher, now) | self.net.poll(now)
    }

    fn time(&self, now: u64) -> Option<u64> {
        self.sntp.time(now)
    }

    fn counts(&self) -> Counts {
        self.links.counts()
    }
}
