//! Running from a copy of this program that nobody can write to.
//!
//! A process that joins a container is seen there, and its `/proc/PID/exe`
//! leads to the host's file. A container that executes that link, or opens it
//! once nobody runs it any more, could write to the file: CVE-2019-5736. So
//! this process first becomes the same program in a sealed memfd(2).
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, openat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_name;
use nix::sys::stat::Mode;
use nix::unistd::fexecve;

use crate::sys::process;
use crate::sys::procfs::Proc;

/// What makes a file what it is for good.
const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// Why this process does not run from a sealed copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program's own file is out of sight.
    #[error("failed to open this program's own file: is /proc mounted?")]
    Open(#[source] io::Error),
    /// The copy was not made.
    #[error(
        "failed to make a sealed copy of this program (memfd_create: EACCES where the sysctl \
         vm.memfd_noexec is 2)"
    )]
    Copy(#[source] io::Error),
    /// It cannot be hidden.
    #[error("failed to make this process undumpable")]
    Hide(#[source] Errno),
    /// It cannot be executed.
    #[error("failed to execute a sealed copy of this program")]
    Execute(#[source] Errno),
}

/// A variable of the environment.
type Variable = (OsString, OsString);

/// Comes back in a process that runs from a sealed file, and whose memory and
/// links in `/proc` are hidden (not dumpable): this one, if it does already, or
/// the same command started over in its place. That one has the variable,
/// name and value, of `leave`, which is asked for at the last moment, and what
/// else that leaves.
///
/// # Errors
/// [`Error`]; nothing has changed then.
pub fn ensure(leave: impl FnOnce() -> nix::Result<Option<Variable>>) -> Result<(), Error> {
    let proc = Proc::open().map_err(Error::Open)?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let exe = openat(&proc, "self/exe", flags, Mode::empty());
    let exe = exe.map_err(|errno| Error::Open(errno.into()))?;
    // A file of any other kind answers EINVAL.
    let seals = fcntl(&exe, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
    if seals.is_ok_and(|seals| seals.contains(SEALS)) {
        // Else it has the descriptor's number or the file's name for one.
        let named = set_name(c"oci-seccomp");
        return named.and_then(|()| process::hide()).map_err(Error::Hide);
    }
    let copy = copy(File::from(exe)).map_err(Error::Copy)?;
    let left = leave().map_err(Error::Execute)?;
    match execute(&copy, left) {
        Ok(never) => match never {},
        Err(errno) => Err(Error::Execute(errno)),
    }
}

fn copy(mut from: File) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Linux 6.3 wants to be told that it is for executing, and older ones
    // know of no other.
    let exec = MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let fd = memfd_create(c"oci-seccomp", flags | exec).or_else(|errno| match errno {
        Errno::EINVAL => memfd_create(c"oci-seccomp", flags),
        errno => Err(errno),
    })?;
    let mut to = File::from(fd);
    io::copy(&mut from, &mut to)?;
    fcntl(&to, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(to)
}

fn execute(program: &impl AsFd, left: Option<Variable>) -> nix::Result<Infallible> {
    let c_string = |text: OsString| {
        // The kernel has no argument or variable with a null byte.
        CString::new(text.into_vec()).map_err(|_| Errno::EINVAL)
    };
    let argv: Vec<CString> = std::env::args_os()
        .map(c_string)
        .collect::<nix::Result<_>>()?;
    let is_left = |name: &OsString| left.as_ref().is_some_and(|(left, _)| left == name);
    let envp = std::env::vars_os().filter(|(name, _)| !is_left(name));
    let envp: Vec<CString> = envp
        .chain(left.clone())
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            c_string(variable)
        })
        .collect::<nix::Result<_>>()?;
    fexecve(program, &argv, &envp)
}
