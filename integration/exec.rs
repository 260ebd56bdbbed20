//! `oci-seccomp exec` in real containers: what the new process is, which
//! filters it has, what the options change, and that nothing is left of it.
#![forbid(unsafe_code)]

mod support;

#[path = "exec/ends.rs"]
mod ends;
#[path = "exec/filters.rs"]
mod filters;
#[path = "exec/options.rs"]
mod options;
#[path = "exec/podman.rs"]
mod podman;
#[path = "exec/process.rs"]
mod process;
#[path = "exec/terminal.rs"]
mod terminal;

use serde_json::{Value, json};
use support::{Container, Outcome, Runtime};

/// The errno of our rules: EBADFD, which none of the calls below fails with.
const DENIED: i32 = 77;
const ENOENT: i32 = 2;
const EBADF: i32 = 9;

/// Its own errors.
const OURS: i32 = 125;

/// What a denied and an allowed call say.
const CALLS: &str = "status -- call mkdir @/tmp/a 0x1ed -- call close 99";

/// Denies these; for all architectures that runc tells apart.
fn denies(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": DENIED }]
    })
}

/// Nothing but these calls; any other kills.
fn allows_only(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }]
    })
}

/// Each setting of no_new_privs, user and user namespace.
fn each_setting(runtime: Runtime, test: impl Fn(Container)) {
    for no_new_privileges in [false, true] {
        for uid in [0, 1000] {
            for user_namespace in [false, true] {
                let container = Container::new(runtime)
                    .no_new_privileges(no_new_privileges)
                    .uid(uid);
                test(match user_namespace {
                    true => container.user_namespace(),
                    false => container,
                });
            }
        }
    }
}

/// Of these as many as show each pair of two settings.
fn each_pair(runtime: Runtime, test: impl Fn(Container)) {
    for (no_new_privileges, uid, user_namespace) in [
        (false, 0, false),
        (false, 1000, true),
        (true, 0, true),
        (true, 1000, false),
    ] {
        let container = Container::new(runtime)
            .no_new_privileges(no_new_privileges)
            .uid(uid);
        test(match user_namespace {
            true => container.user_namespace(),
            false => container,
        });
    }
}

/// The process and its children have so many filters, and `mkdir` is denied.
#[track_caller]
fn is_filtered(seen: &Outcome, count: &str) {
    for who in ["self", "child"] {
        assert_eq!(seen.field(who, "Seccomp"), "2", "{seen}");
        assert_eq!(seen.field(who, "Seccomp_filters"), count, "{seen}");
    }
    assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
    assert_eq!(seen.errno("close"), EBADF, "{seen}");
}

/// Nothing was started, for this reason.
#[track_caller]
fn is_refused(seen: Outcome, why: &str) -> Outcome {
    assert_eq!(seen.stdout, "", "{seen}");
    seen.exits(OURS).says(why)
}
