//! From the number of a process to the process itself.
//!
//! Numbers are used again. A process that is older than the question had its
//! number all the time that the engine looked, so it is the one that the
//! answer names. For a younger one the engine is asked again with the process
//! in hand: if it names the same number, and the process has still not ended,
//! that number meant nothing else in the meantime.
#![forbid(unsafe_code)]

use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{fstat, stat};
use nix::unistd::{Pid, SysconfVar, getpid, sysconf};

use super::ask::{Answered, Question};
use super::{Container, Error};
use crate::bundle::{Config, State};
use crate::sys::namespaces;
use crate::sys::process::PidFd;
use crate::sys::procfs::Proc;

/// The init that an engine named, held on to.
pub(super) struct Held {
    question: Question,
    state: State,
    pid: Pid,
    init: PidFd,
    proc: Proc,
}

impl Held {
    pub(super) fn of(answered: Answered) -> Result<Self, Error> {
        let Answered {
            question,
            asked,
            mut state,
        } = answered;
        let pid = question.init(&state)?;
        let restarted = || Error::Restarted {
            id: question.id.clone(),
        };
        let init = match hold(pid) {
            Err(Error::Hold {
                source: Errno::ESRCH,
                ..
            }) => return Err(restarted()),
            held => held?,
        };
        let proc = Proc::open().map_err(look(pid))?;
        let started = proc.start_time(&init).map_err(look(pid))?;
        if !is_older(started, asked) {
            state = match question.answer() {
                Err(Error::Unknown { .. }) => return Err(restarted()),
                answer => answer?,
            };
            if !question.init(&state).is_ok_and(|again| again == pid) {
                return Err(restarted());
            }
        }
        if !Path::is_absolute(&state.bundle) {
            return Err(Error::Incomplete {
                engine: question.engine,
                id: question.id,
                what: "where its bundle is, by an absolute path",
            });
        }
        Ok(Self {
            question,
            state,
            pid,
            init,
            proc,
        })
    }

    /// Whether it is what was guessed, as far as it was asked for: one process,
    /// as both of one number are alive at once, of one bundle.
    pub(super) fn is(&self, guess: &Container) -> bool {
        let (state, guessed) = (&self.state, &guess.state);
        state.pid == guessed.pid
            && state.bundle == guessed.bundle
            && (state.annotations.is_empty() || state.annotations == guessed.annotations)
            && guess.is_still_running()
            && self.init.is_alive().unwrap_or(false)
    }

    pub(super) fn complete(self) -> Result<Container, Error> {
        let Question { engine, id, .. } = self.question;
        let container = complete(self.pid, &self.proc, self.state, self.init, engine)?;
        match container.is_still_running() {
            true => Ok(container),
            false => Err(Error::Restarted { id }),
        }
    }
}

/// Holds on to a process that an engine might name: the one that was started
/// then, in clock ticks.
pub(super) fn guessed(state: State, engine: &Path, started: u64) -> Option<Container> {
    let pid = state.pid.filter(|_| state.bundle.is_absolute())?;
    let init = hold(pid).ok()?;
    let proc = Proc::open().ok()?;
    if proc.start_time(&init).ok()? != started {
        return None;
    }
    let container = complete(pid, &proc, state, init, engine.display().to_string()).ok()?;
    // Two processes may have started in one tick.
    let elsewhere = is_elsewhere(&container, &proc).ok()?;
    (!elsewhere).then_some(container)
}

/// Holds on to a process that the caller answers for.
pub(super) fn given(pid: Pid, state: State) -> Result<Container, Error> {
    let init = hold(pid)?;
    let proc = Proc::open().map_err(look(pid))?;
    let container = complete(pid, &proc, state, init, format!("process {pid}"))?;
    if is_elsewhere(&container, &proc).map_err(look(pid))? {
        return Err(Error::OtherRoot { pid });
    }
    match container.is_still_running() {
        true => Ok(container),
        false => Err(Error::Hold {
            pid,
            source: Errno::ESRCH,
        }),
    }
}

fn hold(pid: Pid) -> Result<PidFd, Error> {
    match pid == getpid() {
        true => Err(Error::Itself { pid }),
        false => PidFd::open(pid).map_err(|source| Error::Hold { pid, source }),
    }
}

fn complete(
    pid: Pid,
    proc: &Proc,
    mut state: State,
    init: PidFd,
    engine: String,
) -> Result<Container, Error> {
    let config = Config::load(&state.bundle)?;
    // youki takes any process of the number that it noted for the container's.
    let numbers = proc.numbers(&init).map_err(look(pid))?;
    if makes_pid_namespace(&config) && !matches!(numbers[..], [_, .., 1]) {
        return Err(Error::Stranger { pid });
    }
    // podman shows its own view of both.
    if state.annotations.is_empty() {
        state.annotations = config.annotations.clone();
    }
    state.oci_version = state.oci_version.or_else(|| config.oci_version.clone());
    Ok(Container {
        state,
        config,
        init,
        engine,
    })
}

/// Whether init's root is another folder than the bundle's, as far as both are
/// in sight: then it is not this bundle's.
fn is_elsewhere(container: &Container, proc: &Proc) -> std::io::Result<bool> {
    let Some(root) = &container.config.root else {
        return Ok(false);
    };
    let Ok(wanted) = stat(&container.state.bundle.join(root)) else {
        return Ok(false);
    };
    let is = fstat(namespaces::root(proc, proc.pid(&container.init)?)?)?;
    Ok((is.st_dev, is.st_ino) != (wanted.st_dev, wanted.st_ino))
}

fn makes_pid_namespace(config: &Config) -> bool {
    let mut namespaces = config.namespaces.iter();
    namespaces.any(|namespace| namespace.kind == "pid" && namespace.path.is_none())
}

/// Whether a process was there before a moment. proc(5) rounds the start down
/// to a tick, so one that started in the moment's own tick may be younger.
fn is_older(start_ticks: u64, nanoseconds: u64) -> bool {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    let per_second = per_second.and_then(|ticks| u128::try_from(ticks).ok());
    let ticks = |hz: u128| u128::from(nanoseconds) * hz / 1_000_000_000;
    per_second.is_some_and(|hz| u128::from(start_ticks) < ticks(hz))
}

fn look(pid: Pid) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Look { pid, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_the_same_tick_counts_as_younger() {
        let tick =
            1_000_000_000 / u64::try_from(sysconf(SysconfVar::CLK_TCK).unwrap().unwrap()).unwrap();
        assert!(is_older(6, 7 * tick));
        assert!(!is_older(7, 7 * tick));
        assert!(!is_older(7, 8 * tick - 1));
        assert!(is_older(7, 8 * tick));
        assert!(!is_older(0, 0));
        assert!(!is_older(u64::MAX, u64::MAX));
    }
}
