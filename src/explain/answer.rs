//! Finds the answer. Pure but for libseccomp, which is asked what the runtimes
//! make of the call.
#![forbid(unsafe_code)]

use super::{Explanation, Failed, Missed, Other, Outcome, Question, RuleText, SCHEMA};
use crate::bpf::op;
use crate::filter::Filter;
use crate::flags;
use crate::peers::{self, Reading};
use crate::policy::{Action, ArchRules, Call, Clause, Condition, Policy, Reason, Verdict};
use crate::report::ConditionReport;
use crate::samples::{self, Samples};
use crate::syscalls;
use oci_spec::runtime::{LinuxSeccompAction, LinuxSeccompOperator, LinuxSyscall};
use serde::Serialize;
use serde_json::ser::Formatter;
use std::collections::BTreeSet;
use std::io::{Result, Write};

impl Explanation {
    /// Answers a question.
    #[must_use]
    pub fn new(filter: &Filter, question: &Question, trace: bool) -> Self {
        let explainer = Explainer {
            filter,
            policy: &filter.translation.policy,
            question,
            name: question.name(),
        };
        let outcomes = explainer.outcomes();
        let readings = peers::readings(&filter.profile.section, &filter.translation);
        let decided = outcomes.len() == 1;
        let first = outcomes.first().map(|o| o.call);
        let trace = first.filter(|_| trace).map(|call| explainer.trace(&call));
        Self {
            schema: SCHEMA,
            source: filter.profile.origin.clone(),
            architecture: question.arch.name(),
            syscall: question.asked.clone(),
            number: question.nr,
            arguments: question.given.to_vec(),
            through: question.through.then(|| explainer.name.clone()),
            lost: if decided {
                explainer.lost()
            } else {
                Vec::new()
            },
            missed: explainer.missed(),
            runtimes: explainer.others(&readings, &outcomes),
            refused: readings.iter().filter_map(refusal).collect(),
            trace,
            call_text: explainer.call_text(),
            outcomes,
        }
    }
}

struct Explainer<'a> {
    filter: &'a Filter,
    policy: &'a Policy,
    question: &'a Question,
    name: String,
}

