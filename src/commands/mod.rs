//! One file per command.
#![forbid(unsafe_code)]

mod audit;
mod cache;
mod compile;
mod diff;
mod dry_run;
mod exec;
mod explain;
mod features;
mod folder;
mod hook;
mod init;
mod inspect;
mod precreate;
mod resolve;
mod source;
mod stage;
mod test;
mod wrap;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use log::LevelFilter;

use oci_seccomp::report::Report;
use oci_seccomp::style::Style;

use crate::cli::{Command, Format};
use crate::logging;

/// A failed command: why, and the exit status that says so.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// The cause, for people.
    pub error: anyhow::Error,
}

impl Failure {
    /// For use with `map_err`.
    fn with_status(status: u8) -> impl FnOnce(anyhow::Error) -> Self {
        move |error| Self { status, error }
    }
}

/// Carries out a request.
///
/// # Errors
/// [`Failure`], which is not printed yet.
pub fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Hook(args) => logging::start(LevelFilter::Info, args.log.as_deref(), args.syslog)
            .and_then(|()| hook::run(&args))
            .map_err(Failure::with_status(1)),
        Command::Init(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(125))?;
            match init::run(args)? {}
        }
        Command::Exec(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(125))?;
            exec::run(*args)
        }
        Command::Wrap(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(2))?;
            wrap::run(&args)
        }
        Command::DryRun(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(2))?;
            dry_run::run(&args)
        }
        Command::Explain(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(2))?;
            explain::run(&args)
        }
        Command::Compile(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(2))?;
            compile::run(&args)
        }
        Command::Resolve(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(2))?;
            resolve::run(&args)
        }
        Command::Test(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(2))?;
            test::run(&args)
        }
        Command::Cache(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(2))?;
            cache::run(&args)
        }
        Command::Diff(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(2))?;
            diff::run(&args)
        }
        Command::Inspect(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(2))?;
            inspect::run(&args)
        }
        Command::Audit(args) => {
            logging::start(LevelFilter::Warn, None, false).map_err(Failure::with_status(2))?;
            audit::run(&args)
        }
        Command::Features(args) => logging::start(LevelFilter::Warn, None, false)
            .and_then(|()| features::run(&args))
            .map_err(Failure::with_status(2)),
    }
}

/// Prints a command's answer. A reader that has seen enough, `head`, is no
/// error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(e).context("cannot write to standard output"))
        }
        _ => Ok(()),
    }
}

/// How to write for whoever reads standard output.
fn style() -> Style {
    let variable = |name| std::env::var_os(name);
    Style::choose(
        io::stdout().is_terminal(),
        variable("NO_COLOR").as_deref(),
        variable("TERM").as_deref(),
    )
}

/// Prints a report in the form asked for.
fn print_report(report: &Report, format: Format, verbose: bool) -> anyhow::Result<()> {
    match format {
        Format::Text => print(&report.to_text(style(), verbose)),
        Format::Json => print(&report.to_json()?),
    }
}
