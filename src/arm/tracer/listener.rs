//! The listener of a filter with NOTIFY verdicts: taken from init, closed
//! there, and sent to its agent.
//!
//! Init keeps none. A workload that had it could answer itself; and the kernel
//! tells those who wait that an agent has died (ENOSYS) only when nobody has
//! the listener any more.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd, RawFd};

use super::super::regs::{Abi, Call};
use super::{During, Failure, Result, Tracer, errno_of};
use crate::arm::Layer;
use crate::policy::{self, Action};

/// What init got from seccomp(2), and a duplicate of it.
pub(super) struct Listener {
    number: RawFd,
    fd: OwnedFd,
}

/// The flag that asks seccomp(2) for a listener, if one is wanted.
pub(super) fn listener_flag(layer: &Layer<'_>) -> u64 {
    match layer.listener {
        Some(_) => libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        None => 0,
    }
}

impl Tracer<'_> {
    /// Takes the listener that seccomp(2) has returned by its number.
    pub(super) fn take_listener(&self, number: i64) -> Result<Listener> {
        let number = RawFd::try_from(number).map_err(|_| Failure::Odd(number))?;
        let fd = self.init.descriptor(number);
        let fd = fd.during("take the listener from it")?;
        Ok(Listener { number, fd })
    }

    /// Makes init close it, by the registers that make a call. Whether it has:
    /// the filter is in place and may refuse, kill or even ask the listener,
    /// so the call is made only if filters are lifted for it, or if there is
    /// no other than ours, `alone`, and that is certain to let it through.
    pub(super) fn close_listener(
        &mut self,
        abi: Abi,
        listener: &Listener,
        layer: &Layer<'_>,
        alone: bool,
        registers: impl FnOnce(Call) -> libc::user_regs_struct,
    ) -> Result<bool> {
        let close = Call {
            nr: abi.close(),
            args: [listener.number as u64, 0, 0, 0, 0, 0],
        };
        let lifted = self.tracee.suspend_filters(true).is_ok();
        let allowed = alone && lets_through(layer, abi, close);
        if !lifted && !allowed {
            return Ok(false);
        }
        // No filter decides what this returns.
        match self.call(abi, registers(close))? {
            0 => Ok(true),
            errno => Err(Failure::Sys("close the listener in it", errno_of(errno))),
        }
    }

    /// Sends it. Init is stopped: no call of it has been left waiting, even
    /// if the agent takes its time.
    pub(super) fn send_listener(&self, layer: &Layer<'_>, listener: &Listener) -> Result<()> {
        match layer.listener {
            Some(agent) => agent
                .send(listener.fd.as_fd(), None)
                .during("send its listener to the agent"),
            None => Ok(()),
        }
    }
}

/// Whether our program lets init make this call, and nobody is asked.
fn lets_through(layer: &Layer<'_>, abi: Abi, call: Call) -> bool {
    let Ok(nr) = u32::try_from(call.nr) else {
        return false;
    };
    let (ret, _) = layer.program.run(&policy::Call {
        audit: abi.audit(),
        nr,
        args: call.args,
    });
    matches!(Action::from_ret(ret), Action::Allow | Action::Log)
}
