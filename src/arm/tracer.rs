//! The process that [`arm`](super::arm) leaves behind.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::write;

use super::regs::{self, Abi, Call};
use super::{Answer, Boundary, Request, watch};
use crate::policy::Flags;
use crate::sys::process::{PidFd, isolate};
use crate::sys::procfs::{Proc, Seccomp};
use crate::sys::ptrace::{Resume, Stop, Syscall, Tracee};

/// Room for `struct sock_fprog` before the program.
const FPROG_ROOM: u64 = 16;
/// `SECCOMP_MODE_FILTER` in `/proc/PID/status`.
const SECCOMP_MODE_FILTER: u32 = 2;

/// Why init is killed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("failed to {0}: {1}")]
    Sys(&'static str, Errno),
    #[error("it {} {}", how_it_ended(*.status), when_it_ended(*.loaded))]
    Ended { status: i32, loaded: bool },
    #[error("it stopped at {0:?} in place of {1}")]
    Stray(Stop, &'static str),
    #[error(
        "seccomp(2) refused the filter: {0} (EACCES: neither no_new_privs nor CAP_SYS_ADMIN at \
         this point; EINVAL: a flag or an action this kernel does not know)"
    )]
    Refused(Errno),
    #[error("seccomp(2) returned {0} in place of 0")]
    Odd(i64),
    #[error("no means to read the filter back: neither CAP_SYS_ADMIN nor a /proc that shows init")]
    Unverifiable,
    #[error("the filter read back is not the one that was loaded")]
    Differs,
}

type Result<T> = std::result::Result<T, Failure>;

/// Names the operation that failed.
trait During<T> {
    fn during(self, what: &'static str) -> Result<T>;
}

impl<T> During<T> for nix::Result<T> {
    fn during(self, what: &'static str) -> Result<T> {
        self.map_err(|errno| Failure::Sys(what, errno))
    }
}

/// How init is known to have the filters that it had before ours, and so how
/// ours is found.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// So many, and they can be read.
    Readable(usize),
    /// So many, says /proc.
    Counted(u32),
}

/// What to do with init to make it run on.
#[derive(Clone, Copy, Debug)]
enum Pending {
    /// Resume it, with this signal if not 0.
    Signal(i32),
    /// Leave it in its group stop until that ends.
    Group,
}

struct Tracer<'a> {
    request: &'a Request<'a>,
    tracee: Tracee,
    init: &'a PidFd,
    proc: Option<Proc>,
    program: Vec<u8>,
    pending: Pending,
    stops: u32,
    loaded: bool,
    took: Duration,
}

/// The whole life of the tracer. It exits afterwards; init dies with it
/// unless the filter is in place.
pub fn run(request: &Request<'_>, init: &PidFd, hook: &OwnedFd, report: Option<BorrowedFd<'_>>) {
    let mut keep = vec![init.as_fd(), hook.as_fd()];
    keep.extend(report);
    let mut tracer = match seize(request, init, &keep) {
        Ok(tracer) => tracer,
        Err(answer) => {
            let _ = write(hook, &answer.to_bytes());
            return;
        }
    };
    // A hook that is gone has failed: the runtime gives the container up.
    if write(hook, &Answer::Seized.to_bytes()).is_err() {
        return;
    }
    let outcome = tracer.supervise();
    if outcome.is_err() {
        // Our exit kills it too, and where this does not (it comes from
        // within its pid namespace); but this is sooner.
        let _ = init.kill();
    }
    if let Some(fd) = report {
        let line = tracer.line(&outcome);
        let _ = write(fd, line.as_bytes());
    }
}

