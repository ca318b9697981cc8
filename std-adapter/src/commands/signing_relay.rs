//! `fedmsg signing-relay`: a relay that validates what is signed, and signs everything.

use std::{error::Error, process::ExitCode};

use super::{
    EXIT_CODES, Name, Outcome,
    service::{SIGNALS, configure, serve},
};
use crate::{
    config::Options,
    daemon::{Keys, SigningRelay},
};

/// Take messages on `relay_inbound` and hand them on, signed anew, on `relay_outbound`
///
/// What comes signed is validated, by `crypto_validate_backends` and the routing policy; what is not
/// to be believed is refused, counted and logged. What goes out is signed by `crypto_backend` with
/// the entry `signing_relay` of certnames.
#[derive(clap::Args)]
#[command(after_help = format!("{SIGNALS} SIGHUP: reads policy, backends and certname anew.\n{EXIT_CODES}"))]
pub(super) struct Args {
    /// Refuse what is not signed
    #[arg(long)]
    signed_only: bool,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args, name: Name) -> Outcome {
    let Some(config) = configure(&args.options, name)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let relay = SigningRelay {
        signed_only: args.signed_only,
        ..SigningRelay::from_config(&config)?
    };
    let reload = || -> Result<(), Box<dyn Error>> {
        let keys = Keys::from_config(&args.options.load()?)?;
        relay.keys.replace(keys);
        Ok(())
    };
    serve(relay.start()?, &config, || match reload() {
        Ok(()) => log::info!("reloaded"),
        Err(error) => log::error!("not reloaded, all stays as it was: {error}"),
    })
}
