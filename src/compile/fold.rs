//! Cuts conditions to what an architecture can tell apart.
#![forbid(unsafe_code)]

use crate::policy::{Clause, Compare, Condition};

/// What remains of a clause's conditions at some width.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Folded {
    /// They hold for every call.
    Always,
    /// They hold for none.
    Never,
    /// These decide, in order of the argument; all constants fit the width.
    If(Vec<Condition>),
}

/// Folds for arguments of `bits` (32 or 64): libseccomp drops the high half
/// of a constant on a 32-bit architecture, which changes what it says.
pub fn fold(clause: &Clause, bits: u32) -> Folded {
    let max = u64::MAX >> (64 - bits);
    let mut kept = Vec::with_capacity(clause.conditions.len());
    for condition in &clause.conditions {
        match constant(condition.compare, max) {
            Some(true) => {}
            Some(false) => return Folded::Never,
            None => kept.push(Condition {
                arg: condition.arg,
                compare: cut(condition.compare, max),
            }),
        }
    }
    kept.sort_unstable();
    match kept.is_empty() {
        true => Folded::Always,
        false => Folded::If(kept),
    }
}

/// Whether a comparison comes out the same for every argument up to `max`.
fn constant(compare: Compare, max: u64) -> Option<bool> {
    match compare {
        Compare::Ne(v) if v > max => Some(true),
        Compare::Eq(v) if v > max => Some(false),
        Compare::Lt(0) => Some(false),
        Compare::Lt(v) if v > max => Some(true),
        Compare::Le(v) if v >= max => Some(true),
        Compare::Ge(0) => Some(true),
        Compare::Ge(v) if v > max => Some(false),
        Compare::Gt(v) if v >= max => Some(false),
        Compare::MaskedEq { mask, datum } if datum & mask & !max != 0 => Some(false),
        Compare::MaskedEq { mask, .. } if mask & max == 0 => Some(true),
        _ => None,
    }
}

/// Drops the bits of a mask that no argument has.
fn cut(compare: Compare, max: u64) -> Compare {
    match compare {
        Compare::MaskedEq { mask, datum } => Compare::MaskedEq {
            mask: mask & max,
            datum: datum & mask & max,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Action;

    fn folded(bits: u32, compare: Compare) -> Folded {
        let clause = Clause {
            conditions: vec![Condition { arg: 1, compare }],
            action: Action::Allow,
            rule: 0,
        };
        fold(&clause, bits)
    }

    #[test]
    fn constants_beyond_32_bits_decide_at_once() {
        let big = 0x1_0000_0000;
        for (compare, outcome) in [
            (Compare::Lt(big), Folded::Always),
            (Compare::Le(big), Folded::Always),
            (Compare::Ne(big), Folded::Always),
            (Compare::Eq(big), Folded::Never),
            (Compare::Ge(big), Folded::Never),
            (Compare::Gt(0xffff_ffff), Folded::Never),
            (
                Compare::MaskedEq {
                    mask: big,
                    datum: 0,
                },
                Folded::Always,
            ),
            (
                Compare::MaskedEq {
                    mask: big,
                    datum: big,
                },
                Folded::Never,
            ),
        ] {
            assert_eq!(folded(32, compare), outcome, "{compare:?}");
            assert!(matches!(folded(64, compare), Folded::If(_)), "{compare:?}");
        }
    }

    #[test]
    fn agrees_with_the_comparison_it_folds() {
        let values = [
            0,
            1,
            5,
            0xffff_fffe,
            0xffff_ffff,
            0x1_0000_0000,
            0x1_0000_0005,
            u64::MAX,
        ];
        let makes: [fn(u64) -> Compare; 7] = [
            Compare::Ne,
            Compare::Lt,
            Compare::Le,
            Compare::Eq,
            Compare::Ge,
            Compare::Gt,
            |v| Compare::MaskedEq {
                mask: v,
                datum: 0x1_0000_0001,
            },
        ];
        for bits in [32, 64] {
            for compare in makes.iter().flat_map(|m| values.map(m)) {
                for arg in values.map(|v| v & (u64::MAX >> (64 - bits))) {
                    let holds = match folded(bits, compare) {
                        Folded::Always => true,
                        Folded::Never => false,
                        Folded::If(c) => c.iter().all(|c| c.compare.holds(arg)),
                    };
                    assert_eq!(holds, compare.holds(arg), "{compare:?} {arg:#x} {bits}");
                }
            }
        }
    }
}
