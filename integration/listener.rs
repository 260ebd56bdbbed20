//! NOTIFY rules in real containers under runc and crun: an agent answers
//! mkdir(2), told through the profile's `listenerPath`.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Agent, Container, Manner, Outcome, Runtime, Stage, process, programs, testdata};

const DENIED: i32 = 77;
const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;

/// All that the agent can say to mkdir, and what came of it.
const MKDIRS: &str = "status -- call mkdir @/tmp/faked 0x1ed -- call rmdir @/tmp/faked \
     -- fork call mkdirat -1 @/tmp/denied 0 -- call 83 @/tmp/made 0x1ed -- call 84 @/tmp/made";

const STAGES: [Stage; 2] = [Stage::CreateRuntime, Stage::CreateContainer];

/// Everything but mkdir, which the agent at this path is asked about.
fn asks(path: &Path) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "listenerPath": path,
        "listenerMetadata": "whose it is",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }]
    })
}

fn answering() -> (Agent, Value) {
    let agent = Agent::new(Manner::Answers);
    let profile = asks(agent.path());
    (agent, profile)
}

#[track_caller]
fn check_answers(seen: &Outcome) {
    check_answers_among(seen, "1");
}

/// The same with so many filters in all.
#[track_caller]
fn check_answers_among(seen: &Outcome, filters: &str) {
    for who in ["self", "pid1", "child"] {
        assert_eq!(seen.field(who, "Seccomp_filters"), filters, "{seen}");
    }
    assert_eq!(seen.errno("mkdir"), 0, "{seen}");
    assert_eq!(seen.errno("rmdir"), ENOENT, "made after all: {seen}");
    assert_eq!(seen.errno("mkdirat"), DENIED, "{seen}");
    assert_eq!(seen.errno("83"), 0, "{seen}");
    assert_eq!(seen.errno("84"), 0, "not made: {seen}");
}

support::on_each_runtime! {
    the_agent_answers_mkdir
    the_agent_answers_a_32_bit_workload
    the_agent_is_told_whose_listener_it_is
    takes_long_metadata
    the_container_does_not_keep_the_listener
    needs_no_close_in_the_profile
    the_agent_may_answer_the_runtime_too
    waits_killably
    lives_on_without_its_agent
    the_agent_answers_beside_a_baseline
    does_not_start_without_an_agent
    does_not_start_with_an_agent_that_hangs_up
    does_not_start_where_the_runtime_has_a_listener_too
    ignores_a_path_that_no_rule_needs
}

fn the_agent_answers_mkdir(runtime: Runtime) {
    for stage in STAGES {
        for (no_new_privileges, uid) in [(false, 0), (false, 1000), (true, 0), (true, 1000)] {
            let (_agent, profile) = answering();
            let seen = Container::new(runtime)
                .no_new_privileges(no_new_privileges)
                .uid(uid)
                .profile_hook(stage, &profile)
                .probe(MKDIRS)
                .run()
                .success();
            check_answers(&seen);
        }
    }
}

/// The baseline is loaded first and denies what handing over a listener takes.
fn the_agent_answers_beside_a_baseline(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        let (_agent, profile) = answering();
        let container = Container::new(runtime);
        let dir = container.bundle().join("profiles");
        fs::create_dir(&dir).expect("directory");
        fs::write(dir.join("asks.json"), profile.to_string()).expect("profile");
        let baseline = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["seccomp", "chmod"], "action": "SCMP_ACT_ERRNO" }]
        });
        let baseline = container.file("base.json", baseline.to_string());
        let args = ["--profile".as_ref(), baseline.as_os_str()];
        let dir = ["--profile-dir".as_ref(), dir.as_os_str()];
        let seen = container
            .no_new_privileges(no_new_privileges)
            .annotation("io.oci-seccomp.profile", "asks")
            .hook(Stage::CreateRuntime, &[args, dir].concat())
            .probe(MKDIRS)
            .run()
            .success();
        check_answers_among(&seen, "2");
    }
}

