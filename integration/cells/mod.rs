//! The cells of the matrix: one container each.
// What holds the README against the table uses only that.
#![allow(dead_code)]

pub mod table;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::support::container::MAPPED_ROOT;
use crate::support::{Container, Outcome, Podman, Runtime, Stage, binary};

/// The errno of our rule: EBADFD, which none of the calls below fails with.
const DENIED: i32 = 77;

const PROBE: &str = "status -- call mkdir @/tmp/a 0x1ed -- call rmdir @/none -- call close 99";

/// `youki run` may miss the end of a workload that ends at once, and then
/// waits for it for ever.
const AND_STAY: &str = " -- sleep 1";

/// What makes the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Alone(Runtime),
    Podman(Runtime),
    Rootless(Runtime),
}

impl Engine {
    pub const ALL: [Self; 7] = [
        Self::Alone(Runtime::Runc),
        Self::Alone(Runtime::Crun),
        Self::Alone(Runtime::Youki),
        Self::Podman(Runtime::Runc),
        Self::Podman(Runtime::Crun),
        Self::Rootless(Runtime::Runc),
        Self::Rootless(Runtime::Crun),
    ];

    /// What it is asked for by.
    pub fn family(self) -> &'static str {
        match self {
            Self::Alone(runtime) => runtime.name(),
            Self::Podman(_) => "podman",
            Self::Rootless(_) => "rootless",
        }
    }

    pub fn name(self) -> String {
        match self {
            Self::Alone(runtime) => runtime.name().into(),
            Self::Podman(runtime) => format!("podman+{}", runtime.name()),
            Self::Rootless(runtime) => format!("rootless podman+{}", runtime.name()),
        }
    }

    pub fn is_ready(self) -> bool {
        match self {
            Self::Alone(runtime) => runtime.is_ready(),
            Self::Podman(runtime) => Podman::is_ready(runtime, false),
            Self::Rootless(runtime) => Podman::is_ready(runtime, true),
        }
    }

    fn stages(self) -> &'static [&'static str] {
        match self {
            Self::Alone(_) => &[
                "prestart",
                "createRuntime",
                "createContainer",
                "startContainer",
            ],
            Self::Podman(_) => &["prestart", "createRuntime", "createContainer", "precreate"],
            Self::Rootless(_) => &["createRuntime", "createContainer", "precreate"],
        }
    }

    /// An ordinary user's containers are all in a namespace of that user's.
    fn user_namespaces(self) -> &'static [bool] {
        match self {
            Self::Rootless(_) => &[true],
            _ => &[false, true],
        }
    }
}

/// One container: how it is made and what it must be like.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub engine: Engine,
    pub stage: &'static str,
    pub user_namespace: bool,
    pub no_new_privs: bool,
    pub uid: u32,
    /// Whether the runtime loads a filter of its own too.
    pub filter_present: bool,
}

impl Cell {
    pub fn all(engine: Engine) -> Vec<Self> {
        let mut cells = Vec::new();
        for &stage in engine.stages() {
            for &user_namespace in engine.user_namespaces() {
                for (no_new_privs, uid, filter_present) in table::COLUMNS {
                    // At precreate it is the one filter there is.
                    if stage != "precreate" || filter_present {
                        cells.push(Self {
                            engine,
                            stage,
                            user_namespace,
                            no_new_privs,
                            uid,
                            filter_present,
                        });
                    }
                }
            }
        }
        cells
    }

    /// The row of the table.
    pub fn row(&self) -> String {
        let namespace = match self.user_namespace {
            true => "own users",
            false => "host users",
        };
        format!("{}, {}, {namespace}", self.engine.name(), self.stage)
    }

    /// What is known to refuse such a container, from the message; `None`
    /// where nothing may.
    fn known_refusal(&self) -> Option<&'static str> {
        match self.engine {
            // Until the exec its memory belongs to the namespace outside.
            Engine::Alone(_) | Engine::Podman(_)
                if self.user_namespace && self.stage == "createContainer" =>
            {
                Some("user namespace of its own")
            }
            // It loads its filter when the capability is gone that this takes.
            Engine::Alone(Runtime::Youki)
                if self.uid == 0 && !self.no_new_privs && self.filter_present =>
            {
                Some("failed to load seccomp context")
            }
            // Of one user, and dumpable there.
            Engine::Alone(Runtime::Runc)
                if self.stage == "startContainer"
                    && self.no_new_privs
                    && self.uid == 0
                    && !self.user_namespace =>
            {
                None
            }
            // The workload's capabilities are all it has there.
            Engine::Alone(_) if self.stage == "startContainer" => Some("createRuntime"),
            _ => None,
        }
    }
}

