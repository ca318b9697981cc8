//! Sockets of pyzmq, libzmq 4.3.5 under Python as fedmsg's peers run it, each in a process of its
//! own.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fedmsg::transport::{
    Endpoint, Error, Interests, Message, Options, Publisher, Replier, Requester, Subscriber,
    Transport, encode_frames,
};
use fedmsg_core::zmtp;
use serde_json::{Value, json};

use crate::python::{Answer, Script, environment};

/// The transport of pyzmq. Of the options it takes the high-water mark and the times.
#[derive(Clone, Copy, Debug)]
pub struct Pyzmq;

impl Transport for Pyzmq {
    type Publisher = Socket;
    type Subscriber = Socket;
    type Requester = Socket;
    type Replier = Socket;

    fn publisher(&self, options: &Options) -> Result<Socket, Error> {
        Ok(Socket::open("PUB", options))
    }

    fn subscriber(&self, options: &Options) -> Result<Socket, Error> {
        Ok(Socket::open("SUB", options))
    }

    /// With libzmq's own way to ask again after a question without an answer: numbers before the
    /// empty frame.
    fn requester(&self, options: &Options) -> Result<Socket, Error> {
        Ok(Socket::open("REQ", options))
    }

    /// As libzmq's REP, it takes no question before the last is answered.
    fn replier(&self, options: &Options) -> Result<Socket, Error> {
        Ok(Socket::open("REP", options))
    }
}

/// A socket in another process.
pub struct Socket {
    script: Mutex<Script>,
    /// Where it bound or connected last.
    endpoint: Endpoint,
    /// The last message.
    wire: Vec<u8>,
}

impl Socket {
    fn open(kind: &str, options: &Options) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        let mut set = json!({
            "LINGER": millis(options.linger),
            "SNDHWM": options.high_water_mark,
            "RCVHWM": options.high_water_mark,
            "HANDSHAKE_IVL": millis(options.handshake_timeout),
        });
        if let Some(interval) = options.heartbeat {
            set["HEARTBEAT_IVL"] = millis(interval).into();
            set["HEARTBEAT_TIMEOUT"] = millis(options.heartbeat_timeout).into();
        }
        if kind == "REQ" {
            set["REQ_RELAXED"] = 1.into();
            set["REQ_CORRELATE"] = 1.into();
        }
        let python = environment("pyzmq-27.3.0", &["pyzmq==27.3.0"]);
        let script = include_str!("../py/pyzmq_peer.py");
        Self {
            script: Mutex::new(Script::start(&python, script, &[kind, &set.to_string()])),
            endpoint: Endpoint::tcp("*", 0),
            wire: Vec::new(),
        }
    }

    fn ask(&self, request: &Value, blobs: &[&[u8]]) -> Result<Answer, Error> {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.ask(request, blobs).map_err(|error| Error::Io {
            doing: request.to_string(),
            source: io::Error::other(error),
        })
    }

    fn bind(&self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        let answer = self.ask(&json!(["bind", endpoint.to_string()]), &[])?;
        Ok(answer.line["endpoint"].as_str().unwrap().parse().unwrap())
    }

    fn connect(&self, endpoint: &Endpoint) -> Result<(), Error> {
        self.ask(&json!(["connect", endpoint.to_string()]), &[])
            .map(drop)
    }

    /// Sends a message of any number of frames.
    pub fn send_frames(&self, frames: &[&[u8]]) -> Result<(), Error> {
        let lengths: Vec<usize> = frames.iter().map(|frame| frame.len()).collect();
        self.ask(&json!(["send", lengths]), frames).map(drop)
    }

    fn receive(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, Error> {
        let millis = u64::try_from(timeout.as_millis()).unwrap();
        let answer = self.ask(&json!(["recv", millis]), &[])?;
        if answer.line["message"] != true {
            return Ok(None);
        }
        self.wire.clear();
        encode_frames(&answer.blobs, &mut self.wire);
        Ok(Some(Message {
            frames: zmtp::Message::from_wire(&self.wire).unwrap(),
            endpoint: &self.endpoint,
        }))
    }

    /// Ends the process by SIGKILL.
    pub fn kill(self) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.kill();
    }
}

fn unknown<T>(doing: &str) -> Result<T, Error> {
    Err(Error::Io {
        doing: doing.to_owned(),
        source: io::ErrorKind::Unsupported.into(),
    })
}

impl Publisher for Socket {
    fn bind(&self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        self.bind(endpoint)
    }

    fn connect(&self, endpoint: &Endpoint) -> Result<(), Error> {
        self.connect(endpoint)
    }

    fn send(&self, topic: &[u8], body: &[&[u8]]) -> Result<(), Error> {
        self.send_frames(&[topic, &body.concat()])
    }

    fn forward(&self, message: &Message<'_>) -> Result<(), Error> {
        self.send_frames(&message.frames.frames().collect::<Vec<_>>())
    }

    /// Not known to a PUB socket.
    fn subscribers(&self) -> Result<usize, Error> {
        unknown("count subscribers")
    }

    /// Not known to a PUB socket.
    fn wait_for_subscriber(&self, _: Duration) -> Result<bool, Error> {
        unknown("wait for a subscriber")
    }

    /// Not known to a PUB socket.
    fn interests(&self, _: u64) -> Result<Option<Interests>, Error> {
        unknown("ask for interests")
    }

    fn close(&self) -> Result<(), Error> {
        let script = self.script.lock();
        script.unwrap_or_else(PoisonError::into_inner).finish();
        Ok(())
    }
}

impl Subscriber for Socket {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        self.endpoint = Self::bind(self, endpoint)?;
        Ok(self.endpoint.clone())
    }

    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        self.endpoint = endpoint.clone();
        Self::connect(self, endpoint)
    }

    fn subscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        self.ask(&json!(["subscribe", prefix]), &[]).map(drop)
    }

    fn unsubscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        self.ask(&json!(["unsubscribe", prefix]), &[]).map(drop)
    }

    fn recv(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, Error> {
        self.receive(timeout)
    }
}

impl Requester for Socket {
    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        Subscriber::connect(self, endpoint)
    }

    fn request(
        &mut self,
        frames: &[&[u8]],
        timeout: Duration,
    ) -> Result<Option<Message<'_>>, Error> {
        self.send_frames(frames)?;
        self.receive(timeout)
    }
}

impl Replier for Socket {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        Subscriber::bind(self, endpoint)
    }

    fn recv(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, Error> {
        self.receive(timeout)
    }

    fn reply(&mut self, frames: &[&[u8]]) -> Result<(), Error> {
        self.send_frames(frames)
    }
}
