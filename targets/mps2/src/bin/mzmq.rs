//! The firmware's rival: the same board, network, agenda and messages, unsigned, with mzmq's PUB
//! connections in the place of the core's publisher. To be measured, not to be copied.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("mzmq: this program runs on a Cortex-M3; see targets/README.md");
    std::process::exit(2);
}

#[cfg(target_os = "none")]
#[cortex_m_rt::entry]
fn main() -> ! {
    rival::run()
}

#[cfg(target_os = "none")]
mod rival {
    use core::mem::MaybeUninit;

    use embedded_io::{Read, ReadReady, Write};
    use fedmsg_core::{
        message::{self, Envelope},
        provision::Bus,
        publisher::PublishError,
    };
    use fedmsg_mps2::{
        agenda::Agenda,
        app::{Owner, begin, end},
        author::{Author, Outlet},
        board::{self, Ethernet, Static},
        entropy::Entropy,
        ip::{
            SUBSCRIBERS,
            net::{Net, SOCKETS, Socket, Storage},
        },
        sntp::Sntp,
        start,
        transport::Counts,
    };
    use mzmq::{
        connection::{Connection, State},
        null::READY_LEN,
    };
    use serde::Serialize;

    /// The longest message with its headers: as the socket's buffer.
    const FRAMES: usize = 1024;

    /// As many and as long subscriptions, and as long a frame, as suits a device.
    type Link = Connection<8, 64, 128>;

    static STORAGE: Static<Storage> = Static::new(Storage::new());
    static LINKS: Static<[MaybeUninit<Option<Link>>; SOCKETS]> =
        Static::new([const { MaybeUninit::uninit() }; SOCKETS]);
    static RIVAL: Static<MaybeUninit<Rival>> = Static::new(MaybeUninit::uninit());

    pub(crate) fn run() -> ! {
        let Some(mut clock) = board::start() else {
            board::restart()
        };
        let Some(rival) = start::read().and_then(rival) else {
            start::give_up()
        };
        loop {
            if !rival.turn(clock.now()) {
                board::sleep();
            }
        }
    }

