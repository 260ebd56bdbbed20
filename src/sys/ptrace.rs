//! ptrace(2) on one seized process.
//!
//! Signals are plain numbers here: a tracer must pass on the real-time ones
//! too, and nix's `Signal` has none.

use std::ffi::c_void;
use std::io::{IoSlice, IoSliceMut};

use libc::{c_int, c_long, c_uint, user_regs_struct};
use nix::errno::Errno;
use nix::sys::ptrace as nix_ptrace;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

// linux/ptrace.h; not in libc for every C library.
const PTRACE_EVENT_STOP: c_int = 128;
const PTRACE_SECCOMP_GET_FILTER: c_uint = 0x420c;
const PTRACE_SECCOMP_GET_METADATA: c_uint = 0x420d;
const PTRACE_O_SUSPEND_SECCOMP: c_int = 1 << 21;

/// `struct seccomp_metadata` (linux/ptrace.h).
#[repr(C)]
struct Metadata {
    filter_off: u64,
    flags: u64,
}

/// What every seized process gets. EXITKILL: it does not outlive its tracer.
/// TRACEEXIT: where another thread execs, the leader (the one that is traced)
/// is killed first, and stays in that stop, so that the exec waits.
const OPTIONS: c_int = libc::PTRACE_O_EXITKILL
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACEEXIT
    | libc::PTRACE_O_TRACESYSGOOD;

/// What a child gets that is to fork and exec in a container. TRACEFORK: what it
/// forks is stopped before it has run, and has the same options.
const CHILD_OPTIONS: c_int = libc::PTRACE_O_EXITKILL
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACESYSGOOD;

/// A process that this one traces. Only its first thread is.
#[derive(Debug)]
pub struct Tracee {
    pid: Pid,
    options: c_int,
}

/// Why a tracee stopped; ptrace(2), "Stopped states".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At the entry or the exit of a system call.
    Syscall,
    /// In an exec, with the new program in place.
    Exec,
    /// In a fork; the new process has this number here, and is a tracee too.
    Fork(Pid),
    /// About to end with this wait status, or to make room for another
    /// thread that execs.
    Exiting(c_int),
    /// A signal is about to be delivered.
    Signal(c_int),
    /// The whole process is stopped by SIGSTOP or the like.
    Group,
    /// By [`Tracee::interrupt`], or SIGCONT has ended a group stop.
    Trap,
    /// It is no more: the wait status, raw.
    Ended(c_int),
}

/// How to go on from a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Until the next event or signal.
    Cont,
    /// Also until the next entry or exit of a system call.
    Syscall,
}

/// The system call at a stop (PTRACE_GET_SYSCALL_INFO, Linux 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syscall {
    /// It has not begun.
    Entry {
        /// `AUDIT_ARCH_*` token.
        arch: u32,
        /// Its number.
        nr: u64,
        /// Its arguments.
        args: [u64; 6],
    },
    /// It is over.
    Exit,
    /// The stop is none of a system call.
    Other,
}

impl Tracee {
    /// Seizes a process without stopping it (PTRACE_SEIZE). From here on it
    /// dies with this process.
    ///
    /// # Errors
    /// EPERM: not permitted, or traced already; ESRCH.
    pub fn seize(pid: Pid) -> nix::Result<Self> {
        Self::seize_with(pid, OPTIONS)
    }

    /// Seizes a thread to look at it: it goes on by itself when this process
    /// ends, and makes no stops but for signals and [`Tracee::interrupt`].
    ///
    /// # Errors
    /// As for [`Tracee::seize`].
    pub fn observe(thread: Pid) -> nix::Result<Self> {
        Self::seize_with(thread, 0)
    }

    /// Seizes a child that will fork; see [`Tracee::forked`]. Where that is
    /// permitted, no filter of its own holds for it or what it forks
    /// (PTRACE_O_SUSPEND_SECCOMP) until [`Tracee::suspend_filters`] says
    /// otherwise: that comes back too.
    ///
    /// # Errors
    /// As for [`Tracee::seize`].
    pub fn seize_child(pid: Pid) -> nix::Result<(Self, bool)> {
        match Self::seize_with(pid, CHILD_OPTIONS | PTRACE_O_SUSPEND_SECCOMP) {
            Ok(tracee) => Ok((
                Self {
                    options: CHILD_OPTIONS,
                    ..tracee
                },
                true,
            )),
            Err(Errno::EPERM | Errno::EINVAL) => {
                Self::seize_with(pid, CHILD_OPTIONS).map(|tracee| (tracee, false))
            }
            Err(errno) => Err(errno),
        }
    }

