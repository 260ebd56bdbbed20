//! Units: the conditions of one clause each, compiled by libseccomp and
//! reduced to the part that looks at arguments.
//!
//! It is only in merging the rules of one call that libseccomp goes wrong. So
//! each unit is the only rule of its call: some calls carry the units through
//! a context, a batch at a time, and are gone from the reduced units.
#![forbid(unsafe_code)]

use super::Error;
use super::graph::{Graph, Node, NodeId};
use crate::bpf::{Insn, Program, offset, op};
use crate::policy::{Arch, Compare, Condition};
use crate::syscalls::scmp_arch;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::rc::Rc;

/// The calls that carry units through libseccomp: every architecture has
/// them, each with a number of its own. More in one context cost more than
/// they save.
const CARRIERS: [&str; 16] = [
    "read", "write", "close", "lseek", "ioctl", "fcntl", "dup", "dup3", "pipe2", "flock", "mount",
    "chdir", "fchdir", "chroot", "readv", "writev",
];
/// What a unit returns where the conditions hold, and where not.
const HOLDS: ScmpAction = ScmpAction::Allow;
const HOLDS_RET: u32 = 0x7fff_0000;
const FAILS: ScmpAction = ScmpAction::KillThread;

/// Conditions, in a program that returns ALLOW for their carrier where they
/// hold.
#[derive(Debug)]
pub struct Unit {
    program: Rc<Program>,
    arch: Arch,
    carrier: u32,
}

impl Unit {
    /// Compiles sets of conditions whose constants fit the architecture's
    /// width, each to a unit of its own.
    pub fn compile(arch: Arch, sets: &[Vec<Condition>]) -> Result<Vec<Self>, Error> {
        let mut units = Vec::with_capacity(sets.len());
        for batch in sets.chunks(CARRIERS.len()) {
            let mut context = context(arch, FAILS)?;
            for (conditions, name) in batch.iter().zip(CARRIERS) {
                let carrier = ScmpSyscall::from_name(name).map_err(Error::libseccomp)?;
                let compares: Vec<_> = conditions.iter().map(scmp_compare).collect();
                context
                    .add_rule_conditional_exact(HOLDS, carrier, &compares)
                    .map_err(Error::libseccomp)?;
            }
            let program = Rc::new(export(&context)?);
            for (_, name) in batch.iter().zip(CARRIERS) {
                let carrier = ScmpSyscall::from_name_by_arch(name, scmp_arch(arch))
                    .map_err(Error::libseccomp)?;
                units.push(Self {
                    program: Rc::clone(&program),
                    arch,
                    carrier: carrier.as_raw_syscall().cast_unsigned(),
                });
            }
        }
        Ok(units)
    }

    /// Adds the unit to a graph, going on to `holds` or `fails`: runs the
    /// program on what is known, the architecture and the number, and keeps
    /// what depends on arguments.
    pub fn link(&self, graph: &mut Graph, holds: NodeId, fails: NodeId) -> Result<NodeId, Error> {
        let mut reducer = Reducer {
            unit: self,
            graph,
            holds,
            fails,
            done: HashMap::new(),
        };
        reducer.reduce(0, None)
    }
}

/// A context for one architecture.
pub fn context(arch: Arch, default: ScmpAction) -> Result<ScmpFilterContext, Error> {
    let make = || {
        let mut context = ScmpFilterContext::new(default)?;
        if arch != Arch::native() {
            context.add_arch(scmp_arch(arch))?;
            context.remove_arch(ScmpArch::Native)?;
        }
        Ok(context)
    };
    make().map_err(Error::libseccomp)
}

/// The program of a context.
pub fn export(context: &ScmpFilterContext) -> Result<Program, Error> {
    let memory = memfd_create("unit", MFdFlags::MFD_CLOEXEC);
    let mut file = File::from(memory.map_err(|errno| Error::Memory(errno.into()))?);
    context.export_bpf(&file).map_err(Error::libseccomp)?;
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .map_err(Error::Read)?;
    Ok(Program::from_bytes(&bytes)?)
}

/// A condition in libseccomp's terms.
pub fn scmp_compare(condition: &Condition) -> ScmpArgCompare {
    let (op, value) = match condition.compare {
        Compare::Ne(v) => (ScmpCompareOp::NotEqual, v),
        Compare::Lt(v) => (ScmpCompareOp::Less, v),
        Compare::Le(v) => (ScmpCompareOp::LessOrEqual, v),
        Compare::Eq(v) => (ScmpCompareOp::Equal, v),
        Compare::Ge(v) => (ScmpCompareOp::GreaterEqual, v),
        Compare::Gt(v) => (ScmpCompareOp::Greater, v),
        Compare::MaskedEq { mask, datum } => (ScmpCompareOp::MaskedEqual(mask), datum),
    };
    ScmpArgCompare::new(condition.arg.into(), op, value)
}

struct Reducer<'a> {
    unit: &'a Unit,
    graph: &'a mut Graph,
    holds: NodeId,
    fails: NodeId,
    done: HashMap<(usize, Option<u32>), NodeId>,
}

impl Reducer<'_> {
    /// The node for the program from `pc` on, with the accumulator known or
    /// not. A batch has few units of at most six conditions each, so this does
    /// not go deep.
    fn reduce(&mut self, pc: usize, known: Option<u32>) -> Result<NodeId, Error> {
        if let Some(&id) = self.done.get(&(pc, known)) {
            return Ok(id);
        }
        let insn = self.unit.program.instructions()[pc];
        let id = match insn.code {
            op::RET_K if insn.k == HOLDS_RET => self.holds,
            op::RET_K => self.fails,
            op::JA => self.reduce(pc + 1 + insn.k as usize, known)?,
            op::LD_ABS if insn.k == offset::ARCH => {
                self.reduce(pc + 1, Some(self.unit.arch.audit()))?
            }
            op::LD_ABS if insn.k == offset::NR => self.reduce(pc + 1, Some(self.unit.carrier))?,
            op::LD_ABS => self.operation(pc, insn)?,
            op::AND_K => match known {
                Some(a) => self.reduce(pc + 1, Some(a & insn.k))?,
                None => self.operation(pc, insn)?,
            },
            op::JEQ_K | op::JGT_K | op::JGE_K | op::JSET_K => self.branch(pc, insn, known)?,
            code => return Err(Error::Unit { code }),
        };
        self.done.insert((pc, known), id);
        Ok(id)
    }

    fn operation(&mut self, pc: usize, insn: Insn) -> Result<NodeId, Error> {
        let next = self.reduce(pc + 1, None)?;
        Ok(self.graph.add(Node::Op {
            code: insn.code,
            k: insn.k,
            next,
        }))
    }

    fn branch(&mut self, pc: usize, insn: Insn, known: Option<u32>) -> Result<NodeId, Error> {
        let (yes, no) = (pc + 1 + usize::from(insn.jt), pc + 1 + usize::from(insn.jf));
        if let Some(a) = known {
            let holds = match insn.code {
                op::JEQ_K => a == insn.k,
                op::JGT_K => a > insn.k,
                op::JGE_K => a >= insn.k,
                _ => a & insn.k != 0,
            };
            return self.reduce(if holds { yes } else { no }, known);
        }
        let (yes, no) = (self.reduce(yes, None)?, self.reduce(no, None)?);
        Ok(self.graph.add(Node::Branch {
            code: insn.code,
            k: insn.k,
            yes,
            no,
        }))
    }
}
