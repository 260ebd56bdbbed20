//! Findings about what conditions compare.
#![forbid(unsafe_code)]

use super::{Finding, Id, Witness, list, name_of, native, rule_in_file};
use crate::compile::fold::{Folded, fold};
use crate::filter::Filter;
use crate::flags;
use crate::policy::{ArchRules, Call, Clause, Compare, Condition, Policy, Reason};
use crate::samples::{self, Samples};
use crate::signatures::{self, Kind};
use std::collections::BTreeSet;

pub(super) fn findings(filter: &Filter) -> Vec<Finding> {
    let Some(rules) = native(filter) else {
        return Vec::new();
    };
    let conditional = |clauses: &Vec<Clause>| clauses.iter().any(|c| !c.conditions.is_empty());
    let mut out = Vec::new();
    for (&nr, clauses) in rules.calls.iter().filter(|(_, c)| conditional(c)) {
        let call = Examined {
            filter,
            policy: &filter.translation.policy,
            rules,
            nr,
            name: name_of(rules.arch, nr),
            clauses,
            samples: Samples::new(rules, nr),
        };
        out.extend(call.upper_bits());
        out.extend(call.overlaps());
        for (i, clause) in clauses.iter().enumerate() {
            out.extend(call.constant(clause));
            for condition in &clause.conditions {
                out.extend(call.low_half(i, condition));
                out.extend(call.pointer(i, condition));
                out.extend(call.mask_bits(clause, condition));
            }
        }
    }
    join(filter, out)
}

/// A slip is made in many rules, and one rule has many names: told once, with
/// the other rules.
fn join(filter: &Filter, findings: Vec<Finding>) -> Vec<Finding> {
    let mut out: Vec<(Finding, BTreeSet<usize>)> = Vec::new();
    for finding in findings {
        let joins = matches!(finding.id, Id::MaskBits | Id::ConstantCondition);
        let same = out.iter_mut().find(|o| joins && o.0.id == finding.id);
        match same {
            Some((_, rules)) => rules.extend(finding.rule),
            None => {
                let rules = finding.rule.into_iter().collect();
                out.push((finding, rules));
            }
        }
    }
    let finish = |(mut finding, rules): (Finding, BTreeSet<usize>)| {
        let others = rules.iter().filter(|r| Some(**r) != finding.rule);
        let others: Vec<String> = others
            .map(|r| rule_in_file(filter, *r).to_string())
            .collect();
        if !others.is_empty() {
            finding.message += &format!("; also in rule {}", list(&others));
        }
        finding
    };
    out.into_iter().map(finish).collect()
}

/// One native call with conditions.
struct Examined<'a> {
    filter: &'a Filter,
    policy: &'a Policy,
    rules: &'a ArchRules,
    nr: u32,
    name: String,
    clauses: &'a [Clause],
    samples: Samples,
}

