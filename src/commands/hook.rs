//! `oci-seccomp hook`: arms a container's init.
#![forbid(unsafe_code)]

pub mod wanted;

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use caps::{CapSet, Capability};
use log::{Level, info, log};
use nix::unistd::Pid;
use oci_seccomp::arm::{self, Layer, Report, Request};
use oci_seccomp::bundle::{Config, State};
use oci_seccomp::listener::{self, Handover};
use oci_seccomp::plan::{Around, Plan};
use oci_seccomp::precreate;
use oci_seccomp::report::{Context as Known, Load, ReadyReport, Report as DryRun, SCHEMA, stages};
use oci_seccomp::sys::seccomp::no_new_privs;

use self::wanted::{Wanted, wanted};
use super::stage::Place;
use super::{print, print_report, source, style};
use crate::cli::{Format, HookArgs, OnExisting, Stage};
use crate::logging;

/// Arms the init of the container whose state is on standard input.
pub fn run(args: &HookArgs) -> anyhow::Result<ExitCode> {
    if args.stage == Some(Stage::Precreate) {
        ensure!(
            args.profile.is_none() && args.bpf.is_none() && args.profile_dir.is_none(),
            "--profile, --bpf and --profile-dir are for the stages that arm a container"
        );
        ensure!(
            !args.dry_run,
            "--dry-run is for the stages that arm a container: precreate loads nothing"
        );
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
    let place = Place::find(args.stage, state, args.dry_run)?;
    // At startContainer the folder of the cache is the image's.
    let cache = match place.stage {
        Stage::StartContainer => None,
        _ => source::cache(&args.cache),
    };
    let filters = wanted(args, state, place.config.as_ref(), cache.as_ref())?;
    if filters.is_empty() {
        ensure!(
            !args.require,
            "the bundle {} has no linux.seccomp section, and --require asks for one: give --profile",
            state.bundle.display()
        );
        info!("container {}: no seccomp section, nothing to do", state.id);
        return Ok(());
    }
    let on_existing = on_existing(args.on_existing);
    let plan = plan(&place, state, args)?;
    if args.dry_run {
        return filters
            .iter()
            .try_for_each(|f| print_one(f, &plan, &place, args));
    }
    check_is_executed(state, place.config.as_ref())?;
    let init = place.init(state)?;
    let agents = agents(&filters, state, place.stage, init)?;
    let layers = filters.iter().zip(&agents);
    let layers: Vec<Layer<'_>> = layers.map(|(f, agent)| f.layer(agent.as_ref())).collect();
    let what = format!(
        "container {}, {:?}: {}, ready after {} us",
        state.id,
        place.stage,
        describe(&layers),
        start.elapsed().as_micros()
    );
    let keep = logging::descriptors();
    let tell = |outcome: Result<&str, &str>| match outcome {
        Ok(line) => logging::record(Level::Info, &format_args!("{what}: {line}")),
        Err(line) => logging::record(Level::Error, &format_args!("{what}: {line}")),
    };
    arm::arm(&Request {
        init,
        layers: &layers,
        boundary: plan.boundary,
        on_existing,
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

/// Makes sure that no crun handler was asked for: those run the workload in
/// init itself (wasm) or in a virtual machine (krun), without the exec at
/// which it would get its filter.
fn check_is_executed(state: &State, config: Option<&Config>) -> anyhow::Result<()> {
    let in_config = config.into_iter().flat_map(|c| c.annotations.keys());
    let mut names = in_config.chain(state.annotations.keys());
    match names.find(|n| *n == "run.oci.handler" || n.starts_with("module.wasm.image/")) {
        Some(name) => bail!(
            "annotation {name}: the runtime may run this workload without executing it, and \
             there is nothing to load a filter at; leave this container's seccomp to the runtime"
        ),
        None => Ok(()),
    }
}

/// When to load: what the bundle says of the workload, or, where it is out of
/// sight, what this process has become along with it.
fn plan(place: &Place, state: &State, args: &HookArgs) -> anyhow::Result<Plan> {
    if let Some(config) = &place.config {
        let program = |of: &BTreeMap<String, String>| of.contains_key(precreate::CRUN_PROGRAM);
        let around = Around {
            // A dry run is started by anybody.
            executes: args.dry_run || arm::parent_executes(),
            inside: place.stage == Stage::CreateContainer,
            loads_a_program: program(&config.annotations) || program(&state.annotations),
            on_existing: on_existing(args.on_existing),
        };
        return Ok(Plan::for_hook(config, &around));
    }
    let no_new_privs = no_new_privs().context("cannot read no_new_privs")?;
    let sys_admin = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN)
        .context("cannot read the capabilities of this process")?;
    Plan::for_start_container(no_new_privs, sys_admin).context(
        "the workload has neither no_new_privs nor CAP_SYS_ADMIN, so at startContainer the kernel \
         takes no filter for it any more: use createRuntime",
    )
}

/// The agents that each filter's NOTIFY rules ask, connected.
fn agents(
    filters: &[Wanted],
    state: &State,
    stage: Stage,
    init: Pid,
) -> anyhow::Result<Vec<Option<Handover>>> {
    let agent = |filter: &Wanted| {
        let Some(listener) = filter.listener() else {
            return Ok(None);
        };
        let pid = match stage {
            // Here init has another number than the runtime knows it by.
            Stage::CreateContainer => listener::pid_outside(init)?,
            Stage::StartContainer => bail!(
                "the profile has rules with SCMP_ACT_NOTIFY, and at startContainer nobody knows \
                 the pid that their agent has to be told: use createRuntime"
            ),
            _ => init,
        };
        Ok(Some(Handover::connect(listener, state, pid, "creating")?))
    };
    let several = filters.iter().filter_map(Wanted::listener).count() > 1;
    ensure!(
        !several,
        "two profiles have rules with SCMP_ACT_NOTIFY, and the kernel allows a process one \
         listener"
    );
    filters.iter().map(agent).collect()
}

/// The command line's choice, in the library's terms.
const fn on_existing(choice: OnExisting) -> arm::OnExisting {
    match choice {
        OnExisting::Verify => arm::OnExisting::Verify,
        OnExisting::Stack => arm::OnExisting::Stack,
        OnExisting::Skip => arm::OnExisting::Skip,
    }
}

fn describe(layers: &[Layer<'_>]) -> String {
    let each = layers.iter().map(|layer| {
        let (hash, count) = (
            layer.program.fingerprint(),
            layer.program.instructions().len(),
        );
        format!("program {hash} ({count} instructions of {})", layer.name)
    });
    each.collect::<Vec<_>>().join(" and ")
}

/// Says what would be loaded of one filter.
fn print_one(filter: &Wanted, plan: &Plan, place: &Place, args: &HookArgs) -> anyhow::Result<()> {
    let config = place.config.as_ref();
    let process = config.and_then(|c| c.process.as_ref());
    let target = source::target(process)?;
    let context = Known {
        plan: Some(plan),
        stages: stages(config.is_some_and(|c| c.has_uid_mappings)),
        uid: process.map(|p| p.uid),
        oci_version: config.and_then(|c| c.oci_version.as_deref()),
        target: Some(&target),
        on_existing: Some(on_existing(args.on_existing).describe()),
        silenced: &[],
    };
    match filter {
        Wanted::Profile(loadable) => {
            let filter = loadable
                .filter()
                .context("the profile cannot be read again")?;
            let report = DryRun::new(filter, &context);
            print_report(&report, args.format, args.verbose)
        }
        Wanted::Ready(origin, program, _) => {
            let report = ReadyReport {
                schema: SCHEMA,
                source: origin.clone(),
                load: Load::new(plan, &context),
                instructions: program.instructions().len(),
            };
            match args.format {
                Format::Text => print(&report.to_text(style())),
                Format::Json => print(&report.to_json()?),
            }
        }
    }
}
