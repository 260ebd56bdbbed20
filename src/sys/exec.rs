//! Becoming another program with nothing in between the filter and the exec.

use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char};
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::credentials::CapSets;
use super::seccomp::{self, verdict};
use crate::bpf::Program;
use crate::policy::{Action, Flags};

/// A command made ready for execve(2), which then needs no memory and so no
/// system call of its own.
#[derive(Debug)]
pub struct Image {
    path: CString,
    argv: Strings,
    envp: Strings,
}

/// Strings, and the null-terminated array of pointers to them.
#[derive(Debug)]
struct Strings {
    // Owns what `pointers` points to: a CString's bytes stay where they are
    // when the CString moves, and nothing changes this vector.
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    fn new(owned: Vec<CString>) -> Self {
        let pointers = owned
            .iter()
            .map(|s| s.as_ptr())
            .chain([ptr::null()])
            .collect();
        Self {
            _owned: owned,
            pointers,
        }
    }
}

/// Why [`Image::exec_filtered`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// Nothing was loaded.
    #[error("the kernel refused the filter")]
    Load(#[source] Errno),
    /// The filter is on this process, for good, and it is not yet what it was
    /// to become.
    #[error("cannot give up the capabilities that the load took")]
    Become(#[source] Errno),
    /// The filter is on this process, for good.
    #[error("execve failed")]
    Exec(#[source] Errno),
}

impl Image {
    /// Prepares `path` with its arguments, the command's name first, and its
    /// environment.
    #[must_use]
    pub fn new(path: CString, argv: Vec<CString>, envp: Vec<CString>) -> Self {
        Self {
            path,
            argv: Strings::new(argv),
            envp: Strings::new(envp),
        }
    }

    /// The file that will be executed.
    #[must_use]
    pub fn path(&self) -> &CStr {
        &self.path
    }

    /// What the program says to the very execve(2) that
    /// [`Image::exec_filtered`] makes.
    #[must_use]
    pub fn verdict(&self, program: &Program) -> Action {
        let args = [
            self.path.as_ptr() as u64,
            self.argv.pointers.as_ptr() as u64,
            self.envp.pointers.as_ptr() as u64,
            0,
            0,
            0,
        ];
        verdict(program, libc::SYS_execve, args)
    }

    /// Loads the program onto the calling thread and becomes the command. No
    /// system call lies between but, where `last` is given, its capset(2): for
    /// a process that loads by a CAP_SYS_ADMIN that the command must not have.
    ///
    /// # Errors
    /// [`ExecError`]. After any but [`ExecError::Load`] the filter is in force.
    pub fn exec_filtered(
        &self,
        program: &Program,
        flags: Flags,
        last: Option<&mut CapSets>,
    ) -> Result<Infallible, ExecError> {
        seccomp::set_filter(program, flags, false).map_err(ExecError::Load)?;
        if let Some(sets) = last {
            sets.apply().map_err(ExecError::Become)?;
        }
        // SAFETY: the path is a C string, both arrays end with a null pointer
        // and point to C strings, and `self` owns all of them.
        unsafe {
            libc::execve(
                self.path.as_ptr(),
                self.argv.pointers.as_ptr(),
                self.envp.pointers.as_ptr(),
            )
        };
        Err(ExecError::Exec(Errno::last()))
    }
}

/// The calls that [`Image::fork_beside`]'s new process makes, in this order.
/// There is none beside them: whoever traces it can tell.
#[must_use]
pub const fn calls_before_exec(terminal: bool) -> &'static [(&'static str, libc::c_long)] {
    const ALL: &[(&str, libc::c_long)] = &[
        ("setsid", libc::SYS_setsid),
        ("ioctl", libc::SYS_ioctl),
        ("execve", libc::SYS_execve),
    ];
    const PLAIN: &[(&str, libc::c_long)] =
        &[("setsid", libc::SYS_setsid), ("execve", libc::SYS_execve)];
    if terminal { ALL } else { PLAIN }
}

impl Image {
    /// Forks a process that is this one's sibling (CLONE_PARENT), in the pid
    /// namespace that this one joined for its children, and that becomes the
    /// command in a session of its own; with `terminal`, its standard input
    /// is that session's controlling terminal.
    ///
    /// # Errors
    /// Those of clone(2). What fails in the new process ends it, with the
    /// errno for a status.
    pub fn fork_beside(&self, terminal: bool) -> Result<nix::unistd::Pid, Errno> {
        let flags = libc::CLONE_PARENT | libc::SIGCHLD;
        // SAFETY: without CLONE_VM and with no stack given, the child runs on
        // in a copy of this process's memory, as after fork(2). It calls
        // nothing but the functions below, which take no lock.
        let forked = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        match Errno::result(forked)? {
            0 => self.lead_session(terminal),
            pid => Ok(nix::unistd::Pid::from_raw(pid as libc::pid_t)),
        }
    }

