//! OCI section → [`Policy`] and findings: the first half of the mapping
//! layer. Everything a profile can get wrong is found here or in
//! [`crate::profile`]; a policy that exists is valid.
#![forbid(unsafe_code)]

use crate::near;
use crate::policy::{
    Action, Arch, ArchRules, Clause, Compare, Condition, ENOSYS, Flags, Listener, MAX_ERRNO, Policy,
};
use crate::syscalls::{self, Wiring};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as OciAction, LinuxSeccompArg,
    LinuxSeccompFilterFlag as OciFlag, LinuxSeccompOperator as Op, LinuxSyscall,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How to read what the OCI spec leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Refuse a name that nobody knows instead of skipping it.
    pub strict: bool,
    /// Answer calls newer than the profile with ENOSYS, as runc does.
    pub enosys: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            strict: false,
            enosys: true,
        }
    }
}

/// Why a section is no valid policy. Where a rule is at fault, its index in
/// `syscalls[]` comes with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
#[non_exhaustive]
pub struct Error {
    /// Index of the rule, `None` for the section as a whole.
    pub rule: Option<usize>,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong with a section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// There is no section.
    #[error("there is no seccomp section")]
    NoSection,
    /// NOTIFY cannot be the default: the call that hands the listener over
    /// would itself wait for the listener.
    #[error("SCMP_ACT_NOTIFY cannot be the default action")]
    DefaultNotify,
    /// errnoRet beside an action that returns none.
    #[error("errnoRet is given, but the action {0} returns no errno")]
    ErrnoUnused(String),
    /// errnoRet beyond what the kernel can return.
    #[error("errnoRet {0} is out of range: at most {MAX_ERRNO}")]
    ErrnoRange(u32),
    /// A name of no characters.
    #[error("an empty system call name")]
    EmptyName,
    /// A name with a byte no name can have, or too long for one.
    #[error("{0:?} cannot be the name of a system call")]
    BadName(String),
    /// Nobody knows the name.
    #[error("unknown system call {0:?}{near}",
        near = near::did_you_mean(syscalls::nearest(.0)))]
    UnknownName(String),
    /// A system call has six arguments.
    #[error("argument index {0} is out of reach: a system call has arguments 0 to 5")]
    ArgumentIndex(usize),
    /// NOTIFY on write would block the agent's own answers.
    #[error("SCMP_ACT_NOTIFY cannot be used for write")]
    NotifyWrite,
    /// NOTIFY with nobody to ask.
    #[error("SCMP_ACT_NOTIFY needs a listenerPath")]
    NoListener,
    /// A flag that the kernel refuses without a listener.
    #[error("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY")]
    FlagWithoutNotify,
}

/// Something a person should know that does not stop the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Index of the rule, `None` for the section as a whole.
    pub rule: Option<usize>,
    /// What was found.
    pub kind: FindingKind,
}

/// The kinds of findings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FindingKind {
    /// The name was skipped: nobody knows it.
    #[error("{0}: unknown system call, skipped")]
    UnknownName(String),
    /// The rule covers no call at all.
    #[error("covers no system call")]
    Empty,
    /// The call is already decided by an earlier rule in every case.
    #[error("{name}: never decides, rule {by} comes first")]
    Shadowed {
        /// The call.
        name: String,
        /// The rule that decides.
        by: usize,
    },
    /// The same call, conditions and action stand in an earlier rule.
    #[error("{name}: says the same as rule {by}")]
    Duplicate {
        /// The call.
        name: String,
        /// The earlier rule.
        by: usize,
    },
    /// Conditions on a call that can also be made through a multiplexer,
    /// where they cannot be checked.
    #[error("{name}: its conditions do not bind the same call made through {by} on {arch}")]
    Multiplexed {
        /// The call.
        name: String,
        /// socketcall or ipc.
        by: &'static str,
        /// Where.
        arch: Arch,
    },
    /// `listenerPath` without a NOTIFY rule.
    #[error("listenerPath is ignored: no rule says SCMP_ACT_NOTIFY")]
    UnusedListener,
    /// An architecture of the other byte order.
    #[error("{0} is skipped: its byte order differs, this kernel cannot run it")]
    ForeignEndianness(Arch),
    /// An architecture that libseccomp cannot compile for.
    #[error("{0} is skipped: libseccomp does not know it; its calls are killed")]
    UnsupportedArch(Arch),
}

