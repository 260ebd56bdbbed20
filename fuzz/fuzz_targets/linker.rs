//! Any policy compiles to a program that is proven and gives its verdicts.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use oci_seccomp::compile::compile;
use oci_seccomp::policy::{
    Action, Arch, ArchRules, Call, Clause, Compare, Condition, Flags, Policy,
};
use oci_seccomp::prove::prove;

#[derive(Arbitrary, Debug)]
struct Input {
    default: u8,
    arches: Vec<(u8, Option<u16>, Vec<Rule>)>,
    calls: Vec<(u8, u16, [u64; 6])>,
}

#[derive(Arbitrary, Debug)]
struct Rule {
    nr: u16,
    action: u8,
    conditions: [Option<(u8, u64, u64)>; 6],
}

const ARCHES: [Arch; 5] = [
    Arch::X86_64,
    Arch::X86,
    Arch::X32,
    Arch::Aarch64,
    Arch::Riscv64,
];

fn action(n: u8) -> Action {
    match n % 16 {
        0 => Action::KillProcess,
        1 => Action::KillThread,
        2 => Action::Trap,
        3 => Action::Notify,
        4 => Action::Trace(n.into()),
        5 => Action::Log,
        6..11 => Action::Allow,
        _ => Action::Errno(n.into()),
    }
}

fn condition(arg: u8, (op, a, b): (u8, u64, u64)) -> Condition {
    let compare = match op % 7 {
        0 => Compare::Ne(a),
        1 => Compare::Lt(a),
        2 => Compare::Le(a),
        3 => Compare::Eq(a),
        4 => Compare::Ge(a),
        5 => Compare::Gt(a),
        _ => Compare::MaskedEq { mask: a, datum: b },
    };
    Condition { arg, compare }
}

/// A number as the architecture has it.
fn number(arch: Arch, nr: u16) -> u32 {
    let bit = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
    bit | u32::from(nr % 1024)
}

fn policy(input: &Input) -> Policy {
    let mut arches: Vec<ArchRules> = Vec::new();
    for (n, newest, rules) in input.arches.iter().take(4) {
        let arch = ARCHES[usize::from(*n) % ARCHES.len()];
        if arches.iter().any(|r| r.arch == arch) {
            continue;
        }
        let mut out = ArchRules {
            arch,
            calls: Default::default(),
            newest: newest.map(|nr| number(arch, nr)),
        };
        for (index, rule) in rules.iter().take(16).enumerate() {
            let conditions = (0..).zip(rule.conditions);
            let conditions = conditions.filter_map(|(i, c)| Some(condition(i, c?)));
            let clause = Clause {
                conditions: conditions.collect(),
                action: action(rule.action),
                rule: index,
            };
            let nr = number(arch, rule.nr);
            out.calls.entry(nr).or_default().push(clause);
        }
        arches.push(out);
    }
    Policy {
        default: action(input.default),
        arches,
        flags: Flags::default(),
        listener: None,
    }
}

fuzz_target!(|input: Input| {
    let policy = policy(&input);
    let program = compile(&policy).unwrap();
    prove(&policy, &program).unwrap();
    for &(n, nr, args) in &input.calls {
        let arch = ARCHES[usize::from(n) % ARCHES.len()];
        let (audit, nr) = (arch.audit(), number(arch, nr));
        let call = Call { audit, nr, args };
        let expected = policy.verdict(&call).action.to_ret();
        assert_eq!(program.run(&call).0, expected);
    }
});
