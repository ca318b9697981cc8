//! Puts lines of text, or JSON, on the bus: `fedmsg publish` for hosts that have no room for it.
//!
//! The protocol is `fedmsg-core`'s; this program is arguments (here), files (`key`) and sockets
//! (`link`, `address`).

mod address;
mod key;
mod link;

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead as _, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::ExitCode,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use address::Address;
use fedmsg_core::{
    crypto::Signer,
    json::{self, HOST_DEPTH},
    message::{Envelope, MessageId, Payload, Text, Topic},
};
use link::Link;

const HELP: &str = "\
Publishes a message, or one for each line of standard input.

Usage: fedmsg-tiny [OPTIONS] --topic TOPIC [MESSAGE]

A line of text is sent as {\"log\": \"the line\"}. The topic on the wire is
PREFIX.ENVIRONMENT.MODNAME.TOPIC.

      --relay tcp://HOST:PORT  Connect to a relay there [default: tcp://127.0.0.1:2001]
      --bind tcp://HOST:PORT   Take subscribers there instead; HOST is an address of this machine,
                               or * for all of them
      --topic TOPIC            The last part of the topic
      --modname MODNAME        The part of the topic that names the service [default: logger]
      --topic-prefix PREFIX    The first part of the topic [default: com.example]
      --environment NAME       The second part of the topic [default: dev]
      --json                   The message or lines are JSON, sent as they are
      --ssldir DIR             Sign with NAME.key and NAME.crt from this folder
      --certname NAME          The name in --ssldir to sign as
      --wait SECONDS           How long to wait for a subscriber to the topic; none by then is an
                               error. 0 sends without waiting: what nobody wants is lost
                               [default: 5]
      --linger SECONDS         How long to wait for subscribers to take a message, and at the end
                               everything; what they have not is an error [default: 60]
  -h, --help                   This text
  -V, --version                The version

Exit codes: 0 done, 1 something was refused or failed, 2 wrong command line
";

fn main() -> ExitCode {
    let (text, code) = match Command::parse(env::args_os().skip(1)) {
        Ok(Command::Publish(args)) => match publish(&args) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (error, 1),
        },
        Ok(Command::Print(text)) => {
            let _ = io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => (format!("{error} (see --help)"), 2),
    };
    tell(&text);
    ExitCode::from(code)
}

fn tell(line: &str) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "fedmsg-tiny: {line}");
}

fn publish(args: &Args) -> Result<(), String> {
    let mut room = [0; MAX_TOPIC];
    let topic = Topic {
        prefix: &args.topic_prefix,
        environment: &args.environment,
        modname: &args.modname,
        topic: &args.topic,
    };
    let topic = topic
        .write(&mut room)
        .map_err(|_| format!("the topic is longer than {MAX_TOPIC} bytes"))?;
    let signer = match &args.signer {
        Some((folder, name)) => Some(key::load(folder, name)?),
        None => None,
    };
    let signer = signer.as_ref().map(|signer| signer as &dyn Signer);
    let mut scratch = vec![0; SCRATCH];
    if let Some(message) = &args.message {
        // What cannot be sent is not worth waiting for anybody.
        let written = Msg::read(message.as_bytes(), args.json)?.write(&mut scratch);
        written.map_err(|error| error.to_string())?;
    }
    let mut ring = vec![0; RING];
    let publisher = link::publisher(&mut ring, signer);
    let mut link = match &args.bind {
        None => Link::relay(args.relay.clone(), publisher, topic),
        Some(address) => Link::bind(address, publisher, topic)?,
    };
    if let (Some(asked), Some(bound)) = (&args.bind, link.bound()) {
        let bound = format!("tcp://{bound}");
        if asked.to_string() != bound {
            tell(&format!("bound to {bound}"));
        }
    }
    let waits = !args.wait.is_zero();
    if waits {
        link.wait_for_subscriber(args.wait)
            .map_err(|error| format!("nothing was sent: {error} (see --wait)"))?;
    }

    let username = account();
    let mut entropy = File::open(ENTROPY).map_err(|error| format!("{ENTROPY}: {error}"))?;
    let mut sent = 0;
    let mut send = |link: &mut Link<'_>, line: &[u8]| {
        let mut random = [0; 16];
        let read = entropy.read_exact(&mut random);
        read.map_err(|error| format!("{ENTROPY}: {error}"))?;
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = timestamp.map_err(|_| "this machine's clock is before 1970")?;
        let timestamp = timestamp.as_secs();
        sent += 1;
        let envelope = Envelope {
            topic,
            i: sent,
            timestamp,
            msg_id: MessageId::new(timestamp, random),
            username: username.as_deref(),
            seq_id: None,
        };
        let msg = Msg::read(line, args.json)?;
        while !link.publish(&envelope, &msg, &mut scratch, args.linger)? && waits {
            // All who wanted it are gone: it is for the next one.
            link.wait_for_subscriber(args.linger)
                .map_err(|error| format!("{error} (see --linger)"))?;
        }
        Ok::<_, String>(())
    };
    let sent = match &args.message {
        Some(message) => send(&mut link, message.as_bytes()),
        None => {
            let lines = lines();
            let mut number = 0;
            loop {
                let next = link.serve(Duration::MAX, |_, pause| match lines.recv_timeout(pause) {
                    Ok(line) => Some(Some(line)),
                    Err(RecvTimeoutError::Disconnected) => Some(None),
                    Err(RecvTimeoutError::Timeout) => None,
                });
                let Some(line) = next.flatten() else {
                    break Ok(());
                };
                number += 1;
                if let Err(error) = line.and_then(|line| send(&mut link, &line)) {
                    break Err(format!("line {number}: {error}"));
                }
            }
        }
    };
    // What was sent before an error is still to arrive.
    let closed = link.close(args.linger);
    sent.and(closed)
}

