//! `oci-seccomp hook`
#![forbid(unsafe_code)]

use std::process::ExitCode;

use crate::cli::HookArgs;

/// Arms the init of the container whose state is on standard input.
pub fn run(_args: HookArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build cannot arm a container")
}
