//! What `make install` puts where, and that engines can read it.
#![forbid(unsafe_code)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use support::{Outcome, Run, binary, programs, source};

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
    programs::manual();
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
            .args(["!", "-type", "d", "-o", "-path", "*oci-seccomp*"])
            .run()
            .success();
        assert_eq!(files.stdout, "");
    }
}

/// The commands and the options that the program's own help shows, a command
/// by the words it is called with.
fn shown_by_help(words: &[&str]) -> Vec<(String, BTreeSet<String>)> {
    let help = Run::new(binary()).args(words).arg("--help").run().success();
    let mut options = BTreeSet::new();
    let mut commands = Vec::new();
    let mut heading = "";
    for line in help.stdout.lines() {
        if line.ends_with(':') && !line.starts_with(' ') {
            heading = line;
        }
        let entry = line.trim_start();
        match heading {
            // An option's own line, or that of its other names.
            "Options:" if entry.starts_with(['-', '[']) && !entry.starts_with("- ") => {
                let longs = entry.split(' ').filter(|word| word.starts_with("--"));
                options.extend(longs.map(|l| l.trim_end_matches([',', ']']).to_owned()));
            }
            "Commands:" if line.starts_with("  ") && !line.starts_with("   ") => {
                commands.extend(entry.split([' ', ',']).next().filter(|c| *c != "help"));
            }
            _ => {}
        }
    }
    assert!(options.contains("--help"), "{help}");
    let mut all = vec![(words.join(" "), options)];
    for command in commands {
        all.extend(shown_by_help(&[words, &[command]].concat()));
    }
    all
}

