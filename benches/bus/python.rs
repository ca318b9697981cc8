//! Python fedmsg, the peer, in a virtual environment under the target directory.

use crate::run::{Measured, Result, number};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Three are held back: with newer ones it fails, or silently does not sign.
const PACKAGES: [&str; 6] = [
    "fedmsg==1.1.7",
    "moksha.hub==1.5.17",
    "pyzmq==27.3.0",
    "pyOpenSSL==24.2.1",
    "cryptography==43.0.3",
    "setuptools==80.9.0",
];

/// The interpreter, made at the first use.
pub(crate) fn environment(folder: &Path) -> Result<PathBuf> {
    let home = folder.join("python/fedmsg-1.1.7");
    let python = home.join("bin/python");
    let made = home.join("made");
    if !made.exists() {
        let mut venv = Command::new("python3");
        let mut pip = Command::new(&python);
        venv.args(["-m", "venv", "--clear"]).arg(&home);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(PACKAGES);
        for command in [&mut venv, &mut pip] {
            if !command.status()?.success() {
                return Err(format!("failed: {command:?}").into());
            }
        }
        fs::write(made, "")?;
    }
    Ok(python)
}

/// From publish to tail, in a network namespace of its own.
pub(crate) fn end_to_end(python: &Path, millis: u64) -> Result<Measured> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bus/peer.py");
    let output = Command::new("unshare")
        .arg("--net")
        .arg(python)
        .args(["-I", "-W", "ignore"])
        .arg(script)
        .arg(millis.to_string())
        .output()?;
    let (mut start, mut ended) = (None, None);
    for line in String::from_utf8(output.stdout)?.lines() {
        let value: Value = serde_json::from_str(line)?;
        match value.get("start") {
            Some(_) => start = Some(number(&value, "start")?),
            None => ended = Some(value),
        }
    }
    let Some((start, ended)) = start.zip(ended) else {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(errors.lines().next_back().unwrap_or("nothing").into());
    };
    let seconds = (number(&ended, "end")? - start) / 1e9;
    Ok(Measured::from([
        ("rate", number(&ended, "messages")? / seconds),
        ("size", number(&ended, "size")?),
    ]))
}
