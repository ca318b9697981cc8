//! The options that every fedmsg command has.
//!
//! Source: the peer's `fedmsg.config.build_parser`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use serde_json::{Map, Value};

use super::{Config, Error, Loader};

/// The options that every fedmsg command has, for a program's own parser. They win over the files.
///
/// ```
/// use clap::Parser;
///
/// #[derive(Parser)]
/// struct Cli {
///     #[command(flatten)]
///     fedmsg: fedmsg::config::Options,
///     // and its own
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let file = dir.path().join("fedmsg.toml");
/// # std::fs::write(&file, "timeout = 5\n")?;
/// # let file = file.to_str().unwrap();
/// let cli = Cli::parse_from(["program", "--topic-prefix", "org.example", "--config-filename", file]);
/// let config = cli.fedmsg.load()?;
/// assert_eq!(config.get("topic_prefix").unwrap(), "org.example");
/// assert_eq!(config.get("timeout").unwrap(), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub struct Options {
    /// How many threads move messages in and out
    #[arg(long, value_name = "N")]
    pub io_threads: Option<u32>,
    /// The first part of every topic that is sent
    #[arg(long, value_name = "PREFIX", value_parser = NonEmptyStringValueParser::new())]
    pub topic_prefix: Option<String>,
    /// How long to wait after the start, so that others can connect
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub post_init_sleep: Option<f64>,
    /// Read this configuration file, and none of the usual ones
    #[arg(long, value_name = "FILE")]
    pub config_filename: Option<PathBuf>,
    /// Print the configuration and do nothing
    #[arg(long)]
    pub print_config: bool,
    /// How long an operation may wait
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<f64>,
    /// How many messages may wait for a subscriber; 0: as many as memory's own limit allows
    #[arg(long, value_name = "N")]
    pub high_water_mark: Option<u32>,
    /// How long closing waits for messages that are not yet sent
    #[arg(long, value_name = "MILLISECONDS")]
    pub linger: Option<u32>,
}

impl Options {
    /// Reads the configuration, with what the options say.
    ///
    /// `print_config` is for the program to heed.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn load(&self) -> Result<Config, Error> {
        self.loader().load()
    }

    /// The loader that [`load`](Self::load) uses, for a program to add to: what its own options say
    /// goes into [`Loader::overrides`].
    #[must_use]
    pub fn loader(&self) -> Loader {
        let said: [(&str, Option<Value>); 6] = [
            ("io_threads", self.io_threads.map(Value::from)),
            ("topic_prefix", self.topic_prefix.clone().map(Value::from)),
            ("post_init_sleep", self.post_init_sleep.map(Value::from)),
            ("timeout", self.timeout.map(Value::from)),
            ("high_water_mark", self.high_water_mark.map(Value::from)),
            ("zmq_linger", self.linger.map(Value::from)),
        ];
        let said = said.into_iter();
        let overrides = said.filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Loader {
            files: self.config_filename.clone().into_iter().collect(),
            overrides: overrides.collect::<Map<_, _>>(),
            ..Loader::default()
        }
    }
}

/// Checked here, for the error to name the option.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=f64::from(u32::MAX)).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds from 0 to 4294967295".into()),
    }
}
