//! What this process has of the operating system. Tests that count it run one after the other.

use std::{
    env, fs,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Has the process to itself, as far as other callers go.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Open file descriptors.
#[must_use]
pub fn descriptors() -> usize {
    // One of them is that of this listing.
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// Running threads of sockets, ours and libzmq's.
#[must_use]
pub fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // One may end while it is looked at.
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("fedmsg-") || name.starts_with("ZMQ"))
        .count()
}

/// The memory in use, in bytes.
#[must_use]
pub fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes = line.trim().strip_suffix(" kB").unwrap();
    kilobytes.parse::<usize>().unwrap() << 10
}

/// Fails where memory has grown by more than `limit` bytes.
#[track_caller]
pub fn assert_grown_by_less_than(limit: usize, before: usize) {
    let grown = resident().saturating_sub(before);
    assert!(grown < limit, "{grown} bytes more");
}

/// How many descriptors this process may have, now and after asking for more.
#[must_use]
pub fn descriptor_limits() -> [usize; 2] {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .unwrap();
    let mut numbers = line.split_whitespace();
    [(); 2].map(|()| {
        let number = numbers.next().unwrap();
        number.parse().unwrap_or(usize::MAX)
    })
}

/// Runs this test, by its full name, with so many descriptors: in a process of its own where this
/// one has another limit. Whether it was: then there is nothing left to do here.
#[must_use]
pub fn ran_elsewhere(test: &str, descriptors: usize) -> bool {
    if descriptor_limits()[0] == descriptors {
        return false;
    }
    let output = Command::new("sh")
        .args(["-c", "ulimit -n \"$0\" && exec \"$@\""])
        .arg(descriptors.to_string())
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    true
}
