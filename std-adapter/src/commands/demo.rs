//! `fedmsg demo`: signed messages from a publisher to a validating subscriber, for all to see.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fedmsg_core::json::Members;
use serde_json::{Value, json};

use super::{EXIT_CODES, Outcome, exit_code, now};
use crate::{
    bus::{Context, Message, Refused, Settings, Tail, Verdict},
    crypto::{FileSigner, KeyKind, Trust, ca::Ca},
    transport::{Endpoint, Options, Publisher as _, Transport as _, native::Native},
};

/// Show the bus at work: a CA, a publisher, a validating subscriber, and a forger
///
/// Everything is made for the occasion, in a temporary folder and on this machine's loopback
/// address, and gone at the end.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    /// Send the messages without pauses between them
    #[arg(long)]
    fast: bool,
}

/// Between two messages, so that they can be read as they come.
const PAUSE: Duration = Duration::from_millis(60);
/// How long a message may take over the loopback address.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the CAs are valid: longer than a day, which a certificate of theirs must have left.
const CA_DAYS: u32 = 2;
/// How many messages are sent as fast as they go.
const BURST: u32 = 2_000;

pub(super) fn run(args: &Args) -> Outcome {
    let folder = Folder::make()?;
    let ca = Ca::init(&folder.0, "demo CA", KeyKind::P256, CA_DAYS, now()?)?;
    let stranger = folder.0.join("stranger");
    let strange_ca = Ca::init(&stranger, "demo CA", KeyKind::P256, CA_DAYS, now()?)?;
    for (ca, name) in [(&ca, SENDER), (&strange_ca, SENDER)] {
        ca.issue(name, None, None, now()?)?;
    }

    let honest = signing(&folder.0)?;
    let stranger = signing(&stranger)?;
    let forger = Native.publisher(&Options::default())?;
    let forged = forger.bind(&Endpoint::tcp("127.0.0.1", 0))?;
    let endpoint = honest.endpoint().ok_or("nothing was bound")?;
    let strange = stranger.endpoint().ok_or("nothing was bound")?;

    let trust = Trust::load(&folder.0.join("ca.crt"), Some(&folder.0.join("crl.pem")))?;
    let everybody = [endpoint.clone(), strange, forged];
    let settings = Settings {
        endpoints: [(SENDER.to_owned(), everybody.to_vec())].into(),
        validator: Some(Arc::new(trust)),
        refused: Refused::HandOn,
        ..Settings::default()
    };
    let mut bus = Subscriber {
        tail: Context::new(settings)?.tail("org.example.")?,
        out: io::stdout(),
        accepted: 0,
        refused: 0,
        surprises: 0,
    };
    writeln!(
        bus.out,
        "A CA and a certificate for {SENDER}, made in {}.\n\
         A publisher on {endpoint}, a subscriber that validates what it gets.\n",
        folder.0.display()
    )?;
    let found = honest.wait_for_subscriber(PATIENCE)?
        && stranger.wait_for_subscriber(PATIENCE)?
        && forger.wait_for_subscriber(PATIENCE)?;
    if !found {
        return Err("the subscriber did not find the publisher".into());
    }

    let mut genuine = Vec::new();
    let messages = messages();
    for (modname, topic, msg) in &messages {
        honest.publish(modname, topic, msg)?;
        genuine.push(bus.show("genuine", true)?);
        if !args.fast {
            thread::sleep(PAUSE);
        }
    }

    writeln!(bus.out, "\nNow somebody else tries:")?;
    let original = genuine.first().ok_or("no message arrived")?;
    let topic = original.topic.as_bytes();
    for (what, topic, body) in [
        ("a changed message", topic, change(&original.body)?),
        (
            "a message under another topic",
            b"org.example.prod.forged".as_slice(),
            original.body.to_vec(),
        ),
        ("a message without signature", topic, strip(&original.body)),
    ] {
        forger.send(topic, &[&body])?;
        bus.show(what, false)?;
    }
    stranger.publish("git", "receive", &json!({"agent": "mallory"}))?;
    bus.show("a key of another CA's", false)?;

    let (modname, topic, msg) = messages.first().ok_or("no message")?;
    let start = Instant::now();
    for _ in 0..BURST {
        honest.publish(modname, topic, msg)?;
    }
    let sending = start.elapsed();
    for _ in 0..BURST {
        bus.take(true)?;
    }
    let receiving = start.elapsed() - sending;
    let rate = |time: Duration| f64::from(BURST) / time.as_secs_f64();
    writeln!(
        bus.out,
        "\n{} messages accepted, {} refused, {} surprises.\n\
         The last {BURST} in one go: signed and sent {:.0} a second, received and validated \
         {:.0} a second.",
        bus.accepted,
        bus.refused,
        bus.surprises,
        rate(sending),
        rate(receiving)
    )?;
    Ok(exit_code(bus.surprises == 0))
}

/// Who sends.
const SENDER: &str = "git-app01.example.org";

