//! Finds a running container and holds on to its init.
//!
//! A runtime and podman are asked by their own commands, and what they say
//! counts; what they keep on disk is good for a [guess](Lookup::guess) until
//! then. Their answers are bounded in size and in time.
#![forbid(unsafe_code)]

mod ask;
pub mod command;
mod guess;
mod pin;
mod podman;

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::bundle::{self, Config, State};
use crate::near;
use crate::sys::process::PidFd;

use ask::{Asked, Question};
use pin::Held;

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
    #[error(
        "there is no {} on PATH or in an sbin folder{}",
        name.display(),
        near::did_you_mean(near_engine(name))
    )]
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
    /// The bundle that was given is not that of the process.
    #[error("the root of process {pid} is not that of the bundle: is this its bundle?")]
    OtherRoot {
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
    Lookup::begin(engine, root, id)?.finish()
}

/// A container that is being looked for: the engines are at work meanwhile.
#[derive(Debug)]
pub struct Lookup {
    id: String,
    asked: Vec<Asked>,
    /// Where one alone was asked, what it said is the answer.
    alone: bool,
    /// To be asked where nobody knows the container.
    podman: Option<PathBuf>,
}

impl Lookup {
    /// Asks, all engines at once.
    ///
    /// # Errors
    /// [`Error`]: there is nobody to ask, or nothing that could be asked.
    pub fn begin(engine: &Engine, root: Option<&Path>, id: &str) -> Result<Self, Error> {
        Self::with(
            questions(engine, root, id)?,
            engine,
            root,
            id,
            Question::ask,
        )
    }

    /// The container that will be named most likely. It is not certain that
    /// it is the one, nor that it runs, until [`Lookup::confirm`] says so.
    #[must_use]
    pub fn guess(&self) -> Option<Container> {
        let guesses = self.asked.iter();
        let mut guesses = guesses.filter_map(|asked| asked.question.guess());
        let first = guesses.next();
        // Two of them are one too many in any case.
        first.filter(|_| guesses.next().is_none())
    }

    /// Waits for the answers, and comes back with the container if it is
    /// another one than the one that was guessed.
    ///
    /// # Errors
    /// As for [`find`].
    pub fn confirm(self, guess: &Container) -> Result<Option<Container>, Error> {
        let held = decide(self)?;
        match held.is(guess) {
            true => Ok(None),
            false => held.complete().map(Some),
        }
    }

    /// Waits for the answers.
    ///
    /// # Errors
    /// As for [`find`].
    pub fn finish(self) -> Result<Container, Error> {
        decide(self)?.complete()
    }

    /// Leaves it to the program that this process is about to execute, which
    /// takes it over by these words.
    ///
    /// # Errors
    /// Those of fcntl(2). The engines are then left to themselves.
    pub fn hand_over(self) -> nix::Result<String> {
        let words = self.asked.into_iter().map(Asked::hand_over);
        Ok(words.collect::<nix::Result<Vec<_>>>()?.join(","))
    }

    /// Goes on with what the program that this process was before has begun,
    /// for the same container. Where it is not that, asks anew.
    ///
    /// # Errors
    /// As for [`Lookup::begin`].
    pub fn take_over(
        words: &str,
        engine: &Engine,
        root: Option<&Path>,
        id: &str,
    ) -> Result<Self, Error> {
        let questions = questions(engine, root, id)?;
        let mut words = words.split(',');
        Self::with(questions, engine, root, id, |question| {
            let again = question.clone();
            match Asked::take_over(question, words.next().unwrap_or_default()) {
                Some(asked) => Ok(asked),
                None => again.ask(),
            }
        })
    }

    fn with(
        questions: Vec<Question>,
        engine: &Engine,
        root: Option<&Path>,
        id: &str,
        ask: impl FnMut(Question) -> Result<Asked, Error>,
    ) -> Result<Self, Error> {
        let alone = *engine != Engine::Any;
        // With a --root it is not podman's containers that are meant.
        let podman = (!alone && root.is_none()).then(|| command::locate(podman::NAME.as_ref()));
        Ok(Self {
            id: id.into(),
            asked: questions.into_iter().map(ask).collect::<Result<_, _>>()?,
            alone,
            podman: podman.flatten(),
        })
    }
}

/// What to ask, and whom.
fn questions(engine: &Engine, root: Option<&Path>, id: &str) -> Result<Vec<Question>, Error> {
    check_id(id)?;
    let oci = |name: &Path, program| Question::oci(name, program, root, id);
    Ok(match engine {
        Engine::Any => {
            let each = installed().into_iter();
            each.map(|(name, program)| oci(Path::new(name), program))
                .collect()
        }
        Engine::Oci(name) => {
            let missing = || Error::Missing { name: name.clone() };
            vec![oci(name, command::locate(name).ok_or_else(missing)?)]
        }
        Engine::Podman if root.is_some() => return Err(Error::RootOfPodman),
        Engine::Podman => {
            let name = PathBuf::from(podman::NAME);
            let program = command::locate(&name).ok_or(Error::Missing { name })?;
            vec![Question::podman(program, id)]
        }
    })
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

/// The one that knows the container.
fn decide(lookup: Lookup) -> Result<Held, Error> {
    let Lookup {
        id,
        asked,
        alone,
        podman,
        ..
    } = lookup;
    let (mut found, mut said) = (Vec::new(), Vec::new());
    for asked in asked {
        match asked.answered() {
            Err(Error::Unknown {
                engine, said: it, ..
            }) if !alone => said.push(format!("{engine}: {it}")),
            answer => found.push(answer?),
        }
    }
    if let (true, Some(program)) = (found.is_empty(), podman) {
        match Question::podman(program, &id).ask()?.answered() {
            Err(Error::Unknown {
                engine, said: it, ..
            }) => said.push(format!("{engine}: {it}")),
            answer => found.push(answer?),
        }
    }
    match (found.len(), found.pop()) {
        (1, Some(answered)) => Held::of(answered),
        (0, _) if said.is_empty() => Err(Error::NobodyToAsk),
        (0, _) => Err(Error::UnknownToAll { id, said }),
        (_, last) => {
            let all = found.into_iter().chain(last);
            let engines = all.map(|answered| answered.question.engine).collect();
            Err(Error::Several { id, engines })
        }
    }
}

/// The engine that may be meant by a name.
fn near_engine(name: &Path) -> Option<&'static str> {
    let near = near::nearest(name.to_str()?, RUNTIMES.into_iter().chain([podman::NAME]));
    // One that is not installed is what was meant.
    near.filter(|near| name != Path::new(near))
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
