//! Terminals: their window's size, and a pseudoterminal of a container's own;
//! ioctl_tty(2), pts(4).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::pty::Winsize;
use nix::sys::stat::{Mode, SFlag, fstat, major, minor};
use nix::sys::statfs::{DEVPTS_SUPER_MAGIC, fstatfs};

/// Where a container has its devpts (runtime-spec, "Default Filesystems").
const PTMX: &str = "/dev/pts/ptmx";
/// The device of each pty's master side (Documentation/admin-guide/devices.txt).
const PTMX_DEVICE: (u64, u64) = (5, 2);

/// Both sides of a pseudoterminal, close-on-exec.
#[derive(Debug)]
pub struct Pty {
    /// Non-blocking.
    pub master: OwnedFd,
    /// The terminal, for the command. Nobody's controlling terminal yet.
    pub slave: OwnedFd,
}

/// Why there is no pseudoterminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PtyError {
    /// Most often ENOENT.
    #[error("cannot open {PTMX}: has the container a devpts at /dev/pts?")]
    Open(#[source] Errno),
    /// Something that the container put there.
    #[error("{PTMX} is no pseudoterminal of a devpts: the container has none at /dev/pts")]
    Foreign,
    /// From ioctl(2); ENOTTY or EINVAL before Linux 4.13.
    #[error("cannot set up a pseudoterminal of {PTMX}")]
    SetUp(#[source] Errno),
}

/// Makes a pseudoterminal in the caller's current root, which may be a hostile
/// container's.
///
/// The slave is never opened by its path, which the container could make lead
/// to something else.
///
/// # Errors
/// [`PtyError`].
pub fn open_pty() -> Result<Pty, PtyError> {
    // Non-blocking, so that no other device that may be there can hold us.
    let flags =
        OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let master = open(PTMX, flags, Mode::empty()).map_err(PtyError::Open)?;
    let kind = fstatfs(&master).map_err(PtyError::Open)?.filesystem_type();
    if kind != DEVPTS_SUPER_MAGIC || !is_master(&master).map_err(PtyError::Open)? {
        return Err(PtyError::Foreign);
    }
    unlock(&master).map_err(PtyError::SetUp)?;
    let slave = peer(&master).map_err(PtyError::SetUp)?;
    Ok(Pty { master, slave })
}

/// Whether a descriptor is the master side of a pseudoterminal.
///
/// # Errors
/// Those of fstat(2).
pub fn is_master(fd: impl AsFd) -> nix::Result<bool> {
    let stat = fstat(fd)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    Ok(kind == SFlag::S_IFCHR && (major(stat.st_rdev), minor(stat.st_rdev)) == PTMX_DEVICE)
}

/// Opens the slave of a master, wherever it is mounted (TIOCGPTPEER).
///
/// # Errors
/// ENOTTY where it is no master; those of ioctl(2) and open(2).
pub fn peer(master: impl AsFd) -> nix::Result<OwnedFd> {
    let master = master.as_fd();
    if !is_master(master)? {
        return Err(Errno::ENOTTY);
    }
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes an integer and touches no memory.
    let fd = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags.bits()) };
    let fd = Errno::result(fd)?;
    // SAFETY: what answered is a pty's master, so the kernel has just made
    // this descriptor and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets the slave of a master be opened (TIOCSPTLCK).
fn unlock(master: impl AsFd) -> nix::Result<()> {
    let locked: libc::c_int = 0;
    let master = master.as_fd().as_raw_fd();
    // SAFETY: TIOCSPTLCK reads one integer, a local of ours.
    let done = unsafe { libc::ioctl(master, libc::TIOCSPTLCK, &raw const locked) };
    Errno::result(done).map(drop)
}

/// The size of a terminal's window, in characters and in pixels (TIOCGWINSZ).
///
/// # Errors
/// ENOTTY where it is no terminal.
pub fn window_size(terminal: impl AsFd) -> nix::Result<Winsize> {
    let mut size = Winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCGWINSZ writes one winsize, to a local of ours.
    let done = unsafe { libc::ioctl(terminal, libc::TIOCGWINSZ, &raw mut size) };
    Errno::result(done).map(|_| size)
}

/// Sets the size of a terminal's window; of a pty, either side will do
/// (TIOCSWINSZ). A change sends SIGWINCH to its foreground process group.
///
/// # Errors
/// ENOTTY where it is no terminal.
pub fn set_window_size(terminal: impl AsFd, size: &Winsize) -> nix::Result<()> {
    let size: *const Winsize = size;
    let terminal = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCSWINSZ reads one winsize, which the caller lends.
    let done = unsafe { libc::ioctl(terminal, libc::TIOCSWINSZ, size) };
    Errno::result(done).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{read, write};
    use std::io::IsTerminal;

    #[test]
    fn the_two_sides_are_one_terminal() {
        let pty = open_pty().unwrap();
        assert!(pty.slave.is_terminal());
        assert!(is_master(&pty.master).unwrap());
        assert!(!is_master(&pty.slave).unwrap());
        write(&pty.slave, b"hello").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(read(&pty.master, &mut buffer), Ok(5));
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(read(&pty.master, &mut buffer), Err(Errno::EAGAIN));
    }

    #[test]
    fn a_size_set_on_one_side_is_seen_on_the_other() {
        let pty = open_pty().unwrap();
        let mut size = window_size(&pty.slave).unwrap();
        (size.ws_row, size.ws_col) = (17, 93);
        set_window_size(&pty.master, &size).unwrap();
        assert_eq!(window_size(&pty.slave).unwrap(), size);
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        let null = open("/dev/null", OFlag::O_RDWR, Mode::empty()).unwrap();
        assert_eq!(window_size(&null).unwrap_err(), Errno::ENOTTY);
        assert_eq!(peer(&null).unwrap_err(), Errno::ENOTTY);
        let pty = open_pty().unwrap();
        assert_eq!(peer(&pty.slave).unwrap_err(), Errno::ENOTTY);
    }
}
