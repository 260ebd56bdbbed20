//! `/proc/PID` of a process that is known by descriptor.
//!
//! A number alone will not do: in a createContainer hook the mounted `/proc`
//! is the host's while the hook's own pid namespace is the container's, so
//! `/proc/1` there is the host's init.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::dir::Dir;
use nix::fcntl::{OFlag, open, readlinkat};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{Pid, getpid};

use super::process::{PidFd, lift};
use crate::input::open_beneath;

/// The inode of proc(5)'s root, in each mount of it.
const ROOT_INODE: libc::ino_t = 1;

/// The mounted proc(5), whichever pid namespace it shows. What is mounted over
/// a part of it is never read.
#[derive(Debug)]
pub struct Proc {
    root: OwnedFd,
    /// What [`Proc::own_number`] has found, and for which process: one that it
    /// has forked has another.
    own: Cell<Option<(Pid, u32)>>,
}

/// What `/proc/PID/status` says about seccomp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seccomp {
    /// `Seccomp`: 0 off, 1 strict, 2 filter.
    pub mode: u32,
    /// `Seccomp_filters`, Linux 5.9.
    pub filters: u32,
}

impl Proc {
    /// Opens `/proc`, if it is the root of a proc(5).
    ///
    /// # Errors
    /// Those of open(2); ENOTSUP for another file system or a part of one.
    pub fn open() -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open("/proc", flags, Mode::empty())?;
        let is_proc = fstatfs(&dir)?.filesystem_type() == PROC_SUPER_MAGIC;
        if !is_proc || fstat(&dir)?.st_ino != ROOT_INODE {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self {
            root: lift(&dir)?,
            own: Cell::new(None),
        })
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
            _ => Err(no_data()),
        }
    }

    /// The process that traces `process`, as this proc(5) numbers it.
    pub fn tracer(&self, process: &PidFd) -> Option<u32> {
        let status = self.status(process).ok()?;
        field(&status, "TracerPid")?.parse().ok().filter(|t| *t > 0)
    }

    /// The numbers of a process in the pid namespaces that it is in, from the
    /// one of this mount to the innermost.
    ///
    /// # Errors
    /// As [`Proc::seccomp`].
    pub fn numbers(&self, process: &PidFd) -> io::Result<Vec<i32>> {
        let status = self.status(process)?;
        let numbers = field(&status, "NSpid").ok_or_else(no_data)?;
        let each = numbers.split_whitespace().map(str::parse);
        each.collect::<Result<_, _>>().map_err(|_| no_data())
    }

    /// When a process was started, in clock ticks (sysconf(3)) of
    /// CLOCK_BOOTTIME.
    ///
    /// # Errors
    /// As [`Proc::seccomp`].
    pub fn start_time(&self, process: &PidFd) -> io::Result<u64> {
        let stat = read(self.folder(process)?, "stat")?;
        start_time(&String::from_utf8_lossy(&stat)).ok_or_else(no_data)
    }

    /// The name that a process was started by: the first of its arguments.
    ///
    /// # Errors
    /// As [`Proc::seccomp`].
    pub fn name(&self, process: &PidFd) -> io::Result<Vec<u8>> {
        let mut line = read(self.folder(process)?, "cmdline")?;
        let end = line
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(line.len());
        line.truncate(end);
        Ok(line)
    }

    /// The processor that a process last ran on.
    ///
    /// # Errors
    /// As [`Proc::seccomp`].
    pub fn processor(&self, process: &PidFd) -> io::Result<usize> {
        let stat = read(self.folder(process)?, "stat")?;
        let field = fields_from(&String::from_utf8_lossy(&stat), 39)
            .next()
            .map(str::to_owned);
        field.and_then(|f| f.parse().ok()).ok_or_else(no_data)
    }

    /// Where this process's own arguments and, behind them, its environment are
    /// in its memory: proc(5), `/proc/PID/stat`, fields 48 to 51.
    ///
    /// # Errors
    /// Those of open(2) and read(2); ENODATA where the kernel does not say.
    pub fn own_strings(&self) -> io::Result<Range<u64>> {
        let stat = read(&self.root, &format!("{}/stat", self.own_number()?))?;
        let stat = String::from_utf8_lossy(&stat);
        let addresses = fields_from(&stat, 48);
        let addresses: Vec<u64> = addresses.filter_map(|f| f.parse().ok()).take(4).collect();
        match addresses[..] {
            [start, arguments_end, environment, end]
                if start > 0
                    && start <= arguments_end
                    && arguments_end <= environment
                    && environment <= end =>
            {
                Ok(start..end)
            }
            _ => Err(no_data()),
        }
    }

    /// Whether this process's user namespace forbids setgroups(2);
    /// user_namespaces(7).
    pub fn denies_setgroups(&self) -> bool {
        let read = |number| read(&self.root, &format!("{number}/setgroups"));
        let setting = self.own_number().and_then(read);
        setting.is_ok_and(|setting| setting.starts_with(b"deny"))
    }

    /// The cgroups of a process, as cgroups(7) has it.
    ///
    /// # Errors
    /// ENOENT where this proc(5) does not show the process.
    pub fn cgroup(&self, process: &PidFd) -> io::Result<Vec<u8>> {
        read(self.folder(process)?, "cgroup")
    }

    /// The mounts that this process sees: proc(5), `/proc/PID/mountinfo`.
    ///
    /// # Errors
    /// ENOENT where this proc(5) does not show this process.
    pub fn mountinfo(&self) -> io::Result<Vec<u8>> {
        read(&self.root, &format!("{}/mountinfo", self.own_number()?))
    }

    /// The number of a process in the pid namespace of this very mount.
    ///
    /// # Errors
    /// ENOENT where it has none there, or is gone.
    pub fn pid(&self, process: &PidFd) -> io::Result<Pid> {
        let fd = process.as_fd().as_raw_fd();
        let info = read(&self.root, &format!("{}/fdinfo/{fd}", self.own_number()?))?;
        // 0 if it has none there, -1 if the process is gone.
        let pid = field(&String::from_utf8_lossy(&info), "Pid").and_then(|pid| pid.parse().ok());
        match pid {
            Some(pid @ 1..) => Ok(Pid::from_raw(pid)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The number of this process here, which getpid(2) does not know where
    /// the pid namespace is another.
    ///
    /// # Errors
    /// ENOENT where it has none there.
    pub fn own_number(&self) -> io::Result<u32> {
        let this = getpid();
        if let Some((process, number)) = self.own.get()
            && process == this
        {
            return Ok(number);
        }
        let link = open_beneath(
            &self.root,
            "self".as_ref(),
            OFlag::O_PATH | OFlag::O_NOFOLLOW,
        )?;
        let number = readlinkat(&link, "")?;
        let number = number.to_str().and_then(|n| n.parse().ok());
        let number = number.ok_or(io::ErrorKind::NotFound)?;
        self.own.set(Some((this, number)));
        Ok(number)
    }

    /// The threads of a process, the first one first, the others in ascending
    /// order: numbers wrap around, so that one need not be the lowest.
    ///
    /// # Errors
    /// ENOENT where this proc(5) does not show the process.
    pub fn threads(&self, process: &PidFd) -> io::Result<Vec<Pid>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let mut folder =
            Dir::from_fd(open_beneath(self.folder(process)?, "task".as_ref(), flags)?)?;
        let mut threads = Vec::new();
        for entry in folder.iter() {
            let number = entry?
                .file_name()
                .to_str()
                .ok()
                .and_then(|n| n.parse().ok());
            threads.extend(number.map(Pid::from_raw));
        }
        let first = self.pid(process)?;
        threads.sort_unstable_by_key(|thread| (*thread != first, *thread));
        Ok(threads)
    }

    /// Whether a thread of the process is alive, and no zombie that waits for
    /// the others to end.
    ///
    /// # Errors
    /// ENOENT where the process has no such thread.
    pub fn thread_runs(&self, process: &PidFd, thread: Pid) -> io::Result<bool> {
        let status = read(self.folder(process)?, &format!("task/{thread}/status"))?;
        let status = String::from_utf8_lossy(&status);
        Ok(!field(&status, "State").is_some_and(|s| s.starts_with(['Z', 'X'])))
    }

    fn status(&self, process: &PidFd) -> io::Result<String> {
        let status = read(self.folder(process)?, "status")?;
        Ok(text(status))
    }

    /// `/proc/PID`. It is this process's for good: when that is gone, nothing
    /// more can be read there.
    fn folder(&self, process: &PidFd) -> io::Result<OwnedFd> {
        let number = self.pid(process)?;
        let folder = open_beneath(&self.root, number.to_string().as_ref(), OFlag::O_PATH)?;
        // Else it may have ended before, and the folder be a successor's.
        match self.pid(process)? == number {
            true => Ok(folder),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn read(dir: impl AsFd, path: &str) -> io::Result<Vec<u8>> {
    // Most of these files fit into a page. Their sizes are not to be had, and
    // take() does not ask for them.
    let mut bytes = Vec::with_capacity(4096);
    let file = File::from(open_beneath(dir, path.as_ref(), OFlag::O_RDONLY)?);
    file.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn no_data() -> io::Error {
    io::Error::from_raw_os_error(libc::ENODATA)
}

/// Field 22 of `/proc/PID/stat`. The second, a name, may have anything in it.
fn start_time(stat: &str) -> Option<u64> {
    fields_from(stat, 22).next()?.parse().ok()
}

/// The fields of `/proc/PID/stat` from this one on, which comes after the name:
/// that may hold anything.
fn fields_from(stat: &str, number: usize) -> impl Iterator<Item = &str> {
    let (_, from_the_third) = stat.rsplit_once(')').unwrap_or_default();
    from_the_third.split_whitespace().skip(number - 3)
}

impl AsFd for Proc {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// As text. A process may have given itself a name that is no UTF-8.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
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
    fn a_start_time_is_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21";
        let stat = |name: &str| start_time(&format!("42 ({name}) {rest}\n"));
        assert_eq!(stat("sh"), Some(777));
        assert_eq!(stat(") R 1 1 1 (\u{fffd} ) 5 ("), Some(777));
        assert_eq!(start_time("42 (sh) S 1 2 3"), None);
        assert_eq!(start_time(""), None);
    }

    #[test]
    fn finds_the_status_of_a_process_by_its_descriptor() -> Result<(), Box<dyn std::error::Error>> {
        let this = PidFd::open(nix::unistd::getpid())?;
        let proc = Proc::open()?;
        assert!(proc.status(&this)?.contains("oci_seccomp"));
        assert_eq!(proc.tracer(&this), None);
        assert_eq!(proc.pid(&this)?, nix::unistd::getpid());
        assert_eq!(proc.numbers(&this)?[0], nix::unistd::getpid().as_raw());
        assert!(proc.start_time(&this)? > 0);
        let name = std::env::args_os().next().unwrap_or_default();
        assert_eq!(proc.name(&this)?, name.as_encoded_bytes());
        let thread = nix::unistd::gettid();
        assert!(proc.threads(&this)?.contains(&thread));
        assert!(proc.thread_runs(&this, thread)?);
        Ok(())
    }

    #[test]
    fn reads_nothing_of_a_process_that_is_gone() -> Result<(), Box<dyn std::error::Error>> {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()?;
        let process = PidFd::open(Pid::from_raw(child.id().try_into()?))?;
        let proc = Proc::open()?;
        let folder = proc.folder(&process)?;
        assert!(!read(&folder, "cgroup")?.is_empty());
        child.kill()?;
        child.wait()?;
        let gone = proc.status(&process).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        let gone = read(&folder, "status").unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ESRCH));
        Ok(())
    }

    #[test]
    fn follows_no_link_and_no_mount() -> Result<(), Box<dyn std::error::Error>> {
        let proc = Proc::open()?;
        let errno = |path| read(&proc, path).unwrap_err().raw_os_error();
        assert_eq!(errno("self/status"), Some(libc::ELOOP));
        assert_eq!(errno("1/root/etc/passwd"), Some(libc::ELOOP));
        assert_eq!(errno("../etc/passwd"), Some(libc::EXDEV));
        assert_eq!(errno("/proc/version"), Some(libc::EXDEV));
        assert!(read(&proc, "version").is_ok());
        Ok(())
    }

    #[test]
    fn own_strings_are_the_arguments_and_the_environment() -> Result<(), Box<dyn std::error::Error>>
    {
        let proc = Proc::open()?;
        let at = proc.own_strings()?;
        let mut bytes = vec![0; usize::try_from(at.end - at.start)?];
        let memory = File::open("/proc/self/mem")?;
        std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, at.start)?;
        let said = [
            std::fs::read("/proc/self/cmdline")?,
            std::fs::read("/proc/self/environ")?,
        ];
        assert_eq!(bytes, said.concat());
        Ok(())
    }
}
