//! The filters that a container's processes are to have: what its config says
//! that the runtime and our hook load.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, anyhow};
use oci_seccomp::bundle::Config;
use oci_seccomp::runtime::Container;

use crate::cli::{ExecArgs, HookArgs, Stage, parse_hook};
use crate::commands::hook::wanted::{Wanted, wanted};
use crate::commands::source;

/// Finds them, in the order in which they are loaded.
///
/// # Errors
/// A profile is refused or cannot be read; a hook of ours is not understood.
pub fn declared(
    args: &ExecArgs,
    container: &Container,
    config: &Config,
) -> anyhow::Result<Vec<Wanted>> {
    let cache = source::cache(&args.cache);
    let cache = cache.as_ref();
    if let Some(path) = &args.profile {
        let process = config.process.as_ref();
        let source = source::from_regular_file(path, process, &args.translate)?;
        return Ok(vec![Wanted::new(source, cache)?]);
    }
    let own = source::from_config(config, &args.translate)?;
    let own = own.map(|source| Wanted::new(source, cache)).transpose()?;
    let mut filters: Vec<Wanted> = own.into_iter().collect();
    for hook in hooks(config)? {
        let armed = wanted(&hook, &container.state, Some(config), cache);
        filters.extend(armed.context("cannot get the filter that the config's hook has loaded")?);
    }
    Ok(filters)
}

/// The arguments of our hooks in the config.
fn hooks(config: &Config) -> anyhow::Result<Vec<HookArgs>> {
    let is_ours = |name: &Path| name.file_name() == Some(OsStr::new("oci-seccomp"));
    let mut found = Vec::new();
    for (stage, hook) in config.hooks()? {
        let named = hook.args.first().map(Path::new);
        if !is_ours(&hook.path) && !named.is_some_and(is_ours) {
            continue;
        }
        let parsed = parse_hook(&hook.args).map_err(|error| {
            // What follows the first line is for who sits at a terminal.
            let text = error.to_string();
            anyhow!(text.lines().next().unwrap_or_default().to_owned())
        });
        let args = parsed.with_context(|| format!("cannot understand the {} hook", stage.key()))?;
        found.extend(args.filter(|a| !a.dry_run && a.stage != Some(Stage::Precreate)));
    }
    Ok(found)
}
