//! What a profile means: the validated form of an OCI `LinuxSeccomp` section
//! and its reference semantics, [`Policy::verdict`].
//!
//! Everything else in this crate is held against this file: a program is
//! loaded only after it was shown to give the same verdicts. So it is kept
//! free of tables, caches and shortcuts.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;

/// The largest errno a filter can return: the kernel caps the value at
/// `MAX_ERRNO` (4095), and libseccomp refuses that one too.
pub(crate) const MAX_ERRNO: u32 = 4094;
/// The bit that tells an x32 call from an x86_64 one (`__X32_SYSCALL_BIT`).
pub(crate) const X32_BIT: u32 = 0x4000_0000;
/// `ENOSYS`, the answer to calls newer than the profile.
pub(crate) const ENOSYS: u16 = 38;

/// What the kernel does with a call; seccomp(2), "filter return values".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Action {
    /// End the process with SIGSYS.
    KillProcess,
    /// End the calling thread with SIGSYS.
    KillThread,
    /// Send SIGSYS to the thread.
    Trap,
    /// Fail the call with this errno; 0 makes it return 0 without running.
    Errno(u16),
    /// Ask the listener.
    Notify,
    /// Ask a tracer, giving it this value; without one the call fails with
    /// ENOSYS.
    Trace(u16),
    /// Log the call, then run it.
    Log,
    /// Run the call.
    Allow,
}

impl Action {
    /// The 32-bit value a program returns for this action.
    #[must_use]
    pub const fn to_ret(self) -> u32 {
        match self {
            Self::KillProcess => 0x8000_0000,
            Self::KillThread => 0,
            Self::Trap => 0x0003_0000,
            Self::Errno(e) => 0x0005_0000 | e as u32,
            Self::Notify => 0x7fc0_0000,
            Self::Trace(d) => 0x7ff0_0000 | d as u32,
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }

    /// The action the kernel takes for a program's return value. An unknown
    /// action is KILL_PROCESS to the kernel, and so here.
    #[must_use]
    pub const fn from_ret(ret: u32) -> Self {
        let data = (ret & 0xffff) as u16;
        match ret & 0xffff_0000 {
            0 => Self::KillThread,
            0x0003_0000 => Self::Trap,
            0x0005_0000 => Self::Errno(data),
            0x7fc0_0000 => Self::Notify,
            0x7ff0_0000 => Self::Trace(data),
            0x7ffc_0000 => Self::Log,
            0x7fff_0000 => Self::Allow,
            _ => Self::KillProcess,
        }
    }

    /// How much the action lets through, by the kernel's own precedence: 0
    /// for KILL_PROCESS up to 7 for ALLOW. With two filters the lower wins.
    #[must_use]
    pub const fn permissiveness(self) -> u8 {
        match self {
            Self::KillProcess => 0,
            Self::KillThread => 1,
            Self::Trap => 2,
            Self::Errno(_) => 3,
            Self::Notify => 4,
            Self::Trace(_) => 5,
            Self::Log => 6,
            Self::Allow => 7,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillProcess => f.write_str("KILL_PROCESS"),
            Self::KillThread => f.write_str("KILL_THREAD"),
            Self::Trap => f.write_str("TRAP"),
            Self::Errno(e) => write!(f, "ERRNO({e})"),
            Self::Notify => f.write_str("NOTIFY"),
            Self::Trace(d) => write!(f, "TRACE({d})"),
            Self::Log => f.write_str("LOG"),
            Self::Allow => f.write_str("ALLOW"),
        }
    }
}

/// Declares the architectures once: OCI name, short name, `AUDIT_ARCH_*`
/// token (linux/audit.h) and width of an argument in bits.
macro_rules! architectures {
    ($($variant:ident $oci:literal $name:literal $audit:literal $bits:literal;)*) => {
        /// An architecture as the OCI spec names it (`SCMP_ARCH_*`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)]
        #[non_exhaustive]
        pub enum Arch { $($variant),* }

        impl Arch {
            /// All known architectures.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Names, OCI's and the short one; token; bits.
            const fn row(self) -> (&'static str, &'static str, u32, u32) {
                match self { $(Self::$variant => ($oci, $name, $audit, $bits)),* }
            }
        }
    };
}

architectures! {
    X86_64      "SCMP_ARCH_X86_64"      "x86_64"      0xc000_003e 64;
    X86         "SCMP_ARCH_X86"         "x86"         0x4000_0003 32;
    X32         "SCMP_ARCH_X32"         "x32"         0xc000_003e 32;
    Arm         "SCMP_ARCH_ARM"         "arm"         0x4000_0028 32;
    Aarch64     "SCMP_ARCH_AARCH64"     "aarch64"     0xc000_00b7 64;
    Loongarch64 "SCMP_ARCH_LOONGARCH64" "loongarch64" 0xc000_0102 64;
    M68k        "SCMP_ARCH_M68K"        "m68k"        0x0000_0004 32;
    Mips        "SCMP_ARCH_MIPS"        "mips"        0x0000_0008 32;
    Mips64      "SCMP_ARCH_MIPS64"      "mips64"      0x8000_0008 64;
    Mips64n32   "SCMP_ARCH_MIPS64N32"   "mips64n32"   0xa000_0008 32;
    Mipsel      "SCMP_ARCH_MIPSEL"      "mipsel"      0x4000_0008 32;
    Mipsel64    "SCMP_ARCH_MIPSEL64"    "mipsel64"    0xc000_0008 64;
    Mipsel64n32 "SCMP_ARCH_MIPSEL64N32" "mipsel64n32" 0xe000_0008 32;
    Parisc      "SCMP_ARCH_PARISC"      "parisc"      0x0000_000f 32;
    Parisc64    "SCMP_ARCH_PARISC64"    "parisc64"    0x8000_000f 64;
    Ppc         "SCMP_ARCH_PPC"         "ppc"         0x0000_0014 32;
    Ppc64       "SCMP_ARCH_PPC64"       "ppc64"       0x8000_0015 64;
    Ppc64le     "SCMP_ARCH_PPC64LE"     "ppc64le"     0xc000_0015 64;
    Riscv64     "SCMP_ARCH_RISCV64"     "riscv64"     0xc000_00f3 64;
    S390        "SCMP_ARCH_S390"        "s390"        0x0000_0016 32;
    S390x       "SCMP_ARCH_S390X"       "s390x"       0x8000_0016 64;
    Sheb        "SCMP_ARCH_SHEB"        "sheb"        0x0000_002a 32;
    Sh          "SCMP_ARCH_SH"          "sh"          0x4000_002a 32;
}

/// Bit of an audit token that says the architecture is little-endian.
const AUDIT_ARCH_LE: u32 = 0x4000_0000;

impl Arch {
    /// The OCI name: `SCMP_ARCH_X86_64`.
    #[must_use]
    pub const fn oci_name(self) -> &'static str {
        self.row().0
    }

