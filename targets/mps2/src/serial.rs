//! The transport over a serial line: a bridge on a host is the one subscriber, and tells the time.
//! The protocol is [`fedmsg_core::serial`].

use core::convert::Infallible;

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use fedmsg_core::{
    LinkError, StreamError,
    publisher::Publisher,
    serial::{Event, Line},
};

use crate::{
    entropy::Entropy,
    log::{info, warn},
    transport::{Counts, Transport},
};

/// What sends and receives the line's bytes.
pub trait Uart {
    /// The next byte that has come.
    fn read(&mut self) -> Option<u8>;

    /// Sends a byte, if there is room for it.
    fn write(&mut self, byte: u8) -> bool;
}

/// A serial line.
pub struct Serial<U> {
    uart: U,
    line: Line,
    link: Option<usize>,
    /// Whether somebody was there when the time was.
    is_heard: bool,
    counts: Counts,
}

impl<U: Uart> Serial<U> {
    /// Over `uart`; waits for the bridge.
    pub fn new(uart: U) -> Self {
        info!("waiting for a bridge on the serial line");
        Self {
            uart,
            line: Line::device(),
            link: None,
            is_heard: false,
            counts: Counts::default(),
        }
    }

    /// Takes the line's bytes, as long as there is room for what is in them.
    fn receive(&mut self, publisher: &mut Publisher<'_, 1>, random: &mut Entropy, now: u64) {
        while !self.line.has_unread()
            && let Some(byte) = self.uart.read()
        {
            let (_, event) = self.line.receive(&[byte], now);
            self.happened(event, publisher, random, now);
        }
        let event = self.line.tick(now);
        self.happened(event, publisher, random, now);
    }

    fn happened(
        &mut self,
        event: Option<Event>,
        publisher: &mut Publisher<'_, 1>,
        random: &mut Entropy,
        now: u64,
    ) {
        if event.is_none() {
            return;
        }
        if let Some(link) = self.link.take() {
            publisher.close(link);
            info!("the bridge left");
        }
        if event == Some(Event::Opened) {
            let time = self.line.time(now).unwrap_or_default();
            random.mix(&time.to_le_bytes());
            info!("a bridge is here, it is {=u64}", time / 1000);
            self.link = publisher.open(now);
            self.counts.opened += 1;
        }
    }

    /// Moves the connection's bytes.
    fn serve(&mut self, publisher: &mut Publisher<'_, 1>, now: u64) {
        let Some(link) = self.link else { return };
        let mut stream = Stream {
            line: &mut self.line,
            now,
        };
        let Err(error) = publisher.poll(link, &mut stream, now) else {
            self.is_heard |= publisher.subscribers() > 0;
            return;
        };
        match error {
            StreamError::Link(LinkError::TooSlow) => {
                self.counts.too_slow += 1;
                warn!("the bridge was too slow");
            }
            StreamError::Link(error) => {
                self.counts.violations += 1;
                warn!("the bridge broke the protocol: {}", error);
            }
            StreamError::Closed | StreamError::Io(_) | _ => {}
        }
        publisher.close(link);
        self.link = None;
        self.line.close();
    }

    /// Sends as much as there is room for; whether there is more.
    fn transmit(&mut self, now: u64) -> bool {
        loop {
            let Some(&byte) = self.line.outgoing(now).first() else {
                return false;
            };
            if !self.uart.write(byte) {
                return true;
            }
            self.line.sent(1);
        }
    }
}

impl<U: Uart> Transport<1> for Serial<U> {
    fn poll(&mut self, publisher: &mut Publisher<'_, 1>, random: &mut Entropy, now: u64) -> bool {
        self.receive(publisher, random, now);
        self.serve(publisher, now);
        self.transmit(now)
    }

    fn send(&mut self, publisher: &mut Publisher<'_, 1>, now: u64) -> bool {
        self.serve(publisher, now);
        self.transmit(now)
    }

    /// Known from when the bridge, the only one who can hear anything, has subscribed.
    fn time(&self, now: u64) -> Option<u64> {
        let time = self.line.time(now)?;
        self.is_heard.then_some(time / 1000)
    }

    fn counts(&self) -> Counts {
        self.counts
    }
}

/// The stream on the line: what the publisher reads from and writes to.
struct Stream<'l> {
    line: &'l mut Line,
    now: u64,
}

impl ErrorType for Stream<'_> {
    /// A session that ends is an event of the line's.
    type Error = Infallible;
}

impl ReadReady for Stream<'_> {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.line.has_unread())
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        Ok(self.line.read(buffer))
    }
}

impl WriteReady for Stream<'_> {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.line.can_write())
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(self.line.write(bytes, self.now))
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
