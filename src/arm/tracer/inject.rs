//! Making a stopped process load a filter, so that it notices nothing.
#![forbid(unsafe_code)]

use std::time::Instant;

use super::super::regs::{self, Abi, Call};
use super::{Before, During, Failure, Result, Tracer, errno_of};
use crate::policy::Flags;
use crate::sys::ptrace::{Resume, Stop, Syscall};

/// Room for `struct sock_fprog` before the program.
const FPROG_ROOM: u64 = 16;
impl Tracer<'_> {
    /// Loads the filter at the end of an exec, in the new program: with an
    /// instruction put in place of its first one, and the filter below its
    /// stack. All of it is put back.
    pub(super) fn load_at_exec(&mut self) -> Result<Before> {
        let start = Instant::now();
        self.until(Resume::Syscall, Stop::Syscall)?;
        let before = self.before()?;
        let entry = self.tracee.registers().during("read its registers")?;
        let abi = Abi::of(&entry);
        // A word that is aligned lies in one page.
        let ip = entry.rip & !7;
        let text = self.tracee.peek(ip).during("read its code")?;
        let mut patched = text;
        patched[..2].copy_from_slice(&abi.instruction());
        let blocked = self.block_signals()?;
        self.tracee.poke(ip, patched).during("write its code")?;
        let room = self.room_for_program();
        let at = abi.below_stack(&entry).saturating_sub(room) & !15;
        // Grows the stack down to there if need be.
        self.tracee
            .poke(at, [0; 8])
            .during("write below its stack (RLIMIT_STACK?)")?;
        let call = self.place_program(abi, at)?;
        let result = self.call(abi, abi.at(entry, ip, call))?;
        if let Some(listener) = self.take_listener(result)? {
            if !self.close_listener(abi, &listener, before, |call| abi.at(entry, ip, call))? {
                return Err(Failure::ListenerStays);
            }
            self.send_listener(&listener)?;
        }
        // With the filter in place it can make no call to clean up: it might
        // not be allowed to.
        self.erase_program(at)?;
        self.tracee.poke(ip, text).during("restore its code")?;
        self.tracee
            .set_registers(entry)
            .during("restore its registers")?;
        self.tracee
            .set_blocked_signals(blocked)
            .during("restore its signal mask")?;
        self.accept(result, before)?;
        self.took = start.elapsed();
        Ok(before)
    }

    /// Loads the filter at the entry of call `nr`, which then goes on as if
    /// nothing had been. The memory stays until the exec discards it.
    pub(super) fn load_at_entry(&mut self, nr: u64) -> Result<Before> {
        let start = Instant::now();
        let before = self.before()?;
        let abi = Abi::X86_64;
        let entry = self.tracee.registers().during("read its registers")?;
        let blocked = self.block_signals()?;
        let mmap = Call {
            nr: libc::SYS_mmap as u64,
            args: [
                0,
                self.room_for_program(),
                (libc::PROT_READ | libc::PROT_WRITE) as u64,
                (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64,
                u64::MAX,
                0,
            ],
        };
        self.tracee
            .set_registers(regs::replaced(entry, mmap))
            .during("set its registers")?;
        let at = match self.call_exit(abi)? {
            errno @ -4095..0 => return Err(Failure::Sys("map memory in it", errno_of(errno))),
            at => at as u64,
        };
        let call = self.place_program(abi, at)?;
        let result = self.call(abi, regs::again_with(entry, call))?;
        if let Some(listener) = self.take_listener(result)? {
            // If not now, the exec does it, as the kernel made it
            // close-on-exec.
            let again = |call| regs::again_with(entry, call);
            self.close_listener(abi, &listener, before, again)?;
            self.send_listener(&listener)?;
        }
        self.erase_program(at)?;
        self.tracee
            .set_registers(regs::again(entry))
            .during("restore its registers")?;
        self.call_entry(abi, nr)?;
        self.tracee
            .set_blocked_signals(blocked)
            .during("restore its signal mask")?;
        self.accept(result, before)?;
        self.took = start.elapsed();
        Ok(before)
    }

    /// Bytes for `struct sock_fprog` and the program.
    fn room_for_program(&self) -> u64 {
        FPROG_ROOM + self.program.len() as u64
    }

    /// Writes the program to init's memory; the call that loads it from there.
    fn place_program(&self, abi: Abi, at: u64) -> Result<Call> {
        let instructions = self.request.program.instructions().len();
        // A program has at most 4096 of them.
        let mut bytes = abi.sock_fprog(instructions as u16, at + FPROG_ROOM);
        bytes.resize(FPROG_ROOM as usize, 0);
        bytes.extend(&self.program);
        self.tracee
            .write(at, &bytes)
            .during("write the filter to its memory")?;
        let flags = Flags {
            tsync: false,
            ..self.request.flags
        };
        Ok(Call {
            nr: abi.seccomp(),
            args: [
                u64::from(libc::SECCOMP_SET_MODE_FILTER),
                u64::from(flags.bits()) | self.listener_flag(),
                at,
                0,
                0,
                0,
            ],
        })
    }

    fn erase_program(&self, at: u64) -> Result<()> {
        let zeros = vec![0; self.room_for_program() as usize];
        self.tracee
            .write(at, &zeros)
            .during("erase the filter from its memory")
    }

    /// Makes init run one call from its entry to its exit.
    pub(super) fn call(&mut self, abi: Abi, registers: libc::user_regs_struct) -> Result<i64> {
        self.tracee
            .set_registers(registers)
            .during("set its registers")?;
        self.call_entry(abi, registers.rax)?;
        self.call_exit(abi)
    }

    /// Lets init run into a call, which has to be this one.
    fn call_entry(&mut self, abi: Abi, expected: u64) -> Result<()> {
        self.until(Resume::Syscall, Stop::Syscall)?;
        match self.tracee.syscall().during("see its call")? {
            Syscall::Entry { arch, nr, .. } if arch == abi.audit() && nr == expected => Ok(()),
            _ => Err(Failure::Stray(Stop::Syscall, "the entry of its call")),
        }
    }

    /// Lets it run to the end of the call it is in; the result.
    fn call_exit(&mut self, abi: Abi) -> Result<i64> {
        self.until(Resume::Syscall, Stop::Syscall)?;
        match self.tracee.syscall().during("see its call")? {
            Syscall::Exit => {}
            _ => return Err(Failure::Stray(Stop::Syscall, "the exit of its call")),
        }
        let registers = self.tracee.registers().during("read its registers")?;
        Ok(abi.result(&registers))
    }

    /// Blocks its signals: they stay with the kernel, in order and with all
    /// that belongs to them, until it has its mask back. (Go's runtime sends
    /// itself SIGURG at any time.)
    fn block_signals(&self) -> Result<u64> {
        let blocked = self
            .tracee
            .blocked_signals()
            .during("read its signal mask")?;
        self.tracee
            .set_blocked_signals(u64::MAX)
            .during("block its signals")?;
        Ok(blocked)
    }
}
