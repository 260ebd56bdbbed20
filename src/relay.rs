use crate::sys::process::*; use std::os::fd::OwnedFd; use nix::unistd::Pid;
pub struct Signals; impl Signals{pub fn catch()->nix::Result<Self>{Ok(Self)}}
pub fn relay(child:Pid,_p:&PidFd,_s:Signals,_t:Option<OwnedFd>)->Result<u8,std::io::Error>{
 match wait(child)? { nix::sys::wait::WaitStatus::Exited(_,n)=>Ok(n as u8), nix::sys::wait::WaitStatus::Signaled(_,s,_)=>Ok(128+s as i32 as u8), o=>{eprintln!("{o:?}");Ok(1)} } }
