//! The answer as people read it.
#![forbid(unsafe_code)]

use super::{Explanation, Failed, Missed, Other, Outcome, RuleText};
use crate::peers::Runtime;
use crate::report::ConditionReport;
use crate::style::{Style, Tone, WIDTH, clean, count, heading, name, wrap};
use std::fmt::Write;

/// Rules that do not match and are shown without being asked for.
const SHOWN: usize = 4;

impl Explanation {
    /// The form for people; `verbose` shows every rule that does not match,
    /// and where each runtime's behaviour can be read.
    #[must_use]
    pub fn to_text(&self, style: Style, verbose: bool) -> String {
        let mut out = String::new();
        let call = wrap(&self.call_text, 0, 4);
        let place = format!("on {}, number {}", self.architecture, self.number);
        let _ = writeln!(
            out,
            "{}{}{}",
            style.paint(Tone::Strong, &call),
            match last_line(&call) + 1 + place.len() > WIDTH {
                true => "\n    ",
                false => " ",
            },
            style.paint(Tone::Faint, &place)
        );
        if let Some(through) = &self.through {
            let text = format!(
                "{} has no number of its own here and is made by {through}, its arguments behind \
                 a pointer",
                self.syscall
            );
            let _ = writeln!(out, "{}", wrap(&text, 0, 0));
        }
        out.push('\n');
        match self.outcomes.as_slice() {
            [only] => only.write_decided(&mut out, style),
            outcomes => {
                for (i, outcome) in outcomes.iter().enumerate() {
                    outcome.write(&mut out, style, i, verbose);
                }
            }
        }
        if !self.lost.is_empty() {
            heading(&mut out, style, "matches too, but comes later");
            for rule in &self.lost {
                let _ = writeln!(
                    out,
                    "  {} {}",
                    rule.place(style),
                    style.action(rule.verdict, 0)
                );
            }
        }
        self.missed(&mut out, style, verbose);
        self.runtimes(&mut out, style, verbose);
        self.trace(&mut out, style);
        out
    }

    fn missed(&self, out: &mut String, style: Style, verbose: bool) {
        if self.missed.is_empty() {
            return;
        }
        heading(out, style, "does not match");
        let shown = match verbose {
            true => self.missed.len(),
            false => self.missed.len().min(SHOWN),
        };
        for Missed { rule, failed, held } in &self.missed[..shown] {
            let _ = writeln!(
                out,
                "  {} {}",
                rule.place(style),
                style.action(rule.verdict, 0)
            );
            let needs: Vec<&str> = failed.iter().map(|f| f.condition.text.as_str()).collect();
            let is = |f: &Failed| format!("arg{} is {}", f.condition.arg, f.given_text);
            let mut is: Vec<String> = failed.iter().map(is).collect();
            is.dedup();
            let also = match held {
                0 => String::new(),
                held => format!("; {held} of {} conditions met", held + failed.len()),
            };
            let text = format!("needs {}, but {}{also}", needs.join(" && "), is.join(", "));
            let _ = writeln!(out, "      {}", wrap(&text, 6, 10));
        }
        if self.missed.len() > shown {
            let text = format!(
                "  and {} (-v shows them)",
                count(self.missed.len() - shown, "more rule")
            );
            let _ = writeln!(out, "{}", style.paint(Tone::Faint, &text));
        }
    }

    fn runtimes(&self, out: &mut String, style: Style, verbose: bool) {
        heading(out, style, "runtimes by themselves");
        for (why, runtimes) in grouped(&self.refused, |r| r.1.clone(), |r| *r.0) {
            let text = format!("{}: refuse the profile: {why}", list(&runtimes));
            let _ = writeln!(out, "  {}", wrap(&text, 2, 6));
        }
        let of = |o: &Other| Other {
            runtime: "",
            ..o.clone()
        };
        for (other, runtimes) in grouped(&self.runtimes, |o| of(o), |o| o.runtime) {
            other.write(out, style, &list(&runtimes), verbose);
        }
        let names = Runtime::ALL.iter().map(|r| r.name());
        let same = names.filter(|n| {
            self.runtimes.iter().all(|o| o.runtime != *n) && !self.refused.contains_key(n)
        });
        let same: Vec<&str> = same.collect();
        if !same.is_empty() {
            let _ = writeln!(out, "  {}: the same", list(&same));
        }
    }

