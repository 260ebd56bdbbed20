//! `oci-seccomp exec`: a second process in a running container.
#![forbid(unsafe_code)]

mod declared;
mod described;
mod streams;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use log::{debug, warn};
use nix::unistd::Pid;
use oci_seccomp::arm::Layer;
use oci_seccomp::bpf::Program;
use oci_seccomp::bundle::Config;
use oci_seccomp::command::OURS;
use oci_seccomp::inspect::{self, Pending, Unreadable};
use oci_seccomp::join::{self, Joined, Request, gaps};
use oci_seccomp::listener::Handover;
use oci_seccomp::policy::Flags;
use oci_seccomp::relay::{Signals, match_window, relay};
use oci_seccomp::runtime::{self, Container, Engine, Lookup};
use oci_seccomp::sealed::{self, Sealed};

use self::declared::declared;
use self::described::described;
use self::streams::Streams;
use super::hook::wanted::Wanted;
use super::{Failure, source};
use crate::cli::ExecArgs;

/// How long init may take to stop for its filters to be read.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same, while the engine has yet to say that the container runs.
const GUESSED_PATIENCE: Duration = Duration::from_millis(100);

/// Runs the command; the status is its own.
///
/// # Errors
/// [`Failure`]: nothing was started, or the one that was is gone.
pub fn run(args: ExecArgs) -> Result<ExitCode, Failure> {
    let ours = || Failure::with_status(OURS);
    let (id, argv) = words(&args).map_err(ours())?;
    let (sought, sealed) = seek(&args, id.as_deref()).map_err(ours())?;
    let direct = args.tty || args.detach;
    let streams = Streams::new(direct).map_err(ours())?;
    let start = |container: &Container, guessed| {
        let joined = start(&args, &argv, container, &streams, guessed);
        joined.map_err(|failure| Failure {
            error: failure.error.context(about(container)),
            ..failure
        })
    };
    let (container, joined) = match sought {
        Sought::Given(container) => {
            let joined = start(&container, false)?;
            (*container, joined)
        }
        Sought::Asked(lookup) => find(lookup, start)?,
    };
    let about = about(&container);
    if joined.filters() == 0 && inspect::own_count().is_ok_and(|own| own == 0) {
        warn!("{about}: no seccomp section, and no filter on its init: nor has this process");
    }
    let status = attend(&args, joined, streams, sealed);
    let status = status.context(about).map_err(ours())?;
    Ok(ExitCode::from(status))
}

/// The container's id, if one is named, and the command.
fn words(args: &ExecArgs) -> anyhow::Result<(Option<String>, Vec<String>)> {
    let words = args.words.iter().map(|word| {
        let word = word.to_str().map(str::to_owned);
        word.context("an argument is not UTF-8, which config.json could not hold either")
    });
    let mut words: Vec<String> = words.collect::<anyhow::Result<_>>()?;
    if args.pid.is_some() {
        return Ok((None, words));
    }
    ensure!(!words.is_empty(), "name a container, or --pid and --bundle");
    let id = words.remove(0);
    if words.first().is_some_and(|word| word == "--") {
        words.remove(0);
    }
    Ok((Some(id), words))
}

/// What was named on the command line.
enum Sought {
    /// A process, and a bundle.
    Given(Box<Container>),
    /// A container, for which the engines are asked.
    Asked(Lookup),
}

/// Begins to look for the container, and on the way seals this process: before
/// it goes near the container, nothing of the host's file can be reached
/// through it.
fn seek(args: &ExecArgs, id: Option<&str>) -> anyhow::Result<(Sought, Sealed)> {
    if let (Some(pid), Some(bundle)) = (args.pid, &args.bundle) {
        let sealed = sealed::ensure(|| Ok(String::new()))?;
        let container = runtime::by_pid(Pid::from_raw(pid), bundle)?;
        return Ok((Sought::Given(Box::new(container)), sealed));
    }
    let id = id.context("name a container, or --pid and --bundle")?;
    let engine = match &args.runtime {
        None => Engine::Any,
        Some(name) if name == Path::new("podman") => Engine::Podman,
        Some(name) => Engine::Oci(name.clone()),
    };
    let root = args.root.as_deref();
    // The engines answer while this process starts itself over.
    let mut lookup = Some(match sealed::left()? {
        Some(words) => Lookup::take_over(&words, &engine, root, id)?,
        None => Lookup::begin(&engine, root, id)?,
    });
    let sealed = sealed::ensure(|| match lookup.take() {
        Some(lookup) => lookup.hand_over(),
        None => Ok(String::new()),
    })?;
    // Only a process that is replaced takes it.
    let lookup = lookup.context("the look-up is lost")?;
    Ok((Sought::Asked(lookup), sealed))
}

