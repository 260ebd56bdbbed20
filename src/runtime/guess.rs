//! Which process an engine will name, by what it keeps on disk.
//!
//! To start an engine takes longer than to join a container. So the joining
//! begins with a guess, and ends when the engine has answered: what it says
//! counts, and a guess that differs is thrown away.
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

#[derive(Deserialize)]
struct Status {
    pid: i32,
    bundle: PathBuf,
}

#[derive(Deserialize)]
struct Runc {
    init_process_pid: i32,
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
    let (pid, bundle) = kept.read(&root.join(id))?;
    let state = State {
        oci_version: None,
        id: id.into(),
        status: Some(RUNNING.into()),
        pid: (pid > 0).then(|| Pid::from_raw(pid)),
        bundle,
        annotations: Default::default(),
    };
    pin::guessed(state, engine).ok()
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

    /// The number of init, and the bundle.
    fn read(self, folder: &Path) -> Option<(i32, PathBuf)> {
        let read = |name| input::read_regular(&folder.join(name), CONFIG_LIMIT).ok();
        match self {
            Self::Crun => {
                let Object(Status { pid, bundle }) = serde_json::from_str(&read("status")?).ok()?;
                Some((pid, bundle))
            }
            Self::Runc => {
                let text = read("state.json")?;
                let Object(Runc {
                    init_process_pid,
                    config: Object(config),
                }) = serde_json::from_str(&text).ok()?;
                let labels = config.labels.iter();
                let bundle = labels
                    .rev()
                    .find_map(|label| label.strip_prefix("bundle="))?;
                Some((init_process_pid, bundle.into()))
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
        let write = |name, text| std::fs::write(folder.path().join(name), text);
        let read = |kept: Kept| kept.read(folder.path());
        assert_eq!(read(Kept::Crun), None);
        write(
            "status",
            r#"{"pid": 7, "rootfs": "rootfs", "bundle": "/b"}"#,
        )?;
        assert_eq!(read(Kept::Crun), Some((7, "/b".into())));
        for other in ["", "[7, \"/b\"]", r#"{"pid": "7", "bundle": "/b"}"#] {
            write("status", other)?;
            assert_eq!(read(Kept::Crun), None, "{other}");
        }
        let labels = r#"["a=b", "bundle=/b=c"]"#;
        let state = format!(r#"{{"init_process_pid": 7, "config": {{"labels": {labels}}}}}"#);
        write("state.json", &state)?;
        assert_eq!(read(Kept::Runc), Some((7, "/b=c".into())));
        write("state.json", &state.replace("bundle", "b"))?;
        assert_eq!(read(Kept::Runc), None);
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
