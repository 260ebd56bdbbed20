//! Tries one call of each class.
#![forbid(unsafe_code)]

use super::classes::{Words, edges_of, has_classes, walk};
use super::{Place, Proof, Reference};
use crate::bpf::{Program, Residue, offset, op};
use crate::policy::{Action, Arch, ArchRules, Call, Clause};
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
    /// Loaded together, the oldest first.
    programs: &'a [Program],
    /// Values of arguments that are not to be varied.
    given: [Option<u64>; 6],
    /// Those whose calls are told apart by number.
    arches: &'a [Arch],
    plain: bool,
    watch: W,
    /// How many instructions may still be run before the trial is given up.
    work: u64,
    proof: Proof,
    /// Combinations of code and clauses whose product was tried already, and
    /// with which call: calls that share both need it once.
    tried: HashMap<Class<'a>, Place>,
    /// Whether code from an instruction on looks at the architecture or the
    /// number once more; programs by their place in [`Trial::all_programs`].
    looks_back: HashMap<(usize, usize), bool>,
}

/// What two calls have to share to stand for each other.
#[derive(PartialEq, Eq, Hash)]
struct Class<'a> {
    /// Where each program first looks at an argument.
    stands: Vec<Residue>,
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
        programs: &'a [Program],
        arches: &'a [Arch],
        watch: W,
    ) -> Self {
        let mut all = programs.iter().chain(reference.programs());
        Self {
            reference,
            programs,
            given: [None; 6],
            arches,
            plain: all.clone().all(Program::is_plain),
            watch,
            work: u64::MAX,
            proof: Proof {
                points: 0,
                complete: all.all(has_classes),
            },
            tried: HashMap::new(),
            looks_back: HashMap::new(),
        }
    }

    /// With a limit on the instructions that are run: for a program of
    /// somebody's who may want it to take long.
    pub(super) fn within(mut self, work: u64) -> Self {
        self.work = work;
        self
    }

    /// All that are run: the programs, then those of the reference.
    fn all_programs(&self) -> impl Iterator<Item = &'a Program> + use<'a, W> {
        self.programs.iter().chain(self.reference.programs())
    }

    /// Tries one number of one architecture, with these arguments where given.
    pub(super) fn run_one(mut self, arch: Arch, nr: u32, given: [Option<u64>; 6]) -> Proof {
        self.given = given;
        let _ = self.class(Some(arch), arch.audit(), nr);
        self.proof
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
            if self.plain && self.all_programs().all(|p| p.ignores_number(audit)) {
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
        let insns = self.all_programs().flat_map(Program::instructions);
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
        let call = Call {
            audit,
            nr,
            args: self.given.map(Option::unwrap_or_default),
        };
        let rules = self.reference.rules_for(audit, nr);
        let clauses = rules.and_then(|r| r.calls.get(&nr));
        let clauses = clauses.map_or(&[][..], Vec::as_slice);
        let stands: Vec<Residue> = self
            .all_programs()
            .map(|program| match self.plain {
                true => program.residue(&call),
                false => Residue::At(0),
            })
            .collect();
        let starts: Vec<usize> = stands.iter().map(|r| r.start()).collect();
        let decided = stands.iter().all(|r| matches!(r, Residue::Returned(_)));
        if decided && clauses.iter().all(|c| c.conditions.is_empty()) {
            return self.point(arch, call, &starts);
        }
        if self.plain {
            let looks_back = self.looks_back(&stands);
            // The first of the calls that share code and clauses stands for
            // all.
            let class = Class {
                stands: stands.clone(),
                clauses,
                bits: arch.map(Arch::arg_bits),
                newer: rules.is_some_and(|r| r.newest.is_some_and(|n| nr > n)),
                place: looks_back.then_some((audit, nr)),
            };
            match self.tried.entry(class) {
                Entry::Occupied(tried) => {
                    self.watch.as_with(arch, &call, *tried.get());
                    return self.point(arch, call, &starts);
                }
                Entry::Vacant(untried) => untried.insert((arch, audit, nr)),
            };
        }
        let mut words = Words::default();
        words.of_clauses(clauses, arch.map_or(64, Arch::arg_bits));
        for (program, residue) in self.all_programs().zip(&stands) {
            if let Residue::At(pc) = residue {
                words.of_program(program, *pc, self.plain);
            }
        }
        self.product(arch, call, &words, &starts)
    }

    fn looks_back(&mut self, stands: &[Residue]) -> bool {
        let mut found = false;
        for (index, (program, residue)) in self.all_programs().zip(stands).enumerate() {
            if let Residue::At(pc) = *residue {
                let known = self.looks_back.entry((index, pc));
                found |= *known.or_insert_with(|| looks_back(program, pc));
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
        starts: &[usize],
    ) -> ControlFlow<()> {
        let values = |arg: usize| match self.given[arg] {
            Some(value) => (vec![value], true),
            None => words.values(arg),
        };
        let (values, whole): (Vec<Vec<u64>>, Vec<bool>) = (0..6).map(values).unzip();
        self.proof.complete &= whole.into_iter().all(|whole| whole);
        let left = TRIAL_LIMIT.saturating_sub(self.proof.points);
        let limit = left.clamp(PRODUCT_LEAST, PRODUCT_LIMIT);
        let size = values
            .iter()
            .try_fold(1usize, |n, v| n.checked_mul(v.len()));
        if size.is_none_or(|n| n > limit) {
            self.proof.complete = false;
            return self.sampled(arch, call, &values, starts, limit);
        }
        let mut at = [0usize; 6];
        loop {
            for arg in 0..6 {
                call.args[arg] = values[arg][at[arg]];
            }
            self.point(arch, call, starts)?;
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
        starts: &[usize],
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
            self.point(arch, call, starts)?;
        }
        ControlFlow::Continue(())
    }

    /// One call; `starts` is where the programs stand with this number.
    fn point(&mut self, arch: Option<Arch>, call: Call, starts: &[usize]) -> ControlFlow<()> {
        self.proof.points += 1;
        let (starts, others) = starts.split_at(self.programs.len());
        let (programs, mut work) = strictest(self.programs, starts, &call);
        let reference = match self.reference {
            Reference::Policy(policy) => policy.verdict(&call).action.to_ret(),
            Reference::Programs(programs) => {
                let (answer, more) = strictest(programs, others, &call);
                work += more;
                answer
            }
        };
        let Some(left) = self.work.checked_sub(work) else {
            self.proof.complete = false;
            return ControlFlow::Break(());
        };
        self.work = left;
        self.watch.answers(arch, &call, reference, programs)
    }
}

/// What the kernel makes of several filters, the oldest first: the strictest
/// answer, of equally strict ones the newest filter's. ALLOW where there is
/// none. And how many instructions that took.
fn strictest(programs: &[Program], starts: &[usize], call: &Call) -> (u32, u64) {
    let mut work = 0;
    let run = |(program, start): (&Program, &usize)| {
        let (answer, instructions) = program.run_from(*start, call);
        work += instructions as u64;
        answer
    };
    let answers = programs.iter().zip(starts).map(run).rev();
    let strictest = answers
        .min_by_key(|ret| Action::from_ret(*ret).permissiveness())
        .unwrap_or(Action::Allow.to_ret());
    (strictest, work)
}

/// Whether code from an instruction on looks at the architecture or the number.
fn looks_back(program: &Program, pc: usize) -> bool {
    let mut found = false;
    walk(program, pc, |i, _, _| {
        found |= i.code == op::LD_ABS && i.k < offset::ARGS;
    });
    found
}

/// Every number that the policy or a program can tell from its neighbours,
/// and all that exist.
pub(crate) fn numbers(
    arch: Arch,
    rules: Option<&ArchRules>,
    constants: &BTreeSet<u32>,
) -> Vec<u32> {
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
