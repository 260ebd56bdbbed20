//! What libseccomp makes of a whole profile in one context, as runc, crun and
//! youki hand it over; and where that differs from what the profile says.
#![forbid(unsafe_code)]

use crate::bpf::Program;
use crate::compile::{self, LibseccompError, unit};
use crate::policy::{Action, Arch, ArchRules, Call, Clause, Condition, Policy, Verdict};
use crate::prove;
use crate::syscalls::{Wiring, resolve, scmp_arch};
use crate::translate::Translation;
use libseccomp::error::{SeccompErrno, SeccompError};
use libseccomp::{ScmpAction, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::LinuxSeccomp;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;

/// Why there is no program of the whole profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libseccomp refuses a rule, and so does every runtime.
    #[error("libseccomp refuses rule {rule} for {name}")]
    Refused {
        /// Index in `syscalls[]`.
        rule: usize,
        /// The call.
        name: String,
        /// libseccomp's words.
        #[source]
        source: LibseccompError,
    },
    /// It would keep libseccomp busy for too long.
    #[error(
        "libseccomp's work grows with the product of the conditions on each argument, and there \
         are too many on {name}"
    )]
    TooMany {
        /// The call.
        name: String,
    },
    /// It does not return.
    #[error(
        "libseccomp has not come to an end in {} seconds, and will not under a runtime",
        TIME_LIMIT.as_secs()
    )]
    Endless,
    /// It could not be compiled or read back.
    #[error(transparent)]
    Compile(#[from] compile::Error),
}

/// A profile whose order of rules matters, read here in a weaker way than
/// libseccomp does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ambiguity {
    /// The two readings of one call.
    #[error(
        "for {call} this rule comes first and says {ours}, but every runtime makes {theirs} of \
         it; reorder the rules, or accept the first with --ambiguous=first"
    )]
    Weaker {
        /// The call, for people.
        call: String,
        /// The first matching rule.
        rule: usize,
        /// Its action.
        ours: Action,
        /// libseccomp's verdict.
        theirs: Action,
    },
    /// The same conditions with different actions.
    #[error(
        "this rule contradicts an earlier one for {name}, and every runtime refuses it; remove \
         one, or accept the first with --ambiguous=first"
    )]
    Contradiction {
        /// Index in `syscalls[]`.
        rule: usize,
        /// The call.
        name: String,
    },
}

impl Ambiguity {
    /// The rule to look at.
    #[must_use]
    pub const fn rule(&self) -> usize {
        match self {
            Self::Weaker { rule, .. } | Self::Contradiction { rule, .. } => *rule,
        }
    }
}

/// Compiles a whole section in one context, as runc does: rules in file
/// order, those that repeat the default left out, unknown names skipped. With
/// `only`, just the rules for these names.
///
/// # Errors
/// [`Error::Refused`] where every runtime refuses the profile too;
/// [`Error::TooMany`] where it would be busy for too long, and
/// [`Error::Endless`] where it would be so for ever. A thread then remains
/// that does not end.
#[doc(hidden)]
pub fn compile(
    section: &LinuxSeccomp,
    translation: &Translation,
    only: Option<&BTreeSet<String>>,
) -> Result<Program, Error> {
    let policy = &translation.policy;
    check_size(section, translation, only)?;
    let mut additions = Vec::new();
    let rules = section.syscalls().iter().flatten().zip(&translation.rules);
    for (rule, (syscall, alternatives)) in rules.enumerate() {
        for name in syscall.names() {
            if only.is_some_and(|only| !only.contains(name)) {
                continue;
            }
            let Ok(call) = ScmpSyscall::from_name(name) else {
                continue;
            };
            let said = alternatives.iter().filter(|c| c.action != policy.default);
            additions.extend(said.map(|clause| Addition {
                rule,
                name: name.clone(),
                call,
                clause: clause.clone(),
            }));
        }
    }
    let arches = policy.arches.iter().map(|r| r.arch).collect();
    in_time(policy.default, arches, additions)
}

