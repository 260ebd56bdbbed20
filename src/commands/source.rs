//! Where commands take a profile from, and what they read it for.
#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::Context;
use log::{Level, log_enabled};
use oci_seccomp::bpf::{MAX_INSTRUCTIONS, Program};
use oci_seccomp::bundle::{Config, Process};
use oci_seccomp::cache::Cache;
use oci_seccomp::filter::{self, Filter, OnAmbiguity};
use oci_seccomp::input;
use oci_seccomp::loadable::Source;
use oci_seccomp::profile::Target;

use super::Failure;
use crate::cli::{Ambiguous, CacheArgs, Enosys, TranslateArgs};

/// The longest profile that is read, in bytes: as for a `config.json`, of
/// which it may be a part.
pub const PROFILE_LIMIT: u64 = oci_seccomp::bundle::CONFIG_LIMIT;

/// The command line's choices, in the library's terms.
pub fn options(args: &TranslateArgs) -> filter::Options {
    let mut options = filter::Options::default();
    options.translate.strict = args.strict;
    options.translate.enosys = args.enosys == Enosys::Auto;
    options.ambiguity = match args.ambiguous {
        Ambiguous::Error => OnAmbiguity::Refuse,
        Ambiguous::First => OnAmbiguity::First,
    };
    options
}

/// This machine and this workload: what `includes` and `excludes` of docker's
/// form ask about. docker goes by the bounding set.
pub fn target(process: Option<&Process>) -> anyhow::Result<Target> {
    let mut target = Target::current().context("cannot read the kernel's release")?;
    if let Some(capabilities) = process.and_then(|p| p.capabilities.as_ref()) {
        let bounding = &capabilities.bounding.known;
        target.capabilities = bounding.iter().map(ToString::to_string).collect();
    }
    Ok(target)
}

/// The text of what a person names on a command line: a bundle's directory,
/// or a file of any form; `-` is standard input. With what to call it.
///
/// # Errors
/// [`Failure`] with 2: it cannot be read.
pub fn text(source: &Path) -> Result<(String, String), Failure> {
    let path = match source.is_dir() {
        true => source.join("config.json"),
        false => source.to_owned(),
    };
    let text = input::read_limited(&path, PROFILE_LIMIT)
        .map_err(anyhow::Error::from)
        .map_err(Failure::with_status(2))?;
    Ok((path.display().to_string(), text))
}

/// A whole `config.json`; other forms are none.
pub fn config(origin: &str, text: &str) -> Option<Config> {
    Config::parse(origin.as_ref(), text.into()).ok()
}

/// The process of a whole `config.json`; other forms have none.
pub fn process(origin: &str, text: &str) -> Option<Process> {
    config(origin, text)?.process
}

/// The filter of what a person names on a command line.
///
/// # Errors
/// [`Failure`]: 1 for a profile that is refused, 2 for what cannot be read.
pub fn read(source: &Path, args: &TranslateArgs) -> Result<Filter, Failure> {
    let (origin, text) = text(source)?;
    let process = process(&origin, &text);
    target(process.as_ref())
        .and_then(|target| Ok(Filter::parse(&origin, &text, &target, options(args))?))
        .map_err(Failure::with_status(1))
}

/// A profile with its program, or a ready program.
pub enum Either {
    /// A profile.
    Profile(Box<Filter>),
    /// struct sock_filter in the machine's byte order.
    Program(Program),
}

/// What a person names on a command line, also a ready program: no text has
/// a zero for its second byte, and no program anything else. With what to
/// call it.
///
/// # Errors
/// [`Failure`] with 2: without a filter there is no answer.
pub fn either(source: &Path, args: &TranslateArgs) -> Result<(String, Either), Failure> {
    let path = match source.is_dir() {
        true => source.join("config.json"),
        false => source.to_owned(),
    };
    let read = || -> anyhow::Result<(String, Either)> {
        let bytes = input::read_limited_bytes(&path, PROFILE_LIMIT)?;
        let origin = match source == "-" {
            true => "standard input".to_owned(),
            false => path.display().to_string(),
        };
        if let Ok(program) = Program::from_bytes(&bytes) {
            return Ok((origin, Either::Program(program)));
        }
        let text = input::text(origin.as_ref(), bytes)?;
        let target = target(process(&origin, &text).as_ref())?;
        let filter = Filter::parse(&origin, &text, &target, options(args))?;
        Ok((origin, Either::Profile(Box::new(filter))))
    };
    read().map_err(Failure::with_status(2))
}

/// A profile in any form. Only a regular file will do: nothing else is certain
/// not to keep a container's start waiting.
pub fn from_regular_file(
    path: &Path,
    process: Option<&Process>,
    args: &TranslateArgs,
) -> anyhow::Result<Source> {
    let text = input::read_regular(path, PROFILE_LIMIT)?;
    from_text(path, text, process, args)
}

/// A profile's text, in any form.
pub fn from_text(
    path: &Path,
    text: String,
    process: Option<&Process>,
    args: &TranslateArgs,
) -> anyhow::Result<Source> {
    let origin = path.display().to_string();
    let target = target(process)?;
    Ok(Source::whole(&origin, text.into(), target, options(args)))
}

/// A ready program.
pub fn program(path: &Path) -> anyhow::Result<Program> {
    let bytes = input::read_regular_bytes(path, MAX_INSTRUCTIONS as u64 * 8)?;
    Program::from_bytes(&bytes)
        .with_context(|| format!("{} is not a filter program", path.display()))
}

/// A bundle's own section; `None` where it has none.
pub fn from_config(config: &Config, args: &TranslateArgs) -> anyhow::Result<Option<Source>> {
    let target = target(config.process.as_ref())?;
    Ok(Source::section(config, target, options(args)))
}

/// The cache, if there is one that can be used, for a process on the host.
pub fn cache(args: &CacheArgs) -> Option<Cache> {
    // Whoever wants to read the findings has them found.
    if args.no_cache || log_enabled!(Level::Debug) {
        return None;
    }
    Cache::open(&Cache::path()?).ok()
}
