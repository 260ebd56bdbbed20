//! The seccomp layer of OCI containers: what a profile means, a program that
//! is proven to mean the same, and the ways to get it onto a workload.
#![deny(unsafe_code)]

pub mod arm;
pub mod audit;
pub mod bpf;
pub mod bundle;
pub mod cache;
pub mod cases;
pub mod cgroup;
pub mod command;
pub mod compile;
pub mod diff;
pub mod explain;
pub mod features;
pub mod filter;
pub mod flags;
pub mod identity;
pub mod input;
pub mod inspect;
pub mod join;
mod json;
pub mod lint;
pub mod listener;
pub mod load;
pub mod loadable;
mod near;
pub mod peers;
pub mod plain;
pub mod plan;
pub mod policy;
pub mod precreate;
pub mod profile;
pub mod profile_dir;
pub mod progress;
pub mod prove;
pub mod relay;
pub mod report;
pub mod runtime;
pub mod samples;
pub mod sealed;
pub mod signatures;
pub mod splice;
pub mod style;
pub mod sys;
pub mod syscalls;
pub mod translate;
pub mod wrap;
