//! The only reader of a container's State and of its `config.json`.
//!
//! Both are read for the fields in use and nothing else: a field, an enum
//! value or a type that some runtime adds elsewhere never breaks a container.
//! What is in use must be right, or the error names file, field and line.
#![forbid(unsafe_code)]

mod execution;
mod hooks;

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use caps::{Capability, CapsHashSet};
use nix::unistd::Pid;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::input;
use crate::json::Object;

pub use execution::{Execution, Rlimit};
pub use hooks::{HookEntry, HookStage};

/// The longest State that is read, in bytes. Annotations are most of it.
pub const STATE_LIMIT: u64 = 1 << 20;
/// The longest `config.json` that is read, in bytes.
pub const CONFIG_LIMIT: u64 = 16 << 20;

/// Why a State or a `config.json` could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not readable, too long, or no text.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// Not one JSON document.
    #[error("{} is not valid JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// JSON, but no object, or one without a required field.
    #[error("{}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A field in use has the wrong type or lacks a part.
    #[error("{}: {field}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, from the top: `process.noNewPrivileges`.
        field: String,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A required field of the State is there but says nothing.
    #[error("{}: {field} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
    },
    /// The State has a process id that no process can have.
    #[error("{}: pid {pid} is not the id of a process", path.display())]
    Pid {
        /// The file.
        path: PathBuf,
        /// The value.
        pid: i64,
    },
}

/// What a runtime tells its hooks on standard input, and answers to
/// `RUNTIME state ID`; runtime-spec, "State".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Version of the spec that the runtime follows.
    pub oci_version: Option<String>,
    /// The container's id.
    pub id: String,
    /// As the runtime spells it: the runtimes do not agree which word belongs
    /// to which stage, so nothing may depend on it.
    pub status: Option<String>,
    /// The container's init as the runtime sees it, which need not be as the
    /// hook sees it (runc says 1 inside the container). `None` where the
    /// runtime does not say: crun's 0, youki's missing field.
    pub pid: Option<Pid>,
    /// The bundle as the runtime sees it; crun says `/` inside the container.
    pub bundle: PathBuf,
    /// The container's annotations.
    pub annotations: BTreeMap<String, String>,
}

impl State {
    /// Reads a State to its end.
    ///
    /// # Errors
    /// [`Error`], which calls the source "the container's state".
    pub fn read(source: impl Read) -> Result<Self, Error> {
        let name = Path::new("the container's state");
        let text = input::text(name, input::bounded(name, source, STATE_LIMIT)?)?;
        let Object(raw): Object<RawState> = parse(name, &text)?;
        for (field, value) in [("id", &raw.id), ("bundle", &raw.bundle)] {
            if value.is_empty() {
                let path = name.into();
                return Err(Error::Empty { path, field });
            }
        }
        let pid = match i32::try_from(raw.pid.unwrap_or(0)) {
            Ok(0) => None,
            Ok(pid @ 1..) => Some(Pid::from_raw(pid)),
            _ => {
                return Err(Error::Pid {
                    path: name.into(),
                    pid: raw.pid.unwrap_or(0),
                });
            }
        };
        Ok(Self {
            oci_version: raw.oci_version,
            id: raw.id,
            status: raw.status,
            pid,
            bundle: raw.bundle.into(),
            annotations: raw.annotations.unwrap_or_default(),
        })
    }
}

/// The fields of a `config.json` that matter here, and its whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Version of the spec that the file follows.
    pub oci_version: Option<String>,
    /// The workload; absent in a bundle that is only created, never started.
    pub process: Option<Process>,
    /// The root file system, absolute or relative to the bundle.
    pub root: Option<PathBuf>,
    /// Annotations; those that are null are left out.
    pub annotations: BTreeMap<String, String>,
    /// `linux.namespaces`.
    pub namespaces: Vec<Namespace>,
    /// Whether `linux.uidMappings` maps anything.
    pub has_uid_mappings: bool,
    path: PathBuf,
    text: Arc<str>,
    seccomp: Option<Range<usize>>,
}

/// `process`: what the container's init becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// `noNewPrivileges`; absent is false.
    pub no_new_privileges: bool,
    /// The command line.
    pub args: Vec<String>,
    /// `user.uid` in the container's user namespace.
    pub uid: u32,
    /// `user.gid` in the container's user namespace.
    pub gid: u32,
    /// `None` where the file has no `capabilities`.
    pub capabilities: Option<Capabilities>,
}

/// `process.capabilities`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Capabilities {
    pub bounding: CapabilitySet,
    pub effective: CapabilitySet,
    pub inheritable: CapabilitySet,
    pub permitted: CapabilitySet,
    pub ambient: CapabilitySet,
}

/// One list of capability names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet {
    /// Those with a known name.
    pub known: CapsHashSet,
    /// The others, as written. Runtimes warn about them and go on.
    pub unknown: Vec<String>,
}

/// One element of `linux.namespaces`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    /// `pid`, `network`, `mount` … as written.
    #[serde(rename = "type")]
    pub kind: String,
    /// The namespace to join; without one, a new one is made.
    pub path: Option<PathBuf>,
}

