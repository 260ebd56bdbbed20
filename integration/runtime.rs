//! Real containers under runc and crun: what the workload, its init and their
//! children see once `oci-seccomp` has done its part.
//!
//! A denied call is told from one that the kernel refused by an errno of the
//! rule's own (77), a call that was let through by the kernel's answer to a bad
//! descriptor.
#![forbid(unsafe_code)]

#[path = "programs.rs"]
mod filters;
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use oci_seccomp::policy::Action;
use serde_json::{Value, json};
use support::container::PRIVATE_MOUNTS;
use support::{Container, Outcome, Run, Runtime, Stage, binary, programs, testdata};

/// The errno of our rules: EBADFD, which none of the calls below fails with.
const DENIED: i32 = 77;
const EPERM: i32 = 1;
const EBADF: i32 = 9;
const ENOENT: i32 = 2;
const SIGSYS: &str = "31";

/// Everything but `mkdir`, so that no runtime stumbles over it.
fn denies_mkdir() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{
            "names": ["mkdir", "mkdirat"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": DENIED
        }]
    })
}

/// Nothing but these calls; any other kills.
fn allows_only(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }]
    })
}

const STATUS_AND_CALLS: &str = "status -- call mkdir @/tmp/a 0x1ed -- fork call mkdirat -1 @b 0 \
     -- call rmdir @/none -- call close 99";

/// The filter is on init and on what it forks, it denies what it should and
/// nothing else, and no_new_privs is what the config says.
#[track_caller]
fn check_denies_mkdir(seen: &Outcome, no_new_privileges: bool, uid: u32) {
    for who in ["self", "pid1", "child"] {
        assert_eq!(seen.field(who, "Seccomp"), "2", "{seen}");
        assert_eq!(seen.field(who, "Seccomp_filters"), "1", "{seen}");
        assert_eq!(seen.field(who, "Uid"), uid.to_string(), "{seen}");
        let expected = u8::from(no_new_privileges).to_string();
        assert_eq!(seen.field(who, "NoNewPrivs"), expected, "{seen}");
    }
    assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
    assert_eq!(seen.errno("mkdirat"), DENIED, "{seen}");
    assert_eq!(seen.errno("rmdir"), ENOENT, "{seen}");
    assert_eq!(seen.errno("close"), EBADF, "{seen}");
}

/// A test for each stage, setting of no_new_privs and user.
macro_rules! armed {
    ($($test:ident: $stage:ident, $nnp:literal, $uid:literal;)*) => {
        $(fn $test(runtime: Runtime) {
            let seen = Container::new(runtime)
                .no_new_privileges($nnp)
                .uid($uid)
                .profile_hook(Stage::$stage, &denies_mkdir())
                .probe(STATUS_AND_CALLS)
                .run()
                .success();
            check_denies_mkdir(&seen, $nnp, $uid);
        })*
    };
}

armed! {
    arms_root_at_create_runtime: CreateRuntime, false, 0;
    arms_root_at_create_container: CreateContainer, false, 0;
    arms_root_at_prestart: Prestart, false, 0;
    arms_user_at_create_runtime: CreateRuntime, false, 1000;
    arms_user_at_create_container: CreateContainer, false, 1000;
    arms_root_with_no_new_privs_at_create_runtime: CreateRuntime, true, 0;
    arms_root_with_no_new_privs_at_create_container: CreateContainer, true, 0;
    arms_user_with_no_new_privs_at_create_runtime: CreateRuntime, true, 1000;
    arms_user_with_no_new_privs_at_create_container: CreateContainer, true, 1000;
    arms_user_with_no_new_privs_at_prestart: Prestart, true, 1000;
}

