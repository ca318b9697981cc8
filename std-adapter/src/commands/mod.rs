//! The `fedmsg` program's commands, one file each: arguments in, exit code out.
//!
//! Every command ends with 0 (done; all accepted), 1 (something was refused or failed) or 2 (the
//! command line is wrong). An error is one line on stderr: which command, what is wrong, what to
//! do. A reader of the output that goes away (`| head`) ends a command quietly with 0.
//!
//! The program has other names too, those of the peer's programs (`fedmsg-tail`): under such a one
//! it is that command. `docs/commands.md` tells what each does.

use std::{
    env,
    error::Error,
    ffi::OsString,
    fmt,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::SystemTime,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use log::Level;
use serde_json::Value;

use crate::{
    bus::{self, Message, Settings, now},
    config::{Config, Logging, Options, Stream},
    encoding::pretty_dumps,
};

mod announce;
mod attach;
mod bridge;
mod ca;
mod canonicalize;
mod check;
mod completions;
mod config;
mod demo;
mod filter;
mod gateway;
mod links;
mod logger;
mod logging;
mod man;
mod outlet;
mod publish;
mod queue;
mod relay;
mod service;
mod sign;
mod signing_relay;
mod tail;
mod texts;
mod trigger;
mod verify;

/// What a command gives back: its exit code, or the error for stderr (exit code 1).
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Runs the program's command line.
#[must_use]
pub fn main() -> ExitCode {
    let (called, command) = match Program::parse_from(arguments(env::args_os())) {
        Program::Fedmsg(cli) => ("fedmsg ", cli.command),
        Program::Announce(args) => ("fedmsg-", Command::Announce(args)),
        Program::Check(args) => ("fedmsg-", Command::Check(args)),
        Program::Config(args) => ("fedmsg-", Command::Config(args)),
        Program::Gateway(args) => ("fedmsg-", Command::Gateway(args)),
        Program::Logger(args) => ("fedmsg-", Command::Logger(args)),
        Program::Relay(args) => ("fedmsg-", Command::Relay(args)),
        Program::SigningRelay(args) => ("fedmsg-", Command::SigningRelay(args)),
        Program::Tail(args) => ("fedmsg-", Command::Tail(args)),
        Program::Trigger(args) => ("fedmsg-", Command::Trigger(args)),
    };
    let name = |command| Name { called, command };
    let (name, outcome) = match command {
        Command::Announce(args) => with(name("announce"), |name| announce::run(&args, name)),
        Command::Bridge(args) => with(name("bridge"), |name| bridge::run(&args, name)),
        Command::Ca(args) => with(name(args.name()), |_| ca::run(&args)),
        Command::Canonicalize(args) => with(name("canonicalize"), |_| canonicalize::run(&args)),
        Command::Check(args) => with(name("check"), |_| check::run(&args)),
        Command::Completions(args) => with(name("completions"), |_| completions::run(&args)),
        Command::Config(args) => with(name("config"), |_| config::run(&args)),
        Command::Demo(args) => with(name("demo"), |_| demo::run(&args)),
        Command::Gateway(args) => with(name("gateway"), |name| gateway::run(&args, name)),
        Command::Links(args) => with(name("links"), |_| links::run(&args)),
        Command::Logger(args) => with(name("logger"), |name| logger::run(&args, name)),
        Command::Man(args) => with(name("man"), |_| man::run(&args)),
        Command::Publish(args) => with(name("publish"), |name| publish::run(&args, name)),
        Command::Relay(args) => with(name("relay"), |name| relay::run(&args, name)),
        Command::Sign(args) => with(name("sign"), |_| sign::run(&args)),
        Command::SigningRelay(args) => with(name("signing-relay"), |name| {
            signing_relay::run(&args, name)
        }),
        Command::Tail(args) => with(name("tail"), |name| tail::run(&args, name)),
        Command::Trigger(args) => with(name("trigger"), |name| trigger::run(&args, name)),
        Command::Verify(args) => with(name("verify"), |_| verify::run(&args)),
    };
    match outcome {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            tell(name, error);
            ExitCode::FAILURE
        }
    }
}

