//! The signals that a relay passes on.
#![forbid(unsafe_code)]

use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::sys::process::remember_children;

/// What is not forwarded. A child's end and a broken pipe are our own affair;
/// so are the stops, which our terminal sends to whoever uses it; a fault is
/// of the one who makes it.
const OWN: [Signal; 11] = [
    Signal::SIGCHLD,
    Signal::SIGPIPE,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGTRAP,
];

/// The signals that are to be forwarded, blocked and kept: all that can be
/// caught, real-time ones too, but SIGCHLD, SIGPIPE, the stops and the faults.
///
/// Made before the command starts, so that none is lost, or ends us, between
/// its start and [`relay`](super::relay). The signal mask is the calling
/// thread's, and what it was is put back on drop. The process should have no
/// other thread: the kernel would give a signal to that one.
///
/// The command inherits the mask: [`Self::restore_mask`] before its exec.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    caught: SigSet,
    before: SigSet,
}

impl Signals {
    /// Blocks the signals from here on.
    ///
    /// SIGCHLD gets its default action: if it were ignored, the kernel would
    /// forget how the command ended.
    ///
    /// # Errors
    /// Those of sigaction(2), signalfd(2) and pthread_sigmask(3).
    pub fn catch() -> nix::Result<Self> {
        remember_children()?;
        let mut caught = SigSet::all();
        for signal in OWN {
            caught.remove(signal);
        }
        let fd = SignalFd::with_flags(&caught, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let before = caught.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Self { fd, caught, before })
    }

    /// Puts the old mask back, as the command's process has to before its
    /// exec.
    ///
    /// # Errors
    /// Those of pthread_sigmask(3).
    pub fn restore_mask(&self) -> nix::Result<()> {
        self.before.thread_set_mask()
    }

    /// Catches SIGTSTP too, which would stop us and leave the terminal raw.
    pub(super) fn catch_stop(&mut self) -> nix::Result<()> {
        self.caught.add(Signal::SIGTSTP);
        self.fd.set_mask(&self.caught)?;
        self.caught.thread_block()
    }

    /// Does what a caught SIGTSTP asked for. Comes back after SIGCONT.
    pub(super) fn stop(&self) -> nix::Result<()> {
        let stop = SigSet::from(Signal::SIGTSTP);
        raise(Signal::SIGTSTP)?;
        stop.thread_unblock()?;
        stop.thread_block()
    }

    /// The number of the next signal that came; `None` if there is none yet.
    pub(super) fn next(&self) -> nix::Result<Option<i32>> {
        let signal = self.fd.read_signal()?;
        Ok(signal.map(|info| info.ssi_signo.cast_signed()))
    }
}

impl std::os::fd::AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // It was a valid mask, so this cannot fail.
        let _ = self.restore_mask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_caught_waits_and_the_old_mask_comes_back() {
        // The mask and the signal are this thread's own.
        let before = SigSet::thread_get_mask().unwrap();
        let signals = Signals::catch().unwrap();
        let mask = SigSet::thread_get_mask().unwrap();
        assert!(mask.contains(Signal::SIGTERM) && mask.contains(Signal::SIGABRT));
        assert!(OWN.iter().all(|&signal| !mask.contains(signal)));
        assert_eq!(signals.next(), Ok(None));
        raise(Signal::SIGUSR1).unwrap();
        raise(Signal::SIGTERM).unwrap();
        assert_eq!(signals.next(), Ok(Some(libc::SIGUSR1)));
        assert_eq!(signals.next(), Ok(Some(libc::SIGTERM)));
        assert_eq!(signals.next(), Ok(None));
        signals.restore_mask().unwrap();
        assert_eq!(SigSet::thread_get_mask(), Ok(before));
        mask.thread_set_mask().unwrap();
        drop(signals);
        assert_eq!(SigSet::thread_get_mask(), Ok(before));
    }
}
