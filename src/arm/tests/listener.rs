//! Closing the listener in init where filters cannot be lifted for it: in a
//! user namespace of its own, which has no CAP_SYS_ADMIN in the initial one.

use std::os::unix::net::UnixListener;

use super::*;
use crate::bundle::State;
use crate::policy::Listener;

pub(super) const INSIDE: &str = "ARM_IN_A_USER_NAMESPACE";

/// Runs a test again, `MODULE::NAME`, as root of a new user namespace.
pub(super) fn again_inside(test: &str) -> Test {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user"])
        .arg(std::env::current_exe()?)
        .args(["--exact", "--nocapture"])
        .arg(format!("arm::tests::{test}"))
        .env(INSIDE, "1")
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    Ok(())
}

/// Arms a workload that lists what it has open, with a filter that asks the
/// agent about one call; what it printed, and the tracer's report.
fn armed_to_ask_about(nr: libc::c_long) -> Result<(String, String), Box<dyn StdError>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("agent");
    let _agent = UnixListener::bind(&path)?;
    let state: State = State::read(&br#"{"ociVersion": "1.1.0", "id": "c", "bundle": "/"}"#[..])?;
    let listener = Listener {
        path,
        metadata: None,
    };
    let handover = Handover::connect(&listener, &state, getpid(), "creating")?;
    let program = Program::new(vec![
        insn(op::LD_ABS, 0, 0, 0),
        insn(op::JEQ_K, 0, 1, nr as u32),
        insn(op::RET_K, 0, 0, Action::Notify.to_ret()),
        insn(op::RET_K, 0, 0, Action::Allow.to_ret()),
    ])?;
    let mut command = Command::new("/bin/busybox");
    let script = "echo ready; read x; exec busybox ls -l /proc/self/fd";
    command.args(["sh", "-c", script]);
    let layer = Layer {
        listener: Some(&handover),
        ..layer(&program)
    };
    let init = Init::with_layers(command, Boundary::Exec, &[layer])?;
    assert!(init.armed.is_ok(), "{:?}", init.armed);
    let (_, text, report) = init.go()?;
    Ok((text, report))
}

#[test]
fn closes_it_where_the_filter_is_certain_to_allow_that() -> Test {
    if std::env::var_os(INSIDE).is_none() {
        return again_inside("listener::closes_it_where_the_filter_is_certain_to_allow_that");
    }
    let (text, report) = armed_to_ask_about(libc::SYS_mkdir)?;
    assert!(text.contains(" 0 -> "), "{text} {report}");
    assert!(!text.contains("seccomp"), "{text}");
    assert!(report.contains("armed"), "{report}");
    Ok(())
}

#[test]
fn kills_init_where_that_is_not_certain() -> Test {
    if std::env::var_os(INSIDE).is_none() {
        return again_inside("listener::kills_init_where_that_is_not_certain");
    }
    let (text, report) = armed_to_ask_about(libc::SYS_close)?;
    assert_eq!(text, "");
    assert!(report.contains("does not allow that close"), "{report}");
    Ok(())
}
