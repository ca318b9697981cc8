//! What the firmware costs: `docs/firmware-figures.md`, written or compared with.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    net::{SocketAddr, SocketAddrV4, TcpStream},
    path::Path,
    process::Command,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use fedmsg_core::provision::{Bus, Identity, Provision};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind, read::elf::ElfFile32};
use serde_json::Value;

use crate::{
    Device, Error, HOST, Options, TimeServer, image,
    symbols::{Symbols, panic_calls},
};

/// By how much a figure may grow before [`check`] complains, in percent.
const SLACK: u64 = 2;

/// What must hold whatever the file says: label, limit.
const LIMITS: [(&str, u64); 5] = [
    ("flash, B", 80 << 10),
    ("static RAM, B", 16 << 10),
    ("deepest stack, B", 8 << 10),
    ("unsigned message to 1 subscriber, instructions", 60_000),
    ("unsigned message to 4 subscribers, instructions", 60_000),
];

/// So many messages are counted; the figure is the one in the middle, for the clock's interrupt
/// comes in between now and then.
const SAMPLES: usize = 31;

const PATIENCE: Duration = Duration::from_secs(60);

/// Measures and writes the file, or with `check` compares with it: what has grown, or is over its
/// limit.
///
/// # Errors
/// Where it cannot be measured.
pub fn measure(check: bool) -> Result<Vec<String>, Error> {
    let path = image::build(image::Image::DEVICE)?;
    let bytes = fs::read(&path).map_err(|error| Error(format!("{}: {error}", path.display())))?;
    let elf = ElfFile32::<'_, object::Endianness>::parse(&*bytes)
        .map_err(|error| Error(format!("{}: {error}", path.display())))?;
    let size = |names: &[&str]| {
        let sections = names.iter().filter_map(|name| elf.section_by_name(name));
        sections.map(|section| section.size()).sum::<u64>()
    };
    let mut figures = vec![
        (
            "flash, B",
            size(&[".vector_table", ".text", ".rodata", ".data"]),
        ),
        ("static RAM, B", size(&[".data", ".bss", ".uninit"])),
    ];
    let symbols = Symbols::of(&elf);
    let count = [
        symbols.address("fedmsg_mps2::app::begin")?,
        symbols.address("fedmsg_mps2::app::end")?,
    ];
    let mut stack = 0;
    for (signed, labels) in [
        (
            false,
            [
                "unsigned message to 1 subscriber, instructions",
                "unsigned message to 4 subscribers, instructions",
            ],
        ),
        (
            true,
            [
                "signed message to 1 subscriber, instructions",
                "signed message to 4 subscribers, instructions",
            ],
        ),
    ] {
        for (subscribers, label) in [1, 4].into_iter().zip(labels) {
            let run = run(&path, count, signed, subscribers)?;
            figures.push((label, run.instructions));
            stack = stack.max(run.stack);
        }
    }
    figures.insert(2, ("deepest stack, B", stack));

    let mut complaints: Vec<_> = LIMITS
        .iter()
        .filter_map(|(label, limit)| {
            let (_, figure) = figures
                .iter()
                .find(|(name, figure)| name == label && figure > limit)?;
            Some(format!("{label}: {figure}, over the limit of {limit}"))
        })
        .collect();
    complaints.extend(own_panics(&elf, &symbols, &path)?);
    let page = page(&figures, &parts(&elf))?;
    let file = image::root().join(FILE);
    let failed = |error| Error(format!("{FILE}: {error}"));
    if check {
        complaints.extend(compare(&fs::read_to_string(file).map_err(failed)?, &page));
    } else {
        fs::write(file, page).map_err(failed)?;
    }
    Ok(complaints)
}

const FILE: &str = "docs/firmware-figures.md";

