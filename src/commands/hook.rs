//! `oci-seccomp hook`: arms a container's init.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use log::{debug, info, warn};
use nix::unistd::{Pid, getppid};
use oci_seccomp::arm::{self, Request};
use oci_seccomp::bundle::{Config, State};
use oci_seccomp::filter::Filter;
use oci_seccomp::listener::{self, Handover};
use oci_seccomp::plan::Plan;
use oci_seccomp::report::Report;

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
        return print_report(&Report::new(&filter, Some(&plan)), args.format, false);
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
    let report = args.log.as_deref().map(logging::open).transpose();
    let report: Option<File> = report.context("cannot log")?;
    let agent = agent(&filter, state, stage, init)?;
    arm::arm(&Request {
        init,
        program: &filter.program,
        flags: filter.translation.policy.flags,
        boundary: plan.boundary,
        listener: agent.as_ref(),
        report: report.as_ref().map(AsFd::as_fd),
    })?;
    info!(
        "container {}: init {init} armed at {stage:?}: {} instructions of {}, to be loaded {}, \
         after {} us",
        state.id,
        filter.program.instructions().len(),
        filter.profile.origin,
        plan.when(),
        start.elapsed().as_micros()
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

/// The agent that the profile's NOTIFY rules ask, connected.
fn agent(
    filter: &Filter,
    state: &State,
    stage: Stage,
    init: Pid,
) -> anyhow::Result<Option<Handover>> {
    let Some(listener) = &filter.translation.policy.listener else {
        return Ok(None);
    };
    let pid = match stage {
        // Here init has another number than the runtime knows it by.
        Stage::CreateContainer => listener::pid_outside(init)?,
        _ => init,
    };
    Ok(Some(Handover::connect(listener, state, pid)?))
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
