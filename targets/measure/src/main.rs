//! Builds the images, runs them in QEMU, and writes what they cost to `docs/device-figures.md`.
//!
//! `run` beside `Cargo.toml` calls it, after `toolchain.sh` has put a compiler, QEMU and the
//! counting plugin into the target directory. With `--check` it writes nothing, and fails if a
//! figure has grown over the file's. Either way it fails if the codec's image can reach a panic.

mod image;
mod report;

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use fedmsg_emulator::figures;
use image::Image;
use report::Build;

const TARGET: &str = "thumbv7m-none-eabi";
const FIGURES: &str = "docs/device-figures.md";

fn main() -> ExitCode {
    let check = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => {
            eprintln!("usage: targets/measure/run [--check]");
            return ExitCode::from(2);
        }
    };
    match measure(check) {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
        Ok(complaints) => {
            complaints
                .iter()
                .for_each(|complaint| eprintln!("{complaint}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("measure: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures at both opt-levels, writes or compares the file; gives what is not as it must be.
fn measure(check: bool) -> Result<Vec<String>, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    let target_dir =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    let tools = target_dir.join("toolchain");

    let mut builds = Vec::new();
    for opt_level in ["s", "3"] {
        let directory = target_dir.join("measure").join(opt_level);
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                env!("CARGO_PKG_NAME"),
                "--profile",
                "device",
            ])
            .args(["--target", TARGET, "--target-dir"])
            .arg(&directory)
            .args(report::IMAGES.iter().flat_map(|name| ["--bin", name]))
            .env("RUSTC", tools.join("rustc"))
            .env("CARGO_PROFILE_DEVICE_OPT_LEVEL", opt_level)
            // For naming a panic's place; changes no instruction.
            .env("CARGO_PROFILE_DEVICE_DEBUG", "line-tables-only")
            .current_dir(&root)
            .status()?;
        if !built.success() {
            return Err("the images do not build".into());
        }
        let directory = directory.join(TARGET).join("device");
        let images = report::IMAGES
            .iter()
            .map(|name| {
                Ok((
                    *name,
                    Image::measure(&directory.join(name), &tools, "mps2-an385")?,
                ))
            })
            .collect::<Result<_, Box<dyn Error>>>()?;
        builds.push(Build { opt_level, images });
    }

    let mut complaints: Vec<_> = builds.iter().flat_map(report::codec_panics).collect();
    let compiler = Command::new(tools.join("rustc"))
        .arg("--version")
        .output()?
        .stdout;
    let qemu = Command::new(tools.join("qemu-system-arm"))
        .arg("--version")
        .output()?
        .stdout;
    let lock = fs::read_to_string(root.join("Cargo.lock"))?;
    let text = report::write(
        &builds,
        &String::from_utf8(compiler)?,
        &String::from_utf8(qemu)?,
        &lock,
    );
    let path = root.join(FIGURES);
    let in_file = |error| format!("{FIGURES}: {error}");
    if check {
        let committed = fs::read_to_string(path).map_err(in_file)?;
        complaints.extend(figures::compare(&committed, &text));
    } else {
        fs::write(path, text).map_err(in_file)?;
    }
    Ok(complaints)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pub fn`s of the files below `directory`, by name.
    fn public_functions(directory: &Path, names: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                public_functions(&path, names);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let starts = ["pub fn ", "pub const fn "];
            names.extend(text.lines().filter_map(|line| {
                let name = starts
                    .iter()
                    .find_map(|start| line.trim().strip_prefix(start))?;
                Some(name.split(['(', '<']).next()?.to_owned())
            }));
        }
    }

    #[test]
    fn every_public_function_is_called_in_the_images_that_are_searched_for_panics() {
        let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let image = |name: &str| fs::read_to_string(crate_root.join("src/bin").join(name)).unwrap();
        let (codec, crypto) = (image("codec.rs") + &image("read.rs"), image("crypto.rs"));
        for (module, image) in [
            ("zmtp", &codec),
            ("json", &codec),
            ("message", &codec),
            ("serial", &codec),
            ("crypto", &crypto),
        ] {
            let mut names = Vec::new();
            public_functions(&crate_root.join("../../core/src").join(module), &mut names);
            assert!(names.len() > 5, "{module}");
            for name in names {
                let called = image.split(|c: char| !c.is_alphanumeric() && c != '_');
                assert!(
                    called.into_iter().any(|word| word == name),
                    "{module}: {name}"
                );
            }
        }
    }
}
