//! Several filters on one container: the runtime's own, a baseline of the
//! site, one that the container asks for by name; and the stage at which only
//! the container's own files are in sight.
#![forbid(unsafe_code)]

#[path = "programs.rs"]
mod filters;
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use oci_seccomp::policy::Action;
use serde_json::{Value, json};
use support::{Container, Outcome, Run, Runtime, Stage, binary, testdata};

/// Errnos of our rules that none of the calls below fails with.
const DENIED: i32 = 77;
const NAMED: i32 = 78;
const EPERM: i32 = 1;
const EBADF: i32 = 9;
const ANNOTATION: &str = "io.oci-seccomp.profile";

support::on_each_runtime! {
    leaves_ours_out_where_the_runtimes_is_as_strict
    leaves_ours_out_for_a_default_profile
    stacks_ours_where_libseccomp_is_weaker
    stacks_and_skips_when_told_to
    skips_nothing_where_the_runtime_loads_nothing
    loads_ours_though_the_runtimes_filter_denies_it
    puts_a_baseline_beside_the_containers_own_section
    adds_what_the_container_names
    a_name_only_ever_adds
    refuses_names_that_lead_astray
    refuses_named_profiles_that_others_can_write
    takes_a_ready_program
    arms_at_start_container_where_it_may_trace
    fails_closed_at_start_container_where_it_may_not_trace
    always_adds_at_start_container
    takes_nothing_from_the_image_for_the_bundle
}

/// Denies these with this errno; for all architectures that runc tells apart.
fn denies(names: &[&str], errno: i32) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno }]
    })
}

/// Compiled in one piece by libseccomp, the second rule is lost.
fn lseek_witness() -> Value {
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
}

/// Each setting of no_new_privs and user: when ours is loaded, and how much
/// the runtime has done by then, depends on it.
const SETTINGS: [(bool, u32); 4] = [(false, 0), (false, 1000), (true, 0), (true, 1000)];

fn each_setting(runtime: Runtime, test: impl Fn(Container)) {
    for (no_new_privileges, uid) in SETTINGS {
        let container = Container::new(runtime);
        test(container.no_new_privileges(no_new_privileges).uid(uid));
    }
}

#[track_caller]
fn has_filters(seen: &Outcome, count: &str) {
    for who in ["self", "pid1", "child"] {
        assert_eq!(seen.field(who, "Seccomp"), "2", "{seen}");
        assert_eq!(seen.field(who, "Seccomp_filters"), count, "{seen}");
    }
}

fn leaves_ours_out_where_the_runtimes_is_as_strict(runtime: Runtime) {
    for stage in [Stage::CreateRuntime, Stage::CreateContainer] {
        each_setting(runtime, |container| {
            let seen = container
                .seccomp(&denies(&["mkdir"], DENIED))
                .hook::<&str>(stage, &[])
                .probe("status -- call mkdir @/tmp/a 0x1ed -- call close 99")
                .run()
                .success();
            has_filters(&seen, "1");
            assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
            assert_eq!(seen.errno("close"), EBADF, "{seen}");
            seen.says("left out, filter 0 is as strict");
        });
    }
}

/// Calls newer than the profile: runc and we say ENOSYS, crun says EPERM.
fn leaves_ours_out_for_a_default_profile(runtime: Runtime) {
    let seen = Container::new(runtime)
        .no_new_privileges(true)
        .seccomp(&testdata("default"))
        .hook::<&str>(Stage::CreateRuntime, &[])
        .probe("status -- call setns -1 0 -- call close 99")
        .run()
        .success();
    has_filters(&seen, "1");
    assert_eq!(seen.errno("setns"), EPERM, "{seen}");
    assert_eq!(seen.errno("close"), EBADF, "{seen}");
}

fn stacks_ours_where_libseccomp_is_weaker(runtime: Runtime) {
    each_setting(runtime, |container| {
        let seen = container
            .seccomp(&lseek_witness())
            .hook::<&str>(Stage::CreateRuntime, &[])
            .probe("status -- call lseek 0 6 0")
            .run()
            .success();
        has_filters(&seen, "2");
        assert_eq!(seen.errno("lseek"), DENIED, "{seen}");
        seen.says("loaded on top of 1, weaker for x86_64 lseek(");
    });
}

