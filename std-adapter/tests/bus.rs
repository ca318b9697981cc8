//! `fedmsg demo`, `publish` and `tail`, as programs.
#![allow(clippy::expect_used, reason = "that is how a test's helper fails")]
#![cfg(feature = "cli")]

use std::{
    io::Write as _,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

fn fedmsg(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fedmsg"));
    command.args(args).stdin(Stdio::null());
    command
}

fn output(mut command: Command) -> Output {
    command.output().expect("the program runs")
}

fn spawn(mut command: Command) -> Running {
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Running(Some(command.spawn().expect("the program runs")))
}

/// A child that does not outlive its test.
struct Running(Option<Child>);

impl Running {
    fn feed(&mut self, text: &str) {
        let stdin = self.0.as_mut().and_then(|child| child.stdin.take());
        stdin
            .expect("a pipe")
            .write_all(text.as_bytes())
            .expect("the program reads");
    }

    fn output(mut self) -> Output {
        let child = self.0.take().expect("it runs once");
        child.wait_with_output().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An endpoint that nobody is at.
fn free_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("tcp://{}", listener.local_addr().expect("its address"))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn make_ca(dir: &Path) {
    let dir = dir.to_str().expect("UTF-8");
    assert!(output(fedmsg(&["ca", "init", dir])).status.success());
    assert!(
        output(fedmsg(&["ca", "issue", dir, "lab"]))
            .status
            .success()
    );
}

#[test]
fn the_demo_ends_well_and_refuses_every_forgery() {
    let demo = output(fedmsg(&["demo", "--fast"]));
    let out = text(&demo.stdout);
    assert!(demo.status.success(), "{out}{}", text(&demo.stderr));
    assert_eq!(out.matches("  ok       ").count(), 30, "{out}");
    assert_eq!(out.matches("  REFUSED  ").count(), 4, "{out}");
    assert!(
        out.contains("2030 messages accepted, 4 refused, 0 surprises."),
        "{out}"
    );
}

#[test]
fn what_is_published_is_tailed_whoever_binds() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ca_dir = dir.path().join("ca");
    make_ca(&ca_dir);
    let ca_crt = ca_dir.join("ca.crt");
    let (ssldir, ca_crt) = (
        ca_dir.to_str().expect("UTF-8"),
        ca_crt.to_str().expect("UTF-8"),
    );
    for publisher_binds in [true, false] {
        let endpoint = free_endpoint();
        let bind = |binds: bool| if binds { &["--bind"][..] } else { &[] };
        let tail = [
            "tail",
            "--endpoint",
            &endpoint,
            "--ca",
            ca_crt,
            "--count",
            "3",
            "--max-silence",
            "60",
        ];
        let tail = spawn(fedmsg(&[&tail[..], bind(!publisher_binds)].concat()));
        let publish = [
            "publish",
            "--endpoint",
            &endpoint,
            "--topic",
            "x",
            "--json",
            "--wait",
            "60",
            "--ssldir",
            ssldir,
            "--certname",
            "lab",
        ];
        let mut publish = spawn(fedmsg(&[&publish[..], bind(publisher_binds)].concat()));
        publish.feed("{\"a\":1e2}\n[]\n\"\u{e9}\"\n");
        let published = publish.output();
        assert!(published.status.success(), "{}", text(&published.stderr));
        let tailed = tail.output();
        assert!(tailed.status.success(), "{}", text(&tailed.stderr));
        let lines: Vec<_> = text(&tailed.stdout).lines().collect();
        assert_eq!(lines.len(), 3);
        for (line, (i, msg)) in
            lines
                .iter()
                .zip([(1, r#"{"a":100.0}"#), (2, "[]"), (3, r#""\u00e9""#)])
        {
            assert!(line.starts_with("{\"certificate\":\""), "{line}");
            assert!(
                line.contains(r#""topic":"com.example.dev.logger.x""#),
                "{line}"
            );
            assert!(
                line.contains(&format!(r#","i":{i},"msg":{msg},"msg_id":""#)),
                "{line}"
            );
        }
    }
}

#[test]
fn nobody_listening_or_nothing_coming_is_an_error_that_says_so() {
    let endpoint = free_endpoint();
    let publish = [
        "publish",
        "--endpoint",
        &endpoint,
        "--topic",
        "x",
        "--wait",
        "0.2",
        "hello",
    ];
    let refused = output(fedmsg(&publish));
    assert_eq!(refused.status.code(), Some(1));
    let stderr = text(&refused.stderr);
    assert!(
        stderr.contains(&format!("{endpoint}: Connection refused")),
        "{stderr}"
    );
    assert!(
        stderr.contains("fedmsg publish: not sent: no subscriber on tcp://"),
        "{stderr}"
    );

    let silent = output(fedmsg(&[
        "tail",
        "--endpoint",
        &endpoint,
        "--bind",
        "--max-silence",
        "0.2",
    ]));
    assert_eq!(silent.status.code(), Some(1));
    assert!(
        text(&silent.stderr).contains("no message for 0.2 s"),
        "{}",
        text(&silent.stderr)
    );
}

#[test]
fn a_line_that_is_no_json_ends_publishing_with_its_number() {
    let endpoint = free_endpoint();
    let publish = [
        "publish",
        "--endpoint",
        &endpoint,
        "--bind",
        "--topic",
        "x",
        "--json",
        "--wait",
        "0",
    ];
    let mut publish = spawn(fedmsg(&publish));
    publish.feed("{}\n{\"a\":}\n{}\n");
    let published = publish.output();
    assert_eq!(published.status.code(), Some(1));
    assert!(
        text(&published.stderr).starts_with("fedmsg publish: line 2: "),
        "{}",
        text(&published.stderr)
    );
}

#[test]
fn wrong_command_lines_are_told_from_failures() {
    for args in [
        &["tail", "--bind"][..],
        &["tail", "--endpoint", "udp://127.0.0.1:1"],
        &["tail", "--endpoint", "tcp://::1:1"],
        &[
            "publish",
            "--endpoint",
            "tcp://127.0.0.1:1",
            "--topic",
            "",
            "m",
        ],
        &[
            "publish",
            "--endpoint",
            "tcp://127.0.0.1:1",
            "--topic",
            "x",
            "--wait",
            "-1",
            "m",
        ],
        &[
            "publish",
            "--endpoint",
            "tcp://127.0.0.1:1",
            "--topic",
            "x",
            "--ssldir",
            "d",
            "m",
        ],
    ] {
        assert_eq!(output(fedmsg(args)).status.code(), Some(2), "{args:?}");
    }
    for args in [
        &[
            "tail",
            "--endpoint",
            "tcp://127.0.0.1:1",
            "--ca",
            "/nonexistent",
        ][..],
        &["tail", "--endpoint", "tcp://*:1"],
    ] {
        let failed = output(fedmsg(args));
        assert_eq!(failed.status.code(), Some(1), "{args:?}");
        assert_eq!(
            text(&failed.stderr).lines().count(),
            1,
            "{}",
            text(&failed.stderr)
        );
    }
}
