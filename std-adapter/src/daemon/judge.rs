//! Which ZeroMQ messages are fedmsg messages.

use fedmsg_core::{
    json::{self, HOST_DEPTH, Members},
    message::Invalid,
};

use super::Refusal;
use crate::{bus::Malformed, crypto::Scratch, transport::Message};

/// Judges messages by their form, with the memory that this takes.
#[derive(Default)]
pub(super) struct Judge {
    scratch: Scratch,
}

impl Judge {
    /// A message's topic and body, if it is one.
    pub(super) fn frames<'m>(message: &Message<'m>) -> Result<(&'m str, &'m [u8]), Refusal> {
        let Some((topic, body)) = message.topic_and_body() else {
            let count = message.frames.frame_count();
            return Err(Refusal::Malformed(Malformed::Frames { count }));
        };
        match str::from_utf8(topic) {
            Ok(topic) => Ok((topic, body)),
            Err(_) => Err(Refusal::Malformed(Malformed::Topic)),
        }
    }

    /// The canonical form of a body that is a JSON object.
    pub(super) fn object(&mut self, body: &[u8]) -> Result<&[u8], Invalid> {
        let canonical = self.scratch.canonicalize(body, HOST_DEPTH);
        let canonical = canonical.map_err(Invalid::Json)?;
        match canonical.first() {
            Some(b'{') => Ok(canonical),
            _ => Err(Invalid::NotAnObject),
        }
    }
}

/// Whether a canonical message has credentials, of whatever kind.
pub(super) fn is_signed(canonical: &[u8]) -> bool {
    let mut members = Members::new(canonical).into_iter().flatten();
    members.any(|member| matches!(member.key, "signature" | "certificate"))
}

/// Refuses a canonical message that does not say that this is its topic.
pub(super) fn check_topic(canonical: &[u8], topic: &str) -> Result<(), Invalid> {
    let own = Members::new(canonical)
        .and_then(|mut members| members.find(|member| member.key == "topic"))
        .map_or(&b""[..], |member| member.value);
    match json::unescape(own, &mut vec![0; own.len()]) {
        Ok(own) if own == topic => Ok(()),
        _ => Err(Invalid::Topic),
    }
}
