//! The device in asynchronous tasks: embassy-net's, one a connection, one that knows the time, one
//! that speaks. They share one stack, and the [`Device`]; none holds it across an `await`.
//!
//! A task runs until it waits: while one signs, no other does.

use core::{
    cell::{Cell, RefCell, RefMut},
    future::poll_fn,
    net::SocketAddrV4,
    task::Poll,
};

use embassy_futures::select::{Either, select};
use embassy_net::{
    Ipv4Address, Stack,
    tcp::{Error, TcpSocket, TcpWriter},
    udp::{PacketMetadata, UdpSocket},
};
use embassy_time::{Duration, Instant, Timer, with_deadline, with_timeout};
use embedded_io_async::{ErrorType, Write};
use fedmsg_core::{
    Clock, LinkError, StreamError,
    provision::Bus,
    publisher::{Publisher, Shared},
};

use crate::{
    agenda::Agenda,
    app::{LIMITS, Owner, RING, begin, end},
    author::Author,
    entropy::Entropy,
    log::{info, warn},
    sntp::{PACKET, Sntp},
    transport::Counts,
};

/// How many subscribers there may be at once.
pub const SUBSCRIBERS: usize = 4;
/// TCP sockets: one more, so that who is too many is told so.
pub const SOCKETS: usize = SUBSCRIBERS + 1;

/// What a TCP socket keeps until it is acknowledged, in bytes.
pub const SEND: usize = 1024;
/// What it keeps until it is read.
pub const RECEIVE: usize = 128;

/// How long a peer may leave what we send without an answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// After which silence it is asked for a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long a connection that we end has for its last words.
const LINGER: Duration = Duration::from_secs(1);
/// From one attempt to reach the relay to the next, in milliseconds; doubled each time, up to the
/// last.
const FIRST_RETRY: u64 = 250;
const LAST_RETRY: u64 = 8_000;
/// Our port for asking the time; any that is not the bus's.
const TIME_PORT: u16 = 49_123;

/// What the tasks share.
pub struct Device {
    bus: Bus,
    time_server: SocketAddrV4,
    publisher: Shared<'static, SUBSCRIBERS>,
    random: RefCell<Entropy>,
    sntp: RefCell<Sntp>,
    counts: Cell<Counts>,
}

/// Milliseconds since the start.
struct Time;

impl Clock for Time {
    fn now(&self) -> u64 {
        Instant::now().as_millis()
    }

    async fn sleep_until(&self, at: u64) {
        Timer::at(Instant::from_millis(at)).await;
    }
}

impl Device {
    /// A device whose recent messages are in `ring`.
    pub fn new(owner: Owner, ring: &'static mut [u8; RING]) -> Self {
        Self {
            bus: owner.provision.bus,
            time_server: owner.provision.time_server,
            publisher: Shared::new(match owner.signer {
                Some(signer) => Publisher::signed(ring, signer, LIMITS),
                None => Publisher::new(ring, LIMITS),
            }),
            random: RefCell::new(owner.random),
            sntp: RefCell::new(Sntp::new()),
            counts: Cell::new(Counts::default()),
        }
    }

    /// Says what is due, from when the time is known. `ready` is done when `console` has a byte.
    pub async fn speak<R: Future<Output = ()>>(
        &self,
        agenda: &mut Agenda,
        author: &mut Author,
        console: fn() -> Option<u8>,
        ready: impl Fn() -> R,
    ) {
        loop {
            let now = Time.now();
            let Some(time) = self.time(now) else {
                Timer::after_millis(10).await;
                continue;
            };
            begin();
            let taken = || {
                self.publisher.subscribers() == 0
                    || (0..SUBSCRIBERS).any(|link| self.publisher.is_drained(link))
            };
            if let Ok(random) = &mut self.random.try_borrow_mut()
                && let Some(due) = agenda.next(now, taken, console)
            {
                let outlet = &mut &self.publisher;
                author.say(&due, (time, now), random, self.counts.get(), outlet);
                end();
            }
            if agenda.is_busy() {
                // Who else has something to do comes first.
                yield_now().await;
            } else {
                let _ = with_deadline(Instant::from_millis(agenda.next_at()), ready()).await;
            }
        }
    }

    /// Tells what became of the address.
    pub async fn watch(&self, stack: Stack<'_>) {
        loop {
            stack.wait_config_up().await;
            if let Some(config) = stack.config_v4() {
                info!("address {=[u8]}", config.address.address().octets());
            }
            match self.bus {
                Bus::Serial => {}
                Bus::Listen(port) => info!("listening on port {=u16}", port),
                Bus::Connect(relay) => info!(
                    "connecting to {=[u8]}, port {=u16}",
                    relay.ip().octets(),
                    relay.port()
                ),
            }
            stack.wait_config_down().await;
            warn!("no address any more");
        }
    }

