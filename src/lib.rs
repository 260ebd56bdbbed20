//! GUIDE
#![deny(unsafe_code)]
// What only the program uses of the modules below.
#![cfg_attr(not(feature = "cli"), allow(dead_code))]

pub mod bpf;
pub mod compile;
pub mod filter;
pub mod load;
pub mod policy;
pub mod profile;
pub mod prove;
pub mod syscalls;
pub mod translate;

mod json;

// The program's own, which is another crate, and so are its tests: hidden, and
// no part of the API.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod arm;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod audit;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod bundle;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cache;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cases;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cgroup;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod command;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod diff;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod explain;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod features;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod flags;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod identity;
#[cfg(not(feature = "cli"))]
mod input;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod input;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod inspect;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod join;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod lint;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod listener;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod loadable;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod peers;
#[cfg(not(feature = "cli"))]
mod plain;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod plain;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod plan;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod precreate;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod profile_dir;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod relay;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod report;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod runtime;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod samples;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod sealed;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod signatures;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod splice;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod style;
#[cfg(not(feature = "cli"))]
mod sys;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod sys;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod wrap;
