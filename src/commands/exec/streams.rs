//! What stands between the command and the host's files on standard input,
//! output and error.
//!
//! A descriptor can be opened anew through `/proc/self/fd`, with all rights
//! that the opener has to the file: who was given a file to read could write
//! to it, who was given a log to append to could read it. So the command gets
//! a pipe for a file, and a folder not at all.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::pipe2;

/// The ends of pipes in place of files.
pub struct Streams {
    /// For the command; `None` where it gets ours.
    theirs: [Option<OwnedFd>; 3],
    input: Option<OwnedFd>,
    /// Each with whether it is for standard error.
    outputs: Vec<(OwnedFd, bool)>,
}

impl Streams {
    /// Looks at ours. With `direct`, the command gets them as they are, but
    /// for folders.
    pub fn new(direct: bool) -> anyhow::Result<Self> {
        let stats = [
            look(&stdin(), "input")?,
            look(&stdout(), "output")?,
            look(&stderr(), "error")?,
        ];
        let mut streams = Self {
            theirs: [None, None, None],
            input: None,
            outputs: Vec::new(),
        };
        let [input, output, error] = stats.map(|stat| stat.filter(|s| is_file(s) && !direct));
        let pipe = || pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe");
        if input.is_some() {
            let (reader, writer) = pipe()?;
            streams.theirs[0] = Some(reader);
            streams.input = Some(writer);
        }
        if output.is_some() {
            let (reader, writer) = pipe()?;
            streams.theirs[1] = Some(writer);
            streams.outputs.push((reader, false));
        }
        match (&output, &error) {
            // One pipe keeps the order of what is written to both.
            (Some(a), Some(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) => {
                let writer = streams.theirs[1].as_ref();
                streams.theirs[2] = writer.map(OwnedFd::try_clone).transpose()?;
            }
            (_, Some(_)) => {
                let (reader, writer) = pipe()?;
                streams.theirs[2] = Some(writer);
                streams.outputs.push((reader, true));
            }
            _ => {}
        }
        Ok(streams)
    }

    /// What the command gets in place of ours.
    pub fn theirs(&self) -> [Option<BorrowedFd<'_>>; 3] {
        self.theirs
            .each_ref()
            .map(|fd| fd.as_ref().map(AsFd::as_fd))
    }

    /// Begins to copy, on threads: this process forks no more.
    pub fn copy(self) -> io::Result<Copying> {
        // Else they would never see the end of what the command writes.
        drop(self.theirs);
        let (done, end) = pipe2(OFlag::O_CLOEXEC)?;
        if let Some(writer) = self.input {
            let from = File::from(stdin().as_fd().try_clone_to_owned()?);
            // Not waited for: the command may not want all of it.
            std::thread::spawn(move || io::copy(&mut &from, &mut File::from(writer)));
        }
        let mut threads = Vec::new();
        for (reader, is_error) in self.outputs {
            let ours = match is_error {
                true => stderr().as_fd().try_clone_to_owned()?,
                false => stdout().as_fd().try_clone_to_owned()?,
            };
            let done = done.try_clone()?;
            threads.push(std::thread::spawn(move || {
                output(reader, File::from(ours), &done)
            }));
        }
        Ok(Copying { threads, end })
    }
}

/// Threads at work.
pub struct Copying {
    threads: Vec<JoinHandle<io::Result<()>>>,
    end: OwnedFd,
}

impl Copying {
    /// Waits until all that the command wrote is where it is to be. What it
    /// left behind may write on, to nobody.
    pub fn finish(self) -> anyhow::Result<()> {
        drop(self.end);
        for thread in self.threads {
            // It has no reason to panic.
            let copied = thread
                .join()
                .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
            copied.context("cannot write all of the command's output")?;
        }
        Ok(())
    }
}

/// Copies until the end, or until nothing more is there when all is done.
fn output(reader: OwnedFd, mut to: File, done: &OwnedFd) -> io::Result<()> {
    let mut reader = File::from(reader);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let (readable, is_done) = {
            let mut fds = [
                PollFd::new(reader.as_fd(), PollFlags::POLLIN),
                PollFd::new(done.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let [readable, is_done] = fds.map(|fd| fd.any().unwrap_or(false));
            (readable, is_done)
        };
        if readable {
            match reader.read(&mut buffer)? {
                0 => return Ok(()),
                n => to.write_all(buffer.get(..n).unwrap_or_default())?,
            }
        } else if is_done {
            return Ok(());
        }
    }
}

/// What a stream is; `None` where it is closed.
fn look(stream: &impl AsFd, name: &str) -> anyhow::Result<Option<FileStat>> {
    match fstat(stream) {
        Ok(stat) if kind(&stat) == SFlag::S_IFDIR => {
            bail!("standard {name} is a folder, through which the command could leave its root")
        }
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::EBADF) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("cannot look at standard {name}")),
    }
}

fn is_file(stat: &FileStat) -> bool {
    matches!(kind(stat), SFlag::S_IFREG | SFlag::S_IFBLK)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(write: impl FnOnce(File) + Send + 'static) -> Vec<u8> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let (done, end) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let to = file.reopen().unwrap();
        let thread = std::thread::spawn(move || output(reader, to, &done));
        let writing = std::thread::spawn(move || write(File::from(writer)));
        writing.join().unwrap();
        drop(end);
        thread.join().unwrap().unwrap();
        std::fs::read(file.path()).unwrap()
    }

    #[test]
    fn all_that_was_written_before_the_end_is_copied() {
        let bytes = copied(|mut file| file.write_all(&[7; 1 << 20]).unwrap());
        assert_eq!(bytes, vec![7; 1 << 20]);
    }

    #[test]
    fn one_that_keeps_the_pipe_open_is_not_waited_for() {
        let bytes = copied(|mut file| {
            file.write_all(b"first").unwrap();
            // It stays open for good.
            std::mem::forget(file);
        });
        assert_eq!(bytes, b"first");
    }
}
