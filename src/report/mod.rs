//! What would be loaded, when and why: for people and for programs. Pure.
#![forbid(unsafe_code)]

pub mod style;

use crate::filter::Filter;
use crate::plain::{self, Difference};
use crate::plan::Plan;
use crate::policy::{Action, Arch, Clause, ENOSYS};
use crate::profile::UnknownKey;
use crate::syscalls::{Wiring, resolve};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Version of the JSON form; a change that breaks readers raises it.
pub const SCHEMA: u32 = 1;

/// Everything there is to say about a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The file the profile is from.
    pub source: String,
    /// When it is loaded; `None` where no bundle says what the workload is.
    pub load: Option<Load>,
    /// Verdict for a call that no rule names.
    pub default_action: String,
    /// Verdict for a call newer than the profile, where that differs.
    pub newer_calls: Option<String>,
    /// The native one first.
    pub architectures: Vec<ArchReport>,
    /// Flags for seccomp(2).
    pub flags: Vec<&'static str>,
    /// Socket of the agent that answers NOTIFY.
    pub listener: Option<String>,
    /// In file order.
    pub rules: Vec<RuleReport>,
    /// What was skipped, and what a person should know.
    pub findings: Vec<FindingReport>,
    /// The program.
    pub program: ProgramReport,
    /// What plain libseccomp, and so every runtime, makes of the profile.
    pub libseccomp: PlainReport,
}

/// When and why then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// When.
    pub when: &'static str,
    /// Why.
    pub reason: &'static str,
    /// What else is filtered, and so has to be allowed.
    pub also_filtered: &'static str,
    /// What is done where the runtime has loaded filters too; `None` where
    /// only the command line of a hook would say.
    pub on_existing: Option<&'static str>,
}

impl Load {
    /// What a plan says.
    #[must_use]
    pub const fn new(plan: &Plan) -> Self {
        Self {
            when: plan.when(),
            reason: plan.reason,
            also_filtered: plan.also_filtered(),
            on_existing: None,
        }
    }

    fn lines(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let existing = self.on_existing.map(|text| ("if filtered", text));
        let lines = [
            ("loaded", self.when),
            ("because", self.reason),
            ("also filtered", self.also_filtered),
        ];
        lines.into_iter().chain(existing)
    }
}

/// A ready program, of which there is less to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadyReport {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The file.
    pub source: String,
    /// When it is loaded.
    pub load: Load,
    /// Instructions; the kernel takes 4096.
    pub instructions: usize,
}

impl ReadyReport {
    /// The JSON form, one object.
    ///
    /// # Errors
    /// None that can happen: the fields are plain text and numbers.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|json| json + "\n")
    }

    /// The form for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        write_line(&mut out, "program", &self.source);
        for (label, text) in self.load.lines() {
            write_line(&mut out, label, text);
        }
        let size = format!("{} instructions", self.instructions);
        write_line(&mut out, "size", &size);
        out
    }
}

fn write_line(out: &mut String, label: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{label:<14}{text}");
}

/// One architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArchReport {
    /// Short name.
    pub name: &'static str,
    /// Whether it is the machine's own.
    pub native: bool,
    /// Calls that the profile names.
    pub calls: usize,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// Index in the file's `syscalls[]`.
    pub rule: usize,
    /// Its line, from 1; 0 where there is no file.
    pub line: usize,
    /// The verdict.
    pub action: String,
    /// Any of these alternatives has to hold in full; none where the rule is
    /// unconditional.
    pub conditions: Vec<Vec<String>>,
    /// The names as written.
    pub names: Vec<String>,
    /// How many calls it covers on each architecture.
    pub calls: BTreeMap<&'static str, usize>,
}

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingReport {
    /// Index in the file's `syscalls[]`, where a rule is meant.
    pub rule: Option<usize>,
    /// Its line.
    pub line: Option<usize>,
    /// What.
    pub message: String,
}

/// The program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProgramReport {
    /// Instructions; the kernel takes 4096.
    pub instructions: usize,
    /// Calls on which it was held against the profile.
    pub points: usize,
    /// Whether these were all that either can tell apart.
    pub complete: bool,
}

/// Plain libseccomp's reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlainReport {
    /// Why it refuses the profile, if it does.
    pub refused: Option<String>,
    /// Instructions of its program.
    pub instructions: Option<usize>,
    /// Calls that it lets through more freely than the profile says.
    pub weaker: Vec<DifferenceReport>,
    /// Calls on which it differs otherwise.
    pub other: Vec<DifferenceReport>,
}

