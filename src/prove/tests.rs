//! A proof is worth what it refuses: programs made wrong, by hand and by
//! changing single instructions of right ones.

use super::classes::low;
use super::trial::PRODUCT_LIMIT;
use super::*;
use crate::bpf::{Insn, offset, op};
use crate::compile::compile;
use crate::policy::X32_BIT;
use crate::translate::{Options, translate};

fn policy(json: &str) -> Policy {
    let section = serde_json::from_str(json).unwrap();
    translate(&section, Options::default()).unwrap().policy
}

fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
    Insn { code, jt, jf, k }
}

fn ret(action: Action) -> Insn {
    insn(op::RET_K, 0, 0, action.to_ret())
}

fn load(k: u32) -> Insn {
    insn(op::LD_ABS, 0, 0, k)
}

const X86_64: u32 = Arch::X86_64.audit();
const DENY_MKDIR: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}"#;
const DENY_IF_ARG0_IS_5: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "rmdir"], "action": "SCMP_ACT_ERRNO",
        "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]}]}"#;

/// The call on which the proof fails.
fn disproved(policy: &Policy, insns: Vec<Insn>) -> Witness {
    let program = Program::new(insns).unwrap();
    prove(policy, &program).unwrap_err().0
}

#[test]
fn x32_calls_must_not_get_through_where_x32_is_not_listed() {
    let witness = disproved(
        &policy(DENY_MKDIR),
        vec![
            load(offset::ARCH),
            insn(op::JEQ_K, 1, 0, X86_64),
            ret(Action::KillThread),
            load(offset::NR),
            insn(op::JEQ_K, 0, 1, 83),
            ret(Action::Errno(1)),
            ret(Action::Allow),
        ],
    );
    assert_eq!(witness.call.audit, X86_64);
    assert!(witness.call.nr >= X32_BIT);
    assert!(witness.is_weaker());
}

const ALLOW: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#;

/// As runc does before libseccomp's part.
#[test]
fn the_bit_that_marks_x32_may_be_asked_for_by_itself() {
    let program = |without: u32| {
        vec![
            load(offset::ARCH),
            insn(op::JEQ_K, 0, 5, X86_64),
            load(offset::NR),
            insn(op::JEQ_K, 2, 0, u32::MAX),
            insn(op::JSET_K, 2, 0, X32_BIT),
            insn(op::JGE_K, 1, 0, without),
            ret(Action::Allow),
            ret(Action::KillThread),
        ]
    };
    let right = Program::new(program(1 << 31)).unwrap();
    assert!(prove(&policy(ALLOW), &right).unwrap().complete);
    let witness = disproved(&policy(ALLOW), program(u32::MAX));
    assert!((1 << 31..3 << 30).contains(&witness.call.nr), "{witness:?}");
}

#[test]
fn a_foreign_number_between_two_bounds_does_not_hide() {
    let witness = disproved(
        &policy(ALLOW),
        vec![
            load(offset::ARCH),
            insn(op::JEQ_K, 3, 0, X86_64),
            load(offset::NR),
            insn(op::JGT_K, 0, 6, 100),
            insn(op::JGE_K, 5, 3, 200),
            load(offset::NR),
            insn(op::JEQ_K, 1, 0, u32::MAX),
            insn(op::JGE_K, 2, 0, X32_BIT),
            ret(Action::Allow),
            ret(Action::Allow),
            ret(Action::KillThread),
        ],
    );
    assert!((101..200).contains(&witness.call.nr), "{witness:?}");
    assert_eq!(witness.arch, None);
}