/// What became of a cell.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Its workload ran, with the filter and as configured.
    Armed,
    /// It did not start, for a reason that is known, and this was said.
    Refused(String),
    /// Anything else.
    Failed(String),
}

impl Verdict {
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// The podmans that the cells share: an image is imported once. One container
/// at a time for each: when podman starts, it takes away for a moment what
/// users of other namespaces need to come into its store.
pub struct Machines(Vec<(Engine, Mutex<Podman>)>);

impl Machines {
    pub fn new(engines: &[Engine]) -> Self {
        let podman = |engine: &Engine| match *engine {
            Engine::Alone(_) => None,
            Engine::Podman(runtime) => Some((*engine, Mutex::new(Podman::new(runtime)))),
            Engine::Rootless(runtime) => Some((*engine, Mutex::new(Podman::rootless(runtime)))),
        };
        Self(engines.iter().filter_map(podman).collect())
    }

    fn of(&self, engine: Engine) -> MutexGuard<'_, Podman> {
        let found = self.0.iter().find(|(e, _)| *e == engine);
        let podman = &found.expect("a podman for each engine").1;
        podman.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a cell's container and judges it.
pub fn run(cell: &Cell, machines: &Machines) -> Verdict {
    let outcome = catch_unwind(AssertUnwindSafe(|| match cell.engine {
        Engine::Alone(runtime) => alone(cell, runtime),
        engine => under_podman(cell, &machines.of(engine)),
    }));
    match outcome {
        Ok(outcome) => judge(cell, &outcome),
        Err(panic) => Verdict::Failed(
            panic
                .downcast_ref::<String>()
                .map_or("the harness failed", String::as_str)
                .to_owned(),
        ),
    }
}

fn judge(cell: &Cell, outcome: &Outcome) -> Verdict {
    if outcome.code() == Some(0) {
        let checked = catch_unwind(AssertUnwindSafe(|| check(cell, outcome)));
        return match checked {
            Ok(Ok(())) => Verdict::Armed,
            Ok(Err(what)) => Verdict::Failed(what),
            Err(_) => Verdict::Failed(format!("unexpected output: {outcome}")),
        };
    }
    let reason = reason(outcome);
    // A workload that has printed was running.
    let started = !outcome.stdout.is_empty();
    match cell.known_refusal() {
        Some(known) if !started && reason.contains(known) => Verdict::Refused(reason),
        _ => Verdict::Failed(match started {
            true => outcome.to_string(),
            false => reason,
        }),
    }
}

/// The workload's own account, of it, of init and of a child.
fn check(cell: &Cell, seen: &Outcome) -> Result<(), String> {
    let expect = |what: &str, is: &str, should: &str| match is == should {
        true => Ok(()),
        false => Err(format!("{what} is {is}, not {should}")),
    };
    let no_new_privs = u8::from(cell.no_new_privs).to_string();
    for who in ["self", "pid1", "child"] {
        let field = |key| seen.field(who, key);
        expect("Seccomp", field("Seccomp"), "2")?;
        expect("NoNewPrivs", field("NoNewPrivs"), &no_new_privs)?;
        expect("Uid", field("Uid"), &cell.uid.to_string())?;
        let both = cell.filter_present && cell.stage != "precreate";
        expect(
            "Seccomp_filters",
            field("Seccomp_filters"),
            if both { "2" } else { "1" },
        )?;
    }
    // The filter there is the runtime's: what ours did is in the log.
    if cell.stage == "precreate" && !seen.log.contains("profile checked") {
        return Err("the hook did not check the profile".into());
    }
    for (call, errno) in [("mkdir", DENIED), ("rmdir", 2), ("close", 9)] {
        expect(call, &seen.errno(call).to_string(), &errno.to_string())?;
    }
    Ok(())
}

/// Everything but `mkdir`, so that no runtime stumbles over it.
fn profile() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": DENIED }]
    })
}

/// A filter of the runtime's that does not do for ours.
fn other_profile() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" }]
    })
}

