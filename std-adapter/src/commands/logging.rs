//! Log lines as the configuration's `logging` wants them.

use std::{
    error::Error,
    io::{self, Write as _},
    time::SystemTime,
};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config::{Config, Logging, Stream};

/// Writes what this program logs, from now on, as the configuration says.
pub(super) fn start(config: &Config) -> Result<(), Box<dyn Error>> {
    let lines = Lines(Logging::from_config(config)?);
    log::set_boxed_logger(Box::new(lines))?;
    log::set_max_level(LevelFilter::Debug);
    Ok(())
}

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