    /// What a seized child has forked, of [`Stop::Fork`]. It stops by itself
    /// before its first instruction: [`Stop::Trap`].
    pub const fn forked(&self, pid: Pid) -> Self {
        let options = self.options;
        Self { pid, options }
    }

    fn seize_with(pid: Pid, options: c_int) -> nix::Result<Self> {
        let tracee = Self { pid, options };
        let options = options as usize as *mut c_void;
        // SAFETY: PTRACE_SEIZE reads no memory, its data is the options.
        unsafe { tracee.request(libc::PTRACE_SEIZE, 0, options) }?;
        Ok(tracee)
    }

    /// Its number in this process's pid namespace.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Asks it to stop: [`Stop::Trap`].
    ///
    /// # Errors
    /// ESRCH when it is gone.
    pub fn interrupt(&self) -> nix::Result<()> {
        nix_ptrace::interrupt(self.pid)
    }

    /// Lets it run on from a stop, with a signal if not 0. A tracee that was
    /// killed while stopped is no error: [`Tracee::wait`] tells.
    ///
    /// # Errors
    /// Those of ptrace(2) but ESRCH.
    pub fn resume(&self, how: Resume, signal: c_int) -> nix::Result<()> {
        let request = match how {
            Resume::Cont => libc::PTRACE_CONT,
            Resume::Syscall => libc::PTRACE_SYSCALL,
        };
        // SAFETY: neither request touches memory, the data is a number.
        unwatched(unsafe { self.request(request, 0, signal as usize as *mut c_void) })
    }

    /// Leaves it in its group stop, to hear when that ends.
    ///
    /// # Errors
    /// As for [`Tracee::resume`].
    pub fn listen(&self) -> nix::Result<()> {
        // SAFETY: PTRACE_LISTEN touches no memory.
        unwatched(unsafe { self.request(libc::PTRACE_LISTEN, 0, std::ptr::null_mut()) })
    }

    /// Ends the tracing from a stop: it goes on, with a signal if not 0, or
    /// stays in its group stop.
    ///
    /// # Errors
    /// As for [`Tracee::resume`].
    pub fn detach(&self, signal: c_int) -> nix::Result<()> {
        // SAFETY: PTRACE_DETACH touches no memory, its data is a number.
        unwatched(unsafe { self.request(libc::PTRACE_DETACH, 0, signal as usize as *mut c_void) })
    }

    /// Waits for the next stop.
    ///
    /// # Errors
    /// ECHILD when it is traced no more.
    pub fn wait(&self) -> nix::Result<Stop> {
        loop {
            match self.wait_with(0) {
                Err(Errno::EINTR) | Ok(None) => {}
                Err(errno) => return Err(errno),
                Ok(Some(status)) => return self.stop(status),
            }
        }
    }

    /// The next stop, if it has come.
    ///
    /// # Errors
    /// As for [`Tracee::wait`].
    pub fn try_wait(&self) -> nix::Result<Option<Stop>> {
        let status = self.wait_with(libc::WNOHANG)?;
        status.map(|status| self.stop(status)).transpose()
    }

    fn wait_with(&self, how: c_int) -> nix::Result<Option<c_int>> {
        let (mut status, how) = (0, libc::__WALL | how);
        // SAFETY: the kernel writes one int, and `status` is one.
        let waited = unsafe { libc::waitpid(self.pid.as_raw(), &raw mut status, how) };
        Ok((Errno::result(waited)? != 0).then_some(status))
    }

    /// What a wait status says.
    fn stop(&self, status: c_int) -> nix::Result<Stop> {
        Ok(match decode(status) {
            // Where it is gone already, killed it was.
            Stop::Exiting(_) => Stop::Exiting(match nix_ptrace::getevent(self.pid) {
                Ok(status) => c_int::try_from(status).unwrap_or(0),
                Err(Errno::ESRCH) => libc::SIGKILL,
                Err(errno) => return Err(errno),
            }),
            Stop::Fork(_) => {
                let pid = nix_ptrace::getevent(self.pid)?;
                Stop::Fork(Pid::from_raw(c_int::try_from(pid).unwrap_or(0)))
            }
            stop => stop,
        })
    }

    /// The registers of the stopped tracee.
    ///
    /// # Errors
    /// ESRCH when it is not stopped.
    pub fn registers(&self) -> nix::Result<user_regs_struct> {
        nix_ptrace::getregs(self.pid)
    }

    /// Sets them.
    ///
    /// # Errors
    /// As for [`Tracee::registers`].
    pub fn set_registers(&self, registers: user_regs_struct) -> nix::Result<()> {
        nix_ptrace::setregs(self.pid, registers)
    }

