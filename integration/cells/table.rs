//! The matrix as a table, and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Cell, Engine, Verdict};

/// no_new_privs, user, filter of the runtime's own.
pub const COLUMNS: [(bool, u32, bool); 8] = [
    (false, 0, false),
    (false, 0, true),
    (false, 1000, false),
    (false, 1000, true),
    (true, 0, false),
    (true, 0, true),
    (true, 1000, false),
    (true, 1000, true),
];

type Result = (Cell, Verdict);

/// A line for each engine, stage and kind of user namespace; the reasons
/// below it.
pub fn text(results: &[Result]) -> String {
    let mut rows: Vec<[String; 11]> = vec![
        header("no_new_privs", |(nnp, ..)| u8::from(nnp).to_string()),
        header("user", |(_, uid, _)| uid.to_string()),
        header("other filter", |(.., present)| yes(present).into()),
    ];
    let mut reasons = Vec::new();
    for group in results.chunk_by(|a, b| a.0.row() == b.0.row()) {
        rows.push(row(group, &mut reasons));
    }
    let widths: Vec<usize> = (0..11)
        .map(|column| rows.iter().map(|r| r[column].len()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        let _ = writeln!(out, "{}", line.trim_end());
    }
    for (number, reason) in reasons.iter().enumerate() {
        let _ = writeln!(out, "\n({}) {reason}", number + 1);
    }
    let count = |of: fn(&Verdict) -> bool| results.iter().filter(|r| of(&r.1)).count();
    let _ = writeln!(
        out,
        "\n{} cells: {} armed, {} refused for the reasons above, {} failed",
        results.len(),
        count(|v| matches!(v, Verdict::Armed)),
        count(|v| matches!(v, Verdict::Refused(_))),
        count(Verdict::is_failure)
    );
    out
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn header(name: &str, value: impl Fn((bool, u32, bool)) -> String) -> [String; 11] {
    let mut row: [String; 11] = Default::default();
    row[2] = name.into();
    for (cell, column) in row[3..].iter_mut().zip(COLUMNS) {
        *cell = value(column);
    }
    row
}

/// One line; a reason that was not met before gets the next number.
fn row(group: &[Result], reasons: &mut Vec<String>) -> [String; 11] {
    let mut row: [String; 11] = Default::default();
    let first = &group[0].0;
    row[0] = first.engine.name();
    row[1] = first.stage.into();
    row[2] = match first.user_namespace {
        true => "user namespace".into(),
        false => String::new(),
    };
    for (text, column) in row[3..].iter_mut().zip(COLUMNS) {
        let of_column = |r: &&Result| {
            let cell = &r.0;
            (cell.no_new_privs, cell.uid, cell.filter_present) == column
        };
        *text = match group.iter().find(of_column).map(|r| &r.1) {
            None => "-".into(),
            Some(Verdict::Armed) => "armed".into(),
            Some(Verdict::Refused(reason)) => format!("({})", number(reasons, reason)),
            Some(Verdict::Failed(reason)) => format!("FAIL({})", number(reasons, reason)),
        };
    }
    row
}

fn number(reasons: &mut Vec<String>, reason: &str) -> usize {
    let known = reasons.iter().position(|r| r == reason);
    known.unwrap_or_else(|| {
        reasons.push(reason.to_owned());
        reasons.len() - 1
    }) + 1
}

/// The table of the README: what is armed, in a word for both users and for
/// with and without another filter. Engines with the same answers share a row.
pub fn markdown(results: &[Result]) -> String {
    const SETTINGS: [(bool, bool); 4] =
        [(false, false), (false, true), (true, false), (true, true)];
    let mut stages: Vec<&str> = Vec::new();
    let mut engines = Vec::new();
    for (cell, _) in results {
        if !stages.contains(&cell.stage) {
            stages.push(cell.stage);
        }
        if !engines.contains(&cell.engine) {
            engines.push(cell.engine);
        }
    }
    let mut rows: Vec<(String, [&str; 4], Vec<String>)> = Vec::new();
    for stage in stages {
        for &engine in &engines {
            let words = SETTINGS.map(|setting| {
                let here = |(cell, _): &&Result| {
                    (cell.engine, cell.stage) == (engine, stage)
                        && (cell.user_namespace, cell.no_new_privs) == setting
                };
                word(&results.iter().filter(here).collect::<Vec<_>>())
            });
            if words == ["-"; 4] {
                continue;
            }
            match rows.iter_mut().find(|(s, w, _)| s == stage && *w == words) {
                Some((.., names)) => names.push(engine.name()),
                None => rows.push((stage.to_owned(), words, vec![engine.name()])),
            }
        }
    }
    let mut out =
        "| stage | under | `noNewPrivileges` false | true | user namespace, false | true |\n\
                   |---|---|---|---|---|---|\n"
            .to_owned();
    for (stage, words, names) in rows {
        let (names, words) = (names.join(", "), words.join(" | "));
        let _ = writeln!(out, "| {stage} | {names} | {words} |");
    }
    out
}

fn word(results: &[&Result]) -> &'static str {
    let armed = |of: fn(&Cell) -> bool| {
        let mut of = results.iter().filter(|r| of(&r.0)).peekable();
        of.peek().is_some() && of.all(|r| matches!(r.1, Verdict::Armed))
    };
    let refused = |r: &&Result| matches!(r.1, Verdict::Refused(_));
    match results {
        [] => "-",
        _ if results.iter().any(|r| r.1.is_failure()) => "FAIL",
        _ if armed(|_| true) => "armed",
        _ if results.iter().all(refused) => "refused",
        _ if armed(|cell| cell.uid == 0) => "root only",
        _ => "some",
    }
}

/// An object for each cell, on a line of its own.
pub fn json(results: &[Result]) -> String {
    let cell = |(cell, verdict): &Result| {
        let (result, reason) = match verdict {
            Verdict::Armed => ("armed", None),
            Verdict::Refused(reason) => ("refused", Some(reason)),
            Verdict::Failed(reason) => ("failed", Some(reason)),
        };
        json!({
            "engine": cell.engine.name(),
            "stage": cell.stage,
            "userNamespace": cell.user_namespace,
            "noNewPrivileges": cell.no_new_privs,
            "uid": cell.uid,
            "filterPresent": cell.filter_present,
            "result": result,
            "reason": reason
        })
        .to_string()
    };
    let cells: Vec<String> = results.iter().map(cell).collect();
    format!("{{\"cells\": [\n{}\n]}}\n", cells.join(",\n"))
}

/// The results that [`json`] has made text of; `None` where it has not.
pub fn parse(text: &str) -> Option<Vec<Result>> {
    let cell = |value: &Value| {
        let engine = value["engine"].as_str()?;
        let engine = Engine::ALL.into_iter().find(|e| e.name() == engine)?;
        let mut stages = engine.stages().iter();
        let cell = Cell {
            engine,
            stage: stages.find(|stage| value["stage"] == **stage)?,
            user_namespace: value["userNamespace"].as_bool()?,
            no_new_privs: value["noNewPrivileges"].as_bool()?,
            uid: value["uid"].as_u64()?.try_into().ok()?,
            filter_present: value["filterPresent"].as_bool()?,
        };
        let reason = || Some(value["reason"].as_str()?.to_owned());
        let verdict = match value["result"].as_str()? {
            "armed" => Verdict::Armed,
            "refused" => Verdict::Refused(reason()?),
            "failed" => Verdict::Failed(reason()?),
            _ => return None,
        };
        Some((cell, verdict))
    };
    let document: Value = serde_json::from_str(text).ok()?;
    document["cells"].as_array()?.iter().map(cell).collect()
}