support::on_each_runtime! {
    arms_root_at_create_runtime
    arms_root_at_create_container
    arms_root_at_prestart
    arms_user_at_create_runtime
    arms_user_at_create_container
    arms_root_with_no_new_privs_at_create_runtime
    arms_root_with_no_new_privs_at_create_container
    arms_user_with_no_new_privs_at_create_runtime
    arms_user_with_no_new_privs_at_create_container
    arms_user_with_no_new_privs_at_prestart
    arms_one_that_keeps_cap_sys_admin
    arms_user_whose_ambient_capability_is_not_inheritable
    arms_a_32_bit_workload
    arms_what_create_and_start_run_apart
    runs_under_a_default_profile
    asks_nothing_of_the_profile_for_the_runtime
    leaves_later_hooks_of_the_runtime_as_unfiltered_as_they_were
    watches_the_calls_of_a_runtime_by_another_name
    gives_the_workloads_exit_status
    gives_the_status_of_a_workload_that_was_killed
    kills_calls_of_an_architecture_that_is_not_listed
    arms_however_late_the_tracer_is
    fails_closed_where_init_cannot_be_traced
    believes_no_config_of_the_containers_making
    takes_no_runtime_for_init
    refuses_what_has_started_already
    refuses_a_workload_that_may_not_be_executed
    names_rule_and_line_of_a_broken_profile
    refuses_a_profile_that_is_not_there
    adds_nothing_weaker_where_the_runtime_filters_too
    lets_a_config_without_section_through
    requires_a_section_when_told_to
    shim_filters_the_workload
    shim_lets_the_profile_be_as_small_as_the_workload
    shim_takes_a_ready_program
    shim_says_what_to_set_without_no_new_privs
    shim_tells_its_errors_from_the_workloads
}

/// Without no_new_privs, but able to load a filter after the exec.
fn arms_one_that_keeps_cap_sys_admin(runtime: Runtime) {
    for stage in [Stage::CreateRuntime, Stage::CreateContainer] {
        let seen = Container::new(runtime)
            .capabilities(&["CAP_SYS_ADMIN", "CAP_KILL"])
            .profile_hook(stage, &denies_mkdir())
            .probe(STATUS_AND_CALLS)
            .run()
            .success();
        check_denies_mkdir(&seen, false, 0);
        assert_eq!(seen.field("self", "CapEff"), "0000000000200020");
    }
}

/// The runtimes cannot raise it then, and say nothing: without it, the exec is
/// too late for a filter.
fn arms_user_whose_ambient_capability_is_not_inheritable(runtime: Runtime) {
    let seen = Container::new(runtime)
        .uid(1000)
        .patch(|config| {
            let sets = &mut config["process"]["capabilities"];
            *sets = json!({});
            for set in ["bounding", "permitted", "ambient"] {
                sets[set] = json!(["CAP_SYS_ADMIN"]);
            }
        })
        .profile_hook(Stage::CreateRuntime, &denies_mkdir())
        .probe(STATUS_AND_CALLS)
        .run()
        .success();
    check_denies_mkdir(&seen, false, 1000);
}

fn arms_a_32_bit_workload(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        let container = Container::new(runtime)
            .uid(1000)
            .no_new_privileges(no_new_privileges)
            .profile_hook(Stage::CreateRuntime, &denies_mkdir())
            .probe(STATUS_AND_CALLS);
        // In place of the 64-bit one.
        fs::copy(programs::probe32(), container.rootfs().join("probe")).expect("copy");
        let seen = container.run().success();
        check_denies_mkdir(&seen, no_new_privileges, 1000);
    }
}

fn arms_what_create_and_start_run_apart(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        let created = Container::new(runtime)
            .no_new_privileges(no_new_privileges)
            .profile_hook(Stage::CreateRuntime, &denies_mkdir())
            .probe(STATUS_AND_CALLS)
            .create()
            .ready();
        let pid = created.pid();
        created.start().success();
        check_denies_mkdir(&created.output(pid), no_new_privileges, 0);
        assert_eq!(created.state()["status"], "stopped");
    }
}

