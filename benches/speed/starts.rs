//! Containers from `run` to their end, one at a time and many at once.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use crate::report::Table;
use crate::rounds::{Plan, Sample, Subject, measure};
use crate::support::{Container, Outcome, Runtime, Stage, testdata};
use crate::{RUNTIMES, milliseconds, missing, ms, settle};

/// Who loads the filter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seccomp {
    /// Nobody.
    Off,
    Own,
    /// The runtime, which has compiled it before but is made to forget it.
    OwnAnew,
    Hook,
    HookAnew,
    /// `init --profile`, which has no cache.
    Shim,
    /// `init --bpf`, as `wrap` puts it into the bundle.
    Wrap,
}

const ALL: [(Seccomp, &str); 7] = [
    (Seccomp::Off, "no seccomp"),
    (Seccomp::Own, "its own seccomp"),
    (Seccomp::OwnAnew, "its own seccomp, cache emptied"),
    (Seccomp::Hook, "our hook, from its cache"),
    (Seccomp::HookAnew, "our hook, --no-cache"),
    (Seccomp::Shim, "our shim, compiling inside"),
    (Seccomp::Wrap, "our shim, by wrap"),
];

impl Seccomp {
    /// All but the first row are held against it.
    fn base(self) -> Option<usize> {
        (self != Self::Off).then_some(0)
    }

    fn on(self, container: Container, profile: &Value) -> Container {
        match self {
            Self::Off => container,
            Self::Own | Self::OwnAnew => container.seccomp(profile),
            Self::Hook => container.profile_hook(Stage::CreateRuntime, profile),
            Self::HookAnew => {
                let path = container.file("profile.json", profile.to_string());
                let path = path.to_str().expect("path is UTF-8");
                container.hook(Stage::CreateRuntime, &["--profile", path, "--no-cache"])
            }
            // Without no_new_privs it takes CAP_SYS_ADMIN to load a filter.
            Self::Shim => container.shim(profile).patch(|config| {
                for set in ["bounding", "effective", "permitted"] {
                    let set = &mut config["process"]["capabilities"][set];
                    set.as_array_mut()
                        .expect("a set")
                        .push(json!("CAP_SYS_ADMIN"));
                }
            }),
            Self::Wrap => container.seccomp(profile).wrapped(&[]),
        }
    }
}

/// One container after the other.
pub fn one_at_a_time(runs: usize) -> Vec<Table> {
    let profile = testdata("default");
    let mut plans = Vec::new();
    for runtime in RUNTIMES {
        for no_new_privs in [true, false] {
            let subject = |(seccomp, name): &(Seccomp, &str)| match missing(runtime) {
                Some(why) => Subject::new(*name, seccomp.base(), move || Err(why.clone())),
                None => start(runtime, no_new_privs, *seccomp, name, &profile),
            };
            // runc keeps nothing, so its own is always compiled anew.
            let of_runtime = |(seccomp, _): &&(Seccomp, &str)| {
                *seccomp != Seccomp::OwnAnew || runtime == Runtime::Crun
            };
            plans.push(Plan {
                title: format!(
                    "a container of true under {}, noNewPrivileges {no_new_privs}",
                    runtime.name()
                ),
                unit: "ms",
                subjects: ALL.iter().filter(of_runtime).map(subject).collect(),
            });
        }
    }
    measure("containers one at a time", runs, plans)
}

fn start<'a>(
    runtime: Runtime,
    no_new_privs: bool,
    seccomp: Seccomp,
    name: &str,
    profile: &Value,
) -> Subject<'a> {
    let container = Container::new(runtime).no_new_privileges(no_new_privs);
    let container = seccomp.on(container, profile);
    container.write_config();
    let cache = own_cache(&container);
    let mut is_first = true;
    Subject::new(name, seccomp.base(), move || {
        if seccomp == Seccomp::OwnAnew && !std::mem::take(&mut is_first) {
            std::fs::remove_dir_all(&cache)
                .map_err(|_| format!("this {} keeps no cache", runtime.name()))?;
        }
        settle();
        ms(&container.run_directly())
    })
}

/// Where crun keeps the programs that it has compiled.
fn own_cache(container: &Container) -> PathBuf {
    container.state_root().join(".cache/seccomp")
}

/// How many containers are started at once, and one in how many rounds that is.
const LOTS: [(usize, usize); 3] = [(1, 1), (10, 3), (100, 7)];

/// Containers that are started together, or why there are none.
struct Lot {
    runtime: Runtime,
    name: &'static str,
    base: Option<usize>,
    containers: Result<Vec<Container>, String>,
}

/// Many at once, from the start of the first to the end of the last.
pub fn at_once(runs: usize) -> Vec<Table> {
    let profile = testdata("default");
    let most = LOTS.map(|(count, _)| count).into_iter().max().unwrap_or(0);
    // Each has the one root file system of its runtime.
    let owners = RUNTIMES.map(|runtime| match missing(runtime) {
        Some(why) => (runtime, Err(why)),
        None => (runtime, Ok(Container::new(runtime))),
    });
    let lot = |(runtime, owner): &(Runtime, Result<Container, String>), seccomp: Seccomp, name| {
        let make = |owner: &Container| {
            let container = Container::sharing(*runtime, &owner.rootfs());
            let container = seccomp.on(container.no_new_privileges(true), &profile);
            container.write_config();
            container
        };
        let all = owner
            .as_ref()
            .map(|owner| (0..most).map(|_| make(owner)).collect());
        Lot {
            runtime: *runtime,
            name,
            base: seccomp.base(),
            containers: all.map_err(String::clone),
        }
    };
    let kinds = [ALL[0], ALL[1], ALL[3]];
    let lots: Vec<Lot> = owners
        .iter()
        .flat_map(|owner| kinds.map(|(seccomp, name)| lot(owner, seccomp, name)))
        .collect();
    let of_count = |(count, part): (usize, usize)| {
        let by_runtime = lots.chunk_by(|a, b| a.runtime == b.runtime);
        let plans = by_runtime.map(|lots| plan(lots, count));
        let what = format!("containers, {count} at once");
        measure(&what, runs.div_ceil(part), plans.collect())
    };
    LOTS.into_iter().flat_map(of_count).collect()
}

fn plan(lots: &[Lot], count: usize) -> Plan<'_> {
    let subjects = lots
        .iter()
        .map(|lot| Subject::new(lot.name, lot.base, move || together(lot, count)));
    Plan {
        title: format!("{count} at once under {}", lots[0].runtime.name()),
        unit: "ms",
        subjects: subjects.collect(),
    }
}

fn together(lot: &Lot, count: usize) -> Sample {
    let containers = lot.containers.as_ref().map_err(String::clone)?;
    settle();
    let started = Instant::now();
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = containers[..count]
            .iter()
            .map(|container| scope.spawn(|| container.run_directly()))
            .collect();
        let ends = threads.into_iter().map(|t| t.join().expect("a container"));
        ends.collect()
    });
    let took = milliseconds(started.elapsed());
    outcomes.iter().try_for_each(|o| ms(o).map(drop))?;
    Ok(took)
}
