//! From the text of a profile to a proven program, and why not.

use super::*;
use crate::policy::{Action, Arch};
use crate::profile::KernelVersion;
use crate::translate::Options as Reading;

fn filter(text: &str, ambiguity: OnAmbiguity) -> Result<Filter, Error> {
    let target = Target {
        capabilities: ["CAP_CHOWN".to_owned()].into(),
        arch: Arch::X86_64,
        kernel: KernelVersion { major: 6, minor: 1 },
    };
    let options = Options {
        translate: Reading::default(),
        ambiguity,
    };
    Filter::parse("p.json", text, &target, options)
}

fn profile(default: &str, rules: &[&str]) -> String {
    let rules = rules.join(",\n");
    format!("{{\"defaultAction\": \"SCMP_ACT_{default}\",\n\"syscalls\": [\n{rules}]}}")
}

/// An error with its causes, as it is printed.
fn message(text: &str) -> String {
    let error = filter(text, OnAmbiguity::Refuse).expect_err(text);
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

const ALLOW: &str = r#"{"names": ["mkdir"], "action": "SCMP_ACT_ALLOW"}"#;
const DENY: &str = r#"{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}"#;
const DENY_700: &str = r#"{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO",
"args": [{"index": 1, "value": 448, "op": "SCMP_CMP_EQ"}]}"#;
const LOG_UP_TO_800: &str = r#"{"names": ["mkdir"], "action": "SCMP_ACT_LOG",
"args": [{"index": 1, "value": 512, "op": "SCMP_CMP_LE"}]}"#;
/// Not for this target.
const DROPPED: &str = r#"{"names": ["read"], "action": "SCMP_ACT_LOG",
"excludes": {"caps": ["CAP_CHOWN"]}}"#;

#[test]
fn a_first_rule_that_libseccomp_would_make_stricter_is_ambiguous() {
    // libseccomp lets an unconditional rule win, and a narrower one.
    for (rules, rule) in [
        ([LOG_UP_TO_800, DENY_700], "rule 0 (line 3)"),
        ([LOG_UP_TO_800, DENY], "rule 0 (line 3)"),
    ] {
        let text = profile("KILL", &rules);
        let message = message(&text);
        let start = format!("p.json: {rule}: the profile is ambiguous: for x86_64 mkdir(");
        assert!(message.starts_with(&start), "{message}");
        assert!(
            message
                .contains("this rule comes first and says LOG, but every runtime makes ERRNO(1)"),
            "{message}"
        );
        assert_eq!(message.matches("--ambiguous=first").count(), 1, "{message}");
        assert!(filter(&text, OnAmbiguity::First).is_ok());
    }
}

#[test]
fn a_first_rule_that_is_stricter_is_accepted() {
    let text = profile("LOG", &[DENY_700, ALLOW]);
    let filter = filter(&text, OnAmbiguity::Refuse).unwrap();
    assert!(filter.proof.complete);
}

#[test]
fn rules_that_contradict_each_other_are_ambiguous() {
    let log = DENY_700.replace("ERRNO", "LOG");
    let message = message(&profile("KILL", &[DROPPED, DENY_700, &log]));
    assert!(
        message.starts_with(
            "p.json: rule 2 (line 7): the profile is ambiguous: this rule contradicts an earlier \
             one for mkdir"
        ),
        "{message}"
    );
}

#[test]
fn rules_are_numbered_as_in_the_file_where_some_do_not_apply() {
    let wrong = r#"{"names": [""], "action": "SCMP_ACT_LOG"}"#;
    assert_eq!(
        message(&profile("KILL", &[DROPPED, ALLOW, wrong])),
        "p.json: rule 2 (line 6): an empty system call name"
    );
    let text = profile("KILL", &[DROPPED, ALLOW, DROPPED, ALLOW]);
    let filter = filter(&text, OnAmbiguity::Refuse).unwrap();
    let findings = &filter.translation.findings;
    assert_eq!(findings.len(), 1);
    assert_eq!(
        filter.describe(&findings[0]),
        "mkdir: says the same as rule 1"
    );
    assert_eq!(
        filter.profile.site(findings[0].rule.unwrap()),
        "rule 3 (line 8)"
    );
}

#[test]
fn an_invalid_section_has_no_rule_to_name() {
    assert_eq!(
        message(r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}"#),
        "p.json: errnoRet is given, but the action ALLOW returns no errno"
    );
}

/// Rules with a value each on every argument.
fn many(count: u64, action: impl Fn(u64) -> &'static str) -> String {
    let rules: Vec<_> = (0..count)
        .map(|n| {
            let args: Vec<_> = (0..6)
                .map(|i| {
                    let value = n * 1000 + i;
                    format!(r#"{{"index": {i}, "value": {value}, "op": "SCMP_CMP_GE"}}"#)
                })
                .collect();
            let (action, args) = (action(n), args.join(","));
            format!(r#"{{"names": ["futex"], "action": "SCMP_ACT_{action}", "args": [{args}]}}"#)
        })
        .collect();
    profile(
        "ALLOW",
        &rules.iter().map(String::as_str).collect::<Vec<_>>(),
    )
}

#[test]
fn a_profile_larger_than_a_filter_is_refused() {
    let message = message(&many(5000, |_| "ERRNO"));
    assert!(message.contains("does not fit a filter"), "{message}");
    assert!(message.contains("at most 4096"), "{message}");
}

#[test]
fn libseccomp_is_not_asked_about_what_would_take_it_too_long() {
    let text = many(20, |n| if n % 2 == 0 { "ERRNO" } else { "LOG" });
    let message = message(&text);
    assert!(message.contains("too many on futex"), "{message}");
    assert!(filter(&text, OnAmbiguity::First).is_ok());
}

#[test]
fn a_section_without_a_file_becomes_a_filter_too() {
    let section = serde_json::from_str(&profile("KILL", &[ALLOW])).unwrap();
    let filter = Filter::new(Profile::from_section(section), Options::default()).unwrap();
    assert_eq!(filter.translation.policy.default, Action::KillThread);
    assert_eq!(filter.profile.site(0), "rule 0");
}
