//! The certificates of `x509-p256`: X.509 (RFC 5280), version 3, a P-256 key, signed with
//! ecdsa-with-SHA256 by a P-256 CA that is trusted directly.
//!
//! [`Certificate::parse`] looks at the certificate alone, [`Certificate::verify`] decides whether a
//! CA vouches for it at a given time. Neither copies: everything is a slice of the DER text.
//!
//! A leaf is judged as OpenSSL judges the signer of a message, with these differences, each to the
//! strict side: issuer and subject are compared byte for byte; a CA certificate does not sign
//! messages; text that is not DER is refused; no critical extension but basicConstraints and
//! keyUsage is understood. Chains have one link: an intermediate CA works if it is itself the
//! anchor.

use core::fmt;

use der::{Tag, TagNumber};

use super::Refusal;
use super::asn1::{Cursor, End, Malformed};
use super::p256::VerifyingKey;

/// ecdsa-with-SHA256 (RFC 5758 section 3.2), as an `AlgorithmIdentifier`.
const ECDSA_WITH_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";

/// id-ecPublicKey with the named curve secp256r1 (RFC 5480 section 2.1), as an
/// `AlgorithmIdentifier`.
pub(super) const P256_KEY: &[u8] =
    b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";

/// The named curve secp256r1 (RFC 5480 section 2.1.1.1), as an OBJECT IDENTIFIER.
pub(super) const P256_CURVE: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";

/// Contents of OBJECT IDENTIFIERs.
const COMMON_NAME: &[u8] = b"\x55\x04\x03";
const KEY_USAGE: &[u8] = b"\x55\x1d\x0f";
const BASIC_CONSTRAINTS: &[u8] = b"\x55\x1d\x13";

/// Bits of the first byte of keyUsage.
const DIGITAL_SIGNATURE: u8 = 0x80;
const NON_REPUDIATION: u8 = 0x40;
const KEY_CERT_SIGN: u8 = 0x04;

/// Why a certificate cannot be read. Offsets are into its DER text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CertificateError {
    /// Not DER, or not a certificate of version 3.
    Malformed {
        /// Offset of the value that does not fit.
        offset: usize,
    },
    /// The key is not a P-256 key or the signature is not ecdsa-with-SHA256.
    Algorithm {
        /// Offset of the `AlgorithmIdentifier`.
        offset: usize,
    },
    /// The public key is not a point of the curve.
    PublicKey {
        /// Offset of the key's BIT STRING.
        offset: usize,
    },
    /// A critical extension that is not understood, or one of those that are, twice.
    Extension {
        /// Offset of the extension.
        offset: usize,
    },
}

impl CertificateError {
    /// Where the certificate stops making sense, in bytes from its beginning.
    #[must_use]
    pub fn offset(&self) -> usize {
        match *self {
            Self::Malformed { offset }
            | Self::Algorithm { offset }
            | Self::PublicKey { offset }
            | Self::Extension { offset } => offset,
        }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed { .. } => "not a version 3 certificate in DER",
            Self::Algorithm { .. } => "neither a P-256 key nor signed with ecdsa-with-SHA256",
            Self::PublicKey { .. } => "public key is not a point of the curve",
            Self::Extension { .. } => "critical extension not understood, or repeated",
        })?;
        write!(f, ", at offset {}", self.offset())
    }
}

impl core::error::Error for CertificateError {}

impl From<Malformed> for CertificateError {
    fn from(Malformed { offset }: Malformed) -> Self {
        Self::Malformed { offset }
    }
}

