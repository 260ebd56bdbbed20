//! The report as people and programs get it.

use super::*;
use crate::filter::{OnAmbiguity, Options};
use crate::profile::{KernelVersion, Target};

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
    Report::new(&filter, None)
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
    let findings: Vec<_> = findings
        .map(|f| (f.rule, f.line, f.message.as_str()))
        .collect();
    assert_eq!(
        findings,
        [
            (Some(1), Some(5), "frobnicate: unknown system call, skipped"),
            (Some(3), Some(8), "read: never decides, rule 1 comes first"),
            (
                Some(2),
                Some(6),
                "the key \"arg\" means nothing and is ignored"
            ),
        ]
    );
}

#[test]
fn the_text_says_what_would_be_loaded() {
    let text = report().to_text(false);
    for expected in [
        "profile       p.json\n",
        "default       ERRNO(1)\n",
        "newer calls   ERRNO(38): above the largest the profile names\n",
        "architectures x86_64 (native, 4 calls), x86 (4 calls)\n",
        "flags         SECCOMP_FILTER_FLAG_LOG\n",
        "proven on every class of calls",
        "read, write and 2 more\n",
        "calls: x86 3, x86_64 3\n",
        "if arg1 <= 0x5 && arg2 & 0x1 == 0x0\n",
        "rule 3 (line 8): read: never decides, rule 1 comes first\n",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
    let at_length = report().to_text(true);
    assert!(at_length.contains("read, write, close, frobnicate\n"));
}

#[test]
fn the_json_has_a_schema_and_the_same_facts() {
    let json = report().to_json().unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], SCHEMA);
    assert_eq!(json["defaultAction"], "ERRNO(1)");
    assert_eq!(json["architectures"][0]["native"], true);
    assert_eq!(json["rules"][0]["rule"], 1);
    assert_eq!(json["rules"][2]["conditions"][0][0], "arg1 <= 0x5");
    assert_eq!(json["program"]["complete"], true);
    assert_eq!(json["findings"][0]["line"], 5);
}