    fn lead_session(&self, terminal: bool) -> ! {
        // SAFETY: takes no argument.
        let mut answer = unsafe { libc::setsid() };
        if answer != -1 && terminal {
            // SAFETY: TIOCSCTTY takes a number, and touches no memory.
            answer = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
        }
        if answer != -1 {
            // SAFETY: the path is a C string, both arrays end with a null
            // pointer and point to C strings, and `self` owns all of them.
            unsafe {
                libc::execve(
                    self.path.as_ptr(),
                    self.argv.pointers.as_ptr(),
                    self.envp.pointers.as_ptr(),
                )
            };
        }
        // SAFETY: _exit runs no code of this program.
        unsafe { libc::_exit(Errno::last() as i32) }
    }
}

/// Says why the command did not start and ends the process, under a program
/// that may allow neither: nothing is written if that would be deadly, and no
/// exit handler runs.
pub fn give_up(program: &Program, message: &str, status: u8) -> ! {
    let args = [2, message.as_ptr() as u64, message.len() as u64, 0, 0, 0];
    let deadly = matches!(
        verdict(program, libc::SYS_write, args),
        Action::KillProcess | Action::KillThread | Action::Trap
    );
    if !deadly {
        // One plain write: std would loop on the errno of a filter. Nothing
        // is left to be done if it fails.
        let _ = nix::unistd::write(std::io::stderr(), message.as_bytes());
    }
    // SAFETY: ends the process at once; nothing here is left half done that
    // another process could see.
    unsafe { libc::_exit(i32::from(status)) }
}

/// Gives SIGPIPE its default action back, which Rust's runtime ignores from
/// the start; an ignored signal stays ignored over execve(2).
///
/// # Errors
/// Those of sigaction(2).
pub fn restore_sigpipe() -> Result<(), Errno> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    unsafe { sigaction(Signal::SIGPIPE, &default) }?;
    Ok(())
}

/// Gives every signal its default action and blocks none, whatever this
/// process was started with: both outlive execve(2).
///
/// # Errors
/// Those of sigprocmask(2).
pub fn reset_signals() -> Result<(), Errno> {
    // Not by signal(3): the C library keeps 32 and 33 to itself, and its
    // posix_spawn(3) starts processes that ignore them.
    let default = KernelAction::default();
    for signal in 1..=64 {
        // The kernel refuses it for SIGKILL and SIGSTOP, which are never
        // ignored.
        // SAFETY: the kernel reads one sigaction of its own, whose mask has
        // eight bytes; the default action runs no code of ours.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &raw const default,
                std::ptr::null::<KernelAction>(),
                size_of::<u64>(),
            )
        };
    }
    SigSet::empty().thread_set_mask()
}

/// `struct sigaction` as the kernel has it on x86_64. All zero it is SIG_DFL
/// without flags.
#[derive(Default)]
#[repr(C)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::{Insn, op};

    #[test]
    fn the_arrays_end_with_null_and_hold_every_string() {
        let strings = Strings::new(vec![c"a".into(), c"b".into()]);
        assert_eq!(strings.pointers.len(), 3);
        assert!(strings.pointers[2].is_null());
        let moved = Box::new(strings);
        // SAFETY: points into a CString that `moved` owns.
        let second = unsafe { CStr::from_ptr(moved.pointers[1]) };
        assert_eq!(second, c"b");
    }

    #[test]
    fn the_verdict_is_the_programs_own() {
        let load = |k| Insn {
            code: op::LD_ABS,
            jt: 0,
            jf: 0,
            k,
        };
        let ret = |action: Action| Insn {
            code: op::RET_K,
            jt: 0,
            jf: 0,
            k: action.to_ret(),
        };
        let is_execve = Insn {
            code: op::JEQ_K,
            jt: 0,
            jf: 1,
            k: libc::SYS_execve as u32,
        };
        let program = Program::new(vec![
            load(0),
            is_execve,
            ret(Action::Errno(7)),
            ret(Action::Allow),
        ])
        .unwrap();
        let image = Image::new(c"/bin/true".into(), vec![], vec![]);
        assert_eq!(image.verdict(&program), Action::Errno(7));
        assert_eq!(verdict(&program, libc::SYS_write, [0; 6]), Action::Allow);
    }
}
