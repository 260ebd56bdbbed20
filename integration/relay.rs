//! What stands in front of a command: real terminals, real signals, and a
//! process of its own for each relay, since signals and a raw terminal are a
//! process's. Needs setsid (util-linux), stty and sha256sum (coreutils) and a
//! devpts at /dev/pts; root or not.
//!
//! This program is all of it: the tests; by `--relay`, the process that stands
//! in front of a command; by `--panic`, one that panics with a raw terminal; by
//! `--pty`, one that makes a pty where it is.
#![forbid(unsafe_code)]

#[path = "support/process.rs"]
#[allow(dead_code)]
mod process;

use std::fs::File;
use std::io::{Read, Write, stdin};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getuid};
use oci_seccomp::relay::{RawTerminal, Signals, relay};
use oci_seccomp::sys::{PidFd, tty};

/// Long for what takes milliseconds; it only bounds a hang.
const LIMIT: Duration = Duration::from_secs(30);
const MIB: usize = 1 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--relay", kind, script] => stand_in_front(kind == "tty", script),
        ["--panic"] => panic_with_a_raw_terminal(),
        ["--pty"] => make_a_pty(),
        _ => libtest_mimic::run(&Arguments::from_args(), tests()).exit_code(),
    }
}

fn tests() -> Vec<Trial> {
    macro_rules! trials {
        ($($test:ident)*) => {
            vec![$(Trial::test(stringify!($test), || Ok($test()))),*]
        };
    }
    trials! {
        the_status_is_the_commands_own
        a_death_by_signal_is_128_and_its_number
        a_child_that_stops_has_not_ended
        an_ignored_sigchld_does_not_lose_the_status
        signals_reach_the_command_real_time_ones_too
        without_a_terminal_a_changed_window_is_forwarded
        the_window_follows_ours
        a_mebibyte_of_input_arrives_as_it_was
        a_mebibyte_of_output_arrives_as_it_was_though_the_command_has_ended
        a_slow_reader_holds_the_command_up_and_loses_nothing
        the_terminal_is_raw_meanwhile_and_back_after_each_end
        a_panic_puts_the_terminal_back
        a_stop_puts_the_terminal_back_and_fg_makes_it_raw_again
        a_stop_that_nobody_could_continue_leaves_the_terminal_raw
        without_a_terminal_a_stop_stops_us
        the_end_of_piped_input_ends_cat
        the_end_of_input_waits_for_canonical_mode
        an_end_of_input_does_not_end_the_output
        what_is_left_behind_with_the_terminal_is_not_waited_for
        a_stuck_output_after_the_end_is_left_by_a_signal
        a_terminal_that_the_command_closed_can_be_opened_again
        it_sleeps_while_nothing_happens
        an_output_that_is_gone_hangs_the_commands_terminal_up
        a_hang_up_of_our_terminal_is_forwarded_and_nothing_spins
        our_standard_descriptors_stay_blocking
        a_pty_comes_of_a_devpts_and_of_nothing_else
    }
}

/// As `oci-seccomp exec` does: the command starts, and then we stand in front.
#[expect(clippy::zombie_processes, reason = "the relay reaps it")]
fn stand_in_front(terminal: bool, script: &str) -> ExitCode {
    let mut command = Command::new("setsid");
    let pty = terminal.then(|| tty::open_pty().unwrap());
    if let Some(pty) = &pty {
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        command.arg("--ctty");
        command.stdin(end()).stdout(end()).stderr(end());
    }
    // The other way round std would hand on the mask, and cannot undo it.
    let child = command.args(["sh", "-c", script]).spawn().unwrap();
    let signals = Signals::catch().unwrap();
    println!("relay={}.", std::process::id());
    // It holds the slave's descriptors as well.
    drop(command);
    let child = Pid::from_raw(child.id().cast_signed());
    let pidfd = PidFd::open(child).unwrap();
    let status = relay(child, &pidfd, signals, pty.map(|pty| pty.master));
    // What it took, to show that it did not run in circles.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    eprintln!("ticks={ticks}.");
    ExitCode::from(status.unwrap())
}

