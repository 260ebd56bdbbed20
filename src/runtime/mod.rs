//! Finds a running container and holds on to its init.
//!
//! A runtime and podman are asked by their own commands: what they keep on
//! disk is their business. Their answers are bounded in size and in time.
#![forbid(unsafe_code)]

mod ask;
pub mod command;
mod pin;
mod podman;

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::bundle::{self, Config, State};
use crate::sys::process::PidFd;

use ask::{Answered, Question};

/// The runtimes that are asked where none is named.
const RUNTIMES: [&str; 3] = ["crun", "runc", "youki"];

/// Who knows the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Whichever of crun, runc and youki does; podman if none of them does.
    Any,
    /// An OCI runtime with the usual command line: a name on PATH or a path.
    Oci(PathBuf),
    /// podman, which also takes names and short ids.
    Podman,
}

/// A container that runs, as far as that can be said of another process.
#[derive(Debug)]
#[non_exhaustive]
pub struct Container {
    /// What the engine said. `pid` is there, `bundle` is absolute.
    pub state: State,
    /// The `config.json` of the bundle.
    pub config: Config,
    /// The container's init, pinned: it is the process that was meant.
    pub init: PidFd,
    /// Who said so, for people: `crun`, `podman`.
    pub engine: String,
}

impl Container {
    /// Whether init still runs: then what was done to it by its number or by
    /// its files was done to this container.
    #[must_use]
    pub fn is_still_running(&self) -> bool {
        self.init.is_alive().unwrap_or(false)
    }
}

/// Why there is no container to join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing that a runtime takes for an id.
    #[error("{id:?} is not the id of a container: {why}")]
    Id {
        /// What was given.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// podman's folders are not those of a runtime.
    #[error(
        "--root is for OCI runtimes: podman has a configuration of its own for where it keeps containers"
    )]
    RootOfPodman,
    /// No such program.
    #[error("there is no {} on PATH or in an sbin folder", name.display())]
    Missing {
        /// The program.
        name: PathBuf,
    },
    /// No runtime that could be asked is installed.
    #[error(
        "there is no crun, runc, youki or podman on PATH or in an sbin folder to ask: name one with --runtime"
    )]
    NobodyToAsk,
    /// The program could not be run, or not to its end.
    #[error("cannot ask {engine} for container {id}")]
    Ask {
        /// Who was asked.
        engine: String,
        /// The container.
        id: String,
        /// Why not.
        source: command::Error,
    },
    /// It ended with a failure: as a rule there is no such container.
    #[error("{engine} does not know of a container {id}: {said}")]
    Unknown {
        /// Who was asked.
        engine: String,
        /// The container.
        id: String,
        /// What it printed on standard error.
        said: String,
    },
    /// None of them has it.
    #[error("nobody knows of a container {id}: {}", said.join("; "))]
    UnknownToAll {
        /// The container.
        id: String,
        /// What each of them said.
        said: Vec<String>,
    },
    /// More than one runtime has such a container.
    #[error("{} each have a container {id}: choose with --runtime", engines.join(" and "))]
    Several {
        /// The container.
        id: String,
        /// Who has one.
        engines: Vec<String>,
    },
    /// The answer has the wrong form.
    #[error("{engine} gave no usable answer for container {id}")]
    Answer {
        /// Who was asked.
        engine: String,
        /// The container.
        id: String,
        /// What is wrong with it.
        source: bundle::Error,
    },
    /// The answer is about something else.
    #[error("{engine} was asked for container {asked} and answered for {answered:?}")]
    OtherId {
        /// Who was asked.
        engine: String,
        /// The container.
        asked: String,
        /// The id in the answer.
        answered: String,
    },
    /// Created, stopped, paused, or a word that is not known here.
    #[error("container {id} is not running: {engine} says it is {status}")]
    NotRunning {
        /// Who was asked.
        engine: String,
        /// The container.
        id: String,
        /// The status in the answer.
        status: String,
    },
    /// A container that runs has an init and a bundle.
    #[error("{engine} says that container {id} is running, but not {what}")]
    Incomplete {
        /// Who was asked.
        engine: String,
        /// The container.
        id: String,
        /// What it left out.
        what: &'static str,
    },
    /// A container that this process is the init of cannot be joined.
    #[error("process {pid}, named as the container's init, is this one")]
    Itself {
        /// The process.
        pid: Pid,
    },
    /// It could not be held on to.
    #[error("cannot take hold of process {pid}, named as the container's init")]
    Hold {
        /// The process.
        pid: Pid,
        /// Why not.
        source: Errno,
    },
    /// proc(5) says too little about it.
    #[error("cannot look at process {pid}, named as the container's init, in /proc")]
    Look {
        /// The process.
        pid: Pid,
        /// Why not.
        source: io::Error,
    },
    /// The number came to mean another process while it was looked up.
    #[error("container {id} was restarted or ended while it was looked up: try again")]
    Restarted {
        /// The container.
        id: String,
    },
    /// The bundle makes a pid namespace, and the process is not its first.
    #[error(
        "process {pid} is not the init of this container, whose pid namespace would number it 1: the container has ended"
    )]
    Stranger {
        /// The process.
        pid: Pid,
    },
    /// The bundle's `config.json` cannot be used.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
}

