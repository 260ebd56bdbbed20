//! Another process in the place of the one that was looked up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{denies_mkdir, is_refused};
use crate::support::container::Created;
use crate::support::{self, Container, Runtime, process, programs};

support::on_each_runtime! {
    an_init_that_ends_after_the_answer_is_not_joined
    a_number_that_was_used_again_is_not_joined
    an_answer_about_another_container_is_not_believed
    what_was_started_by_a_wrong_guess_is_ended
    a_number_that_was_used_again_is_no_guess
    a_container_that_is_paused_after_the_guess_is_left
    one_that_is_killed_before_the_answer_is_no_success
    an_init_that_ends_before_the_joining_is_not_joined
}

fn running(runtime: Runtime) -> Created {
    Container::new(runtime).seccomp(&denies_mkdir()).running()
}

/// A runtime by this name: `exec` guesses what one will answer whose name it
/// knows.
fn named(created: &Created, name: &str, script: String) -> PathBuf {
    let folder = created.bundle().join("bin");
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    fs::write(&path, script).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    path
}

/// A runtime that answers as the real one, and before it ends does this:
/// `$PID` is the init that it named.
fn answering(created: &Created, name: &str, then: &str) -> PathBuf {
    let real = created.runtime().program().expect("an installed runtime");
    let script = format!(
        "#!/bin/bash\nanswer=$({} \"$@\") || exit\nPID={}\n{then}\nprintf '%s' \"$answer\"\n",
        real.display(),
        created.pid()
    );
    named(created, name, script)
}

/// It would run wherever the process that was named by the number is next.
fn an_init_that_ends_after_the_answer_is_not_joined(runtime: Runtime) {
    for name in ["answering", runtime.name()] {
        let created = running(runtime);
        let pid = created.pid();
        // Its number is not free before what was started in it has ended.
        let then =
            "kill -9 $PID; while grep -q 'State:.[RSDTt]' /proc/$PID/status; do sleep 0.01; done";
        let asked = answering(&created, name, then);
        let argv = ["/probe", "print", "joined"];
        let seen = created
            .exec_asking(&asked, &[], programs::stripped(), &[], &argv)
            .run();
        assert!(!process::alive(pid), "{seen}");
        is_refused(seen, created.id());
    }
}