/// A policy with what was noticed on the way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Translation {
    /// The policy.
    pub policy: Policy,
    /// What each rule says by itself, whatever the call: one clause, or one
    /// per condition where the rule names an argument twice.
    pub(crate) rules: Vec<Vec<Clause>>,
    /// What a person should know.
    pub findings: Vec<Finding>,
}

impl Translation {
    /// Whether the profile lists an architecture that was left out: its calls
    /// are killed, whatever the rules say.
    #[must_use]
    pub(crate) fn skips(&self, arch: Arch) -> bool {
        self.findings.iter().any(|f| {
            matches!(f.kind, FindingKind::ForeignEndianness(a) | FindingKind::UnsupportedArch(a) if a == arch)
        })
    }
}

/// Translates a section.
///
/// # Errors
/// The first [`Fault`], with the rule it is in.
///
/// ```
/// use oci_seccomp::translate::{Options, translate};
/// let section = serde_json::from_str(
///     r#"{"defaultAction": "SCMP_ACT_ALLOW",
///         "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}"#,
/// )?;
/// let translation = translate(&section, Options::default())?;
/// assert!(translation.findings.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn translate(section: &LinuxSeccomp, options: Options) -> Result<Translation, Error> {
    let whole = |fault| Error { rule: None, fault };
    let default = action(section.default_action(), section.default_errno_ret()).map_err(whole)?;
    if default == Action::Notify {
        return Err(whole(Fault::DefaultNotify));
    }
    let mut findings = Vec::new();
    let arches = architectures(section, &mut findings);
    let syscalls = section.syscalls().as_deref().unwrap_or_default();
    let mut rules = Vec::with_capacity(syscalls.len());
    for (index, syscall) in syscalls.iter().enumerate() {
        let at = |fault| Error {
            rule: Some(index),
            fault,
        };
        rules.push(Rule::read(index, syscall, options, &mut findings).map_err(at)?);
    }
    let notify = rules.iter().any(|r| r.action == Action::Notify);
    let mut policy = Policy {
        default,
        arches: Vec::with_capacity(arches.len()),
        flags: flags(section, notify).map_err(whole)?,
        listener: listener(section, notify, &mut findings).map_err(whole)?,
    };
    let mut skipped = BTreeSet::new();
    for &arch in &arches {
        let rules = arch_rules(arch, &rules, default, options, &mut skipped, &mut findings);
        policy.arches.push(rules);
    }
    findings.extend(skipped.into_iter().map(|(rule, name)| Finding {
        rule: Some(rule),
        kind: FindingKind::UnknownName(name),
    }));
    findings.sort_by_key(|f| f.rule);
    Ok(Translation {
        policy,
        rules: rules.iter().map(Rule::clauses).collect(),
        findings,
    })
}

/// One entry of `syscalls[]`, validated, before it meets an architecture.
struct Rule<'a> {
    index: usize,
    names: BTreeSet<&'a str>,
    /// The alternatives: any of them matches. More than one only where the
    /// entry names an argument twice.
    alternatives: Vec<Vec<Condition>>,
    action: Action,
}

impl<'a> Rule<'a> {
    fn read(
        index: usize,
        syscall: &'a LinuxSyscall,
        options: Options,
        findings: &mut Vec<Finding>,
    ) -> Result<Self, Fault> {
        let action = action(syscall.action(), syscall.errno_ret())?;
        let mut names = BTreeSet::new();
        for name in syscall.names() {
            check_name(name)?;
            if action == Action::Notify && name == "write" {
                return Err(Fault::NotifyWrite);
            }
            if options.strict && syscalls::resolve(name, Arch::native()) == Wiring::Unknown {
                return Err(Fault::UnknownName(name.clone()));
            }
            names.insert(name.as_str());
        }
        if names.is_empty() {
            findings.push(Finding {
                rule: Some(index),
                kind: FindingKind::Empty,
            });
        }
        let args = syscall.args().as_deref().unwrap_or_default();
        Ok(Self {
            index,
            names,
            alternatives: alternatives(args)?,
            action,
        })
    }
}

impl Rule<'_> {
    fn clauses(&self) -> Vec<Clause> {
        let clause = |conditions: &Vec<Condition>| Clause {
            conditions: conditions.clone(),
            action: self.action,
            rule: self.index,
        };
        self.alternatives.iter().map(clause).collect()
    }
}

/// A name is looked up through C strings; the kernel's are short and plain.
fn check_name(name: &str) -> Result<(), Fault> {
    match name {
        "" => Err(Fault::EmptyName),
        n if n.len() > 63 || !n.bytes().all(|b| b.is_ascii_graphic()) => {
            Err(Fault::BadName(n.chars().take(64).collect()))
        }
        _ => Ok(()),
    }
}