/// Becomes a daemon and seizes init.
fn seize<'a>(
    request: &'a Request<'a>,
    init: &'a PidFd,
    keep: &[BorrowedFd<'_>],
) -> std::result::Result<Tracer<'a>, Answer> {
    isolate(c"oci-seccomp", keep).map_err(Answer::Detach)?;
    // Opened while the hook's /proc is still in sight: the runtime is about
    // to pivot to the container's root, which need not have one.
    let proc = Proc::open().ok();
    let tracee = Tracee::seize(request.init).map_err(|errno| match errno {
        Errno::ESRCH => Answer::Gone,
        errno => Answer::Seize(errno),
    })?;
    // Still alive, so the number has been its own all the time.
    if !init.is_alive().unwrap_or(false) {
        // The number may be another's by now, whom our exit must not kill.
        if tracee.interrupt().and_then(|()| tracee.wait()).is_ok() {
            let _ = tracee.release_on_exit();
        }
        return Err(Answer::Gone);
    }
    let mut tracer = Tracer {
        request,
        tracee,
        init,
        proc,
        program: request.program.to_bytes(),
        pending: Pending::Signal(0),
        stops: 0,
        loaded: false,
        took: Duration::ZERO,
    };
    if request.boundary == Boundary::BeforeCapabilityDrop {
        tracer.interrupt().map_err(|_| Answer::Gone)?;
    }
    Ok(tracer)
}

