//! What whoever calls has, and the command must not get.

use std::fs::File;

use nix::pty::{OpenptyResult, openpty};

use super::denies_mkdir;
use crate::support::container::Created;
use crate::support::{self, Container, Runtime, programs};

support::on_each_runtime! {
    capabilities_of_the_callers_are_not_inherited
    the_environment_is_the_configs_alone
    what_the_program_leaves_itself_is_no_way_around_the_seal
    the_session_keyring_is_the_commands_own
    the_callers_terminal_is_not_the_commands
    other_inherited_state_stays_behind
    files_of_the_callers_are_not_to_be_opened_anew
}

/// As setpriv(1) takes them.
const SOME: &str = "+chown,+kill,+net_raw";

const EPERM: i32 = 1;
const EIO: i32 = 5;
const ENXIO: i32 = 6;
const ENOKEY: i32 = 126;

fn running(runtime: Runtime) -> Created {
    Container::new(runtime).seccomp(&denies_mkdir()).running()
}

/// The variable says that the program runs from a sealed file. Believed, it
/// would join from the host's file, or start itself over for good.
fn what_the_program_leaves_itself_is_no_way_around_the_seal(runtime: Runtime) {
    let created = running(runtime);
    for left in ["", "x", "-1 -1 ", "3 1 1:2:3:4", "0 0 0:0:0:0"] {
        let run = created.exec(&[], &["/probe", "print", "joined"]);
        let seen = run.env("OCI_SECCOMP_LEFT", left).run();
        super::is_refused(seen, "does not run from a sealed file");
        created.is_alone();
    }
}

/// CVE-2022-29162: what is inheritable gives capabilities to whoever executes a
/// file that has them; `CapInh` would not be 0.
fn capabilities_of_the_callers_are_not_inherited(runtime: Runtime) {
    for uid in [0, 1000] {
        let created = Container::new(runtime)
            .uid(uid)
            .seccomp(&denies_mkdir())
            .running();
        let setpriv = ["setpriv", "--inh-caps", SOME, "--ambient-caps", SOME];
        let grep = ["grep", "^Cap", "/proc/self/status"];
        let options = [&[][..], &["--cap", "CAP_NET_RAW"]];
        for options in options {
            let seen = created
                .exec_before(&setpriv, options, &grep)
                .run()
                .success();
            for set in ["Inh", "Amb"] {
                let expected = format!("Cap{set}:\t0000000000000000\n");
                assert!(seen.stdout.contains(&expected), "{seen}");
            }
        }
        created.is_alone();
        let naive: Vec<&str> = grep.to_vec();
        let seen = created.naive(&setpriv, &naive).run().success();
        assert!(
            !seen.stdout.contains("CapInh:\t0000000000000000"),
            "no attack: {seen}"
        );
    }
}

/// A variable of the caller's that a loader or a program believes in.
fn the_environment_is_the_configs_alone(runtime: Runtime) {
    let created = running(runtime);
    let mut run = created.exec(&[], &["env"]);
    for (key, value) in [
        ("LD_PRELOAD", "/none.so"),
        ("LD_LIBRARY_PATH", "/none"),
        ("LD_AUDIT", "/none.so"),
        ("GLIBC_TUNABLES", "glibc.malloc.check=3"),
        ("HOME", "/the/callers"),
        ("OCI_SECCOMP_LOG", "error"),
        ("LISTEN_FDS", "1"),
        ("_OCI_SECCOMP", "x"),
        ("IFS", "/"),
    ] {
        run = run.env(key, value);
    }
    let seen = run.run().success();
    let mut lines: Vec<&str> = seen.stdout.lines().collect();
    lines.sort_unstable();
    let mark = format!("OCI_SECCOMP_TEST={}", created.id());
    assert_eq!(lines, ["HOME=/", &mark, "PATH=/bin"], "{seen}");
    // The caller's PATH finds nothing either.
    created.exec(&[], &["sha256sum"]).run().exits(127);
    created.is_alone();
}

