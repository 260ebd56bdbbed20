//! A survey must list every pair of answers that any call leads to.

use super::*;
use crate::compile::compile;
use crate::translate::{Options, translate};

fn policy(json: &str) -> Policy {
    let section = serde_json::from_str(json).unwrap();
    translate(&section, Options::default()).unwrap().policy
}

fn one_of(program: &Program) -> &[Program] {
    std::slice::from_ref(program)
}

/// Rules that part the arguments of the same calls in different ways.
const PROFILES: [&str; 4] = [
    r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["clone", "personality", "unshare"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 268435456}]}]}"#,
    r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X32"],
        "syscalls": [
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 8}]},
            {"names": ["personality"], "action": "SCMP_ACT_LOG",
             "args": [{"index": 0, "op": "SCMP_CMP_GT", "value": 4294967296}]},
            {"names": ["clone", "lseek"], "action": "SCMP_ACT_KILL",
             "args": [{"index": 1, "op": "SCMP_CMP_NE", "value": 3}]}]}"#,
    r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["clone", "unshare"], "action": "SCMP_ACT_TRAP"}]}"#,
    r#"{"defaultAction": "SCMP_ACT_LOG"}"#,
];

/// Values on both sides of every constant above, in both halves.
fn values() -> Vec<u64> {
    let words = [
        0,
        1,
        2,
        3,
        4,
        7,
        8,
        9,
        1 << 28,
        (1 << 28) | 8,
        u64::from(u32::MAX),
    ];
    let highs = [0u64, 1, 2, u64::from(u32::MAX)];
    highs
        .iter()
        .flat_map(|h| words.map(|l| h << 32 | l))
        .collect()
}

fn calls(arch: Arch) -> Vec<Call> {
    let names = ["clone", "personality", "unshare", "lseek", "read"];
    let mut out = Vec::new();
    for name in names {
        let nr = match syscalls::resolve(name, arch) {
            syscalls::Wiring::Direct(nr) => nr,
            other => panic!("{name}: {other:?}"),
        };
        for first in values() {
            for second in [0, 3, 4, 3 | 1 << 32] {
                out.push(Call {
                    audit: arch.audit(),
                    nr,
                    args: [first, second, 0, 0, 0, 0],
                });
            }
        }
    }
    out
}

#[test]
fn lists_every_pair_of_answers() {
    let arches = [Arch::X86_64, Arch::X86, Arch::X32];
    for (one, other) in PROFILES.iter().flat_map(|a| PROFILES.map(|b| (*a, b))) {
        let (one, other) = (policy(one), policy(other));
        let (left, right) = (compile(&one).unwrap(), compile(&other).unwrap());
        for reference in [Reference::Policy(&one), Reference::Programs(one_of(&left))] {
            let survey = survey(reference, one_of(&right), &arches);
            assert!(survey.proof.complete);
            for arch in arches {
                for call in calls(arch) {
                    let pair = (one.verdict(&call).action, other.verdict(&call).action);
                    let listed = &survey.pairs[&(Some(arch), call.audit, call.nr)];
                    assert!(
                        listed.iter().any(|p| (p.reference, p.programs) == pair),
                        "{}: {pair:?} is not among {listed:?}",
                        syscalls::describe(Some(arch), &call)
                    );
                }
            }
        }
    }
}

#[test]
fn each_pair_comes_with_a_call_that_shows_it() {
    let (one, other) = (policy(PROFILES[0]), policy(PROFILES[1]));
    let right = compile(&other).unwrap();
    let survey = survey(
        Reference::Policy(&one),
        one_of(&right),
        &[Arch::X86_64, Arch::X32],
    );
    for pair in survey.pairs.values().flatten() {
        assert_eq!(one.verdict(&pair.call).action, pair.reference);
        assert_eq!(other.verdict(&pair.call).action, pair.programs);
    }
}

#[test]
fn a_program_against_itself_has_equal_answers_only() {
    let program = compile(&policy(PROFILES[1])).unwrap();
    let arches = [Arch::X86_64, Arch::X32];
    let survey = survey(
        Reference::Programs(one_of(&program)),
        one_of(&program),
        &arches,
    );
    let pairs = || survey.pairs.values().flatten();
    assert!(pairs().all(|p| p.reference == p.programs));
    let personality = &survey.pairs[&(Some(Arch::X86_64), Arch::X86_64.audit(), 135)];
    assert_eq!(personality.len(), 3);
}

#[test]
fn the_tokens_of_other_architectures_are_tried_too() {
    let (one, other) = (policy(PROFILES[0]), policy(PROFILES[2]));
    let (one, other) = (compile(&one).unwrap(), compile(&other).unwrap());
    let survey = survey(
        Reference::Programs(one_of(&one)),
        one_of(&other),
        &[Arch::X86_64],
    );
    let x86 = &survey.pairs[&(None, Arch::X86.audit(), 0)];
    assert_eq!(x86[0].reference, Action::Errno(1));
    assert_eq!(x86[0].programs, Action::KillThread);
}

#[test]
fn of_several_programs_the_strictest_decides_and_of_equals_the_newest() {
    let errno = |errno: u16| {
        compile(&policy(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["mkdir"],
                "action": "SCMP_ACT_ERRNO", "errnoRet": {errno}}}]}}"#
        )))
        .unwrap()
    };
    let kills = compile(&policy(
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#,
    ))
    .unwrap();
    let allows = policy(PROFILES[2]);
    let answer = |programs: &[Program]| {
        let reference = Reference::Policy(&allows);
        let survey = survey_call(reference, programs, (Arch::X86_64, 83), [None; 6]);
        assert!(survey.proof.complete);
        let pairs: Vec<_> = survey.pairs.into_values().flatten().collect();
        assert_eq!(pairs.len(), 1);
        pairs[0].programs
    };
    let [one, other] = [errno(7), errno(8)];
    assert_eq!(answer(&[]), Action::Allow);
    assert_eq!(answer(&[one.clone(), other.clone()]), Action::Errno(8));
    assert_eq!(answer(&[other.clone(), one.clone()]), Action::Errno(7));
    assert_eq!(answer(&[kills, other]), Action::KillProcess);
}

#[test]
fn arguments_that_are_given_are_not_varied() {
    let policy = policy(PROFILES[1]);
    let program = compile(&policy).unwrap();
    let answers = |given: Option<u64>| {
        let given = [given, None, None, None, None, None];
        let call = (Arch::X86_64, 135);
        let survey = survey_call(Reference::Policy(&policy), one_of(&program), call, given);
        let mut answers: Vec<_> = survey
            .pairs
            .into_values()
            .flatten()
            .map(|p| p.programs)
            .collect();
        answers.sort();
        answers
    };
    assert_eq!(
        answers(None),
        [Action::Errno(38), Action::Log, Action::Allow]
    );
    assert_eq!(answers(Some(8)), [Action::Allow]);
}
