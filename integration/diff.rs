//! `diff` as a person or a script meets it.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{Outcome, Run, binary, testdata};
use tempfile::TempDir;

fn allows(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }]
    })
}

/// A folder with what the examples name, and the program under its own name.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path();
    let file = |name: &str, value: &Value| {
        fs::write(path.join(name), value.to_string()).expect("file");
    };
    file("old.json", &allows(&["read", "mseal"]));
    let mut new = allows(&["read", "write", "mseal"]);
    let rules = new["syscalls"].as_array_mut().expect("rules");
    rules.push(json!({
        "names": ["clone"], "action": "SCMP_ACT_ALLOW",
        "args": [{ "index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 0x1000_0000 }]
    }));
    file("new.json", &new);
    file("baseline.json", &testdata("default"));
    file("seccomp.json", &testdata("default"));
    let config = json!({ "ociVersion": "1.2.0", "linux": { "seccomp": testdata("default") } });
    file("config.json", &config);
    fs::create_dir(path.join("bundle")).expect("bundle");
    file("bundle/config.json", &config);
    std::os::unix::fs::symlink(binary(), path.join("oci-seccomp")).expect("link");
    shell(path, "oci-seccomp compile seccomp.json -o filter.bpf").success();
    dir
}

fn shell(dir: &Path, line: &str) -> Outcome {
    let path = std::env::var("PATH").unwrap_or_default();
    Run::new("sh")
        .args(["-c", line])
        .env("PATH", format!("{}:{path}", dir.display()))
        .current_dir(dir)
        .run()
}

#[test]
fn every_example_runs() {
    let dir = folder();
    let lines = support::examples("diff");
    assert_eq!(lines.len(), 6);
    for line in lines {
        let seen = shell(dir.path(), &line.replace("/run/bundle", "bundle"));
        let differs = line.contains("old.json");
        assert_eq!(seen.code(), Some(i32::from(differs)), "{line}: {seen}");
        assert!(!seen.stdout.is_empty(), "{line}");
    }
}

/// The indented lines of the page from `first` on, as they are printed.
fn shown(first: &str) -> String {
    let page = fs::read_to_string(support::source().join("docs/commands.md")).expect("page");
    let lines = page.lines().skip_while(|l| l.trim() != first);
    let lines = lines.map_while(|l| l.strip_prefix("    "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_page_shows_what_is_really_printed() {
    let dir = folder();
    let seen = shell(dir.path(), "oci-seccomp diff old.json new.json").exits(1);
    let expected = shown("newly allowed");
    assert!(expected.lines().count() > 3, "{expected}");
    assert!(seen.stdout.contains(&expected), "{expected}\n{seen}");
}

#[test]
fn the_status_says_what_was_asked() {
    let dir = folder();
    let status = |args: &str| shell(dir.path(), &format!("oci-seccomp diff {args}")).code();
    assert_eq!(status("old.json old.json"), Some(0));
    assert_eq!(status("old.json new.json"), Some(1));
    assert_eq!(status("--subset old.json new.json"), Some(1));
    assert_eq!(status("--subset new.json old.json"), Some(0));
    assert_eq!(status("old.json missing.json"), Some(2));
    assert_eq!(status("- -"), Some(2));
    let invalid = dir.path().join("invalid.json");
    fs::write(&invalid, r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#).expect("file");
    assert_eq!(status("old.json invalid.json"), Some(2));
}

#[test]
fn what_is_printed_has_no_colour_for_a_pipe_and_fits_a_terminal() {
    let dir = folder();
    let line = "TERM=xterm oci-seccomp diff baseline.json new.json";
    let seen = shell(dir.path(), line).exits(1);
    assert!(!seen.stdout.contains('\x1b'), "{seen}");
    // The paths of this test are short.
    let fits = |line: &str| line.chars().count() <= 80;
    assert!(seen.stdout.lines().all(fits), "{seen}");
}

#[test]
fn a_program_is_told_from_a_profile_by_its_content() {
    let dir = folder();
    let seen = shell(
        dir.path(),
        "cp filter.bpf x; oci-seccomp diff x seccomp.json --format json",
    );
    let json: Value = serde_json::from_str(&seen.success().stdout).expect("JSON");
    assert_eq!(json["first"]["kind"], "program");
    assert_eq!(json["second"]["kind"], "profile");
    assert_eq!(json["equal"], true);
    assert_eq!(
        json["first"]["fingerprints"],
        json["second"]["fingerprints"]
    );
    // Half an instruction is none.
    shell(
        dir.path(),
        "head -c 4 filter.bpf | oci-seccomp diff - old.json",
    )
    .exits(2);
}
