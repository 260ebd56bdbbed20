//! Processes by descriptor, and a daemon that holds nothing of its parent's.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{
    ForkResult, Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, getpid, getppid, pipe2,
    setsid,
};

/// linux/sched.h; libc's is too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A process, pinned: the descriptor never comes to mean another one.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// pidfd_open(2), Linux 5.3. The descriptor is close-on-exec and no
    /// standard one.
    ///
    /// # Errors
    /// ESRCH without such a process; EINVAL or ENOENT where the number is that
    /// of a thread.
    pub fn open(pid: Pid) -> nix::Result<Self> {
        // SAFETY: pidfd_open takes two integers and touches no memory.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just made this descriptor and nobody else
        // knows of it.
        lift(unsafe { OwnedFd::from_raw_fd(fd) }).map(Self)
    }

    /// Whether the process still runs: then its number is still its own.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn is_alive(&self) -> nix::Result<bool> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut fds, PollTimeout::ZERO)? == 0)
    }

    /// A duplicate of one of its descriptors (pidfd_getfd(2), Linux 5.6). It
    /// is close-on-exec and no standard one.
    ///
    /// # Errors
    /// EBADF where it has none of this number; EPERM where it may not be
    /// traced.
    pub fn descriptor(&self, number: RawFd) -> nix::Result<OwnedFd> {
        let pidfd = self.0.as_raw_fd();
        // SAFETY: pidfd_getfd takes three integers and touches no memory.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, number, 0) };
        let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just made this descriptor and nobody else
        // knows of it.
        lift(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Sends SIGKILL. A pid namespace's init ignores it when it comes from
    /// within that namespace.
    ///
    /// # Errors
    /// ESRCH, EPERM.
    pub fn kill(&self) -> nix::Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Sends a signal by its number, real-time ones too (pidfd_send_signal(2),
    /// Linux 5.1).
    ///
    /// # Errors
    /// ESRCH once the process is reaped, EPERM, EINVAL where no signal has the
    /// number.
    pub fn signal(&self, number: i32) -> nix::Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open, and a null siginfo is what
        // pidfd_send_signal(2) defines as "as kill(2) does".
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                number,
                no_info,
                0,
            )
        };
        Errno::result(sent).map(drop)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A pipe whose ends are close-on-exec and no standard descriptors, so that
/// [`isolate`] can keep them.
///
/// # Errors
/// Those of pipe2(2).
pub fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((reader, lift(&writer)?))
}

/// A duplicate that is close-on-exec and no standard descriptor.
///
/// # Errors
/// Those of fcntl(2).
pub fn lift(fd: impl AsFd) -> nix::Result<OwnedFd> {
    let fd = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows
    // of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes a descriptor that the kernel has just put into a message for this
/// process (SCM_RIGHTS).
pub fn own(received: RawFd) -> OwnedFd {
    // SAFETY: such a number stands for a descriptor that was opened for this
    // process alone, and the message is read once.
    unsafe { OwnedFd::from_raw_fd(received) }
}

/// Runs `body` in a process that is no child of this one: two forks, so that
/// whoever reaps orphans reaps it, and in a session of its own.
///
/// The new process ends with `body`, also when that panics, and runs no
/// destructor of this one's.
///
/// The caller has one thread. With more, `body` would find the locks of the
/// others as they were at the fork.
///
/// # Errors
/// Those of fork(2), setsid(2) and waitpid(2).
pub fn spawn_orphan(body: impl FnOnce()) -> nix::Result<()> {
    // SAFETY: the caller has one thread, so the child may do all that the
    // parent may.
    let forked = unsafe { fork() }?;
    match forked {
        ForkResult::Parent { child } => match wait(child)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            WaitStatus::Exited(_, errno) => Err(Errno::from_raw(errno)),
            _ => Err(Errno::ECHILD),
        },
        ForkResult::Child => {
            let ended = setsid().and_then(|_| {
                // SAFETY: the child of a fork has one thread.
                unsafe { fork() }
            });
            match ended {
                Ok(ForkResult::Child) => {
                    // A panic must not unwind into the parent's frames.
                    let panicked = catch_unwind(AssertUnwindSafe(body)).is_err();
                    exit_now(i32::from(panicked))
                }
                Ok(ForkResult::Parent { .. }) => exit_now(0),
                Err(errno) => exit_now(errno as i32),
            }
        }
    }
}

/// A child process that runs one function.
#[derive(Debug)]
pub struct Helper(Pid);

impl Helper {
    /// Runs `body` in a child of its own session, which ends with `body`, also
    /// when that panics, and is killed when this thread ends or the value is
    /// dropped. It runs no destructor of this process's.
    ///
    /// The caller has one thread, or `body` needs no lock of another's but
    /// the allocator's, which the C library takes care of.
    ///
    /// # Errors
    /// Those of fork(2).
    pub fn spawn(body: impl FnOnce()) -> nix::Result<Self> {
        let parent = getpid();
        // SAFETY: `body` takes no lock that another thread may have held at
        // the fork: so the caller vouches.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self(child)),
            ForkResult::Child => {
                let run = || {
                    // Where the parent ended before it was asked to, nobody
                    // waits for `body`.
                    if prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == parent {
                        // Out of reach of a terminal's signals.
                        let _ = setsid();
                        body();
                    }
                };
                let panicked = catch_unwind(AssertUnwindSafe(run)).is_err();
                exit_now(i32::from(panicked))
            }
        }
    }
}

