//! Who is believed: CA certificates and revocation lists, and the verdicts drawn from them.
//!
//! An `x509-p256` certificate is read by the core, so that a device and a server agree on it:
//! issued by one of the CAs (directly; an intermediate CA is trusted by naming it as a CA), not
//! itself a CA's, allowed to sign by its keyUsage if it has one, the CA and it in date, not on the
//! CA's revocation list, and that list in date. An `x509` certificate, which may be what old sites
//! have, is judged as OpenSSL judges it (`legacy`).
//!
//! A positive verdict is remembered with its dates, so that a further message of the same sender
//! costs one signature check.

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use der::{Decode, Encode, referenced::OwnedToRef};
use fedmsg_core::crypto::{
    Refusal, Verifier,
    base64::{self, Wrapping},
    certificate::{Certificate, TrustAnchor},
    p256, pem,
};
use x509_cert::{
    SubjectPublicKeyInfo, TbsCertificate, Version,
    ext::pkix::{BasicConstraints, KeyUsage},
    time::{Time, Validity},
};

#[cfg(feature = "x509")]
use super::legacy::{self, Chains, Unusable};
use super::{
    Error, X509, files,
    x509::{CertList, Signed},
};

/// The longest certificate that is judged, in bytes of PEM text.
pub const MAX_CERTIFICATE: usize = 16 << 10;

/// How many certificates a [`Trust`] remembers having accepted; beyond, any one is forgotten.
pub const MAX_REMEMBERED: usize = 1024;

/// The CAs that are trusted, and what they have revoked.
pub struct Trust {
    authorities: Vec<Authority>,
    #[cfg(feature = "x509")]
    chains: Chains,
    /// By PEM text and by that as it stands in a message, each in its one usual form only: strangers,
    /// who can write a sender's certificate in many forms but make no new one, cannot push others
    /// out.
    remembered: RwLock<HashMap<Mark, Known>>,
}

impl Trust {
    /// Trusts the CA certificates in the PEM file `ca`, one or more. With the PEM file `crl`, one
    /// or more revocation lists, each of these CAs needs one: what is issued by a CA without a
    /// list is refused.
    ///
    /// # Errors
    /// What is wrong with one of the files; [`Error::NotCa`], [`Error::Foreign`] for a revocation
    /// list that none of the CAs signed.
    pub fn load(ca: &Path, crl: Option<&Path>) -> Result<Self, Error> {
        let crl = match crl {
            Some(path) => Some((path, files::read(path)?)),
            None => None,
        };
        let crl = crl.as_ref().map(|(path, text)| (*path, text.as_str()));
        Self::from_texts((ca, &files::read(ca)?), crl)
    }

    /// The same of texts, each with the name of where it came from.
    pub(super) fn from_texts(
        (ca, certificates): (&Path, &str),
        crl: Option<(&Path, &str)>,
    ) -> Result<Self, Error> {
        let malformed = |label, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Malformed {
                path,
                label,
                source,
            }
        };
        let certificates = files::labelled(ca, certificates, files::CERTIFICATE)?;
        let lists = match crl {
            Some((path, text)) => Some((path, files::labelled(path, text, files::CRL)?)),
            None => None,
        };
        #[cfg(feature = "x509")]
        let chains = {
            let path = lists.as_ref().map_or(ca, |(path, _)| path).to_owned();
            let lists = lists.as_ref().map(|(_, lists)| &lists[..]);
            Chains::new(&certificates, lists).map_err(|unusable| match unusable {
                Unusable::Certificate => malformed(files::CERTIFICATE, ca)(DAMAGED.into()),
                Unusable::NotCa => Error::NotCa {
                    path: ca.to_owned(),
                },
                Unusable::List => malformed(files::CRL, &path)(DAMAGED.into()),
                Unusable::Foreign => Error::Foreign { path },
            })?
        };

