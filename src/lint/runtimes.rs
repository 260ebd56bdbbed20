//! Findings about the runtimes: what their own filters do with the profile,
//! and what they call under ours.
#![forbid(unsafe_code)]

use super::{Finding, Id, Severity, Surroundings, Witness, list, name_of, native};
use crate::arm::Boundary;
use crate::filter::Filter;
use crate::peers::Runtime;
use crate::policy::{Action, Reason};
use crate::prove;
use crate::samples;
use crate::syscalls::{Wiring, resolve};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn findings(filter: &Filter, around: &Surroundings<'_>) -> Vec<Finding> {
    let mut out = differences(filter, around);
    out.extend(refusals(around));
    out.extend(needs(filter, around));
    out
}

/// Calls that some runtimes treat otherwise, for one cause.
#[derive(Default)]
struct Group {
    runtimes: BTreeSet<Runtime>,
    names: BTreeSet<String>,
    rule: Option<usize>,
    witness: Vec<Witness>,
}

fn differences(filter: &Filter, around: &Surroundings<'_>) -> Vec<Finding> {
    let policy = &filter.translation.policy;
    let mut groups: BTreeMap<(bool, &'static str), Group> = BTreeMap::new();
    for reading in around.readings {
        for found in &reading.differences {
            let cause = reading.cause(&filter.translation, &found.call, found.got);
            let key = (found.is_weaker(), cause.describe());
            let group = groups.entry(key).or_default();
            group.runtimes.insert(reading.runtime);
            let name = found.arch.map(|arch| name_of(arch, found.call.nr));
            group.names.extend(name);
            group.rule = group.rule.or_else(|| match found.expected.reason {
                Reason::Rule(rule) => Some(rule),
                _ => rule_of(filter, found),
            });
            if group.witness.is_empty() {
                // Not all need say the same of this very call.
                let agree = around.readings.iter();
                let agree = agree.filter(|r| r.verdict(policy, &found.call) == Some(found.got));
                let by: Vec<&str> = agree.map(|r| r.runtime.name()).collect();
                group.witness = witness(found, &by.join(", ")).into();
            }
        }
    }
    groups.into_iter().map(difference).collect()
}

/// The profile's verdict on a call, and that of these runtimes.
fn witness(found: &prove::Witness, by: &str) -> [Witness; 2] {
    let of = |verdict, by| Witness {
        arch: found.arch,
        call: found.call,
        verdict,
        by,
    };
    [
        of(found.expected.action, None),
        of(found.got, Some(by.to_owned())),
    ]
}

fn difference(((weaker, why), group): ((bool, &str), Group)) -> Finding {
    let runtimes: Vec<String> = group.runtimes.iter().map(ToString::to_string).collect();
    let names: Vec<String> = group.names.into_iter().collect();
    let (id, what, remedy) = match weaker {
        true => (
            Id::RuntimeWeaker,
            "let through more freely",
            "have oci-seccomp load the filter, or rewrite the rule",
        ),
        false => (
            Id::RuntimeDiffers,
            "refused more often, or with another errno,",
            "nothing, if programs cope with it",
        ),
    };
    let message = format!("{what} by {}: {why}", list(&runtimes));
    Finding::new(id, group.rule, &names, message, remedy).with(group.witness)
}

/// The rule whose action a runtime takes where none of ours matches: of a
/// multiplexer the one for that sub-call, if there is one.
fn rule_of(filter: &Filter, found: &prove::Witness) -> Option<usize> {
    let is_sub_call = |name: &String| match found.arch.map(|arch| resolve(name, arch)) {
        Some(Wiring::Multiplexed { by, sub, .. }) => {
            by == found.call.nr && u64::from(sub.number) == found.call.args[0]
        }
        _ => false,
    };
    let mut entries = filter.profile.section.syscalls().iter().flatten();
    if let Some(rule) = entries.position(|entry| entry.names().iter().any(is_sub_call)) {
        return Some(rule);
    }
    let policy = &filter.translation.policy;
    let rules = policy.rules_for(found.call.audit, found.call.nr)?;
    let mut clauses = rules.calls.get(&found.call.nr)?.iter();
    clauses.find(|c| c.action == found.got).map(|c| c.rule)
}

fn refusals(around: &Surroundings<'_>) -> Option<Finding> {
    let refused = around.readings.iter();
    let refused = refused.filter_map(|r| Some((r.runtime.to_string(), r.refusal()?)));
    let refused: Vec<(String, String)> = refused.collect();
    let (_, why) = refused.first()?;
    let runtimes: Vec<String> = refused.iter().map(|r| r.0.clone()).collect();
    let message = format!("refused by {}: {why}", list(&runtimes));
    let remedy = "have oci-seccomp load the filter (--profile), without a linux.seccomp section";
    Some(Finding::new(
        Id::RuntimeRefuses,
        None,
        &["the profile"],
        message,
        remedy,
    ))
}

/// When a call matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// The start fails if it fails.
    Always,
    /// The same, for a workload whose user is not root.
    NotRoot,
    /// It is made, but may fail.
    Made,
    /// The same; but then these are made instead, and may not fail.
    Else(&'static [&'static str]),
}

