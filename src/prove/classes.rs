//! The classes into which constants part the calls: which numbers and which
//! words of arguments to try.
#![forbid(unsafe_code)]

use crate::bpf::{Insn, Program, offset, op};
use crate::policy::{Clause, Compare, X32_BIT};
use std::collections::{BTreeMap, BTreeSet, HashSet};

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
            // A bound on what is left of a word has no classes here.
            op::JGT_K | op::JGE_K => mask.is_none(),
            _ => true,
        };
    });
    whole && good
}

/// What one word is compared with.
#[derive(Default)]
struct Word {
    /// Values at and beside each constant.
    near: BTreeSet<u32>,
    /// Constants that the whole word is compared with.
    bounds: BTreeSet<u32>,
    /// Masks, with what is left by them compared with: neither none of the
    /// bits nor all.
    masks: BTreeSet<(u32, u32)>,
}

/// Values of one word that are tried because of several masks, or of masks and
/// bounds, at most.
const COMBINED_LIMIT: usize = 1 << 12;

/// Constants that the low and high word of each argument are compared with.
#[derive(Default)]
pub(super) struct Words {
    low: [Word; 6],
    high: [Word; 6],
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
                // Told incomplete by `has_classes`.
                (Some(mask), _) => {
                    flips(set, mask, k & mask);
                    edges(set, k);
                }
            }
        }
    }

    /// The values of one argument to try: just 0 where nothing looks at it.
    /// And whether these are all that can be told apart.
    pub(super) fn values(&self, arg: usize) -> (Vec<u64>, bool) {
        let (low, high) = (&self.low[arg], &self.high[arg]);
        if low.near.is_empty() && high.near.is_empty() {
            return (vec![0], true);
        }
        let ((low, low_whole), (high, high_whole)) = (low.values(), high.values());
        let pair = |&h: &u32| low.iter().map(move |&l| u64::from(h) << 32 | u64::from(l));
        let all = high.iter().flat_map(pair).collect();
        (all, low_whole && high_whole)
    }
}

impl Word {
    fn values(&self) -> (BTreeSet<u32>, bool) {
        let near = self.near.iter().copied().chain([0, u32::MAX]);
        match self.combined() {
            Some(combined) => (near.chain(combined).collect(), true),
            None => (near.collect(), false),
        }
    }

    /// A value for each combination of what several masks leave, between each
    /// two bounds; `None` where these are too many.
    fn combined(&self) -> Option<BTreeSet<u32>> {
        let masks: BTreeSet<u32> = self.masks.iter().map(|(mask, _)| *mask).collect();
        if masks.is_empty() || (masks.len() == 1 && self.bounds.is_empty()) {
            // The values beside each constant do.
            return Some(BTreeSet::new());
        }
        let union = masks.iter().fold(0, |all, mask| all | mask);
        // Bits that the same masks have stand and fall together.
        let mut groups: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
        for bit in (0..32).map(|b| 1u32 << b).filter(|bit| union & bit != 0) {
            let of = masks.iter().copied().filter(|mask| mask & bit != 0);
            *groups.entry(of.collect()).or_default() |= bit;
        }
        let groups: Vec<(u32, BTreeSet<u32>)> = groups
            .into_values()
            .map(|group| {
                let has = self.masks.iter().filter(|(mask, _)| mask & group != 0);
                (group, has.map(|(_, datum)| datum & group).collect())
            })
            .collect();
        let mut starts: BTreeSet<u32> = [0].into();
        for &bound in &self.bounds {
            starts.extend([Some(bound), bound.checked_add(1)].into_iter().flatten());
        }
        let classes = groups
            .iter()
            .try_fold(starts.len(), |n, (_, data)| n.checked_mul(data.len() + 1));
        if classes.is_none_or(|n| n > COMBINED_LIMIT) {
            return None;
        }
        // One value for each class: what each group is, in which interval.
        let mut out: BTreeMap<(u32, Class), u32> = BTreeMap::new();
        let ends = starts
            .iter()
            .skip(1)
            .map(|start| start - 1)
            .chain([u32::MAX]);
        for (&start, end) in starts.iter().zip(ends) {
            for (first, free) in blocks(start, end) {
                for (class, value) in combinations(&groups, first, free) {
                    out.entry((start, class)).or_insert(value);
                }
            }
        }
        Some(out.into_values().collect())
    }
}

/// For each group of bits which of its constants it is, or none of them.
type Class = Vec<Option<u32>>;

/// An interval as blocks of values that share all but their lowest bits: the
/// first of each, and the bits that are free in it.
fn blocks(start: u32, end: u32) -> Vec<(u32, u32)> {
    let mut out = Vec::new();
    let mut at = u64::from(start);
    while at <= u64::from(end) {
        let mut size = match at {
            0 => 1 << 32,
            _ => at & at.wrapping_neg(),
        };
        while at + size - 1 > u64::from(end) {
            size /= 2;
        }
        // Both are below 2^32: the block lies in the interval.
        out.push((low(at), low(size - 1)));
        at += size;
    }
    out
}

