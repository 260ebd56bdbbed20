//! Containers that cannot be joined, and how it ends: nothing is left.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{denies, is_refused};
use crate::support::container::open_to_all;
use crate::support::{self, Container, Created, Runtime, Started, process};

support::on_each_runtime! {
    refuses_one_that_is_not_running
    nothing_is_left_of_one_that_is_interrupted_before_the_command
    nothing_is_left_of_one_that_is_killed_while_it_joins
    starts_nothing_for_one_who_may_not_join
    a_signal_reaches_the_command
    leaves_no_zombie_and_no_mount
    ends_when_the_container_does
}

fn refuses_one_that_is_not_running(runtime: Runtime) {
    let created = Container::new(runtime)
        .sleeping_after("print started")
        .create()
        .ready();
    let hello = || created.exec(&[], &["/hello"]).run();
    is_refused(hello(), "not running").says("created");
    created.start().success();
    created.waits_for("asleep");
    assert_eq!(hello().exits(7).stdout, "hello\n");
    created.pause().success();
    let paused = hello();
    created.resume().success();
    is_refused(paused, "not running").says("paused");
    let init = created.pid();
    created.kill("KILL").success();
    assert!(process::within(
        support::command::LIMIT,
        || !process::alive(init)
    ));
    is_refused(hello(), "not running").says("stopped");
    created.delete().success();
    is_refused(hello(), created.id());
    let unknown = created
        .ours(&[])
        .args(["exec", "--runtime", runtime.name(), "../x", "/hello"]);
    is_refused(unknown.run(), "../x");
    let no_runtime = created
        .ours(&[])
        .args(["exec", "--runtime", "/none", "x", "/hello"]);
    is_refused(no_runtime.run(), "/none");
}

/// An exec that hangs before the command, since the container has stopped its
/// process there.
fn hanging(created: &Created) -> Started {
    let stopped = || created.printed().matches("early stopped").count();
    for _ in 0..100 {
        let before = stopped();
        let mut started = created.exec_probe(&[], "print reached").start();
        process::within(support::command::LIMIT, || {
            started.has_ended() || stopped() > before
        });
        if stopped() > before {
            return started;
        }
        // It was too fast for the container.
        started.outcome().success();
    }
    panic!("never stopped in time: {}", created.printed());
}

fn nothing_is_left_of_one_that_is_interrupted_before_the_command(runtime: Runtime) {
    let created = Container::new(runtime).hunting(&["stop"]);
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGKILL,
    ] {
        let started = hanging(&created);
        started.signal(signal);
        let seen = started.outcome();
        assert_eq!(seen.code(), Some(128 + signal as i32), "{seen}");
        assert_eq!(seen.stdout, "", "{seen}");
        created.is_alone();
    }
}

/// Before each step of the joiner's that its parent has to do with.
fn nothing_is_left_of_one_that_is_killed_while_it_joins(runtime: Runtime) {
    let Some(strace) = support::programs::find("strace") else {
        return support::skip("strace is not installed");
    };
    let strace = strace.to_str().expect("UTF-8");
    let created = Container::new(runtime)
        .seccomp(&denies(&["mkdir"]))
        .running();
    // By name: the joiner has forgotten the arguments.
    let ours = || {
        let others = created.others();
        let named = others
            .iter()
            .filter(|(_, what)| what.contains("(oci-seccomp)"));
        named.count()
    };
    for call in ["sendmsg", "wait4", "pidfd_open", "ptrace"] {
        for signal in [Signal::SIGKILL, Signal::SIGINT] {
            let inject = format!("inject={call}:delay_enter=300000:when=1+");
            let before = [strace, "-o", "/dev/null", "-e", &inject];
            let mut started = created
                .exec_before(&before, &[], &["/probe", "print", "reached"])
                .start();
            // Ours, and what it has forked.
            process::within(support::command::LIMIT, || {
                started.has_ended() || ours() > 1
            });
            created.signal_ours(&started, signal);
            let seen = started.outcome();
            assert_eq!(
                (seen.code(), seen.stdout.as_str()),
                (Some(128 + signal as i32), ""),
                "{call}: {seen}"
            );
            created.is_alone();
        }
    }
}

fn starts_nothing_for_one_who_may_not_join(runtime: Runtime) {
    let created = Container::new(runtime).running();
    open_to_all(created.bundle());
    let pid = created.pid().to_string();
    for privileges in [
        &["--reuid", "1000", "--clear-groups"][..],
        &["--bounding-set", "-sys_admin"],
        &["--bounding-set", "-sys_ptrace"],
        &["--bounding-set", "-sys_chroot"],
    ] {
        let run = created.host(&["setpriv"]).args(privileges);
        let run = run
            .arg(support::programs::stripped())
            .args(["exec", "--pid", &pid, "--bundle"]);
        let seen = run
            .arg(created.bundle())
            .args(["/probe", "print", "started"])
            .run();
        is_refused(seen, "oci-seccomp: error");
        created.is_alone();
    }
}

fn a_signal_reaches_the_command(runtime: Runtime) {
    let created = Container::new(runtime).running();
    for (signal, status) in [
        (Signal::SIGTERM, 15),
        (Signal::SIGINT, 2),
        (Signal::SIGHUP, 1),
        (Signal::SIGUSR1, 10),
    ] {
        let script =
            "trap 'echo got; exit 9' TERM INT HUP USR1; echo up; while :; do sleep 0.05; done";
        for (argv, expected) in [
            (&["sh", "-c", script][..], 9),
            (&["sh", "-c", "echo up; exec sleep 100"], 128 + status),
        ] {
            let started = created.exec(&[], argv).start();
            let up = || started.printed().contains("up");
            assert!(
                process::within(support::command::LIMIT, up),
                "{}",
                started.outcome()
            );
            std::thread::sleep(Duration::from_millis(20));
            started.signal(signal);
            let seen = started.outcome();
            assert_eq!(seen.code(), Some(expected), "{signal}: {seen}");
            created.is_alone();
        }
    }
}

fn leaves_no_zombie_and_no_mount(runtime: Runtime) {
    let created = Container::new(runtime)
        .seccomp(&denies(&["mkdir"]))
        .running();
    let mounts =
        || fs::read_to_string(format!("/proc/{}/mountinfo", created.pid())).expect("mounts");
    let before = mounts();
    for argv in [
        &["/hello"][..],
        &["/none"],
        &["sh", "-c", "sleep 0; exit 4"],
    ] {
        created.exec(&[], argv).run().fails();
        created.exec(&["--cwd", "/none"], argv).run().fails();
        created.is_alone();
        assert_eq!(process::zombies(created.pid()), [""; 0]);
        assert_eq!(process::marked_mounts(created.id()), [""; 0]);
        assert_eq!(mounts(), before);
    }
}

fn ends_when_the_container_does(runtime: Runtime) {
    let created = Container::new(runtime).running();
    let started = created
        .exec(&[], &["sh", "-c", "echo up; exec sleep 100"])
        .start();
    let up = || started.printed().contains("up");
    assert!(
        process::within(support::command::LIMIT, up),
        "{}",
        started.outcome()
    );
    created.kill("KILL").success();
    started.outcome().exits(137);
}