    /// The short name: `x86_64`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// The token the kernel puts into `seccomp_data.arch`. x86_64 and x32 share
    /// one.
    #[must_use]
    pub const fn audit(self) -> u32 {
        self.row().2
    }

    /// How many bits of an argument count: 32 or 64.
    #[must_use]
    pub(crate) const fn arg_bits(self) -> u32 {
        self.row().3
    }

    /// The architecture this binary was built for.
    #[must_use]
    pub const fn native() -> Self {
        #[cfg(target_arch = "x86_64")]
        return Self::X86_64;
        #[cfg(target_arch = "aarch64")]
        return Self::Aarch64;
    }

    /// Whether both have the same byte order. A program reads `seccomp_data`
    /// in the kernel's own, so one program serves only one of them.
    #[must_use]
    pub(crate) const fn same_endianness(self, other: Self) -> bool {
        self.audit() & AUDIT_ARCH_LE == other.audit() & AUDIT_ARCH_LE
    }

    /// Whether a call with this token and number is one of the architecture's.
    #[must_use]
    pub(crate) const fn owns(self, audit: u32, nr: u32) -> bool {
        self.audit() == audit
            && match self {
                // One token for two architectures: the number tells them
                // apart. -1 is x86_64's, as in libseccomp: a tracer that skips
                // a call leaves it behind.
                Self::X86_64 => nr < X32_BIT || nr == u32::MAX,
                Self::X32 => nr >= X32_BIT && nr != u32::MAX,
                _ => true,
            }
    }

