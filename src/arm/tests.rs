//! A child stands for init: it says that it is ready, waits for a line, then
//! execs. The kernel really is asked; run as root.

use std::error::Error as StdError;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};

use super::*;
use crate::bpf::{Insn, op};
use crate::policy::{Action, Arch};

mod existing;
mod listener;

type Test = Result<(), Box<dyn StdError>>;

/// mkdir fails with an errno that nothing else gives; all else is allowed.
const WITNESS: &str = "File descriptor in bad state";

/// What a filtered workload of another user runs.
const SHOW: &str = "grep -E 'Seccomp|CapEff|NoNewPrivs' /proc/self/status; mkdir /tmp/x";

fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
    Insn { code, jt, jf, k }
}

fn program(padding: usize) -> Result<Program, crate::bpf::Invalid> {
    let mut insns = vec![insn(op::LD_ABS, 0, 0, 0); padding];
    insns.extend([
        insn(op::LD_ABS, 0, 0, 4),
        insn(op::JEQ_K, 0, 2, Arch::X86_64.audit()),
        insn(op::LD_ABS, 0, 0, 0),
        insn(op::JEQ_K, 1, 0, libc::SYS_mkdir as u32),
        insn(op::RET_K, 0, 0, Action::Allow.to_ret()),
        insn(op::RET_K, 0, 0, Action::Errno(77).to_ret()),
    ]);
    Program::new(insns)
}

fn layer(program: &Program) -> Layer<'_> {
    Layer {
        name: "profile",
        program,
        flags: Flags {
            tsync: true,
            ..Flags::default()
        },
        policy: None,
        listener: None,
    }
}

struct Init {
    child: Child,
    report: PipeReader,
    armed: Result<(), Error>,
}

impl Init {
    fn start(command: Command, boundary: Boundary, program: &Program) -> std::io::Result<Self> {
        Self::with_layers(command, boundary, &[layer(program)])
    }

    fn with_layers(
        command: Command,
        boundary: Boundary,
        layers: &[Layer<'_>],
    ) -> std::io::Result<Self> {
        Self::beside(OnExisting::default(), command, boundary, layers)
    }

    fn beside(
        on_existing: OnExisting,
        mut command: Command,
        boundary: Boundary,
        layers: &[Layer<'_>],
    ) -> std::io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut ready = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            // One byte at a time: the rest is for the end.
            let mut lines = BufReader::with_capacity(1, stdout);
            while ready.trim_end() != "ready" {
                ready.clear();
                assert_ne!(lines.read_line(&mut ready)?, 0, "never got ready");
            }
        }
        let (report, writer) = std::io::pipe()?;
        let tell = |outcome: Result<&str, &str>| {
            let (Ok(line) | Err(line)) = outcome;
            let _ = (&writer).write_all(line.as_bytes());
        };
        let keep = [writer.as_fd()];
        let armed = arm(&Request {
            init: Pid::from_raw(child.id() as i32),
            layers,
            boundary,
            on_existing,
            report: Some(Report {
                keep: &keep,
                tell: &tell,
            }),
        });
        Ok(Self {
            child,
            report,
            armed,
        })
    }

    fn armed(command: Command, boundary: Boundary) -> Result<Self, Box<dyn StdError>> {
        let init = Self::start(command, boundary, &program(0)?)?;
        assert!(init.armed.is_ok(), "{:?}", init.armed);
        Ok(init)
    }

    fn shell(exec: &str, boundary: Boundary) -> Result<Self, Box<dyn StdError>> {
        let mut command = Command::new("/bin/busybox");
        command.args(["sh", "-c", &format!("echo ready; read x; {exec}")]);
        Self::armed(command, boundary)
    }

