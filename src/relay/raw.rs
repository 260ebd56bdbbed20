//! Our own terminal in raw mode, and on every way out of it as it was.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use nix::errno::Errno;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

use crate::sys::process::lift;

/// The terminal that is raw. For the whole process, since a panic that ends
/// it runs no destructor.
static RAW: Mutex<Option<Saved>> = Mutex::new(None);

struct Saved {
    terminal: OwnedFd,
    modes: Termios,
}

/// A terminal in raw mode, so that each byte goes to the command as it was
/// typed; put back on drop and on a panic, also where that aborts.
///
/// A signal that ends us would leave the terminal raw: a relay has them
/// blocked and forwards them. SIGKILL and our own faults (SIGSEGV and the
/// like) cannot be helped; `stty sane` can.
///
/// A process has one at a time.
#[derive(Debug)]
pub struct RawTerminal(());

impl RawTerminal {
    /// Makes the terminal raw. Where we are in its background, the kernel
    /// stops us until the shell's `fg`, as any program that does this
    /// (SIGTTOU).
    ///
    /// # Errors
    /// ENOTTY where it is no terminal; EBUSY where the process has another raw
    /// one; those of tcsetattr(3).
    pub fn new(terminal: impl AsFd) -> nix::Result<Self> {
        let saved = Saved {
            modes: tcgetattr(&terminal)?,
            terminal: lift(terminal)?,
        };
        restore_on_panic();
        let mut raw = raw();
        if raw.is_some() {
            return Err(Errno::EBUSY);
        }
        saved.make_raw()?;
        *raw = Some(saved);
        Ok(Self(()))
    }

    /// Puts the terminal back for the time that we are stopped.
    pub fn suspend(&self) {
        if let Some(saved) = &*raw() {
            saved.restore();
        }
    }

    /// Makes the terminal raw again.
    ///
    /// # Errors
    /// Those of tcsetattr(3).
    pub fn resume(&self) -> nix::Result<()> {
        raw().as_ref().map_or(Ok(()), Saved::make_raw)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(saved) = raw().take() {
            saved.restore();
        }
    }
}

impl Saved {
    fn make_raw(&self) -> nix::Result<()> {
        let mut modes = self.modes.clone();
        cfmakeraw(&mut modes);
        set(self, &modes)
    }

    /// Puts the modes back, unless the terminal is another job's by now: the
    /// shell that gave it away has set its modes.
    fn restore(&self) {
        let ours = match tcgetpgrp(&self.terminal) {
            Ok(foreground) => foreground == getpgrp(),
            // Not our controlling terminal: no job control on it.
            Err(_) => true,
        };
        if ours {
            // A terminal that is gone needs no modes.
            let _ = set(self, &self.modes);
        }
    }
}

/// After what was written is out, and without losing what was typed.
fn set(saved: &Saved, modes: &Termios) -> nix::Result<()> {
    loop {
        match tcsetattr(&saved.terminal, SetArg::TCSADRAIN, modes) {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

fn raw() -> MutexGuard<'static, Option<Saved>> {
    RAW.lock().unwrap_or_else(PoisonError::into_inner)
}

fn restore_on_panic() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Not `lock`, which would wait for ever if the panic is in here.
            if let Ok(saved) = RAW.try_lock()
                && let Some(saved) = &*saved
            {
                saved.restore();
            }
            previous(panic);
        }));
    });
}
