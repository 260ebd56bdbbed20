//! When a bundle's workload gets its filter, and why then.
#![forbid(unsafe_code)]

use crate::arm::{Boundary, OnExisting};
use crate::bundle::{CapabilitySet, Config, Process};
use caps::Capability;

/// When to load, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// When.
    pub boundary: Boundary,
    /// Why, for people.
    pub reason: &'static str,
}

/// What a hook knows of the runtime that started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// It is certain to execute the workload: [`crate::arm::parent_executes`].
    pub executes: bool,
    /// Init itself has started the hook (createContainer).
    pub inside: bool,
    /// It was given a ready program to load, by crun's annotation.
    pub loads_a_program: bool,
    /// What to do about its filters.
    pub on_existing: OnExisting,
}

impl Plan {
    /// Decides for a workload: loading takes no_new_privs or CAP_SYS_ADMIN
    /// (seccomp(2)), and the later it happens the less of the runtime's own
    /// work is filtered. A wrong "at the exec" costs the container's start,
    /// never its filter: the kernel refuses the load then, and init is killed.
    #[must_use]
    pub fn for_process(process: Option<&Process>) -> Self {
        let (boundary, reason) = match process {
            Some(p) if p.no_new_privileges => (Boundary::Exec, "noNewPrivileges is set"),
            Some(p) if keeps_sys_admin(p) => {
                (Boundary::Exec, "the workload itself has CAP_SYS_ADMIN")
            }
            _ => (
                Boundary::BeforeCapabilityDrop,
                "noNewPrivileges is not set and the workload has no CAP_SYS_ADMIN: \
                 later the kernel would refuse the filter",
            ),
        };
        Self { boundary, reason }
    }

    /// Decides for a hook before the pivot. As for the process, but where that
    /// would have init's calls watched, the filter is loaded ahead where that is
    /// certain to be the same in the end.
    #[must_use]
    pub fn for_hook(config: &Config, around: &Around) -> Self {
        let plan = Self::for_process(config.process.as_ref());
        // What init starts would inherit it.
        let no_hooks_left = match config.hooks_of_init() {
            Some((create, 0)) => create <= usize::from(around.inside),
            _ => false,
        };
        // A filter of the runtime's is to be looked at before ours is loaded.
        let no_other_filter = around.on_existing == OnExisting::Stack
            || (config.seccomp().is_none() && !around.loads_a_program);
        match plan.boundary {
            Boundary::BeforeCapabilityDrop
                if around.executes && no_hooks_left && no_other_filter =>
            {
                Self {
                    boundary: Boundary::Ahead,
                    reason: "noNewPrivileges is not set and the workload has no CAP_SYS_ADMIN: \
                             the filter is loaded while the runtime still has it, and lifted \
                             until the exec",
                }
            }
            _ => plan,
        }
    }

    /// Decides for a hook at startContainer, where init has given up what the
    /// workload is not to have. A hook there is a child of init and its own
    /// exec was as the workload's will be: what the hook has, that will have.
    /// `None` where the kernel would refuse the filter.
    #[must_use]
    pub const fn for_start_container(no_new_privs: bool, sys_admin: bool) -> Option<Self> {
        let reason = match (no_new_privs, sys_admin) {
            (true, _) => "no_new_privs is set",
            (false, true) => "the workload itself has CAP_SYS_ADMIN",
            (false, false) => return None,
        };
        let boundary = Boundary::Exec;
        Some(Self { boundary, reason })
    }

    /// The boundary in words.
    #[must_use]
    pub const fn when(&self) -> &'static str {
        match self.boundary {
            Boundary::Exec => "at the exec of the workload",
            Boundary::Ahead => "at once, to be in force from the exec of the workload",
            Boundary::BeforeCapabilityDrop => "before the runtime drops CAP_SYS_ADMIN",
        }
    }

    /// What the profile has to allow besides what the workload calls.
    #[must_use]
    pub const fn also_filtered(&self) -> &'static str {
        match self.boundary {
            Boundary::Exec | Boundary::Ahead => "nothing of the runtime's own",
            Boundary::BeforeCapabilityDrop => {
                "what the runtime calls from there on (capset, setuid, execve and others)"
            }
        }
    }
}

