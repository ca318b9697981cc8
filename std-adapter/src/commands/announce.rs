//! `fedmsg announce`: send an announcement to the relay.

use std::process::ExitCode;

use super::{
    EXIT_CODES, Name, Outcome, configure,
    outlet::{Outlet, each_line, strip},
    texts::MAX_TEXT,
};
use crate::config::Options;

/// Send an announcement to the relay: what standard input holds, as one message
///
/// It is signed with the certificate that certnames has for announce.HOST.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES, infer_long_args = true)]
pub(super) struct Args {
    /// Where there is more to read
    #[arg(long, value_name = "URL")]
    link: Option<String>,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args, name: Name) -> Outcome {
    let Some(config) = configure(&args.options, &[], name)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let outlet = Outlet::to_relay(&config, name, "announce", "announce", "announcement")?;
    let mut message: Option<String> = None;
    each_line(|line| {
        let message = match &mut message {
            Some(message) => {
                message.push('\n');
                message
            }
            None => message.insert(String::new()),
        };
        message.push_str(strip(line));
        match message.len() > MAX_TEXT {
            true => Err(format!("with it the text is longer than {MAX_TEXT} bytes").into()),
            false => Ok(()),
        }
    })?;
    outlet.send(&Announcement {
        message: message.unwrap_or_default(),
        link: args.link.as_deref(),
    })?;
    outlet.close()?;
    Ok(ExitCode::SUCCESS)
}

#[derive(serde::Serialize)]
struct Announcement<'a> {
    message: String,
    link: Option<&'a str>,
}