impl Helper {
    /// One that the program that this process was before has started.
    pub fn take_over(pid: Pid) -> Option<Self> {
        // Nothing is made, and so dropped, of a number that is no child's: -1
        // is everybody to kill(2).
        is_child(pid).then(|| Self(pid))
    }

    /// Its number.
    pub const fn pid(&self) -> Pid {
        self.0
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // A child that was not waited for keeps its number.
        if is_child(self.0) {
            let _ = kill(self.0, Signal::SIGKILL);
            let _ = wait(self.0);
        }
    }
}

/// Ends the process at once, without destructors or handlers of the parent's.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit runs no code of this program.
    unsafe { libc::_exit(code) }
}

/// Runs `body` in a child of this process, which ends with it, also when that
/// panics, and runs no destructor of this one's. It is born in the unified
/// cgroup `into`, if one is given.
///
/// The caller has one thread, as for [`spawn_orphan`].
///
/// # Errors
/// Those of clone3(2). For a cgroup: EACCES, EBUSY where its children have
/// controllers, EOPNOTSUPP where it is threaded; Linux 5.7.
pub fn spawn_child(into: Option<BorrowedFd<'_>>, body: impl FnOnce()) -> nix::Result<Pid> {
    // SAFETY: all fields are numbers, of which 0 is none.
    let mut how: libc::clone_args = unsafe { std::mem::zeroed() };
    how.exit_signal = libc::SIGCHLD as u64;
    if let Some(folder) = into {
        how.flags = CLONE_INTO_CGROUP;
        how.cgroup = folder.as_raw_fd() as u64;
    }
    let (how, size) = (&raw const how, size_of_val(&how));
    // SAFETY: the kernel reads `size` bytes. Without CLONE_VM and with no
    // stack given, the child runs on in a copy of this process's memory, as
    // after fork(2); the caller has one thread, so it may do all that this may.
    let forked = unsafe { libc::syscall(libc::SYS_clone3, how, size) };
    match Errno::result(forked)? {
        0 => {
            let panicked = catch_unwind(AssertUnwindSafe(body)).is_err();
            exit_now(if panicked { libc::EXIT_FAILURE } else { 0 })
        }
        pid => Ok(Pid::from_raw(pid as libc::pid_t)),
    }
}

/// Has this process killed when its parent ends.
///
/// # Errors
/// ESRCH where it has ended already.
pub fn die_with(parent: Pid) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    match nix::unistd::getppid() == parent {
        true => Ok(()),
        false => Err(Errno::ESRCH),
    }
}

/// Makes this process undumpable: no other than a tracer with CAP_SYS_PTRACE in
/// the initial user namespace reads its memory or follows its `/proc` links.
///
/// # Errors
/// Those of prctl(2).
pub fn hide() -> nix::Result<()> {
    prctl::set_dumpable(false)
}

/// Takes back what a caller may have set that changes what an execve(2) means:
/// the execution domain (personality(2)) and the securebits (capabilities(7)).
///
/// # Errors
/// EPERM where securebits are locked, or without CAP_SETPCAP.
pub fn reset_execution() -> nix::Result<()> {
    // SAFETY: takes a number.
    Errno::result(unsafe { libc::personality(0) })?;
    // SAFETY: takes no pointer and changes nothing.
    let bits = Errno::result(unsafe { libc::prctl(libc::PR_GET_SECUREBITS) })?;
    if bits == 0 {
        return Ok(());
    }
    // SAFETY: takes a number.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, 0) }).map(drop)
}

