//! The filters that the kernel really has on a process.
//!
//! A filter can only be read from a thread that is stopped and traced
//! (PTRACE_SECCOMP_GET_FILTER). So each thread is stopped for as long as that
//! takes, some ten microseconds for each filter, by a child process of ours:
//! whatever happens to it or to us, the kernel then ends the tracing and the
//! thread goes on. Its signals and its group stop stay as they are, and a call
//! that the stop interrupts is taken up again.
//!
//! # Requirements
//! CAP_SYS_ADMIN in the initial user namespace, no filter on this process, a
//! mounted proc(5) of its pid namespace, CAP_SYS_PTRACE over the process (or
//! the same user and a dumpable process), and no other tracer: a container
//! that waits to be started has one if a hook of ours has armed it.
#![forbid(unsafe_code)]

mod report;
mod text;

pub use report::{
    Answer, Answered, Asked, Container, Declared, Described, Group, Judged, Report, Shown,
    Strictness,
};

use std::error::Error as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getpid};
use serde::{Deserialize, Serialize};

use crate::arm::regs;
use crate::bpf::Invalid;
use crate::features;
use crate::sys::process::{Helper, PidFd, isolate, pipe};
use crate::sys::procfs::{Proc, Seccomp};
use crate::sys::ptrace::{Stop, Tracee};

/// One loaded filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// The program as it was loaded: `struct sock_filter`, eight bytes each.
    #[serde(with = "base64_text")]
    pub bytes: Vec<u8>,
    /// Whether it was loaded with `SECCOMP_FILTER_FLAG_LOG`; `None` where the
    /// kernel does not say (before 4.16). No other flag can be read.
    pub log: Option<bool>,
}

/// The filters of a thread. The kernel obeys the strictest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// The oldest first.
    pub filters: Vec<Loaded>,
}

/// Threads of one process that have the same filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threads {
    /// Their numbers, in ascending order but for the first thread's, which is
    /// the process's and comes first.
    pub ids: Vec<i32>,
    /// What they have.
    pub stack: Stack,
}

/// Why the filters of a process cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// This process may not read filters, anybody's. Nothing was stopped.
    #[error("{0}")]
    Privilege(&'static str),
    /// No numbers to trace by.
    #[error("the mounted /proc is of another pid namespace: mount one of this")]
    Namespace,
    /// /proc does not answer.
    #[error("failed to read /proc")]
    Proc(#[source] io::Error),
    /// It has ended.
    #[error("the process has ended")]
    Gone,
    /// It has a tracer already.
    #[error(
        "process {by} traces it already: a debugger, or our hook, which traces a container's init \
         until its start"
    )]
    Traced {
        /// The tracer.
        by: u32,
    },
    /// ptrace(2) was refused.
    #[error("failed to trace it: {hint}")]
    Trace {
        /// What to look at.
        hint: &'static str,
        /// From ptrace(2).
        source: Errno,
    },
    /// The kernel did not hand a filter out.
    #[error("failed to read its filters (EIO: the kernel lacks CONFIG_CHECKPOINT_RESTORE)")]
    Read(#[source] Errno),
    /// It did not stop in time: most likely it waits for a device.
    #[error("it did not stop within {0:?}")]
    Time(Duration),
    /// No child to read them.
    #[error("failed to start the process that reads them")]
    Start(#[source] Errno),
    /// The kernel gave what it would not take.
    #[error("the kernel has handed out a program that it would not take")]
    Program(#[from] Invalid),
    /// The child has ended without an answer.
    #[error("the process that reads them ended without an answer")]
    NoAnswer,
}

/// The filters of a process's first thread. The others may have more;
/// [`threads_of`] tells.
///
/// # Errors
/// [`Unreadable`]; the process goes on in any case.
pub fn filters_of(process: &PidFd, limit: Duration) -> Result<Stack, Unreadable> {
    begin(process, limit)?.first()
}

/// The filters of all threads of a process, those of the first thread first.
/// Each is stopped by itself, one after another.
///
/// # Errors
/// [`Unreadable`]; the process goes on in any case.
pub fn threads_of(process: &PidFd, limit: Duration) -> Result<Vec<Threads>, Unreadable> {
    read(process, limit, Which::All)
}

/// How many filters a process's first thread has, as anybody may know.
///
/// # Errors
/// Those of reading proc(5).
pub fn count_of(process: &PidFd) -> io::Result<usize> {
    let count = Proc::open()?.seccomp(process)?.filters;
    usize::try_from(count).map_err(io::Error::other)
}

/// The same of this process.
///
/// # Errors
/// As for [`count_of`].
pub fn own_count() -> io::Result<usize> {
    count_of(&PidFd::open(nix::unistd::getpid())?)
}

/// A process by its number.
///
/// # Errors
/// ESRCH without such a process; EINVAL or ENOENT where the number is that of
/// a thread.
pub fn open(pid: Pid) -> nix::Result<PidFd> {
    PidFd::open(pid)
}

/// What can be said of a process: of all its threads where its filters can be
/// read, else what /proc says.
///
/// # Errors
/// [`Unreadable`] where not even that can be read, or a program is none.
pub fn report(process: &PidFd, limit: Duration) -> Result<Report, Unreadable> {
    let proc = Proc::open().map_err(Unreadable::Proc)?;
    let number = proc.pid(process).map_err(|_| Unreadable::Gone)?;
    let Seccomp { mode, filters } = proc.seccomp(process).map_err(Unreadable::Proc)?;
    let threads = threads_of(process, limit);
    let unreadable = threads.as_ref().err().map(|error| match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    });
    let mut report = Report::counted(number.as_raw(), mode, filters, unreadable);
    report.add(&threads.unwrap_or_default())?;
    Ok(report)
}

/// Why this process may not read filters, if it may not.
#[must_use]
pub fn missing_privilege() -> Option<&'static str> {
    let this = features::Process::probe();
    if this.filtered != Some(false) {
        Some("this process has a filter itself: the kernel hands filters to an unfiltered one only")
    } else if this.user_namespace != Some(false) {
        Some("this process is in a user namespace: to read filters takes CAP_SYS_ADMIN outside")
    } else if this.cap_sys_admin != Some(true) {
        Some("this process lacks CAP_SYS_ADMIN, which it takes to read filters")
    } else {
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    First,
    All,
}

/// What the child answers.
#[derive(Serialize, Deserialize)]
enum Reply {
    Threads(Vec<Threads>),
    Gone,
    /// The errno of the operation.
    Trace(i32),
    Read(i32),
}

fn read(process: &PidFd, limit: Duration, which: Which) -> Result<Vec<Threads>, Unreadable> {
    Pending::begin(process, limit, which)?.finish()
}

/// Filters that are being read, by a child of this process.
pub struct Pending<'a> {
    process: &'a PidFd,
    proc: Proc,
    // Killed, where it has not ended by then.
    child: Helper,
    reader: OwnedFd,
    limit: Duration,
    deadline: Instant,
}

