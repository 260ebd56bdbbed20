//! A second process in a container that runs.

use crate::report::Table;
use crate::rounds::{Plan, Sample, Subject, measure};
use crate::support::container::Created;
use crate::support::{Container, Run, Runtime, Stage, binary, testdata};
use crate::{RUNTIMES, missing, ms, settle};

/// Under each runtime: into a container that has the runtime's filter, and
/// into one that has our hook's.
pub fn tables(runs: usize) -> Vec<Table> {
    let profile = testdata("default");
    let running = |own: bool, runtime: Runtime| {
        let container = Container::new(runtime).args(&["/bin/sleep", "3600"]);
        let container = match own {
            true => container.seccomp(&profile),
            false => container.profile_hook(Stage::CreateRuntime, &profile),
        };
        let created = container.create().ready();
        created.start().success();
        created
    };
    let plans = RUNTIMES.map(|runtime| {
        let name = runtime.name();
        let subjects = match missing(runtime) {
            Some(why) => vec![Subject::new("all", None, move || Err(why.clone()))],
            None => subjects(
                runtime,
                running(true, runtime).into(),
                running(false, runtime).into(),
            ),
        };
        Plan {
            title: format!("exec of true, {name}"),
            unit: "ms",
            subjects,
        }
    });
    measure("exec", runs, plans.into())
}

/// The first of them is without a filter, for the runtime knows of none there.
fn subjects<'a>(runtime: Runtime, own: Shared, hook: Shared) -> Vec<Subject<'a>> {
    let name = runtime.name();
    let mut subjects = vec![
        by_runtime(format!("{name} exec, no seccomp"), None, runtime, &hook),
        by_runtime(
            format!("{name} exec, its own seccomp"),
            Some(0),
            runtime,
            &own,
        ),
    ];
    for (whose, created) in [("own", own), ("hook's", hook)] {
        let asked = Shared::clone(&created);
        let title = format!("oci-seccomp exec --runtime {name}, {whose} filter");
        subjects.push(Subject::new(title, Some(0), move || {
            let exec = Run::new(binary()).args(["exec", "--runtime", name, "--root"]);
            run(exec.arg(asked.root()).arg(asked.id()))
        }));
        let pid = created.pid().to_string();
        let title = format!("oci-seccomp exec --pid, {whose} filter");
        subjects.push(Subject::new(title, Some(0), move || {
            let exec = Run::new(binary()).args(["exec", "--pid", &pid, "--bundle"]);
            run(exec.arg(created.bundle()))
        }));
    }
    subjects
}

/// A container of several rows; the last of them takes it away.
type Shared = std::rc::Rc<Created>;

fn by_runtime<'a>(
    title: String,
    base: Option<usize>,
    runtime: Runtime,
    created: &Shared,
) -> Subject<'a> {
    let created = Shared::clone(created);
    Subject::new(title, base, move || {
        run(runtime
            .direct(&created.root())
            .arg("exec")
            .arg(created.id()))
    })
}

fn run(exec: Run) -> Sample {
    settle();
    ms(&exec.args(["/bin/busybox", "true"]).run())
}