        // What is not of P-256, or written in a way that we do not know, AWS-LC has looked at.
        let mut authorities = Vec::new();
        for der in &certificates {
            match Authority::parse(der) {
                Ok(Parsed::Authority(authority)) => authorities.push(*authority),
                Ok(Parsed::OtherKey) => {}
                Ok(Parsed::NotCa) => {
                    return Err(Error::NotCa {
                        path: ca.to_owned(),
                    });
                }
                Err(_) if cfg!(feature = "x509") => {}
                Err(source) => return Err(malformed(files::CERTIFICATE, ca)(source)),
            }
        }
        if let Some((path, lists)) = &lists {
            for authority in &mut authorities {
                authority.revocations = Revocations::Missing;
            }
            for der in lists {
                let list = Signed::parse(der)
                    .and_then(|signed| Ok((CertList::from_der(signed.body)?, signed)));
                match list {
                    Ok((list, signed)) => {
                        let mut known = authorities.len() < certificates.len();
                        for authority in &mut authorities {
                            known |= authority.take_revocations(&list, &signed);
                        }
                        if !known && cfg!(not(feature = "x509")) {
                            return Err(Error::Foreign {
                                path: path.to_path_buf(),
                            });
                        }
                    }
                    Err(_) if cfg!(feature = "x509") => {}
                    Err(source) => return Err(malformed(files::CRL, path)(source)),
                }
            }
        }
        Ok(Self {
            authorities,
            #[cfg(feature = "x509")]
            chains,
            remembered: RwLock::default(),
        })
    }

    /// The verifier of `x509-p256` messages.
    #[must_use]
    pub fn p256(&self) -> TrustVerifier<'_> {
        TrustVerifier {
            trust: self,
            backend: p256::BACKEND,
        }
    }

    /// The verifier of `x509` messages: RSA with SHA-1, the legacy wire. Without feature `x509` it
    /// refuses them all.
    #[must_use]
    pub fn x509(&self) -> TrustVerifier<'_> {
        TrustVerifier {
            trust: self,
            backend: X509,
        }
    }

    /// The sender that `certificate` stands for, if that is to be believed at `at`.
    fn sender(&self, certificate: &[u8], backend: &str, at: u64) -> Result<Arc<Sender>, Refusal> {
        if let Some(sender) = self.remembered(certificate, backend, at) {
            return Ok(sender);
        }
        // Either not seen before or to be refused.
        if certificate.len() > MAX_CERTIFICATE {
            return Err(Refusal::CertificateTooLarge {
                limit: MAX_CERTIFICATE,
            });
        }
        let mut der = [0; MAX_CERTIFICATE];
        let len = pem::decode(certificate, pem::CERTIFICATE, &mut der).map_err(|error| {
            Refusal::Certificate {
                offset: error.offset(),
            }
        })?;
        let der = der.get(..len).unwrap_or_default();
        let sender = Arc::new(self.judge(der, backend, at)?);

        let mut usual = vec![0; pem::encoded_len(len, pem::CERTIFICATE)];
        if pem::encode(der, pem::CERTIFICATE, &mut usual).is_ok() && usual == certificate {
            let mut field = vec![0; base64::encoded_len(usual.len(), Wrapping::JsonLines)];
            if base64::encode(&usual, Wrapping::JsonLines, &mut field).is_ok() {
                self.remember(field, &sender);
            }
            self.remember(usual, &sender);
        }
        Ok(sender)
    }

    /// The sender of a certificate, as PEM text or as it stands in a message.
    fn remembered(&self, text: &[u8], backend: &str, at: u64) -> Option<Arc<Sender>> {
        let remembered = self
            .remembered
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        remembered
            .get(&mark(text)?)
            .filter(|(known, sender)| {
                known == text && sender.is_for(backend) && sender.valid.contains(&at)
            })
            .map(|(_, sender)| Arc::clone(sender))
    }

    fn remember(&self, text: Vec<u8>, sender: &Arc<Sender>) {
        let Some(mark) = mark(&text) else {
            return;
        };
        let mut remembered = self
            .remembered
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= 2 * MAX_REMEMBERED
            && let Some(any) = remembered.keys().next().copied()
        {
            remembered.remove(&any);
        }
        remembered.insert(mark, (text, Arc::clone(sender)));
    }

    fn judge(&self, der: &[u8], backend: &str, at: u64) -> Result<Sender, Refusal> {
        if backend == p256::BACKEND {
            return self.judge_p256(der, at);
        }
        #[cfg(feature = "x509")]
        return self.chains.judge(der, at).map(|accepted| Sender {
            key: PublicKey::Rsa(accepted.key),
            name: accepted.name,
            valid: accepted.valid,
        });
        #[cfg(not(feature = "x509"))]
        Err(Refusal::BackendNotBuiltIn)
    }

    fn judge_p256(&self, der: &[u8], at: u64) -> Result<Sender, Refusal> {
        let leaf = Certificate::parse(der).map_err(|error| Refusal::Certificate {
            offset: error.offset(),
        })?;
        let mut refusal = Refusal::Untrusted;
        for authority in &self.authorities {
            match authority.judge(&leaf, at) {
                Ok(valid) => {
                    return Ok(Sender {
                        key: PublicKey::P256(leaf.public_key().clone()),
                        name: leaf.common_name().unwrap_or_default().to_owned(),
                        valid,
                    });
                }
                Err(Refusal::Untrusted) => {}
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }
}

/// Judges messages of one backend by a [`Trust`].
#[derive(Clone, Copy)]
pub struct TrustVerifier<'t> {
    trust: &'t Trust,
    backend: &'static str,
}

