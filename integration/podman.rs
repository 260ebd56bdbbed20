//! Real containers of podman's, over runc and over crun: hook files as
//! `make install` puts them, and the hook that edits a container's config
//! before podman hands it to the runtime.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::podman::{IMAGE, PodmanContainer};
use support::{Outcome, Podman, Run, Runtime};

/// The errno of our rules: EBADFD, which none of the calls below fails with.
const DENIED: i32 = 77;
const EBADF: i32 = 9;

/// The annotation under which crun takes a ready program.
const CRUN_PROGRAM: &str = "run.oci.seccomp_bpf_data";

/// `SECCOMP_RET_ALLOW` for every call: what an image that wants no filter
/// would have crun load.
const ALLOW_ALL: &str = "BgAAAAAA/38=";

/// What `Seccomp` says and what `mkdir` and `lseek` give.
const PROBE: &str =
    "status -- call mkdir @/tmp/a 0x1ed -- call lseek 99 6 0 -- call close 99 -- exit 3";

fn denies_mkdir() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": DENIED }]
    })
}

/// Of its two rules for `lseek` libseccomp loses one: compiled in one piece,
/// `lseek(99, 6, 0)` is let through.
fn denies_lseek() -> String {
    let up_to = |bound: u64| {
        json!({
            "names": ["lseek"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": DENIED,
            "args": [{ "index": 1, "value": bound, "op": "SCMP_CMP_LE" }]
        })
    };
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [up_to(0x1_0000_0005), up_to(5)]
    })
    .to_string()
}

/// A test of each function under podman with each runtime.
macro_rules! on_each_runtime {
    ($($test:ident)*) => {
        mod runc {
            $(#[test] fn $test() { super::on(super::Runtime::Runc, super::$test); })*
        }
        mod crun {
            $(#[test] fn $test() { super::on(super::Runtime::Crun, super::$test); })*
        }
    };
}

fn on(runtime: Runtime, test: fn(&Podman)) {
    if Podman::is_ready(runtime, false) {
        test(&Podman::new(runtime));
    }
}

on_each_runtime! {
    arms_only_containers_with_the_annotation
    arms_where_podman_itself_loads_no_filter
    arms_under_podmans_default_profile
    starts_no_container_that_asks_for_a_filter_and_has_no_profile
    precreate_refuses_a_broken_profile_and_nothing_is_left
    precreate_takes_away_a_program_from_the_command_line
    precreate_leaves_the_rest_of_a_config_as_it_is
}

#[test]
fn crun_loads_the_program_for_run_and_for_exec() {
    on(Runtime::Crun, precreate_gives_crun_the_program);
}

#[test]
fn crun_does_not_load_the_program_of_an_image() {
    on(Runtime::Crun, precreate_takes_away_a_program_from_an_image);
}

fn arms_only_containers_with_the_annotation(podman: &Podman) {
    let unconfined = || {
        let container = podman.container().probe(PROBE);
        container.options("--security-opt seccomp=unconfined")
    };
    let file = unconfined().path("profile.json");
    fs::write(&file, denies_mkdir().to_string()).expect("profile");
    let hook = |container: PodmanContainer<'_>| {
        let profile = ["--profile", file.to_str().expect("UTF-8")];
        ["createRuntime", "createContainer"]
            .iter()
            .fold(container, |container, stage| {
                container.hook_file(&format!("oci-seccomp-{stage}.json"), &profile)
            })
            .run()
            .exits(3)
    };
    let seen = hook(unconfined());
    assert_eq!(seen.field("pid1", "Seccomp"), "0", "{seen}");
    assert_eq!(seen.log, "");
    let seen = hook(unconfined().options("--annotation io.oci-seccomp.stage=createContainer"));
    assert_eq!(seen.field("pid1", "Seccomp_filters"), "1", "{seen}");
    assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
}

fn arms_where_podman_itself_loads_no_filter(podman: &Podman) {
    for option in ["--privileged", "--security-opt seccomp=unconfined"] {
        for stage in ["createRuntime", "createContainer"] {
            let seen = podman
                .container()
                .options(option)
                .annotated_hook(stage, &denies_mkdir())
                .probe(PROBE)
                .run()
                .exits(3);
            check_denies_mkdir(&seen, "1");
        }
    }
}

fn arms_under_podmans_default_profile(podman: &Podman) {
    for stage in ["prestart", "createRuntime", "createContainer"] {
        for options in ["--user 0", "--user 1000 --security-opt no-new-privileges"] {
            let seen = podman
                .container()
                .options(options)
                .annotated_hook(stage, &denies_mkdir())
                .probe(PROBE)
                .run()
                .exits(3);
            check_denies_mkdir(&seen, "2");
            let no_new_privs = u8::from(options.contains("no-new")).to_string();
            assert_eq!(seen.field("pid1", "NoNewPrivs"), no_new_privs, "{seen}");
        }
    }
}

#[track_caller]
fn check_denies_mkdir(seen: &Outcome, filters: &str) {
    for who in ["self", "pid1", "child"] {
        assert_eq!(seen.field(who, "Seccomp"), "2", "{seen}");
        assert_eq!(seen.field(who, "Seccomp_filters"), filters, "{seen}");
    }
    assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
    assert_eq!(seen.errno("close"), EBADF, "{seen}");
}

fn starts_no_container_that_asks_for_a_filter_and_has_no_profile(podman: &Podman) {
    let seen = podman
        .container()
        .options("--security-opt seccomp=unconfined")
        .options("--annotation io.oci-seccomp.stage=createRuntime")
        .hook_file("oci-seccomp-createRuntime.json", &[])
        .probe("print unfiltered")
        .run()
        .fails();
    assert_eq!(seen.stdout, "");
    seen.says("--require");
}

const PRECREATE: &str = "podman/oci-seccomp-precreate.json";

fn precreate_refuses_a_broken_profile_and_nothing_is_left(podman: &Podman) {
    let broken = r#"{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9999 }]
}"#;
    let seen = podman
        .container()
        .seccomp("broken.json", broken)
        .hook_file(PRECREATE, &[])
        .probe("print unfiltered")
        .run()
        .fails();
    assert_eq!(seen.stdout, "");
    seen.says("rule 0").says("errnoRet 9999").says("precreate");
    assert_eq!(podman.containers(), "");
}

