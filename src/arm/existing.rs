//! Whether a filter that init has already does what a profile says.
//!
//! With several filters the kernel takes the most restrictive answer, so one
//! that is at least as strict as the profile for every call is enough,
//! whatever the others say. Several that are so only together are not looked
//! for: the profile's own filter is added then, which is never wrong.
#![forbid(unsafe_code)]

use std::ops::ControlFlow;

use super::{Layer, Meaning};
use crate::bpf::Program;
use crate::policy::Flags;
use crate::prove::{self, Witness};

/// What one loaded program is to one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The very program.
    Same,
    /// For no call weaker.
    AsStrict,
    /// Weaker, for this call at least.
    Weaker(Box<Witness>),
    /// It cannot be told.
    Unknown(&'static str),
}

impl Judgement {
    /// Whether the layer adds nothing.
    pub const fn suffices(&self) -> bool {
        matches!(self, Self::Same | Self::AsStrict)
    }
}

/// Holds a program as read from the kernel against a layer.
pub fn judge(layer: &Layer<'_>, loaded: &[u8]) -> Judgement {
    if layer.listener.is_some() {
        return Judgement::Unknown("which agent it asks cannot be read");
    }
    if !says_no_more_than_a_program(layer.flags) {
        return Judgement::Unknown("the flags that it was loaded with cannot be read");
    }
    if layer.program.to_bytes() == loaded {
        return Judgement::Same;
    }
    let Some(policy) = layer.policy.and_then(Meaning::policy) else {
        return Judgement::Unknown("without a profile only the very same program will do");
    };
    let Ok(program) = Program::from_bytes(loaded) else {
        return Judgement::Unknown("it is no program of seccomp's");
    };
    let mut weaker = None;
    let proof = prove::compare_hostile(policy, &program, |witness| {
        // Another errno is no less strict: where a runtime's filter answers a
        // call newer than the profile with the default, for one.
        if !witness.is_weaker() {
            return ControlFlow::Continue(());
        }
        weaker = Some(Box::new(witness));
        ControlFlow::Break(())
    });
    match weaker {
        Some(witness) => Judgement::Weaker(witness),
        None if proof.complete => Judgement::AsStrict,
        None => Judgement::Unknown("it has too many cases to try all of them"),
    }
}

/// Whether all that loading with these flags brings is in the program: LOG
/// makes the kernel write to its log, and without SPEC_ALLOW it may turn a
/// kind of speculation off. Neither can be read back. TSYNC is for the other
/// threads, which an exec ends.
const fn says_no_more_than_a_program(flags: Flags) -> bool {
    !flags.log && flags.spec_allow
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::{Insn, op};
    use crate::filter::{Filter, Options};
    use crate::policy::Action;
    use crate::profile::Profile;

    fn filter(section: &str) -> Filter {
        let section = serde_json::from_str(section).unwrap();
        Filter::new(Profile::from_section(section), Options::default()).unwrap()
    }

    fn layer(filter: &Filter) -> Layer<'_> {
        Layer {
            name: "profile",
            program: &filter.program,
            flags: filter.translation.policy.flags,
            policy: Some(&filter.translation.policy),
            listener: None,
        }
    }

    fn plain(filter: &Filter) -> Vec<u8> {
        let section = &filter.profile.section;
        let program = crate::plain::compile(section, &filter.translation, None);
        program.unwrap().to_bytes()
    }

    const DENIES: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": ["read", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"}]}"#;

    #[test]
    fn another_errno_for_newer_calls_is_not_weaker() {
        let filter = filter(DENIES);
        let own = layer(&filter);
        assert_eq!(judge(&own, &filter.program.to_bytes()), Judgement::Same);
        assert_eq!(judge(&own, &plain(&filter)), Judgement::AsStrict);
    }

    #[test]
    fn names_the_call_for_which_libseccomp_is_weaker() {
        let up_to = |bound: u64| {
            format!(
                r#"{{"names": ["lseek"], "action": "SCMP_ACT_ERRNO",
                     "args": [{{"index": 1, "value": {bound}, "op": "SCMP_CMP_LE"}}]}}"#
            )
        };
        let filter = filter(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}, {}]}}"#,
            up_to(0x1_0000_0005),
            up_to(5)
        ));
        let Judgement::Weaker(witness) = judge(&layer(&filter), &plain(&filter)) else {
            panic!("not weaker");
        };
        assert_eq!(witness.got, Action::Allow);
        assert!(witness.describe_call().starts_with("x86_64 lseek("));
    }

    #[test]
    fn what_is_stricter_or_lists_more_architectures_is_told_apart() {
        let loose = filter(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
        let strict = filter(DENIES);
        let bytes = strict.program.to_bytes();
        // Stricter but for the architectures that only the other lists.
        assert!(matches!(
            judge(&layer(&loose), &bytes),
            Judgement::Weaker(w) if w.arch.is_none()
        ));
        let kills = filter(r#"{"defaultAction": "SCMP_ACT_KILL_PROCESS"}"#);
        assert!(judge(&layer(&loose), &kills.program.to_bytes()).suffices());
        assert!(!judge(&layer(&kills), &loose.program.to_bytes()).suffices());
    }

    #[test]
    fn a_program_that_looks_at_the_instruction_pointer_is_not_trusted() {
        let filter = filter(r#"{"defaultAction": "SCMP_ACT_ERRNO"}"#);
        let insn = |code, jf, k| Insn { code, jt: 0, jf, k };
        let sly = Program::new(vec![
            insn(op::LD_ABS, 0, 8),
            insn(op::JEQ_K, 1, 0),
            insn(op::RET_K, 0, Action::KillProcess.to_ret()),
            insn(op::RET_K, 0, Action::Allow.to_ret()),
        ]);
        let judgement = judge(&layer(&filter), &sly.unwrap().to_bytes());
        assert!(!judgement.suffices(), "{judgement:?}");
    }

    #[test]
    fn flags_that_cannot_be_read_back_are_never_taken_for_granted() {
        let filter =
            filter(r#"{"defaultAction": "SCMP_ACT_ERRNO", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}"#);
        let bytes = filter.program.to_bytes();
        assert!(!judge(&layer(&filter), &bytes).suffices());
    }

    #[test]
    fn a_program_without_a_profile_is_only_itself() {
        let filter = filter(DENIES);
        let raw = Layer {
            policy: None,
            ..layer(&filter)
        };
        let spec_allow = Flags {
            spec_allow: true,
            ..Flags::default()
        };
        let raw = Layer {
            flags: spec_allow,
            ..raw
        };
        assert!(judge(&raw, &filter.program.to_bytes()).suffices());
        assert!(!judge(&raw, &plain(&filter)).suffices());
        assert!(!judge(&raw, b"garbage").suffices());
    }
}
