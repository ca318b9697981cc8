//! What a site's logging configuration means for what the commands print.
//!
//! Source: Python's `logging.config` (the dictionary) and `logging.Formatter` (the line).

use std::{fmt::Write as _, process, time::SystemTime};

use chrono::{DateTime, Local, format::StrftimeItems};
use log::{Level, LevelFilter};
use serde_json::Value;

use super::{Config, Error, dotted};

/// How the commands' log lines look and where they go, as `logging` in the configuration says for
/// the logger `fedmsg` and its first handler that writes to a stream.
///
/// ```
/// use fedmsg::config::{Config, Logging, Stream};
/// use log::Level;
///
/// let logging = Logging::from_config(&Config::default())?;
/// assert_eq!(logging.stream(), Stream::Stdout);
/// assert!(logging.wants(Level::Info) && !logging.wants(Level::Debug));
/// let line = logging.format("fedmsg.commands", Level::Info, "hello", std::time::SystemTime::now());
/// // [2026-11-25 07:10:05][fedmsg.commands    INFO] hello
/// assert_eq!(&line[21..], "[fedmsg.commands    INFO] hello");
/// # Ok::<(), fedmsg::config::Error>(())
/// ```
///
/// Other attributes than `asctime`, `name`, `levelname`, `message` and `process` have no meaning
/// here (they are about a line of Python) and are written as `-`.
#[derive(Clone, Debug)]
pub struct Logging {
    level: LevelFilter,
    stream: Stream,
    line: Vec<Piece>,
    /// `None`: as Python writes times by default, with milliseconds.
    datefmt: Option<String>,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Logging {
    /// Takes what a configuration says. What it leaves open is as in Python: warnings and worse, bare,
    /// on standard error.
    ///
    /// # Errors
    /// [`Error::Type`] for a level, a format or a date format that there is not.
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        let at = |place: &[&str]| {
            let mut value = config.get("logging")?;
            for key in place {
                value = value.get(key)?;
            }
            Some(value)
        };
        let wrong = |place: &[&str], found: &Value, expected| {
            let place: Vec<_> = ["logging"].iter().chain(place).copied().collect();
            Error::Type {
                origin: config.origin_of(&place).clone(),
                key: dotted(place),
                found: found.to_string(),
                expected,
            }
        };
        let level_of = |place: &[&str]| match at(place) {
            None => Ok(None),
            Some(found) => level(found)
                .map(Some)
                .ok_or_else(|| wrong(place, found, "the name of one of Python's levels")),
        };

        let handlers = at(&["loggers", "fedmsg", "handlers"]).or_else(|| at(&["root", "handlers"]));
        let handlers = handlers.and_then(Value::as_array).into_iter().flatten();
        let handler = handlers.filter_map(Value::as_str).find(|name| {
            let class = at(&["handlers", name, "class"]).and_then(Value::as_str);
            class.is_some_and(|class| class.ends_with("StreamHandler"))
        });
        let own = level_of(&["loggers", "fedmsg", "level"])?;
        let root = level_of(&["root", "level"])?;

        let mut logging = Self {
            level: own.or(root).unwrap_or(LevelFilter::Warn),
            stream: Stream::Stderr,
            line: pieces("%(message)s").unwrap_or_default(),
            datefmt: None,
        };
        let Some(handler) = handler else {
            return Ok(logging);
        };
        if let Some(level) = level_of(&["handlers", handler, "level"])? {
            logging.level = logging.level.min(level);
        }
        let stream = at(&["handlers", handler, "stream"]).and_then(Value::as_str);
        if stream.is_some_and(|stream| stream.ends_with("stdout")) {
            logging.stream = Stream::Stdout;
        }
        let formatter = at(&["handlers", handler, "formatter"]).and_then(Value::as_str);
        if let Some(formatter) = formatter {
            let place = ["formatters", formatter, "format"];
            if let Some(format) = at(&place) {
                logging.line = format
                    .as_str()
                    .and_then(pieces)
                    .ok_or_else(|| wrong(&place, format, "a format such as %(message)s"))?;
            }
            let place = ["formatters", formatter, "datefmt"];
            if let Some(datefmt) = at(&place).filter(|datefmt| !datefmt.is_null()) {
                let text = datefmt.as_str().filter(|text| {
                    let mut items = StrftimeItems::new(text);
                    items.all(|item| item != chrono::format::Item::Error)
                });
                let wrong = || wrong(&place, datefmt, "a date format such as %Y-%m-%d %H:%M:%S");
                logging.datefmt = Some(text.ok_or_else(wrong)?.to_owned());
            }
        }
        Ok(logging)
    }

