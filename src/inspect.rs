use crate::sys::process::*; use std::time::Duration;
pub struct Stack{pub programs:Vec<Vec<u8>>}
#[derive(Debug,thiserror::Error)] #[error("unread")] pub struct Unreadable(pub Option<usize>);
impl Unreadable{pub fn count(&self)->Option<usize>{self.0}}
pub fn filters_of(p:&PidFd,_l:Duration)->Result<Stack,Unreadable>{ Err(Unreadable(crate::sys::procfs::Proc::open().ok().and_then(|q|q.seccomp(p).ok()).map(|s|s.filters as usize)))}
