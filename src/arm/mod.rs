//! Arming: making sure that a container's init gets the filter.
//!
//! A hook is a separate process, and a filter that it loads on itself dies
//! with it. So [`arm`] leaves a tracer behind. It seizes init by ptrace(2),
//! makes it load the filter at the [`Boundary`], reads the loaded program
//! back, and ends when the workload is about to run its first instruction.
//!
//! # Fail closed
//! Init is seized with PTRACE_O_EXITKILL: whatever ends the tracer (an error,
//! a panic, SIGKILL) ends init, until the exec has been seen with the filter
//! in place. That also covers a hook that is killed before it has answered.
//! If a thread of init that is not traced execs, the kernel first kills the
//! one that is; the tracer sees that and ends init before the exec goes on.
//!
//! # What the tracer is
//! A daemon of about a megabyte in its own session, without inherited
//! descriptors or signals. Where it is killed with its control group, so is
//! init. In a createContainer hook it is a child of the container's first
//! process, which then has a child to reap that it did not start; a
//! createRuntime hook leaves no such trace.
//!
//! # User namespaces
//! Init enters a user namespace of its own long before it execs. Until then
//! its memory belongs to the namespace in which the runtime's program was
//! executed, and ptrace(2) asks for CAP_SYS_PTRACE there, since such an init
//! is not dumpable. A createRuntime hook has it; a createContainer hook has
//! it in init's new namespace only, and is refused.
//!
//! # Listener
//! For a filter with NOTIFY verdicts seccomp(2) gives init a descriptor. The
//! tracer takes it (pidfd_getfd(2)), has init close it, and sends it to the
//! agent, all before init runs on: the next call may already need an answer.
//! The filter is in place by then and may refuse the close(2), or ask the
//! agent about it. So filters are lifted for it (PTRACE_O_SUSPEND_SECCOMP),
//! or, without the privilege, it is made only if the program is certain to let
//! it through. Where neither holds, init is killed at the exec; before it, the
//! exec itself closes the descriptor.
//!
//! # Requirements
//! Linux 5.9 on x86_64; CAP_SYS_PTRACE over init, or the same user and a
//! dumpable init. To read the filter back: CAP_SYS_ADMIN in the initial user
//! namespace, or a mounted proc(5) that shows init. At the exec the program
//! has to fit below the workload's stack: RLIMIT_STACK has to leave it room
//! (32 KiB for the longest).
#![forbid(unsafe_code)]

mod existing;
pub(crate) mod regs;
mod tracer;
mod watch;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::{Pid, getpid, getppid};

use crate::bpf::Program;
use crate::features::Ptrace;
use crate::listener::Handover;
use crate::policy::{Flags, Policy};
use crate::sys::process::{self, PidFd};
use crate::sys::procfs::Proc;

/// When init gets the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// When it execs the workload. No call of the runtime is filtered. For a
    /// workload with no_new_privs, or with CAP_SYS_ADMIN after the exec: any
    /// other is not permitted to load a filter and is killed here.
    Exec,
    /// At once, and in force from the exec on: until then filters are lifted
    /// (PTRACE_O_SUSPEND_SECCOMP), so no call of the runtime is filtered, and
    /// none has to be watched. For a workload that may not load one at the
    /// exec. What init forks in the meantime inherits the filter in force: for
    /// an init that starts no hooks any more. Filters that init loads later are
    /// lifted as well: for one that is certain to exec ([`parent_executes`]),
    /// else the workload would run without any. Where the tracer may not lift
    /// filters, or init has some already, as
    /// [`Boundary::BeforeCapabilityDrop`].
    Ahead,
    /// Just before init gives up CAP_SYS_ADMIN: at the capset(2), the
    /// setuid(2) or the like. A filter of its own that comes first is waited
    /// for where the tracer can lift it for the loading (CAP_SYS_ADMIN in the
    /// initial user namespace); elsewhere it might refuse ours, so ours is
    /// loaded before it. The profile must allow what the runtime calls from
    /// there to the exec. If nothing of the kind comes, as
    /// [`Boundary::Exec`].
    BeforeCapabilityDrop,
}

/// One filter for init.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// What to call it in the report.
    pub name: &'a str,
    /// The filter.
    pub program: &'a Program,
    /// Flags for seccomp(2). TSYNC is left out: at the exec init has one
    /// thread, and before it only the thread that execs counts.
    pub flags: Flags,
    /// What the program means, where that is known.
    pub policy: Option<&'a dyn Meaning>,
    /// Who gets the listener of a filter with NOTIFY verdicts: connected, and
    /// told as soon as there is one. Without, the filter has none, and such a
    /// call fails with ENOSYS. The kernel allows a process one listener.
    pub listener: Option<&'a Handover>,
}

