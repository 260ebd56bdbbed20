//! The form for programs; docs/json.md describes it.
#![forbid(unsafe_code)]

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Advice, Edit, Entry, Report, Said, Step, Text};

/// Version of the JSON form; a change that breaks readers raises it.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    schema: u32,
    profile: Option<&'a str>,
    records: u64,
    malformed: u64,
    too_long: u64,
    dropped: u64,
    first: Option<String>,
    last: Option<String>,
    calls: Vec<Item<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    architecture: String,
    call: Option<&'a str>,
    number: u32,
    action: String,
    code: String,
    count: u64,
    first: String,
    last: String,
    programs: &'a [Text],
    more_programs: bool,
    advice: Option<AdviceItem>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdviceItem {
    verdicts: Vec<Value>,
    explains: bool,
    depends_on: Vec<u8>,
    change: Vec<Value>,
    no_longer_newer: Vec<String>,
    impossible: Option<String>,
}

/// A time as RFC 3339 writes it, to the millisecond.
fn time(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |t| format!("{t:.3}"))
}

impl Report {
    /// The JSON form, one object.
    ///
    /// # Errors
    /// None that can happen: the fields are plain text and numbers.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let span = self.span();
        let whole = Whole {
            schema: SCHEMA,
            profile: self.profile.as_deref(),
            records: self.log.records,
            malformed: self.log.malformed,
            too_long: self.log.too_long,
            dropped: self.log.dropped,
            first: span.map(|s| time(s.0)),
            last: span.map(|s| time(s.1)),
            calls: self.calls.iter().map(Item::new).collect(),
        };
        serde_json::to_string_pretty(&whole).map(|json| json + "\n")
    }
}

impl<'a> Item<'a> {
    fn new(entry: &'a Entry) -> Self {
        let arch = entry.arch.map(|arch| arch.to_string());
        Self {
            architecture: arch.unwrap_or_else(|| format!("{:#x}", entry.audit)),
            call: entry.call.as_deref(),
            number: entry.nr,
            action: entry.action(),
            code: format!("{:#x}", entry.code),
            count: entry.count,
            first: time(entry.first),
            last: time(entry.last),
            programs: &entry.programs,
            more_programs: entry.more_programs,
            advice: entry.advice.as_ref().map(AdviceItem::new),
        }
    }
}

impl AdviceItem {
    fn new(advice: &Advice) -> Self {
        let change = advice.change.as_ref();
        let newer = change.map(|c| c.no_longer_newer.iter().cloned().collect());
        Self {
            verdicts: advice.verdicts.iter().map(verdict).collect(),
            explains: advice.explains,
            depends_on: advice.depends_on.clone(),
            change: advice.steps.iter().map(step).collect(),
            no_longer_newer: newer.unwrap_or_default(),
            impossible: change.err().map(ToString::to_string),
        }
    }
}

fn verdict(said: &Said) -> Value {
    json!({
        "verdict": said.action.to_string(),
        "by": said.by,
        "rule": said.rule,
        "line": said.line,
    })
}

fn step(step: &Step) -> Value {
    let what = match step.edit {
        Edit::Add(_) => "addName",
        Edit::Remove(_) => "removeName",
        Edit::Insert(_) => "insertBefore",
    };
    json!({
        "edit": what,
        "name": step.name,
        "rule": step.rule,
        "line": step.line,
        "text": step.to_text(),
    })
}
