//! Answers to questions of every kind.

use super::*;
use crate::filter::{Filter, OnAmbiguity, Options};
use crate::policy::Arch;
use crate::profile::{KernelVersion, Target};
use crate::style::Style;
use std::collections::BTreeSet;

const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO",
  "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
  {"names": ["read", "accept", "socketcall"], "action": "SCMP_ACT_ALLOW"},
  {"names": ["read"], "action": "SCMP_ACT_KILL"},
  {"names": ["openat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
   "args": [{"index": 2, "value": 3, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"},
            {"index": 0, "value": 4, "op": "SCMP_CMP_GT"}]},
  {"names": ["openat"], "action": "SCMP_ACT_LOG",
   "args": [{"index": 2, "value": 3, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]},
  {"names": ["openat"], "action": "SCMP_ACT_ALLOW",
   "args": [{"index": 2, "value": 2, "op": "SCMP_CMP_NE"}]},
  {"names": ["pwritev2"], "action": "SCMP_ACT_ALLOW"}]}"#;

fn explain(syscall: &str, args: &[&str], arch: Option<&str>) -> Explanation {
    explain_with(PROFILE, syscall, args, arch)
}

fn explain_with(profile: &str, syscall: &str, args: &[&str], arch: Option<&str>) -> Explanation {
    let target = Target {
        capabilities: Default::default(),
        arch: Arch::X86_64,
        kernel: KernelVersion { major: 6, minor: 1 },
    };
    let options = Options {
        ambiguity: OnAmbiguity::First,
        ..Options::default()
    };
    let filter = Filter::parse("p.json", profile, &target, options).unwrap();
    let question = Question::parse(syscall, args, arch).unwrap();
    let explanation = Explanation::new(&filter, &question, true);
    // What is said is what profile and program do.
    for outcome in &explanation.outcomes {
        let (ret, _) = filter.program.run(&outcome.call);
        assert_eq!(Action::from_ret(ret), outcome.verdict, "{outcome:?}");
    }
    explanation
}

fn outcomes(explanation: &Explanation) -> Vec<(String, &str, Option<usize>)> {
    let outcomes = explanation.outcomes.iter();
    outcomes
        .map(|o| (o.action.clone(), o.reason, o.rule.as_ref().map(|r| r.rule)))
        .collect()
}

#[test]
fn a_call_without_arguments_has_every_outcome_with_its_condition() {
    let explanation = explain("openat", &[], None);
    let text =
        |o: &Outcome| -> Vec<String> { o.conditions.iter().map(|c| c.text.clone()).collect() };
    let conditions: Vec<_> = explanation.outcomes.iter().map(text).collect();
    assert_eq!(
        outcomes(&explanation),
        [
            ("ERRNO(13)".to_owned(), "rule", Some(2)),
            ("LOG".to_owned(), "rule", Some(3)),
            ("ALLOW".to_owned(), "rule", Some(4)),
            ("ERRNO(1)".to_owned(), "default", None),
        ]
    );
    assert_eq!(conditions[0], ["arg2 & O_ACCMODE == O_WRONLY", "arg0 > 4"]);
    assert_eq!(conditions[2], ["arg2 != O_RDWR"]);
    assert_eq!(conditions[3], [""; 0]);
    let text = explanation.to_text(Style::PLAIN, true);
    let fits = |l: &str| l.chars().count() <= crate::style::WIDTH;
    assert!(text.lines().all(fits), "{text}");
    insta::assert_snapshot!(explanation.to_text(Style::PLAIN, false));
}

#[test]
fn arguments_decide_as_far_as_they_are_given() {
    let decided = explain("openat", &["5", "_", "O_WRONLY|O_CREAT"], None);
    assert_eq!(
        outcomes(&decided),
        [("ERRNO(13)".to_owned(), "rule", Some(2))]
    );
    let lost: Vec<usize> = decided.lost.iter().map(|r| r.rule).collect();
    assert_eq!(lost, [3, 4]);
    let half = explain("openat", &["_", "_", "1"], None);
    let half: Vec<_> = outcomes(&half).into_iter().map(|o| o.2).collect();
    assert_eq!(half, [Some(2), Some(3)]);
    // 4 is not above 4: nearly.
    let nearly = explain("openat", &["4", "0", "1"], None);
    assert_eq!(outcomes(&nearly), [("LOG".to_owned(), "rule", Some(3))]);
    let missed = &nearly.missed[0];
    assert_eq!(
        (missed.rule.rule, missed.held, missed.failed.len()),
        (2, 1, 1)
    );
    assert_eq!(
        (missed.failed[0].given, missed.failed[0].condition.arg),
        (4, 0)
    );
    insta::assert_snapshot!(nearly.to_text(Style::PLAIN, true));
}

#[test]
fn what_decides_need_not_be_a_rule() {
    for (syscall, arch, action, reason) in [
        ("mkdir", None, "ERRNO(1)", "default"),
        ("mseal", None, "ERRNO(38)", "newer"),
        ("9999", None, "ERRNO(38)", "newer"),
        ("-1", None, "ERRNO(38)", "newer"),
        ("read", Some("x32"), "KILL_THREAD", "architecture"),
        (
            "read",
            Some("SCMP_ARCH_AARCH64"),
            "KILL_THREAD",
            "architecture",
        ),
    ] {
        let explanation = explain(syscall, &[], arch);
        assert_eq!(
            outcomes(&explanation),
            [(action.to_owned(), reason, None)],
            "{syscall}"
        );
    }
}

#[test]
fn a_later_rule_for_the_same_call_is_named_as_lost() {
    let explanation = explain("read", &[], None);
    assert_eq!(
        outcomes(&explanation),
        [("ALLOW".to_owned(), "rule", Some(0))]
    );
    let rule = explanation.outcomes[0].rule.as_ref().unwrap();
    assert_eq!(
        rule.text,
        r#"{"names": ["read", "…"], "action": "SCMP_ACT_ALLOW"}"#
    );
    assert_eq!((explanation.lost[0].rule, explanation.lost[0].line), (1, 4));
}

#[test]
fn a_multiplexed_call_is_explained_through_its_multiplexer() {
    let explanation = explain("accept", &["3"], Some("x86"));
    assert_eq!(explanation.through.as_deref(), Some("socketcall"));
    assert_eq!(explanation.number, 102);
    assert_eq!(explanation.arguments[0], Some(5));
    assert_eq!(
        outcomes(&explanation),
        [("ALLOW".to_owned(), "rule", Some(0))]
    );
}

#[test]
fn the_trace_is_what_the_program_executes_for_the_call() {
    let explanation = explain("openat", &["5", "0", "1"], None);
    let trace = explanation.trace.unwrap();
    assert!(
        trace[0].ends_with("ld    arch = 0xc000003e"),
        "{}",
        trace[0]
    );
    assert!(
        trace.last().unwrap().ends_with("ret   ERRNO(13)"),
        "{trace:?}"
    );
    assert!(
        trace.iter().any(|l| l.contains("ld    arg2.low = 0x1")),
        "{trace:?}"
    );
}

#[test]
fn what_a_runtime_does_otherwise_has_its_cause_and_source() {
    let explanation = explain("openat", &["5", "_", "_"], None);
    let youki: Vec<_> = explanation
        .runtimes
        .iter()
        .filter(|o| o.runtime == "youki")
        .collect();
    assert!(!youki.is_empty(), "{:?}", explanation.runtimes);
    assert!(youki.iter().all(|o| o.action != o.profile));
    let swap = youki.iter().find(|o| o.profile == "ALLOW");
    let swap = swap.expect("a swapped mask");
    assert!(
        swap.source.contains("github.com/youki-dev/youki"),
        "{youki:?}"
    );
}

#[test]
fn the_json_has_a_schema_and_the_same_facts() {
    let explanation = explain("openat", &["4", "_", "O_WRONLY"], None);
    let json = explanation.to_json().unwrap();
    let page = include_str!("../../docs/json.md");
    let mut keys = BTreeSet::new();
    crate::report::tests::keys(&serde_json::from_str(&json).unwrap(), &mut keys);
    for key in keys {
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
    assert!(page.contains(&format!("`explain`: schema {SCHEMA}\n")));
    insta::assert_snapshot!(json);
}

#[test]
fn a_runtime_that_refuses_the_profile_does_not_the_same() {
    let rule = |action| {
        format!(
            r#"{{"names": ["lseek"], "action": "SCMP_ACT_{action}",
                "args": [{{"index": 2, "value": 1, "op": "SCMP_CMP_EQ"}}]}}"#
        )
    };
    let profile = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{}, {}]}}"#,
        rule("ALLOW"),
        rule("LOG")
    );
    let explanation = explain_with(&profile, "lseek", &[], None);
    assert_eq!(explanation.refused.len(), 3);
    let text = explanation.to_text(Style::PLAIN, false);
    assert!(
        text.contains("  crun, runc and youki: refuse the profile: "),
        "{text}"
    );
    assert!(!text.contains("the same"), "{text}");
}

#[test]
fn a_question_that_makes_no_sense_says_what_would() {
    let ask = |syscall: &str, args: &[&str], arch| {
        Question::parse(syscall, args, arch)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        ask("opanat", &[], None),
        "unknown system call \"opanat\"; did you mean openat?"
    );
    assert_eq!(
        ask("frobnicate", &[], None),
        "unknown system call \"frobnicate\""
    );
    let absent = ask("_llseek", &[], None);
    assert!(
        absent.starts_with("x86_64 has no system call _llseek; it is one of x86"),
        "{absent}"
    );
    assert!(ask("read", &[], Some("vax")).contains("\"vax\""));
    assert!(ask("99999999999", &[], None).contains("99999999999"));
    assert!(ask("read", &["x"], None).starts_with("argument 0 of read: \"x\""));
    assert!(ask("read", &["0"; 7], None).contains("not 7"));
    assert_eq!(
        Question::parse("0", &["0"; 0], Some("x32")).unwrap().nr,
        0x4000_0000
    );
}