fn panic_with_a_raw_terminal() -> ExitCode {
    let _raw = RawTerminal::new(stdin()).unwrap();
    println!("raw.");
    let mut byte = [0];
    stdin().read_exact(&mut byte).unwrap();
    // As a release build's panic ends: no destructor runs after the hook.
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        previous(panic);
        std::process::abort();
    }));
    panic!("on purpose");
}

fn make_a_pty() -> ExitCode {
    match tty::open_pty() {
        Ok(_) => println!("made."),
        Err(error) => println!("{error}."),
    }
    ExitCode::SUCCESS
}

/// A process, and what it has printed so far.
struct Session {
    child: Child,
    /// Our side of its terminal or pipe.
    input: Option<File>,
    /// Keeps its terminal from a hang-up, which would put the modes back.
    _slave: Option<OwnedFd>,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    /// A shell on a terminal that is its controlling one; `$0` in the script
    /// is this program.
    fn on_terminal(script: &str, arguments: &[&str]) -> Self {
        let size = size(24, 80);
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "sh", "-c", script])
            .arg(std::env::current_exe().unwrap())
            .args(arguments);
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        let output = collect(File::from(master.try_clone().unwrap()));
        Self {
            child,
            input: Some(File::from(master)),
            _slave: Some(slave),
            output,
        }
    }

    /// The relay of a script, both with terminals.
    fn relayed(script: &str) -> Self {
        Self::on_terminal("exec \"$0\" --relay tty \"$1\"", &[script])
    }

    /// The relay of a script, with pipes.
    fn piped(kind: &str, script: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--relay", kind, script]);
        let (reader, writer) = std::io::pipe().unwrap();
        command.stdin(Stdio::piped());
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut child = command.spawn().unwrap();
        drop(command);
        let input = child
            .stdin
            .take()
            .map(|pipe| File::from(OwnedFd::from(pipe)));
        Self {
            child,
            input,
            _slave: None,
            output: collect(File::from(OwnedFd::from(reader))),
        }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    /// Waits until it has printed this.
    #[track_caller]
    fn expect(&self, text: &str) -> &Self {
        let found = process::within(LIMIT, || self.seen().contains(text));
        assert!(found, "no {text:?} in {:?}", self.seen());
        self
    }

    /// The number after `NAME=`, which ends with a dot.
    #[track_caller]
    fn number(&self, name: &str) -> i32 {
        let head = format!("{name}=");
        let tail = || {
            let seen = self.seen();
            let (_, tail) = seen.split_once(&head)?;
            let (number, _) = tail.split_once('.')?;
            number.parse().ok()
        };
        let found = process::within(LIMIT, || tail().is_some());
        assert!(found, "no {head} in {:?}", self.seen());
        tail().unwrap()
    }

    fn send(&self, bytes: &[u8]) {
        self.input.as_ref().unwrap().write_all(bytes).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.number("relay")), signal).unwrap();
    }

    /// The exit status, and that of a death by signal as -n.
    #[track_caller]
    fn status(&mut self) -> i32 {
        let mut status = None;
        let ended = process::within(LIMIT, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "still running: {:?}", self.seen());
        let status = status.unwrap();
        status.code().unwrap_or_else(|| -status.signal().unwrap())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Only what a failed test left running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads in a thread, so that nobody waits for us.
fn collect(mut source: File) -> Arc<Mutex<Vec<u8>>> {
    let output = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&output);
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(read @ 1..) = source.read(&mut buffer) {
            shared.lock().unwrap().extend_from_slice(&buffer[..read]);
        }
    });
    output
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// All byte values, in no order that a copy gone wrong could keep.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..MIB).map(|_| next()).collect()
}

/// The sum that sha256sum prints of it.
fn sum(bytes: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let output = Command::new("sha256sum").arg(file.path()).output().unwrap();
    String::from_utf8_lossy(&output.stdout)[..64].to_owned()
}

fn the_status_is_the_commands_own() {
    for kind in ["tty", "plain"] {
        for status in [0, 1, 7, 255] {
            let mut session = Session::piped(kind, &format!("exit {status}"));
            assert_eq!(session.status(), status, "{kind}");
        }
    }
}

fn a_death_by_signal_is_128_and_its_number() {
    for kind in ["tty", "plain"] {
        for signal in [9, 15, 40] {
            let mut session = Session::piped(kind, &format!("kill -{signal} $$"));
            assert_eq!(session.status(), 128 + signal, "{kind}");
        }
    }
}

