//! The sets of names, and which argument of which call takes which.
#![forbid(unsafe_code)]

/// Names of an argument's values.
#[derive(Debug)]
pub(super) struct Set {
    /// The bits that hold one of `values`, with the C name of their mask;
    /// all bits where the argument is no set of flags.
    pub(super) field: Option<(&'static str, u64)>,
    /// What can be in the field; without one, what no flag at all is called.
    pub(super) values: &'static [(&'static str, u64)],
    /// Flags beside it.
    pub(super) bits: &'static [(&'static str, u64)],
    /// Whether what has no name is written in octal, as modes are.
    pub(super) octal: bool,
}

/// libc's constants with their names. Each fits 32 bits, and libc has some as
/// negative numbers.
macro_rules! names {
    ($($name:ident)*) => {
        &[$((stringify!($name), libc::$name as u32 as u64)),*]
    };
}

const NONE: &[(&str, u64)] = &[];
const ALL: Option<(&str, u64)> = Some(("", u64::MAX));

const fn values(values: &'static [(&'static str, u64)]) -> Set {
    Set {
        field: ALL,
        values,
        bits: NONE,
        octal: false,
    }
}

const fn bits(bits: &'static [(&'static str, u64)]) -> Set {
    Set {
        field: None,
        values: NONE,
        bits,
        octal: false,
    }
}

static OPEN: Set = Set {
    field: Some(("O_ACCMODE", libc::O_ACCMODE as u64)),
    values: names!(O_RDONLY O_WRONLY O_RDWR),
    bits: names!(O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_DSYNC O_SYNC O_ASYNC
        O_DIRECT O_DIRECTORY O_NOFOLLOW O_NOATIME O_CLOEXEC O_PATH O_TMPFILE),
    octal: false,
};
static MODE: Set = Set {
    field: None,
    values: NONE,
    bits: names!(S_ISUID S_ISGID S_ISVTX),
    octal: true,
};
static NODE: Set = Set {
    field: Some(("S_IFMT", libc::S_IFMT as u64)),
    values: names!(S_IFREG S_IFCHR S_IFBLK S_IFIFO S_IFSOCK),
    bits: names!(S_ISUID S_ISGID S_ISVTX),
    octal: true,
};
static CLONE: Set = Set {
    field: Some(("CSIGNAL", 0xff)),
    values: names!(SIGCHLD),
    bits: CLONE_FLAGS,
    octal: false,
};
static NAMESPACES: Set = bits(CLONE_FLAGS);
const CLONE_FLAGS: &[(&str, u64)] = names!(CLONE_VM CLONE_FS CLONE_FILES CLONE_SIGHAND CLONE_PIDFD
    CLONE_PTRACE CLONE_VFORK CLONE_PARENT CLONE_THREAD CLONE_NEWNS CLONE_SYSVSEM CLONE_SETTLS
    CLONE_PARENT_SETTID CLONE_CHILD_CLEARTID CLONE_DETACHED CLONE_UNTRACED CLONE_CHILD_SETTID
    CLONE_NEWCGROUP CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET CLONE_IO);
