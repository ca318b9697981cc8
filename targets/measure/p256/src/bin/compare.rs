//! Builds the images, runs them, and writes `docs/p256-figures.md`. `run` calls it, with what it
//! needs in the environment.
#![cfg(not(target_os = "none"))]

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[path = "../../../src/image.rs"]
#[allow(dead_code, reason = "panics are not looked for here")]
mod image;

use fedmsg_emulator::figures::thousands;
use image::Image;

/// An implementation, and what is to be said of it.
struct Implementation {
    name: &'static str,
    program: &'static str,
    feature: &'static str,
    /// Only where the core has DSP instructions.
    dsp: bool,
    /// With limbs of 32 bits besides.
    limbs: bool,
    /// Sources below `target/p256`, and their own flags.
    c: (&'static [&'static str], &'static [&'static str]),
    remarks: [&'static str; 4],
}

const NO_C: (&[&str], &[&str]) = (&[], &[]);

const IMPLEMENTATIONS: [Implementation; 6] = [
    Implementation {
        name: "`fedmsg_core::crypto::comb`",
        program: "comb",
        feature: "comb",
        dsp: false,
        limbs: false,
        c: NO_C,
        remarks: ["Rust", "Apache-2.0 or MIT", "yes", "no"],
    },
    Implementation {
        name: "`p256` 0.14.0",
        program: "p256_014",
        feature: "p256-014",
        dsp: false,
        limbs: true,
        c: NO_C,
        remarks: ["Rust", "Apache-2.0 or MIT", "yes", "no"],
    },
    Implementation {
        name: "`p256` 0.13.2",
        program: "p256_013",
        feature: "p256-013",
        dsp: false,
        limbs: false,
        c: NO_C,
        remarks: ["Rust", "Apache-2.0 or MIT", "yes", "no"],
    },
    Implementation {
        name: "`crrl` 0.9.0",
        program: "crrl",
        feature: "crrl",
        dsp: false,
        limbs: false,
        c: NO_C,
        remarks: ["Rust", "MIT", "yes", "no"],
    },
    Implementation {
        name: "micro-ecc (`micro-ecc-sys` 0.3.2)",
        program: "micro_ecc",
        feature: "micro-ecc",
        dsp: false,
        limbs: false,
        c: (
            &["micro-ecc-sys/micro-ecc/uECC.c"],
            &[
                "-DuECC_OPTIMIZATION_LEVEL=3",
                "-DuECC_SQUARE_FUNC=1",
                "-DuECC_SUPPORT_COMPRESSED_POINT=0",
                "-DuECC_SUPPORTS_secp160r1=0",
                "-DuECC_SUPPORTS_secp192r1=0",
                "-DuECC_SUPPORTS_secp224r1=0",
                "-DuECC_SUPPORTS_secp256k1=0",
            ],
        ),
        remarks: [
            "C and assembly",
            "BSD-2-Clause",
            "blinded, not constant",
            "all of it",
        ],
    },
    Implementation {
        name: "P256-Cortex-M4 (`p256-cortex-m4-sys` 0.1.0)",
        program: "p256_cortex_m4",
        feature: "p256-cortex-m4",
        dsp: true,
        limbs: false,
        c: (
            &[
                "p256-cortex-m4-sys/P256-Cortex-M4/p256-cortex-m4.c",
                "p256-cortex-m4-sys/P256-Cortex-M4/p256-cortex-m4-asm-gcc.S",
            ],
            &[],
        ),
        remarks: ["assembly and C", "MIT", "yes", "all of it"],
    },
];

/// A core: target, QEMU's board, what it is called.
const CORES: [(&str, &str, &str); 2] = [
    ("thumbv7m-none-eabi", "mps2-an385", "Cortex-M3"),
    ("thumbv7em-none-eabi", "mps2-an386", "Cortex-M4"),
];

const LEVELS: [&str; 3] = ["z", "s", "3"];