impl Tracer<'_> {
    /// Stops init, so that no call of it goes unseen from here on.
    fn interrupt(&mut self) -> Result<()> {
        self.tracee.interrupt().during("stop it")?;
        match self.wait()? {
            // A signal or group stop came first. That is a stop as well, and
            // the one asked for will follow.
            Stop::Signal(signal) => self.pending = Pending::Signal(signal),
            Stop::Group => self.pending = Pending::Group,
            Stop::Trap => {}
            stop => return Err(Failure::Stray(stop, "a request to stop")),
        }
        Ok(())
    }

    /// From the seizing until the workload is about to run, filtered. Init is
    /// stopped then and goes on when this process has ended, so the workload
    /// never runs beside it.
    fn supervise(&mut self) -> Result<()> {
        let loaded = match self.request.boundary {
            Boundary::Exec => self.until(Resume::Cont, Stop::Exec).map(|()| None),
            Boundary::BeforeCapabilityDrop => self.watch_calls(),
        }?;
        let before = match loaded {
            None => self.load_at_exec()?,
            // Only now is it certain that the thread with the filter is the
            // one that execs.
            Some(before) => self.until(Resume::Cont, Stop::Exec).map(|()| before)?,
        };
        self.verify(before)?;
        self.tracee.release_on_exit().during("release it")
    }

    /// Steps through init's calls. Ends with the filter loaded before the
    /// call that gives up CAP_SYS_ADMIN, or with `None` at an exec.
    fn watch_calls(&mut self) -> Result<Option<Before>> {
        loop {
            match self.next(Resume::Syscall)? {
                Stop::Exec => return Ok(None),
                Stop::Syscall => {}
                stop => return Err(Failure::Stray(stop, "a system call")),
            }
            let Syscall::Entry { arch, nr, args } = self.tracee.syscall().during("see its call")?
            else {
                continue;
            };
            let word = |at| {
                let mut word = [0; 4];
                self.tracee.read(at, &mut word).ok()?;
                Some(u32::from_ne_bytes(word))
            };
            // A call of another architecture is no runtime's; if it gives up
            // the capability, loading at the exec fails, and so closed.
            if arch == Abi::X86_64.audit() && watch::is_last_chance(nr, &args, word) {
                return self.load_at_entry(nr).map(Some);
            }
        }
    }

    /// Loads the filter at the end of an exec, in the new program: with an
    /// instruction put in place of its first one, and the filter below its
    /// stack. All of it is put back.
    fn load_at_exec(&mut self) -> Result<Before> {
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
    fn load_at_entry(&mut self, nr: u64) -> Result<Before> {
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
                u64::from(flags.bits()),
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
    fn call(&mut self, abi: Abi, registers: libc::user_regs_struct) -> Result<i64> {
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

    /// The filters that init has before it gets ours. Where they may be, they
    /// are lifted for the loading: they need not allow it.
    fn before(&self) -> Result<Before> {
        let before = match self.tracee.filters() {
            Ok(count) => Before::Readable(count),
            Err(_) => Before::Counted(self.counted()?.filters),
        };
        if !matches!(before, Before::Readable(0) | Before::Counted(0)) {
            // Without the privilege they decide, and a refusal is seen.
            let _ = self.tracee.suspend_filters(true);
        }
        Ok(before)
    }

    fn counted(&self) -> Result<Seccomp> {
        let proc = self.proc.as_ref().ok_or(Failure::Unverifiable)?;
        proc.seccomp(self.init).map_err(|_| Failure::Unverifiable)
    }

    /// Judges what seccomp(2) has returned, and the kernel's own account.
    fn accept(&mut self, result: i64, before: Before) -> Result<()> {
        match result {
            0 => self.loaded = true,
            errno @ -4095..0 => return Err(Failure::Refused(errno_of(errno))),
            odd => return Err(Failure::Odd(odd)),
        }
        self.tracee
            .suspend_filters(false)
            .during("put its filters back")?;
        self.verify(before)
    }

    /// Checks that init has our filter on top of those it had before. Later
    /// ones are the runtime's own.
    fn verify(&self, before: Before) -> Result<()> {
        let holds = match before {
            Before::Readable(index) => {
                self.tracee.filter(index).during("read the filter back")? == self.program
            }
            Before::Counted(count) => {
                let now = self.counted()?;
                now.mode == SECCOMP_MODE_FILTER && now.filters > count
            }
        };
        if holds { Ok(()) } else { Err(Failure::Differs) }
    }

    /// Lets init run to this stop and no other.
    fn until(&mut self, how: Resume, wanted: Stop) -> Result<()> {
        match self.next(how)? {
            stop if stop == wanted => Ok(()),
            stop => Err(Failure::Stray(
                stop,
                if wanted == Stop::Exec {
                    "an exec"
                } else {
                    "a system call"
                },
            )),
        }
    }

    /// Lets init run to its next stop but for those that any process has:
    /// signals are delivered, and a stopped process stays stopped.
    fn next(&mut self, how: Resume) -> Result<Stop> {
        loop {
            match std::mem::replace(&mut self.pending, Pending::Signal(0)) {
                Pending::Signal(signal) => self.tracee.resume(how, signal),
                Pending::Group => self.tracee.listen(),
            }
            .during("let it run")?;
            match self.wait()? {
                Stop::Signal(signal) => self.pending = Pending::Signal(signal),
                Stop::Group => self.pending = Pending::Group,
                Stop::Trap => {}
                stop => return Ok(stop),
            }
        }
    }

    fn wait(&mut self) -> Result<Stop> {
        self.stops += 1;
        match self.tracee.wait().during("wait for it")? {
            // Where it has yet to end it is not resumed: if another thread
            // waits for that to exec, it waits until our end kills them all.
            Stop::Exiting(status) | Stop::Ended(status) => Err(Failure::Ended {
                status,
                loaded: self.loaded,
            }),
            stop => Ok(stop),
        }
    }

    fn line(&self, outcome: &Result<()>) -> String {
        let (pid, stops, took) = (self.request.init, self.stops, self.took.as_micros());
        match outcome {
            Ok(()) => format!("init {pid} armed: {stops} stops, {took} us to load\n"),
            Err(failure) => format!("init {pid} killed: {failure}\n"),
        }
    }
}

/// A wait status in words.
fn how_it_ended(status: i32) -> String {
    if libc::WIFSIGNALED(status) {
        format!("was ended by signal {}", libc::WTERMSIG(status))
    } else {
        format!("exited with {}", libc::WEXITSTATUS(status))
    }
}

fn when_it_ended(loaded: bool) -> &'static str {
    if loaded {
        "after it had the filter and before its exec (does the profile allow the runtime's own \
         calls?)"
    } else {
        "before it had the filter (signal 9 also where another of its threads execs)"
    }
}

/// The errno in a system call's result.
fn errno_of(result: i64) -> Errno {
    Errno::from_raw(i32::try_from(-result).unwrap_or(0))
}
