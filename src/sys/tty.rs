use std::os::fd::OwnedFd;
pub struct Pty{pub master:OwnedFd,pub slave:OwnedFd}
pub fn open_pty()->Result<Pty,nix::errno::Errno>{Err(nix::errno::Errno::ENOSYS)}
