//! The `oci-seccomp` command.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod logging;

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(status) => return status,
    };
    match commands::run(command) {
        Ok(status) => status,
        Err(failure) => {
            logging::report(&failure.error);
            ExitCode::from(failure.status)
        }
    }
}
