//! Programs the kernel would refuse, and what the others compute.

use super::*;
use crate::policy::Action;

fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
    Insn { code, jt, jf, k }
}

fn plain(code: u16, k: u32) -> Insn {
    insn(code, 0, 0, k)
}

const RET: Insn = Insn {
    code: op::RET_K,
    jt: 0,
    jf: 0,
    k: 0x7fff_0000,
};

fn invalid(insns: &[Insn]) -> Invalid {
    Program::new(insns.to_vec()).unwrap_err()
}

fn run(insns: &[Insn]) -> u32 {
    let call = Call {
        audit: 0xc000_003e,
        nr: 7,
        args: [0x1111_2222_3333_4444, 1, 2, 3, 4, 0x5555_6666_7777_8888],
    };
    Program::new(insns.to_vec()).unwrap().run(&call).0
}

/// The accumulator after these.
fn value(insns: &[Insn]) -> u32 {
    let mut insns = insns.to_vec();
    insns.push(plain(op::RET_A, 0));
    run(&insns)
}

#[test]
fn refuses_what_the_kernel_refuses() {
    let at = 0;
    for (insns, expected) in [
        (vec![], Invalid::Empty),
        (vec![RET; 4097], Invalid::TooLong(4097)),
        (vec![plain(op::LD_IMM, 0)], Invalid::NoReturn),
        (
            vec![plain(op::LD_ABS, 64), RET],
            Invalid::Load { at, k: 64 },
        ),
        (vec![plain(op::LD_ABS, 2), RET], Invalid::Load { at, k: 2 }),
        (
            vec![plain(op::LD_ABS, u32::MAX), RET],
            Invalid::Load { at, k: u32::MAX },
        ),
        (vec![plain(op::ST, 16), RET], Invalid::Memory { at, k: 16 }),
        (
            vec![plain(op::LD_MEM, 3), RET],
            Invalid::Unwritten { at, k: 3 },
        ),
        (vec![plain(op::JA, 1), RET], Invalid::Jump { at }),
        (vec![plain(op::JA, u32::MAX), RET], Invalid::Jump { at }),
        (vec![insn(op::JEQ_K, 1, 0, 0), RET], Invalid::Jump { at }),
        (vec![insn(op::JEQ_K, 0, 255, 0), RET], Invalid::Jump { at }),
        (vec![plain(0x34, 0), RET], Invalid::Operand { at, k: 0 }),
        (vec![plain(0x64, 32), RET], Invalid::Operand { at, k: 32 }),
        // Modulo, a load from the packet, RET X, and rubbish.
        (
            vec![plain(0x94, 1), RET],
            Invalid::Operation { at, code: 0x94 },
        ),
        (
            vec![plain(0x28, 0), RET],
            Invalid::Operation { at, code: 0x28 },
        ),
        (
            vec![plain(0x0e, 0), RET],
            Invalid::Operation { at, code: 0x0e },
        ),
        (
            vec![plain(0xffff, 0), RET],
            Invalid::Operation { at, code: 0xffff },
        ),
    ] {
        assert_eq!(invalid(&insns), expected);
    }
    assert!(Program::new(vec![RET; 4096]).is_ok());
}

#[test]
fn scratch_memory_must_be_written_on_every_path() {
    let one_path = [
        insn(op::JEQ_K, 0, 1, 0),
        plain(op::ST, 0),
        plain(op::LD_MEM, 0),
        RET,
    ];
    assert_eq!(invalid(&one_path), Invalid::Unwritten { at: 2, k: 0 });
    let both_paths = [
        insn(op::JEQ_K, 0, 2, 0),
        plain(op::ST, 0),
        plain(op::JA, 1),
        plain(op::STX, 0),
        plain(op::LD_MEM, 0),
        RET,
    ];
    assert!(Program::new(both_paths.to_vec()).is_ok());
}

#[test]
fn bytes_and_instructions_are_the_same_thing() {
    let program = Program::new(vec![
        plain(op::LD_ABS, 4),
        insn(op::JEQ_K, 0, 1, 9),
        RET,
        RET,
    ]);
    let program = program.unwrap();
    let bytes = program.to_bytes();
    assert_eq!(bytes.len(), 32);
    assert_eq!(Program::from_bytes(&bytes), Ok(program));
    assert_eq!(Program::from_bytes(&bytes[..31]), Err(Invalid::Ragged(31)));
    assert_eq!(Program::from_bytes(&[]), Err(Invalid::Empty));
    let long = vec![0; 8 * 5000];
    assert_eq!(Program::from_bytes(&long), Err(Invalid::TooLong(5000)));
}

