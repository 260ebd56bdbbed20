//! What a hostile container tries with a process that joins it, and what a
//! caller must not take along. Each test says what would be seen otherwise;
//! where that is cheap, it also shows the attack at work against `nsenter`.
#![forbid(unsafe_code)]

mod support;

#[path = "hostile/caller.rs"]
mod caller;
#[path = "hostile/hunted.rs"]
mod hunted;
#[path = "hostile/image.rs"]
mod image;
#[path = "hostile/swapped.rs"]
mod swapped;

use serde_json::{Value, json};
use support::Outcome;

/// The errno of our rules: EBADFD, which none of the calls below fails with.
const DENIED: i32 = 77;

/// Denies mkdir.
fn denies_mkdir() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": DENIED }]
    })
}

/// Nothing was started, for this reason.
#[track_caller]
fn is_refused(seen: Outcome, why: &str) -> Outcome {
    assert_eq!(seen.stdout, "", "{seen}");
    seen.exits(125).says(why)
}
