//! A container whose init hunts every process that appears; see `hunter.c`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::denies_mkdir;
use crate::support::command::LIMIT;
use crate::support::container::Created;
use crate::support::{self, Container, Outcome, Run, Runtime, process, programs};

support::on_each_runtime! {
    lets_nothing_of_the_host_out
    lets_nothing_out_to_one_that_may_trace
    the_hunter_finds_what_a_careless_one_lets_out
    the_hosts_program_cannot_be_written_to
    the_hosts_program_is_not_changed_while_it_runs
    a_memory_that_was_written_to_ends_it
    one_that_is_killed_at_once_is_reported
}

/// In the environment of whoever calls.
const SECRET: &str = "the-callers-secret";

/// How many of ours the hunter has to catch before they are the command.
const CAUGHT: usize = 12;

/// What the host's file has that the container could write to.
const CAPABILITIES: &[&str] = &[
    "CAP_DAC_OVERRIDE",
    "CAP_KILL",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SYS_PTRACE",
];

fn hunting(container: Container, mode: &str) -> Created {
    let file = container.file("of-the-host", "").display().to_string();
    let backwards: String = SECRET.chars().rev().collect();
    container.hunting(&[mode, &backwards, &file])
}

/// Runs it until enough were caught early: whether one is, is a matter of luck.
#[track_caller]
fn until_caught(created: &Created, run: impl Fn() -> Run, check: impl Fn(Outcome)) {
    let caught = || created.printed().matches("early").count();
    for _ in 0..400 {
        if caught() >= CAUGHT {
            return;
        }
        check(run().env("SECRET", SECRET).run());
    }
    panic!("caught {}: {}", caught(), created.printed());
}

/// Joins by this `nsenter` until one was caught. It looks for its command for
/// long; and it stops when that is stopped, and nobody continues it.
fn naively(created: &Created, nsenter: &Path) {
    let path = format!("PATH={}", "/x:".repeat(5_000));
    let pid = created.pid().to_string();
    for _ in 0..100 {
        if created.printed().contains("early") {
            return;
        }
        let run = created.host(&["/usr/bin/env", &path]).arg(nsenter);
        run.args(["--target", &pid, "--mount", "--pid", "none"])
            .env("SECRET", SECRET)
            .limit(Duration::from_secs(2))
            .run();
    }
}

fn leaks(created: &Created) -> String {
    let printed = created.printed();
    let leaks = printed.lines().filter(|line| line.starts_with("leak"));
    leaks.collect::<Vec<_>>().join("\n")
}

/// Catches some, and none of them has let anything out.
#[track_caller]
fn finds_nothing(container: Container) {
    let created = hunting(container.seccomp(&denies_mkdir()), "watch");
    // An argument of ours that is none of the command's.
    let pid_file = created.bundle().join("exec-pid");
    let options = ["--pid-file", pid_file.to_str().expect("UTF-8")];
    let run = || created.exec_probe(&options, "call mkdir @/tmp/a 0x1ed");
    until_caught(&created, run, |seen| {
        let seen = seen.success();
        assert_eq!(seen.errno("mkdir"), super::DENIED, "{seen}");
    });
    assert_eq!(leaks(&created), "", "{}", created.printed());
    created.is_alone();
}

/// CVE-2016-9962: a process that joins was seen and could be attached to before
/// it was the command, with descriptors and memory of the host's. The hunter
/// would print a line "leak".
fn lets_nothing_of_the_host_out(runtime: Runtime) {
    finds_nothing(Container::new(runtime));
    finds_nothing(Container::new(runtime).uid(1000));
    finds_nothing(Container::new(runtime).user_namespace());
}

/// The same where the container may trace whatever it sees, also on the host.
fn lets_nothing_out_to_one_that_may_trace(runtime: Runtime) {
    finds_nothing(Container::new(runtime).capabilities(CAPABILITIES));
}

/// The hunter is one: what joins without care lets all of it out.
fn the_hunter_finds_what_a_careless_one_lets_out(runtime: Runtime) {
    let created = hunting(Container::new(runtime).capabilities(CAPABILITIES), "watch");
    naively(&created, &programs::find("nsenter").expect("nsenter"));
    let leaks = leaks(&created);
    for leak in [
        "environ has the-callers-secret",
        "the memory has the secret",
        "attached to",
    ] {
        assert!(leaks.contains(leak), "no {leak:?}: {leaks}");
    }
}

