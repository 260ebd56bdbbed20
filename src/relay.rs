//! Standing in front of a command until it ends: its signals, its terminal,
//! its exit status.
//!
//! The command has a session of its own, so nothing that happens to our job
//! reaches it by itself. It is a child of ours, and lives on if we are killed
//! by SIGKILL; with a terminal it gets SIGHUP then, since the master side goes
//! with us.
#![forbid(unsafe_code)]

mod poll;
mod raw;
mod signals;
mod terminal;

use std::io::{stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd::Pid;

pub use raw::RawTerminal;
pub use signals::Signals;

use crate::sys::process::{PidFd, reap};
use crate::sys::tty;
use poll::Watch;
use terminal::Terminal;

/// Why nobody stands in front of the command. It may still run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// From signalfd(2) or poll(2).
    #[error("cannot wait for signals")]
    Signals(#[source] Errno),
    /// From tcsetattr(3).
    #[error("cannot put the terminal on standard input into raw mode")]
    Raw(#[source] Errno),
    /// From fcntl(2) or, before Linux 4.13, ioctl(2).
    #[error("cannot use the command's terminal")]
    Pty(#[source] Errno),
    /// From waitpid(2).
    #[error("cannot tell how the command ended")]
    Wait(#[source] Errno),
}

/// Gives a new terminal the size of the one on standard input, if there is one:
/// before the command can ask.
pub fn match_window(terminal: impl AsFd) {
    if let Ok(size) = tty::window_size(stdin()) {
        // Without a size it is as good.
        let _ = tty::set_window_size(terminal, &size);
    }
}

/// Stands in front of `child` until it ends, and gives its exit status, or
/// 128+n if signal n ended it. It is reaped then; other children are not
/// touched, and a stop is no end.
///
/// Forwards what `signals` catches to the child. What it started itself gets
/// nothing, as in `kill PID`.
///
/// With `terminal`, the master side of the child's pty, copies standard input
/// to it and from it to standard output:
///
/// - If standard input is a terminal, it is raw meanwhile ([`RawTerminal`]).
///   The window has the size of ours, also when that changes. ([`match_window`] before the child
///   runs gives it from the start.)
/// - SIGTSTP puts our terminal back and stops us, not the child; SIGCONT
///   makes it raw again.
/// - If standard input is no terminal, its end is told by the terminal's VEOF
///   character once it is in canonical mode: no other mode has an end.
/// - If nothing more can be written to standard output, the child's terminal
///   hangs up: it gets SIGHUP, and EIO from its reads and writes.
/// - What the child wrote before its end is shown. What others that still
///   have its terminal write later is not waited for.
///
/// # Errors
/// [`Error`].
pub fn relay(
    child: Pid,
    pidfd: &PidFd,
    mut signals: Signals,
    terminal: Option<OwnedFd>,
) -> Result<u8, Error> {
    let (stdin, stdout) = (stdin(), stdout());
    let terminal = match terminal {
        None => None,
        Some(master) => {
            signals.catch_stop().map_err(Error::Signals)?;
            Some(Terminal::new(master, stdin.as_fd(), stdout.as_fd())?)
        }
    };
    let mut relay = Relay {
        pidfd,
        signals: &signals,
        terminal,
    };
    while relay.turn().map_err(Error::Signals)? {}
    let status = reap(child).map_err(Error::Wait)?;
    if let Some(terminal) = relay.terminal {
        terminal.drain(&signals);
    }
    Ok(code(status))
}

struct Relay<'a> {
    pidfd: &'a PidFd,
    signals: &'a Signals,
    terminal: Option<Terminal<'a>>,
}

impl Relay<'_> {
    /// Waits for something to do and does it; false after the child's end.
    fn turn(&mut self) -> nix::Result<bool> {
        let mut watch = Watch::default();
        let child = watch.add(self.pidfd, PollFlags::POLLIN);
        let signals = watch.add(self.signals, PollFlags::POLLIN);
        let terminal = self.terminal.as_ref().map(|t| t.watch(&mut watch));
        let seen = watch.wait()?;
        let is_ready = |slot: Option<usize>| slot.is_some_and(|slot| !seen[slot].is_empty());
        if is_ready(child) {
            return Ok(false);
        }
        if is_ready(signals) {
            while let Some(signal) = self.signals.next()? {
                self.take(signal)?;
            }
        }
        if let (Some(terminal), Some(ready)) = (&mut self.terminal, terminal)
            && terminal.copy(&ready, &seen).is_err()
        {
            // Nobody sees it any more: that is a terminal's hang-up.
            self.terminal = None;
        }
        Ok(true)
    }

    fn take(&self, signal: i32) -> nix::Result<()> {
        match (signal, &self.terminal) {
            (libc::SIGWINCH, Some(terminal)) => terminal.follow_size(),
            // Caught only where there was a terminal.
            (libc::SIGTSTP, terminal) => {
                terminal.iter().for_each(Terminal::suspend);
                self.signals.stop()?;
                // SIGCONT is yet to be taken, but there is none where nobody
                // could continue us and the kernel did not stop us at all.
                terminal.iter().for_each(Terminal::resume);
            }
            (libc::SIGCONT, Some(terminal)) => {
                terminal.resume();
                self.forward(signal);
            }
            _ => self.forward(signal),
        }
        Ok(())
    }

    fn forward(&self, signal: i32) {
        match self.pidfd.signal(signal) {
            // It has just ended.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => log::warn!("cannot forward signal {signal} to the command: {errno}"),
        }
    }
}

/// A shell's number for how a process ended.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|n| 128 + n));
    // Both have less than eight bits; a stop is not waited for.
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_as_a_shell_has_it() {
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
        assert_eq!(code(ExitStatus::from_raw(255 << 8)), 255);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
        assert_eq!(code(ExitStatus::from_raw(libc::SIGSEGV | 0x80)), 139);
        assert_eq!(code(ExitStatus::from_raw(64)), 192);
    }
}