fn the_agent_answers_a_32_bit_workload(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        let (_agent, profile) = answering();
        let container = Container::new(runtime)
            .no_new_privileges(no_new_privileges)
            .profile_hook(Stage::CreateRuntime, &profile)
            .probe(
                "call mkdir @/tmp/faked 0x1ed -- call mkdirat -1 @/tmp/denied 0 \
                 -- call 39 @/tmp/made 0x1ed",
            );
        fs::copy(programs::probe32(), container.rootfs().join("probe")).expect("copy");
        let seen = container.run().success();
        assert_eq!(seen.errno("mkdir"), 0, "{seen}");
        assert_eq!(seen.errno("mkdirat"), DENIED, "{seen}");
        assert_eq!(seen.errno("39"), 0, "{seen}");
    }
}

/// The pid is the one that the runtime itself says.
fn the_agent_is_told_whose_listener_it_is(runtime: Runtime) {
    for stage in STAGES {
        for no_new_privileges in [false, true] {
            let (agent, profile) = answering();
            let created = Container::new(runtime)
                .no_new_privileges(no_new_privileges)
                .annotation("org.example.key", "value")
                .profile_hook(stage, &profile)
                .probe(MKDIRS)
                .create()
                .ready();
            let pid = created.pid();
            created.start().success();
            let told = agent.told();
            assert_eq!(told["fds"], json!(["seccompFd"]), "{told}");
            assert_eq!(told["pid"], pid, "{told}");
            assert_eq!(told["metadata"], "whose it is", "{told}");
            let state = &told["state"];
            assert_eq!(state["id"], created.id(), "{told}");
            assert_eq!(state["pid"], pid, "{told}");
            assert_eq!(state["status"], "creating", "{told}");
            assert_eq!(state["bundle"], json!(created.bundle()), "{told}");
            assert_eq!(state["annotations"]["org.example.key"], "value", "{told}");
            for version in [&told["ociVersion"], &state["ociVersion"]] {
                assert!(version.as_str().is_some_and(|v| v.starts_with("1.")));
            }
            check_answers(&created.output(pid));
        }
    }
}

fn takes_long_metadata(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        let (agent, mut profile) = answering();
        let metadata = "m".repeat(100 << 10);
        profile["listenerMetadata"] = json!(metadata);
        let seen = Container::new(runtime)
            .no_new_privileges(no_new_privileges)
            .profile_hook(Stage::CreateRuntime, &profile)
            .probe(MKDIRS)
            .run()
            .success();
        check_answers(&seen);
        assert_eq!(agent.told()["metadata"], json!(metadata));
    }
}

/// Init itself lists what it has open.
fn the_container_does_not_keep_the_listener(runtime: Runtime) {
    for stage in STAGES {
        for no_new_privileges in [false, true] {
            let (_agent, profile) = answering();
            let seen = Container::new(runtime)
                .no_new_privileges(no_new_privileges)
                .profile_hook(stage, &profile)
                .args(&["/bin/ls", "-l", "/proc/1/fd"])
                .run()
                .success();
            assert!(seen.stdout.contains(" 0 -> "), "{seen}");
            assert!(!seen.stdout.contains("seccomp"), "{seen}");
        }
    }
}

/// Whatever the profile says to the call that closes the listener in init.
fn needs_no_close_in_the_profile(runtime: Runtime) {
    for stage in STAGES {
        let (_agent, mut profile) = answering();
        profile["defaultAction"] = json!("SCMP_ACT_KILL_PROCESS");
        let calls = profile["syscalls"].as_array_mut().expect("rules");
        calls.push(json!({
            "names": ["write", "exit_group", "openat2"], "action": "SCMP_ACT_ALLOW"
        }));
        let container = || Container::new(runtime).no_new_privileges(true).uid(1000);
        let workload = "call mkdir @/tmp/denied 0 -- print open";
        let seen = container()
            .profile_hook(stage, &profile)
            .probe(workload)
            .run()
            .success();
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");

        let (_agent, mut profile) = answering();
        profile["syscalls"][0]["names"] = json!(["mkdir", "close"]);
        let seen = container()
            .profile_hook(stage, &profile)
            .probe(workload)
            .run()
            .success();
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
    }
}

