//! `oci-seccomp init`: a real filter on a real workload. Needs a kernel with
//! seccomp, busybox and setpriv (util-linux); root or not.

mod programs;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use oci_seccomp::policy::Action;
use programs::{Answer, answering};

const BINARY: &str = env!("CARGO_BIN_EXE_oci-seccomp");
/// EBADFD: no mkdir fails so by itself.
const DENY_MKDIR: Answer = (libc::SYS_mkdir, None, Action::Errno(77));

/// A directory with the program of one test in it.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new(answers: &[Answer]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("filter"), answering(answers)).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, content: &str, mode: u32) {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// `setpriv PRIVILEGES oci-seccomp init --bpf filter -- COMMAND` in the
    /// directory.
    fn command(&self, privileges: &[&str], command: &[&str]) -> Command {
        let mut setpriv = Command::new("setpriv");
        setpriv
            .args(privileges)
            .args([BINARY, "init", "--bpf", "filter", "--"])
            .args(command)
            .current_dir(self.dir.path());
        setpriv
    }

    fn run(&self, command: &[&str]) -> Output {
        self.command(&["--no-new-privs"], command).output().unwrap()
    }

    fn sh(&self, script: &str) -> Output {
        self.run(&["busybox", "sh", "-c", script])
    }
}

/// Asserts a failure of our own: its status, and a single line that says why.
fn assert_refused(output: &Output, status: i32, why: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.starts_with("oci-seccomp: error: "), "{stderr}");
    assert!(stderr.contains(why), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn the_workload_and_its_children_run_under_the_filter() {
    let fixture = Fixture::new(&[DENY_MKDIR]);
    let output = fixture.sh("busybox mkdir made; echo $?; busybox grep Seccomp: /proc/self/status");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\nSeccomp:\t2\n");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("File descriptor in bad state"), "{stderr}");
    assert!(!fixture.path("made").exists());
}

#[test]
fn the_status_is_the_workloads_own() {
    let fixture = Fixture::new(&[DENY_MKDIR]);
    for status in [0, 1, 7, 125, 255] {
        let output = fixture.sh(&format!("exit {status}"));
        assert_eq!(output.status.code(), Some(status));
    }
    assert_eq!(fixture.sh("kill -9 $$").status.signal(), Some(9));
}

#[test]
fn a_call_that_the_filter_kills_ends_the_workload_by_sigsys() {
    let fixture = Fixture::new(&[(libc::SYS_mkdir, None, Action::KillProcess)]);
    let output = fixture.run(&["busybox", "mkdir", "made"]);
    assert_eq!(output.status.signal(), Some(libc::SIGSYS));
}

#[test]
fn arguments_environment_and_descriptors_arrive_as_they_were() {
    let fixture = Fixture::new(&[DENY_MKDIR]);
    fixture.file("input", "content", 0o600);
    let script = r#"exec 7<input; exec "$@" busybox sh -c 'echo "$0|$1|$V"; busybox cat <&7; echo; busybox ls /proc/$$/fd' a ' b*'"#;
    let run = |shim: &[&str]| {
        let output = Command::new("busybox")
            .args(["sh", "-c", script, "sh", "setpriv", "--no-new-privs"])
            .args(shim)
            .env("V", "x=y\n")
            .current_dir(fixture.dir.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let under_init = run(&[BINARY, "init", "--bpf", "filter", "--"]);
    assert!(under_init.starts_with("a| b*|x=y\n\ncontent\n0\n1\n"));
    // The test may have inherited descriptors itself, and so has the workload.
    assert_eq!(under_init, run(&[]), "as without the shim");
}

#[test]
fn the_workload_does_not_ignore_sigpipe() {
    let fixture = Fixture::new(&[DENY_MKDIR]);
    let output = fixture.run(&["busybox", "grep", "SigIgn", "/proc/self/status"]);
    let line = String::from_utf8(output.stdout).unwrap();
    let mask = line.trim_start_matches("SigIgn:").trim();
    let ignored = u64::from_str_radix(mask, 16).unwrap();
    assert_eq!(ignored & (1 << (libc::SIGPIPE - 1)), 0, "{line}");
}

#[test]
fn commands_are_found_on_path() {
    let fixture = Fixture::new(&[DENY_MKDIR]);
    let bin = fixture.path("bin");
    fs::create_dir(&bin).unwrap();
    fixture.file("bin/there", "#!/bin/sh\necho bin\n", 0o755);
    fixture.file("here", "#!/bin/sh\necho cwd\n", 0o755);
    fixture.file("bin/plain", "", 0o644);
    let run = |path: &str, command: &str| {
        // setpriv is looked for on PATH as well, by the shell's own.
        let script = "s=$(command -v setpriv); PATH=$1; export PATH; exec $s --no-new-privs $0 init --bpf filter -- $2";
        Command::new("sh")
            .args(["-c", script, BINARY, path, command])
            .current_dir(fixture.dir.path())
            .output()
            .unwrap()
    };
    let with_bin = format!("/nowhere:{}", bin.display());
    assert_eq!(run(&with_bin, "there").stdout, b"bin\n");
    assert_eq!(run("/nowhere:", "here").stdout, b"cwd\n");
    assert_eq!(run("", "here").stdout, b"cwd\n");
    assert_eq!(run("/nowhere", "./here").stdout, b"cwd\n");
    assert_refused(&run(&with_bin, "plain"), 126, "plain: EACCES");
    assert_refused(&run(&with_bin, "here"), 127, "here: ENOENT");
    assert_refused(&run(&with_bin, "bin/none"), 127, "bin/none: ENOENT");
    assert_refused(&run(&with_bin, "/"), 126, "cannot execute /");
}

#[test]
fn what_is_no_program_is_not_loaded() {
    let fixture = Fixture::new(&[DENY_MKDIR]);
    for (content, why) in [
        (&b"7 bytes"[..], "not a whole number of 8-byte instructions"),
        (&[0xff; 8], "not one that seccomp accepts"),
        (&[], "filter is not a filter program: the program is empty"),
        (&[0; 32776], "filter is longer than 32768 bytes"),
    ] {
        fs::write(fixture.path("filter"), content).unwrap();
        assert_refused(&fixture.sh("echo > started"), 125, why);
    }
    fs::remove_file(fixture.path("filter")).unwrap();
    assert_refused(&fixture.sh("echo > started"), 125, "cannot open filter");
    assert!(!fixture.path("started").exists());
}

#[test]
fn a_filter_that_denies_execve_is_refused_before_it_is_loaded() {
    for action in [Action::Errno(1), Action::KillProcess, Action::Notify] {
        let fixture = Fixture::new(&[(libc::SYS_execve, None, action)]);
        let why = format!("the profile answers execve with {action}");
        assert_refused(&fixture.sh("true"), 125, &why);
    }
}

#[test]
fn an_exec_that_fails_under_the_filter_has_the_shells_status() {
    let fixture = Fixture::new(&[DENY_MKDIR]);
    fixture.file("lost", "#!/no/such/interpreter\n", 0o755);
    fixture.file("garbage", "no program", 0o755);
    assert_refused(&fixture.run(&["./lost"]), 127, "cannot execute ./lost");
    assert_refused(&fixture.run(&["./garbage"]), 126, "ENOEXEC");
}

#[test]
fn such_a_failure_is_silent_rather_than_killed_where_the_filter_kills_write() {
    let fixture = Fixture::new(&[(libc::SYS_write, None, Action::KillProcess)]);
    fixture.file("lost", "#!/no/such/interpreter\n", 0o755);
    let output = fixture.run(&["./lost"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    assert_eq!(output.stderr, b"");
}

#[test]
fn starts_nothing_without_no_new_privs_and_cap_sys_admin() {
    let fixture = Fixture::new(&[DENY_MKDIR]);
    let root = nix::unistd::geteuid().is_root();
    // For root, what is not in the bounding set is gone with the next exec.
    let without: &[&str] = if root {
        &["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    } else {
        &["--inh-caps=-sys_admin"]
    };
    let command = ["busybox", "sh", "-c", "echo > started"];
    let output = fixture.command(without, &command).output().unwrap();
    assert_refused(
        &output,
        125,
        "set process.noNewPrivileges to true in config.json, or add CAP_SYS_ADMIN",
    );
    assert!(!fixture.path("started").exists());

    if root {
        let output = fixture.command(&["--reset-env"], &command).output();
        assert_eq!(output.unwrap().status.code(), Some(0));
        assert!(fixture.path("started").exists(), "CAP_SYS_ADMIN suffices");
    }
}
