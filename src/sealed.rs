//! Running from a file of this program that nobody can write to.
//!
//! A process that joins a container is seen there, and its `/proc/PID/exe`
//! leads to the host's file. A container that executes that link, or opens it
//! once nobody runs it any more, could write to the file: CVE-2019-5736. So
//! this process first becomes the same program on a file system of its own: an
//! overlay without an upper layer, which the kernel never makes writable
//! ("Multiple lower layers" in the kernel's overlayfs.rst), or else in a copy
//! that was sealed (memfd_create(2)), which takes twenty times as long.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::env::VarError;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use log::debug;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open, openat, readlinkat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_name;
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, fstatfs};
use nix::sys::statvfs::FsFlags;
use nix::unistd::fexecve;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use crate::sys::process::{self, take_left};
use crate::sys::procfs::Proc;

/// What makes a file what it is for good.
const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);
/// Tells the program that it was started over, and what it left to itself.
const LEFT: &str = "OCI_SECCOMP_LEFT";
/// The lower layer without the program: the kernel wants two. The one that is
/// not looked at, as the program's folder is above it; it may be any folder
/// that neither contains that one nor is in it.
const OTHER_LAYER: &str = "/sys";

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
    /// It was started over, and still runs from a file that can be written to.
    #[error(
        "this program does not run from a sealed file, though OCI_SECCOMP_LEFT is set: unset it"
    )]
    Unsealed,
    /// It cannot be hidden.
    #[error("failed to make this process undumpable")]
    Hide(#[source] Errno),
    /// It cannot be executed.
    #[error("failed to execute a sealed copy of this program")]
    Execute(#[source] Errno),
}

/// What this process was left by the one that it was before [`ensure`] started
/// it over.
///
/// # Errors
/// [`Error::Unsealed`] for what that one does not leave.
pub fn left() -> Result<Option<String>, Error> {
    match std::env::var(LEFT) {
        Err(VarError::NotPresent) => Ok(None),
        words => {
            let words = words.map_err(|_| Error::Unsealed)?;
            let (_, words) = words.split_once(' ').ok_or(Error::Unsealed)?;
            Ok(Some(words.into()))
        }
    }
}

/// What the file that a program runs from is kept by until it is dropped. That
/// takes as long as every processor takes to come by, so it is best done while
/// there is nothing else to do.
#[derive(Debug)]
pub struct Mount {
    _folder: Option<OwnedFd>,
}

/// Comes back in a process that runs from a file that nobody can write to, and
/// whose memory and links in `/proc` are hidden (not dumpable): this one, if it
/// does already, or the same command started over in its place. That one is
/// [`left`] what `leave` says, which is asked at the last moment.
///
/// # Errors
/// [`Error`]; nothing has changed then.
pub fn ensure(leave: impl FnOnce() -> nix::Result<String>) -> Result<Mount, Error> {
    let proc = Proc::open().map_err(Error::Open)?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let exe = openat(&proc, "self/exe", flags, Mode::empty());
    let exe = exe.map_err(|errno| Error::Open(errno.into()))?;
    if let Ok(words) = std::env::var(LEFT) {
        // Whoever starts this program may set the variable, and has nothing
        // from it: a program of their own would serve as well.
        if !is_sealed(&exe) {
            return Err(Error::Unsealed);
        }
        // Else it has the descriptor's number or the file's name for one.
        let named = set_name(c"oci-seccomp");
        named.and_then(|()| process::hide()).map_err(Error::Hide)?;
        let number = words.split(' ').next().and_then(|n| n.parse().ok());
        return Ok(Mount {
            _folder: number.and_then(|n| take_left(n, SFlag::S_IFDIR)),
        });
    }
    let (program, mount) = match overlaid(&proc, &exe) {
        Ok((program, mount)) => (program, Some(mount)),
        Err(why) => {
            debug!("this program is copied, as it cannot be overlaid: {why}");
            let copy = copy(File::from(exe)).map_err(Error::Copy)?;
            (copy.into(), None)
        }
    };
    let number = mount.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let words = leave().map_err(Error::Execute)?;
    match execute(&program, format!("{number} {words}")) {
        Ok(never) => match never {},
        Err(errno) => Err(Error::Execute(errno)),
    }
}

/// Whether it is a file that [`ensure`] makes.
fn is_sealed(exe: &OwnedFd) -> bool {
    // A file of any other kind answers EINVAL.
    let seals = fcntl(exe, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
    let overlaid = || {
        let stat = fstatfs(exe)?;
        let is_overlay = stat.filesystem_type() == OVERLAYFS_SUPER_MAGIC;
        nix::Result::Ok(is_overlay && stat.flags().contains(FsFlags::ST_RDONLY))
    };
    seals.is_ok_and(|seals| seals.contains(SEALS)) || overlaid().unwrap_or(false)
}

/// This program on an overlay, which is mounted nowhere and also comes back. It
/// shares the pages of the file below it.
fn overlaid(proc: &Proc, exe: &OwnedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    let path = readlinkat(proc, "self/exe")?;
    let path = Path::new(&path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let folder = open(folder, flags, Mode::empty())?;
    // By descriptor: a path might hold what separates layers.
    let layers = format!("/proc/self/fd/{}:{OTHER_LAYER}", folder.as_raw_fd());
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&overlay, "lowerdir", layers)?;
    fsconfig_create(&overlay)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    // For the program that is to be, which is in less of a hurry to close it.
    let mount = fsmount(&overlay, FsMountFlags::empty(), attributes)?;
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let program = openat(&mount, name, flags, Mode::empty())?;
    // An overlay has the numbers of the files below it. What was put in this
    // program's place since it was started need not know what it was left.
    match fstat(&program)?.st_ino == fstat(exe)?.st_ino && is_sealed(&program) {
        true => Ok((program, mount)),
        false => Err(io::Error::other("it is another file")),
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

fn execute(program: &impl AsFd, left: String) -> nix::Result<Infallible> {
    let c_string = |text: OsString| {
        // The kernel has no argument or variable with a null byte.
        CString::new(text.into_vec()).map_err(|_| Errno::EINVAL)
    };
    let argv: Vec<CString> = std::env::args_os()
        .map(c_string)
        .collect::<nix::Result<_>>()?;
    let envp: Vec<CString> = std::env::vars_os()
        .chain([(LEFT.into(), left.into())])
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            c_string(variable)
        })
        .collect::<nix::Result<_>>()?;
    fexecve(program, &argv, &envp)
}
