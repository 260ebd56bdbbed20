//! Real containers, looked up as `exec` does: under runc and crun by their
//! own commands, and under podman by name and by id.
#![forbid(unsafe_code)]

mod support;

use std::path::PathBuf;

use oci_seccomp::runtime::{self, Container as Found, Engine, Error};
use support::container::Created;
use support::podman::Running;
use support::{Container, Outcome, Podman, Run, Runtime, on_each_runtime, process};

on_each_runtime! {
    a_running_container_is_found_under_its_runtime
    what_does_not_run_is_refused
    a_restarted_container_is_found_anew
}

fn waiting(runtime: Runtime) -> Created {
    let container = Container::new(runtime).annotation("a.b", "c");
    container.args(&["/bin/sleep", "600"]).create().ready()
}

fn find(runtime: Runtime, created: &Created) -> Result<Found, Error> {
    let program = runtime.program().expect("an installed runtime");
    let root = created.root();
    runtime::find(&Engine::Oci(program), Some(&root), created.id())
}

#[track_caller]
fn check_found(found: &Found, created: &Created, engine: &str) {
    assert_eq!(found.state.id, created.id());
    assert_eq!(found.state.pid.map(i32::from), Some(created.pid()));
    assert_eq!(found.state.bundle, created.bundle());
    assert_eq!(found.state.annotations["a.b"], "c");
    assert_eq!(found.engine, engine);
    assert!(found.is_still_running());
}

fn a_running_container_is_found_under_its_runtime(runtime: Runtime) {
    let created = waiting(runtime);
    created.start().success();
    let root = created.root();
    let name = runtime.name();
    let by_name = Engine::Oci(PathBuf::from(name));
    for engine in [by_name, Engine::Any] {
        let found = runtime::find(&engine, Some(&root), created.id());
        check_found(&found.expect("it runs"), &created, name);
    }
    let found = find(runtime, &created).expect("it runs");
    let program = runtime.program().expect("an installed runtime");
    check_found(&found, &created, &program.display().to_string());
    // As another engine's, of which only the pid and the bundle are known.
    let pid = found.state.pid.expect("a pid");
    let given = runtime::by_pid(pid, created.bundle()).expect("it runs");
    assert_eq!(given.state.annotations["a.b"], "c");
    assert!(given.is_still_running());
    // The others know nothing of it, nor does this one under another root.
    let error = runtime::find(&Engine::Any, Some(created.bundle()), created.id());
    let error = error.unwrap_err();
    assert!(matches!(error, Error::UnknownToAll { .. }), "{error}");
    assert!(error.to_string().contains(&format!("{name}: ")), "{error}");
}

fn what_does_not_run_is_refused(runtime: Runtime) {
    let created = waiting(runtime);
    let refused = |status: &str| {
        let error = find(runtime, &created).unwrap_err();
        assert!(matches!(error, Error::NotRunning { .. }), "{error}");
        assert!(
            error.to_string().ends_with(&format!("is {status}")),
            "{error}"
        );
    };
    refused("created");
    created.start().success();
    let found = find(runtime, &created).expect("it runs");
    created.pause().success();
    refused("paused");
    created.resume().success();
    assert!(found.is_still_running());
    created.kill("KILL").success();
    assert!(process::within(support::command::LIMIT, || !found.is_still_running()));
    refused("stopped");
    created.delete().success();
    let error = find(runtime, &created).unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error}");
}

fn a_restarted_container_is_found_anew(runtime: Runtime) {
    let created = waiting(runtime);
    created.start().success();
    let first = find(runtime, &created).expect("it runs");
    created.kill("KILL").success();
    assert!(process::within(support::command::LIMIT, || !first.is_still_running()));
    created.delete().success();
    let created = created.again().ready();
    created.start().success();
    let second = find(runtime, &created).expect("it runs again");
    check_found(&second, &created, &second.engine);
    assert_ne!(first.state.pid, second.state.pid);
    assert!(!first.is_still_running());
}

