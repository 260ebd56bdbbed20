//! Findings that were made on the way, and those about rules that do nothing.
#![forbid(unsafe_code)]

use super::{Finding, Id, Severity, Witness, list, native, rule_in_file};
use crate::filter::Filter;
use crate::policy::{Action, Arch, ArchRules, Call, Policy};
use crate::profile::UnknownKey;
use crate::samples::{self, Samples};
use crate::syscalls::{self, Wiring, resolve};
use crate::translate::{Finding as Found, FindingKind};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn findings(filter: &Filter) -> Vec<Finding> {
    let mut out = translated(filter);
    out.extend(unknown_keys(filter));
    out.extend(default_action(filter));
    out.extend(not_wired(filter));
    out.extend(missing_architecture(filter));
    out
}

/// What [`crate::translate`] found, names with the same fate together.
fn translated(filter: &Filter) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut never: BTreeMap<(Id, Option<usize>, usize), Vec<String>> = BTreeMap::new();
    let mut multiplexed: BTreeMap<(&str, Arch), Vec<(usize, &str)>> = BTreeMap::new();
    for Found { rule, kind } in &filter.translation.findings {
        match kind {
            FindingKind::Shadowed { name, by } => {
                never
                    .entry((Id::ShadowedRule, *rule, *by))
                    .or_default()
                    .push(name.clone());
            }
            FindingKind::Duplicate { name, by } => {
                never
                    .entry((Id::DuplicateRule, *rule, *by))
                    .or_default()
                    .push(name.clone());
            }
            FindingKind::Multiplexed { name, by, arch } => {
                let names = multiplexed.entry((by, *arch)).or_default();
                names.extend(rule.map(|rule| (rule, name.as_str())));
            }
            FindingKind::UnknownName(name) => out.push(unknown_name(*rule, name)),
            FindingKind::Empty => out.push(Finding::new::<&str>(
                Id::EmptyRule,
                *rule,
                &[],
                "covers no system call",
                "give it names, or remove it",
            )),
            FindingKind::UnusedListener => out.push(Finding::new(
                Id::UnusedListener,
                None,
                &["listenerPath"],
                "is ignored: no rule says SCMP_ACT_NOTIFY",
                "remove it, or say SCMP_ACT_NOTIFY for the calls that the agent is to answer",
            )),
            FindingKind::ForeignEndianness(arch) => out.push(skipped(
                *arch,
                "its byte order differs, and this kernel cannot run it",
            )),
            FindingKind::UnsupportedArch(arch) => {
                out.push(skipped(*arch, "libseccomp does not know it"));
            }
        }
    }
    out.extend(
        never
            .into_iter()
            .filter_map(|((id, rule, by), names)| never_decides(filter, id, rule?, by, &names)),
    );
    let multiplexed = multiplexed.into_iter();
    out.extend(multiplexed.filter_map(|((by, arch), names)| evaded(filter, by, arch, &names)));
    out
}

fn skipped(arch: Arch, why: &str) -> Finding {
    Finding::new(
        Id::SkippedArchitecture,
        None,
        &[arch],
        format!("is left out: {why}; its calls are killed"),
        "nothing, on a machine that does not run it",
    )
}

fn unknown_name(rule: Option<usize>, name: &str) -> Finding {
    let remedy = match syscalls::nearest(name) {
        Some(near) => format!("did you mean {near}?"),
        None => "correct or remove it".to_owned(),
    };
    let message = "neither libseccomp nor this program knows the call; it is skipped";
    Finding::new(Id::UnknownSyscall, rule, &[name], message, &remedy)
}

/// Characters of a key that are shown: enough to find it by.
const SHOWN: usize = 64;