/// A profile as engines ship it: a default that denies, an allow list, a
/// masked comparison for `clone`; also where the runtime has calls of its own
/// to make after the load.
fn runs_under_a_default_profile(runtime: Runtime) {
    for (no_new_privileges, uid) in [(false, 0), (false, 1000), (true, 0), (true, 1000)] {
        for stage in [Stage::CreateRuntime, Stage::CreateContainer] {
            let seen = Container::new(runtime)
                .no_new_privileges(no_new_privileges)
                .uid(uid)
                .profile_hook(stage, &testdata("default"))
                // unshare(0) succeeds for anybody; 310 is its i386 number.
                .probe(
                    "status -- call mkdir @/tmp/a 0x1ed -- call unshare 0 -- call setns -1 0 \
                     -- call close 99 -- fork call getuid -- call32 310 0",
                )
                .run()
                .success();
            assert_eq!(seen.field("pid1", "Seccomp"), "2", "{seen}");
            assert_eq!(seen.errno("mkdir"), 0, "{seen}");
            assert_eq!(seen.errno("unshare"), EPERM, "{seen}");
            assert_eq!(seen.errno("310"), EPERM, "{seen}");
            assert_eq!(seen.errno("setns"), EPERM, "{seen}");
            assert_eq!(seen.errno("close"), EBADF, "{seen}");
            assert_eq!(seen.line("getuid"), format!("= {uid} 0"));
        }
    }
}

/// At the exec boundary not one call of the runtime is filtered.
fn asks_nothing_of_the_profile_for_the_runtime(runtime: Runtime) {
    for stage in [Stage::CreateRuntime, Stage::CreateContainer] {
        for (uid, no_new_privileges) in [(0, true), (1000, true), (0, false), (1000, false)] {
            let seen = Container::new(runtime)
                .no_new_privileges(no_new_privileges)
                .uid(uid)
                .profile_hook(stage, &allows_only(&["write", "exit_group"]))
                .args(&["/hello"])
                .run()
                .exits(7);
            assert_eq!(seen.stdout, "hello\n");
        }
    }
}

/// A hook that init still starts is not to inherit what is loaded ahead: the
/// calls of init are watched instead.
fn leaves_later_hooks_of_the_runtime_as_unfiltered_as_they_were(runtime: Runtime) {
    let script = "cat >/dev/null; grep Seccomp_filters /proc/self/status >$LOG 2>&1";
    for stage in [Stage::CreateRuntime, Stage::CreateContainer] {
        let container = Container::new(runtime).profile_hook(stage, &denies_mkdir());
        let seen = container.bundle().join("seen");
        let script = script.replace("$LOG", &seen.to_string_lossy());
        let container = container.patch(|config| {
            let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
            let env = format!("PATH={}", std::env::var("PATH").unwrap_or_default());
            let hook = with(hook, "env", json!([env]));
            let hooks = &mut config["hooks"]["createContainer"];
            match hooks.as_array_mut() {
                Some(hooks) => hooks.push(hook),
                None => *hooks = json!([hook]),
            }
        });
        let container = container.probe(STATUS_AND_CALLS);
        let ran = container.run_again().success();
        check_denies_mkdir(&ran, false, 0);
        assert!(
            ran.log.contains("before it gives up CAP_SYS_ADMIN"),
            "{ran}"
        );
        let seen = fs::read_to_string(seen).unwrap();
        assert_eq!(seen, "Seccomp_filters:\t0\n", "{stage:?}");
    }
}

/// It may run the workload in init itself, as crun does for some of its names:
/// what waits for an exec would never be in force.
fn watches_the_calls_of_a_runtime_by_another_name(runtime: Runtime) {
    let container = Container::new(runtime)
        .profile_hook(Stage::CreateRuntime, &denies_mkdir())
        .probe(STATUS_AND_CALLS);
    container.write_config();
    let another = container.bundle().join("another");
    fs::copy(runtime.program().unwrap(), &another).unwrap();
    let seen = Run::new("unshare")
        .args(["--mount", "--propagation=private", "sh", "-c"])
        .args([PRIVATE_MOUNTS, "sh"])
        .env("SETUP", "")
        .arg(another)
        .arg("--root")
        .arg(container.bundle().join("state"))
        .args(["run", "--bundle"])
        .arg(container.bundle())
        .arg(container.bundle().file_name().unwrap())
        .run()
        .success();
    check_denies_mkdir(&seen, false, 0);
    let log = fs::read_to_string(container.log()).unwrap();
    assert!(log.contains("before it gives up CAP_SYS_ADMIN"), "{log}");
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}

