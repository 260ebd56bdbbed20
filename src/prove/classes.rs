//! The classes into which constants part the calls: which numbers and which
//! words of arguments to try.
#![forbid(unsafe_code)]

use crate::bpf::{Insn, Program, offset, op};
use crate::policy::{Clause, Compare, X32_BIT};
use std::collections::{BTreeSet, HashSet};

/// States of a program that are looked at; ours have one per instruction.
const WALK_LIMIT: usize = 1 << 14;

/// Where numbers begin to differ in their two highest bits: runc asks for the
/// second of them, which marks x32, by itself.
const QUARTERS: [u32; 4] = [0, X32_BIT, 1 << 31, 3 << 30];

/// These numbers, the quarters and the largest number, with their neighbours.
pub(super) fn edges_of(numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    let edges = numbers.chain(QUARTERS).chain([u32::MAX]);
    let mut out: Vec<u32> = edges
        .flat_map(|k| [k.wrapping_sub(1), k, k.wrapping_add(1)])
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// Visits each instruction reachable from `start`, with the offset of the word
/// in the accumulator and the mask on it, as far as they are known. False if
/// there were too many states, which takes a program made for it.
pub(super) fn walk(
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
pub(super) fn has_classes(program: &Program) -> bool {
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
pub(super) struct Words {
    low: [BTreeSet<u32>; 6],
    high: [BTreeSet<u32>; 6],
}

impl Words {
    /// A 32-bit architecture has no high words; that a program does not look
    /// at them is seen by trying two.
    pub(super) fn of_clauses(&mut self, clauses: &[Clause], bits: u32) {
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
    pub(super) fn of_program(&mut self, program: &Program, start: usize, plain: bool) {
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
    pub(super) fn values(&self, arg: usize) -> Vec<u64> {
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
pub(super) const fn low(v: u64) -> u32 {
    v as u32
}

#[allow(clippy::cast_possible_truncation)]
const fn high(v: u64) -> u32 {
    (v >> 32) as u32
}
