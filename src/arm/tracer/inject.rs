//! Making a stopped process load a filter, so that it notices nothing.
#![forbid(unsafe_code)]

use std::time::Instant;

use super::super::regs::{self, Abi, Call};
use super::layers::Seat;
use super::listener::listener_flag;
use super::{Before, During, Failure, Result, Tracer, errno_of};
use crate::arm::Layer;
use crate::policy::Flags;
use crate::sys::ptrace::{Resume, Stop, Syscall};

/// Room for `struct sock_fprog` before the program.
const FPROG_ROOM: u64 = 16;

impl<'a> Tracer<'a> {
    /// Loads the filters at the end of an exec, in the new program: with an
    /// instruction put in place of its first one, and the filter below its
    /// stack. All of it is put back.
    pub(super) fn load_at_exec(&mut self) -> Result<()> {
        let start = Instant::now();
        self.until(Resume::Syscall, Stop::Syscall)?;
        let Some((layers, before)) = self.needed()? else {
            self.took = start.elapsed();
            return Ok(());
        };
        let entry = self.tracee.registers().during("read its registers")?;
        let abi = Abi::of(&entry);
        // A word that is aligned lies in one page.
        let ip = entry.rip & !7;
        let text = self.tracee.peek(ip).during("read its code")?;
        let mut patched = text;
        patched[..2].copy_from_slice(&abi.instruction());
        let blocked = self.block_signals()?;
        self.tracee.poke(ip, patched).during("write its code")?;
        let room = room(&layers);
        let at = abi.below_stack(&entry).saturating_sub(room) & !15;
        // Grows the stack down to there if need be.
        self.tracee
            .poke(at, [0; 8])
            .during("write below its stack (RLIMIT_STACK?)")?;
        let enter = |call| abi.at(entry, ip, call);
        if !self.load(&layers, before, abi, at, enter)? {
            return Err(Failure::ListenerStays);
        }
        // With the filter in place it can make no call to clean up: it might
        // not be allowed to.
        self.erase_program(at, room)?;
        self.tracee.poke(ip, text).during("restore its code")?;
        self.tracee
            .set_registers(entry)
            .during("restore its registers")?;
        self.tracee
            .set_blocked_signals(blocked)
            .during("restore its signal mask")?;
        self.accept()?;
        self.place = "at its exec";
        self.took = start.elapsed();
        Ok(())
    }

    /// Loads the filters at the entry of call `nr`, which then goes on as if
    /// nothing had been. The memory stays until the exec discards it.
    pub(super) fn load_at_entry(&mut self, nr: u64) -> Result<()> {
        let start = Instant::now();
        let Some((layers, before)) = self.needed()? else {
            self.took = start.elapsed();
            return Ok(());
        };
        let room = room(&layers);
        let abi = Abi::X86_64;
        let entry = self.tracee.registers().during("read its registers")?;
        let blocked = self.block_signals()?;
        let mmap = Call {
            nr: libc::SYS_mmap as u64,
            args: [
                0,
                room,
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
        // A listener that is not closed now the exec will close: the kernel
        // made it close-on-exec.
        let enter = |call| regs::again_with(entry, call);
        self.load(&layers, before, abi, at, enter)?;
        self.erase_program(at, room)?;
        self.tracee
            .set_registers(regs::again(entry))
            .during("restore its registers")?;
        self.call_entry(abi, nr)?;
        self.tracee
            .set_blocked_signals(blocked)
            .during("restore its signal mask")?;
        self.accept()?;
        self.place = "before it gives up CAP_SYS_ADMIN";
        self.took = start.elapsed();
        Ok(())
    }

    /// The filters to load, and those before them, which are lifted for the
    /// loading where they may be: they need not allow it, nor need the first
    /// of ours the next. `None` where init needs none.
    fn needed(&mut self) -> Result<Option<(Vec<Layer<'a>>, Before)>> {
        let before = self.before()?;
        let layers = self.decide(before)?;
        if layers.is_empty() {
            self.loaded = true;
            self.verify()?;
            return Ok(None);
        }
        if layers.len() > 1 || !before.is_none() {
            // Without the privilege they decide, and a refusal is seen.
            let _ = self.tracee.suspend_filters(true);
        }
        Ok(Some((layers, before)))
    }

    /// Makes it load each filter from `at` on, and hands a listener over;
    /// `enter` gives the registers for a call. Whether it has none left.
    fn load(
        &mut self,
        layers: &[Layer<'_>],
        before: Before,
        abi: Abi,
        at: u64,
        enter: impl Fn(Call) -> libc::user_regs_struct,
    ) -> Result<bool> {
        let mut closed = true;
        for (already, layer) in layers.iter().enumerate() {
            let program = layer.program.to_bytes();
            let call = self.place_program(layer, &program, abi, at)?;
            match self.call(abi, enter(call))? {
                errno @ -4095..0 => return Err(Failure::Refused(errno_of(errno))),
                0 if layer.listener.is_none() => {}
                number if layer.listener.is_some() => {
                    let listener = self.take_listener(number)?;
                    let alone = before.is_none() && already == 0;
                    closed &= self.close_listener(abi, &listener, layer, alone, &enter)?;
                    self.send_listener(layer, &listener)?;
                }
                odd => return Err(Failure::Odd(odd)),
            }
            self.seats.push(match before {
                Before::Readable(count) => Seat::Read(count + already, program),
                Before::Counted(count) => Seat::Count(count + already as u32),
            });
        }
        Ok(closed)
    }

    /// Writes a program to init's memory; the call that loads it from there.
    fn place_program(&self, layer: &Layer<'_>, program: &[u8], abi: Abi, at: u64) -> Result<Call> {
        let instructions = layer.program.instructions().len();
        // A program has at most 4096 of them.
        let mut bytes = abi.sock_fprog(instructions as u16, at + FPROG_ROOM);
        bytes.resize(FPROG_ROOM as usize, 0);
        bytes.extend(program);
        self.tracee
            .write(at, &bytes)
            .during("write the filter to its memory")?;
        let flags = Flags {
            tsync: false,
            ..layer.flags
        };
        Ok(Call {
            nr: abi.seccomp(),
            args: [
                u64::from(libc::SECCOMP_SET_MODE_FILTER),
                u64::from(flags.bits()) | listener_flag(layer),
                at,
                0,
                0,
                0,
            ],
        })
    }

    fn erase_program(&self, at: u64, room: u64) -> Result<()> {
        self.tracee
            .write(at, &vec![0; room as usize])
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

/// Bytes for `struct sock_fprog` and the longest of the programs.
fn room(layers: &[Layer<'_>]) -> u64 {
    let lengths = layers.iter().map(|l| l.program.instructions().len() * 8);
    FPROG_ROOM + lengths.max().unwrap_or(0) as u64
}
