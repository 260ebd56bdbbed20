//! Which filters it has: those that config.json asks for, and init's.

use std::fs;

use serde_json::{Value, json};

use super::{
    CALLS, DENIED, ENOENT, allows_only, denies, each_pair, each_setting, is_filtered, is_refused,
};
use nix::sys::signal::Signal;

use crate::support::command::LIMIT;
use crate::support::{
    self, Agent, Container, Created, Manner, Run, Runtime, Stage, process, programs,
};

support::on_each_runtime_and_youki! {
    is_filtered_as_the_hook_has_armed_init
    is_filtered_as_the_section_says
    takes_the_section_and_the_hook_together
    a_named_profile_of_the_site_is_loaded_too
    a_profile_given_takes_their_place
    a_profile_need_not_allow_what_comes_before_the_command
    refuses_to_be_less_confined_than_init
    loads_filters_of_inits_when_told_to
    refuses_to_join_an_init_that_cannot_be_read
    joins_a_wrapped_bundle_as_its_workload
    the_agent_answers_the_new_process
    does_not_start_without_the_agent
    starts_nothing_where_a_profile_is_refused
    from_under_a_filter_the_profile_has_to_allow_what_comes_before
}

fn is_filtered_as_the_hook_has_armed_init(runtime: Runtime) {
    each_setting(runtime, |container| {
        let created = container
            .profile_hook(Stage::CreateRuntime, &denies(&["mkdir"]))
            .running();
        let seen = created.exec_probe(&[], CALLS).run().success();
        is_filtered(&seen, "1");
        assert_eq!(seen.field("pid1", "Seccomp_filters"), "1", "{seen}");
        created.is_alone();
    });
}

/// youki loads none of its own for root where the config says that it may gain
/// privileges; ours has it all the same.
fn is_filtered_as_the_section_says(runtime: Runtime) {
    each_pair(runtime, |container| {
        let created = container.seccomp(&denies(&["mkdir"])).running();
        let seen = created.exec_probe(&[], CALLS).run().success();
        is_filtered(&seen, "1");
        created.is_alone();
    });
}

/// A program that both ask for is loaded once.
fn takes_the_section_and_the_hook_together(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        let container = |hook: &[&str]| {
            Container::new(runtime)
                .no_new_privileges(no_new_privileges)
                .seccomp(&denies(&["mkdir"]))
                .profile_hook(Stage::CreateRuntime, &denies(hook))
                .running()
        };
        let probe = format!("{CALLS} -- call rmdir @/none");
        let seen = container(&["rmdir"])
            .exec_probe(&[], &probe)
            .run()
            .success();
        is_filtered(&seen, "2");
        assert_eq!(seen.errno("rmdir"), DENIED, "{seen}");
        let seen = container(&["mkdir"])
            .exec_probe(&[], &probe)
            .run()
            .success();
        is_filtered(&seen, "1");
        assert_eq!(seen.errno("rmdir"), ENOENT, "{seen}");
    }
}

fn a_named_profile_of_the_site_is_loaded_too(runtime: Runtime) {
    let container = Container::new(runtime).no_new_privileges(true);
    let dir = container.bundle().join("profiles");
    fs::create_dir(&dir).expect("directory");
    fs::write(dir.join("app.json"), denies(&["rmdir"]).to_string()).expect("profile");
    let base = container.file("base.json", denies(&["mkdir"]).to_string());
    let args = [
        "--profile".as_ref(),
        base.as_os_str(),
        "--profile-dir".as_ref(),
        dir.as_os_str(),
    ];
    let created = container
        .annotation("io.oci-seccomp.profile", "app")
        .hook(Stage::CreateRuntime, &args)
        .running();
    let probe = format!("{CALLS} -- call rmdir @/none");
    let seen = created.exec_probe(&[], &probe).run().success();
    is_filtered(&seen, "2");
    assert_eq!(seen.errno("rmdir"), DENIED, "{seen}");
}

/// `exec --profile` with this profile.
#[track_caller]
fn with_profile(created: &Created, profile: &Value, argv: &[&str]) -> support::Outcome {
    let file = created.file("given.json", profile.to_string());
    let options = ["--profile", file.to_str().expect("UTF-8")];
    created.exec(&options, argv).run()
}

fn a_profile_given_takes_their_place(runtime: Runtime) {
    let argv: Vec<&str> = std::iter::once("/probe").chain(CALLS.split(' ')).collect();
    let armed = || {
        Container::new(runtime)
            .seccomp(&denies(&["mkdir"]))
            .profile_hook(Stage::CreateRuntime, &denies(&["mkdir"]))
            .running()
    };
    let created = armed();
    let seen = with_profile(&created, &denies(&["mkdir", "rmdir"]), &argv).success();
    is_filtered(&seen, "1");
    // One that is weaker is refused all the same.
    let seen = with_profile(&created, &denies(&["rmdir"]), &argv);
    is_refused(seen, "is stricter than the profile: x86_64 mkdir(");
    created.is_alone();
    let unfiltered = Container::new(runtime).running();
    let seen = with_profile(&unfiltered, &denies(&["mkdir"]), &argv).success();
    is_filtered(&seen, "1");
    assert_eq!(seen.field("pid1", "Seccomp"), "0", "{seen}");
}

