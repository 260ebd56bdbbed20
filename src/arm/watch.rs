//! Which system call is the last before init can no longer load a filter.
#![forbid(unsafe_code)]

/// `_LINUX_CAPABILITY_VERSION_1` (linux/capability.h): 32 capabilities. The
/// later two differ from it in the second half only.
const SYS_ADMIN: u32 = 1 << 21;
/// Offset of the first `effective` in what capset(2) is given.
const EFFECTIVE: u64 = 0;
/// "Leave it as it is" to setreuid(2) and setresuid(2).
const UNCHANGED: u32 = u32::MAX;

/// Whether the call may take CAP_SYS_ADMIN out of the caller's effective set,
/// or end all loading by strict mode. Where it cannot be told, it does: to
/// load too early only means that more calls are filtered.
///
/// `read` reads four bytes of the caller's memory.
pub fn is_last_chance(nr: u64, args: &[u64; 6], read: impl Fn(u64) -> Option<u32>) -> bool {
    // The kernel takes ids and operations as 32-bit values.
    let [a0, a1, ..] = args.map(|a| a as u32);
    let leaves_root = |euid: u32| euid != 0 && euid != UNCHANGED;
    let Ok(nr) = libc::c_long::try_from(nr) else {
        return false;
    };
    match nr {
        libc::SYS_capset => match read(args[1] + EFFECTIVE) {
            Some(effective) => effective & SYS_ADMIN == 0,
            None => true,
        },
        libc::SYS_setuid => leaves_root(a0),
        libc::SYS_setreuid | libc::SYS_setresuid => leaves_root(a1),
        libc::SYS_seccomp => a0 == libc::SECCOMP_SET_MODE_STRICT,
        libc::SYS_prctl => a0 == libc::PR_SET_SECCOMP as u32 && a1 != libc::SECCOMP_MODE_FILTER,
        _ => false,
    }
}

/// Whether the call loads a filter, which may refuse to let another in.
/// Without a program nothing is loaded: so runtimes try flags.
pub fn loads_filter(nr: u64, args: &[u64; 6]) -> bool {
    let [a0, a1, ..] = args.map(|a| a as u32);
    match libc::c_long::try_from(nr) {
        Ok(libc::SYS_seccomp) => a0 == libc::SECCOMP_SET_MODE_FILTER && args[2] != 0,
        Ok(libc::SYS_prctl) => {
            a0 == libc::PR_SET_SECCOMP as u32 && a1 == libc::SECCOMP_MODE_FILTER && args[2] != 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(nr: libc::c_long, args: [u64; 3]) -> bool {
        let [a, b, c] = args;
        is_last_chance(nr as u64, &[a, b, c, 0, 0, 0], |at| match at {
            0x1000 => Some(SYS_ADMIN | 1),
            0x2000 => Some(!SYS_ADMIN),
            _ => None,
        })
    }

    #[test]
    fn sees_the_capset_that_drops_sys_admin() {
        assert!(!call(libc::SYS_capset, [0, 0x1000, 0]));
        assert!(call(libc::SYS_capset, [0, 0x2000, 0]));
        assert!(call(libc::SYS_capset, [0, 0x3000, 0]), "unreadable");
    }

    #[test]
    fn sees_who_stops_being_root() {
        let same = u64::from(u32::MAX);
        assert!(!call(libc::SYS_setuid, [0, 0, 0]));
        assert!(call(libc::SYS_setuid, [1000, 0, 0]));
        assert!(call(libc::SYS_setresuid, [same, 1000, same]));
        assert!(!call(libc::SYS_setresuid, [1000, same, same]));
        assert!(call(libc::SYS_setreuid, [same, 1000, 0]));
        // The upper half of the register is nothing to the kernel.
        assert!(call(libc::SYS_setuid, [1 << 32 | 1000, 0, 0]));
        assert!(!call(libc::SYS_setuid, [1 << 32, 0, 0]));
    }

    #[test]
    fn sees_a_filter_of_the_runtime_but_no_probe_for_flags() {
        let loads = |nr: libc::c_long, [a, b, c]: [u64; 3]| {
            let args = [a, b, c, 0, 0, 0];
            assert!(!is_last_chance(nr as u64, &args, |_| None));
            loads_filter(nr as u64, &args)
        };
        assert!(loads(libc::SYS_seccomp, [1, 0, 0x1000]));
        assert!(!loads(libc::SYS_seccomp, [1, 1, 0]));
        assert!(!loads(libc::SYS_seccomp, [2, 0, 0x1000]));
        assert!(loads(libc::SYS_prctl, [22, 2, 0x1000]));
        assert!(!loads(libc::SYS_prctl, [22, 2, 0]));
        assert!(!loads(libc::SYS_prctl, [38, 1, 0]));
    }

    #[test]
    fn sees_strict_mode() {
        assert!(call(libc::SYS_seccomp, [0, 0, 0]));
        assert!(call(libc::SYS_prctl, [22, 1, 0]));
    }
}
