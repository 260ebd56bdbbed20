//! The seccomp layer of OCI containers as a library: what a profile means, a
//! program that is proven to mean the same, and loading it.
//!
//! A profile is the `linux.seccomp` section of the OCI runtime-spec: by itself,
//! within a `config.json`, or in the form that docker and podman write. This crate
//! also is the command `oci-seccomp`, which arms containers with it; a library's
//! user wants it without:
//!
//! ```toml
//! [dependencies]
//! oci-seccomp = { version = "0.1", default-features = false }
//! ```
//!
//! # The way of the data
//!
//! ```text
//! text ──profile──▶ OCI section ──translate──▶ Policy ──compile──▶ Program ──▶ load
//!                                               └───────prove◀───────┘
//! ```
//!
//! - [`profile`] reads the text, in any of the three forms, with lines for errors.
//! - [`translate`](mod@translate) makes a [`Policy`](policy::Policy) of the section.
//!   Its [`verdict`](policy::Policy::verdict) is what the profile means, call by call.
//! - [`compile`](mod@compile) has libseccomp compile one condition at a time and links
//!   the pieces to a [`Program`](bpf::Program) of classic BPF.
//! - [`prove`](mod@prove) interprets the program for a call of each class that it or the
//!   policy can tell apart, and finds the first on which they differ.
//! - [`load`](mod@load) gives the kernel what was proven.
//!
//! [`Filter`](filter::Filter) is all of these in one, and the only thing that can be
//! loaded: where there is one there is a proof. It is of every class of calls, unless a
//! rule's arguments make too many to be tried; then it is of a sample, and
//! [`complete`](prove::Proof::complete) is false.
//!
//! ```
//! use std::error::Error;
//!
//! use oci_seccomp::filter::{Filter, Options};
//! use oci_seccomp::policy::{Action, Arch, Call};
//! use oci_seccomp::profile::Target;
//! use oci_seccomp::{load, syscalls};
//!
//! # fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
//! let text = r#"{
//!     "defaultAction": "SCMP_ACT_ALLOW",
//!     "syscalls": [{
//!         "names": ["mkdir", "mkdirat"],
//!         "action": "SCMP_ACT_ERRNO",
//!         "errnoRet": 28
//!     }]
//! }"#;
//! let filter = Filter::parse("app.json", text, &Target::current()?, Options::default())?;
//! for finding in filter.findings() {
//!     eprintln!("app.json: {}", filter.describe(finding));
//! }
//!
//! // What the profile says to a call, and what the kernel would be told.
//! let arch = Arch::native();
//! let nr = syscalls::resolve("mkdirat", arch).number().ok_or("no such call")?;
//! let call = Call { audit: arch.audit(), nr, args: [0; 6] };
//! assert_eq!(filter.policy().verdict(&call).action, Action::Errno(28));
//! let (answer, _) = filter.program().run(&call);
//! assert_eq!(Action::from_ret(answer), Action::Errno(28));
//!
//! if !load::is_enabled() {
//!     return Err("this kernel has no seccomp".into());
//! }
//! // A filter stays until the thread ends, so this one is on a thread of its own.
//! let confined = std::thread::spawn(move || -> Result<_, Box<dyn Error + Send + Sync>> {
//!     load::set_no_new_privs()?;
//!     load::load(&filter)?;
//!     Ok(std::fs::create_dir("/tmp/never-made"))
//! });
//! let denied = confined.join().expect("no panic")?.expect_err("mkdir is denied");
//! assert_eq!(denied.raw_os_error(), Some(28));
//! # Ok(())
//! # }
//! ```
//!
//! The steps are there one by one, too, for a section or a policy that was not read
//! from a file; what comes of them can be kept or exported
//! ([`to_bytes`](bpf::Program::to_bytes)):
//!
//! ```
//! use oci_seccomp::oci_spec::runtime::LinuxSeccomp;
//! use oci_seccomp::{compile::compile, prove::prove, translate::{self, translate}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let section: LinuxSeccomp = serde_json::from_str(
//!     r#"{"defaultAction": "SCMP_ACT_ERRNO",
//!         "syscalls": [{"names": ["write", "exit_group"], "action": "SCMP_ACT_ALLOW"}]}"#,
//! )?;
//! let policy = translate(&section, translate::Options::default())?.policy;
//! let program = compile(&policy)?;
//! let proof = prove(&policy, &program)?;
//! assert!(proof.complete);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/confine.rs` executes a command under a profile.
//!
//! # Threads, and what is filtered
//!
//! A filter is on the thread that loads it, and on the threads and processes that this
//! thread starts from then on; with `SECCOMP_FILTER_FLAG_TSYNC` in the profile's flags
//! on all threads of the process. It is in force at once and cannot be taken off. So
//! the profile has to allow what comes after: for a command, all that happens up to its
//! execve(2), and that. A filter on one thread of several is no boundary between them:
//! they share their memory. Load it before there are others, or with TSYNC.
//!
//! The kernel takes filters from threads with `no_new_privs`
//! ([`load::set_no_new_privs`]) or CAP_SYS_ADMIN in their user namespace. Nothing here
//! sets it on its own account.
//!
//! Everything but loading can be done on any thread, at any time, and at once on
//! several. Making a filter may start a thread of its own and wait for it, since
//! libseccomp does not always come to an end ([`plain::Error::Endless`]): under a filter
//! of one's own, make the next one first.
//!
//! # Errors
//!
//! A mistake in a profile is an error where it would not do what it says, and a
//! [`Finding`](translate::Finding) where it does what it says but that may not be what is
//! wanted. Each step has an error type of its own, which may grow. The message is one line;
//! what lies below it is its [`source`](std::error::Error::source). With an error nothing
//! is loaded, and nothing is half done. No text makes anything panic.
//!
//! # What it does not do
//!
//! - It starts no container and finds none; the command does the latter.
//! - It hands no listener of `SCMP_ACT_NOTIFY` rules to an agent: who is under the
//!   filter cannot. [`load::load`] refuses such a profile.
//! - It is no sandbox: a filter decides on numbers, not on paths or contents.
//! - A proof is of the program against the profile, not of the profile against what its
//!   author wanted.
//!
//! # Platform
//!
//! Linux on x86_64, with profiles for x86 and x32 processes on it; programs for the other
//! architectures of the spec can be made and asked. libseccomp 2.5 or later is linked to
//! (Debian's `libseccomp-dev`): `LIBSECCOMP_LIB_PATH` says where it is when this is built,
//! and `LIBSECCOMP_LINK_TYPE=static` has it linked statically. Rust 1.88 or later.
//!
//! # Safety
//!
//! No function of the API is unsafe. The `unsafe` code is system calls, in one module,
//! one operation to a block with its argument; all else is compiled with
//! `forbid(unsafe_code)`.
//!
//! # Versions
//!
//! The API is what this documentation shows, without the feature `cli` (on by default),
//! which adds the command and the modules and dependencies of its own. It follows
//! [Semantic Versioning](https://semver.org/): until 1.0, what breaks a user is a new minor
//! version. A newer `oci-spec`, whose types are in signatures ([`oci_spec`]), is such a
//! break; a newer Rust is a new minor version; types marked as non-exhaustive may grow in
//! any. A profile that gets another meaning, be it by a mended error, is in the changelog.
#![deny(unsafe_code)]
// What only the program uses of the modules below.
#![cfg_attr(not(feature = "cli"), allow(dead_code))]

#[doc(no_inline)]
pub use oci_spec;

pub mod bpf;
pub mod compile;
pub mod filter;
pub mod load;
pub mod plain;
pub mod policy;
pub mod profile;
pub mod prove;
pub mod syscalls;
pub mod translate;

mod json;
mod near;

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
pub mod progress;
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
