//! What libseccomp makes of whole profiles, errors and all.

use super::*;
use crate::translate::{Options, translate};

fn read(default: &str, rules: &str) -> (LinuxSeccomp, Translation) {
    let json = format!(
        r#"{{"defaultAction": "SCMP_ACT_{default}", "architectures": ["SCMP_ARCH_X86"],
            "syscalls": [{rules}]}}"#
    );
    let section = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
    let options = Options {
        strict: false,
        enosys: false,
    };
    let translation = translate(&section, options).unwrap();
    (section, translation)
}

fn rule(name: &str, action: &str, op: &str, value: u64) -> String {
    format!(
        r#"{{"names": ["{name}"], "action": "SCMP_ACT_{action}", "args": [
            {{"index": 1, "value": {value}, "op": "SCMP_CMP_{op}"}}]}}"#
    )
}

fn unconditional(name: &str, action: &str) -> String {
    format!(r#"{{"names": ["{name}"], "action": "SCMP_ACT_{action}"}}"#)
}

fn found(default: &str, rules: &[String]) -> Vec<(String, bool)> {
    let (section, translation) = read(default, &rules.join(","));
    let program = compile(&section, &translation, None).unwrap();
    // One witness for each number and direction.
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    prove::compare(&translation.policy, &program, None, |w| {
        if seen.insert((w.arch, w.call.nr, w.is_weaker())) {
            out.push((w.describe_call(), w.is_weaker()));
        }
        ControlFlow::Continue(())
    });
    out
}

#[test]
fn the_same_where_rules_are_simple() {
    let rules = [
        unconditional("read", "ALLOW"),
        rule("lseek", "ALLOW", "EQ", 5),
        unconditional("frobnicate", "ALLOW"),
    ];
    assert!(found("ERRNO", &rules).is_empty());
}

#[test]
fn two_64_bit_bounds_come_out_weaker() {
    let rules = [
        rule("lseek", "ERRNO", "LE", 0x1_0000_0005),
        rule("lseek", "ERRNO", "LE", 5),
    ];
    let found = found("ALLOW", &rules);
    assert!(
        found
            .iter()
            .any(|(call, weaker)| *weaker && call.starts_with("x86_64 lseek(0x0, 0x")),
        "{found:?}"
    );
}

#[test]
fn an_unconditional_rule_erases_conditional_ones() {
    let rules = [
        rule("mkdir", "ERRNO", "EQ", 0o700),
        unconditional("mkdir", "LOG"),
    ];
    let found = found("ALLOW", &rules);
    assert_eq!(
        found,
        [
            ("x86_64 mkdir(0x0, 0x1c0)".to_owned(), true),
            ("x86 mkdir(0x0, 0x1c0)".to_owned(), true),
        ]
    );
}

#[test]
fn high_halves_are_dropped_on_32_bit_architectures() {
    let found = found("ALLOW", &[rule("lseek", "ERRNO", "LT", 0x1_0000_0000)]);
    assert!(
        found
            .iter()
            .any(|(call, weaker)| *weaker && call.starts_with("x86 lseek(")),
        "{found:?}"
    );
}

#[test]
fn the_same_conditions_with_another_action_are_refused() {
    let rules = [
        rule("mkdir", "ERRNO", "EQ", 1),
        rule("mkdir", "LOG", "EQ", 1),
    ];
    let (section, translation) = read("ALLOW", &rules.join(","));
    let refused = compile(&section, &translation, None);
    assert!(
        matches!(&refused, Err(Error::Refused { rule: 1, name, .. }) if name == "mkdir"),
        "{refused:?}"
    );
    let order = check_order(&section, &translation).unwrap();
    assert!(
        matches!(&order, Some(Ambiguity::Contradiction { rule: 1, name }) if name == "mkdir"),
        "{order:?}"
    );
}

#[test]
fn only_the_weaker_order_is_ambiguous() {
    for (rules, expected) in [
        (
            [
                rule("mkdir", "LOG", "LE", 8),
                unconditional("mkdir", "ERRNO"),
            ],
            Some(0),
        ),
        (
            [
                rule("mkdir", "ERRNO", "LE", 8),
                unconditional("mkdir", "LOG"),
            ],
            None,
        ),
        (
            [
                rule("mkdir", "LOG", "LE", 8),
                rule("rmdir", "ERRNO", "LE", 8),
            ],
            None,
        ),
        // Nothing matches both.
        (
            [
                rule("mkdir", "LOG", "LE", 8),
                rule("mkdir", "ERRNO", "GT", 8),
            ],
            None,
        ),
        // The same action: nothing to order.
        (
            [rule("mkdir", "LOG", "LE", 8), unconditional("mkdir", "LOG")],
            None,
        ),
    ] {
        let (section, translation) = read("KILL", &rules.join(","));
        let order = check_order(&section, &translation).unwrap();
        assert_eq!(order.map(|a| a.rule()), expected, "{rules:?}");
    }
}

#[test]
fn two_rules_that_libseccomp_hangs_on_do_not_hang_us() {
    let rule = |action: &str, index: u8, value: u64| {
        format!(
            r#"{{"names": ["lseek"], "action": "SCMP_ACT_{action}", "args": [
                {{"index": {index}, "value": {value}, "op": "SCMP_CMP_LE"}},
                {{"index": 0, "value": 1, "op": "SCMP_CMP_LT"}}]}}"#
        )
    };
    let rules = [
        rule("KILL", 1, 0x1_0000_0001),
        rule("ERRNO", 5, 0x5_0000_0002),
    ];
    let (section, translation) = read("ALLOW", &rules.join(","));
    // A later libseccomp may well come to an end.
    match compile(&section, &translation, None) {
        Ok(_) | Err(Error::Endless) => {}
        Err(e) => panic!("{e:?}"),
    }
}