struct Lab {
    out: PathBuf,
    tools: PathBuf,
    gcc: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let lab = Lab {
        out: env::var("CARGO_TARGET_DIR")?.into(),
        tools: env::args().nth(1).ok_or("usage: run")?.into(),
        gcc: env::var("ARM_GCC")?,
    };
    let mut page = format!(
        "# Signing with P-256 on a Cortex-M\n\n\
        Written by `targets/measure/p256/run`: {}, fat LTO, one codegen unit; {}; QEMU's boards \
        mps2-an385 and mps2-an386.\n\n\
        One ECDSA signature over a hash of 32 bytes, with the nonce of RFC 6979, which each image \
        compares with that RFC's (A.2.5, \"sample\"). Flash: all of it that an image that does not \
        sign has not, SHA-256 included. Stack: the deepest below the caller's frame. Instructions are \
        not the cycles of a real chip.\n",
        first_line(Command::new(lab.tools.join("rustc")).arg("-V"))?,
        first_line(Command::new(&lab.gcc).arg("--version"))?,
    );
    for core in CORES {
        page += &format!(
            "\n## {}\n\n| | optimized for | flash, B | stack, B | instructions |\n|---|---|---:|---:|---:|\n",
            core.2
        );
        for implementation in &IMPLEMENTATIONS {
            if implementation.dsp && core.0 != "thumbv7em-none-eabi" {
                continue;
            }
            for limbs in [64, 32] {
                if limbs == 32 && !implementation.limbs {
                    continue;
                }
                for level in LEVELS {
                    let empty = lab.image(&core, "empty", "", NO_C, limbs, level)?;
                    let image = lab.image(
                        &core,
                        implementation.program,
                        implementation.feature,
                        implementation.c,
                        limbs,
                        level,
                    )?;
                    let of = |image: &Image| {
                        let section = image.section("sign").ok_or("nothing was counted")?;
                        Ok::<_, Box<dyn Error>>((section.instructions, section.stack))
                    };
                    let ((none, _), (instructions, stack)) = (of(&empty)?, of(&image)?);
                    let name = match implementation.limbs {
                        true => format!("{}, limbs of {limbs} bits", implementation.name),
                        false => implementation.name.to_owned(),
                    };
                    let row = format!(
                        "| {name} | {level} | {} | {} | {} |\n",
                        thousands(image.flash - empty.flash),
                        thousands(stack),
                        thousands(instructions - none)
                    );
                    eprint!("{row}");
                    page += &row;
                }
            }
        }
    }
    page += "\n## What they are\n\n| | written in | licence | constant time | `unsafe` |\n|---|---|---|---|---|\n";
    for implementation in &IMPLEMENTATIONS {
        page += &format!(
            "| {} | {} |\n",
            implementation.name,
            implementation.remarks.join(" | ")
        );
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/p256-figures.md");
    let notes = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("notes.md"))?;
    fs::write(file, page + "\n" + &notes)?;
    Ok(())
}

impl Lab {
    fn image(
        &self,
        (target, board, _): &(&str, &str, &str),
        program: &str,
        feature: &str,
        c: (&[&str], &[&str]),
        limbs: u8,
        level: &str,
    ) -> Result<Image, Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["build", "--quiet", "--release", "--target", target])
            .args(["--bin", program, "--features", feature, "--target-dir"])
            .arg(self.out.join("images"))
            .env("RUSTC", self.tools.join("rustc"))
            .env("RUSTFLAGS", format!("--cfg cpubits=\"{limbs}\""))
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", level)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if c != NO_C {
            command.env("C_ARCHIVE", self.compile(feature, c, target, level)?);
        }
        if !command.status()?.success() {
            return Err(format!("{program} does not build").into());
        }
        let path = self
            .out
            .join("images")
            .join(target)
            .join("release")
            .join(program);
        Image::measure(&path, &self.tools, board)
    }

    /// Compiles what is in C; its archive's directory.
    fn compile(
        &self,
        name: &str,
        (sources, flags): (&[&str], &[&str]),
        target: &str,
        level: &str,
    ) -> Result<PathBuf, Box<dyn Error>> {
        let directory = self.out.join("c").join(name).join(target).join(level);
        fs::create_dir_all(&directory)?;
        // There is no C library.
        fs::write(
            directory.join("string.h"),
            "void *memcpy(void *, const void *, __SIZE_TYPE__);\n\
             void *memset(void *, int, __SIZE_TYPE__);\n",
        )?;
        let cpu = match target {
            "thumbv7m-none-eabi" => "-mcpu=cortex-m3",
            _ => "-mcpu=cortex-m4",
        };
        let mut archive = Command::new(self.gcc.replace("-gcc", "-ar"));
        archive.arg("rcs").arg(directory.join("libcompared.a"));
        for source in sources {
            let source = self.out.join(source);
            let object = directory
                .join(source.file_name().ok_or("a source")?)
                .with_extension("o");
            let mut command = Command::new(&self.gcc);
            command.arg("-c").arg(cpu);
            // There is no level z.
            command.arg(format!("-O{}", level.replace('z', "s")));
            command
                .args([
                    "-mthumb",
                    "-ffreestanding",
                    "-fomit-frame-pointer",
                    "-ffunction-sections",
                    "-I",
                ])
                .arg(&directory)
                .args(flags)
                .arg(&source)
                .arg("-o")
                .arg(&object);
            if !command.status()?.success() {
                return Err(format!("{} does not compile", source.display()).into());
            }
            archive.arg(object);
        }
        if !archive.status()?.success() {
            return Err(format!("{name} is not archived").into());
        }
        Ok(directory)
    }
}

fn first_line(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = String::from_utf8(command.output()?.stdout)?;
    let line = output.lines().next().unwrap_or_default();
    Ok(line
        .split(" (built")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned())
}
