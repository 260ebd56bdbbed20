//! Cases that pass, fail, are skipped, and make no sense.

use super::*;
use crate::compile::compile;
use crate::translate::{Options, translate};

fn run(case: &str) -> Result<Outcome, Error> {
    let section = serde_json::from_str(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_S390X"], "syscalls": [
            {"names": ["read", "socket"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["lseek"], "action": "SCMP_ACT_TRACE", "errnoRet": 7,
             "args": [{"index": 1, "value": 5, "op": "SCMP_CMP_LE"}]}]}"#,
    )
    .unwrap();
    let options = Options {
        strict: false,
        enosys: false,
    };
    let translation = translate(&section, options).unwrap();
    let program = compile(&translation.policy).unwrap();
    let case: Case = serde_json::from_str(case).unwrap_or_else(|e| panic!("{e}: {case}"));
    case.run(&translation, &program)
}

#[test]
fn right_verdicts_pass() {
    for case in [
        r#"{"syscall": "read", "expect": "ALLOW"}"#,
        r#"{"syscall": 0, "args": [1, 2, 3, 4, 5, 6], "expect": "ALLOW"}"#,
        r#"{"syscall": "lseek", "args": [null, 5], "expect": "TRACE(7)"}"#,
        r#"{"syscall": "lseek", "args": [null, 6], "expect": "ERRNO(13)"}"#,
        r#"{"syscall": -1, "expect": "ERRNO(13)"}"#,
        r#"{"arch": "x86", "syscall": "socket", "expect": "ALLOW"}"#,
        r#"{"arch": "SCMP_ARCH_X86", "syscall": "socketcall", "args": [1], "expect": "ALLOW"}"#,
        r#"{"arch": "x32", "syscall": 0, "expect": "ALLOW"}"#,
        r#"{"arch": "x32", "syscall": "read", "expect": "ALLOW"}"#,
        r#"{"arch": "aarch64", "syscall": "read", "expect": "KILL"}"#,
    ] {
        assert!(matches!(run(case), Ok(Outcome::Passed)), "{case}");
    }
}

#[test]
fn a_wrong_verdict_fails_and_shows_call_and_reason() {
    let outcome = run(r#"{"syscall": "lseek", "args": [0, 5], "expect": "ALLOW"}"#);
    let Ok(Outcome::Failed(failure)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(failure.describe_call(), "x86_64 lseek(0x0, 0x5)");
    assert_eq!(failure.expected, Action::Allow);
    assert_eq!(
        (failure.meant.action, failure.got),
        (Action::Trace(7), Action::Trace(7))
    );
    assert_eq!(failure.meant.reason, crate::policy::Reason::Rule(1));
}

#[test]
fn any_argument_means_every_argument() {
    let outcome = run(r#"{"syscall": "lseek", "expect": "TRACE(7)"}"#);
    assert!(matches!(outcome, Ok(Outcome::Failed(_))), "{outcome:?}");
    let outcome = run(r#"{"arch": "x86", "syscall": "socketcall", "expect": "ERRNO(13)"}"#);
    assert!(matches!(outcome, Ok(Outcome::Passed)), "{outcome:?}");
}

#[test]
fn an_architecture_that_was_left_out_is_skipped() {
    let outcome = run(r#"{"arch": "s390x", "syscall": "read", "expect": "ALLOW"}"#);
    assert!(matches!(outcome, Ok(Outcome::Skipped(Arch::S390x))));
}

#[test]
fn cases_that_make_no_sense_say_why() {
    for (case, expected) in [
        (
            r#"{"arch": "vax", "syscall": 0, "expect": "ALLOW"}"#,
            "unknown architecture \"vax\"",
        ),
        (
            r#"{"syscall": "_llseek", "expect": "ALLOW"}"#,
            "x86_64 has no system call \"_llseek\"",
        ),
        (
            r#"{"syscall": -2, "expect": "ALLOW"}"#,
            "-2 is no system call number",
        ),
        (
            r#"{"syscall": 4294967296, "expect": "ALLOW"}"#,
            "is no system call number",
        ),
        (
            r#"{"syscall": 0, "args": [0,0,0,0,0,0,0], "expect": "ALLOW"}"#,
            "at most 6 arguments",
        ),
        (r#"{"syscall": 0, "expect": "MAYBE"}"#, "unknown verdict"),
        (r#"{"syscall": 0, "expect": "ERRNO"}"#, "unknown verdict"),
        (
            r#"{"syscall": 0, "expect": "ERRNO(70000)"}"#,
            "unknown verdict",
        ),
        (r#"{"syscall": 0, "expect": "ALLOW(1)"}"#, "unknown verdict"),
    ] {
        let error = run(case).expect_err(case).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn every_verdict_is_read_as_it_is_printed() {
    for action in [
        Action::KillProcess,
        Action::KillThread,
        Action::Trap,
        Action::Errno(4094),
        Action::Notify,
        Action::Trace(0),
        Action::Log,
        Action::Allow,
    ] {
        assert_eq!(parse_action(&action.to_string()).unwrap(), action);
    }
}