/// Keys that mean nothing, all in one: who writes one writes it often.
fn unknown_keys(filter: &Filter) -> Option<Finding> {
    let keys = &filter.profile.unknown_keys;
    let names: BTreeSet<&str> = keys.iter().map(|k| k.key.as_str()).collect();
    let shown = |key: &str| format!("{:?}", key.chars().take(SHOWN).collect::<String>());
    let names: Vec<String> = names.into_iter().map(shown).collect();
    let UnknownKey { site, .. } = keys.first()?;
    // A rule that does not apply here is none of the section's.
    let rule = site.and_then(|s| filter.profile.sites.iter().position(|own| *own == s));
    let place = match (site, rule) {
        (Some(site), None) => format!(", first in rule {} (line {})", site.rule, site.line),
        _ => String::new(),
    };
    let message = format!("means nothing and is ignored{place}");
    let remedy = "correct it; for a remark, call the key \"comment\"";
    Some(Finding::new(Id::UnknownKey, rule, &names, message, remedy))
}

/// A rule that says nothing new about some names.
fn never_decides(
    filter: &Filter,
    id: Id,
    rule: usize,
    by: usize,
    names: &[String],
) -> Option<Finding> {
    let rules = native(filter)?;
    let earlier = rule_in_file(filter, by);
    if id == Id::DuplicateRule {
        let message = format!("says the same as rule {earlier}");
        return Some(Finding::new(id, rule, names, message, "remove one of them"));
    }
    let message = format!("never decides, rule {earlier} comes first");
    let Wiring::Direct(nr) = resolve(names.first()?, rules.arch) else {
        return None;
    };
    let clause = rules.calls.get(&nr)?.iter().find(|c| c.rule == rule)?;
    let call = samples::satisfying(rules.arch, nr, &clause.conditions)?;
    let witness = Witness::of(filter, rules.arch, call);
    // Shadowed by a rule that says the same: nobody is misled.
    let same = witness.verdict == clause.action;
    let remedy = "remove it, or put it before the other: the first rule in the file decides";
    let mut finding = Finding::new(id, rule, names, message, remedy).with([witness]);
    if same {
        finding.severity = Severity::Note;
    }
    Some(finding)
}

/// Conditions on sub-calls that the multiplexer evades, if it does.
fn evaded(filter: &Filter, by: &str, arch: Arch, named: &[(usize, &str)]) -> Option<Finding> {
    let policy = &filter.translation.policy;
    let mut open: Vec<String> = Vec::new();
    let mut first = None;
    let mut seen = BTreeSet::new();
    for &(rule, name) in named.iter().filter(|n| seen.insert(n.1)) {
        let Wiring::Multiplexed { by, sub, .. } = resolve(name, arch) else {
            continue;
        };
        let mut through = samples::bare(arch, by);
        through.args[0] = sub.number.into();
        let verdict = policy.verdict(&through).action;
        // What the rule is there for: the call by its own number.
        let direct = strictest(policy, name);
        let evades = direct.filter(|(_, _, a)| a.permissiveness() < verdict.permissiveness());
        if let Some((arch_of, call, _)) = evades {
            open.push(name.to_owned());
            let witness = [
                Witness::of(filter, arch_of, call),
                Witness::of(filter, arch, through),
            ];
            first.get_or_insert((rule, witness));
        }
    }
    let (rule, witness) = first?;
    let message = format!("made by {by} on {arch}, where no condition is looked at");
    let remedy = format!(
        "deny {by} on {arch}, where the calls have had their own numbers since Linux 4.3, or \
         leave {} out",
        arch.oci_name()
    );
    Some(Finding::new(Id::MultiplexedArguments, rule, &open, message, &remedy).with(witness))
}

/// The call of a name that is refused most, on any architecture.
fn strictest(policy: &Policy, name: &str) -> Option<(Arch, Call, Action)> {
    let on = |rules: &ArchRules| match resolve(name, rules.arch) {
        Wiring::Direct(nr)
        | Wiring::Multiplexed {
            direct: Some(nr), ..
        } => samples::outcomes(policy, rules, nr)
            .into_iter()
            .map(|(action, call)| (rules.arch, call, action))
            .min_by_key(|o| o.2.permissiveness()),
        _ => None,
    };
    let all = policy.arches.iter().filter_map(on);
    all.min_by_key(|o| o.2.permissiveness())
}

