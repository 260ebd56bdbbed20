//! What the kernel's log says of calls that filters did not simply allow, and
//! what a profile says of the same calls. Pure but for the reading of lines.
//!
//! The kernel logs an action that `kernel.seccomp.actions_logged` lists: always
//! LOG and what kills, the others for a filter loaded with
//! `SECCOMP_FILTER_FLAG_LOG`. A record has no arguments, no errno, and no
//! container.
#![forbid(unsafe_code)]

mod change;
mod json;
mod record;
mod text;

pub use change::{Change, Edit, Impossible};
pub use record::{Line, Record, Text};

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read};

use crate::filter::{Filter, Options};
use crate::policy::{Action, Arch, Policy, Reason};
use crate::prove::{self, Reference};
use crate::syscalls;

/// The longest line that is read; the kernel's are below 9 KiB.
const LINE_LIMIT: u64 = 16 << 10;
/// The most different calls that are told apart: more than there are.
const CALLS_LIMIT: usize = 10_000;
/// The most programs that are named for a call.
const NAMES_LIMIT: usize = 8;
/// The most calls for which a change is looked for: some milliseconds each.
const CHANGES_LIMIT: usize = 1000;

/// What is folded into one: architecture's token, number, code.
type Key = (u32, u32, u32);

/// All records of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The calls, each once.
    calls: BTreeMap<Key, Times>,
    /// Records in all.
    pub records: u64,
    /// Lines that call themselves records and are not.
    pub malformed: u64,
    /// Lines that were too long.
    pub too_long: u64,
    /// Records of more different calls than are told apart.
    pub dropped: u64,
}

/// When and by whom a call was made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Times {
    count: u64,
    first: i64,
    last: i64,
    programs: BTreeSet<Text>,
    more_programs: bool,
}

impl Log {
    /// Reads to the end. Lines that are no records are passed over.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(mut lines: impl BufRead) -> io::Result<Self> {
        let mut log = Self::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = lines.by_ref().take(LINE_LIMIT);
            if limited.read_until(b'\n', &mut line)? == 0 {
                return Ok(log);
            }
            if !line.ends_with(b"\n") && line.len() as u64 == LINE_LIMIT {
                skip_line(&mut lines)?;
                log.too_long += 1;
                continue;
            }
            match Line::parse(&String::from_utf8_lossy(&line)) {
                Line::Record(record) => log.add(record),
                Line::Malformed => log.malformed += 1,
                Line::Other => {}
            }
        }
    }

    fn add(&mut self, record: Record) {
        self.records += 1;
        let Record {
            time,
            audit,
            nr,
            code,
            exe,
        } = record;
        let full = self.calls.len() >= CALLS_LIMIT;
        let key = (audit, nr, code);
        if full && !self.calls.contains_key(&key) {
            self.dropped += 1;
            return;
        }
        let times = self.calls.entry(key).or_insert_with(|| Times {
            count: 0,
            first: time,
            last: time,
            programs: BTreeSet::new(),
            more_programs: false,
        });
        times.count += 1;
        times.first = times.first.min(time);
        times.last = times.last.max(time);
        if let Some(exe) = exe.filter(|exe| !times.programs.contains(exe)) {
            match times.programs.len() < NAMES_LIMIT {
                true => {
                    times.programs.insert(exe);
                }
                false => times.more_programs = true,
            }
        }
    }
}

/// Passes over the rest of a line, however long.
fn skip_line(lines: &mut impl BufRead) -> io::Result<()> {
    loop {
        let part = lines.fill_buf()?;
        let (len, end) = match part.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (part.len(), part.is_empty()),
        };
        lines.consume(len);
        if end {
            return Ok(());
        }
    }
}

/// The answer to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was held against it, if anything.
    pub profile: Option<String>,
    /// The most frequent first.
    pub calls: Vec<Entry>,
    /// Counts of lines; its calls are above.
    pub log: Log,
}

/// One call with one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `None` for a token that nobody knows.
    pub arch: Option<Arch>,
    /// The token.
    pub audit: u32,
    /// The number.
    pub nr: u32,
    /// Its name.
    pub call: Option<String>,
    /// What the kernel did, an errno being unknown.
    pub code: u32,
    /// How often.
    pub count: u64,
    /// When first and last, in milliseconds since 1970.
    pub first: i64,
    /// When last.
    pub last: i64,
    /// Files that made it.
    pub programs: Vec<Text>,
    /// Whether others did.
    pub more_programs: bool,
    /// What the profile says.
    pub advice: Option<Advice>,
}

/// What a profile says of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What it may get by the profile.
    pub verdicts: Vec<Said>,
    /// Whether one of these is what the kernel did.
    pub explains: bool,
    /// The arguments on which it depends.
    pub depends_on: Vec<u8>,
    /// What to change to allow it.
    pub change: Result<Change, Impossible>,
    /// The edits of the change, in the words of the file.
    pub steps: Vec<Step>,
}

/// A verdict and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub action: Action,
    /// In words: "rule 2 (line 41)", "the default action".
    pub by: String,
    /// Index in the file's `syscalls[]`, if a rule does.
    pub rule: Option<usize>,
    /// Its line, if known.
    pub line: Option<usize>,
}