/// The classes that there are in one block, each with a value of it.
fn combinations(groups: &[(u32, BTreeSet<u32>)], first: u32, free: u32) -> Vec<(Class, u32)> {
    let mut all = vec![(Class::new(), first)];
    for (group, data) in groups {
        let fixed = first & group & !free;
        let free = group & free;
        let here = data.iter().copied().filter(|datum| datum & !free == fixed);
        let mut options: Vec<(Option<u32>, u32)> = here.map(|d| (Some(d), d & free)).collect();
        options.extend(other_than(data, fixed, free).map(|value| (None, value)));
        let with = |(class, value): (Class, u32)| {
            options.iter().map(move |(which, bits)| {
                let class = class.iter().copied().chain([*which]).collect();
                (class, value | bits)
            })
        };
        all = all.into_iter().flat_map(with).collect();
    }
    all
}

/// Some value of the free bits that makes none of those together with the
/// fixed ones, if there is one.
fn other_than(data: &BTreeSet<u32>, fixed: u32, free: u32) -> Option<u32> {
    // Counts through the bits' values, from 0.
    let next = |value: &u32| Some(value.wrapping_sub(free) & free);
    let mut all = std::iter::successors(Some(0), next).take(data.len() + 1);
    all.find(|value| !data.contains(&(fixed | value)))
}

fn edges(word: &mut Word, k: u32) {
    word.near.extend([k.wrapping_sub(1), k, k.wrapping_add(1)]);
    word.bounds.insert(k);
}

/// The datum with and without the bits outside the mask, and with each bit of
/// the mask flipped.
fn flips(word: &mut Word, mask: u32, datum: u32) {
    word.near.extend([datum, datum | !mask]);
    let bits = (0..32).map(|b| 1u32 << b).filter(|b| mask & b != 0);
    word.near.extend(bits.map(|b| datum ^ b));
    match mask {
        0 => {}
        u32::MAX => _ = word.bounds.insert(datum),
        _ => _ = word.masks.insert((mask, datum & mask)),
    }
}

#[allow(clippy::cast_possible_truncation)]
pub(super) const fn low(v: u64) -> u32 {
    v as u32
}

#[allow(clippy::cast_possible_truncation)]
const fn high(v: u64) -> u32 {
    (v >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way in which these tests can answer, for all values of six bits.
    fn told_apart(masks: &[(u32, u32)], bounds: &[u32]) -> bool {
        let answers = |value: u32| -> Vec<bool> {
            let masked = masks.iter().map(|(mask, datum)| value & mask == *datum);
            let whole = bounds.iter().flat_map(|b| [value == *b, value > *b]);
            masked.chain(whole).collect()
        };
        let mut word = Word::default();
        masks
            .iter()
            .for_each(|(mask, datum)| flips(&mut word, *mask, *datum));
        bounds.iter().for_each(|bound| edges(&mut word, *bound));
        let (values, whole) = word.values();
        assert!(whole);
        let tried: BTreeSet<Vec<bool>> = values.into_iter().map(answers).collect();
        (0..256).all(|value| tried.contains(&answers(value)))
    }

    #[test]
    fn several_masks_and_bounds_on_one_word_are_told_apart() {
        assert!(told_apart(&[(4, 4), (1, 0), (2, 2)], &[]));
        assert!(told_apart(&[(6, 2)], &[100, 40]));
        // Small words stand for all; a fixed sequence of pseudo-random ones.
        let mut state = 1u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            (state >> 16) % below
        };
        for _ in 0..2000 {
            let masks: Vec<(u32, u32)> = (0..next(4))
                .map(|_| {
                    let mask = 1 + next(63);
                    (mask, next(64) & mask)
                })
                .collect();
            let bounds: Vec<u32> = (0..next(4)).map(|_| next(64)).collect();
            assert!(told_apart(&masks, &bounds), "{masks:?} {bounds:?}");
        }
    }

    #[test]
    fn blocks_are_the_whole_interval_and_nothing_else() {
        for start in 0..40 {
            for end in start..40 {
                let values = blocks(start, end)
                    .into_iter()
                    .flat_map(|(first, free)| first..=first + free);
                assert!(values.eq(start..=end), "{start} {end}");
            }
        }
        assert_eq!(blocks(0, u32::MAX), [(0, u32::MAX)]);
        assert_eq!(blocks(u32::MAX, u32::MAX), [(u32::MAX, 0)]);
        assert_eq!(blocks(1, u32::MAX).len(), 32);
    }
}
