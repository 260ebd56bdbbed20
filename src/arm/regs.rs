//! How a system call looks in the registers of x86_64, which runs programs of
//! two widths.
#![forbid(unsafe_code)]

#[cfg(not(target_arch = "x86_64"))]
compile_error!("arming knows the registers of x86_64 only");

use libc::user_regs_struct as Raw;

use crate::policy::Arch;

/// Bytes of the instruction that enters the kernel: `syscall`, `int $0x80`.
const INSTRUCTION_LEN: u64 = 2;
/// Code segment of a 32-bit program (`__USER32_CS`); Xen sets higher bits.
const CS_32: u64 = 0x23;

/// The machine a program runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// `syscall`
    X86_64,
    /// `int $0x80`
    I386,
}

/// A system call to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number.
    pub nr: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

impl Abi {
    /// What a program with these registers runs on.
    pub fn of(registers: &Raw) -> Self {
        if registers.cs & 0xff == CS_32 {
            Self::I386
        } else {
            Self::X86_64
        }
    }

    /// As filters and ptrace(2) name it.
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => Arch::X86_64.audit(),
            Self::I386 => Arch::X86.audit(),
        }
    }

    /// Its instruction for a system call.
    pub const fn instruction(self) -> [u8; INSTRUCTION_LEN as usize] {
        match self {
            Self::X86_64 => [0x0f, 0x05],
            Self::I386 => [0xcd, 0x80],
        }
    }

    /// Number of seccomp(2).
    pub const fn seccomp(self) -> u64 {
        match self {
            Self::X86_64 => 317,
            Self::I386 => 354,
        }
    }

    /// Number of close(2).
    pub const fn close(self) -> u64 {
        match self {
            Self::X86_64 => 3,
            Self::I386 => 6,
        }
    }

    /// Where memory below the stack pointer is nobody's (the red zone).
    pub const fn below_stack(self, registers: &Raw) -> u64 {
        match self {
            Self::X86_64 => registers.rsp.saturating_sub(128),
            Self::I386 => registers.rsp,
        }
    }

    /// `struct sock_fprog` for a program that lies at `address`.
    pub fn sock_fprog(self, instructions: u16, address: u64) -> Vec<u8> {
        let mut out = instructions.to_ne_bytes().to_vec();
        match self {
            Self::X86_64 => {
                out.extend([0; 6]);
                out.extend(address.to_ne_bytes());
            }
            Self::I386 => {
                out.extend([0; 2]);
                out.extend((address as u32).to_ne_bytes());
            }
        }
        out
    }

    /// What a call returned, at its exit.
    pub const fn result(self, registers: &Raw) -> i64 {
        match self {
            Self::X86_64 => registers.rax as i64,
            Self::I386 => registers.rax as i32 as i64,
        }
    }

    /// Registers that make `call` with the instruction at `ip`.
    pub fn at(self, mut registers: Raw, ip: u64, call: Call) -> Raw {
        registers.rip = ip;
        registers.rax = call.nr;
        // No system call is under way that the kernel might restart.
        registers.orig_rax = u64::MAX;
        self.set_arguments(&mut registers, call.args);
        registers
    }

    fn set_arguments(self, r: &mut Raw, args: [u64; 6]) {
        match self {
            Self::X86_64 => [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = args,
            Self::I386 => [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp] = args,
        }
    }
}

/// Registers at the entry of a call that enter another one in its place.
pub fn replaced(entry: Raw, call: Call) -> Raw {
    let mut registers = entry;
    registers.orig_rax = call.nr;
    Abi::X86_64.set_arguments(&mut registers, call.args);
    registers
}

/// Registers that make `call` with the instruction that led to `entry`.
pub fn again_with(entry: Raw, call: Call) -> Raw {
    Abi::X86_64.at(entry, entry.rip.wrapping_sub(INSTRUCTION_LEN), call)
}

/// What the kernel itself puts into the result of a call that is to be made
/// again unless a handler runs, which then sees EINTR (linux/errno.h).
const ERESTARTNOHAND: i64 = 514;

/// The kernel takes up most calls again that a request to stop has
/// interrupted, but for some it has nothing better than EINTR, signal(7):
/// sigtimedwait(2), epoll_wait(2), semop(2). To the program that would be a
/// signal that never came. These registers, at that stop, make the kernel
/// take the call up as well; where a signal has come, its handler runs and
/// the call fails with EINTR, as without us. A relative timeout starts anew.
///
/// `None` where nothing is to be done; also for close(2), which has closed
/// the descriptor by then.
pub fn taken_up_again(stopped: Raw) -> Option<Raw> {
    let abi = Abi::of(&stopped);
    // -1 outside a call.
    let call = u64::try_from(stopped.orig_rax.cast_signed()).ok()?;
    let interrupted = abi.result(&stopped) == -i64::from(libc::EINTR);
    (interrupted && call != abi.close()).then_some(Raw {
        rax: (-ERESTARTNOHAND).cast_unsigned(),
        ..stopped
    })
}

/// Registers that make the call of `entry` once more.
pub fn again(entry: Raw) -> Raw {
    let mut registers = entry;
    registers.rip = entry.rip.wrapping_sub(INSTRUCTION_LEN);
    registers.rax = entry.orig_rax;
    registers.orig_rax = u64::MAX;
    registers
}
