//! What a filter costs each system call that it lets through.

use crate::report::Table;
use crate::rounds::{Plan, Sample, Subject, measure};
use crate::support::{Container, Outcome, Run, Runtime, binary, programs, source, testdata};
use crate::translation::compiled;
use crate::{failure, missing};

/// A call, how many of them make up a sample, and what it is to a filter.
const CALLS: [(&str, u32, &str); 2] = [
    ("getppid", 1_000_000, "allowed by its number"),
    ("socket", 100_000, "its argument is checked"),
];

pub fn tables(runs: usize) -> Vec<Table> {
    let plain = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(plain.path(), compiled().plain.to_bytes()).expect("program");
    let profile = source().join("testdata/default.json");
    let init = |options: &[&str], file: &std::path::Path| {
        let init = Run::new(binary()).arg("init").args(options).arg(file);
        init.arg("--").arg(programs::calls())
    };
    let plan = |(call, count, what): (&'static str, u32, &str)| {
        let sample = move |run: Run| {
            let outcome = run.arg(call).arg(count.to_string()).run();
            each(&outcome, count)
        };
        let (profile, plain) = (&profile, plain.path());
        Plan {
            title: format!("a call of {call}, {what}"),
            unit: "ns",
            subjects: vec![
                Subject::new("no filter", None, move || {
                    sample(Run::new(programs::calls()))
                }),
                Subject::new("ours", Some(0), move || {
                    sample(init(&["--profile"], profile))
                }),
                Subject::new("plain libseccomp's", Some(0), move || {
                    sample(init(&["--flags", "SPEC_ALLOW", "--bpf"], plain))
                }),
                own(Runtime::Runc, call, count),
                own(Runtime::Crun, call, count),
            ],
        }
    };
    measure("system calls", runs, CALLS.map(plan).into())
}

/// What the runtime itself loads, in a container.
fn own<'a>(runtime: Runtime, call: &str, count: u32) -> Subject<'a> {
    let name = format!("{}'s own", runtime.name());
    if let Some(why) = missing(runtime) {
        return Subject::new(name, Some(0), move || Err(why.clone()));
    }
    let container = Container::new(runtime).no_new_privileges(true);
    let container = container.seccomp(&testdata("default"));
    std::fs::copy(programs::calls(), container.rootfs().join("calls")).expect("copy of calls");
    let container = container.args(&["/calls", call, &count.to_string()]);
    container.write_config();
    Subject::new(name, Some(0), move || {
        each(&container.run_directly(), count)
    })
}

/// Nanoseconds a call, of what the program prints.
fn each(outcome: &Outcome, count: u32) -> Sample {
    let total = outcome.stdout.trim().parse::<f64>();
    match (outcome.code(), total) {
        (Some(0), Ok(total)) => Ok(total / f64::from(count)),
        _ => Err(failure(outcome)),
    }
}
