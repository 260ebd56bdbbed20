//! capset(2), made ready to be the last but one call before the workload.

use caps::CapsHashSet;
use libc::c_long;
use nix::errno::Errno;

use super::seccomp::verdict;
use crate::bpf::Program;
use crate::policy::Action;

/// `_LINUX_CAPABILITY_VERSION_3`: 64 bits a set.
const VERSION_3: u32 = 0x2008_0522;

/// The three sets that capset(2) changes at once. Applying them takes one
/// system call and no memory.
#[derive(Debug)]
pub struct CapSets(Box<Arguments>);

/// What the two arguments point to; linux/capability.h.
#[repr(C)]
#[derive(Debug)]
struct Arguments {
    version: u32,
    pid: i32,
    /// The low half of each set, then the high one.
    data: [Half; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl CapSets {
    /// Makes the call ready; for the calling thread, as capset(2) itself.
    #[must_use]
    pub fn new(
        effective: &CapsHashSet,
        permitted: &CapsHashSet,
        inheritable: &CapsHashSet,
    ) -> Self {
        let (effective, permitted, inheritable) =
            (mask(effective), mask(permitted), mask(inheritable));
        let half = |shift: u32| Half {
            effective: (effective >> shift) as u32,
            permitted: (permitted >> shift) as u32,
            inheritable: (inheritable >> shift) as u32,
        };
        Self(Box::new(Arguments {
            version: VERSION_3,
            pid: 0,
            data: [half(0), half(32)],
        }))
    }

    /// What the program says to the very call that [`CapSets::apply`] makes.
    #[must_use]
    pub fn verdict(&self, program: &Program) -> Action {
        let header = (&raw const *self.0) as u64;
        let data = (&raw const self.0.data) as u64;
        verdict(program, libc::SYS_capset, [header, data, 0, 0, 0, 0])
    }

    /// Makes the call.
    ///
    /// # Errors
    /// EPERM: a set grows beyond what capabilities(7) allows.
    pub fn apply(&mut self) -> Result<(), Errno> {
        let header = &raw mut *self.0;
        let data = &raw const self.0.data;
        // SAFETY: the header starts with version and pid, the data has the
        // two elements of this version, and the kernel keeps neither pointer.
        let answer: c_long = unsafe { libc::syscall(libc::SYS_capset, header, data) };
        Errno::result(answer).map(drop)
    }
}

fn mask(set: &CapsHashSet) -> u64 {
    set.iter().fold(0, |bits, cap| bits | cap.bitmask())
}

#[cfg(test)]
mod tests {
    use super::*;
    use caps::Capability::{CAP_BPF, CAP_CHOWN, CAP_KILL, CAP_SYSLOG};

    #[test]
    fn each_set_is_split_into_two_halves() {
        let sets = CapSets::new(
            &[CAP_CHOWN].into(),
            &[CAP_CHOWN, CAP_SYSLOG].into(),
            &[CAP_KILL, CAP_BPF].into(),
        );
        let half = |effective, permitted, inheritable| Half {
            effective,
            permitted,
            inheritable,
        };
        assert_eq!(sets.0.data, [half(1, 1, 1 << 5), half(0, 1 << 2, 1 << 7)]);
    }

    #[test]
    fn what_the_thread_has_can_be_set_again() {
        let read = |set| caps::read(None, set).unwrap();
        let effective = read(caps::CapSet::Effective);
        let mut sets = CapSets::new(
            &effective,
            &read(caps::CapSet::Permitted),
            &read(caps::CapSet::Inheritable),
        );
        assert_eq!(sets.apply(), Ok(()));
        assert_eq!(read(caps::CapSet::Effective), effective);
    }
}