/// Leaves the session keyring of whoever started this process for a new, empty
/// one (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING): a keyring is inherited, and
/// who has it has its keys. Nothing to do on a kernel without keyrings.
///
/// # Errors
/// EDQUOT, ENOMEM.
pub fn leave_session_keyring() -> nix::Result<()> {
    let no_name = std::ptr::null::<libc::c_char>();
    // SAFETY: a null name is what keyctl(2) defines as "an anonymous keyring".
    let joined =
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, no_name) };
    match Errno::result(joined) {
        Ok(_) | Err(Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// waitpid(2), again after a signal.
pub fn wait(child: Pid) -> nix::Result<WaitStatus> {
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Whether a process is a child of this one that was not reaped yet.
pub fn is_child(pid: Pid) -> bool {
    // 0 and negative numbers mean groups.
    if pid.as_raw() <= 0 {
        return false;
    }
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all fields are integers and a pointer that nobody follows.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: waitid writes one siginfo_t, to a local of ours.
    let waited = unsafe {
        libc::waitid(
            libc::P_PID,
            pid.as_raw().cast_unsigned(),
            &raw mut info,
            how,
        )
    };
    waited == 0
}

/// Takes a file of this kind that the program that this process was before has
/// left open under a number of its own; `None` where that is another.
pub fn take_left(number: RawFd, kind: SFlag) -> Option<OwnedFd> {
    if number <= 2 {
        return None;
    }
    // SAFETY: asks about a number, whatever it stands for.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags == -1 || flags & libc::FD_CLOEXEC != 0 {
        // One that this program has opened itself is close-on-exec.
        return None;
    }
    // SAFETY: it is open, and of what is open here only what was left is not
    // close-on-exec: nobody else knows of it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    let is_meant = fstat(&fd).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == kind.bits());
    match is_meant {
        true => lift(&fd).ok(),
        false => {
            // Not ours to close.
            let _ = std::os::fd::IntoRawFd::into_raw_fd(fd);
            None
        }
    }
}

/// Reaps one child, after its end. nix's waitpid fails on a death by a
/// real-time signal, when the child is reaped already.
///
/// # Errors
/// ECHILD where it is no child of ours, or not any more.
pub fn reap(child: Pid) -> nix::Result<ExitStatus> {
    let mut status = 0;
    loop {
        // SAFETY: waitpid writes one integer, to a local of ours.
        let reaped = unsafe { libc::waitpid(child.as_raw(), &raw mut status, 0) };
        match Errno::result(reaped) {
            Err(Errno::EINTR) => {}
            reaped => return reaped.map(|_| ExitStatus::from_raw(status)),
        }
    }
}

/// Gives SIGCHLD its default action back: ignored, as an exec hands it on, it
/// makes wait(2) forget how children ended.
///
/// # Errors
/// Those of sigaction(2).
pub fn remember_children() -> nix::Result<()> {
    // SAFETY: the default disposition is no code, so nothing can be run by it.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, nix::sys::signal::SigHandler::SigDfl) }
        .map(drop)
}

/// Cuts this process off from whoever forked it: no signal but SIGKILL and
/// SIGSTOP reaches it, it holds no descriptor but those in `keep`, and no
/// folder.
///
/// It is also made undumpable. That hides `/proc/PID/exe` from a container
/// that it shares a pid namespace with: through that link a container could
/// overwrite the host's binary (as in CVE-2019-5736).
///
/// # Errors
/// EBADF for a standard descriptor in `keep` ([`lift`] it first), ENOSYS
/// before Linux 5.9, and those of the calls themselves.
pub fn isolate(name: &std::ffi::CStr, keep: &[BorrowedFd<'_>]) -> nix::Result<()> {
    prctl::set_dumpable(false)?;
    prctl::set_name(name)?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    remember_children()?;
    chdir("/")?;
    let mut kept: Vec<u32> = Vec::with_capacity(keep.len());
    for fd in keep {
        match u32::try_from(fd.as_raw_fd()) {
            Ok(fd) if fd > 2 => kept.push(fd),
            _ => return Err(Errno::EBADF),
        }
    }
    kept.sort_unstable();
    silence_standard_descriptors();
    close_all_but(&kept)
}

/// Puts 0 to 2 on /dev/null, or closes them where there is none.
fn silence_standard_descriptors() {
    let silenced = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .and_then(|null| lift(&null))
        .and_then(|null| {
            dup2_stdin(&null)?;
            dup2_stdout(&null)?;
            dup2_stderr(&null)
        });
    if silenced.is_err() {
        // Whatever is opened next may take their numbers: nothing prints.
        let _ = close_range(0, 2);
    }
}

/// Closes every descriptor but the standard ones and those in `keep`. For a
/// process that was forked to run one function and ends in _exit.
///
/// # Errors
/// ENOSYS before Linux 5.9.
pub fn close_others(keep: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    kept.sort_unstable();
    close_all_but(&kept)
}

/// Closes every descriptor from 3 on that is not in `kept`, which is sorted.
fn close_all_but(kept: &[u32]) -> nix::Result<()> {
    let mut first = 3;
    for &fd in kept {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX)
}

/// close_range(2).
fn close_range(first: u32, last: u32) -> nix::Result<()> {
    // SAFETY: nothing in this process uses these descriptors again: it was
    // forked to run one function, which ends in _exit and holds none of them.
    Errno::result(unsafe { libc::close_range(first, last, 0) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_child_is_taken_over_and_ended() -> Result<(), Box<dyn std::error::Error>> {
        // Whoever was none is alive to see the end of this test.
        for other in [-1, 0, 1, getpid().as_raw()] {
            assert!(Helper::take_over(Pid::from_raw(other)).is_none(), "{other}");
        }
        let child = std::process::Command::new("sleep").arg("600").spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed());
        drop(Helper::take_over(pid).ok_or("no child")?);
        assert!(!is_child(pid));
        Ok(())
    }
}
