//! `fedmsg man`: manual pages.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::{Cli, EXIT_CODES, Outcome};

/// Write the manual pages into a folder: fedmsg.1, and fedmsg-COMMAND.1 for each command
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    /// The folder; made if it is not there
    dir: PathBuf,
}

pub(super) fn run(args: &Args) -> Outcome {
    fs::create_dir_all(&args.dir).map_err(|error| format!("{}: {error}", args.dir.display()))?;
    let mut fedmsg = Cli::command().disable_help_subcommand(true);
    fedmsg.build();
    let mut out = io::stdout().lock();
    for command in with_subcommands(&fedmsg) {
        let page = Man::new(command);
        let path = args.dir.join(page.get_filename());
        page.generate_to(&args.dir)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn with_subcommands(command: &clap::Command) -> Vec<clap::Command> {
    let below = command.get_subcommands().flat_map(with_subcommands);
    [command.clone()].into_iter().chain(below).collect()
}
