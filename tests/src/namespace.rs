//! A network of a test's own: a loopback interface, all of whose ports are free, and nothing else.

use std::{env, path::Path, process::Command};

use crate::python;

/// Runs this test, by its name, again in a process that has such a network. What it needs of the
/// network outside, Python fedmsg, is there by then.
#[track_caller]
pub fn alone(name: &str, test: impl FnOnce()) {
    if is_alone() {
        return test();
    }
    python::fedmsg();
    let own = env::current_exe().unwrap();
    let namespace = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare
            .args([
                "--map-root-user",
                "--net",
                "sh",
                "-c",
                "ip link set lo up && exec \"$@\"",
                "sh",
            ])
            .args(command)
            .env(INSIDE, "1")
            .output()
    };
    match namespace(&["true"]) {
        Ok(output) if output.status.success() => {}
        failed => panic!(
            "this test needs a network namespace of its own, made with `unshare --map-root-user \
             --net` (util-linux) and `ip` (iproute2): {failed:?}"
        ),
    }
    let own: &Path = &own;
    let test = ["--exact", name, "--include-ignored", "--nocapture"];
    let output = namespace(&[&[own.to_str().unwrap()], &test[..]].concat()).unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

/// Whether this process has such a network.
#[must_use]
pub fn is_alone() -> bool {
    env::var_os(INSIDE).is_some()
}

const INSIDE: &str = "FEDMSG_TEST_IS_ALONE";