    /// Becomes another user, then execs: what a runtime does.
    fn other_user(boundary: Boundary) -> Result<Self, Box<dyn StdError>> {
        let script = "$| = 1; print qq(ready\n); <STDIN>; $) = q(1000 1000); $( = 1000; \
                      $< = $> = 1000; exec qw(/bin/busybox sh -c), $ARGV[0]";
        let mut command = Command::new("perl");
        command.args(["-e", script, SHOW]);
        Self::armed(command, boundary)
    }

    /// The same, but on a thread that is not the first.
    fn other_thread(boundary: Boundary) -> Result<Self, Box<dyn StdError>> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--exact", "--nocapture", "arm::tests::becomes_another_user"])
            .env("ARM_BECOME_ANOTHER_USER", "1");
        Self::armed(command, boundary)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn tracer(&self) -> Result<Pid, Box<dyn StdError>> {
        let init = PidFd::open(self.pid())?;
        let tracer = Proc::open()?.tracer(&init).ok_or("not traced")?;
        Ok(Pid::from_raw(tracer as i32))
    }

    /// Lets it exec; its status, all it wrote, and the tracer's report.
    fn go(mut self) -> Result<(ExitStatus, String, String), Box<dyn StdError>> {
        if let Some(mut stdin) = self.child.stdin.take() {
            // Where it was killed there is nobody to read.
            let _ = stdin.write_all(b"go\n");
        }
        let output = self.child.wait_with_output()?;
        let mut report = String::new();
        self.report.read_to_string(&mut report)?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status, String::from_utf8(text)?, report))
    }
}

/// No test: what [`Init::other_thread`] runs.
#[test]
fn becomes_another_user() -> Test {
    if std::env::var_os("ARM_BECOME_ANOTHER_USER").is_none() {
        return Ok(());
    }
    println!("\nready");
    std::io::stdin().read_line(&mut String::new())?;
    Err(Command::new("/bin/busybox")
        .args(["sh", "-c", SHOW])
        .uid(1000)
        .gid(1000)
        .exec()
        .into())
}

#[test]
fn the_workload_is_filtered_from_its_exec_on() -> Test {
    let script = "mkdir /tmp/not-filtered; rmdir /tmp/not-filtered && \
                  exec busybox sh -c 'grep Seccomp /proc/self/status; mkdir /tmp/x; exit 7'";
    let (status, text, report) = Init::shell(script, Boundary::Exec)?.go()?;
    assert_eq!(status.code(), Some(7));
    assert!(
        text.contains("Seccomp:\t2\nSeccomp_filters:\t1\n"),
        "{text}"
    );
    assert!(text.contains(WITNESS), "{text}");
    assert!(report.contains("armed"), "{report}");
    Ok(())
}

#[test]
fn loads_the_longest_program() -> Test {
    let mut command = Command::new("/bin/busybox");
    command.args(["sh", "-c", "echo ready; read x; exec busybox mkdir /tmp/x"]);
    let program = program(crate::bpf::MAX_INSTRUCTIONS - 6)?;
    let (_, text, report) = Init::start(command, Boundary::Exec, &program)?.go()?;
    assert!(text.contains(WITNESS), "{text} {report}");
    Ok(())
}

#[test]
fn loads_below_a_stack_full_of_arguments() -> Test {
    // Pointers alone fill what the kernel has mapped below the strings, so
    // the stack has to grow for the program.
    let program = program(crate::bpf::MAX_INSTRUCTIONS - 6)?;
    for words in [12_000, 14_000, 16_000, 17_000, 20_000, 40_000] {
        let mut command = Command::new("/bin/busybox");
        let script =
            format!("echo ready; read x; exec busybox mkdir $(yes /tmp/x | head -n {words})");
        command.args(["sh", "-c", &script]);
        let (_, text, report) = Init::start(command, Boundary::Exec, &program)?.go()?;
        assert!(text.contains(WITNESS), "{words}: {report}");
    }
    Ok(())
}

const BOUNDARIES: [Boundary; 3] = [
    Boundary::Exec,
    Boundary::Ahead,
    Boundary::BeforeCapabilityDrop,
];

