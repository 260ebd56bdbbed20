//! Filter programs made by hand, so that these tests rest on no compiler.

use oci_seccomp::bpf::{Insn, Program, op};
use oci_seccomp::policy::Action;

/// One question and its answer: a call by number, the value of its first
/// argument if that matters, and the action. Numbers are the native ones.
pub type Answer = (libc::c_long, Option<u32>, Action);

/// A program that gives these answers and allows the rest.
pub fn answering(answers: &[Answer]) -> Vec<u8> {
    let insn = |code, jf, k| Insn { code, jt: 0, jf, k };
    let mut insns = Vec::new();
    for (nr, arg, action) in answers {
        let number = u32::try_from(*nr).unwrap();
        insns.push(insn(op::LD_ABS, 0, 0));
        match arg {
            None => insns.push(insn(op::JEQ_K, 1, number)),
            Some(value) => {
                insns.push(insn(op::JEQ_K, 3, number));
                insns.push(insn(op::LD_ABS, 0, 16));
                insns.push(insn(op::JEQ_K, 1, *value));
            }
        }
        insns.push(insn(op::RET_K, 0, action.to_ret()));
    }
    insns.push(insn(op::RET_K, 0, Action::Allow.to_ret()));
    Program::new(insns).unwrap().to_bytes()
}
