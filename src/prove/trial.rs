//! Tries one call of each class.
#![forbid(unsafe_code)]

use super::classes::{Words, edges_of, has_classes, walk};
use super::{Place, Proof, Reference};
use crate::bpf::{Program, Residue, offset, op};
use crate::policy::{Arch, ArchRules, Call, Clause};
use crate::syscalls;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

/// Combinations of argument values tried for one outcome. Beyond that, the
/// product is thinned out; the default container profile needs 225.
pub(super) const PRODUCT_LIMIT: usize = 1 << 16;
/// Calls tried in all before every further product is cut to
/// [`PRODUCT_LEAST`]: about a second's work.
const TRIAL_LIMIT: usize = 1 << 23;
const PRODUCT_LEAST: usize = 1 << 8;

/// Who hears of what was tried.
pub(super) trait Watch {
    /// Both answers to one call.
    fn answers(
        &mut self,
        arch: Option<Arch>,
        call: &Call,
        reference: u32,
        program: u32,
    ) -> ControlFlow<()>;

    /// The arguments of this call lead to the same answers as those of
    /// another number, which were tried.
    fn as_with(&mut self, arch: Option<Arch>, call: &Call, other: Place);
}

pub(super) struct Trial<'a, W> {
    reference: Reference<'a>,
    program: &'a Program,
    /// Those whose calls are told apart by number.
    arches: &'a [Arch],
    plain: bool,
    watch: W,
    proof: Proof,
    /// Combinations of code and clauses whose product was tried already, and
    /// with which call: calls that share both need it once.
    tried: HashMap<Class<'a>, Place>,
    /// Whether code from an instruction on looks at the architecture or the
    /// number once more: of the program, and of the reference.
    looks_back: [HashMap<usize, bool>; 2],
}

/// What two calls have to share to stand for each other.
#[derive(PartialEq, Eq, Hash)]
struct Class<'a> {
    /// Where the program first looks at an argument.
    program: Residue,
    /// Where the reference does, if it is a program.
    reference: Option<Residue>,
    clauses: &'a [Clause],
    /// Width of arguments; `None` for an architecture that is not listed.
    bits: Option<u32>,
    /// Whether the call is newer than the profile.
    newer: bool,
    /// Architecture and number, where a program looks at them again.
    place: Option<(u32, u32)>,
}

impl<'a, W: Watch> Trial<'a, W> {
    pub(super) fn new(
        reference: Reference<'a>,
        program: &'a Program,
        arches: &'a [Arch],
        watch: W,
    ) -> Self {
        let other = reference.program();
        Self {
            reference,
            program,
            arches,
            plain: program.is_plain() && other.is_none_or(Program::is_plain),
            watch,
            proof: Proof {
                points: 0,
                complete: has_classes(program) && other.is_none_or(has_classes),
            },
            tried: HashMap::new(),
            looks_back: [HashMap::new(), HashMap::new()],
        }
    }

    pub(super) fn run(mut self, only: Option<&BTreeSet<(Arch, u32)>>) -> Proof {
        // Whoever watches knows of what has stopped the trial.
        let _ = match only {
            Some(only) => self.only(only),
            None => self.all(),
        };
        self.proof
    }

