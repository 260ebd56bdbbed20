//! The seccomp layer of OCI containers: what a profile means, a program that
//! is proven to mean the same, and the ways to get it onto a workload.
#![deny(unsafe_code)]

pub mod arm;
pub mod bpf;
pub mod policy;
mod sys;
