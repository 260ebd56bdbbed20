//! Holds a program against the reference semantics, call by call.
//!
//! A classic program only ever compares 32-bit words with constants, and so
//! does a policy, so the calls fall into classes between which neither can
//! tell the difference: the words at, just below and just above each constant
//! of either. One call of each class is tried: every number that either
//! distinguishes, and for a number whose arguments matter the product over
//! those arguments. Masks are tried with each of their bits flipped.
#![forbid(unsafe_code)]

mod classes;
mod trial;

use self::classes::Words;
#[cfg(feature = "cli")]
pub(crate) use self::trial::numbers;
use self::trial::{Trial, Watch};
use crate::bpf::Program;
use crate::policy::{Action, Arch, ArchRules, Call, Clause, Policy, Verdict};
use crate::syscalls;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;

/// A program was found to mean what the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proof {
    /// Calls tried.
    pub points: usize,
    /// Whether every class of calls was tried; else a product of arguments
    /// was too large and was sampled.
    pub complete: bool,
}

/// A call on which program and policy differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Witness {
    /// The architecture, if the policy lists it.
    pub arch: Option<Arch>,
    /// The call.
    pub call: Call,
    /// What the policy says.
    pub expected: Verdict,
    /// What the program says.
    pub got: Action,
}

impl Witness {
    /// Whether the program lets more through than the policy.
    #[must_use]
    pub fn is_weaker(&self) -> bool {
        self.got.permissiveness() > self.expected.action.permissiveness()
    }
}

impl Witness {
    /// The call for people: `x86_64 lseek(0x0, 0x6)`.
    #[must_use]
    pub fn describe_call(&self) -> String {
        syscalls::describe(self.arch, &self.call)
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = self.describe_call();
        write!(
            f,
            "{call}: expected {}, got {}",
            self.expected.action, self.got
        )
    }
}

/// The program does not mean what the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the program does not mean what the profile says: {0}")]
pub struct Disproof(pub Witness);

/// Proves a program.
///
/// # Errors
/// The first call on which the two differ.
pub fn prove(policy: &Policy, program: &Program) -> Result<Proof, Disproof> {
    let mut witness = None;
    let proof = compare(policy, program, None, |w| {
        witness = Some(w);
        ControlFlow::Break(())
    });
    match witness {
        Some(w) => Err(Disproof(w)),
        None => Ok(proof),
    }
}

/// Tries every class of calls and hands each difference to `differ`, which
/// says whether to go on. With `only`, just these numbers are tried.
#[doc(hidden)]
pub fn compare(
    policy: &Policy,
    program: &Program,
    only: Option<&BTreeSet<(Arch, u32)>>,
    differ: impl FnMut(Witness) -> ControlFlow<()>,
) -> Proof {
    let arches: Vec<Arch> = policy.arches.iter().map(|r| r.arch).collect();
    let watch = Differences { policy, differ };
    let programs = std::slice::from_ref(program);
    Trial::new(Reference::Policy(policy), programs, &arches, watch).run(only)
}

/// As [`compare`], with a program of somebody's who may want it to take long:
/// what has not been told after a moment's work is left incomplete.
pub(crate) fn compare_hostile(
    policy: &Policy,
    program: &Program,
    differ: impl FnMut(Witness) -> ControlFlow<()>,
) -> Proof {
    let arches: Vec<Arch> = policy.arches.iter().map(|r| r.arch).collect();
    let watch = Differences { policy, differ };
    let programs = std::slice::from_ref(program);
    let trial = Trial::new(Reference::Policy(policy), programs, &arches, watch);
    trial.within(HOSTILE_WORK).run(None)
}

/// Instructions that are run for [`compare_hostile`]: less than a second's
/// work. A runtime's program for a default container profile takes a tenth.
const HOSTILE_WORK: u64 = 1 << 27;

/// A value of one argument for each class into which conditions part it.
pub(crate) fn values_of(clauses: &[Clause], bits: u32, arg: u8) -> Vec<u64> {
    let mut words = Words::default();
    words.of_clauses(clauses, bits);
    words.values(usize::from(arg)).0
}

