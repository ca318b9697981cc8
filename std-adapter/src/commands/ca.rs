//! `fedmsg ca`: make a CA, issue and revoke certificates.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Subcommand, value_parser};

use super::{EXIT_CODES, Outcome, now};
use crate::crypto::{KeyKind, ca::Ca};

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
    },
    /// Put the certificate in NAME.crt on the revocation list, crl.pem
    Revoke {
        /// The CA's folder
        dir: PathBuf,
        /// The sender's name
        name: String,
    },
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
        } => {
            Ca::open(dir)?.issue(name, kind(*rsa), *days, now)?;
            ["crt", "key"]
                .map(|ending| file(dir, name, ending))
                .to_vec()
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

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..=i64::from(Ca::MAX_DAYS))
}
