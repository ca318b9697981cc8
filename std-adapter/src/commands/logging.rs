//! Log lines as the configuration's `logging` wants them.

use std::{
    error::Error,
    io::{self, Write as _},
    time::SystemTime,
};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::{Name, tell};
use crate::config::{Config, Logging, Stream};

/// Writes what this program logs, from now on, as the configuration says.
pub(super) fn start(config: &Config) -> Result<(), Box<dyn Error>> {
    let lines = Lines(Logging::from_config(config)?);
    log::set_boxed_logger(Box::new(lines))?;
    log::set_max_level(LevelFilter::Debug);
    Ok(())
}

/// Tells on standard error, from now on, what the library warns of: a key that everybody can read, a
/// revocation list that cannot be read any more.
pub(super) fn tell_warnings(name: Name) {
    // There may be a logger already, which then has them.
    if log::set_boxed_logger(Box::new(Warnings(name))).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

struct Warnings(Name);

impl Log for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // A refused message is told of by the command, with its topic.
        let target = metadata.target();
        metadata.level() <= Level::Warn && target.starts_with("fedmsg") && target != REFUSALS
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            tell(self.0, format_args!("warning: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

const REFUSALS: &str = "fedmsg::crypto::refusals";

struct Lines(Logging);

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Of what others in this program log, what goes wrong matters.
        let own = metadata.target().starts_with("fedmsg");
        self.0.wants(metadata.level()) && (own || metadata.level() <= Level::Warn)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let name = record.target().replace("::", ".");
        let message = record.args().to_string();
        let now = SystemTime::now();
        let line = self.0.format(&name, record.level(), &message, now) + "\n";
        // Nobody is left to tell if this fails.
        let _ = match self.0.stream() {
            Stream::Stdout => io::stdout().write_all(line.as_bytes()),
            Stream::Stderr => io::stderr().write_all(line.as_bytes()),
        };
    }

    fn flush(&self) {
        let _ = match self.0.stream() {
            Stream::Stdout => io::stdout().flush(),
            Stream::Stderr => io::stderr().flush(),
        };
    }
}
