//! The report for people.

use super::{Report, Row, Table};

const HEADER: [&str; 5] = ["ratio", "added", "median", "middle half", "runs"];
/// Numbers of different magnitude are in one column.
const WIDTHS: [usize; 5] = [7, 10, 10, 19, 5];

/// Ratios first: they are what holds on another machine.
pub fn text(report: &Report) -> String {
    let names = report.tables.iter().flat_map(|table| {
        let title = table.title.len() + table.unit.len() + 2;
        let rows = table.rows.iter().map(|row| row.name.len() + 2);
        rows.chain([title])
    });
    let width = names.max().unwrap_or(0);
    let mut out: String = report
        .about
        .iter()
        .map(|line| line.clone() + "\n")
        .collect();
    for table in &report.tables {
        let title = format!("{}, {}", table.title, table.unit);
        out += &format!("\n{title:width$}{}\n", columns(&HEADER.map(str::to_owned)));
        for row in &table.rows {
            let cells = cells(table, row);
            let line = format!("  {:1$}{cells}", row.name, width - 2);
            out += line.trim_end();
            out.push('\n');
        }
    }
    out
}

fn columns(cells: &[String; 5]) -> String {
    let cells = cells.iter().zip(WIDTHS);
    cells
        .map(|(cell, width)| format!("{cell:>width$}"))
        .collect()
}

fn cells(table: &Table, row: &Row) -> String {
    if let super::Outcome::Skipped(why) = &row.outcome {
        return format!("  skipped: {why}");
    }
    let Some(summary) = row.summary() else {
        return "  skipped: nothing was measured".into();
    };
    let base = table.base(row);
    let (low, high) = summary.middle;
    let several = summary.runs > 1;
    columns(&[
        base.map_or(String::new(), |base| ratio(summary.median / base)),
        base.map_or(String::new(), |base| number(summary.median - base)),
        number(summary.median),
        match several {
            true => format!("{} - {}", number(low), number(high)),
            false => String::new(),
        },
        match several {
            true => summary.runs.to_string(),
            false => String::new(),
        },
    ])
}

/// As many digits as tell something.
pub fn ratio(ratio: f64) -> String {
    match ratio < 1.0 {
        true => format!("{ratio:.3}"),
        false => format!("{ratio:.2}"),
    }
}

/// About three digits of what is measured, all of what is counted.
pub fn number(number: f64) -> String {
    let whole = number.fract() == 0.0;
    match number.abs() {
        _ if whole => format!("{number:.0}"),
        x if x >= 1000.0 => format!("{number:.0}"),
        x if x >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}
