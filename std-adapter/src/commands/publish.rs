//! `fedmsg publish`: send a message, or one for each line of standard input.

use std::{
    io::{self, BufRead as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::builder::NonEmptyStringValueParser;
use fedmsg_core::{json::HOST_DEPTH, message::Text};

use super::{EXIT_CODES, Outcome, attach};
use crate::{
    bus::{Context, Settings},
    crypto::FileSigner,
};

/// Send a message, or one for each line of standard input
///
/// A line of text is sent as {"log": "the line"}. The topic on the wire is
/// PREFIX.ENVIRONMENT.MODNAME.TOPIC.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(flatten)]
    endpoint: attach::Attach,
    /// The last part of the topic
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    topic: String,
    /// The part of the topic that names the service
    #[arg(long, default_value = "logger", value_parser = NonEmptyStringValueParser::new())]
    modname: String,
    /// The first part of the topic
    #[arg(long, value_name = "PREFIX", default_value = "com.example")]
    topic_prefix: String,
    /// The second part of the topic
    #[arg(long, default_value = "dev")]
    environment: String,
    /// The message or lines are JSON, sent as they are
    #[arg(long)]
    json: bool,
    /// Sign with NAME.key and NAME.crt from this folder
    #[arg(long, value_name = "DIR", requires = "certname")]
    ssldir: Option<PathBuf>,
    /// The name in --ssldir to sign as
    #[arg(long, value_name = "NAME", requires = "ssldir")]
    certname: Option<String>,
    /// How long to wait for a subscriber, to whatever topic; none by then is an error. 0 sends without
    /// waiting
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = attach::seconds)]
    wait: f64,
    /// How long to wait at the end for subscribers to take everything; what they have not is an error
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = attach::seconds)]
    linger: f64,
    /// The message; without it, every line of standard input is one
    message: Option<String>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut settings = Settings {
        topic_prefix: args.topic_prefix.clone(),
        environment: args.environment.clone(),
        ..args.endpoint.publisher("publish")?
    };
    settings.transport.linger = Duration::from_secs_f64(args.linger);
    if let (Some(dir), Some(name)) = (&args.ssldir, &args.certname) {
        settings.signer = Some(Arc::new(FileSigner::load(dir, name)?));
    }
    let context = Context::new(settings)?;
    if let Some(bound) = context.endpoint() {
        args.endpoint.tell(&bound);
    }
    let wait = args.wait;
    if wait > 0.0 && !context.wait_for_subscriber(Duration::from_secs_f64(wait))? {
        let endpoint = &args.endpoint;
        return Err(format!(
            "nothing was sent: no subscriber on {endpoint} within {wait} s (see --wait)"
        )
        .into());
    }

    let send = |line: &str| {
        if args.json {
            let text = Text {
                json: line.as_bytes(),
                depth_limit: HOST_DEPTH,
            };
            context.publish(&args.modname, &args.topic, &text)
        } else {
            context.publish(&args.modname, &args.topic, &Log { log: line })
        }
    };
    match &args.message {
        Some(message) => drop(send(message)?),
        None => {
            for (number, line) in io::stdin().lock().lines().enumerate() {
                let number = number + 1;
                let line = line.map_err(|error| format!("line {number}: {error}"))?;
                send(&line).map_err(|error| format!("line {number}: {error}"))?;
            }
        }
    }
    context.close()?;
    Ok(ExitCode::SUCCESS)
}

/// What a line of text is sent as.
#[derive(serde::Serialize)]
struct Log<'a> {
    log: &'a str,
}
