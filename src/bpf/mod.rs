//! Classic BPF as seccomp(2) takes it: instruction, program, interpreter.
//! Pure.
//!
//! The interpreter knows exactly the operations that the kernel accepts from
//! a seccomp filter (`seccomp_check_filter`), and a [`Program`] exists only
//! after every jump and return of it was checked, so running one can neither
//! fail nor loop.
#![forbid(unsafe_code)]

mod cache;
mod listing;

use crate::policy::{Action, Call};

/// The most instructions the kernel takes in one program (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Offsets into `struct seccomp_data` (linux/seccomp.h), in bytes.
pub(crate) mod offset {
    /// `nr`
    pub const NR: u32 = 0;
    /// `arch`
    pub const ARCH: u32 = 4;
    /// `args[0]`; eight bytes each, in the kernel's byte order.
    pub const ARGS: u32 = 16;
    /// Size of the whole structure.
    pub const END: u32 = 64;
}

/// Operation codes of linux/filter.h that seccomp accepts.
#[doc(hidden)]
#[allow(missing_docs)]
pub mod op {
    pub const LD_ABS: u16 = 0x20;
    pub const LD_IMM: u16 = 0x00;
    pub const LDX_IMM: u16 = 0x01;
    pub const LD_MEM: u16 = 0x60;
    pub const LDX_MEM: u16 = 0x61;
    pub const LD_LEN: u16 = 0x80;
    pub const LDX_LEN: u16 = 0x81;
    pub const ST: u16 = 0x02;
    pub const STX: u16 = 0x03;
    pub const TAX: u16 = 0x07;
    pub const TXA: u16 = 0x87;
    pub const RET_K: u16 = 0x06;
    pub const RET_A: u16 = 0x16;
    pub const JA: u16 = 0x05;
    pub const JEQ_K: u16 = 0x15;
    pub const JGT_K: u16 = 0x25;
    pub const JGE_K: u16 = 0x35;
    pub const JSET_K: u16 = 0x45;
    pub const AND_K: u16 = 0x54;
    /// Class and operation bits of an arithmetic instruction.
    pub const ALU: u16 = 0x04;
    /// Class bits of a jump.
    pub const JMP: u16 = 0x05;
    /// Bit that makes X the operand in place of the constant.
    pub const SRC_X: u16 = 0x08;
}

/// One instruction: the layout of `struct sock_filter` (linux/filter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Insn {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a jump's comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Constant, offset or return value.
    pub k: u32,
}

impl Insn {
    /// Whether this is one of the conditional jumps.
    #[must_use]
    pub(crate) const fn is_branch(self) -> bool {
        self.code & 7 == op::JMP && self.code != op::JA
    }
}

/// Why a sequence of instructions is not a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Nothing in it.
    #[error("the program is empty")]
    Empty,
    /// More than the kernel takes; a far longer one is not counted to its end.
    #[error("the program takes {0} instructions or more, the kernel at most {MAX_INSTRUCTIONS}")]
    TooLong(usize),
    /// The bytes are not a whole number of instructions.
    #[error("{0} bytes are not a whole number of 8-byte instructions")]
    Ragged(usize),
    /// An operation that seccomp does not accept.
    #[error("instruction {at}: operation {code:#06x} is not one that seccomp accepts")]
    Operation {
        /// Index of the instruction.
        at: usize,
        /// Its code.
        code: u16,
    },
    /// A load outside `struct seccomp_data`, or not on a word.
    #[error("instruction {at}: there is no word at offset {k} of seccomp_data")]
    Load {
        /// Index of the instruction.
        at: usize,
        /// The offset.
        k: u32,
    },
    /// Scratch memory has 16 words.
    #[error("instruction {at}: scratch memory has no word {k}")]
    Memory {
        /// Index of the instruction.
        at: usize,
        /// The index.
        k: u32,
    },
    /// A scratch word that no path before has written.
    #[error("instruction {at}: scratch word {k} may be read before it is written")]
    Unwritten {
        /// Index of the instruction.
        at: usize,
        /// The index.
        k: u32,
    },
    /// Division by the constant 0, or a shift of 32 bits or more.
    #[error("instruction {at}: invalid operand {k}")]
    Operand {
        /// Index of the instruction.
        at: usize,
        /// The constant.
        k: u32,
    },
    /// A jump past the end.
    #[error("instruction {at}: jumps past the end of the program")]
    Jump {
        /// Index of the instruction.
        at: usize,
    },
    /// The last instruction does not return.
    #[error("the last instruction is no return")]
    NoReturn,
}

