use crate::bundle::State; use crate::sys::process::PidFd; use std::path::{Path,PathBuf}; use nix::unistd::Pid;
pub struct Container{pub state:State,pub init:PidFd,pub engine:String}
pub enum Engine{Any,Oci(PathBuf),Podman}
#[derive(Debug,thiserror::Error)] #[error("no container")] pub struct Error;
pub fn find(e:&Engine,root:Option<&Path>,id:&str)->Result<Container,Error>{
 let rt=match e{Engine::Oci(p)=>p.clone(),_=>"crun".into()};
 let mut c=std::process::Command::new(&rt); if let Some(r)=root{c.arg("--root").arg(r);} let o=c.arg("state").arg(id).output().map_err(|_|Error)?;
 let state=State::read(&o.stdout[..]).map_err(|_|Error)?; let init=PidFd::open(state.pid.ok_or(Error)?).map_err(|_|Error)?; Ok(Container{state,init,engine:rt.display().to_string()})}
pub fn by_pid(pid:Pid,bundle:&Path)->Result<Container,Error>{
 let init=PidFd::open(pid).map_err(|_|Error)?;
 Ok(Container{state:State{oci_version:None,id:format!("of process {pid}"),status:None,pid:Some(pid),bundle:bundle.into(),annotations:Default::default()},init,engine:"".into()})}
