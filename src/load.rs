//! Loads a profile onto the calling process.
#![forbid(unsafe_code)]

use crate::filter::{self, Filter, Options};
use crate::profile::Profile;
use crate::sys::seccomp;
use crate::translate::Finding;
use nix::errno::Errno;
use oci_spec::runtime::LinuxSeccomp;
use std::io;

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no section.
    #[error("there is no seccomp section to apply")]
    Missing,
    /// The section is no valid profile; [`filter::Error::Invalid`] names the
    /// rule and the [`crate::translate::Fault`].
    #[error(transparent)]
    Filter(#[from] filter::Error),
    /// Whoever is under the filter cannot hand its listener over: those calls
    /// are filtered. The hook does it from another process.
    #[error("SCMP_ACT_NOTIFY needs another process to hand the listener over")]
    Notify,
    /// The kernel refused the filter.
    #[error("the kernel refused the filter: {}", hint(.0))]
    Load(#[source] io::Error),
}

/// Whether the kernel has seccomp at all, by what /proc and prctl(2) say. Where
/// it has not, nothing can be loaded.
#[must_use]
pub fn is_enabled() -> bool {
    seccomp::is_enabled()
}

/// Sets `no_new_privs` on the calling thread, for good: neither it nor what it
/// forks or executes can gain privileges by execve(2) any more (prctl(2)).
/// Without it the kernel takes filters only from CAP_SYS_ADMIN.
///
/// # Errors
/// That of prctl(2).
pub fn set_no_new_privs() -> io::Result<()> {
    Ok(seccomp::set_no_new_privs()?)
}

/// Loads a filter onto the calling thread, from where threads and processes
/// that it starts inherit it; where the profile's flags have TSYNC, onto all
/// threads of the process. It cannot be taken off again, and is in force when
/// this returns: the profile has to allow what the thread goes on to call.
/// `no_new_privs` is left as it is ([`set_no_new_privs`]).
///
/// # Errors
/// [`Error::Notify`] and [`Error::Load`]; nothing is loaded then.
///
/// ```no_run
/// use oci_seccomp::filter::{Filter, Options};
/// use oci_seccomp::{load, profile::Target};
///
/// let path = "/etc/containers/app.json";
/// let text = std::fs::read_to_string(path)?;
/// let filter = Filter::parse(path, &text, &Target::current()?, Options::default())?;
/// load::set_no_new_privs()?;
/// load::load(&filter)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn load(filter: &Filter) -> Result<(), Error> {
    let policy = filter.policy();
    if policy.listener.is_some() {
        return Err(Error::Notify);
    }
    match seccomp::set_filter(filter.program(), policy.flags, false) {
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::Load(errno.into())),
    }
}

/// Makes the filter of a section, as any runtime takes it, and [`load`]s it.
///
/// What was found beside the way comes back: a call that nobody knows is
/// skipped, and is such a finding.
///
/// # Errors
/// [`Error`]; nothing is loaded then.
///
/// ```no_run
/// let section: oci_spec::runtime::LinuxSeccomp = serde_json::from_str(
///     r#"{"defaultAction": "SCMP_ACT_ALLOW",
///         "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#,
/// )?;
/// oci_seccomp::load::set_no_new_privs()?;
/// oci_seccomp::load::apply(&section)?;
/// assert!(std::fs::create_dir("/tmp/denied").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn apply<'a>(section: impl Into<Option<&'a LinuxSeccomp>>) -> Result<Vec<Finding>, Error> {
    let section = section.into().ok_or(Error::Missing)?;
    let filter = Filter::new(Profile::from_section(section.clone()), Options::default())?;
    load(&filter)?;
    Ok(filter.translation.findings)
}

/// What an errno of `SECCOMP_SET_MODE_FILTER` most often means.
fn hint(refused: &io::Error) -> &'static str {
    match Errno::from_raw(refused.raw_os_error().unwrap_or_default()) {
        Errno::EACCES => "set no_new_privs first, or run with CAP_SYS_ADMIN",
        Errno::EINVAL => "it does not know a flag or an action of the profile",
        Errno::ESRCH => "TSYNC, and another thread has filters of its own",
        Errno::ENOSYS => "it has no seccomp(2)",
        Errno::ENOMEM => "too many filters on this process",
        _ => "see seccomp(2)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(json: &str) -> LinuxSeccomp {
        serde_json::from_str(json).unwrap()
    }

    /// On a thread of its own, which takes the filter with it.
    fn on_a_thread<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(test).join().unwrap()
    }

    #[test]
    fn what_cannot_be_loaded_is_refused_before_the_kernel_sees_it() {
        assert!(matches!(apply(None), Err(Error::Missing)));
        let asks = section(
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#,
        );
        assert!(matches!(apply(&asks), Err(Error::Notify)));
        let wrong = section(r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}"#);
        let error = apply(&wrong).unwrap_err();
        assert!(matches!(
            error,
            Error::Filter(filter::Error::Invalid { .. })
        ));
    }

    #[test]
    fn a_loaded_section_binds_the_thread_and_tells_what_was_skipped() {
        if !is_enabled() {
            eprintln!("skipped: this kernel has no seccomp");
            return;
        }
        let (findings, denied) = on_a_thread(|| {
            let section = section(
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    {"names": ["mkdir", "mkdirat", "frobnicate"], "action": "SCMP_ACT_ERRNO",
                     "errnoRet": 77}]}"#,
            );
            set_no_new_privs().unwrap();
            let findings = apply(&section).unwrap();
            (
                findings,
                std::fs::create_dir("/nowhere/at/all").unwrap_err(),
            )
        });
        assert_eq!(findings.len(), 1);
        assert_eq!(denied.raw_os_error(), Some(77));
    }
}
