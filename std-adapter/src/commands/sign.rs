//! `fedmsg sign`: a message with its signature.

use std::path::PathBuf;

use super::{
    EXIT_CODES, Outcome, exit_code,
    texts::{Failure, LIMIT, Texts},
};
use crate::crypto::{FileSigner, Scratch};

/// Sign messages: JSON objects in, canonical JSON with crypto, certificate and signature out
///
/// The key decides how: EC P-256 signs x509-p256, RSA signs x509 (the legacy wire). Credentials
/// that the message had before are replaced.
#[derive(clap::Args)]
#[command(after_help = format!("{LIMIT}\n{EXIT_CODES}"))]
pub(super) struct Args {
    /// The folder with the sender's key and certificate
    #[arg(long, value_name = "DIR")]
    ssldir: PathBuf,
    /// The sender: its files are NAME.key and NAME.crt
    #[arg(long, value_name = "NAME")]
    certname: String,
    #[command(flatten)]
    texts: Texts,
}

pub(super) fn run(args: &Args) -> Outcome {
    let signer = FileSigner::load(&args.ssldir, &args.certname)?;
    let mut scratch = Scratch::default();
    let all_signed = args.texts.answer(|text, out| {
        let signed = scratch.sign(text, &signer).map_err(Failure::refused)?;
        Ok(out.write_all(signed)?)
    })?;
    Ok(exit_code(all_signed))
}
