//! The namespaces of a process that is known by descriptor; namespaces(7).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::Pid;

use super::process::PidFd;
use super::procfs::Proc;

/// Their names in `/proc/PID/ns`, and as setns(2) has them. nix lacks
/// CLONE_NEWTIME (Linux 5.6).
const KINDS: [(&str, CloneFlags); 8] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("mnt", CloneFlags::CLONE_NEWNS),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("net", CloneFlags::CLONE_NEWNET),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("time", CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)),
];

/// The namespaces of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespaces([Option<(u64, u64)>; KINDS.len()]);

impl Namespaces {
    /// Those of a process by its number in this very proc(5).
    ///
    /// # Errors
    /// Those of stat(2); EACCES where the process may not be traced. A kind
    /// that this kernel lacks is no error.
    pub fn of(proc: &Proc, process: Pid) -> io::Result<Self> {
        Self::at(proc, &process.to_string())
    }

    /// This process's own.
    ///
    /// # Errors
    /// As [`Namespaces::of`].
    pub fn own(proc: &Proc) -> io::Result<Self> {
        Self::at(proc, "self")
    }

    fn at(proc: &Proc, process: &str) -> io::Result<Self> {
        let mut all = [None; KINDS.len()];
        for (slot, (name, _)) in all.iter_mut().zip(KINDS) {
            let path = format!("{process}/ns/{name}");
            *slot = match fstatat(proc, path.as_str(), AtFlags::empty()) {
                Ok(stat) => Some((stat.st_dev, stat.st_ino)),
                Err(nix::errno::Errno::ENOENT) => None,
                Err(errno) => return Err(errno.into()),
            };
        }
        // A process that has ended has none of them.
        match all.iter().all(Option::is_none) {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(Self(all)),
        }
    }

    /// Those in which `other` is elsewhere.
    #[must_use]
    pub fn differing(&self, other: &Self) -> CloneFlags {
        let pairs = self.0.iter().zip(&other.0).zip(KINDS);
        pairs
            .filter(|((a, b), _)| a != b)
            .map(|(_, (_, flag))| flag)
            .collect()
    }
}

/// Joins these namespaces of a process, all or none (setns(2) on a pidfd,
/// Linux 5.8). For a process of one thread.
///
/// # Errors
/// Those of setns(2); ESRCH for a process that has ended.
pub fn join(process: &PidFd, which: CloneFlags) -> nix::Result<()> {
    match which.is_empty() {
        true => Ok(()),
        false => setns(process.as_fd(), which),
    }
}

/// The names of these namespaces, for people.
#[must_use]
pub fn names(which: CloneFlags) -> String {
    let named = KINDS.iter().filter(|(_, flag)| which.contains(*flag));
    let names: Vec<&str> = named.map(|(name, _)| *name).collect();
    names.join(", ")
}

/// The root folder of a process, as a place.
///
/// # Errors
/// Those of open(2).
pub fn root(proc: &Proc, process: Pid) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(
        proc,
        format!("{process}/root").as_str(),
        flags,
        Mode::empty(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_nowhere_else_than_itself() -> Result<(), Box<dyn std::error::Error>> {
        let proc = Proc::open()?;
        let own = Namespaces::own(&proc)?;
        assert_eq!(own, Namespaces::of(&proc, nix::unistd::getpid())?);
        assert!(own.differing(&own).is_empty());
        let mut other = own;
        other.0[3] = Some((0, 0));
        assert_eq!(names(own.differing(&other)), "net");
        Ok(())
    }
}
