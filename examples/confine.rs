//! Executes a command under a profile:
//!
//!     cargo run --example confine -- PROFILE COMMAND [ARGUMENT…]
//!
//! The profile has to allow what the command calls, and before that what std does
//! to execute it: an execve for each folder of PATH, and calls for signals and
//! memory. `oci-seccomp init` makes only the execve.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use oci_seccomp::filter::{Filter, Options};
use oci_seccomp::load;
use oci_seccomp::profile::Target;

fn main() -> ExitCode {
    let Err(error) = run();
    eprint!("confine: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    ExitCode::from(125)
}

/// Comes back only with an error.
fn run() -> Result<Infallible, Box<dyn Error>> {
    let mut args = env::args_os().skip(1);
    let (Some(path), Some(command)) = (args.next(), args.next()) else {
        return Err("usage: confine PROFILE COMMAND [ARGUMENT…]".into());
    };
    let origin = path.to_string_lossy();
    let text = fs::read_to_string(&path).map_err(|e| format!("{origin}: {e}"))?;

    // Read, translated, compiled and proven; nothing is loaded yet.
    let filter = Filter::parse(&origin, &text, &Target::current()?, Options::default())?;
    for finding in filter.findings() {
        eprintln!("confine: {origin}: {}", filter.describe(finding));
    }

    load::set_no_new_privs()?;
    load::load(&filter)?;
    Err(Command::new(command).args(args).exec().into())
}
