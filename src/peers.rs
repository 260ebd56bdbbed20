//! What runc, crun and youki make of a profile, and where each is known to
//! differ from what the profile says. Pure but for libseccomp.
//!
//! All three hand the whole profile to one libseccomp context
//! ([`crate::plain`]); what they do beside that is here, with where it can be
//! read.
#![forbid(unsafe_code)]

use crate::bpf::Program;
use crate::plain;
use crate::policy::{Action, Arch, Call, Clause, Compare, ENOSYS, Policy};
use crate::prove::{self, Witness};
use crate::syscalls::{self, Wiring, resolve, scmp_arch};
use crate::translate::Translation;
use libseccomp::ScmpSyscall;
use oci_spec::runtime::LinuxSeccomp;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A runtime that turns a profile into a filter by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runtime {
    /// runc 1.1 to 1.4
    Runc,
    /// crun 1.8 to 1.28
    Crun,
    /// youki up to 0.7.0
    Youki,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Runc, Self::Crun, Self::Youki];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Youki => "youki",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a runtime's verdict is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// runc answers calls newer than the profile before the filter does.
    Stub,
    /// crun and youki do not answer calls newer than the profile.
    NoStub,
    /// youki takes `value` for the datum and `valueTwo` for the mask.
    Swap,
    /// libseccomp has no number for the name.
    Unknown,
    /// An unconditional rule for the call erases the others.
    Erased,
    /// Several comparisons on one argument are merged into one chain.
    Merged,
    /// The arguments of a multiplexed call are behind a pointer, libseccomp
    /// compares the pointer.
    Multiplexed,
    /// ipc's first argument carries a version that libseccomp compares too.
    Version,
    /// libseccomp drops the high half of a constant on a 32-bit architecture.
    HighHalf,
    /// Rules that overlap are decided by the order of libseccomp's tree.
    Tree,
}

impl Cause {
    /// The cause for people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Stub => "it answers calls newer than the profile with ENOSYS",
            Self::NoStub => "it gives calls newer than the profile the default action",
            Self::Swap => "it takes value for the datum and valueTwo for the mask",
            Self::Unknown => "this libseccomp does not know the call, so its rule is skipped",
            Self::Erased => "in libseccomp an unconditional rule erases the others for its call",
            Self::Merged => "libseccomp merges comparisons on one argument wrongly",
            Self::Multiplexed => {
                "libseccomp compares the multiplexer's arguments as if they were the call's"
            }
            Self::Version => "libseccomp compares the version bits in ipc's first argument too",
            Self::HighHalf => "libseccomp drops the high half of the constant on 32 bits",
            Self::Tree => "libseccomp decides overlapping rules by the order of its tree",
        }
    }

    /// Where it can be read.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::Stub | Self::NoStub => {
                "github.com/opencontainers/runc libcontainer/seccomp/patchbpf/enosys_linux.go"
            }
            Self::Swap => {
                "github.com/youki-dev/youki crates/libcontainer/src/seccomp/mod.rs, translate_op"
            }
            Self::Unknown => "seccomp_syscall_resolve_name(3)",
            Self::Erased => "github.com/seccomp/libseccomp src/db.c, db_rule_add",
            Self::Tree | Self::Merged => {
                "github.com/seccomp/libseccomp src/db.c, _db_tree_prune and _db_tree_add"
            }
            Self::Multiplexed | Self::Version => {
                "github.com/seccomp/libseccomp src/syscalls.c, abi_rule_add"
            }
            Self::HighHalf => "github.com/seccomp/libseccomp src/db.c, _db_rule_gen_32",
        }
    }
}

/// What one runtime makes of a profile.
#[derive(Debug)]
pub struct Reading {
    /// The runtime.
    pub runtime: Runtime,
    /// Its program without what it puts before it, or why there is none.
    pub program: Arc<Result<Program, plain::Error>>,
    /// The calls on which it differs, one for each number and direction;
    /// `expected` is what the profile says. Calls newer than the profile are
    /// left out: [`Reading::newer`] says what becomes of them.
    pub differences: Vec<Witness>,
    /// For each architecture the number above which a call gets ENOSYS before
    /// the program is asked.
    stub: Vec<(Arch, u32)>,
    /// Where it reads masks the other way round, and there are some, the
    /// program it would have otherwise.
    unswapped: Option<Arc<Result<Program, plain::Error>>>,
}