/// What is not done for a container that was only guessed.
#[derive(Debug, thiserror::Error)]
#[error("this waits for the engine's answer")]
struct Premature;

/// Starts the command in the container that the engines name, which are still
/// at it: what was started in a wrong one ends before its first instruction.
fn find(
    lookup: Lookup,
    start: impl Fn(&Container, bool) -> Result<Joined, Failure>,
) -> Result<(Container, Joined), Failure> {
    let ours = || Failure::with_status(OURS);
    let known = |container: Container| {
        let joined = start(&container, false)?;
        Ok((container, joined))
    };
    let Some(guess) = lookup.guess() else {
        let found = lookup.finish();
        return known(found.map_err(anyhow::Error::from).map_err(ours())?);
    };
    let joined = start(&guess, true);
    let other = lookup.confirm(&guess);
    match other.map_err(anyhow::Error::from).map_err(ours())? {
        Some(other) => {
            debug!("{} is another one than was guessed", about(&other));
            drop(joined);
            known(other)
        }
        None => match joined {
            Ok(joined) => Ok((guess, joined)),
            Err(failure) if failure.error.is::<Premature>() => known(guess),
            Err(failure) => Err(failure),
        },
    }
}

/// For messages.
fn about(container: &Container) -> String {
    format!("container {}", container.state.id)
}

/// Starts the command, up to its first instruction.
///
/// # Errors
/// [`Failure`], in a `guessed` container of a [`Premature`].
fn start(
    args: &ExecArgs,
    argv: &[String],
    container: &Container,
    streams: &Streams,
    guessed: bool,
) -> Result<Joined, Failure> {
    // Init's filters are read meanwhile.
    let patience = if guessed { GUESSED_PATIENCE } else { PATIENCE };
    let pending = inspect::begin(&container.init, patience);
    let prepare = || -> anyhow::Result<_> {
        let config = config(container)?;
        let execution = described(args, argv.to_vec(), &config)?;
        let filters = declared(args, container, &config)?;
        // Nobody is told of a process that may not come to be.
        let tells = |filter: &Wanted| filter.listener().is_some();
        ensure!(!(guessed && filters.iter().any(tells)), Premature);
        let agents = agents(&filters, container)?;
        Ok((execution, filters, agents))
    };
    let (execution, filters, agents) = prepare().map_err(Failure::with_status(OURS))?;
    let mut layers: Vec<Layer<'_>> = Vec::new();
    for (filter, agent) in filters.iter().zip(&agents) {
        let layer = filter.layer(agent.as_ref());
        // The hook's and the runtime's may be the same.
        if !layers.iter().any(|l| l.program == layer.program) {
            layers.push(layer);
        }
    }
    // Init's filters are there by the time that the process is, which runs only
    // if it is no less confined. What is to be loaded has to be known before,
    // and no agent is told of a process that might be killed for it.
    let before = args.inherit_filters || agents.iter().any(Option::is_some);
    let beside = |pending, layers: &[Layer<'_>]| {
        let beside = beside(args, container, pending, layers, guessed);
        beside.map_err(Failure::with_status(OURS))
    };
    let (more, after) = match before {
        true => (beside(pending, &layers)?, None),
        false => (Vec::new(), Some(pending)),
    };
    let inherited = more.iter().map(|(name, program)| Layer {
        name,
        program,
        // How init's was loaded cannot be read. Without SPEC_ALLOW the kernel
        // is no less strict.
        flags: Flags::default(),
        policy: None,
        listener: None,
    });
    layers.extend(inherited);
    let request = Request {
        init: &container.init,
        execution: &execution,
        layers: &layers,
        terminal: args.tty,
        streams: streams.theirs(),
    };
    let joined = join::join(&request).map_err(|error| Failure {
        status: error.status(),
        error: error.into(),
    })?;
    if let Some(pending) = after {
        beside(pending, &layers)?;
    }
    Ok(joined)
}

/// The bundle's config; of a wrapped bundle, as it was before.
fn config(container: &Container) -> anyhow::Result<Config> {
    let bundle = &container.state.bundle;
    let original = bundle
        .join(oci_seccomp::wrap::DIRECTORY)
        .join(super::wrap::ORIGINAL);
    let wrapped = original
        .try_exists()
        .with_context(|| format!("cannot look for {}", original.display()))?;
    match wrapped {
        true => Ok(Config::read(&original)?),
        false => Ok(container.config.clone()),
    }
}

/// The agents that each filter's NOTIFY rules ask, connected.
fn agents(filters: &[Wanted], container: &Container) -> anyhow::Result<Vec<Option<Handover>>> {
    let several = filters.iter().filter_map(Wanted::listener).count() > 1;
    ensure!(
        !several,
        "two profiles have rules with SCMP_ACT_NOTIFY, and the kernel allows a process one \
         listener"
    );
    let state = &container.state;
    let init = state.pid.context("the container has no init")?;
    let connect = |filter: &Wanted| {
        let listener = filter.listener();
        let agent = listener.map(|to| Handover::connect(to, state, init, "running"));
        Ok(agent.transpose()?)
    };
    filters.iter().map(connect).collect()
}