    fn only(&mut self, only: &BTreeSet<(Arch, u32)>) -> ControlFlow<()> {
        for &arch in self.arches {
            for (_, nr) in only.iter().filter(|(a, _)| *a == arch) {
                self.number(arch, *nr)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn all(&mut self) -> ControlFlow<()> {
        let constants = self.constants();
        for &arch in self.arches {
            let rules = self.reference.rules_for(arch.audit(), syscalls::base(arch));
            for nr in numbers(arch, rules, &constants) {
                self.number(arch, nr)?;
            }
        }
        for audit in foreign(self.arches, &constants) {
            for nr in [0, u32::MAX] {
                self.class(None, audit, nr)?;
            }
            let mut programs = [Some(self.program), self.reference.program()]
                .into_iter()
                .flatten();
            if self.plain && programs.all(|p| p.ignores_number(audit)) {
                continue;
            }
            for nr in edges_of(constants.iter().copied()) {
                self.class(None, audit, nr)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// What the programs compare with.
    fn constants(&self) -> BTreeSet<u32> {
        let other = self.reference.program();
        let insns = [Some(self.program), other]
            .into_iter()
            .flatten()
            .flat_map(Program::instructions);
        insns.filter(|i| i.is_branch()).map(|i| i.k).collect()
    }

    /// All classes of calls with one number of an architecture's token.
    fn number(&mut self, arch: Arch, nr: u32) -> ControlFlow<()> {
        match self.arches.iter().find(|a| a.owns(arch.audit(), nr)) {
            // The other architecture that shares the token has its own turn.
            Some(&owner) if owner != arch => ControlFlow::Continue(()),
            owner => self.class(owner.copied(), arch.audit(), nr),
        }
    }

    /// All classes of calls with one token and number.
    fn class(&mut self, arch: Option<Arch>, audit: u32, nr: u32) -> ControlFlow<()> {
        let call = call(audit, nr);
        let rules = self.reference.rules_for(audit, nr);
        let clauses = rules.and_then(|r| r.calls.get(&nr));
        let clauses = clauses.map_or(&[][..], Vec::as_slice);
        let stands = |program: &Program| match self.plain {
            true => program.residue(&call),
            false => Residue::At(0),
        };
        let (program, reference) = (stands(self.program), self.reference.program().map(stands));
        let has_returned = |r: &Residue| matches!(r, Residue::Returned(_));
        let decided = has_returned(&program) && reference.as_ref().is_none_or(has_returned);
        if decided && clauses.iter().all(|c| c.conditions.is_empty()) {
            return self.point(arch, call, 0);
        }
        let start = match program {
            Residue::At(pc) => pc,
            Residue::Returned(_) => 0,
        };
        if self.plain {
            let looks_back = self.looks_back(program, reference);
            // The first of the calls that share code and clauses stands for
            // all.
            let class = Class {
                program,
                reference,
                clauses,
                bits: arch.map(Arch::arg_bits),
                newer: rules.is_some_and(|r| r.newest.is_some_and(|n| nr > n)),
                place: looks_back.then_some((audit, nr)),
            };
            match self.tried.entry(class) {
                Entry::Occupied(tried) => {
                    self.watch.as_with(arch, &call, *tried.get());
                    return self.point(arch, call, start);
                }
                Entry::Vacant(untried) => untried.insert((arch, audit, nr)),
            };
        }
        let mut words = Words::default();
        words.of_clauses(clauses, arch.map_or(64, Arch::arg_bits));
        if let Residue::At(pc) = program {
            words.of_program(self.program, pc, self.plain);
        }
        if let (Some(other), Some(Residue::At(pc))) = (self.reference.program(), reference) {
            words.of_program(other, pc, self.plain);
        }
        self.product(arch, call, &words, start)
    }

    fn looks_back(&mut self, program: Residue, reference: Option<Residue>) -> bool {
        let other = self.reference.program().zip(reference);
        let stands = [Some((self.program, program)), other];
        let mut found = false;
        for (known, stands) in self.looks_back.iter_mut().zip(stands) {
            if let Some((program, Residue::At(pc))) = stands {
                found |= *known.entry(pc).or_insert_with(|| looks_back(program, pc));
            }
        }
        found
    }

    /// The product of the boundary values of all arguments that matter.
    fn product(
        &mut self,
        arch: Option<Arch>,
        mut call: Call,
        words: &Words,
        start: usize,
    ) -> ControlFlow<()> {
        let values: Vec<Vec<u64>> = (0..6).map(|arg| words.values(arg)).collect();
        let left = TRIAL_LIMIT.saturating_sub(self.proof.points);
        let limit = left.clamp(PRODUCT_LEAST, PRODUCT_LIMIT);
        let size = values
            .iter()
            .try_fold(1usize, |n, v| n.checked_mul(v.len()));
        if size.is_none_or(|n| n > limit) {
            self.proof.complete = false;
            return self.sampled(arch, call, &values, start, limit);
        }
        let mut at = [0usize; 6];
        loop {
            for arg in 0..6 {
                call.args[arg] = values[arg][at[arg]];
            }
            self.point(arch, call, start)?;
            // Count up, the first argument fastest.
            let Some(arg) = (0..6).find(|&arg| at[arg] + 1 < values[arg].len()) else {
                return ControlFlow::Continue(());
            };
            at[arg] += 1;
            at[..arg].fill(0);
        }
    }

    /// Too many combinations: a fixed sequence of pseudo-random ones, the
    /// same in every run.
    fn sampled(
        &mut self,
        arch: Option<Arch>,
        mut call: Call,
        values: &[Vec<u64>],
        start: usize,
        tries: usize,
    ) -> ControlFlow<()> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ u64::from(call.nr);
        for _ in 0..tries {
            for (arg, values) in call.args.iter_mut().zip(values) {
                // xorshift64 (Marsaglia 2003).
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let pick = (state >> 32) as usize % values.len();
                *arg = values[pick];
            }
            self.point(arch, call, start)?;
        }
        ControlFlow::Continue(())
    }

    /// One call; `start` is where the program stands with this number.
    fn point(&mut self, arch: Option<Arch>, call: Call, start: usize) -> ControlFlow<()> {
        self.proof.points += 1;
        let reference = self.reference.answer(&call);
        let (program, _) = self.program.run_from(start, &call);
        self.watch.answers(arch, &call, reference, program)
    }
}

/// Whether code from an instruction on looks at the architecture or the number.
fn looks_back(program: &Program, pc: usize) -> bool {
    let mut found = false;
    walk(program, pc, |i, _, _| {
        found |= i.code == op::LD_ABS && i.k < offset::ARGS;
    });
    found
}

/// A call whose arguments are all 0.
const fn call(audit: u32, nr: u32) -> Call {
    Call {
        audit,
        nr,
        args: [0; 6],
    }
}

/// Every number that the policy or a program can tell from its neighbours,
/// and all that exist.
fn numbers(arch: Arch, rules: Option<&ArchRules>, constants: &BTreeSet<u32>) -> Vec<u32> {
    let base = syscalls::base(arch);
    let named = rules.iter().flat_map(|r| r.calls.keys().chain(&r.newest));
    let mut out = edges_of(constants.iter().chain(named).copied());
    out.extend(base..base + 600);
    out.sort_unstable();
    out.dedup();
    out
}

/// Tokens of all other architectures.
fn foreign(arches: &[Arch], constants: &BTreeSet<u32>) -> BTreeSet<u32> {
    let known = Arch::ALL.iter().map(|a| a.audit());
    let edges = constants
        .iter()
        .flat_map(|&k| [k.wrapping_sub(1), k, k.wrapping_add(1)]);
    known
        .chain(edges)
        .chain([0, u32::MAX])
        .filter(|&audit| arches.iter().all(|a| a.audit() != audit))
        .collect()
}
