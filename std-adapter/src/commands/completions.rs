//! `fedmsg completions`: what a shell needs to complete command lines.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{EXIT_CODES, Outcome, Program};

/// Write what a shell needs to complete the command lines of fedmsg and its other names
///
/// Bash: `source <(fedmsg completions bash)`. Zsh: the same, after compinit. Fish:
/// `fedmsg completions fish | source`.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    for command in Program::command().get_subcommands_mut() {
        let name = command.get_name().to_owned();
        clap_complete::generate(args.shell, command, name, &mut script);
    }
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