fn page(figures: &[(&str, u64)], parts: &[(String, u64)]) -> Result<String, Error> {
    let version = |program: &str| {
        let output = Command::new(image::tools().join(program))
            .arg("--version")
            .output()
            .map_err(|error| Error(format!("{program}: {error}")))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().next().unwrap_or_default();
        Ok::<_, Error>(line.split(" (").next().unwrap_or_default().to_owned())
    };
    let mut page = format!(
        "# What the firmware costs\n\n\
        Written by `targets/mps2/run size`; `targets/mps2/run size --check` fails if a figure has \
        grown by more than {SLACK} %, is over its limit, or if anything of this repository can panic.\n\n\
        Cortex-M3 (thumbv7m-none-eabi), {}, profile `firmware`, {} (board mps2-an385).\n\n\
        - Flash: vector table, code, constants. The 4 KiB of each device's own data are not in it.\n\
        - Static RAM: all that is not stack. There is no heap.\n\
        - Deepest stack: painted at the start, looked at after the messages below.\n\
        - Instructions: from the moment that a message is due until its frames are with the \
        Ethernet controller (what does not fit the connection's buffer of 1 KiB goes after the \
        subscriber's acknowledgement, and is not counted): JSON, signature, ring, ZMTP, TCP/IP and driver. \
        The message's body has 200 B unsigned; a signed one has 880 B of certificate and the \
        signature besides. Counted by a plugin in QEMU; the middle of {SAMPLES}. They are not the \
        cycles of a real chip.\n\n\
        | | | limit |\n|---|---:|---:|\n",
        version("rustc")?,
        version("qemu-system-arm")?,
    );
    for (label, figure) in figures {
        let limit = LIMITS.iter().find(|(name, _)| name == label);
        let limit = limit.map_or_else(String::new, |(_, limit)| thousands(*limit));
        let _ = writeln!(page, "| {label} | {} | {limit} |", thousands(*figure));
    }
    page.push_str(
        "\n## Code by crate\n\nWhat of `.text` bears a crate's name, with what was inlined into it.\n\n\
        | | B |\n|---|---:|\n",
    );
    for (name, size) in parts {
        let _ = writeln!(page, "| `{name}` | {} |", thousands(*size));
    }
    Ok(page)
}

/// What has grown in `new` over `old`, both pages of [`page`]. Crates are not compared: what is
/// inlined where is the compiler's affair.
fn compare(old: &str, new: &str) -> Vec<String> {
    let made_with = |page: &str| {
        page.lines()
            .find(|line| line.starts_with("Cortex"))
            .map(str::to_owned)
    };
    if made_with(old) != made_with(new) {
        eprintln!("The committed figures were made with other tools, so growth is not judged.");
        return Vec::new();
    }
    let figures = |page: &str| -> BTreeMap<String, u64> {
        let rows = page.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let label = cells.next()?;
            Some((
                label.to_owned(),
                cells.next()?.replace(',', "").parse().ok()?,
            ))
        });
        rows.filter(|(label, _)| !label.starts_with('`')).collect()
    };
    let (old, new) = (figures(old), figures(new));
    let grown = new.iter().filter_map(|(label, now)| match old.get(label) {
        None => Some(format!("{label}: {now}, and not in the committed file")),
        Some(before) if now * 100 > before * (100 + SLACK) => {
            Some(format!("{label}: {now}, was {before}"))
        }
        Some(_) => None,
    });
    grown.collect()
}

/// The places in this repository that can panic: there are to be none. Elsewhere there are some
/// that the optimizer cannot rule out.
fn own_panics(elf: &ElfFile32<'_>, symbols: &Symbols, path: &Path) -> Result<Vec<String>, Error> {
    let calls = panic_calls(elf, symbols, path, "__rustc::rust_begin_unwind")?;
    if calls.iter().all(|call| call.lines.is_empty()) {
        return Err(Error(
            "binutils' addr2line is needed to tell where a panic comes from".into(),
        ));
    }
    let own = calls.iter().filter_map(|call| {
        let line = call.lines.first()?;
        (line.starts_with("core/") || line.starts_with("targets/"))
            .then(|| format!("{line} can panic: {}", call.callee))
    });
    Ok(own.collect())
}

/// The size of each crate's functions, the largest first.
fn parts(elf: &ElfFile32<'_>) -> Vec<(String, u64)> {
    let mut parts = BTreeMap::new();
    for symbol in elf
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
    {
        let name = demangled(symbol.name().unwrap_or_default());
        let path = name
            .trim_start_matches(['<', '&', '['])
            .trim_start_matches("mut ");
        let is_crate = |name: &str| {
            name.len() > 1
                && name
                    .chars()
                    .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
        };
        let part = match path.split_once("::") {
            Some((name, _)) if is_crate(name) => name,
            _ => "others",
        };
        *parts.entry(part.to_owned()).or_default() += symbol.size();
    }
    let mut parts: Vec<_> = parts.into_iter().filter(|(_, size)| *size > 0).collect();
    parts.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    parts
}

fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

struct Run {
    instructions: u64,
    stack: u64,
}

