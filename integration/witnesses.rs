//! Profiles that the runtimes of today get wrong, in real containers that get
//! their filter from here: each call has the verdict that the profile says.
#![forbid(unsafe_code)]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Container, Runtime, Stage, programs};

/// The errno of our rules: EBADFD, which none of the calls below fails with.
const DENIED: i32 = 77;
const EBADF: i32 = 9;
const ENOENT: i32 = 2;

/// Compiled in one piece by libseccomp, the second rule is lost and
/// `lseek(0, 6)` let through.
fn denies_lseek_when_any_64_bit_bound_matches(runtime: Runtime) {
    let up_to = |bound: u64| {
        json!({
            "names": ["lseek"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": DENIED,
            "args": [{ "index": 1, "value": bound, "op": "SCMP_CMP_LE" }]
        })
    };
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [up_to(0x1_0000_0005), up_to(5)]
    });
    let lseek = |offset: &str| {
        let seen = Container::new(runtime)
            .profile_hook(Stage::CreateRuntime, &profile)
            .probe(&format!("call lseek 99 {offset} 0"))
            .run()
            .success();
        seen.errno("lseek")
    };
    assert_eq!(lseek("5"), DENIED);
    assert_eq!(lseek("6"), DENIED);
    assert_eq!(lseek("0x100000005"), DENIED);
    assert_eq!(lseek("0x100000006"), EBADF);
}

/// Plain libseccomp lets the unconditional rule erase the one before it.
fn denies_what_an_earlier_rule_denies(runtime: Runtime) {
    let mkdir = |action: &str, extra: Value| {
        let mut rule = json!({"names": ["mkdir"], "action": action});
        let extra = extra.as_object().expect("an object").clone();
        rule.as_object_mut().expect("an object").extend(extra);
        rule
    };
    let private = json!({
        "errnoRet": DENIED,
        "args": [{"index": 1, "value": 0o700, "op": "SCMP_CMP_EQ"}]
    });
    let profile = json!({
        "defaultAction": "SCMP_ACT_LOG",
        "syscalls": [mkdir("SCMP_ACT_ERRNO", private), mkdir("SCMP_ACT_ALLOW", json!({}))]
    });
    let seen = Container::new(runtime)
        .no_new_privileges(true)
        .profile_hook(Stage::CreateRuntime, &profile)
        .probe("call mkdir @/none/a 0x1c0 -- call mkdir @/none/b 0x1ed")
        .run()
        .success();
    let answers = format!("mkdir = -1 {DENIED}\nmkdir = -1 {ENOENT}\n");
    assert_eq!(seen.stdout, answers, "{seen}");
}

/// A datum of 0 is a datum, not a mask: the bit must not be set.
fn compares_masked_bits_with_zero(runtime: Runtime) {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{
            "names": ["lseek"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": DENIED,
            "args": [{"index": 1, "value": 0x2000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
        }]
    });
    let lseek = |offset: &str| {
        Container::new(runtime)
            .profile_hook(Stage::CreateRuntime, &profile)
            .probe(&format!("call lseek 99 {offset} 0"))
            .run()
            .success()
            .errno("lseek")
    };
    assert_eq!(lseek("0x1000"), DENIED);
    assert_eq!(lseek("0x2000"), EBADF);
    assert_eq!(lseek("0x3001"), EBADF);
}

/// No argument of a 32-bit call reaches the constant, so the rule covers all;
/// libseccomp alone drops the constant's high half and compares with 0.
fn folds_64_bit_constants_for_32_bit_calls(runtime: Runtime) {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{
            "names": ["lseek"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": DENIED,
            "args": [{"index": 1, "value": 0x1_0000_0000_u64, "op": "SCMP_CMP_LT"}]
        }]
    });
    for no_new_privileges in [true, false] {
        let container = |probe: &str| {
            Container::new(runtime)
                .no_new_privileges(no_new_privileges)
                .profile_hook(Stage::CreateRuntime, &profile)
                .probe(probe)
        };
        let narrow = container("call lseek 99 5 0");
        fs::copy(programs::probe32(), narrow.rootfs().join("probe")).expect("copy");
        assert_eq!(narrow.run().success().errno("lseek"), DENIED);
        let wide = container("call lseek 99 0x100000000 0").run().success();
        assert_eq!(wide.errno("lseek"), EBADF);
    }
}

support::on_each_runtime! {
    denies_lseek_when_any_64_bit_bound_matches
    denies_what_an_earlier_rule_denies
    compares_masked_bits_with_zero
    folds_64_bit_constants_for_32_bit_calls
}
