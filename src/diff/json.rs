//! The form for programs; docs/json.md describes it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Change, Described, Diff, Direction, When, Witness};
use crate::syscalls;

/// Version of the JSON form; a change that breaks readers raises it.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    schema: u32,
    first: Side<'a>,
    second: Side<'a>,
    equal: Option<bool>,
    subset: Option<bool>,
    complete: bool,
    points: usize,
    newly_allowed: Vec<Item<'a>>,
    no_longer_allowed: Vec<Item<'a>>,
    other_verdict: Vec<Item<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Side<'a> {
    source: &'a str,
    kind: &'static str,
    fingerprints: &'a [String],
    architectures: Vec<&'static str>,
    flags: Option<Vec<&'static str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    call: Option<&'a str>,
    numbers: BTreeMap<&'static str, u32>,
    from: String,
    to: String,
    when: &'static str,
    cases: Option<&'a str>,
    witness: WitnessItem,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WitnessItem {
    call: String,
    architecture: String,
    number: u32,
    args: Vec<String>,
}

impl Diff {
    /// The JSON form, one object.
    ///
    /// # Errors
    /// None that can happen: the fields are plain text and numbers.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let items = |direction| {
            let changes = self.changes.iter();
            let chosen = changes.filter(move |c| c.direction() == direction);
            chosen.map(Item::new).collect()
        };
        let whole = Whole {
            schema: SCHEMA,
            first: Side::new(&self.first),
            second: Side::new(&self.second),
            equal: self.is_equal(),
            subset: self.is_subset(),
            complete: self.complete,
            points: self.points,
            newly_allowed: items(Direction::More),
            no_longer_allowed: items(Direction::Less),
            other_verdict: items(Direction::Other),
        };
        serde_json::to_string_pretty(&whole).map(|json| json + "\n")
    }
}

impl<'a> Side<'a> {
    fn new(side: &'a Described) -> Self {
        let named = |flags: crate::policy::Flags| {
            let set = flags.named().into_iter().filter(|f| f.1);
            set.map(|f| f.0).collect()
        };
        Self {
            source: &side.source,
            kind: match side.is_profile {
                true => "profile",
                false => "program",
            },
            fingerprints: &side.fingerprints,
            architectures: side.arches.iter().map(|a| a.name()).collect(),
            flags: side.flags.map(named),
        }
    }
}

impl<'a> Item<'a> {
    fn new(change: &'a Change) -> Self {
        let (when, cases) = match &change.when {
            When::Always => ("always", None),
            When::Cases(cases) => ("cases", Some(cases.as_str())),
            When::Sometimes => ("sometimes", None),
        };
        Self {
            call: change.call.as_deref(),
            numbers: change.numbers.iter().map(|(a, &n)| (a.name(), n)).collect(),
            from: change.from.to_string(),
            to: change.to.to_string(),
            when,
            cases,
            witness: WitnessItem::new(&change.witness),
        }
    }
}

impl WitnessItem {
    fn new(Witness { arch, call }: &Witness) -> Self {
        Self {
            call: syscalls::describe(*arch, call),
            architecture: arch.map_or_else(|| format!("{:#x}", call.audit), |a| a.to_string()),
            number: call.nr,
            args: call.args.iter().map(|arg| format!("{arg:#x}")).collect(),
        }
    }
}
