//! Which calls the kernel answers without running the program.
#![forbid(unsafe_code)]

use super::{Program, branch, offset, op};
use crate::policy::Action;

impl Program {
    /// Whether the kernel, from Linux 5.11 on, has a call of this architecture
    /// and number in the bitmap of those that it lets through at once, if this
    /// is the only filter: as `seccomp_is_const_allow` (kernel/seccomp.c) it
    /// runs the program as far as that depends on nothing else.
    ///
    /// The bitmap has only numbers of the native architecture and its 32-bit
    /// companion, and not those of x32.
    #[must_use]
    pub(crate) fn is_const_allow(&self, audit: u32, nr: u32) -> bool {
        let (mut a, mut pc) = (0u32, 0usize);
        loop {
            let i = self.instructions()[pc];
            match i.code {
                op::LD_ABS if i.k == offset::NR => a = nr,
                op::LD_ABS if i.k == offset::ARCH => a = audit,
                op::RET_K => return i.k == Action::Allow.to_ret(),
                op::JA => pc += i.k as usize,
                op::JEQ_K | op::JGE_K | op::JGT_K | op::JSET_K => {
                    pc += usize::from(if branch(i.code, a, i.k) { i.jt } else { i.jf });
                }
                op::AND_K => a &= i.k,
                _ => return false,
            }
            pc += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::Insn;

    const fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
        Insn { code, jt, jf, k }
    }

    #[test]
    fn a_call_is_cached_where_number_and_architecture_decide_to_allow_it() {
        let allow = Action::Allow.to_ret();
        let program = Program::new(vec![
            insn(op::LD_ABS, 0, 0, offset::ARCH),
            insn(op::JEQ_K, 0, 6, 0xc000_003e),
            insn(op::LD_ABS, 0, 0, offset::NR),
            insn(op::JEQ_K, 5, 0, 0),
            insn(op::JEQ_K, 0, 2, 1),
            insn(op::LD_ABS, 0, 0, offset::ARGS),
            insn(op::JEQ_K, 2, 2, 5),
            insn(op::RET_K, 0, 0, allow | 1),
            insn(op::RET_K, 0, 0, allow | 1),
            insn(op::RET_K, 0, 0, allow),
        ])
        .unwrap();
        assert!(program.is_const_allow(0xc000_003e, 0));
        // Looks at an argument, whatever comes of it.
        assert!(!program.is_const_allow(0xc000_003e, 1));
        // Allowed, but not by the very value that the kernel compares with.
        assert!(!program.is_const_allow(0xc000_003e, 2));
        assert!(!program.is_const_allow(0x4000_0003, 0));
    }

    #[test]
    fn an_instruction_that_the_kernel_does_not_emulate_is_not_cached() {
        let allow = insn(op::RET_K, 0, 0, Action::Allow.to_ret());
        for first in [
            insn(op::LD_IMM, 0, 0, 0),
            insn(op::TAX, 0, 0, 0),
            insn(op::LD_ABS, 0, 0, 8),
            insn(op::JEQ_K | op::SRC_X, 0, 0, 0),
            insn(op::ALU, 0, 0, 1),
        ] {
            let program = Program::new(vec![first, allow]).unwrap();
            assert!(!program.is_const_allow(0xc000_003e, 0), "{first:?}");
        }
        assert!(Program::new(vec![allow]).unwrap().is_const_allow(0, 0));
    }
}