/// The number comes to mean the first process of another pid namespace, which
/// the command would join.
fn a_number_that_was_used_again_is_not_joined(runtime: Runtime) {
    let created = running(runtime);
    let pid = created.pid();
    let again = r#"
marker=${0%/*}/imposter
# By builtins alone: a program of this script's would take the number.
is_first() {
    while read -r key _ inside; do
        [ "$key" = NSpid: ] && [ "$inside" = 1 ] && return 0
    done < /proc/$PID/status
    return 1
} 2>/dev/null
if [ ! -e "$marker" ]; then
    kill -9 $PID
    while [ -d /proc/$PID ]; do :; done
    for try in {1..100}; do
        # Taken by unshare's fork, unless somebody else was faster.
        echo $((PID - 2)) > /proc/sys/kernel/ns_last_pid
        unshare --pid --mount --fork --kill-child sleep 20 </dev/null >/dev/null 2>&1 &
        for wait in {1..500}; do
            is_first && { echo $! > "$marker"; break 2; }
        done
        kill -9 $!
    done
fi"#;
    let asked = answering(&created, "answering", again);
    let argv = ["/probe", "print", "joined"];
    let seen = created
        .exec_asking(&asked, &[], programs::stripped(), &[], &argv)
        .run();
    let marker = created.bundle().join("bin/imposter");
    let imposter =
        fs::read_to_string(&marker).unwrap_or_else(|e| panic!("no imposter: {e}; {seen}"));
    let numbers = process::status(pid, "NSpid");
    let end = imposter.trim().parse().expect("a number");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(end), nix::sys::signal::SIGKILL)
        .expect("kill");
    let is_first = numbers.as_ref().is_some_and(|n| n.ends_with("\t1"));
    assert!(is_first, "the imposter has ended: {numbers:?} {seen}");
    is_refused(seen, created.id());
}

/// Between the look-up and the joining the container ends, and another starts.
fn an_init_that_ends_before_the_joining_is_not_joined(runtime: Runtime) {
    let Some(strace) = programs::find("strace") else {
        return support::skip("strace is not installed");
    };
    let created = running(runtime);
    let pid = created.pid();
    let delay = "inject=socketpair:delay_enter=700000";
    let strace = [
        strace.to_str().expect("UTF-8"),
        "-o",
        "/dev/null",
        "-e",
        delay,
    ];
    let argv = ["/probe", "print", "joined"];
    let started = created.exec_before(&strace, &[], &argv).start();
    std::thread::sleep(std::time::Duration::from_millis(350));
    created.kill("KILL").success();
    assert!(process::within(
        support::command::LIMIT,
        || !process::alive(pid)
    ));
    let seen = started.outcome();
    is_refused(seen, created.id());
}

/// It would run in the other one, by the config of neither.
fn an_answer_about_another_container_is_not_believed(runtime: Runtime) {
    let (created, other) = (running(runtime), running(runtime));
    let real = runtime.program().expect("an installed runtime");
    let script = format!(
        "#!/bin/sh\nexec {} --root {} state {}\n",
        real.display(),
        other.root().display(),
        other.id()
    );
    let argv = ["/probe", "print", "joined"];
    for name in ["answering", runtime.name()] {
        let asked = named(&created, name, script.clone());
        let run = created.exec_asking(&asked, &[], programs::stripped(), &[], &argv);
        is_refused(run.run(), other.id());
        created.is_alone();
        other.is_alone();
    }
}

/// What the runtime keeps on disk leads to one container, and its answer to
/// another: what it says counts.
fn what_was_started_by_a_wrong_guess_is_ended(runtime: Runtime) {
    let (created, meant) = (running(runtime), running(runtime));
    let real = runtime.program().expect("an installed runtime");
    let script = format!(
        "#!/bin/sh\nsleep 0.3\n{} --root {} state {} | sed 's/\"id\": \"{2}\"/\"id\": \"{}\"/'\n",
        real.display(),
        meant.root().display(),
        meant.id(),
        created.id()
    );
    let asked = named(&created, runtime.name(), script);
    let argv = ["/bin/sh", "-c", "echo here > /tmp/here"];
    let run = created.exec_asking(&asked, &[], programs::stripped(), &[], &argv);
    let run = run.env("OCI_SECCOMP_LOG", "debug");
    let seen = run.run().success();
    if runtime != Runtime::Youki {
        seen.says("is another one than was guessed");
    }
    let here = |created: &Created| created.rootfs().join("tmp/here").exists();
    assert!(here(&meant) && !here(&created));
    created.is_alone();
    meant.is_alone();
}

/// The command `/probe print …` in the container, which may not have run yet.
fn command(created: &Created) -> Option<i32> {
    let mut others = created.others().into_iter();
    let (pid, _) = others.find(|(_, line)| line.contains("(probe) /probe print"))?;
    Some(pid)
}

/// What the runtime keeps of a container that has ended names whatever process
/// has its number since. There the command's arguments would be seen.
fn a_number_that_was_used_again_is_no_guess(runtime: Runtime) {
    let (ended, other) = (running(runtime), running(runtime));
    let (file, number) = match runtime {
        Runtime::Crun => ("status", "pid"),
        Runtime::Runc => ("state.json", "init_process_pid"),
        Runtime::Youki => return support::skip("nothing is guessed of what youki keeps"),
    };
    let file = ended.root().join(ended.id()).join(file);
    let before = fs::read(&file).expect("a file");
    let mut kept: serde_json::Value = serde_json::from_slice(&before).expect("JSON");
    assert_eq!(kept[number], ended.pid(), "{kept}");
    kept[number] = other.pid().into();
    let real = runtime.program().expect("an installed runtime");
    let asked = named(
        &ended,
        runtime.name(),
        format!("#!/bin/sh\nsleep 0.5\nexec {} \"$@\"\n", real.display()),
    );
    fs::write(&file, kept.to_string()).expect("a file");
    let argv = ["/probe", "print", "secret"];
    let run = ended.exec_asking(&asked, &[], programs::stripped(), &[], &argv);
    let started = run.start();
    // Well before the answer.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(command(&other), None);
    started.outcome();
    fs::write(&file, before).expect("a file");
    other.is_alone();
}

/// In the freezer of version 1 no process ends.
fn a_container_that_is_paused_after_the_guess_is_left(runtime: Runtime) {
    let created = running(runtime);
    let real = runtime.program().expect("an installed runtime");
    let script = format!("#!/bin/sh\nsleep 0.6\nexec {} \"$@\"\n", real.display());
    let asked = named(&created, runtime.name(), script);
    let argv = ["/probe", "print", "joined"];
    let run = created.exec_asking(&asked, &[], programs::stripped(), &[], &argv);
    let started = run.start();
    std::thread::sleep(std::time::Duration::from_millis(300));
    created.pause().success();
    is_refused(started.outcome(), "paused");
    created.resume().success();
    assert!(process::within(support::command::LIMIT, || created
        .others()
        .is_empty()));
    created.is_alone();
}

/// The command has not run, so its status is none of its own.
fn one_that_is_killed_before_the_answer_is_no_success(runtime: Runtime) {
    if runtime == Runtime::Youki {
        return support::skip("nothing is guessed of what youki keeps");
    }
    let created = running(runtime);
    let real = runtime.program().expect("an installed runtime");
    let script = format!("#!/bin/sh\nsleep 0.6\nexec {} \"$@\"\n", real.display());
    let asked = named(&created, runtime.name(), script);
    for options in [&[][..], &["--detach"]] {
        let argv = ["/probe", "print", "joined"];
        let run = created.exec_asking(&asked, &[], programs::stripped(), options, &argv);
        let started = run.start();
        let waits = || command(&created).is_some();
        assert!(process::within(support::command::LIMIT, waits));
        let pid = nix::unistd::Pid::from_raw(command(&created).expect("a process"));
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).expect("kill");
        is_refused(started.outcome(), "was ended by signal 9");
        created.is_alone();
    }
}