/// An edit of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub edit: Edit,
    /// The name it is about.
    pub name: String,
    /// Index in the file's `syscalls[]`; `None` for a rule at the end.
    pub rule: Option<usize>,
    /// Its line, if known.
    pub line: Option<usize>,
    /// Whether the rule is for nothing else.
    pub alone: bool,
}

impl Report {
    /// Answers a log, by a profile where there is one; `options` are those by
    /// which it was read.
    #[must_use]
    pub fn new(log: Log, profile: Option<&Filter>, options: Options) -> Self {
        let mut calls: Vec<Entry> = log
            .calls
            .iter()
            .map(|(key, t)| Entry::new(*key, t))
            .collect();
        calls.sort_by(|a, b| {
            let key = |e: &Entry| {
                (
                    e.arch.is_none(),
                    e.arch,
                    e.audit,
                    e.call.clone(),
                    e.nr,
                    e.code,
                )
            };
            b.count.cmp(&a.count).then_with(|| key(a).cmp(&key(b)))
        });
        if let Some(filter) = profile {
            for entry in calls.iter_mut().take(CHANGES_LIMIT) {
                entry.advice = entry.arch.map(|arch| advice(filter, options, arch, entry));
            }
        }
        Self {
            profile: profile.map(|filter| filter.profile.origin.clone()),
            calls,
            log,
        }
    }

    /// From when to when.
    #[must_use]
    pub fn span(&self) -> Option<(i64, i64)> {
        let first = self.calls.iter().map(|e| e.first).min()?;
        let last = self.calls.iter().map(|e| e.last).max()?;
        Some((first, last))
    }
}

impl Entry {
    fn new((audit, nr, code): Key, times: &Times) -> Self {
        let arch = Arch::ALL.iter().copied().find(|a| a.owns(audit, nr));
        Self {
            arch,
            audit,
            nr,
            call: arch.and_then(|arch| syscalls::name(arch, nr)),
            code,
            count: times.count,
            first: times.first,
            last: times.last,
            programs: times.programs.iter().cloned().collect(),
            more_programs: times.more_programs,
            advice: None,
        }
    }

    /// The action that the kernel took; of an ERRNO it does not say which.
    #[must_use]
    pub fn action(&self) -> String {
        match Action::from_ret(self.code) {
            Action::Errno(_) => "ERRNO".to_owned(),
            Action::Trace(_) => "TRACE".to_owned(),
            action => action.to_string(),
        }
    }
}

fn advice(filter: &Filter, options: Options, arch: Arch, entry: &Entry) -> Advice {
    let policy = &filter.translation.policy;
    let survey = prove::survey_call(Reference::Policy(policy), &[], (arch, entry.nr), [None; 6]);
    let mut verdicts: Vec<Said> = Vec::new();
    for pair in survey.pairs.values().flatten() {
        let said = said(filter, policy, &pair.call);
        if !verdicts.contains(&said) {
            verdicts.push(said);
        }
    }
    let change = change::smallest(&filter.profile.section, policy, options, arch, entry.nr);
    let name = entry.call.clone().unwrap_or_default();
    let step = |edit: &Edit| {
        let (Edit::Add(rule) | Edit::Remove(rule) | Edit::Insert(rule)) = *edit;
        let site = filter.profile.sites.get(rule);
        let rules = filter
            .profile
            .section
            .syscalls()
            .as_deref()
            .unwrap_or_default();
        Step {
            edit: *edit,
            name: name.clone(),
            rule: rules.get(rule).map(|_| site.map_or(rule, |s| s.rule)),
            line: site.map(|s| s.line),
            alone: rules
                .get(rule)
                .is_some_and(|r| r.names().iter().all(|n| *n == name)),
        }
    };
    let kind = |action: Action| std::mem::discriminant(&action);
    Advice {
        explains: verdicts
            .iter()
            .any(|v| kind(v.action) == kind(Action::from_ret(entry.code))),
        depends_on: match verdicts.len() {
            0 | 1 => Vec::new(),
            _ => compared(policy, arch, entry.nr),
        },
        verdicts,
        steps: change.iter().flat_map(|c| &c.edits).map(step).collect(),
        change,
    }
}

fn said(filter: &Filter, policy: &Policy, call: &crate::policy::Call) -> Said {
    let verdict = policy.verdict(call);
    let rule = match verdict.reason {
        Reason::Rule(rule) => Some(rule),
        _ => None,
    };
    let site = rule.and_then(|rule| filter.profile.sites.get(rule));
    Said {
        action: verdict.action,
        by: match verdict.reason {
            Reason::Rule(rule) => filter.profile.site(rule),
            Reason::Default => "the default action".to_owned(),
            Reason::Newer => "newer than all that the profile names".to_owned(),
            Reason::ForeignArch => "the architecture is not listed".to_owned(),
        },
        rule: rule.map(|rule| site.map_or(rule, |s| s.rule)),
        line: site.map(|s| s.line),
    }
}

/// The arguments that the rules for a call compare.
fn compared(policy: &Policy, arch: Arch, nr: u32) -> Vec<u8> {
    let rules = policy.arches.iter().find(|r| r.arch == arch);
    let clauses = rules.and_then(|r| r.calls.get(&nr)).into_iter().flatten();
    let arguments: BTreeSet<u8> = clauses.flat_map(|c| &c.conditions).map(|c| c.arg).collect();
    arguments.into_iter().collect()
}

#[cfg(test)]
mod tests;
