//! Real processes with real filters; run as root.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};

use super::*;
use crate::bpf::{Insn, Program, op};
use crate::policy::Action;

type Test = Result<(), Box<dyn std::error::Error>>;

const LIMIT: Duration = Duration::from_secs(30);

fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
    Insn { code, jt, jf, k }
}

/// Denies the call with this number, which nothing here makes.
fn denies(nr: u32) -> Program {
    Program::new(vec![
        insn(op::LD_ABS, 0, 0, 0),
        insn(op::JEQ_K, 0, 1, nr),
        insn(op::RET_K, 0, 0, Action::Errno(77).to_ret()),
        insn(op::RET_K, 0, 0, Action::Allow.to_ret()),
    ])
    .unwrap()
}

/// A child that has said it is ready. It is killed in the end.
struct Ready(Child);

impl Drop for Ready {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ready {
    fn start(mut command: Command) -> std::io::Result<Self> {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ready = Self(child);
        assert_eq!(ready.line()?, "ready");
        Ok(ready)
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if let Some(stdout) = self.0.stdout.as_mut() {
            // One byte at a time: the rest is for the next.
            BufReader::with_capacity(1, stdout).read_line(&mut line)?;
        }
        Ok(line.trim_end().to_owned())
    }

    fn say(&mut self, line: &str) -> std::io::Result<()> {
        match self.0.stdin.as_mut() {
            Some(stdin) => writeln!(stdin, "{line}"),
            None => Ok(()),
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    fn fd(&self) -> nix::Result<PidFd> {
        PidFd::open(self.pid())
    }

    /// Waits until its first thread sleeps in this call.
    fn asleep_in(&mut self, nr: libc::c_long) -> std::io::Result<()> {
        let path = format!("/proc/{}/syscall", self.pid());
        while !std::fs::read_to_string(&path)?.starts_with(&format!("{nr} ")) {
            assert!(self.0.try_wait()?.is_none(), "its call has returned");
            std::thread::yield_now();
        }
        Ok(())
    }
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-uc", script]);
    command
}

/// Python that has `load(program, flags)`.
const LOAD: &str = "
import ctypes, struct
libc = ctypes.CDLL(None)
def load(program, flags=0):
    code = ctypes.create_string_buffer(bytes.fromhex(program), len(program) // 2)
    fprog = struct.pack('HxxxxxxQ', len(code) // 8, ctypes.addressof(code))
    assert libc.syscall(317, 1, flags, fprog) == 0
";

/// Python that loads these filters, then runs `script`.
fn filtered(filters: &[(Program, u32)], script: &str) -> Command {
    let hex = |p: &Program| -> String { p.to_bytes().iter().map(|b| format!("{b:02x}")).collect() };
    let loads: String = filters
        .iter()
        .map(|(program, flags)| format!("load('{}', {flags})\n", hex(program)))
        .collect();
    python(&format!("{LOAD}{loads}{script}"))
}

#[test]
fn reads_the_stack_of_filters_the_oldest_first() -> Test {
    let log = libc::SECCOMP_FILTER_FLAG_LOG as u32;
    let filters = [(denies(1001), 0), (denies(1002), log)];
    let child = Ready::start(filtered(&filters, "print('ready'); input()"))?;
    let stack = filters_of(&child.fd()?, LIMIT)?;
    let [old, new] = &stack.filters[..] else {
        panic!("{stack:?}");
    };
    assert_eq!(old.bytes, denies(1001).to_bytes());
    assert_eq!(old.log, Some(false));
    assert_eq!(new.bytes, denies(1002).to_bytes());
    assert_eq!(new.log, Some(true));
    Ok(())
}

#[test]
fn a_process_without_filters_has_an_empty_stack() -> Test {
    let child = Ready::start(python("print('ready'); input()"))?;
    assert_eq!(filters_of(&child.fd()?, LIMIT)?, Stack::default());
    Ok(())
}

#[test]
fn a_stopped_process_stays_stopped() -> Test {
    let mut child = Ready::start(python("print('ready'); print(input())"))?;
    kill(child.pid(), Signal::SIGSTOP)?;
    let state = || -> std::io::Result<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.0.id()))?;
        Ok(stat
            .rsplit(") ")
            .next()
            .and_then(|s| s.chars().next())
            .unwrap())
    };
    while state()? != 'T' {
        std::thread::yield_now();
    }
    filters_of(&child.fd()?, LIMIT)?;
    // It is on its way back into the stop: it cannot be seen doing anything
    // else for good.
    while state()? != 'T' {
        std::thread::yield_now();
    }
    child.say("on")?;
    kill(child.pid(), Signal::SIGCONT)?;
    assert_eq!(child.line()?, "on");
    Ok(())
}

/// Python itself takes up what fails with EINTR, so the calls are made bare.
const WAITS: &str = "
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGUSR1, lambda *_: None)
mask = ctypes.c_ulong(1 << (signal.SIGUSR2 - 1))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
poll = libc.epoll_create1(0)
events = ctypes.create_string_buffer(12)
print('ready')
if sys.argv[1] == 'epoll':
    r = libc.syscall(232, poll, events, 1, -1)
else:
    r = libc.syscall(128, ctypes.byref(mask), None, None, 8)
print(r, ctypes.get_errno())
";

fn waits(how: &str) -> Command {
    let mut command = python(WAITS);
    command.arg(how);
    command
}

#[test]
fn a_call_that_knows_only_eintr_is_taken_up_again() -> Test {
    let mut child = Ready::start(waits("sigtimedwait"))?;
    for _ in 0..10 {
        child.asleep_in(libc::SYS_rt_sigtimedwait)?;
        filters_of(&child.fd()?, LIMIT)?;
    }
    kill(child.pid(), Signal::SIGUSR2)?;
    assert_eq!(child.line()?, format!("{} 0", libc::SIGUSR2));
    Ok(())
}

#[test]
fn a_signal_still_interrupts_it() -> Test {
    let mut child = Ready::start(waits("epoll"))?;
    for _ in 0..10 {
        child.asleep_in(libc::SYS_epoll_wait)?;
        threads_of(&child.fd()?, LIMIT)?;
    }
    kill(child.pid(), Signal::SIGUSR1)?;
    assert_eq!(child.line()?, format!("-1 {}", libc::EINTR));
    Ok(())
}

#[test]
fn threads_are_told_apart_by_their_filters() -> Test {
    // One of three threads loads a filter of its own.
    let script = "
import threading
go = threading.Barrier(3)
def plain():
    go.wait(); threading.Event().wait()
def own():
    load(struct.pack('HBBI', 6, 0, 0, 0x7fff0000).hex()); plain()
for f in plain, own:
    threading.Thread(target=f, daemon=True).start()
go.wait()
print('ready'); input()
";
    let child = Ready::start(filtered(&[(denies(1001), 0)], script))?;
    let groups = threads_of(&child.fd()?, LIMIT)?;
    let shape: Vec<_> = groups
        .iter()
        .map(|g| (g.ids.len(), g.stack.filters.len()))
        .collect();
    assert_eq!(shape, [(2, 1), (1, 2)]);
    assert_eq!(groups[0].ids[0], child.pid().as_raw());
    Ok(())
}

#[test]
fn a_traced_process_is_left_to_its_tracer() -> Test {
    let child = Ready::start(python("print('ready'); input()"))?;
    let _tracer = Tracee::observe(child.pid())?;
    let error = filters_of(&child.fd()?, LIMIT).unwrap_err();
    assert!(matches!(error, Unreadable::Traced { .. }), "{error}");
    Ok(())
}

#[test]
fn a_process_that_has_ended_is_gone() -> Test {
    let mut child = Ready::start(python("print('ready'); input()"))?;
    let fd = child.fd()?;
    child.0.kill()?;
    child.0.wait()?;
    let error = filters_of(&fd, LIMIT).unwrap_err();
    assert!(matches!(error, Unreadable::Gone), "{error}");
    Ok(())
}

/// The parent waits for its child as after vfork(2), where nothing but
/// SIGKILL reaches it.
const UNSTOPPABLE: &str = "
import ctypes, os
libc = ctypes.CDLL(None)
CLONE_VFORK, SIGCHLD = 0x4000, 17
if libc.syscall(56, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) == 0:
    print('ready'); input(); os._exit(0)
print('on')
";

#[test]
fn one_that_does_not_stop_in_time_goes_on() -> Test {
    let mut parent = Ready::start(python(UNSTOPPABLE))?;
    let limit = Duration::from_millis(100);
    for read in [
        |fd: &PidFd, limit| filters_of(fd, limit).err(),
        |fd: &PidFd, limit| threads_of(fd, limit).err(),
    ] {
        let error = read(&parent.fd()?, limit);
        assert!(matches!(error, Some(Unreadable::Time(_))), "{error:?}");
    }
    assert_eq!(Proc::open()?.tracer(&parent.fd()?), None);
    parent.say("end")?;
    assert_eq!(parent.line()?, "on");
    Ok(())
}
