//! [`Policy`] → [`Program`]: small units through libseccomp, linked here.
//!
//! libseccomp compiles each clause's conditions alone, where it makes no
//! mistakes (see [`unit`]). What remains, which number goes to which clauses
//! in which order, is a search tree over ranges of numbers with the same
//! outcome, and needs no compiler. The result is to be proven
//! ([`crate::prove`]) before it is used.
#![forbid(unsafe_code)]

mod fold;
mod graph;
pub(crate) mod unit;

use crate::bpf::{Invalid, MAX_INSTRUCTIONS, Program, offset, op};
use crate::policy::X32_BIT;
use crate::policy::{Action, Arch, ArchRules, Clause, Condition, ENOSYS, FOREIGN_ARCH, Policy};
use fold::{Folded, fold};
use graph::{Graph, Node, NodeId};
use std::collections::{BTreeMap, HashMap};
use unit::Unit;

/// Why a policy has no program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libseccomp refused a unit.
    #[error("libseccomp failed to compile a rule")]
    Libseccomp(#[from] libseccomp::error::SeccompError),
    /// A unit could not be read back.
    #[error("failed to read libseccomp's program")]
    Read(#[from] std::io::Error),
    /// No memory file for a unit.
    #[error("failed to make a memory file for libseccomp's program")]
    Memory(#[from] nix::errno::Errno),
    /// Not a program the kernel would take; most often too long a one.
    #[error("the profile does not fit a filter")]
    Invalid(#[from] Invalid),
    /// libseccomp used an operation the linker does not know.
    #[error("libseccomp compiled a rule to an unexpected operation {code:#06x}")]
    Unit {
        /// The operation's code.
        code: u16,
    },
}

/// Compiles and links a policy.
///
/// # Errors
/// [`Error`]; a profile too large for the kernel is [`Error::Invalid`].
pub fn compile(policy: &Policy) -> Result<Program, Error> {
    let mut linker = Linker::default();
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

/// Numbers from here to the next range have this outcome.
type Range = (u32, NodeId);

#[derive(Default)]
struct Linker {
    graph: Graph,
    /// Units by width and conditions: other architectures of the same width
    /// share them.
    units: HashMap<(u32, Vec<Condition>), Unit>,
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
        let default = self.ret(policy.default);
        let beyond = self.ret(match rules.newest {
            Some(_) => Action::Errno(ENOSYS),
            None => policy.default,
        });
        let unnamed = |nr: u32| match rules.newest {
            Some(newest) if nr > newest => beyond,
            _ => default,
        };
        let mut starts = BTreeMap::from([(0, unnamed(0))]);
        if let Some(next) = rules.newest.and_then(|n| n.checked_add(1)) {
            starts.insert(next, beyond);
        }
        for (&nr, clauses) in &rules.calls {
            starts.insert(nr, self.chain(rules.arch, clauses, unnamed(nr))?);
            if let Some(next) = nr.checked_add(1) {
                starts.entry(next).or_insert(unnamed(next));
            }
        }
        Ok(merged(starts.into_iter().collect()))
    }

    /// The clauses of one call in file order, then what an unnamed one gets.
    fn chain(&mut self, arch: Arch, clauses: &[Clause], default: NodeId) -> Result<NodeId, Error> {
        // Behind an unconditional clause none decides.
        let mut deciding = Vec::new();
        for clause in clauses {
            let folded = fold(clause, arch.arg_bits());
            let always = folded == Folded::Always;
            deciding.push((folded, clause.action));
            if always {
                break;
            }
        }
        let mut next = default;
        for (folded, action) in deciding.into_iter().rev() {
            let holds = self.ret(action);
            match folded {
                Folded::Always => next = holds,
                Folded::Never => {}
                // The same either way: no need to look.
                Folded::If(_) if holds == next => {}
                Folded::If(conditions) => {
                    let key = (arch.arg_bits(), conditions);
                    let unit = match self.units.entry(key) {
                        std::collections::hash_map::Entry::Occupied(e) => e.into_mut(),
                        std::collections::hash_map::Entry::Vacant(e) => {
                            let unit = Unit::compile(arch, &e.key().1)?;
                            e.insert(unit)
                        }
                    };
                    next = unit.link(&mut self.graph, holds, next)?;
                    // Each node is some instruction of the program, so there
                    // is no need to go on.
                    if self.graph.len() > 2 * MAX_INSTRUCTIONS {
                        return Err(Invalid::TooLong(self.graph.len()).into());
                    }
                }
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
