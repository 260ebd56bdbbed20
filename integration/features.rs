//! `oci-seccomp features`, against this kernel and against one that seems to
//! have no seccomp. Needs a kernel with seccomp, and root or user namespaces.

mod programs;

use std::process::{Command, Output};

use oci_seccomp::policy::Action;

const BINARY: &str = env!("CARGO_BIN_EXE_oci-seccomp");

fn features(format: &str) -> Output {
    Command::new(BINARY)
        .args(["features", "--format", format])
        .output()
        .unwrap()
}

/// Runs `features` where prctl(2) and seccomp(2) answer as without
/// `CONFIG_SECCOMP`, and /proc says nothing.
fn features_without_seccomp(format: &str) -> Output {
    const EINVAL: Action = Action::Errno(22);
    const ENOSYS: Action = Action::Errno(38);
    let dir = tempfile::tempdir().unwrap();
    let filter = dir.path().join("filter");
    let program = programs::answering(&[
        (libc::SYS_prctl, Some(libc::PR_GET_SECCOMP as u32), EINVAL),
        (libc::SYS_prctl, Some(libc::PR_SET_SECCOMP as u32), EINVAL),
        (libc::SYS_seccomp, None, ENOSYS),
    ]);
    std::fs::write(&filter, program).unwrap();
    let namespaces = if nix::unistd::geteuid().is_root() {
        "-m"
    } else {
        "-rm"
    };
    Command::new("unshare")
        .args([namespaces, "sh", "-ec"])
        .arg("mount -t tmpfs none /proc; exec \"$0\" init --bpf \"$1\" -- \"$0\" features --format \"$2\"")
        .args([BINARY.as_ref(), filter.as_os_str(), format.as_ref()])
        .output()
        .unwrap()
}

#[test]
fn says_yes_on_a_kernel_with_seccomp() {
    let output = features("text");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\nseccomp              yes\n"), "{text}");

    let json: serde_json::Value = serde_json::from_slice(&features("json").stdout).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["seccomp"], true);
    assert_eq!(json["actions"]["ERRNO"], true);
    assert_eq!(json["flags"]["TSYNC"], true);
}

#[test]
fn says_no_and_fails_on_a_kernel_without() {
    let output = features_without_seccomp("text");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let no = "\nseccomp              no: this kernel has no seccomp (CONFIG_SECCOMP)\n";
    assert!(text.contains(no), "{text}");
    assert!(
        text.contains("\nactions missing      KILL_PROCESS "),
        "{text}"
    );

    let output = features_without_seccomp("json");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["seccomp"], false);
    assert_eq!(json["filterMode"], false);
    assert_eq!(json["flags"]["TSYNC"], false);
    assert!(json["actionsAvail"].is_null());
}
