//! Which filters a hook loads.
#![forbid(unsafe_code)]

use anyhow::{Context, bail};
use log::{Level, debug, log_enabled, warn};
use oci_seccomp::arm::Layer;
use oci_seccomp::bpf::Program;
use oci_seccomp::bundle::{Config, Process, State};
use oci_seccomp::cache::Cache;
use oci_seccomp::listener::Handover;
use oci_seccomp::loadable::{Loadable, Source};
use oci_seccomp::policy::{Flags, Listener};
use oci_seccomp::profile_dir;

use crate::cli::HookArgs;
use crate::commands::source::{self, PROFILE_LIMIT};

/// One filter to load.
pub enum Wanted {
    /// That of a profile.
    Profile(Box<Loadable>),
    /// A ready program from this file.
    Ready(String, Program, Flags),
}

impl Wanted {
    /// Makes a profile's, or takes it from the cache.
    pub fn new(source: Source, cache: Option<&Cache>) -> anyhow::Result<Self> {
        let wanted = Self::Profile(Box::new(Loadable::new(source, cache)?));
        wanted.log_findings();
        Ok(wanted)
    }

    /// As the tracer takes it.
    pub fn layer<'a>(&'a self, listener: Option<&'a Handover>) -> Layer<'a> {
        match self {
            Self::Profile(loadable) => Layer {
                name: loadable.origin(),
                program: &loadable.program,
                flags: loadable.flags,
                policy: Some(&**loadable),
                listener,
            },
            Self::Ready(origin, program, flags) => Layer {
                name: origin,
                program,
                flags: *flags,
                policy: None,
                listener,
            },
        }
    }

    /// The agent that NOTIFY rules ask.
    pub fn listener(&self) -> Option<&Listener> {
        match self {
            Self::Profile(loadable) => loadable.listener.as_ref(),
            Self::Ready(..) => None,
        }
    }

    /// Logs what was found on the way, if somebody listens.
    fn log_findings(&self) {
        let filter = match self {
            Self::Profile(loadable) if log_enabled!(Level::Debug) => loadable.filter(),
            _ => None,
        };
        for (filter, finding) in filter
            .iter()
            .flat_map(|f| f.findings().iter().map(move |n| (f, n)))
        {
            let site = finding.rule.map(|rule| filter.profile().site(rule));
            let site = site.map_or_else(String::new, |s| s + ": ");
            debug!(
                "{}: {site}{}",
                filter.profile().origin,
                filter.describe(finding)
            );
        }
    }
}

/// The filters that the command line, the bundle and the container ask for,
/// in the order in which they are loaded. The container can only add to them.
pub fn wanted(
    args: &HookArgs,
    state: &State,
    config: Option<&Config>,
    cache: Option<&Cache>,
) -> anyhow::Result<Vec<Wanted>> {
    let process = config.and_then(|c| c.process.as_ref());
    let first = first(args, state, config, process, cache)?;
    let named = named(args, state, config, process, cache)?;
    Ok(first.into_iter().chain(named).collect())
}

/// The one from the command line, or the bundle's own.
fn first(
    args: &HookArgs,
    state: &State,
    config: Option<&Config>,
    process: Option<&Process>,
    cache: Option<&Cache>,
) -> anyhow::Result<Option<Wanted>> {
    match (&args.profile, &args.bpf, config) {
        (Some(path), _, _) => {
            let source = source::from_regular_file(path, process, &args.translate)?;
            Wanted::new(source, cache).map(Some)
        }
        (None, Some(path), _) => {
            let program = source::program(path)?;
            // As for a profile that names none.
            let mut flags = Flags::default();
            flags.spec_allow = true;
            let origin = path.display().to_string();
            Ok(Some(Wanted::Ready(origin, program, flags)))
        }
        (None, None, Some(config)) => {
            let source = source::from_config(config, &args.translate)?;
            source.map(|s| Wanted::new(s, cache)).transpose()
        }
        (None, None, None) => bail!(
            "there is no bundle in sight at {}, as is so at startContainer: give --profile or \
             --bpf, a file inside the container, or use createRuntime",
            state.bundle.display()
        ),
    }
}

/// The one that the container asks for by an annotation.
fn named(
    args: &HookArgs,
    state: &State,
    config: Option<&Config>,
    process: Option<&Process>,
    cache: Option<&Cache>,
) -> anyhow::Result<Option<Wanted>> {
    let key = profile_dir::ANNOTATION;
    let in_config = || config.and_then(|c| c.annotations.get(key));
    let Some(name) = state.annotations.get(key).or_else(in_config) else {
        return Ok(None);
    };
    let Some(dir) = &args.profile_dir else {
        warn!("the annotation {key} is ignored: this hook has no --profile-dir");
        return Ok(None);
    };
    let asked = || format!("the annotation {key} asks for a profile");
    let (path, text) = profile_dir::read(dir, name, PROFILE_LIMIT).with_context(asked)?;
    let source = source::from_text(&path, text, process, &args.translate).with_context(asked)?;
    Wanted::new(source, cache).map(Some).with_context(asked)
}