fn a_child_that_stops_has_not_ended() {
    let mut session = Session::piped("plain", "echo pid=$$.; kill -STOP $$; exit 5");
    let command = session.number("pid");
    let stopped = || process::status(command, "State").is_some_and(|s| s.starts_with('T'));
    assert!(process::within(LIMIT, stopped));
    // Forwarded, which also shows that the relay is still there.
    session.signal(Signal::SIGCONT);
    assert_eq!(session.status(), 5);
}

fn an_ignored_sigchld_does_not_lose_the_status() {
    // Not before the relay has looked: the kernel would reap it by itself.
    let script = "exec env --ignore-signal=CHLD \"$0\" --relay plain 'sleep 0.5; exit 6'";
    assert_eq!(Session::on_terminal(script, &[]).status(), 6);
}

/// A script that says what signals it gets, until the last one.
fn reporter(signals: &[i32], last: i32) -> String {
    let traps: Vec<String> = signals
        .iter()
        .map(|n| format!("trap 'echo got {n}.' {n}"))
        .collect();
    let traps = traps.join("; ");
    format!(
        "{traps}; trap 'echo got the last.; exit 3' {last}; \
         echo ready.; while :; do sleep 1 & wait $!; done"
    )
}

fn signals_reach_the_command_real_time_ones_too() {
    let signals = [
        1, 2, 3, 6, 10, 12, 14, 16, 18, 23, 24, 25, 26, 27, 29, 30, 34, 50, 64,
    ];
    for kind in ["tty", "plain"] {
        let mut session = Session::piped(kind, &reporter(&signals, libc::SIGTERM));
        session.expect("ready.");
        let relay = session.number("relay").to_string();
        for signal in signals {
            // nix has no real-time signals.
            let sent = Command::new("kill")
                .args([&format!("-{signal}"), &relay])
                .status();
            assert!(sent.unwrap().success());
            session.expect(&format!("got {signal}."));
        }
        session.signal(Signal::SIGTERM);
        assert_eq!(session.status(), 3, "{kind}");
    }
}

fn without_a_terminal_a_changed_window_is_forwarded() {
    let session = Session::piped("plain", &reporter(&[libc::SIGWINCH], libc::SIGTERM));
    session.expect("ready.").signal(Signal::SIGWINCH);
    session.expect("got 28.").signal(Signal::SIGTERM);
}

fn the_window_follows_ours() {
    let script = "stty size; trap 'stty size; exit 0' WINCH; echo ready.; \
                  while :; do sleep 1 & wait $!; done";
    let mut session = Session::relayed(script);
    session.expect("24 80\r\n").expect("ready.");
    tty::set_window_size(session.input.as_ref().unwrap(), &size(33, 99)).unwrap();
    session.expect("33 99\r\n");
    assert_eq!(session.status(), 0);
}

fn a_mebibyte_of_input_arrives_as_it_was() {
    let noise = noise();
    // The command looks only later, and our terminal has to wait.
    let script = format!("stty raw -echo; echo ready.; sleep 1; head -c {MIB} | sha256sum");
    let mut session = Session::relayed(&script);
    session.expect("ready.").send(&noise);
    session.expect(&sum(&noise));
    assert_eq!(session.status(), 0);
}

fn a_mebibyte_of_output_arrives_as_it_was_though_the_command_has_ended() {
    let noise = noise();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&noise).unwrap();
    let script = format!(
        "stty raw; printf begin.; exec cat {}",
        file.path().display()
    );
    for _ in 0..5 {
        let mut session = Session::relayed(&script);
        session.expect("ticks=");
        assert_eq!(session.status(), 0);
        let output = session.output.lock().unwrap();
        let begin = output.windows(6).position(|w| w == b"begin.").unwrap() + 6;
        assert_eq!(output[begin..begin + MIB], noise[..]);
    }
}

fn a_slow_reader_holds_the_command_up_and_loses_nothing() {
    let script = format!("stty raw; head -c {MIB} /dev/zero | tr '\\0' x");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut relay = Command::new(std::env::current_exe().unwrap())
        .args(["--relay", "tty", &script])
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    // A pipe and two terminals hold far less.
    assert!(relay.try_wait().unwrap().is_none());
    let mut output = Vec::new();
    reader.read_to_end(&mut output).unwrap();
    assert_eq!(output.iter().filter(|&&byte| byte == b'x').count(), MIB);
    assert!(relay.wait().unwrap().success());
}

