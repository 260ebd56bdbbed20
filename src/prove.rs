//! Holds a program against the reference semantics, call by call.
//!
//! A classic program only ever compares 32-bit words with constants, and so
//! does a policy, so the calls fall into classes between which neither can
//! tell the difference: the words at, just below and just above each constant
//! of either. One call of each class is tried: every number that either
//! distinguishes, and for a number whose arguments matter the product over
//! those arguments. Masks are tried with each of their bits flipped.
#![forbid(unsafe_code)]

use crate::bpf::{Insn, Program, Residue, offset, op};
use crate::policy::{Action, Arch, ArchRules, Call, Clause, Compare, Policy, Verdict, X32_BIT};
use crate::syscalls;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::ControlFlow;

/// Combinations of argument values tried for one outcome. Beyond that, the
/// product is thinned out; the default container profile needs 225.
const PRODUCT_LIMIT: usize = 1 << 16;
/// Calls tried in all before every further product is cut to
/// [`PRODUCT_LEAST`]: about a second's work.
const TRIAL_LIMIT: usize = 1 << 23;
const PRODUCT_LEAST: usize = 1 << 8;
/// States of a program that are looked at; ours have one per instruction.
const WALK_LIMIT: usize = 1 << 14;

/// A program was found to mean what the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Calls tried.
    pub points: usize,
    /// Whether every class of calls was tried; else a product of arguments
    /// was too large and was sampled.
    pub complete: bool,
}

/// A call on which program and policy differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub fn compare(
    policy: &Policy,
    program: &Program,
    only: Option<&BTreeSet<(Arch, u32)>>,
    differ: impl FnMut(Witness) -> ControlFlow<()>,
) -> Proof {
    let mut trial = Trial {
        policy,
        program,
        plain: program.is_plain(),
        only,
        differ,
        proof: Proof {
            points: 0,
            complete: has_classes(program),
        },
        tried: HashSet::new(),
        looks_back: HashMap::new(),
    };
    // Differences that stop the trial are with the caller.
    let _ = trial.run();
    trial.proof
}

struct Trial<'a, F> {
    policy: &'a Policy,
    program: &'a Program,
    plain: bool,
    only: Option<&'a BTreeSet<(Arch, u32)>>,
    differ: F,
    proof: Proof,
    /// Combinations of code and clauses whose product was tried already:
    /// calls that share both need it once.
    tried: HashSet<Class<'a>>,
    /// Whether code from an instruction on looks at the architecture or the
    /// number once more.
    looks_back: HashMap<usize, bool>,
}

/// What two calls have to share to stand for each other.
#[derive(PartialEq, Eq, Hash)]
struct Class<'a> {
    /// Where the program first looks at an argument.
    pc: usize,
    clauses: &'a [Clause],
    /// Width of arguments; `None` for an architecture that is not listed.
    bits: Option<u32>,
    /// Whether the call is newer than the profile.
    newer: bool,
    /// Architecture and number, where the program looks at them again.
    place: Option<(u32, u32)>,
}

