//! `fedmsg bridge`: from a device on a serial line to the bus.

use std::{path::PathBuf, process::ExitCode};

use super::{
    EXIT_CODES, Name, Outcome,
    attach::Attach,
    service::{SIGNALS, configure, nothing_to_reload, serve},
};
use crate::{bus::Settings, config::Options, daemon::Bridge};

/// Hand on what a device without a network publishes over its serial line, and tell it the time
///
/// One bridge serves one port. A device that is unplugged is waited for. What is no message is
/// refused, counted and logged.
#[derive(clap::Args)]
#[command(
    after_help = format!("{SIGNALS}\n{EXIT_CODES}"),
    mut_arg("endpoint", |arg| arg.required_unless_present("print_config"))
)]
pub(super) struct Args {
    /// The serial port, or any terminal: /dev/ttyUSB0
    #[arg(long, value_name = "PATH", required_unless_present = "print_config")]
    serial: Option<PathBuf>,
    /// Bits a second
    #[arg(long, value_name = "N", default_value_t = 115_200)]
    baud: u32,
    #[command(flatten)]
    endpoint: Attach,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args, name: Name) -> Outcome {
    let Some(config) = configure(&args.options, name)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let bridge = Bridge {
        // It is required.
        serial: args.serial.clone().unwrap_or_default(),
        baud: args.baud,
        outbound: args.endpoint.endpoint().clone(),
        bind: args.endpoint.bind(),
        transport: Settings::from_config(&config)?.transport,
    };
    let running = bridge.start()?;
    if let Some(bound) = running.outbound().first() {
        args.endpoint.tell(name, bound);
    }
    serve(running, &config, nothing_to_reload)
}
