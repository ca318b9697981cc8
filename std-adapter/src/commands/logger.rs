//! `fedmsg logger`: send a message, or one for each line of standard input, to the relay.

use std::{
    cell::Cell,
    error::Error,
    io::{self, Read},
    process::ExitCode,
    rc::Rc,
};

use clap::builder::NonEmptyStringValueParser;
use serde_json::{Deserializer, Value, value::RawValue};

use super::{
    EXIT_CODES, Name, Outcome, configure,
    outlet::{Log, Outlet, each_line, json, strip},
    texts::MAX_TEXT,
};
use crate::config::Options;

/// Send a message, or one for each line of standard input, to the relay
///
/// A line of text is sent as {"log": "the line"}. It goes to the first endpoint of `relay_inbound`,
/// as soon as the relay is there; it has to be within --post-init-sleep or --timeout, whichever is
/// longer.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES, infer_long_args = true)]
pub(super) struct Args {
    /// The message; without it, standard input is read
    #[arg(long)]
    message: Option<String>,
    /// The message is JSON, sent as it is; standard input may hold one text after the other
    #[arg(long)]
    json_input: bool,
    /// The last part of the topic
    #[arg(long, default_value = "log", value_parser = NonEmptyStringValueParser::new())]
    topic: String,
    /// The part of the topic that names the service
    #[arg(long, default_value = "logger", value_parser = NonEmptyStringValueParser::new())]
    modname: String,
    /// Sign with the certificate that certnames has for `CERT_PREFIX.HOST` [default:
    /// the configuration's `cert_prefix`, or shell]
    #[arg(long)]
    cert_prefix: Option<String>,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args, name: Name) -> Outcome {
    let Some(config) = configure(&args.options, &[], name)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let own = config.get("cert_prefix").and_then(Value::as_str);
    let cert_prefix = args.cert_prefix.as_deref().or(own).unwrap_or("shell");
    let outlet = Outlet::to_relay(&config, name, cert_prefix, &args.modname, &args.topic)?;
    match (&args.message, args.json_input) {
        (Some(message), true) => outlet.send(&json(message))?,
        (Some(message), false) => outlet.send(&Log { log: message })?,
        (None, true) => each_json(|text| outlet.send(&json(text)))?,
        (None, false) => each_line(|line| outlet.send(&Log { log: strip(line) }))?,
    }
    outlet.close()?;
    Ok(ExitCode::SUCCESS)
}

/// Hands over the JSON texts of standard input, which have nothing or white space between them.
fn each_json(
    mut take: impl FnMut(&str) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let left = Rc::new(Cell::new(0));
    let input = Limited {
        input: io::stdin().lock(),
        left: Rc::clone(&left),
    };
    let mut texts = Deserializer::from_reader(input).into_iter::<Box<RawValue>>();
    for number in 1_u64.. {
        left.set(MAX_TEXT);
        let text = match texts.next() {
            Some(text) => text.map_err(|error| format!("JSON text {number}: {error}"))?,
            None if number == 1 => return Err("standard input has no JSON".into()),
            None => break,
        };
        take(text.get()).map_err(|error| format!("JSON text {number}: {error}"))?;
    }
    Ok(())
}

/// Gives so many bytes, then an error.
struct Limited<R> {
    input: R,
    left: Rc<Cell<usize>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(room)?;
        let left = self.left.get().checked_sub(read);
        self.left
            .set(left.ok_or_else(|| io::Error::other(format!("longer than {MAX_TEXT} bytes")))?);
        Ok(read)
    }
}