static PERSONALITY: Set = Set {
    field: Some(("PER_MASK", 0xff)),
    // linux/personality.h; libc has none of these.
    values: &[("PER_LINUX", 0), ("PER_LINUX32", 8)],
    bits: names!(UNAME26 ADDR_NO_RANDOMIZE FDPIC_FUNCPTRS MMAP_PAGE_ZERO ADDR_COMPAT_LAYOUT
        READ_IMPLIES_EXEC ADDR_LIMIT_32BIT SHORT_INODE WHOLE_SECONDS STICKY_TIMEOUTS
        ADDR_LIMIT_3GB),
    octal: false,
};
static FAMILY: Set = values(
    names!(AF_UNSPEC AF_UNIX AF_INET AF_AX25 AF_IPX AF_APPLETALK AF_NETROM
    AF_BRIDGE AF_ATMPVC AF_X25 AF_INET6 AF_ROSE AF_DECnet AF_NETBEUI AF_SECURITY AF_KEY AF_NETLINK
    AF_PACKET AF_ASH AF_ECONET AF_ATMSVC AF_RDS AF_SNA AF_IRDA AF_PPPOX AF_WANPIPE AF_LLC AF_IB
    AF_MPLS AF_CAN AF_TIPC AF_BLUETOOTH AF_IUCV AF_RXRPC AF_ISDN AF_PHONET AF_IEEE802154 AF_CAIF
    AF_ALG AF_NFC AF_VSOCK AF_XDP),
);
static SOCKET_TYPE: Set = Set {
    field: Some(("SOCK_TYPE_MASK", 0xf)),
    values: names!(SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET SOCK_DCCP),
    bits: names!(SOCK_NONBLOCK SOCK_CLOEXEC),
    octal: false,
};
static ACCEPT: Set = bits(names!(SOCK_NONBLOCK SOCK_CLOEXEC));
static LEVEL: Set = values(
    names!(SOL_SOCKET SOL_IP SOL_TCP SOL_UDP SOL_IPV6 SOL_RAW SOL_PACKET
    SOL_NETLINK SOL_ALG),
);
static SHUTDOWN: Set = values(names!(SHUT_RD SHUT_WR SHUT_RDWR));
static PROTECTION: Set = Set {
    field: None,
    values: names!(PROT_NONE),
    bits: names!(PROT_READ PROT_WRITE PROT_EXEC PROT_GROWSDOWN PROT_GROWSUP),
    octal: false,
};
static MAP: Set = Set {
    field: Some(("MAP_TYPE", libc::MAP_TYPE as u64)),
    values: names!(MAP_SHARED MAP_PRIVATE MAP_SHARED_VALIDATE),
    bits: names!(MAP_FIXED MAP_ANONYMOUS MAP_GROWSDOWN MAP_DENYWRITE MAP_EXECUTABLE MAP_LOCKED
        MAP_NORESERVE MAP_POPULATE MAP_NONBLOCK MAP_STACK MAP_HUGETLB MAP_SYNC
        MAP_FIXED_NOREPLACE),
    octal: false,
};
static ADVICE: Set = values(names!(MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED
    MADV_DONTNEED MADV_FREE MADV_REMOVE MADV_DONTFORK MADV_DOFORK MADV_MERGEABLE MADV_UNMERGEABLE
    MADV_HUGEPAGE MADV_NOHUGEPAGE MADV_DONTDUMP MADV_DODUMP MADV_HWPOISON));
static WHENCE: Set = values(names!(SEEK_SET SEEK_CUR SEEK_END SEEK_DATA SEEK_HOLE));
static REQUEST: Set = values(
    names!(TCGETS TCSETS TCSETSW TCSETSF TCSBRK TCXONC TCFLSH TIOCEXCL
    TIOCNXCL TIOCSCTTY TIOCGPGRP TIOCSPGRP TIOCOUTQ TIOCSTI TIOCGWINSZ TIOCSWINSZ TIOCMGET
    TIOCMBIS TIOCMBIC TIOCMSET FIONREAD TIOCLINUX TIOCCONS TIOCPKT FIONBIO TIOCNOTTY TIOCSBRK
    TIOCCBRK TIOCGSID TIOCGPTN TIOCSPTLCK FIONCLEX FIOCLEX FIOASYNC FICLONE FICLONERANGE
    FS_IOC_GETFLAGS FS_IOC_SETFLAGS),
);
static PRCTL: Set = values(names!(PR_SET_PDEATHSIG PR_GET_PDEATHSIG PR_GET_DUMPABLE
    PR_SET_DUMPABLE PR_GET_KEEPCAPS PR_SET_KEEPCAPS PR_SET_NAME PR_GET_NAME PR_GET_SECCOMP
    PR_SET_SECCOMP PR_CAPBSET_READ PR_CAPBSET_DROP PR_GET_SECUREBITS PR_SET_SECUREBITS
    PR_SET_TIMERSLACK PR_GET_TIMERSLACK PR_SET_MM PR_SET_PTRACER PR_SET_CHILD_SUBREAPER
    PR_GET_CHILD_SUBREAPER PR_SET_NO_NEW_PRIVS PR_GET_NO_NEW_PRIVS PR_SET_THP_DISABLE
    PR_GET_THP_DISABLE PR_CAP_AMBIENT));