#[test]
fn sees_an_exec_that_comes_before_the_tracer_waits_for_it() -> Test {
    // Not certain to be that early, but some of so many are.
    for _ in 0..100 {
        let (_, text, report) = Init::shell("exec busybox mkdir /tmp/x", Boundary::Exec)?.go()?;
        assert!(text.contains(WITNESS), "{text} {report}");
    }
    Ok(())
}

#[test]
fn loads_before_the_capability_is_lost() -> Test {
    for boundary in [Boundary::Ahead, Boundary::BeforeCapabilityDrop] {
        let (status, text, report) = Init::other_user(boundary)?.go()?;
        assert_eq!(status.code(), Some(1));
        assert!(
            text.contains("CapEff:\t0000000000000000"),
            "{text} {report}"
        );
        assert!(text.contains("NoNewPrivs:\t0\nSeccomp:\t2"), "{text}");
        assert!(text.contains(WITNESS), "{text}");
        let ahead = boundary == Boundary::Ahead;
        assert_eq!(report.contains("armed ahead"), ahead, "{report}");
    }
    Ok(())
}

#[test]
fn what_is_loaded_ahead_is_in_force_from_the_exec_and_not_before() -> Test {
    let script = "echo ready; read x; busybox mkdir /tmp/a; cd /nowhere; \
                  exec busybox mkdir /tmp/x";
    let deny_chdir = Program::new(vec![
        insn(op::LD_ABS, 0, 0, 0),
        insn(op::JEQ_K, 0, 1, libc::SYS_chdir as u32),
        insn(op::RET_K, 0, 0, Action::KillProcess.to_ret()),
        insn(op::RET_K, 0, 0, Action::Allow.to_ret()),
    ])?;
    let programs = [deny_chdir, program(0)?];
    let layers = programs.each_ref().map(layer);
    let mut command = Command::new("/bin/busybox");
    command.args(["sh", "-c", script]);
    let (status, text, report) = Init::with_layers(command, Boundary::Ahead, &layers)?.go()?;
    // Its child was filtered, itself not until it became another.
    assert_eq!(text.matches(WITNESS).count(), 2, "{text} {report}");
    assert!(text.contains("/nowhere"), "{text} {report}");
    assert_eq!(status.code(), Some(1));
    Ok(())
}

/// The first one refuses the second one's seccomp(2).
#[test]
fn loads_several_filters_in_their_order() -> Test {
    let refuses = |nr: libc::c_long| {
        Program::new(vec![
            insn(op::LD_ABS, 0, 0, 0),
            insn(op::JEQ_K, 0, 1, nr as u32),
            insn(op::RET_K, 0, 0, Action::Errno(1).to_ret()),
            insn(op::RET_K, 0, 0, Action::Allow.to_ret()),
        ])
    };
    let programs = [refuses(libc::SYS_seccomp)?, program(100)?];
    let layers = programs.each_ref().map(layer);
    for boundary in BOUNDARIES {
        let mut command = Command::new("/bin/busybox");
        let script = "echo ready; read x; \
                      exec busybox sh -c 'grep Seccomp /proc/self/status; mkdir /tmp/x'";
        command.args(["sh", "-c", script]);
        let (_, text, report) = Init::with_layers(command, boundary, &layers)?.go()?;
        assert!(text.contains("Seccomp_filters:\t2"), "{text} {report}");
        assert!(text.contains(WITNESS), "{text} {report}");
    }
    Ok(())
}

#[test]
fn kills_a_workload_that_may_not_load_a_filter() -> Test {
    let (status, text, report) = Init::other_user(Boundary::Exec)?.go()?;
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{text}");
    assert!(!text.contains("Seccomp"), "{text}");
    assert!(report.contains("EACCES"), "{report}");
    Ok(())
}

