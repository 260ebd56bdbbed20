//! The process that [`arm`](super::arm) leaves behind.
#![forbid(unsafe_code)]

mod inject;
mod layers;
mod listener;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, write};

use super::regs::{self, Abi};
use super::{Answer, Boundary, OnExisting, Request, watch};
use crate::sys::process::{PidFd, isolate};
use crate::sys::procfs::{Proc, Seccomp};
use crate::sys::ptrace::{Resume, Stop, Syscall, Tracee};
use layers::Seat;

/// `SECCOMP_MODE_FILTER` in `/proc/PID/status`.
const SECCOMP_MODE_FILTER: u32 = 2;

/// After how many stops it is looked again where init runs.
const FOLLOW_EVERY: u32 = 64;

/// Why init is killed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("failed to {0}: {1}")]
    Sys(&'static str, Errno),
    #[error("it {} {}", how_it_ended(*.status), when_it_ended(*.status, *.loaded))]
    Ended { status: i32, loaded: bool },
    #[error("it stopped at {0:?} in place of {1}")]
    Stray(Stop, &'static str),
    #[error(
        "seccomp(2) refused the filter: {0} (EACCES: neither no_new_privs nor CAP_SYS_ADMIN at \
         this point; EINVAL: a flag or an action this kernel does not know; EBUSY: another of \
         its filters has a listener; ENOMEM: it has too many filters)"
    )]
    Refused(Errno),
    #[error("seccomp(2) returned {0}")]
    Odd(i64),
    #[error(
        "its listener cannot be closed in it: the profile does not allow that close(2), and to \
         lift filters takes CAP_SYS_ADMIN in the initial user namespace"
    )]
    ListenerStays,
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

/// The filters that init has before it gets ours, and so how ours are found.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// So many, and they can be read.
    Readable(usize),
    /// So many, says /proc.
    Counted(u32),
}

impl Before {
    fn is_none(self) -> bool {
        matches!(self, Self::Readable(0) | Self::Counted(0))
    }
}

/// What to do with init to make it run on.
#[derive(Clone, Copy, Debug)]
enum Pending {
    /// Nothing: it runs. To resume it all the same would be to miss a stop
    /// that it has come to by now.
    Wait,
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
    pending: Pending,
    stops: u32,
    /// Its filters stay lifted until the exec.
    ahead: bool,
    loaded: bool,
    /// One for each layer that init has.
    seats: Vec<Seat>,
    /// What was done about each layer, for the report.
    notes: String,
    /// Where the filter went in, for the report.
    place: &'static str,
    took: Duration,
}