/// What a message says.
enum Msg<'a> {
    Log(&'a str),
    Json(Text<'a>),
}

impl<'a> Msg<'a> {
    /// # Errors
    /// A line that is too long, or no UTF-8. Whether it is JSON shows when it is written.
    fn read(line: &'a [u8], json: bool) -> Result<Self, String> {
        if line.len() > MAX_LINE {
            return Err(format!("longer than {MAX_LINE} bytes"));
        }
        if json {
            let depth_limit = HOST_DEPTH;
            let json = line;
            return Ok(Self::Json(Text { json, depth_limit }));
        }
        let text = str::from_utf8(line);
        let text = text.map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
        Ok(Self::Log(text))
    }
}

impl Payload for Msg<'_> {
    fn write(&self, out: &mut [u8]) -> Result<usize, json::Error> {
        #[derive(serde::Serialize)]
        struct Log<'a> {
            log: &'a str,
        }
        match self {
            Self::Log(log) => Log { log }.write(out),
            Self::Json(text) => text.write(out),
        }
    }
}

/// The lines of standard input, which a thread of its own waits for. One that is too long is handed
/// on as far as shows that.
fn lines() -> Receiver<Result<Vec<u8>, String>> {
    let (sender, lines) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let mut limited = input.by_ref().take(MAX_LINE as u64 + 2);
            let line = match limited.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {
                    if line.pop_if(|last| *last == b'\n').is_some() {
                        line.pop_if(|last| *last == b'\r');
                    }
                    Ok(line)
                }
                Err(error) => Err(error.to_string()),
            };
            // The other end is gone only when the program is at its end.
            let failed = line.is_err();
            if sender.send(line).is_err() || failed {
                break;
            }
        }
    });
    lines
}

/// The name of the account that this program runs under, found as Python's `getpass` does.
fn account() -> Option<String> {
    ["LOGNAME", "USER", "LNAME", "USERNAME"]
        .iter()
        .find_map(|name| env::var(name).ok().filter(|user| !user.is_empty()))
        .or_else(|| {
            let id = fs::metadata("/proc/self").ok()?.uid().to_string();
            let accounts = fs::read_to_string("/etc/passwd").ok()?;
            accounts.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                (fields.nth(1)? == id).then(|| name.to_owned())
            })
        })
}

/// What the command line asks for.
enum Command {
    Publish(Box<Args>),
    Print(String),
}

