//! Joining: a second process in a running container, as confined as its init.
//!
//! Such a process is no child of init and inherits nothing of it, so all that
//! init has, it has to be given: namespaces, root, cgroups, user, limits, and
//! the filters. [`join`] starts it and comes back when it is stopped before
//! its first instruction, with all of that looked at.
//!
//! # Two processes
//! The *joiner* is a child on the host. It joins, becomes what the process is
//! to be, loads the filters while it still has CAP_SYS_ADMIN, gives that up and
//! forks the *process*, which makes two calls more, setsid(2) and execve(2)
//! (with a terminal, an ioctl(2) between them). The joiner is never in the
//! container's pid namespace, and so out of its sight. The process is in sight
//! from its birth on; by then it has no right that the workload is not to
//! have, no folder and no descriptor of the host's, and is filtered.
//!
//! # Traced
//! This process traces both from their first instruction to the exec. So:
//! - Nobody in the container can attach to the process (CVE-2016-9962), and
//!   one that can write to its memory all the same, with a CAP_SYS_PTRACE that
//!   counts on the host, gains nothing: any call but those expected kills it.
//! - Both die with this process (PTRACE_O_EXITKILL).
//! - Their filters are lifted until the exec has happened
//!   (PTRACE_O_SUSPEND_SECCOMP), so a profile need not allow any of the calls
//!   above. Where this is not permitted (it takes CAP_SYS_ADMIN in the initial
//!   user namespace), a profile that forbids one of them is refused.
//!
//! # Requirements
//! Linux 5.9 on x86_64. The container's init is pinned by a pidfd, and all
//! that is joined is joined through it. The caller has one thread and should
//! run from a [sealed](crate::sealed) file.
#![forbid(unsafe_code)]

mod channel;
mod joiner;
mod parent;
mod stack;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::arm::Layer;
use crate::bundle::Execution;
use crate::cgroup;
use crate::sys::process::PidFd;

pub use parent::{Joined, join};
pub use stack::{Gap, Why, gaps};

/// What to start, and where.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The container's init, pinned.
    pub init: &'a PidFd,
    /// What the process is to be.
    pub execution: &'a Execution,
    /// Its filters, in the order in which they are loaded.
    pub layers: &'a [Layer<'a>],
    /// Whether it gets a terminal, made in the container.
    pub terminal: bool,
    /// What it gets for its standard streams in place of the caller's, where
    /// it gets no terminal.
    pub streams: [Option<BorrowedFd<'a>>; 3],
}

/// Why the joiner started nothing: an exit status and a reason for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: u8,
    reason: String,
}

/// Why no process was started. None is left then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// proc(5) is needed to find init by its descriptor.
    #[error("failed to read /proc, which has to be mounted")]
    Proc(#[source] io::Error),
    /// Init has ended.
    #[error("the container's init ended meanwhile")]
    Gone,
    /// Init is not where it was when it was joined.
    #[error("the container's init went to another namespace meanwhile ({which})")]
    Moved {
        /// The kinds of namespaces.
        which: String,
    },
    /// The container's cgroups are out of reach.
    #[error("failed to put the process into the container's cgroups")]
    Cgroup(#[from] cgroup::Error),
    /// The joiner may not be traced.
    #[error(
        "failed to trace the process that joins: it takes CAP_SYS_PTRACE, and no security module \
         that forbids ptrace (see oci-seccomp features)"
    )]
    Trace(#[source] Errno),
    /// A system call of this process failed.
    #[error("failed to {what}")]
    Call {
        /// What it was to do.
        what: &'static str,
        /// Its errno.
        source: Errno,
    },
    /// The joiner says why.
    #[error("{reason}")]
    Refused {
        /// 125, 126 or 127, as [`crate::command`] has it.
        status: u8,
        /// In the joiner's words.
        reason: String,
    },
    /// The command cannot be executed.
    #[error("cannot execute {path}{}", hint(*.source))]
    Exec {
        /// As it was found.
        path: String,
        /// From execve(2).
        source: Errno,
    },
    /// The joiner or the process ended before its time.
    #[error("the {who} {how} before it executed the command")]
    Ended {
        /// `joiner` or `process`.
        who: &'static str,
        /// In words.
        how: String,
    },
    /// The process made a call of somebody else's.
    #[error(
        "the process made the call {got} in place of {expected}: something in the container \
         changed its memory"
    )]
    Hijacked {
        /// Its number.
        got: u64,
        /// The call's name.
        expected: &'static str,
    },
    /// The process is not as it is to be.
    #[error(
        "the process is not as it is to be: {what}; it was killed before its first instruction"
    )]
    Differs {
        /// What differs.
        what: String,
    },
    /// The agent of NOTIFY rules does not take the listener.
    #[error("failed to send the listener to the agent")]
    Agent(#[source] Errno),
}

impl Error {
    /// The exit status that says so; see [`crate::command`].
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Refused { status, .. } => *status,
            Self::Exec { source, .. } => crate::command::status(*source),
            _ => crate::command::OURS,
        }
    }
}

/// What an errno of execve(2) means for a file that is there.
fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOENT => ": its interpreter is missing",
        Errno::ENOEXEC => ": it is no program, nor a script with #!",
        _ => "",
    }
}

/// For `map_err` on a call of this process.
fn call(what: &'static str) -> impl FnOnce(Errno) -> Error {
    move |source| Error::Call { what, source }
}

impl Joined {
    /// Its number in this process's pid namespace. It is this process's child.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.tracee.pid()
    }

    /// How many filters it has of those that were asked for.
    #[must_use]
    pub const fn filters(&self) -> usize {
        self.filters
    }

    /// It, pinned.
    #[must_use]
    pub const fn pidfd(&self) -> &PidFd {
        &self.pidfd
    }

    /// Kills it, if it is still there.
    pub fn kill(&self) {
        // It may have ended by itself since.
        let _ = self.pidfd.kill();
    }

    /// The master of its terminal, once.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }
}