/// Not one of the calls before the command's first is filtered.
fn a_profile_need_not_allow_what_comes_before_the_command(runtime: Runtime) {
    let forbidden = [
        "seccomp",
        "execve",
        "execveat",
        "clone",
        "clone3",
        "fork",
        "vfork",
        "setsid",
        "capset",
        "prctl",
        "close_range",
        "sendmsg",
        "setresuid",
        "setgroups",
        "ioctl",
        "rt_sigaction",
    ];
    each_pair(runtime, |container| {
        let created = container.running();
        let seen = with_profile(
            &created,
            &allows_only(&["write", "exit_group"]),
            &["/hello"],
        );
        assert_eq!(seen.exits(7).stdout, "hello\n");
        let seen = with_profile(
            &created,
            &denies(&forbidden),
            &["/probe", "call", "execve", "0"],
        );
        assert_eq!(seen.success().errno("execve"), DENIED);
        created.is_alone();
    });
}

/// A filter that the workload has loaded for itself.
fn with_a_filter_of_its_own(runtime: Runtime, section: &Value) -> Created {
    Container::new(runtime)
        .no_new_privileges(true)
        .seccomp(section)
        .sleeping_after("filter chmod 78")
        .launch()
}

fn refuses_to_be_less_confined_than_init(runtime: Runtime) {
    let created = with_a_filter_of_its_own(runtime, &denies(&["mkdir"]));
    let seen = created.exec_probe(&[], "print unconfined").run();
    let seen = is_refused(seen, "filter 1 of the container's init");
    seen.says("--inherit-filters");
    created.is_alone();
    let created = with_a_filter_of_its_own(runtime, &Value::Null);
    let seen = created.exec_probe(&[], "print unconfined").run();
    is_refused(seen, "filter 0 of the container's init is declared nowhere");
    created.is_alone();
}

/// A container can bring that about: by a tracer of its own, for one.
fn refuses_to_join_an_init_that_cannot_be_read(runtime: Runtime) {
    let created = Container::new(runtime)
        .seccomp(&denies(&["mkdir"]))
        .running();
    let pid = created.pid();
    let strace = ["-qq", "-o", "/dev/null", "-p", &pid.to_string()];
    let tracer = Run::new("strace").args(strace).start();
    let traced = || process::status(pid, "TracerPid").is_some_and(|tracer| tracer != "0");
    assert!(process::within(LIMIT, traced), "nobody traces {pid}");
    for options in [&[][..], &["--inherit-filters"]] {
        let seen = created.exec_probe(options, "print unconfined").run();
        is_refused(seen, "cannot read the filters of the container's init");
    }
    tracer.signal(Signal::SIGTERM);
    tracer.outcome();
    assert!(process::within(LIMIT, || !traced()));
    created.exec_probe(&[], "print confined").run().success();
    created.is_alone();
}

fn loads_filters_of_inits_when_told_to(runtime: Runtime) {
    let created = with_a_filter_of_its_own(runtime, &denies(&["mkdir"]));
    let probe = format!("{CALLS} -- call chmod @/none 0");
    let seen = created
        .exec_probe(&["--inherit-filters"], &probe)
        .run()
        .success();
    is_filtered(&seen, "2");
    assert_eq!(seen.errno("chmod"), 78, "{seen}");
    // With nothing to inherit it changes nothing.
    let created = Container::new(runtime)
        .seccomp(&denies(&["mkdir"]))
        .running();
    let seen = created
        .exec_probe(&["--inherit-filters"], &probe)
        .run()
        .success();
    is_filtered(&seen, "1");
}

fn joins_a_wrapped_bundle_as_its_workload(runtime: Runtime) {
    if runtime == Runtime::Youki {
        eprintln!(
            "skipped: youki 0.7.0 looks for a relative mount source elsewhere than in the bundle"
        );
        return;
    }
    for (no_new_privileges, uid) in [(false, 0), (false, 1000), (true, 1000)] {
        let created = Container::new(runtime)
            .no_new_privileges(no_new_privileges)
            .uid(uid)
            .seccomp(&denies(&["mkdir"]))
            .sleeping_after("print started")
            .wrapped(&[])
            .launch();
        let seen = created.exec_probe(&[], CALLS).run().success();
        is_filtered(&seen, "1");
        for key in ["Seccomp_filters", "NoNewPrivs", "CapEff", "Uid"] {
            assert_eq!(
                seen.field("self", key),
                seen.field("pid1", key),
                "{key}: {seen}"
            );
        }
        created.is_alone();
    }
}

