//! `process` of a `config.json` for a process that joins a running container.
//!
//! Read on demand: a hook, which needs a part of it, does not refuse a
//! container over the rest.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use nix::sys::resource::Resource;
use serde::Deserialize;

use super::{CONFIG_LIMIT, Capabilities, Config, Error, RawCapabilities, parse};
use crate::input;
use crate::json::Object;

/// All that a process becomes when it joins; runtime-spec, "Process".
///
/// No string in it has a NUL byte. `consoleSize`, `scheduler`, `ioPriority`
/// and `execCPUAffinity` are not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Whether the standard streams are a new terminal.
    pub terminal: bool,
    /// `user.uid` in the container's user namespace, never that of nobody.
    pub uid: u32,
    /// `user.gid` in the container's user namespace, never that of nobody.
    pub gid: u32,
    /// `user.additionalGids` in the container's user namespace.
    pub additional_gids: Vec<u32>,
    /// `user.umask`, at most 0777; `None` where the file leaves it open.
    pub umask: Option<u32>,
    /// The command line; empty where the file has none.
    pub args: Vec<String>,
    /// Each `NAME=VALUE` with a name.
    pub env: Vec<String>,
    /// The working directory: an absolute path inside the container.
    pub cwd: PathBuf,
    /// `None` where the file has no `capabilities`.
    pub capabilities: Option<Capabilities>,
    /// Each resource at most once.
    pub rlimits: Vec<Rlimit>,
    /// `noNewPrivileges`; absent is false.
    pub no_new_privileges: bool,
    /// `oomScoreAdj`, -1000 to 1000; proc(5), `/proc/PID/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// `apparmorProfile`; absent and empty are `None`.
    pub apparmor_profile: Option<String>,
    /// `selinuxLabel`; absent and empty are `None`.
    pub selinux_label: Option<String>,
}

/// One limit, in the units of setrlimit(2); `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// What is limited.
    pub resource: Resource,
    /// The limit itself, at most `hard`.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

impl Config {
    /// What `process` describes; `None` where the file has none.
    ///
    /// # Errors
    /// [`Error::Field`]: a field is not what a process can become.
    pub fn execution(&self) -> Result<Option<Execution>, Error> {
        let Object(raw): Object<RawConfig> = parse(self.path(), self.text())?;
        Ok(raw.process.map(|Object(process)| process.into()))
    }
}

impl Execution {
    /// Reads a file that holds a `process` object and nothing else, as
    /// runtimes take it for `exec --process`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = input::read_regular(path, CONFIG_LIMIT)?;
        let Object(raw): Object<RawExecution> = parse(path, &text)?;
        Ok(raw.into())
    }
}

#[derive(Deserialize)]
struct RawConfig {
    process: Option<Object<RawExecution>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawExecution {
    terminal: Option<bool>,
    user: Option<Object<RawUser>>,
    args: Option<Vec<Text>>,
    env: Option<Vec<Variable>>,
    cwd: Directory,
    capabilities: Option<Object<RawCapabilities>>,
    rlimits: Option<Rlimits>,
    no_new_privileges: Option<bool>,
    oom_score_adj: Option<OomScore>,
    apparmor_profile: Option<Text>,
    selinux_label: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawUser {
    uid: Option<Id>,
    gid: Option<Id>,
    umask: Option<Umask>,
    additional_gids: Option<Vec<Id>>,
}

impl From<RawExecution> for Execution {
    fn from(raw: RawExecution) -> Self {
        let user = raw.user.map(|Object(user)| user).unwrap_or_default();
        let id = |id: Option<Id>| id.map_or(0, |Id(id)| id);
        let list = |gids: Vec<Id>| gids.into_iter().map(|Id(gid)| gid).collect();
        let name = |text: Option<Text>| text.map(|Text(name)| name).filter(|n| !n.is_empty());
        let args = raw.args.unwrap_or_default();
        let env = raw.env.unwrap_or_default();
        Self {
            terminal: raw.terminal.unwrap_or(false),
            uid: id(user.uid),
            gid: id(user.gid),
            additional_gids: user.additional_gids.map(list).unwrap_or_default(),
            umask: user.umask.map(|Umask(umask)| umask),
            args: args.into_iter().map(|Text(arg)| arg).collect(),
            env: env.into_iter().map(|Variable(v)| v).collect(),
            cwd: raw.cwd.0,
            capabilities: raw.capabilities.map(|Object(sets)| sets.into()),
            rlimits: raw.rlimits.map(|Rlimits(l)| l).unwrap_or_default(),
            no_new_privileges: raw.no_new_privileges.unwrap_or(false),
            oom_score_adj: raw.oom_score_adj.map(|OomScore(score)| score),
            apparmor_profile: name(raw.apparmor_profile),
            selinux_label: name(raw.selinux_label),
        }
    }
}

// Each value is checked where it is read, so that serde knows the field and
// the line of one that is wrong.

/// A uid or gid that is somebody's.
#[derive(Deserialize)]
#[serde(try_from = "u32")]
struct Id(u32);

impl TryFrom<u32> for Id {
    type Error = String;

    fn try_from(id: u32) -> Result<Self, String> {
        match id {
            // -1, "as it is" to setresuid(2).
            u32::MAX => Err(format!("{id} is not the id of anybody")),
            _ => Ok(Self(id)),
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "u32")]
struct Umask(u32);

impl TryFrom<u32> for Umask {
    type Error = String;

    fn try_from(umask: u32) -> Result<Self, String> {
        match umask {
            0..=0o777 => Ok(Self(umask)),
            _ => Err(format!("umask {umask:#o} is above 0o777")),
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "i32")]
struct OomScore(i32);

impl TryFrom<i32> for OomScore {
    type Error = String;

    fn try_from(score: i32) -> Result<Self, String> {
        match score {
            -1000..=1000 => Ok(Self(score)),
            _ => Err(format!("{score} is not between -1000 and 1000")),
        }
    }
}

/// What a system call can take as a string.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Text(pub String);

impl TryFrom<String> for Text {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.contains('\0') {
            true => Err(format!("{text:?} has a NUL byte in it")),
            false => Ok(Self(text)),
        }
    }
}

/// One element of `env`.
#[derive(Deserialize)]
#[serde(try_from = "Text")]
struct Variable(String);

impl TryFrom<Text> for Variable {
    type Error = String;

    fn try_from(Text(text): Text) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, _)) if !name.is_empty() => Ok(Self(text)),
            _ => Err(format!("{text:?} is not NAME=VALUE")),
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "Text")]
struct Directory(PathBuf);

