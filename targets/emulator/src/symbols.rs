//! An image's functions, and which of them can panic.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use object::{
    Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind, read::elf::ElfFile32,
};

use crate::Error;

/// A call of a function of `core` that can panic.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct PanicCall {
    /// Source lines, `file:line`, of the call and of what it was inlined into, from the inside out;
    /// empty if binutils' addr2line is not here to tell.
    pub lines: Vec<String>,
    /// Who calls.
    pub caller: String,
    /// What of `core`.
    pub callee: String,
}

/// The functions of an image by address (several names can share one), names demangled.
pub struct Symbols {
    /// Address without the Thumb bit: size, names.
    functions: BTreeMap<u64, (u64, Vec<String>)>,
}

impl Symbols {
    /// Those of an image.
    #[must_use]
    pub fn of(elf: &ElfFile32<'_>) -> Self {
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

    /// Where the function of this name begins.
    ///
    /// # Errors
    /// Where there is none.
    pub fn address(&self, name: &str) -> Result<u64, Error> {
        let found = self
            .functions
            .iter()
            .find(|(_, (_, names))| names.iter().any(|n| n == name));
        found
            .map(|(address, _)| *address)
            .ok_or_else(|| Error(format!("the image has no symbol {name}")))
    }

    /// Bytes of the compiler's own `memcpy`, `memmove`, `memset` and `memcmp`.
    #[must_use]
    pub fn memory_functions(&self) -> u64 {
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

    /// The functions of `core::panicking`, and the panic handler or what it calls: `handler`.
    #[must_use]
    pub fn panics(&self, handler: &str) -> BTreeSet<String> {
        self.functions
            .values()
            .flat_map(|(_, names)| names)
            .filter(|name| name.contains("core::panicking") || *name == handler)
            .cloned()
            .collect()
    }

    /// The function around `address`.
    fn at(&self, address: u64) -> Option<(u64, &str)> {
        let (start, (size, names)) = self.functions.range(..=address).next_back()?;
        (address < start + size).then_some((*start, names.first()?))
    }
}

/// Calls from outside `core` to functions of `core` that end in a panic, and so in `handler`. The
/// image must have been linked with `--emit-relocs`, and lies at `path`.
///
/// # Errors
/// Where it is no such image.
pub fn panic_calls(
    elf: &ElfFile32<'_>,
    symbols: &Symbols,
    path: &Path,
    handler: &str,
) -> Result<BTreeSet<PanicCall>, Error> {
    let mut calls = Vec::new(); // (address of the call, caller, callee)
    let text = elf
        .section_by_name(".text")
        .ok_or_else(|| Error("the image has no .text".into()))?;
    for (at, relocation) in text.relocations() {
        let RelocationTarget::Symbol(index) = relocation.target() else {
            continue;
        };
        let callee = match elf.symbol_by_index(index) {
            Ok(symbol) => symbol.address() & !1,
            Err(error) => return Err(Error(format!("{}: {error}", path.display()))),
        };
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
            None => name.starts_with("core::") || name.starts_with("__rustc::") || name == handler,
        }
    };
    // From the handler up, through core's own functions.
    let mut panicking: BTreeSet<u64> = symbols.address(handler).into_iter().collect();
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
    let root = root.trim_end_matches("targets/emulator/");
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