/// A publisher whose messages are signed with the sender's key in this folder.
fn signing(ssldir: &Path) -> Result<Context, Box<dyn std::error::Error>> {
    let settings = Settings {
        topic_prefix: "org.example".into(),
        environment: "prod".into(),
        name: Some(SENDER.into()),
        endpoints: [(SENDER.to_owned(), vec![Endpoint::tcp("127.0.0.1", 0)])].into(),
        post_init_sleep: Duration::ZERO,
        signer: Some(Arc::new(FileSigner::load(ssldir, SENDER)?)),
        ..Settings::default()
    };
    Ok(Context::new(settings)?)
}

/// Takes and shows what comes, and counts.
struct Subscriber {
    tail: Tail,
    out: io::Stdout,
    accepted: u32,
    refused: u32,
    /// Verdicts that were not as they should be.
    surprises: u32,
}

impl Subscriber {
    /// Takes the next message, which should be valid or not.
    fn take(&mut self, valid: bool) -> Result<Message<'static>, Box<dyn std::error::Error>> {
        let received = self
            .tail
            .recv(Some(PATIENCE))?
            .ok_or("a message did not arrive")?;
        let is_valid = matches!(received.verdict, Verdict::Valid { .. });
        *if is_valid {
            &mut self.accepted
        } else {
            &mut self.refused
        } += 1;
        self.surprises += u32::from(is_valid != valid);
        Ok(received)
    }

    /// Takes the next message and shows it.
    fn show(
        &mut self,
        what: &str,
        valid: bool,
    ) -> Result<Message<'static>, Box<dyn std::error::Error>> {
        let received = self.take(valid)?;
        let Message {
            topic,
            body,
            verdict,
            ..
        } = &received;
        match verdict {
            Verdict::Valid { signer } => {
                let size = body.len();
                let msg = Members::new(body)
                    .and_then(|mut members| members.find(|member| member.key == "msg"))
                    .map_or(&b""[..], |member| member.value);
                let msg = String::from_utf8_lossy(msg);
                let short: String = msg.chars().take(60).collect();
                let dots = if short.len() < msg.len() { "…" } else { "" };
                writeln!(
                    self.out,
                    "  ok       {topic:<46} {signer}  {size:>4} B  {short}{dots}"
                )?;
            }
            refusal => writeln!(self.out, "  REFUSED  {topic:<46} {what}: {refusal}")?,
        }
        Ok(received)
    }
}

/// The message with another word in it, everything else as it was.
fn change(body: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut message: Value = serde_json::from_slice(body)?;
    if let Some(msg) = message.get_mut("msg") {
        *msg = json!({"agent": "mallory"});
    }
    serde_json::to_vec(&message)
}

/// The message without its credentials.
fn strip(body: &[u8]) -> Vec<u8> {
    let members: Vec<_> = Members::new(body)
        .into_iter()
        .flatten()
        .filter(|member| !["certificate", "crypto", "signature"].contains(&member.key))
        .filter_map(|member| body.get(member.span))
        .collect();
    [b"{", members.join(&b","[..]).as_slice(), b"}"].concat()
}

/// A temporary folder of this user's alone, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Box<dyn std::error::Error>> {
        let path = std::env::temp_dir().join(format!("fedmsg-demo-{}", std::process::id()));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the temporary folder's to clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A day on a bus: messages in the shape of those that a distribution's services send.
fn messages() -> Vec<(&'static str, &'static str, Value)> {
    let mut messages = Vec::new();
    for (package, version, agent) in [
        ("zeromq", "4.3.5", "amara"),
        ("nethack", "3.6.7", "björn"),
        ("python-arrow", "1.3.0", "chidi"),
        ("ansible", "9.5.1", "dolores"),
        ("kernel", "6.9.1", "eero"),
    ] {
        let nvr = format!("{package}-{version}-1");
        messages.extend([
            (
                "git",
                "receive",
                json!({"commit": {
                    "agent": agent,
                    "branch": "rawhide",
                    "repo": package,
                    "rev": "7a98f80d9b61ce167e4ef8129c81ed9284ecf4e1",
                    "stats": {"files": {format!("{package}.spec"): {"additions": 2, "deletions": 1}}},
                    "summary": format!("Update to {version}"),
                }}),
            ),
            (
                "buildsys",
                "build.state.change",
                json!({"build_id": 614_503, "name": package, "new": 1, "old": 0, "owner": agent}),
            ),
            (
                "bodhi",
                "update.request.testing",
                json!({"agent": agent, "update": {"builds": [{"nvr": nvr}], "karma": 0, "title": nvr}}),
            ),
            (
                "taskotron",
                "result.new",
                json!({"task": {"item": nvr, "name": "rpmlint"}, "result": {"outcome": "PASSED", "seconds": 12.75}}),
            ),
            (
                "fedoratagger",
                "tag.update",
                json!({"tag": {"tag": "network", "total": 41, "votes": [1, null, true]}, "user": {"username": agent}}),
            ),
            (
                "wiki",
                "article.edit",
                json!({"title": format!("Changes/{package}"), "url": "https://wiki.example.org/", "minor_edit": false}),
            ),
        ]);
    }
    messages
}
