//! A B C, C B A: everything once, and again, so that what else the machine does
//! falls on all alike, and no row always comes after the same one.

use std::io::{IsTerminal, Write};
use std::time::Instant;

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
    let progress = Progress::new(what);
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
        progress.tell(round, runs);
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
    progress.end();
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

/// One line that changes on a terminal; elsewhere one at the end.
struct Progress<'a> {
    what: &'a str,
    terminal: bool,
    started: Instant,
}

impl<'a> Progress<'a> {
    fn new(what: &'a str) -> Self {
        Self {
            what,
            terminal: std::io::stderr().is_terminal(),
            started: Instant::now(),
        }
    }

    fn tell(&self, round: usize, runs: usize) {
        if self.terminal {
            eprint!("\r\x1b[K{}: round {round} of {runs}", self.what);
            let _ = std::io::stderr().flush();
        }
    }

    fn end(&self) {
        let seconds = self.started.elapsed().as_secs();
        match self.terminal {
            true => eprint!("\r\x1b[K"),
            false => eprintln!("{}: done in {seconds} s", self.what),
        }
    }
}