#[test]
fn arguments_must_not_let_a_foreign_architecture_through() {
    let witness = disproved(
        &policy(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#),
        vec![
            load(offset::ARCH),
            insn(op::JEQ_K, 0, 3, X86_64),
            load(offset::NR),
            insn(op::JGE_K, 0, 3, X32_BIT),
            insn(op::JEQ_K, 2, 3, u32::MAX),
            load(offset::ARGS),
            insn(op::JEQ_K, 0, 1, 0x1234),
            ret(Action::Allow),
            ret(Action::KillThread),
        ],
    );
    assert_eq!(witness.call.args[0] & 0xffff_ffff, 0x1234);
    assert!(witness.is_weaker());
}

#[test]
fn a_number_looked_at_behind_an_argument_does_not_hide() {
    // As the policy says, but for rmdir, whose code is that of mkdir.
    let witness = disproved(
        &policy(DENY_IF_ARG0_IS_5),
        vec![
            load(offset::ARCH),
            insn(op::JEQ_K, 1, 0, X86_64),
            ret(Action::KillThread),
            load(offset::NR),
            insn(op::JGE_K, 0, 1, X32_BIT),
            insn(op::JEQ_K, 9, 8, u32::MAX),
            insn(op::JEQ_K, 1, 0, 83),
            insn(op::JEQ_K, 0, 7, 84),
            load(offset::ARGS),
            insn(op::JEQ_K, 0, 5, 5),
            load(offset::ARGS + 4),
            insn(op::JEQ_K, 0, 3, 0),
            load(offset::NR),
            insn(op::JEQ_K, 1, 2, 84),
            ret(Action::KillThread),
            ret(Action::Allow),
            ret(Action::Errno(1)),
        ],
    );
    assert!(witness.is_weaker(), "{witness}");
}

#[test]
fn high_halves_must_not_matter_on_a_32_bit_architecture() {
    let policy =
        policy(r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"]}"#);
    let witness = disproved(
        &policy,
        vec![
            load(offset::ARCH),
            insn(op::JEQ_K, 1, 0, X86_64),
            insn(op::JEQ_K, 4, 3, Arch::X86.audit()),
            load(offset::NR),
            insn(op::JGE_K, 0, 5, X32_BIT),
            insn(op::JEQ_K, 4, 0, u32::MAX),
            ret(Action::KillThread),
            load(offset::ARGS + 12),
            insn(op::JEQ_K, 0, 1, 7),
            ret(Action::Allow),
            ret(Action::Errno(1)),
        ],
    );
    assert_eq!(witness.call.args[1] >> 32, 7);
    assert!(witness.is_weaker());
}

#[test]
fn a_program_that_looks_at_the_instruction_pointer_is_not_wholly_proven() {
    let right = |first: Insn| {
        Program::new(vec![
            first,
            load(offset::ARCH),
            insn(op::JEQ_K, 1, 0, X86_64),
            ret(Action::KillThread),
            load(offset::NR),
            insn(op::JGE_K, 0, 2, X32_BIT),
            insn(op::JEQ_K, 1, 0, u32::MAX),
            ret(Action::KillThread),
            insn(op::JEQ_K, 0, 1, 83),
            ret(Action::Errno(1)),
            ret(Action::Allow),
        ])
        .unwrap()
    };
    let policy = policy(DENY_MKDIR);
    assert!(prove(&policy, &right(load(offset::NR))).unwrap().complete);
    assert!(!prove(&policy, &right(load(8))).unwrap().complete);
    let arithmetic = insn(0x04, 0, 0, 1);
    assert!(!prove(&policy, &right(arithmetic)).unwrap().complete);
}

#[test]
fn a_witness_names_the_call_and_both_verdicts() {
    let policy = policy(DENY_MKDIR);
    let program = Program::new(vec![ret(Action::Allow)]).unwrap();
    let disproof = prove(&policy, &program).unwrap_err();
    let text = disproof.to_string();
    assert!(
        text.starts_with("the program does not mean what the profile says: x86_64 mkdir()"),
        "{text}"
    );
    assert!(text.ends_with("expected ERRNO(1), got ALLOW"), "{text}");
}

#[test]
fn a_product_too_large_to_try_is_sampled_and_said_so() {
    let args: Vec<_> = (0..6)
        .map(|i| {
            let value = 0x1234_5678_9abc_0000u64 + i;
            format!(r#"{{"index": {i}, "value": {value}, "op": "SCMP_CMP_LE"}}"#)
        })
        .collect();
    let policy = policy(&format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["futex"],
            "action": "SCMP_ACT_ALLOW", "args": [{}]}}]}}"#,
        args.join(",")
    ));
    let proof = prove(&policy, &compile(&policy).unwrap()).unwrap();
    assert!(!proof.complete);
    assert!(proof.points > PRODUCT_LIMIT);
}

