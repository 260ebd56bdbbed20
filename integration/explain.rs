//! `dry-run` and `explain` as a person meets them: every example of the help,
//! the README and the pages on commands and findings is run as it stands; and what findings
//! say of the kernel and the runtimes is tried on them.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{Container, Outcome, Run, Runtime, Stage, binary, programs, source, testdata};
use tempfile::TempDir;

/// The profile that the README shows.
const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW",
 "syscalls": [
  {"names": ["lseek"], "action": "SCMP_ACT_ERRNO",
   "args": [{"index": 1, "value": 4294967301, "op": "SCMP_CMP_LE"}]},
  {"names": ["lseek"], "action": "SCMP_ACT_ERRNO",
   "args": [{"index": 1, "value": 5, "op": "SCMP_CMP_LE"}]}]}
"#;

/// A folder with what the examples name, and the program under its own name.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path();
    fs::write(path.join("seccomp.json"), PROFILE).expect("profile");
    fs::write(path.join("profile.json"), PROFILE).expect("profile");
    fs::create_dir(path.join("bundle")).expect("bundle");
    let config = json!({
        "ociVersion": "1.2.0",
        "process": {"noNewPrivileges": true, "user": {"uid": 1000, "gid": 1000}},
        "linux": {"seccomp": testdata("default")}
    });
    fs::write(path.join("bundle/config.json"), config.to_string()).expect("config");
    std::os::unix::fs::symlink(binary(), path.join("oci-seccomp")).expect("link");
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

/// The lines of a text that call the two commands.
fn commands(text: &str) -> Vec<String> {
    let ours = |line: &&str| {
        let words = [
            "oci-seccomp dry-run ",
            "oci-seccomp --dry-run ",
            "oci-seccomp explain ",
        ];
        words.iter().any(|w| line.contains(w))
    };
    let code = text.lines().filter(|l| l.starts_with("  ")).map(str::trim);
    let code = code.map(|l| l.strip_prefix("$ ").unwrap_or(l));
    let code = code.filter(ours).filter(|l| !l.contains("SOURCE"));
    code.map(|l| l.split(" #").next().unwrap_or(l).trim_end().to_owned())
        .collect()
}

#[test]
fn every_example_runs() {
    let dir = folder();
    let help = |command: &str| {
        let help = Run::new(binary()).args([command, "--help"]).run().success();
        let (_, examples) = help.stdout.split_once("Examples:").expect("examples");
        commands(examples)
    };
    let read = |file: &str| fs::read_to_string(source().join(file)).expect("page");
    let mut lines = help("dry-run");
    lines.extend(help("explain"));
    lines.extend(commands(&read("README.md")));
    lines.extend(commands(&read("docs/commands.md")));
    lines.extend(commands(&read("docs/findings.md")));
    assert!(lines.len() > 12, "{lines:?}");
    for line in lines {
        let seen = shell(dir.path(), &line);
        // One that fails for what it asks to fail for is an example too.
        let denied = line.contains("--deny") && seen.stderr.contains("findings that --deny names");
        assert!(seen.code() == Some(0) || denied, "{line}: {seen}");
        assert!(!seen.stdout.is_empty(), "{line}");
    }
}

/// Where it says `…`, there is more.
#[test]
fn the_readme_shows_what_is_really_printed() {
    let readme = fs::read_to_string(source().join("README.md")).expect("README");
    assert!(readme.contains(PROFILE));
    let dir = folder();
    let mut examples = 0;
    for part in readme.split("\n    $ oci-seccomp ").skip(1) {
        let (command, rest) = part.split_once('\n').expect("an answer");
        let block = rest
            .lines()
            .take_while(|l| l.is_empty() || l.starts_with("    "));
        let block: Vec<&str> = block.map(|l| l.strip_prefix("    ").unwrap_or(l)).collect();
        let seen = shell(dir.path(), &format!("oci-seccomp {command}")).success();
        let block = block.join("\n");
        for piece in block
            .split('…')
            .map(str::trim_end)
            .filter(|p| !p.is_empty())
        {
            let is_whole = piece.len() == block.trim_end().len();
            let found = match is_whole {
                true => seen.stdout.trim_end() == piece,
                false => seen.stdout.contains(piece),
            };
            assert!(found, "{command}: {seen}\nwhere the README has\n{piece}");
        }
        examples += 1;
    }
    assert_eq!(examples, 2);
}

