//! The backend `gpg`: a message of 200 B signed, and validated, beside Python fedmsg with the same
//! key and agent. Needs GnuPG.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use fedmsg::crypto::{
    Scratch,
    gpg::{GpgSigner, GpgVerifier},
};
use serde_json::{Value, json};
use std::{
    env,
    hint::black_box,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

fn gpg(c: &mut Criterion) {
    // Short, for the sockets' sake.
    let dir = tempfile::Builder::new().prefix("g").tempdir_in("/tmp");
    let dir = dir.unwrap();
    for key in ["ed25519", "rsa2048"] {
        run(
            "gpg",
            dir.path(),
            &[
                "--batch",
                "--passphrase",
                "",
                "--quick-gen-key",
                key,
                key,
                "sign",
                "0",
            ],
        );
        let message = json!({
            "i": 7, "msg": {"text": "x".repeat(60)}, "msg_id": "2026-5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a",
            "timestamp": 1_795_430_000, "topic": "org.example.dev.logger.log", "username": "root",
        });
        let text = message.to_string();
        let signer = GpgSigner::open(Some(dir.path()), key).unwrap();
        let verifier = GpgVerifier::open(Some(dir.path())).unwrap();
        let signed = Scratch::default()
            .sign(text.as_bytes(), &signer)
            .unwrap()
            .to_vec();
        let mut peer = Peer::start(&message, dir.path(), key);

        let mut group = c.benchmark_group(format!("gpg sign {key}, {} B", text.len()));
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(2));
        group.bench_function("fedmsg", |b| {
            let mut scratch = Scratch::default();
            b.iter(|| {
                scratch
                    .sign(black_box(text.as_bytes()), &signer)
                    .unwrap()
                    .len()
            });
        });
        group.bench_function("Python fedmsg", |b| {
            b.iter_custom(|times| peer.time("sign", times));
        });
        group.finish();

        let mut group = c.benchmark_group(format!("gpg validate {key}, {} B", text.len()));
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(2));
        group.bench_function("fedmsg", |b| {
            let mut scratch = Scratch::default();
            b.iter(|| {
                let valid = scratch.validate(None, black_box(&signed), &[&verifier], 0);
                valid.unwrap().signer.len()
            });
        });
        group.bench_function("Python fedmsg", |b| {
            b.iter_custom(|times| peer.time("validate", times));
        });
        group.finish();
    }
    run("gpgconf", dir.path(), &["--kill", "all"]);
}

/// The peer's process. Ends when dropped.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(message: &Value, home: &Path, key: &str) -> Self {
        let config = json!({
            "crypto_backend": "gpg",
            "crypto_validate_backends": ["gpg"],
            "gpg_home": home,
            "gpg_signing_key": key,
        });
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
            PathBuf::from,
        );
        let python = fedmsg_benches::peer::environment(&target).unwrap();
        let mut child = Command::new(python)
            .args(["-I", "-c", include_str!("gpg_peer.py")])
            .args([message, &config].map(Value::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn time(&mut self, task: &str, times: u64) -> Duration {
        writeln!(self.input, "{}", json!([task, times])).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        Duration::from_secs_f64(line.trim().parse().unwrap())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(program: &str, home: &Path, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.arg("--homedir").arg(home).args(arguments);
    let output = command
        .output()
        .expect("this benchmark needs GnuPG 2.2 or later");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

criterion_group!(benches, gpg);
criterion_main!(benches);