#[test]
fn a_program_made_to_have_endless_states_is_given_up_on() {
    // Each bit of the mask on an argument depends on a word before it.
    let mut insns = vec![load(offset::ARGS)];
    for bit in 0..32 {
        insns.push(insn(op::JSET_K, 0, 1, 1 << bit));
        insns.push(insn(op::AND_K, 0, 0, !(1 << bit)));
    }
    insns.push(insn(op::JEQ_K, 0, 1, 0));
    insns.extend([ret(Action::Allow), ret(Action::KillThread)]);
    let policy = policy(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    disproved(&policy, insns);
}

/// Policies whose programs use every kind of instruction that ours have.
const POLICIES: &[&str] = &[
    DENY_MKDIR,
    // The 64-bit bounds that libseccomp merges wrongly.
    r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["lseek"], "action": "SCMP_ACT_ERRNO",
         "args": [{"index": 1, "value": 4294967301, "op": "SCMP_CMP_LE"}]},
        {"names": ["lseek"], "action": "SCMP_ACT_ERRNO",
         "args": [{"index": 1, "value": 5, "op": "SCMP_CMP_LE"}]}]}"#,
    r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"], "syscalls": [
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["read", "write", "accept", "futex", "exit_group"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["socket"], "action": "SCMP_ACT_KILL_PROCESS",
         "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"},
                  {"index": 1, "value": 3, "op": "SCMP_CMP_NE"}]},
        {"names": ["socket"], "action": "SCMP_ACT_LOG"}]}"#,
    r#"{"defaultAction": "SCMP_ACT_KILL_PROCESS", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
         "args": [{"index": 1, "value": 448, "op": "SCMP_CMP_EQ"}]},
        {"names": ["mkdir"], "action": "SCMP_ACT_TRACE", "errnoRet": 7,
         "args": [{"index": 0, "value": 4294967296, "op": "SCMP_CMP_LT"}]},
        {"names": ["mkdir"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 9223372036854775808, "valueTwo": 9223372036854775809,
                   "op": "SCMP_CMP_MASKED_EQ"},
                  {"index": 2, "value": 4294967295, "op": "SCMP_CMP_GT"}]},
        {"names": ["personality", "lseek"], "action": "SCMP_ACT_TRAP",
         "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_GE"},
                  {"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}]}]}"#,
];

/// Calls likely to tell two programs apart, from a fixed seed.
struct Calls {
    state: u64,
    words: Vec<u32>,
}

impl Calls {
    /// Calls around the constants of programs.
    fn around(programs: &[&Program]) -> Self {
        let constants = programs.iter().flat_map(|p| p.instructions()).map(|i| i.k);
        let mut words: Vec<u32> = constants
            .flat_map(|k| [k.wrapping_sub(1), k, k.wrapping_add(1), !k])
            .chain([0, 1, u32::MAX, X32_BIT, 1 << 31])
            .collect();
        words.sort_unstable();
        words.dedup();
        Self {
            state: 0x2545_f491_4f6c_dd1d,
            words,
        }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 8
    }

    fn word(&mut self) -> u32 {
        match self.next() % 8 {
            0 => low(self.next()),
            1 => low(self.next()) & 0xff,
            2 => 1 << (self.next() % 32),
            _ => {
                let pick = self.next() as usize % self.words.len();
                self.words[pick]
            }
        }
    }