/// Finds a running container by its id.
///
/// `root` is where an OCI runtime keeps its containers, its `--root`.
///
/// # Errors
/// [`Error`]: nobody or more than one knows the container, it does not run,
/// or it is not certain which process is its init.
pub fn find(engine: &Engine, root: Option<&Path>, id: &str) -> Result<Container, Error> {
    check_id(id)?;
    match engine {
        Engine::Any => any(
            &installed(),
            command::locate(podman::NAME.as_ref()),
            root,
            id,
        ),
        Engine::Oci(name) => {
            let missing = || Error::Missing { name: name.clone() };
            let program = command::locate(name).ok_or_else(missing)?;
            pin::pin(Question::oci(name, program, root, id).ask()?)
        }
        Engine::Podman if root.is_some() => Err(Error::RootOfPodman),
        Engine::Podman => {
            let name = PathBuf::from(podman::NAME);
            let program = command::locate(&name).ok_or(Error::Missing { name })?;
            pin::pin(Question::podman(program, id).ask()?)
        }
    }
}

/// The container whose init is `pid`, of a bundle: for one that no engine
/// here can be asked for. Its id is the number.
///
/// # Errors
/// [`Error`]: no such process, or not one that the bundle's init can be.
pub fn by_pid(pid: Pid, bundle: &Path) -> Result<Container, Error> {
    let look = |source| Error::Look { pid, source };
    let state = State {
        oci_version: None,
        id: pid.to_string(),
        status: Some(RUNNING.into()),
        pid: Some(pid),
        bundle: std::path::absolute(bundle).map_err(look)?,
        annotations: Default::default(),
    };
    pin::given(pid, state)
}

/// The one word of a status that all engines share.
const RUNNING: &str = "running";

/// Asks each of the runtimes, then podman.
fn any(
    runtimes: &[(&str, PathBuf)],
    podman: Option<PathBuf>,
    root: Option<&Path>,
    id: &str,
) -> Result<Container, Error> {
    let (mut found, mut said) = (Vec::new(), Vec::new());
    for (name, program) in runtimes {
        let question = Question::oci(Path::new(name), program.clone(), root, id);
        found.extend(known(question, &mut said)?);
    }
    // With a --root it is not podman's containers that are meant.
    if let (true, None, Some(program)) = (found.is_empty(), root, podman) {
        found.extend(known(Question::podman(program, id), &mut said)?);
    }
    let id = id.into();
    match (found.len(), found.pop()) {
        (1, Some(answered)) => pin::pin(answered),
        (0, _) if said.is_empty() => Err(Error::NobodyToAsk),
        (0, _) => Err(Error::UnknownToAll { id, said }),
        (_, last) => {
            let all = found.into_iter().chain(last);
            let engines = all.map(|answered| answered.question.engine).collect();
            Err(Error::Several { id, engines })
        }
    }
}

/// The answer of one that knows the container; what it said if it does not.
fn known(question: Question, said: &mut Vec<String>) -> Result<Option<Answered>, Error> {
    match question.ask() {
        Ok(answered) => Ok(Some(answered)),
        Err(Error::Unknown {
            engine, said: it, ..
        }) => {
            said.push(format!("{engine}: {it}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The runtimes that are installed. Two names of one program count as one:
/// both would know of the container.
fn installed() -> Vec<(&'static str, PathBuf)> {
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let mut found: Vec<(&str, PathBuf)> = Vec::new();
    for name in RUNTIMES {
        let program = command::locate(Path::new(name));
        let is_new = |new: &PathBuf| found.iter().all(|(_, old)| real(old) != real(new));
        found.extend(program.filter(is_new).map(|program| (name, program)));
    }
    found
}

/// Refuses what the runtimes would: it becomes an argument and a file name.
fn check_id(id: &str) -> Result<(), Error> {
    let why = if id.is_empty() {
        "it is empty"
    } else if id.starts_with('-') {
        "it starts with a dash"
    } else if id == "." || id == ".." {
        "it is a folder"
    } else if id.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        "it has a slash, white space or a control character in it"
    } else {
        return Ok(());
    };
    let id = id.into();
    Err(Error::Id { id, why })
}

#[cfg(test)]
mod tests;
