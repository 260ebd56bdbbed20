//! The form for people.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::{Change, Described, Diff, Direction, Listed, When};
use crate::flags;
use crate::policy::{Action, Arch, Flags};
use crate::style::{self, Style, Tone};
use crate::syscalls::{Wiring, resolve};

/// What changes together: from, to, where.
type Head = (Option<Listed>, Action, Action, String);

impl Diff {
    /// The form for people; `verbose` leaves no name out.
    #[must_use]
    pub fn to_text(&self, style: Style, verbose: bool) -> String {
        let mut out = String::new();
        style::line(&mut out, style, "first", &self.first.to_text());
        style::line(&mut out, style, "second", &self.second.to_text());
        if let (true, Some(a), Some(b)) = (self.flags_differ(), self.first.flags, self.second.flags)
        {
            let both = format!("{}; second: {}", flags_to_text(a), flags_to_text(b));
            style::line(&mut out, style, "flags", &format!("first: {both}"));
        }
        for (direction, title, tone) in [
            (Direction::More, "newly allowed", Tone::Warning),
            (Direction::Less, "no longer allowed", Tone::Good),
            (Direction::Other, "another verdict", Tone::Strong),
        ] {
            let changes = self.changes.iter().filter(|c| c.direction() == direction);
            let mut heads: BTreeMap<Head, Vec<&Change>> = BTreeMap::new();
            for change in changes {
                let head = (change.unlisted, change.to, change.from, self.place(change));
                heads.entry(head).or_default().push(change);
            }
            if heads.is_empty() {
                continue;
            }
            out += &format!("\n{}\n", style.paint(tone, title));
            for ((listed, to, from, place), changes) in heads {
                let (to, from) = (style.action(to, 0), style::name(from));
                out += &format!("  {to} (was {from}){place}\n");
                // What is allowed is named in full.
                let brief = direction == Direction::Other || listed.is_some();
                items(&mut out, style, &changes, brief && !verbose);
            }
        }
        out.push('\n');
        out += &style::wrap(&self.conclusion(), 0, 0);
        out.push('\n');
        out
    }

    fn conclusion(&self) -> String {
        let tried = format!("{} tried", style::count(self.points, "call"));
        match (self.complete, self.changes.is_empty()) {
            (true, true) => format!("the verdict is the same for every call ({tried})"),
            (true, false) => format!("every other call has the same verdict ({tried})"),
            (false, _) => format!(
                "whether this is all could not be told: arguments have too many combinations, or a \
                 program calculates ({tried})"
            ),
        }
    }

    /// Where a change applies, if that is not wherever there is such a call.
    fn place(&self, change: &Change) -> String {
        let arches: Vec<_> = change.numbers.keys().map(|a| a.name()).collect();
        let arches = arches.join(", ");
        let both = |a: &&Arch| self.first.arches.contains(a) && self.second.arches.contains(a);
        let exists = |arch: &Arch| match change.call.as_deref().map(|c| resolve(c, *arch)) {
            Some(Wiring::Direct(_)) => true,
            Some(Wiring::Multiplexed { direct, .. }) => direct.is_some(),
            _ => false,
        };
        let mut common = self.first.arches.iter().filter(both);
        match change.unlisted {
            Some(Listed::First) => format!(" on {arches}, which only the first lists"),
            Some(Listed::Second) => format!(" on {arches}, which only the second lists"),
            None if common.any(|a| !change.numbers.contains_key(a) && exists(a)) => {
                format!(" on {arches} only")
            }
            None => String::new(),
        }
    }
}

/// So many names make the point where calls are not allowed anyhow, or all of
/// an architecture's change.
const NAMES: usize = 8;

/// What changes under one heading: first the names of what always changes.
fn items(out: &mut String, style: Style, changes: &[&Change], brief: bool) {
    let mut names = Vec::new();
    let mut rest = Vec::new();
    for change in changes {
        match (&change.call, &change.when) {
            (Some(call), When::Always) => names.push(call.clone()),
            (Some(call), When::Cases(cases)) => {
                rest.push((format!("{call} {cases}"), Some(*change)));
            }
            (Some(call), When::Sometimes) => {
                rest.push((format!("{call} for some arguments"), Some(*change)));
            }
            (None, _) => rest.push((nameless(change), None)),
        }
    }
    if brief && names.len() > NAMES {
        let more = names.split_off(NAMES).len();
        names.push(format!("and {more} more (--verbose)"));
    }
    // Sets of flags may be longer than a line.
    let breakable = |text: &str| style::clean(&text.replace('|', " | "));
    let item = |text: &str| format!("    {}\n", style::wrap(&breakable(text), 4, 6));
    if !names.is_empty() {
        *out += &item(&names.join(", "));
    }
    for (text, witness) in rest {
        *out += &item(&text);
        if let Some(change) = witness {
            let call = flags::describe(change.witness.arch, &change.witness.call);
            let call = style::wrap(&breakable(&format!("such as {call}")), 6, 8);
            *out += &format!("      {}\n", style.paint(Tone::Faint, &call));
        }
    }
}

fn nameless(change: &Change) -> String {
    let call = change.witness.call;
    match change.witness.arch {
        Some(_) => format!("calls without a name, such as number {}", call.nr),
        None => format!("calls of other architectures, such as {:#x}", call.audit),
    }
}

impl Described {
    fn to_text(&self) -> String {
        let arches: Vec<_> = self.arches.iter().map(|a| a.name()).collect();
        let kind = match self.is_profile {
            true => "",
            false => "ready program, ",
        };
        let arches = match arches.is_empty() {
            true => "any architecture".to_owned(),
            false => arches.join(", "),
        };
        format!("{} ({kind}{arches})", self.source)
    }
}

fn flags_to_text(flags: Flags) -> String {
    let set: Vec<_> = flags.named().into_iter().filter(|f| f.1).collect();
    let names = set
        .iter()
        .map(|(name, _)| name.strip_prefix("SECCOMP_FILTER_FLAG_").unwrap_or(name));
    match set.is_empty() {
        true => "none".to_owned(),
        false => names.collect::<Vec<_>>().join(", "),
    }
}
