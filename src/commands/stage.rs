//! At which stage a hook runs, and which process is the container's init.
//!
//! A hook file names its stage, and may be wrong. Armed at the wrong one,
//! another process would be traced or a workload that runs already, and the
//! hook would report a filter that nobody has. So what the stage means is
//! looked at: who has pivoted to the container's root, and whose /proc this is.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use log::warn;
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use nix::unistd::{Pid, getppid};
use oci_seccomp::bundle::{Config, State};

use crate::cli::Stage;

/// Makes sure that the bundle in sight is the runtime's own. At
/// startContainer all files are the container's, a `config.json` among them
/// would be of its making.
///
/// # Errors
/// This is startContainer, or cannot be told from it.
pub fn check_bundle_is_the_runtimes(state: &State) -> anyhow::Result<()> {
    let parent = getppid();
    if !is_inside(state, parent) {
        return Ok(());
    }
    let outside = match state.pid {
        // In a pid namespace that is not its own the number is of no help.
        // The runtimes that name init there (runc, youki) follow the spec in
        // this: "creating" before the pivot, "created" after it.
        Some(pid) if pid.as_raw() != 1 => state.status.as_deref() == Some("creating"),
        // The container's own /proc knows one number of this process.
        _ => pid_namespaces().context("cannot read /proc/self/status")? > 1,
    };
    ensure!(
        outside,
        "this looks like startContainer, where only the container's own files are in sight: \
         arm from a createRuntime or createContainer hook"
    );
    Ok(())
}

/// Which process is the container's init, and at which stage this is.
///
/// At createRuntime the state says it. Container-side the runtimes do not
/// agree (crun says 0, youki nothing, runc 1), but there init starts the hook
/// itself. A program in between, a shell say, would be taken for init, so it
/// has to be the first process of the container's pid namespace, or the one
/// that the state names.
///
/// # Errors
/// It cannot be told, or init is past the point where it can be armed.
pub fn init(stage: Option<Stage>, state: &State, config: &Config) -> anyhow::Result<(Stage, Pid)> {
    let parent = getppid();
    let inside = is_inside(state, parent);
    let stage = stage.unwrap_or(match inside {
        true => Stage::CreateContainer,
        false => Stage::CreateRuntime,
    });
    if stage != Stage::CreateContainer {
        let pid = state.pid.filter(|pid| pid.as_raw() != 1);
        let pid = pid.context(
            "the state names no process that can be the container's init: \
             is this hook at createContainer? (--stage createContainer)",
        )?;
        check_not_started(pid)?;
        return Ok((stage, pid));
    }
    let own_namespace = config
        .namespaces
        .iter()
        .any(|n| n.kind == "pid" && n.path.is_none());
    let certain = match own_namespace {
        // The runtime itself may be 1 in its own namespace: then the state
        // names another.
        true => parent.as_raw() == 1 && inside,
        false => state.pid == Some(parent),
    };
    if !certain {
        warn!(
            "started by process {parent}, the state says {:?}",
            state.pid
        );
        bail!(
            "cannot tell which process is the container's init: at createContainer it has to \
             start this hook itself, with no program in between; use createRuntime"
        );
    }
    Ok((stage, parent))
}

/// Whether the state is one that a runtime gives to hooks that init starts.
fn is_inside(state: &State, parent: Pid) -> bool {
    state
        .pid
        .is_none_or(|pid| pid.as_raw() == 1 || pid == parent)
}

/// How many pid namespaces, of those that the mounted /proc knows, this
/// process has a number in.
fn pid_namespaces() -> io::Result<usize> {
    let path = Path::new("/proc/self/status");
    if statfs(path)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let status = fs::read(path)?;
    let status = String::from_utf8_lossy(&status);
    let numbers = status.lines().find_map(|l| l.strip_prefix("NSpid:"));
    Ok(numbers.map_or(0, |n| n.split_whitespace().count()))
}

/// Makes sure that init has not pivoted to the container's root: up to there
/// runs createRuntime, after it the workload may run already (poststart).
fn check_not_started(init: Pid) -> anyhow::Result<()> {
    let root = |process: &dyn std::fmt::Display| {
        let path = format!("/proc/{process}/root/.");
        let root = fs::metadata(&path).with_context(|| format!("cannot look at {path}"));
        root.map(|root| (root.dev(), root.ino()))
    };
    ensure!(
        root(&init)? == root(&"self")?,
        "process {init}, the container's init, is in the container's root already, and may run \
         the workload: arm from a createRuntime or createContainer hook"
    );
    Ok(())
}
