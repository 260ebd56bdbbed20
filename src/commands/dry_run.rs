//! `oci-seccomp dry-run`: says what a profile means.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Context;
use oci_seccomp::bundle::{Config, Process};
use oci_seccomp::filter::Filter;
use oci_seccomp::input;
use oci_seccomp::plan::Plan;
use oci_seccomp::report::Report;

use super::{Failure, print_report, source};
use crate::cli::DryRunArgs;

/// The source can be read, but not used.
const UNUSABLE: u8 = 1;
/// It cannot be read.
const UNREADABLE: u8 = 2;

/// Prints the report.
///
/// # Errors
/// [`Failure`]: 1 for a profile that would be refused, 2 for a source that
/// cannot be read.
pub fn run(args: &DryRunArgs) -> Result<ExitCode, Failure> {
    let is_bundle = args.source.is_dir();
    let path = match is_bundle {
        true => args.source.join("config.json"),
        false => args.source.clone(),
    };
    let text = input::read_limited(&path, oci_seccomp::bundle::CONFIG_LIMIT)
        .map_err(anyhow::Error::from)
        .map_err(Failure::with_status(UNREADABLE))?;
    report(args, &path.display().to_string(), text).map_err(Failure::with_status(UNUSABLE))?;
    Ok(ExitCode::SUCCESS)
}

fn report(args: &DryRunArgs, origin: &str, text: String) -> anyhow::Result<()> {
    // A profile by itself has no process: then it depends on the bundle.
    let process = process(origin, &text);
    let target = source::target(process.as_ref())?;
    let options = source::options(&args.translate);
    let filter = Filter::parse(origin, &text, &target, options)?;
    let plan = process.map(|p| Plan::for_process(Some(&p)));
    let report = Report::new(&filter, plan.as_ref());
    print_report(&report, args.format, args.verbose).context("cannot report")
}

/// The process of a whole `config.json`.
fn process(origin: &str, text: &str) -> Option<Process> {
    let config = Config::parse(origin.as_ref(), text.into()).ok()?;
    config.process
}
