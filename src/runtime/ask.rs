//! One question to one engine, and what it answers.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::command::{self, Output, Running};
use super::{Container, Error, RUNNING, guess, podman};
use crate::bundle::State;
use crate::near;

/// A question that can be asked again.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Who is asked, for people.
    pub engine: String,
    /// The container.
    pub id: String,
    program: PathBuf,
    /// Where a runtime was told to keep its containers.
    root: Option<PathBuf>,
    args: Vec<OsString>,
    is_podman: bool,
}

/// A question that was asked, and is being answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub question: Question,
    /// When it was asked: nanoseconds of CLOCK_BOOTTIME.
    at: u64,
    running: Running,
}

impl Asked {
    /// Waits for the answer.
    pub(super) fn answered(self) -> Result<Answered, Error> {
        let Self {
            question,
            at,
            running,
        } = self;
        let output = running.finish();
        let state = question.read(output.map_err(|source| question.failed(source))?)?;
        Ok(Answered {
            question,
            asked: at,
            state,
        })
    }

    /// Leaves it to the program that this process is about to execute.
    pub(super) fn hand_over(self) -> nix::Result<String> {
        Ok(format!("{}:{}", self.at, self.running.hand_over()?))
    }

    /// Takes one over; `None` for what was not left by this program.
    pub(super) fn take_over(question: Question, words: &str) -> Option<Self> {
        let (at, words) = words.split_once(':')?;
        Some(Self {
            at: at.parse().ok()?,
            running: Running::take_over(&question.program, words)?,
            question,
        })
    }
}

/// A question with its first answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub question: Question,
    /// When it was asked: nanoseconds of CLOCK_BOOTTIME.
    pub asked: u64,
    pub state: State,
}

impl Question {
    pub(super) fn oci(name: &Path, program: PathBuf, root: Option<&Path>, id: &str) -> Self {
        let option = root.map(|root| ["--root".into(), root.into()]);
        let args = option.into_iter().flatten();
        Self {
            engine: name.display().to_string(),
            id: id.into(),
            program,
            root: root.map(Path::to_owned),
            args: args.chain(["state".into(), id.into()]).collect(),
            is_podman: false,
        }
    }

    pub(super) fn podman(program: PathBuf, id: &str) -> Self {
        Self {
            engine: podman::NAME.into(),
            id: id.into(),
            program,
            root: None,
            args: podman::arguments(id),
            is_podman: true,
        }
    }

    pub(super) fn ask(self) -> Result<Asked, Error> {
        let at = now();
        let running = Running::start(&self.program, &self.args, command::PATIENCE);
        match running {
            Ok(running) => Ok(Asked {
                question: self,
                at,
                running,
            }),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// What the answer will be, most likely.
    pub(super) fn guess(&self) -> Option<Container> {
        match self.is_podman {
            true => None,
            false => guess::guess(self.engine.as_ref(), self.root.as_deref(), &self.id),
        }
    }

    fn failed(&self, source: command::Error) -> Error {
        let (engine, id) = (self.engine.clone(), self.id.clone());
        Error::Ask { engine, id, source }
    }

    /// Asks once more.
    pub(super) fn answer(&self) -> Result<State, Error> {
        let output = command::run(&self.program, &self.args);
        self.read(output.map_err(|source| self.failed(source))?)
    }

    /// The answer, which is about this very container.
    fn read(&self, output: Output) -> Result<State, Error> {
        let (engine, id) = (self.engine.clone(), self.id.clone());
        if !output.status.success() {
            let root = self.root.as_deref();
            let near = guess::near(self.engine.as_ref(), root, &id);
            let said = output.said() + &near::did_you_mean(near.as_deref());
            return Err(Error::Unknown { engine, id, said });
        }
        let answer = match self.is_podman {
            true => podman::read(output.stdout),
            false => State::read(&*output.stdout).map(|state| (None, state)),
        };
        let (name, state) = match answer {
            Ok(answer) => answer,
            Err(source) => return Err(Error::Answer { engine, id, source }),
        };
        // podman takes the beginning of an id as well.
        let is_meant = match name {
            Some(name) => name == id || state.id.starts_with(&id),
            None => state.id == id,
        };
        match is_meant {
            true => Ok(state),
            false => Err(Error::OtherId {
                engine,
                asked: id,
                answered: state.id,
            }),
        }
    }

    /// The init in an answer that says that the container runs.
    pub(super) fn init(&self, state: &State) -> Result<Pid, Error> {
        let (engine, id) = (self.engine.clone(), self.id.clone());
        let status = state.status.as_deref().unwrap_or("of no status");
        if status != RUNNING {
            let status = status.into();
            return Err(Error::NotRunning { engine, id, status });
        }
        let what = "which process its init is";
        state.pid.ok_or(Error::Incomplete { engine, id, what })
    }
}

fn now() -> u64 {
    // Linux has had this clock since 2.6.39. Where it fails, everything seems
    // younger than the question, and is asked for again.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME);
    now.map_or(0, |now| std::time::Duration::from(now).as_nanos() as u64)
}
