//! The native REQ and REP sockets.

use super::{
    super::{Endpoint, Error, Message, Options, Replier, Requester, encode_frames},
    driver::Role,
    link::{Ended, Link},
    seat::Seat,
};
use fedmsg_core::zmtp::{self, DELIMITER, Event, SocketType};
use std::{
    collections::VecDeque,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

/// A REQ socket of the native transport.
///
/// With several endpoints, a question goes to the first that is connected.
pub struct NativeRequester {
    seat: Seat<ReqRole>,
    answer: Option<Answer>,
    max_message: usize,
}

#[derive(Debug)]
struct Answer {
    wire: Vec<u8>,
    endpoint: Arc<Endpoint>,
}

impl NativeRequester {
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            seat: Seat::new(options, ReqRole::default())?,
            answer: None,
            max_message: options.max_message,
        })
    }
}

impl Requester for NativeRequester {
    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        self.seat.with(|driver| driver.connect(endpoint))?
    }

    fn request(
        &mut self,
        frames: &[&[u8]],
        timeout: Duration,
    ) -> Result<Option<Message<'_>>, Error> {
        let question = encode(&DELIMITER, frames, self.max_message)?;
        let deadline = Instant::now().checked_add(timeout);
        self.answer = self.seat.with(|driver| {
            // On the link with this number, once there is one.
            let mut asked = None;
            loop {
                if let Some(answer) = driver.role.answer.take() {
                    return Ok(Some(answer));
                }
                if asked.is_some_and(|id| !driver.links.get(id).is_some_and(|link| link.conn)) {
                    // Whoever was asked is gone, and may have done what it was asked.
                    return Ok(None);
                }
                if asked.is_none()
                    && let Some((id, link)) = driver.links.iter_mut().find(|(_, link)| link.greeted)
                {
                    link.control.extend_from_slice(&question);
                    link.conn = true;
                    asked = Some(id);
                    driver
                        .turn(Some(Instant::now()))
                        .map_err(|_| Error::Closed)?;
                    continue;
                }
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    if let Some(id) = asked {
                        // With its connection a late answer is gone.
                        driver.end(id, &Ended::Unanswered);
                    }
                    return Ok(None);
                }
                driver.turn(deadline).map_err(|_| Error::Closed)?;
            }
        })??;
        let answer = self.answer.as_ref();
        Ok(answer.and_then(|answer| {
            Some(Message {
                frames: zmtp::Message::from_wire(&answer.wire)?,
                endpoint: &answer.endpoint,
            })
        }))
    }
}

#[derive(Default)]
struct ReqRole {
    answer: Option<Answer>,
}

impl Role for ReqRole {
    /// Whether the peer owes an answer.
    type Conn = bool;

    const SOCKET_TYPE: SocketType = SocketType::Req;

    fn event(&mut self, asked: &mut bool, event: Event<'_>) -> Result<bool, Ended> {
        let is_answer = matches!(event, Event::Message(_)) && std::mem::take(asked);
        Ok(is_answer)
    }

    fn batch(
        &mut self,
        buffer: &mut Vec<u8>,
        messages: &mut Vec<Range<usize>>,
        endpoint: &Arc<Endpoint>,
    ) {
        for place in messages.drain(..) {
            self.answer = buffer.get(place).map(|wire| Answer {
                wire: wire.to_vec(),
                endpoint: Arc::clone(endpoint),
            });
        }
    }
}

/// A REP socket of the native transport.
pub struct NativeReplier {
    seat: Seat<RepRole>,
    question: Option<Question>,
    max_message: usize,
    max_memory: usize,
}

#[derive(Debug)]
struct Question {
    /// Who asked.
    client: u64,
    /// What its answer begins with.
    envelope: Vec<u8>,
    wire: Vec<u8>,
    endpoint: Arc<Endpoint>,
}

