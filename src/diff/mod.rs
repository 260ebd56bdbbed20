//! What changes between two filters, call by call. Pure.
//!
//! Both are compared on every class of calls that either can tell apart
//! ([`crate::prove`]), so that what is not listed does not differ. A profile
//! stands for what it means where it comes first, and for its program, which
//! was proven to mean the same, where it comes second.
//!
//! # What is allowed
//! The kernel's order of actions, in four steps: ALLOW and LOG make the call;
//! TRACE and NOTIFY leave it to a tracer or an agent, in this order; whatever
//! is below does not make it. So a change from NOTIFY to LOG allows more, one
//! from LOG to ALLOW or from KILL to ERRNO is another verdict, and no more.
#![forbid(unsafe_code)]

mod json;
mod region;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use crate::bpf::Program;
use crate::filter::Filter;
use crate::policy::{Action, Arch, Call, Flags, Policy};
use crate::prove::{self, Pair, Place, Reference};
use crate::syscalls;
use region::Region;

/// One of the two that are compared.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What to call it.
    pub source: &'a str,
    /// What it is.
    pub kind: Kind<'a>,
}

/// A profile or a ready program.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// A profile with its program.
    Profile(&'a Filter),
    /// Programs alone, loaded together, the oldest first. None of them allow
    /// everything.
    Programs(&'a [Program]),
}

impl<'a> Side<'a> {
    const fn programs(self) -> &'a [Program] {
        match self.kind {
            Kind::Profile(filter) => std::slice::from_ref(&filter.program),
            Kind::Programs(programs) => programs,
        }
    }

    const fn policy(self) -> Option<&'a Policy> {
        match self.kind {
            Kind::Profile(filter) => Some(&filter.translation.policy),
            Kind::Programs(_) => None,
        }
    }

    fn reference(self) -> Reference<'a> {
        match self.policy() {
            Some(policy) => Reference::Policy(policy),
            None => Reference::Programs(self.programs()),
        }
    }

    fn arches(self) -> Vec<Arch> {
        match self.policy() {
            Some(policy) => policy.arches.iter().map(|r| r.arch).collect(),
            None => {
                let served = |p| prove::served(p).into_iter();
                let all: BTreeSet<Arch> = self.programs().iter().flat_map(served).collect();
                all.into_iter().collect()
            }
        }
    }

    /// Whether its program is certain to be what it stands for.
    const fn is_certain(self) -> bool {
        match self.kind {
            Kind::Profile(filter) => filter.proof.complete,
            Kind::Programs(_) => true,
        }
    }
}

/// What is known of one side, for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// What to call it.
    pub source: String,
    /// Whether it is a profile, and no ready program.
    pub is_profile: bool,
    /// Of its programs.
    pub fingerprints: Vec<String>,
    /// Those it lists, or tells apart.
    pub arches: Vec<Arch>,
    /// How it is loaded; not known of a ready program.
    pub flags: Option<Flags>,
}

impl Described {
    fn new(side: Side<'_>) -> Self {
        Self {
            source: side.source.to_owned(),
            is_profile: side.policy().is_some(),
            fingerprints: side.programs().iter().map(Program::fingerprint).collect(),
            arches: side.arches(),
            flags: side.policy().map(|p| p.flags),
        }
    }
}

/// Whether the second lets more of a call through than the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// More.
    More,
    /// Less.
    Less,
    /// As much, with another verdict.
    Other,
}

impl Direction {
    fn new(from: Action, to: Action) -> Self {
        match reach(to).cmp(&reach(from)) {
            std::cmp::Ordering::Greater => Self::More,
            std::cmp::Ordering::Less => Self::Less,
            std::cmp::Ordering::Equal => Self::Other,
        }
    }
}

/// How much of a call an action lets through; see the head of this file.
const fn reach(action: Action) -> u8 {
    match action {
        Action::Allow | Action::Log => 3,
        Action::Trace(_) => 2,
        Action::Notify => 1,
        _ => 0,
    }
}

/// For which arguments a verdict changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// For any.
    Always,
    /// For these: "if …", "unless …".
    Cases(String),
    /// For some, such as the witness's.
    Sometimes,
}

/// A call that gets another verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The call; `None` where nobody has a name for it.
    pub call: Option<String>,
    /// Where, with the call's number: the smallest of those without a name.
    /// Empty where neither side knows the architecture.
    pub numbers: BTreeMap<Arch, u32>,
    /// Whether only the second side lists these architectures, so that the
    /// first kills whatever is called there; or the other way round.
    pub unlisted: Option<Listed>,
    /// The first's verdict.
    pub from: Action,
    /// The second's verdict.
    pub to: Action,
    /// For which arguments.
    pub when: When,
    /// A call that shows it.
    pub witness: Witness,
}

/// Which side alone lists an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listed {
    /// Only the first.
    First,
    /// Only the second.
    Second,
}

