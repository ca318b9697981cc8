//! `fedmsg trigger`: run a command whenever certain messages arrive.
//!
//! Source for its options: the peer's `fedmsg.commands.trigger`, which puts the message into the
//! command line. Here it goes to the command's standard input and nowhere else.

use std::{
    io::Write as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use clap::builder::NonEmptyStringValueParser;
use fedmsg_core::json::HOST_DEPTH;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::{
    EXIT_CODES, Name, Outcome, attach::seconds, configure, filter::Filter, listener, log_line,
    queue::Queue, tell, tell_refused,
};
use crate::{
    bus::{Context, Message, Refused, Settings, TailOptions},
    config::{Logging, Options},
    crypto::Scratch,
};

/// Run a command whenever certain messages arrive
///
/// The message, canonical JSON and a newline, is the command's standard input. Commands run one
/// after the other. SIGINT or SIGTERM ends it once the command has run for all messages that came; a
/// second one at once.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES, infer_long_args = true)]
pub(super) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// The command line, for bash or, where there is none, sh
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    command: String,
    /// Run the command, for all messages, once none has come for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    wait_for: f64,
    /// With more messages than this, do not wait; 0: always wait
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_queue_size: usize,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args, name: Name) -> Outcome {
    let Some(config) = configure(&args.options, &[], name)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let log = Logging::from_config(&config)?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let mut tail = Context::new(Settings {
        refused: Refused::HandOn,
        ..listener(&config, name)?
    })?
    .tail(TailOptions {
        topics: args.filter.topic.clone(),
        ..TailOptions::default()
    })?;
    let queue = Arc::new(Queue::new(
        Duration::from_secs_f64(args.wait_for),
        args.max_queue_size,
    ));
    let runner = thread::spawn({
        let (queue, command) = (Arc::clone(&queue), args.command.clone());
        move || queue.run(|message| run_command(&command, message, &log, name))
    });

    let mut scratch = Scratch::default();
    let mut next = None;
    let mut told = None;
    while signals.pending().next().is_none() {
        if let (waiting, Some(since)) = queue.status()
            && since.elapsed() > LONG
            && told != Some(since)
        {
            let seconds = LONG.as_secs();
            tell(
                name,
                format_args!(
                    "the command has been running for {seconds} s; {waiting} messages wait"
                ),
            );
            told = Some(since);
        }
        next = match next {
            Some(message) => queue.push(message, TURN).err(),
            None => tail
                .recv_with(Some(TURN), |message| {
                    wanted(&args.filter, &message, &mut scratch, name)
                })?
                .flatten(),
        };
    }
    drop(tail);
    queue.end(next);
    while !runner.is_finished() {
        if signals.pending().next().is_some() {
            let (waiting, running) = queue.status();
            let running = running.map_or("", |_| ", and still runs for one");
            return Err(format!("the command was not run for {waiting} messages{running}").into());
        }
        thread::sleep(TURN);
    }
    Ok(ExitCode::SUCCESS)
}

/// What the command is to read for a message, if it is to run.
fn wanted(
    filter: &Filter,
    message: &Message<'_>,
    scratch: &mut Scratch,
    name: Name,
) -> Option<Vec<u8>> {
    let text = match filter.wants(&message.topic) {
        Ok(false) => return None,
        Ok(true) if message.is_refused() => Err(message.verdict.to_string()),
        Ok(true) => scratch
            .canonicalize(&message.body, HOST_DEPTH)
            .map_err(|error| error.to_string()),
        Err(reason) => Err(reason),
    };
    match text {
        Ok(text) => Some([text, b"\n"].concat()),
        Err(reason) => {
            tell_refused(name, message, &reason);
            None
        }
    }
}

/// Runs the command for a message, and waits for its end.
fn run_command(command: &str, message: Vec<u8>, log: &Logging, name: Name) {
    let shell = ["/bin/bash", "/bin/sh"]
        .into_iter()
        .find(|shell| Path::new(shell).exists());
    let spawned = Command::new(shell.unwrap_or("sh"))
        .args(["-c", command])
        .stdin(Stdio::piped())
        // A terminal's ^C is for this program, which lets the command finish.
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return tell(name, format_args!("the command was not run: {error}")),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // It need not read it, or leave it to a process that lives on: then this thread waits, and
        // nobody for it.
        let writer = thread::Builder::new().spawn(move || stdin.write_all(&message));
        if let Err(error) = writer {
            tell(
                name,
                format_args!("the command was not given its message: {error}"),
            );
        }
    }
    let code = match child.wait() {
        Ok(status) => status.code().or(status.signal().map(|signal| -signal)),
        Err(error) => {
            return tell(
                name,
                format_args!("the command's end was not seen: {error}"),
            );
        }
    };
    if let Some(code) = code.filter(|code| *code != 0) {
        // Nobody is left to tell if this fails.
        let _ = log_line(log, &format!("Command returned error code {code}"));
    }
}

/// How long to wait for a message before looking for signals.
const TURN: Duration = Duration::from_millis(100);
/// After this time it is told that a command runs.
const LONG: Duration = Duration::from_secs(60);
