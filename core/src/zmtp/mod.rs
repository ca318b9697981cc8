//! ZMTP 3.0 and 3.1: what two ZeroMQ sockets say to each other over a byte stream.
//!
//! Sans-I/O: no clock, no socket, no buffer of its own. Bytes and the time come in as arguments,
//! events and bytes go out. The references are RFC 23/ZMTP 3.0 and 37/ZMTP 3.1, and libzmq 4.3.5
//! where the two differ.
//!
//! | use it for | take |
//! | --- | --- |
//! | a whole connection | [`Peer`], fed from an [`Inbox`] |
//! | writing messages | [`encode_message`], or [`message_headers`] for a gathered write |
//! | reading frames without a connection | [`frame::decode`], [`Command::decode`], [`Greeting::decode`] |
//! | filtering at a publisher | [`Prefixes`] |
//!
//! # Against libzmq
//! What libzmq tolerates is tolerated: major versions above 3, any filler and the as-server bit in
//! the greeting, unknown properties and a missing `Socket-Type` in READY, a second READY, ERROR
//! after the handshake, unknown and empty commands, MORE on a command, reserved flag bits, the long
//! form for a short frame, any odd message to a publisher, a command between the frames of a
//! message (libzmq sends its PINGs there), a PING without the TTL it should have.
//! What closes a connection there closes it here, each with its own [`PeerError`].
//!
//! Different on purpose:
//! - A first byte that no ZeroMQ peer sends (an HTTP request) is refused at once; libzmq leaves
//!   such a connection open.
//! - Traffic that arrives in one segment with the greeting is served; libzmq closes on it, though
//!   not when the same bytes come in two segments. Segments carry no meaning in TCP.
//! - `socket-type` in lower case counts as `Socket-Type`, as RFC 37 says; libzmq ignores it.
//! - ZMTP 1.0 and 2.0 are refused with [`GreetingError::OldVersion`]; libzmq still speaks them.
//! - Where the connection ends for a reason that the other side can mend, it is told with ERROR
//!   before the close; libzmq closes without a word.
//! - The limit is on a message with all its frames and headers; libzmq's is on one frame.

pub mod command;
pub mod frame;
pub mod greeting;
pub mod subscription;

mod error;
mod inbox;
mod message;
mod peer;
mod socket_type;

pub use command::Command;
pub use error::{BufferTooSmall, PeerError, ShortText};
pub use frame::{encode_message, message_headers};
pub use greeting::{Greeting, GreetingError, Mechanism};
pub use inbox::Inbox;
pub use message::{DELIMITER, Frames, Message};
pub use peer::{Event, Heartbeat, Input, Limits, Peer, PeerInfo};
pub use socket_type::SocketType;
pub use subscription::Prefixes;
