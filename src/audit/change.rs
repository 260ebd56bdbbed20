//! The smallest change to a profile that allows one more call, and no other.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSyscall};

use crate::filter::{OnAmbiguity, Options};
use crate::plain;
use crate::policy::{Action, Arch, ArchRules, Clause, Compare, Policy};
use crate::prove::{self, Reference};
use crate::syscalls::{self, Subcall, Wiring};
use crate::translate::{Translation, translate};

/// One edit of `syscalls[]`. Rules are numbered as in the profile before all
/// edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Add the call to the names of this rule.
    Add(usize),
    /// Take it out of the names of this rule; a rule without names goes.
    Remove(usize),
    /// Put a rule that allows it before this one; past the last: at the end.
    Insert(usize),
}

/// A change that was tried on the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// To be made together.
    pub edits: Vec<Edit>,
    /// Calls that are no longer newer than all that the profile names, and so
    /// get the default action in place of ENOSYS.
    pub no_longer_newer: BTreeSet<String>,
}

/// Why there is no such change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// Nobody has a name for the number.
    #[error("no profile can name this number")]
    NoName,
    /// The profile kills whatever is called there.
    #[error("the profile does not list {0}: to list it would decide on all of its calls")]
    Architecture(Arch),
    /// It is allowed.
    #[error("the profile allows it: was another one loaded, or a second filter?")]
    Allowed,
    /// All that was tried changes more, or is refused.
    #[error("no single rule does it: other rules for this call overlap with it")]
    Overlap,
}

/// Looks for a change. What is found was applied to the section, translated,
/// and held against the policy before.
///
/// # Errors
/// [`Impossible`].
pub fn smallest(
    section: &LinuxSeccomp,
    policy: &Policy,
    options: Options,
    arch: Arch,
    nr: u32,
) -> Result<Change, Impossible> {
    let name = syscalls::name(arch, nr).ok_or(Impossible::NoName)?;
    let rules = policy.arches.iter().find(|r| r.arch == arch);
    let rules = rules.ok_or(Impossible::Architecture(arch))?;
    if allows(policy, arch, nr) {
        return Err(Impossible::Allowed);
    }
    let call = Named { name, arch, nr };
    let found = candidates(section, rules, &call)
        .into_iter()
        .find_map(|edits| {
            let no_longer_newer = call.try_out(section, policy, options, &edits)?;
            Some(Change {
                edits,
                no_longer_newer,
            })
        });
    found.ok_or(Impossible::Overlap)
}

/// Whether the call is allowed whatever its arguments.
fn allows(policy: &Policy, arch: Arch, nr: u32) -> bool {
    let survey = prove::survey_call(Reference::Policy(policy), &[], (arch, nr), [None; 6]);
    let mut pairs = survey.pairs.values().flatten();
    survey.proof.complete && pairs.all(|pair| pair.reference == Action::Allow)
}

/// The most rules to which the name is added on trial.
const ALLOWING_LIMIT: usize = 4;

/// Small ones first. A rule without conditions that allows is where the name
/// belongs; rules that deny it have to lose it where they stand before, or
/// contradict.
fn candidates(section: &LinuxSeccomp, rules: &ArchRules, call: &Named) -> Vec<Vec<Edit>> {
    let syscalls = section.syscalls().as_deref().unwrap_or_default();
    let allowing = |(_, rule): &(usize, &LinuxSyscall)| {
        rule.action() == LinuxSeccompAction::ScmpActAllow
            && rule.args().as_deref().unwrap_or_default().is_empty()
    };
    let allowing = syscalls.iter().enumerate().filter(allowing);
    let allowing = allowing.map(|(i, _)| i).take(ALLOWING_LIMIT);
    let clauses = rules.calls.get(&call.nr).map_or(&[][..], Vec::as_slice);
    let denies = |c: &&Clause| c.action != Action::Allow;
    let denying: BTreeSet<usize> = clauses.iter().filter(denies).map(|c| c.rule).collect();
    let removals = || denying.iter().map(|&rule| Edit::Remove(rule));
    let before = clauses.first().map_or(syscalls.len(), |c| c.rule);
    let additions = allowing.map(Edit::Add).chain([Edit::Insert(before)]);
    let mut out = vec![removals().collect()];
    let mut both = Vec::new();
    for addition in additions {
        out.push(vec![addition]);
        both.push(removals().chain([addition]).collect());
    }
    out.append(&mut both);
    out.retain(|edits: &Vec<Edit>| !edits.is_empty());
    out
}

/// The call in question.
struct Named {
    name: String,
    arch: Arch,
    nr: u32,
}