/// Keys in the caller's session keyring, which is inherited, could be read by
/// the command.
fn the_session_keyring_is_the_commands_own(runtime: Runtime) {
    let created = running(runtime);
    let probe = programs::probe().to_str().expect("UTF-8");
    let words = "call keyctl 1 0 -- call add_key @user @oci-seccomp-test @secret 6 -3 -- exec";
    let with_key: Vec<&str> = std::iter::once(probe).chain(words.split(' ')).collect();
    let search = "call keyctl 10 -3 @user @oci-seccomp-test 0";
    let search: Vec<&str> = std::iter::once("/probe").chain(search.split(' ')).collect();
    let errnos = |seen: support::Outcome| -> Vec<String> {
        let lines = seen
            .stdout
            .lines()
            .map(|l| l.rsplit(' ').next().unwrap_or("").to_owned());
        lines.collect()
    };
    let seen = created.exec_before(&with_key, &[], &search).run().success();
    assert_eq!(
        errnos(seen.clone()),
        ["0", "0", &ENOKEY.to_string()],
        "{seen}"
    );
    created.is_alone();
    // By its own path: the probe does not search.
    let naive = [&with_key[..], &["/usr/bin/env"]].concat();
    let seen = created.naive(&naive, &search).run().success();
    assert_eq!(errnos(seen.clone()), ["0", "0", "0"], "no attack: {seen}");
}

/// The command could type into the caller's terminal what a shell there then
/// executes.
fn the_callers_terminal_is_not_the_commands(runtime: Runtime) {
    let created = running(runtime);
    let OpenptyResult {
        master: _master,
        slave,
    } = openpty(None, None).expect("pty");
    let slave = File::from(slave);
    let terminal = ["setsid", "--ctty", "--wait"];
    let calls = "call open @/dev/tty 2 -- call ioctl 0 0x5412 @x -- call getpid -- call 124 0";
    let calls: Vec<&str> = std::iter::once("/probe").chain(calls.split(' ')).collect();
    let stdin = || slave.try_clone().expect("dup");
    let run = created.exec_before(&terminal, &[], &calls);
    let seen = run.stdin_from(stdin()).run().success();
    assert_eq!(seen.errno("open"), ENXIO, "{seen}");
    assert!([EPERM, EIO].contains(&seen.errno("ioctl")), "{seen}");
    let (pid, session) = (seen.line("getpid"), seen.line("124"));
    assert_eq!(pid, session, "{seen}");
    created.is_alone();
    let seen = created
        .naive(&terminal, &calls)
        .stdin_from(stdin())
        .run()
        .success();
    assert_eq!(seen.errno("open"), 0, "no attack: {seen}");
}

/// Ignored and blocked signals, limits, priorities and an open umask would be
/// the command's.
fn other_inherited_state_stays_behind(runtime: Runtime) {
    let created = running(runtime);
    let before = [
        "bash",
        "-c",
        r#"umask 0; trap '' INT HUP PIPE USR1 CHLD; cd /tmp; exec 9</; exec "$@""#,
        "bash",
    ];
    let script =
        "grep -E '^(Umask|Sig(Blk|Ign)|Groups):' /proc/self/status; ls /proc/self/fd; busybox pwd";
    let run = created.exec_before(&before, &[], &["sh", "-c", script]);
    let seen = run.run().success();
    assert_eq!(
        seen.stdout,
        "Umask:\t0022\nGroups:\t \nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n0\n1\n2\n3\n/\n",
        "{seen}"
    );
    created.is_alone();
}

/// `/proc/self/fd/0` leads to the file itself: who was to read it could write to
/// it, and who was to append to it could read it.
fn files_of_the_callers_are_not_to_be_opened_anew(runtime: Runtime) {
    let created = running(runtime);
    let script = created.bundle().join("script");
    let attack = "echo overwritten >/proc/self/fd/0; cat >/dev/null";
    let sh = ["sh", "-c", attack];
    let open = || File::open(&script).expect("script");
    let content = || std::fs::read_to_string(&script).expect("script");
    std::fs::write(&script, "of the host\n").expect("script");
    let seen = created.exec(&[], &sh).stdin_from(open()).run();
    seen.success();
    assert_eq!(content(), "of the host\n");
    let seen = created.exec(&[], &["cat"]).stdin_from(open()).run();
    assert_eq!(seen.success().stdout, "of the host\n");
    created.naive(&[], &sh).stdin_from(open()).run();
    assert_eq!(content(), "overwritten\n", "no attack");

    let folder = File::open(created.bundle()).expect("folder");
    let ls = ["ls", "/proc/self/fd/0/.."];
    let seen = created.exec(&[], &ls).stdin_from(folder).run();
    seen.exits(125).says("standard input is a folder");
    created.is_alone();
}
