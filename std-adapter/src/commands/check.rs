//! `fedmsg check`: what a daemon's consumers and producers are doing.
//!
//! Source: the peer's `fedmsg-check`, for every text, and moksha's monitoring socket: messages of one
//! frame, JSON.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use serde_json::Value;

use super::{EXIT_CODES, Outcome};
use crate::{
    bus::connectable,
    config::Loader,
    encoding::pretty_dumps,
    transport::{Endpoint, Options, Subscriber as _, Transport as _, native::Native},
};

/// Show the status of a daemon's consumers and producers
///
/// It is the next that the daemon tells on moksha.monitoring.socket. Without --consumer and
/// --producer: all of them.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    /// How long to wait for it
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u32,
    /// The name of a consumer that must be there; may be given several times
    #[arg(long, short, value_name = "NAME")]
    consumer: Vec<String>,
    /// The name of a producer that must be there; may be given several times
    #[arg(long, short, value_name = "NAME")]
    producer: Vec<String>,
    /// Read this configuration, and none of the usual places
    #[arg(long, value_name = "FILE")]
    config_filename: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let failed = |why: &str| {
        writeln!(io::stderr(), "Error: {why}")?;
        Ok(ExitCode::FAILURE)
    };
    let loader = Loader {
        files: args.config_filename.clone().into_iter().collect(),
        ..Loader::default()
    };
    let config = loader.load()?;
    let Some(endpoint) = config.get(SOCKET).and_then(Value::as_str) else {
        return failed(&format!(
            "No monitoring endpoint has been configured: please set \"{SOCKET}\""
        ));
    };
    let Some(status) = next(endpoint, Duration::from_secs(args.timeout.into()))? else {
        return failed(&format!(
            "Failed to receive message from the monitoring endpoint ({endpoint}) in {} seconds.",
            args.timeout
        ));
    };
    let mut out = io::stdout().lock();
    if args.consumer.is_empty() && args.producer.is_empty() {
        writeln!(
            out,
            "No consumers or producers specified so all will be shown."
        )?;
    } else {
        let (mut missing, mut uninitialized) = (false, false);
        for (kind, wanted) in [("consumers", &args.consumer), ("producers", &args.producer)] {
            let present = status.get(kind).and_then(Value::as_array);
            for name in wanted {
                // Of several with one name the peer takes the last.
                let present = present.into_iter().flatten().rev();
                let mut found = present.filter(|one| one.get("name") == Some(&name[..].into()));
                match found.next() {
                    None => {
                        writeln!(io::stderr(), "\"{name}\" is not active!")?;
                        missing = true;
                    }
                    Some(one) if one.get("initialized") != Some(&Value::Bool(true)) => {
                        writeln!(io::stderr(), "\"{name}\" is not initialized!")?;
                        uninitialized = true;
                    }
                    Some(_) => {}
                }
            }
        }
        if missing {
            return failed("Some consumers and/or producers are missing!");
        }
        if uninitialized {
            return failed("Some consumers and/or producers are uninitialized!");
        }
        writeln!(out, "All consumers and producers are active!")?;
    }
    writeln!(out, "{}", pretty_dumps(&status)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The next status that is told, if one is in time.
fn next(endpoint: &str, timeout: Duration) -> Result<Option<Value>, Box<dyn std::error::Error>> {
    let wrong = |what: &dyn std::fmt::Display| format!("{SOCKET}: {what}");
    let parsed: Endpoint = endpoint.parse().map_err(|error| wrong(&error))?;
    let mut socket = Native.subscriber(&Options::default())?;
    socket.subscribe(b"")?;
    socket.connect(&connectable(&parsed))?;
    let Some(message) = socket.recv(timeout)? else {
        return Ok(None);
    };
    let text = message.frames.frames().next().unwrap_or_default();
    let mut status: Value = serde_json::from_slice(text)
        .map_err(|error| wrong(&format_args!("what {endpoint} tells is no status: {error}")))?;
    status.sort_all_objects();
    Ok(Some(status))
}

const SOCKET: &str = "moksha.monitoring.socket";
