//! Calls at the edges of a profile's conditions: witnesses for what is said
//! about it. Each is held against [`Policy::verdict`] before it is shown.
#![forbid(unsafe_code)]

use crate::policy::{Action, Arch, ArchRules, Call, Clause, Compare, Condition, Policy};
use crate::prove;
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

/// Calls of one number at the edges of all its clauses, the plainest first,
/// each with the clause that decides it: the product over the arguments that
/// matter, cut to a few thousand, and one for each clause.
#[derive(Clone, Debug)]
pub struct Samples {
    calls: Vec<(Call, Option<usize>)>,
}

impl Samples {
    /// All of one number.
    #[must_use]
    pub fn new(rules: &ArchRules, nr: u32) -> Self {
        Self::with_given(rules, nr, &[None; 6])
    }

    /// Those with these arguments; `None` may be anything.
    #[must_use]
    pub fn with_given(rules: &ArchRules, nr: u32, given: &[Option<u64>; 6]) -> Self {
        let clauses = rules.calls.get(&nr).map_or(&[][..], Vec::as_slice);
        let with_given = |mut call: Call| {
            for (arg, given) in call.args.iter_mut().zip(given) {
                *arg = given.unwrap_or(*arg);
            }
            call
        };
        let meeting = clauses
            .iter()
            .filter_map(|c| satisfying(rules.arch, nr, &c.conditions))
            .map(with_given);
        let mut calls = product(rules.arch, nr, clauses, given);
        calls.extend(meeting);
        let decided = |call: Call| {
            let args = call.args.map(|raw| rules.arch.arg(raw));
            (call, clauses.iter().position(|c| c.matches(&args)))
        };
        Self {
            calls: calls.into_iter().map(decided).collect(),
        }
    }

    /// Each call, with the index of the first clause of its number that
    /// matches.
    pub fn iter(&self) -> impl Iterator<Item = (Call, Option<usize>)> {
        self.calls.iter().copied()
    }

    /// A call that this clause decides; that none does for `None`.
    #[must_use]
    pub fn decided_by(&self, clause: Option<usize>) -> Option<Call> {
        self.iter().find(|c| c.1 == clause).map(|c| c.0)
    }

    /// What the calls get: each action, with a call.
    #[must_use]
    pub fn outcomes(&self, policy: &Policy) -> Vec<(Action, Call)> {
        let mut seen = BTreeSet::new();
        let mut out: Vec<(Action, Call)> = Vec::new();
        // What one clause decides has one outcome.
        for (call, _) in self.iter().filter(|c| seen.insert(c.1)) {
            let action = policy.verdict(&call).action;
            if out.iter().all(|o| o.0 != action) {
                out.push((action, call));
            }
        }
        out
    }
}

/// What calls of one number get: each action, with a call.
#[must_use]
pub fn outcomes(policy: &Policy, rules: &ArchRules, nr: u32) -> Vec<(Action, Call)> {
    Samples::new(rules, nr).outcomes(policy)
}

/// The product of the values at the edges of each argument that is not given.
fn product(arch: Arch, nr: u32, clauses: &[Clause], given: &[Option<u64>; 6]) -> Vec<Call> {
    let mut first = bare(arch, nr);
    for (arg, given) in first.args.iter_mut().zip(given) {
        *arg = given.unwrap_or(0);
    }
    let mut calls = vec![first];
    for arg in (0..6u8).filter(|&arg| given[usize::from(arg)].is_none()) {
        let on = clauses.iter().flat_map(|c| &c.conditions);
        let compares: BTreeSet<Compare> = on.filter(|c| c.arg == arg).map(|c| c.compare).collect();
        let is_masked = |c: &Compare| matches!(c, Compare::MaskedEq { .. });
        let mut values: BTreeSet<u64> = compares.iter().copied().flat_map(edges).collect();
        // Beside a mask, what is near each constant is not all.
        if compares.len() > 1 && compares.iter().any(is_masked) {
            values.extend(prove::values_of(clauses, arch.arg_bits(), arg));
        }
        values.retain(|v| arch.arg(*v) == *v);
        let before = calls.len();
        for value in values {
            for i in 0..before {
                if calls.len() >= LIMIT {
                    return calls;
                }
                let mut call = calls[i];
                call.args[usize::from(arg)] = value;
                calls.push(call);
            }
        }
    }
    calls
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
        let samples = Samples::new(rules, 8);
        let decides = [0, 1, 2].map(|i| samples.decided_by(Some(i)).is_some());
        assert_eq!(decides, [true, false, true]);
        assert!(samples.decided_by(None).is_some());
        let given = [None, Some(6), None, None, None, None];
        let samples = Samples::with_given(rules, 8, &given);
        assert!(
            samples
                .iter()
                .all(|(call, by)| call.args[1] == 6 && by == Some(0))
        );
    }
}