    /// Parses the short name (`x86_64`) or the OCI one (`SCMP_ARCH_X86_64`).
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|a| a.name() == name || a.oci_name() == name)
    }

    /// The value of an argument register as this architecture sees it.
    #[must_use]
    pub const fn arg(self, raw: u64) -> u64 {
        if self.arg_bits() == 32 {
            raw & 0xffff_ffff
        } else {
            raw
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One system call as a filter sees it: `struct seccomp_data` without the
/// instruction pointer, which profiles cannot name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// `AUDIT_ARCH_*` token.
    pub audit: u32,
    /// Number; for x32 with `__X32_SYSCALL_BIT` (bit 30) set.
    pub nr: u32,
    /// The six argument registers, 64 bits each.
    pub args: [u64; 6],
}

/// What an argument is compared with; the OCI operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Compare {
    Ne(u64),
    Lt(u64),
    Le(u64),
    Eq(u64),
    Ge(u64),
    Gt(u64),
    /// `(argument & mask) == (datum & mask)`. In OCI JSON the mask is `value`
    /// and the datum `valueTwo`.
    MaskedEq {
        mask: u64,
        datum: u64,
    },
}

impl Compare {
    /// Whether an argument satisfies the comparison.
    #[must_use]
    pub const fn holds(self, arg: u64) -> bool {
        match self {
            Self::Ne(v) => arg != v,
            Self::Lt(v) => arg < v,
            Self::Le(v) => arg <= v,
            Self::Eq(v) => arg == v,
            Self::Ge(v) => arg >= v,
            Self::Gt(v) => arg > v,
            Self::MaskedEq { mask, datum } => arg & mask == datum & mask,
        }
    }
}

/// An argument and what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Condition {
    /// Index of the argument, 0 to 5; whatever looks at another panics.
    pub arg: u8,
    /// The comparison, with constants as the profile wrote them.
    pub compare: Compare,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a = self.arg;
        match self.compare {
            Compare::Ne(v) => write!(f, "arg{a} != {v:#x}"),
            Compare::Lt(v) => write!(f, "arg{a} < {v:#x}"),
            Compare::Le(v) => write!(f, "arg{a} <= {v:#x}"),
            Compare::Eq(v) => write!(f, "arg{a} == {v:#x}"),
            Compare::Ge(v) => write!(f, "arg{a} >= {v:#x}"),
            Compare::Gt(v) => write!(f, "arg{a} > {v:#x}"),
            Compare::MaskedEq { mask, datum } => {
                write!(f, "arg{a} & {mask:#x} == {:#x}", datum & mask)
            }
        }
    }
}

/// What one rule says about one call on one architecture: if all conditions
/// hold, the action.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Clause {
    /// All must hold; none means always. At most one per argument.
    pub conditions: Vec<Condition>,
    /// The verdict when they do.
    pub action: Action,
    /// Index in `syscalls[]` of the rule this comes from.
    pub rule: usize,
}

impl Clause {
    /// Whether the clause applies to these argument values, already cut to
    /// the architecture's width.
    #[must_use]
    pub fn matches(&self, args: &[u64; 6]) -> bool {
        self.conditions
            .iter()
            .all(|c| c.compare.holds(args[usize::from(c.arg)]))
    }

    /// Whether both say the same, whatever rules they come from.
    #[must_use]
    pub(crate) fn same_effect(&self, other: &Self) -> bool {
        self.conditions == other.conditions && self.action == other.action
    }
}

/// The rules of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchRules {
    /// The architecture.
    pub arch: Arch,
    /// For each number that the profile names, its clauses in file order.
    pub calls: BTreeMap<u32, Vec<Clause>>,
    /// A number above this one is newer than the profile and gets ENOSYS;
    /// `None` where that rule does not apply.
    pub newest: Option<u32>,
}

/// Flags of seccomp(2) that a profile can ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Flags {
    /// `SECCOMP_FILTER_FLAG_TSYNC`
    pub tsync: bool,
    /// `SECCOMP_FILTER_FLAG_LOG`
    pub log: bool,
    /// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`
    pub spec_allow: bool,
    /// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`
    pub wait_killable_recv: bool,
}

