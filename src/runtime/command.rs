//! Runs an engine's command to its end, whatever it does: bounded in time and
//! in what it prints.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::SFlag;
use nix::unistd::{AccessFlags, Pid, access};

use crate::bundle::STATE_LIMIT;
use crate::sys::process::{PidFd, is_child, reap, remember_children, take_left};

/// Many times what an engine needs on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Where administrators' programs are, which a user's PATH may leave out.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// How much of what an engine complains is shown, in characters.
const SHOWN: usize = 500;

/// Why a command did not come to a good end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// execve(2) or a call before it failed.
    #[error("cannot run {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A call failed while it ran.
    #[error("cannot follow {}", program.display())]
    Follow {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The time was up; it was killed.
    #[error("{} did not end within {} seconds", program.display(), limit.as_secs())]
    Slow {
        /// The program.
        program: PathBuf,
        /// The time that it had.
        limit: Duration,
    },
    /// It printed too much and was killed.
    #[error("{} printed more than {STATE_LIMIT} bytes", program.display())]
    TooLong {
        /// The program.
        program: PathBuf,
    },
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(super) struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Output {
    /// What it complained of, on one line; how it ended if it did not say.
    pub(super) fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let line: String = text.trim().chars().map(printable).take(SHOWN).collect();
        match line.is_empty() {
            true => self.status.to_string(),
            false => line,
        }
    }
}

/// The program of this name on PATH or where administrators have theirs; a
/// name with a slash in it is a path.
pub(super) fn locate(name: &Path) -> Option<PathBuf> {
    let can_run = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if name.as_os_str().as_bytes().contains(&b'/') {
        return Some(name.into()).filter(can_run);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SBIN.map(PathBuf::from))
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(can_run)
}

/// Runs it with this process's environment and nothing on standard input.
pub(super) fn run(program: &Path, args: &[OsString]) -> Result<Output, Error> {
    Running::start(program, args, PATIENCE)?.finish()
}

/// A command that was started. It is killed and reaped when it goes out of
/// scope.
#[derive(Debug)]
pub(super) struct Running {
    program: PathBuf,
    /// Its number, until it is reaped.
    pid: Option<Pid>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    limit: Duration,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            // It may end by itself in this moment, and keeps its number until
            // it is reaped.
            let _ = killpg(pid, Signal::SIGKILL);
            let _ = reap(pid);
        }
    }
}

impl Running {
    pub(super) fn start(program: &Path, args: &[OsString], limit: Duration) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Start {
            program: program.into(),
            source,
        };
        remember_children().map_err(|errno| failed(errno.into()))?;
        let started = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // To be killed with all that it starts.
            .process_group(0)
            .spawn();
        let program = PathBuf::from(program);
        match started.map(|mut c| (c.id(), c.stdout.take(), c.stderr.take())) {
            Ok((pid, Some(stdout), Some(stderr))) => Ok(Self {
                program,
                pid: Some(Pid::from_raw(pid.cast_signed())),
                stdout: stdout.into(),
                stderr: stderr.into(),
                limit,
            }),
            Ok(_) => Err(Error::Follow {
                program,
                source: io::ErrorKind::BrokenPipe.into(),
            }),
            Err(source) => Err(Error::Start { program, source }),
        }
    }

    /// What it printed, when it has ended.
    pub(super) fn finish(mut self) -> Result<Output, Error> {
        let program = self.program.clone();
        match self.follow(Instant::now() + self.limit) {
            Ok(Some(output)) => Ok(output),
            Ok(None) => Err(Error::Slow {
                program,
                limit: self.limit,
            }),
            Err(e) if e.kind() == io::ErrorKind::FileTooLarge => Err(Error::TooLong { program }),
            Err(source) => Err(Error::Follow { program, source }),
        }
    }

    /// Leaves it to the program that this process is about to execute, which
    /// [`Running::take_over`]s it.
    pub(super) fn hand_over(mut self) -> nix::Result<String> {
        // Duplicates that are not close-on-exec.
        let dup = |fd: &OwnedFd| fcntl(fd, FcntlArg::F_DUPFD(3));
        let (stdout, stderr) = (dup(&self.stdout)?, dup(&self.stderr)?);
        let pid = self.pid.take().ok_or(Errno::ECHILD)?;
        Ok(format!("{pid}:{stdout}:{stderr}"))
    }

    /// Takes one over from the program that this process was before; `None`
    /// for what it cannot have left.
    pub(super) fn take_over(program: &Path, words: &str) -> Option<Self> {
        let mut numbers = words.split(':').map(|word| word.parse::<i32>().ok());
        let (pid, out, err) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let pid = Pid::from_raw(pid);
        if !is_child(pid) {
            return None;
        }
        Some(Self {
            program: program.into(),
            pid: Some(pid),
            stdout: take_left(out, SFlag::S_IFIFO)?,
            stderr: take_left(err, SFlag::S_IFIFO)?,
            limit: PATIENCE,
        })
    }

    /// Reads until the command itself has ended: what it started may live on
    /// and keep the pipes open. `None` when the time is up.
    fn follow(&mut self, deadline: Instant) -> io::Result<Option<Output>> {
        let pid = self.pid.ok_or(Errno::ECHILD)?;
        let process = PidFd::open(pid)?;
        let mut stdout = Stream::new(self.stdout.try_clone()?)?;
        let mut stderr = Stream::new(self.stderr.try_clone()?)?;
        loop {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return Ok(None);
            };
            let ended = {
                let of = |fd| PollFd::new(fd, PollFlags::POLLIN);
                let pipes = [stdout.fd(), stderr.fd()];
                let mut fds: Vec<PollFd<'_>> = pipes.into_iter().flatten().map(of).collect();
                fds.push(of(process.as_fd()));
                // Rounded up: a last part of a millisecond is no busy loop.
                let left = PollTimeout::try_from(left.as_millis() + 1);
                match poll(&mut fds, left.unwrap_or(PollTimeout::MAX)) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
                fds.last().and_then(PollFd::any).unwrap_or(false)
            };
            // What it printed before it ended is there by now.
            stdout.read()?;
            stderr.read()?;
            if ended {
                let status = reap(pid)?;
                self.pid = None;
                return Ok(Some(Output {
                    status,
                    stdout: stdout.bytes,
                    stderr: stderr.bytes,
                }));
            }
        }
    }
}

