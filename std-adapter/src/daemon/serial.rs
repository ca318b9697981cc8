//! A serial port with a device at its other end, as a source of messages: the port's file, the
//! core's reliable line on it, and a SUB socket's connection on that.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Write as _},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use fedmsg_core::{
    serial::{Counts, Event, Line, Reason},
    zmtp::{self, Heartbeat, Inbox, Limits, Peer, SocketType},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, Mode, OFlags, flock},
    termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr},
};

use super::{Bridge, limiter::Limiter, running::Source};
use crate::transport::{self, Endpoint, Message, encode_frames};

/// A port.
pub(super) struct Port {
    path: PathBuf,
    baud: u32,
    endpoint: Endpoint,
    limiter: Arc<Limiter>,
    clock: Instant,
    file: Option<File>,
    /// When to open the file or a session again, by `clock`, and how long to wait then.
    open_at: u64,
    retry: u64,
    line: Line,
    session: u32,
    /// What was read from the file and the line has not taken yet.
    input: Vec<u8>,
    connection: Option<Connection>,
    /// The message that was received last, as on the wire.
    message: Vec<u8>,
}

/// The SUB end of a connection.
struct Connection {
    peer: Peer,
    inbox: Inbox<Vec<u8>>,
    /// What is to be sent yet.
    output: Vec<u8>,
    has_subscribed: bool,
}

impl Port {
    pub(super) fn new(path: PathBuf, baud: u32, endpoint: Endpoint, limiter: Arc<Limiter>) -> Self {
        Self {
            path,
            baud,
            endpoint,
            limiter,
            clock: Instant::now(),
            file: None,
            open_at: 0,
            retry: FIRST_RETRY,
            line: Line::host(),
            // Of no session that the device may remember of another bridge.
            session: time() as u32,
            input: Vec::new(),
            connection: None,
            message: Vec::new(),
        }
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    /// Moves what there is to move; whether there is a message.
    fn turn(&mut self) -> bool {
        let now = self.now();
        if now >= self.open_at {
            match &self.file {
                None => self.open(now),
                Some(_) if self.connection.is_none() && !self.line.is_opening() => {
                    self.open_session(now);
                }
                Some(_) => {}
            }
        }
        let mut bytes = [0; READ];
        for _ in 0..TURNS {
            self.line.set_time(time(), now);
            match self.connect(now) {
                Ok(true) => return true,
                Ok(false) => {}
                Err(reason) => {
                    self.tell("connection", &format!("the device's connection: {reason}"));
                    self.end_session(now, FIRST_RETRY);
                }
            }
            let event = self.line.tick(now);
            self.happened(event, now);
            match self.transfer(&mut bytes, now) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.tell("port", &format!("lost: {error}"));
                    self.close(now);
                    break;
                }
            }
        }
        false
    }

    /// Moves bytes between the line and the connection; whether there is a message.
    fn connect(&mut self, now: u64) -> Result<bool, String> {
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        let Connection {
            peer,
            inbox,
            output,
            has_subscribed,
        } = connection;
        let failed = |error: zmtp::PeerError| error.to_string();
        // One message at a time; what follows it waits in the inbox, or in the line.
        let is_message = loop {
            let input = peer.input(inbox.unread(), now).map_err(failed)?;
            let (consumed, needed) = (input.consumed, input.needed);
            let (is_message, is_over) = match input.event {
                Some(zmtp::Event::Message(message)) => {
                    let frames: Vec<_> = message.frames().collect();
                    self.message.clear();
                    encode_frames(&frames, &mut self.message);
                    (true, true)
                }
                Some(_) => (false, false),
                None => (false, !self.line.has_unread()),
            };
            let is_waiting = input.event.is_none();
            inbox.consume(consumed);
            if is_over {
                break is_message;
            }
            if is_waiting {
                let n = self.line.read(inbox.space());
                inbox.commit(n);
                if n == 0 || needed > inbox.capacity() {
                    return Err(format!("a message over {} bytes", Bridge::MAX_MESSAGE));
                }
            }
        };
        peer.poll(now).map_err(failed)?;
        let mut bytes = [0; READ];
        if output.is_empty() {
            let n = peer.output(&mut bytes);
            output.extend(bytes.iter().take(n));
        }
        if output.is_empty() && peer.is_ready() && !*has_subscribed {
            // The prefix of length 0 has room.
            let n = peer.encode_subscribe(b"", &mut bytes).unwrap_or_default();
            output.extend(bytes.iter().take(n));
            *has_subscribed = true;
        }
        if !output.is_empty() {
            let n = self.line.write(output, now);
            output.drain(..n);
        }
        Ok(is_message)
    }

    /// Moves bytes between the line and the file; whether any were.
    fn transfer(&mut self, bytes: &mut [u8], now: u64) -> io::Result<bool> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        let mut moved = false;
        loop {
            let outgoing = self.line.outgoing(now);
            if outgoing.is_empty() {
                break;
            }
            let Some(n) = ready(file.write(outgoing))? else {
                break;
            };
            self.line.sent(n);
            moved = true;
        }
        if self.input.is_empty()
            && let Some(n) = ready(file.read(bytes))?
        {
            self.input.extend(bytes.iter().take(n));
        }
        let (taken, event) = self.line.receive(&self.input, now);
        self.input.drain(..taken);
        self.happened(event, now);
        Ok(moved || taken > 0)
    }

    fn happened(&mut self, event: Option<Event>, now: u64) {
        match event {
            None => {}
            Some(Event::Opened) => {
                log::info!("bridge: {}: a device is here", self.path.display());
                self.retry = FIRST_RETRY;
                self.connection = Some(Connection::new(now));
            }
            Some(Event::Closed(reason)) => {
                self.tell(&reason.to_string(), &reason.to_string());
                let wait = match reason {
                    Reason::Version(_) => LAST_RETRY,
                    _ => 0,
                };
                self.end_session(now, wait);
            }
            Some(_) => {}
        }
    }

    fn open_session(&mut self, now: u64) {
        self.session = self.session.wrapping_add(1).max(1);
        self.line.open(self.session, now);
    }

    /// After which a new one is to begin, in `wait` milliseconds.
    fn end_session(&mut self, now: u64, wait: u64) {
        self.line.close();
        self.connection = None;
        self.open_at = now + wait;
    }

    fn open(&mut self, now: u64) {
        match open(&self.path, self.baud) {
            Ok(file) => {
                log::info!("bridge: {}: open", self.path.display());
                self.file = Some(file);
                self.open_session(now);
            }
            Err(error) => {
                let what = format!("{error}; trying again until it is there");
                self.tell(&error.to_string(), &what);
                self.close(now);
            }
        }
    }

    /// The port is gone; it may come back.
    fn close(&mut self, now: u64) {
        (self.file, self.retry) = (None, (self.retry * 2).min(LAST_RETRY));
        self.input.clear();
        self.end_session(now, self.retry);
    }

    /// Logs what is wrong, each cause once a minute.
    fn tell(&self, cause: &str, what: &str) {
        if let Some(kept) = self.limiter.allows(cause) {
            log::warn!("bridge: {}: {what}{kept}", self.path.display());
        }
    }

    /// Waits until the port is ready, at most `timeout`.
    fn wait(&mut self, timeout: Duration) {
        let timeout = timeout.min(LOOK);
        let Some(file) = &self.file else {
            std::thread::sleep(timeout);
            return;
        };
        let mut flags = PollFlags::IN;
        let now = self.now();
        if !self.line.outgoing(now).is_empty() {
            flags |= PollFlags::OUT;
        }
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // Where it fails, reading will tell.
        let _ = poll(&mut [PollFd::new(file, flags)], Some(&timeout));
    }
}

