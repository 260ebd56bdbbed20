//! What becomes of one call, by which rule, and why by no other.
#![forbid(unsafe_code)]

mod answer;
mod question;
mod text;

pub use question::{Error, Question};

use crate::policy::{Action, Call};
use crate::report::ConditionReport;
use serde::Serialize;
use std::collections::BTreeMap;

/// Version of the JSON form; see docs/json.md.
pub const SCHEMA: u32 = 1;

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The file the profile is from.
    pub source: String,
    /// The architecture that the call is made on.
    pub architecture: &'static str,
    /// The call's name, or its number where it has none.
    pub syscall: String,
    /// Its number there, the x32 bit included.
    pub number: u32,
    /// The arguments given; `null` may be anything.
    pub arguments: Vec<Option<u64>>,
    /// The multiplexer through which the call is made, where it has no number.
    pub through: Option<String>,
    /// What becomes of it: one outcome where the arguments that were given
    /// decide, else several, of which the first whose conditions hold counts.
    pub outcomes: Vec<Outcome>,
    /// Rules for the call that match and come too late.
    pub lost: Vec<RuleText>,
    /// Rules for the call that do not match what was given.
    pub missed: Vec<Missed>,
    /// What the runtimes' own filters do, where that is something else.
    pub runtimes: Vec<Other>,
    /// The runtimes that refuse the profile, with the reason.
    pub refused: BTreeMap<&'static str, String>,
    /// What the kernel executes for the first outcome's call.
    pub trace: Option<Vec<String>>,
    #[serde(skip)]
    call_text: String,
}

/// One thing that can become of the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The verdict.
    pub action: String,
    /// What decides: `rule`, `default`, `newer` or `architecture`.
    pub reason: &'static str,
    /// The rule, where one does.
    pub rule: Option<RuleText>,
    /// What has to hold beside what was given.
    pub conditions: Vec<ConditionReport>,
    /// A call that comes to it.
    pub example: String,
    #[serde(skip)]
    verdict: Action,
    #[serde(skip)]
    call: Call,
}

/// A rule as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleText {
    /// Index in the file's `syscalls[]`.
    pub rule: usize,
    /// Its line, from 1; 0 where there is no file.
    pub line: usize,
    /// The verdict.
    pub action: String,
    /// The rule in OCI JSON, other names left out.
    pub text: String,
    #[serde(skip)]
    verdict: Action,
}

/// A rule for the call that does not match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// The rule.
    #[serde(flatten)]
    pub rule: RuleText,
    /// Its conditions that do not hold.
    pub failed: Vec<Failed>,
    /// How many of its conditions do.
    pub held: usize,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The condition.
    #[serde(flatten)]
    pub condition: ConditionReport,
    /// The argument, as the architecture sees it.
    pub given: u64,
    #[serde(skip)]
    given_text: String,
}

/// What a runtime does by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// The runtime.
    pub runtime: &'static str,
    /// The call.
    pub call: String,
    /// What its filter does.
    pub action: String,
    /// What the profile says.
    pub profile: String,
    /// The likely cause.
    pub cause: &'static str,
    /// Where that can be read.
    pub source: &'static str,
    #[serde(skip)]
    verdict: Action,
}

impl Explanation {
    /// The JSON form, one object.
    ///
    /// # Errors
    /// None that can happen: the fields are plain text and numbers.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|json| json + "\n")
    }
}

#[cfg(test)]
mod tests;
