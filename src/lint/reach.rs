//! Findings about ways around a rule: calls that do what another one may not.
#![forbid(unsafe_code)]

use super::{Finding, Id, Severity, Witness, native};
use crate::filter::Filter;
use crate::policy::{Action, ArchRules, Call, Clause, ENOSYS, Policy};
use crate::samples;
use crate::signatures::{self, Kind};
use crate::style::count;
use crate::syscalls::{Wiring, resolve};

/// Calls of which each can do what the others do.
const SAME: &[&[&str]] = &[
    &["open", "openat", "openat2"],
    &["clone", "clone3"],
    &["mkdir", "mkdirat"],
    &["mknod", "mknodat"],
    &["chmod", "fchmodat", "fchmodat2", "fchmod"],
    &["chown", "lchown", "fchownat", "fchown"],
    &["link", "linkat"],
    &["symlink", "symlinkat"],
    &["unlink", "unlinkat"],
    &["rename", "renameat", "renameat2"],
    &["setxattr", "lsetxattr", "fsetxattr", "setxattrat"],
    &[
        "removexattr",
        "lremovexattr",
        "fremovexattr",
        "removexattrat",
    ],
    &["execve", "execveat"],
    &[
        "kill",
        "tkill",
        "tgkill",
        "rt_sigqueueinfo",
        "rt_tgsigqueueinfo",
        "pidfd_send_signal",
    ],
    &["setuid", "setreuid", "setresuid"],
    &["setgid", "setregid", "setresgid"],
    &["init_module", "finit_module"],
    &["kexec_load", "kexec_file_load"],
    &["settimeofday", "clock_settime"],
    &["adjtimex", "clock_adjtime"],
    &["accept", "accept4"],
    &["write", "writev", "pwritev2"],
    &["read", "readv", "preadv2"],
    &["sendto", "sendmsg", "sendmmsg"],
    &["recvfrom", "recvmsg", "recvmmsg"],
    &["mprotect", "pkey_mprotect"],
    &["sched_setscheduler", "sched_setattr"],
    &["getdents", "getdents64"],
    &["iopl", "ioperm"],
];

/// A call, and those that do as much or more.
const MORE: &[(&str, &[&str])] = &[
    ("creat", &["open", "openat", "openat2"]),
    ("rmdir", &["unlinkat"]),
    ("fork", &["vfork", "clone", "clone3"]),
    ("vfork", &["fork", "clone", "clone3"]),
    ("unshare", &["clone", "clone3"]),
    ("mount", &["move_mount"]),
    ("ptrace", &["process_vm_readv", "process_vm_writev"]),
    ("setrlimit", &["prlimit64"]),
];

/// What io_uring_enter does in the name of its caller, past any filter
/// (linux/io_uring.h, IORING_OP_*).
const IO_URING: &[&str] = &[
    "openat",
    "openat2",
    "read",
    "write",
    "connect",
    "accept4",
    "socket",
    "bind",
    "listen",
    "sendto",
    "sendmsg",
    "recvfrom",
    "recvmsg",
    "shutdown",
    "unlinkat",
    "mkdirat",
    "renameat2",
    "symlinkat",
    "linkat",
    "statx",
    "setxattr",
    "fsetxattr",
    "getxattr",
    "fgetxattr",
    "fallocate",
    "ftruncate",
    "splice",
    "tee",
    "madvise",
    "fadvise64",
    "epoll_ctl",
    "waitid",
];

/// Calls that docker's documentation names as reasons for a filter.
const DANGEROUS: &[&str] = &[
    "bpf",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "mount",
    "umount2",
    "pivot_root",
    "setns",
    "unshare",
    "ptrace",
    "process_vm_writev",
    "perf_event_open",
    "open_by_handle_at",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "io_uring_setup",
    "reboot",
    "swapon",
];

pub(super) fn findings(filter: &Filter) -> Vec<Finding> {
    let Some(rules) = native(filter) else {
        return Vec::new();
    };
    let calls = Calls {
        filter,
        policy: &filter.translation.policy,
        rules,
    };
    let mut out: Vec<Finding> = calls.equivalents().into_iter().collect();
    out.extend(calls.io_uring());
    out.extend(calls.allow_by_default());
    out.extend(calls.notify());
    out
}

/// The native calls of a profile, by name.
struct Calls<'a> {
    filter: &'a Filter,
    policy: &'a Policy,
    rules: &'a ArchRules,
}