impl Explainer<'_> {
    fn rules(&self) -> Option<&ArchRules> {
        self.policy
            .rules_for(self.question.arch.audit(), self.question.nr)
    }

    fn clauses(&self) -> &[Clause] {
        let clauses = self.rules().and_then(|r| r.calls.get(&self.question.nr));
        clauses.map_or(&[], Vec::as_slice)
    }

    /// Whether a condition holds by what was given; `None` where that is open.
    fn holds(&self, condition: &Condition) -> Option<bool> {
        let given = self.question.given[usize::from(condition.arg)]?;
        Some(condition.compare.holds(self.question.arch.arg(given)))
    }

    /// The conditions of a clause that are still open; `None` where one does
    /// not hold.
    fn open(&self, clause: &Clause) -> Option<Vec<Condition>> {
        let open = clause
            .conditions
            .iter()
            .filter(|c| self.holds(c) != Some(true));
        let open: Vec<Condition> = open.copied().collect();
        open.iter().all(|c| self.holds(c).is_none()).then_some(open)
    }

    /// What can become of the call, in the order in which it is decided.
    fn outcomes(&self) -> Vec<Outcome> {
        let samples = self.samples();
        let mut out = Vec::new();
        for (i, clause) in self.clauses().iter().enumerate() {
            let Some(open) = self.open(clause) else {
                continue;
            };
            // One that never decides is no outcome.
            let call = samples.iter().find(|s| s.1 == Some(i));
            out.extend(call.map(|(call, _)| self.outcome(call, &open)));
            if open.is_empty() {
                return out;
            }
        }
        let call = samples.iter().find(|s| s.1.is_none());
        out.extend(call.map(|(call, _)| self.outcome(call, &[])));
        out
    }

    /// Calls with the arguments given, and at the edges of what is open; each
    /// with the clause that decides it.
    fn samples(&self) -> Vec<(Call, Option<usize>)> {
        let Question {
            arch, nr, given, ..
        } = self.question;
        match self.rules() {
            Some(rules) => Samples::with_given(rules, *nr, given).iter().collect(),
            None => {
                let args = given.map(|given| given.unwrap_or(0));
                let bare = samples::bare(*arch, *nr);
                vec![(Call { args, ..bare }, None)]
            }
        }
    }

    fn outcome(&self, call: &Call, open: &[Condition]) -> Outcome {
        let Verdict { action, reason } = self.policy.verdict(call);
        let (reason, rule) = match reason {
            Reason::Rule(rule) => ("rule", Some(self.rule(rule, action))),
            Reason::Default => ("default", None),
            Reason::Newer => ("newer", None),
            Reason::ForeignArch => ("architecture", None),
        };
        let names = [&self.name];
        Outcome {
            action: action.to_string(),
            reason,
            rule,
            conditions: ConditionReport::list(&names, open),
            example: flags::describe(Some(self.question.arch), call),
            verdict: action,
            call: *call,
        }
    }

    /// A rule with the text of its entry.
    fn rule(&self, rule: usize, action: Action) -> RuleText {
        let site = self.filter.profile.sites.get(rule);
        let syscalls = self.filter.profile.section.syscalls().as_deref();
        let entry = syscalls.and_then(|s| s.get(rule));
        RuleText {
            rule: site.map_or(rule, |s| s.rule),
            line: site.map_or(0, |s| s.line),
            action: action.to_string(),
            text: entry.map_or_else(String::new, |entry| shortened(entry, &self.question.asked)),
            verdict: action,
        }
    }

    /// Clauses that match whatever is open, behind the one that decides.
    fn lost(&self) -> Vec<RuleText> {
        let mut matching = self.clauses().iter();
        let matches = |c: &&Clause| self.open(c).is_some_and(|open| open.is_empty());
        let Some(first) = matching.find(|c| matches(c)) else {
            return Vec::new();
        };
        let later = matching.filter(|c| matches(c) && c.rule != first.rule);
        later.map(|c| self.rule(c.rule, c.action)).collect()
    }

    /// Rules that do not match, those with the fewest conditions against it
    /// first.
    fn missed(&self) -> Vec<Missed> {
        let missed = self.clauses().iter().filter(|c| self.open(c).is_none());
        // Through a multiplexer all sub-calls have the same number.
        let asked = missed.filter(|c| !self.question.through || self.names(c.rule));
        let mut missed: Vec<Missed> = asked.map(|c| self.miss(c)).collect();
        missed.sort_by_key(|m| m.failed.len());
        missed
    }

    fn miss(&self, clause: &Clause) -> Missed {
        let names = [&self.name];
        let words = ConditionReport::list(&names, &clause.conditions);
        let known = clause.conditions.iter().zip(words);
        let known = known.filter_map(|(c, words)| Some((c, words, self.holds(c)?)));
        let (held, failed): (Vec<_>, Vec<_>) = known.partition(|(_, _, holds)| *holds);
        let failed = failed.into_iter().filter_map(|(c, condition, _)| {
            let given = self.question.given[usize::from(c.arg)]?;
            let given = self.question.arch.arg(given);
            Some(Failed {
                condition,
                given,
                given_text: self.value(c.arg, given),
            })
        });
        Missed {
            rule: self.rule(clause.rule, clause.action),
            failed: failed.collect(),
            held: held.len(),
        }
    }

    /// Whether a rule is for the call by its name.
    fn names(&self, rule: usize) -> bool {
        let syscalls = self.filter.profile.section.syscalls().as_deref();
        let entry = syscalls.and_then(|s| s.get(rule));
        entry.is_some_and(|e| e.names().contains(&self.question.asked))
    }

    /// What runtimes do otherwise with such calls: one call for each pair of
    /// verdicts tells it.
    fn others(&self, readings: &[Reading], outcomes: &[Outcome]) -> Vec<Other> {
        let (policy, question) = (self.policy, self.question);
        let own: Vec<Call> = outcomes
            .iter()
            .map(|o| o.call)
            .chain(self.samples().into_iter().map(|s| s.0))
            .collect();
        let fits = |call: &Call| {
            let mut pairs = call.args.iter().zip(question.given);
            let given = pairs.all(|(arg, given)| given.is_none_or(|given| given == *arg));
            call.audit == question.arch.audit() && call.nr == question.nr && given
        };
        let mut out: Vec<Other> = Vec::new();
        for reading in readings {
            let mut seen = BTreeSet::new();
            let found = reading.differences.iter().map(|w| w.call).filter(fits);
            for call in own.iter().copied().chain(found) {
                let ours = policy.verdict(&call).action;
                let theirs = reading.verdict(policy, &call);
                if let Some(theirs) = theirs.filter(|t| *t != ours)
                    && seen.insert((ours, theirs))
                {
                    out.push(self.other(reading, &call, ours, theirs));
                }
            }
        }
        out
    }

    fn other(&self, reading: &Reading, call: &Call, ours: Action, theirs: Action) -> Other {
        let cause = reading.cause(&self.filter.translation, call, theirs);
        Other {
            runtime: reading.runtime.name(),
            call: flags::describe(Some(self.question.arch), call),
            action: theirs.to_string(),
            profile: ours.to_string(),
            cause: cause.describe(),
            source: cause.source(),
            verdict: theirs,
        }
    }

    /// The instructions that are executed, with what is loaded and which way
    /// comparisons go.
    fn trace(&self, call: &Call) -> Vec<String> {
        let program = &self.filter.program;
        let lines = program.lines(syscalls::name);
        let path = program.path(call);
        let line = |(i, &(pc, _)): (usize, &(usize, u32))| {
            let text = lines[pc].as_str();
            let insn = program.instructions()[pc];
            match path.get(i + 1) {
                Some((next, _)) if insn.is_branch() => format!("{text}  -> L{next}"),
                Some((_, a)) if insn.code == op::LD_ABS => format!("{text} = {a:#x}"),
                _ => text.to_owned(),
            }
        };
        path.iter().enumerate().map(line).collect()
    }

    /// A value with its name.
    fn value(&self, arg: u8, value: u64) -> String {
        flags::value_beside(&self.name, self.question.given[0], arg, value)
    }

    /// The call as asked: `_` for what may be anything.
    fn call_text(&self) -> String {
        let given = &self.question.given;
        let used = given.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
        let words = given[..used]
            .iter()
            .zip(0u8..)
            .map(|(given, i)| match given {
                None => "_".to_owned(),
                Some(v) if flags::apply_to(self.question.arch) => self.value(i, *v),
                Some(v) => flags::number(*v),
            });
        let words: Vec<String> = words.collect();
        match words.as_slice() {
            [] => self.question.asked.clone(),
            _ if self.question.through => self.question.asked.clone(),
            words => format!("{}({})", self.question.asked, words.join(", ")),
        }
    }
}

