//! Profiles as text: the three forms, and what is wrong on which line.

use super::*;
use oci_spec::runtime::Arch as OciArch;

fn target(caps: &[&str]) -> Target {
    Target {
        capabilities: caps.iter().map(ToString::to_string).collect(),
        arch: Arch::X86_64,
        kernel: KernelVersion {
            major: 5,
            minor: 10,
        },
    }
}

fn parse(text: &str) -> Result<Profile, Error> {
    Profile::parse("p.json", text, &target(&["CAP_SYS_ADMIN", "CAP_CHOWN"]))
}

fn parsed(text: &str) -> Profile {
    parse(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn message(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

/// The names of the section's rules, one list for each.
fn names(profile: &Profile) -> Vec<Vec<String>> {
    let rules = profile.section.syscalls().iter().flatten();
    rules.map(|r| r.names().clone()).collect()
}

fn with_rules(rules: &str) -> String {
    format!("{{\n\"defaultAction\": \"SCMP_ACT_ERRNO\",\n\"syscalls\": [\n{rules}\n]}}")
}

/// The section's rules after one that asks something of the target.
fn applies(filter: &str) -> bool {
    let rule = format!(r#"{{"names": ["read"], "action": "SCMP_ACT_ALLOW", {filter}}}"#);
    !names(&parsed(&with_rules(&rule))).is_empty()
}

const SECTION: &str = r#"{"defaultAction": "SCMP_ACT_LOG",
    "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#;

#[test]
fn a_section_is_found_alone_in_linux_and_in_a_whole_config() {
    for text in [
        SECTION.to_owned(),
        format!(r#"{{"linux": {{"seccomp": {SECTION}}}}}"#),
        format!(r#"{{"seccomp": {SECTION}, "resources": {{}}}}"#),
        format!(
            r#"{{"ociVersion": "1.0.2", "process": {{"args": ["x"]}}, "hostname": "h",
                "linux": {{"namespaces": [], "seccomp": {SECTION}, "maskedPaths": null}}}}"#
        ),
    ] {
        let profile = parsed(&text);
        assert_eq!(names(&profile), [["read"]], "{text}");
        assert!(profile.unknown_keys.is_empty(), "{text}");
    }
}

#[test]
fn a_config_without_a_section_says_so() {
    for text in [
        r#"{"ociVersion": "1.0.2"}"#,
        r#"{"ociVersion": "1.0.2", "linux": null}"#,
        r#"{"ociVersion": "1.0.2", "linux": {}}"#,
        r#"{"linux": {"seccomp": null}}"#,
    ] {
        assert!(
            matches!(parse(text), Err(Error::NoSection { .. })),
            "{text}"
        );
    }
}

#[test]
fn only_an_object_will_do_where_one_belongs() {
    let rule = |rest: &str| {
        with_rules(&format!(
            r#"{{"names": ["read"], "action": "SCMP_ACT_LOG", {rest}}}"#
        ))
    };
    for text in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "7".to_owned(),
        "{".to_owned(),
        "{}".to_owned(),
        format!("[null, null, null, {SECTION}]"),
        format!(r#"{{"linux": [{SECTION}]}}"#),
        r#"{"seccomp": ["SCMP_ACT_ALLOW"]}"#.to_owned(),
        r#"{"defaultAction": null}"#.to_owned(),
        r#"{"defaultAction": ["SCMP_ACT_ALLOW"]}"#.to_owned(),
        format!("{SECTION} x"),
        with_rules("null"),
        with_rules("5"),
        with_rules(r#"[["read"], "SCMP_ACT_LOG"]"#),
        with_rules(r#"{"names": null, "action": "SCMP_ACT_LOG"}"#),
        with_rules(r#"{"names": [null], "action": "SCMP_ACT_LOG"}"#),
        with_rules(r#"{"names": "read", "action": "SCMP_ACT_LOG"}"#),
        with_rules(r#"{"names": ["read"], "action": null}"#),
        with_rules(r#"{"names": ["read"]}"#),
        with_rules(r#"{"action": "SCMP_ACT_LOG"}"#),
        rule(r#""args": [null]"#),
        rule(r#""args": {}"#),
        rule(r#""args": [[0, 1, 2, "SCMP_CMP_EQ"]]"#),
        rule(r#""args": [{"index": 0, "value": 1}]"#),
        rule(r#""args": [{"index": 0, "op": "SCMP_CMP_EQ"}]"#),
        rule(r#""args": [{"index": null, "value": 1, "op": "SCMP_CMP_EQ"}]"#),
        rule(r#""args": [{"index": -1, "value": 1, "op": "SCMP_CMP_EQ"}]"#),
        rule(r#""args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]"#),
        rule(r#""args": [{"index": 0, "value": 1.5, "op": "SCMP_CMP_EQ"}]"#),
        rule(r#""args": [{"index": 0, "value": 18446744073709551616, "op": "SCMP_CMP_EQ"}]"#),
        rule(r#""args": [{"index": 0, "value": "1", "op": "SCMP_CMP_EQ"}]"#),
        rule(r#""includes": [[], [], "4.8"]"#),
        rule(r#""includes": {"cap": ["CAP_CHOWN"]}"#),
        rule(r#""errnoRet": -1"#),
        rule(r#""errnoRet": 4294967296"#),
    ] {
        let message = message(&text);
        assert!(message.starts_with("p.json: "), "{message}");
        assert!(message.contains("line "), "{message}: {text}");
    }
}

#[test]
fn nulls_where_something_may_be_left_out_are_as_if_left_out() {
    let profile = parsed(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": null, "flags": null,
            "listenerPath": null, "defaultErrnoRet": null, "archMap": null, "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_LOG", "args": null, "errnoRet": null,
             "includes": null, "excludes": null}]}"#,
    );
    assert_eq!(names(&profile), [["read"]]);
    assert_eq!(profile.section.flags(), &None);
    assert!(
        parsed(r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": null}"#)
            .section
            .syscalls()
            .iter()
            .flatten()
            .next()
            .is_none()
    );
}

#[test]
fn the_largest_numbers_are_taken_exactly() {
    let profile = parsed(&with_rules(
        r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 5,
            "value": 18446744073709551615, "valueTwo": 9007199254740993,
            "op": "SCMP_CMP_MASKED_EQ"}]}"#,
    ));
    let rule = &profile.section.syscalls().as_ref().unwrap()[0];
    let arg = rule.args().as_ref().unwrap()[0];
    assert_eq!(arg.value(), u64::MAX);
    assert_eq!(arg.value_two(), Some(9_007_199_254_740_993));
}

#[test]
fn a_key_given_twice_is_refused() {
    for text in [
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultAction": "SCMP_ACT_KILL"}"#.to_owned(),
        format!(r#"{{"linux": {{"seccomp": {SECTION}, "seccomp": {SECTION}}}}}"#),
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [], "syscalls": []}"#.to_owned(),
        with_rules(r#"{"names": ["read"], "names": ["write"], "action": "SCMP_ACT_LOG"}"#),
        with_rules(
            r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [
                {"index": 0, "index": 1, "value": 1, "op": "SCMP_CMP_EQ"}]}"#,
        ),
    ] {
        assert!(message(&text).contains("duplicate field"), "{text}");
    }
}

#[test]
fn nesting_without_end_is_refused_and_harmless() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for text in [
        deep.clone(),
        format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "x": {deep}}}"#),
        format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {deep}}}"#),
        format!(r#"{{"linux": {{"seccomp": {deep}}}}}"#),
        with_rules(&deep),
        with_rules(&format!(
            r#"{{"names": ["x"], "action": "SCMP_ACT_LOG", "y": {deep}}}"#
        )),
    ] {
        assert!(parse(&text).is_err());
    }
}

#[test]
fn unknown_words_are_refused_with_their_line_and_themselves() {
    for (text, expected) in [
        (
            r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#,
            r#"p.json: line 1: unknown action "SCMP_ACT_MAYBE""#,
        ),
        (
            r#"{"defaultAction": "scmp_act_allow"}"#,
            r#"p.json: line 1: unknown action "scmp_act_allow""#,
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]}"#,
            r#"unknown architecture "SCMP_ARCH_PDP11""#,
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NEW"]}"#,
            r#"unknown flag "SECCOMP_FILTER_FLAG_NEW""#,
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "EWHAT"}"#,
            r#"unknown errno "EWHAT""#,
        ),
    ] {
        assert!(message(text).contains(expected), "{}", message(text));
    }
    let rules = |last: &str| {
        with_rules(&format!(
            "{{\"names\": [\"read\"],\n \"action\": \"SCMP_ACT_LOG\"}},\n{last}"
        ))
    };
    for (last, expected) in [
        (
            r#"{"names": ["read"], "action": "SCMP_ACT_ALOW"}"#,
            r#"p.json: rule 1 (line 6): unknown action "SCMP_ACT_ALOW""#,
        ),
        (
            r#"{"names": ["read"], "action": "SCMP_ACT_LOG",
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_LIKE"}]}"#,
            r#"p.json: rule 1 (line 6): unknown operator "SCMP_CMP_LIKE""#,
        ),
        (
            "{\"names\": [\"read\"],\n\"action\": 5}",
            "p.json: rule 1 (line 6): invalid type: integer `5`, expected a string, at line 7",
        ),
    ] {
        let message = message(&rules(last));
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn lines_count_from_the_start_of_the_file_and_rules_as_they_stand_there() {
    let text = format!(
        "{{\n\"ociVersion\": \"1.0.2\",\n\"linux\":\n{{ \"seccomp\":\n{}}}}}",
        with_rules(
            "{\"names\": [\"read\"], \"action\": \"SCMP_ACT_LOG\", \"excludes\": {\"caps\": [\"CAP_CHOWN\"]}},
             {\"names\": [\"write\"], \"action\": \"SCMP_ACT_LOG\"},

             {\"names\": [\"open\"], \"action\": \"SCMP_ACT_LOG\"}"
        )
    );
    let profile = parsed(&text);
    assert_eq!(names(&profile), [["write"], ["open"]]);
    let site = |rule, line| Site { rule, line };
    assert_eq!(profile.sites, [site(1, 9), site(2, 11)]);
    assert_eq!(profile.site(1), "rule 2 (line 11)");
    assert_eq!(profile.site(7), "rule 7");
}

#[test]
fn a_rule_that_does_not_apply_has_to_be_valid_all_the_same() {
    let rule = r#"{"names": ["read"], "action": "SCMP_ACT_ALOW",
        "excludes": {"caps": ["CAP_CHOWN"]}}"#;
    assert!(message(&with_rules(rule)).contains("unknown action"));
}

#[test]
fn keys_that_mean_nothing_are_reported_and_remarks_are_not() {
    let profile = parsed(
        r##"{"defaultAction": "SCMP_ACT_ALLOW", "architecture": [], "$schema": 1, "// x": 2,
            "$comment": "", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_LOG", "comment": "", "_comment": "",
             "arg": [{}], "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ", "value2": 3, "#comment": 4}]}]}"##,
    );
    let keys = profile.unknown_keys.iter();
    let keys: Vec<_> = keys
        .map(|k| (k.site.map(|s| s.rule), k.key.as_str()))
        .collect();
    assert_eq!(
        keys,
        [
            (None, "$schema"),
            (None, "architecture"),
            (Some(0), "arg"),
            (Some(0), "value2"),
        ]
    );
}

#[test]
fn keys_that_only_some_runtimes_know_are_refused() {
    for text in [
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "Syscalls": []}"#.to_owned(),
        with_rules(r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "Args": []}"#),
        with_rules(
            r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [
                {"index": 0, "value": 1, "valuetwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}"#,
        ),
    ] {
        assert!(message(&text).contains("to some runtimes"), "{text}");
    }
}

#[test]
fn capabilities_kernels_and_machines_decide_which_rules_apply() {
    for (filter, expected) in [
        (r#""includes": {}"#, true),
        (r#""includes": {"caps": ["CAP_CHOWN"]}"#, true),
        (r#""includes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}"#, false),
        (r#""excludes": {"caps": ["CAP_KILL", "CAP_CHOWN"]}"#, false),
        (r#""excludes": {"caps": ["CAP_KILL"]}"#, true),
        (r#""includes": {"arches": ["amd64", "x32"]}"#, true),
        (r#""includes": {"arches": ["x86_64"]}"#, true),
        (
            r#""includes": {"arches": ["arm64", "386", "s390x"]}"#,
            false,
        ),
        (r#""excludes": {"arches": ["amd64"]}"#, false),
        (r#""excludes": {"arches": ["s390", "s390x"]}"#, true),
        (r#""includes": {"minKernel": "4.8"}"#, true),
        (r#""includes": {"minKernel": "4.8.0"}"#, true),
        (r#""includes": {"minKernel": "5.10"}"#, true),
        (r#""includes": {"minKernel": "5.11"}"#, false),
        (r#""includes": {"minKernel": "6.0"}"#, false),
        (r#""excludes": {"minKernel": "4.8"}"#, false),
        (r#""excludes": {"minKernel": "5.11"}"#, true),
        (
            r#""includes": {"caps": ["CAP_CHOWN"], "minKernel": "5.11"}"#,
            false,
        ),
        (
            r#""includes": {"caps": ["CAP_CHOWN"]}, "excludes": {"caps": ["CAP_SYS_ADMIN"]}"#,
            false,
        ),
    ] {
        assert_eq!(applies(filter), expected, "{filter}");
    }
}

#[test]
fn kernel_versions_are_two_numbers() {
    let version = |text: &str| text.parse::<KernelVersion>();
    let is = |major, minor| Ok(KernelVersion { major, minor });
    assert_eq!(version("4.8"), is(4, 8));
    assert_eq!(version("4.8.0"), is(4, 8));
    assert_eq!(version("6.1.0-18-amd64"), is(6, 1));
    assert_eq!(version("6.12-rc1"), is(6, 12));
    for text in ["", "4", "4.", ".8", "x.8", "4.x", "-1.2", "4294967296.0"] {
        assert_eq!(version(text), Err(Fault::Kernel(text.to_owned())));
    }
    let rule = r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "includes": {"minKernel": "new"}}"#;
    assert!(message(&with_rules(rule)).contains("no kernel version"));
}

#[test]
fn errnos_may_be_given_by_name() {
    let ret = |errno: &str| {
        let text = with_rules(&format!(
            r#"{{"names": ["read"], "action": "SCMP_ACT_ERRNO", {errno}}}"#
        ));
        parse(&text).map(|p| p.section.syscalls().as_ref().unwrap()[0].errno_ret())
    };
    for (errno, expected) in [
        (r#""errno": "EPERM""#, Some(1)),
        (r#""errno": "ENOSYS""#, Some(38)),
        (r#""errno": "EHWPOISON""#, Some(133)),
        (r#""errno": "EWOULDBLOCK""#, Some(11)),
        (r#""errno": "EDEADLOCK""#, Some(35)),
        (r#""errno": "ENOTSUP""#, Some(95)),
        (r#""errno": "13""#, Some(13)),
        (r#""errno": """#, None),
        (r#""errno": "", "errnoRet": 7"#, Some(7)),
        (r#""errno": "EPERM", "errnoRet": 1"#, Some(1)),
    ] {
        assert_eq!(ret(errno).unwrap(), expected, "{errno}");
    }
    let twice = ret(r#""errno": "EPERM", "errnoRet": 2"#).unwrap_err();
    assert!(twice.to_string().contains("errnoRet says 2"), "{twice}");
    assert!(ret(r#""errno": "eperm""#).is_err());
    let default = parsed(r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS"}"#);
    assert_eq!(default.section.default_errno_ret(), Some(38));
}

#[test]
fn a_single_name_stands_for_a_list() {
    let rule = |names: &str| with_rules(&format!(r#"{{{names}, "action": "SCMP_ACT_LOG"}}"#));
    for text in [
        r#""name": "read""#,
        r#""name": "read", "names": []"#,
        r#""names": ["read"], "name": """#,
    ] {
        assert_eq!(names(&parsed(&rule(text))), [["read"]], "{text}");
    }
    assert!(message(&rule(r#""name": "read", "names": ["write"]"#)).contains("use one"));
    assert!(message(&rule(r#""name": """#)).contains("missing field `names`"));
    assert!(message(&rule(r#""name": "read", "names": null"#)).contains("null"));
}

#[test]
fn the_machines_own_entry_of_the_arch_map_is_taken() {
    let map = r#"{"defaultAction": "SCMP_ACT_LOG", "archMap": [
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_S390X", "subArchitectures": null}]"#;
    let arches = |rest: &str| {
        parsed(&format!("{map}{rest}}}"))
            .section
            .architectures()
            .clone()
    };
    let own = Some(vec![OciArch::ScmpArchX86_64, OciArch::ScmpArchX86]);
    assert_eq!(arches(""), own);
    assert_eq!(arches(r#", "architectures": []"#), own);
    let both = message(&format!(r#"{map}, "architectures": ["SCMP_ARCH_X86"]}}"#));
    assert!(both.contains("both architectures and archMap"), "{both}");
    let wrong = message(&(map.replace("ARCH_ARM\"", "ARCH_PDP11\"") + "}"));
    assert!(wrong.contains("unknown architecture"), "{wrong}");
}
