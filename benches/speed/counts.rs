//! What is counted, not timed: other load changes next to nothing of it.

use std::fs;
use std::path::Path;

use oci_seccomp::bpf::Program;
use oci_seccomp::policy::{Arch, Call};
use oci_seccomp::syscalls::{Wiring, resolve};

use crate::report::{Outcome, Row, Table};
use crate::rounds::Sample;
use crate::support::container::{GRACE, STRACE};
use crate::support::{Container, Run, Runtime, Stage, binary, process, programs};
use crate::translation::{Compiled, compiled};
use crate::{failure, missing};

pub fn tables() -> Vec<Table> {
    vec![
        instructions(&compiled()),
        table(
            "run by the processor, as valgrind's callgrind counts",
            "instructions",
            vec![
                row(
                    "compile the default profile",
                    None,
                    callgrind(&["compile", PROFILE, "-o", "/dev/null"]),
                ),
                row("our hook and its tracer", None, callgrind_hook()),
                row("oci-seccomp exec --pid", None, callgrind_exec()),
            ],
        ),
        table(
            "made, as strace counts",
            "system calls",
            vec![
                row("our hook and its tracer", None, strace_hook("")),
                row(
                    "our hook and its tracer, --no-cache",
                    Some(0),
                    strace_hook("--no-cache"),
                ),
            ],
        ),
        table(
            "taken",
            "KiB",
            vec![
                row("most memory of a tracer", None, tracer_memory()),
                row("the program's file", None, file_size()),
            ],
        ),
    ]
}

const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/default.json");

fn table(title: &str, unit: &str, rows: Vec<Row>) -> Table {
    Table {
        title: title.into(),
        unit: unit.into(),
        rows,
    }
}

fn row(name: &str, base: Option<usize>, sample: Sample) -> Row {
    Row {
        name: name.into(),
        base,
        outcome: match sample {
            Ok(count) => Outcome::Samples(vec![count]),
            Err(why) => Outcome::Skipped(why),
        },
    }
}

/// A name, and what of a program it stands for.
type Measure<'a> = (&'static str, &'a dyn Fn(&Program) -> f64);

/// Of the filter programs: how long they are, and how far a call has to go.
/// (The kernel does not run them at all for a call that is allowed whatever
/// its arguments.)
fn instructions(compiled: &Compiled) -> Table {
    let call = |nr, first| Call {
        audit: Arch::native().audit(),
        nr,
        args: [first, 0, 0, 0, 0, 0],
    };
    let named = |program: &Program| {
        let native = compiled
            .policy
            .arches
            .iter()
            .filter(|r| r.arch == Arch::native());
        let numbers = native.flat_map(|rules| rules.calls.keys());
        let steps: Vec<usize> = numbers.map(|&nr| program.run(&call(nr, 0)).1).collect();
        steps.iter().sum::<usize>() as f64 / steps.len() as f64
    };
    let one = |name: &'static str, first| {
        move |program: &Program| match resolve(name, Arch::native()) {
            Wiring::Direct(nr) => program.run(&call(nr, first)).1 as f64,
            _ => f64::NAN,
        }
    };
    let (denied, checked) = (one("mount", 0), one("socket", u64::MAX));
    let length = |program: &Program| program.instructions().len() as f64;
    let measures: [Measure<'_>; 4] = [
        ("the whole program", &length),
        ("a call, mean of all that are named", &named),
        ("a call that is denied (mount)", &denied),
        ("a call that is checked (socket)", &checked),
    ];
    let rows = measures.iter().enumerate().flat_map(|(at, (name, count))| {
        [
            row(
                &format!("{name}, plain libseccomp's"),
                None,
                Ok(count(&compiled.plain)),
            ),
            row(
                &format!("{name}, ours"),
                Some(2 * at),
                Ok(count(&compiled.ours)),
            ),
        ]
    });
    table("of a filter program", "instructions", rows.collect())
}

/// A container with our hook, under a runtime that is there.
fn hooked(more: &str) -> Result<Container, String> {
    let runtime = Runtime::Runc;
    match missing(runtime) {
        Some(why) => Err(why),
        None => {
            let args = ["--profile", PROFILE, more];
            let args = args.iter().filter(|a| !a.is_empty()).collect::<Vec<_>>();
            let container = Container::new(runtime).no_new_privileges(true);
            Ok(container.hook(Stage::CreateRuntime, &args))
        }
    }
}

