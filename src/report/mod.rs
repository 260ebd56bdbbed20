//! What would be loaded, when and why: for people and for programs.
#![forbid(unsafe_code)]

mod build;
mod cost;
mod text;

pub use cost::{Bitmap, Cost, Typical};

use crate::lint::Id;
use crate::plan::Plan;
use crate::policy::Action;
use crate::profile::Target;
use serde::Serialize;
use std::collections::BTreeMap;

/// Version of the JSON form; a change that breaks readers raises it. See
/// docs/json.md.
pub const SCHEMA: u32 = 2;

/// What is known of the container beside its profile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// When the filter is loaded; `None` without a bundle.
    pub plan: Option<&'a Plan>,
    /// The stages at which a hook can arm the container.
    pub stages: &'a [&'static str],
    /// The workload's user.
    pub uid: Option<u32>,
    /// `ociVersion` of the bundle.
    pub oci_version: Option<&'a str>,
    /// What docker's form was resolved for.
    pub target: Option<&'a Target>,
    /// What is done where the runtime has loaded filters too.
    pub on_existing: Option<&'static str>,
    /// Findings that are not spoken of.
    pub silenced: &'a [Id],
}

/// Everything there is to say about a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The file the profile is from.
    pub source: String,
    /// How it is written: `oci` or `docker`.
    pub form: &'static str,
    /// The spec that the bundle follows, where there is one.
    pub oci_version: Option<String>,
    /// What docker's form was resolved for.
    pub resolved_for: Option<ResolvedFor>,
    /// Rules in the file; those that do not apply are not in `rules`.
    pub rules_in_file: usize,
    /// When it is loaded; `None` where no bundle says what the workload is.
    pub load: Option<Load>,
    /// Verdict for a call that no rule names.
    pub default_action: String,
    /// Verdict for a call newer than the profile, where that differs.
    pub newer_calls: Option<String>,
    /// Verdict for a call of an architecture that is not listed.
    pub other_architectures: String,
    /// The native one first.
    pub architectures: Vec<ArchReport>,
    /// Flags for seccomp(2).
    pub flags: Vec<&'static str>,
    /// Socket of the agent that answers NOTIFY.
    pub listener: Option<String>,
    /// In file order.
    pub rules: Vec<RuleReport>,
    /// Names that stand for no call here.
    pub skipped: Vec<Skipped>,
    /// What a person should know, the weightiest first.
    pub findings: Vec<FindingReport>,
    /// The program.
    pub program: ProgramReport,
    /// What the runtimes make of the profile by themselves.
    pub runtimes: Vec<RuntimeReport>,
}

/// What `includes` and `excludes` were held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResolvedFor {
    /// The machine.
    pub architecture: &'static str,
    /// The kernel, as `6.1`.
    pub kernel: String,
    /// The workload's bounding set.
    pub capabilities: Vec<String>,
}

/// When, where and why there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// When.
    pub when: &'static str,
    /// Why.
    pub reason: &'static str,
    /// What else is filtered, and so has to be allowed.
    pub also_filtered: &'static str,
    /// The stages at which a hook can see to it.
    pub stages: Vec<&'static str>,
    /// What is done where the runtime has loaded filters too; `None` where
    /// only the command line of a hook would say.
    pub on_existing: Option<&'static str>,
}

impl Load {
    /// What a plan says, and what a hook can do.
    #[must_use]
    pub fn new(plan: &Plan, context: &Context<'_>) -> Self {
        Self {
            when: plan.when(),
            reason: plan.reason,
            also_filtered: plan.also_filtered(),
            stages: context.stages.to_vec(),
            on_existing: context.on_existing,
        }
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
}

/// One architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchReport {
    /// Short name.
    pub name: &'static str,
    /// Whether it is the machine's own.
    pub native: bool,
    /// Calls that the profile names.
    pub calls: usize,
    /// The largest number that is not newer than the profile.
    pub newest: Option<u32>,
    /// What the program takes here.
    #[serde(flatten)]
    pub cost: Cost,
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
    pub conditions: Vec<Vec<ConditionReport>>,
    /// The names as written.
    pub names: Vec<String>,
    /// How many calls it covers on each architecture.
    pub calls: BTreeMap<&'static str, usize>,
    #[serde(skip)]
    verdict: Action,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionReport {
    /// Index of the argument.
    pub arg: u8,
    /// The operator, as the OCI spec writes it.
    pub op: &'static str,
    /// The constant; of SCMP_CMP_MASKED_EQ the mask.
    pub value: u64,
    /// The datum of SCMP_CMP_MASKED_EQ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_two: Option<u64>,
    /// The condition as a C programmer writes it.
    pub text: String,
}

/// A name that is no call here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The name.
    pub name: String,
    /// Index of its rule in the file.
    pub rule: usize,
    /// The rule's line.
    pub line: usize,
    /// `unknown`: nobody knows it; `absent`: it is a call, but of none of the
    /// architectures.
    pub why: &'static str,
}

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingReport {
    /// Its stable name.
    pub id: &'static str,
    /// `warning` or `note`.
    pub severity: &'static str,
    /// Index in the file's `syscalls[]`, where a rule is meant.
    pub rule: Option<usize>,
    /// Its line.
    pub line: Option<usize>,
    /// The calls it is about, or the keys or architectures.
    pub subjects: Vec<String>,
    /// What of them.
    pub message: String,
    /// Calls that show it.
    pub witness: Vec<WitnessReport>,
    /// What to do.
    pub remedy: String,
}

/// A call that shows a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WitnessReport {
    /// The call.
    pub call: String,
    /// Its verdict.
    pub verdict: String,
    /// The runtimes whose verdict it is; `None` for the profile's own.
    pub by: Option<String>,
}

/// The program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProgramReport {
    /// Instructions; the kernel takes 4096.
    pub instructions: usize,
    /// Its name: the start of its SHA-256.
    pub fingerprint: String,
    /// Calls on which it was held against the profile.
    pub points: usize,
    /// Whether these were all that either can tell apart.
    pub complete: bool,
}

/// One runtime's own reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeReport {
    /// runc, crun or youki.
    pub runtime: &'static str,
    /// Why it refuses the profile, if it does.
    pub refused: Option<String>,
    /// Instructions of libseccomp's program.
    pub instructions: Option<usize>,
    /// What calls newer than the profile get.
    pub newer_calls: Option<String>,
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
    /// What the runtime's filter does.
    pub runtime: String,
    /// The likely cause.
    pub cause: &'static str,
    /// Where that can be read.
    pub source: &'static str,
}

impl Report {
    /// The JSON form, one object.
    ///
    /// # Errors
    /// None that can happen: the fields are plain text and numbers.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|json| json + "\n")
    }
}

/// The stages at which a hook can arm any container that is not started yet;
/// at createContainer an init in a user namespace of its own is out of reach.
#[must_use]
pub const fn stages(user_namespace: bool) -> &'static [&'static str] {
    match user_namespace {
        true => &["createRuntime", "prestart"],
        false => &["createRuntime", "prestart", "createContainer"],
    }
}

#[cfg(test)]
pub(crate) mod tests;
