//! The report for people.
#![forbid(unsafe_code)]

use std::fmt::Write;

use super::Strictness;
use super::report::{Answer, Answered, Container, Described, Group, Judged, Report, Shown};
use crate::style::{self, Style, Tone};
use crate::syscalls;

impl Report {
    /// The form for people; `verbose` lists the programs and all differences.
    #[must_use]
    pub fn to_text(&self, style: Style, verbose: bool) -> String {
        let mut out = String::new();
        let line = |out: &mut String, label: &str, text: &str| style::line(out, style, label, text);
        line(&mut out, "process", &self.process.to_string());
        if let Some(Container { id, engine, bundle }) = &self.container {
            line(&mut out, "container", &format!("{id} ({engine})"));
            line(&mut out, "bundle", bundle);
        }
        let count = style::count(self.filters as usize, "filter");
        let mode = match self.mode {
            "filter" => count,
            mode => mode.to_owned(),
        };
        line(&mut out, "seccomp", &mode);
        if let Some(why) = &self.unreadable {
            line(&mut out, "unreadable", why);
        }
        if self.threads.len() > 1 {
            for group in &self.threads {
                line(&mut out, "threads", &group.to_text());
            }
        }
        for (index, program) in self.programs.iter().enumerate() {
            out += &format!("\nprogram {index}\n");
            program.write(&mut out, style);
            if let (true, Some(program)) = (verbose, self.program(index)) {
                let _ = write!(out, "\n{}", program.listing(syscalls::name));
            }
        }
        for (group, answered) in self.threads.iter().zip(self.call.iter().flatten()) {
            out += &format!("\n{}\n", self.title("call", group));
            answered.write(&mut out, style);
        }
        for (group, judged) in self.threads.iter().zip(self.against.iter().flatten()) {
            out += &format!("\n{}\n", self.title("declared and loaded", group));
            judged.write(&mut out, style, verbose);
        }
        out
    }

    fn title(&self, what: &str, group: &Group) -> String {
        match self.threads.len() {
            1 => what.to_owned(),
            _ => format!("{what}, threads {}", ids(&group.ids)),
        }
    }
}

/// A process can have thousands.
fn ids(ids: &[i32]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<_> = ids.iter().take(SHOWN).map(ToString::to_string).collect();
    let shown = shown.join(", ");
    match ids.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

impl Group {
    fn to_text(&self) -> String {
        let programs: Vec<_> = self.programs.iter().map(ToString::to_string).collect();
        match programs.is_empty() {
            true => format!("{}: no filter", ids(&self.ids)),
            false => format!("{}: programs {}", ids(&self.ids), programs.join(", ")),
        }
    }
}

impl Described {
    fn write(&self, out: &mut String, style: Style) {
        let line = |out: &mut String, label: &str, text: &str| style::line(out, style, label, text);
        line(out, "fingerprint", &self.fingerprint);
        line(out, "size", &style::count(self.instructions, "instruction"));
        let arches = match self.architectures.is_empty() {
            true => "not looked at".to_owned(),
            false => self.architectures.join(", "),
        };
        line(out, "architectures", &arches);
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        let mut calls: Vec<_> = calls.iter().map(|(a, n)| format!("{n} {a}")).collect();
        if self.by_arguments > 0 {
            calls.push(format!("{} by their arguments", self.by_arguments));
        }
        calls.push(format!("numbers without a name: {}", self.other_numbers));
        line(out, "calls", &calls.join(", "));
        let flags = match self.log {
            Some(true) => "LOG",
            Some(false) => "no LOG; others cannot be read",
            None => "cannot be read",
        };
        line(out, "flags", flags);
    }
}

impl Answered {
    fn write(&self, out: &mut String, style: Style) {
        for Answer { call, action, .. } in &self.verdicts {
            let call = style::wrap(&style::clean(call), 19, 19);
            let _ = writeln!(out, "{} {call}", style.action(*action, 18));
        }
        if self.verdicts.len() > 1 {
            *out += "the arguments that were not given decide: these are examples\n";
        }
        if !self.complete {
            *out += "there may be other verdicts: not every combination was tried\n";
        }
    }
}

impl Judged {
    fn write(&self, out: &mut String, style: Style, verbose: bool) {
        let (tone, text) = match self.strictness {
            Strictness::Equal => (Tone::Good, "equal: the same verdict for every call"),
            Strictness::AsStrict => (
                Tone::Good,
                "as strict: some calls are refused in another way",
            ),
            Strictness::Stricter => (Tone::Good, "stricter: for no call weaker"),
            Strictness::Weaker => (Tone::Bad, "weaker than declared"),
            Strictness::Unknown => (Tone::Warning, "could not be told: too many cases"),
        };
        style::line(out, style, "declared", &self.source);
        *out += &format!("{:<width$}", "loaded", width = style::LABEL);
        *out += &format!("{}\n", style.paint(tone, text));
        if let Some(shown) = &self.witness {
            let Shown {
                call,
                declared,
                loaded,
            } = shown;
            let text = format!("{call}: declared {declared}, loaded {loaded}");
            style::line(out, style, "such as", &text);
        }
        if verbose && !self.diff.changes.is_empty() {
            *out += &format!("\n{}", self.diff.to_text(style, true));
        }
    }
}
