//! What a program costs: its size, and what the kernel executes for a call.
#![forbid(unsafe_code)]

use crate::bpf::{Program, Residue, op};
use crate::policy::{Action, Arch, ArchRules, Call};
use crate::prove::numbers;
use crate::syscalls;
use serde::Serialize;
use std::collections::BTreeSet;

/// What the program is for calls of one architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Instructions that can be reached from a call of this architecture;
    /// some may serve others as well.
    pub instructions: usize,
    /// Instructions executed for a call that is let through whatever its
    /// arguments are: the median over all such calls.
    pub allowed: Option<Typical>,
    /// The same for one whose arguments are looked at; they are 0.
    pub checked: Option<Typical>,
    /// The same for one that is not let through whatever its arguments are.
    pub denied: Option<Typical>,
    /// Calls that Linux 5.11 and later answer without running the program;
    /// `None` for an architecture that the kernel has no bitmap for.
    pub bitmap: Option<Bitmap>,
}

/// The call in the middle of all of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Typical {
    /// Its name.
    pub call: String,
    /// How many instructions it takes.
    pub instructions: usize,
}

/// Calls in the kernel's bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bitmap {
    /// Those that are answered from it.
    pub answered: usize,
    /// Of so many that exist.
    pub calls: usize,
}

impl Cost {
    /// Measures a program for one architecture.
    #[must_use]
    pub fn new(program: &Program, rules: &ArchRules) -> Self {
        let arch = rules.arch;
        let known: Vec<(u32, String)> = known(arch);
        let call = |nr| Call {
            audit: arch.audit(),
            nr,
            args: [0; 6],
        };
        let (mut allowed, mut checked, mut denied) = (Vec::new(), Vec::new(), Vec::new());
        for (nr, name) in &known {
            let (ret, steps) = program.run(&call(*nr));
            let of = match program.residue(&call(*nr)) {
                Residue::At(_) => &mut checked,
                Residue::Returned(_) if Action::from_ret(ret) == Action::Allow => &mut allowed,
                Residue::Returned(_) => &mut denied,
            };
            of.push((steps, name));
        }
        let cached = known
            .iter()
            .filter(|(nr, _)| program.is_const_allow(arch.audit(), *nr));
        Self {
            instructions: reachable(program, rules),
            allowed: median(allowed),
            checked: median(checked),
            denied: median(denied),
            bitmap: has_bitmap(arch).then(|| Bitmap {
                answered: cached.count(),
                calls: known.len(),
            }),
        }
    }
}

/// The calls of an architecture that have a name.
fn known(arch: Arch) -> Vec<(u32, String)> {
    let base = syscalls::base(arch);
    let named = |nr| syscalls::name(arch, nr).map(|name| (nr, name));
    (base..base + 600).filter_map(named).collect()
}

/// `SECCOMP_ARCH_NATIVE` and `SECCOMP_ARCH_COMPAT` (asm/seccomp.h).
const fn has_bitmap(arch: Arch) -> bool {
    match Arch::native() {
        Arch::X86_64 => matches!(arch, Arch::X86_64 | Arch::X86),
        _ => matches!(arch, Arch::Aarch64 | Arch::Arm),
    }
}

fn median(mut calls: Vec<(usize, &String)>) -> Option<Typical> {
    calls.sort_unstable();
    let (instructions, call) = calls.get(calls.len().checked_sub(1)? / 2)?;
    Some(Typical {
        call: (*call).clone(),
        instructions: *instructions,
    })
}

/// How many instructions some call of the architecture reaches.
fn reachable(program: &Program, rules: &ArchRules) -> usize {
    let insns = program.instructions();
    let constants = insns
        .iter()
        .filter(|i| i.is_branch())
        .map(|i| i.k)
        .collect();
    let mut seen = BTreeSet::new();
    let mut stack = Vec::new();
    for nr in numbers(rules.arch, Some(rules), &constants) {
        let call = Call {
            audit: rules.arch.audit(),
            nr,
            args: [0; 6],
        };
        // x86_64 and x32 share a token.
        let is_own = |&nr: &u32| (nr >= syscalls::base(Arch::X32)) == (rules.arch == Arch::X32);
        if matches!(rules.arch, Arch::X86_64 | Arch::X32) && !is_own(&nr) {
            continue;
        }
        seen.extend(program.path(&call).into_iter().map(|step| step.0));
        if let Residue::At(pc) = program.residue(&call) {
            stack.push(pc);
        }
    }
    let mut done = BTreeSet::new();
    while let Some(pc) = stack.pop() {
        if !done.insert(pc) {
            continue;
        }
        let i = insns[pc];
        match i.code {
            op::RET_K | op::RET_A => {}
            op::JA => stack.push(pc + 1 + i.k as usize),
            _ if i.is_branch() => {
                stack.extend([i.jt, i.jf].map(|skip| pc + 1 + usize::from(skip)));
            }
            _ => stack.push(pc + 1),
        }
    }
    seen.extend(done);
    seen.len()
}
