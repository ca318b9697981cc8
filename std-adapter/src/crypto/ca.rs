//! A small certificate authority in a folder: `ca.crt`, `ca.key`, `crl.pem`, and `NAME.crt` and
//! `NAME.key` for every sender.
//!
//! Certificates are X.509 v3 (RFC 5280) with basicConstraints, keyUsage and both key identifiers,
//! signed with SHA-256; the sender's name is the subject's only attribute, its CN. The revocation
//! list is the CA's only state: a CRL v2 that names every revoked serial number and is valid as
//! long as the CA's certificate, because it is handed out as a file beside `ca.crt`, and one that
//! ran out would silence the whole bus.
//!
//! Keys are PKCS#8, readable by their owner only, and never overwritten. Every file appears whole
//! or not at all. A file `….new` is one in the making and keeps a second process away.
//!
//! ```
//! use fedmsg::crypto::{KeyKind, ca::Ca};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path();
//! # let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
//! let ca = Ca::init(dir, "Example CA", KeyKind::P256, Ca::DAYS, now)?;
//! ca.issue("sensor-7", None, None, now)?;
//! ca.revoke("sensor-7", now)?;
//! # Ok(())
//! # }
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use der::{
    Any, DateTime, Decode, Encode, EncodePem, Tag,
    asn1::{BitString, OctetString, SetOfVec},
    oid::AssociatedOid,
    pem::LineEnding,
    referenced::OwnedToRef,
};
use x509_cert::{
    Certificate, SubjectPublicKeyInfo, TbsCertificate,
    attr::AttributeTypeAndValue,
    builder::{self, Builder, CertificateBuilder, CrlBuilder, profile::BuilderProfile},
    certificate::Rfc5280,
    crl::RevokedCert,
    der,
    ext::{
        Extension, ToExtension,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, CrlNumber, KeyUsage, KeyUsages,
            SubjectKeyIdentifier,
        },
    },
    name::{Name, RdnSequence, RelativeDistinguishedName},
    serial_number::SerialNumber,
    spki::SubjectPublicKeyInfoRef,
    time::{Time, Validity},
};

use super::{
    Error, KeyKind,
    files::{self, Draft},
    key::PrivateKey,
    x509::{COMMON_NAME, CertList, Signed},
};

/// A certificate authority in its folder.
pub struct Ca {
    dir: PathBuf,
    certificate: Certificate,
    key: PrivateKey,
}

impl Ca {
    /// The lifetime of a CA where none is asked for, in days.
    pub const DAYS: u32 = 3650;
    /// The longest lifetime of a sender's certificate where none is asked for, in days.
    pub const ISSUED_DAYS: u32 = 730;
    /// The longest lifetime that can be asked for, in days.
    pub const MAX_DAYS: u32 = 36500;

    /// Makes a new CA in `dir` (made as well if missing), valid from an hour before `now` (seconds
    /// since the epoch; other machines' clocks may be behind) for `days`.
    ///
    /// # Errors
    /// [`Error::Exists`] where `ca.crt`, `ca.key` or `crl.pem` is there already; [`Error::Days`],
    /// [`Error::CommonName`], [`Error::Io`].
    pub fn init(
        dir: &Path,
        common_name: &str,
        kind: KeyKind,
        days: u32,
        now: u64,
    ) -> Result<Self, Error> {
        let length = common_name.chars().count();
        if !(1..=MAX_NAME).contains(&length) || common_name.chars().any(char::is_control) {
            return Err(Error::CommonName {
                name: common_name.to_owned(),
            });
        }
        let validity = validity(days, now)?;
        fs::create_dir_all(dir).map_err(|source| Error::Io {
            doing: "make the folder",
            path: dir.to_owned(),
            source,
        })?;
        let mut key_file = Draft::create(dir.join("ca.key"), PRIVATE)?;
        let mut certificate_file = Draft::create(dir.join("ca.crt"), PUBLIC)?;
        let mut crl_file = Draft::create(dir.join("crl.pem"), PUBLIC)?;

        let key = PrivateKey::generate(kind)?;
        let subject = name(common_name).map_err(|_| Error::Signing)?;
        let profile = Profile {
            issuer: subject.clone(),
            issuer_key_id: None,
            subject,
            ca: true,
        };
        let certificate = certificate(profile, validity, key.public_key().clone(), &key)?;
        let ca = Self {
            dir: dir.to_owned(),
            certificate,
            key,
        };

        key_file.write(&ca.key.to_pem()?)?;
        certificate_file.write(&to_pem(&ca.certificate)?)?;
        crl_file.write(&ca.revocation_list(Vec::new(), 1, now)?)?;
        key_file.publish()?;
        certificate_file.publish()?;
        crl_file.publish()?;
        Ok(ca)
    }

