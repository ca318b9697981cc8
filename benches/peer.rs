//! Python fedmsg, the peer, in a virtual environment under the target directory.

use std::{
    error::Error,
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

/// The interpreter, made at the first use, under `folder`.
///
/// # Errors
/// What went wrong with it: `python3` with its module `venv` and access to `PyPI` are needed.
pub fn environment(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    // The tests have one of their own beside it.
    let home = folder.join("python/bench-fedmsg-1.1.7");
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
