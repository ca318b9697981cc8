use std::{fmt, io, path::PathBuf, time::Duration};

use crate::config;

/// Why GnuPG cannot sign or verify.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The configuration's keys `gpg_home`, `gpg_signing_key`, `gpg_keys` cannot be read.
    Config(config::Error),
    /// The configuration names no key to sign with.
    NoKey {
        /// This host's name, for `gpg_keys`.
        host: String,
    },
    /// A program of GnuPG's does not run.
    Program {
        /// Which: `gpg`, `gpgconf`.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The home folder cannot be read.
    Home {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No answer in time: most often, somebody is waited for who should type a passphrase.
    TimedOut {
        /// The program that was waited for.
        program: String,
        /// How long.
        limit: Duration,
    },
    /// No key by this name, or several and none of them to be used.
    UnknownKey {
        /// The key, as it was asked for.
        key: String,
        /// The home folder.
        home: PathBuf,
    },
    /// The public key is there, the private key is not.
    NoSecretKey {
        /// The key, as it was asked for.
        key: String,
        /// The home folder.
        home: PathBuf,
    },
    /// The key may not sign: it has expired, or is revoked, disabled or for something else.
    Unusable {
        /// The key, as it was asked for.
        key: String,
    },
    /// The key is locked, and gpg-agent has no pinentry to ask for its passphrase.
    Locked {
        /// The key, as it was asked for.
        key: String,
    },
    /// Whoever was asked for the passphrase or to put in a card refused, or typed a wrong one.
    Cancelled {
        /// The key, as it was asked for.
        key: String,
    },
    /// Something else.
    Failed {
        /// What was tried: `sign`, `list the keys`.
        doing: &'static str,
        /// A code of libgpg-error, if there is one; the program `gpg-error` explains it.
        code: Option<u32>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(source) => source.fmt(f),
            Self::NoKey { host } => write!(
                f,
                "no GnuPG key to sign with: set gpg_signing_key, or gpg_keys for host {host:?}"
            ),
            Self::Program { program, source } => write!(
                f,
                "cannot run {program}: {source}: install GnuPG 2 (Debian: apt install gnupg)"
            ),
            Self::Home { path, source } => write!(
                f,
                "cannot read the GnuPG home {}: {source}: set gpg_home, or make it with gpg --homedir",
                path.display()
            ),
            Self::TimedOut { program, limit } => write!(
                f,
                "no answer from {program} in {} s: is gpg-agent waiting for a passphrase? Unlock the \
                 key first, or take one without",
                limit.as_secs_f32()
            ),
            Self::UnknownKey { key, home } => write!(
                f,
                "no key {key:?} in the GnuPG home {}: gpg --list-keys shows those there are",
                home.display()
            ),
            Self::NoSecretKey { key, home } => write!(
                f,
                "the private key of {key:?} is not in the GnuPG home {}: gpg --import it, or put in \
                 its card",
                home.display()
            ),
            Self::Unusable { key } => write!(
                f,
                "the GnuPG key {key:?} may not sign: it has expired, or is revoked, disabled or not \
                 for signing"
            ),
            Self::Locked { key } => write!(
                f,
                "the GnuPG key {key:?} is locked, and gpg-agent has no pinentry to ask for its \
                 passphrase: install one, unlock the key first, or take one without passphrase"
            ),
            Self::Cancelled { key } => write!(
                f,
                "the GnuPG key {key:?} was not unlocked: cancelled, or a wrong passphrase or PIN"
            ),
            Self::Failed { doing, code } => {
                write!(f, "gpg failed to {doing}")?;
                if let Some(code) = code {
                    write!(f, " (libgpg-error's code {code})")?;
                }
                f.write_str(": run it by hand to see why")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(source) => Some(source),
            Self::Program { source, .. } | Self::Home { source, .. } => Some(source),
            _ => None,
        }
    }
}
