//! Which process an engine will name, by what it keeps on disk.
//!
//! To start an engine takes longer than to join a container. So the joining
//! begins with a guess, and ends when the engine has answered: what it says
//! counts, and a guess that differs is thrown away.
//!
//! The command stands in the container meanwhile, with its arguments and its
//! streams. So a guess is made for the very process that the runtime has made
//! the container's init, and no other that has its number since.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use nix::unistd::{Pid, Uid};
use serde::Deserialize;

use super::{Container, RUNNING, pin};
use crate::bundle::{CONFIG_LIMIT, State};
use crate::input;
use crate::json::Object;
use crate::near;

/// A runtime's file about one container.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Crun,
    Runc,
}

/// What it says, as far as it is of use.
#[derive(Debug, PartialEq, Eq)]
struct Init {
    pid: i32,
    /// Field 22 of `/proc/PID/stat`.
    started: u64,
    bundle: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Crun {
    pid: i32,
    process_start_time: u64,
    bundle: PathBuf,
}

#[derive(Deserialize)]
struct Runc {
    init_process_pid: i32,
    init_process_start: u64,
    config: Object<RuncConfig>,
}

#[derive(Deserialize)]
struct RuncConfig {
    labels: Vec<String>,
}

/// The container of this id under a runtime of this name or path; `None` for a
/// runtime or a folder that is not known here, or another form of its file.
pub(super) fn guess(engine: &Path, root: Option<&Path>, id: &str) -> Option<Container> {
    let kept = Kept::by(engine)?;
    let root = match root {
        Some(root) => root,
        None => kept.root()?,
    };
    let Init {
        pid,
        started,
        bundle,
    } = kept.read(&root.join(id))?;
    let state = State {
        oci_version: None,
        id: id.into(),
        status: Some(RUNNING.into()),
        pid: (pid > 0).then(|| Pid::from_raw(pid)),
        bundle,
        annotations: Default::default(),
    };
    pin::guessed(state, engine, started)
}

/// The container that may be meant by an id which a runtime does not know:
/// each has a folder of its id.
pub(super) fn near(engine: &Path, root: Option<&Path>, id: &str) -> Option<String> {
    let own = || Kept::by(engine)?.root();
    near::file(&root.or_else(own)?.join(id))
}

impl Kept {
    /// Of a runtime by name or path.
    fn by(engine: &Path) -> Option<Self> {
        match engine.file_name()?.to_str()? {
            "crun" => Some(Self::Crun),
            "runc" => Some(Self::Runc),
            _ => None,
        }
    }

    /// Where root's containers are; others' depend on their environment.
    fn root(self) -> Option<&'static Path> {
        let root = Path::new(match self {
            Self::Crun => "/run/crun",
            Self::Runc => "/run/runc",
        });
        Uid::effective().is_root().then_some(root)
    }

    /// Init and the bundle of a container that was started.
    fn read(self, folder: &Path) -> Option<Init> {
        // Both make and keep this until then.
        if folder.join("exec.fifo").symlink_metadata().is_ok() {
            return None;
        }
        let read = |name| input::read_regular(&folder.join(name), CONFIG_LIMIT).ok();
        match self {
            Self::Crun => {
                let Object(Crun {
                    pid,
                    process_start_time: started,
                    bundle,
                }) = serde_json::from_str(&read("status")?).ok()?;
                Some(Init {
                    pid,
                    started,
                    bundle,
                })
            }
            Self::Runc => {
                let text = read("state.json")?;
                let Object(Runc {
                    init_process_pid: pid,
                    init_process_start: started,
                    config: Object(config),
                }) = serde_json::from_str(&text).ok()?;
                let labels = config.labels.iter();
                let bundle = labels
                    .rev()
                    .find_map(|label| label.strip_prefix("bundle="))?;
                Some(Init {
                    pid,
                    started,
                    bundle: bundle.into(),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_runtimes_keep() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        let read = |kept: Kept| kept.read(folder.path());
        let init = |bundle: &str| {
            let bundle = bundle.into();
            let (pid, started) = (7, 9);
            Some(Init {
                pid,
                started,
                bundle,
            })
        };
        assert_eq!(read(Kept::Crun), None);
        let status = r#"{"pid": 7, "rootfs": "r", "process-start-time": 9, "bundle": "/b"}"#;
        write("status", status)?;
        assert_eq!(read(Kept::Crun), init("/b"));
        let others = ["7", "process-start-time", "bundle"].map(|word| status.replace(word, "x"));
        for other in others
            .iter()
            .map(String::as_str)
            .chain(["", "[7, 9, \"/b\"]"])
        {
            write("status", other)?;
            assert_eq!(read(Kept::Crun), None, "{other}");
        }
        let state = r#"{"init_process_pid": 7, "init_process_start": 9,
            "config": {"labels": ["a=b", "bundle=/b=c"]}}"#;
        write("state.json", state)?;
        assert_eq!(read(Kept::Runc), init("/b=c"));
        write("exec.fifo", "")?;
        assert_eq!(read(Kept::Runc), None);
        std::fs::remove_file(folder.path().join("exec.fifo"))?;
        for word in ["bundle", "init_process_start"] {
            write("state.json", &state.replace(word, "x"))?;
            assert_eq!(read(Kept::Runc), None, "{word}");
        }
        Ok(())
    }

    #[test]
    fn other_engines_are_not_guessed() {
        let folder = Path::new("/nonexistent");
        for engine in ["youki", "podman", "/usr/bin/my-crun", ".."] {
            assert!(guess(engine.as_ref(), Some(folder), "x").is_none());
        }
    }

    #[test]
    fn an_id_that_is_nearly_a_containers_is_told_the_one() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("web")).unwrap();
        let near = |engine: &str, id| near(engine.as_ref(), Some(root.path()), id);
        assert_eq!(near("runc", "wbe").as_deref(), Some("web"));
        assert_eq!(near("/usr/bin/my-crun", "wbe").as_deref(), Some("web"));
        assert_eq!(near("runc", "database"), None);
    }
}