fn installed(tool: &str) -> Result<(), String> {
    let found = programs::find(tool).map(drop);
    found.ok_or_else(|| format!("{tool} is not installed"))
}

fn callgrind(args: &[&str]) -> Sample {
    installed("valgrind")?;
    let dir = tempfile::tempdir().expect("temporary directory");
    let valgrind = Run::new("valgrind").args(valgrind(dir.path()));
    let outcome = valgrind.arg(binary()).args(args).run();
    match outcome.code() {
        Some(0) => summary(dir.path()),
        // Some calls are too new for some valgrinds.
        _ => Err(format!("under valgrind, {}", failure(&outcome))),
    }
}

fn valgrind(dir: &Path) -> Vec<String> {
    vec![
        "--quiet".into(),
        "--tool=callgrind".into(),
        "--trace-children=yes".into(),
        format!("--callgrind-out-file={}/callgrind.%p", dir.display()),
        format!("--log-file={}/log.%p", dir.display()),
    ]
}

fn callgrind_hook() -> Sample {
    installed("valgrind")?;
    let container = hooked("")?;
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = valgrind(dir.path());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let outcome = container.hooks_under("valgrind", &options).run();
    match outcome.code() {
        Some(0) => summary(dir.path()),
        _ => {
            let why = reason(&outcome.log).unwrap_or_else(|| failure(&outcome));
            Err(format!("under valgrind, {why}"))
        }
    }
}

fn callgrind_exec() -> Sample {
    let created = hooked("")?.args(&["/bin/sleep", "60"]).create().ready();
    created.start().success();
    let bundle = created.bundle().display().to_string();
    let pid = created.pid().to_string();
    callgrind(&[
        "exec",
        "--pid",
        &pid,
        "--bundle",
        &bundle,
        "/bin/busybox",
        "true",
    ])
}

/// Of all processes that came to their end under callgrind.
fn summary(dir: &Path) -> Sample {
    let files = fs::read_dir(dir).expect("directory").flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    let counts = texts.filter_map(|text| {
        let mut lines = text.lines();
        lines.find_map(|l| l.strip_prefix("summary: ")?.trim().parse::<f64>().ok())
    });
    match counts.sum() {
        0.0 => Err("valgrind wrote no summary".into()),
        sum => Ok(sum),
    }
}

/// What a hook's log says of its failure, without the container's name.
fn reason(log: &str) -> Option<String> {
    let (_, reason) = log.lines().last()?.split_once(": error: container ")?;
    Some(reason.split_once(": ")?.1.to_owned())
}

fn strace_hook(more: &str) -> Sample {
    installed("strace")?;
    let container = hooked(more)?;
    let counts = container.file("strace", "");
    let file = counts.to_str().expect("path is UTF-8");
    let options = [STRACE, &["-c", "-o", file]].concat();
    // Once before: what is in the cache is what counts.
    hooked(more)?.run();
    let container = container.hooks_under("strace", &options);
    let outcome = container.run_again();
    if outcome.code() != Some(0) {
        return Err(failure(&outcome));
    }
    // strace writes when the last process has ended.
    let mut total = None;
    process::within(GRACE, || {
        let text = fs::read_to_string(&counts).unwrap_or_default();
        let line = text.lines().rfind(|line| line.ends_with(" total"));
        total = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
        total.is_some()
    });
    total.ok_or_else(|| "strace wrote no summary".into())
}

/// While it waits for the container's start.
fn tracer_memory() -> Sample {
    let created = hooked("")?.create().ready();
    let of_tracer = || {
        let tracer = process::status(created.pid(), "TracerPid")?.parse().ok()?;
        let most = process::status(tracer, "VmHWM")?;
        most.split(' ').next()?.parse().ok()
    };
    of_tracer().ok_or_else(|| "init has no tracer".into())
}

fn file_size() -> Sample {
    let metadata = fs::metadata(binary()).map_err(|e| e.to_string())?;
    Ok((metadata.len() as f64 / 1024.0).round())
}
