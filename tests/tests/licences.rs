//! Everything that is linked may be used under our own licences' terms.

use serde_json::Value;
use std::process::Command;

/// Licences that ask for no more than attribution. (libzmq itself, linked only with feature `zmq`, is
/// LGPL-3.0 with an exception for static linking: no package says so, so it is said here.)
/// CDLA-Permissive-2.0 is for data: it asks to pass on its text.
const ALLOWED: [&str; 13] = [
    "CDLA-Permissive-2.0",
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "BSL-1.0",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "MIT-0",
];

/// Packages under MPL-2.0, which asks for the source of their own files. They are in the tool that
/// reads a device's log (`targets/emulator`), as they come, and in nothing that is handed on.
const TOOLS: [&str; 2] = ["alterable_logger", "colored"];

#[test]
fn every_dependency_has_a_licence_that_asks_for_attribution_at_most() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let refused: Vec<_> = packages
        .iter()
        .filter(|package| !TOOLS.iter().any(|tool| package["name"] == *tool))
        .filter(|package| !allowed(package["license"].as_str().unwrap_or("none")))
        .map(|package| {
            format!(
                "{} {}: {}",
                package["name"], package["version"], package["license"]
            )
        })
        .collect();
    assert!(packages.len() > 50, "only {} packages", packages.len());
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Whether one of an expression's alternatives asks for allowed licences only.
fn allowed(expression: &str) -> bool {
    expression
        .split(" OR ")
        .flat_map(|part| part.split('/'))
        .any(|alternative| {
            alternative
                .split(" AND ")
                .flat_map(|part| part.split(" WITH ").take(1))
                .all(|licence| ALLOWED.contains(&licence.trim_matches(['(', ')', ' '])))
        })
}