    /// Keeps the time.
    pub async fn keep_time(&self, stack: Stack<'_>) {
        let (mut received, mut sent) = ([0; PACKET], [0; PACKET]);
        let (mut to_receive, mut to_send) = ([PacketMetadata::EMPTY], [PacketMetadata::EMPTY]);
        let mut socket = UdpSocket::new(
            stack,
            &mut to_receive,
            &mut received,
            &mut to_send,
            &mut sent,
        );
        // Fails for port 0 only, or twice.
        let _ = socket.bind(TIME_PORT);
        let server = (
            Ipv4Address::from(*self.time_server.ip()),
            self.time_server.port(),
        );
        loop {
            stack.wait_config_up().await;
            if let Some(question) = self.question()
                && socket.send_to(&question, server).await.is_err()
            {
                warn!("the time server cannot be asked");
            }
            let ask_at = self.sntp.try_borrow().map_or(0, |sntp| sntp.ask_at());
            let ask_at = Instant::from_millis(ask_at);
            let mut packet = [0; PACKET];
            if let Ok(Ok((len, from))) = with_deadline(ask_at, socket.recv_from(&mut packet)).await
                && from.endpoint == server.into()
            {
                self.hear_time(packet.get(..len).unwrap_or_default());
            }
        }
    }

    fn time(&self, now: u64) -> Option<u64> {
        self.sntp.try_borrow().ok()?.time(now)
    }

    fn question(&self) -> Option<[u8; PACKET]> {
        let (mut sntp, mut random) = self.clockwork()?;
        sntp.ask(Time.now(), &mut random)
    }

    fn hear_time(&self, answer: &[u8]) {
        let now = Time.now();
        let known = self.time(now).is_some();
        let good = self
            .clockwork()
            .is_some_and(|(mut sntp, mut random)| sntp.answer(answer, now, &mut random));
        if let (true, false, Some(time)) = (good, known, self.time(now)) {
            info!("it is {=u64}", time);
        }
    }

    /// `None` while somebody else has them: never, for nobody waits with them in hand.
    fn clockwork(&self) -> Option<(RefMut<'_, Sntp>, RefMut<'_, Entropy>)> {
        let sntp = self.sntp.try_borrow_mut().ok()?;
        Some((sntp, self.random.try_borrow_mut().ok()?))
    }

    /// Accepts connections, or reaches for the relay, one after the other.
    pub async fn connect(&self, stack: Stack<'_>, receive: &mut [u8], send: &mut [u8]) {
        let mut retry = FIRST_RETRY;
        let mut socket = TcpSocket::new(stack, receive, send);
        socket.set_timeout(Some(TIMEOUT));
        socket.set_keep_alive(Some(KEEP_ALIVE));
        // A message is written in pieces, of which the last is to go out as soon as the first.
        socket.set_nagle_enabled(false);
        loop {
            stack.wait_config_up().await;
            let connected = match self.bus {
                Bus::Serial => return,
                Bus::Listen(port) => socket.accept(port).await.is_ok(),
                Bus::Connect(relay) => {
                    let relay = (Ipv4Address::from(*relay.ip()), relay.port());
                    let next = Instant::now() + Duration::from_millis(retry);
                    let connected = socket.connect(relay).await.is_ok();
                    if connected {
                        retry = FIRST_RETRY;
                    } else {
                        retry = (retry * 2).min(LAST_RETRY);
                        Timer::at(next).await;
                    }
                    connected
                }
            };
            if connected && self.serve(&mut socket, stack).await {
                socket.close();
                let _ = with_timeout(LINGER, socket.flush()).await;
            }
            socket.abort();
            let _ = with_timeout(LINGER, socket.flush()).await;
        }
    }

    /// Serves a connection until it ends; whether its last words are to be sent.
    async fn serve(&self, socket: &mut TcpSocket<'_>, stack: Stack<'_>) -> bool {
        let Some(connection) = self.publisher.open(Time.now()) else {
            self.count(|counts| &mut counts.refused);
            return false;
        };
        let link = connection.link();
        self.count(|counts| &mut counts.opened);
        info!("subscriber {=usize} is here", link);
        let (mut reader, writer) = socket.split();
        let mut writer = Writer(writer);
        let served = connection.serve(&mut reader, &mut writer, &Time);
        let ended = match select(served, stack.wait_config_down()).await {
            Either::First(ended) => ended,
            // It is not our address any more.
            Either::Second(()) => StreamError::Closed,
        };
        match ended {
            StreamError::Link(LinkError::TooSlow) => {
                self.count(|counts| &mut counts.too_slow);
                let lost = self.publisher.lost_by(link);
                warn!(
                    "subscriber {=usize} was too slow, and lost {=u64}",
                    link, lost
                );
                false
            }
            StreamError::Link(error) => {
                self.count(|counts| &mut counts.violations);
                warn!("subscriber {=usize} broke the protocol: {}", link, error);
                true
            }
            StreamError::Closed | StreamError::Io(_) | _ => {
                info!("subscriber {=usize} left", link);
                false
            }
        }
    }

    fn count(&self, which: impl FnOnce(&mut Counts) -> &mut u32) {
        let mut counts = self.counts.get();
        *which(&mut counts) += 1;
        self.counts.set(counts);
    }

    /// How many of the [`SOCKETS`] there is something to do for.
    #[must_use]
    pub fn sockets(&self) -> usize {
        match self.bus {
            Bus::Listen(_) => SOCKETS,
            Bus::Connect(_) => 1,
            Bus::Serial => 0,
        }
    }
}

/// Lets the other tasks run.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Where a connection's bytes go. What is written is sent without being flushed, which with
/// embassy-net means to wait until the peer has acknowledged it: a message would wait for the last.
struct Writer<'s>(TcpWriter<'s>);

impl ErrorType for Writer<'_> {
    type Error = Error;
}

impl Write for Writer<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.0.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