/// Begins what [`filters_of`] does; [`Pending::first`] comes back with it.
///
/// # Errors
/// As for [`filters_of`].
pub fn begin(process: &PidFd, limit: Duration) -> Result<Pending<'_>, Unreadable> {
    Pending::begin(process, limit, Which::First)
}

impl<'a> Pending<'a> {
    fn begin(process: &'a PidFd, limit: Duration, which: Which) -> Result<Self, Unreadable> {
        // The kernel would say so too, but only once the process is stopped.
        if let Some(missing) = missing_privilege() {
            return Err(Unreadable::Privilege(missing));
        }
        let proc = Proc::open().map_err(Unreadable::Proc)?;
        let this = PidFd::open(getpid()).map_err(|errno| Unreadable::Proc(errno.into()))?;
        // From the namespace of the mount to the innermost: here they are one.
        if proc.numbers(&this).map_err(Unreadable::Proc)?.len() != 1 {
            return Err(Unreadable::Namespace);
        }
        let pid = proc.pid(process).map_err(|_| Unreadable::Gone)?;
        let (reader, writer) = pipe().map_err(Unreadable::Start)?;
        let deadline = Instant::now() + limit;
        let child = Helper::spawn(|| child(process, pid, &proc, which, &writer));
        Ok(Self {
            process,
            child: child.map_err(Unreadable::Start)?,
            proc,
            reader,
            limit,
            deadline,
        })
    }

    /// The filters of the first thread, when they are there.
    ///
    /// # Errors
    /// As for [`filters_of`].
    pub fn first(self) -> Result<Stack, Unreadable> {
        let threads = self.finish()?.into_iter();
        let mut stacks = threads.map(|threads| threads.stack);
        stacks.next().ok_or(Unreadable::NoAnswer)
    }

    fn finish(self) -> Result<Vec<Threads>, Unreadable> {
        let answer = answer(self.reader, self.deadline);
        drop(self.child);
        match answer.ok_or(Unreadable::Time(self.limit))? {
            Some(Reply::Threads(threads)) => Ok(threads),
            Some(Reply::Gone) => Err(Unreadable::Gone),
            Some(Reply::Read(errno)) => Err(Unreadable::Read(Errno::from_raw(errno))),
            Some(Reply::Trace(errno)) => Err(match self.proc.tracer(self.process) {
                Some(by) => Unreadable::Traced { by },
                None => refusal(Errno::from_raw(errno)),
            }),
            None => Err(Unreadable::NoAnswer),
        }
    }
}

/// Bytes as text: as a list of numbers they would be four times as long.
mod base64_text {
    use base64::prelude::{BASE64_STANDARD, Engine};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64_STANDARD.decode(text).map_err(D::Error::custom)
    }
}

fn refusal(source: Errno) -> Unreadable {
    let hint = features::Ptrace::probe().obstacle();
    let hint = hint.unwrap_or(
        "it takes CAP_SYS_PTRACE where the process's program was started, and a security module \
         that allows it",
    );
    Unreadable::Trace { hint, source }
}

