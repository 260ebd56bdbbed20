//! `oci-seccomp test`: unit tests for profiles.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use oci_seccomp::cases::{CaseFile, Outcome};
use oci_seccomp::filter::Filter;
use oci_seccomp::input;
use oci_seccomp::policy::Reason;
use oci_seccomp::profile::Profile;
use serde::Serialize;

use super::{Failure, print, source};
use crate::cli::{Format, TestArgs};

/// What came of all files.
#[derive(Default, Serialize)]
struct Totals {
    schema: u32,
    passed: usize,
    failed: usize,
    skipped: usize,
    failures: Vec<Failed>,
}

/// One case that failed.
#[derive(Serialize)]
struct Failed {
    file: String,
    case: usize,
    call: String,
    expected: String,
    message: String,
}

/// Runs the cases and prints what failed.
///
/// # Errors
/// [`Failure`] with 2 for a file that cannot be used. Its status is 1 where a
/// case failed.
pub fn run(args: &TestArgs) -> Result<ExitCode, Failure> {
    let mut totals = Totals {
        schema: 1,
        ..Totals::default()
    };
    for path in &args.files {
        file(path, args, &mut totals).map_err(Failure::with_status(2))?;
    }
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&totals).map_err(anyhow::Error::from),
        Format::Text => Ok(totals.to_text()),
    };
    text.and_then(|text| print(&(text + "\n")))
        .map_err(Failure::with_status(2))?;
    Ok(match totals.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

impl Totals {
    fn to_text(&self) -> String {
        let mut out = String::new();
        for f in &self.failures {
            out += &format!("{}: case {}: {}: {}\n", f.file, f.case, f.call, f.message);
        }
        out += &format!("{} passed, {} failed", self.passed, self.failed);
        if self.skipped > 0 {
            out += &format!(", {} skipped", self.skipped);
        }
        out
    }
}

fn file(path: &Path, args: &TestArgs, totals: &mut Totals) -> anyhow::Result<()> {
    let text = input::read_limited(path, source::PROFILE_LIMIT)?;
    cases(path, &text, args, totals).with_context(|| path.display().to_string())
}

fn cases(path: &Path, text: &str, args: &TestArgs, totals: &mut Totals) -> anyhow::Result<()> {
    let cases: CaseFile = serde_json::from_str(text)?;
    let filter = filter(path, text, &cases, args)?;
    for (index, case) in cases.cases.iter().enumerate() {
        let failure = match case.run(filter.translation(), filter.program()) {
            Ok(Outcome::Passed) => {
                totals.passed += 1;
                continue;
            }
            Ok(Outcome::Skipped(_)) => {
                totals.skipped += 1;
                continue;
            }
            Ok(Outcome::Failed(failure)) => failure,
            Err(e) => bail!("case {index}: {e}"),
        };
        totals.failed += 1;
        let by = match failure.meant.reason {
            Reason::Rule(rule) => filter.profile().site(rule),
            Reason::Default => "the default action".to_owned(),
            Reason::Newer => "the rule for calls newer than the profile".to_owned(),
            Reason::ForeignArch => "the architecture, which is not listed".to_owned(),
        };
        let mut message = format!(
            "expected {}, got {} by {by}",
            failure.expected, failure.meant.action
        );
        if failure.got != failure.meant.action {
            message += &format!("; the program says {}", failure.got);
        }
        totals.failures.push(Failed {
            file: path.display().to_string(),
            case: index,
            call: failure.describe_call(),
            expected: failure.expected.to_string(),
            message,
        });
    }
    Ok(())
}

/// The profile under test: in the file itself, or in another beside it.
fn filter(path: &Path, text: &str, cases: &CaseFile, args: &TestArgs) -> anyhow::Result<Filter> {
    let options = source::options(&args.translate);
    let target = source::target(None)?;
    match (cases.seccomp, &cases.profile) {
        (Some(section), None) => {
            let origin = path.display().to_string();
            let profile = Profile::parse_section(&origin, text, section.get(), &target)?;
            Ok(Filter::new(profile, options)?)
        }
        (None, Some(profile)) => {
            let profile = path.parent().unwrap_or(Path::new("")).join(profile);
            let text = input::read_limited(&profile, source::PROFILE_LIMIT)?;
            let origin = profile.display().to_string();
            Ok(Filter::parse(&origin, &text, &target, options)?)
        }
        _ => bail!("a file of cases has either a seccomp section or the path of a profile"),
    }
}