impl Verifier for TrustVerifier<'_> {
    fn backend(&self) -> &str {
        self.backend
    }

    /// As the trait says; a certificate of more than [`MAX_CERTIFICATE`] bytes is refused.
    fn verify<'n>(
        &self,
        message: &[&[u8]],
        signature: &[u8],
        certificate: &[u8],
        at: u64,
        name: &'n mut [u8],
    ) -> Result<&'n str, Refusal> {
        let sender = self.trust.sender(certificate, self.backend, at)?;
        let len = sender.verify(message, signature, name)?;
        std::str::from_utf8(name.get(..len).unwrap_or_default()).map_err(|_| Refusal::Name)
    }

    fn verify_known(
        &self,
        message: &[&[u8]],
        signature: &[u8],
        field: &[u8],
        at: u64,
        name: &mut [u8],
    ) -> Option<Result<usize, Refusal>> {
        let sender = self.trust.remembered(field, self.backend, at)?;
        Some(sender.verify(message, signature, name))
    }
}

/// A sender whose certificate was accepted.
struct Sender {
    key: PublicKey,
    /// Empty if the certificate names none.
    name: String,
    /// When certificate, CA and revocation list are all in date.
    valid: RangeInclusive<u64>,
}

impl Sender {
    /// Checks a signature, and writes the name; its length.
    fn verify(
        &self,
        message: &[&[u8]],
        signature: &[u8],
        name: &mut [u8],
    ) -> Result<usize, Refusal> {
        self.key.verify(message, signature)?;
        let name = name
            .get_mut(..self.name.len())
            .filter(|name| !name.is_empty())
            .ok_or(Refusal::Name)?;
        name.copy_from_slice(self.name.as_bytes());
        Ok(name.len())
    }

    fn is_for(&self, backend: &str) -> bool {
        match self.key {
            PublicKey::P256(_) => backend == p256::BACKEND,
            #[cfg(feature = "x509")]
            PublicKey::Rsa(_) => backend == X509,
        }
    }
}

enum PublicKey {
    P256(p256::VerifyingKey),
    #[cfg(feature = "x509")]
    Rsa(legacy::RsaPublic),
}

impl PublicKey {
    fn verify(&self, message: &[&[u8]], signature: &[u8]) -> Result<(), Refusal> {
        match self {
            Self::P256(key) => key.verify(message, signature),
            #[cfg(feature = "x509")]
            Self::Rsa(key) => key.verify(message, signature),
        }
    }
}

/// A CA of P-256.
struct Authority {
    /// Its name in DER.
    name: Vec<u8>,
    key: SubjectPublicKeyInfo,
    /// The same key.
    p256: p256::VerifyingKey,
    valid: RangeInclusive<u64>,
    may_sign_lists: bool,
    revocations: Revocations,
}

/// What a CA's certificate may be.
enum Parsed {
    Authority(Box<Authority>),
    /// Its key is not of P-256.
    OtherKey,
    NotCa,
}

enum Revocations {
    NotAskedFor,
    Missing,
    List {
        /// Contents of the serial numbers' INTEGERs.
        serials: HashSet<Vec<u8>>,
        valid: RangeInclusive<u64>,
    },
}

impl Authority {
    fn parse(der: &[u8]) -> der::Result<Parsed> {
        let signed = Signed::parse(der)?;
        let tbs = TbsCertificate::from_der(signed.body)?;
        let key = tbs.subject_public_key_info().clone();
        let point = key.subject_public_key.as_bytes();
        let Some(p256) = point.and_then(p256::VerifyingKey::from_sec1) else {
            return Ok(Parsed::OtherKey);
        };
        let is_ca = match tbs.get_extension::<BasicConstraints>()? {
            Some((_, constraints)) => constraints.ca,
            // Version 1 has no extensions: a CA is known by having signed itself.
            None => tbs.version() == Version::V1 && signed.is_signed_by(key.owned_to_ref()),
        };
        let usage = tbs.get_extension::<KeyUsage>()?.map(|(_, usage)| usage);
        if !is_ca || usage.is_some_and(|usage| !usage.key_cert_sign()) {
            return Ok(Parsed::NotCa);
        }
        Ok(Parsed::Authority(Box::new(Self {
            name: tbs.subject().to_der()?,
            p256,
            key,
            valid: window(tbs.validity()),
            may_sign_lists: usage.is_none_or(|usage| usage.crl_sign()),
            revocations: Revocations::NotAskedFor,
        })))
    }

