//! Socket types and who may talk to whom (RFC 37, "Socket-Type").

use core::fmt;

/// What a socket is, as READY names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SocketType {
    /// Publishes; takes nothing but subscriptions.
    Pub,
    /// Subscribes.
    Sub,
    /// Publishes, and takes messages from its subscribers as well.
    Xpub,
    /// Subscribes, and may send messages to its publishers as well.
    Xsub,
    /// Sends a request, waits for its reply.
    Req,
    /// Replies to requests.
    Rep,
    /// As [`Req`](Self::Req), without its order and with envelopes left to the user.
    Dealer,
    /// As [`Rep`](Self::Rep), without its order and with envelopes left to the user.
    Router,
}

impl SocketType {
    const ALL: [SocketType; 8] = [
        SocketType::Pub,
        SocketType::Sub,
        SocketType::Xpub,
        SocketType::Xsub,
        SocketType::Req,
        SocketType::Rep,
        SocketType::Dealer,
        SocketType::Router,
    ];

    /// Its name on the wire, such as `XPUB`.
    pub const fn name(self) -> &'static str {
        match self {
            SocketType::Pub => "PUB",
            SocketType::Sub => "SUB",
            SocketType::Xpub => "XPUB",
            SocketType::Xsub => "XSUB",
            SocketType::Req => "REQ",
            SocketType::Rep => "REP",
            SocketType::Dealer => "DEALER",
            SocketType::Router => "ROUTER",
        }
    }

    /// The type with this name on the wire; `None` for a name that none of these has.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|ty| ty.name().as_bytes() == name)
    }

    /// Whether two such sockets may be connected.
    pub const fn is_compatible(self, other: SocketType) -> bool {
        use SocketType::{Dealer, Pub, Rep, Req, Router, Sub, Xpub, Xsub};
        match self {
            Pub | Xpub => matches!(other, Sub | Xsub),
            Sub | Xsub => matches!(other, Pub | Xpub),
            Req => matches!(other, Rep | Router),
            Rep => matches!(other, Req | Dealer),
            Dealer => matches!(other, Rep | Dealer | Router),
            Router => matches!(other, Req | Dealer | Router),
        }
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
