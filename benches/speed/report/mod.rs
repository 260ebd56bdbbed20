//! What was measured: as a table, as JSON, and as a chart of that JSON. Pure.

pub mod chart;
pub mod table;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One run of everything.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Report {
    /// What was measured on what: a line each.
    pub about: Vec<String>,
    pub tables: Vec<Table>,
}

/// Rows of one kind, measured in turn.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Table {
    pub title: String,
    /// Of all its numbers: "ms", "us", "ns", or what is counted.
    pub unit: String,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Row {
    pub name: String,
    /// The row of this table that it is held against.
    pub base: Option<usize>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every one, in the order of measuring. What is counted has one.
    Samples(Vec<f64>),
    /// Why there are none.
    Skipped(String),
}

/// What the samples of a row come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub median: f64,
    /// The first and the third quartile: half of the samples are between them.
    pub middle: (f64, f64),
    pub runs: usize,
}

impl Row {
    /// `None` where it was skipped.
    pub fn summary(&self) -> Option<Summary> {
        let Outcome::Samples(samples) = &self.outcome else {
            return None;
        };
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        Some(Summary {
            median: quantile(&sorted, 0.5)?,
            middle: (quantile(&sorted, 0.25)?, quantile(&sorted, 0.75)?),
            runs: sorted.len(),
        })
    }
}

impl Table {
    /// The median of the row that this one is held against.
    pub fn base(&self, row: &Row) -> Option<f64> {
        Some(self.rows.get(row.base?)?.summary()?.median)
    }
}

/// Between the two samples that are nearest, in proportion.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let at = part * (sorted.len().checked_sub(1)?) as f64;
    let below = sorted[at.floor() as usize];
    let above = sorted[at.ceil() as usize];
    Some(below + (above - below) * at.fract())
}

impl Report {
    /// All samples, and beside them what the table says of them.
    pub fn json(&self) -> Value {
        let table = |table: &Table| {
            let rows: Vec<Value> = table.rows.iter().map(|row| row_json(table, row)).collect();
            json!({ "title": table.title, "unit": table.unit, "rows": rows })
        };
        let tables: Vec<Value> = self.tables.iter().map(table).collect();
        json!({ "about": self.about, "tables": tables })
    }
}

fn row_json(table: &Table, row: &Row) -> Value {
    let mut out = json!({ "name": row.name, "base": row.base });
    match &row.outcome {
        Outcome::Samples(samples) => out["samples"] = json!(samples),
        Outcome::Skipped(why) => out["skipped"] = json!(why),
    }
    if let Some(summary) = row.summary() {
        out["median"] = json!(summary.median);
        out["middleHalf"] = json!([summary.middle.0, summary.middle.1]);
        if let Some(base) = table.base(row) {
            out["ratio"] = json!(summary.median / base);
            out["added"] = json!(summary.median - base);
        }
    }
    out
}
