//! docs/findings.md held against the code, and witnesses against the verdicts.

use super::*;
use crate::filter::{OnAmbiguity, Options};
use crate::peers::{self, Runtime};
use crate::profile::{KernelVersion, Target};
use std::collections::BTreeSet;

fn filter(text: &str) -> Filter {
    let target = Target {
        capabilities: Default::default(),
        arch: Arch::X86_64,
        kernel: KernelVersion { major: 6, minor: 1 },
    };
    let options = Options {
        ambiguity: OnAmbiguity::First,
        ..Options::default()
    };
    Filter::parse("p.json", text, &target, options).unwrap_or_else(|e| panic!("{text}: {e:?}"))
}

fn found(filter: &Filter) -> Vec<Finding> {
    let readings = peers::readings(&filter.profile.section, &filter.translation);
    let around = Surroundings {
        readings: &readings,
        ..Surroundings::default()
    };
    let findings = findings(filter, &around);
    for finding in &findings {
        for witness in &finding.witness {
            check(filter, &readings, finding, witness);
        }
    }
    findings
}

/// A witness is no claim, but what profile and runtimes really say.
fn check(filter: &Filter, readings: &[peers::Reading], finding: &Finding, witness: &Witness) {
    let policy = &filter.translation.policy;
    let Some(by) = &witness.by else {
        let verdict = policy.verdict(&witness.call).action;
        assert_eq!(verdict, witness.verdict, "{finding:?}");
        let (ret, _) = filter.program.run(&witness.call);
        assert_eq!(Action::from_ret(ret), witness.verdict, "{finding:?}");
        return;
    };
    for runtime in Runtime::ALL {
        let reading = readings.iter().find(|r| r.runtime == runtime).unwrap();
        if by.split(", ").any(|name| name == runtime.name()) {
            let verdict = reading.verdict(policy, &witness.call);
            assert_eq!(verdict, Some(witness.verdict), "{runtime}: {finding:?}");
        }
    }
}

/// The sections of the page: id, severity and examples.
fn page() -> Vec<(String, String, Vec<String>)> {
    let page = include_str!("../../docs/findings.md");
    let sections = page.split("\n## `").skip(1);
    let section = |text: &str| {
        let (id, rest) = text.split_once("` (").expect("an id and a severity");
        let (severity, rest) = rest.split_once(")\n").expect("a severity");
        let examples = rest.split("```json\n").skip(1);
        let examples = examples.map(|e| e.split("```").next().unwrap_or_default().to_owned());
        (id.to_owned(), severity.to_owned(), examples.collect())
    };
    sections.map(section).collect()
}

#[test]
fn the_page_has_each_finding_once_in_order_and_with_its_severity() {
    let page: Vec<_> = page()
        .into_iter()
        .map(|(id, severity, _)| (id, severity))
        .collect();
    let code: Vec<_> = Id::ALL
        .iter()
        .map(|id| (id.name().to_owned(), id.severity().name().to_owned()))
        .collect();
    assert_eq!(page, code);
}

#[test]
fn each_example_has_its_finding_and_the_mended_one_has_not() {
    for (id, _, examples) in page() {
        let ids = |example: &String| -> BTreeSet<&str> {
            let filter = filter(example);
            found(&filter).iter().map(|f| f.id.name()).collect()
        };
        let (first, mended) = examples.split_first().expect("an example");
        assert!(ids(first).contains(id.as_str()), "{id}: {:?}", ids(first));
        for example in mended {
            assert!(!ids(example).contains(id.as_str()), "{id}: {example}");
        }
    }
}

#[test]
fn ids_are_stable_words_and_read_back() {
    for id in Id::ALL {
        let name = id.name();
        assert!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
            "{name}"
        );
        assert_eq!(name.parse::<Id>(), Ok(*id));
        assert!(id.what().len() < 80, "{name}");
    }
    let error = "shadowed".parse::<Id>().unwrap_err().to_string();
    assert!(
        error.starts_with("unknown finding \"shadowed\"; known are: runtime-weaker, "),
        "{error}"
    );
}

#[test]
fn findings_come_with_the_weightiest_first() {
    let filter = filter(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read", "s390_pci_mmio_read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["read"], "action": "SCMP_ACT_LOG"},
            {"names": ["frobnicate"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    let severities: Vec<_> = found(&filter).iter().map(|f| f.severity).collect();
    assert!(severities.is_sorted(), "{severities:?}");
    assert!(severities.contains(&Severity::Note));
}

#[test]
fn an_answer_of_enosys_is_no_denial_that_an_equivalent_evades() {
    let ids = |errno: u32| -> Vec<Id> {
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_KILL", "syscalls": [
                {{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": {errno}}},
                {{"names": ["clone"], "action": "SCMP_ACT_ALLOW"}}]}}"#
        );
        found(&filter(&text)).iter().map(|f| f.id).collect()
    };
    assert!(ids(1).contains(&Id::EquivalentOpen));
    assert!(!ids(38).contains(&Id::EquivalentOpen));
}

#[test]
fn a_bundle_that_filters_at_the_exec_needs_nothing_for_its_runtime() {
    let filter = filter(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["write"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    let needs = |boundary, uid| -> Vec<Finding> {
        let around = Surroundings {
            boundary,
            uid,
            readings: &[],
        };
        let all = findings(&filter, &around);
        all.into_iter()
            .filter(|f| f.id == Id::RuntimeNeeds)
            .collect()
    };
    assert!(needs(Some(Boundary::Exec), Some(0)).is_empty());
    let root = needs(Some(Boundary::BeforeCapabilityDrop), Some(0));
    let user = needs(Some(Boundary::BeforeCapabilityDrop), Some(1000));
    assert_eq!((root.len(), user.len()), (2, 2));
    assert!(root.iter().all(|f| f.severity == Severity::Warning));
    let setresuid = "setresuid".to_owned();
    assert!(!root[1].subjects.contains(&setresuid) && user[1].subjects.contains(&setresuid));
}

#[test]
fn what_a_multiplexer_lets_through_is_found_at_the_rule_for_its_call() {
    let filter = filter(
        r#"{"defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
              {"names": ["accept4"], "action": "SCMP_ACT_ALLOW"},
              {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
               "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}]}"#,
    );
    let found = found(&filter);
    let weaker = found.iter().find(|f| f.id == Id::RuntimeWeaker).unwrap();
    assert_eq!(weaker.subjects, ["socketcall"]);
    assert_eq!(weaker.rule, Some(1));
}

#[test]
fn of_a_key_as_long_as_a_file_its_start_is_shown() {
    let long = "a".repeat(100_000);
    let text = format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [], "{long}": 1}}"#);
    let found = found(&filter(&text));
    let key = found.iter().find(|f| f.id == Id::UnknownKey).unwrap();
    assert_eq!(key.subjects, [format!("\"{}\"", "a".repeat(64))]);
}
