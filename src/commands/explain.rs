//! `oci-seccomp explain`: says what becomes of a call.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use oci_seccomp::explain::{Explanation, Question};

use super::{Failure, print, source, style};
use crate::cli::{ExplainArgs, Format};

/// Answers one question.
///
/// # Errors
/// [`Failure`]: 1 for a profile that is refused, 2 for one that cannot be
/// read and for a question that makes no sense.
pub fn run(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let question = Question::parse(&args.syscall, &args.args, args.arch.as_deref())
        .map_err(anyhow::Error::from)
        .map_err(Failure::with_status(2))?;
    let filter = source::read(&args.source, &args.translate)?;
    let answer = Explanation::new(&filter, &question, args.trace);
    let text = match args.format {
        Format::Text => Ok(answer.to_text(style(), args.verbose)),
        Format::Json => answer.to_json().map_err(anyhow::Error::from),
    };
    text.and_then(|text| print(&text))
        .map_err(Failure::with_status(2))?;
    Ok(ExitCode::SUCCESS)
}
