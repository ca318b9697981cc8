//! A site's long-running programs, as a library: [`Relay`], [`SigningRelay`], [`Gateway`]
//! and [`Bridge`] take messages on one side and pass them on at the other; [`serve`] runs one as a service.
//!
//! ```
//! use fedmsg::{daemon::Relay, transport::{Options, Publisher, Subscriber, Transport, native::Native}};
//! use std::time::Duration;
//!
//! let any = "tcp://127.0.0.1:0".parse()?;
//! let relay = Relay { inbound: vec![any], ..Relay::default() };
//! let relay = Relay { outbound: relay.inbound.clone(), ..relay }.start()?;
//!
//! let mut consumer = Native.subscriber(&Options::default())?;
//! consumer.connect(relay.outbound().first().ok_or("it is bound")?)?;
//! consumer.subscribe(b"org.example.")?;
//! let service = Native.publisher(&Options::default())?;
//! service.connect(relay.inbound().first().ok_or("it is bound")?)?;
//!
//! assert!(service.wait_for_subscriber(Duration::from_secs(10))?);
//! assert!(relay.wait_for_subscriber(Duration::from_secs(10))?);
//! service.send(b"org.example.dev.x", &[br#"{"topic": "org.example.dev.x"}"#])?;
//! let message = consumer.recv(Duration::from_secs(10))?.ok_or("nothing came")?;
//! assert!(message.frames.frames().eq([&b"org.example.dev.x"[..], br#"{"topic": "org.example.dev.x"}"#]));
//! assert_eq!(relay.stop()?.forwarded, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What passes
//! A fedmsg message: two frames, a topic in UTF-8 and a JSON object. Everything else is refused,
//! counted ([`Counters::refused`]) and logged, each cause once a minute; nothing that comes ends a
//! daemon. (The peer's relay refuses other numbers of frames and other encodings too; what is not
//! JSON it wraps into a message. Passed on as it is, it would end the peer's `fedmsg-tail`.)
//!
//! # Everything is asked for
//! A daemon subscribes to every topic, whatever its own subscribers ask for. Asking upstream only
//! for what somebody downstream wants would save traffic, and lose the messages that come while a
//! new subscription is on its way up; and a publisher that connects to a relay nobody listens to
//! could not tell it from no relay.
//!
//! # Memory and loss
//! A daemon never waits for a subscriber: one that is too slow loses its oldest messages, which is
//! counted ([`Counters::dropped`]) and logged. What waits is bounded, as `docs/transport.md` says:
//! [`Options::max_memory`](crate::transport::Options::max_memory) (32 MiB) for what came in and is
//! not passed on yet, as much for all subscribers together, and as much again for messages that
//! are half sent to slow ones. When the first is full, a daemon reads no more, and publishers drop
//! what they cannot get rid of.
//!
//! Source: the peer's `fedmsg.commands.relay`, `fedmsg.commands.gateway` and `moksha.hub` 1.5.17.

mod bridge;
mod counters;
mod error;
mod gateway;
mod judge;
mod limiter;
mod relay;
mod running;
mod serial;
mod service;
mod signing;
mod status;

pub use bridge::Bridge;
pub use counters::Counters;
pub use error::{Error, Refusal};
pub use gateway::Gateway;
pub use relay::Relay;
pub use running::{Running, Stopper};
pub use service::serve;
pub use signing::{Keyring, Keys, SigningRelay};
pub use status::Monitoring;
