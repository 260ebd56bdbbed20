//! Collects what a report says. Pure but for libseccomp, which is asked what
//! the runtimes would load.
#![forbid(unsafe_code)]

use super::{
    ArchReport, ConditionReport, Context, Cost, DifferenceReport, FindingReport, Load,
    ProgramReport, Report, ResolvedFor, RuleReport, RuntimeReport, SCHEMA, Skipped, WitnessReport,
};
use crate::filter::Filter;
use crate::flags;
use crate::lint::{self, Finding, Surroundings};
use crate::peers::{self, Reading};
use crate::policy::{Action, Arch, ArchRules, Clause, Compare, Condition, ENOSYS, FOREIGN_ARCH};
use crate::profile::Target;
use crate::prove::Witness;
use crate::syscalls::{Wiring, resolve};
use oci_spec::runtime::LinuxSyscall;

impl Report {
    /// Collects what there is to say. Compiles the profile once more, whole
    /// and by plain libseccomp, which takes some milliseconds.
    #[must_use]
    pub fn new(filter: &Filter, context: &Context<'_>) -> Self {
        let profile = &filter.profile;
        let policy = &filter.translation.policy;
        let newer = policy.arches.iter().any(|r| r.newest.is_some());
        let readings = peers::readings(&profile.section, &filter.translation);
        let around = Surroundings {
            boundary: context.plan.map(|p| p.boundary),
            uid: context.uid,
            readings: &readings,
        };
        let mut findings = lint::findings(filter, &around);
        findings.retain(|f| !context.silenced.contains(&f.id));
        let set = policy.flags.named().into_iter().filter(|f| f.1);
        let listener = policy.listener.as_ref();
        Self {
            schema: SCHEMA,
            source: profile.origin.clone(),
            form: if profile.is_extended { "docker" } else { "oci" },
            oci_version: context.oci_version.map(str::to_owned),
            resolved_for: context
                .target
                .filter(|_| profile.is_extended)
                .map(ResolvedFor::new),
            rules_in_file: profile.rules_in_file,
            load: context.plan.map(|plan| Load::new(plan, context)),
            default_action: policy.default.to_string(),
            newer_calls: newer.then(|| Action::Errno(ENOSYS).to_string()),
            other_architectures: FOREIGN_ARCH.to_string(),
            architectures: policy
                .arches
                .iter()
                .map(|r| ArchReport::new(filter, r))
                .collect(),
            flags: set.map(|f| f.0).collect(),
            listener: listener.map(|l| l.path.display().to_string()),
            rules: rules(filter),
            skipped: skipped(filter),
            findings: findings
                .iter()
                .map(|f| FindingReport::new(filter, f))
                .collect(),
            program: ProgramReport {
                instructions: filter.program.instructions().len(),
                fingerprint: filter.program.fingerprint(),
                points: filter.proof.points,
                complete: filter.proof.complete,
            },
            runtimes: readings
                .iter()
                .map(|r| RuntimeReport::new(filter, r))
                .collect(),
        }
    }
}

impl ResolvedFor {
    fn new(target: &Target) -> Self {
        Self {
            architecture: target.arch.name(),
            kernel: format!("{}.{}", target.kernel.major, target.kernel.minor),
            capabilities: target.capabilities.iter().cloned().collect(),
        }
    }
}

impl ArchReport {
    fn new(filter: &Filter, rules: &ArchRules) -> Self {
        Self {
            name: rules.arch.name(),
            native: rules.arch == Arch::native(),
            calls: rules.calls.len(),
            newest: rules.newest,
            cost: Cost::new(&filter.program, rules),
        }
    }
}

impl ConditionReport {
    /// The conditions of a rule for these calls.
    #[must_use]
    pub fn list<S: AsRef<str>>(calls: &[S], conditions: &[Condition]) -> Vec<Self> {
        let texts = flags::conditions(calls, conditions);
        let both = conditions.iter().zip(texts);
        both.map(|(condition, text)| Self::new(condition, text))
            .collect()
    }

