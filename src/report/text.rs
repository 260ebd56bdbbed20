//! The report as people read it.
#![forbid(unsafe_code)]

use super::{ArchReport, FindingReport, Load, ReadyReport, Report, RuleReport, RuntimeReport};
use crate::lint::Severity;
use crate::policy::{Action, ENOSYS};
use crate::style::{Style, Tone, WIDTH, clean, count, heading, line, name, wrap};
use std::fmt::Write;

/// Where the names of rules start.
const NAMES: usize = 34;

impl ReadyReport {
    /// The form for people.
    #[must_use]
    pub fn to_text(&self, style: Style) -> String {
        let mut out = String::new();
        line(&mut out, style, "program", &self.source);
        self.load.write(&mut out, style);
        line(
            &mut out,
            style,
            "size",
            &count(self.instructions, "instruction"),
        );
        out
    }
}

impl Load {
    fn write(&self, out: &mut String, style: Style) {
        line(out, style, "loaded", self.when);
        line(out, style, "because", self.reason);
        line(out, style, "also filtered", self.also_filtered);
        if let Some(existing) = self.on_existing {
            line(out, style, "if filtered", existing);
        }
        if !self.stages.is_empty() {
            let text = format!("by the hook at {}", self.stages.join(", "));
            line(out, style, "armed", &text);
        }
    }
}

impl Report {
    /// The form for people; `verbose` lists every name of every rule, every
    /// finding and every difference.
    #[must_use]
    pub fn to_text(&self, style: Style, verbose: bool) -> String {
        let mut out = String::new();
        self.head(&mut out, style);
        self.architectures(&mut out, style);
        if !self.rules.is_empty() {
            heading(&mut out, style, "rules");
            let head = format!("{:>4}  {:>5}  {:<21}{}", "rule", "line", "action", "calls");
            let _ = writeln!(out, "{}", style.paint(Tone::Faint, &head));
        }
        for rule in &self.rules {
            rule.write(&mut out, style, verbose);
        }
        self.skipped(&mut out, style, verbose);
        self.findings(&mut out, style, verbose);
        heading(&mut out, style, "runtimes by themselves");
        for runtime in &self.runtimes {
            runtime.write(&mut out, style, self.expects_newer(), verbose);
        }
        out
    }

    /// What calls newer than the profile get.
    fn expects_newer(&self) -> &str {
        self.newer_calls.as_deref().unwrap_or(&self.default_action)
    }

    fn head(&self, out: &mut String, style: Style) {
        let version = self.oci_version.as_ref().map(|v| format!(" (OCI {v})"));
        line(
            out,
            style,
            "profile",
            &format!("{}{}", self.source, version.unwrap_or_default()),
        );
        if let Some(target) = &self.resolved_for {
            let capabilities = match target.capabilities.as_slice() {
                [] => "no capabilities".to_owned(),
                names => count(names.len(), "capability").replace("capabilitys", "capabilities"),
            };
            let left_out = match self.rules_in_file - self.rules.len() {
                0 => String::new(),
                n => format!(
                    "; {} out of {} do not apply",
                    n,
                    count(self.rules_in_file, "rule")
                ),
            };
            line(
                out,
                style,
                "form",
                &format!(
                    "docker's, resolved for {}, Linux {}, {capabilities}{left_out}",
                    target.architecture, target.kernel
                ),
            );
        }
        match &self.load {
            Some(load) => load.write(out, style),
            None => line(
                out,
                style,
                "loaded",
                "as the bundle's process asks: give a bundle to see when",
            ),
        }
        line(out, style, "default", &with_name(&self.default_action));
        if self.newer_calls.is_some() {
            let enosys = name(Action::Errno(ENOSYS));
            line(
                out,
                style,
                "newer calls",
                &format!("{enosys}: above the largest that rules name"),
            );
        }
        let flags = match self.flags.as_slice() {
            [] => "none".to_owned(),
            flags => flags.join(", "),
        };
        line(out, style, "flags", &flags);
        if let Some(path) = &self.listener {
            line(out, style, "listener", path);
        }
        let program = &self.program;
        let how = match program.complete {
            true => "every class of calls",
            false => "a sample of calls",
        };
        line(
            out,
            style,
            "program",
            &format!(
                "{}, proven on {how} ({} tried)",
                count(program.instructions, "instruction"),
                program.points
            ),
        );
    }

