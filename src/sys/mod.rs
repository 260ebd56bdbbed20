//! The kernel's side: the only module with `unsafe`.
#![allow(unsafe_code)]

pub mod process;
pub mod procfs;
pub mod ptrace;
