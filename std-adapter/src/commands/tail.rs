//! `fedmsg tail`: show messages as they arrive.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use fedmsg_core::json::HOST_DEPTH;

use super::{EXIT_CODES, Outcome, attach};
use crate::{
    bus::{Context, Refused, Settings, TailOptions, Verdict},
    crypto::{Scratch, Trust},
};

/// Show messages as they arrive
///
/// One line a message: who signed it (with --ca), its topic, and the message as canonical JSON.
/// With --ca, what is not to be believed goes to standard error, with the reason.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(flatten)]
    endpoint: attach::Attach,
    /// Only topics that begin so; may be given several times
    #[arg(long, value_name = "PREFIX")]
    topic: Vec<String>,
    /// Validate by the CA certificates in this file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The CA's revocation list
    #[arg(long, value_name = "FILE", requires = "ca")]
    crl: Option<PathBuf>,
    /// The message's JSON alone, one line each
    #[arg(long)]
    json: bool,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End with an error when no message has come for so long
    #[arg(long, value_name = "SECONDS", value_parser = attach::seconds)]
    timeout: Option<f64>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut settings = Settings {
        refused: Refused::HandOn,
        ..args.endpoint.settings("tail")?
    };
    if let Some(ca) = &args.ca {
        settings.validator = Some(Arc::new(Trust::load(ca, args.crl.as_deref())?));
    }
    let mut tail = Context::new(settings)?.tail(TailOptions {
        topics: args.topic.clone(),
        passive: args.endpoint.bind(),
        ..TailOptions::default()
    })?;
    for source in tail.sources() {
        args.endpoint.tell(&source.endpoint);
    }

    let mut scratch = Scratch::default();
    let mut out = io::stdout().lock();
    let mut shown = 0;
    let timeout = args.timeout.map(Duration::from_secs_f64);
    while args.count.is_none_or(|count| shown < count) {
        let Some(message) = tail.recv(timeout)? else {
            let seconds = args.timeout.unwrap_or_default();
            return Err(format!("no message on {} for {seconds} s", args.endpoint).into());
        };
        let topic = message.topic.escape_debug();
        // Canonical text has no control characters that a terminal could take for orders.
        let text = match &message.verdict {
            Verdict::Valid { .. } => Ok(&*message.body),
            Verdict::Unchecked => scratch
                .canonicalize(&message.body, HOST_DEPTH)
                .map_err(|error| error.to_string()),
            refused => Err(refused.to_string()),
        };
        let text = text.map(String::from_utf8_lossy);
        match (text, &message.verdict) {
            (Err(reason), _) => {
                writeln!(io::stderr(), "fedmsg tail: refused {topic}: {reason}")?;
                continue;
            }
            (Ok(text), _) if args.json => writeln!(out, "{text}")?,
            (Ok(text), Verdict::Valid { signer }) => {
                writeln!(out, "{} {topic} {text}", signer.escape_debug())?;
            }
            (Ok(text), _) => writeln!(out, "{topic} {text}")?,
        }
        shown += 1;
    }
    Ok(ExitCode::SUCCESS)
}
