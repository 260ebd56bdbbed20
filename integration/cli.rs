//! The command line, without containers: what it prints, its exit statuses,
//! and `init` with a child that really loads the filter and makes the calls.
#![forbid(unsafe_code)]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Outcome, Run, binary, programs, testdata};
use tempfile::TempDir;

fn oci_seccomp(args: &[&str]) -> Run {
    Run::new(binary()).args(args)
}

/// A profile in a directory that ends with the test.
fn profile_file(profile: &Value) -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("profile.json");
    let text = serde_json::to_string_pretty(profile).expect("JSON");
    std::fs::write(&path, text).expect("profile");
    let path = path.to_str().expect("UTF-8").to_owned();
    (dir, path)
}

fn denies_mkdir() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]
    })
}

#[test]
fn help_names_every_subcommand() {
    let help = oci_seccomp(&["--help"]).run().success();
    for command in ["hook", "init", "wrap", "dry-run", "features"] {
        assert!(help.stdout.contains(command), "no {command} in {help}");
        let own = oci_seccomp(&[command, "--help"]).run().success();
        assert!(own.stdout.contains("Usage"), "{own}");
    }
}

#[test]
fn features_are_json() {
    let seen = oci_seccomp(&["features", "--format", "json"])
        .run()
        .success();
    let features: Value = serde_json::from_str(&seen.stdout).expect("JSON");
    assert!(features.is_object());
}

#[test]
fn dry_run_is_a_flag_and_a_subcommand() {
    let (_dir, path) = profile_file(&testdata("default"));
    let flag = oci_seccomp(&["--dry-run", &path]).run().success();
    let command = oci_seccomp(&["dry-run", &path]).run().success();
    assert!(!flag.stdout.is_empty());
    assert_eq!(flag.stdout, command.stdout);
}

#[test]
fn dry_run_reads_standard_input() {
    let (_dir, path) = profile_file(&denies_mkdir());
    let json = |source| {
        let args = ["dry-run", source, "--format", "json"];
        let seen = oci_seccomp(&args)
            .stdin(denies_mkdir().to_string())
            .run()
            .success();
        serde_json::from_str::<Value>(&seen.stdout).expect("JSON")
    };
    assert!(json("-").is_object());
    assert!(json(&path).is_object());
}

#[test]
fn dry_run_tells_what_it_cannot_read_from_what_it_refuses() {
    oci_seccomp(&["dry-run", "/nowhere/profile.json"])
        .run()
        .exits(2)
        .says("/nowhere/profile.json");
    oci_seccomp(&["dry-run"]).run().exits(2);
    oci_seccomp(&["--no-such-option"]).run().exits(2);
}

#[test]
fn hook_fails_on_a_state_it_cannot_use() {
    for state in ["", "{", "{}", "null", "[]", r#"{"bundle":7}"#] {
        let seen = oci_seccomp(&["hook"]).stdin(state).run().exits(1);
        assert!(!seen.stderr.is_empty(), "not a word about {state:?}");
        assert!(!seen.stderr.contains("panicked"), "{seen}");
    }
}

/// Runs the workload by `init`; without no_new_privs where that is told.
fn init(profile: &Value, workload: &[&str]) -> Outcome {
    let (_dir, path) = profile_file(profile);
    // Without CAP_SYS_ADMIN no_new_privs is what lets a filter be loaded.
    Run::new("setpriv")
        .arg("--no-new-privs")
        .arg(binary())
        .args(["init", "--profile", &path, "--"])
        .args(workload)
        .run()
}

fn probe(args: &str) -> Vec<&str> {
    let program = programs::probe().to_str().expect("UTF-8");
    std::iter::once(program)
        .chain(args.split_whitespace())
        .collect()
}

#[test]
fn init_filters_the_workload_and_its_children() {
    let argv = probe("status -- call mkdir @/none/a 0x1ed -- call close 99 -- exit 6");
    let seen = init(&denies_mkdir(), &argv).exits(6);
    let before = own_filters();
    for who in ["self", "child"] {
        assert_eq!(seen.field(who, "Seccomp"), "2", "{seen}");
        assert_eq!(seen.field(who, "Seccomp_filters"), (before + 1).to_string());
        assert_eq!(seen.field(who, "NoNewPrivs"), "1", "{seen}");
    }
    assert_eq!(seen.errno("mkdir"), 77, "{seen}");
    assert_eq!(seen.errno("close"), 9, "{seen}");
}

/// Filters that this process has already, say from the CI's own container.
fn own_filters() -> u32 {
    let pid = i32::try_from(std::process::id()).expect("pid");
    let count = support::process::status(pid, "Seccomp_filters");
    count.and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[test]
fn init_loads_last_so_the_profile_names_only_the_exec_and_the_workload() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [{ "names": ["execve", "write", "exit_group"], "action": "SCMP_ACT_ALLOW" }]
    });
    let hello = programs::hello().to_str().expect("UTF-8");
    let seen = init(&profile, &[hello]).exits(7);
    assert_eq!(seen.stdout, "hello\n");
}

#[test]
fn init_tells_its_own_errors_from_the_workloads() {
    let (_dir, path) = profile_file(&denies_mkdir());
    init(&denies_mkdir(), &["/nowhere/program"])
        .exits(127)
        .says("/nowhere/program");
    init(&denies_mkdir(), &[&path]).exits(126).says(&path);
    init(&json!({ "defaultAction": "SCMP_ACT_FROB" }), &["/bin/true"])
        .exits(125)
        .says("SCMP_ACT_FROB");
    init(&denies_mkdir(), &["sh", "-c", "exit 33"]).exits(33);
}

#[test]
fn is_static_so_that_it_runs_in_any_root_file_system() {
    let headers = Run::new("readelf")
        .arg("--program-headers")
        .arg(Path::new(&binary()))
        .run()
        .success();
    assert!(!headers.stdout.contains("INTERP"), "{headers}");
}
