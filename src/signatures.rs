//! Which arguments of a call are pointers, and how many bits of the others the
//! kernel looks at.
//!
//! A filter compares whole registers, the kernel then takes what it declared:
//! of an `int` the low 32 bits. So a comparison of all 64 can be evaded by
//! bits that nobody else sees (CVE-2019-7303, CVE-2019-10063).
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::LazyLock;

/// What the kernel makes of an argument on a 64-bit architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pointer: its value says nothing of what it points at, which can
    /// change after the filter has looked.
    Pointer,
    /// `long`, `size_t`, `loff_t`: all 64 bits.
    Long,
    /// `int`, `unsigned int`, ids: the low 32 bits, the others are dropped.
    Int,
    /// `umode_t`: the low 16 bits, the others are dropped.
    Mode,
}

impl Kind {
    /// The bits of the register that the kernel looks at.
    #[must_use]
    pub const fn mask(self) -> u64 {
        match self {
            Self::Pointer | Self::Long => u64::MAX,
            Self::Int => 0xffff_ffff,
            Self::Mode => 0xffff,
        }
    }
}

/// What the kernel makes of each argument of a call; `None` for a call that
/// is not in the table, an empty slice for one without arguments.
///
/// ```
/// use oci_seccomp::signatures::{Kind, of};
/// assert_eq!(of("mkdir"), Some(&[Kind::Pointer, Kind::Mode][..]));
/// assert_eq!(of("frobnicate"), None);
/// ```
#[must_use]
pub fn of(call: &str) -> Option<&'static [Kind]> {
    SIGNATURES.get(call).map(Vec::as_slice)
}

static SIGNATURES: LazyLock<HashMap<&str, Vec<Kind>>> = LazyLock::new(|| {
    let mut out = HashMap::new();
    for (kinds, calls) in TABLE {
        let kinds: Vec<Kind> = kinds.bytes().map(kind).collect();
        out.extend(calls.split(' ').map(|call| (call, kinds.clone())));
    }
    out
});

const fn kind(letter: u8) -> Kind {
    match letter {
        b'p' => Kind::Pointer,
        b'l' => Kind::Long,
        b'h' => Kind::Mode,
        _ => Kind::Int,
    }
}

