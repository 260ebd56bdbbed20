//! `oci-seccomp hook --stage precreate`: podman's own stage, at which a hook
//! may rewrite a container's config before any runtime sees it.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use log::info;
use oci_seccomp::bundle::{CONFIG_LIMIT, Config};
use oci_seccomp::input;
use oci_seccomp::precreate::{CrunProgram, rewrite};

use super::{print, source};
use crate::cli::HookArgs;

/// Reads a config, writes it again: its profile resolved to the OCI form and
/// checked, and with `--crun-bpf` with the program in it.
///
/// # Errors
/// A profile that is refused; podman then does not create the container.
/// Nothing is written in that case.
pub fn run(args: &HookArgs) -> anyhow::Result<()> {
    let name = Path::new("the container's config");
    let text = input::text(
        name,
        input::bounded(name, io::stdin().lock(), CONFIG_LIMIT)?,
    )?;
    let config = Config::parse(name, text.into())?;
    let source = source::from_config(&config, &args.translate)?;
    let Some(filter) = source.map(|s| s.filter()).transpose()? else {
        if args.require {
            bail!("the container has no linux.seccomp section, and --require asks for one");
        }
        info!("no seccomp section, nothing to do");
        return finish(args, config.text(), None, None);
    };
    let section = match filter.profile().is_extended {
        true => Some(serde_json::to_string(&filter.profile().section)?),
        false => None,
    };
    // A program alone does not say whom to ask: then crun compiles its own.
    let program = match &filter.policy().listener {
        Some(_) => None,
        None => Some(BASE64_STANDARD.encode(filter.program().to_bytes())),
    };
    info!(
        "profile checked: {} instructions, proven on {} calls",
        filter.program().instructions().len(),
        filter.proof().points
    );
    finish(args, config.text(), section, program.as_deref())
}

/// With `--crun-bpf`, what crun loads is ours, or nothing that another put
/// under its annotation.
fn finish(
    args: &HookArgs,
    config: &str,
    section: Option<String>,
    program: Option<&str>,
) -> anyhow::Result<()> {
    let program = match (args.crun_bpf, program) {
        (false, _) => CrunProgram::Leave,
        (true, None) => CrunProgram::Remove,
        (true, Some(program)) => CrunProgram::Set(program),
    };
    let config = rewrite(config, section, program).context("the config cannot be edited")?;
    print(&config)
}
