//! `oci-seccomp resolve`: prints the OCI section a profile stands for.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::bail;
use oci_seccomp::policy::Arch;
use oci_seccomp::profile::{Profile, Target};

use super::{Failure, print, source};
use crate::cli::ResolveArgs;

/// Resolves and prints.
///
/// # Errors
/// [`Failure`]: 1 for a profile that is invalid, 2 for one that cannot be
/// read.
pub fn run(args: &ResolveArgs) -> Result<ExitCode, Failure> {
    let (origin, text) = source::text(&args.source)?;
    let process = source::process(&origin, &text);
    let target = source::target(process.as_ref())
        .and_then(|target| with_choices(target, args))
        .map_err(Failure::with_status(2))?;
    let section = Profile::parse(&origin, &text, &target)
        .map_err(anyhow::Error::from)
        .and_then(|profile| Ok(serde_json::to_string_pretty(&profile.section)?))
        .map_err(Failure::with_status(1))?;
    print(&(section + "\n")).map_err(Failure::with_status(2))?;
    Ok(ExitCode::SUCCESS)
}

/// What the command line says in place of this machine and this bundle.
fn with_choices(mut target: Target, args: &ResolveArgs) -> anyhow::Result<Target> {
    if let Some(names) = &args.caps {
        target.capabilities.clear();
        for name in names.iter().filter(|n| !n.is_empty()) {
            let name = name.to_ascii_uppercase();
            match name.as_str() {
                "ALL" => target
                    .capabilities
                    .extend(caps::all().iter().map(ToString::to_string)),
                name if name.starts_with("CAP_") => {
                    target.capabilities.insert(name.to_owned());
                }
                name => {
                    target.capabilities.insert(format!("CAP_{name}"));
                }
            }
        }
        let known = caps::all();
        if let Some(unknown) = target
            .capabilities
            .iter()
            .find(|c| known.iter().all(|k| k.to_string() != **c))
        {
            bail!("unknown capability {unknown}");
        }
    }
    if let Some(name) = &args.arch {
        match Arch::parse(name) {
            Some(arch) => target.arch = arch,
            None => bail!("unknown architecture {name:?}, such as x86_64 or aarch64"),
        }
    }
    if let Some(kernel) = &args.kernel {
        target.kernel = kernel.parse()?;
    }
    Ok(target)
}