fn stacks_and_skips_when_told_to(runtime: Runtime) {
    for (choice, count) in [("stack", "2"), ("skip", "1")] {
        each_setting(runtime, |container| {
            let seen = container
                .seccomp(&denies(&["mkdir"], DENIED))
                .hook(Stage::CreateRuntime, &["--on-existing", choice])
                .probe("status -- call mkdir @/tmp/a 0x1ed")
                .run()
                .success();
            has_filters(&seen, count);
            assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
        });
    }
}

fn skips_nothing_where_the_runtime_loads_nothing(runtime: Runtime) {
    each_setting(runtime, |container| {
        let profile = container.file("p.json", denies(&["mkdir"], DENIED).to_string());
        let profile = profile.to_str().expect("UTF-8");
        let seen = container
            .hook(
                Stage::CreateRuntime,
                &["--profile", profile, "--on-existing", "skip"],
            )
            .probe("status -- call mkdir @/tmp/a 0x1ed")
            .run()
            .success();
        has_filters(&seen, "1");
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
    });
}

fn loads_ours_though_the_runtimes_filter_denies_it(runtime: Runtime) {
    each_setting(runtime, |container| {
        let seen = container
            .seccomp(&denies(&["seccomp", "mmap"], NAMED))
            .profile_hook(Stage::CreateRuntime, &denies(&["mkdir"], DENIED))
            .probe("status -- call mkdir @/tmp/a 0x1ed -- call seccomp 2 0 0")
            .run()
            .success();
        has_filters(&seen, "2");
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
        assert_eq!(seen.errno("seccomp"), NAMED, "{seen}");
    });
}

fn puts_a_baseline_beside_the_containers_own_section(runtime: Runtime) {
    each_setting(runtime, |container| {
        let seen = container
            .seccomp(&denies(&["chmod"], NAMED))
            .profile_hook(Stage::CreateRuntime, &denies(&["mkdir"], DENIED))
            .probe("status -- call mkdir @/tmp/a 0x1ed -- call chmod @/tmp 0x1ff")
            .run()
            .success();
        has_filters(&seen, "2");
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
        assert_eq!(seen.errno("chmod"), NAMED, "{seen}");
    });
}

/// A container with a directory of profiles beside its bundle's files, of
/// which `web` denies chmod.
fn with_profile_dir(container: Container) -> (Container, PathBuf) {
    let dir = container.bundle().join("profiles");
    fs::create_dir(&dir).expect("directory");
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("mode");
    let text = denies(&["chmod"], NAMED).to_string();
    fs::write(dir.join("web.json"), text).expect("profile");
    (container, dir)
}

fn adds_what_the_container_names(runtime: Runtime) {
    each_setting(runtime, |container| {
        let (container, dir) = with_profile_dir(container);
        let baseline = container.file("base.json", denies(&["mkdir"], DENIED).to_string());
        let args = ["--profile".as_ref(), baseline.as_os_str()];
        let dir = ["--profile-dir".as_ref(), dir.as_os_str()];
        let seen = container
            .annotation(ANNOTATION, "web")
            .hook(Stage::CreateRuntime, &[args, dir].concat())
            .probe("status -- call mkdir @/tmp/a 0x1ed -- call chmod @/tmp 0x1ff")
            .run()
            .success();
        has_filters(&seen, "2");
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
        assert_eq!(seen.errno("chmod"), NAMED, "{seen}");
    });
}

