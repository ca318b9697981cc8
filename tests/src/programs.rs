//! Programs, ours and Python fedmsg's, at one site: configuration files, processes, what they say.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    PATIENCE, eventually,
    namespace::{self, is_alone},
    python::{self, run, target_dir},
};

/// Whose program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Ours.
    Ours,
    /// Python fedmsg's.
    Theirs,
}

/// Runs a test in a [network of its own](namespace::alone), where our programs are too.
#[track_caller]
pub fn alone(name: &str, test: impl FnOnce()) {
    fedmsg();
    namespace::alone(name, test);
}

/// The program `fedmsg`, built when it is asked for; not in a [network of one's
/// own](crate::namespace), where it has to be there already.
pub fn fedmsg() -> PathBuf {
    static BUILD: std::sync::Once = std::sync::Once::new();
    if !is_alone() {
        BUILD.call_once(|| {
            // With this package, so that what it has compiled already is of use.
            let mut build = Command::new(env!("CARGO"));
            build
                .args(["build", "--quiet", "--package", "fedmsg", "--bin", "fedmsg"])
                .args(["--package", "fedmsg-tests"])
                .arg("--manifest-path")
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
                .arg("--target-dir")
                .arg(target_dir());
            run(&mut build, "cargo to build fedmsg");
        });
    }
    target_dir().join("debug/fedmsg")
}

/// A folder with configurations by name: each a folder to run programs in, with its `fedmsg.d`.
pub struct Site {
    dir: tempfile::TempDir,
    values: Value,
}

impl Site {
    /// A site whose configurations have these values, made by what is told where it lies.
    pub fn new(values: impl FnOnce(&Path) -> Value) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let values = values(dir.path());
        Self { dir, values }
    }

    /// The folder of it all.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Adds the configuration `name`: the site's values, with some in place of theirs. In Python,
    /// or in TOML, which only ours read.
    pub fn configure(&self, name: &str, differences: &Value, python: bool) {
        let dir = self.dir().join(name).join("fedmsg.d");
        fs::create_dir_all(&dir).expect("a folder");
        let files = [("00-site", &self.values), ("10-differences", differences)];
        for (file, values) in files {
            let (text, ending) = match python {
                true => (format!("config = {}\n", literal(values)), "py"),
                false => (toml::to_string(values).expect("TOML"), "toml"),
            };
            let file = dir.join(format!("{file}.{ending}"));
            fs::write(file, text).expect("a file");
        }
    }

    /// A program such as `relay` under a configuration.
    pub fn command(&self, maker: Maker, program: &str, configuration: &str) -> Command {
        let mut command = match maker {
            Maker::Ours => {
                let mut command = Command::new(fedmsg());
                command.arg(program);
                command
            }
            Maker::Theirs => {
                let python = python::fedmsg();
                let program = python.with_file_name(format!("fedmsg-{program}"));
                let mut command = Command::new(python);
                command.args(["-W", "ignore"]).arg(program);
                command
            }
        };
        self.at(&mut command, configuration);
        command
    }

    /// Has a program run under a configuration.
    pub fn at(&self, command: &mut Command, configuration: &str) {
        command
            .current_dir(self.dir().join(configuration))
            .env("HOME", self.dir())
            .env_remove("FEDMSG_CONFIG");
    }
}

/// A value as Python writes it.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(literal).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(members) => {
            let mut text = "{\n".to_owned();
            for (key, value) in members {
                let key = Value::from(key.as_str());
                let _ = writeln!(text, "{key}: {},", literal(value));
            }
            text + "}"
        }
        Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// A running program that is told lines and says lines. Ends when dropped.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    said: Arc<Mutex<String>>,
}

impl Program {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let said = Arc::<Mutex<String>>::default();
        listen(child.stdout.take().unwrap(), &said);
        listen(child.stderr.take().unwrap(), &said);
        Self {
            input: child.stdin.take(),
            child,
            said,
        }
    }

    /// Tells it a line.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it is still told things");
        writeln!(input, "{line}").expect("it listens");
    }

    /// What it said so far, on both of its outputs.
    #[must_use]
    pub fn said(&self) -> String {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether it said this.
    #[must_use]
    pub fn has_said(&self, part: &str) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.contains(part)
    }

    /// Waits until it has said this.
    #[track_caller]
    pub fn hear(&mut self, part: &str) {
        self.until(part, |program| program.has_said(part));
    }

    /// Waits for something that it is to bring about; a failure tells what it said instead.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            let ended = self.child.try_wait().expect("its status");
            let late = start.elapsed() > PATIENCE;
            let said = || self.said();
            assert!(ended.is_none() && !late, "{what}: {ended:?}: {}", said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends its input, and waits for it to end.
    #[track_caller]
    pub fn finish(&mut self) -> ExitStatus {
        self.input.take();
        let mut ended = None;
        eventually("the program ends", || {
            ended = self.child.try_wait().expect("its status");
            ended.is_some()
        });
        ended.unwrap()
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        let kill = Command::new("kill")
            .args(["-s", signal, &self.child.id().to_string()])
            .status();
        assert!(kill.expect("kill (procps)").success());
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps what comes; ends with the process, whose output then ends.
fn listen(output: impl Read + Send + 'static, said: &Arc<Mutex<String>>) {
    let said = Arc::clone(said);
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            let text = String::from_utf8_lossy(&line);
            said.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&text);
            line.clear();
        }
    });
}