/// The conditions of a rule. libseccomp holds one condition per argument, so
/// runc, crun and youki all read a rule that names an argument twice as one
/// rule per condition.
fn alternatives(args: &[LinuxSeccompArg]) -> Result<Vec<Vec<Condition>>, Fault> {
    let conditions = args.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let mut seen = [false; 6];
    let repeated = conditions
        .iter()
        .any(|c| std::mem::replace(&mut seen[usize::from(c.arg)], true));
    Ok(if repeated {
        conditions.into_iter().map(|c| vec![c]).collect()
    } else {
        vec![conditions]
    })
}

fn condition(arg: &LinuxSeccompArg) -> Result<Condition, Fault> {
    let index = u8::try_from(arg.index()).ok().filter(|&i| i < 6);
    let value = arg.value();
    Ok(Condition {
        arg: index.ok_or(Fault::ArgumentIndex(arg.index()))?,
        compare: match arg.op() {
            Op::ScmpCmpNe => Compare::Ne(value),
            Op::ScmpCmpLt => Compare::Lt(value),
            Op::ScmpCmpLe => Compare::Le(value),
            Op::ScmpCmpEq => Compare::Eq(value),
            Op::ScmpCmpGe => Compare::Ge(value),
            Op::ScmpCmpGt => Compare::Gt(value),
            Op::ScmpCmpMaskedEq => Compare::MaskedEq {
                mask: value,
                datum: arg.value_two().unwrap_or(0),
            },
        },
    })
}

fn action(action: OciAction, errno: Option<u32>) -> Result<Action, Fault> {
    let value = match errno {
        None => nix::libc::EPERM.cast_unsigned(),
        Some(e) if e > MAX_ERRNO => return Err(Fault::ErrnoRange(e)),
        Some(e) => e,
    };
    #[allow(clippy::cast_possible_truncation)] // at most MAX_ERRNO
    let value = value as u16;
    let action = match action {
        OciAction::ScmpActErrno => return Ok(Action::Errno(value)),
        OciAction::ScmpActTrace => return Ok(Action::Trace(value)),
        OciAction::ScmpActKill | OciAction::ScmpActKillThread => Action::KillThread,
        OciAction::ScmpActKillProcess => Action::KillProcess,
        OciAction::ScmpActTrap => Action::Trap,
        OciAction::ScmpActNotify => Action::Notify,
        OciAction::ScmpActLog => Action::Log,
        OciAction::ScmpActAllow => Action::Allow,
    };
    match errno {
        Some(_) => Err(Fault::ErrnoUnused(action.to_string())),
        None => Ok(action),
    }
}

/// The native architecture first, then the listed ones, each once.
fn architectures(section: &LinuxSeccomp, findings: &mut Vec<Finding>) -> Vec<Arch> {
    let mut arches = vec![Arch::native()];
    for listed in section.architectures().iter().flatten() {
        let name = listed.to_string();
        // oci-spec's enum and ours list the same names; NATIVE alone is no
        // architecture of its own.
        let arch = Arch::parse(&name).unwrap_or(Arch::native());
        let skipped = if !arch.same_endianness(Arch::native()) {
            Some(FindingKind::ForeignEndianness(arch))
        } else if !syscalls::supported(arch) {
            Some(FindingKind::UnsupportedArch(arch))
        } else {
            None
        };
        match skipped {
            Some(kind) => findings.push(Finding { rule: None, kind }),
            None if !arches.contains(&arch) => arches.push(arch),
            None => {}
        }
    }
    arches
}

fn flags(section: &LinuxSeccomp, notify: bool) -> Result<Flags, Fault> {
    let Some(listed) = section.flags() else {
        return Ok(Flags {
            spec_allow: true,
            ..Flags::default()
        });
    };
    let mut flags = Flags::default();
    for flag in listed {
        match flag {
            OciFlag::SeccompFilterFlagTsync => flags.tsync = true,
            OciFlag::SeccompFilterFlagLog => flags.log = true,
            OciFlag::SeccompFilterFlagSpecAllow => flags.spec_allow = true,
            OciFlag::SeccompFilterFlagWaitKillableRecv if notify => {
                flags.wait_killable_recv = true;
            }
            OciFlag::SeccompFilterFlagWaitKillableRecv => return Err(Fault::FlagWithoutNotify),
        }
    }
    Ok(flags)
}

