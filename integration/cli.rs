//! The command line, without containers: what it prints, its exit statuses,
//! and `init` with a child that really loads the filter and makes the calls.
#![forbid(unsafe_code)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

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
    for command in [
        "hook", "init", "exec", "wrap", "dry-run", "explain", "compile", "resolve", "test",
        "cache", "diff", "inspect", "audit", "features",
    ] {
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
fn what_cannot_be_written_is_no_answer() {
    let (_dir, path) = profile_file(&denies_mkdir());
    let cases = [
        vec!["dry-run", &path],
        vec!["dry-run", "--list-findings"],
        vec!["explain", &path, "mkdir"],
        vec!["diff", &path, &path],
        vec!["compile", &path],
        vec!["resolve", &path],
        vec!["features"],
    ];
    for args in cases {
        let full = std::fs::File::create("/dev/full").expect("/dev/full");
        let mut command = Command::new(binary());
        let status = command.args(&args).stdout(full).stderr(Stdio::null());
        let status = status.status().expect("the program");
        assert_eq!(status.code(), Some(2), "{args:?}");
    }
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

#[test]
fn compile_writes_one_program_in_four_forms() {
    let (dir, path) = profile_file(&denies_mkdir());
    let compile = |format: &str| {
        let file = dir.path().join(format);
        let out = file.to_str().expect("UTF-8");
        oci_seccomp(&["compile", &path, "--format", format, "-o", out])
            .run()
            .success();
        std::fs::read(&file).expect("the program")
    };
    let raw = compile("raw");
    let program = oci_seccomp::bpf::Program::from_bytes(&raw).expect("a program");
    compile("base64");
    let encoded = dir.path().join("base64");
    let decode = format!("base64 -d {}", encoded.display());
    let decode = format!("{decode} | od -An -v -tx1 | tr -d ' \\n'");
    let hex = Run::new("sh").args(["-c", &decode]).run().success();
    let expected: String = raw.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex.stdout, expected);
    let count = program.instructions().len();
    let c = String::from_utf8(compile("c")).expect("UTF-8");
    assert_eq!(c.matches("\t{ 0x").count(), count, "{c}");
    let pfc = String::from_utf8(compile("pfc")).expect("UTF-8");
    assert_eq!(pfc.lines().count(), count, "{pfc}");
    assert!(pfc.contains("83 (mkdir)"), "{pfc}");
    // A second time, over what is there.
    assert_eq!(compile("raw"), raw);
    let left = std::fs::read_dir(dir.path()).expect("directory").count();
    assert_eq!(left, 5, "a temporary file is left behind");
}

#[test]
fn compile_leaves_nothing_of_a_profile_that_is_refused() {
    let (dir, path) = profile_file(&json!({ "defaultAction": "SCMP_ACT_NONE" }));
    let out = dir.path().join("out");
    let out = out.to_str().expect("UTF-8");
    oci_seccomp(&["compile", &path, "-o", out])
        .run()
        .exits(1)
        .says("SCMP_ACT_NONE")
        .says("line 2");
    assert!(!Path::new(out).exists());
    oci_seccomp(&["compile", "/nowhere", "-o", out])
        .run()
        .exits(2);
    let (_dir, path) = profile_file(&denies_mkdir());
    oci_seccomp(&["compile", &path, "-o", "/nowhere/out"])
        .run()
        .exits(2)
        .says("/nowhere/out");
}

/// /dev/stdout is one, and root could replace it.
#[test]
fn compile_writes_through_a_link() {
    let (dir, path) = profile_file(&denies_mkdir());
    let [file, link] = ["file", "link"].map(|name| dir.path().join(name));
    std::fs::write(&file, [0; 9999]).expect("file");
    std::os::unix::fs::symlink(&file, &link).expect("link");
    let out = link.to_str().expect("UTF-8");
    oci_seccomp(&["compile", &path, "-o", out]).run().success();
    assert!(link.is_symlink());
    let written = std::fs::read(&file).expect("file");
    oci_seccomp(&["compile", &path, "-o", file.to_str().expect("UTF-8")])
        .run()
        .success();
    assert_eq!(std::fs::read(&file).expect("file"), written);
}

#[test]
fn resolve_takes_the_rules_for_these_capabilities_this_machine_and_kernel() {
    let (_dir, path) = profile_file(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}
        ],
        "syscalls": [
            {"name": "read", "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}}
        ]
    }));
    let resolve = |options: &[&str]| {
        let args: Vec<&str> = ["resolve", &path].iter().chain(options).copied().collect();
        let seen = oci_seccomp(&args).run().success();
        let section: Value = serde_json::from_str(&seen.stdout).expect("JSON");
        let names: Vec<String> = section["syscalls"]
            .as_array()
            .expect("rules")
            .iter()
            .map(|rule| rule["names"][0].as_str().expect("a name").to_owned())
            .collect();
        (names, section["architectures"].clone())
    };
    let (names, arches) = resolve(&["--kernel", "4.4"]);
    assert_eq!(names, ["read", "arch_prctl"]);
    assert_eq!(arches, json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
    let (names, arches) = resolve(&[
        "--caps",
        "sys_admin",
        "--arch",
        "aarch64",
        "--kernel",
        "4.8.0",
    ]);
    assert_eq!(names, ["read", "mount", "ptrace"]);
    assert_eq!(arches, json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]));
    for (option, value) in [("--caps", "root"), ("--arch", "vax"), ("--kernel", "new")] {
        oci_seccomp(&["resolve", &path, option, value])
            .run()
            .exits(2);
    }
}