/// A valid filter program: what `seccomp(SECCOMP_SET_MODE_FILTER)` accepts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Program(Vec<Insn>);

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({} instructions)", self.0.len())
    }
}

impl Program {
    /// Checks the instructions as the kernel does (`bpf_check_classic`,
    /// `seccomp_check_filter`).
    ///
    /// # Errors
    /// The first thing the kernel would refuse.
    ///
    /// ```
    /// use oci_seccomp::bpf::{Insn, Program};
    /// // BPF_RET | BPF_K, SECCOMP_RET_ALLOW
    /// let allow = Insn { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };
    /// assert!(Program::new(vec![allow]).is_ok());
    /// assert!(Program::new(vec![]).is_err());
    /// ```
    pub fn new(insns: Vec<Insn>) -> Result<Self, Invalid> {
        if insns.is_empty() {
            return Err(Invalid::Empty);
        }
        if insns.len() > MAX_INSTRUCTIONS {
            return Err(Invalid::TooLong(insns.len()));
        }
        for (at, insn) in insns.iter().enumerate() {
            check(at, *insn, insns.len())?;
        }
        check_memory(&insns)?;
        match insns[insns.len() - 1].code {
            op::RET_K | op::RET_A => Ok(Self(insns)),
            _ => Err(Invalid::NoReturn),
        }
    }

    /// Reads a program as libseccomp exports it and bubblewrap takes it:
    /// `struct sock_filter` in the machine's byte order.
    ///
    /// # Errors
    /// [`Invalid`], also for a length that is no multiple of 8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(Invalid::Ragged(bytes.len()));
        }
        if chunks.len() > MAX_INSTRUCTIONS {
            return Err(Invalid::TooLong(chunks.len()));
        }
        let insn = |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]| Insn {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        };
        Self::new(chunks.iter().map(insn).collect())
    }

    /// The reverse of [`Program::from_bytes`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() * 8);
        for i in &self.0 {
            out.extend(i.code.to_ne_bytes());
            out.extend([i.jt, i.jf]);
            out.extend(i.k.to_ne_bytes());
        }
        out
    }

    /// A short name for it: the first twelve digits of the SHA-256 of its
    /// bytes, as sha256sum(1) prints them.
    #[cfg(feature = "cli")]
    #[doc(hidden)]
    #[must_use]
    pub fn fingerprint(&self) -> String {
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(self.to_bytes());
        hash.iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The instructions, at least one and at most [`MAX_INSTRUCTIONS`].
    #[must_use]
    pub fn instructions(&self) -> &[Insn] {
        &self.0
    }

    /// Whether it may answer NOTIFY, which takes a listener: as far as its
    /// instructions tell, without regard to which are reached.
    #[doc(hidden)]
    #[must_use]
    pub fn may_notify(&self) -> bool {
        self.0.iter().any(|insn| match insn.code {
            op::RET_A => true,
            op::RET_K => Action::from_ret(insn.k) == Action::Notify,
            _ => false,
        })
    }

    /// What the kernel would get from the program for a call: the raw return
    /// value ([`crate::policy::Action::from_ret`] reads it) and the number of
    /// instructions it took.
    #[must_use]
    pub fn run(&self, call: &Call) -> (u32, usize) {
        self.run_from(0, call)
    }

    /// The instructions that the kernel executes for a call, by index, with
    /// what is in the accumulator before each; the last one returns.
    #[must_use]
    pub(crate) fn path(&self, call: &Call) -> Vec<(usize, u32)> {
        let mut path = Vec::new();
        self.execute(0, call, |pc, a| path.push((pc, a)));
        path
    }

    /// [`Program::run`] from an instruction on, with all registers zero.
    pub(crate) fn run_from(&self, pc: usize, call: &Call) -> (u32, usize) {
        self.execute(pc, call, |_, _| {})
    }

    fn execute(
        &self,
        mut pc: usize,
        call: &Call,
        mut visit: impl FnMut(usize, u32),
    ) -> (u32, usize) {
        let (mut a, mut x, mut mem) = (0u32, 0u32, [0u32; 16]);
        let mut steps = 0usize;
        loop {
            visit(pc, a);
            let i = self.0[pc];
            pc += 1;
            steps += 1;
            match i.code {
                op::LD_ABS => a = word(call, i.k),
                op::RET_K => return (i.k, steps),
                op::RET_A => return (a, steps),
                op::JA => pc += i.k as usize,
                op::LD_IMM => a = i.k,
                op::LDX_IMM => x = i.k,
                op::LD_MEM => a = mem[i.k as usize],
                op::LDX_MEM => x = mem[i.k as usize],
                op::LD_LEN => a = offset::END,
                op::LDX_LEN => x = offset::END,
                op::ST => mem[i.k as usize] = a,
                op::STX => mem[i.k as usize] = x,
                op::TAX => x = a,
                op::TXA => a = x,
                code => {
                    let operand = if code & op::SRC_X == 0 { i.k } else { x };
                    if code & 7 == op::JMP {
                        let skip = if branch(code, a, operand) { i.jt } else { i.jf };
                        pc += usize::from(skip);
                    } else if let Some(result) = alu(code, a, operand) {
                        a = result;
                    } else {
                        return (0, steps);
                    }
                }
            }
        }
    }
}