/// What stty says of the terminal before, in and after the middle part.
const SHOW_MODES: &str = "echo before=$(stty -g)!; MIDDLE; echo after=$(stty -g)!; echo done.";

#[track_caller]
fn assert_modes_are_back(session: &mut Session) {
    session.expect("done.");
    let seen = session.seen();
    let mode = |name: &str| {
        let tail = seen.split_once(name).unwrap().1;
        tail.split_once('!').unwrap().0.to_owned()
    };
    assert_eq!(mode("before="), mode("after="));
    assert_eq!(session.status(), 0);
}

fn is_raw(session: &Session) -> bool {
    use nix::sys::termios::{LocalFlags, tcgetattr};
    let modes = tcgetattr(session.input.as_ref().unwrap()).unwrap();
    !modes
        .local_flags
        .intersects(LocalFlags::ICANON | LocalFlags::ECHO)
}

fn the_terminal_is_raw_meanwhile_and_back_after_each_end() {
    let script = SHOW_MODES.replace("MIDDLE", "\"$0\" --relay tty \"$1\"");
    let command = "echo pid=$$.; read line; exit 4";
    let mut session = Session::on_terminal(&script, &[command]);
    session.number("pid");
    assert!(is_raw(&session));
    session.send(b"\r");
    assert_modes_are_back(&mut session);

    let mut session = Session::on_terminal(&script, &[command]);
    kill(Pid::from_raw(session.number("pid")), Signal::SIGKILL).unwrap();
    assert_modes_are_back(&mut session);

    // A signal to us is one to the command.
    let mut session = Session::on_terminal(&script, &[command]);
    session.number("pid");
    session.signal(Signal::SIGTERM);
    assert_modes_are_back(&mut session);
}

fn a_panic_puts_the_terminal_back() {
    let script = SHOW_MODES.replace("MIDDLE", "\"$0\" --panic; echo status=$?.");
    let mut session = Session::on_terminal(&script, &[]);
    session.expect("raw.");
    assert!(is_raw(&session));
    session.send(b"x");
    assert_modes_are_back(&mut session);
    assert_eq!(session.number("status"), 128 + libc::SIGABRT);
}

fn a_stop_puts_the_terminal_back_and_fg_makes_it_raw_again() {
    // Of SIGSTOP we learn only afterwards.
    for (stop, sane) in [(Signal::SIGTSTP, ":"), (Signal::SIGSTOP, "stty sane")] {
        // Job control, so that a shell is there to continue us.
        let script = format!(
            "set -m; \"$0\" --relay tty \"$1\"; stopped=$?; {sane}; echo stopped=$stopped.; \
             read line; fg; echo status=$?."
        );
        let command = "echo ready.; read a; stty size; echo got $a.; exit 9";
        let session = Session::on_terminal(&script, &[command]);
        session.expect("ready.");
        assert!(is_raw(&session));
        session.signal(stop);
        assert_eq!(session.number("stopped"), 128 + stop as i32);
        assert!(!is_raw(&session));
        tty::set_window_size(session.input.as_ref().unwrap(), &size(12, 34)).unwrap();
        session.send(b"\n");
        assert!(process::within(LIMIT, || is_raw(&session)));
        session.send(b"more\r");
        session.expect("12 34").expect("got more.");
        assert_eq!(session.number("status"), 9);
    }
}

fn a_stop_that_nobody_could_continue_leaves_the_terminal_raw() {
    // Alone in its session, so the kernel ignores SIGTSTP.
    let mut session = Session::relayed("echo ready.; read a; echo got $a.; read b");
    session.expect("ready.").signal(Signal::SIGTSTP);
    session.send(b"more\r");
    session.expect("got more.");
    assert!(process::within(LIMIT, || is_raw(&session)));
    session.send(b"\r");
    assert_eq!(session.status(), 0);
}

