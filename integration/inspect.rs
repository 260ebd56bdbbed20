//! `inspect` on real processes and real containers, armed by our hook or
//! filtered by the runtime.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::container::Created;
use support::{Container, Outcome, Podman, Run, Runtime, Stage, binary, process, testdata};
use tempfile::TempDir;

support::on_each_runtime! {
    a_container_armed_by_the_hook_has_the_very_program
    the_runtimes_own_filter_is_held_against_the_section
    both_filters_are_judged_together
    every_example_runs
}

/// Denies these, for all architectures that runc tells apart.
fn denies(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]
    })
}

/// Compiled in one piece by libseccomp, the second rule is lost.
fn lseek_witness() -> Value {
    let up_to = |bound: u64| {
        json!({
            "names": ["lseek"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 77,
            "args": [{ "index": 1, "value": bound, "op": "SCMP_CMP_LE" }]
        })
    };
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [up_to(0x1_0000_0005), up_to(5)]
    })
}

fn oci_seccomp(args: &[&str]) -> Run {
    Run::new(binary()).args(args)
}

fn as_json(seen: &Outcome) -> Value {
    serde_json::from_str(&seen.stdout).unwrap_or_else(|e| panic!("{e}: {seen}"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Starts it, and waits until the workload runs and nobody traces it.
fn started(created: &Created) {
    created.start().success();
    let pid = created.pid();
    let runs = || {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm == "sleep\n" && process::status(pid, "TracerPid").as_deref() == Some("0")
    };
    assert!(process::within(support::command::LIMIT, runs));
}

fn sleeping(container: Container) -> Created {
    container.args(&["/bin/sleep", "600"]).create().ready()
}

fn inspect(runtime: Runtime, created: &Created, args: &[&str]) -> Outcome {
    let root = created.root();
    let named = [
        "inspect",
        created.id(),
        "--runtime",
        runtime.name(),
        "--root",
    ];
    oci_seccomp(&named).arg(root).args(args).run()
}

fn a_container_armed_by_the_hook_has_the_very_program(runtime: Runtime) {
    for no_new_privileges in [true, false] {
        let profile = denies(&["mkdir"]);
        let container = Container::new(runtime).no_new_privileges(no_new_privileges);
        let created = sleeping(container.profile_hook(Stage::CreateRuntime, &profile));
        let path = created
            .bundle()
            .parent()
            .expect("folder")
            .join("profile.json");
        let path = [created.bundle().join("profile.json"), path];
        let path = path.iter().find(|p| p.exists()).expect("the profile");

        let pid = created.pid().to_string();
        if no_new_privileges {
            // The hook's tracer waits for the start.
            let seen = oci_seccomp(&["inspect", &pid]).run().success();
            assert!(seen.stdout.contains("traces it already"), "{seen}");
            let against = ["inspect", &pid, "--against", text(path)];
            oci_seccomp(&against).run().exits(2);
        }
        started(&created);

        let program = created.bundle().join("filter.bpf");
        oci_seccomp(&["compile", text(path), "-o", text(&program)])
            .run()
            .success();
        let hash = Sha256::digest(fs::read(&program).expect("program"));
        let hash: String = hash.iter().take(6).map(|b| format!("{b:02x}")).collect();

        let args = ["--against", text(path), "--format", "json"];
        let seen = inspect(runtime, &created, &args).success();
        let report = as_json(&seen);
        assert_eq!(report["container"]["id"], created.id());
        assert_eq!(report["filters"], 1);
        assert_eq!(report["programs"][0]["fingerprint"], *hash, "{seen}");
        assert_eq!(report["against"][0]["strictness"], "equal", "{seen}");
        // The same by its number, and against the ready program.
        let by_number = ["inspect", &pid, "--against", text(&program)];
        let seen = oci_seccomp(&by_number).run().success();
        assert!(seen.stdout.contains("equal: the same verdict"), "{seen}");
        let seen = inspect(runtime, &created, &["--call", "mkdir"]).success();
        assert!(seen.stdout.contains("ERRNO(77)"), "{seen}");
        assert!(process::alive(created.pid()));
    }
}

fn the_runtimes_own_filter_is_held_against_the_section(runtime: Runtime) {
    let judged = |section: &Value, code: i32| {
        let container = Container::new(runtime).no_new_privileges(true);
        let created = sleeping(container.seccomp(section));
        started(&created);
        let args = ["--against", text(created.bundle()), "--format", "json"];
        let seen = inspect(runtime, &created, &args).exits(code);
        as_json(&seen)["against"][0].clone()
    };
    let weaker = judged(&lseek_witness(), 1);
    assert_eq!(weaker["strictness"], "weaker");
    let call = weaker["witness"]["call"].as_str().expect("a call");
    assert!(call.starts_with("x86_64 lseek("), "{call}");
    assert_eq!(weaker["witness"]["loaded"], "ALLOW");
    // Calls newer than the profile get EPERM from crun 1.8.
    let default = judged(&testdata("default"), 0);
    let strictness = default["strictness"].as_str().expect("a word");
    assert!(["equal", "asStrict"].contains(&strictness), "{default}");
}

fn both_filters_are_judged_together(runtime: Runtime) {
    let both = denies(&["mkdir", "rmdir"]);
    let container = Container::new(runtime).no_new_privileges(true);
    let container = container.seccomp(&denies(&["rmdir"]));
    let created = sleeping(container.profile_hook(Stage::CreateRuntime, &denies(&["mkdir"])));
    started(&created);
    let path = created.bundle().join("both.json");
    fs::write(&path, both.to_string()).expect("profile");
    let seen = inspect(runtime, &created, &["--against", text(&path)]).success();
    assert!(seen.stdout.contains("2 filters"), "{seen}");
    assert!(seen.stdout.contains("equal: the same verdict"), "{seen}");
}

/// What help and page show, with names of this test's in place of its own.
fn every_example_runs(runtime: Runtime) {
    let container = Container::new(runtime).no_new_privileges(true);
    let created = sleeping(container.seccomp(&denies(&["mkdir"])));
    started(&created);
    let mut ran = 0;
    let lines = support::examples("inspect").into_iter();
    for line in lines.filter(|l| !l.contains("podman")) {
        let container = format!(
            "inspect --root {} {}",
            created.root().display(),
            created.id()
        );
        let line = line
            .replace("oci-seccomp", text(&binary()))
            .replace("4242", &created.pid().to_string())
            .replace("inspect web", &container)
            .replace("/run/bundle", "bundle")
            .replace(
                "--against bundle",
                &format!("--against {}", text(created.bundle())),
            )
            .replace("| less", "");
        let seen = Run::new("sh").args(["-c", &line]).run().success();
        assert!(seen.stdout.contains("1 filter"), "{line}: {seen}");
        ran += 1;
    }
    assert_eq!(ran, 6);
}

#[test]
fn a_container_of_podmans_is_inspected_by_its_name() {
    for runtime in [Runtime::Runc, Runtime::Crun] {
        if !Podman::is_ready(runtime, false) {
            continue;
        }
        let podman = Podman::new(runtime);
        let (running, outcome) = podman.container().probe("sleep 600").start();
        outcome.success();
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", podman.on_path().display());
        let inspect = |line: &str| {
            let line = line
                .replace("oci-seccomp", text(&binary()))
                .replace("web", running.name());
            let run = Run::new("sh").args(["-c", &line]).env("PATH", &path);
            run.run().success()
        };
        let mut examples = support::examples("inspect").into_iter();
        let example = examples.find(|l| l.contains("--runtime podman"));
        let seen = inspect(&example.expect("an example"));
        assert!(seen.stdout.contains("(podman)"), "{seen}");
        assert!(seen.stdout.contains("1 filter"), "{seen}");
        assert!(seen.stdout.contains("clone(CLONE_NEWUSER"), "{seen}");
        // podman's own default denies it to a container without CAP_SYS_ADMIN.
        let seen = inspect("oci-seccomp inspect --runtime podman web --call bpf");
        let call = seen.stdout.rsplit("\ncall\n").next().unwrap_or_default();
        assert!(call.starts_with("ERRNO("), "{seen}");
    }
}

/// A filtered process of the host's.
struct Filtered {
    child: Child,
    dir: TempDir,
}

impl Filtered {
    fn new(profile: &Value) -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("profile.json");
        fs::write(&path, profile.to_string()).expect("profile");
        let child = Command::new(binary())
            .args(["init", "--profile"])
            .arg(&path)
            .args(["--", "sleep", "600"])
            .stdin(Stdio::null())
            .spawn()
            .expect("a child");
        let comm = format!("/proc/{}/comm", child.id());
        let runs = || fs::read_to_string(&comm).is_ok_and(|comm| comm == "sleep\n");
        assert!(process::within(support::command::LIMIT, runs));
        Self { child, dir }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn profile(&self) -> String {
        let path = self.dir.path().join("profile.json");
        text(&path).to_owned()
    }
}

impl Drop for Filtered {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        support::skip("loading a filter without no_new_privs needs root");
    }
    root
}

#[test]
fn without_the_privilege_it_says_what_it_can() {
    if !is_root() {
        return;
    }
    let filtered = Filtered::new(&denies(&["mkdir"]));
    let (pid, profile) = (filtered.pid(), filtered.profile());
    let unprivileged = |args: &[&str]| {
        let drop = ["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"];
        let run = Run::new("setpriv").args(drop).arg(binary());
        run.args(["inspect", &pid]).args(args).run()
    };
    let seen = unprivileged(&[]).success();
    assert!(seen.stdout.contains("1 filter"), "{seen}");
    assert!(seen.stdout.contains("lacks CAP_SYS_ADMIN"), "{seen}");
    unprivileged(&["--against", &profile]).exits(2);
    unprivileged(&["--call", "mkdir"]).exits(2);
    let filtered = oci_seccomp(&["init", "--profile", &profile, "--"]).arg(binary());
    let seen = filtered.args(["inspect", &pid]).run().success();
    assert!(seen.stdout.contains("has a filter itself"), "{seen}");
}

#[test]
fn a_call_is_answered_for_the_arguments_that_are_given() {
    if !is_root() {
        return;
    }
    let filtered = Filtered::new(&json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{
            "names": ["openat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
            "args": [{ "index": 2, "op": "SCMP_CMP_MASKED_EQ", "value": 64, "valueTwo": 64 }]
        }]
    }));
    let pid = filtered.pid();
    let ask = |args: &[&str]| {
        let seen = oci_seccomp(&["inspect", &pid, "--format", "json", "--call"]);
        let seen = seen.args(args).run().success();
        let verdicts = as_json(&seen)["call"][0]["verdicts"].clone();
        let verdicts = verdicts.as_array().expect("a list").clone();
        let said = |v: &Value| v["verdict"].as_str().unwrap_or_default().to_owned();
        verdicts.iter().map(said).collect::<Vec<_>>()
    };
    assert_eq!(
        ask(&["openat", "-100", "0", "O_RDWR|O_CREAT"]),
        ["ERRNO(77)"]
    );
    assert_eq!(ask(&["openat", "-100", "0", "O_RDWR"]), ["ALLOW"]);
    assert_eq!(ask(&["openat", "_", "_", "O_CREAT"]), ["ERRNO(77)"]);
    assert_eq!(ask(&["openat"]).len(), 2);
    assert_eq!(ask(&["mkdir"]), ["ALLOW"]);
    for wrong in [["frobnicate"], ["4294967296"]] {
        oci_seccomp(&["inspect", &pid, "--call"])
            .args(wrong)
            .run()
            .exits(2);
    }
}

#[test]
fn what_is_not_there_cannot_be_told() {
    for target in ["4194305", "0", "-1", "no such container"] {
        let seen = oci_seccomp(&["inspect", "--", target]).run().exits(2);
        assert_eq!(seen.stdout, "", "{seen}");
    }
}
