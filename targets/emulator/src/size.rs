//! What the firmware costs: `docs/firmware-figures.md`, written or compared with.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    Device, Error, HOST, Options, TimeServer,
    figures::{SLACK, compare, thousands},
    image::{self, Image},
    symbols::{Symbols, panic_calls},
};

/// What is measured: the first is the firmware, for which [`ROWS`] has limits.
const IMAGES: [Image; 5] = [
    image::DEVICE,
    image::UNSIGNED,
    image::MZMQ,
    image::EMBASSY,
    image::SERIAL,
];

/// What is measured of each, with what must hold of the first whatever the file says.
const ROWS: [(&str, Option<u64>); 7] = [
    ("flash, B", Some(80 << 10)),
    ("static RAM, B", Some(16 << 10)),
    ("deepest stack, B", Some(8 << 10)),
    (
        "unsigned message to 1 subscriber, instructions",
        Some(60_000),
    ),
    (
        "unsigned message to 4 subscribers, instructions",
        Some(60_000),
    ),
    ("signed message to 1 subscriber, instructions", None),
    ("signed message to 4 subscribers, instructions", None),
];

/// Statics below so many bytes are summed up.
const SMALL: u64 = 64;

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
    let mut complaints = Vec::new();
    let mut columns = Vec::new();
    for image in &IMAGES {
        let (column, panics) = column(image)?;
        complaints.extend(panics);
        columns.push(column);
    }
    if let Some(device) = columns.first() {
        complaints.extend(over_limit(&device.figures));
    }
    let page = page(&columns)?;
    let file = image::root().join(FILE);
    let failed = |error| Error(format!("{FILE}: {error}"));
    if check {
        // What is inlined where is the compiler's affair.
        let budgets = |page: &str| {
            page.split("## Code by crate")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let committed = fs::read_to_string(file).map_err(failed)?;
        complaints.extend(compare(&budgets(&committed), &budgets(&page)));
    } else {
        fs::write(file, page).map_err(failed)?;
    }
    Ok(complaints)
}

const FILE: &str = "docs/firmware-figures.md";

/// What one image costs.
struct Column {
    name: &'static str,
    /// In the order of [`ROWS`].
    figures: [Option<u64>; ROWS.len()],
    code: BTreeMap<String, u64>,
    statics: BTreeMap<String, u64>,
}

/// Builds and measures an image; and where it can panic in this repository.
fn column(image: &Image) -> Result<(Column, Vec<String>), Error> {
    let path = image::build(image)?;
    let bytes = fs::read(&path).map_err(|error| Error(format!("{}: {error}", path.display())))?;
    let elf = ElfFile32::<'_, object::Endianness>::parse(&*bytes)
        .map_err(|error| Error(format!("{}: {error}", path.display())))?;
    let size = |names: &[&str]| {
        let sections = names.iter().filter_map(|name| elf.section_by_name(name));
        sections.map(|section| section.size()).sum::<u64>()
    };
    let symbols = Symbols::of(&elf);
    let count = [
        symbols.address("fedmsg_mps2::app::begin")?,
        symbols.address("fedmsg_mps2::app::end")?,
    ];
    let mut stack = None;
    let mut instructions = |signed, subscribers| {
        if !image.has_network() || signed && !image.signs() {
            return Ok::<_, Error>(None);
        }
        let run = run(&path, count, signed, subscribers)?;
        stack = stack.max(Some(run.stack));
        Ok(image.sends_at_once().then_some(run.instructions))
    };
    let [a, b, c, d] = [(false, 1), (false, 4), (true, 1), (true, 4)]
        .map(|(signed, subscribers)| instructions(signed, subscribers));
    let column = Column {
        name: image.name,
        figures: [
            Some(size(&[".vector_table", ".text", ".rodata", ".data"])),
            Some(size(&RAM)),
            stack,
            a?,
            b?,
            c?,
            d?,
        ],
        code: code(&elf),
        statics: statics(&elf, size(&RAM)),
    };
    // The compiler's own state machine of a task panics if it is resumed after its end.
    let panics = match image.sends_at_once() {
        true => own_panics(&elf, &symbols, &path)?,
        false => Vec::new(),
    };
    Ok((column, panics))
}

const RAM: [&str; 3] = [".data", ".bss", ".uninit"];

fn over_limit(figures: &[Option<u64>; ROWS.len()]) -> Vec<String> {
    let over = ROWS
        .iter()
        .zip(figures)
        .filter_map(|((label, limit), figure)| {
            let (limit, figure) = ((*limit)?, (*figure)?);
            (figure > limit).then(|| format!("{label}: {figure}, over the limit of {limit}"))
        });
    over.collect()
}