fn gives_the_workloads_exit_status(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        Container::new(runtime)
            .no_new_privileges(no_new_privileges)
            .profile_hook(Stage::CreateRuntime, &denies_mkdir())
            .args(&["/bin/sh", "-c", "exit 42"])
            .run()
            .exits(42);
    }
}

fn gives_the_status_of_a_workload_that_was_killed(runtime: Runtime) {
    Container::new(runtime)
        .no_new_privileges(true)
        // openat2 is newer than exit_group, which otherwise would get the
        // ENOSYS of calls newer than the profile.
        .profile_hook(Stage::CreateRuntime, &allows_only(&["write", "openat2"]))
        .args(&["/hello"])
        .run()
        .exits(128 + 31);
}

fn kills_calls_of_an_architecture_that_is_not_listed(runtime: Runtime) {
    let seen = Container::new(runtime)
        .uid(1000)
        .profile_hook(
            Stage::CreateRuntime,
            &json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"] }),
        )
        .probe("call getuid -- fork call32 getpid")
        .run()
        .success();
    assert_eq!(seen.line("getuid"), "= 1000 0");
    assert_eq!(seen.line("killed"), SIGSYS);
}

/// Between the hook's answer and whatever the tracer does next, init may have
/// come to its exec.
fn arms_however_late_the_tracer_is(runtime: Runtime) {
    for no_new_privileges in [true, false] {
        let seen = Container::new(runtime)
            .no_new_privileges(no_new_privileges)
            .profile_hook(Stage::CreateRuntime, &denies_mkdir())
            .late_tracer()
            .probe("status -- call mkdir @/tmp/a 0x1ed -- exit 4")
            .run()
            .exits(4);
        assert_eq!(seen.field("pid1", "Seccomp"), "2", "{seen}");
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
    }
}

/// At startContainer another user's init is out of reach of a hook.
fn fails_closed_where_init_cannot_be_traced(runtime: Runtime) {
    let container = Container::new(runtime)
        .uid(1000)
        .probe("print unfiltered")
        .patch(|config| {
            config["hooks"]["startContainer"] = json!([{
                "path": "/oci-seccomp",
                "args": ["oci-seccomp", "hook", "--profile", "/profile", "--log", "/log"]
            }]);
        });
    let rootfs = container.rootfs();
    fs::copy(binary(), rootfs.join("oci-seccomp")).expect("copy of the program");
    fs::write(rootfs.join("profile"), denies_mkdir().to_string()).expect("profile");
    // The log that the harness reads, to be written from inside as uid 1000.
    let log = container.file("hook.log", "");
    fs::set_permissions(&log, Permissions::from_mode(0o666)).expect("mode");
    fs::hard_link(&log, rootfs.join("log")).expect("link");
    let seen = container.run().fails();
    assert_eq!(seen.stdout, "");
    seen.says("createRuntime");
}

/// At startContainer the bundle's path leads into the container, and crun says
/// that it is `/`: an image may have a `config.json` without a profile there.
fn believes_no_config_of_the_containers_making(runtime: Runtime) {
    for mine in ["", "{}", r#"{"linux": {"namespaces": [{"type": "pid"}]}}"#] {
        let container = Container::new(runtime)
            .probe("print unfiltered")
            .patch(|config| {
                config["hooks"]["startContainer"] =
                    json!([{ "path": "/oci-seccomp", "args": ["oci-seccomp", "hook"] }]);
            });
        let rootfs = container.rootfs();
        fs::copy(binary(), rootfs.join("oci-seccomp")).expect("copy of the program");
        let bundle = container.bundle().strip_prefix("/").expect("absolute");
        for dir in [rootfs.clone(), rootfs.join(bundle)] {
            fs::create_dir_all(&dir).expect("directory");
            if !mine.is_empty() {
                fs::write(dir.join("config.json"), mine).expect("config.json");
            }
        }
        let seen = run_with_hook_stderr(container).fails();
        assert_eq!(seen.stdout, "", "{seen}");
        seen.says("createRuntime");
    }
}

