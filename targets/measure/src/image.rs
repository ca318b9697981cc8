//! One linked image: sizes and panics out of its file, instructions and stack out of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use object::read::elf::ElfFile32;
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind};

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

/// A call of a function of `core` that can panic.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PanicCall {
    /// Source lines, `file:line`, of the call and of what it was inlined into, from the inside out;
    /// empty if binutils' addr2line is not here to tell.
    pub(crate) lines: Vec<String>,
    pub(crate) caller: String,
    pub(crate) callee: String,
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
    /// Reads the image at `path` and runs it with the tools of `toolchain.sh`.
    pub(crate) fn measure(path: &Path, tools: &Path) -> Result<Self, Box<dyn Error>> {
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
            panics: symbols.panics(),
            panic_calls: panic_calls(&elf, &symbols, path)?,
            sections: run(path, tools, marks)?,
        })
    }

    /// The section called `name`.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

/// The functions of an image by address (several names can share one), names demangled.
struct Symbols {
    /// Address without the Thumb bit: size, names.
    functions: BTreeMap<u64, (u64, Vec<String>)>,
}

impl Symbols {
    fn of(elf: &ElfFile32<'_>) -> Self {
        let mut functions = BTreeMap::new();
        for symbol in elf
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text)
        {
            let name = format!(
                "{:#}",
                rustc_demangle::demangle(symbol.name().unwrap_or_default())
            );
            let (size, names): &mut (u64, Vec<String>) =
                functions.entry(symbol.address() & !1).or_default();
            *size = symbol.size().max(*size);
            names.push(name);
        }
        Self { functions }
    }

    fn address(&self, name: &str) -> Result<u64, Box<dyn Error>> {
        let found = self
            .functions
            .iter()
            .find(|(_, (_, names))| names.iter().any(|n| n == name));
        Ok(*found
            .ok_or_else(|| format!("the image has no symbol {name}"))?
            .0)
    }

    fn memory_functions(&self) -> u64 {
        let is_one = |name: &String| {
            let name = name.strip_prefix("__aeabi_").unwrap_or(name);
            ["mem", "bcmp", "compiler_builtins::mem"]
                .iter()
                .any(|start| name.starts_with(start))
        };
        self.functions
            .values()
            .filter(|(_, names)| names.iter().any(is_one))
            .map(|(size, _)| size)
            .sum()
    }

    fn panics(&self) -> BTreeSet<String> {
        self.functions
            .values()
            .flat_map(|(_, names)| names)
            .filter(|name| name.contains("core::panicking") || *name == HANDLER)
            .cloned()
            .collect()
    }

    /// The function around `address`.
    fn at(&self, address: u64) -> Option<(u64, &str)> {
        let (start, (size, names)) = self.functions.range(..=address).next_back()?;
        (address < start + size).then_some((*start, names.first()?))
    }
}

/// Calls from outside `core` to functions of `core` that end in a panic.
fn panic_calls(
    elf: &ElfFile32<'_>,
    symbols: &Symbols,
    path: &Path,
) -> Result<BTreeSet<PanicCall>, Box<dyn Error>> {
    let mut calls = Vec::new(); // (address of the call, caller, callee)
    let text = elf.section_by_name(".text").ok_or("no .text")?;
    for (at, relocation) in text.relocations() {
        let RelocationTarget::Symbol(index) = relocation.target() else {
            continue;
        };
        let callee = elf.symbol_by_index(index)?.address() & !1;
        if let (Some((caller, _)), true) = (symbols.at(at), symbols.functions.contains_key(&callee))
        {
            calls.push((at, caller, callee));
        }
    }
    let name = |address: u64| symbols.at(address).map_or("?", |(_, name)| name);
    let of_core = |address: u64| {
        let name = name(address);
        match name
            .strip_prefix('<')
            .and_then(|name| name.split(" as ").next())
        {
            // `<f64 as core::str::FromStr>::from_str`: a primitive type's methods are core's.
            Some(implementor) => implementor.starts_with("core::") || !implementor.contains("::"),
            None => name.starts_with("core::") || name.starts_with("__rustc::") || name == HANDLER,
        }
    };
    // From the handler up, through core's own functions.
    let mut panicking: BTreeSet<u64> = symbols.address(HANDLER).into_iter().collect();
    loop {
        let more: Vec<_> = calls
            .iter()
            .filter(|(_, caller, callee)| {
                panicking.contains(callee) && of_core(*caller) && !panicking.contains(caller)
            })
            .map(|(_, caller, _)| *caller)
            .collect();
        if more.is_empty() {
            break;
        }
        panicking.extend(more);
    }
    Ok(calls
        .iter()
        .filter(|(_, caller, callee)| panicking.contains(callee) && !of_core(*caller))
        .map(|(at, caller, callee)| PanicCall {
            lines: source_lines(path, *at),
            caller: name(*caller).to_owned(),
            callee: name(*callee).to_owned(),
        })
        .collect())
}

/// Where the code at `address` comes from; those lines of it that are not the standard library's.
fn source_lines(path: &Path, address: u64) -> Vec<String> {
    let output = Command::new("addr2line")
        .arg("-ie")
        .arg(path)
        .arg(format!("{address:#x}"))
        .output();
    let lines = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let root = root.trim_end_matches("targets/measure/");
    lines
        .iter()
        .flat_map(|lines| lines.lines())
        .filter_map(|line| line.split(" (").next())
        .filter(|line| line.contains(".rs:") && !line.ends_with('?') && !line.contains("/library/"))
        .map(|line| match line.split_once("/registry/src/") {
            Some((_, line)) => line.split_once('/').map_or(line, |(_, line)| line),
            None => line.trim_start_matches(root),
        })
        .map(str::to_owned)
        .collect()
}

/// Runs the image; the plugin gives instructions, the image itself stack and name.
fn run(path: &Path, tools: &Path, marks: [u64; 2]) -> Result<Vec<Section>, Box<dyn Error>> {
    let plugin = tools.join("libinsn.so");
    let mut qemu = Command::new(tools.join("qemu-system-arm"))
        .args([
            "-M",
            "mps2-an385",
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "null",
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
