//! The report as people and programs get it.

use super::*;
use crate::filter::{Filter, OnAmbiguity, Options};
use crate::policy::Arch;
use crate::profile::KernelVersion;
use crate::style::Style;

fn report() -> Report {
    let target = Target {
        capabilities: ["CAP_CHOWN".to_owned()].into(),
        arch: Arch::X86_64,
        kernel: KernelVersion { major: 6, minor: 1 },
    };
    let options = Options {
        ambiguity: OnAmbiguity::First,
        ..Options::default()
    };
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86"], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {"names": ["chown"], "action": "SCMP_ACT_LOG", "excludes": {"caps": ["CAP_CHOWN"]}},
            {"names": ["read", "write", "close", "frobnicate"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["chown"], "action": "SCMP_ACT_LOG", "excludes": {"caps": ["CAP_CHOWN"]},
             "arg": []},
            {"names": ["read"], "action": "SCMP_ACT_KILL"},
            {"names": ["lseek"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 1, "value": 5, "op": "SCMP_CMP_LE"},
                      {"index": 2, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#;
    let filter = Filter::parse("p.json", text, &target, options).unwrap();
    let context = Context {
        target: Some(&target),
        ..Context::default()
    };
    Report::new(&filter, &context)
}

#[test]
fn rules_and_findings_stand_where_the_file_has_them() {
    let report = report();
    let rules = report.rules.iter();
    let rules: Vec<_> = rules.map(|r| (r.rule, r.line, r.action.as_str())).collect();
    assert_eq!(
        rules,
        [(1, 5, "ALLOW"), (3, 8, "KILL_THREAD"), (4, 9, "ALLOW")]
    );
    let findings = report.findings.iter();
    let findings: Vec<_> = findings.map(|f| (f.id, f.rule, f.line)).collect();
    for expected in [
        ("unknown-syscall", Some(1), Some(5)),
        ("shadowed-rule", Some(3), Some(8)),
        ("unknown-key", None, None),
        ("runtime-weaker", Some(4), Some(9)),
    ] {
        assert!(findings.contains(&expected), "{findings:?}");
    }
    let key = report.findings.iter().find(|f| f.id == "unknown-key");
    let key = key.unwrap();
    assert_eq!(key.subjects, ["\"arg\""]);
    let text = "means nothing and is ignored, first in rule 2 (line 6)";
    assert_eq!(key.message, text);
}

#[test]
fn the_text_says_what_would_be_loaded() {
    insta::assert_snapshot!(report().to_text(Style::PLAIN, false));
    insta::assert_snapshot!(report().to_text(Style::PLAIN, true));
}

#[test]
fn the_text_fits_a_terminal_and_colour_adds_nothing_else() {
    let plain = report().to_text(Style::PLAIN, true);
    assert!(
        plain
            .lines()
            .all(|l| l.chars().count() <= crate::style::WIDTH),
        "{plain}"
    );
    assert!(plain.lines().all(|l| l == l.trim_end()), "{plain}");
    let mut coloured = report().to_text(Style::COLOUR, true);
    assert_ne!(coloured, plain);
    for code in [0, 1, 2, 31, 32, 33] {
        coloured = coloured.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(coloured, plain);
}

#[test]
fn the_json_has_a_schema_and_the_same_facts() {
    let json = report().to_json().unwrap();
    insta::assert_snapshot!(json);
}

/// The numbers of the table, counted by hand on the program's listing.
#[test]
fn the_cost_is_that_of_the_program() {
    let report = report();
    let native = &report.architectures[0];
    assert!(native.native && native.cost.bitmap.is_some());
    let bitmap = native.cost.bitmap.unwrap();
    // read, write and close; lseek looks at arguments.
    assert_eq!(bitmap.answered, 3);
    let checked = native.cost.checked.as_ref().unwrap();
    assert_eq!(checked.call, "lseek");
    let parts: usize = report
        .architectures
        .iter()
        .map(|a| a.cost.instructions)
        .sum();
    assert!(parts >= report.program.instructions);
}

/// Each key of an object, at any depth, but those that are names of
/// architectures.
pub(crate) fn keys(json: &serde_json::Value, into: &mut std::collections::BTreeSet<String>) {
    match json {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                if Arch::parse(key).is_none() {
                    into.insert(key.clone());
                }
                keys(value, into);
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

#[test]
fn every_key_of_the_json_is_documented() {
    let page = include_str!("../../docs/json.md");
    let json = report().to_json().unwrap();
    let mut found = std::collections::BTreeSet::new();
    keys(&serde_json::from_str(&json).unwrap(), &mut found);
    assert!(found.len() > 40, "{found:?}");
    for key in found {
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
    assert!(page.contains(&format!("`hook --dry-run`: schema {SCHEMA}\n")));
}