/// How long libseccomp may take; a whole container profile takes it 20 ms.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// libseccomp 2.5.4 never returns from adding the second of
/// `lseek: arg0 < 1 && arg1 <= 0x100000001` and
/// `lseek: arg0 < 1 && arg5 <= 0x500000002`, so it gets a thread of its own.
fn in_time(default: Action, arches: Vec<Arch>, additions: Vec<Addition>) -> Result<Program, Error> {
    let (done, result) = mpsc::channel();
    let work = move || {
        // Nobody may be waiting any more.
        let _ = done.send(build(default, &arches, additions));
    };
    let thread = std::thread::Builder::new().name("libseccomp".to_owned());
    let thread = thread.spawn(work).map_err(compile::Error::Read)?;
    let Ok(result) = result.recv_timeout(TIME_LIMIT) else {
        return Err(Error::Endless);
    };
    // Whoever goes on to fork has one thread again. One that has panicked has
    // sent nothing.
    let _ = thread.join();
    result
}

/// One call of seccomp_rule_add(3).
struct Addition {
    rule: usize,
    name: String,
    call: ScmpSyscall,
    clause: Clause,
}

fn build(default: Action, arches: &[Arch], additions: Vec<Addition>) -> Result<Program, Error> {
    let mut context = unit::context(Arch::native(), scmp_action(default))?;
    for &arch in arches.iter().filter(|&&a| a != Arch::native()) {
        let added = context.add_arch(scmp_arch(arch));
        added.map_err(compile::Error::libseccomp)?;
    }
    for Addition {
        rule,
        name,
        call,
        clause,
    } in additions
    {
        add(&mut context, call, &clause).map_err(|said| Error::Refused {
            rule,
            name,
            source: LibseccompError(said),
        })?;
    }
    Ok(unit::export(&context)?)
}

/// The most nodes in libseccomp's tree of one call, as estimated by
/// [`check_size`]: some tenths of a second's work.
const TREE_LIMIT: usize = 1 << 14;

/// libseccomp keeps the conditions on a call in a tree with a level for each
/// argument, and copies a rule into every branch that it may apply to.
fn check_size(
    section: &LinuxSeccomp,
    translation: &Translation,
    only: Option<&BTreeSet<String>>,
) -> Result<(), Error> {
    let mut conditions: HashMap<&str, [HashSet<Condition>; 6]> = HashMap::new();
    let rules = section.syscalls().iter().flatten().zip(&translation.rules);
    for (syscall, alternatives) in rules {
        for name in syscall.names() {
            if only.is_some_and(|only| !only.contains(name)) {
                continue;
            }
            for condition in alternatives.iter().flat_map(|c| &c.conditions) {
                let sets = conditions.entry(name).or_default();
                let set = &mut sets[usize::from(condition.arg)];
                set.insert(*condition);
                let nodes = sets
                    .iter()
                    .fold(1usize, |n, s| n.saturating_mul(s.len() + 1));
                if nodes > TREE_LIMIT {
                    return Err(Error::TooMany { name: name.clone() });
                }
            }
        }
    }
    Ok(())
}

fn add(
    context: &mut ScmpFilterContext,
    call: ScmpSyscall,
    clause: &Clause,
) -> Result<(), SeccompError> {
    let action = scmp_action(clause.action);
    let compares: Vec<_> = clause.conditions.iter().map(unit::scmp_compare).collect();
    match compares.is_empty() {
        true => context.add_rule(action, call)?,
        false => context.add_rule_conditional(action, call, &compares)?,
    };
    Ok(())
}

