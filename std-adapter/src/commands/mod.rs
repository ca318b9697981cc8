//! The `fedmsg` program's commands, one file each: arguments in, exit code out.
//!
//! Every command ends with 0 (done; all accepted), 1 (something was refused or failed) or 2 (the
//! command line is wrong). An error is one line on stderr: which command, what is wrong, what to
//! do. A reader of the output that goes away (`| head`) ends a command quietly with 0.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::bus::now;

mod attach;
mod ca;
mod canonicalize;
mod config;
mod demo;
mod publish;
mod sign;
mod tail;
mod texts;
mod verify;

/// What a command gives back: its exit code, or the error for stderr (exit code 1).
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Runs the program's command line.
#[must_use]
pub fn main() -> ExitCode {
    let (name, outcome) = match Cli::parse().command {
        Command::Ca(args) => (args.name(), ca::run(&args)),
        Command::Canonicalize(args) => ("canonicalize", canonicalize::run(&args)),
        Command::Config(args) => ("config", config::run(&args)),
        Command::Demo(args) => ("demo", demo::run(&args)),
        Command::Publish(args) => ("publish", publish::run(&args)),
        Command::Sign(args) => ("sign", sign::run(&args)),
        Command::Tail(args) => ("tail", tail::run(&args)),
        Command::Verify(args) => ("verify", verify::run(&args)),
    };
    match outcome {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "fedmsg {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The federated message bus: small signed JSON messages over ZeroMQ.
#[derive(Parser)]
#[command(name = "fedmsg", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Ca(ca::Args),
    Canonicalize(canonicalize::Args),
    Config(config::Args),
    Demo(demo::Args),
    Publish(publish::Args),
    Sign(sign::Args),
    Tail(tail::Args),
    Verify(verify::Args),
}

fn exit_code(all_accepted: bool) -> ExitCode {
    if all_accepted {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 something was refused or failed, 2 wrong command line";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