    /// Opens the CA in `dir`: its `ca.crt` and `ca.key`.
    ///
    /// # Errors
    /// What is wrong with one of the files; [`Error::KeyMismatch`], [`Error::NotCa`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("ca.crt");
        let certificate = files::read_certificate(&path)?;
        let key = PrivateKey::read(&dir.join("ca.key"))?;
        if key.public_key() != certificate.tbs_certificate().subject_public_key_info() {
            return Err(Error::KeyMismatch {
                key: dir.join("ca.key"),
                certificate: path,
            });
        }
        match certificate
            .tbs_certificate()
            .get_extension::<BasicConstraints>()
        {
            Ok(Some((_, BasicConstraints { ca: true, .. }))) => {}
            _ => return Err(Error::NotCa { path }),
        }
        Ok(Self {
            dir: dir.to_owned(),
            certificate,
            key,
        })
    }

    /// Makes `NAME.key` and `NAME.crt`: a key and a certificate that may sign messages as `name`.
    ///
    /// Without a `kind` the key is of the CA's kind. RSA senders can be had from a P-256 CA;
    /// a P-256 sender of an RSA CA would be refused by the `x509-p256` backend, so there is none.
    /// Without `days` it is [`ISSUED_DAYS`](Self::ISSUED_DAYS), or as long as the CA lives.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Exists`], [`Error::Days`], [`Error::OutlivesCa`],
    /// [`Error::CaKind`], [`Error::Io`].
    pub fn issue(
        &self,
        name: &str,
        kind: Option<KeyKind>,
        days: Option<u32>,
        now: u64,
    ) -> Result<(), Error> {
        check_name(name)?;
        let kind = kind.unwrap_or_else(|| self.key.kind());
        if kind == KeyKind::P256 && self.key.kind() != KeyKind::P256 {
            return Err(Error::CaKind);
        }
        let tbs = self.certificate.tbs_certificate();
        let end = tbs.validity().not_after;
        let mut lifetime = validity(days.unwrap_or(Self::ISSUED_DAYS), now)?;
        if lifetime.not_after.to_unix_duration() > end.to_unix_duration() {
            let left = end.to_unix_duration().as_secs().saturating_sub(now) / DAY;
            if days.is_some() || left == 0 {
                return Err(Error::OutlivesCa { left });
            }
            lifetime.not_after = end;
        }

        let subject = self::name(name).map_err(|_| Error::Signing)?;
        if subject == *tbs.subject() {
            // It would look self-signed.
            return Err(Error::Name {
                name: name.to_owned(),
            });
        }
        let mut key_file = Draft::create(self.dir.join(format!("{name}.key")), PRIVATE)?;
        let mut certificate_file = Draft::create(self.dir.join(format!("{name}.crt")), PUBLIC)?;
        let key = PrivateKey::generate(kind)?;
        let profile = Profile {
            issuer: tbs.subject().clone(),
            issuer_key_id: tbs
                .get_extension::<SubjectKeyIdentifier>()
                .ok()
                .flatten()
                .map(|(_, SubjectKeyIdentifier(id))| id),
            subject,
            ca: false,
        };
        let certificate = certificate(profile, lifetime, key.public_key().clone(), &self.key)?;
        key_file.write(&key.to_pem()?)?;
        certificate_file.write(&to_pem(&certificate)?)?;
        key_file.publish()?;
        certificate_file.publish()
    }

    /// Puts the certificate in `NAME.crt` on the revocation list, from `now` on.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::AlreadyRevoked`]; [`Error::Foreign`] if the certificate or
    /// `crl.pem` is not this CA's; what is wrong with one of the files.
    pub fn revoke(&self, name: &str, now: u64) -> Result<(), Error> {
        check_name(name)?;
        let path = self.dir.join(format!("{name}.crt"));
        let crl_path = self.dir.join("crl.pem");
        // Before the list is read, so that of two processes neither loses the other's entry.
        let mut crl_file = Draft::replace(crl_path.clone(), PUBLIC)?;

        let certificate = files::read_certificate(&path)?;
        self.check_issued(&certificate.to_der().map_err(|_| Error::Signing)?, &path)?;
        let serial_number = certificate.tbs_certificate().serial_number().clone();

        let crl = files::read_first(&crl_path, files::CRL)?;
        let body = self.check_issued(&crl, &crl_path)?;
        let list = CertList::from_der(body).map_err(|source| Error::Malformed {
            path: crl_path,
            label: files::CRL,
            source,
        })?;
        let mut revoked = list.revoked.unwrap_or_default();
        if revoked
            .iter()
            .any(|entry| entry.serial_number == serial_number)
        {
            return Err(Error::AlreadyRevoked { path });
        }
        revoked.push(RevokedCert {
            serial_number,
            revocation_date: time(now)?,
            crl_entry_extensions: None,
        });
        let number = list
            .extensions
            .iter()
            .flatten()
            .find(|extension| extension.extn_id == CrlNumber::OID)
            .and_then(|extension| u64::from_der(extension.extn_value.as_bytes()).ok())
            .map_or(1, |number| number.saturating_add(1));
        crl_file.write(&self.revocation_list(revoked, number, now)?)?;
        crl_file.publish()
    }

    /// The signed part of a certificate or revocation list of this CA.
    fn check_issued<'d>(&self, der: &'d [u8], path: &Path) -> Result<&'d [u8], Error> {
        let issuer = self.certificate.tbs_certificate().subject_public_key_info();
        Signed::parse(der)
            .ok()
            .filter(|signed| signed.is_signed_by(issuer.owned_to_ref()))
            .map(|signed| signed.body)
            .ok_or_else(|| Error::Foreign {
                path: path.to_owned(),
            })
    }

    fn revocation_list(
        &self,
        revoked: Vec<RevokedCert>,
        number: u64,
        now: u64,
    ) -> Result<String, Error> {
        let number = CrlNumber::try_from(number).map_err(|_| Error::Signing)?;
        let from = time(now.saturating_sub(SKEW))?;
        let end = self.certificate.tbs_certificate().validity().not_after;
        let mut builder =
            CrlBuilder::<Rfc5280>::new_with_this_update(&self.certificate, number, from)
                .map_err(|_| Error::Signing)?
                .with_next_update(Some(end));
        // An empty list is left out, not written as empty (RFC 5280, 5.1.2.6).
        if !revoked.is_empty() {
            builder = builder.with_certificates(revoked.into_iter());
        }
        to_pem(&sign(builder, &self.key)?)
    }
}

