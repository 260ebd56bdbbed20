//! The harness itself, held to its word without a filter of ours: what other
//! tests conclude from it is worth only as much.
#![forbid(unsafe_code)]

mod support;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Container, Run, Runtime, process};

support::on_each_runtime! {
    reports_no_filter_where_there_is_none
    sees_the_runtimes_own_filter
    steps_from_create_to_delete
    takes_an_abandoned_create_away
    finds_a_process_that_a_hook_left_behind
}

#[test]
fn kills_the_group_when_time_is_up() {
    let started = Instant::now();
    let mark = format!("9{}.25", std::process::id());
    let outcome = Run::new("sh")
        .args(["-c", "sleep $0 & wait", &mark])
        .limit(Duration::from_millis(200))
        .run();
    assert!(outcome.status.is_none() && started.elapsed() < Duration::from_secs(10));
    assert!(process::within(Duration::from_secs(5), || {
        process::marked(&mark).is_empty()
    }));
}

#[test]
fn probe_is_the_same_in_32_bits() {
    for program in [support::programs::probe(), support::programs::probe32()] {
        let seen = Run::new(program)
            .args("call close 99 -- call lseek 99 6 0 -- fork call kill 0 0 -- exit 3".split(' '))
            .run()
            .exits(3);
        assert_eq!(seen.errno("close"), 9);
        assert_eq!(seen.line("kill"), "= 0 0");
    }
}

fn reports_no_filter_where_there_is_none(runtime: Runtime) {
    let seen = Container::new(runtime)
        .uid(1000)
        .no_new_privileges(true)
        .probe("status -- call mkdir @/tmp/x 0x1ed -- exit 5")
        .run()
        .exits(5);
    for who in ["self", "pid1", "child"] {
        assert_eq!(seen.field(who, "Seccomp"), "0");
        assert_eq!(seen.field(who, "NoNewPrivs"), "1");
        assert_eq!(seen.field(who, "Uid"), "1000");
    }
    assert_eq!(seen.errno("mkdir"), 0);
}

fn sees_the_runtimes_own_filter(runtime: Runtime) {
    let seen = Container::new(runtime)
        .seccomp(&json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 },
                { "names": ["chmod"], "action": "SCMP_ACT_KILL_PROCESS" }
            ]
        }))
        .probe("status -- call mkdir @/tmp/x 0x1ed -- fork call chmod @/tmp 0 -- exit 0")
        .run()
        .success();
    assert_eq!(seen.field("pid1", "Seccomp"), "2");
    assert_eq!(seen.field("child", "Seccomp_filters"), "1");
    assert_eq!(seen.errno("mkdir"), 77);
    assert_eq!(seen.line("killed"), "31");
}

fn steps_from_create_to_delete(runtime: Runtime) {
    let created = Container::new(runtime)
        .probe("print started")
        .create()
        .ready();
    assert_eq!(created.state()["status"], "created");
    let pid = created.pid();
    assert!(process::alive(pid));
    created.start().success();
    assert_eq!(created.output(pid).stdout, "started\n");
    assert!(process::within(Duration::from_secs(5), || {
        created.state()["status"] == "stopped"
    }));
    created.delete().success();
    assert!(created.state().is_null());
}

/// Left waiting on purpose; that `Drop` finds and ends it is the test.
fn takes_an_abandoned_create_away(runtime: Runtime) {
    let created = Container::new(runtime).probe("sleep 60").create().ready();
    let pid = created.pid();
    drop(created);
    assert!(!process::alive(pid));
}

/// By `create`: `crun run` waits for such a process, `runc run` does not.
fn finds_a_process_that_a_hook_left_behind(runtime: Runtime) {
    let container = Container::new(runtime).patch(|config| {
        let mark = config["process"]["env"][1].clone();
        config["hooks"]["createRuntime"] = json!([{
            "path": "/bin/sh",
            "args": ["sh", "-c", "setsid sleep 60 </dev/null >/dev/null 2>&1 &"],
            "env": ["PATH=/usr/bin:/bin", mark]
        }]);
    });
    let caught =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(container.create())));
    let message = caught.expect_err("went unnoticed");
    let message = message.downcast_ref::<String>().expect("a message");
    assert!(message.contains("left behind") && message.contains("sleep 60"));
}

/// A shell's command with standard error on a terminal, and what that showed.
fn on_a_terminal(command: &str) -> String {
    let pty = nix::pty::openpty(None, None).expect("pty");
    let seen = Run::new("sh")
        .args(["-c", command])
        .env("TERM", "xterm")
        .on_terminal(pty.slave.into());
    seen.run().success();
    // EIO comes once nobody has the other side any more, and after all else.
    let mut master = std::fs::File::from(pty.master);
    let (mut shown, mut bytes) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = master.read(&mut bytes) {
        shown.extend(&bytes[..n]);
    }
    String::from_utf8(shown).expect("UTF-8")
}

const ERASE: &str = "\r\x1b[K";

#[test]
fn priming_the_cache_shows_how_far_it_is_on_a_terminal_alone() {
    let dir = tempfile::tempdir().expect("directory");
    let out = dir.path().join("out");
    let profile = support::source().join("testdata/default.json");
    let command = format!(
        "XDG_RUNTIME_DIR={0} {1} cache prime {2} {2}",
        dir.path().display(),
        support::binary().display(),
        profile.display()
    );
    let shown = on_a_terminal(&format!("{command} >{}", out.display()));
    for n in [1, 2] {
        let line = format!("{ERASE}\x1b[?7l[{n}/2] {}", profile.display());
        assert!(shown.contains(&line), "{shown:?}");
    }
    assert!(shown.ends_with(ERASE), "{shown:?}");
    let answer = std::fs::read_to_string(&out).expect("answer");
    assert_eq!(answer.lines().count(), 2, "{answer}");
    let plain = Run::new("sh").args(["-c", &command]).run().success();
    assert_eq!((plain.stdout, plain.stderr.as_str()), (answer, ""));
}

/// With a cargo that finds what it is told: the real one takes minutes.
#[test]
fn fuzzing_shows_how_far_it_is_and_what_was_found() {
    let dir = tempfile::tempdir().expect("directory");
    let cargo = dir.path().join("cargo");
    let script = "#!/bin/sh\n\
        [ \"$2\" = run ] || exit 0\n\
        echo 'stat::number_of_executed_units: 4711'\n\
        [ \"$7\" != wrong ] || { echo 'panicked at 12'; exit 77; }\n\
        sleep 0.2\n";
    std::fs::write(&cargo, script).expect("cargo");
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).expect("mode");
    let run = support::source().join("fuzz/run");
    let command = format!(
        "CARGO={} FUZZ_LOGS={} {} triple 1",
        cargo.display(),
        dir.path().display(),
        run.display()
    );
    let shown = on_a_terminal(&format!("{command} one other >/dev/null"));
    for line in ["[1/2] one: 0 of 1 s", "[2/2] other: 0 of 1 s"] {
        assert!(shown.contains(&format!("{ERASE}{line}")), "{shown:?}");
    }
    assert!(shown.ends_with(ERASE), "{shown:?}");
    let plain = format!("{command} one wrong other");
    let plain = Run::new("sh").args(["-c", &plain]).run().exits(1);
    assert_eq!(plain.stdout, "one: 4711 inputs, nothing found\n");
    assert!(
        plain
            .stderr
            .starts_with("[1/3] one: 1 s\n[2/3] wrong: 1 s\n"),
        "{plain}"
    );
    assert!(!plain.stderr.contains('\x1b'), "{plain}");
    plain.says("panicked at 12").says("wrong failed: ");
}