#[test]
fn a_finding_that_is_denied_is_a_status_and_one_that_is_allowed_is_silent() {
    let dir = folder();
    let run = |args: &str| {
        shell(
            dir.path(),
            &format!("oci-seccomp dry-run {args} seccomp.json"),
        )
    };
    run("").success();
    let seen = run("--deny runtime-weaker --deny mask-bits").exits(1);
    assert!(seen.stdout.contains("warning runtime-weaker"), "{seen}");
    seen.says("names: runtime-weaker");
    let seen = run("--deny runtime-weaker --allow runtime-weaker").success();
    assert!(!seen.stdout.contains("runtime-weaker"), "{seen}");
    run("--deny mask-bits").success();
    run("--deny all").exits(1);
    run("--deny all --allow all").success();
    run("--deny nothing").exits(2).says("shadowed-rule");
}

#[test]
fn colour_is_for_a_terminal_and_not_for_a_pipe() {
    let dir = folder();
    let plain = shell(dir.path(), "TERM=xterm oci-seccomp dry-run seccomp.json").success();
    assert!(!plain.stdout.contains('\x1b'), "{plain}");
    // script(1) gives it a terminal.
    let on_terminal = |env: &str| {
        let line = format!(
            "env {env} TERM=xterm script -qec 'oci-seccomp dry-run seccomp.json' /dev/null"
        );
        shell(dir.path(), &line)
    };
    let seen = on_terminal("A=1");
    if seen.code() == Some(127) {
        support::skip("no script(1)");
        return;
    }
    assert!(seen.stdout.contains("\x1b["), "{seen}");
    let seen = on_terminal("NO_COLOR=1");
    assert!(!seen.stdout.contains("\x1b["), "{seen}");
}

#[test]
fn explain_answers_whatever_the_verdict_and_says_what_it_cannot() {
    let dir = folder();
    let run = |args: &str| shell(dir.path(), &format!("oci-seccomp explain {args}"));
    let json = run("seccomp.json lseek 0 3 --format json").success();
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["outcomes"][0]["action"], "ERRNO(1)");
    assert_eq!(json["outcomes"][0]["rule"]["line"], 3);
    run("seccomp.json read --arch x86").success();
    run("seccomp.json laeek")
        .exits(2)
        .says("did you mean lseek?");
    run("seccomp.json lseek 0 0 SEEK_AND")
        .exits(2)
        .says("SEEK_END");
    run("seccomp.json lseek 1 2 3 4 5 6 7").exits(2);
    run("nothing.json read").exits(2).says("nothing.json");
    fs::write(
        dir.path().join("bad.json"),
        "{\"defaultAction\": \"SCMP_ACT_FROB\"}",
    )
    .expect("file");
    run("bad.json read").exits(1).says("SCMP_ACT_FROB");
}

#[test]
fn a_bundle_says_when_and_where_its_filter_goes_in() {
    let dir = folder();
    let seen = shell(dir.path(), "oci-seccomp dry-run bundle").success();
    for text in [
        "bundle/config.json (OCI 1.2.0)",
        "at the exec of the workload",
        "noNewPrivileges is set",
        "by the hook at createRuntime, prestart, createContainer",
    ] {
        assert!(seen.stdout.contains(text), "no {text:?} in {seen}");
    }
    let config = dir.path().join("bundle/config.json");
    let text = fs::read_to_string(&config).expect("config");
    let mut json: Value = serde_json::from_str(&text).expect("JSON");
    json["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    fs::write(&config, json.to_string()).expect("config");
    let seen = shell(dir.path(), "oci-seccomp dry-run bundle").success();
    assert!(!seen.stdout.contains("createContainer"), "{seen}");
}

/// Errno of our rules, which none of the calls below fails with by itself.
const DENIED: &str = "77";

/// What the probe prints under a profile: the errno of each call.
fn errnos(profile: &Value, probe: &Path, calls: &str) -> Vec<String> {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("profile.json");
    fs::write(&path, profile.to_string()).expect("profile");
    // Without CAP_SYS_ADMIN no_new_privs is what lets a filter be loaded.
    let seen = Run::new("setpriv")
        .arg("--no-new-privs")
        .arg(binary())
        .args(["init", "--profile"])
        .arg(&path)
        .arg("--")
        .arg(probe)
        .args(calls.split_whitespace())
        .run()
        .success();
    let lines = seen.stdout.lines().filter(|l| l.contains(" = "));
    lines
        .map(|l| l.rsplit(' ').next().unwrap_or_default().to_owned())
        .collect()
}

fn denies(name: &str, args: Value) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{ "names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args }]
    })
}

