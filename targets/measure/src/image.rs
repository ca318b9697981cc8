//! One linked image: sizes and panics out of its file, instructions and stack out of a run.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fedmsg_emulator::symbols::{PanicCall, Symbols, panic_calls};
use object::read::elf::ElfFile32;
use object::{Object, ObjectSection};

/// What an image costs.
pub(crate) struct Image {
    /// Bytes in flash without the vector table: `.text`, `.rodata` and what fills `.data`.
    pub(crate) flash: u64,
    /// Bytes of static RAM: `.data` and `.bss`.
    pub(crate) ram: u64,
    /// Those of the flash's bytes that are the compiler's own `memcpy`, `memmove`, `memset`,
    /// `memcmp`.
    pub(crate) memory_functions: u64,
    /// Functions of `core::panicking` that are linked in, and the panic handler's mark.
    pub(crate) panics: BTreeSet<String>,
    /// The calls from outside `core` that end in a panic.
    pub(crate) panic_calls: BTreeSet<PanicCall>,
    /// The sections in the order in which they ran.
    pub(crate) sections: Vec<Section>,
}

/// One counted run of something.
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) instructions: u64,
    /// Deepest stack in bytes, below the caller's frame.
    pub(crate) stack: u64,
}

/// The longest that an image may run.
const PATIENCE: Duration = Duration::from_secs(120);
/// What `lib.rs`'s panic handler calls.
const HANDLER: &str = "measure_panicked";

impl Image {
    /// Reads the image at `path` and runs it on this board with the tools of `toolchain.sh`.
    pub(crate) fn measure(path: &Path, tools: &Path, board: &str) -> Result<Self, Box<dyn Error>> {
        let bytes = fs::read(path)?;
        let elf: ElfFile32<'_> = ElfFile32::parse(&*bytes)?;
        let size = |name| {
            elf.section_by_name(name)
                .map_or(0, |section| section.size())
        };
        let symbols = Symbols::of(&elf);
        let marks = [
            symbols.address("measure_begin")?,
            symbols.address("measure_end")?,
        ];
        Ok(Self {
            flash: size(".text") + size(".rodata") + size(".data"),
            ram: size(".data") + size(".bss"),
            memory_functions: symbols.memory_functions(),
            panics: symbols.panics(HANDLER),
            panic_calls: panic_calls(&elf, &symbols, path, HANDLER)?,
            sections: run(path, tools, board, marks)?,
        })
    }

    /// The section called `name`.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

/// Runs the image; the plugin gives instructions, the image itself stack and name.
fn run(
    path: &Path,
    tools: &Path,
    board: &str,
    marks: [u64; 2],
) -> Result<Vec<Section>, Box<dyn Error>> {
    let plugin = tools.join("libinsn.so");
    let mut qemu = Command::new(tools.join("qemu-system-arm"))
        .args([
            "-M", board, "-display", "none", "-monitor", "none", "-serial", "null",
        ])
        .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
        .arg(path)
        .arg("-plugin")
        .arg(format!(
            "{},begin={:#x},end={:#x}",
            plugin.display(),
            marks[0],
            marks[1]
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let started = Instant::now();
    while qemu.try_wait()?.is_none() {
        if started.elapsed() > PATIENCE {
            qemu.kill()?;
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = qemu.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{} in QEMU: {}: {text}", path.display(), output.status).into());
    }

    let mut sections = Vec::new();
    let mut instructions = None;
    for line in text.lines() {
        if let Some(count) = line.strip_prefix("section ") {
            instructions = Some(count.parse()?);
        } else if let Some((stack, name)) = line
            .strip_prefix("stack ")
            .and_then(|rest| rest.split_once(' '))
        {
            let instructions = instructions.take().ok_or("the plugin counted nothing")?;
            sections.push(Section {
                name: name.to_owned(),
                instructions,
                stack: stack.parse()?,
            });
        } else {
            return Err(format!("{} in QEMU: {line}", path.display()).into());
        }
    }
    Ok(sections)
}
