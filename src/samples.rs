//! Calls at the edges of a profile's conditions: witnesses for what is said
//! about it. Each is held against [`Policy::verdict`] before it is shown.
#![forbid(unsafe_code)]

use crate::policy::{Action, Arch, ArchRules, Call, Clause, Compare, Condition, Policy, Reason};
use std::collections::BTreeSet;

/// The most calls that are made for one number.
const LIMIT: usize = 1 << 12;

/// A call without arguments.
#[must_use]
pub const fn bare(arch: Arch, nr: u32) -> Call {
    Call {
        audit: arch.audit(),
        nr,
        args: [0; 6],
    }
}

/// A call that meets all of these conditions; `None` where none can. Arguments
/// without a condition are 0.
#[must_use]
pub fn satisfying(arch: Arch, nr: u32, conditions: &[Condition]) -> Option<Call> {
    let mut call = bare(arch, nr);
    for arg in 0..6u8 {
        let on: Vec<Compare> = conditions
            .iter()
            .filter(|c| c.arg == arg)
            .map(|c| c.compare)
            .collect();
        let mut tried = on.iter().flat_map(|c| edges(*c)).chain([0]);
        let fits = |v: &u64| arch.arg(*v) == *v && on.iter().all(|c| c.holds(*v));
        call.args[usize::from(arg)] = tried.find(fits)?;
    }
    Some(call)
}

/// Calls of one number at the edges of all its clauses, the plainest first:
/// the product over the arguments that matter, cut to a few thousand.
#[must_use]
pub fn around(rules: &ArchRules, nr: u32) -> Vec<Call> {
    let clauses = rules.calls.get(&nr).map_or(&[][..], Vec::as_slice);
    let mut calls = vec![bare(rules.arch, nr)];
    for arg in 0..6u8 {
        let on = clauses.iter().flat_map(|c| &c.conditions);
        let compares = on.filter(|c| c.arg == arg).map(|c| c.compare);
        let values: BTreeSet<u64> = compares
            .flat_map(edges)
            .filter(|v| rules.arch.arg(*v) == *v)
            .collect();
        let before = calls.len();
        for value in values {
            for i in 0..before {
                if calls.len() >= LIMIT {
                    break;
                }
                let mut call = calls[i];
                call.args[usize::from(arg)] = value;
                calls.push(call);
            }
        }
    }
    calls
}

/// What calls of one number get: each action, with a call.
#[must_use]
pub fn outcomes(policy: &Policy, rules: &ArchRules, nr: u32) -> Vec<(Action, Call)> {
    let mut out: Vec<(Action, Call)> = Vec::new();
    for call in around(rules, nr) {
        let action = policy.verdict(&call).action;
        if out.iter().all(|o| o.0 != action) {
            out.push((action, call));
        }
    }
    out
}

/// A call that this clause decides, as the first of its number that matches.
#[must_use]
pub fn decided_by(rules: &ArchRules, nr: u32, clause: &Clause) -> Option<Call> {
    let clauses = rules.calls.get(&nr)?;
    let plain = satisfying(rules.arch, nr, &clause.conditions);
    let decides = |call: &Call| {
        let args = call.args.map(|raw| rules.arch.arg(raw));
        let first = clauses.iter().find(|c| c.matches(&args));
        first.is_some_and(|c| std::ptr::eq(c, clause))
    };
    let mut tried = plain.into_iter().chain(around(rules, nr));
    tried.find(decides)
}

/// A call that no clause of its number matches.
#[must_use]
pub fn unmatched(policy: &Policy, rules: &ArchRules, nr: u32) -> Option<Call> {
    let by_rule = |c: &Call| matches!(policy.verdict(c).reason, Reason::Rule(_));
    around(rules, nr).into_iter().find(|c| !by_rule(c))
}

/// Values at, below and above a constant; of a mask the datum, with each bit
/// of the mask flipped, and with what is outside of it. Those that hold come
/// first.
fn edges(compare: Compare) -> Vec<u64> {
    let around = |v: u64| vec![v, v.wrapping_sub(1), v.wrapping_add(1)];
    let mut values = match compare {
        Compare::Ne(v)
        | Compare::Lt(v)
        | Compare::Le(v)
        | Compare::Eq(v)
        | Compare::Ge(v)
        | Compare::Gt(v) => around(v),
        Compare::MaskedEq { mask, datum } => {
            let bits = (0..64).map(|b| 1u64 << b).filter(|b| mask & b != 0);
            let flipped = bits.map(|b| datum & mask ^ b);
            [datum & mask, datum & mask | !mask]
                .into_iter()
                .chain(flipped)
                .collect()
        }
    };
    values.sort_by_key(|&v| !compare.holds(v));
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Flags;

    const ARCH: Arch = Arch::X86_64;

    fn condition(arg: u8, compare: Compare) -> Condition {
        Condition { arg, compare }
    }

    fn clause(rule: usize, action: Action, conditions: Vec<Condition>) -> Clause {
        Clause {
            conditions,
            action,
            rule,
        }
    }

    fn policy(clauses: Vec<Clause>) -> Policy {
        Policy {
            default: Action::Errno(1),
            arches: vec![ArchRules {
                arch: ARCH,
                calls: [(8, clauses)].into(),
                newest: None,
            }],
            flags: Flags::default(),
            listener: None,
        }
    }

    #[test]
    fn a_call_meets_every_condition_that_can_be_met() {
        let masked = Compare::MaskedEq {
            mask: 0xff00,
            datum: 0x1234,
        };
        for compare in [
            Compare::Ne(0),
            Compare::Lt(1),
            Compare::Le(u64::MAX),
            Compare::Eq(7),
            Compare::Ge(u64::MAX),
            Compare::Gt(0xffff_ffff_ffff_fffe),
            masked,
        ] {
            let call = satisfying(ARCH, 8, &[condition(3, compare)]).unwrap();
            assert!(compare.holds(call.args[3]), "{compare:?}");
        }
        let never = [condition(0, Compare::Lt(0))];
        assert_eq!(satisfying(ARCH, 8, &never), None);
        let wide = [condition(0, Compare::Eq(1 << 32))];
        assert_eq!(satisfying(Arch::X86, 8, &wide), None);
    }

    #[test]
    fn each_outcome_has_a_call_and_each_deciding_clause_too() {
        let policy = policy(vec![
            clause(0, Action::Errno(5), vec![condition(1, Compare::Gt(5))]),
            clause(1, Action::Log, vec![condition(1, Compare::Gt(9))]),
            clause(2, Action::Allow, vec![condition(2, Compare::Eq(2))]),
        ]);
        let rules = &policy.arches[0];
        let actions: BTreeSet<Action> = outcomes(&policy, rules, 8).iter().map(|o| o.0).collect();
        let expected = [Action::Errno(1), Action::Errno(5), Action::Allow];
        assert_eq!(actions, expected.into());
        let clauses = &rules.calls[&8];
        let decides: Vec<bool> = clauses
            .iter()
            .map(|c| decided_by(rules, 8, c).is_some())
            .collect();
        assert_eq!(decides, [true, false, true]);
        assert!(unmatched(&policy, rules, 8).is_some());
    }
}
