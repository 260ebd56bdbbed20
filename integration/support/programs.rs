//! The workloads, built from their C source when first asked for.

use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use super::{Run, binary, source};

const FLAGS: &[&str] = &[
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-static",
    "-nostdlib",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-pie",
    "-no-pie",
    "-fno-asynchronous-unwind-tables",
];

/// Makes the calls it is told to; see `probe.c`.
pub fn probe() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("probe", "64"))
}

/// The same as a 32-bit program.
pub fn probe32() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("probe", "32"))
}

/// Prints `hello` and exits with 7, by two calls in all; see `hello.c`.
pub fn hello() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("hello", "64"))
}

/// Makes one call over and over, and prints how long that took; see `calls.c`.
pub fn calls() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("calls", "64"))
}

/// What a hostile container runs as its init; see `hunter.c`.
pub fn hunter() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        build_with(
            &["-O1", "-Wall", "-Wextra", "-Werror", "-static"],
            "hunter",
            "64",
        )
    })
}

/// The program under test without its debug information, of which `exec` may
/// make a copy.
pub fn stripped() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let made = dir.join(format!("oci-seccomp.{}", std::process::id()));
        let strip = Run::new("strip").arg("-o").arg(&made).arg(binary());
        strip.run().success();
        let done = dir.join("oci-seccomp");
        std::fs::rename(&made, &done).expect("rename of a built program");
        done
    })
}

/// A static busybox: the container's user land.
pub fn busybox() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        find("busybox").unwrap_or_else(|| panic!("no busybox; on Debian: busybox-static"))
    })
}

/// Has the man pages and completions made that `make install` installs: once,
/// and not by each test. What makes them may have to be built.
pub fn manual() {
    static MADE: Once = Once::new();
    MADE.call_once(|| {
        let make = Run::new("make").current_dir(source()).arg("man");
        make.limit(Duration::from_secs(600)).run().success();
    });
}

/// A program on the PATH, where administrators have theirs, or where the
/// Makefile puts a runtime that it builds.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(sbin)
        .chain([source().join("build").join(name).join("bin")])
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
}

/// Another test binary may build the same: each under a name of its own,
/// renamed when it is whole.
fn build(name: &str, bits: &str) -> PathBuf {
    build_with(FLAGS, name, bits)
}

fn build_with(flags: &[&str], name: &str, bits: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let done = dir.join(format!("{name}{bits}"));
    let made = dir.join(format!("{name}{bits}.{}", std::process::id()));
    Run::new("gcc")
        .args(flags)
        .arg(format!("-m{bits}"))
        .arg("-o")
        .arg(&made)
        .arg(source().join("integration").join(name).with_extension("c"))
        .run()
        .success();
    std::fs::rename(&made, &done).expect("rename of a built program");
    done
}
