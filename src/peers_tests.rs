//! What runtimes make of profiles on which they are known to differ. The
//! verdicts of runc and crun were seen with real containers.

use super::*;
use crate::translate::{Options, translate};

fn read(json: &str) -> (LinuxSeccomp, Translation) {
    let section: LinuxSeccomp = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}"));
    let translation = translate(&section, Options::default()).unwrap();
    (section, translation)
}

/// Each runtime's verdict on a native call, with the cause where it differs.
fn verdicts(json: &str, nr: u32, args: [u64; 6]) -> Vec<(&'static str, Action, Option<Cause>)> {
    let (section, translation) = read(json);
    let call = Call {
        audit: Arch::native().audit(),
        nr,
        args,
    };
    let policy = &translation.policy;
    let ours = policy.verdict(&call).action;
    let readings = readings(&section, &translation);
    let verdict = |r: &Reading| {
        let theirs = r.verdict(policy, &call).unwrap();
        let cause = (theirs != ours).then(|| r.cause(&translation, &call, theirs));
        (r.runtime.name(), theirs, cause)
    };
    readings.iter().map(verdict).collect()
}

#[test]
fn only_runc_answers_newer_calls_and_only_on_listed_architectures() {
    let profile = |arches: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 77 {arches},
                "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ALLOW"}}]}}"#
        )
    };
    let (enosys, other) = (Action::Errno(ENOSYS), Action::Errno(77));
    let listed = profile(r#", "architectures": ["SCMP_ARCH_X86_64"]"#);
    let without = Some(Cause::NoStub);
    assert_eq!(
        verdicts(&listed, 9999, [0; 6]),
        [
            ("runc", enosys, None),
            ("crun", other, without),
            ("youki", other, without)
        ]
    );
    for arches in ["", r#", "architectures": ["SCMP_ARCH_X86"]"#] {
        let verdicts = verdicts(&profile(arches), 9999, [0; 6]);
        assert_eq!(verdicts[0], ("runc", other, without), "{arches}");
    }
}

#[test]
fn youki_swaps_mask_and_datum() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 268435456, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#;
    let denied = Action::Errno(1);
    assert_eq!(
        verdicts(json, 56, [0x1000_0000, 0, 0, 0, 0, 0]),
        [
            ("runc", denied, None),
            ("crun", denied, None),
            ("youki", Action::Allow, Some(Cause::Swap))
        ]
    );
    let mended = json.replace("\"valueTwo\": 0", "\"valueTwo\": 268435456");
    let verdicts = verdicts(&mended, 56, [0x1000_0000, 0, 0, 0, 0, 0]);
    assert!(verdicts.iter().all(|v| v.2.is_none()), "{verdicts:?}");
}

#[test]
fn two_bounds_on_one_argument_are_merged_and_a_catch_all_erases() {
    let bound = |value: u64, action: &str| {
        format!(
            r#"{{"names": ["lseek"], "action": "SCMP_ACT_{action}",
                "args": [{{"index": 1, "value": {value}, "op": "SCMP_CMP_LE"}}]}}"#
        )
    };
    let json = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}, {}]}}"#,
        bound(0x1_0000_0005, "ERRNO"),
        bound(5, "ERRNO")
    );
    let verdicts_of = |json: &str, value| verdicts(json, 8, [0, value, 0, 0, 0, 0]);
    for (_, action, cause) in verdicts_of(&json, 6) {
        assert_eq!((action, cause), (Action::Allow, Some(Cause::Merged)));
    }
    let json = format!(
        r#"{{"defaultAction": "SCMP_ACT_LOG", "syscalls": [{},
            {{"names": ["lseek"], "action": "SCMP_ACT_ALLOW"}}]}}"#,
        bound(5, "ERRNO")
    );
    for (_, action, cause) in verdicts_of(&json, 5) {
        assert_eq!((action, cause), (Action::Allow, Some(Cause::Erased)));
    }
}

#[test]
fn a_call_that_libseccomp_does_not_know_has_no_rule() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["mseal"], "action": "SCMP_ACT_ALLOW"}]}"#;
    // Holds for libseccomp before 2.6.
    if ScmpSyscall::from_name("mseal").is_ok() {
        return;
    }
    for (runtime, action, cause) in verdicts(json, 462, [0; 6]) {
        assert_eq!(
            (action, cause),
            (Action::Errno(1), Some(Cause::Unknown)),
            "{runtime}"
        );
    }
}

#[test]
fn differences_leave_out_what_is_newer_than_the_profile() {
    let (section, translation) = read(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    for reading in readings(&section, &translation) {
        assert_eq!(reading.differences, [], "{}", reading.runtime);
        let newer = reading.newer(&translation.policy).unwrap();
        let expected = match reading.runtime {
            Runtime::Runc => Action::Errno(ENOSYS),
            _ => Action::Errno(1),
        };
        assert_eq!(newer, expected);
    }
}
