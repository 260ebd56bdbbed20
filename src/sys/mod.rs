//! The kernel's side: the only modules with `unsafe` code.
#![allow(unsafe_code)]

pub mod credentials;
pub mod exec;
pub(crate) mod namespaces;
pub(crate) mod process;
pub(crate) mod procfs;
pub(crate) mod ptrace;
pub mod seccomp;
pub mod tty;

pub use process::PidFd;
