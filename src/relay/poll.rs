//! poll(2) over what is of interest just now.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The descriptors to wait for.
pub(super) struct Watch<'a> {
    fds: Vec<PollFd<'a>>,
    pub(super) timeout: PollTimeout,
}

impl Default for Watch<'_> {
    fn default() -> Self {
        Self {
            fds: Vec::with_capacity(5),
            timeout: PollTimeout::NONE,
        }
    }
}

impl<'a> Watch<'a> {
    /// Adds a descriptor and says where its events will be. One of which no
    /// event is wanted is left out, since poll(2) reports its hang-up always.
    pub(super) fn add(&mut self, fd: &'a impl AsFd, events: PollFlags) -> Option<usize> {
        let wanted = !events.is_empty();
        wanted.then(|| {
            self.fds.push(PollFd::new(fd.as_fd(), events));
            self.fds.len() - 1
        })
    }

    /// Waits, and gives the events of each descriptor.
    pub(super) fn wait(mut self) -> nix::Result<Vec<PollFlags>> {
        loop {
            match poll(&mut self.fds, self.timeout) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
                Ok(_) => break,
            }
        }
        let events = self.fds.iter().map(|fd| fd.revents());
        Ok(events.map(|e| e.unwrap_or(PollFlags::POLLERR)).collect())
    }
}