fn listener(
    section: &LinuxSeccomp,
    notify: bool,
    findings: &mut Vec<Finding>,
) -> Result<Option<Listener>, Fault> {
    let path = section.listener_path().as_ref();
    match path.filter(|p| !p.as_os_str().is_empty()) {
        Some(path) if notify => Ok(Some(Listener {
            path: path.clone(),
            metadata: section.listener_metadata().clone(),
        })),
        None if notify => Err(Fault::NoListener),
        Some(_) => {
            findings.push(Finding {
                rule: None,
                kind: FindingKind::UnusedListener,
            });
            Ok(None)
        }
        None => Ok(None),
    }
}

/// Lays the rules out for one architecture.
fn arch_rules(
    arch: Arch,
    rules: &[Rule],
    default: Action,
    options: Options,
    skipped: &mut BTreeSet<(usize, String)>,
    findings: &mut Vec<Finding>,
) -> ArchRules {
    let mut calls = Calls::new(arch);
    for rule in rules {
        let unconditional = rule.alternatives.iter().any(Vec::is_empty);
        for &name in &rule.names {
            let (direct, multiplexer) = match syscalls::resolve(name, arch) {
                Wiring::Direct(nr) => (Some(nr), None),
                Wiring::Multiplexed { by, sub, direct } => (direct, Some((by, sub))),
                Wiring::Absent => (None, None),
                Wiring::Unknown => {
                    skipped.insert((rule.index, name.to_owned()));
                    (None, None)
                }
            };
            if let Some(nr) = direct {
                for conditions in &rule.alternatives {
                    findings.extend(calls.add(nr, rule, conditions.clone(), name));
                }
            }
            match multiplexer {
                Some((by, sub)) if unconditional => {
                    let selects = Condition {
                        arg: 0,
                        compare: Compare::MaskedEq {
                            mask: sub.mask.into(),
                            datum: sub.number.into(),
                        },
                    };
                    findings.extend(calls.add(by, rule, vec![selects], name));
                }
                Some((_, sub)) => findings.push(Finding {
                    rule: Some(rule.index),
                    kind: FindingKind::Multiplexed {
                        name: name.to_owned(),
                        by: if sub.mask == 0xffff {
                            "ipc"
                        } else {
                            "socketcall"
                        },
                        arch,
                    },
                }),
                None => {}
            }
        }
    }
    let silent = matches!(
        default,
        Action::Allow | Action::Log | Action::Trace(_) | Action::Errno(ENOSYS)
    );
    let newest = calls.clauses.keys().next_back().copied();
    ArchRules {
        arch,
        calls: calls.clauses,
        newest: newest.filter(|_| options.enosys && !silent),
    }
}

/// The clauses of one architecture, as they are laid out.
struct Calls {
    arch: Arch,
    clauses: BTreeMap<u32, Vec<Clause>>,
    /// Of each number's clauses the first that always holds, and the first
    /// with the same conditions, by place.
    always: HashMap<u32, usize>,
    same: HashMap<(u32, Vec<Condition>), usize>,
}

impl Calls {
    fn new(arch: Arch) -> Self {
        Self {
            arch,
            clauses: BTreeMap::new(),
            always: HashMap::new(),
            same: HashMap::new(),
        }
    }

    /// Appends a clause. One that can never decide is kept: the verdict does
    /// not change, and what the profile says about the call stays visible.
    fn add(
        &mut self,
        nr: u32,
        rule: &Rule,
        conditions: Vec<Condition>,
        name: &str,
    ) -> Option<Finding> {
        let clauses = self.clauses.entry(nr).or_default();
        let place = clauses.len();
        let key = (nr, conditions.clone());
        let earlier = [self.always.get(&nr), self.same.get(&key)];
        let earlier = earlier.into_iter().flatten().min().copied();
        if conditions.is_empty() {
            self.always.entry(nr).or_insert(place);
        }
        self.same.entry(key).or_insert(place);
        clauses.push(Clause {
            conditions,
            action: rule.action,
            rule: rule.index,
        });
        let (first, last) = (&clauses[earlier?], &clauses[place]);
        // Said once, for the native architecture; the others repeat it.
        let (name, by) = (name.to_owned(), first.rule);
        (self.arch == Arch::native()).then(|| Finding {
            rule: Some(rule.index),
            kind: if first.same_effect(last) {
                FindingKind::Duplicate { name, by }
            } else {
                FindingKind::Shadowed { name, by }
            },
        })
    }
}

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;