#[test]
fn each_command_and_option_is_in_its_man_page_and_in_the_completions() {
    let root = tempfile::tempdir().expect("temporary directory");
    make("install", root.path(), &[]).success();
    let share = root.path().join("opt/tools/share");
    let read =
        |name: &str| fs::read_to_string(share.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let zsh = read("zsh/site-functions/_oci-seccomp");
    let fish = read("fish/vendor_completions.d/oci-seccomp.fish");
    let all = shown_by_help(&[]);
    assert!(all.len() > 15, "{all:?}");
    for (words, options) in all {
        let name = format!("oci-seccomp {words}").trim_end().replace(' ', "-");
        let page = read(&format!("man/man1/{name}.1"));
        let mut typed: Vec<_> = words.split_ascii_whitespace().collect();
        // What the shell offers after "--", and after the words before.
        typed.push("--");
        let offered = complete(&share, &typed);
        typed.pop();
        for option in &options {
            let dashes = format!(r"\fB{}\fR", option.replace('-', r"\-"));
            let alias = format!("aliases: {}", option.replace('-', r"\-"));
            assert!(
                page.contains(&dashes) || page.contains(&alias),
                "{name}: {option}"
            );
            assert!(offered.contains(option), "{name}: {option} in {offered:?}");
            let word = &option[2..];
            assert!(zsh.contains(&format!("{option}[")) || zsh.contains(&format!("{option}=[")));
            assert!(fish.contains(&format!(" -l {word} ")), "{name}: {option}");
        }
        if let Some(command) = typed.pop() {
            assert!(complete(&share, &typed).contains(command), "{name}");
            assert!(zsh.contains(&format!("'{command}:")), "{name}");
            assert!(fish.contains(&format!(" -a \"{command}\" ")), "{name}");
        }
    }
}

/// What bash offers after these words: the last one, if it is a dash, is to be
/// completed, else a new one.
fn complete(share: &Path, words: &[&str]) -> BTreeSet<String> {
    let script = r#"
        source "$1"; shift
        COMP_WORDS=(oci-seccomp "$@"); [[ ${*: -1} == -* ]] || COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        last=${COMP_WORDS[COMP_CWORD]}
        function=$(complete -p oci-seccomp | sed 's/.* -F \([^ ]*\).*/\1/')
        "$function" oci-seccomp "$last" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let offered = Run::new("bash")
        .args(["-c", script, "bash"])
        .arg(share.join("bash-completion/completions/oci-seccomp"))
        .args(words)
        .run()
        .success();
    offered.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn man_pages_are_rendered_without_a_warning() {
    let root = tempfile::tempdir().expect("temporary directory");
    make("install", root.path(), &[]).success();
    let folder = root.path().join("opt/tools/share/man");
    let pages: Vec<_> = ["man1", "man5"]
        .iter()
        .flat_map(|section| fs::read_dir(folder.join(section)).expect("man pages"))
        .map(|entry| entry.expect("entry").path())
        .collect();
    assert!(pages.len() > 15, "{pages:?}");
    for page in pages {
        let mut groff = Run::new("groff");
        groff = groff
            .args(["-k", "-man", "-Tutf8", "-ww", "-rLL=80n"])
            .arg(&page);
        let seen = groff.run().success();
        assert_eq!(seen.stderr, "", "{}", page.display());
        assert!(!seen.stdout.is_empty(), "{}", page.display());
    }
}

#[test]
fn the_page_on_profiles_has_all_of_the_document() {
    let root = tempfile::tempdir().expect("temporary directory");
    make("install", root.path(), &[]).success();
    let page = root
        .path()
        .join("opt/tools/share/man/man5/oci-seccomp-profile.5");
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| word.len() > 1)
            .map(str::to_lowercase)
            .collect()
    };
    let page = fs::read_to_string(page).expect("page");
    let plain = ["\\fB", "\\fR", "\\fI", "\\(aq", "\\*(Aq"]
        .iter()
        .fold(page, |page, escape| page.replace(escape, " "));
    let said: BTreeSet<String> = words(&plain).into_iter().collect();
    let document = fs::read_to_string(source().join("docs/profiles.md")).expect("document");
    for word in words(&document) {
        let in_link_or_fence = ["findings", "md", "json"].contains(&word.as_str());
        assert!(said.contains(&word) || in_link_or_fence, "{word}");
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
    for goal in ["build", "test", "matrix", "man", "install", "uninstall"] {
        assert!(help.stdout.contains(&format!("  {goal} ")), "{help}");
    }
}

/// Else what cargo did not say would be missing in them, without a word.
#[test]
fn an_sbom_and_licences_are_whole_or_there_are_none() {
    let bin = tempfile::tempdir().expect("temporary directory");
    let cargo = bin.path().join("cargo");
    fs::write(&cargo, "#!/bin/sh\nexit 101\n").expect("a cargo that fails");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("mode");
    let path = std::env::var("PATH").expect("PATH");
    for script in ["linked", "sbom", "licenses"] {
        Run::new(support::source().join("packaging").join(script))
            .arg("x86_64-unknown-linux-gnu")
            .env("PATH", format!("{}:{path}", bin.path().display()))
            .run()
            .fails();
    }
}

/// CycloneDX 1.5, held against the lock file and the linker's own libraries.
#[test]
fn the_sbom_has_what_is_linked_and_is_the_same_each_time() {
    let root = tempfile::tempdir().expect("temporary directory");
    let folder = root.path().join("opt/tools/share/doc/oci-seccomp");
    let install = || {
        make("install", root.path(), &[]).success();
        fs::read_to_string(folder.join("oci-seccomp.cdx.json")).expect("SBOM")
    };
    let text = install();
    assert_eq!(install(), text);
    let sbom: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    assert_eq!(sbom["metadata"]["component"]["name"], "oci-seccomp");

    let lock = fs::read_to_string(source().join("Cargo.lock")).expect("lock file");
    let components = sbom["components"].as_array().expect("components");
    let (crates, others): (Vec<_>, Vec<_>) = components
        .iter()
        .partition(|c| c["purl"].as_str().expect("purl").starts_with("pkg:cargo/"));
    for component in &crates {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let (name, version) = (text(&component["name"]), text(&component["version"]));
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let locked = lock.split("[[package]]\n").find(|p| p.starts_with(&entry));
        let sum = text(&component["hashes"][0]["content"]);
        let sum = format!("checksum = \"{sum}\"");
        assert!(locked.is_some_and(|p| p.contains(&sum)), "{component:#}");
    }
    let names = |components: &[&Value]| -> BTreeSet<String> {
        let name = |c: &&Value| c["name"].as_str().expect("name").to_owned();
        components.iter().map(name).collect()
    };
    assert!(names(&crates).contains("libseccomp-sys") && !names(&crates).contains("insta"));
    let expected = ["glibc", "libgcc", "libseccomp", "rust-std"];
    assert!(names(&others).into_iter().eq(expected), "{others:#?}");
    let licensed = |c: &Value| c["licenses"][0]["expression"].is_string();
    assert!(components.iter().all(licensed), "{text}");

    // Whatever depends is there, and nothing is there that nothing depends on.
    let own = &sbom["metadata"]["component"]["bom-ref"];
    let mut known: BTreeSet<&str> = components
        .iter()
        .filter_map(|c| c["bom-ref"].as_str())
        .collect();
    let mut needed = BTreeSet::new();
    for entry in sbom["dependencies"].as_array().expect("dependencies") {
        assert!(entry["ref"] == *own || known.contains(entry["ref"].as_str().expect("ref")));
        let on = entry["dependsOn"].as_array().expect("dependsOn");
        needed.extend(on.iter().filter_map(Value::as_str));
    }
    known.retain(|reference| !needed.contains(reference));
    assert!(known.is_empty(), "nobody needs {known:?}");

    make("uninstall", root.path(), &[]).success();
    assert!(!folder.exists());
}
