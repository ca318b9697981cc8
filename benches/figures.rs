//! Runs the codec's benchmarks and writes `docs/speed.md`: each of ours beside its rivals of the
//! same run, as a ratio. `cargo run --release -p fedmsg-benches --bin figures`

use serde_json::Value;
use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const HEAD: &str = "# Speed of the codec

Written by `cargo run --release -p fedmsg-benches --bin figures`, which runs `benches/benches/*.rs`
(criterion, medians). Every line is one run on one machine, so compare along a line, not between
lines, and take no figure for your machine's. A ratio above 1 means that fedmsg is faster.

";

/// Our side in every group.
const OURS: &str = "fedmsg";

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let results = target.join("criterion");
    if results.exists() {
        fs::remove_dir_all(&results)?;
    }
    let status = Command::new(cargo)
        .args(["bench", "--package", "fedmsg-benches"])
        .current_dir(&root)
        .env("CRITERION_HOME", &results)
        .status()?;
    if !status.success() {
        return Err("a benchmark failed".into());
    }

    let mut groups = BTreeMap::new();
    collect(&results, &mut groups)?;
    let mut text = String::from(HEAD);
    writeln!(text, "| what | fedmsg, ns | beside | its ns | ratio |")?;
    writeln!(text, "|---|---:|---|---:|---:|")?;
    for (group, functions) in &groups {
        let Some(ours) = functions.get(OURS) else {
            continue;
        };
        for (rival, theirs) in functions.iter().filter(|(name, _)| *name != OURS) {
            let ratio = theirs / ours;
            writeln!(
                text,
                "| {group} | {ours:.1} | {rival} | {theirs:.1} | {ratio:.2} |"
            )?;
        }
    }
    fs::write(root.join("docs/speed.md"), text)?;
    Ok(())
}

/// Medians in nanoseconds, by group and function.
fn collect(
    folder: &Path,
    groups: &mut BTreeMap<String, BTreeMap<String, f64>>,
) -> Result<(), Box<dyn Error>> {
    let read = |name: &str| -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_slice(&fs::read(folder.join(name))?)?)
    };
    if folder.ends_with("new") {
        let (benchmark, estimates) = (read("benchmark.json")?, read("estimates.json")?);
        let text = |key: &str| Some(benchmark.get(key)?.as_str()?.to_owned());
        let (group, function) = text("group_id").zip(text("function_id")).ok_or("no name")?;
        let median = estimates
            .pointer("/median/point_estimate")
            .and_then(Value::as_f64);
        let median = median.ok_or("no median")?;
        groups.entry(group).or_default().insert(function, median);
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, groups)?;
        }
    }
    Ok(())
}
