//! `fedmsg publish`: send a message, or one for each line of standard input.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::builder::NonEmptyStringValueParser;

use super::{
    EXIT_CODES, Name, Outcome, attach,
    outlet::{Log, Outlet, each_line, json},
};
use crate::{bus::Settings, crypto::FileSigner};

/// Send a message, or one for each line of standard input
///
/// A line of text is sent as {"log": "the line"}. The topic on the wire is
/// PREFIX.ENVIRONMENT.MODNAME.TOPIC.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES, mut_arg("endpoint", |arg| arg.required(true)))]
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

pub(super) fn run(args: &Args, name: Name) -> Outcome {
    let mut settings = Settings {
        topic_prefix: args.topic_prefix.clone(),
        environment: args.environment.clone(),
        ..args.endpoint.publisher(name)?
    };
    settings.transport.linger = Duration::from_secs_f64(args.linger);
    if let (Some(dir), Some(name)) = (&args.ssldir, &args.certname) {
        settings.signer = Some(Arc::new(FileSigner::load(dir, name)?));
    }
    let patience = (args.wait > 0.0).then(|| Duration::from_secs_f64(args.wait));
    let outlet = Outlet::open(settings, patience, "see --wait", &args.modname, &args.topic)?;
    if let Some(bound) = outlet.context().endpoint() {
        args.endpoint.tell(name, &bound);
    }
    let send = |message: &str| match args.json {
        true => outlet.send(&json(message)),
        false => outlet.send(&Log { log: message }),
    };
    match &args.message {
        Some(message) => send(message)?,
        None => each_line(send)?,
    }
    outlet.close()?;
    Ok(ExitCode::SUCCESS)
}