    /// Where lines go.
    #[must_use]
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// Whether lines of this level are written.
    #[must_use]
    pub fn wants(&self, level: Level) -> bool {
        level <= self.level
    }

    /// A line, without the end of the line, of a logger such as `fedmsg.commands`; its time is local.
    #[must_use]
    pub fn format(&self, name: &str, level: Level, message: &str, now: SystemTime) -> String {
        let mut line = String::new();
        for piece in &self.line {
            let (attribute, width) = match piece {
                Piece::Text(text) => {
                    line.push_str(text);
                    continue;
                }
                Piece::Attribute(attribute, width) => (attribute, width),
            };
            let text = match attribute {
                Attribute::Time => self.time(now),
                Attribute::Name => name.to_owned(),
                Attribute::Level => level_name(level).to_owned(),
                Attribute::Message => message.to_owned(),
                Attribute::Process => process::id().to_string(),
                Attribute::Other => "-".to_owned(),
            };
            let width = *width;
            // Writing to text does not fail.
            let _ = match usize::from(width.unsigned_abs()) {
                spaces if width < 0 => write!(line, "{text:<spaces$}"),
                spaces => write!(line, "{text:>spaces$}"),
            };
        }
        line
    }

    fn time(&self, now: SystemTime) -> String {
        let now = DateTime::<Local>::from(now);
        match &self.datefmt {
            Some(datefmt) => now.format(datefmt).to_string(),
            None => now.format("%Y-%m-%d %H:%M:%S,%3f").to_string(),
        }
    }
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    /// With its width; negative: to the left.
    Attribute(Attribute, i16),
}

#[derive(Clone, Copy, Debug)]
enum Attribute {
    Time,
    Name,
    Level,
    Message,
    Process,
    Other,
}

