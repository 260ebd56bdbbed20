//! What each point of a profile means: calls with their verdicts, through the
//! reference and the compiled program alike.

use super::*;
use crate::compile::compile;
use crate::policy::{Call, Reason};
use crate::prove::prove;

const ON: Options = Options {
    strict: false,
    enosys: true,
};
const STRICT: Options = Options {
    strict: true,
    enosys: true,
};

/// A profile: its default, what stands beside the rules, and the rules.
fn section(default: &str, beside: &str, rules: &str) -> LinuxSeccomp {
    let json =
        format!(r#"{{"defaultAction": "SCMP_ACT_{default}", {beside} "syscalls": [{rules}]}}"#);
    serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"))
}

/// A rule; `rest` begins with a comma or is empty.
fn rule(name: &str, action: &str, rest: &str) -> String {
    format!(r#"{{"names": ["{name}"], "action": "SCMP_ACT_{action}" {rest}}}"#)
}

/// A rule with conditions: index, operator, value, valueTwo.
fn rule_if(name: &str, action: &str, args: &[(u8, &str, u64, u64)]) -> String {
    let args: Vec<_> = args
        .iter()
        .map(|(index, op, value, two)| {
            format!(
                r#"{{"index": {index}, "value": {value}, "valueTwo": {two}, "op": "SCMP_CMP_{op}"}}"#
            )
        })
        .collect();
    rule(name, action, &format!(r#", "args": [{}]"#, args.join(",")))
}

fn translated(section: &LinuxSeccomp) -> Translation {
    translate(section, ON).unwrap()
}

fn fault(section: &LinuxSeccomp) -> (Option<usize>, Fault) {
    let error = translate(section, STRICT).unwrap_err();
    (error.rule, error.fault)
}

fn kinds(translation: &Translation) -> Vec<(Option<usize>, FindingKind)> {
    let findings = translation.findings.iter();
    findings.map(|f| (f.rule, f.kind.clone())).collect()
}

/// Asserts verdicts: architecture, number, arguments, action.
fn assert_verdicts(section: &LinuxSeccomp, table: &[(Arch, u32, &[u64], Action)]) {
    let policy = translated(section).policy;
    let program = compile(&policy).unwrap();
    prove(&policy, &program).unwrap();
    for &(arch, nr, given, expected) in table {
        let mut args = [0; 6];
        args[..given.len()].copy_from_slice(given);
        let audit = arch.audit();
        let call = Call { audit, nr, args };
        let verdict = policy.verdict(&call);
        assert_eq!(verdict.action, expected, "{arch} {nr} {given:x?}");
        assert_eq!(
            program.run(&call).0,
            expected.to_ret(),
            "{arch} {nr} {given:x?}"
        );
    }
}

const PERM: Action = Action::Errno(1);
const ALLOW: Action = Action::Allow;
const KILL: Action = Action::KillThread;
const NOSYS: Action = Action::Errno(ENOSYS);
const X64: Arch = Arch::X86_64;
const X86: Arch = Arch::X86;
const X32: Arch = Arch::X32;
const LISTED: &str = r#""architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],"#;

const LSEEK: u32 = 8;
const MKDIR: u32 = 83;
const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

#[test]
fn denies_lseek_when_any_64_bit_bound_matches() {
    let bound = |value| rule_if("lseek", "ERRNO", &[(1, "LE", value, 0)]);
    let section = section("ALLOW", "", &[bound(0x1_0000_0005), bound(5)].join(","));
    assert_verdicts(
        &section,
        &[
            (X64, LSEEK, &[0, 5], PERM),
            (X64, LSEEK, &[0, 6], PERM),
            (X64, LSEEK, &[0, 0xffff_ffff], PERM),
            (X64, LSEEK, &[0, 0x1_0000_0005], PERM),
            (X64, LSEEK, &[0, 0x1_0000_0006], ALLOW),
            (X64, LSEEK, &[0, u64::MAX], ALLOW),
        ],
    );
}

#[test]
fn the_first_matching_rule_decides_and_not_the_strictest() {
    let rules = [
        rule_if("mkdir", "ERRNO", &[(1, "EQ", 0o700, 0)]).replace("}]}", r#"}], "errnoRet": 77}"#),
        rule("mkdir", "ALLOW", ""),
        rule("mkdir", "KILL_PROCESS", ""),
    ];
    assert_verdicts(
        &section("LOG", "", &rules.join(",")),
        &[
            (X64, MKDIR, &[0, 0o700], Action::Errno(77)),
            (X64, MKDIR, &[0, 0o755], ALLOW),
            (X64, MKDIR + 1, &[], Action::Log),
        ],
    );
}

#[test]
fn a_rule_that_repeats_the_default_still_comes_before_others() {
    let rules = [
        rule_if("mkdir", "ERRNO", &[(1, "EQ", 1, 0)]),
        rule("mkdir", "ALLOW", ""),
    ];
    assert_verdicts(
        &section("ERRNO", "", &rules.join(",")),
        &[(X64, MKDIR, &[0, 1], PERM), (X64, MKDIR, &[0, 2], ALLOW)],
    );
}

#[test]
fn all_conditions_on_different_arguments_must_hold() {
    let both = rule_if("mkdir", "ERRNO", &[(0, "GE", 5, 0), (1, "NE", 3, 0)]);
    assert_verdicts(
        &section("ALLOW", "", &both),
        &[
            (X64, MKDIR, &[5, 4], PERM),
            (X64, MKDIR, &[4, 4], ALLOW),
            (X64, MKDIR, &[5, 3], ALLOW),
            (X64, MKDIR, &[1 << 40, 1 << 40], PERM),
        ],
    );
}

#[test]
fn any_condition_is_enough_where_an_argument_is_named_twice() {
    // Also those on other arguments, as runc, crun and youki do.
    let either = rule_if(
        "mkdir",
        "ERRNO",
        &[(0, "EQ", 5, 0), (0, "EQ", 6, 0), (1, "EQ", 1, 0)],
    );
    assert_verdicts(
        &section("ALLOW", "", &either),
        &[
            (X64, MKDIR, &[5, 0], PERM),
            (X64, MKDIR, &[6, 0], PERM),
            (X64, MKDIR, &[7, 1], PERM),
            (X64, MKDIR, &[7, 0], ALLOW),
        ],
    );
}

#[test]
fn masked_eq_compares_only_the_bits_of_the_mask() {
    let outside = rule_if("mkdir", "ERRNO", &[(0, "MASKED_EQ", 0xf0, 0xff3f)]);
    assert_verdicts(
        &section("ALLOW", "", &outside),
        &[
            (X64, MKDIR, &[0x30], PERM),
            (X64, MKDIR, &[0x3f | 1 << 63], PERM),
            (X64, MKDIR, &[0x70], ALLOW),
        ],
    );
    let zero = rule_if("clone", "ALLOW", &[(0, "MASKED_EQ", 0x7e02_0000, 0)]);
    assert_verdicts(
        &section("ERRNO", "", &zero),
        &[
            (X64, 56, &[0x11], ALLOW),
            (X64, 56, &[0x1000_0011], PERM),
            (X64, 56, &[0x1_0000_0000], ALLOW),
        ],
    );
    let nothing = rule_if("mkdir", "ERRNO", &[(0, "MASKED_EQ", 0, 7)]);
    assert_verdicts(&section("ALLOW", "", &nothing), &[(X64, MKDIR, &[1], PERM)]);
}

#[test]
fn value_two_means_nothing_to_the_other_operators() {
    let equal = rule_if("mkdir", "ERRNO", &[(0, "EQ", 5, 6)]);
    assert_verdicts(
        &section("ALLOW", "", &equal),
        &[(X64, MKDIR, &[5], PERM), (X64, MKDIR, &[6], ALLOW)],
    );
}

#[test]
fn arguments_of_32_bit_architectures_have_32_bits() {
    let below = rule_if("lseek", "ERRNO", &[(1, "LT", 0x1_0000_0000, 0)]);
    assert_verdicts(
        &section("ALLOW", LISTED, &below),
        &[
            (X86, 19, &[0, 0xffff_ffff], PERM),
            (X86, 19, &[0, 0x7_0000_0000], PERM),
            (X32, 0x4000_0008, &[0, 0x7_0000_0000], PERM),
            (X64, LSEEK, &[0, 0xffff_ffff], PERM),
            (X64, LSEEK, &[0, 0x1_0000_0000], ALLOW),
        ],
    );
    let equal = rule_if("lseek", "ERRNO", &[(1, "EQ", 0x1_0000_0005, 0)]);
    assert_verdicts(
        &section("ALLOW", LISTED, &equal),
        &[
            (X86, 19, &[0, 5], ALLOW),
            (X86, 19, &[0, 0x1_0000_0005], ALLOW),
            (X64, LSEEK, &[0, 0x1_0000_0005], PERM),
        ],
    );
}

#[test]
fn x32_is_told_by_its_bit_and_minus_one_is_x86_64s() {
    let mkdir = rule("mkdir", "ERRNO", "");
    let table: &[(Arch, u32, &[u64], Action)] = &[
        (X32, 0x4000_0000 + MKDIR, &[], PERM),
        (X32, 0x4000_0000, &[], ALLOW),
        (X32, MKDIR, &[], PERM),
        (X64, u32::MAX, &[], ALLOW),
        (X64, u32::MAX - 1, &[], ALLOW),
    ];
    assert_verdicts(&section("ALLOW", LISTED, &mkdir), table);
    assert_verdicts(
        &section("ALLOW", "", &mkdir),
        &[
            (X32, 0x4000_0000 + MKDIR, &[], KILL),
            (X64, u32::MAX, &[], ALLOW),
            (X64, u32::MAX - 1, &[], KILL),
            (X64, 0x3fff_ffff, &[], ALLOW),
        ],
    );
}

#[test]
fn x32_without_x86_64_compiles_for_machines_of_another_kind() {
    let listed = section("ALLOW", LISTED, &rule("mkdir", "ERRNO", ""));
    let mut policy = translated(&listed).policy;
    policy.arches.retain(|r| r.arch == X32);
    prove(&policy, &compile(&policy).unwrap()).unwrap();
    assert_eq!(
        policy
            .verdict(&Call {
                audit: X64.audit(),
                nr: MKDIR,
                args: [0; 6]
            })
            .action,
        KILL
    );
}

#[test]
fn calls_from_unlisted_architectures_are_killed() {
    let section = section("ALLOW", r#""architectures": ["SCMP_ARCH_AARCH64"],"#, "");
    assert_verdicts(
        &section,
        &[
            (X64, 0, &[], ALLOW),
            (Arch::Aarch64, 0, &[], ALLOW),
            (X86, 3, &[], KILL),
            (Arch::Arm, 3, &[], KILL),
            (Arch::S390x, 3, &[], KILL),
        ],
    );
    let arches = translated(&section).policy.arches;
    assert_eq!(
        arches.iter().map(|r| r.arch).collect::<Vec<_>>(),
        [X64, Arch::Aarch64]
    );
}

#[test]
fn every_architecture_of_the_spec_is_understood() {
    for arch in Arch::ALL {
        let listed = format!(r#""architectures": ["{}"],"#, arch.oci_name());
        let translation = translated(&section("ALLOW", &listed, ""));
        let taken = translation.policy.arches.iter().any(|r| r.arch == *arch);
        assert!(taken != translation.skips(*arch), "{arch}");
        assert_eq!(taken, translation.findings.is_empty(), "{arch}");
    }
    let native = section("ALLOW", r#""architectures": ["SCMP_ARCH_NATIVE"],"#, "");
    assert_eq!(translated(&native).policy.arches.len(), 1);
}

#[test]
fn architectures_that_cannot_be_compiled_for_are_found_and_killed() {
    let section = section(
        "ALLOW",
        r#""architectures": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390X"],"#,
        "",
    );
    let translation = translated(&section);
    assert!(translation.skips(Arch::S390x));
    assert!(
        kinds(&translation).contains(&(None, FindingKind::ForeignEndianness(Arch::S390x))),
        "{:?}",
        translation.findings
    );
    assert_verdicts(&section, &[(Arch::S390x, 4, &[], KILL)]);
}

#[test]
fn newer_calls_get_enosys_for_each_architecture_by_itself() {
    // accept has no number of its own on x86, where socketcall's stands for
    // the largest.
    let rules = [rule("accept", "ALLOW", ""), rule("lseek", "ALLOW", "")];
    let section = section("ERRNO", LISTED, &rules.join(","));
    assert_verdicts(
        &section,
        &[
            (X64, 42, &[], PERM),
            (X64, 44, &[], NOSYS),
            (X64, u32::MAX, &[], NOSYS),
            (X86, 101, &[], PERM),
            (X86, 103, &[], NOSYS),
            (X32, 0x4000_0000 + 42, &[], PERM),
            (X32, 0x4000_0000 + 44, &[], NOSYS),
        ],
    );
    let off = Options {
        strict: false,
        enosys: false,
    };
    let policy = translate(&section, off).unwrap().policy;
    assert!(policy.arches.iter().all(|r| r.newest.is_none()));
}

#[test]
fn a_conditional_rule_names_its_call_for_the_enosys_rule_too() {
    let rules = rule_if("mkdir", "ALLOW", &[(0, "EQ", 1, 0)]);
    assert_verdicts(
        &section("KILL", "", &rules),
        &[
            (X64, MKDIR, &[1], ALLOW),
            (X64, MKDIR, &[2], KILL),
            (X64, MKDIR + 1, &[], NOSYS),
        ],
    );
}

#[test]
fn enosys_does_not_take_the_place_of_these_defaults() {
    let mkdir = rule("mkdir", "KILL", "");
    let applies = |default: &str, beside: &str| {
        let policy = translated(&section(default, beside, &mkdir)).policy;
        policy.arches[0].newest.is_some()
    };
    for default in ["ALLOW", "LOG", "TRACE"] {
        assert!(!applies(default, ""), "{default}");
    }
    for default in ["ERRNO", "KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"] {
        assert!(applies(default, ""), "{default}");
    }
    assert!(!applies("ERRNO", r#""defaultErrnoRet": 38,"#));
    assert!(applies("ERRNO", r#""defaultErrnoRet": 37,"#));
    let none = translated(&section("ERRNO", "", "")).policy;
    assert_eq!(none.arches[0].newest, None, "nothing is named");
}

#[test]
fn errno_ret_is_eperm_unless_given_and_only_for_errno_and_trace() {
    let action = |action: &str, rest: &str| {
        let section = section("LOG", "", &rule("mkdir", action, rest));
        translate(&section, ON).map(|t| t.policy.arches[0].calls[&MKDIR][0].action)
    };
    assert_eq!(action("ERRNO", ""), Ok(PERM));
    assert_eq!(action("TRACE", ""), Ok(Action::Trace(1)));
    assert_eq!(action("ERRNO", r#", "errnoRet": 0"#), Ok(Action::Errno(0)));
    assert_eq!(
        action("ERRNO", r#", "errnoRet": 4094"#),
        Ok(Action::Errno(4094))
    );
    assert_eq!(action("TRACE", r#", "errnoRet": 7"#), Ok(Action::Trace(7)));
    for value in [4095, 4096, 65536, u32::MAX] {
        let error = action("ERRNO", &format!(r#", "errnoRet": {value}"#)).unwrap_err();
        assert_eq!(
            (error.rule, error.fault),
            (Some(0), Fault::ErrnoRange(value))
        );
    }
    for other in [
        "ALLOW",
        "LOG",
        "KILL",
        "KILL_THREAD",
        "KILL_PROCESS",
        "TRAP",
    ] {
        let error = action(other, r#", "errnoRet": 1"#).unwrap_err();
        assert!(matches!(error.fault, Fault::ErrnoUnused(_)), "{other}");
    }
    let default = section("ALLOW", r#""defaultErrnoRet": 1,"#, "");
    assert_eq!(fault(&default).0, None);
    let range = section("ERRNO", r#""defaultErrnoRet": 4095,"#, "");
    assert_eq!(fault(&range), (None, Fault::ErrnoRange(4095)));
}

#[test]
fn actions_mean_what_the_spec_calls_them() {
    for (name, action) in [
        ("KILL", KILL),
        ("KILL_THREAD", KILL),
        ("KILL_PROCESS", Action::KillProcess),
        ("TRAP", Action::Trap),
        ("LOG", Action::Log),
        ("ALLOW", ALLOW),
    ] {
        assert_eq!(translated(&section(name, "", "")).policy.default, action);
    }
}

#[test]
fn flags_left_out_are_spec_allow_and_none_are_none() {
    let flags = |beside: &str| translate(&section("ALLOW", beside, ""), ON).map(|t| t.policy.flags);
    assert_eq!(flags("").unwrap().bits(), 4);
    assert_eq!(flags(r#""flags": [],"#).unwrap().bits(), 0);
    let three = r#""flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],"#;
    assert_eq!(flags(three).unwrap().bits(), 7);
    let waits = r#""flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],"#;
    assert_eq!(flags(waits).unwrap_err().fault, Fault::FlagWithoutNotify);
    let agent = format!(r#"{waits} "listenerPath": "/run/agent","#);
    let asks = section("ALLOW", &agent, &rule("mkdir", "NOTIFY", ""));
    assert_eq!(translated(&asks).policy.flags.bits(), 32);
}

#[test]
fn notify_needs_someone_to_ask_and_never_asks_about_write() {
    let agent = r#""listenerPath": "/run/agent", "listenerMetadata": "x","#;
    let asks = translated(&section("ALLOW", agent, &rule("mkdir", "NOTIFY", "")));
    let listener = asks.policy.listener.unwrap();
    assert_eq!(listener.path.to_str(), Some("/run/agent"));
    assert_eq!(listener.metadata.as_deref(), Some("x"));
    let unasked = translated(&section("ALLOW", agent, ""));
    assert_eq!(unasked.policy.listener, None);
    assert_eq!(kinds(&unasked), [(None, FindingKind::UnusedListener)]);
    for nobody in ["", r#""listenerPath": "","#] {
        let section = section("ALLOW", nobody, &rule("mkdir", "NOTIFY", ""));
        assert_eq!(fault(&section), (None, Fault::NoListener));
    }
    let default = section("NOTIFY", agent, "");
    assert_eq!(fault(&default), (None, Fault::DefaultNotify));
    let rules = [
        rule("read", "NOTIFY", ""),
        rule_if("write", "NOTIFY", &[(0, "EQ", 99, 0)]),
    ];
    let write = section("ALLOW", agent, &rules.join(","));
    assert_eq!(fault(&write), (Some(1), Fault::NotifyWrite));
}

#[test]
fn unconditional_rules_cover_the_multiplexed_call_too() {
    let rules = [rule("accept", "ERRNO", ""), rule("semop", "LOG", "")];
    assert_verdicts(
        &section("ALLOW", LISTED, &rules.join(",")),
        &[
            (X86, SOCKETCALL, &[5], PERM),
            (X86, SOCKETCALL, &[5 | 1 << 32], PERM),
            (X86, SOCKETCALL, &[4], ALLOW),
            (X86, SOCKETCALL, &[5 | 1 << 16], ALLOW),
            (X86, IPC, &[1], Action::Log),
            // An interface version above bit 16 is the same call.
            (X86, IPC, &[1 | 7 << 16], Action::Log),
            (X86, IPC, &[2], ALLOW),
            (X64, 43, &[], PERM),
            (X64, SOCKETCALL, &[5], ALLOW),
        ],
    );
}

#[test]
fn a_sub_call_with_a_number_of_its_own_is_covered_twice() {
    assert_verdicts(
        &section("ALLOW", LISTED, &rule("socket", "ERRNO", "")),
        &[
            (X86, 359, &[], PERM),
            (X86, SOCKETCALL, &[1], PERM),
            (X86, SOCKETCALL, &[2], ALLOW),
        ],
    );
}

#[test]
fn the_order_of_rules_counts_across_a_multiplexers_names() {
    let first = [
        rule("accept", "LOG", ""),
        rule("socketcall", "ERRNO", ""),
        rule("bind", "KILL", ""),
    ];
    assert_verdicts(
        &section("ALLOW", LISTED, &first.join(",")),
        &[
            (X86, SOCKETCALL, &[5], Action::Log),
            (X86, SOCKETCALL, &[2], PERM),
            (X86, 361, &[], KILL),
        ],
    );
}

#[test]
fn conditions_do_not_reach_behind_a_multiplexer_and_a_finding_says_so() {
    let conditional = rule_if("accept", "ERRNO", &[(0, "EQ", 5, 0)]);
    let listed = section("ALLOW", LISTED, &conditional);
    assert_verdicts(
        &listed,
        &[
            (X64, 43, &[5], PERM),
            (X86, SOCKETCALL, &[5], ALLOW),
            (X86, SOCKETCALL, &[5, 5], ALLOW),
        ],
    );
    let expected = FindingKind::Multiplexed {
        name: "accept".to_owned(),
        by: "socketcall",
        arch: X86,
    };
    assert_eq!(kinds(&translated(&listed)), [(Some(0), expected)]);
    let native = section("ALLOW", "", &conditional);
    assert!(kinds(&translated(&native)).is_empty());
}

#[test]
fn names_newer_than_libseccomp_are_used_by_number() {
    let rules = [rule("mseal", "ERRNO", ""), rule("statmount", "ERRNO", "")];
    let section = section("ALLOW", LISTED, &rules.join(","));
    assert!(translate(&section, STRICT).unwrap().findings.is_empty());
    assert_verdicts(
        &section,
        &[
            (X64, 462, &[], PERM),
            (X64, 457, &[], PERM),
            (X86, 462, &[], PERM),
            (X32, 0x4000_0000 + 462, &[], PERM),
        ],
    );
}

#[test]
fn names_that_nobody_knows_are_skipped_or_refused() {
    let rules = [rule("read", "LOG", ""), rule("frobnicate", "ERRNO", "")];
    let section = section("ALLOW", LISTED, &rules.join(","));
    let unknown = FindingKind::UnknownName("frobnicate".to_owned());
    assert_eq!(kinds(&translated(&section)), [(Some(1), unknown)]);
    let refused = Fault::UnknownName("frobnicate".to_owned());
    assert_eq!(fault(&section), (Some(1), refused));
}

#[test]
fn names_of_other_architectures_are_neither_unknown_nor_used() {
    let section = section("ALLOW", "", &rule("_llseek", "ERRNO", ""));
    let translation = translate(&section, STRICT).unwrap();
    assert!(translation.findings.is_empty());
    assert!(translation.policy.arches[0].calls.is_empty());
}

#[test]
fn what_cannot_be_a_name_is_refused() {
    let of = |name: &str| fault(&section("ALLOW", "", &rule(name, "ERRNO", ""))).1;
    assert_eq!(of(""), Fault::EmptyName);
    for name in ["re ad", "read\\u0000", "r\\u00e9ad", &"x".repeat(64)] {
        assert!(matches!(of(name), Fault::BadName(_)), "{name}");
    }
    assert!(matches!(of(&"x".repeat(63)), Fault::UnknownName(_)));
}

#[test]
fn argument_indexes_end_at_five() {
    let of = |index| {
        let rules = [
            rule("read", "LOG", ""),
            rule_if("mkdir", "ERRNO", &[(index, "EQ", 1, 0)]),
        ];
        translate(&section("ALLOW", "", &rules.join(",")), ON)
    };
    assert!(of(5).is_ok());
    let error = of(6).unwrap_err();
    assert_eq!(
        (error.rule, error.fault),
        (Some(1), Fault::ArgumentIndex(6))
    );
}

#[test]
fn no_conditions_and_null_are_alike() {
    for rest in ["", r#", "args": []"#, r#", "args": null"#] {
        let section = section("ALLOW", "", &rule("mkdir", "ERRNO", rest));
        assert_verdicts(&section, &[(X64, MKDIR, &[9], PERM)]);
    }
}

#[test]
fn rules_that_never_decide_are_found_and_change_nothing() {
    let rules = [
        rule_if("mkdir", "ERRNO", &[(0, "EQ", 1, 0)]),
        rule_if("mkdir", "ERRNO", &[(0, "EQ", 1, 0)]),
        rule_if("mkdir", "LOG", &[(0, "EQ", 1, 0)]),
        rule("mkdir", "LOG", ""),
        rule("mkdir", "ERRNO", ""),
        r#"{"names": [], "action": "SCMP_ACT_LOG"}"#.to_owned(),
    ];
    let translation = translated(&section("ALLOW", LISTED, &rules.join(",")));
    let name = || "mkdir".to_owned();
    assert_eq!(
        kinds(&translation),
        [
            (
                Some(1),
                FindingKind::Duplicate {
                    name: name(),
                    by: 0
                }
            ),
            (
                Some(2),
                FindingKind::Shadowed {
                    name: name(),
                    by: 0
                }
            ),
            (
                Some(4),
                FindingKind::Shadowed {
                    name: name(),
                    by: 3
                }
            ),
            (Some(5), FindingKind::Empty),
        ]
    );
    let call = |args| Call {
        audit: X64.audit(),
        nr: MKDIR,
        args,
    };
    let verdict = translation.policy.verdict(&call([1, 0, 0, 0, 0, 0]));
    assert_eq!(verdict.reason, Reason::Rule(0));
    let verdict = translation.policy.verdict(&call([2, 0, 0, 0, 0, 0]));
    assert_eq!(verdict.reason, Reason::Rule(3));
}

#[test]
fn a_name_given_twice_in_one_rule_counts_once() {
    let twice = r#"{"names": ["mkdir", "mkdir"], "action": "SCMP_ACT_ERRNO"}"#;
    let translation = translated(&section("ALLOW", "", twice));
    assert!(translation.findings.is_empty());
    assert_eq!(translation.policy.arches[0].calls[&MKDIR].len(), 1);
}

#[test]
fn verdicts_say_what_decided_them() {
    let policy = translated(&section("ERRNO", "", &rule("mkdir", "ALLOW", ""))).policy;
    let reason = |audit, nr| {
        policy
            .verdict(&Call {
                audit,
                nr,
                args: [0; 6],
            })
            .reason
    };
    assert_eq!(reason(X64.audit(), MKDIR), Reason::Rule(0));
    assert_eq!(reason(X64.audit(), 0), Reason::Default);
    assert_eq!(reason(X64.audit(), 400), Reason::Newer);
    assert_eq!(reason(X86.audit(), 0), Reason::ForeignArch);
}