/// Without the annotation, and with it beside the bundle's own section.
fn a_name_only_ever_adds(runtime: Runtime) {
    for (name, count) in [(None, "1"), (Some("web"), "2")] {
        let (mut container, dir) = with_profile_dir(Container::new(runtime));
        if let Some(name) = name {
            container = container.annotation(ANNOTATION, name);
        }
        let seen = container
            .no_new_privileges(true)
            .seccomp(&denies(&["mkdir"], DENIED))
            .hook(
                Stage::CreateRuntime,
                &["--profile-dir".as_ref(), dir.as_os_str()],
            )
            .probe("status -- call mkdir @/tmp/a 0x1ed -- call chmod @/tmp 0x1ff")
            .run()
            .success();
        has_filters(&seen, count);
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
        let expected = if name.is_some() { NAMED } else { 0 };
        assert_eq!(seen.errno("chmod"), expected, "{seen}");
    }
}

#[track_caller]
fn is_refused(container: Container, dir: &std::path::Path, name: &str) {
    let seen = container
        .annotation(ANNOTATION, name)
        .hook(
            Stage::CreateRuntime,
            &["--profile-dir".as_ref(), dir.as_os_str()],
        )
        .probe("print unfiltered")
        .run()
        .fails();
    assert_eq!(seen.stdout, "", "{name:?}: {seen}");
    seen.says(&format!("the annotation {ANNOTATION} asks for a profile"));
}

fn refuses_names_that_lead_astray(runtime: Runtime) {
    let names = [
        "../profiles/web",
        "/etc/passwd",
        "./web",
        "web/",
        "..",
        "",
        "link",
        "missing",
        "web\n",
    ];
    for name in names {
        let (container, dir) = with_profile_dir(Container::new(runtime));
        symlink("web.json", dir.join("link.json")).expect("link");
        is_refused(container, &dir, name);
    }
}

fn refuses_named_profiles_that_others_can_write(runtime: Runtime) {
    for what in ["web.json", ""] {
        let (container, dir) = with_profile_dir(Container::new(runtime));
        fs::set_permissions(dir.join(what), Permissions::from_mode(0o777)).expect("mode");
        is_refused(container, &dir, "web");
    }
}

/// A ready program that denies mkdir.
fn program() -> Vec<u8> {
    let denied = Action::Errno(u16::try_from(DENIED).expect("errno"));
    filters::answering(&[(libc::SYS_mkdir, None, denied)])
}

fn takes_a_ready_program(runtime: Runtime) {
    each_setting(runtime, |container| {
        let file = container.file("filter.bpf", program());
        let seen = container
            .hook(Stage::CreateRuntime, &["--bpf".as_ref(), file.as_os_str()])
            .probe("status -- call mkdir @/tmp/a 0x1ed -- call close 99")
            .run()
            .success();
        has_filters(&seen, "1");
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
        assert_eq!(seen.errno("close"), EBADF, "{seen}");
    });
}

/// The hook at startContainer, with what this option takes inside the
/// container and with a log there that the harness reads.
fn start_container(container: Container, option: &str, contents: impl AsRef<[u8]>) -> Container {
    let rootfs = container.rootfs();
    fs::copy(binary(), rootfs.join("oci-seccomp")).expect("copy of the program");
    fs::write(rootfs.join("source"), contents).expect("source of the filter");
    let log = container.file("hook.log", "");
    fs::set_permissions(&log, Permissions::from_mode(0o666)).expect("mode");
    fs::hard_link(&log, rootfs.join("log")).expect("link");
    let mut args = vec!["oci-seccomp", "hook", "--log", "/log"];
    if !option.is_empty() {
        args.extend([option, "/source"]);
    }
    container.patch(|config| {
        config["hooks"]["startContainer"] = json!([{ "path": "/oci-seccomp", "args": args }]);
    })
}

/// One whose init a hook may trace at startContainer: runc's is of the same
/// user and dumpable, crun's is not.
fn traceable(runtime: Runtime) -> Container {
    let container = Container::new(runtime).no_new_privileges(true);
    match runtime {
        Runtime::Runc => container,
        _ => container.capabilities(&["CAP_SYS_PTRACE", "CAP_KILL"]),
    }
}

