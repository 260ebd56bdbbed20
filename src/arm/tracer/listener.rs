//! The listener of a filter with NOTIFY verdicts: taken from init, closed
//! there, and sent to its agent.
//!
//! Init keeps none. A workload that had it could answer itself; and the kernel
//! tells those who wait that an agent has died (ENOSYS) only when nobody has
//! the listener any more.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd, RawFd};

use super::super::regs::{Abi, Call};
use super::{Before, During, Failure, Result, Tracer, errno_of};
use crate::policy::{self, Action};

/// What init got from seccomp(2), and a duplicate of it.
pub(super) struct Listener {
    number: RawFd,
    fd: OwnedFd,
}

impl Tracer<'_> {
    /// The flag that asks seccomp(2) for a listener, if one is wanted.
    pub(super) fn listener_flag(&self) -> u64 {
        match self.request.listener {
            Some(_) => libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            None => 0,
        }
    }

    /// Takes the listener that seccomp(2) has returned; `None` if none was
    /// wanted or the call has failed.
    pub(super) fn take_listener(&self, result: i64) -> Result<Option<Listener>> {
        if self.request.listener.is_none() || result < 0 {
            return Ok(None);
        }
        let number = RawFd::try_from(result).map_err(|_| Failure::Odd(result))?;
        let fd = self.init.descriptor(number);
        let fd = fd.during("take the listener from it")?;
        Ok(Some(Listener { number, fd }))
    }

    /// Makes init close it, by the registers that make a call. Whether it has:
    /// the filter is in place and may refuse, kill or even ask the listener,
    /// so the call is made only if filters are lifted for it, or if there is
    /// no other than ours and that is certain to let it through.
    pub(super) fn close_listener(
        &mut self,
        abi: Abi,
        listener: &Listener,
        before: Before,
        registers: impl FnOnce(Call) -> libc::user_regs_struct,
    ) -> Result<bool> {
        let close = Call {
            nr: abi.close(),
            args: [listener.number as u64, 0, 0, 0, 0, 0],
        };
        let lifted = self.tracee.suspend_filters(true).is_ok();
        let allowed = before.is_none() && self.lets_through(abi, close);
        if !lifted && !allowed {
            return Ok(false);
        }
        // No filter decides what this returns.
        match self.call(abi, registers(close))? {
            0 => Ok(true),
            errno => Err(Failure::Sys("close the listener in it", errno_of(errno))),
        }
    }

    /// Whether our program lets init make this call, and nobody is asked.
    fn lets_through(&self, abi: Abi, call: Call) -> bool {
        let Ok(nr) = u32::try_from(call.nr) else {
            return false;
        };
        let (ret, _) = self.request.program.run(&policy::Call {
            audit: abi.audit(),
            nr,
            args: call.args,
        });
        matches!(Action::from_ret(ret), Action::Allow | Action::Log)
    }

    /// Sends it. Init is stopped: no call of it has been left waiting, even
    /// if the agent takes its time.
    pub(super) fn send_listener(&self, listener: &Listener) -> Result<()> {
        match self.request.listener {
            Some(agent) => agent
                .send(listener.fd.as_fd())
                .during("send its listener to the agent"),
            None => Ok(()),
        }
    }
}
