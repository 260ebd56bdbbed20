//! `oci-seccomp inspect`: the filters that are really on a process.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use nix::errno::Errno;
use nix::unistd::Pid;
use oci_seccomp::explain::Question;
use oci_seccomp::inspect::{self, Asked, Container, Report, Strictness};
use oci_seccomp::runtime::{self, Engine};

use super::diff::side;
use super::{Failure, print, source, style};
use crate::cli::{Format, InspectArgs};

/// How long the process may take to stop: an instant, unless it waits for a
/// device.
const LIMIT: Duration = Duration::from_secs(5);

/// Reads and prints. The status is 0; with --against 1 if the filters are
/// weaker, 2 if that cannot be told.
///
/// # Errors
/// [`Failure`] with 2: there is no such process, or nothing can be said.
pub fn run(args: &InspectArgs) -> Result<ExitCode, Failure> {
    let declared = args
        .against
        .as_deref()
        .map(|path| source::either(path, &args.translate))
        .transpose()?;
    let inspect = || -> anyhow::Result<Report> {
        let asked = asked(args)?;
        let mut report = find(args)?;
        if report.unreadable.is_none() {
            if let Some(asked) = asked {
                report.ask(asked);
            }
            if let Some((name, what)) = &declared {
                report.hold_against(side(name, what));
            }
        }
        print(&match args.format {
            Format::Text => report.to_text(style(), args.verbose),
            Format::Json => report.to_json()?,
        })?;
        Ok(report)
    };
    let report = inspect().map_err(Failure::with_status(2))?;
    let unread = report.unreadable.is_some();
    let status = match report.strictness() {
        _ if declared.is_none() => match unread && !args.call.is_empty() {
            true => 2,
            false => 0,
        },
        Strictness::Weaker => 1,
        Strictness::Unknown => 2,
        _ => 0,
    };
    Ok(ExitCode::from(status))
}

/// What there is to say of what is meant. A number is a process's, unless a
/// runtime is named.
fn find(args: &InspectArgs) -> anyhow::Result<Report> {
    let number = args.target.parse::<i32>().ok();
    if let (Some(number), None, None) = (number, &args.runtime, &args.root) {
        let process = inspect::open(Pid::from_raw(number)).map_err(|errno| match errno {
            Errno::ESRCH => anyhow!("there is no process {number}"),
            errno => anyhow!(errno).context(format!(
                "{number} is not the number of a process (a thread's?)"
            )),
        })?;
        return Ok(inspect::report(&process, LIMIT)?);
    }
    let engine = match &args.runtime {
        None => Engine::Any,
        Some(name) if name.as_os_str() == "podman" => Engine::Podman,
        Some(name) => Engine::Oci(name.clone()),
    };
    let found = runtime::find(&engine, args.root.as_deref(), &args.target)?;
    let mut report = inspect::report(&found.init, LIMIT)?;
    report.container = Some(Container {
        id: found.state.id,
        bundle: found.state.bundle.display().to_string(),
        engine: found.engine,
    });
    Ok(report)
}

fn asked(args: &InspectArgs) -> anyhow::Result<Option<Asked>> {
    let Some((name, values)) = args.call.split_first() else {
        return Ok(None);
    };
    let question = Question::parse(name, values, args.arch.as_deref())?;
    Ok(Some(Asked {
        arch: question.arch,
        nr: question.nr,
        given: question.given,
    }))
}