/// Why a runtime refuses the profile, if it does.
fn refusal(reading: &Reading) -> Option<(&'static str, String)> {
    Some((reading.runtime.name(), reading.refusal()?))
}

/// A rule in JSON, of its names only the one asked for.
fn shortened(entry: &LinuxSyscall, asked: &str) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Rule<'a> {
        names: Vec<&'a str>,
        action: LinuxSeccompAction,
        #[serde(skip_serializing_if = "Option::is_none")]
        errno_ret: Option<u32>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        args: Vec<Arg>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Arg {
        index: usize,
        value: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        value_two: Option<u64>,
        op: LinuxSeccompOperator,
    }
    let mut names: Vec<&str> = entry.names().iter().map(String::as_str).collect();
    if names.len() > 1 {
        names.retain(|n| *n == asked);
        names.push("…");
    }
    let args = entry.args().iter().flatten();
    let rule = Rule {
        names,
        action: entry.action(),
        errno_ret: entry.errno_ret(),
        args: args
            .map(|a| Arg {
                index: a.index(),
                value: a.value(),
                value_two: a
                    .value_two()
                    .filter(|_| a.op() == LinuxSeccompOperator::ScmpCmpMaskedEq),
                op: a.op(),
            })
            .collect(),
    };
    let mut out = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut out, Spaced);
    // Plain text and numbers can be written to memory.
    let _ = rule.serialize(&mut writer);
    String::from_utf8(out).unwrap_or_default()
}

/// JSON on one line with spaces, at which it can be broken.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        out.write_all(b": ")
    }
}