#[test]
fn loads_see_seccomp_data_in_words() {
    for (at, expected) in [
        (offset::NR, 7),
        (offset::ARCH, 0xc000_003e),
        (8, 0),
        (12, 0),
        (offset::ARGS, 0x3333_4444),
        (offset::ARGS + 4, 0x1111_2222),
        (offset::ARGS + 40, 0x7777_8888),
        (offset::ARGS + 44, 0x5555_6666),
    ] {
        assert_eq!(value(&[plain(op::LD_ABS, at)]), expected, "{at}");
    }
    assert_eq!(value(&[plain(op::LD_LEN, 0)]), 64);
}

#[test]
fn jumps_compare_without_sign() {
    let taken = |code, a, k| {
        let insns = [
            plain(op::LD_IMM, a),
            insn(code, 0, 1, k),
            plain(op::RET_K, 1),
            plain(op::RET_K, 0),
        ];
        run(&insns) == 1
    };
    assert!(taken(op::JGT_K, u32::MAX, 0) && !taken(op::JGT_K, 5, 5));
    assert!(taken(op::JGE_K, 5, 5) && !taken(op::JGE_K, 4, 0x8000_0000));
    assert!(taken(op::JEQ_K, 5, 5) && !taken(op::JEQ_K, 5, 4));
    assert!(taken(op::JSET_K, 6, 4) && !taken(op::JSET_K, 6, 9));
    // With X as the operand: 3 > 2.
    let insns = [
        plain(op::LDX_IMM, 2),
        plain(op::LD_IMM, 3),
        insn(op::JGT_K | op::SRC_X, 0, 1, 99),
        plain(op::RET_K, 1),
        plain(op::RET_K, 0),
    ];
    assert_eq!(run(&insns), 1);
}

#[test]
fn arithmetic_wraps_and_division_by_zero_ends_the_program() {
    let (ld, ldx) = (|k| plain(op::LD_IMM, k), |k| plain(op::LDX_IMM, k));
    let of = |a, code, k| value(&[ld(a), plain(code, k)]);
    assert_eq!(of(u32::MAX, 0x04, 2), 1);
    assert_eq!(of(0, 0x14, 1), u32::MAX);
    assert_eq!(of(1 << 31, 0x24, 2), 0);
    assert_eq!(of(7, 0x34, 2), 3);
    assert_eq!(of(6, 0x44, 9), 15);
    assert_eq!(of(6, 0x54, 3), 2);
    assert_eq!(of(1, 0x64, 31), 1 << 31);
    assert_eq!(of(1 << 31, 0x74, 31), 1);
    assert_eq!(of(1, 0x84, 0), u32::MAX);
    assert_eq!(of(6, 0xa4, 3), 5);
    let divided = [ld(7), ldx(0), plain(0x3c, 0), RET];
    assert_eq!(run(&divided), 0);
    assert_eq!(value(&[ld(1), ldx(33), plain(0x6c, 0)]), 2);
}

#[test]
fn registers_and_memory_keep_their_values() {
    let insns = [
        plain(op::LD_IMM, 5),
        plain(op::ST, 15),
        plain(op::TAX, 0),
        plain(op::LD_IMM, 0),
        plain(op::STX, 0),
        plain(op::LD_MEM, 15),
        plain(op::LDX_MEM, 0),
        plain(0x0c, 0),
        plain(op::TAX, 0),
        plain(op::LD_IMM, 1),
        plain(op::TXA, 0),
    ];
    assert_eq!(value(&insns), 10);
}

#[test]
fn actions_and_return_values_are_each_others_reverse() {
    for action in [
        Action::KillProcess,
        Action::KillThread,
        Action::Trap,
        Action::Errno(0),
        Action::Errno(4094),
        Action::Notify,
        Action::Trace(u16::MAX),
        Action::Log,
        Action::Allow,
    ] {
        assert_eq!(Action::from_ret(action.to_ret()), action);
    }
    assert_eq!(Action::from_ret(0x1234_0000), Action::KillProcess);
    assert_eq!(Action::from_ret(0x7fff_ffff), Action::Allow);
}
