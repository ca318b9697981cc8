//! What makes a device one and no other, in a few hundred bytes of flash beside its image: key,
//! certificate, seed and where to find the others.
//!
//! One image serves many devices; a blob of this form lies at a fixed place behind it. `fedmsg ca
//! issue --device` writes it, [`Provision::parse`] reads it where it lies:
//!
//! | bytes | what (numbers are little-endian) |
//! | --- | --- |
//! | 8 | [`MAGIC`] |
//! | 2 | [`VERSION`] |
//! | 2 | length of everything, checksum included |
//! | 32 | private key; zeros where the device does not sign |
//! | 32 | seed |
//! | 6 | MAC address |
//! | 6 | time server: IPv4 address, port; zeros for the serial line, which tells the time |
//! | 6 | relay to connect to: IPv4 address, port; with address 0.0.0.0 the port to listen on, with port 0 too the serial line |
//! | 4 | milliseconds between readings |
//! | 2 | length of the topic |
//! | 2 | length of the certificate field; 0 where the device does not sign |
//! | … | topic |
//! | … | certificate field |
//! | 4 | CRC-32 (IEEE 802.3) of all before it |

use core::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

use crate::{copy::copy, crc32::crc32};

/// What a blob begins with.
pub const MAGIC: &[u8; 8] = b"fedmsgPV";

/// The version of the format.
pub const VERSION: u16 = 1;

/// The longest topic, in bytes.
pub const MAX_TOPIC: usize = 64;

/// One device's own data. There is no `Debug`: it holds the private key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Provision<'a> {
    /// As whom it signs; `None` for a device that does not.
    pub identity: Option<Identity<'a>>,
    /// What its random numbers are made from: secret, and no other device's.
    pub seed: &'a [u8; 32],
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Whom it asks for the time (SNTP); 0.0.0.0:0 with [`Bus::Serial`].
    pub time_server: SocketAddrV4,
    /// How it meets its subscribers.
    pub bus: Bus,
    /// Milliseconds between its readings.
    pub period_ms: u32,
    /// What its topics begin with: `org.example.dev.lab`.
    pub topic: &'a str,
}

/// A key and its certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The P-256 private key, big-endian.
    pub key: &'a [u8; 32],
    /// The certificate as it stands in a message: see
    /// [`Signer::certificate_field`](crate::crypto::Signer::certificate_field).
    pub certificate_field: &'a [u8],
}

/// How a device meets its subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// They connect to this port.
    Listen(u16),
    /// It connects to a relay's bound SUB socket (`active`).
    Connect(SocketAddrV4),
    /// A bridge at the other end of its serial line subscribes, and tells the time:
    /// [`serial`](crate::serial). A program that knows only of networks refuses such a blob for
    /// its port.
    Serial,
}

/// Address and port of what is not there.
pub const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

#[cfg(feature = "defmt")]
impl defmt::Format for Bus {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self {
            Self::Listen(port) => defmt::write!(f, "Listen({})", port),
            Self::Connect(relay) => {
                defmt::write!(f, "Connect({}, {})", relay.ip().octets(), relay.port());
            }
            Self::Serial => defmt::write!(f, "Serial"),
        }
    }
}

/// Why a blob is refused, or cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// It does not begin with [`MAGIC`]: nothing was written there.
    Missing,
    /// It is of another version.
    Version {
        /// Which one.
        found: u16,
    },
    /// Its lengths are not those of what is there.
    Length,
    /// It is damaged.
    Checksum,
    /// This part of it makes no sense.
    Field(&'static str),
    /// The buffer is too small.
    BufferTooSmall {
        /// How many bytes it needs.
        needed: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "no device is described here: `fedmsg ca issue --device` makes such a file",
            ),
            Self::Version { found } => {
                write!(f, "provisioned in format {found}, {VERSION} is known here")
            }
            Self::Length => f.write_str("the provisioned data is cut off"),
            Self::Checksum => f.write_str("the provisioned data is damaged"),
            Self::Field(name) => write!(f, "the provisioned {name} makes no sense"),
            Self::BufferTooSmall { needed } => write!(f, "buffer too small: {needed} bytes needed"),
        }
    }
}

impl core::error::Error for Error {}