/// One call with two verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DifferenceReport {
    /// The call.
    pub call: String,
    /// What the profile says.
    pub profile: String,
    /// What plain libseccomp does.
    pub libseccomp: String,
}

impl Report {
    /// Collects what there is to say. Compiles the profile once more, whole
    /// and by plain libseccomp, which takes some milliseconds.
    #[must_use]
    pub fn new(filter: &Filter, plan: Option<&Plan>) -> Self {
        let policy = &filter.translation.policy;
        let newer = policy.arches.iter().any(|r| r.newest.is_some());
        Self {
            schema: SCHEMA,
            source: filter.profile.origin.clone(),
            load: plan.map(Load::new),
            default_action: policy.default.to_string(),
            newer_calls: newer.then(|| Action::Errno(ENOSYS).to_string()),
            architectures: policy.arches.iter().map(ArchReport::new).collect(),
            flags: policy
                .flags
                .named()
                .iter()
                .filter(|f| f.1)
                .map(|f| f.0)
                .collect(),
            listener: policy
                .listener
                .as_ref()
                .map(|l| l.path.display().to_string()),
            rules: rules(filter),
            findings: findings(filter),
            program: ProgramReport {
                instructions: filter.program.instructions().len(),
                points: filter.proof.points,
                complete: filter.proof.complete,
            },
            libseccomp: PlainReport::new(filter),
        }
    }

    /// The JSON form, one object.
    ///
    /// # Errors
    /// None that can happen: the fields are plain text and numbers.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|json| json + "\n")
    }

    /// The form for people; `verbose` lists every name of every rule.
    #[must_use]
    pub fn to_text(&self, verbose: bool) -> String {
        let mut out = String::new();
        let mut line = |label, text: &str| write_line(&mut out, label, text);
        line("profile", &self.source);
        match &self.load {
            Some(load) => {
                for (label, text) in load.lines() {
                    line(label, text);
                }
            }
            None => line(
                "loaded",
                "as the bundle's process asks: give a bundle to see when",
            ),
        }
        line("default", &self.default_action);
        if let Some(newer) = &self.newer_calls {
            line(
                "newer calls",
                &format!("{newer}: above the largest the profile names"),
            );
        }
        let arches: Vec<_> = self.architectures.iter().map(ArchReport::to_text).collect();
        line("architectures", &arches.join(", "));
        let flags = if self.flags.is_empty() {
            "none".to_owned()
        } else {
            self.flags.join(", ")
        };
        line("flags", &flags);
        if let Some(path) = &self.listener {
            line("listener", path);
        }
        let ProgramReport {
            instructions,
            points,
            complete,
        } = self.program;
        let how = if complete {
            "every class of calls"
        } else {
            "a sample of calls"
        };
        line(
            "program",
            &format!("{instructions} instructions, proven on {how} ({points} tried)"),
        );
        if !self.rules.is_empty() {
            out.push_str("\nrules\n");
        }
        for rule in &self.rules {
            rule.write(&mut out, verbose);
        }
        if !self.findings.is_empty() {
            out.push_str("\nfindings\n");
        }
        for finding in &self.findings {
            let _ = writeln!(
                out,
                "  {}{}",
                site(finding.rule, finding.line),
                finding.message
            );
        }
        self.libseccomp.write(&mut out, verbose);
        out
    }
}

impl ArchReport {
    fn new(rules: &crate::policy::ArchRules) -> Self {
        Self {
            name: rules.arch.name(),
            native: rules.arch == Arch::native(),
            calls: rules.calls.len(),
        }
    }

    fn to_text(&self) -> String {
        let native = if self.native { "native, " } else { "" };
        format!("{} ({native}{} calls)", self.name, self.calls)
    }
}

impl RuleReport {
    fn write(&self, out: &mut String, verbose: bool) {
        let Self {
            rule, line, action, ..
        } = self;
        let calls: Vec<_> = self
            .calls
            .iter()
            .map(|(arch, n)| format!("{arch} {n}"))
            .collect();
        let _ = writeln!(
            out,
            "  {rule:>3}  line {line:<5} {action:<14} {}",
            self.names(verbose)
        );
        if self.names.len() > 1 || verbose {
            let _ = writeln!(out, "{:32}calls: {}", "", calls.join(", "));
        }
        for (i, all) in self.conditions.iter().enumerate() {
            let or = if i == 0 { "if" } else { "or" };
            let _ = writeln!(out, "{:32}{or} {}", "", all.join(" && "));
        }
    }

