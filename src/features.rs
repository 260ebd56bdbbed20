//! What this kernel, this libseccomp and this process can do.
//!
//! Nothing is taken from version numbers: every answer is the kernel's own,
//! to a probe that changes nothing. Where it does not answer (a filter on
//! this process, a hidden /proc), the value is `None`, which is not a no.
#![forbid(unsafe_code)]

use std::path::Path;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use serde::{Serialize, Serializer};

use crate::input;
use crate::policy::{Action, Arch};
use crate::sys::seccomp::{self, Mode};

/// Version of the JSON form of [`Features`]; it grows when a field goes or
/// changes its meaning.
pub const SCHEMA: u32 = 1;

/// The answers to all probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// [`SCHEMA`].
    pub schema: u32,
    /// uname(2): the release.
    pub kernel: Option<String>,
    /// [`seccomp::is_enabled`].
    pub seccomp: bool,
    /// Whether programs can be loaded (`CONFIG_SECCOMP_FILTER`).
    pub filter_mode: Option<bool>,
    /// The filter return actions, by the kernel's names.
    pub actions: Answers,
    /// The flags of `SECCOMP_SET_MODE_FILTER`.
    pub flags: Answers,
    /// `/proc/sys/kernel/seccomp/actions_avail`
    pub actions_avail: Option<Vec<String>>,
    /// `/proc/sys/kernel/seccomp/actions_logged`
    pub actions_logged: Option<Vec<String>>,
    /// The library in this binary.
    pub libseccomp: Libseccomp,
    /// The native architecture, short name.
    pub native: &'static str,
    /// All architectures that a profile can name, short names.
    pub architectures: Vec<&'static str>,
    /// What keeps one process from tracing another.
    pub ptrace: Ptrace,
    /// This process.
    pub process: Process,
}

/// Names with the kernel's answer to each, in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers(pub Vec<(&'static str, Option<bool>)>);

impl Serialize for Answers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// libseccomp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Libseccomp {
    /// `MAJOR.MINOR.MICRO`
    pub version: Option<String>,
    /// seccomp_api_get(3): what it found this kernel to support, 0 to 7.
    pub api: u32,
}

/// Restrictions on ptrace(2), which the hook arms with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ptrace {
    /// Yama's `ptrace_scope`, 0 to 3; `None` without Yama.
    pub yama_scope: Option<u8>,
    /// AppArmor is on; a profile may deny ptrace.
    pub apparmor: bool,
    /// SELinux is on.
    pub selinux: bool,
    /// SELinux's boolean `deny_ptrace`; `None` where there is none.
    pub selinux_deny_ptrace: Option<bool>,
    /// The security modules of this kernel, where securityfs is mounted.
    pub modules: Option<Vec<String>>,
    /// This process's label: its AppArmor profile or SELinux context.
    pub label: Option<String>,
}

/// This process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// CAP_SYS_ADMIN is effective: filters load without `no_new_privs`.
    pub cap_sys_admin: Option<bool>,
    /// CAP_SYS_PTRACE is effective.
    pub cap_sys_ptrace: Option<bool>,
    /// `no_new_privs` is set.
    pub no_new_privs: Option<bool>,
    /// A filter is on it already.
    pub filtered: Option<bool>,
    /// It is not in the initial user namespace.
    pub user_namespace: Option<bool>,
}

impl Features {
    /// Asks for everything.
    #[must_use]
    pub fn probe() -> Self {
        Self {
            schema: SCHEMA,
            kernel: kernel(),
            seccomp: seccomp::is_enabled(),
            filter_mode: seccomp::filter_mode_available().ok(),
            actions: actions(),
            flags: flags(),
            actions_avail: words("/proc/sys/kernel/seccomp/actions_avail"),
            actions_logged: words("/proc/sys/kernel/seccomp/actions_logged"),
            libseccomp: Libseccomp {
                version: libseccomp::ScmpVersion::current()
                    .ok()
                    .map(|v| v.to_string()),
                api: libseccomp::get_api(),
            },
            native: Arch::native().name(),
            architectures: Arch::ALL.iter().map(|arch| arch.name()).collect(),
            ptrace: Ptrace::probe(),
            process: Process::probe(),
        }
    }

    /// Whether a filter can be loaded at all.
    #[must_use]
    pub fn can_filter(&self) -> bool {
        self.seccomp && self.filter_mode != Some(false)
    }
}

impl Ptrace {
    /// Asks for these alone.
    #[must_use]
    pub fn probe() -> Self {
        let selinux = Path::new("/sys/fs/selinux/enforce").exists();
        Self {
            yama_scope: read("/proc/sys/kernel/yama/ptrace_scope")
                .and_then(|scope| scope.trim().parse().ok()),
            apparmor: read("/sys/module/apparmor/parameters/enabled")
                .is_some_and(|enabled| enabled.starts_with('Y')),
            selinux,
            // "1 1": in force, and pending.
            selinux_deny_ptrace: read("/sys/fs/selinux/booleans/deny_ptrace")
                .map(|value| value.starts_with('1')),
            modules: read("/sys/kernel/security/lsm")
                .map(|list| list.trim().split(',').map(String::from).collect()),
            label: read("/proc/self/attr/current")
                .map(|label| label.trim_end_matches(['\0', '\n']).to_owned())
                .filter(|label| !label.is_empty()),
        }
    }

