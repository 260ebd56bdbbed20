//! `oci-seccomp hook`: arms a container's init.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use log::{debug, info};
use nix::unistd::Pid;
use oci_seccomp::arm::{self, Request};
use oci_seccomp::bundle::{Config, State};
use oci_seccomp::filter::Filter;
use oci_seccomp::listener::{self, Handover};
use oci_seccomp::plan::Plan;
use oci_seccomp::report::Report;

use super::{print_report, source, stage};
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
    if !args.dry_run {
        stage::check_bundle_is_the_runtimes(state)?;
    }
    let config = Config::load(&state.bundle).context("cannot read the bundle")?;
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
    check_is_executed(&config)?;
    for finding in &filter.translation.findings {
        let site = finding.rule.map(|rule| filter.profile.site(rule));
        let site = site.map_or_else(String::new, |s| s + ": ");
        debug!(
            "{}: {site}{}",
            filter.profile.origin,
            filter.describe(finding)
        );
    }
    let (stage, init) = stage::init(args.stage, state, &config)?;
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

/// Makes sure that no crun handler was asked for: those run the workload in
/// init itself (wasm) or in a virtual machine (krun), without the exec at
/// which it would get its filter.
fn check_is_executed(config: &Config) -> anyhow::Result<()> {
    let mut names = config.annotations.keys();
    match names.find(|n| *n == "run.oci.handler" || n.starts_with("module.wasm.image/")) {
        Some(name) => bail!(
            "annotation {name}: the runtime may run this workload without executing it, and \
             there is nothing to load a filter at; leave this container's seccomp to the runtime"
        ),
        None => Ok(()),
    }
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