/// What a program means. Asked for only where another program is held against
/// it, so it may take its time then.
pub trait Meaning: fmt::Debug {
    /// The policy; `None` where there is none.
    fn policy(&self) -> Option<&Policy>;
}

impl Meaning for Policy {
    fn policy(&self) -> Option<&Policy> {
        Some(self)
    }
}

/// What to do where init has filters already: the runtime's own, most likely.
/// They are looked at when ours are about to be loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExisting {
    /// Read them back, and leave out a filter of ours where one of them is at
    /// least as strict for every call. Ours is loaded where this cannot be
    /// told.
    #[default]
    Verify,
    /// Load ours on top.
    Stack,
    /// Load none of ours. Filters that init was born with, the runtime's own
    /// if it has some, do not count.
    Skip,
}

impl OnExisting {
    /// What is done, in words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Verify => {
                "left out where a filter of the runtime is proven to be as strict, else loaded on top"
            }
            Self::Stack => "loaded on top of the runtime's filters",
            Self::Skip => "left out where the runtime has loaded a filter",
        }
    }
}

/// What to arm, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Container init, as the caller's own pid namespace numbers it.
    pub init: Pid,
    /// The filters, in the order in which they are loaded.
    pub layers: &'a [Layer<'a>],
    /// When to load them.
    pub boundary: Boundary,
    /// What to do about filters that are there by then.
    pub on_existing: OnExisting,
    /// Who hears of the outcome.
    pub report: Option<Report<'a>>,
}

/// How the tracer tells what came of it, long after the hook has returned.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// The descriptors that `tell` needs, all others are closed: no standard
    /// ones, and no pipe or socket on which the runtime awaits the end of the
    /// hook.
    pub keep: &'a [BorrowedFd<'a>],
    /// Called once, in the tracer, with where init got the filter or with why
    /// it was killed.
    pub tell: &'a dyn Fn(Result<&str, &str>),
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keep, tell: _ } = self;
        f.debug_struct("Report")
            .field("keep", keep)
            .finish_non_exhaustive()
    }
}

