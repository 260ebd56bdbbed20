//! Names and numbers of system calls, per architecture.
//!
//! libseccomp's table comes first: it is what every runtime goes by. Calls
//! younger than the installed libseccomp come from a table of kernel numbers.
#![forbid(unsafe_code)]

use crate::near;
use crate::policy::{Arch, Call, X32_BIT};
use libseccomp::{ScmpArch, ScmpSyscall};
use std::collections::HashMap;
use std::sync::LazyLock;

/// What an architecture makes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wiring {
    /// A call with this number.
    Direct(u32),
    /// A sub-call of a multiplexer (socketcall(2), ipc(2)); since Linux 4.3
    /// some have a number of their own beside it.
    Multiplexed {
        /// Number of the multiplexer.
        by: u32,
        /// What its first argument selects.
        sub: Subcall,
        /// The call's own number.
        direct: Option<u32>,
    },
    /// The call exists, but not here.
    Absent,
    /// Nobody knows the name.
    Unknown,
}

impl Wiring {
    /// The number that the call has of its own, for [`Call::nr`].
    #[must_use]
    pub const fn number(self) -> Option<u32> {
        match self {
            Self::Direct(nr) => Some(nr),
            Self::Multiplexed { direct, .. } => direct,
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// How a multiplexer's first argument names a sub-call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subcall {
    /// The bits of the argument that count. ipc(2) carries an interface
    /// version above bit 16 that selects no other call.
    pub mask: u32,
    /// Their value.
    pub number: u32,
}

/// libseccomp's word for an architecture.
#[must_use]
pub(crate) const fn scmp_arch(arch: Arch) -> ScmpArch {
    match arch {
        Arch::X86_64 => ScmpArch::X8664,
        Arch::X86 => ScmpArch::X86,
        Arch::X32 => ScmpArch::X32,
        Arch::Arm => ScmpArch::Arm,
        Arch::Aarch64 => ScmpArch::Aarch64,
        Arch::Loongarch64 => ScmpArch::Loongarch64,
        Arch::M68k => ScmpArch::M68k,
        Arch::Mips => ScmpArch::Mips,
        Arch::Mips64 => ScmpArch::Mips64,
        Arch::Mips64n32 => ScmpArch::Mips64N32,
        Arch::Mipsel => ScmpArch::Mipsel,
        Arch::Mipsel64 => ScmpArch::Mipsel64,
        Arch::Mipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::Parisc => ScmpArch::Parisc,
        Arch::Parisc64 => ScmpArch::Parisc64,
        Arch::Ppc => ScmpArch::Ppc,
        Arch::Ppc64 => ScmpArch::Ppc64,
        Arch::Ppc64le => ScmpArch::Ppc64Le,
        Arch::Riscv64 => ScmpArch::Riscv64,
        Arch::S390 => ScmpArch::S390,
        Arch::S390x => ScmpArch::S390X,
        Arch::Sheb => ScmpArch::Sheb,
        Arch::Sh => ScmpArch::Sh,
    }
}

/// Whether the installed libseccomp can compile for an architecture.
#[must_use]
pub(crate) fn supported(arch: Arch) -> bool {
    raw(arch, "read").is_some_and(|nr| nr >= 0)
}

/// Looks a name up.
///
/// ```
/// use oci_seccomp::{policy::Arch, syscalls::{Wiring, resolve}};
/// assert_eq!(resolve("read", Arch::X86_64), Wiring::Direct(0));
/// assert_eq!(resolve("mseal", Arch::X86_64), Wiring::Direct(462));
/// assert_eq!(resolve("_llseek", Arch::X86_64), Wiring::Absent);
/// assert_eq!(resolve("frobnicate", Arch::X86_64), Wiring::Unknown);
/// ```
#[must_use]
pub fn resolve(name: &str, arch: Arch) -> Wiring {
    match raw(arch, name) {
        Some(nr) if nr >= 0 => Wiring::Direct(nr.cast_unsigned()),
        // Pseudo numbers of sub-calls: -100 - n of socketcall, -200 - n of ipc.
        Some(nr @ -120..=-101) => multiplexed(name, arch, "socketcall", u32::MAX, -100 - nr),
        Some(nr @ -224..=-201) => multiplexed(name, arch, "ipc", 0xffff, -200 - nr),
        Some(_) => Wiring::Absent,
        None => match table_number(name, arch) {
            Some(nr) => Wiring::Direct(nr),
            None if TABLES.contains_key(name) => Wiring::Absent,
            None => Wiring::Unknown,
        },
    }
}

/// The name of a number, for people.
#[must_use]
pub fn name(arch: Arch, nr: u32) -> Option<String> {
    ScmpSyscall::from(i32::try_from(nr).ok()?)
        .get_name_by_arch(scmp_arch(arch))
        .ok()
        .or_else(|| table_name(arch, nr).map(str::to_owned))
}

/// The known name that is nearest to an unknown one, if any is near: what
/// somebody may have meant.
#[must_use]
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let libc = LIBC_NAMES.iter().find(|(libc, _)| *libc == name);
    if let Some((_, call)) = libc {
        return Some(call);
    }
    near::nearest(name, TABLES.keys().copied())
}

/// A call for people: `x86_64 lseek(0x0, 0x6)`, without trailing zeros.
#[must_use]
pub(crate) fn describe(arch: Option<Arch>, call: &Call) -> String {
    let Call { audit, nr, args } = call;
    let place = match arch {
        Some(arch) => arch.to_string(),
        None => format!("architecture {audit:#x}"),
    };
    let name = arch.and_then(|a| name(a, *nr));
    let name = name.unwrap_or_else(|| format!("call {nr}"));
    let used = args.iter().rposition(|&a| a != 0).map_or(0, |i| i + 1);
    let args: Vec<_> = args[..used].iter().map(|a| format!("{a:#x}")).collect();
    format!("{place} {name}({})", args.join(", "))
}

/// Numbers at which an architecture's table starts.
#[must_use]
pub(crate) const fn base(arch: Arch) -> u32 {
    match arch {
        Arch::X32 => X32_BIT,
        Arch::Mips | Arch::Mipsel => 4000,
        Arch::Mips64 | Arch::Mipsel64 => 5000,
        Arch::Mips64n32 | Arch::Mipsel64n32 => 6000,
        _ => 0,
    }
}

/// libseccomp's number for a name: negative for a call that is not wired on
/// the architecture, `None` for an unknown name.
fn raw(arch: Arch, name: &str) -> Option<i32> {
    ScmpSyscall::from_name_by_arch(name, scmp_arch(arch))
        .ok()
        .map(ScmpSyscall::as_raw_syscall)
}

fn multiplexed(name: &str, arch: Arch, by: &str, mask: u32, number: i32) -> Wiring {
    match raw(arch, by) {
        Some(nr) if nr >= 0 => Wiring::Multiplexed {
            by: nr.cast_unsigned(),
            sub: Subcall {
                mask,
                number: number.cast_unsigned(),
            },
            direct: table_number(name, arch),
        },
        _ => table_number(name, arch).map_or(Wiring::Absent, Wiring::Direct),
    }
}

/// Functions of libc that make a call of another name.
const LIBC_NAMES: &[(&str, &str)] = &[
    ("pread", "pread64"),
    ("pwrite", "pwrite64"),
    ("futimens", "utimensat"),
    ("fstatat", "newfstatat"),
    ("posix_fadvise", "fadvise64"),
    ("posix_fallocate", "fallocate"),
];

/// Calls of one architecture that neither table has.
const MISSING: &[(&str, Arch, u32)] = &[("riscv_hwprobe", Arch::Riscv64, 258)];

/// How many numbers from its base an architecture's table can hold. ARM's
/// private calls at 0xf0000 are in libseccomp's table.
const TABLE_LENGTH: u32 = 1024;

/// The table crate finds names by number; this is the way back.
static TABLES: LazyLock<HashMap<&'static str, Vec<(Arch, u32)>>> = LazyLock::new(|| {
    let mut numbers = HashMap::<_, Vec<_>>::new();
    for &arch in Arch::ALL {
        for nr in base(arch)..base(arch) + TABLE_LENGTH {
            if let Some(name) = table_name(arch, nr) {
                numbers.entry(name).or_default().push((arch, nr));
            }
        }
    }
    for &(name, arch, nr) in MISSING {
        numbers.entry(name).or_default().push((arch, nr));
    }
    numbers
});

