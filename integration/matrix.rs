//! Every runtime and engine × stage × user namespace × no_new_privs × user ×
//! filter of the runtime's own: a table of what is armed, and of the reasons
//! where a container is refused.
//!
//! ```text
//! matrix [--all] [--format text|json|markdown] [ENGINE…]
//! ```
//!
//! The engines are runc, crun, youki, podman (over runc and crun) and rootless.
//! Without names it is those that every test run has to pass: runc, crun and
//! podman; `--all` is all of them. The table goes to stdout, progress to
//! stderr, and JSON also to the file that `MATRIX_JSON` names. The status is 1
//! if a cell neither is armed nor says the reason that is known for it.
#![forbid(unsafe_code)]

mod cells;
mod support;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cells::table;
use cells::{Cell, Engine, Machines, Verdict};
use oci_seccomp::progress::Progress;

/// The cells that run at a time: most of a cell's time is waiting.
const WORKERS: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (engines, format) = match parse(&arguments) {
        Ok(request) => request,
        Err(message) => {
            eprintln!("matrix: {message}");
            return ExitCode::from(2);
        }
    };
    let engines: Vec<Engine> = engines.into_iter().filter(|e| e.is_ready()).collect();
    let cells: Vec<Cell> = engines.iter().flat_map(|e| Cell::all(*e)).collect();
    let verdicts = run(&cells, &engines);
    let results: Vec<_> = cells.into_iter().zip(verdicts).collect();
    let document = table::json(&results);
    if let Some(path) = std::env::var_os("MATRIX_JSON") {
        std::fs::write(&path, &document).expect("write of MATRIX_JSON");
    }
    match format {
        Format::Json => print!("{document}"),
        Format::Text => print!("{}", table::text(&results)),
        Format::Markdown => {
            print!("{}", table::markdown(&results));
            // The table has no room for it.
            for (cell, verdict) in &results {
                if let Verdict::Failed(reason) = verdict {
                    eprintln!("matrix: {}: {reason}", cell.row());
                }
            }
        }
    }
    let failed = results.iter().any(|(_, verdict)| verdict.is_failure());
    ExitCode::from(u8::from(failed))
}

/// How to answer.
enum Format {
    Text,
    Json,
    /// In short, as the README has it.
    Markdown,
}

/// The engines that are asked for, and how to answer.
fn parse(arguments: &[String]) -> Result<(Vec<Engine>, Format), String> {
    let mut engines = Vec::new();
    let mut format = Format::Text;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--all" => engines.extend(Engine::ALL),
            "--format" => {
                format = match arguments.next().map(String::as_str) {
                    Some("json") => Format::Json,
                    Some("text") => Format::Text,
                    Some("markdown") => Format::Markdown,
                    _ => return Err("--format takes text, json or markdown".into()),
                }
            }
            name => {
                let before = engines.len();
                engines.extend(Engine::ALL.into_iter().filter(|e| e.family() == name));
                if engines.len() == before {
                    return Err(format!("no engine \"{name}\""));
                }
            }
        }
    }
    if engines.is_empty() {
        let usual = |e: &Engine| ["runc", "crun", "podman"].contains(&e.family());
        engines.extend(Engine::ALL.into_iter().filter(usual));
    }
    Ok((engines, format))
}

/// Runs all cells, a few at a time, and tells how far it is.
fn run(cells: &[Cell], engines: &[Engine]) -> Vec<Verdict> {
    // A cell that fails says why in the table, not by a trace.
    std::panic::set_hook(Box::new(|_| {}));
    let machines = Machines::new(engines);
    let results = Mutex::new(vec![None; cells.len()]);
    let order = in_turns(cells);
    let next = AtomicUsize::new(0);
    let progress = Progress::stderr();
    progress.done(&format!("matrix: {} containers to run", cells.len()));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let cell = &cells[at];
                    let verdict = cells::run(cell, &machines);
                    let mut results = results.lock().expect("results");
                    results[at] = Some(verdict);
                    tell(&progress, cells, &results, cell, started.elapsed());
                }
            });
        }
    });
    drop(progress);
    drop(machines);
    let _ = std::panic::take_hook();
    let results = results.into_inner().expect("results");
    results.into_iter().map(|r| r.expect("a result")).collect()
}

/// The engines take turns: one podman runs one container at a time.
fn in_turns(cells: &[Cell]) -> Vec<usize> {
    let of_engine = |at: usize| {
        let same = |c: &&Cell| c.engine == cells[at].engine;
        cells[..at].iter().filter(same).count()
    };
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by_key(|&at| of_engine(at));
    order
}

type Results = [Option<Verdict>];

/// Which container was the last; where there is no terminal, a line for each
/// row of the table that is complete.
fn tell(progress: &Progress, cells: &[Cell], results: &Results, last: &Cell, took: Duration) {
    let done = results.iter().flatten().count();
    let (total, seconds) = (cells.len(), took.as_secs());
    let row = last.row();
    progress.at(&format!("[{done}/{total}] {seconds} s: {row}"));
    let mut of_row = cells.iter().zip(results).filter(|(c, _)| c.row() == row);
    if of_row.all(|(_, result)| result.is_some()) {
        progress.done(&format!("[{done}/{total}] after {seconds} s: {row} done"));
    }
}
