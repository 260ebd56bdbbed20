//! Where commands take a profile from, and what they read it for.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use oci_seccomp::bundle::{Config, Process};
use oci_seccomp::filter::{self, Filter, OnAmbiguity};
use oci_seccomp::input;
use oci_seccomp::policy::Arch;
use oci_seccomp::profile::{Profile, Target};
use oci_seccomp::translate;

use crate::cli::{Ambiguous, Enosys, TranslateArgs};

/// The longest profile that is read, in bytes: as for a `config.json`, of
/// which it may be a part.
const PROFILE_LIMIT: u64 = oci_seccomp::bundle::CONFIG_LIMIT;

/// The command line's choices, in the library's terms.
pub fn options(args: &TranslateArgs) -> filter::Options {
    filter::Options {
        translate: translate::Options {
            strict: args.strict,
            enosys: args.enosys == Enosys::Auto,
        },
        ambiguity: match args.ambiguous {
            Ambiguous::Error => OnAmbiguity::Refuse,
            Ambiguous::First => OnAmbiguity::First,
        },
    }
}

/// This machine and this workload: what `includes` and `excludes` of docker's
/// form ask about. docker goes by the bounding set.
pub fn target(process: Option<&Process>) -> anyhow::Result<Target> {
    let release = nix::sys::utsname::uname().context("cannot read the kernel's release")?;
    let release = release.release().to_string_lossy().into_owned();
    let capabilities = process.and_then(|p| p.capabilities.as_ref());
    Ok(Target {
        capabilities: capabilities.map_or_else(BTreeSet::new, |c| {
            c.bounding.known.iter().map(ToString::to_string).collect()
        }),
        arch: Arch::native(),
        kernel: release.parse()?,
    })
}

/// The filter of a profile in any form. Only a regular file will do: nothing
/// else is certain not to keep a container's start waiting.
pub fn from_regular_file(
    path: &Path,
    process: Option<&Process>,
    args: &TranslateArgs,
) -> anyhow::Result<Filter> {
    let text = input::read_regular(path, PROFILE_LIMIT)?;
    let origin = path.display().to_string();
    let target = target(process)?;
    Ok(Filter::parse(&origin, &text, &target, options(args))?)
}

/// The filter of a bundle's own section; `None` where it has none.
pub fn from_config(config: &Config, args: &TranslateArgs) -> anyhow::Result<Option<Filter>> {
    let Some(section) = config.seccomp() else {
        return Ok(None);
    };
    let origin = config.path().display().to_string();
    let target = target(config.process.as_ref())?;
    let profile = Profile::parse_section(&origin, config.text(), section, &target)?;
    Ok(Some(Filter::new(profile, options(args))?))
}