fn without_a_terminal_a_stop_stops_us() {
    let script = "set -m; \"$0\" --relay plain \"$1\"; echo stopped=$?.; fg; echo status=$?.";
    // Until the shell has seen us stopped and continued us.
    let command = "trap 'exit 9' CONT; echo ready.; while :; do sleep 1 & wait $!; done";
    let session = Session::on_terminal(script, &[command]);
    session.expect("ready.").signal(Signal::SIGTSTP);
    assert_eq!(session.number("stopped"), 128 + libc::SIGTSTP);
    assert_eq!(session.number("status"), 9);
}

fn the_end_of_piped_input_ends_cat() {
    for (input, shown) in [
        ("one\ntwo\n", "two\r\n"),
        ("one\nno end", "no end"),
        ("", ""),
    ] {
        let mut session = Session::piped(
            "tty",
            "stty -echo; echo ready.; cat; echo rest.; cat; exit 8",
        );
        session.expect("ready.").send(input.as_bytes());
        session.input = None;
        session.expect(&format!("{shown}rest."));
        // One end only: the second cat still waits for more.
        session.signal(Signal::SIGTERM);
        assert_eq!(session.status(), 128 + libc::SIGTERM, "{input:?}");
    }
}

fn the_end_of_input_waits_for_canonical_mode() {
    let script = "stty raw -echo; echo ready.; head -c 3; sleep 1; stty -raw; cat; exit 8";
    let mut session = Session::piped("tty", script);
    session.expect("ready.").send(b"abc");
    session.input = None;
    session.expect("abc");
    assert_eq!(session.status(), 8);
}

fn an_end_of_input_does_not_end_the_output() {
    let mut session = Session::piped("tty", "cat; sleep 1; echo late.; exit 2");
    session.input = None;
    session.expect("late.");
    assert_eq!(session.status(), 2);
}

fn what_is_left_behind_with_the_terminal_is_not_waited_for() {
    for left in ["sleep 1000", "yes"] {
        let left = format!("trap \"\" HUP; echo pid=$$.; read line; exec {left}");
        let script = format!("setsid sh -c '{left}' <&1 & read line; exit 6");
        let mut session = Session::relayed(&script);
        let left = session.number("pid");
        session.send(b"\r\r");
        assert_eq!(session.status(), 6);
        // It may have ended by the hang-up.
        let _ = kill(Pid::from_raw(left), Signal::SIGKILL);
    }
}

