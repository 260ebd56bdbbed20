//! The tracing parent: from the fork of the joiner to the exec of the command.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

use super::channel::{Channel, Message};
use super::joiner::{self, Joiner};
use super::{Error, Request, call};
use crate::cgroup::Cgroups;
use crate::sys::exec::calls_before_exec;
use crate::sys::namespaces::{self, Namespaces};
use crate::sys::process::{self, PidFd};
use crate::sys::procfs::Proc;
use crate::sys::ptrace::{Resume, Stop, Syscall, Tracee};

/// A process that was started in a container and is stopped before its first
/// instruction. Dropped, it is killed.
#[derive(Debug)]
pub struct Joined {
    pub(super) tracee: Tracee,
    pub(super) pidfd: PidFd,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) filters: usize,
    released: bool,
}

impl Joined {
    /// Lets it run, untraced; it then lives on without this value.
    ///
    /// # Errors
    /// [`Error::Ended`]: it was killed meanwhile.
    pub fn release(&mut self) -> Result<(), Error> {
        // One that is stopped answers.
        if self.tracee.registers().is_err() {
            return Err(early("process", self.tracee.wait()));
        }
        self.tracee.detach(0).map_err(call("let the process run"))?;
        self.released = true;
        Ok(())
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if !self.released {
            end(&self.tracee);
        }
    }
}

/// How long one that was killed may take to end. In a paused container it ends
/// when that goes on: not before, but no less surely.
const PATIENCE: Duration = Duration::from_secs(1);

/// Kills a tracee that is a child of ours, and waits for its end.
fn end(tracee: &Tracee) {
    // Its number is its own only as long as it was not reaped.
    if !process::is_child(tracee.pid()) {
        return;
    }
    let _ = kill(tracee.pid(), Signal::SIGKILL);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match tracee.try_wait() {
            Ok(Some(Stop::Ended(_))) | Err(_) => return,
            // A stop that was on its way: the signal is already there.
            Ok(Some(_)) => drop(tracee.resume(Resume::Cont, 0)),
            Ok(None) => sleep(Duration::from_micros(20)),
        }
    }
}

/// A tracee that is ended if it is given up.
struct Child(Option<Tracee>);

impl Child {
    fn get(&self) -> Result<&Tracee, Error> {
        self.0.as_ref().ok_or(Error::Gone)
    }

    /// How it has ended, if that is behind an error: one that was killed is in
    /// no namespace and no cgroup, and cannot be asked for its filters.
    fn killed(&self, error: &Error) -> Option<nix::Result<Stop>> {
        let tracee = self.0.as_ref()?;
        let is_dying = match error {
            // It runs no more, or it would be stopped and answer.
            Error::Call {
                source: Errno::ESRCH,
                ..
            } => true,
            Error::Proc(_) | Error::Moved { .. } | Error::Differs { .. } | Error::Cgroup(_) => {
                tracee.registers().is_err()
            }
            _ => false,
        };
        is_dying.then(|| tracee.wait())
    }

