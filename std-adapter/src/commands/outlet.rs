//! Publishing that tells what was lost: what `publish`, `logger` and `announce` share.

use std::{error::Error, io, str, time::Duration};

use fedmsg_core::{
    json::HOST_DEPTH,
    message::{Payload, Text},
};

use super::{
    Name,
    attach::monitor,
    logging,
    texts::{MAX_TEXT, read_line},
};
use crate::{
    bus::{Context, Settings},
    config::Config,
};

/// A publisher with somebody at its other end.
pub(super) struct Outlet<'a> {
    context: Context,
    /// How long to wait for somebody; `None`: publish to nobody, too.
    patience: Option<Duration>,
    /// What to do when nobody is there.
    remedy: &'static str,
    modname: &'a str,
    topic: &'a str,
}

impl<'a> Outlet<'a> {
    /// Opens the publisher; [`send`](Self::send) waits for its subscriber.
    pub(super) fn open(
        settings: Settings,
        patience: Option<Duration>,
        remedy: &'static str,
        modname: &'a str,
        topic: &'a str,
    ) -> Result<Self, crate::bus::Error> {
        let context = Context::new(Settings {
            post_init_sleep: Duration::ZERO,
            ..settings
        })?;
        Ok(Self {
            context,
            patience,
            remedy,
            modname,
            topic,
        })
    }

    /// A publisher to the site's relay.
    pub(super) fn to_relay(
        config: &Config,
        name: Name,
        cert_prefix: &str,
        modname: &'a str,
        topic: &'a str,
    ) -> Result<Self, Box<dyn Error>> {
        #[derive(serde::Deserialize)]
        struct Waits {
            post_init_sleep: f64,
            timeout: f64,
        }
        let mut settings = Settings {
            active: true,
            cert_prefix: Some(cert_prefix.to_owned()),
            ..Settings::from_config(config)?
        };
        settings.transport.monitor = Some(monitor(name));
        logging::tell_warnings(name);
        let waits: Waits = config.read()?;
        let patience = Duration::from_secs_f64(waits.post_init_sleep.max(waits.timeout));
        // Who is mute sends nothing, and needs nobody.
        let patience = (!settings.mute).then_some(patience);
        let remedy = "is the relay running there? (see --timeout)";
        let outlet = Self::open(settings, patience, remedy, modname, topic)?;
        Ok(outlet)
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// Sends a message once there is a subscriber, to whatever topic.
    pub(super) fn send(&self, msg: &(impl Payload + ?Sized)) -> Result<(), Box<dyn Error>> {
        if let Some(patience) = self.patience
            && !self.context.wait_for_subscriber(patience)?
        {
            let at = self.context.endpoint();
            let at = at.map(|at| format!(" on {at}")).unwrap_or_default();
            let (seconds, remedy) = (patience.as_secs_f64(), self.remedy);
            return Err(format!("not sent: no subscriber{at} within {seconds} s: {remedy}").into());
        }
        self.context.publish(self.modname, self.topic, msg)?;
        Ok(())
    }

    /// Waits until everything is sent.
    pub(super) fn close(self) -> Result<(), Box<dyn Error>> {
        Ok(self.context.close()?)
    }
}

/// What a line of text is sent as.
#[derive(serde::Serialize)]
pub(super) struct Log<'a> {
    pub(super) log: &'a str,
}

/// JSON text as a message.
pub(super) fn json(text: &str) -> Text<'_> {
    Text {
        json: text.as_bytes(),
        depth_limit: HOST_DEPTH,
    }
}

/// A line without white space around it, as Python's `strip` leaves it.
pub(super) fn strip(line: &str) -> &str {
    line.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
}

/// Hands over standard input line by line, without the ends of the lines.
pub(super) fn each_line(
    mut take: impl FnMut(&str) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    for number in 1_u64.. {
        let mut next = || -> Result<bool, Box<dyn Error>> {
            if !read_line(&mut input, &mut line)? {
                return Ok(false);
            }
            if line.len() > MAX_TEXT {
                return Err(format!("longer than {MAX_TEXT} bytes").into());
            }
            let line = str::from_utf8(&line)?;
            take(line.strip_suffix('\r').unwrap_or(line))?;
            Ok(true)
        };
        if !next().map_err(|error| format!("line {number}: {error}"))? {
            break;
        }
    }
    Ok(())
}