/// Holds the filters against those that init has; those to be loaded as well
/// come back.
fn beside(
    args: &ExecArgs,
    container: &Container,
    pending: Result<Pending<'_>, Unreadable>,
    layers: &[Layer<'_>],
    guessed: bool,
) -> anyhow::Result<Vec<(String, Program)>> {
    let programs: Vec<Vec<u8>> = match pending.and_then(Pending::first) {
        Ok(stack) => stack.filters.into_iter().map(|f| f.bytes).collect(),
        // A container can keep its own init from being read, by tracing it for
        // one; what this process may not do, it cannot bring about.
        Err(Unreadable::Privilege(why)) if !args.inherit_filters => {
            check_count(container, layers.len(), why)?;
            return Ok(Vec::new());
        }
        // It may be paused, which the engine will say.
        Err(Unreadable::Time(_)) if guessed => bail!(Premature),
        Err(unreadable) => {
            return Err(unreadable).context(
                "cannot read the filters of the container's init, so the new process might be \
                 less confined",
            );
        }
    };
    let cache = source::cache(&args.cache);
    let mut gaps = gaps(&programs, layers, cache.as_ref());
    if !args.inherit_filters
        && let Some(gap) = gaps.next()
    {
        bail!(
            "{gap}: the new process would be less confined; give --profile, or --inherit-filters \
             to load it too (oci-seccomp inspect {} shows it)",
            container.state.id
        );
    }
    let inherit = |gap: join::Gap| {
        let name = format!("filter {} of the container's init", gap.index);
        let bytes = programs.get(gap.index).map_or(&[][..], Vec::as_slice);
        let program = Program::from_bytes(bytes).with_context(|| name.clone())?;
        ensure!(
            !program.may_notify(),
            "{name} has a listener, which the new process cannot share: give --profile"
        );
        Ok((name, program))
    };
    gaps.map(inherit).collect()
}

/// The new process will have at least as many filters as init: those of this
/// process, which it inherits, and the ones declared.
fn check_count(container: &Container, declared: usize, why: &str) -> anyhow::Result<()> {
    let told = "cannot tell how many filters the container's init has";
    let count = inspect::count_of(&container.init).context(told)?;
    let own = inspect::own_count().context("cannot tell how many filters this process has")?;
    debug!("init's filters are counted, not read: {why}");
    ensure!(
        count <= own + declared,
        "the container's init has {count} filters, which may not be read here ({why}), and the \
         new process would have {own} of this one's and {declared} declared: it would be less \
         confined; give --profile"
    );
    Ok(())
}

/// Lets the command run, and stands in front of it until its end.
fn attend(
    args: &ExecArgs,
    mut joined: Joined,
    streams: Streams,
    mut sealed: Sealed,
) -> anyhow::Result<u8> {
    let pid = joined.pid();
    if let Some(path) = &args.pid_file {
        write_pid(path, pid)?;
    }
    if args.detach {
        joined.release()?;
        return Ok(0);
    }
    // Until here a signal ends this process, and with it the command.
    let signals = Signals::catch().context("cannot catch signals")?;
    let terminal = joined.take_terminal();
    if let Some(master) = &terminal {
        match_window(master);
    }
    // Threads from here on: this process forks no more.
    let copying = streams.copy().context("cannot copy the standard streams")?;
    joined.release()?;
    sealed.unmount();
    let status = relay(pid, joined.pidfd(), signals, terminal);
    if status.is_err() {
        // Nobody would stand in front of it.
        joined.kill();
    }
    copying.finish()?;
    status.with_context(|| format!("cannot attend to process {pid}: it was killed"))
}

/// Writes a file that is there with the whole number or not at all.
fn write_pid(path: &Path, pid: Pid) -> anyhow::Result<()> {
    let failed = || format!("cannot write the pid file {}", path.display());
    let name = path.file_name().with_context(failed)?;
    let mut hidden = b".".to_vec();
    hidden.extend([name.as_bytes(), format!(".{pid}").as_bytes()].concat());
    let new = path.with_file_name(std::ffi::OsStr::from_bytes(&hidden));
    let write = || -> std::io::Result<()> {
        let mut file = File::create_new(&new)?;
        file.write_all(pid.to_string().as_bytes())?;
        fs::rename(&new, path)
    };
    write().map_err(|error| {
        // If it is there, it is ours.
        let _ = fs::remove_file(&new);
        anyhow!(error).context(failed())
    })
}
