//! `oci-seccomp diff`: what changes from one filter to another.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::anyhow;
use oci_seccomp::diff::{Diff, Kind, Side};

use super::source::{self, Either};
use super::{Failure, print, style};
use crate::cli::{DiffArgs, Format};

/// Compares and prints. The status is 0 for a yes, 1 for a no, and 2 where it
/// cannot be told.
///
/// # Errors
/// [`Failure`] with 2: one of them cannot be used.
pub fn run(args: &DiffArgs) -> Result<ExitCode, Failure> {
    if [&args.first, &args.second]
        .iter()
        .all(|p| p.as_os_str() == "-")
    {
        let error = anyhow!("standard input can be one of the two only");
        return Err(Failure::with_status(2)(error));
    }
    let (first_name, first) = source::either(&args.first, &args.translate)?;
    let (second_name, second) = source::either(&args.second, &args.translate)?;
    let diff = Diff::new(side(&first_name, &first), side(&second_name, &second));
    let text = match args.format {
        Format::Text => Ok(diff.to_text(style(), args.verbose)),
        Format::Json => diff.to_json().map_err(anyhow::Error::from),
    };
    text.and_then(|text| print(&text))
        .map_err(Failure::with_status(2))?;
    let answer = match args.subset {
        true => diff.is_subset(),
        false => diff.is_equal(),
    };
    Ok(ExitCode::from(match answer {
        Some(true) => 0,
        Some(false) => 1,
        None => 2,
    }))
}

/// What the library compares.
pub fn side<'a>(source: &'a str, what: &'a Either) -> Side<'a> {
    let kind = match what {
        Either::Profile(filter) => Kind::Profile(filter),
        Either::Program(program) => Kind::Programs(std::slice::from_ref(program)),
    };
    Side { source, kind }
}