/// Runs the device with so many subscribers, and has it say something.
fn run(image: &Path, count: [u64; 2], signed: bool, subscribers: u64) -> Result<Run, Error> {
    let time =
        TimeServer::start(0).map_err(|error| Error(format!("a server of the time: {error}")))?;
    // Of the size of a real one: 880 bytes.
    let certificate_field = [b'A'; 880];
    let provision = Provision {
        identity: signed.then_some(Identity {
            key: &[1; 32],
            certificate_field: &certificate_field,
        }),
        seed: &[2; 32],
        mac: [2, 0, 0, 0, 0, 1],
        time_server: SocketAddrV4::new(HOST, time.address().port()),
        bus: Bus::Listen(9940),
        period_ms: 3_600_000,
        topic: "org.example.dev.lab",
    };
    let mut blob = vec![0; 4096];
    let len = provision
        .write(&mut blob)
        .map_err(|error| Error(error.to_string()))?;
    let dir = tempfile::tempdir().map_err(|error| Error(format!("a temporary folder: {error}")))?;
    let path = dir.path().join("image");
    image::provision(image, blob.get(..len).unwrap_or_default(), &path)?;
    let options = Options {
        count: Some(count),
        ..Options::default()
    };
    let mut device = Device::boot(&path, &options)?;
    device.wait_for("listening")?;
    device.wait_for("it is ")?;
    let mut readers = Vec::new();
    for _ in 0..subscribers {
        readers.push(subscribe(device.address())?);
        device.wait_for("is here")?;
    }

    let first = readers
        .first()
        .ok_or_else(|| Error("no subscriber".into()))?;
    let next = |what: &str| {
        first
            .recv_timeout(PATIENCE)
            .map_err(|_| Error(format!("no {what} of the device's")))
    };
    // Until subscriptions have arrived, nothing does.
    let mut status = Value::Null;
    while number(&status, "subscribers") != Some(subscribers) {
        device.send("status")?;
        status = match first.recv_timeout(Duration::from_secs(1)) {
            Ok(message) => message,
            Err(_) => continue,
        };
    }
    while device.count(Duration::from_millis(300)).is_some() {}
    while first.try_recv().is_ok() {}
    let mut counts = Vec::new();
    for _ in 0..SAMPLES {
        // A body of 200 bytes, unsigned.
        device.send(&"x".repeat(62))?;
        next("message")?;
        let count = device.count(PATIENCE);
        counts.push(count.ok_or_else(|| Error("the plugin counted nothing".into()))?);
    }
    counts.sort_unstable();
    device.send("status")?;
    let status = next("status")?;
    Ok(Run {
        instructions: counts.get(SAMPLES / 2).copied().unwrap_or_default(),
        stack: number(&status, "stack").unwrap_or_default(),
    })
}

/// A number of a message's `msg`.
fn number(message: &Value, name: &str) -> Option<u64> {
    message.get("msg")?.get(name)?.as_u64()
}

/// Subscribes to everything at `address`; the bodies of what comes.
fn subscribe(address: SocketAddr) -> Result<Receiver<Value>, Error> {
    let failed = |error| Error(format!("the device at {address}: {error}"));
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    let mut hello = [0; 64];
    hello[..12].copy_from_slice(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01");
    hello[12..16].copy_from_slice(b"NULL");
    stream.write_all(&hello).map_err(failed)?;
    stream
        .write_all(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB\x04\x0a\x09SUBSCRIBE")
        .map_err(failed)?;
    let (send, messages) = mpsc::channel();
    thread::spawn(move || {
        let _ = stream.read_exact(&mut hello);
        while let Ok(frame) = frame(&mut stream) {
            if let Ok(message) = serde_json::from_slice(&frame)
                && send.send(message).is_err()
            {
                return;
            }
        }
    });
    Ok(messages)
}

fn frame(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let [flags, len] = head;
    let mut len = u64::from(len);
    if flags & 2 != 0 {
        let mut rest = [0; 7];
        stream.read_exact(&mut rest)?;
        len = rest
            .iter()
            .fold(len, |len, byte| len << 8 | u64::from(*byte));
    }
    let mut body = Vec::new();
    stream.take(len).read_to_end(&mut body)?;
    Ok(body)
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "Cortex\n| | | limit |\n|---|---:|---:|\n| flash, B | 1,000 | 2,000 |\n";

    #[test]
    fn growth_beyond_the_slack_is_named() {
        assert_eq!(compare(PAGE, PAGE), [""; 0]);
        assert_eq!(compare(PAGE, &PAGE.replace("1,000", "1,020")), [""; 0]);
        let grown = compare(PAGE, &PAGE.replace("1,000", "1,021"));
        assert_eq!(grown, ["flash, B: 1021, was 1000"]);
        assert_eq!(compare(PAGE, &PAGE.replace("flash", "RAM")).len(), 1);
        let other = PAGE
            .replace("Cortex", "Cortex, other")
            .replace("1,000", "9,000");
        assert_eq!(compare(PAGE, &other), [""; 0]);
    }
}