/// A certificate that was read, and is not yet trusted.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    tbs: &'a [u8],
    signature: &'a [u8],
    serial: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    common_name: Option<&'a str>,
    not_before: u64,
    not_after: u64,
    public_key: VerifyingKey,
    ca: bool,
    key_usage: Option<u8>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate that fills `der` exactly.
    ///
    /// # Errors
    /// Any [`CertificateError`].
    pub fn parse(der: &'a [u8]) -> Result<Self, CertificateError> {
        let mut cursor = Cursor::new(der)?;
        let end = cursor.enter(Tag::Sequence)?;

        let tbs_offset = cursor.offset();
        let tbs_end = cursor.enter(Tag::Sequence)?;
        version(&mut cursor)?;
        let serial = cursor.read_integer()?;
        algorithm(&mut cursor, ECDSA_WITH_SHA256)?;
        let (issuer, _) = name(&mut cursor)?;
        let validity_end = cursor.enter(Tag::Sequence)?;
        let not_before = time(&mut cursor)?;
        let not_after = time(&mut cursor)?;
        cursor.leave(validity_end)?;
        let (subject, common_name) = name(&mut cursor)?;
        let key_end = cursor.enter(Tag::Sequence)?;
        algorithm(&mut cursor, P256_KEY)?;
        let offset = cursor.offset();
        let public_key = VerifyingKey::from_sec1(cursor.read_bytes_of_bit_string()?)
            .ok_or(CertificateError::PublicKey { offset })?;
        cursor.leave(key_end)?;
        let Extensions { ca, key_usage } = Extensions::read(&mut cursor, tbs_end)?;
        cursor.leave(tbs_end)?;
        let tbs = cursor.since(tbs_offset);

        algorithm(&mut cursor, ECDSA_WITH_SHA256)?;
        let signature = cursor.read_bytes_of_bit_string()?;
        cursor.leave(end)?;
        if cursor.offset() != der.len() {
            return Err(CertificateError::Malformed {
                offset: cursor.offset(),
            });
        }

        Ok(Self {
            tbs,
            signature,
            serial,
            issuer,
            subject,
            common_name,
            not_before,
            not_after,
            public_key,
            ca: ca.unwrap_or(false),
            key_usage,
        })
    }

    /// Decides whether `anchor` vouches for this certificate as a signer of messages at `at`,
    /// in seconds since the epoch.
    ///
    /// # Errors
    /// The first of: [`Refusal::Untrusted`] (issued by somebody else, or not to sign messages),
    /// [`Refusal::NotYetValid`] and [`Refusal::Expired`] (the CA or the certificate),
    /// [`Refusal::Revoked`].
    pub fn verify(&self, anchor: &TrustAnchor<'_>, at: u64) -> Result<(), Refusal> {
        let may_sign = self.may(DIGITAL_SIGNATURE | NON_REPUDIATION);
        if self.ca || !may_sign || self.issuer != anchor.subject {
            return Err(Refusal::Untrusted);
        }
        anchor
            .public_key
            .verify(&[self.tbs], self.signature)
            .map_err(|_| Refusal::Untrusted)?;
        if at < anchor.not_before.max(self.not_before) {
            return Err(Refusal::NotYetValid);
        }
        if at > anchor.not_after.min(self.not_after) {
            return Err(Refusal::Expired);
        }
        if anchor.revoked.contains(&self.serial) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }

    /// The content of the serial number's INTEGER: big-endian, with a leading 0 if the first bit
    /// were 1 without it.
    #[must_use]
    pub fn serial(&self) -> &'a [u8] {
        self.serial
    }

    /// The issuer's name in DER.
    #[must_use]
    pub fn issuer(&self) -> &'a [u8] {
        self.issuer
    }

    /// The subject's name in DER.
    #[must_use]
    pub fn subject(&self) -> &'a [u8] {
        self.subject
    }

    /// The subject's first common name, if it has one that is `UTF8String`, `PrintableString` or
    /// `IA5String`: the sender of a message.
    #[must_use]
    pub fn common_name(&self) -> Option<&'a str> {
        self.common_name
    }

    /// The first second at which it is valid, since the epoch; 0 if that is before the epoch.
    #[must_use]
    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// The last second at which it is valid, since the epoch.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// The key that its messages are signed with.
    #[must_use]
    pub fn public_key(&self) -> &VerifyingKey {
        &self.public_key
    }

    /// Whether it is a CA's, by its basicConstraints.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.ca
    }

    /// Whether one of the key usages `bits` is allowed: all are if there is no such extension.
    fn may(&self, bits: u8) -> bool {
        self.key_usage.is_none_or(|usage| usage & bits != 0)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Certificate<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Certificate({})", self.common_name);
    }
}

/// A CA that is trusted.
///
/// Who trusts it says so by keeping it: nothing vouches for a CA, and the signature on its own
/// certificate is not looked at.
#[derive(Clone, Debug)]
pub struct TrustAnchor<'a> {
    subject: &'a [u8],
    public_key: VerifyingKey,
    not_before: u64,
    not_after: u64,
    revoked: &'a [&'a [u8]],
}

#[cfg(feature = "defmt")]
impl defmt::Format for TrustAnchor<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "TrustAnchor({})", self.public_key);
    }
}

impl<'a> TrustAnchor<'a> {
    /// Trusts a CA by its certificate.
    ///
    /// # Errors
    /// [`Refusal::Untrusted`] if the certificate is not a CA's, or its keyUsage does not allow to
    /// issue certificates.
    pub fn new(ca: &Certificate<'a>) -> Result<Self, Refusal> {
        if !ca.ca || !ca.may(KEY_CERT_SIGN) {
            return Err(Refusal::Untrusted);
        }
        Ok(Self {
            subject: ca.subject,
            public_key: ca.public_key.clone(),
            not_before: ca.not_before,
            not_after: ca.not_after,
            revoked: &[],
        })
    }