/// Why init is not armed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The number cannot be that of a container's init.
    #[error("process {pid} cannot be the container's init: {why}")]
    NotInit {
        /// The number.
        pid: Pid,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No descriptor for init.
    #[error("failed to open process {pid}, the container's init (pidfd_open needs Linux 5.3)")]
    Open {
        /// Its number.
        pid: Pid,
        /// From pidfd_open(2).
        source: Errno,
    },
    /// The tracer was not started.
    #[error("failed to start the tracer")]
    Start(#[source] Errno),
    /// The tracer did not become a daemon.
    #[error("failed to detach the tracer from the hook (close_range needs Linux 5.9)")]
    Detach(#[source] Errno),
    /// Init could not be traced.
    #[error("failed to trace process {pid}, the container's init: {hint}")]
    Seize {
        /// Its number.
        pid: Pid,
        /// The likely reason and what to do.
        hint: String,
        /// From ptrace(2).
        source: Errno,
    },
    /// Another process was seized, or init has ended.
    #[error("process {pid}, the container's init, ended while it was being armed")]
    Gone {
        /// Its number.
        pid: Pid,
    },
    /// The tracer ended without an answer.
    #[error("the tracer ended before it had seized process {pid}")]
    NoAnswer {
        /// Number of init.
        pid: Pid,
    },
}

/// Arms init: starts the tracer and returns once it has seized init. The
/// hook may exit 0 then.
///
/// The caller has one thread (the tracer is forked), and has made sure that
/// `init` is the container's: the state's `pid` in the runtime's namespace,
/// the parent process in the container's.
///
/// # Errors
/// [`Error`]; init then either is not traced or is being killed, and the
/// hook has to fail.
pub fn arm(request: &Request<'_>) -> Result<(), Error> {
    let pid = request.init;
    check(pid)?;
    // Before the seizing: what this descriptor means cannot change.
    let init = PidFd::open(pid).map_err(|source| Error::Open { pid, source })?;
    let (reader, writer) = process::pipe().map_err(Error::Start)?;
    process::spawn_orphan(|| tracer::run(request, &init, &writer)).map_err(Error::Start)?;
    drop(writer);
    match answer(reader) {
        None => Err(Error::NoAnswer { pid }),
        Some(Answer::Seized) => Ok(()),
        Some(Answer::Detach(errno)) => Err(Error::Detach(errno)),
        Some(Answer::Gone) => Err(Error::Gone { pid }),
        Some(Answer::Seize(source)) => Err(Error::Seize {
            pid,
            hint: hint(&init, source),
            source,
        }),
    }
}

/// Whether this process's parent, which is the runtime or its init, is one that
/// is known to execute the workload in init: runc, crun or youki by these very
/// names. crun called by another (`krun`, `crun-wasm`) may run it in itself, and
/// so may what is not known here: there a filter that is lifted until an exec
/// would never be in force.
#[must_use]
pub fn parent_executes() -> bool {
    let name = || {
        let parent = PidFd::open(getppid()).ok()?;
        Proc::open().ok()?.name(&parent).ok()
    };
    name().is_some_and(|name| executes(&name))
}

/// By the name that a program was started by.
fn executes(name: &[u8]) -> bool {
    let base = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    [&b"runc"[..], b"crun", b"youki"].contains(&base)
}

/// Refuses numbers that a wrong or hostile state might carry.
fn check(pid: Pid) -> Result<(), Error> {
    let why = if pid.as_raw() <= 0 {
        "it is no process's number (in a container-side hook, init is the parent process)"
    } else if pid == getpid() {
        "it is this process"
    } else if pid.as_raw() == 1 && getppid() != pid {
        "it is the first process of this pid namespace, and not what has started the hook"
    } else {
        return Ok(());
    };
    Err(Error::NotInit { pid, why })
}

/// What the tracer tells the hook, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Seized,
    Detach(Errno),
    Seize(Errno),
    Gone,
}

impl Answer {
    fn to_bytes(self) -> [u8; 5] {
        let (tag, errno) = match self {
            Self::Seized => (b'+', 0),
            Self::Detach(errno) => (b'd', errno as i32),
            Self::Seize(errno) => (b's', errno as i32),
            Self::Gone => (b'g', 0),
        };
        let [a, b, c, d] = errno.to_ne_bytes();
        [tag, a, b, c, d]
    }

    fn from_bytes([tag, errno @ ..]: [u8; 5]) -> Option<Self> {
        let errno = Errno::from_raw(i32::from_ne_bytes(errno));
        match tag {
            b'+' => Some(Self::Seized),
            b'd' => Some(Self::Detach(errno)),
            b's' => Some(Self::Seize(errno)),
            b'g' => Some(Self::Gone),
            _ => None,
        }
    }
}

/// Reads the answer; `None` when the tracer has ended without one.
fn answer(reader: OwnedFd) -> Option<Answer> {
    let mut bytes = [0; 5];
    File::from(reader).read_exact(&mut bytes).ok()?;
    Answer::from_bytes(bytes)
}

/// The likely reason why init cannot be traced.
fn hint(init: &PidFd, errno: Errno) -> String {
    if !matches!(errno, Errno::EPERM | Errno::EACCES) {
        return "ptrace(PTRACE_SEIZE) was refused".into();
    }
    if let Some(tracer) = Proc::open().ok().and_then(|proc| proc.tracer(init)) {
        return format!("process {tracer} traces it already");
    }
    let ptrace = Ptrace::probe();
    if let Some(obstacle) = ptrace.obstacle() {
        return obstacle.into();
    }
    // Yama and the missing capability are EPERM; so is Landlock.
    if errno == Errno::EACCES {
        let label = ptrace.label.as_deref().unwrap_or("of this process");
        return format!(
            "a security module (AppArmor, SELinux, Smack) forbids it: allow ptrace to the \
             label {label}, or run the runtime unconfined"
        );
    }
    match caps::has_cap(
        None,
        caps::CapSet::Effective,
        caps::Capability::CAP_SYS_PTRACE,
    ) {
        Ok(true) if in_user_namespace() => {
            "until it execs, the memory of an init with a user namespace of its own belongs to \
             the parent namespace, and CAP_SYS_PTRACE counts there only: arm from a \
             createRuntime hook, which runs outside"
                .into()
        }
        Ok(true) => "CAP_SYS_PTRACE is there: does a security module (Landlock) forbid it?".into(),
        _ => "CAP_SYS_PTRACE is missing: arm from a createRuntime or createContainer hook, \
              where the runtime's capabilities are still there"
            .into(),
    }
}

/// Whether this process is in another user namespace than the system's first
/// one, which alone maps every id to itself; user_namespaces(7).
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests;
