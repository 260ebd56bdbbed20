//! A program for people: one instruction a line, labels where jumps lead,
//! names in place of numbers.
#![forbid(unsafe_code)]

use super::{Insn, Program, offset, op};
use crate::policy::{Action, Arch, X32_BIT};
use std::collections::BTreeSet;

impl Program {
    /// Lists the program. `name` gives the name of a call, so that this
    /// module need not know tables.
    ///
    /// ```
    /// use oci_seccomp::bpf::{Insn, Program, op};
    /// let allow = Insn { code: op::RET_K, jt: 0, jf: 0, k: 0x7fff_0000 };
    /// let text = Program::new(vec![allow])?.listing(|_, _| None);
    /// assert_eq!(text, "           0  ret   ALLOW\n");
    /// # Ok::<(), oci_seccomp::bpf::Invalid>(())
    /// ```
    #[doc(hidden)]
    #[must_use]
    pub fn listing(&self, name: impl Fn(Arch, u32) -> Option<String>) -> String {
        let lines = self.lines(name);
        lines
            .iter()
            .fold(String::new(), |out, line| out + line + "\n")
    }

    /// [`Program::listing`] by line, one for each instruction.
    #[must_use]
    pub(crate) fn lines(&self, name: impl Fn(Arch, u32) -> Option<String>) -> Vec<String> {
        let targets = self.targets();
        let words = self.words();
        let line = |(pc, insn): (usize, &Insn)| {
            let label = match targets.contains(&pc) {
                true => format!("L{pc}:"),
                false => String::new(),
            };
            let text = describe(pc, *insn, words[pc], &name);
            format!("{label:<7}{pc:>5}  {text}")
        };
        self.instructions().iter().enumerate().map(line).collect()
    }

    /// Where jumps lead, but to the next instruction.
    fn targets(&self) -> BTreeSet<usize> {
        let mut out = BTreeSet::new();
        for (pc, i) in self.instructions().iter().enumerate() {
            match i.code {
                op::JA => {
                    out.insert(pc + 1 + i.k as usize);
                }
                _ if i.is_branch() => {
                    out.insert(pc + 1 + usize::from(i.jt));
                    out.insert(pc + 1 + usize::from(i.jf));
                }
                _ => {}
            }
        }
        out
    }

    /// What is known before each instruction, on every way to it: the word in
    /// the accumulator and the architecture.
    fn words(&self) -> Vec<Known> {
        let insns = self.instructions();
        let mut at: Vec<Option<Known>> = vec![None; insns.len()];
        at[0] = Some(Known::default());
        for (pc, &i) in insns.iter().enumerate() {
            let Some(here) = at[pc] else { continue };
            let mut flow = |to: usize, known: Known| {
                if let Some(slot) = at.get_mut(to) {
                    *slot = Some(slot.map_or(known, |old| old.both(known)));
                }
            };
            match i.code {
                op::RET_K | op::RET_A => {}
                op::LD_ABS => flow(
                    pc + 1,
                    Known {
                        word: Some(i.k),
                        ..here
                    },
                ),
                op::JA => flow(pc + 1 + i.k as usize, here),
                _ if i.is_branch() => {
                    flow(pc + 1 + usize::from(i.jt), here.after(i));
                    flow(pc + 1 + usize::from(i.jf), here);
                }
                _ => flow(pc + 1, here),
            }
        }
        at.into_iter().map(Option::unwrap_or_default).collect()
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Known {
    word: Option<u32>,
    arch: Option<Arch>,
}

impl Known {
    fn both(self, other: Self) -> Self {
        Self {
            word: self.word.filter(|_| self.word == other.word),
            arch: self.arch.filter(|_| self.arch == other.arch),
        }
    }

    /// What a comparison that held adds.
    fn after(self, i: Insn) -> Self {
        let arch = Arch::ALL.iter().find(|a| a.audit() == i.k);
        match (self.word, i.code) {
            (Some(offset::ARCH), op::JEQ_K) => Self {
                arch: arch.copied(),
                ..self
            },
            _ => self,
        }
    }
}

fn describe(
    pc: usize,
    i: Insn,
    known: Known,
    name: impl Fn(Arch, u32) -> Option<String>,
) -> String {
    let jump = |mnemonic: &str| {
        let (yes, no) = (pc + 1 + usize::from(i.jt), pc + 1 + usize::from(i.jf));
        let value = constant(i.k, known, &name);
        format!("{mnemonic:<5} {value:<34} ? L{yes} : L{no}")
    };
    match i.code {
        op::LD_ABS => format!("ld    {}", word(i.k)),
        op::RET_K => format!("ret   {}", Action::from_ret(i.k)),
        op::RET_A => "ret   a".to_owned(),
        op::JA => format!("ja    L{}", pc + 1 + i.k as usize),
        op::JEQ_K => jump("jeq"),
        op::JGT_K => jump("jgt"),
        op::JGE_K => jump("jge"),
        op::JSET_K => jump("jset"),
        op::AND_K => format!("and   {:#x}", i.k),
        code => format!("op    {code:#06x} jt {} jf {} k {:#x}", i.jt, i.jf, i.k),
    }
}

/// A field of `seccomp_data`.
fn word(k: u32) -> String {
    match k {
        offset::NR => "nr".to_owned(),
        offset::ARCH => "arch".to_owned(),
        k if k < offset::ARGS => format!("ip+{}", k - 8),
        k => {
            let low = (k % 8 == 0) == cfg!(target_endian = "little");
            let half = if low { "low" } else { "high" };
            format!("arg{}.{half}", (k - offset::ARGS) / 8)
        }
    }
}

fn constant(k: u32, known: Known, name: impl Fn(Arch, u32) -> Option<String>) -> String {
    let named = match known.word {
        Some(offset::ARCH) => {
            let arch = Arch::ALL.iter().find(|a| a.audit() == k);
            arch.map(ToString::to_string)
        }
        Some(offset::NR) => known.arch.and_then(|arch| match arch {
            Arch::X86_64 if k >= X32_BIT => name(Arch::X32, k).map(|n| format!("x32 {n}")),
            arch => name(arch, k),
        }),
        _ => None,
    };
    match (named, known.word) {
        (Some(named), Some(offset::NR)) if k < X32_BIT => format!("{k} ({named})"),
        (Some(named), _) => format!("{k:#x} ({named})"),
        (None, Some(offset::NR)) if k < X32_BIT => k.to_string(),
        (None, _) => format!("{k:#x}"),
    }
}