/// Reads to the end of what the child says; `None` where that does not come
/// in time.
fn answer(reader: OwnedFd, deadline: Instant) -> Option<Option<Reply>> {
    let mut text = Vec::new();
    let mut reader = File::from(reader);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up: 0 would not wait.
        let left = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) if Instant::now() >= deadline => return None,
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(_) => return Some(None),
        }
        let mut part = [0; 1 << 12];
        match reader.read(&mut part) {
            Ok(0) => return Some(serde_json::from_slice(&text).ok()),
            Ok(n) => text.extend(&part[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Some(None),
        }
    }
}

/// The whole life of the child.
fn child(process: &PidFd, pid: Pid, proc: &Proc, which: Which, to: &OwnedFd) {
    let keep = [process.as_fd(), proc.as_fd(), to.as_fd()];
    let answer = isolate(c"oci-seccomp", &keep)
        .map_err(Failure::Trace)
        .and_then(|()| {
            let reading = Reading { process, proc };
            match which {
                Which::First => reading.one(pid).map(|stack| {
                    vec![Threads {
                        ids: vec![pid.as_raw()],
                        stack,
                    }]
                }),
                Which::All => reading.all(),
            }
        });
    let answer = match answer {
        Ok(threads) => Reply::Threads(threads),
        Err(Failure::Gone | Failure::Trace(Errno::ESRCH) | Failure::Read(Errno::ESRCH)) => {
            Reply::Gone
        }
        Err(Failure::Trace(errno)) => Reply::Trace(errno as i32),
        Err(Failure::Read(errno)) => Reply::Read(errno as i32),
    };
    // Who does not listen any more has an answer of its own.
    if let Ok(text) = serde_json::to_vec(&answer)
        && let Ok(to) = to.try_clone()
    {
        let _ = File::from(to).write_all(&text);
    }
}

#[derive(Debug)]
enum Failure {
    Gone,
    Trace(Errno),
    Read(Errno),
}

struct Reading<'a> {
    process: &'a PidFd,
    proc: &'a Proc,
}

impl Reading<'_> {
    /// All threads there are, and those that come up meanwhile.
    fn all(&self) -> Result<Vec<Threads>, Failure> {
        let mut seen = Vec::new();
        let mut groups: Vec<Threads> = Vec::new();
        loop {
            let threads = self.proc.threads(self.process).map_err(|_| Failure::Gone)?;
            let new: Vec<_> = threads.into_iter().filter(|t| !seen.contains(t)).collect();
            if new.is_empty() {
                break;
            }
            for thread in new {
                seen.push(thread);
                match self.one(thread) {
                    Ok(stack) => add(&mut groups, thread, stack),
                    // It has ended, or is about to: it makes no call any more.
                    Err(_) if !self.runs(thread) => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        match groups.is_empty() {
            true => Err(Failure::Gone),
            false => Ok(groups),
        }
    }

    fn runs(&self, thread: Pid) -> bool {
        self.proc.thread_runs(self.process, thread).unwrap_or(false)
    }

    fn one(&self, thread: Pid) -> Result<Stack, Failure> {
        let tracee = Tracee::observe(thread).map_err(Failure::Trace)?;
        let signal = match tracee
            .interrupt()
            .and_then(|()| tracee.wait())
            .map_err(Failure::Trace)?
        {
            Stop::Ended(_) => return Err(Failure::Gone),
            Stop::Trap => {
                // First of all: were we killed before, it would see EINTR.
                let registers = tracee.registers().map_err(Failure::Read)?;
                if let Some(registers) = regs::taken_up_again(registers) {
                    tracee.set_registers(registers).map_err(Failure::Read)?;
                }
                0
            }
            // A signal came first; it is delivered at the end.
            Stop::Signal(signal) => signal,
            _ => 0,
        };
        // The number was its own when it was seized if it is so now.
        let is_ours = self.process.is_alive().unwrap_or(false) && self.runs(thread);
        let stack = match is_ours {
            true => stack(&tracee),
            false => Err(Failure::Gone),
        };
        tracee.detach(signal).map_err(Failure::Trace)?;
        stack
    }
}

fn stack(tracee: &Tracee) -> Result<Stack, Failure> {
    let mut filters = Vec::new();
    for index in 0..tracee.filters().map_err(Failure::Read)? {
        let flags = tracee.filter_flags(index);
        filters.push(Loaded {
            bytes: tracee.filter(index).map_err(Failure::Read)?,
            log: flags.ok().map(|f| f & libc::SECCOMP_FILTER_FLAG_LOG != 0),
        });
    }
    Ok(Stack { filters })
}

/// Counts a thread to those with the same filters.
fn add(groups: &mut Vec<Threads>, thread: Pid, stack: Stack) {
    match groups.iter_mut().find(|g| g.stack == stack) {
        Some(group) => group.ids.push(thread.as_raw()),
        None => groups.push(Threads {
            ids: vec![thread.as_raw()],
            stack,
        }),
    }
}

#[cfg(test)]
mod tests;