/// Where a program stands when it was run up to some load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Residue {
    /// It has returned: the load does not matter.
    Returned(u32),
    /// It is about to load, at this instruction.
    At(usize),
}

impl Residue {
    /// From where to run on: what has returned is run again.
    pub(crate) const fn start(self) -> usize {
        match self {
            Self::Returned(_) => 0,
            Self::At(pc) => pc,
        }
    }
}

impl Program {
    /// Whether all state of the program is in its accumulator and its place:
    /// no X, no scratch memory, no arithmetic but masks. So are libseccomp's
    /// programs and ours.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.iter().all(|i| {
            matches!(
                i.code,
                op::LD_ABS
                    | op::RET_K
                    | op::JA
                    | op::JEQ_K
                    | op::JGT_K
                    | op::JGE_K
                    | op::JSET_K
                    | op::AND_K
            )
        })
    }

    /// Runs a plain program up to its first load of an argument.
    pub(crate) fn residue(&self, call: &Call) -> Residue {
        self.run_until(call, |k| k >= offset::ARGS)
    }

    /// Whether a plain program decides on the architecture alone.
    pub(crate) fn ignores_number(&self, audit: u32) -> bool {
        let call = Call {
            audit,
            nr: 0,
            args: [0; 6],
        };
        matches!(
            self.run_until(&call, |k| k != offset::ARCH),
            Residue::Returned(_)
        )
    }

    /// Runs a plain program up to its first load that `stop` chooses.
    fn run_until(&self, call: &Call, stop: impl Fn(u32) -> bool) -> Residue {
        let (mut a, mut pc) = (0u32, 0usize);
        loop {
            let i = self.0[pc];
            match i.code {
                op::LD_ABS if stop(i.k) => return Residue::At(pc),
                op::LD_ABS => a = word(call, i.k),
                op::RET_K => return Residue::Returned(i.k),
                op::JA => pc += i.k as usize,
                op::AND_K => a &= i.k,
                code => pc += usize::from(if branch(code, a, i.k) { i.jt } else { i.jf }),
            }
            pc += 1;
        }
    }
}

