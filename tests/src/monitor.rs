//! What a socket's monitor is told, kept.

use std::sync::{Arc, Mutex, PoisonError};

use fedmsg::transport::{Monitor, Notice};

/// A [`Notice`] as text and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Notice")]
pub enum Told {
    Connected(String),
    Dropped {
        peer: String,
        messages: u64,
        total: u64,
    },
    HandshakeFailed(String, String),
    NotAccepted(String, String),
    Ended(String, String),
}

impl From<Notice<'_>> for Told {
    fn from(notice: Notice<'_>) -> Self {
        match notice {
            Notice::Connected { peer } => Self::Connected(peer.to_string()),
            Notice::Dropped {
                peer,
                messages,
                total,
            } => Self::Dropped {
                peer: peer.to_string(),
                messages,
                total,
            },
            Notice::HandshakeFailed { peer, reason } => {
                Self::HandshakeFailed(peer.to_string(), reason.to_string())
            }
            Notice::NotAccepted { endpoint, reason } => {
                Self::NotAccepted(endpoint.to_string(), reason.to_string())
            }
            Notice::Ended { peer, reason } => Self::Ended(peer.to_string(), reason.to_string()),
            _ => panic!("an unknown notice: {notice}"),
        }
    }
}

/// Everything that was told.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<Vec<Told>>>);

impl Heard {
    /// Whom to tell.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        let heard = self.clone();
        Monitor(Arc::new(move |notice| {
            let mut told = heard.0.lock().unwrap_or_else(PoisonError::into_inner);
            told.push(notice.into());
        }))
    }

    /// All of it, in its order.
    #[must_use]
    pub fn all(&self) -> Vec<Told> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }

    /// How many of it are such.
    #[must_use]
    pub fn count(&self, such: impl Fn(&Told) -> bool) -> usize {
        self.all().iter().filter(|told| such(told)).count()
    }

    /// How many messages were dropped for the peer with this address, and that the total says the
    /// same.
    #[must_use]
    pub fn dropped(&self, address: &str) -> u64 {
        let mut sum = 0;
        for told in self.all() {
            match told {
                Told::Dropped {
                    peer,
                    messages,
                    total,
                } if peer.contains(address) => {
                    assert_ne!(messages, 0);
                    sum += messages;
                    assert_eq!(total, sum);
                }
                _ => {}
            }
        }
        sum
    }
}
