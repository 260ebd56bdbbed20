//! The copying between our standard input and output and the master side of
//! the command's terminal.
#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFlags, PollTimeout};
use nix::sys::stat::{Mode, fstat};
use nix::sys::termios::{LocalFlags, SpecialCharacterIndices, tcgetattr};
use nix::unistd::{read, write};

use super::poll::Watch;
use super::raw::RawTerminal;
use super::{Error, Signals};
use crate::sys::tty;

/// Bytes under way in each direction: what poll(2) promises that a pipe takes
/// without waiting (PIPE_BUF), and as much as a terminal gives at a time.
const BUFFER: usize = libc::PIPE_BUF;
/// Bytes that are still shown after the command's end. The kernel keeps less
/// for a pty, so what goes on after that is of those it left behind.
const LEFTOVER: usize = 1 << 16;
/// How long until the command's terminal is looked at again while it is not
/// in canonical mode and its input has ended, in milliseconds. The kernel has
/// no event for a change of modes.
const MODES_AGAIN: u8 = 100;

/// Both terminals, and what is under way between them.
pub(super) struct Terminal<'a> {
    master: OwnedFd,
    /// Never read. While it is open the master does not hang up, however
    /// often those in the container close and open theirs.
    _slave: OwnedFd,
    input: End<'a>,
    output: End<'a>,
    raw: Option<RawTerminal>,
    typed: Buffer,
    shown: Buffer,
    source: Source,
    /// Whether what was typed last is a line that is not ended.
    in_line: bool,
}

/// What is known of our standard input.
#[derive(PartialEq)]
enum Source {
    Open,
    /// It ended, and the command has yet to be told.
    Ended,
    Closed,
}

impl<'a> Terminal<'a> {
    /// Makes our input raw if it is a terminal, and the command's as large as
    /// ours.
    pub(super) fn new(
        master: OwnedFd,
        input: BorrowedFd<'a>,
        output: BorrowedFd<'a>,
    ) -> Result<Self, Error> {
        // The master's open file description is nobody else's.
        let flags = fcntl(&master, FcntlArg::F_GETFL).map_err(Error::Pty)?;
        let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
        fcntl(&master, FcntlArg::F_SETFL(flags)).map_err(Error::Pty)?;
        let terminal = Self {
            _slave: tty::peer(&master).map_err(Error::Pty)?,
            master,
            input: End::new(input, OFlag::O_RDONLY),
            output: End::new(output, OFlag::O_WRONLY),
            raw: match input.is_terminal() {
                true => Some(RawTerminal::new(input).map_err(Error::Raw)?),
                false => None,
            },
            typed: Buffer::default(),
            shown: Buffer::default(),
            source: Source::Open,
            in_line: false,
        };
        terminal.follow_size();
        Ok(terminal)
    }

    /// Gives the command's window the size of ours, if we have one.
    pub(super) fn follow_size(&self) {
        let ours = tty::window_size(&self.input).or_else(|_| tty::window_size(&self.output));
        if let Ok(size) = ours {
            // It is a terminal, so this cannot fail.
            let _ = tty::set_window_size(&self.master, &size);
        }
    }

    /// Before we stop.
    pub(super) fn suspend(&self) {
        if let Some(raw) = &self.raw {
            raw.suspend();
        }
    }

    /// After we were stopped, by whatever.
    pub(super) fn resume(&self) {
        if let Some(raw) = &self.raw {
            // Where it fails the terminal is gone, as its reads will say.
            let _ = raw.resume();
        }
        self.follow_size();
    }

    /// Adds what can make it go on.
    pub(super) fn watch<'s>(&'s self, watch: &mut Watch<'s>) -> Ready {
        let events = |wanted, flag| match wanted {
            true => flag,
            false => PollFlags::empty(),
        };
        let (typed, shown) = (self.typed.is_empty(), self.shown.is_empty());
        let from_input = typed && self.source == Source::Open;
        let master = events(shown, PollFlags::POLLIN) | events(!typed, PollFlags::POLLOUT);
        if typed && self.source == Source::Ended {
            watch.timeout = PollTimeout::from(MODES_AGAIN);
        }
        Ready {
            input: watch.add(&self.input, events(from_input, PollFlags::POLLIN)),
            output: watch.add(&self.output, events(!shown, PollFlags::POLLOUT)),
            master: watch.add(&self.master, master),
        }
    }

    /// Copies what is ready.
    ///
    /// # Errors
    /// Our output takes no more, or the command's terminal is gone.
    pub(super) fn copy(&mut self, ready: &Ready, seen: &[PollFlags]) -> nix::Result<()> {
        let is_ready = |slot: Option<usize>| slot.is_some_and(|slot| !seen[slot].is_empty());
        if is_ready(ready.output) {
            later(self.shown.empty_into(&self.output))?;
        }
        if is_ready(ready.master) {
            // One may be ready without the other: the master does not block.
            if self.shown.is_empty() {
                match self.shown.fill_from(&self.master) {
                    Ok(0) => return Err(Errno::EIO),
                    read => later(read)?,
                }
            }
            later(self.typed.empty_into(&self.master))?;
        }
        if is_ready(ready.input) {
            self.take_input();
        }
        if self.source == Source::Ended && self.typed.is_empty() {
            self.tell_end()?;
        }
        Ok(())
    }

    fn take_input(&mut self) {
        match self.typed.fill_from(&self.input) {
            Ok(1..) => self.in_line = self.typed.bytes().last() != Some(&b'\n'),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The end, or a terminal that hung up, or what cannot be read.
            // A terminal of ours that ends is gone, and so comes SIGHUP.
            _ if self.raw.is_some() => self.source = Source::Closed,
            _ => self.source = Source::Ended,
        }
    }

    /// Ends the command's input, as somebody at its terminal would: VEOF, and
    /// in a line not yet ended twice, since there it only sends the line off.
    /// That is its meaning in canonical mode only, termios(3).
    fn tell_end(&mut self) -> nix::Result<()> {
        let modes = tcgetattr(&self.master)?;
        if modes.local_flags.contains(LocalFlags::ICANON) {
            let end = modes.control_chars[SpecialCharacterIndices::VEOF as usize];
            // Without such a character there is no end that could be told.
            if end != libc::_POSIX_VDISABLE {
                let times = if self.in_line { 2 } else { 1 };
                self.typed.put(&[end; 2][..times]);
            }
            self.source = Source::Closed;
        }
        Ok(())
    }

    /// Shows what the command wrote before its end. Where our output is stuck
    /// a signal ends that: there is nobody left to forward it to.
    pub(super) fn drain(mut self, signals: &Signals) {
        let mut left = LEFTOVER;
        while left > 0 || !self.shown.is_empty() {
            if self.shown.is_empty() {
                // Nothing is under way in the kernel when it says EAGAIN: it
                // has then flushed what the other side wrote.
                match self.shown.fill_from(&self.master) {
                    Ok(read @ 1..) => left = left.saturating_sub(read),
                    Err(Errno::EINTR) => continue,
                    _ => return,
                }
            }
            let mut watch = Watch::default();
            watch.add(signals, PollFlags::POLLIN);
            let output = watch.add(&self.output, PollFlags::POLLOUT);
            let Ok(seen) = watch.wait() else { return };
            if output.is_some_and(|slot| !seen[slot].is_empty()) {
                if later(self.shown.empty_into(&self.output)).is_err() {
                    return;
                }
                continue;
            }
            let ends = |signal| !matches!(signal, libc::SIGWINCH | libc::SIGCONT);
            while let Ok(Some(signal)) = signals.next() {
                if ends(signal) {
                    return;
                }
            }
        }
    }
}

