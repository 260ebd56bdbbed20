//! For which arguments a policy gives one verdict, in words.
#![forbid(unsafe_code)]

use crate::flags;
use crate::policy::{Action, Arch, Call, Clause, Condition, FOREIGN_ARCH, Policy};

/// A set of arguments: one of each group of alternatives holds, and none of
/// the exceptions does. An alternative is conditions that hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region {
    groups: Vec<Vec<Vec<Condition>>>,
    exceptions: Vec<Vec<Condition>>,
}

impl Region {
    /// The arguments for which the policy gives this call's number this
    /// action. `None` where rules with that action and others alternate.
    pub fn new(policy: &Policy, call: &Call, action: Action) -> Option<Self> {
        let Some(rules) = policy.rules_for(call.audit, call.nr) else {
            return (action == FOREIGN_ARCH).then(Self::default);
        };
        let clauses = rules.calls.get(&call.nr).map_or(&[][..], Vec::as_slice);
        // What comes after an unconditional one never decides.
        let end = clauses.iter().position(|c| c.conditions.is_empty());
        let (clauses, otherwise) = match end {
            Some(end) => (&clauses[..end], clauses[end].action),
            None => (clauses, policy.unmatched(rules, call.nr).action),
        };
        let chosen = |c: &Clause| c.action == action;
        let conditions = |c: &Clause| c.conditions.clone();
        if otherwise == action {
            // Those with the action have to be the last, and add nothing.
            let others = clauses.partition_point(|c| c.action != action);
            return clauses[others..].iter().all(chosen).then(|| Self {
                groups: Vec::new(),
                exceptions: clauses[..others].iter().map(conditions).collect(),
            });
        }
        let last = clauses.iter().rposition(|c| c.action == action)?;
        let first = clauses.iter().position(|c| c.action == action)?;
        clauses[first..=last].iter().all(chosen).then(|| Self {
            groups: vec![clauses[first..=last].iter().map(conditions).collect()],
            exceptions: clauses[..first].iter().map(conditions).collect(),
        })
    }

    /// What is in both.
    pub fn and(mut self, other: Self) -> Self {
        for group in other.groups {
            if !self.groups.contains(&group) {
                self.groups.push(group);
            }
        }
        for exception in other.exceptions {
            if !self.exceptions.contains(&exception) {
                self.exceptions.push(exception);
            }
        }
        // An alternative that is excepted is none.
        let exceptions = &self.exceptions;
        for group in &mut self.groups {
            group.retain(|alternative| !exceptions.contains(alternative));
        }
        self
    }

    /// "if arg0 & CLONE_NEWUSER == 0", "unless arg0 == 8 or arg0 == 9".
    pub fn describe(&self, arch: Arch, name: Option<&str>) -> String {
        let name = name.filter(|_| flags::apply_to(arch));
        let condition = |c: &Condition| match name {
            Some(name) => flags::condition(&[name], c),
            None => c.to_string(),
        };
        let alternative = |conditions: &Vec<Condition>| {
            let conditions: Vec<_> = conditions.iter().map(condition).collect();
            conditions.join(" and ")
        };
        let any = |alternatives: &[Vec<Condition>]| {
            let alternatives: Vec<_> = alternatives.iter().map(alternative).collect();
            alternatives.join(" or ")
        };
        let groups: Vec<_> = self.groups.iter().map(|g| any(g)).collect();
        let mut out = Vec::new();
        match &groups[..] {
            [] => {}
            [one] => out.push(format!("if {one}")),
            more => out.push(format!("if ({})", more.join(") and ("))),
        }
        if !self.exceptions.is_empty() {
            out.push(format!("unless {}", any(&self.exceptions)));
        }
        out.join(", ")
    }
}
