//! `oci-seccomp dry-run`: says what a profile means.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;
use oci_seccomp::filter::Filter;
use oci_seccomp::lint::Id;
use oci_seccomp::plan::Plan;
use oci_seccomp::report::{Context, Report, stages};
use oci_seccomp::style::Tone;

use super::{Failure, print, print_report, source, style};
use crate::cli::{DryRunArgs, FindingId};

/// Prints the report.
///
/// # Errors
/// [`Failure`]: 1 for a profile that would be refused or has a finding that
/// is denied, 2 for a source that cannot be read.
pub fn run(args: &DryRunArgs) -> Result<ExitCode, Failure> {
    let Some(source) = &args.source else {
        print(&list()).map_err(Failure::with_status(2))?;
        return Ok(ExitCode::SUCCESS);
    };
    let (origin, text) = source::text(source)?;
    report(args, &origin, &text)?;
    Ok(ExitCode::SUCCESS)
}

fn report(args: &DryRunArgs, origin: &str, text: &str) -> Result<(), Failure> {
    // A profile by itself has no process: when it is loaded depends on the
    // bundle then.
    let config = source::config(origin, text);
    let process = config.as_ref().and_then(|c| c.process.as_ref());
    let target = source::target(process).map_err(Failure::with_status(1))?;
    let filter = Filter::parse(origin, text, &target, source::options(&args.translate))
        .map_err(|error| Failure::with_status(1)(error.into()))?;
    let plan = process.map(|p| Plan::for_process(Some(p)));
    let silenced = chosen(&args.allow);
    let context = Context {
        plan: plan.as_ref(),
        stages: stages(config.as_ref().is_some_and(|c| c.has_uid_mappings)),
        uid: process.map(|p| p.uid),
        oci_version: config.as_ref().and_then(|c| c.oci_version.as_deref()),
        target: Some(&target),
        on_existing: None,
        silenced: &silenced,
    };
    let report = Report::new(&filter, &context);
    print_report(&report, args.format, args.verbose).map_err(Failure::with_status(2))?;
    refuse(&report, &chosen(&args.deny), Path::new(origin)).map_err(Failure::with_status(1))
}

/// Fails where the report has a finding that is denied.
fn refuse(report: &Report, denied: &[Id], origin: &Path) -> anyhow::Result<()> {
    let has = |id: &&Id| report.findings.iter().any(|f| f.id == id.name());
    let found: Vec<&str> = denied.iter().filter(has).map(|id| id.name()).collect();
    match found.as_slice() {
        [] => Ok(()),
        found => Err(anyhow!(
            "{} has findings that --deny names: {}",
            origin.display(),
            found.join(", ")
        )),
    }
}

fn chosen(ids: &[FindingId]) -> Vec<Id> {
    let all = Id::ALL.iter().copied();
    all.filter(|id| ids.iter().any(|choice| choice.includes(*id)))
        .collect()
}

/// Each finding with what it is.
fn list() -> String {
    let style = style();
    let mut out = String::new();
    for id in Id::ALL {
        let name = style.paint(Tone::Strong, id.name());
        let severity = style.paint(Tone::Faint, id.severity().name());
        out += &format!("{name}  {severity}\n    {}\n", id.what());
    }
    out
}