impl Examined<'_> {
    fn kind(&self, arg: u8) -> Option<Kind> {
        signatures::of(&self.name)?.get(usize::from(arg)).copied()
    }

    fn words(&self, condition: &Condition) -> String {
        flags::condition(&[&self.name], condition)
    }

    fn witness(&self, call: Call) -> Witness {
        Witness::of(self.filter, self.rules.arch, call)
    }

    /// Bits that the kernel does not look at and that make the filter more
    /// permissive.
    fn upper_bits(&self) -> Option<Finding> {
        let kinds = signatures::of(&self.name)?;
        let compared: BTreeSet<u8> = self
            .clauses
            .iter()
            .flat_map(|c| &c.conditions)
            .map(|c| c.arg)
            .collect();
        let level = |call: &Call| self.policy.verdict(call).action.permissiveness();
        for (base, _) in self.samples.iter() {
            for &arg in &compared {
                let at = usize::from(arg);
                let Some(kind) = kinds.get(at) else { continue };
                let seen = kind.mask();
                if seen == u64::MAX || base.args[at] & !seen != 0 {
                    continue;
                }
                let mut evading = base;
                evading.args[at] |= !seen & seen.wrapping_add(1);
                if level(&evading) <= level(&base) {
                    continue;
                }
                let rule = match (
                    self.policy.verdict(&base).reason,
                    self.policy.verdict(&evading).reason,
                ) {
                    (Reason::Rule(rule), _) | (_, Reason::Rule(rule)) => Some(rule),
                    _ => None,
                };
                let bits = seen.count_ones();
                let message = format!(
                    "arg{arg} has {bits} bits to the kernel, 64 to the filter: a bit above them \
                     evades the condition"
                );
                let remedy = format!(
                    "compare by SCMP_CMP_MASKED_EQ, \"value\": {seen} and the number as \
                     \"valueTwo\", in a rule that denies and comes first"
                );
                let finding = Finding::new(Id::UpperBits, rule, &[&self.name], message, &remedy);
                return Some(finding.with([self.witness(base), self.witness(evading)]));
            }
        }
        None
    }

    /// A value compared in its low bits only, where the others matter.
    fn low_half(&self, clause: usize, condition: &Condition) -> Option<Finding> {
        let Compare::MaskedEq { mask, .. } = condition.compare else {
            return None;
        };
        let whole = mask != 0 && mask & mask.wrapping_add(1) == 0 && mask <= 0xffff_ffff;
        let is_flags = flags::name(&self.name, condition.arg, mask).is_some();
        let is_wide = matches!(self.kind(condition.arg)?, Kind::Long | Kind::Pointer);
        // Masks of a few bits ask for alignment, or for flags that have no
        // name here.
        if !whole || !is_wide || is_flags || mask.count_ones() < 16 {
            return None;
        }
        let call = self.samples.decided_by(Some(clause))?;
        let mut other = call;
        other.args[usize::from(condition.arg)] ^= mask.wrapping_add(1);
        let (first, second) = (self.witness(call), self.witness(other));
        let open = first.verdict.permissiveness() > self.policy.default.permissiveness();
        let same = first.verdict == second.verdict;
        let message = format!(
            "{} looks at {} bits of arg{}, the kernel at 64",
            self.words(condition),
            mask.count_ones(),
            condition.arg
        );
        let remedy = "compare it whole: SCMP_CMP_EQ";
        (open && same).then(|| {
            Finding::new(
                Id::LowHalf,
                self.clauses[clause].rule,
                &[&self.name],
                message,
                remedy,
            )
            .with([first, second])
        })
    }

    /// A pointer compared with anything but NULL.
    fn pointer(&self, clause: usize, condition: &Condition) -> Option<Finding> {
        let is_null = matches!(
            condition.compare,
            Compare::Eq(0) | Compare::Ne(0) | Compare::Gt(0)
        );
        if is_null || self.kind(condition.arg)? != Kind::Pointer {
            return None;
        }
        let call = self.samples.decided_by(Some(clause))?;
        let action = self.policy.verdict(&call).action;
        let elsewhere = self.samples.iter().map(|s| s.0).find(|c| {
            let others = (0..6).filter(|i| *i != usize::from(condition.arg));
            others.into_iter().all(|i| c.args[i] == call.args[i])
                && self.policy.verdict(c).action != action
        })?;
        let message = format!(
            "{} compares an address, not what is there",
            self.words(condition)
        );
        let remedy = "decide by another argument, by SCMP_ACT_NOTIFY, or by Landlock for paths";
        let finding = Finding::new(
            Id::PointerArgument,
            self.clauses[clause].rule,
            &[&self.name],
            message,
            remedy,
        );
        Some(finding.with([self.witness(call), self.witness(elsewhere)]))
    }

    /// A datum with bits that the mask takes away.
    fn mask_bits(&self, clause: &Clause, condition: &Condition) -> Option<Finding> {
        let Compare::MaskedEq { mask, datum } = condition.compare else {
            return None;
        };
        if datum & !mask == 0 {
            return None;
        }
        let call = samples::satisfying(self.rules.arch, self.nr, &[*condition])?;
        let holds = match mask {
            0 => "it holds for every call".to_owned(),
            _ => format!("it is read as {}", self.words(condition)),
        };
        let message =
            format!("valueTwo {datum:#x} has bits outside of value, the mask {mask:#x}: {holds}");
        let remedy = "value is the mask and valueTwo the datum: most likely they are swapped";
        let finding = Finding::new::<&str>(Id::MaskBits, clause.rule, &[], message, remedy);
        Some(finding.with([self.witness(call)]))
    }

    /// Conditions that say nothing, or that nothing meets.
    fn constant(&self, clause: &Clause) -> Option<Finding> {
        let odd = |c: &&Condition| matches!(c.compare, Compare::MaskedEq { mask, datum } if datum & !mask != 0);
        if clause.conditions.is_empty() || clause.conditions.iter().any(|c| odd(&c)) {
            return None;
        }
        let alone = |c: &Condition| {
            let clause = Clause {
                conditions: vec![*c],
                ..clause.clone()
            };
            fold(&clause, self.rules.arch.arg_bits())
        };
        let found = clause.conditions.iter().find_map(|c| match alone(c) {
            Folded::Always => Some((c, "always holds")),
            Folded::Never => Some((c, "never holds, and so the rule never decides")),
            Folded::If(_) => None,
        });
        let (condition, what) = found?;
        let message = format!("{} {what}", flags::condition(&[""], condition));
        let remedy = "correct the constant or the operator, or remove the condition";
        Some(Finding::new::<&str>(
            Id::ConstantCondition,
            clause.rule,
            &[],
            message,
            remedy,
        ))
    }

    /// Pairs of conditional rules with different actions that some call
    /// matches both; an unconditional one at the end is a rule for the rest,
    /// and one that never decides is found as such.
    fn overlaps(&self) -> Vec<Finding> {
        let deciding: BTreeSet<usize> = self.samples.iter().filter_map(|s| s.1).collect();
        let mut seen = BTreeSet::new();
        let mut out = Vec::new();
        for (call, first) in self.samples.iter() {
            let Some(first) = first else { continue };
            let earlier = &self.clauses[first];
            let args = call.args.map(|raw| self.rules.arch.arg(raw));
            let later = self.clauses.iter().enumerate().skip(first + 1);
            let later = later.filter(|(_, c)| {
                c.action != earlier.action && !c.conditions.is_empty() && c.matches(&args)
            });
            for (j, later) in later {
                if deciding.contains(&j) && seen.insert(later.rule) {
                    out.push(self.overlap(earlier, later, call));
                }
            }
        }
        out
    }

    fn overlap(&self, earlier: &Clause, later: &Clause, call: Call) -> Finding {
        let message = format!(
            "overlaps rule {}, which comes first and says {}",
            rule_in_file(self.filter, earlier.rule),
            earlier.action
        );
        let remedy = "make the conditions exclude each other: runtimes decide otherwise";
        let finding = Finding::new(
            Id::OverlappingRules,
            later.rule,
            &[&self.name],
            message,
            remedy,
        );
        finding.with([self.witness(call)])
    }
}