    fn architectures(&self, out: &mut String, style: Style) {
        heading(out, style, "architectures");
        let head = format!(
            "  {:<16}{:>5}{:>10}{:>9}{:>9}{:>9}   {}",
            "", "named", "program", "allowed", "checked", "denied", "bitmap"
        );
        let _ = writeln!(out, "{}", style.paint(Tone::Faint, &head));
        for arch in &self.architectures {
            arch.write(out, style);
        }
        let _ = writeln!(
            out,
            "  {:<16}{:>5}   {}",
            "any other", "", self.other_architectures
        );
        let legend = "program: instructions for this architecture; allowed, checked, denied: how \
                      many the kernel executes for a call of that kind, the median; bitmap: calls \
                      that Linux >= 5.11 allows without executing any";
        let legend = wrap(legend, 2, 2);
        for part in legend.lines() {
            let _ = writeln!(
                out,
                "{}",
                style.paint(Tone::Faint, &format!("  {}", part.trim_start()))
            );
        }
    }

    fn skipped(&self, out: &mut String, style: Style, verbose: bool) {
        if self.skipped.is_empty() {
            return;
        }
        heading(out, style, "names that are no calls here");
        for (why, text) in [("unknown", "unknown"), ("absent", "of other architectures")] {
            let names: Vec<&str> = self
                .skipped
                .iter()
                .filter(|s| s.why == why)
                .map(|s| s.name.as_str())
                .collect();
            if names.is_empty() {
                continue;
            }
            let label = format!("  {text:<24}");
            let names = fold(&names, WIDTH - label.len(), verbose);
            let _ = writeln!(out, "{label}{}", wrap(&names, label.len(), label.len()));
        }
    }

    fn findings(&self, out: &mut String, style: Style, verbose: bool) {
        heading(out, style, "findings");
        if self.findings.is_empty() {
            out.push_str("  none\n");
        }
        let shown = |f: &&FindingReport| verbose || f.severity != Severity::Note.name();
        for finding in self.findings.iter().filter(shown) {
            finding.write(out, style, verbose);
        }
        let folded = self.findings.len() - self.findings.iter().filter(shown).count();
        if folded > 0 {
            let text = format!("  {} (-v shows them)", count(folded, "note"));
            let _ = writeln!(out, "{}", style.paint(Tone::Faint, &text));
        }
    }
}

impl ArchReport {
    fn write(&self, out: &mut String, style: Style) {
        let cost = &self.cost;
        let native = if self.native { " (native)" } else { "" };
        let steps = |t: &Option<super::Typical>| match t {
            Some(t) => t.instructions.to_string(),
            None => "-".to_owned(),
        };
        let bitmap = match cost.bitmap {
            Some(b) => format!("{} of {}", b.answered, b.calls),
            None => "none".to_owned(),
        };
        let label = format!("{:<16}", format!("{}{native}", self.name));
        let _ = writeln!(
            out,
            "  {}{:>5}{:>10}{:>9}{:>9}{:>9}   {bitmap}",
            style.paint(Tone::Strong, &label),
            self.calls,
            cost.instructions,
            steps(&cost.allowed),
            steps(&cost.checked),
            steps(&cost.denied),
        );
    }
}

impl RuleReport {
    fn write(&self, out: &mut String, style: Style, verbose: bool) {
        let place = format!("{:>4}  {:>5}", self.rule, self.line);
        let action = style.action(self.verdict, NAMES - 13);
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let names = match names.as_slice() {
            [] => "no names".to_owned(),
            names => fold(names, WIDTH - NAMES, verbose),
        };
        let _ = writeln!(
            out,
            "{}  {action}{}",
            style.paint(Tone::Faint, &place),
            wrap(&names, NAMES, NAMES)
        );
        let pad = " ".repeat(NAMES);
        for (i, all) in self.conditions.iter().enumerate() {
            let or = if i == 0 { "if" } else { "or" };
            let all: Vec<&str> = all.iter().map(|c| c.text.as_str()).collect();
            let text = wrap(&format!("{or} {}", all.join(" && ")), NAMES, NAMES + 3);
            let _ = writeln!(out, "{pad}{text}");
        }
        if verbose && self.calls.values().any(|&n| n != self.names.len()) {
            let calls: Vec<_> = self
                .calls
                .iter()
                .map(|(arch, n)| format!("{n} on {arch}"))
                .collect();
            let text = wrap(&format!("calls: {}", calls.join(", ")), NAMES, NAMES);
            for part in text.lines() {
                let part = style.paint(Tone::Faint, part.trim_start());
                let _ = writeln!(out, "{pad}{part}");
            }
        }
    }
}