/// Before the capability is dropped the runtime asks for its own calls: the
/// agent has to be there before the next of them.
fn the_agent_may_answer_the_runtime_too(runtime: Runtime) {
    for stage in STAGES {
        let (_agent, mut profile) = answering();
        profile["syscalls"][0]["names"] =
            json!(["mkdir", "mkdirat", "capset", "setresuid", "execve", "close"]);
        let seen = Container::new(runtime)
            .uid(1000)
            .profile_hook(stage, &profile)
            .probe(MKDIRS)
            .run()
            .success();
        check_answers(&seen);
    }
}

fn waits_killably(runtime: Runtime) {
    let flag = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    if oci_seccomp::sys::seccomp::flag_available(flag | listener) != Ok(true) {
        return support::skip("WAIT_KILLABLE_RECV needs Linux 5.19");
    }
    for no_new_privileges in [false, true] {
        let (_agent, mut profile) = answering();
        profile["flags"] = json!([
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
            "SECCOMP_FILTER_FLAG_TSYNC"
        ]);
        let seen = Container::new(runtime)
            .no_new_privileges(no_new_privileges)
            .profile_hook(Stage::CreateRuntime, &profile)
            .probe(MKDIRS)
            .run()
            .success();
        check_answers(&seen);
    }
}

/// That the kernel answers shows that nobody else has the listener.
fn lives_on_without_its_agent(runtime: Runtime) {
    for stage in STAGES {
        for no_new_privileges in [false, true] {
            let (_agent, profile) = answering();
            let seen = Container::new(runtime)
                .no_new_privileges(no_new_privileges)
                .profile_hook(stage, &profile)
                .probe(
                    "call mkdir @/tmp/last 0 -- sleep 1 -- call mkdirat -1 @/tmp/made 0 -- exit 4",
                )
                .run()
                .exits(4);
            assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
            assert_eq!(seen.errno("mkdirat"), ENOSYS, "{seen}");
        }
    }
}

fn does_not_start_without_an_agent(runtime: Runtime) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let at = |name| dir.path().join(name);
    fs::write(at("file"), "").expect("file");
    drop(UnixListener::bind(at("dead")).expect("socket"));
    for (path, why) in [
        (at("none"), "ENOENT"),
        (at("file"), "is no socket"),
        (at("dead"), "nobody listens there"),
        ("run/agent".into(), "no absolute path"),
    ] {
        for stage in STAGES {
            let seen = Container::new(runtime)
                .no_new_privileges(true)
                .profile_hook(stage, &asks(&path))
                .probe("print unfiltered")
                .run()
                .fails();
            assert_eq!(seen.stdout, "");
            let path = path.to_str().expect("UTF-8");
            seen.says("listenerPath").says(path).says(why);
        }
    }
}

/// After it took the connection, so that only the sending can tell.
fn does_not_start_with_an_agent_that_hangs_up(runtime: Runtime) {
    for stage in STAGES {
        let agent = Agent::new(Manner::HangsUp);
        let created = Container::new(runtime)
            .no_new_privileges(true)
            .profile_hook(stage, &asks(agent.path()))
            .probe("print unfiltered")
            .create()
            .ready();
        let pid = created.pid();
        assert_eq!(agent.told(), Value::Null);
        // The runtime need not have noticed by then.
        created.start();
        let seen = created.output(pid);
        assert_eq!(seen.stdout, "", "{seen}");
        let why = "failed to send its listener to the agent: EPIPE";
        let said = || created.output(pid).log.contains(why);
        let seconds = Duration::from_secs(5);
        assert!(process::within(seconds, said), "{}", created.output(pid));
    }
}

/// The kernel allows a process one listener: the runtime's own load fails.
fn does_not_start_where_the_runtime_has_a_listener_too(runtime: Runtime) {
    let (_agent, profile) = answering();
    let seen = Container::new(runtime)
        .seccomp(&profile)
        .hook::<&str>(Stage::CreateRuntime, &[])
        .probe("print unfiltered")
        .run()
        .fails();
    assert_eq!(seen.stdout, "", "{seen}");
}

fn ignores_a_path_that_no_rule_needs(runtime: Runtime) {
    let mut profile = testdata("default");
    profile["listenerPath"] = json!("/nowhere");
    Container::new(runtime)
        .profile_hook(Stage::CreateRuntime, &profile)
        .run()
        .success();
}
