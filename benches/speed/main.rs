//! What a filter costs, in one table: the start of containers, one and many;
//! `exec`; making the program; each system call; and what can be counted.
//!
//! ```text
//! speed                 measure; the table goes to stdout, progress to stderr
//! speed --chart FILE    an SVG of what BENCH_JSON kept
//! ```
//!
//! `BENCH_RUNS` says how often each row is measured, and `BENCH_JSON` names a
//! file for all samples. Nothing here passes or fails.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

mod calls;
mod counts;
mod execs;
mod report;
mod rounds;
mod starts;
#[path = "../../integration/support/mod.rs"]
mod support;
mod translation;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use report::Report;
use rounds::Sample;
use support::container::PRIVATE_MOUNTS;
use support::{Outcome, Run, Runtime, binary};

const RUNTIMES: [Runtime; 2] = [Runtime::Runc, Runtime::Crun];
/// How often each row is measured, if `BENCH_RUNS` does not say.
const RUNS: usize = 21;
/// Says that this process has its mounts for itself.
const PRIVATE: &str = "OCI_SECCOMP_BENCH_PRIVATE";

fn main() -> ExitCode {
    // cargo adds --bench.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => match std::env::var("BENCH_RUNS").map(|runs| runs.parse()) {
            Err(_) => run(RUNS),
            Ok(Ok(runs)) if runs > 0 => run(runs),
            Ok(_) => return usage("BENCH_RUNS is not a number of runs"),
        },
        ["--chart", file] => match chart(file) {
            Ok(svg) => print!("{svg}"),
            Err(why) => return usage(&format!("{file}: {why}")),
        },
        _ => return usage("takes no arguments, or --chart FILE"),
    }
    ExitCode::SUCCESS
}

fn usage(message: &str) -> ExitCode {
    eprintln!("speed: {message}");
    ExitCode::from(2)
}

fn chart(file: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let report: Report = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    Ok(report::chart::svg(&report))
}

fn run(runs: usize) {
    let root = nix::unistd::geteuid().is_root();
    if root && std::env::var_os(PRIVATE).is_none() {
        unshare();
    }
    let mut about = machine(runs);
    let before = load();
    let mut tables = starts::one_at_a_time(runs);
    tables.extend(starts::at_once(runs));
    tables.extend(execs::tables(runs));
    tables.extend(calls::tables(runs));
    tables.extend(translation::tables(runs));
    tables.extend(counts::tables());
    about.push(format!("load {before} at the start, {} at the end", load()));
    let report = Report { about, tables };
    if let Some(path) = std::env::var_os("BENCH_JSON") {
        let text = format!("{:#}\n", report.json());
        std::fs::write(&path, text).expect("write of BENCH_JSON");
    }
    print!("{}", report::table::text(&report));
}

/// Becomes this program in a mount namespace of its own, so that nothing but
/// the runtime is between a sample's start and its end.
fn unshare() -> ! {
    let program = std::env::current_exe().expect("this program");
    let error = Command::new("unshare")
        .args(["--mount", "--propagation=private", "sh", "-c"])
        .args([PRIVATE_MOUNTS, "sh"])
        .arg(program)
        .env("SETUP", "")
        .env(PRIVATE, "1")
        .exec();
    panic!("cannot run unshare: {error}");
}

fn machine(runs: usize) -> Vec<String> {
    let first_line = |run: Run| {
        let outcome = run.run();
        outcome.stdout.lines().next().unwrap_or_default().to_owned()
    };
    let mut versions = vec![first_line(Run::new(binary()).arg("--version"))];
    let programs = RUNTIMES.into_iter().filter_map(Runtime::program);
    versions.extend(programs.map(|program| first_line(Run::new(program).arg("--version"))));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = first_line(Run::new("uname").args(["-srm"]));
    vec![
        versions.join(", "),
        format!("{kernel}, {processors} processors"),
        format!(
            "testdata/default.json, three architectures; hooks at createRuntime; {runs} rounds, \
             fewer of what takes long"
        ),
    ]
}

/// Of the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Why a runtime cannot be measured.
fn missing(runtime: Runtime) -> Option<String> {
    let name = runtime.name();
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".into());
    }
    match runtime.program() {
        Some(_) => None,
        None => Some(format!("{name} is not installed")),
    }
}

/// What the kernel still does for the last container, above all with its network
/// and cgroup, makes the next one's start slower or quicker. Without a pause a
/// row would depend on the one before it.
fn settle() {
    std::thread::sleep(Duration::from_millis(50));
}

/// How long it took, if it did what it was to do.
fn ms(outcome: &Outcome) -> Sample {
    match outcome.code() {
        Some(0) => Ok(milliseconds(outcome.took)),
        _ => Err(failure(outcome)),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// In one line.
fn failure(outcome: &Outcome) -> String {
    let mut lines = outcome.stderr.lines().filter(|line| !line.is_empty());
    let error = lines.clone().find(|line| line.contains("error"));
    let said = error.or_else(|| lines.next_back());
    match (said, outcome.code()) {
        (Some(said), _) => said.to_owned(),
        (None, Some(code)) => format!("{} ended with {code}", outcome.command),
        (None, None) => format!("{} did not end in time", outcome.command),
    }
}
