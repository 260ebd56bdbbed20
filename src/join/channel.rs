//! What the process that joins a container and its parent tell each other.
#![forbid(unsafe_code)]

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

use crate::sys::process::{lift, own};

/// The longest message, in bytes. A longer reason is cut.
const LIMIT: usize = 4096;

/// One end; messages keep their bounds (SOCK_SEQPACKET).
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

/// One message.
#[derive(Debug)]
pub(super) enum Message {
    /// To the child: it is traced, and filters are lifted, or are not.
    Go {
        /// Whether none filters the child's own calls.
        lifted: bool,
    },
    /// To the parent: the master of the terminal.
    Terminal(OwnedFd),
    /// To the parent: the listener of the layer with this index.
    Listener(u8, OwnedFd),
    /// To the parent: nothing is started.
    Refused(super::Refusal),
}

impl Channel {
    /// Two ends.
    pub(super) fn pair() -> nix::Result<(Self, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self(lift(a)?), Self(lift(b)?)))
    }

    pub(super) fn send(&self, message: &Message) -> nix::Result<()> {
        let mut bytes = Vec::new();
        let mut fd = None;
        match message {
            Message::Go { lifted } => bytes.extend([b'g', u8::from(*lifted)]),
            Message::Terminal(master) => {
                bytes.extend([b't', 0]);
                fd = Some(master.as_raw_fd());
            }
            Message::Listener(layer, listener) => {
                bytes.extend([b'l', *layer]);
                fd = Some(listener.as_raw_fd());
            }
            Message::Refused(refusal) => {
                bytes.extend([b'r', refusal.status]);
                bytes.extend(refusal.reason.bytes().take(LIMIT - 2));
            }
        }
        let fds: Vec<RawFd> = fd.into_iter().collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let with = if fds.is_empty() { &[] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(
            self.0.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            with,
            flags,
            None,
        )
        .map(drop)
    }

    /// The next message, waited for; `None` when the other end is closed.
    pub(super) fn receive(&self) -> nix::Result<Option<Message>> {
        let mut bytes = [0; LIMIT];
        let mut space = nix::cmsg_space!(RawFd);
        let (len, fd) = loop {
            let mut into = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(self.0.as_raw_fd(), &mut into, Some(&mut space), flags) {
                Ok(got) => {
                    let mut fds = got.cmsgs()?.flat_map(|control| match control {
                        ControlMessageOwned::ScmRights(fds) => fds,
                        _ => Vec::new(),
                    });
                    break (got.bytes, fds.next().map(own));
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        };
        let message = match (bytes.get(..len).unwrap_or_default(), fd) {
            ([], None) => return Ok(None),
            ([b'g', lifted], None) => Message::Go {
                lifted: *lifted != 0,
            },
            ([b't', _], Some(master)) => Message::Terminal(lift(master)?),
            ([b'l', layer], Some(listener)) => Message::Listener(*layer, lift(listener)?),
            ([b'r', status, reason @ ..], None) => Message::Refused(super::Refusal {
                status: *status,
                reason: String::from_utf8_lossy(reason).into_owned(),
            }),
            _ => return Err(Errno::EBADMSG),
        };
        Ok(Some(message))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::Refusal;

    #[test]
    fn messages_arrive_whole_and_in_order() -> nix::Result<()> {
        let (a, b) = Channel::pair()?;
        a.send(&Message::Terminal(lift(std::io::stderr())?))?;
        let reason = "x".repeat(LIMIT);
        a.send(&Message::Refused(Refusal {
            status: 126,
            reason,
        }))?;
        drop(a);
        assert!(matches!(b.receive()?, Some(Message::Terminal(_))));
        assert!(matches!(
            b.receive()?,
            Some(Message::Refused(r)) if r.status == 126 && r.reason.len() == LIMIT - 2
        ));
        assert!(b.receive()?.is_none());
        Ok(())
    }
}
