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

/// What a hook can see of its container.
pub struct Place {
    /// The stage.
    pub stage: Stage,
    /// The bundle's; `None` at startContainer, where all files are the
    /// container's and a `config.json` among them would be of its making.
    pub config: Option<Config>,
}

impl Place {
    /// Finds out where this hook runs. To load nothing, `dry`, the runtime
    /// need not have started it.
    ///
    /// # Errors
    /// It cannot be told, or is not what the command line says; the bundle
    /// cannot be read.
    pub fn find(stage: Option<Stage>, state: &State, dry: bool) -> anyhow::Result<Self> {
        let stage = match stage {
            Some(stage) => stage,
            None if dry && state.bundle.join("config.json").exists() => Stage::CreateRuntime,
            None => detect(state)?,
        };
        if stage == Stage::StartContainer {
            return Ok(Self {
                stage,
                config: None,
            });
        }
        ensure!(
            state.bundle.is_absolute(),
            "the state's bundle \"{}\" is no absolute path",
            state.bundle.display()
        );
        ensure!(
            dry || !is_inside(state, getppid()) || sees_outside(state)?,
            "this looks like startContainer, where only the container's own files are in sight: \
             arm from a createRuntime or createContainer hook, or give --stage startContainer"
        );
        let config = Config::load(&state.bundle).context("cannot read the bundle")?;
        Ok(Self {
            stage,
            config: Some(config),
        })
    }

    /// Which process is the container's init.
    ///
    /// At createRuntime the state says it. Container-side the runtimes do not
    /// agree (crun says 0, youki nothing, runc 1), but there init starts the
    /// hook itself. A program in between, a shell say, would be taken for
    /// init, so it has to be the first process of the container's pid
    /// namespace, or the one that the state names.
    ///
    /// # Errors
    /// It cannot be told, or init is past the point where it can be armed.
    pub fn init(&self, state: &State) -> anyhow::Result<Pid> {
        let parent = getppid();
        if !matches!(self.stage, Stage::CreateContainer | Stage::StartContainer) {
            let pid = state.pid.filter(|pid| pid.as_raw() != 1);
            let pid = pid.context(
                "the state names no process that can be the container's init: is this hook at \
                 createContainer or startContainer? (--stage)",
            )?;
            check_not_started(pid)?;
            return Ok(pid);
        }
        // The runtime itself may be 1 in its own namespace: then the state
        // names another.
        let first = parent.as_raw() == 1 && is_inside(state, parent);
        let named = state.pid == Some(parent);
        let certain = match &self.config {
            Some(config) if has_own_pids(config) => first,
            Some(_) => named,
            None => first || named,
        };
        if !certain {
            warn!(
                "started by process {parent}, the state says {:?}",
                state.pid
            );
            bail!(
                "cannot tell which process is the container's init: at createContainer and \
                 startContainer it has to start this hook itself, with no program in between; \
                 use createRuntime"
            );
        }
        Ok(parent)
    }
}

fn has_own_pids(config: &Config) -> bool {
    let mut namespaces = config.namespaces.iter();
    namespaces.any(|n| n.kind == "pid" && n.path.is_none())
}

/// Tells the stage by who has started this hook and what is in sight.
fn detect(state: &State) -> anyhow::Result<Stage> {
    if !is_inside(state, getppid()) {
        return Ok(Stage::CreateRuntime);
    }
    // So crun calls the bundle at startContainer.
    if state.bundle == Path::new("/") {
        return Ok(Stage::StartContainer);
    }
    if sees_outside(state)? {
        return Ok(Stage::CreateContainer);
    }
    let config = state.bundle.join("config.json");
    let in_sight = config.try_exists();
    // Where the runtime knows init by a number, that has told. Where it does
    // not, the container may share the runtime's pid namespace, and its own
    // files be in sight or not yet.
    if state.pid.is_none() && in_sight.context("cannot look for the bundle")? {
        bail!(
            "cannot tell createContainer from startContainer: use createRuntime, or give --stage \
             startContainer"
        );
    }
    Ok(Stage::StartContainer)
}

/// Whether a hook that init has started sees the runtime's files: so it does
/// before the pivot, at createContainer.
fn sees_outside(state: &State) -> anyhow::Result<bool> {
    Ok(match state.pid {
        // In a pid namespace that is not its own the number is of no help.
        // The runtimes that name init there (runc, youki) follow the spec in
        // this: "creating" before the pivot, "created" after it.
        Some(pid) if pid.as_raw() != 1 => state.status.as_deref() == Some("creating"),
        // The container's own /proc knows one number of this process.
        _ => pid_namespaces().context("cannot read /proc/self/status")? > 1,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> State {
        State::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_bundle_that_is_out_of_sight_is_that_of_start_container() {
        let detect = |text: &str| detect(&state(text)).ok();
        let crun = r#"{"id": "c", "pid": 0, "bundle": "/"}"#;
        assert_eq!(detect(crun), Some(Stage::StartContainer));
        let runc = r#"{"id": "c", "pid": 1, "bundle": "/no/such/bundle"}"#;
        assert_eq!(detect(runc), Some(Stage::StartContainer));
        let outside = r#"{"id": "c", "pid": 4194305, "bundle": "/b"}"#;
        assert_eq!(detect(outside), Some(Stage::CreateRuntime));
    }

    #[test]
    fn a_config_that_may_be_the_images_asks_for_the_stage() {
        let bundle = tempfile::tempdir().unwrap();
        std::fs::write(bundle.path().join("config.json"), "{}").unwrap();
        let text = format!(r#"{{"id": "c", "bundle": "{}"}}"#, bundle.path().display());
        let error = detect(&state(&text)).unwrap_err().to_string();
        assert!(error.contains("--stage startContainer"), "{error}");
    }
}
