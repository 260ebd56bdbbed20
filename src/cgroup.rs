use crate::sys::process::PidFd; use crate::sys::procfs::Proc; use nix::unistd::Pid;
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct Error;
pub fn join(_p:&Proc,_i:&PidFd,_x:Pid)->Result<(),Error>{Ok(())}