    /// Trusts a CA by its name in DER and its key, for ever: what a device needs to keep.
    #[must_use]
    pub fn from_name_and_key(subject: &'a [u8], public_key: VerifyingKey) -> Self {
        Self {
            subject,
            public_key,
            not_before: 0,
            not_after: u64::MAX,
            revoked: &[],
        }
    }

    /// The same with a list of the certificates that the CA has revoked, as their
    /// [`serial`](Certificate::serial)s in any order. They are looked through one by one.
    #[must_use]
    pub fn with_revoked(self, serials: &'a [&'a [u8]]) -> Self {
        Self {
            revoked: serials,
            ..self
        }
    }
}

/// The extensions that are understood.
#[derive(Default)]
struct Extensions {
    ca: Option<bool>,
    key_usage: Option<u8>,
}

impl Extensions {
    /// Reads the optional `[3]` field at the end of the signed part.
    fn read(cursor: &mut Cursor<'_>, tbs_end: End) -> Result<Self, CertificateError> {
        let mut known = Self::default();
        if !cursor.has_more(tbs_end)? {
            return Ok(known);
        }
        let field_end = cursor.enter(context_specific(3))?;
        let list_end = cursor.enter(Tag::Sequence)?;
        while cursor.has_more(list_end)? {
            known.read_one(cursor)?;
        }
        cursor.leave(field_end)?;
        Ok(known)
    }

    fn read_one(&mut self, cursor: &mut Cursor<'_>) -> Result<(), CertificateError> {
        let offset = cursor.offset();
        let end = cursor.enter(Tag::Sequence)?;
        let id = cursor.read(Tag::ObjectIdentifier)?;
        let critical = default_false(cursor)?;
        let value_end = cursor.enter(Tag::OctetString)?;
        let first = match id {
            BASIC_CONSTRAINTS => {
                let sequence_end = cursor.enter(Tag::Sequence)?;
                let first = self.ca.replace(default_false(cursor)?).is_none();
                // The allowed length of the path is at least 0, and ours is 0.
                if cursor.has_more(sequence_end)? {
                    cursor.read_integer()?;
                }
                cursor.leave(sequence_end)?;
                first
            }
            KEY_USAGE => self.key_usage.replace(key_usage(cursor)?).is_none(),
            _ => {
                cursor.rest(value_end)?;
                !critical
            }
        };
        if !first {
            return Err(CertificateError::Extension { offset });
        }
        cursor.leave(value_end)?;
        Ok(cursor.leave(end)?)
    }
}

const fn context_specific(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}

/// `[0] { INTEGER 2 }`: version 3.
fn version(cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
    let offset = cursor.offset();
    let end = cursor.enter(context_specific(0))?;
    if cursor.read_integer()? != [2] {
        return Err(Malformed { offset });
    }
    cursor.leave(end)
}

/// An `AlgorithmIdentifier` that must be `expected`, parameters and all.
fn algorithm(cursor: &mut Cursor<'_>, expected: &[u8]) -> Result<(), CertificateError> {
    let offset = cursor.offset();
    if cursor.read_any()? == expected {
        Ok(())
    } else {
        Err(CertificateError::Algorithm { offset })
    }
}

/// A Name: its DER text, and its first common name.
fn name<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], Option<&'a str>), Malformed> {
    let offset = cursor.offset();
    let mut common_name = None;
    let end = cursor.enter(Tag::Sequence)?;
    while cursor.has_more(end)? {
        let set_end = cursor.enter(Tag::Set)?;
        while cursor.has_more(set_end)? {
            let attribute_end = cursor.enter(Tag::Sequence)?;
            let id = cursor.read(Tag::ObjectIdentifier)?;
            let value_offset = cursor.offset();
            let (tag, value_end) = cursor.enter_any()?;
            let value = cursor.rest(value_end)?;
            cursor.leave(attribute_end)?;
            if id == COMMON_NAME
                && common_name.is_none()
                && matches!(tag, Tag::Utf8String | Tag::PrintableString | Tag::Ia5String)
            {
                let text = core::str::from_utf8(value);
                common_name = Some(text.map_err(|_| Malformed {
                    offset: value_offset,
                })?);
            }
        }
    }
    Ok((cursor.since(offset), common_name))
}