impl Named {
    /// Makes the edits; `None` where this does not allow the call, changes
    /// more, or gives a profile that is refused.
    fn try_out(
        &self,
        section: &LinuxSeccomp,
        policy: &Policy,
        options: Options,
        edits: &[Edit],
    ) -> Option<BTreeSet<String>> {
        let section = apply(section, &self.name, edits)?;
        let translation = translate(&section, options.translate).ok()?;
        if !allows(&translation.policy, self.arch, self.nr) {
            return None;
        }
        let newer = self.changes_alone(policy, &translation)?;
        let refuses = options.ambiguity == OnAmbiguity::Refuse;
        if refuses && !matches!(plain::check_order(&section, &translation), Ok(None)) {
            return None;
        }
        Some(newer)
    }

    /// Whether no other call's verdict changes, but for those that are no
    /// longer newer than the profile, which come back.
    fn changes_alone(&self, old: &Policy, new: &Translation) -> Option<BTreeSet<String>> {
        let new = &new.policy;
        let same =
            (old.default, old.flags, &old.listener) == (new.default, new.flags, &new.listener);
        if !same || old.arches.len() != new.arches.len() {
            return None;
        }
        let mut no_longer_newer = BTreeSet::new();
        for (was, is) in old.arches.iter().zip(&new.arches) {
            if was.arch != is.arch {
                return None;
            }
            let numbers: BTreeSet<u32> = was.calls.keys().chain(is.calls.keys()).copied().collect();
            let clauses = |rules: &ArchRules, nr| rules.calls.get(&nr).cloned().unwrap_or_default();
            let alike = |nr| self.is_alike(was.arch, nr, clauses(was, nr), clauses(is, nr));
            if !numbers.into_iter().all(alike) {
                return None;
            }
            let base = syscalls::base(was.arch);
            for nr in base..base + 600 {
                let changes = old.unmatched(was, nr) != new.unmatched(is, nr);
                if changes && !is.calls.contains_key(&nr) {
                    no_longer_newer.extend(syscalls::name(was.arch, nr));
                }
            }
        }
        no_longer_newer.remove(&self.name);
        Some(no_longer_newer)
    }

    /// Whether a number has the same rules as before, or is this call's: on
    /// any architecture, and as a sub-call.
    fn is_alike(&self, arch: Arch, nr: u32, mut was: Vec<Clause>, mut is: Vec<Clause>) -> bool {
        match syscalls::resolve(&self.name, arch) {
            Wiring::Direct(own) if own == nr => return true,
            Wiring::Multiplexed { direct, .. } if direct == Some(nr) => return true,
            Wiring::Multiplexed { by, sub, .. } if by == nr => {
                was.retain(|clause| !selects(clause, sub));
                is.retain(|clause| !selects(clause, sub));
            }
            _ => {}
        }
        was.len() == is.len() && was.iter().zip(&is).all(|(a, b)| a.same_effect(b))
    }
}

/// The condition by which a multiplexer's argument selects this sub-call.
fn selects(clause: &Clause, sub: Subcall) -> bool {
    match &clause.conditions[..] {
        [one] if one.arg == 0 => match one.compare {
            Compare::Eq(v) => v == u64::from(sub.number),
            Compare::MaskedEq { mask, datum } => {
                mask == u64::from(sub.mask) && datum == u64::from(sub.number)
            }
            _ => false,
        },
        _ => false,
    }
}

/// Makes the edits. `None` where a rule that is to lose the name has it not:
/// it is about the call by another name, or as a sub-call.
pub(super) fn apply(section: &LinuxSeccomp, call: &str, edits: &[Edit]) -> Option<LinuxSeccomp> {
    let mut rules = section.syscalls().clone().unwrap_or_default();
    let mut insertion = None;
    for edit in edits {
        match *edit {
            Edit::Add(at) => {
                let mut names = rules[at].names().clone();
                names.push(call.to_owned());
                rules[at].set_names(names);
            }
            Edit::Remove(at) => {
                let mut names = rules[at].names().clone();
                let before = names.len();
                names.retain(|name| name != call);
                if names.len() == before {
                    return None;
                }
                rules[at].set_names(names);
            }
            Edit::Insert(before) => insertion = Some(before),
        }
    }
    // Last, since it moves the others.
    if let Some(before) = insertion {
        let mut rule = LinuxSyscall::default();
        rule.set_names(vec![call.to_owned()]);
        rule.set_action(LinuxSeccompAction::ScmpActAllow);
        rules.insert(before, rule);
    }
    let mut section = section.clone();
    section.set_syscalls(Some(rules));
    Some(section)
}