/// What certificates of a CA say about their keys.
struct Profile {
    issuer: Name,
    /// The key identifier of the CA's own certificate, if that has one: a CA made by other means
    /// need not have derived it from the key as we do.
    issuer_key_id: Option<OctetString>,
    subject: Name,
    ca: bool,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        subject_key: SubjectPublicKeyInfoRef<'_>,
        issuer_key: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let constraints = BasicConstraints {
            ca: self.ca,
            path_len_constraint: self.ca.then_some(0),
        };
        let usage = KeyUsage(if self.ca {
            KeyUsages::KeyCertSign | KeyUsages::CRLSign
        } else {
            KeyUsages::DigitalSignature.into()
        });
        let mut authority = AuthorityKeyIdentifier::try_from(issuer_key)?;
        if let Some(id) = &self.issuer_key_id {
            authority.key_identifier = Some(id.clone());
        }
        let subject = tbs.subject();
        Ok(vec![
            constraints.to_extension(subject, &[])?,
            usage.to_extension(subject, &[])?,
            SubjectKeyIdentifier::try_from(subject_key)?.to_extension(subject, &[])?,
            authority.to_extension(subject, &[])?,
        ])
    }
}

fn certificate(
    profile: Profile,
    validity: Validity,
    key: SubjectPublicKeyInfo,
    issuer: &PrivateKey,
) -> Result<Certificate, Error> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|_| Error::Signing)?;
    let serial = SerialNumber::new(&serial).map_err(|_| Error::Signing)?;
    let builder =
        CertificateBuilder::new(profile, serial, validity, key).map_err(|_| Error::Signing)?;
    sign(builder, issuer)
}

fn sign<B: Builder>(mut builder: B, key: &PrivateKey) -> Result<B::Output, Error> {
    let body = builder.finalize(key).map_err(|_| Error::Signing)?;
    let signature = key.sign_certificate(&body).ok_or(Error::Signing)?;
    let signature = BitString::from_bytes(&signature).map_err(|_| Error::Signing)?;
    builder.assemble(signature, key).map_err(|_| Error::Signing)
}

fn to_pem(document: &impl EncodePem) -> Result<String, Error> {
    document.to_pem(LineEnding::LF).map_err(|_| Error::Signing)
}

fn name(common_name: &str) -> der::Result<Name> {
    let attribute = AttributeTypeAndValue {
        oid: COMMON_NAME,
        value: Any::new(Tag::Utf8String, common_name.as_bytes())?,
    };
    let rdn = RelativeDistinguishedName::from(SetOfVec::try_from(vec![attribute])?);
    Name::from_der(&RdnSequence::from(vec![rdn]).to_der()?)
}

/// A sender's name is its files' name too.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let fits = name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._@+-".contains(c))
        && !name.eq_ignore_ascii_case("ca");
    if fits {
        Ok(())
    } else {
        Err(Error::Name {
            name: name.to_owned(),
        })
    }
}

fn validity(days: u32, now: u64) -> Result<Validity, Error> {
    let error = Error::Days {
        days,
        limit: Ca::MAX_DAYS,
    };
    if !(1..=Ca::MAX_DAYS).contains(&days) {
        return Err(error);
    }
    Ok(Validity::new(
        time(now.saturating_sub(SKEW))?,
        time(now.saturating_add(u64::from(days) * DAY))?,
    ))
}

fn time(seconds: u64) -> Result<Time, Error> {
    DateTime::from_unix_duration(Duration::from_secs(seconds))
        .map(Time::from)
        .map_err(|_| Error::Clock { seconds })
}

/// Characters of a common name: `ub-common-name` of RFC 5280.
const MAX_NAME: usize = 64;
const DAY: u64 = 24 * 60 * 60;
/// How far in the past a validity begins, in seconds.
const SKEW: u64 = 60 * 60;
pub(super) const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;
