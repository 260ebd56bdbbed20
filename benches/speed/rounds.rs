//! A B C, C B A: everything once, and again, so that what else the machine does
//! falls on all alike, and no row always comes after the same one.

use std::time::Instant;

use oci_seccomp::progress::Progress;

use crate::report::{Outcome, Row, Table};

/// One number, or why there is none.
pub type Sample = Result<f64, String>;

/// What a row is measured by.
pub struct Subject<'a> {
    name: String,
    base: Option<usize>,
    sample: Box<dyn FnMut() -> Sample + 'a>,
}

impl<'a> Subject<'a> {
    pub fn new(
        name: impl Into<String>,
        base: Option<usize>,
        sample: impl FnMut() -> Sample + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            base,
            sample: Box::new(sample),
        }
    }
}

/// A table to be filled.
pub struct Plan<'a> {
    pub title: String,
    pub unit: &'static str,
    pub subjects: Vec<Subject<'a>>,
}

/// Measures these tables' rows in turn, so many times. Before that each is
/// run once: what is found in caches is found by all samples. A row that fails
/// is skipped from then on, and has the reason in place of its numbers.
pub fn measure(what: &str, runs: usize, mut plans: Vec<Plan<'_>>) -> Vec<Table> {
    let (progress, started) = (Progress::stderr(), Instant::now());
    let mut outcomes: Vec<Vec<Outcome>> = plans
        .iter()
        .map(|plan| vec![Outcome::Samples(Vec::new()); plan.subjects.len()])
        .collect();
    let rows = |(table, plan): (usize, &Plan<'_>)| {
        let rows = 0..plan.subjects.len();
        rows.map(move |row| (table, row))
    };
    let mut order: Vec<(usize, usize)> = plans.iter().enumerate().flat_map(rows).collect();
    for round in 0..=runs {
        let seconds = started.elapsed().as_secs();
        progress.at(&format!("{what}: round {round} of {runs}, {seconds} s"));
        for &(table, row) in &order {
            let outcome = &mut outcomes[table][row];
            let Outcome::Samples(samples) = outcome else {
                continue;
            };
            match (plans[table].subjects[row].sample)() {
                Ok(sample) if round > 0 => samples.push(sample),
                Ok(_) => {}
                Err(why) => *outcome = Outcome::Skipped(why),
            }
        }
        order.reverse();
    }
    let seconds = started.elapsed().as_secs();
    progress.done(&format!("{what}: done in {seconds} s"));
    plans.into_iter().zip(outcomes).map(filled).collect()
}

fn filled((plan, outcomes): (Plan<'_>, Vec<Outcome>)) -> Table {
    let rows = plan.subjects.into_iter().zip(outcomes);
    Table {
        title: plan.title,
        unit: plan.unit.into(),
        rows: rows
            .map(|(subject, outcome)| Row {
                name: subject.name,
                base: subject.base,
                outcome,
            })
            .collect(),
    }
}
