//! The form for people.
#![forbid(unsafe_code)]

use jiff::Timestamp;

use super::{Advice, Edit, Entry, Impossible, Report, Step};
use crate::policy::Action;
use crate::style::{self, Style, Tone};

/// A time as RFC 3339 writes it, to the second.
fn time(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |t| format!("{t:.0}"))
}

impl Report {
    /// The form for people.
    #[must_use]
    pub fn to_text(&self, style: Style) -> String {
        let mut out = String::new();
        let records = style::count(self.log.records as usize, "record");
        let mut summary = format!("{records}, {}", style::count(self.calls.len(), "call"));
        if let Some((first, last)) = self.span() {
            summary += &format!(", {} to {}", time(first), time(last));
        }
        style::line(&mut out, style, "log", &summary);
        for (n, what) in [
            (self.log.malformed, "malformed records"),
            (self.log.too_long, "lines too long"),
            (self.log.dropped, "records of too many different calls"),
        ] {
            if n > 0 {
                style::line(&mut out, style, "passed over", &format!("{what}: {n}"));
            }
        }
        if let Some(profile) = &self.profile {
            style::line(&mut out, style, "profile", profile);
        }
        for entry in &self.calls {
            entry.write(&mut out, style);
        }
        out
    }
}

impl Entry {
    fn write(&self, out: &mut String, style: Style) {
        let arch = self.arch.map_or_else(
            || format!("architecture {:#x}", self.audit),
            |arch| arch.to_string(),
        );
        let call = match &self.call {
            Some(call) => call.clone(),
            None => format!("call {}", self.nr),
        };
        style::heading(out, style, &format!("{arch} {call}"));
        let line = |out: &mut String, label: &str, text: &str| style::line(out, style, label, text);
        let tone = match Action::from_ret(self.code) {
            Action::Log | Action::Trace(_) | Action::Notify => Tone::Warning,
            Action::Allow => Tone::Good,
            _ => Tone::Bad,
        };
        let (first, last) = (time(self.first), time(self.last));
        let when = match self.count {
            1 => format!("once, {first}"),
            n => format!("{n} times, {first} to {last}"),
        };
        // Aligned as a line's text, which has no colours in it.
        let label = style.paint(
            Tone::Faint,
            &format!("{:<width$}", "got", width = style::LABEL),
        );
        *out += &format!("{label}{}, {when}\n", style.paint(tone, &self.action()));
        let mut programs: Vec<_> = self.programs.iter().map(ToString::to_string).collect();
        if self.more_programs {
            programs.push("and others".to_owned());
        }
        if !programs.is_empty() {
            line(out, "made by", &programs.join(", "));
        }
        if let Some(advice) = &self.advice {
            advice.write(out, style, self.call.as_deref().unwrap_or_default());
        }
    }
}

impl Advice {
    fn write(&self, out: &mut String, style: Style, call: &str) {
        let line = |out: &mut String, label: &str, text: &str| style::line(out, style, label, text);
        for said in &self.verdicts {
            line(
                out,
                "profile says",
                &format!("{}: {}", style::name(said.action), said.by),
            );
        }
        if !self.depends_on.is_empty() {
            let arguments: Vec<_> = self.depends_on.iter().map(|a| format!("arg{a}")).collect();
            let arguments = arguments.join(", ");
            line(
                out,
                "depends on",
                &format!("{arguments}, which the record does not have"),
            );
        }
        if !self.explains && self.change != Err(Impossible::Allowed) {
            line(
                out,
                "but",
                "this is not what the kernel did: was another filter loaded?",
            );
        }
        match &self.change {
            Err(impossible) => line(out, "to allow it", &impossible.to_string()),
            Ok(change) => {
                let steps: Vec<_> = self.steps.iter().map(Step::to_text).collect();
                let scope = match self.depends_on.is_empty() {
                    true => "",
                    false => ", which allows it with any arguments",
                };
                line(out, "to allow it", &(steps.join(", and ") + scope));
                let newer: Vec<_> = change.no_longer_newer.iter().cloned().collect();
                if !newer.is_empty() {
                    let calls = style::count(newer.len(), "call");
                    let text = format!(
                        "{calls} older than {call} then get the default action, not ENOSYS"
                    );
                    line(out, "also", &text);
                }
            }
        }
    }
}

impl Step {
    pub(super) fn to_text(&self) -> String {
        let rule = match (self.rule, self.line) {
            (Some(rule), Some(line)) => format!("rule {rule} (line {line})"),
            (Some(rule), None) => format!("rule {rule}"),
            (None, _) => "the last rule".to_owned(),
        };
        let name = &self.name;
        let json = format!(r#"{{"names": ["{name}"], "action": "SCMP_ACT_ALLOW"}}"#);
        match (self.edit, self.rule) {
            (Edit::Add(_), _) => format!("add \"{name}\" to the names of {rule}"),
            (Edit::Remove(_), _) if self.alone => format!("remove {rule}"),
            (Edit::Remove(_), _) => format!("take \"{name}\" out of {rule}"),
            (Edit::Insert(_), Some(_)) => format!("put {json} before {rule}"),
            (Edit::Insert(_), None) => format!("put {json} after {rule}"),
        }
    }
}
