//! [`Policy`] → [`Program`]: small units through libseccomp, linked here.
//!
//! libseccomp compiles each clause's conditions alone, where it makes no
//! mistakes. What remains, which number goes to which clauses in which order,
//! is a search tree over ranges of numbers with the same outcome, and needs no
//! compiler. The result is to be proven
//! ([`crate::prove`]) before it is used.
#![forbid(unsafe_code)]

pub(crate) mod fold;
mod graph;
pub(crate) mod unit;

use crate::bpf::{Invalid, MAX_INSTRUCTIONS, Program, offset, op};
use crate::policy::X32_BIT;
use crate::policy::{Action, Arch, ArchRules, Clause, Condition, ENOSYS, FOREIGN_ARCH, Policy};
use fold::{Folded, fold};
use graph::{Graph, Node, NodeId};
use libseccomp::error::SeccompError;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use unit::Unit;

/// Why a policy has no program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libseccomp refused a unit.
    #[error("libseccomp failed to compile a rule")]
    Libseccomp(#[source] LibseccompError),
    /// A unit could not be read back.
    #[error("failed to read libseccomp's program")]
    Read(#[source] io::Error),
    /// No memory file for a unit.
    #[error("failed to make a memory file for libseccomp's program")]
    Memory(#[source] io::Error),
    /// Not a program the kernel would take; most often too long a one.
    #[error("the profile does not fit a filter")]
    Invalid(#[from] Invalid),
    /// A clause without its unit: an error of ours.
    #[error("a rule was not compiled")]
    NoUnit,
    /// libseccomp used an operation the linker does not know.
    #[error("libseccomp compiled a rule to an unexpected operation {code:#06x}")]
    Unit {
        /// The operation's code.
        code: u16,
    },
}

/// What libseccomp said.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LibseccompError(pub(crate) SeccompError);

impl Error {
    pub(crate) const fn libseccomp(said: SeccompError) -> Self {
        Self::Libseccomp(LibseccompError(said))
    }
}

/// Compiles and links a policy.
///
/// # Errors
/// [`Error`]; a profile too large for the kernel is [`Error::Invalid`].
pub fn compile(policy: &Policy) -> Result<Program, Error> {
    let mut linker = Linker {
        graph: Graph::default(),
        units: units(policy)?,
    };
    let foreign = linker.ret(FOREIGN_ARCH);
    let mut tree = foreign;
    // Built from the last architecture to the first: the native one is
    // looked for first.
    for rules in policy.arches.iter().rev() {
        let listed = |arch| policy.arches.iter().find(|r| r.arch == arch);
        let ranges = match rules.arch {
            // Done with x86_64, whose token it shares.
            Arch::X32 if listed(Arch::X86_64).is_some() => continue,
            Arch::X32 => linker.x86_64(policy, None, Some(rules), foreign)?,
            Arch::X86_64 => linker.x86_64(policy, Some(rules), listed(Arch::X32), foreign)?,
            _ => linker.ranges(policy, rules)?,
        };
        let root = linker.search(&ranges);
        let yes = linker.load(offset::NR, root);
        tree = linker.graph.add(Node::Branch {
            code: op::JEQ_K,
            k: rules.arch.audit(),
            yes,
            no: tree,
        });
    }
    let root = linker.load(offset::ARCH, tree);
    Ok(linker.graph.emit(root)?)
}

/// Units by width and conditions: architectures of one width share them.
type Units = HashMap<(u32, Vec<Condition>), Unit>;

/// Compiles all units of a policy.
fn units(policy: &Policy) -> Result<Units, Error> {
    let mut out = HashMap::new();
    for bits in [64, 32] {
        let mut needed = BTreeSet::new();
        let mut on = None;
        for rules in policy.arches.iter().filter(|r| r.arch.arg_bits() == bits) {
            on = on.or(Some(rules.arch));
            for (&nr, clauses) in &rules.calls {
                let deciding = deciding(clauses, bits, unmatched(policy, rules, nr));
                needed.extend(deciding.into_iter().filter_map(|(folded, _)| match folded {
                    Folded::If(conditions) => Some(conditions),
                    _ => None,
                }));
            }
        }
        // Nearly each takes an instruction of its own: no need to compile them
        // to know that they are too many.
        if needed.len() > 2 * MAX_INSTRUCTIONS {
            return Err(Invalid::TooLong(needed.len()).into());
        }
        let needed: Vec<_> = needed.into_iter().collect();
        if let Some(arch) = on {
            let units = Unit::compile(arch, &needed)?;
            out.extend(needed.into_iter().map(|c| (bits, c)).zip(units));
        }
    }
    Ok(out)
}

/// What a call gets where none of its clauses holds.
fn unmatched(policy: &Policy, rules: &ArchRules, nr: u32) -> Action {
    match rules.newest {
        Some(newest) if nr > newest => Action::Errno(ENOSYS),
        _ => policy.default,
    }
}

/// The clauses of a call, folded, that make a difference: up to the first one
/// that always holds, and without those at the end that say what comes of it
/// anyway.
fn deciding(clauses: &[Clause], bits: u32, default: Action) -> Vec<(Folded, Action)> {
    let mut out = Vec::with_capacity(clauses.len());
    let mut last = None;
    for clause in clauses {
        match fold(clause, bits) {
            Folded::Never => {}
            Folded::Always => {
                last = Some(clause.action);
                break;
            }
            conditional => out.push((conditional, clause.action)),
        }
    }
    while out.pop_if(|c| c.1 == last.unwrap_or(default)).is_some() {}
    out.extend(last.map(|action| (Folded::Always, action)));
    out
}

/// Numbers from here to the next range have this outcome.
type Range = (u32, NodeId);

struct Linker {
    graph: Graph,
    units: Units,
}

impl Linker {
    fn ret(&mut self, action: Action) -> NodeId {
        self.graph.add(Node::Ret(action.to_ret()))
    }

    fn load(&mut self, k: u32, next: NodeId) -> NodeId {
        let code = op::LD_ABS;
        self.graph.add(Node::Op { code, k, next })
    }

    /// The ranges of x86_64, with those of x32 above its bit.
    fn x86_64(
        &mut self,
        policy: &Policy,
        rules: Option<&ArchRules>,
        x32: Option<&ArchRules>,
        foreign: NodeId,
    ) -> Result<Vec<Range>, Error> {
        let ranges = match rules {
            Some(rules) => self.ranges(policy, rules)?,
            None => vec![(0, foreign)],
        };
        let last = ranges.last().map_or(foreign, |r| r.1);
        let mut all: Vec<Range> = ranges.into_iter().filter(|r| r.0 < X32_BIT).collect();
        match x32 {
            Some(x32) => {
                let ranges = self.ranges(policy, x32)?;
                let below = ranges.iter().rev().find(|r| r.0 <= X32_BIT);
                let start = below.map_or(foreign, |r| r.1);
                all.push((X32_BIT, start));
                all.extend(ranges.into_iter().filter(|r| r.0 > X32_BIT));
            }
            None => all.push((X32_BIT, foreign)),
        }
        // -1 is x86_64's.
        all.push((u32::MAX, last));
        Ok(merged(all))
    }

    /// The outcomes of one architecture over all numbers.
    fn ranges(&mut self, policy: &Policy, rules: &ArchRules) -> Result<Vec<Range>, Error> {
        // Where numbers that no rule names change their outcome.
        let newer = rules.newest.and_then(|newest| newest.checked_add(1));
        let mut starts = BTreeMap::new();
        for nr in std::iter::once(0).chain(newer) {
            starts.insert(nr, self.ret(unmatched(policy, rules, nr)));
        }
        for (&nr, clauses) in &rules.calls {
            let default = unmatched(policy, rules, nr);
            starts.insert(nr, self.chain(rules.arch, clauses, default)?);
            if let Some(next) = nr.checked_add(1) {
                let after = self.ret(unmatched(policy, rules, next));
                starts.entry(next).or_insert(after);
            }
        }
        Ok(merged(starts.into_iter().collect()))
    }

    /// The clauses of one call in file order, then what comes of it where none
    /// holds.
    fn chain(&mut self, arch: Arch, clauses: &[Clause], default: Action) -> Result<NodeId, Error> {
        let mut next = self.ret(default);
        for (folded, action) in deciding(clauses, arch.arg_bits(), default)
            .into_iter()
            .rev()
        {
            let holds = self.ret(action);
            let Folded::If(conditions) = folded else {
                next = holds;
                continue;
            };
            let unit = self.units.get(&(arch.arg_bits(), conditions));
            let unit = unit.ok_or(Error::NoUnit)?;
            next = unit.link(&mut self.graph, holds, next)?;
            // Each node is some instruction of the program, so there is no
            // need to go on.
            if self.graph.len() > 2 * MAX_INSTRUCTIONS {
                return Err(Invalid::TooLong(self.graph.len()).into());
            }
        }
        Ok(next)
    }

    /// A balanced search over ranges, the number being in the accumulator.
    fn search(&mut self, ranges: &[Range]) -> NodeId {
        if let [(_, only)] = ranges {
            return *only;
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let k = high[0].0;
        let (no, yes) = (self.search(low), self.search(high));
        let code = op::JGE_K;
        self.graph.add(Node::Branch { code, k, yes, no })
    }
}

/// Joins neighbours with the same outcome; of two at one number the later
/// counts.
fn merged(ranges: Vec<Range>) -> Vec<Range> {
    let mut out: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        if out.last().is_some_and(|l| l.0 == range.0) {
            out.pop();
        }
        if out.last().is_none_or(|l| l.1 != range.1) {
            out.push(range);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Compare, Flags};
    use crate::prove::prove;

    fn clause(conditions: Vec<Condition>, action: Action) -> Clause {
        Clause {
            conditions,
            action,
            rule: 0,
        }
    }

    fn policy(arches: Vec<ArchRules>) -> Policy {
        Policy {
            default: Action::KillProcess,
            arches,
            flags: Flags::default(),
            listener: None,
        }
    }

    fn rules(arch: Arch, newest: Option<u32>, calls: &[u32]) -> ArchRules {
        let condition = Condition {
            arg: 0,
            compare: Compare::Eq(5),
        };
        let clauses = vec![clause(vec![condition], Action::Allow)];
        let calls = calls.iter().map(|&nr| (nr, clauses.clone())).collect();
        ArchRules {
            arch,
            calls,
            newest,
        }
    }

    #[test]
    fn newer_calls_begin_where_the_policy_says_whatever_it_names() {
        for newest in [None, Some(0), Some(7), Some(X32_BIT + 7), Some(u32::MAX)] {
            for calls in [&[][..], &[0], &[7], &[6, 8, 9], &[X32_BIT], &[u32::MAX]] {
                for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
                    let policy = policy(vec![rules(arch, newest, calls)]);
                    let program = compile(&policy).unwrap();
                    prove(&policy, &program).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_policy_without_architectures_kills_everything() {
        let policy = policy(Vec::new());
        let program = compile(&policy).unwrap();
        prove(&policy, &program).unwrap();
        assert_eq!(program.instructions().len(), 2);
    }

    #[test]
    fn architectures_of_one_width_share_their_units() {
        let alone = policy(vec![rules(Arch::X86_64, None, &[7])]);
        let both = policy(vec![
            rules(Arch::X86_64, None, &[7]),
            rules(Arch::Aarch64, None, &[7]),
        ]);
        let length = |policy| compile(policy).unwrap().instructions().len();
        // A comparison of the token and some of the number, no unit.
        assert!(length(&both) < length(&alone) + 5);
    }
}