/// What each runtime makes of a profile. Takes some milliseconds.
#[must_use]
pub fn readings(section: &LinuxSeccomp, translation: &Translation) -> Vec<Reading> {
    let plain = Arc::new(plain::compile(section, translation, None));
    let (swapped, youki) = swapped(translation);
    let reading = |runtime| {
        let mut reading = Reading {
            runtime,
            differences: Vec::new(),
            program: match runtime {
                // What keeps libseccomp busy for ever does so either way.
                Runtime::Youki if swapped && !is_endless(&plain) => {
                    Arc::new(plain::compile(section, &youki, None))
                }
                _ => Arc::clone(&plain),
            },
            stub: match runtime {
                Runtime::Runc => stub(section, translation),
                _ => Vec::new(),
            },
            unswapped: (swapped && runtime == Runtime::Youki).then(|| Arc::clone(&plain)),
        };
        reading.differences = reading.compare(&translation.policy);
        reading
    };
    Runtime::ALL.map(reading).into()
}

const fn is_endless(program: &Result<Program, plain::Error>) -> bool {
    matches!(
        program,
        Err(plain::Error::Endless | plain::Error::TooMany { .. })
    )
}

/// The profile as youki reads it: `ScmpArgCompare::new(index,
/// MaskedEqual(valueTwo), value)`, where libseccomp-rs wants the mask first.
fn swapped(translation: &Translation) -> (bool, Translation) {
    let mut out = translation.clone();
    let mut swapped = false;
    let conditions = out.rules.iter_mut().flatten();
    for condition in conditions.flat_map(|c| &mut c.conditions) {
        if let Compare::MaskedEq { mask, datum } = &mut condition.compare {
            swapped |= mask != datum;
            std::mem::swap(mask, datum);
        }
    }
    (swapped, out)
}

/// runc's stub: for each architecture that the profile lists, the largest
/// number among the names that libseccomp knows. Not where the default lets
/// calls through.
fn stub(section: &LinuxSeccomp, translation: &Translation) -> Vec<(Arch, u32)> {
    if matches!(
        translation.policy.default,
        Action::Allow | Action::Log | Action::Trace(_)
    ) {
        return Vec::new();
    }
    let listed = section.architectures().iter().flatten();
    let listed: BTreeSet<String> = listed.map(ToString::to_string).collect();
    let is_listed = |arch: Arch| {
        let native = arch == Arch::native() && listed.contains("SCMP_ARCH_NATIVE");
        native || listed.contains(arch.oci_name())
    };
    let names: Vec<&String> = section
        .syscalls()
        .iter()
        .flatten()
        .flat_map(|s| s.names())
        .collect();
    let arches = translation.policy.arches.iter().map(|r| r.arch);
    arches
        .filter(|&arch| is_listed(arch))
        .filter_map(|arch| {
            let numbers = names.iter().filter_map(|name| number(name, arch));
            Some((arch, numbers.max()?))
        })
        .collect()
}

/// libseccomp's own number for a name.
fn number(name: &str, arch: Arch) -> Option<u32> {
    let call = ScmpSyscall::from_name_by_arch(name, scmp_arch(arch)).ok()?;
    u32::try_from(call.as_raw_syscall()).ok()
}

impl Reading {
    /// What the runtime's filter does with a call, if it has one.
    #[must_use]
    pub fn verdict(&self, policy: &Policy, call: &Call) -> Option<Action> {
        let program = self.program.as_ref().as_ref().ok()?;
        let rules = policy.rules_for(call.audit, call.nr);
        let stub = self
            .stub
            .iter()
            .find(|s| Some(s.0) == rules.map(|r| r.arch));
        Some(match stub {
            Some((_, last)) if call.nr > *last => Action::Errno(ENOSYS),
            _ => Action::from_ret(program.run(call).0),
        })
    }

