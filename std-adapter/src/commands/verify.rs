//! `fedmsg verify`: who signed a message, or why it is not to be believed.

use std::{path::PathBuf, str::FromStr as _};

use der::DateTime;

use super::{
    EXIT_CODES, Outcome, exit_code, now,
    texts::{Failure, LIMIT, Texts},
};
use crate::crypto::{Scratch, Trust};

/// Verify signed messages: the signer's name (the certificate's CN), or "error: " and the reason
///
/// Messages signed by x509-p256 and by x509 (the legacy wire) are verified. Whether the signer may
/// send on the message's topic is not looked at.
#[derive(clap::Args)]
#[command(after_help = format!("{LIMIT}\n{EXIT_CODES}"))]
pub(super) struct Args {
    /// The CA's certificate, or several, in PEM
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The CA's revocation list; each CA needs one then
    #[arg(long, value_name = "FILE")]
    crl: Option<PathBuf>,
    /// The time at which certificates must be valid, in place of now: 2026-11-23T12:00:00Z, or
    /// seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<u64>,
    #[command(flatten)]
    texts: Texts,
}

pub(super) fn run(args: &Args) -> Outcome {
    let trust = Trust::load(&args.ca, args.crl.as_deref())?;
    let (p256, x509) = (trust.p256(), trust.x509());
    let mut scratch = Scratch::default();
    let mut all_valid = true;
    let all_read = args.texts.answer(|text, out| {
        let at = args.at.map_or_else(now, Ok).map_err(Failure::refused)?;
        match scratch.validate(None, text, &[&p256, &x509], at) {
            // Whatever a CA signs: one line.
            Ok(valid) => write!(out, "{}", valid.signer.replace(char::is_control, "?"))?,
            Err(reason) => {
                all_valid = false;
                write!(out, "error: {reason}")?;
            }
        }
        Ok(())
    })?;
    Ok(exit_code(all_read && all_valid))
}

fn time(text: &str) -> Result<u64, String> {
    text.parse()
        .or_else(|_| DateTime::from_str(text).map(|time| time.unix_duration().as_secs()))
        .map_err(|_| "neither like 2026-11-23T12:00:00Z nor seconds since 1970".to_owned())
}