/// The program by its names.
#[derive(Parser)]
#[command(multicall = true)]
enum Program {
    Fedmsg(Cli),
    #[command(name = "fedmsg-announce")]
    Announce(announce::Args),
    #[command(name = "fedmsg-check")]
    Check(check::Args),
    #[command(name = "fedmsg-config")]
    Config(config::Args),
    #[command(name = "fedmsg-gateway")]
    Gateway(gateway::Args),
    #[command(name = "fedmsg-logger")]
    Logger(logger::Args),
    #[command(name = "fedmsg-relay")]
    Relay(relay::Args),
    #[command(name = "fedmsg-signing-relay")]
    SigningRelay(signing_relay::Args),
    #[command(name = "fedmsg-tail")]
    Tail(tail::Args),
    #[command(name = "fedmsg-trigger")]
    Trigger(trigger::Args),
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
    Announce(announce::Args),
    Bridge(bridge::Args),
    Ca(ca::Args),
    Canonicalize(canonicalize::Args),
    Check(check::Args),
    Completions(completions::Args),
    Config(config::Args),
    Demo(demo::Args),
    Gateway(gateway::Args),
    Links(links::Args),
    Logger(logger::Args),
    Man(man::Args),
    Publish(publish::Args),
    Relay(relay::Args),
    Sign(sign::Args),
    SigningRelay(signing_relay::Args),
    Tail(tail::Args),
    Trigger(trigger::Args),
    Verify(verify::Args),
}

/// The arguments, with the program's own name where it was called by another.
fn arguments(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.collect();
    let called = arguments
        .first()
        .and_then(|name| Path::new(name).file_stem());
    if !called.is_some_and(|called| names().iter().any(|name| called == name.as_str())) {
        arguments.splice(..arguments.len().min(1), [OsString::from("fedmsg")]);
    }
    arguments
}

/// The names that the program knows itself by.
fn names() -> Vec<String> {
    let program = Program::command();
    let names = program
        .get_subcommands()
        .map(|name| name.get_name().to_owned());
    names.collect()
}

/// What a command is called, for what it tells: `fedmsg tail`, or `fedmsg-tail`.
#[derive(Clone, Copy)]
struct Name {
    called: &'static str,
    command: &'static str,
}

impl Name {
    /// Whether it was called as the peer's program of that name.
    fn is_peers(self) -> bool {
        self.called == "fedmsg-"
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.called)?;
        f.write_str(self.command)
    }
}

fn with(name: Name, run: impl FnOnce(Name) -> Outcome) -> (Name, Outcome) {
    (name, run(name))
}

/// Tells something on standard error.
fn tell(name: Name, what: impl fmt::Display) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "{name}: {what}");
}

/// Tells that a message is not used, and why.
fn tell_refused(name: Name, message: &Message<'_>, reason: &str) {
    tell(
        name,
        format_args!("refused {}: {reason}", message.topic.escape_debug()),
    );
}

/// Reads the configuration, with what the command line says, and tells what may be wrong with it.
/// `None`: it was to be printed, and was.
fn configure(
    options: &Options,
    overrides: &[(&str, Value)],
    name: Name,
) -> Result<Option<Config>, Box<dyn Error>> {
    let mut loader = options.loader();
    for (key, value) in overrides {
        loader.overrides.insert((*key).to_owned(), value.clone());
    }
    let config = loader.load()?;
    for warning in config.warnings() {
        tell(name, format_args!("warning: {warning}"));
    }
    if options.print_config {
        writeln!(io::stdout(), "{}", pretty_dumps(config.values())?)?;
        return Ok(None);
    }
    Ok(Some(config))
}

/// The settings of a context that only listens.
fn listener(config: &Config, name: Name) -> Result<Settings, bus::Error> {
    let mut settings = Settings {
        name: None,
        active: false,
        mute: true,
        ..Settings::from_config(config)?
    };
    settings.transport.monitor = Some(attach::monitor(name));
    logging::tell_warnings(name);
    Ok(settings)
}

/// Writes a line of the log, of the logger that the peer's commands have.
fn log_line(log: &Logging, text: &str) -> io::Result<()> {
    if !log.wants(Level::Info) {
        return Ok(());
    }
    let line = log.format("fedmsg.commands", Level::Info, text, SystemTime::now());
    match log.stream() {
        Stream::Stdout => writeln!(io::stdout(), "{line}"),
        Stream::Stderr => writeln!(io::stderr(), "{line}"),
    }
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

    #[test]
    fn the_command_line_is_consistent() {
        Program::command().debug_assert();
    }

    #[test]
    fn the_program_is_known_by_the_end_of_its_path() {
        for (called, name) in [
            ("/usr/bin/fedmsg-tail", "fedmsg-tail"),
            ("fedmsg", "fedmsg"),
            ("./a.out", "fedmsg"),
            ("", "fedmsg"),
        ] {
            let arguments = arguments([called, "x"].map(OsString::from).into_iter());
            let last = Path::new(&arguments[0]).file_name().unwrap();
            assert_eq!(
                (last.to_str(), arguments.len()),
                (Some(name), 2),
                "{called}"
            );
        }
        assert_eq!(arguments([].into_iter()), ["fedmsg"]);
    }
}
