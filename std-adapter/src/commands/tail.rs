//! `fedmsg tail`: show messages as they arrive.
//!
//! Source for how `fedmsg-tail` shows them: the peer's `fedmsg.commands.tail`.

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use fedmsg_core::json::HOST_DEPTH;
use serde_json::Value;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag::register_conditional_shutdown,
};

use super::{
    EXIT_CODES, Name, Outcome, attach, configure, filter::Filter, listener, log_line, tell,
    tell_refused,
};
use crate::{
    bus::{Context, Message, Refused, Settings, Tail, TailOptions, Verdict},
    config::{self, Config, Logging, Options},
    crypto::{Scratch, Trust},
    encoding::{Tree, python},
};

/// Show messages as they arrive, from every endpoint of the configuration
///
/// One line a message: into a pipe or with --json the message as canonical JSON; on a terminal with
/// its topic before it, and with who signed it. Under the name fedmsg-tail lines are those of
/// Python's fedmsg: the message as Python writes it, as a line of the configured log. What is not to
/// be believed goes to standard error, with the reason.
///
/// With --endpoint it is that endpoint instead of the configuration's, and nothing is validated but
/// with --validate or --ca.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES, infer_long_args = true)]
pub(super) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Only these members of the message, such as msg.user,msg.repo
    #[arg(long, value_name = "KEYS")]
    query: Option<String>,
    /// The message over several lines, as Python writes it
    #[arg(long)]
    pretty: bool,
    /// The message over several lines, as JSON in colours
    #[arg(long)]
    really_pretty: bool,
    /// The message as canonical JSON alone, on one line
    #[arg(long, conflicts_with_all = ["query", "pretty", "really_pretty"])]
    json: bool,
    /// Not there yet
    #[arg(long)]
    cowsay: bool,
    /// Not there yet
    #[arg(long)]
    terse: bool,
    /// Not there yet
    #[arg(long)]
    users: Option<String>,
    /// Not there yet
    #[arg(long)]
    packages: Option<String>,
    /// Show only messages whose signature is good, whatever `validate_signatures` says
    #[arg(long, overrides_with = "no_validate")]
    validate: bool,
    /// Look at no signature, whatever `validate_signatures` says
    #[arg(long, overrides_with = "validate")]
    no_validate: bool,
    #[command(flatten)]
    endpoint: Option<attach::Attach>,
    /// Validate by the CA certificates in this file
    #[arg(long, value_name = "FILE", conflicts_with = "no_validate")]
    ca: Option<PathBuf>,
    /// The CA's revocation list
    #[arg(long, value_name = "FILE", requires = "ca")]
    crl: Option<PathBuf>,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End with an error when no message has come for so long
    #[arg(long, value_name = "SECONDS", value_parser = attach::seconds)]
    max_silence: Option<f64>,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args, name: Name) -> Outcome {
    for (flag, is_given) in [
        ("--cowsay", args.cowsay),
        ("--terse", args.terse),
        ("--users", args.users.is_some()),
        ("--packages", args.packages.is_some()),
    ] {
        if is_given {
            tell(
                name,
                format_args!("{flag} needs `meta`, which this version does not have yet"),
            );
            return Ok(ExitCode::from(2));
        }
    }
    let validate: Option<Value> = match (args.validate, args.no_validate) {
        (false, false) => args.endpoint.is_some().then(|| false.into()),
        (validate, _) => Some(validate.into()),
    };
    let overrides: Vec<_> = validate
        .map(|value| ("validate_signatures", value))
        .into_iter()
        .collect();
    let Some(config) = configure(&args.options, &overrides, name)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let mut out = Out::new(args, &config, name)?;
    let mut tail = tail(args, &config, name)?;
    // There is nothing to finish: a message is written whole.
    for signal in [SIGINT, SIGTERM] {
        register_conditional_shutdown(signal, 0, Arc::new(AtomicBool::new(true)))?;
    }

    let mut shown = 0;
    let silence = args.max_silence.map(Duration::from_secs_f64);
    while args.count.is_none_or(|count| shown < count) {
        let outcome = tail.recv_with(silence, |message| {
            let showing = match args.filter.wants(&message.topic) {
                Ok(true) => out.text(&message),
                Ok(false) => return Ok(()),
                Err(reason) => Err(reason),
            };
            match showing {
                Ok(text) if text.is_empty() => return Ok(()),
                Ok(text) => out.show(&text)?,
                Err(reason) => {
                    tell_refused(name, &message, &reason);
                    return Ok(());
                }
            }
            shown += 1;
            io::Result::Ok(())
        })?;
        let Some(outcome) = outcome else {
            let seconds = args.max_silence.unwrap_or_default();
            return Err(format!("no message for {seconds} s").into());
        };
        outcome?;
    }
    Ok(ExitCode::SUCCESS)
}