static PTRACE: Set = values(
    names!(PTRACE_TRACEME PTRACE_PEEKTEXT PTRACE_PEEKDATA PTRACE_PEEKUSER
    PTRACE_POKETEXT PTRACE_POKEDATA PTRACE_POKEUSER PTRACE_CONT PTRACE_KILL PTRACE_SINGLESTEP
    PTRACE_ATTACH PTRACE_DETACH PTRACE_SYSCALL PTRACE_SETOPTIONS PTRACE_GETEVENTMSG
    PTRACE_GETSIGINFO PTRACE_SETSIGINFO PTRACE_GETREGSET PTRACE_SETREGSET PTRACE_SEIZE
    PTRACE_INTERRUPT PTRACE_LISTEN PTRACE_PEEKSIGINFO),
);
static FCNTL: Set = values(
    names!(F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW
    F_SETOWN F_GETOWN F_DUPFD_CLOEXEC F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS F_GET_SEALS
    F_SETLEASE F_GETLEASE F_NOTIFY F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW),
);
static SIGNAL: Set = values(
    names!(SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE
    SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGCHLD SIGCONT SIGSTOP SIGTSTP
    SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS),
);
static ACCESS: Set = Set {
    field: None,
    values: names!(F_OK),
    bits: names!(R_OK W_OK X_OK),
    octal: false,
};
static MOUNT: Set = bits(
    names!(MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_SYNCHRONOUS MS_REMOUNT
    MS_MANDLOCK MS_DIRSYNC MS_NOATIME MS_NODIRATIME MS_BIND MS_MOVE MS_REC MS_SILENT MS_POSIXACL
    MS_UNBINDABLE MS_PRIVATE MS_SLAVE MS_SHARED MS_RELATIME MS_STRICTATIME MS_LAZYTIME),
);
static UMOUNT: Set = bits(names!(MNT_FORCE MNT_DETACH MNT_EXPIRE UMOUNT_NOFOLLOW));
static SECCOMP: Set = values(names!(SECCOMP_SET_MODE_STRICT SECCOMP_SET_MODE_FILTER
    SECCOMP_GET_ACTION_AVAIL SECCOMP_GET_NOTIF_SIZES));
static CLOCK: Set = values(
    names!(CLOCK_REALTIME CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID
    CLOCK_THREAD_CPUTIME_ID CLOCK_MONOTONIC_RAW CLOCK_REALTIME_COARSE CLOCK_MONOTONIC_COARSE
    CLOCK_BOOTTIME CLOCK_REALTIME_ALARM CLOCK_BOOTTIME_ALARM CLOCK_TAI),
);
static MEMFD: Set = bits(
    names!(MFD_CLOEXEC MFD_ALLOW_SEALING MFD_HUGETLB MFD_NOEXEC_SEAL
    MFD_EXEC),
);
static RENAME: Set = bits(names!(RENAME_NOREPLACE RENAME_EXCHANGE RENAME_WHITEOUT));
static UNLINK: Set = bits(names!(AT_REMOVEDIR));
static EPOLL: Set = values(names!(EPOLL_CTL_ADD EPOLL_CTL_DEL EPOLL_CTL_MOD));
static RANDOM: Set = bits(names!(GRND_NONBLOCK GRND_RANDOM));

