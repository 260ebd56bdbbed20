//! `audit` of made-up records, and of those that this kernel really writes.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{Outcome, Run, binary, skip};
use tempfile::TempDir;

fn shell(dir: &Path, line: &str) -> Outcome {
    let path = std::env::var("PATH").unwrap_or_default();
    Run::new("sh")
        .args(["-c", line])
        .env("PATH", format!("{}:{path}", dir.display()))
        .current_dir(dir)
        .run()
}

/// One of the page's two records.
fn record(time: u32) -> String {
    format!(
        "audit: type=1326 audit({time}.123:45): auid=1000 uid=0 gid=0 ses=1 pid=9 comm=\"x\" \
         exe=\"/usr/bin/app\" sig=0 arch=c000003e syscall=83 compat=0 ip=0x1 code=0x50000\n"
    )
}

const PROFILE: &str = r#"{
  "defaultAction": "SCMP_ACT_ERRNO",
  "syscalls": [
    {"names": ["ptrace"],
     "action": "SCMP_ACT_KILL_PROCESS"},
    {"names": ["read", "mseal"],
     "action": "SCMP_ACT_ALLOW"}
  ]
}"#;

fn folder() -> TempDir {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path();
    fs::write(path.join("seccomp.json"), PROFILE).expect("profile");
    let section: Value = serde_json::from_str(PROFILE).expect("JSON");
    fs::create_dir(path.join("bundle")).expect("bundle");
    let config = json!({ "ociVersion": "1.2.0", "linux": { "seccomp": section } });
    fs::write(path.join("bundle/config.json"), config.to_string()).expect("config");
    fs::write(
        path.join("audit.log"),
        format!("noise\n{}{}", record(1_700_000_000), record(1_700_000_100)),
    )
    .expect("log");
    std::os::unix::fs::symlink(binary(), path.join("oci-seccomp")).expect("link");
    dir
}

#[test]
fn every_example_runs() {
    let dir = folder();
    let lines = support::examples("audit");
    assert_eq!(lines.len(), 4);
    for line in lines {
        // Whose log may be read is the machine's business.
        let line = line
            .replace("/var/log/audit/", "")
            .replace("/run/bundle", "bundle")
            .replace("dmesg", "cat audit.log")
            .replace("journalctl -k", "cat audit.log");
        let seen = shell(dir.path(), &line).success();
        assert!(seen.stdout.contains("mkdir"), "{line}: {seen}");
    }
}

#[test]
fn the_page_shows_what_is_really_printed() {
    let dir = folder();
    let args = "--profile seccomp.json audit.log";
    let seen = shell(dir.path(), &format!("oci-seccomp audit {args}")).success();
    let page = fs::read_to_string(support::source().join("docs/commands.md")).expect("page");
    let lines = page.lines().skip_while(|l| l.trim() != "x86_64 mkdir");
    let lines = lines.map_while(|l| l.strip_prefix("    "));
    let expected = lines.collect::<Vec<_>>().join("\n");
    assert!(expected.lines().count() > 3, "{expected}");
    assert!(seen.stdout.contains(&expected), "{expected}\n{seen}");
}

#[test]
fn the_change_that_it_names_allows_the_call() {
    let dir = folder();
    let args = "--profile seccomp.json audit.log --format json";
    let seen = shell(dir.path(), &format!("oci-seccomp audit {args}")).success();
    let report: Value = serde_json::from_str(&seen.stdout).expect("JSON");
    let call = &report["calls"][0];
    assert_eq!(call["call"], "mkdir");
    assert_eq!(call["first"], "2023-11-14T22:13:20.123Z");
    let change = &call["advice"]["change"][0];
    assert_eq!(change["edit"], "addName");
    let path = dir.path().join("seccomp.json");
    let text = fs::read_to_string(&path).expect("profile");
    let mut profile: Value = serde_json::from_str(&text).expect("JSON");
    let rule = change["rule"].as_u64().expect("a rule") as usize;
    let names = &mut profile["syscalls"][rule]["names"];
    names
        .as_array_mut()
        .expect("names")
        .push(change["name"].clone());
    fs::write(dir.path().join("new.json"), profile.to_string()).expect("profile");
    let diff = "oci-seccomp diff seccomp.json new.json --format json";
    let seen = shell(dir.path(), diff).exits(1);
    let diff: Value = serde_json::from_str(&seen.stdout).expect("JSON");
    assert_eq!(diff["newlyAllowed"].as_array().map(Vec::len), Some(1));
    assert_eq!(diff["newlyAllowed"][0]["call"], "mkdir");
    assert_eq!(diff["noLongerAllowed"], json!([]));
    assert_eq!(diff["otherVerdict"], json!([]));
}

#[test]
fn what_cannot_be_read_is_told_from_what_is_refused() {
    let dir = folder();
    let status = |args: &str| shell(dir.path(), &format!("oci-seccomp audit {args}")).code();
    assert_eq!(status("audit.log"), Some(0));
    assert_eq!(status("- < audit.log"), Some(0));
    assert_eq!(status("missing.log"), Some(2));
    assert_eq!(status("."), Some(2));
    assert_eq!(status("--profile missing.json audit.log"), Some(2));
    fs::write(dir.path().join("bad.json"), "{}").expect("profile");
    assert_eq!(status("--profile bad.json audit.log"), Some(1));
}

/// The kernel limits how many it writes, and others may clear its log; then
/// there is nothing to see.
#[test]
fn records_of_this_kernel_are_read() {
    if !nix::unistd::geteuid().is_root() {
        return skip("the kernel's log is root's");
    }
    let dir = folder();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_LOG" }]
    });
    fs::write(dir.path().join("log.json"), profile.to_string()).expect("profile");
    // A name that the kernel writes in hexadecimal, and nobody else has.
    let name = format!("mk dir {}", std::process::id());
    fs::copy("/bin/mkdir", dir.path().join(&name)).expect("copy of mkdir");
    // Of many programs that made one call only the first few are named.
    let hex: String = name.bytes().map(|byte| format!("{byte:02X}")).collect();
    let report = format!("dmesg | grep {hex} | oci-seccomp audit --profile log.json --format json");
    let is_ours = |call: &Value| {
        let programs = call["programs"].as_array().into_iter().flatten();
        programs
            .filter_map(Value::as_str)
            .any(|p| p.ends_with(&name))
    };
    let logged = |attempt: u32| {
        let make = format!("oci-seccomp init --profile log.json -- './{name}' made{attempt}");
        shell(dir.path(), &make).success();
        let seen = shell(dir.path(), &report);
        let report: Value = serde_json::from_str(&seen.stdout).unwrap_or_default();
        let calls = report["calls"].as_array().cloned().unwrap_or_default();
        let call = calls.into_iter().find(is_ours);
        if call.is_none() {
            // The kernel prints ten records in five seconds, others' too.
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        call
    };
    let Some(call) = (0..12).find_map(logged) else {
        return skip("this kernel has not logged a call with SECCOMP_RET_LOG");
    };
    assert_eq!(call["call"], "mkdir");
    assert_eq!(call["action"], "LOG");
    assert_eq!(call["advice"]["explains"], true);
    assert_eq!(call["advice"]["verdicts"][0]["verdict"], "LOG");
}
