//! The greeting: the 64 bytes that each side begins with (RFC 37, "Greeting").
//!
//! ```text
//! 0   ff, 8 bytes of anything, a byte with its lowest bit set (7f): the signature
//! 10  major version, minor version
//! 12  mechanism, padded with zeros to 20 bytes
//! 32  as-server
//! 33  31 bytes of filler
//! ```
//! libzmq sends the signature, waits for the peer's, then sends the rest; a peer may send all of
//! it at once. It puts a 1 into the signature's filler, for ZMTP 1.0 peers; so do we.

use core::fmt;

use super::ShortText;

/// Length of a greeting in bytes.
pub const LEN: usize = 64;

/// How a connection is secured. NULL is the only one so far; PLAIN and CURVE will be named here,
/// and their handshakes take the place of READY's in [`Peer`](super::Peer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Mechanism {
    /// No security: READY from each side.
    Null,
}

impl Mechanism {
    /// Its name in the greeting, padded with zeros.
    const fn padded_name(self) -> [u8; 20] {
        match self {
            Mechanism::Null => *b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        }
    }
}

/// What a greeting says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Greeting {
    /// Major and minor version as sent. A major version above 3 speaks 3.1 to us.
    pub version: (u8, u8),
    /// How the connection is secured.
    pub mechanism: Mechanism,
}

impl Greeting {
    /// What we say: 3.1, NULL.
    pub const OURS: Greeting = Greeting {
        version: (3, 1),
        mechanism: Mechanism::Null,
    };

    /// The greeting's bytes.
    pub const fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        if let Some((signature, rest)) = bytes.split_first_chunk_mut()
            && let Some((version, rest)) = rest.split_first_chunk_mut()
            && let Some((mechanism, _)) = rest.split_first_chunk_mut()
        {
            *signature = *b"\xff\0\0\0\0\0\0\0\x01\x7f";
            *version = [self.version.0, self.version.1];
            *mechanism = self.mechanism.padded_name();
        }
        bytes
    }

    /// Reads a greeting from the front of `bytes`; `None` if it is not all there. A byte that no
    /// greeting has is refused as soon as it is there. What follows the mechanism is not looked at.
    ///
    /// # Errors
    /// [`GreetingError`].
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, GreetingError> {
        match bytes.first() {
            None | Some(0xff) => {}
            // The identity of a peer that has none: a frame of length 1.
            Some(1) => return Err(GreetingError::OldVersion { major: 1 }),
            Some(&byte) => return Err(GreetingError::BadSignature { offset: 0, byte }),
        }
        if let Some(&byte) = bytes.get(9)
            && byte & 1 == 0
        {
            return Err(GreetingError::BadSignature { offset: 9, byte });
        }
        // Here stood a revision number before 3.0: 0 for 1.0, 1 for 2.0.
        if let Some(&revision @ 0..=1) = bytes.get(10) {
            return Err(GreetingError::OldVersion {
                major: revision + 1,
            });
        }
        let mechanism = Mechanism::Null;
        if let Some(name) = bytes.get(12..32)
            && name != mechanism.padded_name()
        {
            let name = ShortText::new(name);
            return Err(GreetingError::UnknownMechanism { name });
        }
        Ok(bytes.first_chunk::<LEN>().map(|bytes| Greeting {
            version: (bytes[10], bytes[11]),
            mechanism,
        }))
    }
}

/// Why a greeting is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum GreetingError {
    /// Not a ZMTP peer.
    BadSignature {
        /// Where, from the connection's first byte.
        offset: u8,
        /// What stands there.
        byte: u8,
    },
    /// A peer of ZMTP 1.0 or 2.0 (libzmq 2 and 3); we serve 3.0 and later.
    OldVersion {
        /// 1 or 2.
        major: u8,
    },
    /// A mechanism that we do not have.
    UnknownMechanism {
        /// Its name.
        name: ShortText,
    },
}

impl fmt::Display for GreetingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GreetingError::BadSignature { offset, byte } => {
                write!(
                    f,
                    "not a ZMTP peer: byte {offset} of its greeting is {byte:#04x}"
                )
            }
            GreetingError::OldVersion { major } => {
                write!(f, "peer speaks ZMTP {major}.0, 3.0 or later is needed")
            }
            GreetingError::UnknownMechanism { name } => {
                write!(f, "peer wants mechanism {name}, we have NULL")
            }
        }
    }
}

impl core::error::Error for GreetingError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_greeting_is_libzmqs() {
        let mut libzmq = [0; LEN];
        libzmq[..16].copy_from_slice(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL");
        assert_eq!(Greeting::OURS.encode(), libzmq);
        assert_eq!(Greeting::decode(&libzmq), Ok(Some(Greeting::OURS)));
    }

    #[test]
    fn a_wrong_byte_is_refused_once_it_is_there_and_any_other_byte_is_allowed() {
        let ours = Greeting::OURS.encode();
        for at in 0..LEN {
            for byte in 0..=255 {
                let mut bytes = ours;
                bytes[at] = byte;
                let refused = match at {
                    0 => byte != 0xff,
                    9 => byte % 2 == 0,
                    10 => byte < 2,
                    // The name of the mechanism is reported whole.
                    12..32 => byte != ours[at],
                    _ => false,
                };
                let seen = if (12..32).contains(&at) { 32 } else { at + 1 };
                assert_eq!(Greeting::decode(&bytes[..seen - 1]), Ok(None));
                assert_eq!(
                    Greeting::decode(&bytes[..seen]).is_err(),
                    refused,
                    "{at} {byte}"
                );
                assert_eq!(Greeting::decode(&bytes).is_ok(), !refused);
            }
        }
    }
}