    /// Takes over a revocation list if it is this CA's, and can be understood. Of several, the
    /// latest counts.
    fn take_revocations(&mut self, list: &CertList, signed: &Signed<'_>) -> bool {
        let critical = |extension: &x509_cert::ext::Extension| extension.critical;
        if !self.may_sign_lists
            || list.issuer.to_der().ok().as_deref() != Some(&self.name)
            || list.extensions.iter().flatten().any(critical)
            || !signed.is_signed_by(self.key.owned_to_ref())
        {
            return false;
        }
        let issued = seconds(list.this_update);
        if let Revocations::List { valid, .. } = &self.revocations
            && *valid.start() > issued
        {
            return true;
        }
        let serials = list.revoked.iter().flatten();
        self.revocations = Revocations::List {
            serials: serials
                .map(|entry| entry.serial_number.as_bytes().to_owned())
                .collect(),
            // Version 1 may leave out when the next one comes.
            valid: issued..=list.next_update.map_or(u64::MAX, seconds),
        };
        true
    }

    /// When the certificate is to be believed, if that includes `at`.
    fn judge(&self, leaf: &Certificate<'_>, at: u64) -> Result<RangeInclusive<u64>, Refusal> {
        let anchor = TrustAnchor::from_name_and_key(&self.name, self.p256.clone());
        // The dates come below, with those of the CA.
        leaf.verify(&anchor, leaf.not_before())?;
        let start = leaf.not_before().max(*self.valid.start());
        let end = leaf.not_after().min(*self.valid.end());
        if at < start {
            return Err(Refusal::NotYetValid);
        }
        if at > end {
            return Err(Refusal::Expired);
        }
        match &self.revocations {
            Revocations::NotAskedFor => Ok(start..=end),
            Revocations::Missing => Err(Refusal::RevocationList),
            Revocations::List { serials, .. } if serials.contains(leaf.serial()) => {
                Err(Refusal::Revoked)
            }
            Revocations::List { valid, .. } if valid.contains(&at) => {
                Ok(start.max(*valid.start())..=end.min(*valid.end()))
            }
            Revocations::List { .. } => Err(Refusal::RevocationListDate),
        }
    }
}

/// A certificate's text, and whom it stands for.
type Known = (Vec<u8>, Arc<Sender>);

/// What certificates are remembered by: a piece of their signatures, which no two have in common.
/// To hash all of the text would cost more than to compare it.
type Mark = [u8; 64];

fn mark(text: &[u8]) -> Option<Mark> {
    let start = text.len().checked_sub(MARK_FROM_END)?;
    text.get(start..)?.first_chunk().copied()
}

/// Before the end of the text comes the line that ends the PEM block, in base64 in a message.
const MARK_FROM_END: usize = 160;

/// What AWS-LC does not say more of.
#[cfg(feature = "x509")]
const DAMAGED: der::ErrorKind = der::ErrorKind::Failed;

fn window(validity: &Validity) -> RangeInclusive<u64> {
    seconds(validity.not_before)..=seconds(validity.not_after)
}

fn seconds(time: Time) -> u64 {
    time.to_unix_duration().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{KeyKind, ca::Ca};

    #[test]
    fn a_certificate_is_remembered_once_in_whatever_form_it_comes() {
        const NOW: u64 = 1_800_000_000;
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::init(dir.path(), "CA", KeyKind::P256, 10, NOW).unwrap();
        ca.issue("one", None, None, NOW).unwrap();
        let trust = Trust::load(&dir.path().join("ca.crt"), None).unwrap();
        let pem = std::fs::read_to_string(dir.path().join("one.crt")).unwrap();
        let remembered = || trust.remembered.read().unwrap().len();
        for pem in [
            format!("x\n{pem}"),
            format!("{pem}\n"),
            pem.replace('\n', "\r\n"),
        ] {
            assert!(trust.sender(pem.as_bytes(), p256::BACKEND, NOW).is_ok());
            assert_eq!(remembered(), 0);
        }
        assert!(trust.sender(pem.as_bytes(), p256::BACKEND, 0).is_err());
        assert_eq!(remembered(), 0);
        for _ in 0..2 {
            assert!(trust.sender(pem.as_bytes(), p256::BACKEND, NOW).is_ok());
            // As PEM text, and as it stands in a message.
            assert_eq!(remembered(), 2);
        }
        assert!(trust.sender(pem.as_bytes(), X509, NOW).is_err());

        // A full memory takes a new one in place of another.
        let sender = trust.sender(pem.as_bytes(), p256::BACKEND, NOW).unwrap();
        trust.remembered.write().unwrap().clear();
        for i in 0..2 * MAX_REMEMBERED {
            let mut text = vec![0; 200];
            text[50..58].copy_from_slice(&i.to_be_bytes());
            trust.remember(text, &sender);
        }
        assert!(trust.sender(pem.as_bytes(), p256::BACKEND, NOW).is_ok());
        assert_eq!(remembered(), 2 * MAX_REMEMBERED);
        assert!(
            trust
                .remembered(pem.as_bytes(), p256::BACKEND, NOW)
                .is_some()
        );
    }
}