    fn names(&self, verbose: bool) -> String {
        match self.names.as_slice() {
            [] => "no names".to_owned(),
            names if verbose || names.len() <= 3 => names.join(", "),
            [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
            [only] => only.clone(),
        }
    }
}

impl PlainReport {
    fn new(filter: &Filter) -> Self {
        let mut out = Self {
            refused: None,
            instructions: None,
            weaker: Vec::new(),
            other: Vec::new(),
        };
        match plain::compile(&filter.profile.section, &filter.translation, None) {
            Err(e) => {
                let cause = std::error::Error::source(&e).map(|s| format!(": {s}"));
                out.refused = Some(format!("{e}{}", cause.unwrap_or_default()));
            }
            Ok(program) => {
                out.instructions = Some(program.instructions().len());
                for Difference { witness } in
                    plain::differences(&filter.translation.policy, &program)
                {
                    let list = if witness.is_weaker() {
                        &mut out.weaker
                    } else {
                        &mut out.other
                    };
                    list.push(DifferenceReport {
                        call: witness.describe_call(),
                        profile: witness.expected.action.to_string(),
                        libseccomp: witness.got.to_string(),
                    });
                }
            }
        }
        out
    }

    fn write(&self, out: &mut String, verbose: bool) {
        out.push_str("\nruntimes today (the whole profile through plain libseccomp)\n");
        if let Some(refused) = &self.refused {
            let _ = writeln!(out, "  refuse it: {refused}");
            return;
        }
        let size = self.instructions.unwrap_or_default();
        match (self.weaker.len(), self.other.len()) {
            (0, 0) => {
                let _ = writeln!(out, "  the same verdicts, in {size} instructions");
            }
            (weaker, other) => {
                let _ = writeln!(
                    out,
                    "  {weaker} weaker and {other} other differences, in {size} instructions"
                );
            }
        }
        let lists = [("WEAKER", &self.weaker), ("differs", &self.other)];
        for (word, list) in lists {
            let shown = if verbose {
                list.len()
            } else {
                list.len().min(5)
            };
            for d in &list[..shown] {
                let _ = writeln!(
                    out,
                    "  {word}: {}: {} in place of {}",
                    d.call, d.libseccomp, d.profile
                );
            }
            if list.len() > shown {
                let _ = writeln!(out, "  and {} more (-v lists them)", list.len() - shown);
            }
        }
    }
}

fn rules(filter: &Filter) -> Vec<RuleReport> {
    let arches = &filter.translation.policy.arches;
    let syscalls = filter.profile.section.syscalls().iter().flatten();
    let report =
        |(index, (syscall, clauses)): (usize, (&oci_spec::runtime::LinuxSyscall, &Vec<Clause>))| {
            let site = filter.profile.sites.get(index);
            let conditional = |c: &&Clause| !c.conditions.is_empty();
            let words = |c: &Clause| c.conditions.iter().map(ToString::to_string).collect();
            let covered = |arch: Arch| {
                let names = syscall.names().iter();
                names
                    .filter(|n| !matches!(resolve(n, arch), Wiring::Absent | Wiring::Unknown))
                    .count()
            };
            RuleReport {
                rule: site.map_or(index, |s| s.rule),
                line: site.map_or(0, |s| s.line),
                action: clauses
                    .first()
                    .map(|c| c.action.to_string())
                    .unwrap_or_default(),
                conditions: clauses.iter().filter(conditional).map(words).collect(),
                names: syscall.names().clone(),
                calls: arches
                    .iter()
                    .map(|r| (r.arch.name(), covered(r.arch)))
                    .collect(),
            }
        };
    syscalls
        .zip(&filter.translation.rules)
        .enumerate()
        .map(report)
        .collect()
}

fn findings(filter: &Filter) -> Vec<FindingReport> {
    let keys = filter
        .profile
        .unknown_keys
        .iter()
        .map(|UnknownKey { site, key }| FindingReport {
            rule: site.map(|s| s.rule),
            line: site.map(|s| s.line),
            message: format!("the key {key:?} means nothing and is ignored"),
        });
    let found = filter.translation.findings.iter().map(|f| {
        let site = f.rule.and_then(|rule| filter.profile.sites.get(rule));
        FindingReport {
            rule: site.map(|s| s.rule).or(f.rule),
            line: site.map(|s| s.line),
            message: filter.describe(f),
        }
    });
    found.chain(keys).collect()
}

/// "rule 2 (line 41): ", or nothing.
fn site(rule: Option<usize>, line: Option<usize>) -> String {
    match (rule, line) {
        (Some(rule), Some(line)) => format!("rule {rule} (line {line}): "),
        (Some(rule), None) => format!("rule {rule}: "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