/// Where each descriptor is among those that are watched.
pub(super) struct Ready {
    input: Option<usize>,
    output: Option<usize>,
    master: Option<usize>,
}

/// A standard descriptor of ours.
///
/// We share its open file description with our caller, whose reads and writes
/// O_NONBLOCK would make fail as well; so it is not set there. A terminal is
/// opened once more, for a description of our own. For all else the little
/// that is read or written after poll(2) does not wait.
enum End<'a> {
    Own(OwnedFd),
    /// Also a terminal that cannot be opened, as that of another user: a write
    /// to it may wait for whoever shows it.
    Shared(BorrowedFd<'a>),
}

impl<'a> End<'a> {
    fn new(fd: BorrowedFd<'a>, access: OFlag) -> Self {
        // A second open of a master would make another pty.
        let reopens = fd.is_terminal() && !tty::is_master(fd).unwrap_or(true);
        let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let device = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| stat.st_rdev);
        match reopens.then(|| open(path.as_str(), flags, Mode::empty())) {
            Some(Ok(own)) if device(own.as_fd()) == device(fd) => Self::Own(own),
            _ => Self::Shared(fd),
        }
    }
}

impl AsFd for End<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(fd) => fd.as_fd(),
            Self::Shared(fd) => *fd,
        }
    }
}

/// Bytes that were read and are yet to be written. It is filled only when it
/// is empty, which holds the writer up where the reader is slow.
struct Buffer {
    bytes: [u8; BUFFER],
    filled: Range<usize>,
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            bytes: [0; BUFFER],
            filled: 0..0,
        }
    }
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.filled.clone()]
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.filled = 0..bytes.len();
    }

    /// The bytes read; 0 is the end.
    fn fill_from(&mut self, source: impl AsFd) -> nix::Result<usize> {
        let read = read(source, &mut self.bytes)?;
        self.filled = 0..read;
        Ok(read)
    }

    fn empty_into(&mut self, sink: impl AsFd) -> nix::Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        let written = write(sink, self.bytes())?;
        self.filled.start += written;
        Ok(written)
    }
}

/// What waits is no failure.
fn later(moved: nix::Result<usize>) -> nix::Result<()> {
    match moved {
        Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, pipe};
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    /// Bytes that a pipe holds, pipe(7).
    const PIPE: usize = 1 << 16;

    #[test]
    fn what_is_left_behind_and_goes_on_writing_is_not_shown_for_ever() {
        let pty = tty::open_pty().unwrap();
        let (nothing, _open) = pipe().unwrap();
        let (mut shown, output) = pipe().unwrap();
        let terminal = Terminal::new(pty.master, nothing.as_fd(), output.as_fd()).unwrap();
        // Faster than it is shown, from the start: the output is full.
        write(&output, &[0; PIPE]).unwrap();
        let (started, babbling) = channel();
        let babbler = thread::spawn(move || {
            // Until the drained terminal is closed.
            while write(&pty.slave, &[b'x'; 512]).is_ok() {
                let _ = started.send(());
            }
        });
        babbling.iter().take(8).for_each(drop);
        let reader = thread::spawn(move || {
            let (mut bytes, mut total) = ([0; 4096], 0);
            while let Ok(read @ 1..) = shown.read(&mut bytes)
                && total < 2 * PIPE + 2 * LEFTOVER
            {
                total += read;
                thread::sleep(Duration::from_millis(1));
            }
            total
        });
        let signals = Signals::catch().unwrap();
        terminal.drain(&signals);
        drop(output);
        let shown = reader.join().unwrap();
        assert!(shown <= PIPE + LEFTOVER + BUFFER, "{shown}");
        babbler.join().unwrap();
    }
}