fn table_number(name: &str, arch: Arch) -> Option<u32> {
    let mut numbers = TABLES.get(name)?.iter();
    numbers.find(|(a, _)| *a == arch).map(|(_, nr)| *nr)
}

fn table_name(arch: Arch, nr: u32) -> Option<&'static str> {
    use syscall_numbers as t;
    let nr = std::ffi::c_long::from(nr);
    match arch {
        Arch::X86_64 => t::x86_64::sys_call_name(nr),
        Arch::X86 => t::x86::sys_call_name(nr),
        Arch::X32 => t::x32::sys_call_name(nr),
        Arch::Arm => t::arm::sys_call_name(nr),
        Arch::Aarch64 => t::aarch64::sys_call_name(nr),
        Arch::Loongarch64 => t::loongarch64::sys_call_name(nr),
        Arch::M68k => t::m68k::sys_call_name(nr),
        Arch::Mips | Arch::Mipsel => t::mips::sys_call_name(nr),
        Arch::Mips64 | Arch::Mipsel64 => t::mips64::sys_call_name(nr),
        Arch::Mips64n32 | Arch::Mipsel64n32 => t::mipsn32::sys_call_name(nr),
        // The table crate has none for PA-RISC.
        Arch::Parisc | Arch::Parisc64 => None,
        Arch::Ppc => t::powerpc::sys_call_name(nr),
        Arch::Ppc64 | Arch::Ppc64le => t::powerpc64::sys_call_name(nr),
        Arch::Riscv64 => t::riscv64::sys_call_name(nr),
        Arch::S390 | Arch::S390x => t::s390x::sys_call_name(nr),
        Arch::Sheb | Arch::Sh => t::sh::sys_call_name(nr),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multiplexed(by: u32, mask: u32, number: u32, direct: Option<u32>) -> Wiring {
        let sub = Subcall { mask, number };
        Wiring::Multiplexed { by, sub, direct }
    }

    #[test]
    fn names_are_looked_up_per_architecture() {
        for (name, arch, expected) in [
            ("mkdir", Arch::X86_64, Wiring::Direct(83)),
            ("mkdir", Arch::X86, Wiring::Direct(39)),
            ("mkdir", Arch::X32, Wiring::Direct(X32_BIT + 83)),
            ("mkdir", Arch::Aarch64, Wiring::Absent),
            // x32 has numbers of its own for calls that take pointers to
            // structures.
            ("ioctl", Arch::X32, Wiring::Direct(X32_BIT + 514)),
            ("read", Arch::Mipsel, Wiring::Direct(4003)),
            ("read", Arch::Mipsel64, Wiring::Direct(5000)),
            ("read", Arch::Mipsel64n32, Wiring::Direct(6000)),
            ("cacheflush", Arch::Arm, Wiring::Direct(0x000f_0002)),
            ("cacheflush", Arch::X86_64, Wiring::Absent),
            ("riscv_hwprobe", Arch::X86_64, Wiring::Absent),
            ("riscv_hwprobe", Arch::Riscv64, Wiring::Direct(258)),
        ] {
            assert_eq!(resolve(name, arch), expected, "{name} {arch}");
        }
    }

    #[test]
    fn names_younger_than_libseccomp_come_from_the_kernels_tables() {
        for (name, number) in [("statmount", 457), ("mseal", 462)] {
            for arch in [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Riscv64] {
                assert_eq!(resolve(name, arch), Wiring::Direct(number), "{name} {arch}");
            }
            let x32 = Wiring::Direct(X32_BIT + number);
            assert_eq!(resolve(name, Arch::X32), x32);
            assert_eq!(super::name(Arch::X86_64, number).as_deref(), Some(name));
        }
    }

    #[test]
    fn multiplexed_calls_know_their_multiplexer() {
        let socketcall = |number, direct| multiplexed(102, u32::MAX, number, direct);
        let ipc = |number, direct| multiplexed(117, 0xffff, number, direct);
        for (name, expected) in [
            ("socket", socketcall(1, Some(359))),
            ("accept", socketcall(5, None)),
            ("send", socketcall(9, None)),
            ("accept4", socketcall(18, Some(364))),
            ("sendmmsg", socketcall(20, Some(345))),
            ("semop", ipc(1, None)),
            ("semget", ipc(2, Some(393))),
            ("semtimedop", ipc(4, None)),
            ("shmctl", ipc(24, Some(396))),
            ("socketcall", Wiring::Direct(102)),
            ("ipc", Wiring::Direct(117)),
        ] {
            assert_eq!(resolve(name, Arch::X86), expected, "{name}");
        }
        assert_eq!(resolve("send", Arch::X86_64), Wiring::Absent);
        assert_eq!(resolve("accept", Arch::X86_64), Wiring::Direct(43));
    }

    #[test]
    fn what_nobody_knows_is_unknown_everywhere() {
        for &arch in Arch::ALL {
            for name in ["frobnicate", "", "READ", "read ", "\0"] {
                assert_eq!(resolve(name, arch), Wiring::Unknown, "{name:?} {arch}");
            }
        }
    }

    #[test]
    fn both_tables_agree_where_both_have_a_call() {
        let usable = |a: &&Arch| supported(**a) && a.same_endianness(Arch::native());
        for &arch in Arch::ALL.iter().filter(usable) {
            for nr in base(arch)..base(arch) + TABLE_LENGTH {
                let Some(name) = table_name(arch, nr) else {
                    continue;
                };
                if let Some(theirs) = raw(arch, name).filter(|&nr| nr >= 0) {
                    assert_eq!(theirs.cast_unsigned(), nr, "{name} {arch}");
                }
            }
        }
    }

    #[cfg(feature = "cli")]
    #[test]
    fn what_was_meant_is_a_letter_or_libcs_name_away() {
        for (name, meant) in [
            ("opanat", Some("openat")),
            ("pread", Some("pread64")),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest(name), meant);
        }
    }

    #[test]
    fn calls_are_described_without_trailing_zeros() {
        let call = |nr, args| Call {
            audit: 0xc000_003e,
            nr,
            args,
        };
        let lseek = call(8, [0, 6, 0, 0, 0, 0]);
        let text = describe(Some(Arch::X86_64), &lseek);
        assert_eq!(text, "x86_64 lseek(0x0, 0x6)");
        let unknown = describe(None, &call(9999, [0; 6]));
        assert_eq!(unknown, "architecture 0xc000003e call 9999()");
    }
}
