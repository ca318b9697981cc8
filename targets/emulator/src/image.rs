//! The firmware's image: built, and made one device's.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use object::{Object, ObjectSection, read::elf::ElfFile32};

use crate::Error;

const TARGET: &str = "thumbv7m-none-eabi";

/// Where `targets/toolchain.sh` puts what it makes.
#[must_use]
pub fn tools() -> PathBuf {
    target_dir().join("toolchain")
}

/// Cargo's target directory.
#[must_use]
pub fn target_dir() -> PathBuf {
    let root = root();
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

/// The workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An image of `targets/mps2`: one of its programs, with some of its features.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// What it is called, as a file and in `docs/firmware-figures.md`; no other is called so.
    pub name: &'static str,
    /// The program in `targets/mps2/src/bin`.
    pub bin: &'static str,
    /// All of its features: there are no default ones.
    pub features: &'static [&'static str],
}

impl Image {
    /// Whether it can sign.
    #[must_use]
    pub fn signs(&self) -> bool {
        self.features.contains(&"signed")
    }

    /// Whether its subscribers come over a network.
    #[must_use]
    pub fn has_network(&self) -> bool {
        !self.features.contains(&"serial")
    }

    /// Whether a message has been sent, as far as that does not have to wait, by when the next
    /// thing is done: not where other tasks send it.
    #[must_use]
    pub fn sends_at_once(&self) -> bool {
        !self.features.contains(&"embassy")
    }
}

/// The firmware.
pub const DEVICE: Image = Image {
    name: "device",
    bin: "device",
    features: &["ip", "signed"],
};

/// The same device in asynchronous tasks.
pub const EMBASSY: Image = Image {
    name: "embassy",
    bin: "embassy",
    features: &["embassy", "signed"],
};

/// The same device on a serial line, without a network.
pub const SERIAL: Image = Image {
    name: "serial",
    bin: "serial",
    features: &["serial", "signed"],
};

/// `device` without what signs.
pub const UNSIGNED: Image = Image {
    name: "unsigned",
    bin: "device",
    features: &["ip"],
};

/// The same on mzmq's connections, which know nothing of signatures.
pub const MZMQ: Image = Image {
    name: "mzmq",
    bin: "mzmq",
    features: &["mzmq"],
};

/// All of them.
pub const ALL: [Image; 5] = [DEVICE, EMBASSY, SERIAL, UNSIGNED, MZMQ];

/// The one of that name.
///
/// # Errors
/// Where there is none: which there are.
pub fn named(name: &str) -> Result<Image, Error> {
    let found = ALL.into_iter().find(|image| image.name == name);
    found.ok_or_else(|| {
        let names = ALL.map(|image| image.name).join(", ");
        Error(format!("there is no image {name}; there are {names}"))
    })
}

/// Makes compiler and QEMU available and builds the image; its path.
///
/// # Errors
/// Where one of the two programs did not do its work; it has said why on stderr.
pub fn build(image: &Image) -> Result<PathBuf, Error> {
    let run = |command: &mut Command, what: &str| match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error(format!("{what}: {status}"))),
        Err(error) => Err(Error(format!("{what}: {error}"))),
    };
    run(
        &mut Command::new(root().join("targets/toolchain.sh")),
        "targets/toolchain.sh",
    )?;
    // In a directory of its own, for another compiler writes there.
    let out = target_dir().join("mps2");
    run(
        Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "--profile", "firmware"])
            .args(["--bin", image.bin, "--no-default-features", "--features"])
            .arg(image.features.join(","))
            .args(["--target", TARGET, "--target-dir"])
            .arg(&out)
            .env("RUSTC", tools().join("rustc"))
            .env_remove("RUSTFLAGS")
            .current_dir(root().join("targets/mps2")),
        "cargo build of targets/mps2",
    )?;
    // Images of one program would overwrite each other where cargo puts them.
    let built = out.join(TARGET).join("firmware").join(image.bin);
    let images = out.join("images");
    let path = images.join(image.name);
    fs::create_dir_all(&images)
        .and_then(|()| fs::copy(built, &path))
        .map_err(|error| Error(format!("{}: {error}", path.display())))?;
    Ok(path)
}

/// Writes the image at `image` with `blob` in its provisioning section to `out`.
///
/// # Errors
/// What is wrong with a file; a blob that does not fit.
pub fn provision(image: &Path, blob: &[u8], out: &Path) -> Result<(), Error> {
    let failed =
        |path: &Path, error: &dyn std::fmt::Display| Error(format!("{}: {error}", path.display()));
    let mut bytes = fs::read(image).map_err(|error| failed(image, &error))?;
    let (start, len) = ElfFile32::<'_, object::Endianness>::parse(&*bytes)
        .map_err(|error| failed(image, &error))?
        .section_by_name(SECTION)
        .and_then(|section| section.file_range())
        .ok_or_else(|| {
            failed(
                image,
                &"no section .provision; is this a firmware of targets/mps2?",
            )
        })?;
    let place = usize::try_from(start)
        .ok()
        .zip(usize::try_from(len).ok())
        .and_then(|(start, len)| bytes.get_mut(start..)?.get_mut(..len))
        .ok_or_else(|| failed(image, &"it is cut off"))?;
    place.fill(0xff);
    place
        .get_mut(..blob.len())
        .ok_or_else(|| {
            failed(
                image,
                &format!("has room for {len} bytes, not {}", blob.len()),
            )
        })?
        .copy_from_slice(blob);
    fs::write(out, bytes).map_err(|error| failed(out, &error))
}

const SECTION: &str = ".provision";
