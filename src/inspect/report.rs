//! What the filters of a process mean: for people and for programs. Pure.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::Threads;
use crate::bpf::{Invalid, Program};
use crate::diff::{Change, Diff, Kind, Side};
use crate::flags;
use crate::policy::{Action, Arch, Call};
use crate::prove::{self, Reference};
use crate::syscalls;

/// Version of the JSON form; a change that breaks readers raises it.
pub const SCHEMA: u32 = 1;

/// What there is to say about the filters of a process.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of this form.
    pub schema: u32,
    /// Its number.
    pub process: i32,
    /// Whose init it is, if it was found by that.
    pub container: Option<Container>,
    /// `off`, `strict` or `filter`, as /proc says of the first thread.
    pub mode: &'static str,
    /// How many filters the first thread has, by the same word.
    pub filters: u32,
    /// Why the programs could not be read; what follows is empty then.
    pub unreadable: Option<String>,
    /// Threads with the same filters; those of the first thread come first.
    pub threads: Vec<Group>,
    /// Each program once.
    pub programs: Vec<Described>,
    /// The call that was asked about, for each group of threads.
    pub call: Option<Vec<Answered>>,
    /// What was declared, for each group of threads.
    pub against: Option<Vec<Judged>>,
    #[serde(skip)]
    pub(super) stacks: Vec<Vec<Program>>,
}

/// A container whose init was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Who knows it.
    pub engine: String,
    /// Its bundle.
    pub bundle: String,
}

/// Threads with the same filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Their numbers.
    pub ids: Vec<i32>,
    /// Indices into the programs, the oldest first.
    pub programs: Vec<usize>,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    /// As the hook logs it: the start of the SHA-256 of its bytes.
    pub fingerprint: String,
    /// Instructions; the kernel takes 4096.
    pub instructions: usize,
    /// Whether it was loaded with SECCOMP_FILTER_FLAG_LOG, where that is known.
    pub log: Option<bool>,
    /// Those it was made for; empty for one that does not look at them.
    pub architectures: Vec<&'static str>,
    /// How many of the native architecture's calls get which verdict.
    pub calls: BTreeMap<String, usize>,
    /// How many get one or another by their arguments.
    pub by_arguments: usize,
    /// What a number gets that no call has.
    pub other_numbers: String,
    /// The program itself, base64.
    pub program: String,
}

/// The call that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Where it is made.
    pub arch: Arch,
    /// Its number.
    pub nr: u32,
    /// Its arguments; any value for one that is not given.
    pub given: [Option<u64>; 6],
}

/// What the filters together say to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// One where the arguments that were not given do not matter.
    pub verdicts: Vec<Answer>,
    /// Whether these are all.
    pub complete: bool,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What.
    pub verdict: String,
    /// A call that gets it.
    pub call: String,
    #[serde(skip)]
    pub(super) action: Action,
}

/// What a process is held against.
pub type Declared<'a> = Side<'a>;

/// How the filters together compare with what was declared.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// What was declared.
    pub source: String,
    /// The outcome.
    pub strictness: Strictness,
    /// A call that shows it, where they are weaker or stricter.
    pub witness: Option<Shown>,
    #[serde(skip)]
    pub(super) diff: Diff,
}

/// A call with both verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The call.
    pub call: String,
    /// What was declared.
    pub declared: String,
    /// What the filters say.
    pub loaded: String,
}

/// By the kernel's order of actions, on every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Strictness {
    /// The same verdict for every call.
    Equal,
    /// For no call weaker or stricter; some get another errno or the like.
    AsStrict,
    /// For no call weaker, for some stricter.
    Stricter,
    /// For some call weaker.
    Weaker,
    /// It could not be told.
    Unknown,
}

impl Report {
    /// What /proc says, when the programs cannot be read.
    #[must_use]
    pub fn counted(process: i32, mode: u32, filters: u32, unreadable: Option<String>) -> Self {
        Self {
            schema: SCHEMA,
            process,
            container: None,
            mode: match mode {
                0 => "off",
                1 => "strict",
                _ => "filter",
            },
            filters,
            unreadable,
            threads: Vec::new(),
            programs: Vec::new(),
            call: None,
            against: None,
            stacks: Vec::new(),
        }
    }

    /// Adds the filters as they were read.
    ///
    /// # Errors
    /// [`Invalid`] for a program that seccomp(2) would not have taken.
    pub fn add(&mut self, threads: &[Threads]) -> Result<(), Invalid> {
        for Threads { ids, stack } in threads {
            let (mut indices, mut programs) = (Vec::new(), Vec::new());
            for loaded in &stack.filters {
                let program = Program::from_bytes(&loaded.bytes)?;
                let described = Described::new(&program, loaded.log);
                let known = self.programs.iter().position(|p| *p == described);
                indices.push(known.unwrap_or_else(|| {
                    self.programs.push(described);
                    self.programs.len() - 1
                }));
                programs.push(program);
            }
            self.threads.push(Group {
                ids: ids.clone(),
                programs: indices,
            });
            self.stacks.push(programs);
        }
        Ok(())
    }