/// A BOOLEAN with default FALSE, which DER does not write.
fn default_false(cursor: &mut Cursor<'_>) -> Result<bool, Malformed> {
    const BOOLEAN: u8 = 1;
    if !cursor.next_is(BOOLEAN) {
        return Ok(false);
    }
    let offset = cursor.offset();
    match cursor.read(Tag::Boolean)? {
        [0xff] => Ok(true),
        _ => Err(Malformed { offset }),
    }
}

/// A `KeyUsage` BIT STRING: its first byte, 0 if it is empty.
fn key_usage(cursor: &mut Cursor<'_>) -> Result<u8, Malformed> {
    let offset = cursor.offset();
    match *cursor.read(Tag::BitString)? {
        [0] => Ok(0),
        [unused @ 0..8, first] if first.trailing_zeros() >= u32::from(unused) => Ok(first),
        [unused @ 0..8, first, second] if second.trailing_zeros() >= u32::from(unused) => Ok(first),
        _ => Err(Malformed { offset }),
    }
}

/// A Time: `YYMMDDHHMMSSZ` (1950 to 2049) or `YYYYMMDDHHMMSSZ`, in seconds since the epoch.
fn time(cursor: &mut Cursor<'_>) -> Result<u64, Malformed> {
    let offset = cursor.offset();
    let (tag, end) = cursor.enter_any()?;
    let seconds = match (tag, cursor.rest(end)?) {
        (Tag::UtcTime, [y1, y2, rest @ ..]) => two_digits(*y1, *y2)
            .and_then(|year| seconds(if year < 50 { year + 2000 } else { year + 1900 }, rest)),
        (Tag::GeneralizedTime, [y1, y2, y3, y4, rest @ ..]) => two_digits(*y1, *y2)
            .zip(two_digits(*y3, *y4))
            .and_then(|(century, year)| seconds(century * 100 + year, rest)),
        _ => None,
    };
    seconds.ok_or(Malformed { offset })
}

/// Seconds since the epoch of `MMDDHHMMSSZ` in a year (0 to 9999), 0 if before the epoch.
fn seconds(year: u32, text: &[u8]) -> Option<u64> {
    let [m1, m2, d1, d2, h1, h2, min1, min2, s1, s2, b'Z'] = *text else {
        return None;
    };
    let month = two_digits(m1, m2)?;
    let day = two_digits(d1, d2)?;
    let (hour, minute, second) = (
        two_digits(h1, h2)?,
        two_digits(min1, min2)?,
        two_digits(s1, s2)?,
    );
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_of_month = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > days_of_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1 March of year 0, in years that begin in March: the leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.saturating_sub(1), month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // 719,468 of them before 1 January 1970.
    let time_of_day = u64::from(hour * 3600 + minute * 60 + second);
    Some(
        days.checked_sub(719_468)
            .map_or(0, |days| u64::from(days) * 86_400 + time_of_day),
    )
}

fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    if tens.is_ascii_digit() && ones.is_ascii_digit() {
        Some(u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn read(text: &str) -> Result<u64, Malformed> {
        let tag = if text.len() == 13 { 0x17 } else { 0x18 };
        let der: Vec<u8> = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        time(&mut Cursor::new(&der).unwrap())
    }

    #[test]
    fn times_are_seconds_since_the_epoch() {
        // date -u -d DATE +%s
        for (text, seconds) in [
            ("700101000000Z", 0),
            ("19700101000001Z", 1),
            ("700301000000Z", 5_097_600),
            ("991231235959Z", 946_684_799),
            ("000101000000Z", 946_684_800),
            ("000229000000Z", 951_782_400),
            ("000301000000Z", 951_868_800),
            ("240229120000Z", 1_709_208_000),
            ("491231235959Z", 2_524_607_999),
            ("20500101000000Z", 2_524_608_000),
            ("21000228235959Z", 4_107_542_399),
            ("21000301000000Z", 4_107_542_400),
            ("99991231235959Z", 253_402_300_799),
            // Before the epoch.
            ("691231235959Z", 0),
            ("500101000000Z", 0),
            ("00000101000000Z", 0),
        ] {
            assert_eq!(read(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn dates_that_are_none_are_refused() {
        for text in [
            "700001000000Z",
            "701301000000Z",
            "700100000000Z",
            "700132000000Z",
            "700229000000Z",
            "700431000000Z",
            "21000229000000Z",
            "700101240000Z",
            "700101006000Z",
            "700101000060Z",
            "700101000000+",
            "70010100000Z",
            "7001010000Z",
            "7001010000 0Z",
            "70010100000:Z",
            "x00101000000Z",
            "197001010000000Z",
            "19700101000000.0Z",
            "1970Z",
            "",
        ] {
            assert_eq!(read(text), Err(Malformed { offset: 0 }), "{text}");
        }
    }
}