impl TryFrom<Text> for Directory {
    type Error = String;

    fn try_from(Text(text): Text) -> Result<Self, String> {
        let path = PathBuf::from(text);
        match path.is_absolute() {
            true => Ok(Self(path)),
            false => Err(format!("{path:?} is not an absolute path")),
        }
    }
}

/// runtime-spec has a runtime refuse the same type twice.
#[derive(Deserialize)]
#[serde(try_from = "Vec<Limit>")]
struct Rlimits(Vec<Rlimit>);

impl TryFrom<Vec<Limit>> for Rlimits {
    type Error = String;

    fn try_from(raw: Vec<Limit>) -> Result<Self, String> {
        let mut limits: Vec<Rlimit> = Vec::with_capacity(raw.len());
        for Limit(limit) in raw {
            if limits.iter().any(|l| l.resource == limit.resource) {
                return Err(format!("{:?} is there more than once", limit.resource));
            }
            limits.push(limit);
        }
        Ok(Self(limits))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "Object<RawLimit>")]
struct Limit(Rlimit);

#[derive(Deserialize)]
struct RawLimit {
    #[serde(rename = "type")]
    kind: Kind,
    soft: u64,
    hard: u64,
}

impl TryFrom<Object<RawLimit>> for Limit {
    type Error = String;

    fn try_from(Object(raw): Object<RawLimit>) -> Result<Self, String> {
        let (Kind(resource), soft, hard) = (raw.kind, raw.soft, raw.hard);
        match soft <= hard {
            true => Ok(Self(Rlimit {
                resource,
                soft,
                hard,
            })),
            false => Err(format!("{resource:?}: soft {soft} is above hard {hard}")),
        }
    }
}

/// The name of a resource, as in setrlimit(2).
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Kind(Resource);

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Ok(Self(match name.as_str() {
            "RLIMIT_AS" => Resource::RLIMIT_AS,
            "RLIMIT_CORE" => Resource::RLIMIT_CORE,
            "RLIMIT_CPU" => Resource::RLIMIT_CPU,
            "RLIMIT_DATA" => Resource::RLIMIT_DATA,
            "RLIMIT_FSIZE" => Resource::RLIMIT_FSIZE,
            "RLIMIT_LOCKS" => Resource::RLIMIT_LOCKS,
            "RLIMIT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
            "RLIMIT_MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
            "RLIMIT_NICE" => Resource::RLIMIT_NICE,
            "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
            "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
            "RLIMIT_RSS" => Resource::RLIMIT_RSS,
            "RLIMIT_RTPRIO" => Resource::RLIMIT_RTPRIO,
            "RLIMIT_RTTIME" => Resource::RLIMIT_RTTIME,
            "RLIMIT_SIGPENDING" => Resource::RLIMIT_SIGPENDING,
            "RLIMIT_STACK" => Resource::RLIMIT_STACK,
            _ => return Err(format!("{name:?} is not a resource that has limits")),
        }))
    }
}

#[cfg(test)]
#[path = "execution_tests.rs"]
mod tests;