fn a_stuck_output_after_the_end_is_left_by_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let marker = dir.path().join("marker");
    // As much as the pipe and the terminal hold together.
    let script = format!(
        "stty raw; head -c 70000 /dev/zero; : >{}; exit 4",
        marker.display()
    );
    let mut relay = Command::new(std::env::current_exe().unwrap())
        .args(["--relay", "tty", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(process::within(LIMIT, || marker.exists()));
    let pid = relay.id();
    let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    assert!(process::within(LIMIT, || children().unwrap().is_empty()));
    assert!(relay.try_wait().unwrap().is_none());
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).unwrap();
    let mut status = None;
    process::within(LIMIT, || {
        status = relay.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.and_then(|s| s.code()), Some(4));
}

fn a_terminal_that_the_command_closed_can_be_opened_again() {
    let script = "exec </dev/null >/dev/null 2>&1; sleep 1; echo again. >/dev/tty; exit 3";
    let mut session = Session::relayed(script);
    session.expect("again.");
    assert_eq!(session.status(), 3);
    // At most a fifth of the second it had: it did not run in circles.
    assert!(session.number("ticks") < 20, "{}", session.seen());
}

fn it_sleeps_while_nothing_happens() {
    let mut session = Session::piped("tty", "sleep 2");
    session.input = None;
    assert_eq!(session.status(), 0);
    assert!(session.number("ticks") < 20, "{}", session.seen());
    // An end that cannot be told.
    let mut session = Session::piped("tty", "stty raw; sleep 2");
    session.input = None;
    assert_eq!(session.status(), 0);
    assert!(session.number("ticks") < 20, "{}", session.seen());
}

/// Processor time that a relay printed, in hundredths of a second.
fn ticks(text: &str) -> u32 {
    let (_, tail) = text.split_once("ticks=").unwrap();
    tail.split_once('.').unwrap().0.parse().unwrap()
}

fn an_output_that_is_gone_hangs_the_commands_terminal_up() {
    let mut relay = Command::new(std::env::current_exe().unwrap())
        .args([
            "--relay",
            "tty",
            "trap 'sleep 2; exit 7' HUP; while :; do echo x; done",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 6];
    relay.stdout.take().unwrap().read_exact(&mut line).unwrap();
    let output = relay.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let stderr = String::from_utf8_lossy(&output.stderr);
    // Two seconds are 200.
    assert!(ticks(&stderr) < 100, "{stderr}");
}

fn a_hang_up_of_our_terminal_is_forwarded_and_nothing_spins() {
    let dir = tempfile::tempdir().unwrap();
    let (log, heard) = (dir.path().join("log"), dir.path().join("heard"));
    let script = "trap 'sleep 2; echo hup >\"$HEARD\"; exit 7' HUP; echo ready.; \
                  while :; do sleep 1 & wait $!; done";
    let (reader, writer) = std::io::pipe().unwrap();
    // A terminal emulator that can be killed.
    let mut command = Command::new("script");
    command
        .args([
            "-qfc",
            "exec \"$RELAY\" --relay tty \"$SCRIPT\" 2>\"$LOG\"",
            "/dev/null",
        ])
        .env("RELAY", std::env::current_exe().unwrap())
        .envs([("SCRIPT", script.as_ref()), ("LOG", log.as_os_str())])
        .env("HEARD", &heard)
        .stdin(Stdio::piped())
        .stdout(writer);
    let child = command.spawn().unwrap();
    drop(command);
    let mut session = Session {
        child,
        input: None,
        _slave: None,
        output: collect(File::from(OwnedFd::from(reader))),
    };
    session.expect("ready.");
    let relay = session.number("relay");
    session.child.kill().unwrap();
    assert!(process::within(LIMIT, || !process::alive(relay)));
    assert_eq!(std::fs::read_to_string(heard).unwrap(), "hup\n");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(ticks(&log) < 100, "{log}");
}

fn our_standard_descriptors_stay_blocking() {
    let session = Session::relayed("echo ready.; read line");
    session.expect("ready.");
    let relay = session.number("relay");
    for fd in [0, 1, 2] {
        let info = std::fs::read_to_string(format!("/proc/{relay}/fdinfo/{fd}")).unwrap();
        let flags = info.lines().find_map(|l| l.strip_prefix("flags:")).unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        assert_eq!(flags & libc::O_NONBLOCK, 0, "{fd}");
    }
    session.send(b"\r");
}

fn a_pty_comes_of_a_devpts_and_of_nothing_else() {
    let none =
        "/dev/pts/ptmx is no pseudoterminal of a devpts: the container has none at /dev/pts.";
    let cannot = "cannot open /dev/pts/ptmx: has the container a devpts at /dev/pts?.";
    let bare = "mount -t tmpfs d /dev/pts";
    let with = |what| format!("{bare}; {what}");
    let mut cases = vec![
        (bare.to_owned(), cannot),
        (with("mkfifo /dev/pts/ptmx"), none),
        (
            with(": >/dev/pts/ptmx; mount --bind /dev/null /dev/pts/ptmx"),
            none,
        ),
        (
            with(
                "mkdir /dev/pts/d; mount -t devpts -o newinstance d /dev/pts/d; \
                 ln -s d/ptmx /dev/pts/ptmx",
            ),
            cannot,
        ),
        // The right file system, but a terminal where the master should be.
        ("mount --bind $(tty) /dev/pts/ptmx".to_owned(), none),
        (
            "mount -t devpts -o newinstance,ptmxmode=0600 d /dev/pts".to_owned(),
            "made.",
        ),
    ];
    let mut unshare = "unshare --mount --map-root-user";
    if getuid().is_root() {
        unshare = "unshare --mount";
        // A master, but not of the devpts that a container has there.
        let node = with(
            "mkdir /dev/pts/pts; mount -t devpts -o newinstance d /dev/pts/pts; \
             mknod /dev/pts/ptmx c 5 2",
        );
        cases.push((node, none));
    }
    for (prepare, answer) in cases {
        let script = format!("{prepare} && exec \"$0\" --pty");
        let script = format!("exec {unshare} sh -c '{script}' \"$0\"");
        let session = Session::on_terminal(&script, &[]);
        session.expect(answer);
    }
}