/// The finding `upper-bits`.
#[test]
fn the_kernel_takes_fewer_bits_than_a_filter_compares() {
    let probe = programs::probe();
    for (name, arg, value, plain, evading) in [
        ("socket", 0, 16_u64, "16 3 9", "0x100000010 3 9"),
        ("mkdir", 1, 0o700, "@/none/a 0x1c0", "@/none/a 0x101c0"),
        // No process has this number.
        (
            "ptrace",
            1,
            0x3fff_ffff_u64,
            "16 0x3fffffff",
            "16 0x13fffffff",
        ),
    ] {
        let calls = format!("call {name} {plain} -- call {name} {evading}");
        let equal = json!([{ "index": arg, "value": value, "op": "SCMP_CMP_EQ" }]);
        let seen = errnos(&denies(name, equal), probe, &calls);
        assert_eq!(seen[0], DENIED, "{name}");
        // It is made, or the kernel has an error of its own: no such path,
        // no such process.
        assert!(
            ["0", "2", "3"].contains(&seen[1].as_str()),
            "{name}: {seen:?}"
        );
        let bits = if name == "mkdir" {
            0xffff
        } else {
            0xffff_ffff_u64
        };
        let masked = json!([
            { "index": arg, "value": bits, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" }
        ]);
        let seen = errnos(&denies(name, masked), probe, &calls);
        assert_eq!(seen, [DENIED, DENIED], "{name}");
    }
}

/// The finding `multiplexed-arguments`.
#[test]
fn socketcall_makes_what_a_rule_for_socket_denies() {
    let families = json!([{ "index": 0, "value": 0xffff_0000_u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }]);
    let calls = "call32 socket 16 3 9 -- call32 102 1 buf";
    let seen = errnos(&denies("socket", families), programs::probe(), calls);
    assert_eq!(seen[0], DENIED);
    // The kernel's own answer to a socket of family 0.
    assert_ne!(seen[1], DENIED, "{seen:?}");
}

support::on_each_runtime! {
    starts_with_just_the_calls_that_the_finding_names
    does_by_itself_what_explain_says
}

/// The runtime loads the section by itself, and its filter does with each call
/// what `explain` says that it does; where that is not what the profile says,
/// too.
fn does_by_itself_what_explain_says(runtime: Runtime) {
    let at_most = |value: u64| json!([{ "index": 1, "value": value, "op": "SCMP_CMP_LE" }]);
    let rule = |name: &str, args: Value| json!({ "names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args });
    let section = json!({
        "defaultAction": "SCMP_ACT_LOG",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            rule("lseek", at_most(0x1_0000_0005)),
            rule("lseek", at_most(5)),
            rule("mkdir", json!([{ "index": 1, "value": 448, "op": "SCMP_CMP_EQ" }])),
            { "names": ["mkdir"], "action": "SCMP_ACT_ALLOW" },
            rule("dup", json!([{ "index": 0, "value": 98, "op": "SCMP_CMP_EQ" }]))
        ]
    });
    let calls = [
        ("lseek", ["99", "6", "0"]),
        ("lseek", ["99", "3", "0"]),
        ("mkdir", ["@/none/a", "0x1c0", "0"]),
        ("mkdir", ["@/none/a", "0x1ed", "0"]),
        ("dup", ["98", "0", "0"]),
        ("dup", ["99", "0", "0"]),
    ];
    let mut differ = 0;
    for (call, args) in calls {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("profile.json");
        fs::write(&path, section.to_string()).expect("profile");
        // A path is any pointer to a filter.
        let numbers = args.map(|a| if a.starts_with('@') { "1" } else { a });
        let seen = Run::new(binary())
            .args(["explain", "--ambiguous", "first", "--format", "json"])
            .arg(&path)
            .arg(call)
            .args(numbers)
            .run()
            .success();
        let answer: Value = serde_json::from_str(&seen.stdout).expect("JSON");
        let others = answer["runtimes"].as_array().expect("a list");
        let other = others.iter().find(|o| o["runtime"] == runtime.name());
        differ += usize::from(other.is_some());
        let said = other.map_or(&answer["outcomes"][0]["action"], |o| &o["action"]);
        let seen = Container::new(runtime)
            .no_new_privileges(true)
            .seccomp(&section)
            .probe(&format!("call {call} {}", args.join(" ")))
            .run()
            .success();
        let denied = seen.errno(call) == 77;
        assert_eq!(
            denied,
            said == "ERRNO(77)",
            "{call} {args:?}: {said} {seen}"
        );
    }
    assert!(differ >= 2, "only {differ} calls differ");
}

/// What Go's runtime, and so runc, may call at any time besides.
const GO: &[&str] = &[
    "clone",
    "clone3",
    "epoll_ctl",
    "epoll_pwait",
    "getpid",
    "gettid",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "rt_sigaction",
    "rt_sigprocmask",
    "sched_yield",
    "sigaltstack",
    "tgkill",
];

/// The finding `runtime-needs`: with these and the workload's own a container
/// starts, and without one of them it does not.
fn starts_with_just_the_calls_that_the_finding_names(runtime: Runtime) {
    for uid in [0, 1000] {
        let needs = needs(runtime, uid);
        assert!(needs.contains(&"execve".to_owned()), "{needs:?}");
        let start = |names: &[&str]| {
            let profile = json!({
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }]
            });
            // Else it would be loaded ahead, and filter none of these: a later
            // hook of init's has its calls watched.
            let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null"] }]);
            Container::new(runtime)
                .uid(uid)
                .profile_hook(Stage::CreateRuntime, &profile)
                .patch(|config| config["hooks"]["createContainer"] = hook)
                .args(&["/hello"])
                .run()
        };
        let own = ["write", "exit_group"];
        let go = if runtime == Runtime::Runc { GO } else { &[] };
        let names = needs.iter().map(String::as_str).chain(own);
        let names: Vec<&str> = names.chain(go.iter().copied()).collect();
        let seen = start(&names).exits(7);
        assert_eq!(seen.stdout, "hello\n", "{seen}");
        // A profile older than faccessat2 will do, with what Go calls instead.
        let older = names.iter().copied().filter(|n| *n != "faccessat2");
        let older: Vec<&str> = older.chain(["geteuid", "getegid", "getgroups"]).collect();
        start(&older).exits(7);
        for left_out in ["capset", "execve"] {
            let rest: Vec<&str> = names.iter().copied().filter(|n| *n != left_out).collect();
            let seen = start(&rest);
            assert_ne!(seen.stdout, "hello\n", "without {left_out}: {seen}");
        }
    }
}

/// What a dry run says that a runtime calls, for a profile that allows nothing.
fn needs(runtime: Runtime, uid: u32) -> Vec<String> {
    let dir = tempfile::tempdir().expect("directory");
    let config = json!({
        "process": {"noNewPrivileges": false, "user": {"uid": uid, "gid": uid}},
        "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO"}}
    });
    fs::write(dir.path().join("config.json"), config.to_string()).expect("config");
    let seen = Run::new(binary())
        .arg("dry-run")
        .arg(dir.path())
        .args(["--format", "json"]);
    let report: Value = serde_json::from_str(&seen.run().success().stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let ours = findings.iter().find(|f| {
        let message = f["message"].as_str().unwrap_or_default();
        f["id"] == "runtime-needs" && message.contains(runtime.name())
    });
    let subjects = ours.expect("a finding")["subjects"]
        .as_array()
        .expect("subjects");
    subjects
        .iter()
        .filter_map(|s| s.as_str())
        .map(str::to_owned)
        .collect()
}