/// A test of each function under podman with each runtime.
macro_rules! under_podman {
    ($($test:ident)*) => {
        mod podman_runc {
            $(#[test] fn $test() { super::under_podman(super::Runtime::Runc, super::$test); })*
        }
        mod podman_crun {
            $(#[test] fn $test() { super::under_podman(super::Runtime::Crun, super::$test); })*
        }
    };
}

fn under_podman(runtime: Runtime, test: fn(&Podman)) {
    if Podman::is_ready(runtime, false) {
        test(&Podman::new(runtime));
    }
}

under_podman! {
    a_container_of_podmans_is_found_by_name_and_by_id
    a_container_of_podmans_that_does_not_run_is_refused
    a_restarted_container_of_podmans_is_found_anew
}

/// What a lookup with this podman on PATH says; see [`look_up_as_told`].
fn look_up(podman: &Podman, engine: &str, id: &str) -> Outcome {
    let path = std::env::var("PATH").unwrap_or_default();
    let this = std::env::current_exe().expect("this program");
    Run::new(this)
        .args(["--exact", "--ignored", "--nocapture", "look_up_as_told"])
        .env("PATH", format!("{}:{path}", podman.on_path().display()))
        .env("LOOK_UP", format!("{engine} {id}"))
        .run()
        .success()
}

#[test]
#[ignore = "the other tests run it, with a podman of theirs on PATH"]
fn look_up_as_told() {
    let told = std::env::var("LOOK_UP").expect("what to look up");
    let (engine, id) = told.split_once(' ').expect("an engine and an id");
    let engine = match engine {
        "any" => Engine::Any,
        _ => Engine::Podman,
    };
    match runtime::find(&engine, None, id) {
        Ok(found) => {
            let pid = found.state.pid.expect("a pid");
            println!("\npid {pid}\nid {}", found.state.id);
            println!("engine {}", found.engine);
            println!("annotation {}", found.state.annotations["a.b"]);
            println!("bundle {}", found.state.bundle.display());
        }
        Err(error) => println!("\nrefused {:#}", anyhow::Error::from(error)),
    }
}

fn sleeping(podman: &Podman) -> Running {
    let container = podman.container().probe("sleep 600");
    let (running, outcome) = container.options("--annotation a.b=c").start();
    outcome.success();
    running
}

fn inspect(podman: &Podman, running: &Running, format: &str) -> String {
    let inspect = podman.command(&["inspect", "--format", format, running.name()]);
    inspect.run().success().stdout.trim().to_owned()
}

fn a_container_of_podmans_is_found_by_name_and_by_id(podman: &Podman) {
    let running = sleeping(podman);
    let id = inspect(podman, &running, "{{.Id}}");
    let pid = inspect(podman, &running, "{{.State.Pid}}");
    for (engine, name) in [
        ("podman", running.name()),
        ("podman", &id),
        ("podman", &id[..12]),
        ("any", running.name()),
        ("any", &id[..12]),
    ] {
        let found = look_up(podman, engine, name);
        assert_eq!(found.line("pid"), pid, "{found}");
        assert_eq!(found.line("id"), id, "{found}");
        assert_eq!(found.line("engine"), "podman", "{found}");
        assert_eq!(found.line("annotation"), "c", "{found}");
        let config = PathBuf::from(found.line("bundle")).join("config.json");
        assert!(config.is_file(), "{found}");
    }
    let refused = look_up(podman, "any", "no-such-container");
    let said = refused.line("refused");
    assert!(said.contains("podman: "), "{refused}");
    assert!(said.contains("no such container"), "{refused}");
}

fn a_container_of_podmans_that_does_not_run_is_refused(podman: &Podman) {
    let (created, outcome) = podman.container().probe("sleep 600").create();
    outcome.success();
    let refused = |name: &str, status: &str| {
        let refused = look_up(podman, "podman", name);
        let said = refused.line("refused");
        assert!(
            said.ends_with(&format!("podman says it is {status}")),
            "{refused}"
        );
    };
    refused(created.name(), "created");
    let running = sleeping(podman);
    podman.command(&["pause", running.name()]).run().success();
    refused(running.name(), "paused");
    podman.command(&["unpause", running.name()]).run().success();
    let stop = ["stop", "--time", "0", running.name()];
    podman.command(&stop).run().success();
    refused(running.name(), "exited");
}

fn a_restarted_container_of_podmans_is_found_anew(podman: &Podman) {
    let running = sleeping(podman);
    let first = look_up(podman, "podman", running.name());
    let restart = ["restart", "--time", "0", running.name()];
    podman.command(&restart).run().success();
    let second = look_up(podman, "podman", running.name());
    assert_eq!(first.line("id"), second.line("id"), "{second}");
    assert_eq!(
        second.line("pid"),
        inspect(podman, &running, "{{.State.Pid}}")
    );
    assert_ne!(first.line("pid"), second.line("pid"), "{second}");
}