    fn new(condition: &Condition, text: String) -> Self {
        let (op, value, value_two) = match condition.compare {
            Compare::Ne(v) => ("SCMP_CMP_NE", v, None),
            Compare::Lt(v) => ("SCMP_CMP_LT", v, None),
            Compare::Le(v) => ("SCMP_CMP_LE", v, None),
            Compare::Eq(v) => ("SCMP_CMP_EQ", v, None),
            Compare::Ge(v) => ("SCMP_CMP_GE", v, None),
            Compare::Gt(v) => ("SCMP_CMP_GT", v, None),
            Compare::MaskedEq { mask, datum } => ("SCMP_CMP_MASKED_EQ", mask, Some(datum)),
        };
        Self {
            arg: condition.arg,
            op,
            value,
            value_two,
            text,
        }
    }
}

impl FindingReport {
    fn new(filter: &Filter, finding: &Finding) -> Self {
        let site = finding.rule.and_then(|rule| filter.profile.sites.get(rule));
        let witness = finding.witness.iter().map(|w| WitnessReport {
            call: w.describe_call(),
            verdict: w.verdict.to_string(),
            by: w.by.clone(),
        });
        Self {
            id: finding.id.name(),
            severity: finding.severity.name(),
            rule: site.map(|s| s.rule).or(finding.rule),
            line: site.map(|s| s.line),
            subjects: finding.subjects.clone(),
            message: finding.message.clone(),
            witness: witness.collect(),
            remedy: finding.remedy.clone(),
        }
    }
}

impl RuntimeReport {
    fn new(filter: &Filter, reading: &Reading) -> Self {
        let translation = &filter.translation;
        let report = |w: &Witness| {
            let cause = reading.cause(translation, &w.call, w.got);
            DifferenceReport {
                call: flags::describe(w.arch, &w.call),
                profile: w.expected.action.to_string(),
                runtime: w.got.to_string(),
                cause: cause.describe(),
                source: cause.source(),
            }
        };
        let (weaker, other): (Vec<Witness>, Vec<Witness>) = reading
            .differences
            .iter()
            .copied()
            .partition(Witness::is_weaker);
        let program = reading.program.as_ref().as_ref();
        Self {
            runtime: reading.runtime.name(),
            refused: reading.refusal(),
            instructions: program.ok().map(|p| p.instructions().len()),
            newer_calls: reading.newer(&translation.policy).map(|a| a.to_string()),
            weaker: weaker.iter().map(report).collect(),
            other: other.iter().map(report).collect(),
        }
    }
}

fn rules(filter: &Filter) -> Vec<RuleReport> {
    let arches = &filter.translation.policy.arches;
    let syscalls = filter.profile.section.syscalls().iter().flatten();
    let report = |(index, (syscall, clauses)): (usize, (&LinuxSyscall, &Vec<Clause>))| {
        let site = filter.profile.sites.get(index);
        let names = syscall.names();
        let conditional = |c: &&Clause| !c.conditions.is_empty();
        let words = |c: &Clause| ConditionReport::list(names, &c.conditions);
        let covered = |arch: Arch| {
            let here = |n: &&String| !matches!(resolve(n, arch), Wiring::Absent | Wiring::Unknown);
            names.iter().filter(here).count()
        };
        let verdict = clauses
            .first()
            .map_or(filter.translation.policy.default, |c| c.action);
        RuleReport {
            rule: site.map_or(index, |s| s.rule),
            line: site.map_or(0, |s| s.line),
            action: verdict.to_string(),
            conditions: clauses.iter().filter(conditional).map(words).collect(),
            names: names.clone(),
            calls: arches
                .iter()
                .map(|r| (r.arch.name(), covered(r.arch)))
                .collect(),
            verdict,
        }
    };
    syscalls
        .zip(&filter.translation.rules)
        .enumerate()
        .map(report)
        .collect()
}

/// Names that stand for no call on any of the architectures.
fn skipped(filter: &Filter) -> Vec<Skipped> {
    let arches = &filter.translation.policy.arches;
    let syscalls = filter.profile.section.syscalls().iter().flatten();
    let mut out = Vec::new();
    for (index, syscall) in syscalls.enumerate() {
        let site = filter.profile.sites.get(index);
        for name in syscall.names() {
            let at = |wanted| arches.iter().all(|r| resolve(name, r.arch) == wanted);
            let why = match (at(Wiring::Unknown), at(Wiring::Absent)) {
                (true, _) => "unknown",
                (_, true) => "absent",
                _ => continue,
            };
            out.push(Skipped {
                name: name.clone(),
                rule: site.map_or(index, |s| s.rule),
                line: site.map_or(0, |s| s.line),
                why,
            });
        }
    }
    out
}
