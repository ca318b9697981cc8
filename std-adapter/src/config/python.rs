//! Python configuration files, run by a child process.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Error, MAX_DEPTH, Warning};

/// What a file says, and what was left out of it.
type Said = (Map<String, Value>, Vec<Warning>);

/// Runs files one after the other in one interpreter, which is ended when it takes longer than
/// `limit`. After an answer that is about the interpreter there are none for the files that follow.
pub(super) fn run(python: &Path, files: &[PathBuf], limit: Duration) -> Vec<Result<Said, Error>> {
    if files.is_empty() {
        return Vec::new();
    }
    let started = Instant::now();
    let child = Command::new(python)
        .args(["-c", include_str!("read.py")])
        .arg(MAX_DEPTH.to_string())
        .args(files)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => Interpreter(child),
        Err(source) => {
            return vec![Err(Error::NoPython {
                python: python.to_owned(),
                files: files.to_vec(),
                source,
            })];
        }
    };
    let lines = lines(&mut child.0);
    let mut answers = Vec::new();
    for file in files {
        let left = limit.saturating_sub(started.elapsed());
        let answer = match lines.recv_timeout(left) {
            Ok(line) => answer(file, &line),
            Err(RecvTimeoutError::Timeout) => Err(Error::PythonTime {
                file: file.clone(),
                limit,
            }),
            Err(RecvTimeoutError::Disconnected) => Err(match child.end() {
                Ok(status) => Error::PythonEnded {
                    file: file.clone(),
                    status,
                },
                Err(source) => Error::Unreadable {
                    path: file.clone(),
                    source,
                },
            }),
        };
        let is_last = matches!(
            answer,
            Err(Error::PythonTime { .. } | Error::PythonEnded { .. } | Error::TooLarge { .. })
        );
        answers.push(answer);
        if is_last {
            break;
        }
    }
    answers
}

/// Ended when dropped: after its last answer it has nothing left to do.
struct Interpreter(Child);

impl Interpreter {
    fn end(&mut self) -> std::io::Result<std::process::ExitStatus> {
        // Fails where it has ended by itself.
        let _ = self.0.kill();
        self.0.wait()
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        // Nobody is left to tell if this fails.
        let _ = self.end();
    }
}

/// What the interpreter answers, line by line. A line that lacks its end is the last.
fn lines(child: &mut Child) -> mpsc::Receiver<Vec<u8>> {
    let (line, lines) = mpsc::channel();
    let output = child.stdout.take();
    // Ends with the interpreter's output. (That may be later than the interpreter, if a file has
    // forked; what it holds until then is a pipe.)
    thread::spawn(move || {
        let mut output = BufReader::new(output?);
        loop {
            let mut next = Vec::new();
            let read = output
                .by_ref()
                .take(MAX_ANSWER)
                .read_until(b'\n', &mut next)
                .ok()?;
            if read == 0 {
                return None;
            }
            let is_whole = next.last() == Some(&b'\n');
            if line.send(next).is_err() || !is_whole {
                return Some(());
            }
        }
    });
    lines
}

/// What the script says about a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Values {
        values: Map<String, Value>,
        left_out: Vec<(String, String)>,
    },
    Deep {
        deep: String,
    },
    Failed {
        message: String,
        line: Option<u64>,
    },
}

fn answer(file: &Path, line: &[u8]) -> Result<Said, Error> {
    let file = file.to_owned();
    if line.last() != Some(&b'\n') {
        let limit = MAX_ANSWER;
        return Err(Error::TooLarge { file, limit });
    }
    match serde_json::from_slice(line) {
        Ok(Answer::Values { values, left_out }) => {
            let warnings = left_out.into_iter().map(|(key, what)| Warning::LeftOut {
                key,
                file: file.clone(),
                what,
            });
            Ok((values, warnings.collect()))
        }
        Ok(Answer::Deep { deep: key }) => Err(Error::TooDeep { key, file }),
        Ok(Answer::Failed { message, line }) => Err(Error::Python {
            file,
            line,
            message,
        }),
        Err(error) => Err(Error::Python {
            file,
            line: None,
            message: error.to_string(),
        }),
    }
}

/// The longest answer, in bytes: many times the longest file.
const MAX_ANSWER: u64 = 16 << 20;
