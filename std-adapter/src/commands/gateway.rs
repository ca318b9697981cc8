//! `fedmsg gateway`: everything that is on the bus, for the world outside.

use std::process::ExitCode;

use super::{
    EXIT_CODES, Name, Outcome,
    service::{SIGNALS, configure, nothing_to_reload, serve},
};
use crate::{config::Options, daemon::Gateway};

/// Take what is published on all endpoints and hand it on, as it is, on one port
///
/// Connects to every endpoint, and binds fedmsg.consumers.gateway.port on every address of this
/// machine. What is no message is refused, counted and logged.
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
    let running = Gateway::from_config(&config)?.start()?;
    serve(running, &config, nothing_to_reload)
}