impl Calls<'_> {
    fn number(&self, name: &str) -> Option<u32> {
        match resolve(name, self.rules.arch) {
            Wiring::Direct(nr) => Some(nr),
            _ => None,
        }
    }

    fn clauses(&self, name: &str) -> &[Clause] {
        let nr = self.number(name);
        let clauses = nr.and_then(|nr| self.rules.calls.get(&nr));
        clauses.map_or(&[], Vec::as_slice)
    }

    fn outcomes(&self, name: &str) -> Vec<(Action, Call)> {
        let nr = self.number(name);
        nr.map(|nr| samples::outcomes(self.policy, self.rules, nr))
            .unwrap_or_default()
    }

    /// A call that is let through, whatever its arguments.
    fn open(&self, name: &str) -> Option<Call> {
        let outcomes = self.outcomes(name);
        let all = outcomes
            .iter()
            .all(|(a, _)| matches!(a, Action::Allow | Action::Log));
        outcomes.first().filter(|_| all).map(|o| o.1)
    }

    /// A call that is not let through, with what it gets; ENOSYS is no
    /// refusal but sends the program to another call.
    fn denied(&self, name: &str) -> Option<(Action, Call)> {
        let outcomes = self.outcomes(name);
        let denies = |a: Action| {
            a.permissiveness() <= Action::Errno(0).permissiveness() && a != Action::Errno(ENOSYS)
        };
        outcomes.into_iter().find(|o| denies(o.0))
    }

    /// The rule that restricts a call on purpose: one that denies it, or that
    /// allows it under conditions.
    fn restricted(&self, name: &str) -> Option<(usize, (Action, Call))> {
        let denied = self.denied(name)?;
        let clauses = self.clauses(name);
        let by_rule = clauses.iter().find(|c| c.action == denied.0);
        let checked = clauses.iter().find(|c| !c.conditions.is_empty());
        by_rule.or(checked).map(|c| (c.rule, denied))
    }

    fn witness(&self, call: Call) -> Witness {
        Witness::of(self.filter, self.rules.arch, call)
    }

    /// One finding for all: a list of what is denied has many of them.
    fn equivalents(&self) -> Option<Finding> {
        let mut found: Vec<String> = Vec::new();
        let mut first = None;
        let same = SAME
            .iter()
            .flat_map(|group| group.iter().map(move |name| (*name, *group)));
        for (name, others) in same.chain(MORE.iter().copied()) {
            let Some((rule, (_, denied))) = self.restricted(name) else {
                continue;
            };
            let others = others.iter().filter(|other| **other != name);
            let open: Vec<(&str, Call)> = others
                .filter_map(|other| Some((*other, self.open(other)?)))
                .collect();
            let Some((_, call)) = open.first() else {
                continue;
            };
            let names: Vec<&str> = open.iter().map(|o| o.0).collect();
            found.push(format!("{name} ({})", names.join(" ")));
            first.get_or_insert((rule, [self.witness(denied), self.witness(*call)]));
        }
        let (rule, witness) = first?;
        let message = "denied or checked, and the calls in brackets do the same and are not";
        // Their flags are in a structure, where no filter can look.
        let hidden = ["clone3", "openat2"];
        let hidden = hidden
            .iter()
            .any(|call| found.iter().any(|f| f.contains(call)));
        let remedy = match hidden {
            true => {
                "give the calls in brackets the same rule, and clone3 and openat2 ENOSYS: \
                     programs then make the older call"
            }
            false => "give the calls in brackets the same rule",
        };
        let finding = Finding::new(Id::EquivalentOpen, rule, &found, message, remedy);
        Some(finding.with(witness))
    }

    fn io_uring(&self) -> Option<Finding> {
        let setup = self.open("io_uring_setup")?;
        self.open("io_uring_enter")?;
        let has_open_twin = |name: &str| {
            let groups = SAME.iter().filter(|group| group.contains(&name));
            groups
                .flat_map(|g| g.iter())
                .any(|other| self.open(other).is_some())
        };
        let past = IO_URING.iter().filter(|name| {
            self.denied(name).is_some() && (self.restricted(name).is_some() || !has_open_twin(name))
        });
        let names: Vec<String> = past.map(|n| (*n).to_owned()).collect();
        let (_, denied) = self.denied(names.first()?)?;
        let message = "denied or checked, and io_uring does the same past the filter";
        let remedy = "deny io_uring_setup, io_uring_enter and io_uring_register";
        let rule = self.clauses("io_uring_setup").first().map(|c| c.rule);
        let finding = Finding::new(Id::IoUring, rule, &names, message, remedy);
        Some(finding.with([self.witness(denied), self.witness(setup)]))
    }

    fn allow_by_default(&self) -> Option<Finding> {
        if !matches!(self.policy.default, Action::Allow | Action::Log) {
            return None;
        }
        let open = DANGEROUS.iter().filter(|name| self.open(name).is_some());
        let open: Vec<String> = open.map(|n| (*n).to_owned()).collect();
        let call = self.open(open.first()?)?;
        let named = self.rules.calls.len();
        let message = format!(
            "let through by default, as is all but what rules name: {}",
            count(named, "native call")
        );
        let remedy = "deny by default and list what the workload calls, as docker's profile does";
        let mut finding = Finding::new(Id::AllowByDefault, None, &open, message, remedy);
        if self.policy.default == Action::Log {
            // A profile to learn from, most likely.
            finding.severity = Severity::Note;
        }
        Some(finding.with([self.witness(call)]))
    }

    /// NOTIFY for calls that the agent can only judge by reading memory.
    fn notify(&self) -> Vec<Finding> {
        let rules = self.filter.translation.rules.iter().enumerate();
        let asks = rules.filter(|(_, c)| c.iter().any(|c| c.action == Action::Notify));
        let sections = self
            .filter
            .profile
            .section
            .syscalls()
            .as_deref()
            .unwrap_or_default();
        let finding = |(rule, _): (usize, &Vec<Clause>)| {
            let reads = |name: &&String| {
                signatures::of(name).is_some_and(|kinds| kinds.contains(&Kind::Pointer))
            };
            let names = sections.get(rule)?.names().iter().filter(reads);
            let names: Vec<String> = names.cloned().collect();
            let nr = self.number(names.first()?)?;
            let outcomes = samples::outcomes(self.policy, self.rules, nr);
            let (_, call) = outcomes.into_iter().find(|o| o.0 == Action::Notify)?;
            let message = "the agent reads the arguments from memory, where another thread can \
                           change them before it says continue";
            let remedy = "let the agent make the call itself, on a copy of the arguments; \
                          SECCOMP_USER_NOTIF_FLAG_CONTINUE is for what needs no protection";
            let finding = Finding::new(Id::NotifyRace, rule, &names, message, remedy);
            Some(finding.with([self.witness(call)]))
        };
        asks.filter_map(finding).collect()
    }
}