    /// Why the runtime refuses the profile, if it does.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let error = self.program.as_ref().as_ref().err()?;
        let cause = std::error::Error::source(error).map(|s| format!(": {s}"));
        Some(format!("{error}{}", cause.unwrap_or_default()))
    }

    fn compare(&self, policy: &Policy) -> Vec<Witness> {
        let Ok(program) = self.program.as_ref() else {
            return Vec::new();
        };
        let mut seen = BTreeSet::new();
        let mut out = Vec::new();
        prove::compare(policy, program, None, |mut witness| {
            let newer = policy
                .rules_for(witness.call.audit, witness.call.nr)
                .is_some_and(|r| r.newest.is_some_and(|n| witness.call.nr > n));
            let verdict = self.verdict(policy, &witness.call);
            witness.got = verdict.unwrap_or(witness.got);
            if !newer
                && witness.got != witness.expected.action
                && seen.insert((witness.arch, witness.call.nr, witness.is_weaker()))
            {
                out.push(witness);
            }
            ControlFlow::Continue(())
        });
        out
    }

    /// What becomes of native calls newer than the profile.
    #[must_use]
    pub fn newer(&self, policy: &Policy) -> Option<Action> {
        let rules = policy.arches.first()?;
        let named = rules.calls.keys().next_back().copied();
        let call = Call {
            audit: rules.arch.audit(),
            nr: named.unwrap_or(0).saturating_add(1),
            args: [0; 6],
        };
        self.verdict(policy, &call)
    }

    /// The likely cause of a difference.
    #[must_use]
    pub fn cause(&self, translation: &Translation, call: &Call, got: Action) -> Cause {
        let policy = &translation.policy;
        let Some(rules) = policy.rules_for(call.audit, call.nr) else {
            return Cause::Tree;
        };
        let clauses = rules.calls.get(&call.nr).map_or(&[][..], Vec::as_slice);
        if clauses.is_empty() {
            return match self.runtime {
                Runtime::Runc if got == Action::Errno(ENOSYS) => Cause::Stub,
                _ => Cause::NoStub,
            };
        }
        let name = syscalls::name(rules.arch, call.nr);
        if name.is_some_and(|name| ScmpSyscall::from_name(&name).is_err()) {
            return Cause::Unknown;
        }
        if self.swap_decides(call, got) {
            return Cause::Swap;
        }
        let is = |name| resolve(name, rules.arch) == Wiring::Direct(call.nr);
        if is("ipc") && call.args[0] & 0xffff_0000 != 0 {
            return Cause::Version;
        }
        if is("ipc") || is("socketcall") {
            return Cause::Multiplexed;
        }
        let args = call.args.map(|raw| rules.arch.arg(raw));
        let mut matching = clauses.iter().filter(|c| c.matches(&args));
        // Another rule that matches has its way.
        if let Some(other) = matching.find(|c| c.action == got) {
            return match other.conditions.is_empty() {
                true => Cause::Erased,
                false => Cause::Tree,
            };
        }
        let wide = |c: &Clause| c.conditions.iter().any(|c| is_wide(c.compare));
        match rules.arch.arg_bits() == 32 && clauses.iter().any(wide) {
            true => Cause::HighHalf,
            false => Cause::Merged,
        }
    }

    /// Whether the verdict would be another one with masks as they are meant.
    fn swap_decides(&self, call: &Call, got: Action) -> bool {
        let program = self.unswapped.as_deref().and_then(|p| p.as_ref().ok());
        program.is_some_and(|p| Action::from_ret(p.run(call).0) != got)
    }
}

/// Whether a constant does not fit 32 bits.
const fn is_wide(compare: Compare) -> bool {
    let constant = match compare {
        Compare::Ne(v)
        | Compare::Lt(v)
        | Compare::Le(v)
        | Compare::Eq(v)
        | Compare::Ge(v)
        | Compare::Gt(v) => v,
        Compare::MaskedEq { mask, datum } => mask | datum,
    };
    constant > 0xffff_ffff
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
