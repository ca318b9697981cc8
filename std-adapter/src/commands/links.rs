//! `fedmsg links`: the names that the peer's programs have.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::symlink,
    path::PathBuf,
    process::ExitCode,
};

use super::{EXIT_CODES, Outcome, names};

/// Make links to this program in a folder: fedmsg-logger, fedmsg-tail and so on
///
/// Under such a name it is that command, with the options and the output that Python's fedmsg has.
/// What has one of these names and is something else is left alone: nothing is made then.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    /// The folder
    dir: PathBuf,
}

pub(super) fn run(args: &Args) -> Outcome {
    let program = env::current_exe().and_then(fs::canonicalize)?;
    let dir =
        fs::canonicalize(&args.dir).map_err(|error| format!("{}: {error}", args.dir.display()))?;
    // Within a folder that may be moved as a whole.
    let target = match program.strip_prefix(&dir) {
        Ok(name) => name,
        Err(_) => &program,
    };
    let mut missing = Vec::new();
    for name in names().iter().filter(|name| name.starts_with("fedmsg-")) {
        let link = dir.join(name);
        match fs::symlink_metadata(&link) {
            Ok(_) if fs::canonicalize(&link).is_ok_and(|found| found == program) => {}
            Ok(_) => {
                let link = link.display();
                return Err(format!("{link} is something else: move it away first").into());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(link),
            Err(error) => return Err(format!("{}: {error}", link.display()).into()),
        }
    }
    let mut out = io::stdout().lock();
    for link in missing {
        symlink(target, &link).map_err(|error| format!("{}: {error}", link.display()))?;
        writeln!(out, "{}", link.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
