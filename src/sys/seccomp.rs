//! seccomp(2) and the seccomp operations of prctl(2).

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::ptr;

use libc::{c_long, c_uint, c_ulong};
use nix::errno::Errno;

use crate::bpf::{Insn, Program};
use crate::input;
use crate::policy::{Action, Arch, Call, Flags};

// Insn goes to the kernel as it is.
const _: () = {
    assert!(size_of::<Insn>() == size_of::<libc::sock_filter>());
    assert!(align_of::<Insn>() == align_of::<libc::sock_filter>());
    assert!(std::mem::offset_of!(Insn, jt) == std::mem::offset_of!(libc::sock_filter, jt));
    assert!(std::mem::offset_of!(Insn, jf) == std::mem::offset_of!(libc::sock_filter, jf));
    assert!(std::mem::offset_of!(Insn, k) == std::mem::offset_of!(libc::sock_filter, k));
};

/// Loads a program onto the calling thread; with TSYNC, onto all threads of
/// the process. With `listener`, the answer is the descriptor on which NOTIFY
/// verdicts arrive; the kernel makes it close-on-exec.
///
/// Makes no other system call, before or after.
///
/// # Errors
/// Those of `SECCOMP_SET_MODE_FILTER` in seccomp(2). Nothing is loaded then.
/// EACCES: neither `no_new_privs` nor CAP_SYS_ADMIN. ESRCH: TSYNC, and a
/// thread has other filters. EINVAL: a flag the kernel does not know.
pub fn set_filter(
    program: &Program,
    flags: Flags,
    listener: bool,
) -> Result<Option<OwnedFd>, Errno> {
    let insns = program.instructions();
    let fprog = libc::sock_fprog {
        // A Program has at most 4096 instructions.
        len: u16::try_from(insns.len()).map_err(|_| Errno::EINVAL)?,
        filter: insns.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    let answer = operation(
        libc::SECCOMP_SET_MODE_FILTER,
        bits(flags, listener),
        (&raw const fprog).cast(),
    )?;
    if listener {
        let fd = RawFd::try_from(answer).map_err(|_| Errno::EBADF)?;
        // SAFETY: with NEW_LISTENER and TSYNC_ESRCH, a successful answer is a
        // descriptor that the kernel has just opened and nobody else knows.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    Ok(None)
}

/// The flags as given to the kernel. A failed TSYNC answers the id of the
/// thread that has other filters, which looks like success (and, with a
/// listener, like a descriptor); `TSYNC_ESRCH` makes it an error.
fn bits(flags: Flags, listener: bool) -> c_ulong {
    let mut bits = c_ulong::from(flags.bits());
    if flags.tsync {
        bits |= libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    }
    if listener {
        bits |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    }
    bits
}

/// Whether the kernel knows the action of this filter return value
/// (`SECCOMP_GET_ACTION_AVAIL`).
///
/// # Errors
/// EINVAL from kernels before 4.14, which cannot tell; ENOSYS without
/// seccomp(2); whatever a filter on this process answers.
pub fn action_available(ret: u32) -> Result<bool, Errno> {
    let operand = (&raw const ret).cast();
    match operation(libc::SECCOMP_GET_ACTION_AVAIL, 0, operand) {
        Ok(_) => Ok(true),
        Err(Errno::EOPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether the kernel knows these flags of `SECCOMP_SET_MODE_FILTER`: it
/// looks at the flags first and at the program, a null pointer here, next.
/// `WAIT_KILLABLE_RECV` is valid only along with `NEW_LISTENER`.
///
/// # Errors
/// Any answer but "invalid flag" and "bad pointer".
pub fn flag_available(bits: c_ulong) -> Result<bool, Errno> {
    known(operation(libc::SECCOMP_SET_MODE_FILTER, bits, ptr::null()))
}

/// Whether the kernel can filter by program (`CONFIG_SECCOMP_FILTER`), asked
/// by prctl(2), which is older than seccomp(2).
///
/// # Errors
/// Any answer but "invalid mode" and "bad pointer".
pub fn filter_mode_available() -> Result<bool, Errno> {
    // SAFETY: a null program is refused with EFAULT before anything changes.
    let answer = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            c_ulong::from(libc::SECCOMP_MODE_FILTER),
            ptr::null::<libc::sock_fprog>(),
        )
    };
    known(Errno::result(c_long::from(answer)))
}

/// Whether the kernel has seccomp: by `/proc/self/status`, or where that
/// cannot be read, by prctl(2), which answers EINVAL only if it has not.
#[must_use]
pub fn is_enabled() -> bool {
    let status = input::read_regular(Path::new("/proc/self/status"), 64 << 10);
    status.is_ok_and(|status| status.lines().any(|line| line.starts_with("Seccomp:")))
        || (mode() != Err(Errno::EINVAL) && filter_mode_available() != Ok(false))
}

/// A probe with a null pointer: EFAULT says that everything before the
/// pointer was in order.
fn known(answer: Result<c_long, Errno>) -> Result<bool, Errno> {
    match answer {
        Ok(_) | Err(Errno::EFAULT) => Ok(true),
        Err(Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// What seccomp does to the calling thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Disabled,
    /// Strict mode; a thread in it could not have asked.
    Strict,
    /// One or more programs.
    Filter,
}

/// The calling thread's seccomp mode (`PR_GET_SECCOMP`).
///
/// # Errors
/// EINVAL from a kernel without seccomp.
pub fn mode() -> Result<Mode, Errno> {
    // SAFETY: takes no pointer and changes nothing.
    let answer = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    match Errno::result(answer)? {
        0 => Ok(Mode::Disabled),
        1 => Ok(Mode::Strict),
        _ => Ok(Mode::Filter),
    }
}

/// Whether the calling thread can gain no privileges by execve(2).
///
/// # Errors
/// Those of prctl(2).
pub fn no_new_privs() -> Result<bool, Errno> {
    nix::sys::prctl::get_no_new_privs()
}

/// Gives up, for good, what execve(2) could gain.
///
/// # Errors
/// Those of prctl(2).
pub fn set_no_new_privs() -> Result<(), Errno> {
    nix::sys::prctl::set_no_new_privs()
}

/// What a program says to a call of this process.
pub(crate) fn verdict(program: &Program, nr: libc::c_long, args: [u64; 6]) -> Action {
    // A call's number is small and positive.
    let nr = nr as u32;
    let audit = Arch::native().audit();
    Action::from_ret(program.run(&Call { audit, nr, args }).0)
}

/// seccomp(2), for which libc has no function.
fn operation(
    operation: c_uint,
    flags: c_ulong,
    operand: *const libc::c_void,
) -> Result<c_long, Errno> {
    // SAFETY: the callers pass null, or a pointer to what the operation reads
    // (a sock_fprog with its program, a u32) that lives during the call.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, operand) };
    Errno::result(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_nobody_knows_is_not_available() {
        assert_eq!(action_available(Action::Allow.to_ret()), Ok(true));
        assert_eq!(action_available(0x1234_0000), Ok(false));
    }

    #[test]
    fn a_flag_nobody_knows_is_not_available() {
        assert_eq!(flag_available(libc::SECCOMP_FILTER_FLAG_TSYNC), Ok(true));
        assert_eq!(flag_available(1 << 31), Ok(false));
        assert_eq!(filter_mode_available(), Ok(true));
        assert_eq!(mode(), Ok(Mode::Disabled), "the probes loaded nothing");
    }

    #[test]
    fn a_failed_tsync_is_never_mistaken_for_success() {
        let tsync = Flags {
            tsync: true,
            ..Flags::default()
        };
        assert_eq!(bits(tsync, false), 0b1_0001);
        assert_eq!(bits(tsync, true), 0b1_1001);
        assert_eq!(bits(Flags::default(), true), 0b1000);
    }
}
