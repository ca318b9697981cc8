//! Builds the images, runs them in QEMU, and writes what they cost to `docs/device-figures.md`.
//!
//! `run` beside `Cargo.toml` calls it, after `toolchain.sh` has put a compiler, QEMU and the
//! counting plugin into the target directory. With `--check` it writes nothing and fails if a
//! figure has grown by more than [`SLACK`] over the file's. Either way it fails if the codec's
//! image can reach a panic.

#[cfg(not(target_os = "none"))]
mod image;
#[cfg(not(target_os = "none"))]
mod report;

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    host::main()
}

#[cfg(not(target_os = "none"))]
mod host {
    use std::env;
    use std::error::Error;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::{Command, ExitCode};

    use crate::image::{Image, Panic};
    use crate::report;
}
