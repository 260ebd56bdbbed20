//! `oci-seccomp hook`: arms a container's init.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use log::{Level, debug, info, log, warn};
use nix::unistd::{Pid, getppid};
use oci_seccomp::arm::{self, Report, Request};
use oci_seccomp::bundle::{Config, State};
use oci_seccomp::filter::Filter;
use oci_seccomp::plan::Plan;
use oci_seccomp::report::Report as DryRun;

use super::{print_report, source};
use crate::cli::{HookArgs, Stage};
use crate::logging;

/// Arms the init of the container whose state is on standard input.
pub fn run(args: &HookArgs) -> anyhow::Result<ExitCode> {
    if args.stage == Some(Stage::Precreate) {
        super::precreate::run(args)?;
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(!args.crun_bpf, "--crun-bpf goes with --stage precreate");
    let start = Instant::now();
    let state = State::read(io::stdin().lock())?;
    let id = &state.id;
    arm_container(args, &state, start).with_context(|| format!("container {id}"))?;
    Ok(ExitCode::SUCCESS)
}

fn arm_container(args: &HookArgs, state: &State, start: Instant) -> anyhow::Result<()> {
    ensure!(
        state.bundle.is_absolute(),
        "the state's bundle \"{}\" is no absolute path",
        state.bundle.display()
    );
    let config = Config::load(&state.bundle).with_context(|| match &state.pid {
        Some(pid) if pid.as_raw() > 1 => "cannot read the bundle",
        // At startContainer only the container's files are in sight.
        _ => "cannot read the bundle (this hook is for createRuntime and createContainer)",
    })?;
    let Some(filter) = filter(args, &config)? else {
        ensure!(
            !args.require,
            "{} has no linux.seccomp section, and --require asks for one",
            config.path().display()
        );
        info!("container {}: no seccomp section, nothing to do", state.id);
        return Ok(());
    };
    let plan = Plan::for_process(config.process.as_ref());
    if args.dry_run {
        return print_report(&DryRun::new(&filter, Some(&plan)), args.format, false);
    }
    if filter.translation.policy.listener.is_some() {
        bail!(
            "the profile has rules with SCMP_ACT_NOTIFY: the hook cannot hand a listener over, \
             leave this container's seccomp to the runtime"
        );
    }
    for finding in &filter.translation.findings {
        let site = finding.rule.map(|rule| filter.profile.site(rule));
        let site = site.map_or_else(String::new, |s| s + ": ");
        debug!(
            "{}: {site}{}",
            filter.profile.origin,
            filter.describe(finding)
        );
    }
    let (stage, init) = init(args.stage, state, &config)?;
    let what = format!(
        "container {}, {stage:?}: program {} ({} instructions of {}, ready after {} us)",
        state.id,
        filter.program.fingerprint(),
        filter.program.instructions().len(),
        filter.profile.origin,
        start.elapsed().as_micros()
    );
    let keep = logging::descriptors();
    let tell = |outcome: Result<&str, &str>| match outcome {
        Ok(line) => logging::record(Level::Info, &format_args!("{what}: {line}")),
        Err(line) => logging::record(Level::Error, &format_args!("{what}: {line}")),
    };
    arm::arm(&Request {
        init,
        program: &filter.program,
        flags: filter.translation.policy.flags,
        boundary: plan.boundary,
        report: Some(Report {
            keep: &keep,
            tell: &tell,
        }),
    })?;
    // One line for each container: the tracer's, where that can be kept.
    let level = match keep.as_slice() {
        [] => Level::Info,
        _ => Level::Debug,
    };
    log!(
        level,
        "{what}: init {init} seized, to be armed {}",
        plan.when()
    );
    Ok(())
}

/// The filter that the command line or the bundle asks for.
fn filter(args: &HookArgs, config: &Config) -> anyhow::Result<Option<Filter>> {
    match &args.profile {
        Some(path) => {
            source::from_regular_file(path, config.process.as_ref(), &args.translate).map(Some)
        }
        None => source::from_config(config, &args.translate),
    }
}

/// Which process is the container's init, and at which stage this is.
///
/// At createRuntime the state says it. Container-side the runtimes do not
/// agree (crun says 0, youki nothing, runc 1), but there init starts the hook
/// itself. A program in between, a shell say, would be taken for init, so it
/// has to be the first process of the container's pid namespace, or the one
/// that the state names.
fn init(stage: Option<Stage>, state: &State, config: &Config) -> anyhow::Result<(Stage, Pid)> {
    let parent = getppid();
    let inside = state
        .pid
        .is_none_or(|pid| pid.as_raw() == 1 || pid == parent);
    let stage = stage.unwrap_or(match inside {
        true => Stage::CreateContainer,
        false => Stage::CreateRuntime,
    });
    if stage != Stage::CreateContainer {
        let pid = state.pid.filter(|pid| pid.as_raw() != 1);
        let pid = pid.context(
            "the state names no process that can be the container's init: \
             is this hook at createContainer? (--stage createContainer)",
        )?;
        return Ok((stage, pid));
    }
    let own_namespace = config
        .namespaces
        .iter()
        .any(|n| n.kind == "pid" && n.path.is_none());
    let certain = match own_namespace {
        true => parent.as_raw() == 1,
        false => state.pid == Some(parent),
    };
    if !certain {
        warn!(
            "started by process {parent}, the state says {:?}",
            state.pid
        );
        bail!(
            "cannot tell which process is the container's init: at createContainer it has to \
             start this hook itself, with no program in between; use createRuntime"
        );
    }
    Ok((stage, parent))
}