    fn trace(&self, out: &mut String, style: Style) {
        let Some(trace) = &self.trace else { return };
        let example = self.outcomes.first().map(|o| o.example.as_str());
        let text = format!(
            "{} executed for {}",
            count(trace.len(), "instruction"),
            example.unwrap_or_default()
        );
        heading(out, style, &wrap(&text, 0, 4));
        for line in trace {
            let _ = writeln!(out, "{line}");
        }
    }
}

impl Outcome {
    /// The only one: the arguments given decide.
    fn write_decided(&self, out: &mut String, style: Style) {
        let by = self.by(style);
        let _ = writeln!(out, "{}  {by}", style.action(self.verdict, 0));
        if let Some(rule) = &self.rule {
            let _ = writeln!(out, "  {}", wrap(&clean(&rule.text), 2, 4));
        }
    }

    /// One of several.
    fn write(&self, out: &mut String, style: Style, index: usize, verbose: bool) {
        const TEXT: usize = 18;
        let when = match (index, self.conditions.is_empty()) {
            (_, true) => "otherwise".to_owned(),
            (0, false) => format!("if {}", joined(&self.conditions, " && ")),
            (_, false) => format!("else if {}", joined(&self.conditions, " && ")),
        };
        let action = style.action(self.verdict, TEXT);
        let _ = writeln!(out, "{action}{}", wrap(&when, TEXT, TEXT + 3));
        let pad = " ".repeat(TEXT);
        let _ = writeln!(out, "{pad}{}", self.by(style));
        if let Some(rule) = self.rule.as_ref().filter(|_| verbose) {
            let _ = writeln!(out, "{pad}{}", wrap(&clean(&rule.text), TEXT, TEXT + 2));
        }
        let example = wrap(&self.example, TEXT, TEXT + 2);
        let _ = writeln!(out, "{pad}{}", style.paint(Tone::Faint, &example));
    }

    fn by(&self, style: Style) -> String {
        match (&self.rule, self.reason) {
            (Some(rule), _) => format!("by {}", rule.place(style)),
            (None, "newer") => "as a call newer than the profile".to_owned(),
            (None, "architecture") => "as a call of an architecture that is not listed".to_owned(),
            (None, _) => "by the default action".to_owned(),
        }
    }
}

impl RuleText {
    fn place(&self, style: Style) -> String {
        let line = style.paint(Tone::Faint, &format!("(line {})", self.line));
        format!("rule {} {line}", self.rule)
    }
}

impl Other {
    fn write(&self, out: &mut String, style: Style, runtimes: &str, verbose: bool) {
        let action = style.action(self.verdict, 0);
        let first = runtimes.len() + name(self.verdict).len() + 9;
        let text = format!("{}, not {}", self.call, self.profile);
        let text = wrap(&text, first, 6);
        let _ = writeln!(out, "  {runtimes}: {action} for {text}");
        let _ = writeln!(out, "      {}", wrap(self.cause, 6, 6));
        if verbose {
            let source = wrap(self.source, 6, 6);
            let _ = writeln!(out, "      {}", style.paint(Tone::Faint, &source));
        }
    }
}

/// Puts items together that are alike, in the order of the first of each,
/// with the runtimes they are of.
fn grouped<I: IntoIterator, K: PartialEq>(
    items: I,
    key: impl Fn(&I::Item) -> K,
    runtime: impl Fn(&I::Item) -> &'static str,
) -> Vec<(K, Vec<&'static str>)> {
    let mut out: Vec<(K, Vec<&'static str>)> = Vec::new();
    for item in items {
        let key = key(&item);
        match out.iter_mut().find(|group| group.0 == key) {
            Some(group) => group.1.push(runtime(&item)),
            None => out.push((key, vec![runtime(&item)])),
        }
    }
    out
}

/// `a, b and c`.
fn list(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        words => words.concat(),
    }
}

fn joined(conditions: &[ConditionReport], by: &str) -> String {
    let words: Vec<&str> = conditions.iter().map(|c| c.text.as_str()).collect();
    words.join(by)
}

/// Columns of the last line.
fn last_line(text: &str) -> usize {
    text.rsplit('\n').next().unwrap_or_default().chars().count()
}
