//! `fedmsg::encoding` beside the peer's: values to text and back, of messages of three sizes.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    borrow::Cow,
    hint::black_box,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fedmsg::encoding::{dumps, loads};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
struct Message<'a> {
    i: u64,
    #[serde(borrow)]
    msg: Msg<'a>,
    #[serde(borrow)]
    msg_id: Cow<'a, str>,
    timestamp: u64,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    username: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct Msg<'a> {
    #[serde(borrow)]
    agent: Cow<'a, str>,
    #[serde(borrow)]
    commits: Vec<Commit<'a>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Commit<'a> {
    #[serde(borrow)]
    branch: Cow<'a, str>,
    load: f64,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    rev: Cow<'a, str>,
    seen: bool,
    size: u32,
}

fn message(commits: usize) -> Message<'static> {
    let commit = Commit {
        branch: "rawhide".into(),
        load: 412.75,
        message: "Update to 8.3\n\n- drop the patch that Gr\u{e9}goire sent upstream".into(),
        rev: "4f1b0d9c0f1f3b6a2f4be0f3a0cbd7d1e7e1c2aa".into(),
        seen: false,
        size: 14_817,
    };
    Message {
        i: 23,
        msg: Msg {
            agent: "noor".into(),
            commits: vec![commit; commits],
        },
        msg_id: "2026-c1b0c5b0-77a5-4b2c-8f1a-35a8d8c7a1de".into(),
        timestamp: 1_795_431_130,
        topic: "org.example.prod.git.receive".into(),
        username: "gitolite".into(),
    }
}

fn encoding(c: &mut Criterion) {
    // Where cargo puts this program, or what it says instead.
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().nth(2).unwrap();
    let python = fedmsg_benches::peer::environment(folder).unwrap();
    for commits in [0, 10, 101] {
        let message = message(commits);
        let text = dumps(&message).unwrap();
        let value: Value = loads(&text).unwrap();
        assert_eq!(dumps(&value).unwrap(), text);
        let mut peer = Peer::start(&python, &text);
        let size = text.len();
        let mut compare = |what: &str, of: &str, ours: &mut dyn FnMut()| {
            let mut group = c.benchmark_group(format!("{what} {of} of {size} B"));
            group
                .throughput(Throughput::Elements(1))
                .warm_up_time(Duration::from_millis(500))
                .measurement_time(Duration::from_secs(2));
            group.bench_function("fedmsg", |b| b.iter(&mut *ours));
            group.bench_function("Python fedmsg", |b| {
                b.iter_custom(|times| peer.time(what, times));
            });
            group.finish();
        };
        compare("dumps", "a struct", &mut || {
            black_box(dumps(black_box(&message)).unwrap());
        });
        compare("dumps", "a Value", &mut || {
            black_box(dumps(black_box(&value)).unwrap());
        });
        compare("loads", "a struct", &mut || {
            black_box(loads::<Message<'_>>(black_box(&text)).unwrap());
        });
        compare("loads", "a Value", &mut || {
            black_box(loads::<Value>(black_box(&text)).unwrap());
        });
    }
}

/// A running `encoding.py`. Ends when dropped.
struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &Path, message: &str) -> Self {
        let mut child = Command::new(python)
            .args(["-I", "-c", include_str!("encoding.py"), message])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (requests, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self {
            child,
            requests,
            answers: BufReader::new(answers),
        }
    }

    fn time(&mut self, what: &str, times: u64) -> Duration {
        writeln!(self.requests, "[\"{what}\",{times}]").unwrap();
        let mut seconds = String::new();
        self.answers.read_line(&mut seconds).unwrap();
        Duration::from_secs_f64(seconds.trim().parse().unwrap())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

criterion_group!(benches, encoding);
criterion_main!(benches);