impl Source for Port {
    fn recv(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, transport::Error> {
        let end = Instant::now() + timeout;
        while !self.turn() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.wait(left);
        }
        let frames = zmtp::Message::from_wire(&self.message);
        Ok(frames.map(|frames| Message {
            frames,
            endpoint: &self.endpoint,
        }))
    }

    fn line(&self) -> Option<Counts> {
        Some(self.line.counts())
    }
}

impl Connection {
    fn new(now: u64) -> Self {
        let limits = Limits {
            max_message: Bridge::MAX_MESSAGE,
            handshake_timeout_ms: 15_000,
            heartbeat: Some(Heartbeat {
                interval_ms: 5_000,
                timeout_ms: 15_000,
                ttl: 0,
            }),
            ..Limits::DEFAULT
        };
        Self {
            peer: Peer::new(SocketType::Sub, limits, now),
            inbox: Inbox::new(vec![0; Bridge::MAX_MESSAGE]),
            output: Vec::new(),
            has_subscribed: false,
        }
    }
}

/// Opens a port for this program alone, so that every byte passes as it is.
fn open(path: &PathBuf, baud: u32) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => io::Error::other("another bridge has the port"),
        error => error.into(),
    })?;
    let mut settings = tcgetattr(&file).map_err(|error| match error {
        rustix::io::Errno::NOTTY => io::Error::other("this is no serial port, and no terminal"),
        error => error.into(),
    })?;
    settings.make_raw();
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    settings.control_modes &= !(ControlModes::CRTSCTS | ControlModes::CSTOPB);
    settings.set_speed(baud)?;
    tcsetattr(&file, OptionalActions::Now, &settings)?;
    Ok(File::from(file))
}

/// How many bytes were moved; `None` if that would have to wait.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// Milliseconds since 1970.
fn time() -> u64 {
    let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    time.as_millis() as u64
}

/// Milliseconds until a port or a session is tried again; the wait for a port doubles, up to the
/// last.
const FIRST_RETRY: u64 = 250;
const LAST_RETRY: u64 = 5_000;
/// How often the line is looked at while nothing comes.
const LOOK: Duration = Duration::from_millis(50);
/// What is read or written at once, in bytes.
const READ: usize = 256;
/// How often, before somebody else's turn.
const TURNS: usize = 64;