impl Flags {
    /// Each flag with its name, set or not.
    #[must_use]
    pub(crate) const fn named(self) -> [(&'static str, bool); 4] {
        [
            ("SECCOMP_FILTER_FLAG_TSYNC", self.tsync),
            ("SECCOMP_FILTER_FLAG_LOG", self.log),
            ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", self.spec_allow),
            (
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
                self.wait_killable_recv,
            ),
        ]
    }

    /// The flags as seccomp(2) takes them (linux/seccomp.h).
    #[must_use]
    pub const fn bits(self) -> u32 {
        (self.tsync as u32)
            | (self.log as u32) << 1
            | (self.spec_allow as u32) << 2
            | (self.wait_killable_recv as u32) << 5
    }

    /// The reverse of [`Flags::bits`]; bits of no flag are left out.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self {
            tsync: bits & 1 != 0,
            log: bits & 1 << 1 != 0,
            spec_allow: bits & 1 << 2 != 0,
            wait_killable_recv: bits & 1 << 5 != 0,
        }
    }
}

/// Where NOTIFY verdicts are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Path of the AF_UNIX stream socket that takes the listener descriptor.
    pub path: std::path::PathBuf,
    /// Opaque text for the agent behind it.
    pub metadata: Option<String>,
}

/// A validated profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Verdict for a call that no rule matches.
    pub default: Action,
    /// The native architecture first, then the others the profile lists.
    pub arches: Vec<ArchRules>,
    /// Flags for seccomp(2).
    pub flags: Flags,
    /// Present exactly when a rule says NOTIFY.
    pub listener: Option<Listener>,
}

/// The action for a call, and what decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// What the kernel is to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

/// What decided a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The rule with this index in `syscalls[]`.
    Rule(usize),
    /// No rule matched.
    Default,
    /// The number is newer than every call the profile names.
    Newer,
    /// The profile does not list the architecture.
    ForeignArch,
}

/// Verdict for a call from an architecture the profile does not list:
/// libseccomp's `SCMP_FLTATR_ACT_BADARCH` default.
pub const FOREIGN_ARCH: Action = Action::KillThread;

impl Policy {
    /// The rules for the architecture a call comes from, if listed.
    #[must_use]
    pub fn rules_for(&self, audit: u32, nr: u32) -> Option<&ArchRules> {
        self.arches.iter().find(|r| r.arch.owns(audit, nr))
    }

    /// What the profile says about one call: the meaning of a profile.
    ///
    /// The first clause in file order whose conditions all hold decides;
    /// without one, a number newer than the profile gets ENOSYS and any other
    /// the default action.
    ///
    /// ```
    /// use oci_seccomp::policy::*;
    /// let policy = Policy {
    ///     default: Action::Allow,
    ///     arches: vec![ArchRules {
    ///         arch: Arch::X86_64,
    ///         calls: [(83, vec![Clause { conditions: vec![], action: Action::Errno(1), rule: 0 }])].into(),
    ///         newest: None,
    ///     }],
    ///     flags: Flags::default(),
    ///     listener: None,
    /// };
    /// let mkdir = Call { audit: Arch::X86_64.audit(), nr: 83, args: [0; 6] };
    /// assert_eq!(policy.verdict(&mkdir).action, Action::Errno(1));
    /// ```
    #[must_use]
    pub fn verdict(&self, call: &Call) -> Verdict {
        let Some(rules) = self.rules_for(call.audit, call.nr) else {
            return Verdict {
                action: FOREIGN_ARCH,
                reason: Reason::ForeignArch,
            };
        };
        let args = call.args.map(|raw| rules.arch.arg(raw));
        let clauses = rules.calls.get(&call.nr).map_or(&[][..], Vec::as_slice);
        if let Some(clause) = clauses.iter().find(|c| c.matches(&args)) {
            return Verdict {
                action: clause.action,
                reason: Reason::Rule(clause.rule),
            };
        }
        self.unmatched(rules, call.nr)
    }

    /// What a call gets that is of an architecture with these rules and that
    /// none of them matches.
    pub(crate) fn unmatched(&self, rules: &ArchRules, nr: u32) -> Verdict {
        match rules.newest {
            Some(newest) if nr > newest => Verdict {
                action: Action::Errno(ENOSYS),
                reason: Reason::Newer,
            },
            _ => Verdict {
                action: self.default,
                reason: Reason::Default,
            },
        }
    }
}
