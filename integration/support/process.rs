//! Other processes, as /proc shows them.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A field of /proc/PID/status; `None` if there is no such process or field.
pub fn status(pid: i32, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = text
        .lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// Whether the process is there and not just a zombie.
pub fn alive(pid: i32) -> bool {
    status(pid, "State").is_some_and(|s| !s.starts_with(['Z', 'X']))
}

/// Waits for a condition; false if the time was up first.
pub fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(10));
    }
    true
}

/// The living processes that carry the mark in their argv, their environment
/// or the name of their cgroup, with what they are.
pub fn marked(mark: &str) -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| carries(pid, mark) && alive(pid))
        .map(|pid| (pid, describe(pid)))
        .collect()
}

fn carries(pid: i32, mark: &str) -> bool {
    ["cmdline", "environ", "cgroup"].iter().any(|file| {
        // As text: the library's search is optimized even where tests are not.
        fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(mark))
    })
}

fn describe(pid: i32) -> String {
    let argv = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let argv = String::from_utf8_lossy(&argv).replace('\0', " ");
    let name = status(pid, "Name").unwrap_or_default();
    format!("{pid} ({name}) {}", argv.trim_end())
}

/// The mounts of this mount namespace that carry the mark.
pub fn marked_mounts(mark: &str) -> Vec<String> {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter(|l| l.contains(mark))
        .map(str::to_owned)
        .collect()
}

/// The zombies that are children of `parent`, by name.
pub fn zombies(parent: i32) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| status(pid, "PPid") == Some(parent.to_string()))
        .filter(|&pid| status(pid, "State").is_some_and(|s| s.starts_with('Z')))
        .filter_map(|pid| status(pid, "Name"))
        .collect()
}