/// What programs are held against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reference<'a> {
    /// A policy.
    Policy(&'a Policy),
    /// Other programs, loaded together, the oldest first.
    Programs(&'a [Program]),
}

impl<'a> Reference<'a> {
    const fn programs(self) -> &'a [Program] {
        match self {
            Self::Policy(_) => &[],
            Self::Programs(programs) => programs,
        }
    }

    fn rules_for(self, audit: u32, nr: u32) -> Option<&'a ArchRules> {
        match self {
            Self::Policy(policy) => policy.rules_for(audit, nr),
            Self::Programs(_) => None,
        }
    }
}

/// Both answers to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The call: the first that was tried with these answers.
    pub call: Call,
    /// What the reference says.
    pub reference: Action,
    /// What the programs say.
    pub programs: Action,
}

/// Both answers to every number that was tried.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    /// For each number of these architectures, the pairs of answers that its
    /// arguments can lead to; without a name for an architecture, by token.
    pub pairs: BTreeMap<Place, Vec<Pair>>,
    /// What was tried.
    pub proof: Proof,
}

/// Tries every class of calls, those of `arches` by number, and lists all
/// pairs of answers, equal ones too. The programs are loaded together, the
/// oldest first; none of them allow everything.
#[must_use]
pub(crate) fn survey(reference: Reference<'_>, programs: &[Program], arches: &[Arch]) -> Survey {
    let mut pairs = BTreeMap::new();
    let proof = Trial::new(reference, programs, arches, &mut pairs).run(None);
    Survey { pairs, proof }
}

/// As [`survey`], for one call; arguments that are not given are varied.
#[must_use]
pub(crate) fn survey_call(
    reference: Reference<'_>,
    programs: &[Program],
    (arch, nr): (Arch, u32),
    given: [Option<u64>; 6],
) -> Survey {
    let mut pairs = BTreeMap::new();
    let trial = Trial::new(reference, programs, &[], &mut pairs);
    let proof = trial.run_one(arch, nr, given);
    Survey { pairs, proof }
}

/// The architectures for some of whose calls a program has another answer
/// than for those of no architecture at all: those it was made for.
#[must_use]
pub(crate) fn served(program: &Program) -> Vec<Arch> {
    let call = |audit, nr| Call {
        audit,
        nr,
        args: [0; 6],
    };
    let serves = |arch: &Arch| {
        let base = syscalls::base(*arch);
        (base..base + 600)
            .any(|nr| program.run(&call(arch.audit(), nr)).0 != program.run(&call(0, nr)).0)
    };
    Arch::ALL.iter().copied().filter(serves).collect()
}

/// Architecture, its token, and number.
pub(crate) type Place = (Option<Arch>, u32, u32);

struct Differences<'a, F> {
    policy: &'a Policy,
    differ: F,
}

impl<F: FnMut(Witness) -> ControlFlow<()>> Watch for Differences<'_, F> {
    fn answers(
        &mut self,
        arch: Option<Arch>,
        call: &Call,
        reference: u32,
        program: u32,
    ) -> ControlFlow<()> {
        if reference == program {
            return ControlFlow::Continue(());
        }
        (self.differ)(Witness {
            arch,
            call: *call,
            expected: self.policy.verdict(call),
            got: Action::from_ret(program),
        })
    }

    /// One call for a difference is enough.
    fn as_with(&mut self, _: Option<Arch>, _: &Call, _: Place) {}
}

impl Watch for &mut BTreeMap<Place, Vec<Pair>> {
    fn answers(
        &mut self,
        arch: Option<Arch>,
        call: &Call,
        reference: u32,
        programs: u32,
    ) -> ControlFlow<()> {
        let pair = Pair {
            call: *call,
            reference: Action::from_ret(reference),
            programs: Action::from_ret(programs),
        };
        let pairs = self.entry((arch, call.audit, call.nr)).or_default();
        let known = |p: &Pair| (p.reference, p.programs) == (pair.reference, pair.programs);
        if !pairs.iter().any(known) {
            pairs.push(pair);
        }
        ControlFlow::Continue(())
    }

    fn as_with(&mut self, arch: Option<Arch>, call: &Call, other: Place) {
        let mut pairs = self.get(&other).cloned().unwrap_or_default();
        for pair in &mut pairs {
            pair.call = Call {
                args: pair.call.args,
                ..*call
            };
        }
        self.insert((arch, call.audit, call.nr), pairs);
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod survey_tests;