fn tail(args: &Args, config: &Config, name: Name) -> Result<Tail, Box<dyn Error>> {
    let mut settings = Settings {
        refused: Refused::HandOn,
        ..listener(config, name)?
    };
    if let Some(endpoint) = &args.endpoint {
        settings = endpoint.settings(name, settings)?;
    }
    if let Some(ca) = &args.ca {
        settings.validator = Some(Arc::new(Trust::load(ca, args.crl.as_deref())?));
    }
    let tail = Context::new(settings)?.tail(TailOptions {
        topics: args.filter.topic.clone(),
        passive: args.endpoint.as_ref().is_some_and(attach::Attach::bind),
        ..TailOptions::default()
    })?;
    if let Some(endpoint) = &args.endpoint {
        for source in tail.sources() {
            endpoint.tell(name, &source.endpoint);
        }
    }
    Ok(tail)
}

/// How messages are written, and where.
struct Out<'a> {
    args: &'a Args,
    /// Where lines are those of the log.
    log: Option<Logging>,
    is_terminal: bool,
    scratch: Scratch,
}

impl<'a> Out<'a> {
    fn new(args: &'a Args, config: &Config, name: Name) -> Result<Self, config::Error> {
        let is_log = name.is_peers() && !args.json;
        Ok(Self {
            args,
            log: is_log.then(|| Logging::from_config(config)).transpose()?,
            is_terminal: io::stdout().is_terminal(),
            scratch: Scratch::default(),
        })
    }

    /// A message's text; an empty one is not shown. The error is why the message is refused.
    fn text(&mut self, message: &Message<'_>) -> Result<String, String> {
        if message.is_refused() {
            return Err(message.verdict.to_string());
        }
        let Args {
            query,
            pretty,
            really_pretty,
            json,
            ..
        } = self.args;
        let in_parts = query.is_some() || *pretty || *really_pretty;
        if !in_parts && self.log.is_none() {
            let canonical = self
                .scratch
                .canonicalize(&message.body, HOST_DEPTH)
                .map_err(|error| error.to_string())?;
            // Canonical text has no control characters that a terminal could take for orders.
            let canonical = String::from_utf8_lossy(canonical);
            return Ok(match &message.verdict {
                _ if *json || !self.is_terminal => canonical.into_owned(),
                Verdict::Valid { signer } => {
                    let (signer, topic) = (signer.escape_debug(), message.topic.escape_debug());
                    format!("{signer} {topic} {canonical}")
                }
                _ => format!("{} {canonical}", message.topic.escape_debug()),
            });
        }
        let mut tree = Tree::read(&message.body).map_err(|error| error.to_string())?;
        let time = tree.get("timestamp").and_then(Tree::number);
        if *pretty && let Some(time) = time.and_then(python::ctime) {
            let time = Tree::string(&time).map_err(|error| error.to_string())?;
            tree.replace("timestamp", time);
        }
        if *pretty || *really_pretty {
            tree.remove("signature");
            tree.remove("certificate");
        }
        // The last of the peer's forms that is asked for.
        Ok(if let Some(query) = query {
            let found = tree.query(query);
            let texts = found.iter().map(|(_, found)| match found {
                Some(found) => python::str(found),
                None => "None".to_owned(),
            });
            self.escape(texts.collect::<Vec<_>>().join(", "))
        } else if *really_pretty {
            format!("\n{}", tree.pretty_in_colours())
        } else if *pretty {
            format!("\n{}", python::pformat(&tree))
        } else {
            python::repr(&tree)
        })
    }

    /// Leaves a terminal no orders of somebody else's.
    fn escape(&self, text: String) -> String {
        if !self.is_terminal {
            return text;
        }
        let mut escaped = String::new();
        for c in text.chars() {
            // Of a new line somebody could make a whole message.
            match c.is_control() && c != '\t' {
                true => escaped.extend(c.escape_default()),
                false => escaped.push(c),
            }
        }
        escaped
    }

    fn show(&self, text: &str) -> io::Result<()> {
        match &self.log {
            Some(log) => log_line(log, text),
            None => writeln!(io::stdout(), "{}", text.trim_start_matches('\n')),
        }
    }
}