/// Letters, one for each argument, and the calls that have just these: the
/// SYSCALL_DEFINEs of Linux 6.18 on x86_64, as its tracing events
/// (events/syscalls/*/format) name them. The same declarations serve every
/// architecture with 64 bits, but for s390's clone. Two longs are ints here,
/// since the kernel drops their upper bits all the same: the flags of clone
/// (`lower_32_bits`) and the pid of ptrace (`find_get_task_by_vpid`). Of calls
/// that only 32-bit architectures have, those that profiles put conditions on.
const TABLE: &[(&str, &str)] = &[
    (
        "",
        "fork getegid geteuid getgid getpgrp getpid getppid gettid getuid inotify_init \
         munlockall pause restart_syscall rt_sigreturn sched_yield setsid sync uprobe \
         uretprobe vfork vhangup",
    ),
    (
        "i",
        "alarm close dup epoll_create epoll_create1 eventfd exit exit_group fchdir \
         fdatasync fsync getpgid getsid inotify_init1 iopl memfd_secret mlockall \
         personality pkey_free sched_get_priority_max sched_get_priority_min \
         sched_getscheduler setfsgid setfsuid setgid setuid syncfs timer_delete \
         timer_getoverrun umask userfaultfd",
    ),
    ("l", "brk io_destroy unshare"),
    (
        "p",
        "acct adjtimex chdir chroot mq_unlink pipe rmdir set_tid_address shmdt swapoff \
         sysinfo time times uname unlink",
    ),
    ("ih", "fchmod"),
    (
        "ii",
        "dup2 eventfd2 fanotify_init flock getpriority inotify_rm_watch ioprio_get kill \
         landlock_restrict_self listen msgget pidfd_open process_mrelease setns setpgid \
         setregid setreuid shutdown timerfd_create tkill",
    ),
    ("il", "arch_prctl ftruncate"),
    (
        "ip",
        "socketcall clock_adjtime clock_getres clock_gettime clock_settime fremovexattr fstat \
         fstatfs getgroups getitimer getrlimit getrusage io_setup io_uring_setup \
         mq_notify sched_getparam sched_rr_get_interval sched_setparam setgroups \
         setrlimit timer_gettime timerfd_gettime ustat",
    ),
    ("ll", "mlock munlock munmap pkey_alloc"),
    ("ph", "chmod creat mkdir"),
    (
        "pi",
        "access fsopen memfd_create pipe2 setdomainname sethostname swapon umount2",
    ),
    (
        "pl",
        "clone3 getcwd rt_sigpending rt_sigsuspend set_robust_list truncate",
    ),
    (
        "pp",
        "capget capset gettimeofday link lremovexattr lstat nanosleep pivot_root \
         removexattr rename settimeofday sigaltstack stat statfs symlink utime utimes",
    ),
    (
        "iii",
        "close_range dup3 fchown fsmount ioprio_set membarrier pidfd_getfd semget \
         setpriority setresgid setresuid socket tgkill",
    ),
    ("iil", "fcntl ioctl"),
    (
        "iip",
        "msgctl rt_sigqueueinfo sched_getaffinity sched_setaffinity sched_setscheduler \
         seccomp shmctl",
    ),
    ("ili", "lseek shmget"),
    ("ill", "readahead sysfs"),
    ("iph", "fchmodat mkdirat"),
    (
        "ipi",
        "bind bpf connect faccessat fspick getdents getdents64 inotify_add_watch \
         open_by_handle_at open_tree recvmsg sched_setattr semop sendmsg shmat syslog \
         unlinkat",
    ),
    (
        "ipl",
        "flistxattr modify_ldt read set_mempolicy signalfd write",
    ),
    (
        "ipp",
        "accept futimesat get_robust_list getpeername getsockname mq_getsetattr \
         setitimer timer_create",
    ),
    ("lli", "ioperm madvise mlock2 msync"),
    ("lll", "mprotect mseal"),
    ("llp", "io_submit mincore"),
    ("lpl", "readv writev"),
    ("lpp", "io_cancel"),
    ("phi", "mknod"),
    ("pih", "open"),
    ("pii", "chown lchown poll"),
    ("pip", "symlinkat"),
    ("pli", "getrandom landlock_create_ruleset"),
    ("ppi", "lsm_list_modules readlink"),
    ("ppl", "listxattr llistxattr"),
    ("ppp", "execve getcpu getresgid getresuid"),
    ("iiil", "semctl"),
    (
        "iiip",
        "epoll_ctl quotactl_fd reboot rt_tgsigqueueinfo socketpair",
    ),
    ("iili", "tee"),
    ("iill", "fallocate"),
    (
        "iipi",
        "io_uring_register landlock_add_rule pidfd_send_signal",
    ),
    ("iipl", "sendfile"),
    (
        "iipp",
        "clock_nanosleep prlimit64 timer_settime timerfd_settime",
    ),
    ("illi", "fadvise64 sync_file_range"),
    ("ilpp", "migrate_pages"),
    ("iphi", "fchmodat2 mknodat"),
    ("ipih", "openat"),
    (
        "ipii",
        "epoll_wait faccessat2 lsm_set_self_attr sched_getattr sendmmsg",
    ),
    ("ipip", "quotactl removexattrat renameat semtimedop wait4"),
    ("ipli", "msgsnd signalfd4 vmsplice"),
    ("ipll", "pread64 pwrite64"),
    (
        "ippi",
        "accept4 cachestat lsm_get_self_attr newfstatat readlinkat utimensat",
    ),
    ("ippl", "fgetxattr openat2 rt_sigaction rt_sigprocmask"),
    ("llli", "pkey_mprotect"),
    ("lill", "ptrace"),
    ("llll", "set_mempolicy_home_node"),
    ("pihp", "mq_open"),
    ("piii", "futex_requeue rseq"),
    ("plii", "futex_wake"),
    ("ppli", "listmount statmount"),
    ("pppi", "request_key"),
    ("pppl", "getxattr lgetxattr rt_sigtimedwait"),
    ("iiill", "kcmp"),
    ("iiipi", "setsockopt"),
    ("iiipp", "getsockopt"),
    ("iilip", "fanotify_mark"),
    ("iipip", "waitid"),
    ("iippi", "fsconfig"),
    ("illll", "keyctl prctl"),
    ("ipiii", "fchownat"),
    ("ipiip", "recvmmsg statx"),
    ("ipipi", "linkat move_mount renameat2"),
    ("ipipl", "listxattrat mount_setattr open_tree_attr"),
    ("iplii", "process_madvise"),
    ("iplip", "mq_timedsend"),
    ("iplli", "msgrcv"),
    ("iplpp", "mq_timedreceive"),
    ("ippli", "file_getattr file_setattr fsetxattr"),
    ("ipppi", "execveat name_to_handle_at"),
    ("ipppp", "select"),
    ("lllll", "mremap remap_file_pages"),
    ("ilppl", "clone"),
    ("lllpp", "io_getevents"),
    ("lplll", "preadv pwritev"),
    ("piiil", "perf_event_open"),
    ("piipi", "futex_waitv"),
    ("pippl", "ppoll"),
    ("pplll", "get_mempolicy"),
    ("pppli", "add_key lsetxattr setxattr"),
    ("ppplp", "mount"),
    ("iiiipl", "io_uring_enter"),
    ("ilpppi", "move_pages"),
    ("ipiipl", "epoll_pwait"),
    ("ipipli", "copy_file_range splice"),
    ("ipippl", "epoll_pwait2 getxattrat setxattrat"),
    ("iplipi", "sendto"),
    ("iplipp", "recvfrom"),
    ("iplpll", "process_vm_readv process_vm_writev"),
    ("ippppp", "pselect6"),
    ("llllll", "mmap"),
    ("lllpli", "mbind"),
    ("lllppp", "io_pgetevents"),
    ("lpllli", "preadv2 pwritev2"),
    ("piippi", "futex"),
    ("pllipi", "futex_wait"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Arch;
    use crate::syscalls::{Wiring, resolve};

    #[test]
    fn every_call_stands_once_and_is_one() {
        let names: Vec<&str> = TABLE.iter().flat_map(|t| t.1.split(' ')).collect();
        assert_eq!(names.len(), SIGNATURES.len());
        // Younger than the tables of this build.
        let young = |name: &str| ["uprobe", "file_getattr", "file_setattr"].contains(&name);
        for name in names.into_iter().filter(|n| !young(n)) {
            assert!(
                [Arch::X86_64, Arch::X86]
                    .iter()
                    .any(|&arch| matches!(resolve(name, arch), Wiring::Direct(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn letters_are_known_and_at_most_six() {
        for (kinds, calls) in TABLE {
            assert!(
                kinds.len() <= 6 && kinds.bytes().all(|k| b"plih".contains(&k)),
                "{calls}"
            );
        }
        assert_eq!(of("socket"), Some(&[Kind::Int; 3][..]));
        assert_eq!(of("clone").map(|k| k[0]), Some(Kind::Int));
        assert_eq!(of("unshare").map(|k| k[0]), Some(Kind::Long));
        assert_eq!(of("getpid"), Some(&[][..]));
    }
}