    #[inline(never)] // what it has on the stack is gone before there is more
    fn rival(mut owner: Owner) -> Option<&'static mut Rival> {
        let Bus::Listen(port) = owner.provision.bus else {
            defmt::error!("this image only listens");
            return None;
        };
        let mac = owner.provision.mac;
        let ethernet = board::ethernet(mac)?;
        let seed = owner.random.draw_u64();
        Some(RIVAL.give()?.write(Rival {
            net: Net::new(ethernet, mac, seed, STORAGE.give()?),
            time_server: owner.provision.time_server,
            sntp: Sntp::new(),
            random: owner.random,
            agenda: Agenda::new(owner.provision.period_ms),
            author: Author::new(&owner.provision, board::SENSES),
            peers: Peers {
                port,
                links: LINKS.give()?.each_mut().map(|place| place.write(None)),
                counts: Counts::default(),
                lost: [0; SOCKETS],
            },
            announced: false,
        }))
    }

    struct Rival {
        net: Net<Ethernet>,
        time_server: core::net::SocketAddrV4,
        sntp: Sntp,
        random: Entropy,
        agenda: Agenda,
        author: Author,
        peers: Peers,
        announced: bool,
    }

    impl Rival {
        fn turn(&mut self, now: u64) -> bool {
            let mut more = self.net.poll(now);
            if self.net.is_up() {
                self.keep_time(now);
                if !self.announced {
                    self.announced = true;
                    defmt::info!("listening on port {=u16}", self.peers.port);
                }
            }
            more |= self.peers.poll(&mut self.net);
            let Some(time) = self.sntp.time(now) else {
                return more;
            };
            begin();
            let (net, peers) = (&mut self.net, &mut self.peers);
            let idle = (0..SOCKETS).any(|number| net.socket(number).is_flushed());
            if let Some(due) = self.agenda.next(now, || idle, board::console::read) {
                let counts = peers.counts;
                let mut out = Out { net, peers };
                let random = &mut self.random;
                self.author.say(&due, (time, now), random, counts, &mut out);
                more |= self.net.poll(now);
                end();
            }
            more || self.agenda.is_busy()
        }

        fn keep_time(&mut self, now: u64) {
            if let Some(question) = self.sntp.ask(now, &mut self.random) {
                self.net.ask_time(self.time_server, &question);
            }
            let known = self.sntp.time(now).is_some();
            if let Some(answer) = self.net.time_answer(self.time_server)
                && self.sntp.answer(&answer, now, &mut self.random)
                && !known
                && let Some(time) = self.sntp.time(now)
            {
                defmt::info!("it is {=u64}", time);
            }
        }
    }

    struct Peers {
        port: u16,
        links: [&'static mut Option<Link>; SOCKETS],
        counts: Counts,
        /// Messages lost, by socket.
        lost: [u64; SOCKETS],
    }

    impl Peers {
        fn poll(&mut self, net: &mut Net<Ethernet>) -> bool {
            let mut more = false;
            for number in 0..SOCKETS {
                let here = self.links.iter().filter(|link| link.is_some()).count();
                let mut socket = net.socket(number);
                let Some(slot) = self.links.get_mut(number) else {
                    break;
                };
                if let Some(link) = &mut **slot {
                    match serve(link, &mut socket) {
                        Served::Idle => {}
                        Served::Moved => more = true,
                        Served::Over => {
                            socket.abort();
                            **slot = None;
                        }
                        Served::Broken => {
                            self.counts.violations += 1;
                            socket.close();
                            **slot = None;
                        }
                    }
                } else if socket.is_free() {
                    socket.listen(self.port);
                } else if socket.is_connected() && here < SUBSCRIBERS {
                    let mut greeting = [0; 64];
                    let link = slot.insert(Connection::new());
                    let _ = link.write_greeting(&mut greeting);
                    let _ = socket.write(&greeting);
                    self.counts.opened += 1;
                    defmt::info!("subscriber {=usize} is here", number);
                } else if socket.is_connected() {
                    self.counts.refused += 1;
                    socket.abort();
                }
            }
            more
        }
    }

    enum Served {
        Idle,
        Moved,
        Over,
        Broken,
    }

    /// Gives a connection what came, and sends what it answers.
    #[inline(never)]
    fn serve(link: &mut Link, socket: &mut Socket<'_>) -> Served {
        if !matches!(socket.read_ready(), Ok(true)) {
            return Served::Idle;
        }
        let mut bytes = [0; 128];
        let len = socket.read(&mut bytes).unwrap_or(0);
        let mut rest = bytes.get(..len).unwrap_or_default();
        if rest.is_empty() {
            return Served::Over;
        }
        while !rest.is_empty() {
            let left = match link.feed(rest) {
                Ok(taken @ 1..) => rest.get(taken..),
                _ => None,
            };
            let Some(left) = left else {
                return Served::Broken;
            };
            rest = left;
            let mut answer = [0; 32];
            if link.write_ready(&mut answer).is_ok()
                && let Some(ready) = answer.get(..READY_LEN)
            {
                let _ = socket.write(ready);
            }
            if let Ok(Some(len)) = link.write_pong(&mut answer)
                && let Some(pong) = answer.get(..len)
                && socket.room() >= len
            {
                let _ = socket.write(pong);
            }
        }
        Served::Moved
    }

    /// The message as a user of mzmq has to write it: mzmq has no format.
    #[derive(Serialize)]
    struct Message<'m, M> {
        i: u64,
        msg: &'m M,
        msg_id: &'m str,
        timestamp: u64,
        topic: &'m str,
    }

    struct Out<'o> {
        net: &'o mut Net<Ethernet>,
        peers: &'o mut Peers,
    }

    impl Outlet<SOCKETS> for Out<'_> {
        fn publish(
            &mut self,
            envelope: &Envelope<'_>,
            msg: &impl Serialize,
            scratch: &mut [u8],
        ) -> Result<(), PublishError> {
            let needed = scratch.len() + 1;
            let message = Message {
                i: envelope.i,
                msg,
                msg_id: envelope.msg_id.as_str(),
                timestamp: envelope.timestamp,
                topic: envelope.topic,
            };
            let body = serde_json_core::to_slice(&message, scratch)
                .ok()
                .and_then(|len| scratch.get(..len))
                .ok_or(PublishError::Message(message::Error::BufferTooSmall {
                    needed,
                }))?;
            let topic = envelope.topic.as_bytes();
            // What all are sent, once somebody wants it.
            let (mut frames, mut len) = ([0; FRAMES], 0);
            let links = self.peers.links.iter_mut().zip(&mut self.peers.lost);
            for (number, (link, lost)) in links.enumerate() {
                let Some(link) = link.as_mut() else { continue };
                // Not to be copied for each.
                let wanted = match len {
                    0 => link.publish(topic, body, &mut frames).inspect(|n| len = *n),
                    _ => link
                        .publish_headers(topic, body)
                        .map(|headers| headers.map_or(0, |_| len)),
                };
                if !wanted.is_ok_and(|len| len > 0) {
                    continue;
                }
                let mut socket = self.net.socket(number);
                // There is no queue but the socket's buffer: a message that does not fit is lost.
                if socket.room() < len {
                    *lost += 1;
                } else {
                    let _ = socket.write(frames.get(..len).unwrap_or_default());
                }
            }
            Ok(())
        }

        fn subscribers(&self) -> usize {
            let links = self.peers.links.iter().filter_map(|link| link.as_ref());
            links
                .filter(|link| *link.state() == State::Established)
                .count()
        }

        fn lost(&self) -> ([u64; SOCKETS], u64) {
            (self.peers.lost, self.peers.lost.iter().sum())
        }
    }
}