/// libseccomp in one piece, as crun uses it, lets the call through.
fn precreate_gives_crun_the_program(podman: &Podman) {
    let container = || {
        let container = podman.container().seccomp("lseek.json", &denies_lseek());
        container.probe("call lseek 99 6 0 -- print ready -- sleep 60")
    };
    for (container, expected) in [
        (container(), EBADF),
        (container().hook_file(PRECREATE, &[]), DENIED),
    ] {
        let (running, outcome) = container.start();
        outcome.success();
        let ran = wait_for_output(|| running.output(podman));
        assert_eq!(ran.errno("lseek"), expected, "run: {ran}");
        let exec = running.exec(podman, "status -- call lseek 99 6 0");
        let exec = exec.success();
        assert_eq!(exec.errno("lseek"), expected, "exec: {exec}");
        assert_eq!(exec.field("self", "Seccomp"), "2", "{exec}");
    }
}

fn wait_for_output(output: impl Fn() -> Outcome) -> Outcome {
    let mut seen = output();
    let ready = support::process::within(support::command::LIMIT, || {
        seen = output();
        seen.stdout.contains("ready")
    });
    assert!(ready, "{seen}");
    seen
}

fn precreate_takes_away_a_program_from_the_command_line(podman: &Podman) {
    let hostile = || {
        let option = format!("--annotation {CRUN_PROGRAM}={ALLOW_ALL}");
        let container = podman.container().options(&option).probe(PROBE);
        container.seccomp("lseek.json", &denies_lseek())
    };
    let seen = hostile().hook_file(PRECREATE, &[]).run().exits(3);
    assert_eq!(seen.field("pid1", "Seccomp"), "2", "{seen}");
    if podman.is(Runtime::Crun) {
        assert_eq!(seen.errno("lseek"), DENIED, "{seen}");
    }
    // Also where there is no profile, and so no program of ours.
    let (outcome, before, after) = saved_config(
        podman
            .container()
            .options(&format!("--annotation {CRUN_PROGRAM}={ALLOW_ALL}"))
            .options("--security-opt seccomp=unconfined"),
    );
    outcome.exits(7);
    assert_eq!(before["annotations"][CRUN_PROGRAM], ALLOW_ALL);
    assert_eq!(after["annotations"].get(CRUN_PROGRAM), None);
}

