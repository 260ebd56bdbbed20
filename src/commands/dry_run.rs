//! `oci-seccomp dry-run`: says what a profile means.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use oci_seccomp::filter::Filter;
use oci_seccomp::plan::Plan;
use oci_seccomp::report::{Context, Report, stages};

use super::{Failure, print_report, source};
use crate::cli::DryRunArgs;

/// Prints the report.
///
/// # Errors
/// [`Failure`]: 1 for a profile that would be refused, 2 for a source that
/// cannot be read.
pub fn run(args: &DryRunArgs) -> Result<ExitCode, Failure> {
    let (origin, text) = source::text(&args.source)?;
    report(args, &origin, &text).map_err(Failure::with_status(1))?;
    Ok(ExitCode::SUCCESS)
}

fn report(args: &DryRunArgs, origin: &str, text: &str) -> anyhow::Result<()> {
    // A profile by itself has no process: when it is loaded depends on the
    // bundle then.
    let config = source::config(origin, text);
    let process = config.as_ref().and_then(|c| c.process.as_ref());
    let target = source::target(process)?;
    let filter = Filter::parse(origin, text, &target, source::options(&args.translate))?;
    let plan = process.map(|p| Plan::for_process(Some(p)));
    let context = Context {
        plan: plan.as_ref(),
        stages: stages(config.as_ref().is_some_and(|c| c.has_uid_mappings)),
        uid: process.map(|p| p.uid),
        oci_version: config.as_ref().and_then(|c| c.oci_version.as_deref()),
        target: Some(&target),
        on_existing: None,
    };
    let (report, _) = Report::new(&filter, &context);
    print_report(&report, args.format, args.verbose)
}