impl<'a> Provision<'a> {
    /// Reads the blob that `flash` begins with; what is behind it does not matter. Whether the key
    /// is one, and the certificate's, is not looked at.
    ///
    /// # Errors
    /// Any [`Error`] but [`Error::BufferTooSmall`].
    pub fn parse(flash: &'a [u8]) -> Result<Self, Error> {
        let mut header = Reader(flash);
        if header.array() != Some(MAGIC) {
            return Err(Error::Missing);
        }
        let version = header.u16()?;
        if version != VERSION {
            return Err(Error::Version { found: version });
        }
        let len = usize::from(header.u16()?);
        let (blob, checksum) = flash
            .get(..len)
            .and_then(<[u8]>::split_last_chunk)
            .ok_or(Error::Length)?;
        if crc32(blob) != u32::from_le_bytes(*checksum) {
            return Err(Error::Checksum);
        }

        let mut rest = Reader(blob.get(HEADER..).ok_or(Error::Length)?);
        let key = rest.take()?;
        let seed = rest.take()?;
        let mac = *rest.take()?;
        let (time_server, bus) = (rest.address()?, rest.address()?);
        let period_ms = u32::from_le_bytes(*rest.take()?);
        let (topic, certificate) = (rest.u16()?, rest.u16()?);
        let topic = rest.slice(topic)?;
        let certificate_field = rest.slice(certificate)?;
        if !rest.0.is_empty() {
            return Err(Error::Length);
        }
        let provision = Self {
            identity: (!certificate_field.is_empty()).then_some(Identity {
                key,
                certificate_field,
            }),
            seed,
            mac,
            time_server,
            bus: match bus {
                NOWHERE => Bus::Serial,
                bus if bus.ip().is_unspecified() => Bus::Listen(bus.port()),
                bus => Bus::Connect(bus),
            },
            period_ms,
            topic: core::str::from_utf8(topic).map_err(|_| Error::Field("topic"))?,
        };
        provision.check()?;
        Ok(provision)
    }

    /// Writes the blob to the front of `out` and gives its length.
    ///
    /// # Errors
    /// [`Error::Field`], [`Error::BufferTooSmall`]; [`Error::Length`] if it would be longer than
    /// the format can say.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Error> {
        self.check()?;
        let Identity {
            key,
            certificate_field,
        } = self.identity.unwrap_or(Identity {
            key: &[0; 32],
            certificate_field: &[],
        });
        let needed = FIXED + self.topic.len() + certificate_field.len();
        let len = u16::try_from(needed).map_err(|_| Error::Length)?;
        let certificate_len = u16::try_from(certificate_field.len()).map_err(|_| Error::Length)?;
        let bus = match self.bus {
            Bus::Listen(port) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port),
            Bus::Connect(relay) => relay,
            Bus::Serial => NOWHERE,
        };
        let (blob, checksum) = out
            .get_mut(..needed)
            .and_then(<[u8]>::split_last_chunk_mut)
            .ok_or(Error::BufferTooSmall { needed })?;
        let mut rest = &mut *blob;
        for part in [
            MAGIC,
            &VERSION.to_le_bytes()[..],
            &len.to_le_bytes(),
            key,
            self.seed,
            &self.mac,
            &self.time_server.ip().octets(),
            &self.time_server.port().to_le_bytes(),
            &bus.ip().octets(),
            &bus.port().to_le_bytes(),
            &self.period_ms.to_le_bytes(),
            // Not longer than MAX_TOPIC.
            &(self.topic.len() as u16).to_le_bytes(),
            &certificate_len.to_le_bytes(),
            self.topic.as_bytes(),
            certificate_field,
        ] {
            let (to, after) = rest
                .split_at_mut_checked(part.len())
                .ok_or(Error::BufferTooSmall { needed })?;
            copy(to, part);
            rest = after;
        }
        *checksum = crc32(blob).to_le_bytes();
        Ok(needed)
    }

    /// What a device could not work with.
    fn check(&self) -> Result<(), Error> {
        let printable = |c: u8| c.is_ascii_graphic() && c != b'"' && c != b'\\';
        let topic = self.topic.as_bytes();
        let (server, serial) = (self.time_server, self.bus == Bus::Serial);
        let has_port = match self.bus {
            Bus::Listen(port) => port != 0,
            Bus::Connect(relay) => relay.port() != 0,
            Bus::Serial => true,
        };
        for (name, good) in [
            (
                "topic",
                !topic.is_empty()
                    && topic.len() <= MAX_TOPIC
                    && topic.iter().all(|&c| printable(c)),
            ),
            (
                "certificate",
                self.identity
                    .is_none_or(|identity| is_json_base64(identity.certificate_field)),
            ),
            (
                "MAC address",
                self.mac.first().is_some_and(|b| b & 1 == 0) && self.mac != [0; 6],
            ),
            (
                "time server",
                match serial {
                    true => server == NOWHERE,
                    false => !server.ip().is_unspecified() && server.port() != 0,
                },
            ),
            ("port", has_port),
            ("period", self.period_ms != 0),
        ] {
            if !good {
                return Err(Error::Field(name));
            }
        }
        Ok(())
    }
}

/// Base64 and the two characters `\n`, nothing that would end a JSON string.
fn is_json_base64(field: &[u8]) -> bool {
    let mut bytes = field.iter();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'\\' => bytes.next() == Some(&b'n'),
            byte => byte.is_ascii_alphanumeric() || b"+/=".contains(byte),
        };
        if !good {
            return false;
        }
    }
    !field.is_empty()
}