fn precreate_takes_away_a_program_from_an_image(podman: &Podman) {
    let image = hostile_image(podman);
    let run = |hooked: bool| {
        let container = podman.container().image(&image).probe(PROBE);
        let container = container.seccomp("mkdir.json", &denies_mkdir().to_string());
        match hooked {
            true => container.hook_file(PRECREATE, &[]),
            false => container,
        }
        .run()
        .exits(3)
    };
    // Without the hook the image has its way: this is what crun does.
    let seen = run(false);
    assert_eq!(seen.errno("mkdir"), 0, "{seen}");
    let seen = run(true);
    assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
}

/// The image with that annotation in its manifest.
fn hostile_image(podman: &Podman) -> String {
    let dir = podman.dir().join("image");
    let save = podman.command(&["save", "--format", "oci-dir", "--output"]);
    save.arg(&dir).arg(IMAGE).run().success();
    let read = |path: &Path| -> Value {
        let text = fs::read_to_string(path).expect("part of an image");
        serde_json::from_str(&text).expect("JSON")
    };
    let blobs = dir.join("blobs/sha256");
    let mut index = read(&dir.join("index.json"));
    let digest = index["manifests"][0]["digest"].as_str().expect("digest");
    let digest = digest.strip_prefix("sha256:").expect("SHA-256");
    let mut manifest = read(&blobs.join(digest));
    manifest["annotations"][CRUN_PROGRAM] = json!(ALLOW_ALL);
    let manifest = manifest.to_string();
    let sum = Run::new("sha256sum").stdin(manifest.as_bytes()).run();
    let sum = sum.success().stdout[..64].to_owned();
    fs::write(blobs.join(&sum), &manifest).expect("manifest");
    index["manifests"][0]["digest"] = json!(format!("sha256:{sum}"));
    index["manifests"][0]["size"] = json!(manifest.len());
    fs::write(dir.join("index.json"), index.to_string()).expect("index");
    // By a relative path: podman makes a name of it, in lower case only.
    let pull = podman.command(&["pull", "--quiet", "oci:image"]);
    let pulled = pull.current_dir(podman.dir()).run().success();
    pulled.stdout.trim().to_owned()
}

/// Runs a container with a hook of this kind before ours and one after it,
/// that keep what they see.
fn saved_config(container: PodmanContainer<'_>) -> (Outcome, Value, Value) {
    let keep = |name: &str| {
        let path = container.path(name);
        let hook = json!({
            "version": "1.0.0",
            "hook": { "path": "/usr/bin/tee", "args": ["tee", path] },
            "when": { "always": true },
            "stages": ["precreate"]
        });
        (path, hook)
    };
    let (before, first) = keep("before");
    let (after, last) = keep("after");
    let outcome = container
        .other_hook("a.json", &first)
        .hook_file(PRECREATE, &[])
        .other_hook("z.json", &last)
        .run();
    let read = |path| -> Value {
        let text = fs::read_to_string(path).expect("a config that a hook kept");
        serde_json::from_str(&text).expect("JSON")
    };
    (outcome, read(before), read(after))
}

/// podman reads the answer and writes the config again for the next hook, so
/// what is compared is what podman made of both; that not a byte of ours is
/// different is a test of the command.
fn precreate_leaves_the_rest_of_a_config_as_it_is(podman: &Podman) {
    let container = podman
        .container()
        .options("--annotation a=b --env LANG=C --user 1000 --workdir /tmp")
        .seccomp("lseek.json", &denies_lseek());
    let (outcome, before, mut after) = saved_config(container);
    outcome.exits(7);
    let annotations = after["annotations"].as_object_mut().expect("annotations");
    let program = annotations.remove(CRUN_PROGRAM);
    assert!(program.is_some_and(|p| p.as_str().is_some_and(|p| p.len() > 100)));
    assert_eq!(before, after);
}
