//! Messages on a transport: [`Sender`] makes, signs and sends them, [`Receiver`] takes and judges
//! them.

use crate::{
    crypto::{Scratch, Trust},
    transport::{self, Publisher, Subscriber},
};
use fedmsg_core::{
    crypto::Signer,
    message::{self, Envelope, Invalid, MessageId, Payload},
};
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Room for a message to begin with, in bytes; it grows with the messages.
const BUFFER: usize = 16 << 10;

/// Publishes messages under one sender's name.
pub struct Sender<P> {
    publisher: P,
    signer: Option<Box<dyn Signer + Send>>,
    username: Option<String>,
    /// How many messages have been sent.
    sent: u64,
    buffer: Vec<u8>,
    max_message: usize,
}

impl<P: Publisher> Sender<P> {
    /// Sends over `publisher`, signed by `signer` if there is one; messages of up to `max_message`
    /// bytes.
    pub fn new(publisher: P, signer: Option<Box<dyn Signer + Send>>, max_message: usize) -> Self {
        Self {
            publisher,
            signer,
            username: std::env::var("USER").ok(),
            sent: 0,
            buffer: vec![0; BUFFER],
            max_message,
        }
    }

    /// Sends `msg` under `topic`, now.
    ///
    /// # Errors
    /// [`SendError::Message`] if it cannot be written or signed, else [`SendError::Transport`].
    pub fn publish<M: Payload + ?Sized>(
        &mut self,
        topic: &str,
        msg: &M,
    ) -> Result<MessageId, SendError> {
        let mut entropy = [0; 16];
        getrandom::fill(&mut entropy).map_err(|_| SendError::Entropy)?;
        let timestamp = now();
        let envelope = Envelope {
            topic,
            i: self.sent + 1,
            timestamp,
            msg_id: MessageId::new(timestamp, entropy),
            username: self.username.as_deref(),
            seq_id: None,
        };
        loop {
            let len = self.buffer.len();
            let encoded = match &self.signer {
                Some(signer) => envelope.encode_signed(msg, signer.as_ref(), &mut self.buffer),
                None => envelope.encode(msg, &mut self.buffer),
            };
            match encoded {
                Ok(encoded) => {
                    let sent = self.publisher.send(topic.as_bytes(), &encoded.body());
                    sent.map_err(SendError::Transport)?;
                    self.sent += 1;
                    return Ok(envelope.msg_id);
                }
                // While it is written a message may take twice its room (and its members' index).
                Err(message::Error::BufferTooSmall { needed })
                    if len < self.max_message.saturating_mul(2) =>
                {
                    self.buffer = vec![0; len.saturating_mul(2).max(needed)];
                }
                Err(error) => return Err(SendError::Message(error)),
            }
        }
    }

    /// The transport's side.
    pub fn publisher(&mut self) -> &mut P {
        &mut self.publisher
    }

    /// Ends it once everything is sent, or the transport's linger time is over.
    ///
    /// # Errors
    /// As [`Publisher::close`].
    pub fn close(self) -> Result<(), transport::Error> {
        self.publisher.close()
    }
}

/// Why a message was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// It could not be encoded or signed.
    Message(message::Error),
    /// The transport refused it.
    Transport(transport::Error),
    /// The operating system has no random numbers for its id.
    Entropy,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => error.fmt(f),
            Self::Transport(error) => error.fmt(f),
            Self::Entropy => f.write_str("the operating system gives no random numbers"),
        }
    }
}

impl std::error::Error for SendError {}

/// Takes messages and judges them.
pub struct Receiver<S> {
    subscriber: S,
    trust: Option<Trust>,
    scratch: Scratch,
}

impl<S: Subscriber> Receiver<S> {
    /// Takes messages from `subscriber`, judged by `trust` if there is one.
    pub fn new(subscriber: S, trust: Option<Trust>) -> Self {
        Self {
            subscriber,
            trust,
            scratch: Scratch::default(),
        }
    }

    /// The next message, or `None` when none came within `timeout`.
    ///
    /// # Errors
    /// The transport's.
    pub fn recv(&mut self, timeout: Duration) -> Result<Option<Received>, transport::Error> {
        let Some(message) = self.subscriber.recv(timeout)? else {
            return Ok(None);
        };
        let Some((topic, body)) = message.topic_and_body() else {
            let count = message.frames.frame_count();
            let verdict = Verdict::Malformed(Malformed::Frames { count });
            return Ok(Some(Received {
                topic: String::new(),
                body: Vec::new(),
                verdict,
            }));
        };
        let (topic, mut body) = (topic.to_vec(), body.to_vec());
        let topic = match String::from_utf8(topic) {
            Ok(topic) => topic,
            Err(error) => {
                let topic = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let verdict = Verdict::Malformed(Malformed::Topic);
                return Ok(Some(Received {
                    topic,
                    body,
                    verdict,
                }));
            }
        };
        let verdict = match &self.trust {
            None => Verdict::Unchecked,
            Some(trust) => {
                let verifiers = [&trust.p256() as _, &trust.x509() as _];
                let topic = Some(topic.as_bytes());
                match self.scratch.validate(topic, &body, &verifiers, now()) {
                    Ok(valid) => {
                        let signer = valid.signer.to_owned();
                        body = valid.message.to_vec();
                        Verdict::Valid { signer }
                    }
                    Err(invalid) => Verdict::Invalid(invalid),
                }
            }
        };
        Ok(Some(Received {
            topic,
            body,
            verdict,
        }))
    }

    /// The transport's side.
    pub fn subscriber(&mut self) -> &mut S {
        &mut self.subscriber
    }
}

/// A message that came, with what is to be thought of it.
#[derive(Debug)]
pub struct Received {
    /// Frame 0.
    pub topic: String,
    /// Frame 1: of a valid message the canonical form, which is what was judged; else as it came.
    pub body: Vec<u8>,
    /// Whether it may be believed.
    pub verdict: Verdict,
}

/// Whether a message may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nobody looked.
    Unchecked,
    /// The signature is good.
    Valid {
        /// The common name of the sender's certificate.
        signer: String,
    },
    /// It is not to be believed.
    Invalid(Invalid),
    /// It is no fedmsg message.
    Malformed(Malformed),
}

/// Why a ZeroMQ message is no fedmsg message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// It has not two frames.
    Frames {
        /// How many it has.
        count: usize,
    },
    /// Its topic is not UTF-8.
    Topic,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchecked => f.write_str("not checked"),
            Self::Valid { signer } => f.write_str(signer),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Malformed(Malformed::Frames { count: 1 }) => f.write_str("one frame, not two"),
            Self::Malformed(Malformed::Frames { count }) => write!(f, "{count} frames, not two"),
            Self::Malformed(Malformed::Topic) => f.write_str("the topic is not UTF-8"),
        }
    }
}

/// Seconds since the epoch; 0 if the clock is before it.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
