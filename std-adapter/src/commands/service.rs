//! What `relay`, `signing-relay` and `gateway` share.

use std::{error::Error, process::ExitCode};

use super::{Name, Outcome, logging};
use crate::{
    config::{Config, Options},
    daemon::{self, Monitoring, Running},
};

/// Reads the configuration and starts the log; `None` if it was only to be printed.
pub(super) fn configure(options: &Options, name: Name) -> Result<Option<Config>, Box<dyn Error>> {
    let config = super::configure(options, &[], name)?;
    config.as_ref().map(logging::start).transpose()?;
    Ok(config)
}

/// Runs a daemon until a signal ends it.
pub(super) fn serve(running: Running, config: &Config, reload: impl FnMut()) -> Outcome {
    let monitoring = Monitoring::from_config(config)?;
    daemon::serve(running, monitoring.as_ref(), reload)?;
    Ok(ExitCode::SUCCESS)
}

/// What a daemon does at a SIGHUP that has nothing to reload.
pub(super) fn nothing_to_reload() {
    log::info!("nothing to reload: endpoints and limits need a restart");
}

/// For the commands' help.
pub(super) const SIGNALS: &str = "SIGINT and SIGTERM: takes no more, sends what is there (for at \
most zmq_linger) and ends with 0; a second one ends at once.";
