//! `oci-seccomp dry-run`
#![forbid(unsafe_code)]

use std::process::ExitCode;

use crate::cli::DryRunArgs;

/// Says what a profile means.
pub fn run(_args: DryRunArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build cannot explain a profile")
}