struct Args {
    relay: Address,
    bind: Option<Address>,
    topic: String,
    modname: String,
    topic_prefix: String,
    environment: String,
    json: bool,
    signer: Option<(PathBuf, String)>,
    wait: Duration,
    linger: Duration,
    message: Option<String>,
}

impl Command {
    fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut args = args.map(|arg| {
            arg.into_string()
                .map_err(|arg| format!("the argument {arg:?} is not UTF-8"))
        });
        let (mut relay, mut bind, mut message) = (None, None, None);
        let (mut topic, mut ssldir, mut certname) = (String::new(), None, None);
        let (mut modname, mut topic_prefix) = ("logger".to_owned(), "com.example".to_owned());
        let mut environment = "dev".to_owned();
        let (mut wait, mut linger) = (Duration::from_secs(5), Duration::from_secs(60));
        let (mut json, mut options) = (false, true);
        while let Some(arg) = args.next().transpose()? {
            let is_option = options && arg.len() > 1 && arg.starts_with('-');
            if !is_option {
                if message.replace(arg).is_some() {
                    return Err("more than one message: quote it".into());
                }
                continue;
            }
            let (name, mut given) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let mut value = || match given.take() {
                Some(value) => Ok(value),
                None => args.next().unwrap_or(Err(format!("{name} needs a value"))),
            };
            match name {
                "--relay" => relay = Some(peer(&value()?)?),
                "--bind" => bind = Some(value()?.parse()?),
                "--topic" => topic = value()?,
                "--modname" => modname = value()?,
                "--topic-prefix" => topic_prefix = value()?,
                "--environment" => environment = value()?,
                "--ssldir" => ssldir = Some(PathBuf::from(value()?)),
                "--certname" => certname = Some(value()?),
                "--wait" => wait = seconds(name, &value()?)?,
                "--linger" => linger = seconds(name, &value()?)?,
                "--json" => json = true,
                "--" => options = false,
                "-h" | "--help" => return Ok(Self::Print(HELP.into())),
                "-V" | "--version" => {
                    return Ok(Self::Print(
                        concat!("fedmsg-tiny ", env!("CARGO_PKG_VERSION"), "\n").into(),
                    ));
                }
                _ => return Err(format!("there is no option {name}")),
            }
            if given.is_some() {
                return Err(format!("{name} takes no value"));
            }
        }
        if topic.is_empty() || modname.is_empty() {
            return Err("--topic and --modname must be there and not empty".into());
        }
        if relay.is_some() && bind.is_some() {
            return Err("--relay and --bind exclude each other".into());
        }
        let signer = match (ssldir, certname) {
            (Some(folder), Some(name)) => Some((folder, name)),
            (None, None) => None,
            _ => return Err("--ssldir and --certname need each other".into()),
        };
        Ok(Self::Publish(Box::new(Args {
            relay: relay.map_or_else(|| RELAY.parse(), Ok)?,
            bind,
            topic,
            modname,
            topic_prefix,
            environment,
            json,
            signer,
            wait,
            linger,
            message,
        })))
    }
}

/// An endpoint to connect to.
fn peer(text: &str) -> Result<Address, String> {
    let address: Address = text.parse()?;
    if address.is_somewhere() {
        Ok(address)
    } else {
        Err(format!("nobody can be reached at {text}: see --bind"))
    }
}

fn seconds(name: &str, text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=31_536_000.0).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!(
            "{name} '{text}' is not a number of seconds from 0 to 31536000"
        )),
    }
}

/// Where the relays of this bus take messages, if not told otherwise.
const RELAY: &str = "tcp://127.0.0.1:2001";
const ENTROPY: &str = "/dev/urandom";
/// The longest topic, in bytes, as on the rest of the bus.
const MAX_TOPIC: usize = 255;
/// The longest line or message, in bytes. Canonical JSON has up to 6 bytes for each of them.
const MAX_LINE: usize = 64 << 10;
/// Room for the messages that slower subscribers have not taken yet, in bytes: one of the longest
/// at least.
const RING: usize = 512 << 10;
/// Room for a message while it is written, in bytes.
const SCRATCH: usize = 1 << 20;
