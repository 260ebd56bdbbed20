//! The library as its users have it: what it declares, and the example that
//! executes a command under a profile, in a process of its own. Nothing here
//! needs the program.
#![forbid(unsafe_code)]

#[path = "library/api.rs"]
mod api;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use oci_seccomp::{compile, filter, load, plain, profile, prove, translate};

/// What differs is a change of the API, for the CHANGELOG and the version.
#[test]
fn the_api_is_what_was_agreed_on() {
    insta::assert_snapshot!("api", api::declared());
}

/// So that they can be carried by what others use for errors.
#[test]
fn filters_and_errors_go_from_thread_to_thread() {
    const fn goes<T: Send + Sync + 'static>() {}
    goes::<filter::Filter>();
    goes::<filter::Error>();
    goes::<compile::Error>();
    goes::<load::Error>();
    goes::<plain::Error>();
    goes::<profile::Error>();
    goes::<prove::Disproof>();
    goes::<translate::Error>();
}

/// Not the tests' folders, and no big data.
#[test]
fn the_package_has_what_a_user_reads_and_builds() {
    let listed = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["package", "--list", "--allow-dirty", "--quiet"])
        .output()
        .expect("cargo");
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let tops = listed.lines().filter_map(|path| path.split('/').next());
    // What cargo adds by itself.
    let tops = tops.filter(|top| !top.starts_with(".cargo") && !top.starts_with("Cargo."));
    let expected = [
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "build.rs",
        "docs",
        "examples",
        "src",
        "testdata",
    ];
    assert_eq!(tops.collect::<BTreeSet<_>>(), expected.into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = listed
        .lines()
        .filter_map(|path| fs::metadata(root.join(path)).ok());
    let bytes: u64 = files.map(|file| file.len()).sum();
    assert!(bytes < 3 << 20, "{bytes} bytes");
}

/// The example, built as somebody would who uses the library alone.
fn confine() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--no-default-features"])
        .args(["--example", "confine", "--message-format", "json"])
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&built.stdout);
    let built_is = said
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "confine")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    built_is.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&built.stderr)))
}

/// Executes a script under a profile, in a folder of its own.
fn run(profile: &str, script: &str) -> (Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("profile.json"), profile).expect("profile");
    let output = Command::new(confine())
        .current_dir(folder.path())
        .env("LC_ALL", "C")
        .args(["profile.json", "sh", "-c", script])
        .output()
        .expect("the example");
    (output, folder)
}

/// How many filters are on a process, by its status.
fn filters(status: &str) -> u32 {
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("Seccomp_filters:"));
    line.expect("Linux 5.9").trim().parse().expect("a number")
}

#[test]
fn the_example_executes_a_command_under_the_profile() {
    // 62 is ETIME, which no kernel answers to a mkdir.
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
        "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 62}]}"#;
    let script = "cat /proc/self/status; touch made; mkdir denied";
    let (output, folder) = run(profile, script);
    let said = String::from_utf8_lossy(&output.stdout);
    let ours = fs::read_to_string("/proc/self/status").expect("status");
    assert!(said.contains("\nSeccomp:\t2\n"), "{output:?}");
    assert!(said.contains("\nNoNewPrivs:\t1\n"), "{output:?}");
    assert_eq!(filters(&said), filters(&ours) + 1);
    let denied = String::from_utf8_lossy(&output.stderr);
    assert!(denied.contains("Timer expired"), "{output:?}");
    assert!(folder.path().join("made").exists());
    assert!(!folder.path().join("denied").exists());
}

#[test]
fn the_example_executes_nothing_where_nothing_is_loaded() {
    // libseccomp makes ERRNO of it.
    let ambiguous = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_LOG",
         "args": [{"index": 1, "value": 512, "op": "SCMP_CMP_LE"}]},
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let asks = r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#;
    for (profile, message) in [
        (ambiguous, "ambiguous: "),
        (asks, "needs another process"),
        ("{", "profile.json: line 1: EOF"),
    ] {
        let (output, folder) = run(profile, "touch made");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(said.contains(message), "{said}");
        assert!(!folder.path().join("made").exists());
    }
}
