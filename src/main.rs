//! The `oci-seccomp` command.
#![forbid(unsafe_code)]

fn main() {}