impl<'a, F: FnMut(Witness) -> ControlFlow<()>> Trial<'a, F> {
    fn run(&mut self) -> ControlFlow<()> {
        if let Some(only) = self.only {
            for rules in &self.policy.arches {
                for (_, nr) in only.iter().filter(|(arch, _)| *arch == rules.arch) {
                    self.number(rules, *nr)?;
                }
            }
            return ControlFlow::Continue(());
        }
        let constants = self.program.instructions().iter();
        let constants: BTreeSet<u32> = constants.filter(|i| i.is_branch()).map(|i| i.k).collect();
        for rules in &self.policy.arches {
            for nr in numbers(rules, &constants) {
                self.number(rules, nr)?;
            }
        }
        for audit in foreign(self.policy, &constants) {
            for nr in [0, u32::MAX] {
                self.class(None, audit, nr)?;
            }
            if self.plain && self.program.ignores_number(audit) {
                continue;
            }
            for nr in edges_of(constants.iter().copied()) {
                self.class(None, audit, nr)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// All classes of calls with one number of a listed architecture's token.
    fn number(&mut self, rules: &'a ArchRules, nr: u32) -> ControlFlow<()> {
        let (policy, audit) = (self.policy, rules.arch.audit());
        match policy.rules_for(audit, nr) {
            // The other architecture that shares the token has its own turn.
            Some(r) if r.arch != rules.arch => ControlFlow::Continue(()),
            rules => self.class(rules, audit, nr),
        }
    }

    /// All classes of calls with one token and number; `rules` are those that
    /// apply, if any.
    fn class(&mut self, rules: Option<&'a ArchRules>, audit: u32, nr: u32) -> ControlFlow<()> {
        let call = call(audit, nr);
        let arch = rules.map(|r| r.arch);
        let clauses = rules.and_then(|r| r.calls.get(&nr));
        let clauses = clauses.map_or(&[][..], Vec::as_slice);
        let residue = match self.plain {
            true => self.program.residue(&call),
            false => Residue::At(0),
        };
        let conditional = clauses.iter().any(|c| !c.conditions.is_empty());
        let mut words = Words::default();
        words.of_clauses(clauses, arch.map_or(64, Arch::arg_bits));
        let start = match residue {
            Residue::Returned(_) if !conditional => return self.point(arch, call, 0),
            Residue::Returned(_) => 0,
            Residue::At(pc) => {
                // The first of the calls that share code and clauses stands
                // for all.
                let class = Class {
                    pc,
                    clauses,
                    bits: arch.map(Arch::arg_bits),
                    newer: rules.is_some_and(|r| r.newest.is_some_and(|n| nr > n)),
                    place: self.looks_back(pc).then_some((audit, nr)),
                };
                if self.plain && !self.tried.insert(class) {
                    return self.point(arch, call, pc);
                }
                words.of_program(self.program, pc, self.plain);
                pc
            }
        };
        self.product(arch, call, &words, start)
    }

    fn looks_back(&mut self, pc: usize) -> bool {
        let program = self.program;
        *self.looks_back.entry(pc).or_insert_with(|| {
            let mut found = false;
            walk(program, pc, |i, _, _| {
                found |= i.code == op::LD_ABS && i.k < offset::ARGS;
            });
            found
        })
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
        let expected = self.policy.verdict(&call);
        let (ret, _) = self.program.run_from(start, &call);
        if ret == expected.action.to_ret() {
            return ControlFlow::Continue(());
        }
        (self.differ)(Witness {
            arch,
            call,
            expected,
            got: Action::from_ret(ret),
        })
    }
}

/// A call whose arguments are all 0.
const fn call(audit: u32, nr: u32) -> Call {
    Call {
        audit,
        nr,
        args: [0; 6],
    }
}

/// Every number that the policy or the program can tell from its neighbours,
/// and all that exist.
pub(crate) fn numbers(rules: &ArchRules, constants: &BTreeSet<u32>) -> Vec<u32> {
    let base = syscalls::base(rules.arch);
    let named = rules.calls.keys().chain(&rules.newest).copied();
    let edges = constants.iter().copied().chain(named);
    let mut out = edges_of(edges);
    out.extend(base..base + 600);
    out.sort_unstable();
    out.dedup();
    out
}

/// Where numbers begin to differ in their two highest bits: runc asks for the
/// second of them, which marks x32, by itself.
const QUARTERS: [u32; 4] = [0, X32_BIT, 1 << 31, 3 << 30];

/// These numbers, the quarters and the largest number, with their neighbours.
fn edges_of(numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    let edges = numbers.chain(QUARTERS).chain([u32::MAX]);
    let mut out: Vec<u32> = edges
        .flat_map(|k| [k.wrapping_sub(1), k, k.wrapping_add(1)])
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// Tokens of architectures the policy does not list.
fn foreign(policy: &Policy, constants: &BTreeSet<u32>) -> BTreeSet<u32> {
    let known = Arch::ALL.iter().map(|a| a.audit());
    let edges = constants
        .iter()
        .flat_map(|&k| [k.wrapping_sub(1), k, k.wrapping_add(1)]);
    known
        .chain(edges)
        .chain([0, u32::MAX])
        .filter(|&audit| policy.arches.iter().all(|r| r.arch.audit() != audit))
        .collect()
}

/// Visits each instruction reachable from `start`, with the offset of the word
/// in the accumulator and the mask on it, as far as they are known. False if
/// there were too many states, which takes a program made for it.
fn walk(
    program: &Program,
    start: usize,
    mut visit: impl FnMut(&Insn, Option<u32>, Option<u32>),
) -> bool {
    let mut seen = HashSet::new();
    let mut stack = vec![(start, None, None)];
    while let Some((pc, word, mask)) = stack.pop() {
        if !seen.insert((pc, word, mask)) {
            continue;
        }
        if seen.len() > WALK_LIMIT {
            return false;
        }
        let i = &program.instructions()[pc];
        visit(i, word, mask);
        match i.code {
            op::LD_ABS => stack.push((pc + 1, Some(i.k), None)),
            op::RET_K | op::RET_A => {}
            op::JA => stack.push((pc + 1 + i.k as usize, word, mask)),
            op::AND_K => stack.push((pc + 1, word, Some(i.k & mask.unwrap_or(u32::MAX)))),
            _ if i.is_branch() => {
                stack.push((pc + 1 + usize::from(i.jt), word, mask));
                stack.push((pc + 1 + usize::from(i.jf), word, mask));
            }
            _ => stack.push((pc + 1, word, mask)),
        }
    }
    true
}

/// Whether the calls tried stand for all: not where a program calculates,
/// looks at the instruction pointer, or at single bits of an architecture's
/// token or a number other than those that [`QUARTERS`] tell apart. No
/// compiler's programs do.
fn has_classes(program: &Program) -> bool {
    let mut good = program.is_plain();
    let whole = walk(program, 0, |i, word, mask| {
        good &= match i.code {
            op::LD_ABS => matches!(i.k, offset::NR | offset::ARCH | offset::ARGS..),
            // The quarters are tried, in which these bits are the same.
            op::JSET_K if word == Some(offset::NR) && mask.is_none() => i.k % X32_BIT == 0,
            op::AND_K | op::JSET_K => word.is_none_or(|k| k >= offset::ARGS),
            _ => true,
        };
    });
    whole && good
}

/// Constants that the low and high word of each argument are compared with.
#[derive(Default)]
struct Words {
    low: [BTreeSet<u32>; 6],
    high: [BTreeSet<u32>; 6],
}

impl Words {
    /// A 32-bit architecture has no high words; that a program does not look
    /// at them is seen by trying two.
    fn of_clauses(&mut self, clauses: &[Clause], bits: u32) {
        for condition in clauses.iter().flat_map(|c| &c.conditions) {
            let arg = usize::from(condition.arg);
            match condition.compare {
                Compare::Ne(v)
                | Compare::Lt(v)
                | Compare::Le(v)
                | Compare::Eq(v)
                | Compare::Ge(v)
                | Compare::Gt(v) => {
                    edges(&mut self.low[arg], low(v));
                    if bits == 64 {
                        edges(&mut self.high[arg], high(v));
                    }
                }
                Compare::MaskedEq { mask, datum } => {
                    flips(&mut self.low[arg], low(mask), low(datum & mask));
                    if bits == 64 {
                        flips(&mut self.high[arg], high(mask), high(datum & mask));
                    }
                }
            }
        }
    }

    /// Constants of the code reachable from `start`, with the word each is
    /// compared with.
    fn of_program(&mut self, program: &Program, start: usize, plain: bool) {
        walk(program, start, |i, word, mask| {
            if i.is_branch() {
                let word = word.filter(|&k| k >= offset::ARGS);
                self.compared(i.code, i.k, word, mask, plain);
            }
        });
    }

    fn compared(&mut self, code: u16, k: u32, word: Option<u32>, mask: Option<u32>, plain: bool) {
        // With arithmetic in play the word is not certain: try it for all.
        let every = (offset::ARGS..offset::END).step_by(4);
        let words = if plain {
            word.into_iter().collect()
        } else {
            every.collect::<Vec<_>>()
        };
        for at in words {
            let arg = (at - offset::ARGS) as usize / 8;
            let is_low = (at % 8 == 0) == cfg!(target_endian = "little");
            let set = if is_low {
                &mut self.low[arg]
            } else {
                &mut self.high[arg]
            };
            match (mask, code) {
                (mask, op::JSET_K) => flips(set, k & mask.unwrap_or(u32::MAX), 0),
                (None, _) => edges(set, k),
                (Some(mask), op::JEQ_K) => flips(set, mask, k & mask),
                (Some(mask), _) => {
                    flips(set, mask, k & mask);
                    edges(set, k);
                }
            }
        }
    }

    /// The values of one argument to try: just 0 where nothing looks at it.
    fn values(&self, arg: usize) -> Vec<u64> {
        let (low, high) = (&self.low[arg], &self.high[arg]);
        if low.is_empty() && high.is_empty() {
            return vec![0];
        }
        let ends = |set: &BTreeSet<u32>| -> BTreeSet<u32> {
            set.iter().copied().chain([0, u32::MAX]).collect()
        };
        let (low, high) = (ends(low), ends(high));
        let pair = |&h: &u32| low.iter().map(move |&l| u64::from(h) << 32 | u64::from(l));
        high.iter().flat_map(pair).collect()
    }
}

fn edges(set: &mut BTreeSet<u32>, k: u32) {
    set.extend([k.wrapping_sub(1), k, k.wrapping_add(1)]);
}

/// The datum with and without the bits outside the mask, and with each bit of
/// the mask flipped.
fn flips(set: &mut BTreeSet<u32>, mask: u32, datum: u32) {
    set.extend([datum, datum | !mask]);
    let bits = (0..32).map(|b| 1u32 << b).filter(|b| mask & b != 0);
    set.extend(bits.map(|b| datum ^ b));
}

#[allow(clippy::cast_possible_truncation)]
const fn low(v: u64) -> u32 {
    v as u32
}

#[allow(clippy::cast_possible_truncation)]
const fn high(v: u64) -> u32 {
    (v >> 32) as u32
}

#[cfg(test)]
#[path = "prove_tests.rs"]
mod tests;