#[test]
fn test_prints_each_failure_with_the_rule_that_decided() {
    let (_dir, path) = profile_file(&json!({
        "seccomp": denies_mkdir(),
        "cases": [
            {"syscall": "mkdir", "args": [null, 448], "expect": "ERRNO(77)"},
            {"syscall": "rmdir", "expect": "ALLOW"},
            {"arch": "x86", "syscall": 39, "expect": "KILL_THREAD"},
            {"syscall": "mkdir", "expect": "ALLOW"}
        ]
    }));
    let seen = oci_seccomp(&["test", &path]).run().exits(1);
    let last = seen.stdout.lines().last();
    assert_eq!(last, Some("3 passed, 1 failed"), "{seen}");
    let failure = "case 3: x86_64 mkdir(): expected ALLOW, got ERRNO(77) by rule 0 (line ";
    assert!(seen.stdout.contains(failure), "{seen}");
    let json = oci_seccomp(&["test", &path, "--format", "json"])
        .run()
        .exits(1);
    let totals: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(totals["failures"][0]["case"], 3);
    let (_dir, path) = profile_file(&json!({"cases": []}));
    oci_seccomp(&["test", &path]).run().exits(2);
}

#[test]
fn hook_dry_run_says_when_the_bundle_gets_its_filter() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let config = json!({
        "process": {"noNewPrivileges": true, "args": ["true"], "user": {"uid": 0, "gid": 0}},
        "linux": {"seccomp": denies_mkdir()}
    });
    std::fs::write(dir.path().join("config.json"), config.to_string()).expect("config");
    let state = json!({"id": "a", "pid": 2, "bundle": dir.path()});
    let seen = oci_seccomp(&["hook", "--dry-run"])
        .stdin(state.to_string())
        .run()
        .success();
    for text in ["at the exec of the workload", "noNewPrivileges is set"] {
        assert!(seen.stdout.contains(text), "{seen}");
    }
}

#[test]
fn what_is_misspelt_is_told_what_may_be_meant() {
    let (dir, path) = profile_file(&denies_mkdir());
    let misspelt = dir.path().join("profil.json").display().to_string();
    let (_strict, unknown) = profile_file(&json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdri"], "action": "SCMP_ACT_ERRNO" }]
    }));
    let cases = dir.path().join("cases.json");
    let text =
        json!({ "profile": "profile.json", "cases": [{ "syscall": "mkdri", "expect": "ALLOW" }] });
    std::fs::write(&cases, text.to_string()).expect("cases");
    let cases = cases.display().to_string();
    let own = std::process::id().to_string();
    for (line, meant) in [
        (&["explian", "profile.json", "read"][..], "'explain'"),
        (&["dry-run", "--frmat", "json", &path], "'--format'"),
        (
            &["dry-run", "--deny", "mask-bit", &path],
            "did you mean mask-bits?",
        ),
        (
            &["dry-run", &misspelt],
            "profil.json (did you mean profile.json?): No such file",
        ),
        (&["dry-run", "--strict", &unknown], "did you mean mkdir?"),
        (&["explain", &path, "mkdri"], "did you mean mkdir?"),
        (&["inspect", &own, "--call", "mkdri"], "did you mean mkdir?"),
        (&["test", &cases], "did you mean mkdir?"),
        (
            &["inspect", "web", "--runtime", "rnuc"],
            "did you mean runc?",
        ),
    ] {
        let seen = oci_seccomp(line).run();
        assert_ne!(seen.code(), Some(0), "{seen}");
        seen.says(meant);
    }
}