    /// Asks about one call.
    pub fn ask(&mut self, asked: Asked) {
        let answered = self.stacks.iter().map(|stack| Answered::new(stack, asked));
        self.call = Some(answered.collect());
    }

    /// Holds the filters against what was declared.
    pub fn hold_against(&mut self, declared: Declared<'_>) {
        let judged = self.stacks.iter().map(|stack| Judged::new(declared, stack));
        self.against = Some(judged.collect());
    }

    /// The least of what the groups of threads came to.
    #[must_use]
    pub fn strictness(&self) -> Strictness {
        let all = || self.against.iter().flatten().map(|j| j.strictness);
        let worst = [
            Strictness::Weaker,
            Strictness::Unknown,
            Strictness::Stricter,
            Strictness::AsStrict,
            Strictness::Equal,
        ];
        let found = worst.into_iter().find(|w| all().any(|s| s == *w));
        found.unwrap_or(Strictness::Unknown)
    }

    /// The JSON form, one object.
    ///
    /// # Errors
    /// None that can happen: the fields are plain text and numbers.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|json| json + "\n")
    }

    pub(super) fn program(&self, index: usize) -> Option<&Program> {
        let places = self.threads.iter().zip(&self.stacks);
        let mut programs = places.flat_map(|(group, stack)| group.programs.iter().zip(stack));
        programs.find(|(i, _)| **i == index).map(|(_, p)| p)
    }
}

impl Described {
    fn new(program: &Program, log: Option<bool>) -> Self {
        let alone = std::slice::from_ref(program);
        let native = Arch::native();
        let survey = prove::survey(Reference::Programs(alone), alone, &[native]);
        let (mut calls, mut by_arguments) = (BTreeMap::new(), 0);
        for (&(arch, _, nr), pairs) in &survey.pairs {
            match (arch.and_then(|arch| syscalls::name(arch, nr)), &pairs[..]) {
                (None, _) => {}
                (Some(_), [pair]) => *calls.entry(pair.programs.to_string()).or_default() += 1,
                (Some(_), _) => by_arguments += 1,
            }
        }
        let nobodys = Call {
            audit: native.audit(),
            nr: syscalls::base(native) + 1023,
            args: [0; 6],
        };
        Self {
            fingerprint: program.fingerprint(),
            instructions: program.instructions().len(),
            log,
            architectures: prove::served(program).iter().map(|a| a.name()).collect(),
            calls,
            by_arguments,
            other_numbers: Action::from_ret(program.run(&nobodys).0).to_string(),
            program: BASE64_STANDARD.encode(program.to_bytes()),
        }
    }
}

impl Answered {
    fn new(stack: &[Program], asked: Asked) -> Self {
        let Asked { arch, nr, given } = asked;
        let survey = prove::survey_call(Reference::Programs(stack), stack, (arch, nr), given);
        let pairs = survey.pairs.into_values().flatten();
        let answer = |pair: prove::Pair| Answer {
            verdict: pair.programs.to_string(),
            call: flags::describe(Some(arch), &pair.call),
            action: pair.programs,
        };
        Self {
            verdicts: pairs.map(answer).collect(),
            complete: survey.proof.complete,
        }
    }
}

impl Judged {
    fn new(declared: Declared<'_>, stack: &[Program]) -> Self {
        let loaded = Side {
            source: "loaded",
            kind: Kind::Programs(stack),
        };
        let diff = Diff::new(declared, loaded);
        let find = |weaker: bool| {
            let is_so = |c: &&Change| {
                let (from, to) = (c.from.permissiveness(), c.to.permissiveness());
                if weaker { to > from } else { to < from }
            };
            // A call that has a name says more.
            let named = |c: &&Change| is_so(c) && c.call.is_some();
            let changes = || diff.changes.iter();
            changes().find(named).or_else(|| changes().find(is_so))
        };
        let (strictness, shown) = match (find(true), find(false)) {
            (Some(weaker), _) => (Strictness::Weaker, Some(weaker)),
            (None, _) if !diff.complete => (Strictness::Unknown, None),
            (None, Some(stricter)) => (Strictness::Stricter, Some(stricter)),
            (None, None) if diff.changes.is_empty() => (Strictness::Equal, None),
            (None, None) => (Strictness::AsStrict, None),
        };
        Self {
            source: declared.source.to_owned(),
            strictness,
            witness: shown.map(Shown::new),
            diff,
        }
    }
}

impl Shown {
    fn new(change: &Change) -> Self {
        Self {
            call: flags::describe(change.witness.arch, &change.witness.call),
            declared: change.from.to_string(),
            loaded: change.to.to_string(),
        }
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