/// The bytes not yet read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        self.array().ok_or(Error::Length)
    }

    fn slice(&mut self, len: u16) -> Result<&'a [u8], Error> {
        let (taken, rest) = self
            .0
            .split_at_checked(usize::from(len))
            .ok_or(Error::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(*self.take()?))
    }

    fn address(&mut self) -> Result<SocketAddrV4, Error> {
        let ip = Ipv4Addr::from(*self.take::<4>()?);
        Ok(SocketAddrV4::new(ip, self.u16()?))
    }
}

/// Magic, version and length.
const HEADER: usize = 8 + 2 + 2;
/// All but topic and certificate.
const FIXED: usize = HEADER + 32 + 32 + 6 + 6 + 6 + 4 + 2 + 2 + 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn example() -> Provision<'static> {
        Provision {
            identity: Some(Identity {
                key: &[1; 32],
                certificate_field: b"QUJD\\nRA==\\n",
            }),
            seed: &[2; 32],
            mac: [2, 0, 0, 0, 0, 1],
            time_server: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 123),
            bus: Bus::Listen(9940),
            period_ms: 1000,
            topic: "org.example.dev.lab",
        }
    }

    fn written(provision: &Provision<'_>) -> Result<Vec<u8>, Error> {
        let mut out = std::vec![0; 4096];
        let len = provision.write(&mut out)?;
        out.truncate(len);
        Ok(out)
    }

    #[test]
    fn what_is_written_reads_back_whatever_follows_it() {
        let relay = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 2), 9941);
        for provision in [
            example(),
            Provision {
                identity: None,
                bus: Bus::Connect(relay),
                ..example()
            },
            Provision {
                bus: Bus::Serial,
                time_server: NOWHERE,
                ..example()
            },
        ] {
            let mut flash = written(&provision).unwrap();
            assert!(Provision::parse(&flash) == Ok(provision));
            flash.resize(flash.len() + 100, 0xff);
            assert!(Provision::parse(&flash) == Ok(provision));
        }
    }

    #[test]
    fn every_damaged_bit_and_every_missing_byte_is_noticed() {
        let blob = written(&example()).unwrap();
        for len in 0..blob.len() {
            assert!(Provision::parse(&blob[..len]).is_err(), "{len}");
        }
        for bit in 0..blob.len() * 8 {
            let mut damaged = blob.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Provision::parse(&damaged).is_err(), "bit {bit}");
        }
        for (flash, error) in [
            (&[0xff; 4096][..], Error::Missing),
            (b"", Error::Missing),
            (b"fedmsgPV\x02\x00", Error::Version { found: 2 }),
            (b"fedmsgPV\x01\x00\xff\xff", Error::Length),
        ] {
            assert!(Provision::parse(flash).err() == Some(error), "{error:?}");
        }
    }

    #[test]
    fn what_a_device_could_not_work_with_is_refused_by_name() {
        let identity = |certificate_field| {
            Some(Identity {
                key: &[1; 32],
                certificate_field,
            })
        };
        let example = example();
        let nowhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 123);
        for (name, provision) in [
            (
                "topic",
                Provision {
                    topic: "",
                    ..example
                },
            ),
            (
                "topic",
                Provision {
                    topic: "a b",
                    ..example
                },
            ),
            (
                "topic",
                Provision {
                    topic: "a\"b",
                    ..example
                },
            ),
            (
                "certificate",
                Provision {
                    identity: identity(b"QQ==\"\\n"),
                    ..example
                },
            ),
            (
                "certificate",
                Provision {
                    identity: identity(b"QQ==\\"),
                    ..example
                },
            ),
            (
                "MAC address",
                Provision {
                    mac: [1, 0, 0, 0, 0, 1],
                    ..example
                },
            ),
            (
                "time server",
                Provision {
                    time_server: nowhere,
                    ..example
                },
            ),
            (
                "time server",
                Provision {
                    bus: Bus::Serial,
                    ..example
                },
            ),
            (
                "port",
                Provision {
                    bus: Bus::Listen(0),
                    ..example
                },
            ),
            (
                "period",
                Provision {
                    period_ms: 0,
                    ..example
                },
            ),
        ] {
            assert_eq!(written(&provision), Err(Error::Field(name)), "{name}");
        }
    }

    #[test]
    fn a_buffer_too_small_is_told_the_length_it_needs() {
        let needed = written(&example()).unwrap().len();
        let result = example().write(&mut std::vec![0; needed - 1]);
        assert_eq!(result, Err(Error::BufferTooSmall { needed }));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut blob = written(&example()).unwrap();
            let len = (bytes.len() % (blob.len() - HEADER)).min(bytes.len());
            blob[HEADER..HEADER + len].copy_from_slice(&bytes[..len]);
            let end = blob.len() - 4;
            let checksum = crc32(&blob[..end]).to_le_bytes();
            blob[end..].copy_from_slice(&checksum);
            let _ = Provision::parse(&blob);
            let _ = Provision::parse(&bytes);
        }
    }
}