    fn end(mut self) {
        if let Some(tracee) = self.0.take() {
            end(&tracee);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(tracee) = self.0.take() {
            end(&tracee);
        }
    }
}

/// Starts a process in a container, up to its first instruction.
///
/// The caller has one thread, and its fatal signals are not blocked: with it
/// die the processes that it traces, should one of them hang in the container.
///
/// # Errors
/// [`Error`]; no process is left.
pub fn join(request: &Request<'_>) -> Result<Joined, Error> {
    process::remember_children().map_err(call("reset SIGCHLD"))?;
    let proc = Proc::open().map_err(Error::Proc)?;
    let init = proc.pid(request.init).map_err(|_| Error::Gone)?;
    let place = Namespaces::of(&proc, init).map_err(Error::Proc)?;
    let own = Namespaces::own(&proc).map_err(Error::Proc)?;
    let which = own.differing(&place);
    let root = match which.contains(CloneFlags::CLONE_NEWNS) {
        true => None,
        false => Some(namespaces::root(&proc, init).map_err(call("open init's root folder"))?),
    };
    let cgroups = Cgroups::of(&proc, request.init)?;
    let (channel, theirs) = Channel::pair().map_err(call("make a channel"))?;
    let joiner = Joiner {
        parent: getpid(),
        request,
        proc: &proc,
        cgroups: &cgroups,
        channel: theirs,
        which,
        root,
    };
    let pid = process::spawn_child(cgroups.unified(), || joiner::run(&joiner))
        .map_err(call("fork the joiner into the container's cgroup"))?;
    drop(joiner);
    let (joiner, lifted) = match Tracee::seize_child(pid) {
        Ok((tracee, lifted)) => (Child(Some(tracee)), lifted),
        Err(source) => {
            // It waits for a message that will not come.
            let _ = kill(pid, Signal::SIGKILL);
            let _ = process::wait(pid);
            return Err(Error::Trace(source));
        }
    };
    channel
        .send(&Message::Go { lifted })
        .map_err(call("tell the joiner to go"))?;
    let process = forked(&joiner, &channel)?;
    // It has done what it was for, and its filters might not let it say so.
    joiner.end();
    let pidfd = PidFd::open(process.get()?.pid()).map_err(call("open the process"))?;
    let finish = || {
        let numbered = proc.pid(&pidfd).map_err(Error::Proc)?;
        check_place(request, &proc, numbered, init, &place)?;
        cgroups.check(&proc, &pidfd)?;
        let terminal = hand_over(request, &channel, numbered)?;
        execute(&process, request)?;
        let tracee = process.get()?;
        tracee
            .suspend_filters(false)
            .map_err(call("put the filters in force"))?;
        check_filters(request, &proc, tracee, &pidfd)?;
        Ok(terminal)
    };
    let terminal = finish().map_err(|error| match process.killed(&error) {
        Some(stop) => early("process", stop),
        None => error,
    })?;
    let mut process = process;
    let tracee = process.0.take().ok_or(Error::Gone)?;
    Ok(Joined {
        tracee,
        pidfd,
        terminal,
        filters: request.layers.len(),
        released: false,
    })
}

/// Waits until the joiner has forked the process, which has not run yet.
fn forked(joiner: &Child, channel: &Channel) -> Result<Child, Error> {
    let joiner = joiner.get()?;
    let mut stop = joiner.wait();
    loop {
        let resumed = match stop.map_err(call("wait for the joiner"))? {
            Stop::Fork(pid) => {
                let process = Child(Some(joiner.forked(pid)));
                return match process.get()?.wait() {
                    Ok(Stop::Trap) => Ok(process),
                    stop => Err(early("process", stop)),
                };
            }
            Stop::Signal(signal) => joiner.resume(Resume::Cont, signal),
            Stop::Group => joiner.listen(),
            Stop::Ended(status) => return Err(refused(channel, status)),
            _ => joiner.resume(Resume::Cont, 0),
        };
        resumed.map_err(call("let the joiner run"))?;
        stop = joiner.wait();
    }
}

/// Why the joiner has ended, in its own words if it has left some.
fn refused(channel: &Channel, status: i32) -> Error {
    // The other end is closed, so this comes to an end.
    while let Ok(Some(message)) = channel.receive() {
        if let Message::Refused(refusal) = message {
            return Error::Refused {
                status: refusal.status,
                reason: refusal.reason,
            };
        }
    }
    let how = match libc::WIFEXITED(status) {
        // Its last calls were to drop CAP_SYS_ADMIN and to fork.
        true => format!(
            "failed to fork ({})",
            Errno::from_raw(libc::WEXITSTATUS(status))
        ),
        false => format!("was ended by signal {}", libc::WTERMSIG(status)),
    };
    Error::Ended { who: "joiner", how }
}

fn early(who: &'static str, stop: nix::Result<Stop>) -> Error {
    let how = match stop {
        Ok(Stop::Ended(status)) if libc::WIFSIGNALED(status) => {
            format!("was ended by signal {}", libc::WTERMSIG(status))
        }
        Ok(stop) => format!("stopped at {stop:?}"),
        Err(errno) => format!("was lost ({errno})"),
    };
    Error::Ended { who, how }
}

/// The process is where init was and is, and init is still there.
fn check_place(
    request: &Request<'_>,
    proc: &Proc,
    process: Pid,
    init: Pid,
    place: &Namespaces,
) -> Result<(), Error> {
    let now = Namespaces::of(proc, init).map_err(|_| Error::Gone)?;
    let joined = Namespaces::of(proc, process).map_err(Error::Proc)?;
    // Only while it lives was the number init's.
    if !request.init.is_alive().unwrap_or(false) {
        return Err(Error::Gone);
    }
    let which = place.differing(&now) | place.differing(&joined);
    match which.is_empty() {
        true => Ok(()),
        false => Err(Error::Moved {
            which: namespaces::names(which),
        }),
    }
}

/// Sends the listeners to their agents; the terminal's master comes back.
fn hand_over(
    request: &Request<'_>,
    channel: &Channel,
    process: Pid,
) -> Result<Option<OwnedFd>, Error> {
    let mut terminal = None;
    // The joiner has ended, and with it the other end.
    while let Some(message) = channel.receive().map_err(call("hear of the joiner"))? {
        match message {
            Message::Terminal(master) => terminal = Some(master),
            Message::Listener(index, listener) => {
                let layer = request.layers.get(usize::from(index));
                let agent = layer.and_then(|layer| layer.listener);
                let agent = agent.ok_or(Error::Agent(Errno::EBADMSG))?;
                agent
                    .send(listener.as_fd(), Some(process))
                    .map_err(Error::Agent)?;
            }
            Message::Go { .. } | Message::Refused(_) => {}
        }
    }
    Ok(terminal)
}

/// Lets the process run to its exec, and make none but the calls expected.
fn execute(process: &Child, request: &Request<'_>) -> Result<(), Error> {
    let tracee = process.get()?;
    let mut expected = calls_before_exec(request.terminal).iter();
    let mut last = "clone";
    let mut signal = 0;
    loop {
        tracee
            .resume(Resume::Syscall, signal)
            .map_err(call("let the process run"))?;
        signal = 0;
        let mut stop = tracee.wait();
        while stop == Ok(Stop::Group) {
            tracee.listen().map_err(call("leave the process stopped"))?;
            stop = tracee.wait();
        }
        match stop {
            Ok(Stop::Exec) if last == "execve" => return Ok(()),
            Ok(Stop::Signal(number)) => signal = number,
            Ok(Stop::Trap) => {}
            Ok(Stop::Syscall) => {
                let stopped = tracee.syscall().map_err(call("see the process's call"))?;
                if let Syscall::Entry { arch, nr, .. } = stopped {
                    let (name, number) = expected.next().unwrap_or(&("none", -1));
                    let native = crate::policy::Arch::native().audit();
                    if arch != native || i64::try_from(nr) != Ok(*number) {
                        return Err(Error::Hijacked {
                            got: nr,
                            expected: name,
                        });
                    }
                    last = name;
                } else {
                    failed(tracee, last, request)?;
                }
            }
            stop => return Err(early("process", stop)),
        }
    }
}

/// What a call of the process has failed with, if it has.
fn failed(tracee: &Tracee, name: &'static str, request: &Request<'_>) -> Result<(), Error> {
    let registers = tracee.registers().map_err(call("read its registers"))?;
    let source = match i64::from_ne_bytes(registers.rax.to_ne_bytes()) {
        errno @ -4095..0 => Errno::from_raw(i32::try_from(-errno).unwrap_or(0)),
        _ => return Ok(()),
    };
    Err(match name {
        "execve" => Error::Exec {
            path: request.execution.args.first().cloned().unwrap_or_default(),
            source,
        },
        what => Error::Call { what, source },
    })
}

/// The process has the filters, all of them and no others.
fn check_filters(
    request: &Request<'_>,
    proc: &Proc,
    process: &Tracee,
    pidfd: &PidFd,
) -> Result<(), Error> {
    let differs = |what: &str| Error::Differs { what: what.into() };
    let wanted = request.layers.len();
    match process.filters() {
        Ok(count) if count == wanted => {
            for (index, layer) in request.layers.iter().enumerate() {
                let loaded = process.filter(index).map_err(call("read its filters"))?;
                if loaded != layer.program.to_bytes() {
                    return Err(differs("a filter read back is not the one that was loaded"));
                }
            }
            return Ok(());
        }
        Ok(_) => return Err(differs("it has another number of filters")),
        // Not permitted: they are counted.
        Err(_) => {}
    }
    let count = |process: &PidFd| {
        let seccomp = proc.seccomp(process).map_err(Error::Proc)?;
        usize::try_from(seccomp.filters).map_err(|_| differs("it has too many filters"))
    };
    // This process's own are inherited.
    let own = PidFd::open(getpid()).map_err(call("look at this process"))?;
    match count(pidfd)? == count(&own)? + wanted {
        true => Ok(()),
        false => Err(differs("it has another number of filters")),
    }
}
