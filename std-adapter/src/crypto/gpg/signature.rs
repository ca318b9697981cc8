//! OpenPGP signature packets: what is alike enough to one that `gpg` has judged or made.

use std::{borrow::Cow, io::Read as _};

use pgp::{
    armor::Dearmor,
    packet::{
        Packet, PacketHeader, PacketParser, Signature, SignatureConfig, SignatureType,
        SignatureVersionSpecific, Subpacket, SubpacketData,
    },
    types::{Fingerprint, PacketLength, Tag},
};

/// The longest signature that is looked at, in bytes before base64: one by an RSA key of 16,384
/// bits has some 2,100.
pub const MAX_SIGNATURE: usize = 8 << 10;

/// A signature in binary: out of its ASCII armor, if it is in one.
pub(super) fn binary(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    // The highest bit of a packet is set, and armor is ASCII.
    if bytes.first()? & 0x80 != 0 {
        return Some(Cow::Borrowed(bytes));
    }
    let mut binary = Vec::new();
    Dearmor::new(bytes).read_to_end(&mut binary).ok()?;
    Some(Cow::Owned(binary))
}

/// Whether all packets are signatures. `gpg` looks for signatures in a compressed packet too, which
/// 6 KB long can keep it busy for seconds.
pub(super) fn are_signatures(bytes: &[u8]) -> bool {
    PacketParser::new(bytes).all(|packet| matches!(packet, Ok(Packet::Signature(_))))
}

/// The one signature packet that `bytes` are, if they are that and nothing else.
pub(super) fn parse(mut bytes: &[u8]) -> Option<Signature> {
    let header = PacketHeader::try_from_reader(&mut bytes).ok()?;
    let whole = match header.packet_length() {
        PacketLength::Fixed(len) => usize::try_from(len).ok() == Some(bytes.len()),
        _ => false,
    };
    if header.tag() != Tag::Signature || !whole {
        return None;
    }
    let signature = Signature::try_from_reader(header, &mut bytes).ok()?;
    bytes.is_empty().then_some(signature)
}

/// The digest that is signed: of the data, and of what else is signed with it.
pub(super) fn digest(
    config: &SignatureConfig,
    message: &[&[u8]],
) -> pgp::errors::Result<Box<[u8]>> {
    let mut hasher = config.hash_alg.new_hasher()?;
    for piece in message {
        hasher.update(piece);
    }
    let len = config.hash_signature_data(&mut hasher)?;
    hasher.update(&config.trailer(len)?);
    Ok(hasher.finalize())
}

/// The key that made a signature, where this is of the plain kind that depends on nothing but its
/// key: version 4, over binary data, one time and one issuer among what is signed, no end of its
/// validity, and beside what is signed at most the issuer again.
pub(super) fn plain_issuer(config: &SignatureConfig) -> Option<&Fingerprint> {
    let of_kind = |is: fn(&SubpacketData) -> bool| {
        let kind = config.hashed_subpackets().filter(|one| is(&one.data));
        kind.count()
    };
    let mut issuers = config
        .hashed_subpackets()
        .filter_map(|subpacket| match &subpacket.data {
            SubpacketData::IssuerFingerprint(fingerprint) => Some(fingerprint),
            _ => None,
        });
    let issuer = issuers.next()?;
    let id = issuer.as_bytes().last_chunk::<8>()?;
    let beside = match &*config.unhashed_subpackets {
        [] => true,
        [
            Subpacket {
                data: SubpacketData::IssuerKeyId(beside),
                is_critical: false,
                ..
            },
        ] => beside.as_ref() == id,
        _ => false,
    };
    (config.version_specific == SignatureVersionSpecific::V4
        && config.typ == SignatureType::Binary
        && of_kind(|data| matches!(data, SubpacketData::SignatureCreationTime(_))) == 1
        && of_kind(|data| matches!(data, SubpacketData::SignatureExpirationTime(_))) == 0
        && issuers.next().is_none()
        && beside)
        .then_some(issuer)
}

/// Whether two signatures of the plain kind have the same signed about them, but for the time.
pub(super) fn alike(one: &SignatureConfig, other: &SignatureConfig) -> bool {
    let same = |(one, other): (&Subpacket, &Subpacket)| match (&one.data, &other.data) {
        (SubpacketData::SignatureCreationTime(_), SubpacketData::SignatureCreationTime(_)) => {
            (one.is_critical, &one.len) == (other.is_critical, &other.len)
        }
        _ => one == other,
    };
    one.pub_alg == other.pub_alg
        && one.hash_alg == other.hash_alg
        && one.hashed_subpackets.len() == other.hashed_subpackets.len()
        && one
            .hashed_subpackets()
            .zip(other.hashed_subpackets())
            .all(same)
}

/// The ids of the keys that a signature says have made it, the last 8 bytes of each fingerprint.
pub(super) fn issuers(config: &SignatureConfig) -> impl Iterator<Item = [u8; 8]> {
    let ids = config.issuer_key_id().into_iter();
    let fingerprints = config.issuer_fingerprint().into_iter();
    ids.filter_map(|id| id.as_ref().last_chunk().copied())
        .chain(fingerprints.filter_map(|print| print.as_bytes().last_chunk().copied()))
}