/// A hook file for one stage, used at another, where what starts the hook is
/// the first process of a pid namespace, but of the runtime's.
fn takes_no_runtime_for_init(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        let container = |stage: &str| {
            let container = Container::new(runtime)
                .runtime_is_first_process()
                .no_new_privileges(no_new_privileges);
            let profile = container.file("profile.json", denies_mkdir().to_string());
            let profile = profile.to_str().expect("UTF-8");
            container
                .hook(
                    Stage::CreateRuntime,
                    &["--profile", profile, "--stage", stage],
                )
                .probe("call mkdir @/tmp/a 0x1ed")
        };
        let seen = container("createContainer").run().fails();
        assert_eq!(seen.stdout, "", "{seen}");
        let seen = container("createRuntime").run().success();
        assert_eq!(seen.errno("mkdir"), DENIED);
    }
}

/// At poststart no exec is to come. crun lets the container run all the same,
/// but it was not told that it has a filter.
fn refuses_what_has_started_already(runtime: Runtime) {
    let seen = Container::new(runtime)
        .no_new_privileges(true)
        .profile_hook(Stage::CreateRuntime, &denies_mkdir())
        .patch(|config| {
            let hook = config["hooks"]["createRuntime"].take();
            config["hooks"] = json!({ "poststart": hook });
        })
        .args(&["/bin/sleep", "1"])
        .run();
    assert!(seen.log.contains("may run the workload"), "{seen}");
    assert!(!seen.log.contains("armed"), "{seen}");
}

/// crun's handlers run it in init itself; a crun without the handler, and runc,
/// execute it, but that is not to be known beforehand.
fn refuses_a_workload_that_may_not_be_executed(runtime: Runtime) {
    for name in ["run.oci.handler", "module.wasm.image/variant"] {
        let container = Container::new(runtime)
            .no_new_privileges(true)
            .profile_hook(Stage::CreateRuntime, &denies_mkdir())
            .annotation(name, "compat")
            .probe("print unfiltered");
        let seen = run_with_hook_stderr(container).fails();
        assert_eq!(seen.stdout, "", "{seen}");
        seen.says(name);
    }
}

/// Where a hook's stderr is to be seen: runc shows it in its own error, crun
/// only puts it into a file.
fn run_with_hook_stderr(container: Container) -> Outcome {
    let stderr: PathBuf = container.file("hook.err", "");
    let keep = fs::File::open(&stderr).expect("file");
    let path = stderr.to_str().expect("UTF-8").to_owned();
    let mut seen = container.annotation("run.oci.hooks.stderr", path).run();
    seen.stderr += &std::io::read_to_string(keep).expect("UTF-8");
    seen
}

fn names_rule_and_line_of_a_broken_profile(runtime: Runtime) {
    const BROKEN: &str = r#"{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [
    { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" },
    {
      "names": ["chmod"],
      "action": "SCMP_ACT_FROB"
    }
  ]
}"#;
    for stage in [Stage::CreateRuntime, Stage::CreateContainer] {
        let container = Container::new(runtime).probe("print unfiltered");
        let profile = container.file("broken.json", BROKEN);
        let container = container.hook(stage, &["--profile".as_ref(), profile.as_os_str()]);
        let seen = run_with_hook_stderr(container).fails();
        assert_eq!(seen.stdout, "", "{seen}");
        for part in ["SCMP_ACT_FROB", "rule 1", "line 5"] {
            assert!(seen.stderr.contains(part), "no {part:?} in {seen}");
        }
    }
}

fn refuses_a_profile_that_is_not_there(runtime: Runtime) {
    let container = Container::new(runtime)
        .hook(
            Stage::CreateRuntime,
            &["--profile", "/nowhere/profile.json"],
        )
        .probe("print unfiltered");
    let seen = run_with_hook_stderr(container).fails();
    assert_eq!(seen.stdout, "");
    seen.says("/nowhere/profile.json");
}