impl NativeReplier {
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        let role = RepRole {
            clients: 0,
            questions: VecDeque::new(),
            bytes: 0,
            max_bytes: options.max_memory,
        };
        Ok(Self {
            seat: Seat::new(options, role)?,
            question: None,
            max_message: options.max_message,
            max_memory: options.max_memory,
        })
    }
}

impl Replier for NativeReplier {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        self.seat.with(|driver| driver.bind(endpoint))?
    }

    fn recv(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, Error> {
        let deadline = Instant::now().checked_add(timeout);
        self.question = self.seat.wait(|driver| {
            loop {
                if let Some(question) = driver.role.next() {
                    return Ok(Some(question));
                }
                driver.turn(deadline).map_err(|_| Error::Closed)?;
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    return Ok(driver.role.next());
                }
            }
        })??;
        let question = self.question.as_ref();
        Ok(question.and_then(|question| {
            Some(Message {
                frames: zmtp::Message::from_wire(&question.wire)?,
                endpoint: &question.endpoint,
            })
        }))
    }

    fn reply(&mut self, frames: &[&[u8]]) -> Result<(), Error> {
        let Some(question) = &self.question else {
            return Ok(());
        };
        let answer = encode(&question.envelope, frames, self.max_message)?;
        let number = question.client;
        self.question = None;
        let limit = self.max_memory;
        self.seat.with(|driver| {
            let waiting: usize = driver.links.iter().map(|(_, link)| link.unsent()).sum();
            let mut links = driver.links.iter_mut();
            let client = |link: &Link<Client>| link.conn.number == number;
            if let Some((id, link)) = links.find(|(_, link)| client(link)) {
                if link.unsent() > 0 && waiting.saturating_add(answer.len()) > limit {
                    // It asks without listening.
                    driver.end(id, &Ended::TooSlow);
                } else {
                    link.queue(&answer);
                }
            }
            driver.turn(Some(Instant::now())).map_err(|_| Error::Closed)
        })?
    }
}

/// What a REP socket keeps of a connection.
#[derive(Default)]
struct Client {
    number: u64,
    endpoint: Option<Arc<Endpoint>>,
}

struct RepRole {
    /// How many clients there have been.
    clients: u64,
    questions: VecDeque<Question>,
    /// What these take, in bytes, and how much they may.
    bytes: usize,
    max_bytes: usize,
}

/// What a question costs besides its bytes, roughly.
const OVERHEAD: usize = 128;

impl RepRole {
    fn next(&mut self) -> Option<Question> {
        let question = self.questions.pop_front()?;
        self.bytes -= question.wire.len() + OVERHEAD;
        Some(question)
    }
}

impl Role for RepRole {
    type Conn = Client;

    const SOCKET_TYPE: SocketType = SocketType::Rep;

    fn event(&mut self, client: &mut Client, event: Event<'_>) -> Result<bool, Ended> {
        let Event::Message(message) = event else {
            return Ok(false);
        };
        if let Some(endpoint) = &client.endpoint {
            self.bytes += message.bytes().len() + OVERHEAD;
            self.questions.push_back(Question {
                client: client.number,
                envelope: message.envelope().to_vec(),
                wire: message.bytes().to_vec(),
                endpoint: Arc::clone(endpoint),
            });
        }
        Ok(false)
    }

    fn wants_input(&self) -> bool {
        self.bytes < self.max_bytes
    }

    fn accepted(&mut self, link: &mut Link<Client>) {
        self.clients += 1;
        link.conn = Client {
            number: self.clients,
            endpoint: Some(Arc::clone(&link.endpoint)),
        };
    }
}

/// A message of these frames behind an envelope.
fn encode(envelope: &[u8], frames: &[&[u8]], limit: usize) -> Result<Vec<u8>, Error> {
    let size = frames.iter().map(|frame| frame.len()).sum();
    if size > limit {
        return Err(Error::TooLarge { size, limit });
    }
    let mut wire = envelope.to_vec();
    match frames {
        [] => encode_frames(&[[]], &mut wire),
        frames => encode_frames(frames, &mut wire),
    }
    Ok(wire)
}
