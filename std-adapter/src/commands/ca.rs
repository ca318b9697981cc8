//! `fedmsg ca`: make a CA, issue and revoke certificates.

use std::{
    io::{self, Write as _},
    net::SocketAddrV4,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Subcommand, value_parser};

use super::{EXIT_CODES, Outcome, now};
use crate::crypto::{DeviceSettings, KeyKind, ca::Ca};
use fedmsg_core::provision::{Bus, NOWHERE};

/// Make a certificate authority, issue and revoke certificates
///
/// A CA is a folder: ca.crt (hand it to all who validate), ca.key (keep it secret), crl.pem (the
/// revoked certificates; hand it out with ca.crt), and NAME.crt and NAME.key for every sender
/// (hand them to that sender).
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a new CA in DIR: ca.crt, ca.key and an empty crl.pem
    Init {
        /// The CA's folder; made if it is not there
        dir: PathBuf,
        /// The CA's name (common name)
        #[arg(long, value_name = "CN", default_value = "fedmsg CA")]
        name: String,
        /// An RSA-2048 key, for the legacy wire (x509), in place of P-256 (x509-p256)
        #[arg(long)]
        rsa: bool,
        /// How many days the CA is valid
        #[arg(long, value_name = "N", default_value_t = Ca::DAYS, value_parser = days())]
        days: u32,
    },
    /// Make NAME.key and NAME.crt, a sender's key and certificate, in DIR
    Issue {
        /// The CA's folder
        dir: PathBuf,
        /// The sender's name: letters, digits and . _ @ + -
        name: String,
        /// An RSA-2048 key, for the legacy wire (x509); without it the key is of the CA's kind
        #[arg(long)]
        rsa: bool,
        /// How many days the certificate is valid [default: 730, or as long as the CA]
        #[arg(long, value_name = "N", value_parser = days())]
        days: Option<u32>,
        #[command(flatten)]
        device: Device,
    },
    /// Put the certificate in NAME.crt on the revocation list, crl.pem
    Revoke {
        /// The CA's folder
        dir: PathBuf,
        /// The sender's name
        name: String,
    },
}

/// What a device's flash is to hold.
#[derive(clap::Args)]
struct Device {
    /// Make NAME.device as well: what targets/mps2/run puts into a device's flash
    #[arg(long, conflicts_with = "rsa", requires_all = ["topic", "clock"])]
    device: bool,
    /// What the device's topics begin with, such as org.example.dev.lab
    #[arg(long, requires = "device")]
    topic: Option<String>,
    /// Whom the device asks for the time (SNTP; the port is mostly 123)
    #[arg(long, value_name = "IP:PORT", requires = "device", group = "clock")]
    time_server: Option<SocketAddrV4>,
    /// A device without a network: `fedmsg bridge` is at the other end of its serial line, and tells
    /// the time
    #[arg(long, requires = "device", group = "clock", conflicts_with_all = ["relay", "port"])]
    serial: bool,
    /// The relay that the device connects to; without it, it listens
    #[arg(long, value_name = "IP:PORT", requires = "device")]
    relay: Option<SocketAddrV4>,
    /// The port on which the device listens
    #[arg(
        long,
        value_name = "N",
        requires = "device",
        conflicts_with = "relay",
        default_value_t = 9940
    )]
    port: u16,
    /// Milliseconds between the device's readings
    #[arg(long, value_name = "MS", requires = "device", default_value_t = 10_000)]
    period: u32,
    /// The device's Ethernet address [default: a random one]
    #[arg(long, value_name = "HEX:…", requires = "device", value_parser = mac)]
    mac: Option<[u8; 6]>,
}

impl Device {
    fn settings(&self) -> Option<DeviceSettings> {
        let (true, Some(topic)) = (self.device, &self.topic) else {
            return None;
        };
        Some(DeviceSettings {
            topic: topic.clone(),
            bus: match self.relay {
                _ if self.serial => Bus::Serial,
                Some(relay) => Bus::Connect(relay),
                None => Bus::Listen(self.port),
            },
            // There is one, unless the bridge tells.
            time_server: self.time_server.unwrap_or(NOWHERE),
            period_ms: self.period,
            mac: self.mac,
        })
    }
}

impl Args {
    pub(super) fn name(&self) -> &'static str {
        match self.action {
            Action::Init { .. } => "ca init",
            Action::Issue { .. } => "ca issue",
            Action::Revoke { .. } => "ca revoke",
        }
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let now = now()?;
    let written = match &args.action {
        Action::Init {
            dir,
            name,
            rsa,
            days,
        } => {
            Ca::init(dir, name, kind(*rsa).unwrap_or(KeyKind::P256), *days, now)?;
            ["ca.crt", "ca.key", "crl.pem"]
                .map(|file| dir.join(file))
                .to_vec()
        }
        Action::Issue {
            dir,
            name,
            rsa,
            days,
            device,
        } => {
            let mut endings = vec!["crt", "key"];
            if let Some(settings) = device.settings() {
                settings.issue(dir, name, *days, now)?;
                endings.push("device");
            } else {
                Ca::open(dir)?.issue(name, kind(*rsa), *days, now)?;
            }
            let files = endings.iter().map(|ending| file(dir, name, ending));
            files.collect()
        }
        Action::Revoke { dir, name } => {
            Ca::open(dir)?.revoke(name, now)?;
            vec![dir.join("crl.pem")]
        }
    };
    let mut out = io::stdout().lock();
    for path in written {
        writeln!(out, "{}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn kind(rsa: bool) -> Option<KeyKind> {
    rsa.then_some(KeyKind::Rsa2048)
}

fn file(dir: &Path, name: &str, ending: &str) -> PathBuf {
    dir.join(format!("{name}.{ending}"))
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "six bytes are needed, such as 02:00:00:00:00:01".to_owned())
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..=i64::from(Ca::MAX_DAYS))
}
