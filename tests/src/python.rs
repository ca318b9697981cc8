//! The Python side of a test: packages of pinned versions, and child processes that speak lines.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use serde_json::Value;

use crate::{PATIENCE, eventually};

/// Cargo's target directory: where tests put what they download and install.
pub fn target_dir() -> PathBuf {
    let exe = env::current_exe().expect("the path of this test");
    let dir = exe
        .ancestors()
        .find(|dir| dir.join(".rustc_info.json").exists());
    dir.expect("this test is run from cargo's target directory")
        .to_owned()
}

/// The interpreter of a virtual environment that holds these packages, such as `pyzmq==27.3.0`.
///
/// Made at its first use, as `target/python/NAME`; a change of the packages needs another name.
pub fn environment(name: &str, packages: &[&str]) -> PathBuf {
    let home = target_dir().join("python");
    make_once(&home.join(name), |dir| {
        run(
            Command::new("python3").args(["-m", "venv"]).arg(dir),
            "python3 with its venv module \
             (Debian: apt install python3-venv)",
        );
        run(
            Command::new(dir.join("bin/python"))
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                ])
                .args(packages),
            "access to PyPI for pip",
        );
    });
    home.join(name).join("bin/python")
}

/// The interpreter that has Python fedmsg 1.1.7, the peer; its programs lie beside it.
pub fn fedmsg() -> PathBuf {
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/py/fedmsg-requirements.txt");
    environment("fedmsg-1.1.7", &["-r", requirements])
}

/// Makes a directory by `fill`, unless it is there. Tests run at once in many threads and
/// processes: each fills a directory of its own, and the first to finish gives it the name.
pub fn make_once(dir: &Path, fill: impl FnOnce(&Path)) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    if dir.exists() {
        return;
    }
    let mut own = dir.as_os_str().to_owned();
    own.push(format!(".{}", process::id()));
    let own = PathBuf::from(own);
    let _ = fs::remove_dir_all(&own);
    fs::create_dir_all(&own).expect("a directory under target/");
    fill(&own);
    if fs::rename(&own, dir).is_err() {
        assert!(dir.exists(), "{} cannot be made", dir.display());
        let _ = fs::remove_dir_all(&own);
    }
}

/// Runs a command of the set-up; `needs` says what is missing where it fails.
#[track_caller]
pub fn run(command: &mut Command, needs: &str) {
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    let last = output.lines().last().unwrap_or_default();
    panic!("this test needs {needs}: {command:?}: {last}");
}

/// The messages in the tests of a package that made texts of the Fedora bus's messages: each as its
/// `text`, and what Python makes of it (`canonical`); of two of them, which are signed, also what was
/// `signed`.
#[track_caller]
pub fn real_messages() -> Vec<Value> {
    const NAME: &str = "fedmsg_meta_fedora_infrastructure";
    const SHA256: &str = "b7f8fad4317d4e78c10a4efc5783efa64cd6c358933d569a16135ebe92e86e35";
    let python = environment("pyzmq-27.3.0", &["pyzmq==27.3.0"]);
    let dir = target_dir().join("python").join(format!("{NAME}-0.31.0"));
    make_once(&dir, |dir| {
        run(
            Command::new(&python)
                .args([
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--disable-pip-version-check",
                ])
                .args(["--no-deps", "--no-binary", ":all:", "--dest"])
                .arg(dir)
                .arg(format!("{NAME}==0.31.0")),
            "access to PyPI for pip",
        );
    });
    let sdist = fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    let output = Command::new(&python)
        .args(["-I", "-c", include_str!("../py/real_messages.py")])
        .arg(sdist)
        .arg(SHA256)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A running Python script that answers requests. Ends when dropped.
///
/// A request is a line of JSON, an array; an answer is a line of JSON: an object, with the lengths
/// of the byte strings that follow it as `blobs`, or with what went wrong as `error`.
pub struct Script {
    child: Child,
    /// Taken to end them.
    requests: Option<ChildStdin>,
    answers: Receiver<Answer>,
}

/// What a [`Script`] answered.
#[derive(Debug)]
pub struct Answer {
    /// The answer's line.
    pub line: Value,
    /// The byte strings after it.
    pub blobs: Vec<Vec<u8>>,
}

impl Script {
    /// Runs the text of a script, under an interpreter of [`environment`].
    pub fn start(python: &Path, script: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(python)
            .args(["-I", "-c", script])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a Python process");
        let requests = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (answer, answers) = mpsc::channel();
        // Ends with the process, whose output then ends.
        thread::spawn(move || {
            while let Some(next) = read_answer(&mut output) {
                if answer.send(next).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            requests,
            answers,
        }
    }

    /// Asks and waits for the answer: what went wrong in the script is the error.
    #[track_caller]
    pub fn ask(&mut self, request: &Value, blobs: &[&[u8]]) -> Result<Answer, String> {
        let mut bytes = request.to_string().into_bytes();
        bytes.push(b'\n');
        bytes.extend(blobs.concat());
        let requests = self
            .requests
            .as_mut()
            .expect("requests are not at their end");
        requests.write_all(&bytes).expect("the script is running");
        // Some requests are themselves to wait for a while.
        let answer = self
            .answers
            .recv_timeout(PATIENCE * 2)
            .expect("the script answers");
        match answer.line.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }

    /// Ends the requests, and waits for the process to end after them.
    pub fn finish(&mut self) {
        self.requests.take();
        eventually("the script ends", || {
            self.child.try_wait().expect("its status").is_some()
        });
    }

    /// Ends the process at once, by SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_answer(output: &mut impl BufRead) -> Option<Answer> {
    let mut line = String::new();
    output.read_line(&mut line).ok()?;
    let line: Value = serde_json::from_str(&line).ok()?;
    let mut blobs = Vec::new();
    for length in line
        .get("blobs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let mut blob = vec![0; length.as_u64()?.try_into().ok()?];
        output.read_exact(&mut blob).ok()?;
        blobs.push(blob);
    }
    Some(Answer { line, blobs })
}
