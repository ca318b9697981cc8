//! Python fedmsg, the peer, at work.

use crate::run::{Measured, Result, number};
use serde_json::Value;
use std::{path::Path, process::Command};

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
