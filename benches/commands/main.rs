//! Start-up time and memory of `fedmsg-logger` and `fedmsg-tail`, beside Python fedmsg's, over
//! loopback: one after the other, in turns.
//!
//! `cargo run --release -p fedmsg-benches --bin commands -- --peer FOLDER` where FOLDER holds the
//! peer's programs. What is measured lies beside this program: build it first
//! (`cargo build --release -p fedmsg`).

use std::{
    env, fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use fedmsg::transport::{
    Endpoint, Options, Publisher as _, Subscriber as _, Transport as _, native::Native,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Args {
    /// The folder of the peer's programs
    #[arg(long)]
    peer: PathBuf,
    /// How often each is run; the figures are medians
    #[arg(long, default_value_t = 21)]
    runs: usize,
}

/// Whose program, under which kind of configuration file.
#[derive(Clone, Copy)]
enum Of {
    Ours(&'static str),
    Theirs,
}

const ALL: [(&str, Of); 3] = [
    ("ours, TOML", Of::Ours("toml")),
    ("ours, Python file", Of::Ours("py")),
    ("the peer", Of::Theirs),
];
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let args = Args::parse();
    let bench = Bench::new(&args)?;
    println!("Medians of {} runs.\n", args.runs);
    println!(
        "| | ms, start to end | ms without its sleep | peak MB |\n| --- | ---: | ---: | ---: |"
    );
    for (name, of) in ALL {
        let mut figures = [vec![], vec![], vec![]];
        for _ in 0..args.runs {
            let [whole, without, peak] = &mut figures;
            whole.push(bench.logger(of, &[])?);
            without.push(bench.logger(of, &["--post-init-sleep", "0"])?);
            peak.push(bench.logger_memory(of)?);
        }
        let [whole, without, peak] = figures.map(median);
        println!("| logger, {name} | {whole:.1} | {without:.1} | {peak:.1} |");
    }
    println!(
        "\n| | ms until it listens | idle MB | MB after 20,000 messages |\n| --- | ---: | ---: | ---: |"
    );
    for (name, of) in ALL {
        let mut figures = [vec![], vec![], vec![]];
        for _ in 0..args.runs.min(5) {
            let found = bench.tail(of)?;
            for (figures, found) in figures.iter_mut().zip(found) {
                figures.push(found);
            }
        }
        let [start, idle, busy] = figures.map(median);
        println!("| tail, {name} | {start:.1} | {idle:.1} | {busy:.1} |");
    }
    Ok(fs::remove_dir_all(&bench.dir)?)
}

struct Bench {
    dir: PathBuf,
    peer: PathBuf,
    fedmsg: PathBuf,
    /// Hears of each message that arrives at the relay.
    arrived: mpsc::Receiver<()>,
    publisher: <Native as fedmsg::transport::Transport>::Publisher,
}

impl Bench {
    fn new(args: &Args) -> Result<Self> {
        let any = Endpoint::tcp("127.0.0.1", 0);
        let mut relay = Native.subscriber(&Options::default())?;
        relay.subscribe(b"")?;
        let inbound = relay.bind(&any)?;
        let (sender, arrived) = mpsc::channel();
        // As a relay does: it reads all the time. Ends with the process.
        thread::spawn(move || {
            while let Ok(message) = relay.recv(PATIENCE) {
                if message.is_some() && sender.send(()).is_err() {
                    break;
                }
            }
        });
        let publisher = Native.publisher(&Options::default())?;
        let outbound = publisher.bind(&any)?;
        let dir = env::temp_dir().join(format!("fedmsg-bench-{}", std::process::id()));
        let values = format!(
            "{{'relay_inbound': '{inbound}', 'endpoints': {{'a.b': ['{outbound}']}}, \
             'validate_signatures': False}}"
        );
        let toml = format!(
            "relay_inbound = '{inbound}'\nvalidate_signatures = false\n\
             [endpoints]\n'a.b' = '{outbound}'\n"
        );
        for (kind, text) in [("py", format!("config = {values}\n")), ("toml", toml)] {
            let folder = dir.join(kind).join("fedmsg.d");
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(format!("site.{kind}")), text)?;
        }
        Ok(Self {
            dir,
            peer: args.peer.clone(),
            fedmsg: env::current_exe()?.with_file_name("fedmsg"),
            arrived,
            publisher,
        })
    }

    fn start(&self, of: Of, program: &str, arguments: &[&str]) -> Result<Child> {
        let (mut command, kind) = match of {
            Of::Ours(kind) => (Command::new(&self.fedmsg), kind),
            Of::Theirs => (Command::new(self.peer.join(program)), "py"),
        };
        if let Of::Ours(_) = of {
            command.arg0(program);
        }
        command
            .args(arguments)
            .current_dir(self.dir.join(kind))
            .env("HOME", &self.dir)
            .env("PYTHONWARNINGS", "ignore")
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        Ok(command.spawn()?)
    }

    /// From start to end, in milliseconds.
    fn logger(&self, of: Of, arguments: &[&str]) -> Result<f64> {
        let arguments = [&["--message", "hello"], arguments].concat();
        let start = Instant::now();
        let ended = self.start(of, "fedmsg-logger", &arguments)?.wait()?;
        let took = millis(start);
        // The peer loses the message when it does not sleep.
        while self.arrived.recv_timeout(Duration::from_millis(20)).is_ok() {}
        if !ended.success() {
            return Err("a logger failed".into());
        }
        Ok(took)
    }

    /// The most that it takes, in megabytes, once its message has arrived.
    fn logger_memory(&self, of: Of) -> Result<f64> {
        let mut logger = self.start(of, "fedmsg-logger", &[])?;
        let mut input = logger.stdin.take().ok_or("no pipe")?;
        writeln!(input, "hello")?;
        let arrived = self.arrived.recv_timeout(PATIENCE).is_ok();
        let peak = memory(&logger, "VmHWM:")?;
        drop(input);
        logger.wait()?;
        match arrived {
            true => Ok(peak),
            false => Err("a logger's message did not arrive".into()),
        }
    }

    /// Milliseconds until it listens; megabytes at rest, before and after messages.
    fn tail(&self, of: Of) -> Result<[f64; 3]> {
        let start = Instant::now();
        let mut tail = self.start(of, "fedmsg-tail", &[])?;
        if !self.publisher.wait_for_subscriber(PATIENCE)? {
            return Err("a tail does not listen".into());
        }
        let listening = millis(start);
        thread::sleep(Duration::from_secs(1));
        let idle = memory(&tail, "VmRSS:")?;
        for i in 0..20_000 {
            let body = format!(
                r#"{{"i":{i},"msg":{{"log":"hello"}},"msg_id":"2026-x","timestamp":1795430000,"topic":"a.b","username":"root"}}"#
            );
            self.publisher.send(b"a.b", &[body.as_bytes()])?;
            if i % 100 == 0 {
                thread::sleep(Duration::from_millis(10));
            }
        }
        thread::sleep(Duration::from_secs(1));
        let busy = memory(&tail, "VmRSS:")?;
        tail.kill()?;
        tail.wait()?;
        while self.publisher.subscribers()? > 0 {
            thread::sleep(Duration::from_millis(5));
        }
        Ok([listening, idle, busy])
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn memory(child: &Child, what: &str) -> Result<f64> {
    let status = fs::read_to_string(
        Path::new("/proc")
            .join(child.id().to_string())
            .join("status"),
    )?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kilobytes.ok_or("no figure")?.parse::<f64>()? / 1024.0)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
