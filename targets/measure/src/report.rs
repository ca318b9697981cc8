//! The figures as a page of tables, and one such page against another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use fedmsg_emulator::{
    figures::{SLACK, thousands},
    symbols::PanicCall,
};

use crate::image::Image;

/// The images, each a program in `src/bin`.
pub(crate) const IMAGES: &[&str] = &[
    "empty",
    "codec",
    "read",
    "crypto",
    "mzmq_pub",
    "zmtp_pub",
    "publish_unsigned",
    "publish_signed",
    "device",
];

/// All images at one opt-level.
pub(crate) struct Build {
    pub(crate) opt_level: &'static str,
    pub(crate) images: BTreeMap<&'static str, Image>,
}

/// What of the panic machinery the codec's image holds, and who calls it: to be nothing.
pub(crate) fn codec_panics(build: &Build) -> Vec<String> {
    let Some(codec) = build.images.get("codec") else {
        return vec!["no codec image".into()];
    };
    if codec.panics.is_empty() {
        return Vec::new();
    }
    let linked = codec
        .panics
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let head = format!(
        "opt-level {}: the codec can panic: {linked}",
        build.opt_level
    );
    let calls = codec.panic_calls.iter().map(
        |PanicCall {
             lines,
             caller,
             callee,
         }| { format!("  {caller} calls {callee}: {}", lines.join(" in ")) },
    );
    [head].into_iter().chain(calls).collect()
}

/// The page.
pub(crate) fn write(builds: &[Build], compiler: &str, qemu: &str, lock: &str) -> String {
    // Of several versions the newest: what hosts link may bring older ones.
    let version = |package: &str| {
        lock.rsplit("[[package]]")
            .find(|entry| entry.contains(&format!("\nname = \"{package}\"\n")))
            .and_then(|entry| entry.split_once("\nversion = \""))
            .and_then(|(_, rest)| rest.split_once('"'))
            .map_or("?", |(version, _)| version)
    };
    let compiler = compiler.split(" (").next().unwrap_or_default().trim();
    let qemu = qemu
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("QEMU emulator version ");
    let qemu = qemu.split(' ').next().unwrap_or_default();
    let mzmq = format!("mzmq {}", version("mzmq"));
    let p256 = version("p256");

    let mut page = format!(
        "# What the core costs on a device\n\
        \n\
        Written by `targets/measure/run`; `targets/measure/run --check` fails in CI if a figure has \
        grown by more than {SLACK} %.\n\
        \n\
        Cortex-M3 (thumbv7m-none-eabi), {compiler}, profile `device` (fat LTO, one codegen unit, \
        panic = abort) at opt-level s and 3, p256 {p256} with 64-bit limbs (`.cargo/config.toml`), \
        QEMU {qemu} (board mps2-an385).\n\
        \n\
        - Flash: `.text`, `.rodata` and what fills `.data`, less those of an image that only \
        starts and holds the input. *Of that, memory functions* are the compiler's `memcpy`, `memmove`, `memset` and \
        `memcmp`, which a firmware most likely has already.\n\
        - Static RAM: `.data` and `.bss`, buffers included.\n\
        - Stack: the deepest below the caller's frame, painted before and looked at afterwards.\n\
        - Instructions: counted one by one by a plugin in QEMU, the same in every run; less those \
        of a measured call of nothing. They are not the cycles of a real chip.\n"
    );

    page.push_str("\n## ZMTP publisher\n\n");
    page.push_str(
        "Greeting and READY both ways and one subscription (handshake), one message of a 31 B topic \
        and a 200 B body into a buffer (publish). Ours is a whole `zmtp::Peer`, with limits, \
        timeouts, heartbeats and both versions of ZMTP; see `targets/measure/src/bin`.\n\n",
    );
    table(
        &mut page,
        builds,
        &[("ours", "zmtp_pub"), (&mzmq, "mzmq_pub")],
    );

    page.push_str("\n## A message\n\n");
    page.push_str(
        "From a value to a message ready for a gathered write: canonical JSON, both frames' headers. \
        The unsigned body has 200 B; the signed one (`crypto::comb`) 880 B of certificate besides, \
        which stay in flash and are in its figure.\n\n",
    );
    table(
        &mut page,
        builds,
        &[
            ("unsigned", "publish_unsigned"),
            ("signed", "publish_signed"),
        ],
    );

    page.push_str("\n## A device\n\n");
    page.push_str(
        "The device that `core/README.md` shows, without a network stack: four subscribers connect \
        and subscribe (connect), a reading is encoded, signed and put in the ring (reading), and \
        goes out to all four (send). Static RAM is the ring of 4 KiB and the four connections. \
        The scratch buffer of 1 KiB is on the stack.\n\n",
    );
    table(&mut page, builds, &[("device", "device")]);

    page.push_str("\n## Signing and judging\n\n");
    page.push_str(
        "The crate p256 (for signing alone see p256-figures.md). One signature over 200 B, and the check of one with its certificate: PEM, chain, \
        both signatures.\n\n",
    );
    table(&mut page, builds, &[("crypto", "crypto")]);

    page.push_str(
        "\n## Panics\n\n\
        Each an image linked from every public function, with what it can reach of \
        `core::panicking`, and from where as far as the compiler can tell.\n\n",
    );
    for (what, name) in [
        (
            "`zmtp`, `json`, `message`, `provision`, `crypto::comb`, errors' texts included",
            "codec",
        ),
        ("`json::from_slice`", "read"),
        ("`crypto`", "crypto"),
    ] {
        for build in builds {
            if let Some(image) = build.images.get(name) {
                let panics = panics(image);
                let _ = writeln!(page, "- {what}, opt-level {}: {panics}.", build.opt_level);
            }
        }
    }
    page
}