/// Call, argument and what its values are called.
const PLACES: &[(&str, u8, &Set)] = &[
    ("open", 1, &OPEN),
    ("openat", 2, &OPEN),
    ("open_by_handle_at", 2, &OPEN),
    ("pipe2", 1, &OPEN),
    ("dup3", 2, &OPEN),
    ("open", 2, &MODE),
    ("openat", 3, &MODE),
    ("creat", 1, &MODE),
    ("mkdir", 1, &MODE),
    ("mkdirat", 2, &MODE),
    ("chmod", 1, &MODE),
    ("fchmod", 1, &MODE),
    ("fchmodat", 2, &MODE),
    ("fchmodat2", 2, &MODE),
    ("umask", 0, &MODE),
    ("mknod", 1, &NODE),
    ("mknodat", 2, &NODE),
    ("clone", 0, &CLONE),
    ("unshare", 0, &NAMESPACES),
    ("setns", 1, &NAMESPACES),
    ("personality", 0, &PERSONALITY),
    ("socket", 0, &FAMILY),
    ("socketpair", 0, &FAMILY),
    ("socket", 1, &SOCKET_TYPE),
    ("socketpair", 1, &SOCKET_TYPE),
    ("accept4", 3, &ACCEPT),
    ("setsockopt", 1, &LEVEL),
    ("getsockopt", 1, &LEVEL),
    ("shutdown", 1, &SHUTDOWN),
    ("mmap", 2, &PROTECTION),
    ("mmap2", 2, &PROTECTION),
    ("mprotect", 2, &PROTECTION),
    ("pkey_mprotect", 2, &PROTECTION),
    ("mmap", 3, &MAP),
    ("mmap2", 3, &MAP),
    ("madvise", 2, &ADVICE),
    ("lseek", 2, &WHENCE),
    ("ioctl", 1, &REQUEST),
    ("prctl", 0, &PRCTL),
    ("ptrace", 0, &PTRACE),
    ("fcntl", 1, &FCNTL),
    ("fcntl64", 1, &FCNTL),
    ("kill", 1, &SIGNAL),
    ("tkill", 1, &SIGNAL),
    ("tgkill", 2, &SIGNAL),
    ("rt_sigqueueinfo", 1, &SIGNAL),
    ("pidfd_send_signal", 1, &SIGNAL),
    ("access", 1, &ACCESS),
    ("faccessat", 2, &ACCESS),
    ("faccessat2", 2, &ACCESS),
    ("mount", 3, &MOUNT),
    ("umount2", 1, &UMOUNT),
    ("seccomp", 0, &SECCOMP),
    ("clock_gettime", 0, &CLOCK),
    ("clock_settime", 0, &CLOCK),
    ("clock_nanosleep", 0, &CLOCK),
    ("timer_create", 0, &CLOCK),
    ("timerfd_create", 0, &CLOCK),
    ("memfd_create", 1, &MEMFD),
    ("renameat2", 4, &RENAME),
    ("unlinkat", 2, &UNLINK),
    ("epoll_ctl", 1, &EPOLL),
    ("getrandom", 2, &RANDOM),
];

static NETLINK: Set = values(names!(
    NETLINK_ROUTE NETLINK_USERSOCK NETLINK_SOCK_DIAG NETLINK_NFLOG NETLINK_XFRM NETLINK_SELINUX
    NETLINK_ISCSI NETLINK_AUDIT NETLINK_FIB_LOOKUP NETLINK_CONNECTOR NETLINK_NETFILTER
    NETLINK_KOBJECT_UEVENT NETLINK_GENERIC NETLINK_CRYPTO
));
static INTERNET: Set = values(names!(
    IPPROTO_IP IPPROTO_ICMP IPPROTO_TCP IPPROTO_UDP IPPROTO_ICMPV6 IPPROTO_SCTP IPPROTO_RAW
));

/// The names of socket's third argument, which depend on its first: an
/// address family.
pub(super) fn protocols(call: &str, family: u64) -> Option<&'static Set> {
    match (call, i32::try_from(family)) {
        ("socket", Ok(libc::AF_NETLINK)) => Some(&NETLINK),
        ("socket", Ok(libc::AF_INET | libc::AF_INET6)) => Some(&INTERNET),
        _ => None,
    }
}

/// A protocol of any family.
pub(super) fn protocol(call: &str, arg: u8, name: &str) -> Option<u64> {
    let all = NETLINK.values.iter().chain(INTERNET.values);
    let mut named = all.filter(|(n, _)| *n == name && (call, arg) == ("socket", 2));
    named.next().map(|(_, value)| *value)
}

pub(super) fn set_of(call: &str, arg: u8) -> Option<&'static Set> {
    let mut places = PLACES.iter();
    places.find(|p| p.0 == call && p.1 == arg).map(|p| p.2)
}

/// Where there are names.
#[cfg(test)]
pub(super) fn places() -> impl Iterator<Item = (&'static str, u8)> {
    PLACES.iter().map(|p| (p.0, p.1))
}