    /// What stands in the way of every tracer, CAP_SYS_PTRACE or not, and what
    /// to do about it.
    #[must_use]
    pub fn obstacle(&self) -> Option<&'static str> {
        if self.yama_scope >= Some(3) {
            return Some(
                "kernel.yama.ptrace_scope is 3: no process may trace another until the next boot",
            );
        }
        (self.selinux_deny_ptrace == Some(true)).then_some(
            "SELinux's boolean deny_ptrace is on: no process may trace another \
             (setsebool deny_ptrace off)",
        )
    }
}

impl Process {
    /// Asks for these alone.
    #[must_use]
    pub fn probe() -> Self {
        let effective = |capability| caps::has_cap(None, CapSet::Effective, capability).ok();
        Self {
            cap_sys_admin: effective(Capability::CAP_SYS_ADMIN),
            cap_sys_ptrace: effective(Capability::CAP_SYS_PTRACE),
            no_new_privs: seccomp::no_new_privs().ok(),
            filtered: seccomp::mode().ok().map(|mode| mode == Mode::Filter),
            user_namespace: words("/proc/self/uid_map").map(|map| map != ["0", "0", "4294967295"]),
        }
    }
}

fn kernel() -> Option<String> {
    let uname = nix::sys::utsname::uname().ok()?;
    Some(uname.release().to_string_lossy().into_owned())
}

/// A kernel without seccomp(2) has none of what is asked for by it.
fn answer(result: Result<bool, Errno>) -> Option<bool> {
    match result {
        Ok(yes) => Some(yes),
        Err(Errno::ENOSYS) => Some(false),
        Err(_) => None,
    }
}

fn actions() -> Answers {
    let actions = [
        ("KILL_PROCESS", Action::KillProcess),
        ("KILL_THREAD", Action::KillThread),
        ("TRAP", Action::Trap),
        ("ERRNO", Action::Errno(0)),
        ("USER_NOTIF", Action::Notify),
        ("TRACE", Action::Trace(0)),
        ("LOG", Action::Log),
        ("ALLOW", Action::Allow),
    ];
    let ask =
        |(name, action): (_, Action)| (name, answer(seccomp::action_available(action.to_ret())));
    Answers(actions.map(ask).to_vec())
}

fn flags() -> Answers {
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let flags = [
        ("TSYNC", libc::SECCOMP_FILTER_FLAG_TSYNC),
        ("LOG", libc::SECCOMP_FILTER_FLAG_LOG),
        ("SPEC_ALLOW", libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        ("NEW_LISTENER", listener),
        ("TSYNC_ESRCH", libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH),
        (
            "WAIT_KILLABLE_RECV",
            libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | listener,
        ),
    ];
    let ask = |(name, bits)| (name, answer(seccomp::flag_available(bits)));
    Answers(flags.map(ask).to_vec())
}

/// A small file of the kernel's, if it can be read.
fn read(path: &str) -> Option<String> {
    input::read_regular(Path::new(path), 64 << 10).ok()
}

fn words(path: &str) -> Option<Vec<String>> {
    let text = read(path)?;
    Some(text.split_ascii_whitespace().map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probes_agree_with_the_kernels_own_list() {
        let features = Features::probe();
        assert!(features.can_filter());
        let avail = features.actions_avail.unwrap();
        for (name, available) in features.actions.0 {
            let listed = avail.contains(&name.to_lowercase());
            assert_eq!(available, Some(listed), "{name}");
        }
        assert_eq!(features.process.filtered, Some(false));
    }

    #[test]
    fn what_stops_every_tracer_is_an_obstacle() {
        let obstacle = |yama_scope, selinux_deny_ptrace| {
            let ptrace = Ptrace {
                yama_scope,
                apparmor: true,
                selinux: true,
                selinux_deny_ptrace,
                modules: None,
                label: None,
            };
            ptrace.obstacle().unwrap_or_default()
        };
        for scope in [None, Some(0), Some(1), Some(2)] {
            assert_eq!(obstacle(scope, Some(false)), "");
        }
        assert!(obstacle(Some(3), None).contains("ptrace_scope is 3"));
        assert!(obstacle(Some(1), Some(true)).contains("deny_ptrace"));
    }

    #[test]
    fn answers_are_an_object_in_their_own_order() {
        let answers = Answers(vec![("B", Some(true)), ("A", None)]);
        let json = serde_json::to_string(&answers).unwrap();
        assert_eq!(json, r#"{"B":true,"A":null}"#);
    }

    #[test]
    fn a_missing_system_call_is_a_no_and_a_refused_one_is_no_answer() {
        assert_eq!(answer(Err(Errno::ENOSYS)), Some(false));
        assert_eq!(answer(Err(Errno::EPERM)), None);
    }
}