/// The word at a checked offset of `seccomp_data`.
fn word(call: &Call, k: u32) -> u32 {
    match k {
        offset::NR => call.nr,
        offset::ARCH => call.audit,
        // The instruction pointer: no profile can name it, and no program
        // proven against one may depend on it.
        k if k < offset::ARGS => 0,
        k => {
            let bytes = call.args[(k - offset::ARGS) as usize / 8].to_ne_bytes();
            let at = (k % 8) as usize;
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        }
    }
}

/// A conditional jump's comparison.
fn branch(code: u16, a: u32, operand: u32) -> bool {
    match code & !op::SRC_X {
        op::JEQ_K => a == operand,
        op::JGT_K => a > operand,
        op::JGE_K => a >= operand,
        _ => a & operand != 0,
    }
}

/// An arithmetic operation; `None` for a division by zero in X, which makes
/// the kernel return 0.
fn alu(code: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match code & 0xf0 {
        0x00 => a.wrapping_add(operand),
        0x10 => a.wrapping_sub(operand),
        0x20 => a.wrapping_mul(operand),
        0x30 => a.checked_div(operand)?,
        0x40 => a | operand,
        0x50 => a & operand,
        0x60 => a.wrapping_shl(operand),
        0x70 => a.wrapping_shr(operand),
        0x80 => a.wrapping_neg(),
        _ => a ^ operand,
    })
}

/// The checks on one instruction.
fn check(at: usize, i: Insn, len: usize) -> Result<(), Invalid> {
    let inside = |skip: usize| match at + 1 + skip {
        target if target < len => Ok(()),
        _ => Err(Invalid::Jump { at }),
    };
    match i.code {
        op::LD_ABS if i.k >= offset::END || !i.k.is_multiple_of(4) => {
            Err(Invalid::Load { at, k: i.k })
        }
        op::LD_MEM | op::LDX_MEM | op::ST | op::STX if i.k >= 16 => {
            Err(Invalid::Memory { at, k: i.k })
        }
        op::JA => inside(i.k as usize),
        0x34 if i.k == 0 => Err(Invalid::Operand { at, k: 0 }),
        0x64 | 0x74 if i.k >= 32 => Err(Invalid::Operand { at, k: i.k }),
        op::LD_ABS
        | op::LD_IMM
        | op::LDX_IMM
        | op::LD_MEM
        | op::LDX_MEM
        | op::LD_LEN
        | op::LDX_LEN
        | op::ST
        | op::STX
        | op::TAX
        | op::TXA
        | op::RET_K
        | op::RET_A => Ok(()),
        code if is_alu(code) => Ok(()),
        0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d => {
            inside(usize::from(i.jt))?;
            inside(usize::from(i.jf))
        }
        code => Err(Invalid::Operation { at, code }),
    }
}

/// Arithmetic that seccomp accepts: no remainder, and nothing to negate X for.
const fn is_alu(code: u16) -> bool {
    code & 7 == op::ALU && code <= 0xac && code & 0xf0 != 0x90 && code != 0x8c
}

/// Scratch words must be written on every path before they are read, as in
/// the kernel's `check_load_and_stores`.
fn check_memory(insns: &[Insn]) -> Result<(), Invalid> {
    // Words written on every path that reaches an instruction by a jump.
    let mut reach = vec![u16::MAX; insns.len()];
    let mut written = 0u16;
    for (at, i) in insns.iter().enumerate() {
        written &= reach[at];
        let mut arrive = |skip: usize, written: u16| reach[at + 1 + skip] &= written;
        match i.code {
            op::ST | op::STX => written |= 1 << i.k,
            op::LD_MEM | op::LDX_MEM if written & (1 << i.k) == 0 => {
                return Err(Invalid::Unwritten { at, k: i.k });
            }
            op::JA => {
                arrive(i.k as usize, written);
                written = u16::MAX;
            }
            _ if i.is_branch() => {
                arrive(usize::from(i.jt), written);
                arrive(usize::from(i.jf), written);
                written = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
