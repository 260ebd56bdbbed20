//! `/proc/PID` of a process that is known by descriptor.
//!
//! A number alone will not do: in a createContainer hook the mounted `/proc`
//! is the host's while the hook's own pid namespace is the container's, so
//! `/proc/1` there is the host's init.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::Pid;

use super::process::{PidFd, lift};

/// The mounted proc(5), whichever pid namespace it shows.
#[derive(Debug)]
pub struct Proc(OwnedFd);

/// What `/proc/PID/status` says about seccomp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seccomp {
    /// `Seccomp`: 0 off, 1 strict, 2 filter.
    pub mode: u32,
    /// `Seccomp_filters`, Linux 5.9.
    pub filters: u32,
}

impl Proc {
    /// Opens `/proc`, if it is proc(5) and no folder of that name.
    ///
    /// # Errors
    /// Those of open(2); ENOTSUP for another file system.
    pub fn open() -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open("/proc", flags, Mode::empty())?;
        if fstatfs(&dir)?.filesystem_type() != PROC_SUPER_MAGIC {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self(lift(&dir)?))
    }

    /// The seccomp state of a process.
    ///
    /// # Errors
    /// ENOENT where this proc(5) does not show the process, ENODATA where the
    /// kernel does not say.
    pub fn seccomp(&self, process: &PidFd) -> io::Result<Seccomp> {
        let status = self.status(process)?;
        let number = |key| field(&status, key).and_then(|v| v.parse().ok());
        match (number("Seccomp"), number("Seccomp_filters")) {
            (Some(mode), Some(filters)) => Ok(Seccomp { mode, filters }),
            _ => Err(io::Error::from_raw_os_error(libc::ENODATA)),
        }
    }

    /// The process that traces `process`, as this proc(5) numbers it.
    pub fn tracer(&self, process: &PidFd) -> Option<u32> {
        let status = self.status(process).ok()?;
        field(&status, "TracerPid")?.parse().ok().filter(|t| *t > 0)
    }

    /// The number of a process in the pid namespace of this very mount.
    ///
    /// # Errors
    /// ENOENT where it has none there, or is gone.
    pub fn pid(&self, process: &PidFd) -> io::Result<Pid> {
        let info = self.read(&format!("self/fdinfo/{}", process.as_fd().as_raw_fd()))?;
        // 0 if it has none there, -1 if the process is gone.
        match field(&info, "Pid").and_then(|pid| pid.parse::<i32>().ok()) {
            Some(pid) if pid > 0 => Ok(Pid::from_raw(pid)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether the numbers in this proc(5) are those that this process knows
    /// others by: it then has one number there, and no second one in a pid
    /// namespace further in.
    ///
    /// # Errors
    /// ENODATA from a kernel that does not say (before 4.1).
    pub fn is_of_this_namespace(&self) -> io::Result<bool> {
        let status = self.read("self/status")?;
        match field(&status, "NSpid") {
            Some(numbers) => Ok(numbers.split_whitespace().count() == 1),
            None => Err(io::Error::from_raw_os_error(libc::ENODATA)),
        }
    }

    /// The threads of the process with this number, in ascending order.
    ///
    /// # Errors
    /// ENOENT where there is none.
    pub fn threads(&self, process: Pid) -> io::Result<Vec<Pid>> {
        let path = format!("/proc/self/fd/{}/{process}/task", self.0.as_raw_fd());
        let mut threads = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let number = entry?.file_name().to_str().and_then(|n| n.parse().ok());
            threads.extend(number.map(Pid::from_raw));
        }
        threads.sort_unstable();
        Ok(threads)
    }

    /// Whether one of its threads still has to end: not, where it is a zombie
    /// that waits for the others.
    ///
    /// # Errors
    /// ENOENT where the process has no such thread.
    pub fn thread_runs(&self, process: Pid, thread: Pid) -> io::Result<bool> {
        let status = self.read(&format!("{process}/task/{thread}/status"))?;
        Ok(!field(&status, "State").is_some_and(|s| s.starts_with(['Z', 'X'])))
    }

    fn status(&self, process: &PidFd) -> io::Result<String> {
        self.read(&format!("{}/status", self.pid(process)?))
    }

    fn read(&self, path: &str) -> io::Result<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let fd = openat(&self.0, Path::new(path), flags, Mode::empty())?;
        let mut text = Vec::new();
        File::from(fd).read_to_end(&mut text)?;
        // A process may have given itself a name that is no UTF-8.
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl AsFd for Proc {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The value of a `Key:\tvalue` line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "Name:\tx\nSeccomp_filters:\t3\nSeccomp:\t2\n";
        assert_eq!(field(text, "Seccomp"), Some("2"));
        assert_eq!(field(text, "Seccomp_filters"), Some("3"));
        assert_eq!(field(text, "Sec"), None);
    }

    #[test]
    fn finds_the_status_of_a_process_by_its_descriptor() -> Result<(), Box<dyn std::error::Error>> {
        let this = PidFd::open(nix::unistd::getpid())?;
        let proc = Proc::open()?;
        assert!(proc.status(&this)?.contains("oci_seccomp"));
        assert_eq!(proc.tracer(&this), None);
        assert!(proc.is_of_this_namespace()?);
        let (process, thread) = (nix::unistd::getpid(), nix::unistd::gettid());
        assert!(proc.threads(process)?.contains(&thread));
        assert!(proc.thread_runs(process, thread)?);
        Ok(())
    }
}