/// Rules that repeat the default and make no difference.
fn default_action(filter: &Filter) -> Vec<Finding> {
    let policy = &filter.translation.policy;
    let repeats = |rule: &usize| {
        let clauses = &filter.translation.rules[*rule];
        !clauses.is_empty() && clauses.iter().all(|c| c.action == policy.default)
    };
    let mut idle: BTreeSet<usize> = (0..filter.translation.rules.len())
        .filter(repeats)
        .collect();
    let mut touched = BTreeSet::new();
    for rules in &policy.arches {
        for (&nr, clauses) in &rules.calls {
            let own = clauses.iter().map(|c| c.rule).filter(|r| idle.contains(r));
            let own: Vec<usize> = own.collect();
            touched.extend(own.iter().copied());
            if own.is_empty() {
                continue;
            }
            // Without it, calls above would be newer than the profile.
            if rules.newest == Some(nr) && clauses.iter().all(|c| own.contains(&c.rule)) {
                own.iter().for_each(|rule| _ = idle.remove(rule));
            }
            for rule in differing(policy, rules, nr) {
                idle.remove(&rule);
            }
        }
    }
    let finding = |rule: &usize| {
        Finding::new::<&str>(
            Id::DefaultAction,
            *rule,
            &[],
            format!("says {}, as the default does", policy.default),
            "remove it, unless it is there for a reader",
        )
    };
    idle.intersection(&touched).map(finding).collect()
}

/// Rules without which some call of a number would get another verdict.
fn differing(policy: &Policy, rules: &ArchRules, nr: u32) -> BTreeSet<usize> {
    let clauses = rules.calls.get(&nr).map_or(&[][..], Vec::as_slice);
    let mut out = BTreeSet::new();
    for (call, first) in Samples::new(rules, nr).iter() {
        let Some(first) = first else { continue };
        let args = call.args.map(|raw| rules.arch.arg(raw));
        let clause = &clauses[first];
        let mut later = clauses[first..].iter();
        let next = later.find(|c| c.rule != clause.rule && c.matches(&args));
        if next.map_or(policy.default, |c| c.action) != clause.action {
            out.insert(clause.rule);
        }
    }
    out
}

/// Names that are calls elsewhere only.
fn not_wired(filter: &Filter) -> Vec<Finding> {
    let arches = &filter.translation.policy.arches;
    let rules = filter
        .profile
        .section
        .syscalls()
        .iter()
        .flatten()
        .enumerate();
    let mut out = Vec::new();
    for (rule, syscall) in rules {
        let absent = |name: &&String| {
            arches
                .iter()
                .all(|r| resolve(name, r.arch) == Wiring::Absent)
        };
        let names: Vec<String> = syscall.names().iter().filter(absent).cloned().collect();
        if !names.is_empty() {
            let on: Vec<&str> = arches.iter().map(|r| r.arch.name()).collect();
            out.push(Finding::new(
                Id::NotWired,
                rule,
                &names,
                format!("no calls on {}", on.join(", ")),
                "nothing, in a profile for several machines",
            ));
        }
    }
    out
}

/// Companions of the native architecture that are not listed.
fn missing_architecture(filter: &Filter) -> Option<Finding> {
    let companions: &[Arch] = match Arch::native() {
        Arch::X86_64 => &[Arch::X86, Arch::X32],
        _ => &[Arch::Arm],
    };
    let listed: BTreeSet<Arch> = filter
        .translation
        .policy
        .arches
        .iter()
        .map(|r| r.arch)
        .collect();
    let missing = companions.iter().filter(|a| !listed.contains(a));
    let missing: Vec<Arch> = missing.copied().collect();
    let first = *missing.first()?;
    let Wiring::Direct(nr) = resolve("getpid", first) else {
        return None;
    };
    let oci: Vec<String> = missing.iter().map(|a| a.oci_name().to_owned()).collect();
    let call = samples::bare(first, nr);
    Some(
        Finding::new(
            Id::MissingArchitecture,
            None,
            &missing,
            "not listed: its programs are killed",
            &format!("list {} if the workload has such programs", list(&oci)),
        )
        .with([Witness::of(filter, first, call)]),
    )
}
