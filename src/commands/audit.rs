//! `oci-seccomp audit`: what the kernel's log says of calls that filters did
//! not simply allow.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufReader};
use std::process::ExitCode;

use anyhow::Context;
use oci_seccomp::audit::{Log, Report};

use super::{Failure, print, source, style};
use crate::cli::{AuditArgs, Format};

/// Reads, answers and prints.
///
/// # Errors
/// [`Failure`]: 1 for a profile that is refused, 2 for what cannot be read.
pub fn run(args: &AuditArgs) -> Result<ExitCode, Failure> {
    let profile = args
        .profile
        .as_deref()
        .map(|path| source::read(path, &args.translate))
        .transpose()?;
    let answer = || -> anyhow::Result<()> {
        let log = match args.file.as_deref() {
            Some(path) if path.as_os_str() != "-" => {
                let context = || format!("cannot read {}", path.display());
                let file = File::open(path).with_context(context)?;
                Log::read(BufReader::new(file)).with_context(context)?
            }
            _ => Log::read(io::stdin().lock()).context("cannot read standard input")?,
        };
        let options = source::options(&args.translate);
        let report = Report::new(log, profile.as_ref(), options);
        print(&match args.format {
            Format::Text => report.to_text(style()),
            Format::Json => report.to_json()?,
        })
    };
    answer().map_err(Failure::with_status(2))?;
    Ok(ExitCode::SUCCESS)
}