fn page(columns: &[Column]) -> Result<String, Error> {
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
        - `device` is the firmware, for which the limits are; `unsigned` the same without feature \
        `signed`. `--check` looks for panics in each but `embassy`, whose tasks have the compiler's for being \
        resumed after their end.\n\
        - `mzmq` is the same board, network and messages, unsigned, on mzmq's connections. It has \
        no limits on handshakes and silence (heartbeats), no ring that subscribers share (a message \
        that does not fit a socket's 1 KiB at once is lost, and counted by the program), no \
        canonical JSON. It only listens; `device` also connects to a relay.\n\
        - `embassy` is `device` in asynchronous tasks: a message is sent by others than the one that \
        publishes it, so its instructions are not counted. `serial` has a serial line instead of a \
        network, and is not run for this page.\n\n",
        version("rustc")?,
        version("qemu-system-arm")?,
    );
    let mut head = heading(columns);
    head.push("limit".into());
    let rows = ROWS.iter().enumerate().map(|(row, (label, limit))| {
        let figures = columns
            .iter()
            .map(|column| column.figures.get(row).copied()?);
        ((*label).to_owned(), figures.chain([*limit]).collect())
    });
    table(&mut page, &head, rows);
    page.push_str(
        "\n## Code by crate\n\nWhat of `.text` bears a crate's name, with what was inlined into it. \
        Constants bear no names, so that `.rodata` cannot be told by crate.\n\n",
    );
    parts(&mut page, columns, |column| &column.code);
    let _ = write!(
        page,
        "\n## Static RAM by part\n\nBy static, from the image's symbols; a linker's map says no \
        more. `others` are those below {SMALL} B, and what aligns them.\n\n"
    );
    parts(&mut page, columns, |column| &column.statics);
    Ok(page)
}

fn heading(columns: &[Column]) -> Vec<String> {
    let names = columns.iter().map(|column| format!("`{}`", column.name));
    names.collect()
}

/// A table of what each image consists of, what is largest in any first.
fn parts(page: &mut String, columns: &[Column], of: impl Fn(&Column) -> &BTreeMap<String, u64>) {
    let names: BTreeSet<_> = columns
        .iter()
        .flat_map(|column| of(column).keys())
        .collect();
    let mut rows: Vec<(String, Vec<_>)> = names
        .into_iter()
        .map(|name| {
            let sizes = columns.iter().map(|column| of(column).get(name).copied());
            (format!("`{name}`"), sizes.collect())
        })
        .collect();
    rows.sort_by_key(|(_, sizes)| std::cmp::Reverse(sizes.iter().max().copied()));
    table(page, &heading(columns), rows.into_iter());
}

fn table(
    page: &mut String,
    head: &[String],
    rows: impl Iterator<Item = (String, Vec<Option<u64>>)>,
) {
    let _ = writeln!(page, "| | {} |", head.join(" | "));
    let _ = writeln!(page, "|---|{}", "---:|".repeat(head.len()));
    for (label, figures) in rows {
        let cells: Vec<_> = figures
            .into_iter()
            .map(|figure| figure.map_or_else(|| "–".into(), thousands))
            .collect();
        let _ = writeln!(page, "| {label} | {} |", cells.join(" | "));
    }
}

/// The places in this repository that can panic: there are to be none. Elsewhere there are some
/// that the optimizer cannot rule out.
fn own_panics(elf: &ElfFile32<'_>, symbols: &Symbols, path: &Path) -> Result<Vec<String>, Error> {
    let calls = panic_calls(elf, symbols, path, "__rustc::rust_begin_unwind")?;
    if !calls.is_empty() && calls.iter().all(|call| call.lines.is_empty()) {
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

/// The size of each crate's functions.
fn code(elf: &ElfFile32<'_>) -> BTreeMap<String, u64> {
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
    parts.retain(|_, size| *size > 0);
    parts
}

/// The size of each static in RAM, which is `all` in sum.
fn statics(elf: &ElfFile32<'_>, all: u64) -> BTreeMap<String, u64> {
    let sections = RAM.map(|name| elf.section_by_name(name).map(|section| section.index()));
    let mut parts = BTreeMap::new();
    for symbol in elf.symbols().filter(|symbol| {
        let section = symbol.section_index();
        symbol.size() >= SMALL && section.is_some() && sections.contains(&section)
    }) {
        let name = demangled(symbol.name().unwrap_or_default());
        *parts.entry(name).or_default() += symbol.size();
    }
    let large: u64 = parts.values().sum();
    parts.insert("others".into(), all.saturating_sub(large));
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