/// A copy of a program, to be written to.
fn copy(created: &Created, program: impl AsRef<Path>) -> PathBuf {
    let copy = created.bundle().join("the-hosts-program");
    fs::copy(program, &copy).expect("copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o777)).expect("mode");
    copy
}

/// CVE-2019-5736: the container keeps a descriptor of the joining program's
/// file, or has it executed in its own stead, and writes to it once nobody runs
/// it. The host's program would differ afterwards.
fn the_hosts_program_cannot_be_written_to(runtime: Runtime) {
    let root = || Container::new(runtime).seccomp(&denies_mkdir());
    for container in [root(), root().capabilities(CAPABILITIES)] {
        let created = hunting(container, "overwrite");
        let rootfs = created.rootfs();
        symlink("/proc/self/exe", rootfs.join("link")).expect("link");
        fs::write(rootfs.join("script"), "#!/proc/self/exe\n").expect("script");
        fs::set_permissions(rootfs.join("script"), fs::Permissions::from_mode(0o755))
            .expect("mode");
        let ours = copy(&created, programs::stripped());
        let before = fs::read(&ours).expect("the program");
        for argv in [
            &["/proc/self/exe", "features"][..],
            &["/link", "features"],
            &["/script"],
        ] {
            let seen = created.exec_by(&[], &ours, &[], argv).run();
            // The link does not lead to the command's own file.
            assert!(
                seen.code().is_some_and(|code| code != 0),
                "{argv:?}: {seen}"
            );
        }
        let run = || created.exec_by(&[], &ours, &[], &["/probe", "print", "x"]);
        until_caught(&created, run, |seen| drop(seen.success()));
        let written = leaks(&created).contains("overwritten");
        assert!(!written, "{}", created.printed());
        assert!(
            fs::read(&ours).expect("the program") == before,
            "the program was changed"
        );
        for line in created.printed().lines().filter(|l| l.starts_with("early")) {
            // On an overlay, where it is all that there is.
            let expected = ["early (hidden)", "early /the-hosts-program"];
            assert!(expected.contains(&line), "{line}");
        }
        created.is_alone();
    }
    a_copy_cannot_be_written_to(&hunting(root().capabilities(CAPABILITIES), "overwrite"));
    let created = hunting(root().capabilities(CAPABILITIES), "overwrite");
    let naive = copy(&created, programs::find("nsenter").expect("nsenter"));
    let before = fs::read(&naive).expect("the program");
    naively(&created, &naive);
    let written = || leaks(&created).contains("was overwritten");
    assert!(process::within(LIMIT, written), "{}", created.printed());
    assert!(
        fs::read(&naive).expect("the program") != before,
        "nobody could have written to it"
    );
}

/// On an overlay of an overlay there cannot be a third one.
fn a_copy_cannot_be_written_to(created: &Created) {
    let bundle = created.bundle();
    copy(created, programs::stripped());
    let [first, second] = ["first", "second"].map(|name| bundle.join(name));
    let mut stack = String::new();
    for (below, on) in [(bundle, &first), (first.as_path(), &second)] {
        fs::create_dir(on).expect("a folder");
        let (below, on) = (below.display(), on.display());
        stack += &format!("mount -t overlay -o lowerdir={below}:/sys none {on}\n");
    }
    stack += "exec \"$@\"";
    let before = ["sh", "-ec", stack.as_str(), "sh"];
    let ours = second.join("the-hosts-program");
    let run = || created.exec_by(&before, &ours, &[], &["/probe", "print", "x"]);
    until_caught(created, run, |seen| drop(seen.success()));
    let printed = created.printed();
    assert!(!leaks(created).contains("overwritten"), "{printed}");
    assert!(printed.contains("early /memfd:oci-seccomp"), "{printed}");
    created.is_alone();
}

/// An upgrade in place, by `cp` for one, would end each session, or change what
/// it runs.
fn the_hosts_program_is_not_changed_while_it_runs(runtime: Runtime) {
    let created = Container::new(runtime).seccomp(&denies_mkdir()).running();
    let ours = copy(&created, programs::stripped());
    let argv = ["/bin/sh", "-c", "echo runs; exec sleep 600"];
    let running = created.exec_by(&[], &ours, &[], &argv).start();
    let runs = || running.printed().contains("runs");
    assert!(process::within(LIMIT, runs), "it does not run");
    let open = || fs::OpenOptions::new().write(true).open(&ours);
    let refused = open().expect_err("the program can be written to");
    assert_eq!(
        refused.raw_os_error(),
        Some(nix::libc::ETXTBSY),
        "{refused}"
    );
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.outcome();
    open().expect("nobody runs it any more");
    created.is_alone();
}

/// With a CAP_SYS_PTRACE that counts on the host the container can write to the
/// memory of what joins. Its code, unfiltered, would make /tmp/poisoned.
fn a_memory_that_was_written_to_ends_it(runtime: Runtime) {
    let container = Container::new(runtime).capabilities(CAPABILITIES);
    let created = hunting(container.seccomp(&denies_mkdir()), "poison");
    let poisoned = || created.printed().matches("early poisoned").count();
    let before = std::cell::Cell::new(0);
    let run = || created.exec_probe(&[], "print unharmed");
    until_caught(&created, run, |seen| {
        let now = poisoned();
        match now > before.replace(now) {
            true => {
                assert_eq!(seen.stdout, "", "{seen}");
                let seen = seen.exits(125);
                let known = ["made the call", "ended by signal", "was ended by"];
                assert!(known.iter().any(|k| seen.stderr.contains(k)), "{seen}");
            }
            false => assert_eq!(seen.success().stdout, "unharmed\n"),
        }
    });
    assert!(poisoned() > 0, "{}", created.printed());
    assert!(
        !created.rootfs().join("tmp/poisoned").exists(),
        "it ran unfiltered"
    );
    created.is_alone();
}

/// It would be reported as the command's own end, or leave something behind.
fn one_that_is_killed_at_once_is_reported(runtime: Runtime) {
    let created = hunting(Container::new(runtime).seccomp(&denies_mkdir()), "kill");
    let mut early = 0;
    for _ in 0..40 {
        let seen = created.exec_probe(&[], "print done").run();
        match seen.code() {
            // Before the exec, after it, or not in time.
            Some(125) => {
                assert_eq!(seen.stdout, "", "{seen}");
                early += 1;
                seen.says("ended by signal 9");
            }
            Some(137) => {}
            _ => drop(seen.success()),
        }
        created.is_alone();
    }
    assert!(early > 0, "{}", created.printed());
    assert_eq!(process::zombies(created.pid()), [""; 0]);
}