/// There the runtime's filter is on the tracer too, so it may not read init's.
fn always_adds_at_start_container(runtime: Runtime) {
    for choice in ["verify", "stack", "skip"] {
        let profile = denies(&["mkdir"], DENIED);
        let container = traceable(runtime).seccomp(&profile);
        let seen = start_container(container, "--profile", profile.to_string())
            .patch(|config| {
                let hook = &mut config["hooks"]["startContainer"][0]["args"];
                let args = hook.as_array_mut().expect("arguments");
                args.extend([json!("--on-existing"), json!(choice)]);
            })
            .probe("status -- call mkdir @/tmp/a 0x1ed")
            .run()
            .success();
        has_filters(&seen, "2");
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
        seen.says("loaded on top of 1");
    }
}

fn arms_at_start_container_where_it_may_trace(runtime: Runtime) {
    let profile = denies(&["mkdir"], DENIED).to_string();
    for (option, contents) in [("--profile", profile.into_bytes()), ("--bpf", program())] {
        let seen = start_container(traceable(runtime), option, contents)
            .probe("status -- call mkdir @/tmp/a 0x1ed -- call close 99")
            .run()
            .success();
        has_filters(&seen, "1");
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
        assert_eq!(seen.errno("close"), EBADF, "{seen}");
        seen.says("StartContainer");
    }
}

fn fails_closed_at_start_container_where_it_may_not_trace(runtime: Runtime) {
    let profile = denies(&["mkdir"], DENIED).to_string();
    each_setting(runtime, |container| {
        let container = start_container(container, "--profile", &profile);
        let seen = container.probe("print unfiltered").run();
        if runtime == Runtime::Runc && seen.code() == Some(0) {
            // The one case in which it may.
            assert!(seen.log.contains("armed"), "{seen}");
            return;
        }
        let seen = seen.fails();
        assert_eq!(seen.stdout, "");
        seen.says("createRuntime");
    });
}

/// At startContainer the image decides what is at the bundle's path.
fn takes_nothing_from_the_image_for_the_bundle(runtime: Runtime) {
    let container = Container::new(runtime).no_new_privileges(true);
    let rootfs = container.rootfs();
    let faked = container.bundle().strip_prefix("/").expect("absolute");
    for dir in [rootfs.join(faked), rootfs.clone()] {
        fs::create_dir_all(&dir).expect("directory");
        fs::write(dir.join("config.json"), "{}").expect("config of the image's");
    }
    let seen = start_container(container, "", "")
        .probe("print unfiltered")
        .run()
        .fails();
    assert_eq!(seen.stdout, "");
    seen.says("no bundle in sight");
}

#[test]
fn a_dry_run_tells_of_every_filter() {
    let dir = tempfile::tempdir().expect("directory");
    let bundle = dir.path();
    let section = denies(&["mkdir"], DENIED);
    let config = json!({
        "process": { "noNewPrivileges": true },
        "annotations": { ANNOTATION: "web" },
        "linux": { "seccomp": section }
    });
    fs::write(bundle.join("config.json"), config.to_string()).expect("config");
    fs::write(bundle.join("web.json"), section.to_string()).expect("profile");
    fs::write(bundle.join("filter.bpf"), program()).expect("program");
    let state = json!({ "id": "c", "pid": 4_194_305, "bundle": bundle }).to_string();
    let run = |args: &[&str]| {
        let hook = Run::new(binary()).args(["hook", "--dry-run"]).args(args);
        let hook = hook.current_dir(bundle).stdin(state.clone());
        hook.run().success().stdout
    };
    let text = run(&["--profile-dir", "."]);
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
    assert!(at("config.json") < at("./web.json"));
    at("if filtered    left out where");
    let json = run(&[
        "--bpf",
        "filter.bpf",
        "--format",
        "json",
        "--on-existing",
        "skip",
    ]);
    let json: Value = serde_json::from_str(&json).expect("one object");
    assert_eq!(json["source"], "filter.bpf");
    assert_eq!(json["load"]["when"], "at the exec of the workload");
    let existing = json["load"]["onExisting"].as_str().expect("a string");
    assert!(existing.contains("left out"), "{existing}");
}