impl Config {
    /// Reads `config.json` in a bundle's directory.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn load(bundle: &Path) -> Result<Self, Error> {
        Self::read(&bundle.join("config.json"))
    }

    /// Reads a file, which must be a regular one.
    ///
    /// # Errors
    /// [`Error`]; an error in the `linux.seccomp` section is not found here
    /// unless it makes the file no JSON.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(path, input::read_regular(path, CONFIG_LIMIT)?.into())
    }

    /// Takes the text of a `config.json` that messages call `path`.
    ///
    /// # Errors
    /// As [`Config::read`].
    ///
    /// ```
    /// use oci_seccomp::bundle::Config;
    /// let text = r#"{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}}"#;
    /// let config = Config::parse("config.json".as_ref(), text.into())?;
    /// assert_eq!(config.seccomp(), Some(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#));
    /// assert_eq!(config.seccomp_range(), Some(22..57));
    /// # Ok::<(), oci_seccomp::bundle::Error>(())
    /// ```
    pub fn parse(path: &Path, text: Arc<str>) -> Result<Self, Error> {
        let Object(raw): Object<RawConfig> = parse(path, &text)?;
        let linux = raw.linux.map(|Object(linux)| linux).unwrap_or_default();
        let seccomp = linux.seccomp.map(|section| {
            // RawValue borrows from the text, so its place in it is known.
            let start = section.get().as_ptr() as usize - text.as_ptr() as usize;
            start..start + section.get().len()
        });
        let annotations = raw.annotations.unwrap_or_default();
        Ok(Self {
            oci_version: raw.oci_version,
            process: raw.process.map(|Object(process)| process.into()),
            root: raw.root.and_then(|Object(root)| root.path),
            annotations: annotations
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)))
                .collect(),
            namespaces: linux
                .namespaces
                .unwrap_or_default()
                .into_iter()
                .map(|Object(namespace)| namespace)
                .collect(),
            has_uid_mappings: linux.uid_mappings.is_some_and(|maps| !maps.is_empty()),
            path: path.into(),
            text: Arc::clone(&text),
            seccomp,
        })
    }

    /// The `linux.seccomp` section as written; `None` where it is absent or
    /// null.
    #[must_use]
    pub fn seccomp(&self) -> Option<&str> {
        self.text.get(self.seccomp.clone()?)
    }

    /// Where in [`Config::text`] the section is, in bytes.
    #[must_use]
    pub fn seccomp_range(&self) -> Option<Range<usize>> {
        self.seccomp.clone()
    }

    /// The whole file.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The file's path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Parses one JSON document; serde_json allows 128 levels and nothing after
/// its end.
pub(crate) fn parse<'a, T: Deserialize<'a>>(path: &Path, text: &'a str) -> Result<T, Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let field = e.path().to_string();
        let (path, source) = (path.into(), e.into_inner());
        match (source.is_data(), field.as_str()) {
            (false, _) => Error::Json { path, source },
            (true, ".") => Error::Document { path, source },
            (true, _) => Error::Field {
                path,
                field,
                source,
            },
        }
    })?;
    match json.end() {
        Ok(()) => Ok(value),
        Err(source) => Err(Error::Json {
            path: path.into(),
            source,
        }),
    }
}

// The shapes in the files. Go's runtimes write null for what is empty, so
// every optional field takes it.

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawState {
    oci_version: Option<String>,
    id: String,
    status: Option<String>,
    pid: Option<i64>,
    bundle: String,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawConfig<'a> {
    oci_version: Option<String>,
    process: Option<Object<RawProcess>>,
    root: Option<Object<RawRoot>>,
    annotations: Option<BTreeMap<String, Option<String>>>,
    #[serde(borrow)]
    linux: Option<Object<RawLinux<'a>>>,
}

#[derive(Deserialize)]
struct RawRoot {
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProcess {
    no_new_privileges: Option<bool>,
    args: Option<Vec<String>>,
    user: Option<Object<RawUser>>,
    capabilities: Option<Object<RawCapabilities>>,
}

#[derive(Default, Deserialize)]
struct RawUser {
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Deserialize)]
struct RawCapabilities {
    bounding: Option<Vec<String>>,
    effective: Option<Vec<String>>,
    inheritable: Option<Vec<String>>,
    permitted: Option<Vec<String>>,
    ambient: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLinux<'a> {
    #[serde(borrow)]
    seccomp: Option<&'a RawValue>,
    namespaces: Option<Vec<Object<Namespace>>>,
    uid_mappings: Option<Vec<IgnoredAny>>,
}

impl From<RawProcess> for Process {
    fn from(raw: RawProcess) -> Self {
        let user = raw.user.map(|Object(user)| user).unwrap_or_default();
        Self {
            no_new_privileges: raw.no_new_privileges.unwrap_or(false),
            args: raw.args.unwrap_or_default(),
            uid: user.uid.unwrap_or(0),
            gid: user.gid.unwrap_or(0),
            capabilities: raw.capabilities.map(|Object(sets)| sets.into()),
        }
    }
}

impl From<RawCapabilities> for Capabilities {
    fn from(raw: RawCapabilities) -> Self {
        Self {
            bounding: raw.bounding.into(),
            effective: raw.effective.into(),
            inheritable: raw.inheritable.into(),
            permitted: raw.permitted.into(),
            ambient: raw.ambient.into(),
        }
    }
}

impl From<Option<Vec<String>>> for CapabilitySet {
    fn from(names: Option<Vec<String>>) -> Self {
        let mut set = Self::default();
        for name in names.unwrap_or_default() {
            match Capability::from_str(&name) {
                Ok(capability) => _ = set.known.insert(capability),
                Err(_) => set.unknown.push(name),
            }
        }
        set
    }
}

#[cfg(test)]
mod tests;