/// The whole life of the tracer. It exits afterwards; init dies with it
/// unless the filter is in place.
pub fn run(request: &Request<'_>, init: &PidFd, hook: &OwnedFd) {
    let mut keep = vec![init.as_fd(), hook.as_fd()];
    keep.extend(request.report.iter().flat_map(|report| report.keep));
    keep.extend(
        request
            .layers
            .iter()
            .filter_map(|l| l.listener)
            .map(AsFd::as_fd),
    );
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
    if let Some(report) = request.report {
        let line = tracer.line(&outcome);
        (report.tell)(outcome.map(|()| line.as_str()).map_err(|_| line.as_str()));
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
        pending: Pending::Wait,
        stops: 0,
        ahead: false,
        loaded: false,
        seats: Vec::new(),
        notes: String::new(),
        place: "with what it had already",
        took: Duration::ZERO,
    };
    if request.boundary != Boundary::Exec {
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
            Stop::Trap => {
                self.make_its_call_again()?;
                self.pending = Pending::Signal(0);
            }
            stop => return Err(Failure::Stray(stop, "a request to stop")),
        }
        Ok(())
    }

    /// crun's init waits for a createContainer hook that has a timeout in
    /// sigtimedwait(2), and takes EINTR for the hook's failure.
    fn make_its_call_again(&self) -> Result<()> {
        let registers = self.tracee.registers().during("read its registers")?;
        if let Some(registers) = regs::taken_up_again(registers) {
            self.tracee
                .set_registers(registers)
                .during("make its call again")?;
        }
        Ok(())
    }

    /// From the seizing until the workload is about to run, filtered. Init is
    /// stopped then and goes on when this process has ended, so the workload
    /// never runs beside it.
    fn supervise(&mut self) -> Result<()> {
        let armed = match self.request.boundary {
            Boundary::Exec => self.until(Resume::Cont, Stop::Exec).map(|()| false),
            Boundary::Ahead if self.may_load_ahead()? => self.load_ahead(),
            Boundary::Ahead | Boundary::BeforeCapabilityDrop => self.watch_calls(),
        }?;
        if armed {
            // Only now is it certain that the thread with the filter is the
            // one that execs.
            self.until(Resume::Cont, Stop::Exec)?;
            // Those that were loaded ahead come into force.
            self.put_filters_back()?;
        } else {
            self.load_at_exec()?;
        }
        self.verify()?;
        self.tracee.release_on_exit().during("release it")
    }

    /// Whether a filter can be loaded now and be lifted until the exec. Filters
    /// that are there already would be lifted along with it.
    fn may_load_ahead(&self) -> Result<bool> {
        Ok(self.before()?.is_none() && self.tracee.suspend_filters(true).is_ok())
    }

    /// Loads the filter at init's next call, which is most likely the one
    /// that the stop has interrupted. `false` at an exec.
    fn load_ahead(&mut self) -> Result<bool> {
        loop {
            match self.next(Resume::Syscall)? {
                Stop::Exec => {
                    self.put_filters_back()?;
                    return Ok(false);
                }
                Stop::Syscall => {}
                stop => return Err(Failure::Stray(stop, "a system call")),
            }
            // Until it is at the entry of a call it may be at the exit of one.
            let call = self.tracee.syscall().during("see its call")?;
            if let Syscall::Entry { arch, nr, .. } = call
                && arch == Abi::X86_64.audit()
            {
                self.ahead = true;
                self.load_at_entry(nr)?;
                self.place = "ahead, in force from its exec";
                return Ok(true);
            }
        }
    }

    /// Steps through init's calls. Ends with the filter loaded before the
    /// call that gives up CAP_SYS_ADMIN, or with `false` at an exec.
    fn watch_calls(&mut self) -> Result<bool> {
        loop {
            if self.stops.is_multiple_of(FOLLOW_EVERY) {
                self.follow();
            }
            match self.next(Resume::Syscall)? {
                Stop::Exec => return Ok(false),
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
            if arch != Abi::X86_64.audit() {
                continue;
            }
            if watch::is_last_chance(nr, &args, word)
                || (watch::loads_filter(nr, &args) && !self.filters_can_wait()?)
            {
                return self.load_at_entry(nr).map(|()| true);
            }
        }
    }

    /// Goes to the processor that init runs on: there a stop costs a third of
    /// what it costs between two. Where it cannot be told, all is as it was.
    fn follow(&self) {
        let processor = self.proc.as_ref().map(|proc| proc.processor(self.init));
        if let Some(Ok(processor)) = processor {
            let mut only = CpuSet::new();
            let _ = only
                .set(processor)
                .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only));
        }
    }

    /// Whether a filter that the runtime is about to load may come before
    /// ours: it cannot refuse ours if it can be lifted, or if there will be
    /// nothing to load then.
    fn filters_can_wait(&self) -> Result<bool> {
        if self.request.on_existing == OnExisting::Skip {
            return Ok(true);
        }
        if self.tracee.suspend_filters(true).is_err() {
            return Ok(false);
        }
        self.put_filters_back()?;
        Ok(true)
    }

    fn put_filters_back(&self) -> Result<()> {
        self.tracee
            .suspend_filters(false)
            .during("put its filters back")
    }

    /// The filters that init has before it gets ours.
    fn before(&self) -> Result<Before> {
        match self.tracee.filters() {
            Ok(count) => Ok(Before::Readable(count)),
            Err(_) => Ok(Before::Counted(self.counted()?.filters)),
        }
    }

    fn counted(&self) -> Result<Seccomp> {
        let proc = self.proc.as_ref().ok_or(Failure::Unverifiable)?;
        proc.seccomp(self.init).map_err(|_| Failure::Unverifiable)
    }

    /// Looks at the kernel's own account once all is loaded.
    fn accept(&mut self) -> Result<()> {
        self.loaded = true;
        if !self.ahead {
            self.put_filters_back()?;
        }
        self.verify()
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
                Pending::Wait => Ok(()),
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
            Ok(()) => {
                let (place, notes) = (self.place, &self.notes);
                format!("init {pid} armed {place}: {stops} stops, {took} us to load{notes}")
            }
            Err(failure) => format!("init {pid} killed: {failure}"),
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

fn when_it_ended(status: i32, loaded: bool) -> &'static str {
    match (loaded, status & 0x7f) {
        (false, libc::SIGKILL) => {
            "before it had the filter (killed, or another of its threads was to exec)"
        }
        (false, _) => "before it had the filter",
        (true, libc::SIGKILL) => "after it had the filter and before its exec",
        // So it looks where it makes room for another thread that execs.
        (true, 0) if status == 0 => {
            "after it had the filter and before its exec (or another of its threads was to exec)"
        }
        (true, _) => {
            "after it had the filter and before its exec (does the profile allow the runtime's \
             own calls?)"
        }
    }
}

/// The errno in a system call's result.
fn errno_of(result: i64) -> Errno {
    Errno::from_raw(i32::try_from(-result).unwrap_or(0))
}