/// The section stays in the config: the runtime loads it, and so do we unless
/// what is there is shown to be the same.
fn adds_nothing_weaker_where_the_runtime_filters_too(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        let seen = Container::new(runtime)
            .no_new_privileges(no_new_privileges)
            .seccomp(&denies_mkdir())
            .hook::<&str>(Stage::CreateRuntime, &[])
            .probe(STATUS_AND_CALLS)
            .run()
            .success();
        let filters = seen.field("pid1", "Seccomp_filters");
        assert!(["1", "2"].contains(&filters), "{seen}");
        assert_eq!(seen.field("pid1", "Seccomp"), "2");
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
        assert_eq!(seen.errno("mkdirat"), DENIED, "{seen}");
        assert_eq!(seen.errno("close"), EBADF, "{seen}");
    }
}

fn lets_a_config_without_section_through(runtime: Runtime) {
    let seen = Container::new(runtime)
        .hook::<&str>(Stage::CreateRuntime, &[])
        .probe("status")
        .run()
        .success();
    assert_eq!(seen.field("pid1", "Seccomp"), "0");
    assert!(!seen.log.is_empty(), "not a word about it in the log");
}

fn requires_a_section_when_told_to(runtime: Runtime) {
    let container = Container::new(runtime)
        .hook(Stage::CreateRuntime, &["--require"])
        .probe("print unfiltered");
    let seen = run_with_hook_stderr(container).fails();
    assert_eq!(seen.stdout, "");
    seen.says("seccomp");
}

fn shim_filters_the_workload(runtime: Runtime) {
    for uid in [0, 1000] {
        let seen = Container::new(runtime)
            .no_new_privileges(true)
            .uid(uid)
            .probe(&format!("{STATUS_AND_CALLS} -- exit 9"))
            .shim(&denies_mkdir())
            .run()
            .exits(9);
        check_denies_mkdir(&seen, true, uid);
    }
}

/// The shim's own exec is the one call the workload does not need.
fn shim_lets_the_profile_be_as_small_as_the_workload(runtime: Runtime) {
    let seen = Container::new(runtime)
        .no_new_privileges(true)
        .uid(1000)
        .args(&["/hello"])
        .shim(&allows_only(&["execve", "write", "exit_group"]))
        .run()
        .exits(7);
    assert_eq!(seen.stdout, "hello\n");
}

fn shim_takes_a_ready_program(runtime: Runtime) {
    let denied = Action::Errno(u16::try_from(DENIED).expect("errno"));
    let program = filters::answering(&[
        (libc::SYS_mkdir, None, denied),
        (libc::SYS_mkdirat, None, denied),
    ]);
    let container = |uid| Container::new(runtime).uid(uid).probe(STATUS_AND_CALLS);
    for uid in [0, 1000] {
        let container = container(uid).no_new_privileges(true);
        let seen = container.shim_with("--bpf", &program).run().success();
        check_denies_mkdir(&seen, true, uid);
    }
    let container = container(0).capabilities(&["CAP_SYS_ADMIN"]);
    let seen = container.shim_with("--bpf", &program).run().success();
    check_denies_mkdir(&seen, false, 0);
}

fn shim_says_what_to_set_without_no_new_privs(runtime: Runtime) {
    let seen = Container::new(runtime)
        .uid(1000)
        .probe("print unfiltered")
        .shim_with("--bpf", filters::answering(&[]))
        .run()
        .exits(125);
    assert_eq!(seen.stdout, "");
    seen.says("noNewPrivileges").says("CAP_SYS_ADMIN");
}

fn shim_tells_its_errors_from_the_workloads(runtime: Runtime) {
    let shim = |workload: &str| {
        let container = Container::new(runtime).no_new_privileges(true);
        let shimmed = container.args(&[workload]).shim(&denies_mkdir());
        shimmed.run()
    };
    shim("/nowhere").exits(127).says("/nowhere");
    shim("/source").exits(126).says("/source");
}