fn alone(cell: &Cell, runtime: Runtime) -> Outcome {
    let stay = match runtime {
        Runtime::Youki => AND_STAY,
        _ => "",
    };
    let mut container = Container::new(runtime)
        .no_new_privileges(cell.no_new_privs)
        .uid(cell.uid)
        .probe(&format!("{PROBE}{stay}"));
    if cell.filter_present {
        container = container.seccomp(&other_profile());
    }
    if cell.stage == "startContainer" {
        return inside(container, cell).run();
    }
    let stage = match cell.stage {
        "prestart" => Stage::Prestart,
        "createRuntime" => Stage::CreateRuntime,
        _ => Stage::CreateContainer,
    };
    container = container.profile_hook(stage, &profile());
    match cell.user_namespace {
        true => container.user_namespace().run(),
        false => container.run(),
    }
}

/// A container whose hook, with all it needs, is in its root file system.
fn inside(container: Container, cell: &Cell) -> Container {
    let rootfs = container.rootfs();
    let program = rootfs.join("oci-seccomp");
    fs::copy(binary(), program).expect("copy of the program");
    fs::write(rootfs.join("profile"), profile().to_string()).expect("profile");
    // The log that the harness reads, to be written by anybody from inside.
    let log = container.file("hook.log", "");
    let container = match cell.user_namespace {
        true => container.user_namespace(),
        false => container,
    };
    fs::set_permissions(&log, Permissions::from_mode(0o666)).expect("mode of the log");
    fs::hard_link(&log, rootfs.join("log")).expect("link of the log");
    let args = "oci-seccomp hook --profile /profile --log /log";
    let args: Vec<&str> = args.split(' ').collect();
    container.patch(|config| {
        config["hooks"]["startContainer"] = json!([{ "path": "/oci-seccomp", "args": args }]);
    })
}

/// podman's default profile is the other filter; at precreate there is only
/// the container's own.
fn under_podman(cell: &Cell, podman: &Podman) -> Outcome {
    let user = format!("--user {}:{}", cell.uid, cell.uid);
    let mut container = podman.container().options(&user).probe(PROBE);
    if cell.no_new_privs {
        container = container.options("--security-opt no-new-privileges");
    }
    if cell.user_namespace && !matches!(cell.engine, Engine::Rootless(_)) {
        let map = format!("0:{MAPPED_ROOT}:65536");
        container = container.options(&format!("--uidmap {map} --gidmap {map}"));
    }
    if cell.stage == "precreate" {
        let container = container.seccomp("profile.json", &profile().to_string());
        return container
            .hook_file("podman/oci-seccomp-precreate.json", &[])
            .run();
    }
    if !cell.filter_present {
        container = container.options("--security-opt seccomp=unconfined");
    }
    container.annotated_hook(cell.stage, &profile()).run()
}

/// Why a container did not start: what the hook said, or else the runtime.
fn reason(outcome: &Outcome) -> String {
    // That init is gone is what the tracer sees of the runtime's own error.
    let hook = outcome
        .log
        .lines()
        .find(|line| line.contains(": error: ") && !line.contains(" killed: "));
    let runtime = || {
        outcome
            .stderr
            .lines()
            .rfind(|l| l.to_lowercase().contains("error"))
    };
    let tracer = || outcome.log.lines().find(|line| line.contains(" killed: "));
    let line = hook.or_else(runtime).or_else(tracer);
    let line = match outcome.status {
        Some(_) => line.unwrap_or("no word why"),
        None => hook.unwrap_or("no end in time"),
    };
    // Whose it is says nothing of why, and makes two of one reason.
    let line = line.split_once(": error: ").map_or(line, |(_, rest)| rest);
    let line = match line.strip_prefix("container ") {
        Some(rest) => rest.split_once(": ").map_or(rest, |(_, rest)| rest),
        None => line,
    };
    line.split(' ')
        .map(without_names)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word without what is this container's alone: a process's number, a path
/// of ours, podman's long id.
fn without_names(word: &str) -> String {
    let end = word.trim_end_matches([',', ':', '`', '"']).len();
    let (name, rest) = word.split_at(end);
    let bare = name.trim_start_matches(['`', '"']);
    let all = |of: fn(u8) -> bool| !bare.is_empty() && bare.bytes().all(of);
    if all(|b| b.is_ascii_digit()) || bare.len() == 64 && all(|b| b.is_ascii_hexdigit()) {
        return format!("N{rest}");
    }
    match bare.starts_with("/tmp/") {
        true => format!("PATH{rest}"),
        false => word.to_owned(),
    }
}