/// Looks for a call that several rules with different actions match, and for
/// which the first of them is weaker than what libseccomp makes of them. Gives
/// the first such call.
///
/// Only the rules for such calls are compiled, which is quick. That rules for
/// others make libseccomp lose some of them is no ambiguity of the profile;
/// [`crate::peers`] shows it.
///
/// # Errors
/// [`Error`], where libseccomp makes nothing of the profile.
#[doc(hidden)]
pub fn check_order(
    section: &LinuxSeccomp,
    translation: &Translation,
) -> Result<Option<Ambiguity>, Error> {
    let policy = &translation.policy;
    let contested = contested(policy);
    if contested.is_empty() {
        return Ok(None);
    }
    let names = names_of(section, policy, &contested);
    let program = match compile(section, translation, Some(&names)) {
        Err(Error::Refused { rule, name, source })
            if source.0.errno() == Some(SeccompErrno::EEXIST) =>
        {
            return Ok(Some(Ambiguity::Contradiction { rule, name }));
        }
        other => other?,
    };
    let mut found = None;
    prove::compare(policy, &program, Some(&contested), |w| {
        let overlap = w.got.permissiveness() < w.expected.action.permissiveness()
            && several_actions(policy, &w.call);
        match (w.expected, overlap) {
            (Verdict { action, reason }, true) => {
                found = Some(Ambiguity::Weaker {
                    call: w.describe_call(),
                    rule: match reason {
                        crate::policy::Reason::Rule(rule) => rule,
                        _ => 0,
                    },
                    ours: action,
                    theirs: w.got,
                });
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    });
    Ok(found)
}

/// Numbers whose clauses do not all say the same.
fn contested(policy: &Policy) -> BTreeSet<(Arch, u32)> {
    let differ = |clauses: &[Clause]| clauses.iter().any(|c| c.action != clauses[0].action);
    let of = |rules: &ArchRules| -> Vec<(Arch, u32)> {
        let calls = rules.calls.iter().filter(|(_, clauses)| differ(clauses));
        calls.map(|(&nr, _)| (rules.arch, nr)).collect()
    };
    policy.arches.iter().flat_map(of).collect()
}

/// The names of all rules that bear on these numbers. libseccomp also lets a
/// sub-call bear on its multiplexer, conditions and all.
fn names_of(
    section: &LinuxSeccomp,
    policy: &Policy,
    contested: &BTreeSet<(Arch, u32)>,
) -> BTreeSet<String> {
    let mut numbers = contested.clone();
    let names: BTreeSet<&String> = section
        .syscalls()
        .iter()
        .flatten()
        .flat_map(|s| s.names())
        .collect();
    let wired: Vec<(&String, Vec<(Arch, u32)>)> = names
        .into_iter()
        .map(|name| (name, reached(policy, name)))
        .collect();
    let touches =
        |at: &[(Arch, u32)], numbers: &BTreeSet<_>| at.iter().any(|n| numbers.contains(n));
    for (_, at) in wired.iter().filter(|(_, at)| touches(at, contested)) {
        numbers.extend(at);
    }
    let hit = wired.iter().filter(|(_, at)| touches(at, &numbers));
    hit.map(|(name, _)| (*name).clone()).collect()
}

/// The numbers that a name stands for, multiplexers included.
fn reached(policy: &Policy, name: &str) -> Vec<(Arch, u32)> {
    let of = |r: &ArchRules| {
        let (own, by) = match resolve(name, r.arch) {
            Wiring::Direct(nr) => (Some(nr), None),
            Wiring::Multiplexed { by, direct, .. } => (direct, Some(by)),
            Wiring::Absent | Wiring::Unknown => (None, None),
        };
        let arch = r.arch;
        own.into_iter().chain(by).map(move |nr| (arch, nr))
    };
    policy.arches.iter().flat_map(of).collect()
}

/// Whether rules with different actions match one call.
fn several_actions(policy: &Policy, call: &Call) -> bool {
    let Some(rules) = policy.rules_for(call.audit, call.nr) else {
        return false;
    };
    let args = call.args.map(|raw| rules.arch.arg(raw));
    let clauses = rules.calls.get(&call.nr).map_or(&[][..], Vec::as_slice);
    let mut actions = clauses
        .iter()
        .filter(|c| c.matches(&args))
        .map(|c| c.action);
    let first = actions.next();
    actions.any(|a| Some(a) != first)
}

fn scmp_action(action: Action) -> ScmpAction {
    match action {
        Action::KillProcess => ScmpAction::KillProcess,
        Action::KillThread => ScmpAction::KillThread,
        Action::Trap => ScmpAction::Trap,
        Action::Errno(e) => ScmpAction::Errno(e.into()),
        Action::Notify => ScmpAction::Notify,
        Action::Trace(d) => ScmpAction::Trace(d),
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
    }
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
