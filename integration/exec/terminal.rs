//! `--tty`: a terminal of the container's, connected to the caller's, which is
//! a pty of the test's.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{Termios, tcgetattr};

use super::denies;
use crate::support::command::LIMIT;
use crate::support::{self, Container, Created, Outcome, Runtime, Started, process};

support::on_each_runtime! {
    the_command_has_a_terminal_of_the_containers
    the_terminal_is_as_it_was_after_each_end
    keys_and_lines_go_through
    the_terminal_is_the_users
}

/// The caller's terminal, and all that was written to it.
struct Outer {
    slave: File,
    master: File,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Outer {
    fn new() -> Self {
        let size = Winsize {
            ws_row: 33,
            ws_col: 77,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("pty");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut from = File::from(master.try_clone().expect("dup"));
        let to = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // EIO when nobody has the other side any more.
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                to.lock().expect("lock").extend(&bytes[..n]);
            }
        });
        Self {
            slave: slave.into(),
            master: master.into(),
            seen,
        }
    }

    fn settings(&self) -> Termios {
        tcgetattr(self.slave.as_fd()).expect("tcgetattr")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("lock")).into_owned()
    }

    #[track_caller]
    fn shows(&self, text: &str) {
        let there = || self.text().contains(text);
        assert!(
            process::within(LIMIT, there),
            "no {text:?} in {:?}",
            self.text()
        );
    }

    fn type_in(&self, keys: &str) {
        (&self.master).write_all(keys.as_bytes()).expect("write");
    }

    /// `exec --tty` on this terminal, as the controlling one of its session.
    fn exec(&self, created: &Created, options: &[&str], argv: &[&str]) -> Started {
        let options = [&["--tty"], options].concat();
        let run = created.exec_before(&["setsid", "--ctty", "--wait"], &options, argv);
        let slave = || self.slave.try_clone().expect("dup");
        run.stdin_from(slave()).on_terminal(slave()).start()
    }
}

/// With a filter, or it warns that there is none.
fn running(runtime: Runtime) -> Created {
    Container::new(runtime)
        .patch(|config| {
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.push(serde_json::json!({
                "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666", "mode=0620"]
            }));
        })
        .seccomp(&denies(&["mkdir"]))
        .running()
}

fn the_command_has_a_terminal_of_the_containers(runtime: Runtime) {
    let created = running(runtime);
    let outer = Outer::new();
    let script = "busybox tty; busybox stty size; busybox stat -c %t:%T /dev/pts/0; \
         echo out > /dev/tty; ls -l /proc/self/fd";
    let started = outer.exec(&created, &[], &["sh", "-c", script]);
    started.outcome().success();
    outer.shows("/dev/pts/0\r\n");
    outer.shows("33 77\r\n");
    outer.shows("out\r\n");
    created.is_alone();
}

fn the_terminal_is_as_it_was_after_each_end(runtime: Runtime) {
    let created = running(runtime);
    for (argv, signal) in [
        (&["sh", "-c", "echo up; exit 3"][..], None),
        (&["sh", "-c", "echo up; kill -9 $$"], None),
        (&["/none"], None),
        (
            &[
                "sh",
                "-c",
                "busybox stty raw -echo; echo up; exec sleep 100",
            ],
            Some(Signal::SIGTERM),
        ),
        (
            &["sh", "-c", "echo up; exec sleep 100"],
            Some(Signal::SIGHUP),
        ),
    ] {
        let outer = Outer::new();
        let before = outer.settings();
        let started = outer.exec(&created, &[], argv);
        if let Some(signal) = signal {
            outer.shows("up");
            created.signal_ours(&started, signal);
        }
        let seen: Outcome = started.outcome();
        assert!(seen.status.is_some(), "still running: {seen}");
        assert_eq!(outer.settings(), before, "{argv:?}: {seen}");
        created.is_alone();
    }
}

fn keys_and_lines_go_through(runtime: Runtime) {
    let created = running(runtime);
    let outer = Outer::new();
    let script = "trap 'echo interrupted; exit 9' INT; echo up; while read line; do echo got:$line; done; exit 5";
    let started = outer.exec(&created, &[], &["sh", "-c", script]);
    outer.shows("up");
    outer.type_in("hello\r");
    outer.shows("got:hello");
    // ^D ends its input, not ours.
    outer.type_in("\x04");
    started.outcome().exits(5);
    let outer = Outer::new();
    let script = "trap 'echo interrupted; exit 9' INT; echo up; while :; do sleep 0.05; done";
    let started = outer.exec(&created, &[], &["sh", "-c", script]);
    outer.shows("up");
    outer.type_in("\x03");
    outer.shows("interrupted");
    started.outcome().exits(9);
    created.is_alone();
}

fn the_terminal_is_the_users(runtime: Runtime) {
    let created = running(runtime);
    let outer = Outer::new();
    let script = "busybox stat -c 'owner %u' $(busybox tty); echo again > $(busybox tty)";
    let started = outer.exec(&created, &["--user", "1000"], &["sh", "-c", script]);
    started.outcome().success();
    outer.shows("owner 1000");
    outer.shows("again");
    created.is_alone();
}
