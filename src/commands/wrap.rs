//! `oci-seccomp wrap`: has a bundle's workload start by the init shim.
#![forbid(unsafe_code)]

use std::fs::File;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail, ensure};
use log::warn;
use nix::sys::stat::{FileStat, Mode};
use oci_seccomp::bundle::{CONFIG_LIMIT, Config};
use oci_seccomp::filter::Filter;
use oci_seccomp::input;
use oci_seccomp::policy::{Action, Arch, Call, Reason};
use oci_seccomp::wrap::{self, DIRECTORY, IDENTITY, MOUNTED, PROGRAM, SHIM, Wrapped};

use super::folder::{Folder, Owner};
use super::{Failure, source};
use crate::cli::WrapArgs;

const CONFIG: &str = "config.json";
/// In the folder: the file as it was, the very same.
pub const ORIGINAL: &str = "original.json";
/// In the folder: what it was replaced by, to see whether it still is that.
const REPLACED: &str = "wrapped.json";

/// Wraps, or puts back.
///
/// # Errors
/// [`Failure`]: 1 for what is refused, 2 for what cannot be read or written.
/// The config is as it was then.
pub fn run(args: &WrapArgs) -> Result<ExitCode, Failure> {
    let bundle = Folder::open(&args.bundle).map_err(Failure::with_status(2))?;
    match args.undo {
        true => undo(&bundle, args.force)?,
        false => wrap_bundle(&bundle, args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn wrap_bundle(bundle: &Folder, args: &WrapArgs) -> Result<(), Failure> {
    let (text, stat) = read_config(bundle).map_err(Failure::with_status(2))?;
    let refused = || Failure::with_status(1);
    let path = bundle.path(CONFIG);
    if let Some(folder) = bundle.folder(DIRECTORY).map_err(refused())? {
        drop(folder);
        return Err(refused()(taken(bundle)));
    }
    let config = Config::parse(&path, text.as_str().into())
        .map_err(anyhow::Error::from)
        .map_err(refused())?;
    let filter = filter(args, &config)?;
    let wrapped = wrap::wrap(&config, filter.policy().flags, args.keep_section)
        .with_context(|| path.display().to_string())
        .map_err(refused())?;
    check_calls(&filter, wrapped.identity.is_some()).map_err(refused())?;

    let ours = bundle.make(DIRECTORY).map_err(Failure::with_status(2))?;
    let ours = ours.ok_or_else(|| refused()(taken(bundle)))?;
    if let Err(error) = install(bundle, &ours, (&text, &stat), &filter, &wrapped) {
        // What went wrong first is what counts.
        let _ = restore(bundle, &ours, false);
        return Err(Failure::with_status(2)(error));
    }
    if wrapped.identity.is_some() {
        warn!(
            "the runtime starts the shim as root with CAP_SYS_ADMIN, and so whatever it execs into \
             the container later, without a filter: use oci-seccomp exec"
        );
    }
    Ok(())
}

fn taken(bundle: &Folder) -> anyhow::Error {
    let folder = bundle.path(DIRECTORY);
    anyhow!(
        "{} exists: the bundle is wrapped already, undo that first",
        folder.display()
    )
}

fn read_config(bundle: &Folder) -> anyhow::Result<(String, FileStat)> {
    let path = bundle.path(CONFIG);
    let read = bundle.read(CONFIG, CONFIG_LIMIT)?;
    let (bytes, stat) = read.with_context(|| format!("there is no {}", path.display()))?;
    Ok((input::text(&path, bytes)?, stat))
}

/// The filter that the command line or the bundle asks for.
fn filter(args: &WrapArgs, config: &Config) -> Result<Filter, Failure> {
    let refused = || Failure::with_status(1);
    let filter = match &args.profile {
        Some(path) => {
            let (origin, text) = source::text(path)?;
            source::target(config.process.as_ref()).and_then(|target| {
                let options = source::options(&args.translate);
                Ok(Filter::parse(&origin, &text, &target, options)?)
            })
        }
        None => source::from_config(config, &args.translate).and_then(|source| {
            let path = config.path().display();
            let filter = source.map(|s| s.filter()).transpose()?;
            filter.with_context(|| format!("{path} has no linux.seccomp section: name a --profile"))
        }),
    };
    let filter = filter.map_err(refused())?;
    if filter.policy().listener.is_some() {
        return Err(refused()(anyhow!(
            "the profile has rules with SCMP_ACT_NOTIFY, and the shim has nobody to hand the \
             listener to: use the hook"
        )));
    }
    Ok(filter)
}

/// The calls that the shim makes under the filter. It looks again when it
/// knows their arguments.
fn check_calls(filter: &Filter, becomes: bool) -> anyhow::Result<()> {
    // Pointers, as they are on a stack.
    let args = [0x7fff_0000_1000; 6];
    let mut calls = vec![("execve", libc::SYS_execve)];
    if becomes {
        calls.push(("capset", libc::SYS_capset));
    }
    for (name, nr) in calls {
        let audit = Arch::native().audit();
        let nr = u32::try_from(nr)?;
        let verdict = filter.policy().verdict(&Call { audit, nr, args });
        if matches!(verdict.action, Action::Allow | Action::Log) {
            continue;
        }
        let by = match verdict.reason {
            Reason::Rule(rule) => filter.profile().site(rule),
            Reason::Default => "the default action".to_owned(),
            Reason::Newer => "the rule for calls newer than the profile".to_owned(),
            Reason::ForeignArch => "the architecture, which is not listed".to_owned(),
        };
        let origin = &filter.profile().origin;
        let action = verdict.action;
        bail!(
            "{origin}: {by} answers {name} with {action}, and the shim calls {name} once the \
             filter is loaded: allow it, or use the hook"
        );
    }
    Ok(())
}

/// Writes everything; the config's replacement is the last step.
fn install(
    bundle: &Folder,
    ours: &Folder,
    (text, stat): (&str, &FileStat),
    filter: &Filter,
    wrapped: &Wrapped,
) -> anyhow::Result<()> {
    let taken = || format!("{} is in use", ours.path(MOUNTED).display());
    let mounted = ours.make(MOUNTED)?.with_context(taken)?;
    let executable = Owner::us(Mode::from_bits_truncate(0o755));
    let readable = Owner::us(Mode::from_bits_truncate(0o644));
    // A copy: a workload that may mount could write to the host's own file.
    let program = File::open("/proc/self/exe").context("cannot open this program")?;
    mounted.create(SHIM, executable, program)?;
    mounted.create(PROGRAM, readable, &*filter.program().to_bytes())?;
    if let Some(identity) = &wrapped.identity {
        let text = serde_json::to_string_pretty(identity)? + "\n";
        mounted.create(IDENTITY, readable, text.as_bytes())?;
    }
    let owner = Owner::of(stat);
    ours.create(REPLACED, owner, wrapped.config.as_bytes())?;
    ours.create(CONFIG, owner, wrapped.config.as_bytes())?;
    bundle.link(CONFIG, ours, ORIGINAL)?;
    let linked = ours.read(ORIGINAL, CONFIG_LIMIT)?;
    ensure!(
        linked.is_some_and(|(bytes, _)| bytes == text.as_bytes()),
        "{} was changed meanwhile",
        bundle.path(CONFIG).display()
    );
    // The original must not be lost with a power cut after the next step.
    mounted.sync()?;
    ours.sync()?;
    ours.rename(CONFIG, bundle, CONFIG)
}

fn undo(bundle: &Folder, force: bool) -> Result<(), Failure> {
    let ours = bundle.folder(DIRECTORY).map_err(Failure::with_status(1))?;
    let ours = ours
        .with_context(|| {
            format!(
                "there is no {}: nothing to undo",
                bundle.path(DIRECTORY).display()
            )
        })
        .map_err(Failure::with_status(1))?;
    restore(bundle, &ours, force)
}

/// Puts the config back if it was replaced, and removes the rest.
fn restore(bundle: &Folder, ours: &Folder, force: bool) -> Result<(), Failure> {
    let failed = || Failure::with_status(2);
    let read = |folder: &Folder, name| {
        let read = folder.read(name, CONFIG_LIMIT);
        read.map(|file| file.map(|(bytes, _)| bytes))
            .map_err(failed())
    };
    let original = read(ours, ORIGINAL)?;
    let current = read(bundle, CONFIG)?;
    // Without an original, or with it in place, somebody was interrupted
    // before the replacement or after the restoration.
    if original.is_some() && original != current {
        if !force && current != read(ours, REPLACED)? {
            return Err(Failure::with_status(1)(anyhow!(
                "{} was changed since it was wrapped: to lose that, --force",
                bundle.path(CONFIG).display()
            )));
        }
        ours.rename(ORIGINAL, bundle, CONFIG).map_err(failed())?;
    }
    clean_up(bundle, ours).map_err(failed())
}

/// Removes what [`install`] made, and nothing else.
fn clean_up(bundle: &Folder, ours: &Folder) -> anyhow::Result<()> {
    if let Some(mounted) = ours.folder(MOUNTED)? {
        mounted.remove(&[SHIM, PROGRAM, IDENTITY])?;
    }
    ours.remove_folder(MOUNTED)?;
    ours.remove(&[CONFIG, REPLACED, ORIGINAL])?;
    bundle.remove_folder(DIRECTORY)
}
