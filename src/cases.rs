//! Unit tests for a profile: calls with the verdict they must get, run
//! through the program *and* the reference.
#![forbid(unsafe_code)]

use crate::bpf::Program;
use crate::near;
use crate::policy::{Action, Arch, Call, Verdict};
use crate::syscalls::{self, Wiring};
use crate::translate::Translation;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::path::PathBuf;

/// How many random values are tried for arguments given as `null`.
const TRIES: u64 = 8;

/// A file of cases.
#[derive(Debug, Deserialize)]
pub struct CaseFile<'a> {
    /// What it is about.
    pub name: Option<String>,
    /// The profile itself, or
    #[serde(borrow)]
    pub seccomp: Option<&'a RawValue>,
    /// where it is, from the file's folder.
    pub profile: Option<PathBuf>,
    /// The cases.
    pub cases: Vec<Case>,
}

/// A call and the verdict it must get.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Short or OCI name; the native architecture where absent.
    pub arch: Option<String>,
    /// Name or number.
    pub syscall: Syscall,
    /// Arguments; `null` means that any value must get the verdict.
    #[serde(default)]
    pub args: Vec<Option<u64>>,
    /// `ALLOW`, `ERRNO(13)` and so on, as [`Action`] prints them; `KILL` is
    /// `KILL_THREAD`.
    pub expect: String,
}

/// A system call by name or number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Syscall {
    /// As libseccomp names it.
    Name(String),
    /// Without the x32 bit, which the architecture adds; -1 is the number of
    /// a call that a tracer skipped.
    Number(i64),
}

/// How a case came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Reference and program give the verdict.
    Passed,
    /// One of them does not.
    Failed(Failure),
    /// The profile lists the architecture, but it cannot be compiled for
    /// here.
    Skipped(Arch),
}

/// What is wrong with a case itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such architecture.
    #[error("unknown architecture {0:?}")]
    Arch(String),
    /// No such call there.
    #[error("{arch} has no system call {name:?}{}", near::did_you_mean(near(name)))]
    Name {
        /// Where it was looked for.
        arch: Arch,
        /// What was looked for.
        name: String,
    },
    /// Not a number of a call.
    #[error("{0} is no system call number")]
    Number(i64),
    /// More than six arguments.
    #[error("a system call has at most 6 arguments, not {0}")]
    Arguments(usize),
    /// No such verdict.
    #[error(
        "unknown verdict {0:?}: ALLOW, LOG, TRACE(n), NOTIFY, ERRNO(n), TRAP, KILL_THREAD or KILL_PROCESS"
    )]
    Verdict(String),
}

/// What may be meant by a name that nobody knows.
fn near(name: &str) -> Option<&'static str> {
    match syscalls::resolve(name, Arch::native()) {
        Wiring::Unknown => syscalls::nearest(name),
        _ => None,
    }
}

/// A case that did not get its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where the call was made.
    pub arch: Arch,
    /// The call as it was made.
    pub call: Call,
    /// What the case asks for.
    pub expected: Action,
    /// What the profile says, and which rule.
    pub meant: Verdict,
    /// What the program says.
    pub got: Action,
}

impl Failure {
    /// The call for people.
    #[must_use]
    pub fn describe_call(&self) -> String {
        syscalls::describe(Some(self.arch), &self.call)
    }
}

impl Case {
    /// Runs the case.
    ///
    /// # Errors
    /// [`Error`] where the case itself makes no sense.
    pub fn run(&self, translation: &Translation, program: &Program) -> Result<Outcome, Error> {
        let arch = match &self.arch {
            None => Arch::native(),
            Some(name) => Arch::parse(name).ok_or_else(|| Error::Arch(name.clone()))?,
        };
        if self.args.len() > 6 {
            return Err(Error::Arguments(self.args.len()));
        }
        if translation.skips(arch) {
            return Ok(Outcome::Skipped(arch));
        }
        let expected = parse_action(&self.expect)?;
        let mut call = Call {
            audit: arch.audit(),
            nr: self.number(arch)?,
            args: [0; 6],
        };
        let open = self.args.len() < 6 || self.args.contains(&None);
        for seed in 0..if open { TRIES } else { 1 } {
            for (i, arg) in call.args.iter_mut().enumerate() {
                let given = self.args.get(i).copied().flatten();
                *arg = given.unwrap_or_else(|| any(seed, i));
            }
            let meant = translation.policy.verdict(&call);
            let got = Action::from_ret(program.run(&call).0);
            if meant.action != expected || got != expected {
                return Ok(Outcome::Failed(Failure {
                    arch,
                    call,
                    expected,
                    meant,
                    got,
                }));
            }
        }
        Ok(Outcome::Passed)
    }

    fn number(&self, arch: Arch) -> Result<u32, Error> {
        match &self.syscall {
            Syscall::Name(name) => match syscalls::resolve(name, arch) {
                Wiring::Direct(nr)
                | Wiring::Multiplexed {
                    direct: Some(nr), ..
                } => Ok(nr),
                _ => Err(Error::Name {
                    arch,
                    name: name.clone(),
                }),
            },
            Syscall::Number(-1) => Ok(u32::MAX),
            Syscall::Number(nr) => u32::try_from(*nr)
                .map(|nr| match arch {
                    Arch::X32 => nr | syscalls::base(arch),
                    _ => nr,
                })
                .map_err(|_| Error::Number(*nr)),
        }
    }
}

/// A value for an argument that must not matter: 0, all ones, then a mix
/// (splitmix64), the same in every run.
fn any(seed: u64, arg: usize) -> u64 {
    match seed {
        0 => 0,
        1 => u64::MAX,
        _ => {
            let x = (seed * 6 + arg as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x ^ (x >> 27)
        }
    }
}

fn parse_action(text: &str) -> Result<Action, Error> {
    let wrong = || Error::Verdict(text.to_owned());
    let (name, value) = match text.strip_suffix(')').and_then(|t| t.split_once('(')) {
        Some((name, value)) => (name, Some(value.parse::<u16>().map_err(|_| wrong())?)),
        None => (text, None),
    };
    match (name, value) {
        ("ALLOW", None) => Ok(Action::Allow),
        ("LOG", None) => Ok(Action::Log),
        ("TRACE", Some(v)) => Ok(Action::Trace(v)),
        ("NOTIFY", None) => Ok(Action::Notify),
        ("ERRNO", Some(v)) => Ok(Action::Errno(v)),
        ("TRAP", None) => Ok(Action::Trap),
        ("KILL" | "KILL_THREAD", None) => Ok(Action::KillThread),
        ("KILL_PROCESS", None) => Ok(Action::KillProcess),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
#[path = "cases_tests.rs"]
mod tests;
