//! What `make install` puts where, and that engines can read it.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Outcome, Run, binary, source};

/// The stages that CRI-O knows; it does not start when a file names another.
const STAGES: &[&str] = &[
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

const STAGE_ANNOTATION: &str = r"^io\.oci-seccomp\.stage$";

fn make(goal: &str, into: &Path, variables: &[&str]) -> Outcome {
    Run::new("make")
        .current_dir(source())
        .args([goal, "PREFIX=/opt/tools", "HOOK=annotated"])
        .arg(format!("DESTDIR={}", into.display()))
        // The one under test; to build another takes minutes.
        .arg(format!("BINARY={}", binary().display()))
        .args(variables)
        .run()
}

/// The folder that all engines read.
const SHARED: &str = "opt/tools/share/containers/oci/hooks.d";

/// The folder that only a podman is told of.
const PODMAN: &str = "opt/tools/share/oci-seccomp/podman-hooks.d";

/// The hook files in the folder, by name.
fn hook_files(root: &Path, folder: &str) -> Vec<(String, Value)> {
    let mut files: Vec<_> = fs::read_dir(root.join(folder))
        .expect("hooks.d")
        .map(|entry| {
            let path = entry.expect("entry").path();
            let text = fs::read_to_string(&path).expect("hook file");
            assert!(!text.contains('@'), "a placeholder is left in {text}");
            let name = path.file_name().expect("name").to_string_lossy();
            (
                name.into_owned(),
                serde_json::from_str(&text).expect("JSON"),
            )
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

/// oci-hooks(5), version 1.0.0.
fn check_hook_file(name: &str, file: &Value, stages: &[&str]) {
    // Without a version it would be read as another format.
    assert_eq!(file["version"], "1.0.0", "{name}");
    assert_eq!(file["hook"]["path"], "/opt/tools/bin/oci-seccomp", "{name}");
    // args is the whole argv.
    assert_eq!(file["hook"]["args"][0], "oci-seccomp", "{name}");
    assert_eq!(file["hook"]["args"][1], "hook", "{name}");
    assert!(file["hook"]["timeout"].as_u64() > Some(0), "{name}");
    assert!(file["when"].is_object(), "{name}: never active");
    let named = file["stages"].as_array().expect("stages");
    assert_eq!(named.len(), 1, "{name}: more than one stage arms twice");
    for stage in named {
        assert!(stages.iter().any(|s| stage == s), "{name}: {stage}");
    }
}

#[test]
fn installs_the_program_and_a_hook_file_for_each_stage() {
    let root = tempfile::tempdir().expect("temporary directory");
    make("install", root.path(), &[]).success();
    let version = Run::new(root.path().join("opt/tools/bin/oci-seccomp"))
        .arg("--version")
        .run()
        .success();
    assert!(version.stdout.starts_with("oci-seccomp "), "{version}");

    let files = hook_files(root.path(), SHARED);
    assert_eq!(files.len(), 3);
    for (name, file) in &files {
        check_hook_file(name, file, STAGES);
        // Armed at the stage that the annotation asks for, and at no other.
        let stage = file["stages"][0].as_str().expect("stage");
        assert_eq!(name, &format!("oci-seccomp-{stage}.json"));
        let annotations = file["when"]["annotations"].as_object().expect("gate");
        assert_eq!(annotations.len(), 1);
        assert_eq!(annotations[STAGE_ANNOTATION], format!("^{stage}$"));
        // Who asks for it and has no profile made a mistake.
        assert_eq!(file["hook"]["args"][2], "--require");
    }
}

#[test]
fn installs_the_hook_for_all_containers_only_when_asked_and_alone() {
    let root = tempfile::tempdir().expect("temporary directory");
    make("install", root.path(), &[]).success();
    make("install", root.path(), &["HOOK=always"]).success();
    let files = hook_files(root.path(), SHARED);
    assert_eq!(files.len(), 1);
    let (name, file) = &files[0];
    assert_eq!(name, "oci-seccomp-always.json");
    check_hook_file(name, file, STAGES);
    assert_eq!(file["when"]["always"], true);
    make("install", root.path(), &["HOOK=never"])
        .fails()
        .says("HOOK");
}

/// CRI-O reads the shared folder, and does not know the stage.
#[test]
fn installs_the_hook_for_podmans_own_stage_where_only_podman_looks() {
    let root = tempfile::tempdir().expect("temporary directory");
    make("install", root.path(), &[]).success();
    let files = hook_files(root.path(), PODMAN);
    assert_eq!(files.len(), 1);
    let (name, file) = &files[0];
    assert_eq!(name, "oci-seccomp-precreate.json");
    check_hook_file(name, file, &["precreate"]);
    assert_eq!(file["hook"]["args"][3], "precreate");
}

#[test]
fn uninstall_leaves_no_file() {
    for hook in ["HOOK=annotated", "HOOK=always"] {
        let root = tempfile::tempdir().expect("temporary directory");
        make("install", root.path(), &[hook]).success();
        make("uninstall", root.path(), &[]).success();
        let files = Run::new("find")
            .arg(root.path())
            .args(["!", "-type", "d"])
            .run()
            .success();
        assert_eq!(files.stdout, "");
    }
}

#[test]
fn hook_files_give_arguments_that_the_program_takes() {
    let hooks = source().join("hooks");
    let files = [hooks.clone(), hooks.join("podman")]
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).expect("hooks"))
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).expect("hook file"));
    for text in files {
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let args = file["hook"]["args"].as_array().expect("args");
        // No JSON: refused for what it is, not for the arguments.
        let seen = Run::new(binary())
            .args(args.iter().skip(1).map(|a| a.as_str().expect("text")))
            .stdin("{")
            .run()
            .exits(1);
        assert!(!seen.stderr.contains("Usage"), "{seen}");
    }
}

#[test]
fn make_without_a_goal_explains_itself() {
    let help = Run::new("make").current_dir(source()).run().success();
    for goal in ["build", "test", "matrix", "demo", "install", "uninstall"] {
        assert!(help.stdout.contains(&format!("  {goal} ")), "{help}");
    }
}
