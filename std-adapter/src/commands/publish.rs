//! `fedmsg publish`: send a message, or one for each line of standard input.

use std::{
    io::{self, BufRead as _},
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use fedmsg_core::{
    crypto::Signer,
    json::HOST_DEPTH,
    message::{Text, Topic},
};

use super::{EXIT_CODES, Outcome, attach};
use crate::{
    bus::Sender,
    crypto::FileSigner,
    transport::{Options, Publisher as _, Transport as _, native::Native},
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
    #[arg(long)]
    topic: String,
    /// The part of the topic that names the service
    #[arg(long, default_value = "logger")]
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
    let mut topic = vec![0; args.topic_len()];
    let topic = Topic {
        prefix: &args.topic_prefix,
        environment: &args.environment,
        modname: &args.modname,
        topic: &args.topic,
    }
    .write(&mut topic)?;
    let signer = match (&args.ssldir, &args.certname) {
        (Some(dir), Some(name)) => {
            Some(Box::new(FileSigner::load(dir, name)?) as Box<dyn Signer + Send>)
        }
        _ => None,
    };

    let options = Options {
        linger: Duration::from_secs_f64(args.linger),
        ..args.endpoint.options("publish")
    };
    let publisher = Native.publisher(&options)?;
    args.endpoint.publisher(&publisher)?;
    let deadline = Instant::now() + Duration::from_secs_f64(args.wait);
    while args.wait > 0.0 && publisher.subscribers()? == 0 {
        if Instant::now() >= deadline {
            let waited = args.wait;
            return Err(format!(
                "nothing was sent: no subscriber on {} within {waited} s (see --wait)",
                args.endpoint
            )
            .into());
        }
        thread::sleep(Duration::from_millis(5));
    }

    let mut sender = Sender::new(publisher, signer, options.max_message);
    let mut send = |line: &str| {
        if args.json {
            let text = Text {
                json: line.as_bytes(),
                depth_limit: HOST_DEPTH,
            };
            sender.publish(topic, &text)
        } else {
            sender.publish(topic, &Log { log: line })
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
    sender.close()?;
    Ok(ExitCode::SUCCESS)
}

/// What a line of text is sent as.
#[derive(serde::Serialize)]
struct Log<'a> {
    log: &'a str,
}

impl Args {
    fn topic_len(&self) -> usize {
        let parts = [
            &self.topic_prefix,
            &self.environment,
            &self.modname,
            &self.topic,
        ];
        parts.iter().map(|part| part.len() + 1).sum()
    }
}
