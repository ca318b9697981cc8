//! Topics: `<topic_prefix>.<environment>.<modname>.<topic>`, such as
//! `org.example.prod.git.receive`.
//!
//! Source: the peer's `FedMsgContext.publish`, which does not prefix again where
//! `<modname>.<topic>` already begins with the prefix.

use super::Error;
use crate::copy::copy;

/// The parts of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Topic<'a> {
    /// Who runs the bus: `org.example`.
    pub prefix: &'a str,
    /// `prod`, `stg` or `dev`.
    pub environment: &'a str,
    /// The service that speaks: `git`.
    pub modname: &'a str,
    /// What happened: `receive`.
    pub topic: &'a str,
}

impl Topic<'_> {
    /// Writes the whole topic to the front of `out`.
    ///
    /// ```
    /// # use fedmsg_core::message::Topic;
    /// let topic = Topic { prefix: "org.example", environment: "dev", modname: "git", topic: "receive" };
    /// let mut out = [0; 64];
    /// assert_eq!(topic.write(&mut out)?, "org.example.dev.git.receive");
    /// # Ok::<(), fedmsg_core::message::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::EmptyTopic`] if modname or topic is empty; [`Error::BufferTooSmall`].
    pub fn write<'o>(&self, out: &'o mut [u8]) -> Result<&'o str, Error> {
        if self.modname.is_empty() || self.topic.is_empty() {
            return Err(Error::EmptyTopic);
        }
        let parts = [
            self.prefix,
            ".",
            self.environment,
            ".",
            self.modname,
            ".",
            self.topic,
        ];
        let parts = if self.is_prefixed() {
            parts.get(4..)
        } else {
            Some(&parts[..])
        };
        let parts = parts.unwrap_or_default();

        let needed = parts.iter().map(|part| part.len()).sum();
        let mut rest = out
            .get_mut(..needed)
            .ok_or(Error::BufferTooSmall { needed })?;
        for part in parts {
            let Some((to, after)) = rest.split_at_mut_checked(part.len()) else {
                break;
            };
            copy(to, part.as_bytes());
            rest = after;
        }
        let out: &'o [u8] = out.get(..needed).unwrap_or_default();
        // Whole pieces of UTF-8, one after the other.
        core::str::from_utf8(out).map_err(|_| Error::EmptyTopic)
    }

    /// Whether `<modname>.<topic>` begins with the prefix, byte for byte.
    fn is_prefixed(&self) -> bool {
        let mut own = self.modname.bytes().chain(*b".").chain(self.topic.bytes());
        self.prefix.bytes().all(|byte| own.next() == Some(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(prefix: &str, environment: &str, modname: &str, topic: &str) -> std::string::String {
        let mut out = [0; 100];
        Topic {
            prefix,
            environment,
            modname,
            topic,
        }
        .write(&mut out)
        .unwrap()
        .into()
    }

    #[test]
    fn a_topic_that_begins_with_the_prefix_is_not_prefixed_again() {
        assert_eq!(
            write("org.example", "dev", "logger", "log"),
            "org.example.dev.logger.log"
        );
        assert_eq!(
            write("org.example", "dev", "org", "example.dev.x.y"),
            "org.example.dev.x.y"
        );
        assert_eq!(
            write("org.example", "dev", "org.example.prod", "x"),
            "org.example.prod.x"
        );
        assert_eq!(
            write("org.example", "dev", "org", "exampl"),
            "org.example.dev.org.exampl"
        );
        // The peer compares characters, not parts.
        assert_eq!(
            write("org.example", "dev", "org", "examples.x"),
            "org.examples.x"
        );
    }

    #[test]
    fn an_empty_part_or_a_short_buffer_is_an_error() {
        let topic = Topic {
            prefix: "a",
            environment: "b",
            modname: "c",
            topic: "d",
        };
        assert_eq!(
            topic.write(&mut [0; 6]),
            Err(Error::BufferTooSmall { needed: 7 })
        );
        assert_eq!(topic.write(&mut [0; 7]), Ok("a.b.c.d"));
        assert_eq!(
            Topic { topic: "", ..topic }.write(&mut [0; 7]),
            Err(Error::EmptyTopic)
        );
        assert_eq!(
            Topic {
                modname: "",
                ..topic
            }
            .write(&mut [0; 7]),
            Err(Error::EmptyTopic)
        );
    }
}