    /// The signals it blocks, as the kernel's 64-bit set.
    ///
    /// # Errors
    /// ESRCH when it is not stopped; EINVAL in the midst of sigsuspend(2) and
    /// its like.
    pub fn blocked_signals(&self) -> nix::Result<u64> {
        let mut mask = 0u64;
        // SAFETY: the kernel writes the 8 bytes it is told of, and `mask` has
        // as many.
        unsafe { self.request(libc::PTRACE_GETSIGMASK, 8, (&raw mut mask).cast()) }?;
        Ok(mask)
    }

    /// Sets them. SIGKILL and SIGSTOP cannot be blocked.
    ///
    /// # Errors
    /// ESRCH when it is not stopped.
    pub fn set_blocked_signals(&self, mut mask: u64) -> nix::Result<()> {
        // SAFETY: the kernel reads the 8 bytes it is told of, and `mask` has
        // as many.
        unsafe { self.request(libc::PTRACE_SETSIGMASK, 8, (&raw mut mask).cast()) }.map(drop)
    }

    /// The system call it is stopped at.
    ///
    /// # Errors
    /// ESRCH when it is not stopped; EIO before Linux 5.3.
    pub fn syscall(&self) -> nix::Result<Syscall> {
        // SAFETY: all fields are integers, of which any bits are a value.
        let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
        let size = size_of_val(&info);
        // SAFETY: the kernel writes at most the `size` bytes it is told of.
        unsafe { self.request(libc::PTRACE_GET_SYSCALL_INFO, size, (&raw mut info).cast()) }?;
        Ok(match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                // SAFETY: the operation says which member the kernel wrote,
                // and any bits are a value of it.
                let entry = unsafe { info.u.entry };
                Syscall::Entry {
                    arch: info.arch,
                    nr: entry.nr,
                    args: entry.args,
                }
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => Syscall::Exit,
            _ => Syscall::Other,
        })
    }

    /// How many filters it has.
    ///
    /// # Errors
    /// EACCES without CAP_SYS_ADMIN in the initial user namespace or with a
    /// filter on this process; EIO from a kernel without
    /// CONFIG_CHECKPOINT_RESTORE; EMEDIUMTYPE for an extended BPF program.
    pub fn filters(&self) -> nix::Result<usize> {
        let mut count = 0;
        loop {
            match self.filter_request(count, std::ptr::null_mut()) {
                Ok(_) => count += 1,
                // ENOENT: no more. EINVAL: not in filter mode.
                Err(Errno::ENOENT | Errno::EINVAL) => return Ok(count),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The bytes of the filter with this index as it was loaded, 0 the oldest
    /// (PTRACE_SECCOMP_GET_FILTER).
    ///
    /// # Errors
    /// As for [`Tracee::filters`]; ENOENT past the newest.
    pub fn filter(&self, index: usize) -> nix::Result<Vec<u8>> {
        // The request does not take a length: make room for the longest.
        let mut bytes = vec![0u8; crate::bpf::MAX_INSTRUCTIONS * 8];
        let len = self.filter_request(index, bytes.as_mut_ptr().cast())?;
        bytes.truncate(usize::try_from(len).unwrap_or(0) * 8);
        Ok(bytes)
    }

    /// The flags with which the filter with this index was loaded, as far as
    /// the kernel remembers them: `SECCOMP_FILTER_FLAG_LOG` or 0
    /// (PTRACE_SECCOMP_GET_METADATA, Linux 4.16).
    ///
    /// # Errors
    /// As for [`Tracee::filter`]; EIO from an older kernel.
    pub fn filter_flags(&self, index: usize) -> nix::Result<u64> {
        let mut metadata = Metadata {
            filter_off: index as u64,
            flags: 0,
        };
        let (size, data) = (size_of_val(&metadata), (&raw mut metadata).cast());
        // SAFETY: the kernel reads and writes at most the `size` bytes it is
        // told of.
        unsafe { self.request(PTRACE_SECCOMP_GET_METADATA, size, data) }?;
        Ok(metadata.flags)
    }

    /// `data` is null or has room for the longest program.
    fn filter_request(&self, index: usize, data: *mut c_void) -> nix::Result<c_long> {
        // SAFETY: the callers pass null, which the kernel does not write to,
        // or room for the longest program that it takes.
        unsafe { self.request(PTRACE_SECCOMP_GET_FILTER, index, data) }
    }

    /// Lifts the filters it has, or puts them back (PTRACE_O_SUSPEND_SECCOMP).
    /// They are back in any case when this process ends.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN or with a filter on this process; EINVAL
    /// from a kernel without CONFIG_CHECKPOINT_RESTORE.
    pub fn suspend_filters(&self, suspend: bool) -> nix::Result<()> {
        self.set_options(if suspend {
            self.options | PTRACE_O_SUSPEND_SECCOMP
        } else {
            self.options
        })
    }

    /// Lets it outlive this process: when that ends, the tracee goes on, and
    /// not before.
    ///
    /// # Errors
    /// ESRCH when it is not stopped.
    pub fn release_on_exit(&self) -> nix::Result<()> {
        self.set_options(0)
    }

    fn set_options(&self, options: c_int) -> nix::Result<()> {
        let options = options as usize as *mut c_void;
        // SAFETY: PTRACE_SETOPTIONS touches no memory, its data is a number.
        unsafe { self.request(libc::PTRACE_SETOPTIONS, 0, options) }.map(drop)
    }

    /// Reads `buf.len()` bytes of its memory.
    ///
    /// # Errors
    /// EFAULT where not all of it is mapped.
    pub fn read(&self, address: u64, buf: &mut [u8]) -> nix::Result<()> {
        let (base, len) = (address as usize, buf.len());
        let remote = [RemoteIoVec { base, len }];
        match process_vm_readv(self.pid, &mut [IoSliceMut::new(buf)], &remote)? {
            n if n == len => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Writes to its memory, where the tracee could.
    ///
    /// # Errors
    /// EFAULT where not all of it is mapped and writable.
    pub fn write(&self, address: u64, bytes: &[u8]) -> nix::Result<()> {
        let (base, len) = (address as usize, bytes.len());
        let remote = [RemoteIoVec { base, len }];
        match process_vm_writev(self.pid, &[IoSlice::new(bytes)], &remote)? {
            n if n == len => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Reads a word of its memory, also where the tracee could only execute.
    ///
    /// # Errors
    /// EIO where nothing is mapped.
    pub fn peek(&self, address: u64) -> nix::Result<[u8; 8]> {
        nix_ptrace::read(self.pid, address as usize as *mut c_void).map(c_long::to_ne_bytes)
    }

    /// Writes a word to its memory, also where the tracee could not, and
    /// grows a stack.
    ///
    /// # Errors
    /// EIO where nothing is mapped.
    pub fn poke(&self, address: u64, word: [u8; 8]) -> nix::Result<()> {
        let address = address as usize as *mut c_void;
        nix_ptrace::write(self.pid, address, c_long::from_ne_bytes(word))
    }

    /// # Safety
    /// `data` is what the request defines: a number in a pointer's place, or
    /// a pointer to as much memory as the request reads or writes.
    unsafe fn request(
        &self,
        request: c_uint,
        address: usize,
        data: *mut c_void,
    ) -> nix::Result<c_long> {
        // SAFETY: the caller vouches for `data`; `address` is a number in all
        // requests made here.
        Errno::result(unsafe { libc::ptrace(request, self.pid.as_raw(), address, data) })
    }
}

/// ESRCH of a request that resumes: the tracee was killed in its stop.
fn unwatched(result: nix::Result<c_long>) -> nix::Result<()> {
    match result {
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// A wait status of a tracee with [`OPTIONS`] or [`CHILD_OPTIONS`].
fn decode(status: c_int) -> Stop {
    if !libc::WIFSTOPPED(status) {
        return Stop::Ended(status);
    }
    let signal = libc::WSTOPSIG(status);
    match status >> 16 {
        libc::PTRACE_EVENT_EXEC => Stop::Exec,
        libc::PTRACE_EVENT_FORK => Stop::Fork(Pid::from_raw(0)),
        libc::PTRACE_EVENT_EXIT => Stop::Exiting(0),
        PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Stop::Trap,
        PTRACE_EVENT_STOP => Stop::Group,
        _ if signal == libc::SIGTRAP | 0x80 => Stop::Syscall,
        _ => Stop::Signal(signal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_stops_apart() {
        let stopped = |signal: c_int, event: c_int| decode(event << 16 | signal << 8 | 0x7f);
        assert_eq!(stopped(libc::SIGTRAP | 0x80, 0), Stop::Syscall);
        assert_eq!(stopped(libc::SIGTRAP, libc::PTRACE_EVENT_EXEC), Stop::Exec);
        assert_eq!(stopped(libc::SIGTRAP, PTRACE_EVENT_STOP), Stop::Trap);
        assert_eq!(stopped(libc::SIGSTOP, PTRACE_EVENT_STOP), Stop::Group);
        assert_eq!(stopped(libc::SIGSTOP, 0), Stop::Signal(libc::SIGSTOP));
        // The first real-time signal, which nix's type cannot hold.
        assert_eq!(stopped(34, 0), Stop::Signal(34));
        assert_eq!(decode(3 << 8), Stop::Ended(3 << 8));
    }
}