/// The pieces of a format: `%(attribute)`, then perhaps `-` and a width, then `s` or `d`.
fn pieces(format: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some((text, after)) = rest.split_once('%') {
        pieces.push(Piece::Text(text.to_owned()));
        if let Some(after) = after.strip_prefix('%') {
            pieces.push(Piece::Text("%".to_owned()));
            rest = after;
            continue;
        }
        let (name, after) = after.strip_prefix('(')?.split_once(')')?;
        let end = after.find(|letter: char| letter.is_ascii_alphabetic())?;
        let (width, after) = after.split_at_checked(end)?;
        // A precision cuts numbers that are not written here.
        let width = width.split('.').next()?.trim_start_matches(['+', ' ']);
        pieces.push(Piece::Attribute(
            match name {
                "asctime" => Attribute::Time,
                "name" => Attribute::Name,
                "levelname" => Attribute::Level,
                "message" => Attribute::Message,
                "process" => Attribute::Process,
                _ => Attribute::Other,
            },
            match width {
                "" => 0,
                width => width
                    .parse()
                    .ok()
                    .filter(|width| i16::unsigned_abs(*width) <= MAX_WIDTH)?,
            },
        ));
        rest = after.get(1..)?;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Some(pieces)
}

/// Python's levels are numbers too.
fn level(value: &Value) -> Option<LevelFilter> {
    match value.as_str() {
        Some("CRITICAL" | "FATAL" | "ERROR") => Some(LevelFilter::Error),
        Some("WARNING" | "WARN") => Some(LevelFilter::Warn),
        Some("INFO") => Some(LevelFilter::Info),
        Some("DEBUG") => Some(LevelFilter::Debug),
        Some("NOTSET") => Some(LevelFilter::Trace),
        Some(_) => None,
        None => Some(match value.as_u64()? {
            0..=9 => LevelFilter::Trace,
            10..=19 => LevelFilter::Debug,
            20..=29 => LevelFilter::Info,
            30..=39 => LevelFilter::Warn,
            _ => LevelFilter::Error,
        }),
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "INFO",
        Level::Debug | Level::Trace => "DEBUG",
    }
}

const MAX_WIDTH: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn logging(logging: Value) -> Result<Logging, Error> {
        let values = [("logging".to_owned(), logging)].into_iter().collect();
        Logging::from_config(&Config::from_values(values).unwrap())
    }

    #[test]
    fn level_and_stream_are_those_of_the_logger_and_its_first_handler_to_a_stream() {
        let handlers = json!({
            "mail": {"class": "logging.handlers.SMTPHandler", "level": "ERROR"},
            "out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "level": 20},
            "err": {"class": "logging.StreamHandler"},
        });
        for (loggers, root, level, stream) in [
            (
                json!({"fedmsg": {"handlers": ["out"]}}),
                json!({}),
                LevelFilter::Warn,
                Stream::Stdout,
            ),
            (
                json!({"fedmsg": {"level": "DEBUG", "handlers": ["mail", "out", "err"]}}),
                json!({"level": "ERROR"}),
                LevelFilter::Info,
                Stream::Stdout,
            ),
            (
                json!({"moksha": {"level": "DEBUG", "handlers": ["out"]}}),
                json!({"level": "DEBUG", "handlers": ["err"]}),
                LevelFilter::Debug,
                Stream::Stderr,
            ),
            (
                json!({"fedmsg": {"level": "CRITICAL", "handlers": ["mail", "nothing"]}}),
                json!({}),
                LevelFilter::Error,
                Stream::Stderr,
            ),
        ] {
            let config = json!({"loggers": loggers, "handlers": handlers, "root": root});
            let made = logging(config.clone()).unwrap();
            assert_eq!((made.level, made.stream), (level, stream), "{config}");
        }
    }

    #[test]
    fn what_is_no_level_or_format_is_named() {
        let with = |level: Value, format: Value, datefmt: Value| {
            let made = logging(json!({
                "formatters": {"f": {"format": format, "datefmt": datefmt}},
                "handlers": {"h": {"class": "StreamHandler", "formatter": "f"}},
                "loggers": {"fedmsg": {"level": level, "handlers": ["h"]}},
            }));
            made.map_err(|error| error.to_string().split(", not").next().unwrap().to_owned())
        };
        let bare = json!("%(message)s");
        let now = SystemTime::UNIX_EPOCH;
        let line = with(json!("INFO"), json!("%(lineno)5d %(process)d"), Value::Null).unwrap();
        let expected = format!("    - {}", process::id());
        assert_eq!(line.format("x", Level::Info, "y", now), expected);
        for (made, error) in [
            (
                with(json!("LOUD"), bare.clone(), Value::Null),
                "loggers.fedmsg.level is \"LOUD\"",
            ),
            (
                with(json!(1), json!("%message"), Value::Null),
                "formatters.f.format is \"%message\"",
            ),
            (
                with(json!(1), json!("%(name"), Value::Null),
                "formatters.f.format is \"%(name\"",
            ),
            (
                with(json!(1), json!("%(name)9999s"), Value::Null),
                "formatters.f.format is \"%(name)9999s\"",
            ),
            (
                with(json!(1), json!(5), Value::Null),
                "formatters.f.format is 5",
            ),
            (
                with(json!(1), bare, json!("%Q")),
                "formatters.f.datefmt is \"%Q\"",
            ),
        ] {
            assert_eq!(made.unwrap_err(), format!("program: logging.{error}"));
        }
    }
}