/// Whether CAP_SYS_ADMIN is effective after the exec: root regains its
/// bounding set, any other user keeps its ambient set, which is of what it
/// can inherit (capabilities(7)).
fn keeps_sys_admin(process: &Process) -> bool {
    let admin = |set: &CapabilitySet| set.known.contains(&Capability::CAP_SYS_ADMIN);
    process.capabilities.as_ref().is_some_and(|c| {
        let ambient = admin(&c.ambient) && admin(&c.inheritable);
        admin(&c.bounding) && admin(&c.permitted) && (process.uid == 0 || ambient)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Capabilities;

    fn process(nnp: bool, uid: u32, ambient: bool, bounding: bool) -> Process {
        let set = |on: bool| CapabilitySet {
            known: on
                .then_some(Capability::CAP_SYS_ADMIN)
                .into_iter()
                .collect(),
            unknown: Vec::new(),
        };
        Process {
            no_new_privileges: nnp,
            args: vec!["true".into()],
            uid,
            gid: uid,
            capabilities: Some(Capabilities {
                bounding: set(bounding),
                permitted: set(true),
                ambient: set(ambient),
                inheritable: set(ambient),
                ..Capabilities::default()
            }),
        }
    }

    #[test]
    fn waits_for_the_exec_where_the_kernel_will_still_take_the_filter() {
        let boundary = |p: &Process| Plan::for_process(Some(p)).boundary;
        assert_eq!(boundary(&process(true, 1000, false, false)), Boundary::Exec);
        assert_eq!(boundary(&process(false, 0, false, true)), Boundary::Exec);
        assert_eq!(boundary(&process(false, 1000, true, true)), Boundary::Exec);
        for (uid, ambient, bounding) in
            [(0, false, false), (1000, false, true), (1000, true, false)]
        {
            let p = process(false, uid, ambient, bounding);
            assert_eq!(boundary(&p), Boundary::BeforeCapabilityDrop);
        }
        assert_eq!(
            Plan::for_process(None).boundary,
            Boundary::BeforeCapabilityDrop
        );
    }

    #[test]
    fn a_hook_loads_ahead_unless_others_would_inherit_it_or_come_first() {
        let around = Around {
            executes: true,
            inside: false,
            loads_a_program: false,
            on_existing: OnExisting::Verify,
        };
        let inside = Around {
            inside: true,
            ..around
        };
        let stack = Around {
            loads_a_program: true,
            on_existing: OnExisting::Stack,
            ..around
        };
        let (unknown, program) = (
            Around {
                executes: false,
                ..around
            },
            Around {
                loads_a_program: true,
                ..around
            },
        );
        let one = r#"{"hooks": {"createContainer": [{}]}}"#;
        let late = r#"{"hooks": {"startContainer": [{}]}}"#;
        let filtered = r#"{"linux": {"seccomp": {}}}"#;
        let prestart = r#"{"hooks": {"prestart": [{}]}}"#;
        let nnp = r#"{"process": {"noNewPrivileges": true}}"#;
        for (text, around, expected) in [
            ("{}", around, Boundary::Ahead),
            ("{}", unknown, Boundary::BeforeCapabilityDrop),
            ("{}", program, Boundary::BeforeCapabilityDrop),
            ("{}", stack, Boundary::Ahead),
            (prestart, around, Boundary::Ahead),
            (one, around, Boundary::BeforeCapabilityDrop),
            (one, inside, Boundary::Ahead),
            (late, inside, Boundary::BeforeCapabilityDrop),
            (filtered, around, Boundary::BeforeCapabilityDrop),
            (filtered, stack, Boundary::Ahead),
            (nnp, around, Boundary::Exec),
        ] {
            let config = Config::parse("config.json".as_ref(), text.into()).unwrap();
            let boundary = Plan::for_hook(&config, &around).boundary;
            assert_eq!(boundary, expected, "{text} {around:?}");
        }
    }

    /// The kernel does not raise it then, and the runtimes go on without.
    #[test]
    fn does_not_count_on_an_ambient_capability_that_is_not_inheritable() {
        let mut process = process(false, 1000, true, true);
        if let Some(sets) = &mut process.capabilities {
            sets.inheritable.known.clear();
        }
        let plan = Plan::for_process(Some(&process));
        assert_eq!(plan.boundary, Boundary::BeforeCapabilityDrop);
    }
}
