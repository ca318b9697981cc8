//! A relay's inside: messages downstream as they came, subscriptions upstream.

use super::{Error, Publisher, Subscriber};
use std::{collections::BTreeSet, time::Duration};

/// So many messages are passed on between two looks at what is asked for.
const MESSAGES: usize = 256;

/// Passes on what a SUB socket receives to a PUB socket's subscribers, the very frames that came,
/// and asks the publishers upstream for what these subscribers ask for, each prefix once.
///
/// ```
/// use fedmsg::transport::{
///     Forwarder, Options, Publisher, Subscriber, Transport, native::Native,
/// };
/// use std::time::Duration;
///
/// let service = Native.publisher(&Options::default())?;
/// let upstream = service.bind(&"tcp://127.0.0.1:0".parse()?)?;
///
/// let mut inbound = Native.subscriber(&Options::default())?;
/// inbound.connect(&upstream)?;
/// let outbound = Native.publisher(&Options::default())?;
/// let downstream = outbound.bind(&"tcp://127.0.0.1:0".parse()?)?;
///
/// let mut consumer = Native.subscriber(&Options::default())?;
/// consumer.connect(&downstream)?;
/// consumer.subscribe(b"org.example.")?;
///
/// let mut relay = Forwarder::default();
/// while service.subscribers()? == 0 {
///     relay.pass(&mut inbound, &outbound, Duration::from_millis(10))?;
/// }
/// service.send(b"org.example.dev.x", &[b"{}"])?;
/// while relay.pass(&mut inbound, &outbound, Duration::from_millis(10))? == 0 {}
/// let message = consumer.recv(Duration::from_secs(10))?.ok_or("nothing came")?;
/// assert_eq!(message.topic_and_body(), Some((&b"org.example.dev.x"[..], &b"{}"[..])));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Forwarder {
    /// What upstream is asked for, and which version of the subscribers' interests that is.
    asked: BTreeSet<Vec<u8>>,
    version: u64,
}

impl Forwarder {
    /// Passes on what there is, after waiting at most `timeout` for a first message; how many
    /// messages that were. To be called over and over.
    ///
    /// # Errors
    /// Either socket's; a message over the publisher's limit is [`Error::TooLarge`], and passed
    /// over.
    pub fn pass(
        &mut self,
        subscriber: &mut impl Subscriber,
        publisher: &impl Publisher,
        timeout: Duration,
    ) -> Result<usize, Error> {
        if let Some(interests) = publisher.interests(self.version)? {
            let wanted: BTreeSet<_> = interests.prefixes.into_iter().collect();
            for prefix in wanted.difference(&self.asked) {
                subscriber.subscribe(prefix)?;
            }
            for prefix in self.asked.difference(&wanted) {
                subscriber.unsubscribe(prefix)?;
            }
            (self.version, self.asked) = (interests.version, wanted);
        }
        let mut timeout = timeout;
        for passed in 0..MESSAGES {
            let Some(message) = subscriber.recv(timeout)? else {
                return Ok(passed);
            };
            publisher.forward(&message)?;
            timeout = Duration::ZERO;
        }
        Ok(MESSAGES)
    }
}
