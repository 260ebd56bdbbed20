//! Real processes with real filters; run as root.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::gettid;

use super::*;
use crate::bpf::{Insn, Program, op};
use crate::policy::{Action, Flags};
use crate::sys::seccomp;

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

fn perl(script: &str) -> Command {
    let mut command = Command::new("perl");
    command.args(["-e", &format!("$| = 1; {script}")]);
    command
}

/// Says that it is ready, and repeats what it is told.
const ECHO: &str = "print qq(ready\\n); print scalar <STDIN>;";

/// A sub that loads a program, in hexadecimal digits, with flags.
const LOAD: &str = "sub load {
    my $code = pack 'H*', $_[0];
    my $fprog = pack 'S x6 Q', length($code) / 8, unpack 'Q', pack 'P', $code;
    syscall(317, 1, $_[1], $fprog) == 0 or die $!;
}
";

/// Loads these filters, then runs `script`.
fn filtered(filters: &[(Program, u64)], script: &str) -> Command {
    let load = |(program, flags): &(Program, u64)| {
        let bytes = program.to_bytes();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        format!("load('{hex}', {flags});\n")
    };
    let loads: String = filters.iter().map(load).collect();
    perl(&format!("{LOAD}{loads}{script}"))
}

#[test]
fn reads_the_stack_of_filters_the_oldest_first() -> Test {
    let log = libc::SECCOMP_FILTER_FLAG_LOG;
    let filters = [(denies(1001), 0), (denies(1002), log)];
    let child = Ready::start(filtered(&filters, ECHO))?;
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
    let child = Ready::start(perl(ECHO))?;
    assert_eq!(filters_of(&child.fd()?, LIMIT)?, Stack::default());
    Ok(())
}

#[test]
fn a_stopped_process_stays_stopped() -> Test {
    let mut child = Ready::start(perl(ECHO))?;
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

/// Waits in one of two calls, and says what they returned.
const WAITS: &str = "
$SIG{USR1} = sub { };
my ($block, $usr2) = (0, pack 'Q', 1 << (12 - 1));
syscall(14, $block, $usr2, 0, 8) == 0 or die $!;
my ($poll, $events) = (syscall(291, 0), ' ' x 12);
print qq(ready\\n);
my $r = $ARGV[0] eq 'epoll' ? syscall(232, $poll, $events, 1, -1) : syscall(128, $usr2, 0, 0, 8);
print $r, ' ', $r < 0 ? $! + 0 : 0, qq(\\n);
";

fn waits(how: &str) -> Command {
    let mut command = perl(WAITS);
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

/// The process is this one: other tests have threads of their own in it.
#[test]
fn threads_are_told_apart_by_their_filters() -> Test {
    let (ready, filtered) = mpsc::channel();
    let (done, wait) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let loaded = seccomp::set_filter(&denies(1001), Flags::default(), false);
        ready.send(loaded.map(|_| gettid())).ok();
        wait.recv().ok();
    });
    let thread_id = filtered.recv()??;
    let groups = threads_of(&PidFd::open(getpid())?, LIMIT)?;
    drop(done);
    thread.join().ok();
    assert_eq!(groups[0].ids[0], getpid().as_raw());
    assert_eq!(groups[0].stack, Stack::default());
    let theirs = groups.iter().find(|g| g.ids.contains(&thread_id.as_raw()));
    let theirs = theirs.ok_or("the thread is not there")?;
    assert_eq!(theirs.ids.len(), 1);
    assert_eq!(theirs.stack.filters.len(), 1);
    assert_eq!(theirs.stack.filters[0].bytes, denies(1001).to_bytes());
    Ok(())
}

#[test]
fn a_traced_process_is_left_to_its_tracer() -> Test {
    let child = Ready::start(perl(ECHO))?;
    let _tracer = Tracee::observe(child.pid())?;
    let error = filters_of(&child.fd()?, LIMIT).unwrap_err();
    assert!(matches!(error, Unreadable::Traced { .. }), "{error}");
    Ok(())
}

#[test]
fn a_process_that_has_ended_is_gone() -> Test {
    let mut child = Ready::start(perl(ECHO))?;
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
my ($clone_vfork, $sigchld) = (0x4000, 17);
if (syscall(56, $clone_vfork | $sigchld, 0, 0, 0, 0) == 0) {
    print qq(ready\\n);
    <STDIN>;
    syscall(231, 0);
}
print qq(on\\n);
";

#[test]
fn one_that_does_not_stop_in_time_goes_on() -> Test {
    let mut parent = Ready::start(perl(UNSTOPPABLE))?;
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