    fn call(&mut self, policy: &Policy) -> Call {
        let audit = match self.next() % 8 {
            0 => self.word(),
            n => policy.arches[n as usize % policy.arches.len()].arch.audit(),
        };
        let args = [0; 6].map(|_| match self.next() % 4 {
            0 => 0,
            1 => u64::from(self.word()),
            _ => u64::from(self.word()) << 32 | u64::from(self.word()),
        });
        let rules = &policy.arches[self.next() as usize % policy.arches.len()];
        let named: Vec<u32> = rules.calls.keys().copied().collect();
        let nr = match self.next() % 4 {
            0 => self.word(),
            1 => low(self.next() % 512) | (low(self.next()) & X32_BIT),
            _ => named[self.next() as usize % named.len()],
        };
        Call { audit, nr, args }
    }
}

/// Every program that differs from this one in a single instruction, by a
/// slip that a compiler could make.
fn mutants(program: &Program) -> Vec<Program> {
    let insns = program.instructions();
    let mut out = Vec::new();
    for (at, &i) in insns.iter().enumerate() {
        let mut changed = Vec::new();
        for d in [1u32, u32::MAX] {
            changed.push(Insn {
                k: i.k.wrapping_add(d),
                ..i
            });
        }
        match i.code {
            op::RET_K => {
                let actions = [
                    Action::Allow,
                    Action::Log,
                    Action::Errno(2),
                    Action::KillThread,
                ];
                changed.extend(actions.map(ret));
            }
            op::LD_ABS => {
                let words = (0..offset::END).step_by(4).filter(|&k| k != i.k);
                changed.extend(words.map(load));
            }
            op::AND_K => changed.extend((0..32).map(|b| Insn {
                k: i.k ^ 1 << b,
                ..i
            })),
            _ if i.is_branch() => {
                let codes = [op::JEQ_K, op::JGT_K, op::JGE_K, op::JSET_K];
                changed.extend(codes.map(|code| Insn { code, ..i }));
                changed.extend([1u8, u8::MAX].map(|d| Insn {
                    jt: i.jt.wrapping_add(d),
                    ..i
                }));
                changed.extend([1u8, u8::MAX].map(|d| Insn {
                    jf: i.jf.wrapping_add(d),
                    ..i
                }));
                changed.push(Insn {
                    jt: i.jf,
                    jf: i.jt,
                    ..i
                });
                changed.push(Insn {
                    k: i.k ^ 1 << 31,
                    ..i
                });
            }
            _ => {}
        }
        changed.retain(|c| *c != i);
        out.extend(changed.into_iter().filter_map(|c| {
            let mut insns = insns.to_vec();
            insns[at] = c;
            Program::new(insns).ok()
        }));
    }
    out
}

/// How many calls a mutant has to survive that the proof did not refuse;
/// `PROVE_CALLS` sets another number.
fn calls_tried() -> usize {
    let given = std::env::var("PROVE_CALLS").ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(1_000)
}

#[test]
fn no_changed_instruction_that_changes_a_verdict_is_proven() {
    let (mut total, mut refused) = (0, 0);
    for json in POLICIES {
        let policy = policy(json);
        let program = compile(&policy).unwrap();
        assert!(prove(&policy, &program).unwrap().complete);
        for mutant in mutants(&program) {
            total += 1;
            if prove(&policy, &mutant).is_err() {
                refused += 1;
                continue;
            }
            let mut calls = Calls::around(&[&program, &mutant]);
            for _ in 0..calls_tried() {
                let call = calls.call(&policy);
                let (expected, got) = (policy.verdict(&call).action, mutant.run(&call).0);
                assert_eq!(
                    Action::from_ret(got),
                    expected,
                    "{call:x?} in {json}, changed to {:?}",
                    mutant.instructions()
                );
            }
        }
    }
    eprintln!("{refused} of {total} changed programs refused, the others mean the same");
    assert!(refused * 10 > total * 8, "{refused} of {total}");
}
