//! What the tests share: commands that cannot hang, the probe programs, and
//! real containers that leave nothing behind.
//!
//! ```ignore
//! let seen = Container::new(Runtime::Crun)
//!     .no_new_privileges(true)
//!     .uid(1000)
//!     .profile_hook(Stage::CreateRuntime, &profile)
//!     .probe("status -- call mkdir @/tmp/x 0755")
//!     .run()
//!     .success();
//! assert_eq!(seen.errno("mkdir"), 77);
//! ```
#![forbid(unsafe_code)]
// Each test binary compiles this module for itself and uses its own part.
#![allow(dead_code, unused_imports, unused_macros)]

pub mod agent;
pub mod command;
pub mod container;
pub mod podman;
pub mod process;
pub mod programs;

use std::path::{Path, PathBuf};

pub use agent::{Agent, Manner};
pub use command::Started;
pub use command::{Outcome, Run};
pub use container::{Container, Created, Runtime, Stage};
pub use podman::Podman;

/// The program under test: the one cargo built, or an installed one that
/// `OCI_SECCOMP` names (for a distribution's own checks of its package).
pub fn binary() -> PathBuf {
    std::env::var_os("OCI_SECCOMP").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_oci-seccomp")),
        PathBuf::from,
    )
}

/// The checkout, where `testdata` and the `Makefile` are.
pub fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A profile of ours, `testdata/NAME.json`.
pub fn testdata(name: &str) -> serde_json::Value {
    let path = source().join("testdata").join(name).with_extension("json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Whether what cannot run is a failure: it is in CI, so that a test that was
/// left out cannot pass for one that succeeded.
pub fn must_run() -> bool {
    std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false" && v != "0")
}

/// Says why a test does not run here; in CI that fails it.
pub fn skip(why: &str) {
    assert!(!must_run(), "cannot run, and CI is set: {why}");
    eprintln!("skipped: {why}");
}

/// Makes a test of each function, for each runtime, that is given the runtime.
macro_rules! on_each_runtime {
    ($($test:ident)*) => {
        mod runc {
            $(#[test] fn $test() { $crate::support::on(super::Runtime::Runc, super::$test); })*
        }
        mod crun {
            $(#[test] fn $test() { $crate::support::on(super::Runtime::Crun, super::$test); })*
        }
    };
}
/// The same for youki as well, where it is installed: it is built only for the
/// matrix.
macro_rules! on_each_runtime_and_youki {
    ($($test:ident)*) => {
        $crate::support::on_each_runtime! { $($test)* }
        mod youki {
            $(#[test] fn $test() { $crate::support::on_youki(super::$test); })*
        }
    };
}
pub(crate) use on_each_runtime;
pub(crate) use on_each_runtime_and_youki;

/// Runs a test if its runtime can run here.
pub fn on(runtime: Runtime, test: impl FnOnce(Runtime)) {
    if runtime.is_ready() {
        test(runtime);
    }
}

/// Runs a test with youki if it is there.
pub fn on_youki(test: impl FnOnce(Runtime)) {
    match Runtime::Youki.program() {
        Some(_) => on(Runtime::Youki, test),
        None => eprintln!("skipped: youki is not installed"),
    }
}

/// The lines of the help and the page on commands that call this command.
pub fn examples(command: &str) -> Vec<String> {
    let help = Run::new(binary()).args([command, "--help"]).run().success();
    let (_, help) = help.stdout.split_once("Examples:\n").expect("examples");
    let page = std::fs::read_to_string(source().join("docs/commands.md")).expect("page");
    let page = page.lines().filter(|l| l.starts_with("    "));
    let call = format!("oci-seccomp {command} ");
    let lines = help.lines().chain(page).map(str::trim);
    lines
        .filter(|line| line.contains(&call))
        .map(str::to_owned)
        .collect()
}