/// The places that can panic, by file.
fn panics(image: &Image) -> String {
    if image.panics.is_empty() {
        return "none".to_owned();
    }
    let mut places = BTreeMap::<&str, BTreeSet<u32>>::new();
    for call in &image.panic_calls {
        match call.lines.first().and_then(|line| line.rsplit_once(':')) {
            Some((file, line)) => places.entry(file).or_default().extend(line.parse::<u32>()),
            None => {
                places.entry(&call.caller).or_default();
            }
        }
    }
    let places = places.iter().map(|(file, lines)| {
        let lines: Vec<_> = lines.iter().map(u32::to_string).collect();
        format!("{file} {}", lines.join(" ")).trim_end().to_owned()
    });
    places.collect::<Vec<_>>().join(", ")
}

/// Writes the table of these images at all opt-levels.
fn table(page: &mut String, builds: &[Build], columns: &[(&str, &str)]) {
    let empty = |build: &Build| build.images.get("empty").map_or(0, |image| image.flash);
    let nothing = |build: &Build| {
        let empty = build
            .images
            .get("empty")
            .and_then(|image| image.section("nothing"));
        empty.map_or(0, |section| section.instructions)
    };
    let columns: Vec<(String, &Build, &Image)> = builds
        .iter()
        .flat_map(|build| {
            columns.iter().filter_map(move |(title, name)| {
                let title = format!("{title}, opt-level {}", build.opt_level);
                Some((title, build, build.images.get(name)?))
            })
        })
        .collect();
    let mut row = |label: &str, cell: &dyn Fn(&Build, &Image) -> u64| {
        let cells = columns
            .iter()
            .map(|(_, build, image)| thousands(cell(build, image)));
        let _ = writeln!(
            page,
            "| {label} | {} |",
            cells.collect::<Vec<_>>().join(" | ")
        );
    };

    let mut sections: Vec<&str> = Vec::new();
    for section in columns.iter().flat_map(|(_, _, image)| &image.sections) {
        if !sections.contains(&section.name.as_str()) {
            sections.push(&section.name);
        }
    }
    row("flash, B", &|build, image| {
        image.flash.saturating_sub(empty(build))
    });
    row("of that, memory functions", &|_, image| {
        image.memory_functions
    });
    row("static RAM, B", &|_, image| image.ram);
    for name in sections {
        row(&format!("{name}, instructions"), &|build, image| {
            let instructions = image
                .section(name)
                .map_or(0, |section| section.instructions);
            instructions.saturating_sub(nothing(build))
        });
        row(&format!("{name}, stack, B"), &|_, image| {
            image.section(name).map_or(0, |section| section.stack)
        });
    }
    let titles: Vec<_> = columns.iter().map(|(title, _, _)| title.as_str()).collect();
    let head = format!(
        "| | {} |\n|---|{}\n",
        titles.join(" | "),
        "---:|".repeat(titles.len())
    );
    let rows = page.rfind("\n\n").map_or(0, |at| at + 2);
    page.insert_str(rows, &head);
}