/// The calls of one runtime, in a version.
struct Needs {
    runtime: Runtime,
    version: &'static str,
    calls: &'static [(&'static str, When)],
}

/// What init calls between the place where the filter is loaded without
/// no_new_privs (before the change of user and the drop of capabilities) and
/// the workload's execve: seen by strace, and each tried denied. futex and
/// rt_sigreturn are Go's: whether it calls them is a matter of time.
const NEEDS: &[Needs] = &[
    Needs {
        runtime: Runtime::Runc,
        version: "1.1.5",
        calls: &[
            ("setuid", When::NotRoot),
            ("capset", When::Always),
            ("capget", When::NotRoot),
            ("prctl", When::NotRoot),
            ("getppid", When::Always),
            ("newfstatat", When::Always),
            ("close", When::Always),
            ("openat", When::Always),
            ("write", When::Always),
            ("fstatfs", When::Always),
            ("getdents64", When::Always),
            ("getcwd", When::NotRoot),
            ("execve", When::Always),
            (
                "faccessat2",
                // As golang.org/x/sys/unix does without it.
                When::Else(&["geteuid", "getegid", "getgroups"]),
            ),
            ("getpid", When::Made),
            ("futex", When::Always),
            ("rt_sigreturn", When::Always),
            ("epoll_ctl", When::Made),
        ],
    },
    Needs {
        runtime: Runtime::Crun,
        version: "1.8.1",
        calls: &[
            ("setresuid", When::NotRoot),
            ("capset", When::Always),
            ("prctl", When::Made),
            ("rt_sigprocmask", When::Always),
            ("rt_sigaction", When::Always),
            ("write", When::Always),
            ("close", When::Made),
            ("execve", When::Always),
        ],
    },
];

fn needs(filter: &Filter, around: &Surroundings<'_>) -> Vec<Finding> {
    if around.boundary == Some(Boundary::Exec) {
        return Vec::new();
    }
    let mut out = Vec::new();
    for Needs {
        runtime,
        version,
        calls,
    } in NEEDS
    {
        let missing = calls.iter().filter_map(|&(name, when)| {
            let witness = refused(filter, name)?;
            let deadly = witness.verdict.permissiveness() < Action::Errno(0).permissiveness();
            let matters = match when {
                When::Always => true,
                When::NotRoot => around.uid != Some(0) || deadly,
                When::Made => deadly,
                When::Else(others) => {
                    deadly || others.iter().any(|other| refused(filter, other).is_some())
                }
            };
            matters.then(|| (name.to_owned(), witness))
        });
        let (names, mut witnesses): (Vec<String>, Vec<Witness>) = missing.unzip();
        if names.is_empty() {
            continue;
        }
        let when = match around.boundary {
            Some(_) => "after it has the filter",
            None => "after it has the filter, if noNewPrivileges is false",
        };
        let message = format!("called by {runtime} (seen: {version}) {when}");
        let remedy = "allow them, or set noNewPrivileges: then the filter comes at the exec";
        let mut finding = Finding::new(Id::RuntimeNeeds, None, &names, message, remedy);
        if around.boundary.is_none() {
            finding.severity = Severity::Note;
        }
        out.push(finding.with([witnesses.swap_remove(0)]));
    }
    out
}

/// A native call of this name that is denied, if one is whatever the
/// arguments: those of the runtime are not known here.
fn refused(filter: &Filter, name: &str) -> Option<Witness> {
    let rules = native(filter)?;
    let Wiring::Direct(nr) = resolve(name, rules.arch) else {
        return None;
    };
    let outcomes = samples::outcomes(&filter.translation.policy, rules, nr);
    let most = outcomes.iter().max_by_key(|o| o.0.permissiveness())?;
    let denies = most.0.permissiveness() <= Action::Errno(0).permissiveness();
    denies.then(|| Witness::of(filter, rules.arch, most.1))
}