/// A call, and where it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// `None` for an architecture that neither side knows.
    pub arch: Option<Arch>,
    /// The call.
    pub call: Call,
}

impl Change {
    /// Whether it lets more through.
    #[must_use]
    pub fn direction(&self) -> Direction {
        Direction::new(self.from, self.to)
    }
}

/// All that changes from one filter to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// The first.
    pub first: Described,
    /// The second.
    pub second: Described,
    /// By direction, then by name.
    pub changes: Vec<Change>,
    /// Calls that were tried.
    pub points: usize,
    /// Whether these stand for all calls.
    pub complete: bool,
}

impl Diff {
    /// Compares two.
    #[must_use]
    pub fn new(first: Side<'_>, second: Side<'_>) -> Self {
        let mut arches = first.arches();
        arches.extend(second.arches());
        arches.push(Arch::native());
        arches.sort_unstable_by_key(|&a| (a != Arch::native(), a));
        arches.dedup();
        let survey = prove::survey(first.reference(), second.programs(), &arches);
        Self {
            changes: changes(first, second, &survey.pairs),
            first: Described::new(first),
            second: Described::new(second),
            points: survey.proof.points,
            complete: survey.proof.complete && second.is_certain(),
        }
    }

    /// Whether both have the same verdict for every call; `None` where that
    /// cannot be told.
    #[must_use]
    pub fn is_equal(&self) -> Option<bool> {
        self.holds(self.changes.is_empty() && !self.flags_differ())
    }

    /// Whether the second allows nothing that the first does not.
    #[must_use]
    pub fn is_subset(&self) -> Option<bool> {
        let more = |c: &Change| c.direction() == Direction::More;
        self.holds(!self.changes.iter().any(more))
    }

    /// A difference is certain, that there is none may not be.
    fn holds(&self, seems: bool) -> Option<bool> {
        match seems {
            true => self.complete.then_some(true),
            false => Some(false),
        }
    }

    /// Whether both say how they are loaded, and not the same.
    #[must_use]
    pub fn flags_differ(&self) -> bool {
        match (self.first.flags, self.second.flags) {
            (Some(a), Some(b)) => a != b,
            _ => false,
        }
    }
}

/// The pairs of answers that differ; a call that changes alike on several
/// architectures, and calls without a name, are one change.
fn changes(first: Side<'_>, second: Side<'_>, pairs: &BTreeMap<Place, Vec<Pair>>) -> Vec<Change> {
    type Key = (
        Direction,
        Option<Listed>,
        Option<String>,
        bool,
        Action,
        Action,
        When,
    );
    // Programs that tell no architecture apart have an answer for any.
    let lists = |side: Side<'_>| {
        let (arches, any) = (side.arches(), side.policy().is_none());
        move |arch| arches.contains(&arch) || any && arches.is_empty()
    };
    let (ours, theirs) = (lists(first), lists(second));
    let mut folded: BTreeMap<Key, Change> = BTreeMap::new();
    for (&(arch, _, nr), pairs) in pairs {
        let name = arch.and_then(|a| syscalls::name(a, nr));
        let unlisted = arch.and_then(|a| match (ours(a), theirs(a)) {
            (true, false) => Some(Listed::First),
            (false, true) => Some(Listed::Second),
            _ => None,
        });
        for pair in pairs.iter().filter(|p| p.reference != p.programs) {
            let (from, to) = (pair.reference, pair.programs);
            let when = match (pairs.len(), arch) {
                (1, _) => When::Always,
                (_, Some(arch)) => when(first, second, arch, name.as_deref(), pair),
                (_, None) => When::Sometimes,
            };
            let direction = Direction::new(from, to);
            let known = arch.is_some();
            let key = (
                direction,
                unlisted,
                name.clone(),
                known,
                from,
                to,
                when.clone(),
            );
            let change = folded.entry(key).or_insert_with(|| Change {
                call: name.clone(),
                numbers: BTreeMap::new(),
                unlisted,
                from,
                to,
                when,
                witness: Witness {
                    arch,
                    call: pair.call,
                },
            });
            if let Some(arch) = arch {
                change.numbers.entry(arch).or_insert(nr);
            }
        }
    }
    folded.into_values().collect()
}

/// For which arguments of a call both sides give these answers.
fn when(first: Side<'_>, second: Side<'_>, arch: Arch, name: Option<&str>, pair: &Pair) -> When {
    let region = |side: Side<'_>, action| {
        let policy = side.policy()?;
        Region::new(policy, &pair.call, action)
    };
    let both = region(first, pair.reference)
        .zip(region(second, pair.programs))
        .map(|(a, b)| a.and(b));
    match both {
        Some(region) => When::Cases(region.describe(arch, name)),
        None => When::Sometimes,
    }
}

#[cfg(test)]
mod tests;