/// Asks the agent about mkdir.
fn asks(agent: &Agent) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "listenerPath": agent.path(),
        "listenerMetadata": "whose it is",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }]
    })
}

const MKDIRS: &str = "status -- call mkdir @/tmp/faked 0x1ed -- call rmdir @/tmp/faked \
     -- fork call mkdirat -1 @/tmp/denied 0 -- call close 99";

fn the_agent_answers_the_new_process(runtime: Runtime) {
    each_pair(runtime, |container| {
        // Two connections: init's, and the new process's.
        let agent = Agent::serving(Manner::Answers, 2);
        let created = container
            .profile_hook(Stage::CreateRuntime, &asks(&agent))
            .running();
        let of_init = agent.told();
        let pid_file = created.bundle().join("exec-pid");
        let options = ["--pid-file", pid_file.to_str().expect("UTF-8")];
        let seen = created.exec_probe(&options, MKDIRS).run().success();
        assert_eq!(seen.field("self", "Seccomp_filters"), "1", "{seen}");
        assert_eq!(seen.errno("mkdir"), 0, "{seen}");
        assert_eq!(seen.errno("rmdir"), ENOENT, "made after all: {seen}");
        assert_eq!(seen.errno("mkdirat"), DENIED, "{seen}");
        let told = agent.told();
        let pid = fs::read_to_string(&pid_file).expect("pid file");
        assert_eq!(told["pid"].to_string(), pid, "{told}");
        assert_eq!(told["fds"], json!(["seccompFd"]), "{told}");
        assert_eq!(told["metadata"], "whose it is", "{told}");
        let state = &told["state"];
        assert_eq!(state["status"], "running", "{told}");
        assert_eq!(state["pid"], created.pid(), "{told}");
        assert_eq!(state["id"], created.id(), "{told}");
        assert_eq!(state["bundle"], json!(created.bundle()), "{told}");
        assert_eq!(state["pid"], of_init["state"]["pid"], "{told}");
        created.is_alone();
    });
}

fn does_not_start_without_the_agent(runtime: Runtime) {
    let created = Container::new(runtime).running();
    let agent = Agent::new(Manner::HangsUp);
    let profile = asks(&agent);
    let seen = with_profile(&created, &profile, &["/probe", "print", "unasked"]);
    is_refused(seen, "agent");
    created.is_alone();
    drop(agent);
    let seen = with_profile(&created, &profile, &["/probe", "print", "unasked"]);
    is_refused(seen, "listenerPath");
    created.is_alone();
}

fn starts_nothing_where_a_profile_is_refused(runtime: Runtime) {
    let created = Container::new(runtime).running();
    let argv = ["/probe", "print", "unfiltered"];
    let broken = json!({ "defaultAction": "SCMP_ACT_SOMETHING" });
    is_refused(with_profile(&created, &broken, &argv), "SCMP_ACT_SOMETHING");
    let missing = created.exec(&["--profile", "/none.json"], &argv).run();
    is_refused(missing, "/none.json");
    created.is_alone();
}

/// Who has a filter may not lift those of others. The caller's own stays on too.
fn from_under_a_filter_the_profile_has_to_allow_what_comes_before(runtime: Runtime) {
    let created = Container::new(runtime).running();
    let probe = programs::probe().to_str().expect("UTF-8");
    let under = [probe, "filter", "chmod", "78", "--", "exec"];
    let run = |profile: &Value, argv: &[&str]| {
        let file = created.file("given.json", profile.to_string());
        let options = ["--profile", file.to_str().expect("UTF-8")];
        let mut seen = created.exec_before(&under, &options, argv).run();
        let loaded = seen.stdout.strip_prefix("filter = 0\n").map(str::to_owned);
        seen.stdout = loaded.unwrap_or_else(|| panic!("no filter: {seen}"));
        seen
    };
    let argv: Vec<&str> = std::iter::once("/probe").chain(CALLS.split(' ')).collect();
    is_filtered(&run(&denies(&["mkdir"]), &argv).success(), "2");
    for forbidden in ["clone", "setsid", "execve", "capset"] {
        let seen = run(&denies(&[forbidden]), &["/probe", "print", "started"]);
        is_refused(seen, &format!("allow {forbidden}"));
        created.is_alone();
    }
    let agent = Agent::new(Manner::HangsUp);
    let seen = run(&asks(&agent), &["/probe", "print", "started"]);
    is_refused(seen, "SCMP_ACT_NOTIFY");
    created.is_alone();
}
