//! What a person should know about a profile beside what it says: each
//! finding has a stable id, a rule and, where a call can show it, a witness
//! that was held against [`Policy::verdict`](crate::policy::Policy::verdict)
//! or a runtime's program. docs/findings.md has an example and a remedy for
//! each.
#![forbid(unsafe_code)]

mod basic;
mod conditions;
mod reach;
mod runtimes;

use crate::arm::Boundary;
use crate::filter::Filter;
use crate::flags;
use crate::near;
use crate::peers::Reading;
use crate::policy::{Action, Arch, ArchRules, Call};
use crate::syscalls;
use std::fmt;
use std::str::FromStr;

/// Declares the findings once: id, severity and what it is, in a line.
macro_rules! findings {
    ($($variant:ident $id:literal $severity:ident $what:literal;)*) => {
        /// The kinds of findings, in the order in which they are shown.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Id { $($variant),* }

        impl Id {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable name, for `--deny` and `--allow`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $id),* }
            }
            /// How much it matters, unless the finding itself says otherwise.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),* }
            }
            /// What it is, in a line.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what),* }
            }
        }
    };
}

findings! {
    RuntimeWeaker        "runtime-weaker"        Warning "a runtime's own filter lets through what the profile denies";
    RuntimeRefuses       "runtime-refuses"       Warning "libseccomp refuses the profile, and so does every runtime";
    RuntimeNeeds         "runtime-needs"         Warning "a runtime makes a denied call after the filter is loaded";
    UpperBits            "upper-bits"            Warning "64 bits are compared of an argument of which the kernel takes fewer";
    LowHalf              "low-half"              Warning "only the low bits are compared of an argument of which the kernel takes 64";
    MultiplexedArguments "multiplexed-arguments" Warning "conditions that socketcall or ipc evades on a 32-bit architecture";
    EquivalentOpen       "equivalent-open"       Warning "a call is denied, another that does the same is not";
    IoUring              "io-uring"              Warning "io_uring does what the filter denies";
    PointerArgument      "pointer-argument"      Warning "a pointer is compared, which says nothing of what it points at";
    MaskBits             "mask-bits"             Warning "a masked comparison with bits outside of its mask";
    ConstantCondition    "constant-condition"    Warning "a condition that always or never holds";
    ShadowedRule         "shadowed-rule"         Warning "a rule never decides, an earlier one does";
    UnknownSyscall       "unknown-syscall"       Warning "nobody knows the call; its rule is skipped";
    EmptyRule            "empty-rule"            Warning "a rule without names";
    UnknownKey           "unknown-key"           Warning "a key that means nothing, most likely misspelt";
    UnusedListener       "unused-listener"       Warning "listenerPath without a rule that says NOTIFY";
    AllowByDefault       "allow-by-default"      Warning "calls that no rule names are let through, dangerous ones among them";
    NotifyRace           "notify-race"           Note    "an agent decides on memory that the workload can change meanwhile";
    OverlappingRules     "overlapping-rules"     Note    "rules with different actions match the same call, their order decides";
    RuntimeDiffers       "runtime-differs"       Note    "a runtime's own filter is stricter, or returns another errno";
    MissingArchitecture  "missing-architecture"  Note    "programs of a companion architecture are killed";
    SkippedArchitecture  "skipped-architecture"  Note    "a listed architecture is left out";
    NotWired             "not-wired"             Note    "names that are no calls on any listed architecture";
    DuplicateRule        "duplicate-rule"        Note    "a rule says the same as an earlier one";
    DefaultAction        "default-action"        Note    "a rule says what the default action says, and changes nothing";
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No finding has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown finding {0:?}; known are: {known}{near}",
    known = names().collect::<Vec<_>>().join(", "),
    near = near::did_you_mean(near::nearest(.0, names())))]
pub struct UnknownId(pub String);

fn names() -> impl Iterator<Item = &'static str> {
    Id::ALL.iter().map(|id| id.name())
}

impl FromStr for Id {
    type Err = UnknownId;

    fn from_str(name: &str) -> Result<Self, UnknownId> {
        let mut all = Self::ALL.iter();
        let id = all.find(|id| id.name() == name).copied();
        id.ok_or_else(|| UnknownId(name.to_owned()))
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The profile does not do what it seems to.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub id: Id,
    /// How much it matters here.
    pub severity: Severity,
    /// Index of the rule in the section's `syscalls[]`, where one is meant.
    pub rule: Option<usize>,
    /// The calls it is about, or the keys or architectures.
    pub subjects: Vec<String>,
    /// What was found of them.
    pub message: String,
    /// Calls that show it.
    pub witness: Vec<Witness>,
    /// What to do about it.
    pub remedy: String,
}

/// A call with the verdict it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The architecture it is made on.
    pub arch: Option<Arch>,
    /// The call.
    pub call: Call,
    /// The verdict.
    pub verdict: Action,
    /// Whose verdict, where it is not the profile's: `runc, crun`.
    pub by: Option<String>,
}

impl Witness {
    /// A call with the profile's own verdict on it.
    fn of(filter: &Filter, arch: Arch, call: Call) -> Self {
        Self {
            arch: Some(arch),
            call,
            verdict: filter.translation.policy.verdict(&call).action,
            by: None,
        }
    }

    /// The call for people.
    #[must_use]
    pub fn describe_call(&self) -> String {
        flags::describe(self.arch, &self.call)
    }
}

impl Finding {
    fn new<S: ToString>(
        id: Id,
        rule: impl Into<Option<usize>>,
        subjects: &[S],
        message: impl Into<String>,
        remedy: &str,
    ) -> Self {
        Self {
            id,
            severity: id.severity(),
            rule: rule.into(),
            subjects: subjects.iter().map(ToString::to_string).collect(),
            message: message.into(),
            witness: Vec::new(),
            remedy: remedy.to_owned(),
        }
    }

    fn with(mut self, witness: impl IntoIterator<Item = Witness>) -> Self {
        self.witness.extend(witness);
        self
    }
}

/// What is known of the container beside its profile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// When the filter is loaded; `None` without a bundle.
    pub boundary: Option<Boundary>,
    /// The workload's user; `None` without a bundle.
    pub uid: Option<u32>,
    /// What the runtimes make of the profile.
    pub readings: &'a [Reading],
}

/// All findings, the weightiest first.
#[must_use]
pub fn findings(filter: &Filter, around: &Surroundings<'_>) -> Vec<Finding> {
    let mut out = basic::findings(filter);
    out.extend(conditions::findings(filter));
    out.extend(reach::findings(filter));
    out.extend(runtimes::findings(filter, around));
    out.sort_by_key(|f| (f.severity, f.id, f.rule));
    out
}

/// The native architecture's rules.
fn native(filter: &Filter) -> Option<&ArchRules> {
    filter.translation.policy.arches.first()
}

/// The name of a call, or its number.
fn name_of(arch: Arch, nr: u32) -> String {
    syscalls::name(arch, nr).unwrap_or_else(|| format!("call {nr}"))
}

/// A rule as the file numbers it.
fn rule_in_file(filter: &Filter, rule: usize) -> usize {
    filter.profile.sites.get(rule).map_or(rule, |s| s.rule)
}

/// A list in words: `a, b and c`.
fn list(words: &[String]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        words => words.concat(),
    }
}

#[cfg(test)]
mod tests;
