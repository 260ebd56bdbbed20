//! The kernel's side: the only modules with `unsafe` code.
#![allow(unsafe_code)]

#[cfg(feature = "cli")]
pub mod credentials;
#[cfg(feature = "cli")]
pub mod exec;
#[cfg(feature = "cli")]
pub(crate) mod namespaces;
#[cfg(feature = "cli")]
pub(crate) mod process;
#[cfg(feature = "cli")]
pub(crate) mod procfs;
#[cfg(feature = "cli")]
pub(crate) mod ptrace;
pub mod seccomp;
#[cfg(feature = "cli")]
pub mod tty;

#[cfg(feature = "cli")]
pub use process::PidFd;
