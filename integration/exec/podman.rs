//! Inside podman's containers, found by name and by id.

use serde_json::json;

use super::{CALLS, denies, is_filtered, is_refused};
use crate::support::podman::Running;
use crate::support::{Outcome, Podman, Runtime, programs};

macro_rules! under_podman_with_each_runtime {
    ($($test:ident)*) => {
        mod runc {
            $(#[test] fn $test() { super::on(super::Runtime::Runc, super::$test); })*
        }
        mod crun {
            $(#[test] fn $test() { super::on(super::Runtime::Crun, super::$test); })*
        }
    };
}

under_podman_with_each_runtime! {
    is_as_confined_as_podmans_own_exec
    is_filtered_as_the_hook_file_has_armed_it
}

fn on(runtime: Runtime, test: fn(&Podman)) {
    if Podman::is_ready(runtime, false) {
        test(&Podman::new(runtime));
    }
}

/// `oci-seccomp exec`, which asks this podman for the container.
fn exec(podman: &Podman, options: &[&str], container: &str, argv: &[&str]) -> Outcome {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", podman.on_path().display());
    let run = podman.host(&[]).env("PATH", path).arg(programs::stripped());
    run.arg("exec")
        .args(options)
        .arg(container)
        .args(argv)
        .run()
}

fn probe(podman: &Podman, options: &[&str], container: &str, args: &str) -> Outcome {
    let argv: Vec<&str> = std::iter::once("/probe")
        .chain(args.split_whitespace())
        .collect();
    exec(podman, options, container, &argv)
}

/// By each way in which it can be named.
fn is_found(podman: &Podman, running: &Running, check: impl Fn(Outcome)) {
    let name = running.name();
    check(probe(podman, &["--runtime", "podman"], name, CALLS));
    check(probe(podman, &[], name, CALLS));
}

/// What they say of themselves. podman 4.3.1 leaves HOSTNAME out of what it
/// executes, has crun leave HOME empty, and puts the user among the groups.
const WHO: &str = "grep -E '^(Uid|Gid|Cap...|Umask|NoNewPrivs|Seccomp|Seccomp_filters):' \
     /proc/self/status; busybox env | grep -v -e PWD -e SHLVL -e TERM -e ^HO -e ^_= | busybox sort; \
     cat /proc/self/cgroup /proc/self/limits /proc/self/oom_score_adj; busybox pwd";

fn is_as_confined_as_podmans_own_exec(podman: &Podman) {
    let profile = denies(&["mkdir"]).to_string();
    for options in [
        "",
        "--user 1000 --workdir /tmp --env A=b",
        "--security-opt no-new-privileges",
    ] {
        let container = podman.container().options(options);
        let container = container
            .seccomp("denies.json", &profile)
            .probe("sleep 600");
        let (running, outcome) = container.start();
        outcome.success();
        is_found(podman, &running, |seen| is_filtered(&seen.success(), "1"));
        let ours = exec(
            podman,
            &["--runtime", "podman"],
            running.name(),
            &["sh", "-c", WHO],
        );
        let theirs = podman
            .command(&["exec", running.name(), "sh", "-c", WHO])
            .run();
        assert_eq!(
            ours.clone().success().stdout,
            theirs.success().stdout,
            "{options}: {ours}"
        );
        let of = |who: &str| {
            let argv = [
                "grep",
                "-E",
                "^(Uid|Gid|Groups|Cap...|Seccomp)",
                &format!("/proc/{who}/status"),
            ];
            exec(podman, &["--runtime", "podman"], running.name(), &argv)
                .success()
                .stdout
        };
        assert_eq!(of("self"), of("1"), "{options}");
    }
    let seen = exec(podman, &["--runtime", "podman"], "none", &["/hello"]);
    is_refused(seen, "none");
    let seen = exec(
        podman,
        &["--runtime", "podman", "--root", "/"],
        "none",
        &["/hello"],
    );
    is_refused(seen, "--root");
}

fn is_filtered_as_the_hook_file_has_armed_it(podman: &Podman) {
    let lseek = json!([{ "index": 1, "value": 5, "op": "SCMP_CMP_LE" }]);
    let mut profile = denies(&["mkdir"]);
    let rules = profile["syscalls"].as_array_mut().expect("rules");
    rules.push(json!({
        "names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": lseek
    }));
    let container = podman
        .container()
        .options("--security-opt seccomp=unconfined")
        .annotated_hook("createRuntime", &profile)
        .probe("sleep 600");
    let (running, outcome) = container.start();
    outcome.success();
    is_found(podman, &running, |seen| is_filtered(&seen.success(), "1"));
    let seen = probe(podman, &[], running.name(), "call lseek 99 5 0").success();
    assert_eq!(seen.errno("lseek"), 77, "{seen}");
}
