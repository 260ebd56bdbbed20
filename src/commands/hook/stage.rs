//! At which stage a hook runs, and which process is the container's init.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use log::warn;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{Pid, getppid};
use oci_seccomp::bundle::{Config, State};

use crate::cli::Stage;

/// What a hook can see of its container.
pub struct Place {
    /// The stage.
    pub stage: Stage,
    /// The bundle's; `None` at startContainer, where whatever is at its path
    /// comes from the image.
    pub config: Option<Config>,
}

impl Place {
    /// Finds out where this hook runs. To load nothing, `dry`, it need not be
    /// certain.
    pub fn find(stage: Option<Stage>, state: &State, dry: bool) -> anyhow::Result<Self> {
        let stage = match stage {
            Some(stage) => stage,
            None => detect(state, dry)?,
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
    pub fn init(&self, state: &State) -> anyhow::Result<Pid> {
        if !matches!(self.stage, Stage::CreateContainer | Stage::StartContainer) {
            return state.pid.filter(|pid| pid.as_raw() != 1).context(
                "the state names no process that can be the container's init: is this hook at \
                 createContainer or startContainer? (--stage)",
            );
        }
        let parent = getppid();
        let named = state.pid == Some(parent);
        let first = parent.as_raw() == 1;
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

/// Tells the stage by what is in sight.
fn detect(state: &State, dry: bool) -> anyhow::Result<Stage> {
    let parent = getppid();
    let inside = state
        .pid
        .is_none_or(|pid| pid.as_raw() == 1 || pid == parent);
    if !inside {
        return Ok(Stage::CreateRuntime);
    }
    // So crun calls the bundle at startContainer.
    if state.bundle == Path::new("/") {
        return Ok(Stage::StartContainer);
    }
    let config = state.bundle.join("config.json");
    if !config
        .try_exists()
        .with_context(|| format!("cannot look for {}", config.display()))?
    {
        return Ok(Stage::StartContainer);
    }
    // It may still be the image that has a file of that name.
    match dry || sees_outer_processes().context("cannot examine /proc")? {
        true => Ok(Stage::CreateContainer),
        false => bail!(
            "cannot tell createContainer from startContainer: say which with --stage \
             createContainer or --stage startContainer"
        ),
    }
}

/// Whether `/proc` is of a pid namespace around this process's own: so it is
/// in a createContainer hook, before the container's root and its own `/proc`
/// are in place.
fn sees_outer_processes() -> io::Result<bool> {
    let status = match File::open(Path::new("/proc/self/status")) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    if fstatfs(&status)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Ok(false);
    }
    Ok(has_several_numbers(&io::read_to_string(status)?))
}

/// Whether `NSpid` has more numbers than one: that in the namespace of the
/// `/proc` it was read from, and those in the namespaces within.
fn has_several_numbers(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_ascii_whitespace().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_proc_has_a_number_for_each_namespace() {
        assert!(has_several_numbers(
            "Name:\tx\nNSpid:\t4711\t3\nNSpgid:\t1\n"
        ));
        assert!(!has_several_numbers("Name:\tx\nNSpid:\t3\nNSpgid:\t3\t1\n"));
        assert!(!has_several_numbers("Name:\tx\n"));
        assert!(!sees_outer_processes().unwrap());
    }

    #[test]
    fn a_bundle_that_is_the_root_is_that_of_start_container() {
        let state = |text: &str| State::read(text.as_bytes()).unwrap();
        let detect = |text: &str| detect(&state(text), false).ok();
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
        let state = State::read(text.as_bytes()).unwrap();
        let error = detect(&state, false).unwrap_err().to_string();
        assert!(error.contains("--stage startContainer"), "{error}");
        assert_eq!(detect(&state, true).ok(), Some(Stage::CreateContainer));
    }
}