/// One of its pipes, read without waiting.
struct Stream {
    /// `None` when it has ended.
    pipe: Option<File>,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(pipe: OwnedFd) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self {
            pipe: Some(File::from(pipe)),
            bytes: Vec::with_capacity(4096),
        })
    }

    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes what is there. EFBIG when that is too much in all.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        let left = STATE_LIMIT + 1 - self.bytes.len() as u64;
        match pipe.take(left).read_to_end(&mut self.bytes) {
            _ if self.bytes.len() as u64 > STATE_LIMIT => Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => {
                self.pipe = None;
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(limit: Duration, script: &str) -> Running {
        let args = ["-c", script].map(OsString::from);
        Running::start(Path::new("/bin/sh"), &args, limit).unwrap()
    }

    fn sh(limit: Duration, script: &str) -> Result<Output, Error> {
        started(limit, script).finish()
    }

    #[test]
    fn is_taken_over_as_it_was_left_and_nothing_else_is() {
        let sh = Path::new("/bin/sh");
        let words = started(PATIENCE, "echo out; exit 3").hand_over().unwrap();
        let output = Running::take_over(sh, &words).unwrap().finish().unwrap();
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.status.code(), Some(3));
        // Reaped, and its descriptors closed.
        assert!(Running::take_over(sh, &words).is_none());
        for words in ["", "1:0:0", "1", "x:3:4", "-1:3:4", "0:3:4"] {
            assert!(Running::take_over(sh, words).is_none(), "{words}");
        }
    }

    #[test]
    fn gives_the_output_and_the_end_of_a_command() {
        let output = sh(PATIENCE, "cat; echo out; echo err >&2; exit 3").unwrap();
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.said(), "err");
        assert_eq!(output.status.code(), Some(3));
        let silent = sh(PATIENCE, "kill -9 $$").unwrap();
        assert!(silent.said().contains("signal: 9"), "{}", silent.said());
    }

    #[test]
    fn a_complaint_becomes_one_short_line() {
        let output = sh(
            PATIENCE,
            r"printf ' a\033[31m\nb\n\377 ' >&2; printf %1000s >&2 x; exit 1",
        );
        let said = output.unwrap().said();
        assert!(said.starts_with("a [31m b \u{fffd}  "), "{said:?}");
        assert_eq!(said.chars().count(), SHOWN);
    }

    #[test]
    fn all_that_was_printed_before_the_end_is_read() {
        // More than a pipe holds.
        let script = "head -c 1000000 /dev/zero; head -c 100000 /dev/zero >&2";
        let output = sh(PATIENCE, script).unwrap();
        assert_eq!(
            (output.stdout.len(), output.stderr.len()),
            (1_000_000, 100_000)
        );
    }

    #[test]
    fn what_prints_without_end_is_stopped() {
        for script in ["cat /dev/zero", "cat /dev/zero >&2"] {
            let error = sh(PATIENCE, script).unwrap_err();
            assert!(matches!(error, Error::TooLong { .. }), "{error}");
        }
    }

    #[test]
    fn what_does_not_end_is_killed_with_all_that_it_started() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!("sleep 600 & echo $! >{}; wait", file.path().display());
        let error = sh(Duration::from_millis(300), &script).unwrap_err();
        assert!(matches!(error, Error::Slow { .. }), "{error}");
        let pid = std::fs::read_to_string(file.path()).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().expect("it was slower than the limit"));
        // An orphan: whoever reaps those may take a moment.
        let gone = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            PidFd::open(pid).is_err() || PidFd::open(pid).is_ok_and(|p| !p.is_alive().unwrap())
        });
        assert!(gone);
    }

    #[test]
    fn what_it_leaves_behind_is_not_waited_for() {
        let output = sh(PATIENCE, "sleep 600 & echo $!").unwrap();
        let pid = String::from_utf8(output.stdout).unwrap();
        let left = PidFd::open(Pid::from_raw(pid.trim().parse().unwrap())).unwrap();
        assert_eq!(left.is_alive(), Ok(true));
        left.kill().unwrap();
    }

    #[test]
    fn a_program_that_is_none_cannot_be_started() {
        let error = run(Path::new("/dev/null"), &[]).unwrap_err();
        assert!(matches!(error, Error::Start { .. }), "{error}");
        assert_eq!(locate(Path::new("/dev/null")), None);
        assert_eq!(locate(Path::new("no such program")), None);
        assert_eq!(locate(Path::new("/bin/sh")), Some("/bin/sh".into()));
        assert!(locate(Path::new("sh")).is_some_and(|sh| sh.is_absolute()));
    }
}
