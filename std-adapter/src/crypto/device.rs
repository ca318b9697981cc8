//! What a device is provisioned with: its key and certificate, a seed, where to find the others, as
//! one file for its flash. The format is the core's: [`fedmsg_core::provision`].

use std::{
    net::SocketAddrV4,
    path::{Path, PathBuf},
};

use der::zeroize::Zeroizing;
use fedmsg_core::{
    crypto::Signer as _,
    provision::{Bus, Identity, Provision},
};

use super::{
    Error, FileSigner, KeyKind,
    ca::{Ca, PRIVATE},
    files::Draft,
    key::PrivateKey,
};

/// What a device needs to know besides its key and certificate.
#[derive(Clone, Debug)]
pub struct DeviceSettings {
    /// What its topics begin with: `org.example.dev.lab`. At most 64 printable characters.
    pub topic: String,
    /// How it meets its subscribers.
    pub bus: Bus,
    /// Whom it asks for the time (SNTP); [`NOWHERE`](fedmsg_core::provision::NOWHERE) with
    /// [`Bus::Serial`].
    pub time_server: SocketAddrV4,
    /// Milliseconds between its readings.
    pub period_ms: u32,
    /// Its Ethernet address; without one it gets a random one of those that anybody may use.
    pub mac: Option<[u8; 6]>,
}

impl DeviceSettings {
    /// Issues a certificate as [`Ca::issue`] of the CA in `dir` does, with a P-256 key, and writes
    /// `NAME.device` besides, which holds both, a new seed and these settings; its path.
    ///
    /// # Errors
    /// [`Error::Device`] for settings that a device cannot work with; those of [`Ca::open`] and
    /// [`Ca::issue`].
    pub fn issue(
        &self,
        dir: &Path,
        name: &str,
        days: Option<u32>,
        now: u64,
    ) -> Result<PathBuf, Error> {
        let mut random = Zeroizing::new([0; 32 + 6]);
        getrandom::fill(&mut *random).map_err(|_| Error::Signing)?;
        let (seed, mac) = random.split_first_chunk().ok_or(Error::Signing)?;
        let mut mac = self.mac.or(mac.first_chunk().copied()).unwrap_or_default();
        if let (None, Some(first)) = (self.mac, mac.first_mut()) {
            // Locally administered, one station's.
            *first = *first & !1 | 2;
        }
        let mut provision = Provision {
            identity: None,
            seed,
            mac,
            time_server: self.time_server,
            bus: self.bus,
            period_ms: self.period_ms,
            topic: &self.topic,
        };
        let mut blob = Zeroizing::new([0; MAX_BLOB]);
        let mut write = |provision: &Provision<'_>| {
            let len = provision.write(&mut *blob).map_err(Error::Device)?;
            Ok::<_, Error>(Zeroizing::new(blob.get(..len).unwrap_or_default().to_vec()))
        };
        // Before anything is made for settings that are wrong.
        write(&provision)?;

        let path = dir.join(format!("{name}.device"));
        let mut file = Draft::create(path.clone(), PRIVATE)?;
        Ca::open(dir)?.issue(name, Some(KeyKind::P256), days, now)?;
        let signer = FileSigner::load(dir, name)?;
        let key = PrivateKey::read(&dir.join(format!("{name}.key")))?;
        // It was made as one just now.
        let key = key.p256().ok_or(Error::Signing)?;
        let key = Zeroizing::new(<[u8; 32]>::from(key.to_bytes()));
        provision.identity = Some(Identity {
            key: &key,
            certificate_field: signer.certificate_field(),
        });
        file.write(write(&provision)?)?;
        file.publish()?;
        Ok(path)
    }
}

/// A device's flash has so many bytes for it.
const MAX_BLOB: usize = 4096;
