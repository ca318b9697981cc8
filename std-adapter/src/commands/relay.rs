//! `fedmsg relay`: from publishers that connect to subscribers that connect.

use std::process::ExitCode;

use super::{
    EXIT_CODES, Name, Outcome,
    service::{SIGNALS, configure, nothing_to_reload, serve},
};
use crate::{config::Options, daemon::Relay};

/// Take messages on `relay_inbound` and hand them on, as they are, on `relay_outbound`
///
/// Binds every endpoint of `relay_inbound` that is this machine's, and the first free one of the
/// entry `relay_outbound` of endpoints. What is no message is refused, counted and logged.
#[derive(clap::Args)]
#[command(after_help = format!("{SIGNALS}\n{EXIT_CODES}"))]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args, name: Name) -> Outcome {
    let Some(config) = configure(&args.options, name)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let running = Relay::from_config(&config)?.start()?;
    serve(running, &config, nothing_to_reload)
}
