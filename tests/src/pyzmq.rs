//! Sockets of pyzmq, libzmq 4.3.5 under Python as fedmsg's peers run it, each in a process of its
//! own.

use std::{io, time::Duration};

use fedmsg::transport::{Endpoint, Error, Message, Options, Publisher, Subscriber, Transport};
use serde_json::{Value, json};

use crate::python::{Answer, Script, environment};

/// The transport of pyzmq. Of the options it takes the high-water mark and the times.
#[derive(Clone, Copy, Debug)]
pub struct Pyzmq;

impl Transport for Pyzmq {
    type Publisher = Socket;
    type Subscriber = Socket;

    fn publisher(&self, options: &Options) -> Result<Socket, Error> {
        Ok(Socket::open("PUB", options))
    }

    fn subscriber(&self, options: &Options) -> Result<Socket, Error> {
        Ok(Socket::open("SUB", options))
    }
}

/// A socket in another process.
pub struct Socket(Script);

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
        let python = environment("pyzmq-27.3.0", &["pyzmq==27.3.0"]);
        let script = include_str!("../py/pyzmq_peer.py");
        Self(Script::start(&python, script, &[kind, &set.to_string()]))
    }

    fn ask(&mut self, request: &Value, blobs: &[&[u8]]) -> Result<Answer, Error> {
        self.0.ask(request, blobs).map_err(|error| Error::Io {
            doing: request.to_string(),
            source: io::Error::other(error),
        })
    }

    /// As both traits' `bind`.
    pub fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        let answer = self.ask(&json!(["bind", endpoint.to_string()]), &[])?;
        Ok(answer.line["endpoint"].as_str().unwrap().parse().unwrap())
    }

    /// As both traits' `connect`.
    pub fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        self.ask(&json!(["connect", endpoint.to_string()]), &[])
            .map(drop)
    }

    /// Sends a message of any number of frames.
    pub fn send_frames(&mut self, frames: &[&[u8]]) -> Result<(), Error> {
        let lengths: Vec<usize> = frames.iter().map(|frame| frame.len()).collect();
        self.ask(&json!(["send", lengths]), frames).map(drop)
    }

    /// Ends the process by SIGKILL.
    pub fn kill(mut self) {
        self.0.kill();
    }
}

impl Publisher for Socket {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        self.bind(endpoint)
    }

    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        self.ask(&json!(["connect", endpoint.to_string()]), &[])
            .map(drop)
    }

    fn send(&mut self, topic: &[u8], body: &[&[u8]]) -> Result<(), Error> {
        self.send_frames(&[topic, &body.concat()])
    }

    /// Not known to a PUB socket.
    fn subscribers(&mut self) -> Result<usize, Error> {
        Err(Error::Io {
            doing: "count subscribers".to_owned(),
            source: io::ErrorKind::Unsupported.into(),
        })
    }

    fn close(self) -> Result<(), Error> {
        self.0.finish();
        Ok(())
    }
}

impl Subscriber for Socket {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        self.bind(endpoint)
    }

    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        self.connect(endpoint)
    }

    fn subscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        self.ask(&json!(["subscribe", prefix]), &[]).map(drop)
    }

    fn unsubscribe(&mut self, prefix: &[u8]) -> Result<(), Error> {
        self.ask(&json!(["unsubscribe", prefix]), &[]).map(drop)
    }

    fn recv(&mut self, timeout: Duration) -> Result<Option<Message>, Error> {
        let millis = u64::try_from(timeout.as_millis()).unwrap();
        let answer = self.ask(&json!(["recv", millis]), &[])?;
        let message = answer.line["message"] == true;
        Ok(message.then_some(Message {
            frames: answer.blobs,
        }))
    }
}
