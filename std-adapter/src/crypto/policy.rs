//! Who may send on which topic: fedmsg's `routing_policy`.

use std::collections::BTreeMap;

use fedmsg_core::message::Invalid;

/// Senders by topic.
#[derive(Default)]
pub(super) struct Policy {
    /// Whole topics, not prefixes.
    pub(super) senders: BTreeMap<String, Vec<String>>,
    /// Whether a topic that is not among them is nobody's.
    pub(super) nitpicky: bool,
}

impl Policy {
    /// Whether nothing can be refused.
    pub(super) fn allows_everything(&self) -> bool {
        self.senders.is_empty() && !self.nitpicky
    }

    pub(super) fn check(&self, topic: &str, signer: &str) -> Result<(), Invalid> {
        match self.senders.get(topic) {
            Some(senders) if senders.iter().any(|sender| sender == signer) => Ok(()),
            Some(_) => Err(Invalid::NotPermitted),
            None if self.nitpicky => Err(Invalid::NoPolicy),
            None => Ok(()),
        }
    }
}
