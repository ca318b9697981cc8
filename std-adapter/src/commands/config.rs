//! `fedmsg config`: show, check or convert the configuration.
//!
//! Source for what it prints: the peer's `fedmsg-config`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use serde_json::Value;

use super::{EXIT_CODES, Outcome, exit_code};
use crate::{
    bus::Settings,
    config::{Config, Loader, Logging, Origin},
    crypto::Validator,
    encoding::{Tree, dumps, pretty_dumps, python},
};

/// Show, check or convert the configuration
///
/// Without options: all of it, as JSON. Files come from /etc/fedmsg.d (or what `FEDMSG_CONFIG`
/// names), ~/.fedmsg.d and ./fedmsg.d: TOML (*.toml), and Python with a `config` dict (*.py).
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    /// Read this file, and none of the usual ones
    #[arg(long, value_name = "FILE")]
    config_filename: Option<PathBuf>,
    /// Leave fedmsg's own defaults out
    #[arg(long)]
    disable_defaults: bool,
    /// Show this key, such as environment or endpoints.bodhi.app01: text as it is, a list line by
    /// line, anything else as JSON
    #[arg(long, value_name = "KEY")]
    query: Option<String>,
    /// Show who set what, a line for each key
    #[arg(long)]
    origin: bool,
    /// Show everything that is wrong with the files, and what may be
    #[arg(long, conflicts_with_all = ["origin", "query"])]
    check: bool,
    /// Write what the files say as one TOML file
    #[arg(long, conflicts_with_all = ["origin", "query", "check"])]
    to_toml: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut loader = Loader {
        files: args.config_filename.clone().into_iter().collect(),
        defaults: !args.disable_defaults,
        ..Loader::default()
    };
    let mut out = io::stdout().lock();
    if args.check {
        let (config, errors) = loader.check();
        let mut errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let mut warnings: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
        if errors.is_empty() {
            use_it(&config, &mut errors, &mut warnings);
        }
        for error in &errors {
            writeln!(out, "error: {error}")?;
        }
        for warning in &warnings {
            writeln!(out, "warning: {warning}")?;
        }
        return Ok(exit_code(errors.is_empty()));
    }
    if args.to_toml {
        // Not what the name service says today.
        loader.srv_limit = Duration::ZERO;
        out.write_all(loader.load()?.to_toml().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }

    let config = loader.load()?;
    let query = args.query.as_deref().filter(|query| !query.is_empty());
    // Who asks for one key has no use for what may be wrong with others.
    for warning in config.warnings().iter().filter(|_| query.is_none()) {
        // Nobody is left to tell if this fails.
        let _ = writeln!(io::stderr(), "fedmsg config: warning: {warning}");
    }
    let found = query.map(|query| config.query(query));
    if let (Some(query), None | Some(None | Some(Value::Null))) = (query, found) {
        writeln!(io::stderr(), "Key `{query}` does not exist in config")?;
        return Ok(ExitCode::FAILURE);
    }
    if args.origin {
        origins(&mut out, &config, query)?;
        return Ok(ExitCode::SUCCESS);
    }
    match found.flatten() {
        None => writeln!(out, "{}", pretty_dumps(config.values())?)?,
        Some(Value::String(text)) => writeln!(out, "{text}")?,
        Some(Value::Array(list)) => {
            for element in list {
                let text = dumps(element)?;
                writeln!(out, "{}", python::str(&Tree::read(text.as_bytes())?))?;
            }
        }
        Some(other) => writeln!(out, "{}", pretty_dumps(other)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Tries what programs make of the configuration.
fn use_it(config: &Config, errors: &mut Vec<String>, warnings: &mut Vec<String>) {
    errors.extend(Logging::from_config(config).err().map(|e| e.to_string()));
    errors.extend(Settings::from_config(config).err().map(|e| e.to_string()));
    if config
        .origins()
        .all(|(_, origin)| *origin == Origin::Default)
    {
        let nowhere = "no file says anything: looked in /etc/fedmsg.d (or what FEDMSG_CONFIG names), \
                       ~/.fedmsg.d and ./fedmsg.d";
        warnings.push(nowhere.to_owned());
    } else if config.get("validate_signatures") == Some(&Value::Bool(true)) {
        // A host that only publishes needs no CA.
        let failed = Validator::from_config(config).err();
        warnings.extend(failed.map(|error| format!("no message could be validated: {error}")));
    }
}

fn origins(out: &mut impl io::Write, config: &Config, query: Option<&str>) -> io::Result<()> {
    for (place, origin) in config.origins() {
        let place = place.join(".");
        let rest = query.map(|query| place.strip_prefix(query));
        if rest.is_none_or(|rest| rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        {
            writeln!(out, "{place}: {origin}")?;
        }
    }
    Ok(())
}