#[test]
fn an_exec_by_another_thread_never_runs() -> Test {
    for boundary in BOUNDARIES {
        let (status, text, report) = Init::other_thread(boundary)?.go()?;
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{text} {report}");
        assert!(!text.contains("Seccomp"), "{text}");
    }
    Ok(())
}

#[test]
fn loads_at_the_exec_when_no_capability_is_dropped() -> Test {
    let init = Init::shell("exec busybox mkdir /tmp/x", Boundary::BeforeCapabilityDrop)?;
    let (_, text, report) = init.go()?;
    assert!(text.contains(WITNESS), "{text} {report}");
    Ok(())
}

#[test]
fn init_dies_with_the_tracer() -> Test {
    for boundary in BOUNDARIES {
        let init = Init::shell("exec busybox echo unfiltered", boundary)?;
        kill(init.tracer()?, Signal::SIGKILL)?;
        let (status, text, _) = init.go()?;
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert_eq!(text, "");
    }
    Ok(())
}

#[test]
fn signals_reach_init_and_the_workload() -> Test {
    for boundary in BOUNDARIES {
        let mut command = Command::new("/bin/busybox");
        let script = "trap '' HUP; echo ready; read x; \
                      exec busybox sh -c 'kill -HUP $$; echo ignored; mkdir /tmp/x'";
        command.args(["sh", "-c", script]);
        let init = Init::armed(command, boundary)?;
        let pid = init.pid();
        for signal in [
            Signal::SIGHUP,
            Signal::SIGURG,
            Signal::SIGSTOP,
            Signal::SIGWINCH,
        ] {
            kill(pid, signal)?;
        }
        // A group stop is one, traced or not: it lasts until SIGCONT.
        std::thread::sleep(std::time::Duration::from_millis(50));
        kill(pid, Signal::SIGCONT)?;
        let (_, text, report) = init.go()?;
        assert!(text.contains("ignored"), "{text} {report}");
        assert!(text.contains(WITNESS), "{text} {report}");
    }
    Ok(())
}

#[test]
fn a_terminated_init_ends_the_tracer() -> Test {
    let init = Init::shell("exec busybox echo unfiltered", Boundary::Exec)?;
    kill(init.pid(), Signal::SIGTERM)?;
    let (status, _, report) = init.go()?;
    assert_eq!(status.signal(), Some(libc::SIGTERM));
    assert!(report.contains("signal 15"), "{report}");
    Ok(())
}

#[test]
fn names_the_process_that_traces_init_already() -> Test {
    let init = Init::shell("exec busybox true", Boundary::Exec)?;
    let tracer = init.tracer()?;
    let again = arm(&Request {
        init: init.pid(),
        layers: &[layer(&program(0)?)],
        boundary: Boundary::Exec,
        on_existing: OnExisting::default(),
        report: None,
    });
    let error = again.err().ok_or("armed twice")?.to_string();
    assert!(
        error.contains(&format!("process {tracer} traces it already")),
        "{error}"
    );
    let (status, ..) = init.go()?;
    assert!(status.success());
    Ok(())
}

#[test]
fn refuses_what_is_no_init() -> Test {
    let program = program(0)?;
    for pid in [-1, 0, 1, getpid().as_raw()] {
        let refused = arm(&Request {
            init: Pid::from_raw(pid),
            layers: &[layer(&program)],
            boundary: Boundary::Exec,
            on_existing: OnExisting::default(),
            report: None,
        });
        assert!(matches!(refused, Err(Error::NotInit { .. })), "{pid}");
    }
    Ok(())
}

#[test]
fn only_runtimes_that_execute_are_taken_for_such() {
    for name in ["runc", "/usr/bin/crun", "/opt/youki"] {
        assert!(super::executes(name.as_bytes()), "{name}");
    }
    for name in [
        "",
        "krun",
        "crun-wasm",
        "/usr/bin/krun",
        "runc.old",
        "/runc/shim",
        "bash",
    ] {
        assert!(!super::executes(name.as_bytes()), "{name}");
    }
}
