//! The kernel's side: the only modules with `unsafe` code.
#![allow(unsafe_code)]

pub mod exec;
pub mod seccomp;