impl FindingReport {
    fn write(&self, out: &mut String, style: Style, verbose: bool) {
        let tone = match self.severity == Severity::Warning.name() {
            true => Tone::Warning,
            false => Tone::Faint,
        };
        let place = match (self.rule, self.line) {
            (Some(rule), Some(line)) => format!("  rule {rule}, line {line}"),
            (Some(rule), None) => format!("  rule {rule}"),
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "  {} {}{}",
            style.paint(tone, &format!("{:<7}", self.severity)),
            style.paint(Tone::Strong, self.id),
            style.paint(Tone::Faint, &place)
        );
        let pad = " ".repeat(10);
        let subjects: Vec<&str> = self.subjects.iter().map(String::as_str).collect();
        let text = match subjects.as_slice() {
            [] => self.message.clone(),
            subjects => format!("{}: {}", fold(subjects, WIDTH - 12, verbose), self.message),
        };
        let _ = writeln!(out, "{pad}{}", wrap(&clean(&text), 10, 10));
        for witness in &self.witness {
            let by = witness
                .by
                .as_ref()
                .map(|by| format!(" ({by})"))
                .unwrap_or_default();
            let text = format!("{} -> {}{by}", witness.call, with_name(&witness.verdict));
            let _ = writeln!(out, "{pad}  {}", wrap(&text, 12, 14));
        }
        let text = wrap(&clean(&self.remedy), 10, 10);
        for part in text.lines() {
            let part = format!("{pad}{}", part.trim_start());
            let _ = writeln!(out, "{}", style.paint(Tone::Faint, &part));
        }
    }
}

impl RuntimeReport {
    fn write(&self, out: &mut String, style: Style, newer: &str, verbose: bool) {
        let label = format!("  {:<8}", self.runtime);
        let label = style.paint(Tone::Strong, &label);
        if let Some(refused) = &self.refused {
            let text = wrap(&format!("refuses it: {}", clean(refused)), 10, 10);
            let _ = writeln!(out, "{label}{text}");
            return;
        }
        let mut parts = Vec::new();
        match (self.weaker.len(), self.other.len()) {
            (0, 0) => parts.push("the same verdicts".to_owned()),
            (weaker, other) => {
                if weaker > 0 {
                    parts.push(format!("weaker for {}", count(weaker, "call")));
                }
                if other > 0 {
                    parts.push(format!(
                        "stricter or another errno for {}",
                        count(other, "call")
                    ));
                }
            }
        }
        if let Some(newer) = self.newer_calls.as_ref().filter(|n| *n != newer) {
            parts.push(format!("newer calls get {}", with_name(newer)));
        }
        let size = self.instructions.unwrap_or_default();
        parts.push(format!("in {}", count(size, "instruction")));
        let _ = writeln!(out, "{label}{}", wrap(&parts.join("; "), 10, 10));
        if !verbose {
            return;
        }
        for (word, tone, list) in [
            ("weaker", Tone::Warning, &self.weaker),
            ("differs", Tone::Faint, &self.other),
        ] {
            for d in list {
                let word = style.paint(tone, &format!("{word:<8}"));
                let text = format!("{} -> {}, not {}", d.call, d.runtime, d.profile);
                let _ = writeln!(out, "          {word}{}", wrap(&text, 18, 20));
            }
        }
    }
}

/// An action as text with the name of its errno.
fn with_name(action: &str) -> String {
    let errno = action
        .strip_prefix("ERRNO(")
        .and_then(|rest| rest.strip_suffix(')'));
    let errno = errno.and_then(|n| n.parse().ok());
    errno.map_or_else(|| action.to_owned(), |errno| name(Action::Errno(errno)))
}

/// As many names as fit a line, and how many more there are; or all.
fn fold(names: &[&str], width: usize, verbose: bool) -> String {
    let all = names.join(", ");
    if verbose || all.len() <= width {
        return all;
    }
    let mut shown = 0;
    let mut length = 0;
    for name in names {
        // Room for " and 999 more".
        if length + name.len() + 2 + 13 > width {
            break;
        }
        length += name.len() + 2;
        shown += 1;
    }
    let shown = shown.max(1);
    format!(
        "{} and {} more",
        names[..shown].join(", "),
        names.len() - shown
    )
}
