//! The matrix as a table, and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Cell, Verdict};

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

type Result = (Cell, (Verdict, Duration));

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
    let count = |of: fn(&Verdict) -> bool| results.iter().filter(|r| of(&r.1.0)).count();
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
        *text = match group.iter().find(of_column).map(|r| &r.1.0) {
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

/// An object for each cell.
pub fn json(results: &[Result]) -> Value {
    let cell = |(cell, (verdict, took)): &Result| {
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
            "reason": reason,
            "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
        })
    };
    json!({ "cells": results.iter().map(cell).collect::<Vec<_>>() })
}
